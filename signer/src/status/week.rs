//! A week of virtual time: how many CRLs the schedule has signed. What decides is the book and the settings' defaults; the model of
//! who is revoked is here. The figures are kept in tests/figures/week-crl.json, which docs/status.md is made from.

use std::{env, fs, path::Path, sync::Arc};

use serde_json::json;
use shared::{
    base64url::Base64Url, pointers::IssuerId, revocation::RevocationReason, serial::SerialNumber, signing::SignedCrl,
    timestamp::Timestamp,
};

use super::{
    book::{Book, Entry},
    schedule,
    settings::StatusSettings,
};

const DAY: u64 = 86_400;
/// Days that are counted, after those in which the first CRLs are signed.
const DAYS: u64 = 7;
const BEFORE: u64 = 1;
const START: u64 = 1_800_000_000;
/// Seconds that a certificate lives on after its revocation: half a month.
const REST: u64 = 15 * DAY;

/// Who is revoked.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    /// At even distances.
    a_day: u64,
    /// The same, in the first hour of the first day that is counted.
    in_an_hour: u64,
}

const CASES: [Case; 4] = [
    Case { name: "nobody is revoked", a_day: 0, in_an_hour: 0 },
    Case { name: "10 a day", a_day: 10, in_an_hour: 0 },
    Case { name: "100 a day", a_day: 100, in_an_hour: 0 },
    Case { name: "100 a day, and once 10,000 in an hour", a_day: 100, in_an_hour: 10_000 },
];

struct Figures {
    signatures: u64,
    /// In any hour.
    most_in_an_hour: u64,
    /// Of one CRL.
    most_entries: usize,
    /// Seconds from a revocation to the CRL that has it.
    longest_wait: u64,
}

fn settings() -> StatusSettings {
    StatusSettings::check(toml::from_str("host = \"http://status.test\"").unwrap()).unwrap()
}

/// Any two differ, and they are spread over all parts.
fn serial(number: u64) -> SerialNumber {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    SerialNumber::from_random(bytes)
}

fn simulate(case: Case) -> Figures {
    let (settings, issuer): (_, IssuerId) = (settings(), "00".repeat(16).parse().unwrap());
    let mut book = Book::default();
    for part in schedule::parts(issuer, &settings, true, Vec::new()) {
        book.add(part, 0, None);
    }
    let mut figures = Figures { signatures: 0, most_in_an_hour: 0, most_entries: 0, longest_wait: 0 };
    let (mut hours, mut number) = (vec![0_u64; usize::try_from((BEFORE + DAYS) * 24).unwrap()], 0);
    let mut waiting: Vec<(u64, SerialNumber)> = Vec::new();
    for second in 0..(BEFORE + DAYS) * DAY {
        let now = Timestamp::from_seconds(START + second);
        let until = |rate: u64, seconds: u64, second: u64| rate * second / seconds;
        let in_hour = |second: u64| second.saturating_sub(BEFORE * DAY).min(3600);
        let revoked = until(case.a_day, DAY, second + 1) - until(case.a_day, DAY, second)
            + until(case.in_an_hour, 3600, in_hour(second + 1))
            - until(case.in_an_hour, 3600, in_hour(second));
        for _ in 0..revoked {
            number += 1;
            let entry = Entry { at: now, reason: RevocationReason::KeyCompromise, not_after: now.plus(REST) };
            book.revoke(issuer, serial(number), entry);
            waiting.push((second, serial(number)));
        }
        for part in book.start(now, &settings.crl) {
            let times = (now, now.plus(settings.crl.validity));
            let content = book.content(part, times, None).unwrap();
            let (number, next_update) = (content.number, content.next_update);
            let crl = SignedCrl { crl: Base64Url(Vec::new()), number, this_update: now, next_update, pending: false };
            book.journaled(part, number);
            book.release(part, &content, Arc::new(crl));
            waiting.retain(|(since, serial)| {
                let has = part.1.holds(*serial);
                figures.longest_wait = figures.longest_wait.max(if has { second - since } else { 0 });
                assert!(!has || content.entries.iter().any(|entry| entry.serial == *serial));
                !has
            });
            hours[usize::try_from(second / 3600).unwrap()] += 1;
            figures.signatures += u64::from(second >= BEFORE * DAY);
            figures.most_entries = figures.most_entries.max(content.entries.len());
        }
    }
    let counted = hours.into_iter().skip(usize::try_from(BEFORE * 24).unwrap());
    figures.most_in_an_hour = counted.max().unwrap_or_default();
    figures
}

#[test]
fn a_week_of_crls_costs_what_the_figures_say() {
    let crl = settings().crl;
    let rows: Vec<_> = CASES
        .into_iter()
        .map(|case| {
            let Figures { signatures, most_in_an_hour, most_entries, longest_wait } = simulate(case);
            // The next look is a second later.
            assert!(longest_wait <= crl.delay + 1, "{}: {longest_wait} s", case.name);
            let at_rest = u64::from(crl.shards) * DAYS * DAY / crl.interval;
            assert!(signatures + u64::from(crl.shards) >= at_rest, "{}: {signatures}", case.name);
            json!({
                "case": case.name, "a_day": case.a_day, "signatures": signatures, "most_in_an_hour": most_in_an_hour,
                "most_entries": most_entries, "longest_wait": longest_wait,
            })
        })
        .collect();
    let report = json!({
        "days": DAYS, "rows": rows,
        "settings": {"shards": crl.shards, "interval": crl.interval, "delay": crl.delay, "validity": crl.validity},
    });
    let report = serde_json::to_string_pretty(&report).unwrap() + "\n";
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/figures/week-crl.json");
    if env::var_os("COLOPHON_WRITE_PAGES").is_some() {
        fs::write(file, report).unwrap();
    } else {
        assert!(
            fs::read_to_string(file).unwrap() == report,
            "tests/figures are stale, run `cargo xtask docs`: {report}"
        );
    }
}
