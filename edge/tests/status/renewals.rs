//! What a status object tells of renewals (RFC 9773 §4).

use edge::{
    acme::{
        record::Record as _,
        renewal_info::{CertificateId, RenewalInfo},
        route::AccountId,
        storage::{Change, Key, Memory, Rows as _, Storage as _},
    },
    status::{
        renewal::{self, Placement},
        renewal_config::RenewalConfig,
        revocation::{CertificateRecord, CertificateState},
    },
};
use serde_json::json;
use shared::{
    base64url::Base64Url, jwk::Thumbprint, revocation::RevocationReason, serial::SerialNumber, signing::Revoked,
    timestamp::Timestamp,
};

const DAY: u64 = 86_400;

fn start() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

/// Numbers of one object that are spread as random ones are.
fn serial(number: u32) -> SerialNumber {
    let mut bytes = [1; 16];
    bytes[12..].copy_from_slice(&number.wrapping_mul(0x9e37_79b1).to_be_bytes());
    SerialNumber::from_random(bytes)
}

fn placement(number: u32, issuer: u8, life: u64) -> Placement {
    Placement {
        serial: serial(number),
        issuer: Base64Url(vec![issuer; 20]),
        account: AccountId(Thumbprint([1; 32])),
        not_before: start(),
        not_after: start().plus(life - 1),
    }
}

/// An object that was told of so many certificates of each of two issuers.
fn object(count: u32, life: u64, config: &RenewalConfig) -> Memory {
    let mut rows = Memory::default();
    for number in 0..count {
        for issuer in [1, 2] {
            let placement = placement(number * 2 + u32::from(issuer), issuer, life);
            rows.commit(&renewal::place(&rows, placement, config).unwrap()).unwrap();
        }
    }
    rows
}

fn look(rows: &Memory, number: u32, issuer: u8, now: Timestamp, config: &RenewalConfig) -> Option<RenewalInfo> {
    let id = CertificateId { key_identifier: vec![issuer; 20], serial: serial(number) };
    renewal::look(rows, &id, now, config).unwrap()
}

fn revoked(number: u32, at: Timestamp) -> Change {
    let revoked = Revoked { serial: serial(number), reason: RevocationReason::Superseded, at, journal_index: 1 };
    let record = CertificateRecord::new(CertificateState::Revoked(revoked));
    record.put(Key::Certificate(serial(number)), None).unwrap()
}

#[test]
fn windows_lie_around_two_thirds_of_the_life_and_fill_all_slots_evenly() {
    let config = RenewalConfig::default();
    let rows = object(310, DAY, &config);
    let mut counts = std::collections::BTreeMap::<_, usize>::new();
    for number in 0..310 {
        let window = look(&rows, number * 2 + 1, 1, start(), &config).unwrap().suggested_window;
        assert!(window.start >= start().plus(DAY / 2 - 1) && window.end <= start().plus(DAY * 83 / 100));
        assert_eq!(window.end.since(window.start), 900);
        *counts.entry(window.start).or_default() += 1;
    }
    assert_eq!(counts.len(), 31);
    // 620 of both issuers in 31 slots are 20 in each; the share of one of them is drawn.
    let both: Vec<_> = (0..310).map(|number| look(&rows, number * 2 + 2, 2, start(), &config).unwrap()).collect();
    both.iter().for_each(|info| *counts.entry(info.suggested_window.start).or_default() += 1);
    assert!(counts.values().all(|count| *count == 20), "{counts:?}");
}

#[test]
fn what_is_placed_stays_where_it_is() {
    let config = RenewalConfig::default();
    let rows = object(3, DAY, &config);
    assert!(renewal::place(&rows, placement(1, 1, DAY), &config).unwrap().is_empty(), "told twice");
    let first = look(&rows, 1, 1, start(), &config);
    assert_eq!(first, look(&rows, 1, 1, start().plus(DAY / 3), &config));
}

#[test]
fn short_and_long_lives_have_windows_within_them() {
    let config = RenewalConfig::default();
    for life in [60, 600, 3600, 7 * DAY, 90 * DAY, 398 * DAY] {
        let rows = object(20, life, &config);
        for number in 1..41 {
            let issuer = if number % 2 == 1 { 1 } else { 2 };
            let info = look(&rows, number, issuer, start(), &config).unwrap();
            let window = info.suggested_window;
            assert!(window.start < window.end, "{life}");
            assert!(
                window.start >= start().plus(life / 2 - 1) && window.end <= start().plus(life * 84 / 100),
                "{life}"
            );
            assert!(info.retry_after >= 52 && info.retry_after <= 21_600, "{life}: {}", info.retry_after);
        }
    }
}

