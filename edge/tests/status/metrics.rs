//! What operators see of signers and of certificates that nobody has.

use edge::{
    acme::kept::Promise,
    status::{
        case::{Case, CaseState, Disowned, Judged, Undelivered},
        journal::JournalRecord,
        metrics::{Incomplete, Report, Signer, text, undelivered},
        reconciliation::Reconciliation,
    },
};
use serde_json::json;
use shared::{serial::SerialNumber, signing::SignedRecord, timestamp::Timestamp};

fn case(number: u8, state: CaseState) -> Case {
    let signed = SignedRecord {
        index: u64::from(number),
        order: format!("https://ca.test/acme/order/account/{number}"),
        serial: SerialNumber::from_random([number; 16]),
        profile: "monthly".parse().unwrap(),
        at: Timestamp::from_seconds(100),
        not_after: Timestamp::from_seconds(9000),
        revocable: true,
    };
    Case { state, ..Case::new(signed, Timestamp::from_seconds(110)) }
}

fn report() -> Report {
    let nobody = |number, revocation| {
        case(number, CaseState::Undelivered(Undelivered { found: Timestamp::from_seconds(700), revocation }))
    };
    let cases = vec![
        case(1, CaseState::Undecided),
        nobody(2, Disowned::Revoked { at: Timestamp::from_seconds(800) }),
        nobody(3, Disowned::Left),
    ];
    let mut found = Reconciliation { cursor: 7, ..Reconciliation::new(4) };
    for case in &cases {
        found.tally.seen(&case.signed.profile);
        found.tally.judged(&Judged::Open(case.clone(), Timestamp::MAX));
    }
    found.tally.disowned(Disowned::Revoked { at: Timestamp::from_seconds(800) });
    for (promised, took) in [(10, 5), (10, 10), (10, 11), (4, 16), (4, 17), (0, 9)] {
        found.tally.seen(&"server".parse().unwrap());
        found.tally.judged(&Judged::Delivered(Some(Promise { promised, took })));
    }
    found.tally.judged(&Judged::Delivered(None));
    let mut journal = JournalRecord::new("SIGNER_1".into());
    journal.checkpoint.length = 9;
    Report { journal: Some(journal), reconciliation: Some(found), absorbed: 12, cases, more: false }
}

#[test]
fn every_number_of_a_signer_is_told() {
    let signers = [
        Signer { binding: "SIGNER_1", report: Some(report()), known: Some((true, 1250)) },
        Signer { binding: "SIGNER_2", report: None, known: None },
    ];
    let text = text(&signers);
    for line in [
        r#"journal_known{signer="SIGNER_1"} 1"#,
        r#"journal_known{signer="SIGNER_2"} 0"#,
        r#"journal_records{signer="SIGNER_1"} 9"#,
        r#"journal_broken{signer="SIGNER_1"} 0"#,
        r#"reconciliation_cursor{signer="SIGNER_1"} 7"#,
        r#"reconciliation_lag_records{signer="SIGNER_1"} 2"#,
        r#"reconciliation_undecided{signer="SIGNER_1"} 1"#,
        r#"undelivered_open{signer="SIGNER_1"} 1"#,
        r#"undelivered_total{signer="SIGNER_1"} 2"#,
        r#"disowned_total{signer="SIGNER_1"} 1"#,
        r#"disown_refused_total{signer="SIGNER_1"} 0"#,
        r#"delivered_total{signer="SIGNER_1"} 7"#,
        r#"absorbed_renewals_total{signer="SIGNER_1"} 12"#,
        r#"signer_answers{signer="SIGNER_1"} 1"#,
        r#"signer_expected_wait_seconds{signer="SIGNER_1"} 1.250"#,
        r#"certificates_total{signer="SIGNER_1",profile="monthly"} 3"#,
        r#"certificates_total{signer="SIGNER_1",profile="server"} 6"#,
        r#"estimate_ratio_bucket{signer="SIGNER_1",le="0.50"} 1"#,
        r#"estimate_ratio_bucket{signer="SIGNER_1",le="1.00"} 2"#,
        r#"estimate_ratio_bucket{signer="SIGNER_1",le="1.25"} 3"#,
        r#"estimate_ratio_bucket{signer="SIGNER_1",le="4.00"} 4"#,
        r#"estimate_ratio_bucket{signer="SIGNER_1",le="+Inf"} 6"#,
        r#"estimate_ratio_count{signer="SIGNER_1"} 6"#,
        // 0.5 + 1 + 1.1 + 4 + 4.25 + 9
        r#"estimate_ratio_sum{signer="SIGNER_1"} 19.85"#,
        r#"promised_seconds_total{signer="SIGNER_1"} 38"#,
        r#"waited_seconds_total{signer="SIGNER_1"} 68"#,
    ] {
        assert!(text.contains(&format!("\ncolophon_edge_{line}\n")), "{line} is not in {text}");
    }
    assert!(!text.contains("ca.test"), "no label names an order");
    // Each name has one type, said before its first line.
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert_eq!(text.matches(&format!("# TYPE {family} ")).count(), 1, "{line}");
    }
}

#[test]
fn the_list_of_what_nobody_has_says_what_became_of_it() {
    let signers = [Signer { binding: "SIGNER_1", report: Some(report()), known: None }];
    let list = serde_json::to_value(undelivered(&signers).unwrap()).unwrap();
    let revocations: Vec<_> = list.as_array().unwrap().iter().map(|view| &view["revocation"]).collect();
    assert_eq!(revocations, [&json!({"revoked": {"at": "1970-01-01T00:13:20Z"}}), &json!("left")]);
    assert_eq!(list[0]["order"], "https://ca.test/acme/order/account/2");
    assert_eq!(list[0]["signer"], "SIGNER_1");
    assert_eq!(list[0]["found"], "1970-01-01T00:11:40Z");
}

/// A list that lacks some reads as if these were all.
#[test]
fn a_list_that_would_lack_certificates_is_an_error_and_never_a_shorter_one() {
    let signer = |binding, report| Signer { binding, report, known: None };
    let unreached = [signer("SIGNER_1", Some(report())), signer("SIGNER_2", None)];
    assert_eq!(undelivered(&unreached), Err(Incomplete::Unreached("SIGNER_2".to_owned())));
    let many = [signer("SIGNER_1", Some(Report { more: true, ..report() }))];
    let expected = Incomplete::TooMany { signer: "SIGNER_1".to_owned(), listed: 3 };
    assert_eq!(undelivered(&many), Err(expected));
}
