//! What was signed for others, and revocations that no client asked for.

use std::{collections::BTreeSet, thread, time::Duration};

use serde_json::json;
use shared::{
    base64url,
    serial::SerialNumber,
    signing::{DISOWN_PATH, DisownRequest, IssueRequest, RECORDS_PATH, RecordsReply, Refusal, RevokeReply},
    testing::TestKey,
};

use super::{Attempt, SECOND, Stage, policy};
use crate::{
    client::{Edge, csr, simple},
    records::{allow, disowned, read_all, refused},
    site::{Site, eventually, issue_identity, stopwatch},
};

/// Two edges of an issuer that signs no CRL by itself for as long as a test takes; the one that was taken over may disown three.
fn stage() -> (Stage, Edge) {
    let site = Site::new(&["a1"]);
    site.tell_status("crl_shards = 1\ncrl_delay_seconds = 3600");
    allow(&site, "disowned_per_day = 3");
    policy(&site);
    let stage = Stage::of(site);
    eventually("the first CRL", || stage.site.events("crl").len() == 1);
    let second = Edge::with(&stage.site, Some(&issue_identity(&stage.site.infrastructure, SECOND)));
    (stage, second)
}

/// An order of the second edge.
pub(crate) fn of_second(number: usize) -> IssueRequest {
    let (base, account, asked) = ("https://second.test", TestKey::new(2), simple(number));
    let order = format!("{base}/acme/order/ref/{number:024x}");
    let header =
        json!({"kid": format!("{base}/acme/account/1"), "nonce": "bm9uY2U", "url": format!("{order}/finalize")});
    let payload = json!({"csr": base64url::encode(&csr(&[&format!("host-{number}.test")]))}).to_string();
    let finalize = serde_json::from_value(account.sign_jws(&header, payload.as_bytes())).unwrap();
    IssueRequest { order, finalize, account_key: account.jwk(), ..asked }
}

fn nobodys() -> SerialNumber {
    SerialNumber::from_random([9; 16])
}

