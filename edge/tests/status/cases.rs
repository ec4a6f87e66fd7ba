//! Certificates that a journal names: every pair of what its order says and when it is looked at, and who has it revoked.

use edge::{
    acme::{
        kept::{Kept, Promise},
        lifetimes::LifetimesConfig,
        route::{AccountId, Resource, UrlSecret, Urls},
    },
    status::{
        case::{Case, CaseState, Disowned, Judged, Rules, Undelivered, Whose},
        reconciliation::{Reconciliation, Tally},
        reconciliation_config::ReconciliationConfig,
    },
};
use serde_json::json;
use shared::{
    jwk::Thumbprint,
    revocation::RevocationReason,
    serial::SerialNumber,
    signing::{Refusal, Refused, RevokeReply, Revoked, SignedRecord},
    timestamp::Timestamp,
};

const ACCOUNT: AccountId = AccountId(Thumbprint([7; 32]));
const GRACE: u64 = 600;
const RETENTION: u64 = 2000;

struct Bench {
    config: ReconciliationConfig,
    lifetimes: LifetimesConfig,
    urls: Urls,
}

impl Bench {
    fn new() -> Self {
        let lifetimes = json!({"order": 1000, "authorization": 500, "authorization_reuse": 0, "edge_nonce": 100,
            "idle_account": 100_000, "retention": RETENTION, "redrive": 10, "finalize_wait": 1});
        Self {
            config: ReconciliationConfig::default(),
            lifetimes: serde_json::from_value(lifetimes).unwrap(),
            urls: urls("https://ca.test", "a url secret of enough length...."),
        }
    }

    fn rules(&self) -> Rules<'_> {
        Rules { config: &self.config, lifetimes: &self.lifetimes, urls: &self.urls, from: 5 }
    }
}

fn urls(base: &str, secret: &str) -> Urls {
    Urls::new(base.to_owned(), UrlSecret::new(secret))
}

fn order(urls: &Urls) -> String {
    urls.resource(ACCOUNT, Resource::Order("6a000000abababababababab".parse().unwrap()))
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(1_800_000_000 + seconds)
}

fn case(bench: &Bench) -> Case {
    Case::new(
        SignedRecord {
            index: 5,
            order: order(&bench.urls),
            serial: SerialNumber::from_random([3; 16]),
            profile: "monthly".parse().unwrap(),
            at: at(0),
            not_after: at(100_000),
            revocable: true,
        },
        at(10),
    )
}

fn undelivered(found: Timestamp, revocation: Disowned) -> CaseState {
    CaseState::Undelivered(Undelivered { found, revocation })
}

fn found(judged: Judged) -> (CaseState, Timestamp) {
    match judged {
        Judged::Open(case, again) => (case.state, again),
        other => panic!("{other:?}"),
    }
}

#[test]
fn judgement_by_what_the_order_says_and_the_time_is_this_table() {
    let bench = Bench::new();
    let judged = |kept, now| case(&bench).judged(kept, &bench.rules(), now);
    let promise = Some(Promise { promised: 4, took: 5 });
    for now in [at(10), at(5000), at(200_000)] {
        assert_eq!(judged(Some(Kept::Delivered(promise)), now), Judged::Delivered(promise), "whenever that is");
    }
    for kept in [None, Some(Kept::Undecided)] {
        // No sooner than its lease is over, then twice as late each time, and once an hour at last.
        for (now, again) in [(10, 35), (110, 210), (20_010, 23_610)] {
            assert_eq!(found(judged(kept, at(now))), (CaseState::Undecided, at(again)), "{kept:?} at {now}");
        }
        assert_eq!(judged(kept, at(100_001)), Judged::Past);
    }
    let otherwise = |now| judged(Some(Kept::Otherwise), now);
    assert_eq!(found(otherwise(at(10))), (CaseState::Undecided, at(10 + GRACE)));
    assert_eq!(found(otherwise(at(9 + GRACE))), (CaseState::Undecided, at(10 + GRACE)));
    let now = at(10 + GRACE);
    assert_eq!(found(otherwise(now)), (undelivered(now, Disowned::Due { attempts: 0 }), now));
    assert_eq!(otherwise(at(100_001)), Judged::Past);
}

#[test]
fn only_what_is_surely_ours_and_can_be_revoked_is_disowned() {
    let now = at(10 + GRACE);
    let state = |change: fn(&mut Bench, &mut Case)| {
        let mut bench = Bench::new();
        let mut case = case(&bench);
        change(&mut bench, &mut case);
        found(case.judged(Some(Kept::Otherwise), &bench.rules(), now))
    };
    let left = (undelivered(now, Disowned::Left), at(100_000 + RETENTION));
    assert_eq!(state(|_, _| ()), (undelivered(now, Disowned::Due { attempts: 0 }), now));
    assert_eq!(state(|bench, _| bench.config.disown = false), left);
    assert_eq!(state(|_, case| case.signed.revocable = false), left);
    assert_eq!(state(|_, case| case.signed.index = 4), left, "before reconciliation began");
    let elsewhere = |bench: &mut Bench, case: &mut Case| {
        case.signed.order = case.signed.order.replace("ca.test", "other.test");
        assert!(matches!(case.whose(&bench.urls, at(10)), Whose::Order(..)));
    };
    assert_eq!(state(elsewhere), left, "another deployment may have this identity");
}

