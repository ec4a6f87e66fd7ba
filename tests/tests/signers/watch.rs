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

/// So exact are the times.
const INTERVAL: Duration = Duration::from_millis(20);
/// What each `signed` record has, and no other.
const SIGNED: &str = r#""event":{"signed":"#;

/// A signature.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signature {
    /// From 1.
    pub(crate) signer: usize,
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
        let thread = thread::spawn(move || -> Result<()> {
            while !over.load(Ordering::Relaxed) {
                for signer in 1..=signers {
                    let folder = state.join("signers").join(signer.to_string()).join("state/journal");
                    let new = new_in(signer, &folder, &mut places)?;
                    let signature = Signature { signer, at: Instant::now() };
                    let mut seen = theirs.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.extend((0..new).map(|_| signature));
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
        self.signatures().iter().filter(|signature| signature.signer == signer).count()
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

/// Counts the `signed` records that are new in a journal, whole lines only.
fn new_in(signer: usize, folder: &Path, places: &mut BTreeMap<(usize, PathBuf), u64>) -> Result<usize> {
    let mut new = 0;
    for segment in fs::read_dir(folder)? {
        let file = segment?.path();
        let place = places.entry((signer, file.clone())).or_default();
        let mut reader = BufReader::new(File::open(&file)?);
        reader.seek(SeekFrom::Start(*place))?;
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 && line.ends_with(b"\n") {
            *place += line.len() as u64;
            new += usize::from(String::from_utf8_lossy(&line).contains(SIGNED));
            line.clear();
        }
    }
    Ok(new)
}
