//! How many orders were given a certificate again that they have just got (see [`crate::acme::absorb`]): counted by each isolate, kept
//! by the object of the signer's journal, for metrics alone.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use worker::{Delay, Env, Response, State, console_log};

use super::{
    environment,
    journal::{self, Journal},
};

/// The URL by which the object of a journal is told how many orders were given a certificate of its signer again.
pub(super) const ABSORBED: &str = "https://absorbed.objects/";

/// So long an isolate collects what it counts.
const COLLECTING: u64 = 5;

/// Where the object keeps it, beside what reconciliation has found.
const ROW: i64 = 2;

impl Journal {
    /// So many orders so far.
    pub(super) fn absorbed(&self) -> worker::Result<u64> {
        self.migrate()?;
        Ok(self.first(ROW)?.and_then(|count| count.parse().ok()).unwrap_or_default())
    }

    /// So many more.
    pub(super) fn absorb(&self, more: u64) -> worker::Result<Response> {
        self.put(ROW, &self.absorbed()?.saturating_add(more).to_string())?;
        Response::empty()
    }
}

thread_local! {
    /// Orders of this isolate that were given a certificate again and that no object has heard of, by the binding of its signer.
    static COUNTED: RefCell<Vec<(String, u64)>> = RefCell::default();
    /// When somebody last took over to tell them.
    static TELLING: Cell<u64> = const { Cell::new(0) };
}

/// Counts an order that was given a certificate of this signer again. Its journal's object hears of it some seconds later, in one hop
/// for all of the isolate's; what an isolate has not told when it ends is not counted.
pub(super) fn count(state: &State, env: &Env, signer: String) {
    COUNTED.with_borrow_mut(|counted| match counted.iter_mut().find(|(other, _)| *other == signer) {
        Some((_, count)) => *count = count.saturating_add(1),
        None => counted.push((signer, 1)),
    });
    let now = environment::now().seconds();
    if now < TELLING.get().saturating_add(COLLECTING.saturating_mul(2)) {
        return;
    }
    TELLING.set(now);
    let env = env.clone();
    state.wait_until(async move {
        Delay::from(Duration::from_secs(COLLECTING)).await;
        TELLING.set(0);
        for (signer, count) in COUNTED.take() {
            match journal::send(&env, &signer, ABSORBED, count.to_string()).await {
                Ok(answer) if answer.status_code() == 200 => {}
                _ => console_log!("{signer}: {count} absorbed renewals are not counted"),
            }
        }
    });
}
