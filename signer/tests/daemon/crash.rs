//! Kills at the worst moments. One order, one certificate, whatever happens.

use std::{collections::BTreeMap, fs, thread, time::Duration};

use crate::{
    client::{Edge, csr, simple},
    site::Site,
};

#[test]
fn killed_at_ten_random_points_there_is_exactly_one_certificate_for_each_order() {
    let site = Site::new(&["a1"]);
    for round in 0..10_usize {
        let mut daemon = site.serve();
        let asked = simple(round);
        thread::scope(|scope| {
            let pending = scope.spawn(|| Edge::new(&site).issue(&asked));
            // From before the handshake to after the answer.
            thread::sleep(Duration::from_micros(u64::from(random_byte()) * 150));
            daemon.kill();
            let _ = pending.join().unwrap();
        });
        let _daemon = site.serve();
        let edge = Edge::new(&site);
        let issued = edge.issued(&asked);
        assert_eq!(edge.issued(&asked), issued);
    }
    let mut of_order: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for record in site.events("intent") {
        of_order.entry(record["order"].to_string()).or_default().0 += 1;
    }
    for record in site.events("signed") {
        of_order.entry(record["order"].to_string()).or_default().1 += 1;
    }
    assert_eq!(of_order.len(), 10);
    assert!(of_order.values().all(|counts| *counts == (1, 1)), "{of_order:?}");
    site.signer_ok("journal verify --config signer.toml");
}

#[test]
fn an_intent_without_its_signature_is_signed_as_it_stands() {
    let site = Site::new(&["a1", "a2"]);
    let mut daemon = site.serve();
    let (edge, asked) = (Edge::new(&site), simple(1));
    let lost = edge.issued(&asked);
    daemon.kill();
    // As if the crash had come before the second record.
    let path = site.path("state/journal/00000000.jsonl");
    let journal = fs::read_to_string(&path).unwrap();
    let (intent, signed) = journal.split_once('\n').unwrap();
    fs::write(&path, format!("{intent}\n{}", &signed[..signed.len() / 2])).unwrap();
    let daemon = site.serve();
    assert!(daemon.log().contains("torn"), "{}", daemon.log());
    let issued = edge.issued(&asked);
    assert_eq!(issued.serial, lost.serial);
    assert_eq!(tbs(&issued.chain[0].0), tbs(&lost.chain[0].0), "the very bytes of the intent");
    assert_eq!(issued.chain[1], lost.chain[1], "by the same issuer");
    assert_eq!((site.events("intent").len(), site.events("signed").len()), (1, 1));
}

fn tbs(certificate: &[u8]) -> Vec<u8> {
    use der::{Decode, Encode};
    x509_cert::Certificate::from_der(certificate).unwrap().tbs_certificate().to_der().unwrap()
}

/// Different in every round and every run, without a generator: from a fresh key.
fn random_byte() -> u8 {
    csr(&["random.test"]).last().copied().unwrap()
}
