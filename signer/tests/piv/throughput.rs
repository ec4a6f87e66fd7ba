//! What the signer makes of cards that take a quarter of a second: as much as they give.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use crate::{
    client::{Edge, simple},
    estate::{Estate, Module, for_each_module},
    site::eventually,
};

for_each_module! {
    certificates_come_as_fast_as_the_card_signs_and_from_two_cards_twice_as_fast,
}

const LATENCY: Duration = Duration::from_millis(250);
/// Certificates of one card.
const MEASURED: usize = 28;
/// Of these, not measured.
const SETTLING: usize = 4;

fn certificates_come_as_fast_as_the_card_signs_and_from_two_cards_twice_as_fast(module: Module) {
    let estate = Estate::alone(module, 2);
    estate.set_latency(LATENCY);
    // A machine that is busy with something else spoils one measurement; a signer that idles spoils all.
    let good = (0..3).any(|_| {
        let raw = raw_rate(&estate);
        estate.configure(0..1);
        let one = rate_under_backlog(&estate, 1);
        estate.configure(0..2);
        let two = rate_under_backlog(&estate, 2);
        let (of_raw, of_one) = (one / raw, two / one);
        println!(
            "{module:?}: {raw:.3} raw signatures a second, {one:.3} certificates ({of_raw:.3}), {two:.3} from two cards ({of_one:.3})"
        );
        of_raw >= 0.98 && of_one >= 1.95
    });
    assert!(good, "at least 0.98 and 1.95 in one of three measurements");
}

/// Signatures a second of the first card in a process that does nothing else.
fn raw_rate(estate: &Estate) -> f64 {
    let said = estate.site.signer_ok("bench --config signer.toml --token a1-0 --seconds 6 --json");
    let measured: Vec<serde_json::Value> = serde_json::from_str(&said).unwrap();
    measured[0]["rate"].as_f64().unwrap()
}

/// Certificates a second while all these cards have more to do than they can.
fn rate_under_backlog(estate: &Estate, cards: usize) -> f64 {
    let _daemon = estate.site.serve();
    let edge = Edge::new(&estate.site);
    eventually("the cards are ready", || (0..cards).all(|number| estate.is_ready(&edge, number)));
    static MEASUREMENTS: AtomicUsize = AtomicUsize::new(0);
    let first = 1000 * MEASUREMENTS.fetch_add(1, Ordering::Relaxed);
    // Made before: what clients do must not count.
    let asked: Vec<_> = (0..MEASURED * cards).map(|number| (edge.clone(), simple(number + first))).collect();
    estate.cards.iter().for_each(|card| drop(card.take_moments()));
    thread::scope(|scope| {
        for (edge, asked) in &asked {
            scope.spawn(move || estate.issuer_of(&edge.issued(asked)));
        }
    });
    let moments = estate.cards.iter().map(crate::card::Card::take_moments);
    // Of each card by itself: at the end one may have nothing left to do. The first ones are given while clients still connect.
    let moments = moments.map(|moments| moments[SETTLING.min(moments.len())..].to_vec());
    let rates = moments.filter(|moments| moments.len() > 1).map(|moments| {
        let whole = *moments.last().unwrap() - moments[0];
        (moments.len() - 1) as f64 / whole.as_secs_f64()
    });
    rates.sum()
}
