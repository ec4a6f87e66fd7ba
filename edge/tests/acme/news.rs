//! What follows a confirmed revocation: others are told until they know, and no longer than it is of use.

use edge::{
    acme::storage::{Key, Memory, Rows, Storage},
    status::{
        news::{Announcement, Pauses, Round, ended},
        revocation::{Ask, Due, Revoking, answered, due},
    },
};
use serde_json::json;
use shared::{
    base64url::Base64Url,
    revocation::RevocationReason,
    serial::SerialNumber,
    signing::{RevokeReply, Revoked},
    timestamp::Timestamp,
};

use crate::desk::Desk;

const PAUSES: Pauses = Pauses { purge: 2, retry: 10, most: 100 };
/// The signer's clock is not ours.
const JOURNALED: u64 = 900;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(1000 + seconds)
}

/// A certificate whose revocation was confirmed at 0, and its DER.
fn confirmed(purge: bool) -> (Memory, SerialNumber, Vec<u8>) {
    let (mut desk, certificate) = Desk::with_a_certificate(&["a.test"]);
    let order = desk.revoke(&json!({"certificate": Base64Url(certificate.clone())})).unwrap();
    let ask = Ask {
        serial: order.serial,
        revoking: Revoking { request: order.request, signer: "SIGNER_1".into(), since: at(0) },
    };
    let revoked = Revoked {
        serial: order.serial,
        reason: RevocationReason::Unspecified,
        at: Timestamp::from_seconds(JOURNALED),
        journal_index: 1,
    };
    let mut rows = Memory::default();
    let (changes, _) = answered(&rows, &ask, Ok(RevokeReply::Revoked(revoked)), purge, (at(0), at(2))).unwrap();
    rows.commit(&changes).unwrap();
    (rows, order.serial, certificate)
}

fn end(rows: &mut Memory, serial: SerialNumber, told: bool, purged: Option<bool>, now: u64) -> bool {
    let (changes, given_up) = ended(rows, serial, Round { told, purged }, at(now), PAUSES).unwrap();
    rows.commit(&changes).unwrap();
    given_up
}

fn open(rows: &Memory, serial: SerialNumber) -> Option<(bool, bool)> {
    let news = Announcement::stored(rows, serial).unwrap()?;
    Some((news.certificate.is_some(), news.purge))
}

#[test]
fn what_is_told_is_the_signers_time_and_the_certificate() {
    let (rows, serial, certificate) = confirmed(true);
    let news = Announcement::stored(&rows, serial).unwrap().unwrap();
    let expected =
        Announcement { serial, at: Timestamp::from_seconds(JOURNALED), certificate: Some(certificate), purge: true };
    assert_eq!(news, expected);
    // An alarm has the same to tell, and comes again when that is lost.
    let (changes, due) = due(&rows, serial, at(12)).unwrap();
    assert_eq!((due, changes.len()), (Due::Tell(expected), 1));
}

#[test]
fn nobody_is_told_twice_and_caches_wait_for_the_isolates() {
    let (mut rows, serial, _) = confirmed(false);
    assert!(!end(&mut rows, serial, true, None, 0));
    assert_eq!((open(&rows, serial), rows.next_due().unwrap()), (None, None));

    let (mut rows, serial, _) = confirmed(true);
    assert!(!end(&mut rows, serial, true, None, 0));
    assert_eq!((open(&rows, serial), rows.next_due().unwrap()), (Some((false, true)), Some(at(2))));
    assert!(!end(&mut rows, serial, true, Some(true), 2));
    assert_eq!((open(&rows, serial), rows.next_due().unwrap()), (None, None));
    assert!(rows.read(Key::Certificate(serial)).unwrap().unwrap().contains("revoked"), "that stays");
}

#[test]
fn what_fails_is_repeated_less_and_less_often_and_not_for_ever() {
    let (mut rows, serial, _) = confirmed(true);
    assert!(!end(&mut rows, serial, false, None, 0));
    assert_eq!(rows.next_due().unwrap(), Some(at(10)));
    assert!(!end(&mut rows, serial, true, Some(false), 10));
    assert_eq!((open(&rows, serial), rows.next_due().unwrap()), (Some((false, true)), Some(at(30))));
    assert!(!end(&mut rows, serial, true, Some(false), 100));
    // No cache has kept anything for so long.
    assert!(end(&mut rows, serial, true, Some(false), 101));
    assert_eq!((open(&rows, serial), rows.next_due().unwrap()), (None, None));

    let (mut rows, serial, _) = confirmed(false);
    let rounds = (0..1000).take_while(|now| !end(&mut rows, serial, false, None, *now)).count();
    assert!((20..100).contains(&rounds), "{rounds}");
    assert_eq!(rows.next_due().unwrap(), None);
}
