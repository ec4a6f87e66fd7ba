//! 50,000 certificates over a week on 20 tokens, in virtual time: what tokens have to do when clients renew after two thirds of a
//! certificate's life, and when they ask for renewal information (RFC 9773). The picture in docs/ is drawn from it.

mod drawing;
mod estate;

use std::{env, fs, path::Path, sync::OnceLock};

use crate::estate::{CERTIFICATES, Course, DRAIN_AT, DRAIN_RATE, Estate, RESTARTS, TOKENS, Week};

/// Set: the picture is written. Else it is compared.
const WRITE: &str = "COLOPHON_WRITE_PAGES";

const PICTURE: &str = "../docs/renewal.svg";

/// The week with renewal information.
fn after() -> &'static Week {
    static WEEK: OnceLock<Week> = OnceLock::new();
    WEEK.get_or_init(|| Estate::new(Course::RenewalInformation).live())
}

fn max(slots: &[u32]) -> u32 {
    slots.iter().copied().max().unwrap()
}

/// The slots from this hour of the week to before that one.
fn hours(week: &Week, from: usize, to: usize) -> &[u32] {
    &week.signatures[from * 4..to * 4]
}

#[test]
fn renewal_information_turns_the_echoes_of_a_mass_restart_into_a_level_load() {
    let before = Estate::new(Course::TwoThirds).live();
    let after = after();
    let all = u32::try_from(CERTIFICATES).unwrap();

    // Without: the restart comes back every sixteen hours, as steep as it was.
    for echo in 1..3 {
        assert!(max(hours(&before, echo * 16, echo * 16 + 1)) > all * 9 / 10, "echo {echo}");
        assert_eq!(max(hours(&before, echo * 16 + 2, echo * 16 + 15)), 0, "and nothing between");
    }
    // With: the first round of renewals is level already, and so it stays; also after half of the estate was restarted.
    let level = f64::from(all) / 31.0;
    for (from, to) in [(12, 70), (72 + 12, 7 * 24)] {
        let most = f64::from(max(hours(after, from, to)));
        let drained = if to > 96 { f64::from(DRAIN_RATE) * 900.0 } else { 0.0 };
        assert!(most < level * 1.35 + drained, "{most} in a slot of hours {from} to {to}, {level} if all were alike");
    }
    assert!(max(hours(&before, 12, 70)) > 20 * max(hours(after, 12, 70)));

    for week in [&before, after] {
        assert_eq!(week.expired, 0, "no certificate ends before its successor is there");
        assert_eq!(max(hours(week, 0, 1)), all, "the restart itself is what it is");
    }
    assert_eq!(RESTARTS.len(), 2);
    draw(&before, after);
}

#[test]
fn a_drained_issuers_certificates_are_replaced_at_its_rate() {
    let week = after();
    let of_it = CERTIFICATES / TOKENS;
    // Every client asks within six hours, so all have come by then, and not all at once.
    assert!((of_it * 8 / 10..of_it * 12 / 10).contains(&week.pulled.len()), "{}", week.pulled.len());
    let within = |seconds: u64| week.pulled.iter().filter(|at| **at < DRAIN_AT + seconds).count();
    assert_eq!(within(6 * 3600 + 900), week.pulled.len());
    for minute in 0..400 {
        let count = within((minute + 1) * 60) - within(minute * 60);
        assert!(count <= 2 * 60 * usize::try_from(DRAIN_RATE).unwrap(), "{count} in minute {minute}");
    }
}

fn draw(before: &Week, after: &Week) {
    let picture = drawing::svg(before, after);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PICTURE);
    if env::var_os(WRITE).is_some() {
        fs::write(path, picture).unwrap();
    } else {
        assert!(fs::read_to_string(path).unwrap() == picture, "docs/renewal.svg is stale: run `cargo xtask docs`");
    }
}
