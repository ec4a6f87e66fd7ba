//! dns-account-01 (draft-ietf-acme-dns-account-label-02): dns-01 at a name of the account's own, so that several clients prove
//! one name without sharing a record. What must be found there is what dns-01 must find.

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};
use shared::identifier::DnsName;

use super::dns::{DnsFault, Question, RecordType};

/// Octets of the hash that make a label of 16 characters.
const HASH_OCTETS: usize = 10;

/// The first label: an underscore and the start of the hash of the account's URL (§3.2).
#[must_use]
pub fn label(account_url: &str) -> String {
    let hash = Sha256::digest(account_url);
    let start: Vec<u8> = hash.into_iter().take(HASH_OCTETS).collect();
    format!("_{}", BASE32_NOPAD.encode(&start).to_ascii_lowercase())
}

/// The texts at `_LABEL._acme-challenge.` before a name.
///
/// # Errors
/// [`DnsFault::NoSuchName`] when the longer name does not fit into a DNS message, so that it cannot exist.
pub fn question(name: &DnsName, account_url: &str) -> Result<Question, DnsFault> {
    Question::below(&[&label(account_url), "_acme-challenge"], name, RecordType::Txt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_the_draft() {
        let table = [
            ("https://example.com/acme/acct/ExampleAccount", "_ujmmovf2vn55tgye"),
            ("https://example.com/acme/acct/1", "_vrr7uudrklshxb6l"),
            ("https://example.com/acme/acct/12345", "_ao3pcvmacvwyw63b"),
        ];
        for (url, expected) in table {
            assert_eq!(label(url), expected);
        }
    }

    #[test]
    fn the_name_is_below_the_one_of_dns_01_and_a_wildcard_has_no_star() {
        let asked = question(&"*.a.test".parse().unwrap(), "https://example.com/acme/acct/1").unwrap();
        assert_eq!(asked.to_string(), "TXT _vrr7uudrklshxb6l._acme-challenge.a.test");
    }
}
