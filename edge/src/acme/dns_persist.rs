//! dns-persist-01 (draft-ietf-acme-dns-persist-02): one TXT record that stays, and says which account of which CA may have
//! certificates of the name. There is no token: the account's signature on its requests is the proof that is fresh.

use sha2::{Digest, Sha256};
use shared::{base64url, identifier::DnsName, jwk::Thumbprint, timestamp::Timestamp};

use super::{
    config::Config,
    dns::{DnsFault, Question, RecordType},
    issue_value::IssueValue,
};

/// What a record must fit.
#[derive(Clone, Debug)]
pub struct Expected<'a> {
    /// The domain names of this CA.
    pub issuers: &'a [DnsName],
    /// The name that the record is at, without a wildcard.
    pub name: &'a DnsName,
    /// True when a wildcard over the name is to be proved.
    pub wildcard: bool,
    /// The account's URL.
    pub account_url: &'a str,
    /// Keys that the account has or had.
    pub keys: &'a [Thumbprint],
    /// What hashed account URIs start with.
    pub hash_prefix: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// A record that proves the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Persistent {
    /// Nothing is proved after this, where the record has an end.
    pub until: Option<Timestamp>,
}

/// Why no record proves the name: of several records, the reason of the one that came furthest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum NotPersistent {
    /// No record names this CA.
    #[error("none names this CA")]
    OtherIssuer,
    /// Against the grammar, or a parameter is there twice.
    #[error("the one that names this CA is malformed")]
    Malformed,
    /// No `accounturi`, or another account's.
    #[error("the one that names this CA has another accounturi than this account's")]
    OtherAccount,
    /// A wildcard without `policy=wildcard`.
    #[error("the one of this account lacks policy=wildcard")]
    NoWildcard,
    /// `persistUntil` has passed.
    #[error("the persistUntil of the one of this account has passed")]
    Ended,
}

/// What a CA's hashed account URIs start with: `meta.accountHashPrefix` of the directory (§3.2). Nothing is served there.
#[must_use]
pub fn hash_prefix(config: &Config) -> String {
    format!("{}/account-hash/", config.base_url)
}

/// The texts at `_validation-persist.` before a name.
///
/// # Errors
/// [`DnsFault::NoSuchName`] when the longer name does not fit into a DNS message, so that it cannot exist.
pub fn question(name: &DnsName) -> Result<Question, DnsFault> {
    Question::below(&["_validation-persist"], name, RecordType::Txt)
}

/// A hashed account URI (§4.1): the account, its key and the name, or `*` for all names, as one digest.
#[must_use]
pub fn hashed_account(prefix: &str, name: &str, key: Thumbprint, account_url: &str) -> String {
    let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
    let digest = Sha256::new().chain_update([length]).chain_update(name).chain_update(key.to_string());
    format!("{prefix}sha-256/{}", base64url::encode(&digest.chain_update(account_url).finalize()))
}

impl Expected<'_> {
    /// Looks for a record that proves the name; others beside it do no harm.
    ///
    /// # Errors
    /// [`NotPersistent`].
    pub fn judge(&self, records: &[Vec<u8>]) -> Result<Persistent, NotPersistent> {
        let mut worst = NotPersistent::OtherIssuer;
        for record in records {
            match self.judge_one(record) {
                Ok(persistent) => return Ok(persistent),
                Err(why) => worst = worst.max(why),
            }
        }
        Err(worst)
    }

    fn judge_one(&self, record: &[u8]) -> Result<Persistent, NotPersistent> {
        let malformed = |_| NotPersistent::Malformed;
        let ours = |named: &str| self.issuers.iter().any(|issuer| issuer.as_str().eq_ignore_ascii_case(named));
        let named = record.split(|byte| *byte == b';').next().and_then(|start| str::from_utf8(start).ok());
        if !named.is_some_and(|named| ours(named.trim_matches([' ', '\t']))) {
            return Err(NotPersistent::OtherIssuer);
        }
        let value = IssueValue::parse(record).map_err(malformed)?;
        let account = value.parameter("accounturi").map_err(malformed)?;
        let policy = value.parameter("policy").map_err(malformed)?;
        let until = value.parameter("persistUntil").map_err(malformed)?.map(seconds).transpose()?;
        if !account.is_some_and(|account| self.is_account(account)) {
            return Err(NotPersistent::OtherAccount);
        }
        // Any other policy is as none (§4).
        if self.wildcard && !policy.is_some_and(|policy| policy.eq_ignore_ascii_case("wildcard")) {
            return Err(NotPersistent::NoWildcard);
        }
        match until {
            Some(until) if until < self.now => Err(NotPersistent::Ended),
            until => Ok(Persistent { until }),
        }
    }

    /// The hash of this name or of all names; or the URL itself, as drafts before -02 have it: here it is a digest of the
    /// account's first key, so that it names no other account either.
    fn is_account(&self, written: &str) -> bool {
        let hashed = |name: &str, key| hashed_account(self.hash_prefix, name, key, self.account_url) == written;
        written == self.account_url || self.keys.iter().any(|key| hashed(self.name.base(), *key) || hashed("*", *key))
    }
}