#[test]
fn an_order_is_asked_about_where_its_url_leads() {
    let bench = Bench::new();
    let mut case = case(&bench);
    let id = "6a000000abababababababab".parse().unwrap();
    assert_eq!(case.whose(&bench.urls, at(10)), Whose::Order(ACCOUNT, id));
    assert_eq!(case.whose(&bench.urls, at(100_001)), Whose::Known(Kept::Otherwise), "it has expired");
    // The base URL was another one then.
    case.signed.order = order(&urls("https://old.test:8443", "a url secret of enough length...."));
    assert_eq!(case.whose(&bench.urls, at(10)), Whose::Order(ACCOUNT, id));
    for forged in [
        order(&urls("https://ca.test", "another secret of this length....")),
        order(&bench.urls).replace("/order/", "/certificate/"),
        "https://ca.test".into(),
        "order".into(),
        String::new(),
    ] {
        case.signed.order = forged;
        assert_eq!(case.whose(&bench.urls, at(10)), Whose::Known(Kept::Otherwise), "{}", case.signed.order);
    }
}

#[test]
fn a_signer_is_asked_until_it_says_something_final() {
    let bench = Bench::new();
    let now = at(1000);
    let due = |attempts| Case { state: undelivered(at(900), Disowned::Due { attempts }), ..case(&bench) };
    let serial = case(&bench).signed.serial;
    let refused = |reason| RevokeReply::Refused(Refused { reason, detail: String::new(), retry_after: None });
    let revoked = |serial| {
        RevokeReply::Revoked(Revoked { serial, reason: RevocationReason::Unspecified, at: at(999), journal_index: 9 })
    };
    let disowned = |attempts, answer: Option<&RevokeReply>, now| {
        let (case, again) = due(attempts).disowned(answer, &bench.rules(), now);
        (case.state, again)
    };
    let ends = at(100_000 + RETENTION);
    assert_eq!(
        disowned(0, Some(&revoked(serial)), now),
        (undelivered(at(900), Disowned::Revoked { at: at(999) }), ends)
    );
    let reason = Refusal::UnknownCertificate;
    assert_eq!(disowned(0, Some(&refused(reason)), now), (undelivered(at(900), Disowned::Refused { reason }), ends));
    let other = revoked(SerialNumber::from_random([4; 16]));
    for answer in [None, Some(&refused(Refusal::Busy)), Some(&refused(Refusal::OverBudget)), Some(&other)] {
        for (attempts, pause) in [(0, 60), (1, 120), (5, 1920), (6, 3600), (60, 3600)] {
            let again = (undelivered(at(900), Disowned::Due { attempts: attempts + 1 }), now.plus(pause));
            assert_eq!(disowned(attempts, answer, now), again);
        }
        assert_eq!(disowned(0, answer, at(100_001)), (undelivered(at(900), Disowned::Left), ends), "it has expired");
    }
}

#[test]
fn what_is_stored_reads_back_and_may_be_less() {
    let bench = Bench::new();
    let serial = case(&bench).signed.serial;
    let url = order(&bench.urls);
    for (state, text) in [
        (CaseState::Undecided, r#""undecided""#.to_owned()),
        (
            undelivered(at(900), Disowned::Due { attempts: 1 }),
            r#"{"undelivered":{"found":"2027-01-15T08:15:00Z","revocation":{"due":{"attempts":1}}}}"#.to_owned(),
        ),
        (
            undelivered(at(900), Disowned::Refused { reason: Refusal::UnknownCertificate }),
            r#"{"undelivered":{"found":"2027-01-15T08:15:00Z","revocation":{"refused":{"reason":"unknown-certificate"}}}}"#
                .to_owned(),
        ),
    ] {
        let text = format!(
            r#"{{"signed":{{"index":5,"order":"{url}","serial":"{serial}","profile":"monthly","at":"2027-01-15T08:00:00Z","not_after":"2027-01-16T11:46:40Z","revocable":true}},"since":"2027-01-15T08:00:10Z","state":{text}}}"#
        );
        let case = Case { state, ..case(&bench) };
        assert_eq!(serde_json::to_string(&case).unwrap(), text);
        assert_eq!(serde_json::from_str::<Case>(&text).unwrap(), case);
    }
    let least: Reconciliation = serde_json::from_str(r#"{"cursor":3,"from":2}"#).unwrap();
    assert_eq!(least, Reconciliation { cursor: 3, from: 2, tally: Tally::default() });
    let text = r#"{"cursor":0,"from":9,"tally":{"certificates":[],"delivered":0,"past":0,"undelivered":0,"revoked":0,"refused":0,"promises":{"counts":[0,0,0,0,0,0,0],"hundredths":0,"promised":0,"took":0}}}"#;
    assert_eq!(serde_json::to_string(&Reconciliation::new(9)).unwrap(), text);
}

#[test]
fn the_grace_and_the_interval_have_bounds() {
    let config = |value| serde_json::from_value::<ReconciliationConfig>(value);
    assert_eq!(config(json!({})).unwrap(), ReconciliationConfig::default());
    for (value, key) in [
        (json!({"grace_seconds": 0}), "grace_seconds: 1 to 86400"),
        (json!({"grace_seconds": 86_401}), "grace_seconds: 1 to 86400"),
        (json!({"interval_seconds": 0}), "interval_seconds: 1 to 3600"),
        (json!({"interval_seconds": 3601}), "interval_seconds: 1 to 3600"),
    ] {
        assert_eq!(config(value).unwrap().fault(), Some(key));
    }
    let good = json!({"disown": false, "grace_seconds": 1, "interval_seconds": 3600});
    assert_eq!(config(good).unwrap().fault(), None);
    assert!(config(json!({"grace": 5})).is_err(), "unknown keys are errors");
}
