//! When certificates were signed: the journals are followed while they are written, as their own times are whole seconds.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead as _, BufReader, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::Value;

/// So exact are the times.
const INTERVAL: Duration = Duration::from_millis(20);
/// What each record of an intent or of a certificate has, and no other.
const EVENTS: [&str; 2] = [r#""event":{"intent":"#, r#""event":{"signed":"#];

/// A signature.
#[derive(Clone, Debug)]
pub(crate) struct Signature {
    /// From 1.
    pub(crate) signer: usize,
    /// The URL of its order.
    pub(crate) order: String,
    /// When its intent was there, which is written shortly before the token is free.
    pub(crate) intended: Instant,
    /// When its record was there.
    pub(crate) at: Instant,
}

/// Follows the journals until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    seen: Arc<Mutex<Vec<Signature>>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Watch {
    /// From now on, of so many signers.
    pub(crate) fn start(state: &Path, signers: usize) -> Result<Self> {
        let (seen, ends) = (Arc::<Mutex<Vec<Signature>>>::default(), Arc::new(AtomicBool::new(false)));
        let mut places = BTreeMap::new();
        for signer in 1..=signers {
            let folder = state.join("signers").join(signer.to_string()).join("state/journal");
            new_in(signer, &folder, &mut places)?;
        }
        let (state, theirs, over) = (state.to_owned(), Arc::clone(&seen), Arc::clone(&ends));
        let mut intents = BTreeMap::new();
        let thread = thread::spawn(move || -> Result<()> {
            while !over.load(Ordering::Relaxed) {
                for signer in 1..=signers {
                    let folder = state.join("signers").join(signer.to_string()).join("state/journal");
                    let new = new_in(signer, &folder, &mut places)?;
                    let at = Instant::now();
                    let mut seen = theirs.lock().unwrap_or_else(PoisonError::into_inner);
                    for (is_signed, order) in new {
                        if is_signed {
                            let intended = intents.remove(&order).unwrap_or(at);
                            seen.push(Signature { signer, order, intended, at });
                        } else {
                            intents.insert(order, at);
                        }
                    }
                }
                thread::sleep(INTERVAL);
            }
            Ok(())
        });
        Ok(Self { seen, ends, thread: Some(thread) })
    }

    /// All so far, in order.
    pub(crate) fn signatures(&self) -> Vec<Signature> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many of this signer so far.
    pub(crate) fn signed_by(&self, signer: usize) -> usize {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().filter(|signature| signature.signer == signer).count()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(Ok(Err(error))) = self.thread.take().map(JoinHandle::join) {
            eprintln!("the journals were not followed to the end: {error:#}");
        }
    }
}

/// The orders of the intents and the certificates that are new in a journal, and whether it is a certificate; whole lines only.
fn new_in(signer: usize, folder: &Path, places: &mut BTreeMap<(usize, PathBuf), u64>) -> Result<Vec<(bool, String)>> {
    let mut new = Vec::new();
    for segment in fs::read_dir(folder)? {
        let file = segment?.path();
        let place = places.entry((signer, file.clone())).or_default();
        let mut reader = BufReader::new(File::open(&file)?);
        reader.seek(SeekFrom::Start(*place))?;
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            *place += line.len() as u64;
            if EVENTS.iter().any(|event| String::from_utf8_lossy(&line).contains(event)) {
                let event = &serde_json::from_slice::<Value>(&line)?["event"];
                let signed = event.get("signed");
                let order = signed.unwrap_or(&event["intent"])["order"].as_str().unwrap_or_default();
                new.push((signed.is_some(), order.to_owned()));
            }
            line.clear();
        }
    }
    Ok(new)
}