/// Seconds since the epoch, in digits alone.
fn seconds(text: &str) -> Result<Timestamp, NotPersistent> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = digits.then(|| text.parse().ok()).flatten();
    seconds.map(Timestamp::from_seconds).ok_or(NotPersistent::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shared::testing::TestKey;

    const ACCOUNT: &str = "https://ca.example/acct/123";
    const PREFIX: &str = "https://ca.example/account-hash/";
    const NOW: u64 = 1_800_000_000;

    fn judge(wildcard: bool, records: &[&str]) -> Result<Persistent, NotPersistent> {
        let issuers = ["other.example".parse().unwrap(), "authority.example".parse().unwrap()];
        let name = "example.com".parse().unwrap();
        let expected = Expected {
            issuers: &issuers,
            name: &name,
            wildcard,
            account_url: ACCOUNT,
            keys: &[TestKey::new(1).jwk().thumbprint()],
            hash_prefix: PREFIX,
            now: Timestamp::from_seconds(NOW),
        };
        expected.judge(&records.iter().map(|record| record.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    fn of_account(rest: &str) -> String {
        format!("authority.example; accounturi={ACCOUNT}{rest}")
    }

    #[test]
    fn the_hashed_account_is_that_of_the_draft() {
        // Section 10.2.
        let key = base64url::decode("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs").unwrap();
        let key = Thumbprint(key.try_into().unwrap());
        let hashed = |name| hashed_account(PREFIX, name, key, ACCOUNT);
        assert_eq!(hashed("example.com"), format!("{PREFIX}sha-256/5SQm7n6tPh2-PlLbCKGnViTXX5z19SCN4cPGQHSk-kw"));
        assert_eq!(hashed("*"), format!("{PREFIX}sha-256/NpDnSwUthQK8zCgFdefYxAdAVPnygMLbs9US6oO-5ug"));
    }

    #[test]
    fn a_hash_is_of_this_account_this_key_and_this_name_or_all_names() {
        let of = |name, seed, url| {
            let hashed = hashed_account(PREFIX, name, TestKey::new(seed).jwk().thumbprint(), url);
            judge(false, &[&format!("authority.example; accounturi={hashed}")]).is_ok()
        };
        assert!(of("example.com", 1, ACCOUNT));
        assert!(of("*", 1, ACCOUNT));
        assert!(!of("a.example.com", 1, ACCOUNT));
        assert!(!of("example.com", 2, ACCOUNT));
        assert!(!of("example.com", 1, "https://ca.example/acct/124"));
    }

    #[test]
    fn every_record_is_permitted_or_has_its_reason() {
        let table = [
            (false, of_account(""), Ok(())),
            (false, of_account("; unknown=1; policy=other"), Ok(())),
            (false, format!("AUTHORITY.example ;\tACCOUNTURI = {ACCOUNT}"), Ok(())),
            (true, of_account("; policy=WildCard"), Ok(())),
            (true, of_account(""), Err(NotPersistent::NoWildcard)),
            (true, of_account("; policy=other"), Err(NotPersistent::NoWildcard)),
            (false, of_account(&format!("; persistUntil={NOW}")), Ok(())),
            (false, of_account(&format!("; persistUntil={}", NOW - 1)), Err(NotPersistent::Ended)),
            (false, of_account("; persistUntil="), Err(NotPersistent::Malformed)),
            (false, of_account("; persistUntil=+1800000001"), Err(NotPersistent::Malformed)),
            (false, of_account("; persistUntil=99999999999999999999"), Err(NotPersistent::Malformed)),
            (false, of_account(&format!("; accounturi={ACCOUNT}")), Err(NotPersistent::Malformed)),
            (false, of_account(";"), Err(NotPersistent::Malformed)),
            (false, "authority.example".to_owned(), Err(NotPersistent::OtherAccount)),
            (false, "authority.example; accounturi=".to_owned(), Err(NotPersistent::OtherAccount)),
            (false, format!("authority.example; accounturi={ACCOUNT}4"), Err(NotPersistent::OtherAccount)),
            (false, format!("evil.example; accounturi={ACCOUNT}"), Err(NotPersistent::OtherIssuer)),
            (false, format!("; accounturi={ACCOUNT}"), Err(NotPersistent::OtherIssuer)),
            (false, String::new(), Err(NotPersistent::OtherIssuer)),
        ];
        for (wildcard, record, expected) in table {
            assert_eq!(judge(wildcard, &[&record]).map(|_| ()), expected, "{record}");
        }
    }

    #[test]
    fn a_right_record_counts_whatever_is_beside_it_and_the_best_reason_is_told() {
        assert!(judge(false, &["x", "authority.example;;", &of_account("")]).is_ok());
        assert_eq!(judge(true, &[&of_account(""), "x"]), Err(NotPersistent::NoWildcard));
        assert_eq!(judge(false, &[]), Err(NotPersistent::OtherIssuer));
    }

    #[test]
    fn the_end_of_a_record_is_told() {
        let until = judge(false, &[&of_account(&format!("; persistUntil={}", NOW + 5))]).unwrap().until;
        assert_eq!(until, Some(Timestamp::from_seconds(NOW + 5)));
    }

    proptest! {
        #[test]
        fn hostile_records_never_panic_and_never_prove(record in prop::collection::vec(any::<u8>(), 0..80)) {
            let text = String::from_utf8_lossy(&record).into_owned();
            let judged = judge(true, &[&text, &format!("authority.example;{text}")]);
            prop_assert!(judged.is_err());
        }
    }
}
