//! A week of virtual time over 100,000 live certificates: how many signatures their OCSP responses cost. What decides is the edge's
//! own code over rows in memory; the model of who asks, and the stand-in of a signer, are in the files beside this one. The figures
//! are kept in tests/figures/week-ocsp.json, which docs/status.md is made from.

mod estate;
mod responder;

use std::{borrow::Cow, env, fs, path::Path, thread};

use edge::status::config::{RefreshPolicy, StatusConfig};
use serde::{Deserialize, Serialize};

use crate::{
    estate::{Asking, Estate},
    responder::Responder,
};

/// Live certificates.
const LIVE: u32 = 100_000;
/// One in so many is simulated each time that the tests run.
const SAMPLE: u32 = 50;
/// Seconds.
const DAY: u64 = 86_400;
/// Days that are counted, after those in which the first responses age.
const DAYS: u64 = 7;
/// Days before: one life of a response.
const BEFORE: u64 = 4;

/// What is simulated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Case {
    /// For people.
    name: Cow<'static, str>,
    /// Of [`LIVE`], how many live for a month and have OCSP; the others live for a day, and nobody can ask about them.
    monthly: u32,
    /// Who asks.
    asking: Asking,
    /// Which responses are signed anew before they expire.
    refresh: Cow<'static, str>,
}

/// What it cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Figures {
    /// Questions in the week.
    questions: u64,
    /// Certificates that somebody asked about in it.
    asked_about: u64,
    /// OCSP responses signed in it.
    signatures: u64,
    /// Of those, which a client waited for.
    awaited: u64,
    /// The most in one minute.
    most_in_a_minute: u64,
    /// Revocations in it.
    revocations: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Row {
    case: Case,
    /// Of all certificates.
    whole: Figures,
    /// Of one certificate in [`SAMPLE`].
    sample: Figures,
}

#[derive(Debug, Serialize, Deserialize)]
struct Report {
    live: u32,
    days: u64,
    rows: Vec<Row>,
}

static CASES: [Case; 6] = [
    case("90 % daily, 10 % monthly", LIVE / 10, Asking::Popular { a_week: 200_000 }, "asked"),
    case("all monthly, seldom asked", LIVE, Asking::Popular { a_week: 100_000 }, "asked"),
    case("all monthly, by popularity", LIVE, Asking::Popular { a_week: 1_000_000 }, "asked"),
    case("the same, nothing refreshed ahead", LIVE, Asking::Popular { a_week: 1_000_000 }, "on-demand"),
    case("all monthly, all alike", LIVE, Asking::Alike { a_week: 1_000_000 }, "asked"),
    case("the same, nothing refreshed ahead", LIVE, Asking::Alike { a_week: 1_000_000 }, "on-demand"),
];

const fn case(name: &'static str, monthly: u32, asking: Asking, refresh: &'static str) -> Case {
    Case { name: Cow::Borrowed(name), monthly, asking, refresh: Cow::Borrowed(refresh) }
}

/// Of one certificate in `every`: what becomes of one does not depend on another.
fn simulate(case: &Case, every: u32) -> Figures {
    let refresh = if case.refresh == "asked" { RefreshPolicy::Asked } else { RefreshPolicy::OnDemand };
    let estate = Estate::new((case.monthly, every), case.asking, (BEFORE + DAYS) * DAY);
    let popular = StatusConfig { refresh, ..StatusConfig::default() }.popular();
    let mut responder = Responder::new(&estate, popular, BEFORE * DAY);
    for event in estate.events() {
        responder.happens(event);
    }
    responder.figures()
}

fn simulate_all(every: u32) -> Vec<Figures> {
    thread::scope(|scope| {
        let threads: Vec<_> = CASES.iter().map(|case| scope.spawn(move || simulate(case, every))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// All of them are simulated where the figures are written; where they are compared, a sample.
#[test]
fn a_week_of_questions_costs_what_the_figures_say() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/figures/week-ocsp.json");
    let samples = simulate_all(SAMPLE);
    if env::var_os("COLOPHON_WRITE_PAGES").is_some() {
        let rows = CASES.iter().cloned().zip(simulate_all(1)).zip(samples.clone());
        let rows = rows.map(|((case, whole), sample)| Row { case, whole, sample }).collect();
        let report = Report { live: LIVE, days: DAYS, rows };
        fs::write(&file, serde_json::to_string_pretty(&report).unwrap() + "\n").unwrap();
    }
    let report: Report = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let stale = "tests/figures are stale: run `cargo xtask docs`";
    assert_eq!((report.live, report.days, report.rows.len()), (LIVE, DAYS, CASES.len()), "{stale}");
    for ((row, case), sample) in report.rows.iter().zip(&CASES).zip(samples) {
        assert_eq!((&row.case, &row.sample), (case, &sample), "{stale}");
        let scaled = sample.signatures * u64::from(SAMPLE);
        assert!(scaled.abs_diff(row.whole.signatures) * 20 < row.whole.signatures, "{stale}: {row:?}");
        // A certificate that is asked about all the time is signed for once in half a life of its response, and when it is renewed.
        let most = u64::from(case.monthly) * (DAYS * DAY).div_ceil(responder::VALIDITY / 2);
        let renewed = u64::from(case.monthly) * DAYS * DAY / estate::IN_USE;
        let Figures { questions, signatures, awaited, revocations, .. } = row.whole;
        assert!(signatures <= most + renewed * 2 + revocations && awaited <= questions, "{row:?}");
    }
}
