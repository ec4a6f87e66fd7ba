//! Every connection to every signer is cut before anything is asked through it.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tests::{cut::Place, relay::Relay};

use crate::{
    verbs::{Verb, run},
    world::{World, ways},
};

/// Connections that are made within this time are cut.
const LASTS: Duration = Duration::from_millis(1500);

#[test]
fn connections_that_are_cut_before_a_request_hold_nothing_up_for_good() -> Result<()> {
    let world = World::start("cut-connections")?;
    for (turn, place) in Place::OF_CONNECTIONS.into_iter().enumerate() {
        // Dealt out so that the one that lasts longest is where nothing is waited for.
        for way in ways(turn + 2) {
            let (before, started) = (world.relays.iter().map(Relay::struck).sum::<usize>(), Instant::now());
            world.relays.iter().for_each(|relay| relay.strike(place, way, LASTS));
            thread::scope(|scope| {
                // Orders are settled where they have to be.
                let verbs = [Verb::Issue, Verb::Revoke, Verb::Bind].map(|verb| {
                    let name = format!("{verb:?}-{place:?}-{way:?}.test").to_lowercase();
                    let world = &world;
                    scope.spawn(move || run(world, verb, None, &name).with_context(|| name))
                });
                verbs.into_iter().try_for_each(|verb| verb.join().expect("no thread panics"))
            })
            .with_context(|| format!("{place:?} by {way:?}"))?;
            let struck = world.relays.iter().map(Relay::struck).sum::<usize>() - before;
            eprintln!("{struck} connections at {place:?} by {way:?}: well after {:?}", started.elapsed());
            ensure!(struck > 0 || place == Place::Refused, "no connection was cut");
        }
    }
    world.nothing_is_left_over()
}
