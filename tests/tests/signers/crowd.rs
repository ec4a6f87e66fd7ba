//! Many clients in one process: each finalizes its order, then asks about it when `Retry-After` says, until it is valid.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::{
    account::{Account, Order},
    client::Reply,
};

/// Requests that are under way at the same time.
const HANDS: usize = 320;
/// After a lost connection, or a server that is not well.
const PAUSE: Duration = Duration::from_millis(200);

/// An order that is ready, and the request that finalizes it.
#[derive(Clone, Debug)]
pub(crate) struct Ticket<'a> {
    account: &'a Account,
    order: Order,
    payload: Vec<u8>,
}

/// What a client has seen of an order.
#[derive(Clone, Debug)]
pub(crate) struct Served<'a> {
    account: &'a Account,
    /// The order's URL.
    pub(crate) order: String,
    /// The certificate's URL.
    certificate: String,
    /// When finalize was sent for the first time.
    pub(crate) began: Instant,
    /// When that was answered.
    pub(crate) answered: Instant,
    /// When the client knew that the order is valid.
    pub(crate) ended: Instant,
    /// Requests that took.
    pub(crate) requests: u32,
}

/// What comes next for an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Finalize,
    /// Finalize was sent: whether it has arrived is to be seen.
    Look,
}

/// How far a client has come with its order.
#[derive(Debug, Default)]
struct Progress {
    began: Option<Instant>,
    answered: Option<Instant>,
    next: Next,
    requests: u32,
}

/// How an answer leaves an order.
enum Seen {
    Valid(String),
    Later(Next, Duration),
}

/// Orders by when they are due.
struct Agenda {
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    open: usize,
    failed: bool,
}

impl<'a> Ticket<'a> {
    /// Of a ready order of this name, with a key of its own.
    pub(crate) fn new(account: &'a Account, order: Order, name: &str) -> Result<Self> {
        let payload = Account::finalize_payload(&[name])?.to_string().into_bytes();
        Ok(Self { account, order, payload })
    }

    /// From finalize to valid, as one client that does nothing else.
    pub(crate) fn serve(&self, patience: Duration) -> Result<Served<'a>> {
        let mut progress = Progress::default();
        loop {
            match self.go_on(&mut progress)? {
                Ok(served) => return Ok(served),
                Err(pause) => thread::sleep(pause),
            }
            let began = progress.began.context("it has begun")?;
            ensure!(began.elapsed() < patience, "{} is not valid after {patience:?}", self.order.url);
        }
    }

    /// The next request; gives how long to wait for the one after it, while the order is not valid.
    fn go_on(&self, progress: &mut Progress) -> Result<Result<Served<'a>, Duration>> {
        let began = *progress.began.get_or_insert_with(Instant::now);
        progress.requests += 1;
        let seen = self.step(progress.next)?;
        let ended = Instant::now();
        let answered = *progress.answered.get_or_insert(ended);
        match seen {
            Seen::Valid(certificate) => {
                let (account, order, requests) = (self.account, self.order.url.clone(), progress.requests);
                Ok(Ok(Served { account, order, certificate, began, answered, ended, requests }))
            }
            Seen::Later(next, pause) => {
                progress.next = next;
                Ok(Err(pause))
            }
        }
    }

    fn step(&self, next: Next) -> Result<Seen> {
        let answer = match next {
            Next::Finalize => self.account.send(&self.order.finalize()?, &self.payload),
            Next::Look => self.account.read(&self.order.url),
        };
        // Neither a lost answer nor a server that is not well says that a request was not taken: only the order does.
        let again = Seen::Later(Next::Look, PAUSE);
        let Ok(reply) = answer else { return Ok(again) };
        if reply.status >= 500 {
            return Ok(again);
        }
        if reply.problem().ok().as_deref() == Some("badNonce") {
            // This does, and came with a nonce that is good (RFC 8555 §6.5).
            return Ok(Seen::Later(next, Duration::ZERO));
        }
        seen(&self.order.url, &reply.expect(200)?)
    }
}

fn seen(order: &str, reply: &Reply) -> Result<Seen> {
    let object = reply.json()?;
    match object["status"].as_str() {
        Some("valid") => {
            let url = object["certificate"].as_str().map(str::to_owned);
            Ok(Seen::Valid(url.context("a valid order has a certificate")?))
        }
        Some("ready") => Ok(Seen::Later(Next::Finalize, Duration::ZERO)),
        Some("processing") => {
            let seconds: u64 = reply.header("retry-after").map_or(Ok(1), str::parse)?;
            Ok(Seen::Later(Next::Look, Duration::from_secs(seconds)))
        }
        _ => Err(anyhow::anyhow!("{order}: {}", Value::to_string(&object))),
    }
}

impl Served<'_> {
    pub(crate) fn wait(&self) -> Duration {
        self.ended - self.began
    }

    /// The chain in PEM.
    pub(crate) fn chain(&self) -> Result<String> {
        Ok(self.account.read_patiently(&self.certificate)?.expect(200)?.text()?.to_owned())
    }
}

/// Finalizes all of them at once, and ends when all are valid.
pub(crate) fn finalize_all<'a>(tickets: &[Ticket<'a>], patience: Duration) -> Result<Vec<Served<'a>>> {
    let started = Instant::now();
    let due = (0..tickets.len()).map(|number| Reverse((started, number))).collect();
    let agenda = Mutex::new(Agenda { due, open: tickets.len(), failed: false });
    let changed = Condvar::new();
    let states: Vec<_> = tickets.iter().map(|_| Mutex::<Progress>::default()).collect();
    let step = |number: usize| -> Result<Result<Served<'a>, Duration>> {
        let stepped = tickets[number].go_on(&mut lock(&states[number]))?;
        ensure!(stepped.is_ok() || started.elapsed() < patience, "{} is not valid in time", tickets[number].order.url);
        Ok(stepped)
    };
    let hand = || -> Result<Vec<Served<'a>>> {
        let mut served = Vec::new();
        while let Some(number) = next_due(&agenda, &changed) {
            let stepped = step(number);
            let mut agenda = lock(&agenda);
            match stepped {
                Ok(Ok(done)) => {
                    served.push(done);
                    agenda.open -= 1;
                }
                Ok(Err(pause)) => agenda.due.push(Reverse((Instant::now() + pause, number))),
                Err(error) => {
                    agenda.failed = true;
                    changed.notify_all();
                    return Err(error);
                }
            }
            changed.notify_one();
            if agenda.open == 0 {
                changed.notify_all();
            }
        }
        Ok(served)
    };
    thread::scope(|scope| {
        let hands: Vec<_> = (0..HANDS.min(tickets.len())).map(|_| scope.spawn(hand)).collect();
        let served = hands.into_iter().map(|hand| hand.join().expect("no thread panics"));
        Ok(served.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    })
}

/// Waits for the next order that is due; nothing when all are valid, or one has failed.
fn next_due(agenda: &Mutex<Agenda>, changed: &Condvar) -> Option<usize> {
    let mut agenda = lock(agenda);
    loop {
        if agenda.open == 0 || agenda.failed {
            return None;
        }
        let now = Instant::now();
        let pause = match agenda.due.peek() {
            Some(Reverse((due, _))) if *due <= now => {
                return agenda.due.pop().map(|Reverse((_, number))| number);
            }
            Some(Reverse((due, _))) => *due - now,
            None => Duration::from_secs(1),
        };
        agenda = changed.wait_timeout(agenda, pause).unwrap_or_else(PoisonError::into_inner).0;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