#[test]
fn a_revoked_certificate_is_to_be_renewed_at_once() {
    let config = RenewalConfig { explanation_url: Some("https://ca.test/why".to_owned()), ..RenewalConfig::default() };
    let mut rows = object(1, DAY, &config);
    let (before, now) = (look(&rows, 1, 1, start(), &config).unwrap(), start().plus(1000));
    assert_eq!(before.explanation_url, None);
    rows.commit(&[revoked(1, now.minus(10))]).unwrap();
    let info = look(&rows, 1, 1, now, &config).unwrap();
    assert!(info.suggested_window.end < now && info.suggested_window.start < info.suggested_window.end);
    let shown = serde_json::to_value(&info).unwrap();
    let expected = json!({"start": "2026-11-21T12:01:30Z", "end": "2026-11-21T12:16:30Z"});
    assert_eq!(shown, json!({"suggestedWindow": expected, "explanationURL": "https://ca.test/why"}));
    // A signer's clock that is ahead of ours.
    rows.commit(&[revoked(1, now.plus(10))]).unwrap();
    assert!(look(&rows, 1, 1, now, &config).unwrap().suggested_window.end <= now);
}

#[test]
fn who_is_not_known_is_told_nothing() {
    let config = RenewalConfig::default();
    let rows = object(1, DAY, &config);
    assert!(look(&rows, 1, 1, start(), &config).is_some());
    assert_eq!(look(&rows, 1, 2, start(), &config), None, "another issuer's");
    assert_eq!(look(&rows, 77, 1, start(), &config), None);
    assert_eq!(look(&rows, 1, 1, start().plus(DAY), &config), None, "it has expired");
    assert_eq!(look(&Memory::default(), 1, 1, start(), &config), None);
}

#[test]
fn an_issuers_certificates_are_pulled_forward_at_its_rate_and_others_are_not() {
    let plain = RenewalConfig::default();
    let rows = object(100, 30 * DAY, &plain);
    let since = start().plus(DAY);
    // Of one object, of 128: one in 64 seconds.
    let pull = json!({"issuer": "01:".repeat(20), "since": since, "rate": {"count": 2, "seconds": 1}});
    let config: RenewalConfig = serde_json::from_value(json!({"pull_forward": [pull]})).unwrap();
    assert_eq!(config.fault(), None);
    let mut windows = Vec::new();
    for number in 0..100 {
        let of = |config| look(&rows, number * 2 + 1, 1, since, config).unwrap().suggested_window;
        let (before, after) = (of(&plain), of(&config));
        assert!(after.start < before.start && after.end.since(after.start) == 60);
        windows.push((before.start, after.start));
        let other = |config| look(&rows, number * 2 + 2, 2, since, config).unwrap();
        assert_eq!(other(&plain), other(&config));
    }
    windows.sort();
    assert!(windows.is_sorted_by_key(|(_, after)| *after), "in the order in which they would have been renewed");
    let last = windows.last().unwrap().1;
    assert!(last.since(since) <= 101 * 64, "{}", last.since(since));
    for minute in 0..100 {
        let from = since.plus(minute * 640);
        let begun = windows.iter().filter(|(_, at)| *at >= from && *at < from.plus(640)).count();
        assert!(begun <= 20, "{begun} in ten times 64 seconds");
    }
}

#[test]
fn rows_are_deleted_when_nobody_can_ask_any_more() {
    let config = RenewalConfig::default();
    let mut rows = object(5, DAY, &config);
    assert!(rows.due(start().plus(DAY - 2), 100).unwrap().is_empty());
    let end = start().plus(40 * DAY);
    let changes: Vec<_> = rows.due(end, 100).unwrap().into_iter().filter_map(renewal::due).collect();
    rows.commit(&changes).unwrap();
    assert_eq!(rows.keys().count(), 0);
}

#[test]
fn keys_that_cannot_be_served_are_refused() {
    let parse = |value| serde_json::from_value::<RenewalConfig>(value);
    for value in [
        json!({"retry_after_seconds": 59}),
        json!({"retry_after_seconds": 86_401}),
        json!({"earliest_percent": 0}),
        json!({"earliest_percent": 83}),
        json!({"latest_percent": 96}),
        json!({"pull_forward": [{"issuer": "01", "since": start(), "rate": {"count": 0, "seconds": 1}}]}),
    ] {
        assert!(parse(value.clone()).unwrap().fault().is_some(), "{value}");
    }
    for value in [
        json!({"retry_after": 60}),
        json!({"pull_forward": [{"issuer": "", "since": start(), "rate": {"count": 1, "seconds": 1}}]}),
        json!({"pull_forward": [{"issuer": "xy", "since": start(), "rate": {"count": 1, "seconds": 1}}]}),
        json!({"pull_forward": [{"issuer": "01", "since": "yesterday", "rate": {"count": 1, "seconds": 1}}]}),
    ] {
        assert!(parse(value.clone()).is_err(), "{value}");
    }
}
