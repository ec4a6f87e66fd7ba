//! The operator's external account bindings (RFC 8555 §7.3.4): a file that `signer eab` writes and every signer of a deployment reads.
//! It is replaced whole, under a lock, and read again when it has changed. What cannot be read changes nothing.

use std::{collections::BTreeMap, fmt, fs, os::unix::fs::MetadataExt, path::Path};

use anyhow::{Context, ensure};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use shared::{
    base64url::Base64Url,
    external_account::KEY_MIN_BYTES,
    signing::{Refusal, Refused},
    timestamp::Timestamp,
};
use zeroize::Zeroize;

use crate::{
    admit::refused,
    files::{self, Folder},
};

/// The form of the file.
const VERSION: u8 = 1;
/// Characters of a key id (RFC 8555 §7.3.4: ASCII).
const KID_MAX: usize = 128;

/// All bindings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bindings(BTreeMap<String, Binding>);

/// One that was handed out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Binding {
    /// The key id.
    pub(crate) kid: String,
    pub(crate) key: MacKey,
    /// The scope of the policy that its accounts may use.
    pub(crate) scope: String,
    /// How many accounts may have it; any number when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uses: Option<u64>,
    pub(crate) created: Timestamp,
    /// After this it gives nothing; never when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<Timestamp>,
    /// Since when it gives nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revoked: Option<Timestamp>,
}

/// A client's key. Never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct MacKey(Base64Url);

/// What tells one state of a file from the next.
pub(crate) type Stamp = Option<(u64, i64, i64, u64)>;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BindingsFile {
    version: u8,
    bindings: Vec<Binding>,
}

impl Bindings {
    /// Reads the file; no file is no bindings.
    ///
    /// # Errors
    /// When it is not ours, others may read it, or its content is not what `signer eab` writes.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        if !fs::exists(path).with_context(|| path.display().to_string())? {
            return Ok(Self::default());
        }
        let text = files::read_private(path)?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    /// Changes the file as nobody else does at the same time.
    ///
    /// # Errors
    /// When it cannot be read, locked or written, or the change fails; then it is as it was.
    pub(crate) fn change<T>(path: &Path, change: impl FnOnce(&mut Self) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let folder =
            Folder::open(files::folder_of(path)).with_context(|| format!("the folder of {}", path.display()))?;
        // The folder, not the file: that is another one after each change.
        let _lock = Flock::lock(folder.into_file(), FlockArg::LockExclusive)
            .map_err(|(_, error)| anyhow::Error::new(error).context(format!("cannot lock {}", path.display())))?;
        let mut bindings = Self::read(path)?;
        let result = change(&mut bindings)?;
        let file = BindingsFile { version: VERSION, bindings: bindings.0.into_values().collect() };
        let mut text = serde_json::to_vec_pretty(&file)?;
        text.push(b'\n');
        files::replace(path, &text)?;
        text.zeroize();
        Ok(result)
    }

    /// Puts a new one in.
    ///
    /// # Errors
    /// When there is one of this key id.
    pub(crate) fn add(&mut self, binding: Binding) -> anyhow::Result<()> {
        ensure!(!self.0.contains_key(&binding.kid), "there is a binding {}", binding.kid);
        self.0.insert(binding.kid.clone(), binding);
        Ok(())
    }

    /// Ends one, for ever. Gives when it ended: now, or when it was ended before.
    ///
    /// # Errors
    /// When there is none of this key id.
    pub(crate) fn revoke(&mut self, kid: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
        let binding = self.0.get_mut(kid).with_context(|| format!("there is no binding {kid:?}"))?;
        Ok(*binding.revoked.get_or_insert(now))
    }

    /// All, by their key ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Binding> {
        self.0.values()
    }

    /// True when there is one of this key id, whether it gives anything or not.
    pub(crate) fn has(&self, kid: &str) -> bool {
        self.0.contains_key(kid)
    }

    /// The binding of this key id, if it gives anything now.
    ///
    /// # Errors
    /// [`Refusal::UnknownBinding`].
    pub(crate) fn live(&self, kid: &str, now: Timestamp) -> Result<&Binding, Refused> {
        let unknown = |detail: &str| refused(Refusal::UnknownBinding, detail);
        let binding = self.0.get(kid).ok_or_else(|| unknown("there is no such binding"))?;
        if binding.revoked.is_some() {
            return Err(unknown("the binding was revoked"));
        }
        if binding.expires.is_some_and(|end| end <= now) {
            return Err(unknown("the binding has expired"));
        }
        Ok(binding)
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let file: BindingsFile = serde_json::from_str(text)?;
        ensure!(file.version == VERSION, "its version is {}, not {VERSION}", file.version);
        let mut bindings = Self::default();
        for binding in file.bindings {
            let kid = &binding.kid;
            ensure!((1..=KID_MAX).contains(&kid.len()) && kid.is_ascii(), "a kid has 1 to {KID_MAX} ASCII characters");
            ensure!(binding.key.bytes().len() >= KEY_MIN_BYTES, "{kid}: its key has fewer than {KEY_MIN_BYTES} bytes");
            bindings.add(binding)?;
        }
        Ok(bindings)
    }
}

