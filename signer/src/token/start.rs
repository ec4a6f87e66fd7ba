//! Starts of workers: one after another for each module, and never two on one token.
//!
//! Some modules look at every reader when they are loaded, so that two that start at once disturb each other; and workers of one key
//! must see what the one before has chosen. A start that hangs gives up its turn, but not its life: the others need not wait for its end.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::timeout;

use super::choice::TokenId;

/// How long a start keeps others from theirs at most.
pub(crate) const TURN: Duration = Duration::from_secs(5);

/// What a token that signs is left alone between two signatures while another of its module starts. Modules look at every token when
/// they start, and pcscd gives a token that is in use to whoever asks in the right moment: who has to wait asks every 100 ms. Without
/// a gap, a token under load keeps others from coming back for as long as the load lasts.
pub(crate) const GAP: Duration = Duration::from_millis(150);

/// What the drivers of all tokens share.
#[derive(Debug, Default)]
pub(crate) struct Starts {
    turns: Mutex<HashMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>,
    held: Mutex<Vec<Held>>,
}

/// A token that a worker has, as long as this lives.
#[derive(Debug)]
pub(crate) struct Claim {
    starts: Arc<Starts>,
    held: Held,
}

/// Which token of which module works for which issuer, by position.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    issuer: usize,
    module: PathBuf,
    id: TokenId,
}

impl Starts {
    /// Runs a start when it is its turn: after the others of its module that came before, or [`TURN`] after the last of them began.
    pub(crate) async fn in_turn<T>(&self, module: &Path, start: impl Future<Output = T>) -> T {
        let turn = Arc::clone(lock(&self.turns).entry(module.to_owned()).or_default());
        let mut start = std::pin::pin!(start);
        let waited = {
            let _turn = turn.lock().await;
            timeout(TURN, &mut start).await
        };
        match waited {
            Ok(done) => done,
            Err(_) => start.await,
        }
    }

    /// True while a start of this module has its turn, and needs to get at tokens that others use.
    pub(crate) fn underway(&self, module: &Path) -> bool {
        lock(&self.turns).get(module).is_some_and(|turn| turn.try_lock().is_err())
    }

    /// The tokens of this module that workers have for this issuer.
    pub(crate) fn held(&self, issuer: usize, module: &Path) -> Vec<TokenId> {
        let held = lock(&self.held);
        let of_issuer = held.iter().filter(|held| held.issuer == issuer && held.module == module);
        of_issuer.map(|held| held.id.clone()).collect()
    }

    /// Takes a token; nothing when another worker has it.
    pub(crate) fn claim(self: &Arc<Self>, issuer: usize, module: &Path, id: TokenId) -> Option<Claim> {
        let claimed = Held { issuer, module: module.to_owned(), id };
        let mut held = lock(&self.held);
        if held.contains(&claimed) {
            return None;
        }
        held.push(claimed.clone());
        drop(held);
        Some(Claim { starts: Arc::clone(self), held: claimed })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.starts.held).retain(|held| *held != self.held);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::sleep;

    use super::*;

    fn id(serial: &str) -> TokenId {
        TokenId { serial: serial.into(), twin: 0 }
    }

    #[test]
    fn a_token_is_one_workers_until_that_ends() {
        let (starts, module) = (Arc::new(Starts::default()), Path::new("/m"));
        let first = starts.claim(0, module, id("a")).unwrap();
        assert!(starts.claim(0, module, id("a")).is_none());
        let _second = starts.claim(0, module, id("b")).unwrap();
        assert!(starts.claim(1, module, id("a")).is_some(), "another issuer's key in the same token");
        assert_eq!(starts.held(0, module), [id("a"), id("b")]);
        drop(first);
        assert_eq!(starts.held(0, module), [id("b")]);
    }

    #[tokio::test(start_paused = true)]
    async fn starts_of_one_module_follow_each_other_and_one_that_hangs_holds_up_nobody_for_long() {
        let starts = Arc::new(Starts::default());
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let start = |milliseconds| {
            let (starts, running, most) = (&starts, &running, &most);
            starts.in_turn(Path::new("/m"), async move {
                assert!(starts.underway(Path::new("/m")) && !starts.underway(Path::new("/n")));
                most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                sleep(Duration::from_millis(milliseconds)).await;
                running.fetch_sub(1, Ordering::Relaxed);
            })
        };
        let begun = tokio::time::Instant::now();
        tokio::join!(start(100), start(100), start(100));
        assert_eq!((begun.elapsed().as_millis() / 100, most.load(Ordering::Relaxed)), (3, 1));
        assert!(!starts.underway(Path::new("/m")));

        let begun = tokio::time::Instant::now();
        let other = async {
            start(100).await;
            begun.elapsed()
        };
        let ((), waited) = tokio::join!(start(60_000), other);
        assert!(waited >= TURN && waited < TURN * 2, "{waited:?}");
        assert!(begun.elapsed() >= Duration::from_secs(60), "the one that hung was not given up");
    }
}
