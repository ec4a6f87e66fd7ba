//! Virtual time: whatever is revoked, ends, fails, is restarted or forgotten, CRLs say what they must.

use std::collections::{BTreeMap, btree_map::Entry::Vacant};

use proptest::prelude::*;
use shared::base64url::Base64Url;

use super::*;

const SETTINGS: CrlSettings = CrlSettings { shards: 2, has_complete: true, validity: 1000, interval: 100, delay: 10 };

fn issuer() -> IssuerId {
    "00".repeat(16).parse().unwrap()
}

fn parts() -> Vec<Part> {
    let shards = CrlShard::all(2).chain([CrlShard::COMPLETE]);
    shards.map(|shard| (issuer(), shard)).collect()
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(1_000_000 + seconds)
}

fn serial(number: u8) -> SerialNumber {
    SerialNumber::from_random([number; 16])
}

fn entry(revoked: u64, not_after: u64) -> Entry {
    Entry { at: at(revoked), reason: RevocationReason::KeyCompromise, not_after: at(not_after) }
}

fn signed(content: &CrlContent) -> Arc<SignedCrl> {
    let CrlContent { number, this_update, next_update, .. } = *content;
    Arc::new(SignedCrl { crl: Base64Url(Vec::new()), number, this_update, next_update, pending: false })
}

fn sign(book: &mut Book, part: Part, now: u64) -> CrlContent {
    let content = book.content(part, (at(now), at(now + 1000)), None).unwrap();
    book.journaled(part, content.number);
    book.release(part, &content, signed(&content));
    content
}

fn fresh() -> Book {
    let mut book = Book::default();
    parts().into_iter().for_each(|part| book.add(part, 0, None));
    book
}

#[test]
fn a_crl_is_due_at_its_interval_and_soon_after_a_revocation_of_its_part() {
    let mut book = fresh();
    assert_eq!(book.start(at(0), &SETTINGS).len(), 3, "there is none yet");
    assert!(book.start(at(1), &SETTINGS).is_empty(), "they are being signed");
    for part in parts() {
        sign(&mut book, part, 0);
    }
    assert!(book.start(at(99), &SETTINGS).is_empty());
    let part = CrlShard::holding(serial(1), 2);
    book.revoke(issuer(), serial(1), entry(20, 500));
    book.revoke(issuer(), serial(1), entry(25, 500));
    assert!(book.start(at(29), &SETTINGS).is_empty());
    let due = book.start(at(30), &SETTINGS);
    assert_eq!(due.iter().map(|(_, shard)| *shard).collect::<BTreeSet<_>>(), [part, CrlShard::COMPLETE].into());
    assert_eq!(book.overviews()[0].pending, 2);
    // What fails is tried again after a while, and not before.
    book.fail(due[0], at(30));
    assert!(book.start(at(34), &SETTINGS).is_empty());
    assert_eq!(book.start(at(35), &SETTINGS), [due[0]]);
    for part in due {
        assert_eq!(sign(&mut book, part, 36).entries.len(), 1);
    }
    assert_eq!(book.overviews()[0].pending, 0);
    assert_eq!(book.start(at(100), &SETTINGS).len(), 1, "the untouched part");
}

#[test]
fn a_revocation_that_comes_while_its_crl_is_signed_waits_for_the_next() {
    let mut book = fresh();
    let part = (issuer(), CrlShard::COMPLETE);
    let content = book.content(part, (at(10), at(1010)), None).unwrap();
    book.revoke(issuer(), serial(1), entry(10, 500));
    book.release(part, &content, signed(&content));
    assert!(book.newest(part).unwrap().1);
    assert_eq!(sign(&mut book, part, 20).entries.len(), 1);
    assert!(!book.newest(part).unwrap().1);
}

#[test]
fn numbers_rise_when_the_clock_goes_back_and_when_the_journal_knows_more_than_the_file() {
    let mut book = fresh();
    let part = (issuer(), CrlShard::COMPLETE);
    let first = sign(&mut book, part, 50);
    assert_eq!(first.number, at(50).seconds());
    let second = sign(&mut book, part, 10);
    assert_eq!(second.number, first.number + 1);
    let mut book = Book::default();
    book.add(part, second.number + 5, Some((second.clone(), signed(&second))));
    assert_eq!(book.start(at(11), &SETTINGS), [part], "there was a newer one");
    assert_eq!(sign(&mut book, part, 11).number, second.number + 6);
}