impl MacKey {
    /// A key of these bytes.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(Base64Url(bytes.to_vec()))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0.0
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey")
    }
}

impl Drop for MacKey {
    fn drop(&mut self) {
        self.0.0.zeroize();
    }
}

/// The state of a file; nothing when there is none.
pub(crate) fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(kid: &str) -> Binding {
        Binding {
            kid: kid.into(),
            key: MacKey::new(&[7; 32]),
            scope: "closed".into(),
            uses: None,
            created: Timestamp::from_seconds(0),
            expires: None,
            revoked: None,
        }
    }

    #[test]
    fn the_file_of_bindings_is_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bindings.json");
        Bindings::change(&path, |bindings| bindings.add(Binding { uses: Some(2), ..binding("a") })).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let key = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
        let expected = serde_json::json!({"version": 1, "bindings": [
            {"kid": "a", "key": key, "scope": "closed", "uses": 2, "created": "1970-01-01T00:00:00Z"}
        ]});
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), expected);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(!format!("{:?}", Bindings::read(&path).unwrap()).contains("7, 7"));
    }

    #[test]
    fn changes_at_the_same_time_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bindings.json");
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let path = &path;
                scope.spawn(move || {
                    for number in 0..10 {
                        Bindings::change(path, |bindings| bindings.add(binding(&format!("{thread}-{number}"))))
                            .unwrap();
                    }
                });
            }
        });
        assert_eq!(Bindings::read(&path).unwrap().iter().count(), 40);
    }

    #[test]
    fn a_binding_lives_until_it_expires_or_is_revoked() {
        let mut bindings = Bindings::default();
        let end = Timestamp::from_seconds(10);
        bindings.add(Binding { expires: Some(end), ..binding("a") }).unwrap();
        assert!(bindings.add(binding("a")).is_err());
        assert!(bindings.live("a", end.minus(1)).is_ok());
        assert_eq!(bindings.live("a", end).unwrap_err().reason, Refusal::UnknownBinding);
        assert_eq!(bindings.revoke("a", end.minus(5)).unwrap(), end.minus(5));
        assert_eq!(bindings.revoke("a", end).unwrap(), end.minus(5));
        assert!(bindings.live("a", end.minus(5)).is_err());
        assert!(bindings.revoke("b", end).is_err());
    }

    /// RFC 8555 §7.3.4 MUST: a key id is ASCII.
    #[test]
    fn a_file_that_is_not_what_is_written_is_refused() {
        let short =
            r#"{"version":1,"bindings":[{"kid":"a","key":"AAAA","scope":"s","created":"1970-01-01T00:00:00Z"}]}"#;
        let foreign = short.replace("AAAA", &"A".repeat(43)).replace("\"a\"", "\"\u{fc}\"");
        for text in ["", "{}", r#"{"version":2,"bindings":[]}"#, short, &foreign] {
            assert!(Bindings::parse(text).is_err(), "{text}");
        }
    }
}