/// What asks for nothing that there is.
pub(super) fn garbled(_stage: &Stage) -> Vec<Attempt> {
    let serial = nobodys();
    let records = [
        ("a cursor before the first record", r#"{"from":-1}"#.to_owned()),
        ("a cursor between two records", r#"{"from":1.5}"#.to_owned()),
        ("a cursor that is text", r#"{"from":"0"}"#.to_owned()),
        ("a cursor beyond all numbers", r#"{"from":18446744073709551616}"#.to_owned()),
        ("another edge's records", format!(r#"{{"from":0,"edge":"{SECOND}"}}"#)),
        ("more records than one answer has", r#"{"from":0,"limit":1000000}"#.to_owned()),
    ];
    let disown = [
        ("no number", r#"{"serial":""}"#.to_owned()),
        ("what is no number", r#"{"serial":"all"}"#.to_owned()),
        ("a number that is too long", format!(r#"{{"serial":"{}"}}"#, "1".repeat(42))),
        ("a list of numbers", format!(r#"{{"serial":["{serial}"]}}"#)),
        ("another reason", format!(r#"{{"serial":"{serial}","reason":"keyCompromise"}}"#)),
        ("a client's right", format!(r#"{{"serial":"{serial}","right":"account"}}"#)),
        ("another edge's name", format!(r#"{{"serial":"{serial}","edge":"{SECOND}"}}"#)),
    ];
    let attempt = |path| move |(name, body)| Attempt::bytes(name, Refusal::Malformed, path, body);
    records.into_iter().map(attempt(RECORDS_PATH)).chain(disown.into_iter().map(attempt(DISOWN_PATH))).collect()
}

#[test]
fn an_edge_reads_and_disowns_nothing_of_another_edge_nor_learns_what_that_has() {
    let (stage, second) = stage();
    let ours = stage.edge.issued(&simple(1)).serial;
    let theirs = [2, 3].map(|number| second.issued(&of_second(number)).serial);
    let serials = |edge: &Edge| read_all(edge).iter().map(|record| record.serial).collect::<Vec<_>>();
    assert_eq!((serials(&stage.edge), serials(&second)), (vec![ours], theirs.to_vec()));
    // From every place, between the others' records too.
    for from in 0..stage.site.journal().len() as u64 {
        let RecordsReply::Records { certificates, .. } = stage.edge.records(from) else { panic!("refused") };
        assert!(certificates.iter().all(|record| record.serial == ours));
    }
    // One of theirs is revoked, one is not, and one was never there.
    disowned(&second, theirs[1]);
    let answer = |serial: SerialNumber| {
        let body = serde_json::to_vec(&DisownRequest { serial }).unwrap();
        let (status, answer) = stage.edge.post_to(DISOWN_PATH, &body).unwrap();
        (status, answer.replace(&serial.to_string(), "…"))
    };
    let answers: Vec<_> = [theirs[0], theirs[1], nobodys()].into_iter().map(answer).collect();
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    let attempt =
        |name, serial| Attempt::post(name, Refusal::UnknownCertificate, DISOWN_PATH, &DisownRequest { serial });
    stage.try_each(&[
        attempt("another edge's certificate", theirs[0]),
        attempt("another edge's certificate that is revoked", theirs[1]),
        attempt("nobody's certificate", nobodys()),
    ]);
    assert_eq!(stage.site.events("revoked").len(), 1);
}

#[test]
fn an_edge_disowns_no_more_than_its_share_of_a_day_however_it_asks() {
    let (stage, second) = stage();
    let serials: Vec<_> = (1..7).map(|number| stage.edge.issued(&simple(number)).serial).collect();
    let theirs = second.issued(&of_second(7)).serial;
    let all_at_once = || {
        thread::scope(|scope| {
            let ask = || {
                let edge = Edge::new(&stage.site);
                let reply = |serial: &SerialNumber| match edge.disown(*serial) {
                    RevokeReply::Revoked(revoked) => Some(revoked.serial),
                    RevokeReply::Refused(refused) if refused.reason == Refusal::OverBudget => None,
                    RevokeReply::Refused(refused) => panic!("{refused:?}"),
                };
                serials.iter().filter_map(reply).collect::<BTreeSet<_>>()
            };
            let threads: Vec<_> = (0..6).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<BTreeSet<_>>()
        })
    };
    // Whoever is first takes the share; the same again changes nothing.
    let first = all_at_once();
    assert_eq!((first.len(), all_at_once()), (3, first.clone()));
    assert_eq!(stage.site.events("revoked").len(), 3);
    let spared = serials.iter().find(|serial| !first.contains(serial)).unwrap();
    assert!(refused(&stage.edge, *spared).detail.contains("disowned_per_day"));
    // The share of another edge is its own.
    disowned(&second, theirs);
    assert_eq!(stage.site.events("revoked").iter().filter(|event| event["right"] == "disowned").count(), 4);
}

#[test]
fn an_edge_that_reads_without_end_reads_one_piece_at_a_time_and_others_are_served() {
    let (stage, second) = stage();
    stage.edge.issued(&simple(1));
    let body = br#"{"from":0}"#;
    let answered = thread::scope(|scope| {
        let read = || {
            let edge = Edge::new(&stage.site);
            (0..20).map(|_| edge.post_to(RECORDS_PATH, body).unwrap().0).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(read)).collect();
        second.issued(&of_second(2));
        assert_eq!(read_all(&second).len(), 1);
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(answered.contains(&200) && answered.iter().all(|status| matches!(status, 200 | 503)), "{answered:?}");
    assert!(stage.site.events("refused").is_empty(), "it is only a matter of time");
}

#[test]
#[ignore = "a measurement: cargo test --release -p signer --test daemon issuing_beside -- --ignored --nocapture"]
fn the_slowest_of_issuing_beside_an_edge_that_reads_without_end() {
    const EACH: usize = 300;
    let (stage, second) = stage();
    let requests: Vec<_> = (0..4 * EACH).map(of_second).collect();
    let mut rounds = requests.chunks(EACH);
    let mut p99 = || {
        let issue = |asked| {
            let started = stopwatch();
            second.issued(asked);
            started.elapsed()
        };
        let mut times: Vec<Duration> = rounds.next().unwrap().iter().map(issue).collect();
        times.sort_unstable();
        (times[EACH / 2], times[EACH * 99 / 100])
    };
    for _ in 0..2 {
        let alone = p99();
        let done = std::sync::atomic::AtomicBool::new(false);
        let (beside, pieces) = thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut pieces = 0;
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    read_all(&stage.edge);
                    pieces += 1;
                }
                pieces
            });
            let beside = p99();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            (beside, reader.join().unwrap())
        });
        println!("median and p99 alone {alone:?}, beside a reader {beside:?}, who read all {pieces} times");
    }
}
