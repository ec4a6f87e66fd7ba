//! What a week of revocation status costs in signatures, from the figures that the simulations of the edge and of the signer have left
//! in tests/figures: the tables of docs/status.md.

use std::fmt::Write as _;

use serde_json::Value;

use crate::tree;

/// Before and after what is made.
const MARKS: [&str; 2] = ["<!-- Made by `cargo xtask docs`; do not edit. -->\n", "<!-- End of what is made. -->\n"];
/// Signatures of a second that a USB token of the slow kind makes.
const TOKEN: f64 = 5.0;
/// Signatures for each certificate and day where all responses are signed every 8 hours, asked for or not.
const AHEAD: f64 = 3.0;

/// docs/status.md, with its tables as the figures are now.
///
/// # Panics
/// When the page has no place for them, or the figures are none.
#[must_use]
pub fn page() -> String {
    let page = tree::read("docs/status.md");
    let (before, rest) = page.split_once(MARKS[0]).expect("the page has a place for the tables");
    let (_, after) = rest.split_once(MARKS[1]).expect("the place has an end");
    format!("{before}{}{}{}{after}", MARKS[0], tables(), MARKS[1])
}

fn tables() -> String {
    let read = |name: &str| -> Value { serde_json::from_str(&tree::read(name)).expect("figures are JSON") };
    let (ocsp, crl) = (read("tests/figures/week-ocsp.json"), read("tests/figures/week-crl.json"));
    let (live, days) = (number(&ocsp["live"]), number(&ocsp["days"]));
    let each = live * days;
    let mut text = String::from(
        "| certificates | questions in the week | OCSP signatures | clients that waited | most in a minute | OCSP and CRL, for each \
         certificate and day | all signed every 8 h | of a token's 5/s | signed every 8 h |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in ocsp["rows"].as_array().into_iter().flatten() {
        let (case, whole) = (&row["case"], &row["whole"]);
        let signatures = number(&whole["signatures"]);
        let revoked = number(&whole["revocations"]) / days;
        let all = signatures + crls(&crl, revoked);
        let ahead = AHEAD * number(&case["monthly"]) / live;
        let share = |daily: f64| daily * live / 86_400.0 / TOKEN * 100.0;
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {:.4} | {:.2} | {:.1} % | {:.1} % |",
            case["name"].as_str().unwrap_or_default(),
            grouped(&whole["questions"]),
            grouped(&whole["signatures"]),
            grouped(&whole["awaited"]),
            grouped(&whole["most_in_a_minute"]),
            all / each,
            ahead,
            share(all / each),
            share(ahead),
        );
    }
    text.push_str(
        "\n| revocations | CRL signatures in the week | most in an hour | entries of the longest | longest wait for the CRL, s |\n\
         |---|---|---|---|---|\n",
    );
    for row in crl["rows"].as_array().into_iter().flatten() {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            row["case"].as_str().unwrap_or_default(),
            grouped(&row["signatures"]),
            grouped(&row["most_in_an_hour"]),
            grouped(&row["most_entries"]),
            row["longest_wait"],
        );
    }
    text
}

/// CRLs of a week with about so many revocations a day, or with the next more that was simulated.
fn crls(figures: &Value, revoked: f64) -> f64 {
    let mut rows = figures["rows"].as_array().into_iter().flatten();
    let row = rows.find(|row| number(&row["a_day"]) * 1.25 >= revoked).expect("so many revocations were simulated");
    number(&row["signatures"])
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

/// With a comma between thousands.
fn grouped(value: &Value) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
