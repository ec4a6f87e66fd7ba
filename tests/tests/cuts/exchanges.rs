//! One exchange is cut, at every place.

use std::{
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result};
use tests::cut::{Place, Way};

use crate::{
    verbs::{Blow, Verb, run},
    world::{World, named, ways},
};

/// So many wait beside each other.
const AT_ONCE: usize = 8;

#[test]
fn an_exchange_that_is_cut_anywhere_is_settled_exactly_once_and_nobody_helps() -> Result<()> {
    let world = World::start("cut-exchanges")?;
    let mut blows = Vec::new();
    for (row, verb) in Verb::ALL.into_iter().enumerate() {
        for (column, place) in Place::OF_EXCHANGES.into_iter().enumerate() {
            for way in ways(row + column) {
                // Each way meets both: what was signed already, and what was not.
                blows.push(Blow { verb, place, way, signed: column / Way::ALL.len() == 0 });
            }
        }
    }
    if let Some(part) = named() {
        blows.retain(|blow| blow.to_string().contains(&part));
    }
    // Those that are waited for longest come first.
    blows.sort_by_key(|blow| blow.way != Way::Silence);
    let next = Mutex::new(blows.into_iter().enumerate());
    let work = || -> Result<()> {
        loop {
            let Some((number, blow)) = next.lock().unwrap_or_else(PoisonError::into_inner).next() else {
                return Ok(());
            };
            let started = Instant::now();
            run(&world, blow.verb, Some(blow), &format!("cut-{number}.test")).with_context(|| blow.to_string())?;
            eprintln!("{blow}: well after {:?}", started.elapsed());
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no thread panics"))
    })?;
    world.nothing_is_left_over()
}
