//! Who has which binding: the bindings as their file has them now, and the accounts that this signer has bound, as its journal says.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use shared::{
    jwk::Thumbprint,
    signing::{Refusal, Refused},
};
use tokio::{sync::watch, time::interval};

use crate::{
    admit::refused,
    bind::{Bindable, Cause},
    bindings::{Bindings, Stamp, stamp},
    journal::{Event, Record},
    policy::Policy,
};

/// How often the file is looked at while nobody asks.
const LOOK: Duration = Duration::from_millis(500);

/// Bindings and their accounts.
#[derive(Debug, Default)]
pub(crate) struct Bound {
    read: RwLock<Read>,
    accounts: Mutex<HashMap<String, Accounts>>,
}

/// What was read of the file, and when it is to be read again.
#[derive(Clone, Debug, Default)]
struct Read {
    bindings: Arc<Bindings>,
    /// None where the policy knows no grants.
    file: Option<PathBuf>,
    /// Of the file as it was before it was read: what has changed since is read again.
    stamp: Stamp,
}

/// The accounts of one binding.
#[derive(Debug, Default)]
struct Accounts {
    /// Their keys.
    present: HashSet<Thumbprint>,
    /// Keys that accounts have had, and those that followed them.
    followed: HashMap<Thumbprint, Thumbprint>,
}

impl Bound {
    /// Takes in a record of the journal, in order, at start.
    pub(crate) fn replay(&self, record: &Record) {
        let Event::Bound(bound) = &record.event else { return };
        let key = |bytes: &[u8]| <[u8; 32]>::try_from(bytes).ok().map(Thumbprint);
        if let Some(account) = key(&bound.account.0) {
            let old = bound.follows.as_ref().and_then(|old| key(&old.0));
            self.accounts().entry(bound.binding.clone()).or_default().put(account, old);
        }
    }

    /// The bindings of this moment. The file is looked at each time, so that a binding that was handed out, or revoked, a moment ago is
    /// so at every signer that shares the file.
    pub(crate) fn bindings(&self) -> Arc<Bindings> {
        let read = self.read.read().unwrap_or_else(PoisonError::into_inner).clone();
        match read.file {
            Some(file) if stamp(&file) != read.stamp => self.read_again(file),
            Some(_) | None => read.bindings,
        }
    }

    /// Returns true when an account of this binding had this key and has another one now (RFC 8555 §7.3.5).
    pub(crate) fn is_replaced(&self, binding: &str, key: Thumbprint) -> bool {
        self.accounts().get(binding).is_some_and(|accounts| accounts.followed.contains_key(&key))
    }

    /// Counts an account in. True when that is new, and has to be journaled; what cannot be journaled is counted out again.
    ///
    /// # Errors
    /// [`Refusal::BindingUsed`], [`Refusal::GrantExpired`].
    pub(crate) fn count_in(&self, asked: &Bindable) -> Result<bool, Refused> {
        let mut accounts = self.accounts();
        let accounts = accounts.entry(asked.binding.kid.clone()).or_default();
        let old_key = || refused(Refusal::GrantExpired, "the account has another key now");
        // A key that was replaced opens, renews and follows nothing any more.
        if accounts.followed.contains_key(&asked.account) {
            return Err(old_key());
        }
        let old = match asked.cause {
            Cause::Follows(old) => {
                if accounts.followed.get(&old).is_some_and(|new| *new != asked.account) {
                    return Err(old_key());
                }
                Some(old)
            }
            Cause::Opens | Cause::Renews => None,
        };
        if accounts.present.contains(&asked.account) && old.is_none_or(|old| accounts.followed.contains_key(&old)) {
            return Ok(false);
        }
        match asked.cause {
            // Counted where it opened.
            Cause::Renews => return Ok(false),
            Cause::Opens => {
                let used = u64::try_from(accounts.present.len()).unwrap_or(u64::MAX);
                if asked.binding.uses.is_some_and(|uses| used >= uses) {
                    return Err(refused(Refusal::BindingUsed, format!("{used} accounts have this binding")));
                }
            }
            Cause::Follows(_) => {}
        }
        accounts.put(asked.account, old);
        Ok(true)
    }

    /// Takes back what [`Self::count_in`] has counted.
    pub(crate) fn count_out(&self, asked: &Bindable) {
        if let Some(accounts) = self.accounts().get_mut(&asked.binding.kid) {
            accounts.present.remove(&asked.account);
            if let Cause::Follows(old) = asked.cause {
                accounts.followed.remove(&old);
                accounts.present.insert(old);
            }
        }
    }

    /// Reads the file that the policy names, once.
    ///
    /// # Errors
    /// See [`Bindings::read`].
    pub(crate) fn load(&self, policy: &Policy) -> anyhow::Result<()> {
        if let Ok(grants) = policy.grants() {
            let stamp = stamp(&grants.bindings);
            let bindings = Arc::new(Bindings::read(&grants.bindings)?);
            self.replace(Read { bindings, file: Some(grants.bindings.clone()), stamp });
        }
        Ok(())
    }

    /// Follows the policy to the file that it names, and that file, for ever.
    pub(crate) async fn follow(self: Arc<Self>, policy: watch::Receiver<Arc<Policy>>) {
        let mut look = interval(LOOK);
        loop {
            look.tick().await;
            let file = policy.borrow().grants().ok().map(|grants| grants.bindings.clone());
            let same = self.read.read().unwrap_or_else(PoisonError::into_inner).file == file;
            match file {
                Some(_) if same => drop(self.bindings()),
                Some(file) => drop(self.read_again(file)),
                None => self.replace(Read::default()),
            }
        }
    }

    /// Reads this file. What cannot be read leaves all as it was, until the file is another one again.
    fn read_again(&self, file: PathBuf) -> Arc<Bindings> {
        let stamp = stamp(&file);
        let bindings = match Bindings::read(&file) {
            Ok(bindings) => {
                tracing::info!(bindings = bindings.iter().count(), "bindings read");
                Arc::new(bindings)
            }
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "the bindings cannot be read, and are as before");
                Arc::clone(&self.read.read().unwrap_or_else(PoisonError::into_inner).bindings)
            }
        };
        self.replace(Read { bindings: Arc::clone(&bindings), file: Some(file), stamp });
        bindings
    }

    fn replace(&self, read: Read) {
        *self.read.write().unwrap_or_else(PoisonError::into_inner) = read;
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<String, Accounts>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Accounts {
    fn put(&mut self, account: Thumbprint, old: Option<Thumbprint>) {
        if let Some(old) = old {
            self.present.remove(&old);
            self.followed.insert(old, account);
        }
        self.present.insert(account);
    }
}