/// What can happen.
#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Revoke(u8, u64),
    Sign(usize),
    /// Signed and journaled, and then its file was not written.
    Lose(usize),
    /// Everything is read again: all revocations from the journal, CRLs from files of which some are gone.
    Restart(bool),
    /// The clock is set, forth or back; numbers and files stay.
    Set(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1_u64..120).prop_map(Step::Wait),
        (0_u8..12, 0_u64..200).prop_map(|(number, life)| Step::Revoke(number, life)),
        (0_usize..3).prop_map(Step::Sign),
        (0_usize..3).prop_map(Step::Lose),
        any::<bool>().prop_map(Step::Restart),
        (0_u64..4000).prop_map(Step::Set),
    ]
}

#[test]
fn what_had_ended_by_a_wrong_clock_is_on_the_first_crl_after_it_was_set_right() {
    let mut book = fresh();
    book.revoke(issuer(), serial(1), entry(0, 500));
    for part in parts() {
        sign(&mut book, part, 10);
        // A clock that is ahead by far: told to its end, and forgotten.
        sign(&mut book, part, 900_000);
    }
    assert!(book.content(parts()[2], (at(900_001), at(901_001)), None).unwrap().entries.is_empty());
    // What says that it was signed in the future is signed again at once.
    assert_eq!(book.start(at(20), &SETTINGS).len(), 3);
    for part in parts() {
        let number = book.parts[&part].number;
        let content = sign(&mut book, part, 20);
        assert_eq!(content.entries.len(), usize::from(part.1.holds(serial(1))));
        assert_eq!(content.number, number + 1);
    }
    assert!(book.start(at(119), &SETTINGS).is_empty());
}

proptest! {
    #[test]
    fn what_is_revoked_is_on_every_crl_until_one_that_was_signed_after_its_end(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let (mut now, mut book, parts) = (0, fresh(), parts());
        let mut journal: BTreeMap<SerialNumber, Entry> = BTreeMap::new();
        let mut numbers: BTreeMap<Part, u64> = BTreeMap::new();
        let mut files: BTreeMap<Part, CrlContent> = BTreeMap::new();
        let mut told: BTreeSet<(Part, SerialNumber)> = BTreeSet::new();
        for step in steps {
            match step {
                Step::Wait(seconds) => now += seconds,
                Step::Set(to) => now = to,
                Step::Revoke(number, life) => {
                    let entry = entry(now, now + life);
                    // The ledger lets one revocation of a certificate through.
                    if let Vacant(place) = journal.entry(serial(number)) {
                        place.insert(entry);
                        book.revoke(issuer(), serial(number), entry);
                        // By the clock as it was, it ended before that CRL: nobody needs to be told any more.
                        let ended = |part: &&Part| files.get(*part).is_some_and(|last| entry.not_after < last.this_update);
                        told.extend(parts.iter().filter(ended).map(|part| (*part, serial(number))));
                    }
                }
                Step::Sign(part) | Step::Lose(part) => {
                    let lost = matches!(step, Step::Lose(_));
                    let part = parts[part];
                    let content = book.content(part, (at(now), at(now + 1000)), None).unwrap();
                    prop_assert!(numbers.get(&part).is_none_or(|last| content.number > *last));
                    let listed: BTreeSet<_> = content.entries.iter().map(|entry| entry.serial).collect();
                    prop_assert_eq!(listed.len(), content.entries.len());
                    for (serial, entry) in journal.iter().filter(|(serial, _)| part.1.holds(**serial)) {
                        let must = entry.not_after >= at(now) || !told.contains(&(part, *serial));
                        prop_assert!(!must || listed.contains(serial), "{serial} at {now}");
                        if !lost && entry.not_after < at(now) {
                            told.insert((part, *serial));
                        }
                    }
                    let is_known = |entry: &CrlEntry| journal.get(&entry.serial).is_some_and(|known| known.at == entry.at);
                    let all_known = content.entries.iter().all(|entry| part.1.holds(entry.serial) && is_known(entry));
                    prop_assert!(all_known);
                    numbers.insert(part, content.number);
                    book.journaled(part, content.number);
                    if lost {
                        book.fail(part, at(now));
                    } else {
                        book.release(part, &content, signed(&content));
                        files.insert(part, content);
                        let pending = book.newest(part).unwrap().1;
                        prop_assert!(!pending);
                    }
                }
                Step::Restart(with_files) => {
                    book = Book::default();
                    for (serial, entry) in &journal {
                        book.revoke(issuer(), *serial, *entry);
                    }
                    for part in &parts {
                        let last = files.get(part).filter(|_| with_files);
                        let last = last.map(|content| (content.clone(), signed(content)));
                        book.add(*part, numbers.get(part).copied().unwrap_or(0), last);
                    }
                }
            }
        }
    }
}
