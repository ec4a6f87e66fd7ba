//! A stack of three signers, each behind a relay, and what must hold of it after every cut.

use std::{
    env,
    sync::{Mutex, PoisonError},
};

use anyhow::{Result, ensure};
use serde_json::json;
use tests::{
    account::{Account, Order},
    binding::BindingKey,
    client::Client,
    cut::{Cuts, Way},
    journal,
    relay::Relay,
    responder::Responder,
    stack::{Options, Stack},
};

pub(crate) const SIGNERS: usize = 3;
/// A token takes so long, so that there is time to strike while it is at work.
pub(crate) const LATENCY_MS: u64 = 400;
/// Longer than a question and its settling may be silent together, in seconds.
const LEASE: u64 = 40;
/// What the edge's log says of an order that goes on without its signer.
const UNSETTLED: &str = "cannot be asked and its lease is over";

pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) client: Client,
    pub(crate) responder: Responder,
    pub(crate) cuts: Cuts,
    pub(crate) relays: Vec<Relay>,
    pub(crate) binding: BindingKey,
    /// Orders with the certificate that their client has.
    served: Mutex<Vec<(String, Vec<u8>)>>,
}

pub(crate) fn is_all() -> bool {
    which().is_some()
}

/// A part of the names of those that are wanted, where it is not all of them.
pub(crate) fn named() -> Option<String> {
    which().filter(|which| which != "all")
}

fn which() -> Option<String> {
    env::var("COLOPHON_CUTS").ok()
}

/// The ways in which a place is cut: all, or the one whose turn it is.
pub(crate) fn ways(turn: usize) -> Vec<Way> {
    if is_all() {
        return Way::ALL.to_vec();
    }
    vec![Way::ALL[turn % Way::ALL.len()]]
}

impl World {
    pub(crate) fn start(name: &str) -> Result<Self> {
        let (responder, cuts) = (Responder::start()?, Cuts::default());
        let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), name)?.http_port(responder.port);
        let options = options.set("lifetimes.finalize_wait", &json!(1)).set("lifetimes.lease", &json!(LEASE)).with([
            "--restart",
            "--eab",
            "optional",
            "--signers",
            &SIGNERS.to_string(),
            "--token-latency-ms",
            &LATENCY_MS.to_string(),
        ]);
        let relay = |number| Relay::start(options.state(), number, &cuts);
        let relays = (1..=SIGNERS).map(relay).collect::<Result<Vec<_>>>()?;
        let options =
            relays.iter().fold(options, |options, relay| options.with(["--signer-relay", &relay.address.to_string()]));
        let stack = Stack::up(options)?;
        let client = Client::of(&stack.report)?;
        let binding = BindingKey::read(stack.report.external_account.as_deref())?;
        Ok(Self { stack, client, responder, cuts, relays, binding, served: Mutex::default() })
    }

    /// An account of its own with an order for this name, ready.
    pub(crate) fn ready(&self, name: &str) -> Result<(Account, Order)> {
        let account = Account::new(&self.client)?;
        let order = account.ready_order(&[name], &self.responder)?;
        Ok((account, order))
    }

    /// The certificate of an order that is to become valid by itself: the only one that the journals name for it.
    pub(crate) fn settled_once(&self, account: &Account, order: &Order) -> Result<Vec<u8>> {
        let leaf = account.leaf(order)?;
        let journaled = journal::of_order(&self.stack.report.state, &order.url)?;
        ensure!(journaled == [leaf.as_slice()], "{} has {} certificates", order.url, journaled.len());
        self.served.lock().unwrap_or_else(PoisonError::into_inner).push((order.url.clone(), leaf.clone()));
        Ok(leaf)
    }

    /// What came later took nothing back and made nothing twice, in all journals together.
    pub(crate) fn nothing_is_left_over(&self) -> Result<()> {
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        let signed = journal::signed(&self.stack.report.state)?;
        for (order, leaf) in served.iter() {
            let theirs = signed.iter().filter(|signed| signed.order == *order).map(|signed| &signed.leaf);
            ensure!(theirs.eq([leaf]), "{order} has other certificates now");
        }
        ensure!(signed.len() == served.len(), "{} certificates for {} orders", signed.len(), served.len());
        ensure!(!self.stack.log("edge")?.contains(UNSETTLED), "an order went on without its signer");
        Ok(())
    }
}
