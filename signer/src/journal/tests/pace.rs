//! How fast a journal is verified: a measurement, not a test of anything.

use std::time::Instant;

use sha2::{Digest, Sha256};
use shared::serial::SerialNumber;
use tokio::sync::oneshot;

use super::open_small;
use crate::{
    fixture,
    issuance::Ledger,
    journal::{
        Event, read, segment,
        writer::{Append, Writer},
    },
};

/// Certificates in the journal; each is two records.
const CERTIFICATES: u32 = 100_000;

#[test]
#[ignore = "a measurement: cargo test --release -p signer --lib pace -- --ignored --nocapture"]
#[allow(clippy::disallowed_methods, reason = "a measurement is in real time")]
fn the_pace_of_verification() {
    let folder = tempfile::tempdir().unwrap();
    drop(open_small(folder.path()));
    let folder = segment::folder(folder.path());
    let file = segment::open_last(&folder, 0).unwrap();
    let mut writer = Writer {
        folder: folder.clone(),
        file,
        head: super::Head::EMPTY,
        segment_bytes: super::SEGMENT_BYTES,
        policy: std::sync::Arc::default(),
        reserve: crate::journal::Reserve::new(&folder, 65_536),
    };
    let (intent, signed) = fixture::signed();
    let number = |number: u32| {
        let serial = [number.to_be_bytes(); 4].concat().try_into().unwrap();
        (format!("{}/{number}", fixture::ORDER), SerialNumber::from_random(serial))
    };
    for first in (0..CERTIFICATES).step_by(1000) {
        let events = (first..first + 1000).flat_map(|certificate| {
            let (order, serial) = number(certificate);
            let mut intent = intent.clone();
            (intent.order, intent.serial) = (order.clone(), serial);
            let mut signed = signed.clone();
            signed.chain.push(signed.chain[0].clone());
            (signed.order, signed.serial, signed.intent) = (order, serial, u64::from(certificate) * 2);
            [Event::Intent(Box::new(intent)), Event::Signed(signed)]
        });
        let group: Vec<_> = events.map(|event| Append { event, done: oneshot::channel().0 }).collect();
        writer.write_group(&group).unwrap();
    }
    let (ledger, started) = (Ledger::default(), Instant::now());
    let whole = read::read(&folder, |record, location| ledger.replay(&record, location)).unwrap();
    let verified = started.elapsed();
    let (mut hash, started) = (Sha256::new(), Instant::now());
    for number in 0..whole.segments {
        hash.update(std::fs::read(segment::path(&folder, number)).unwrap());
    }
    let (floor, _) = (started.elapsed(), hash.finalize());
    let bytes = read::bytes(&folder, &whole).unwrap();
    eprintln!(
        "{} records, {bytes} bytes, {} segments: verified in {verified:?}, {:.0} records/s, {:.0} MB/s; SHA-256 of the files {floor:?}: {:.1} times that",
        whole.head.length,
        whole.segments,
        whole.head.length as f64 / verified.as_secs_f64(),
        bytes as f64 / 1e6 / verified.as_secs_f64(),
        verified.as_secs_f64() / floor.as_secs_f64(),
    );
}
