//! Two cards, two issuers, and a load that never pauses, while everything happens to the cards that happens to USB tokens.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use shared::signing::{IssueReply, IssueRequest};

use crate::{
    applet::PIN_TRIES,
    client::{Edge, simple},
    estate::{Estate, Module, for_each_module},
    site::{eventually, stopwatch},
};

for_each_module! {
    cards_are_unplugged_hung_slowed_and_swapped_under_load_and_no_job_is_lost_or_signed_by_the_wrong_key,
}

const LATENCY: Duration = Duration::from_millis(60);
/// What the daemon's `answer_ms` is, and what the machine may take beside.
const ANSWER: Duration = Duration::from_millis(10_000 + 2000);
/// One card that is away holds up to two jobs; the rest keeps the other busy.
const CLIENTS: usize = 6;

/// What clients do and see.
#[derive(Default)]
struct Load {
    ended: AtomicBool,
    orders: AtomicUsize,
    /// Certificates by issuer.
    issued: Mutex<[usize; 2]>,
}

/// Ends a load, in whatever way the test ends.
struct End<'a>(&'a Load);

fn cards_are_unplugged_hung_slowed_and_swapped_under_load_and_no_job_is_lost_or_signed_by_the_wrong_key(
    module: Module,
) {
    let estate = Estate::new(module, 2);
    estate.set_latency(LATENCY);
    let mut daemon = estate.site.serve();
    let edge = Edge::new(&estate.site);
    let ready = |number: usize, when: &str| {
        let started = stopwatch();
        eventually(&format!("card {number} is ready {when}"), || estate.is_ready(&edge, number));
        println!("{module:?}: card {number} was ready {when} within {:.1?}", started.elapsed());
        let before = signatures(&estate, number);
        eventually(&format!("card {number} signs {when}"), || signatures(&estate, number) > before);
    };
    let load = Load::default();
    thread::scope(|scope| {
        let _end = End(&load);
        for _ in 0..CLIENTS {
            scope.spawn(|| load.run(&estate));
        }
        ready(0, "at first");
        ready(1, "at first");
        for number in 0..2 {
            let (card, other) = (&estate.cards[number], 1 - number);
            others_go_on(&estate, other, "unplugged", || {
                card.unplug();
                eventually("that it is away is seen", || !estate.is_ready(&edge, number));
            });
            card.plug(estate.reader(0));
            ready(number, "after it was plugged in");

            others_go_on(&estate, other, "hung", || {
                card.set_hung(true);
                eventually("that it hangs is seen", || !estate.is_ready(&edge, number));
            });
            card.set_hung(false);
            ready(number, "after it hung");

            others_go_on(&estate, other, "slow", || {
                card.set_latency(LATENCY * 10);
                thread::sleep(LATENCY * 25);
            });
            assert!(estate.is_ready(&edge, number), "slow is not broken");
            card.set_latency(LATENCY);

            // Each into the other's reader: the one that is looked at is in the first, the other one in the second.
            estate.cards.iter().for_each(crate::card::Card::unplug);
            estate.cards[1].plug(estate.reader(number));
            estate.cards[0].plug(estate.reader(1 - number));
            ready(0, "after the swap");
            ready(1, "after the swap");
        }
    });
    let issued = *load.issued.lock().unwrap();
    println!("{module:?}: certificates by issuer: {issued:?}");
    assert!(estate.cards.iter().all(|card| card.applet().tries == PIN_TRIES), "no card was given another's PIN");
    assert_eq!(daemon.terminate().code(), Some(0), "{}", daemon.log());
    let orders = load.orders.load(Ordering::Relaxed);
    assert_eq!((issued.iter().sum::<usize>(), estate.site.events("signed").len()), (orders, orders));
}

/// What a card has signed.
fn signatures(estate: &Estate, number: usize) -> u64 {
    estate.cards[number].applet().signatures
}

/// While this happens to the one card, the other signs at least at half its speed.
fn others_go_on(estate: &Estate, other: usize, when: &str, happens: impl FnOnce()) {
    let (started, before) = (stopwatch(), signatures(estate, other));
    happens();
    let expected = started.elapsed().as_secs_f64() / LATENCY.as_secs_f64() / 2.0;
    // Whatever it takes until that is seen, the other one is in the middle of one signature at least.
    let signed = signatures(estate, other) - before;
    assert!(signed as f64 >= expected.floor(), "{signed} of {expected} while the other card was {when}");
}

impl Load {
    /// One client: order after order, each until it has its certificate.
    fn run(&self, estate: &Estate) {
        let edge = Edge::new(&estate.site);
        while !self.ended.load(Ordering::Relaxed) {
            let asked = simple(self.orders.fetch_add(1, Ordering::Relaxed));
            let issuer = finished(&edge, &asked, estate);
            self.issued.lock().unwrap()[issuer] += 1;
        }
    }
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }
}

/// Asks until there is a certificate, and gives whose it is. Each answer comes in time.
fn finished(edge: &Edge, asked: &IssueRequest, estate: &Estate) -> usize {
    let started = stopwatch();
    while started.elapsed() < Duration::from_secs(60) {
        let call = stopwatch();
        let reply = edge.issue(asked).unwrap();
        assert!(call.elapsed() < ANSWER, "{:?} for {reply:?}", call.elapsed());
        match reply {
            IssueReply::Issued(issued) => return estate.issuer_of(&issued),
            IssueReply::Refused(refused) => assert!(refused.reason.is_temporary(), "{refused:?}"),
            IssueReply::Queued { .. } | IssueReply::Settled { .. } => {}
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("no certificate for {}", asked.order);
}
