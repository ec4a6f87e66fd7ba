//! What operators see of signers and reconciliation: Prometheus' text format, and the list of certificates that nobody has. No label
//! names a client, an order or a certificate.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use shared::{profile::ProfileName, serial::SerialNumber, signing::SignedRecord, timestamp::Timestamp};

use super::{
    case::{Case, CaseState, Disowned, Undelivered},
    journal::JournalRecord,
    reconciliation::{BOUNDS, Reconciliation},
};

/// What the object of one signer tells.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// The signer's journal, as it was compared last.
    pub journal: Option<JournalRecord>,
    /// What was found in it.
    pub reconciliation: Option<Reconciliation>,
    /// Orders that were given a certificate again.
    pub absorbed: u64,
    /// The cases that there are, the oldest first; not more than fit into one answer.
    pub cases: Vec<Case>,
    /// True when there are more cases than those.
    #[serde(default)]
    pub more: bool,
}

/// Why there is no list of certificates that nobody has: a shorter one would read as if it were all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Incomplete {
    /// The object of this signer cannot be asked.
    #[error("{0}: the object of its journal cannot be asked; the edge's log says why")]
    Unreached(String),
    /// This signer has more cases than an answer has room for.
    #[error("{signer}: there are more than {listed} cases; the edge's log names each certificate that nobody has")]
    TooMany {
        /// Its binding.
        signer: String,
        /// Those that there is room for.
        listed: usize,
    },
}

/// One signer.
#[derive(Clone, Debug)]
pub struct Signer<'a> {
    /// Its binding.
    pub binding: &'a str,
    /// What its object tells; nothing when that cannot be asked.
    pub report: Option<Report>,
    /// Whether this isolate takes it to answer, and the milliseconds that it expects a certificate to take; nothing where it does not
    /// ask.
    pub known: Option<(bool, u64)>,
}

/// A certificate that nobody has, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UndeliveredView<'a> {
    /// The binding of the signer.
    pub signer: &'a str,
    /// The URL that the signer was told for the order.
    pub order: &'a str,
    /// The certificate's serial number.
    pub serial: SerialNumber,
    /// Its profile.
    pub profile: &'a ProfileName,
    /// When it was signed.
    pub signed: Timestamp,
    /// Its last valid second.
    pub not_after: Timestamp,
    /// Whether it can be revoked.
    pub revocable: bool,
    /// When it was found that nobody has it.
    pub found: Timestamp,
    /// Whether it is revoked.
    pub revocation: Disowned,
}

/// A number of one signer: its name, kind and meaning, and where it is.
type Number = (&'static str, &'static str, &'static str, fn(&Signer<'_>) -> Option<u64>);

const NUMBERS: [Number; 15] = [
    ("journal_known", "gauge", "1: the object of the signer's journal answers.", |it| Some(it.report.is_some().into())),
    ("journal_records", "gauge", "Records that the signer's journal had.", |it| {
        journal(it).map(|journal| journal.checkpoint.length)
    }),
    ("journal_compared_timestamp_seconds", "gauge", "When the journal was compared last.", |it| {
        journal(it).map(|journal| journal.compared.seconds())
    }),
    ("journal_broken", "gauge", "1: the journal does not continue what it was.", |it| {
        journal(it).map(|journal| journal.broken.is_some().into())
    }),
    ("reconciliation_cursor", "gauge", "Records that reconciliation has looked at.", |it| {
        found(it).map(|found| found.cursor)
    }),
    ("reconciliation_lag_records", "gauge", "Records that it has yet to look at.", |it| {
        Some(journal(it)?.checkpoint.length.saturating_sub(found(it)?.cursor))
    }),
    ("reconciliation_undecided", "gauge", "Certificates of which it is too early to say anything.", |it| {
        count(it, |state| matches!(state, CaseState::Undecided))
    }),
    ("undelivered_open", "gauge", "Certificates that nobody has and that are not revoked.", |it| {
        count(it, |state| {
            matches!(state, CaseState::Undelivered(Undelivered { revocation, .. })
                if !matches!(revocation, Disowned::Revoked { .. }))
        })
    }),
    ("delivered_total", "counter", "Certificates that their clients have or can fetch.", |it| {
        found(it).map(|found| found.tally.delivered)
    }),
    ("expired_unjudged_total", "counter", "Certificates that had expired before anybody looked.", |it| {
        found(it).map(|found| found.tally.past)
    }),
    ("undelivered_total", "counter", "Certificates that nobody has.", |it| {
        found(it).map(|found| found.tally.undelivered)
    }),
    ("disowned_total", "counter", "Of these, revoked for that reason.", |it| {
        found(it).map(|found| found.tally.revoked)
    }),
    ("disown_refused_total", "counter", "Of these, not revoked by their signer.", |it| {
        found(it).map(|found| found.tally.refused)
    }),
    ("absorbed_renewals_total", "counter", "Orders that were given a certificate again that was there.", |it| {
        it.report.as_ref().map(|report| report.absorbed)
    }),
    ("signer_answers", "gauge", "1: the isolate that answers this takes the signer to answer.", |it| {
        it.known.map(|(answers, _)| answers.into())
    }),
];

/// All metrics, in Prometheus' text format 0.0.4.
#[must_use]
pub fn text(signers: &[Signer<'_>]) -> String {
    let mut out = String::new();
    for (name, kind, help, value) in NUMBERS {
        family(&mut out, name, kind, help);
        for signer in signers {
            if let Some(value) = value(signer) {
                line(&mut out, name, signer, "", &value.to_string());
            }
        }
    }
    let name = "signer_expected_wait_seconds";
    family(&mut out, name, "gauge", "Until a certificate that is asked for now, as that isolate expects.");
    for signer in signers {
        if let Some((_, wait)) = signer.known {
            line(&mut out, name, signer, "", &decimal(wait, 1000));
        }
    }
    let name = "certificates_total";
    family(&mut out, name, "counter", "Certificates in the signer's journal that reconciliation has looked at.");
    for signer in signers {
        for (profile, count) in found(signer).iter().flat_map(|found| &found.tally.certificates) {
            line(&mut out, name, signer, &format!(",profile=\"{profile}\""), &count.to_string());
        }
    }
    promises(&mut out, signers);
    out
}

/// What became of first estimates.
fn promises(out: &mut String, signers: &[Signer<'_>]) {
    let name = "estimate_ratio";
    family(out, name, "histogram", "What orders waited over what their signer first promised.");
    for signer in signers {
        let Some(found) = found(signer) else { continue };
        let (counts, mut sum) = (&found.tally.promises.counts, 0_u64);
        let bounds = BOUNDS.iter().map(|bound| decimal(*bound, 100)).chain(std::iter::once("+Inf".to_owned()));
        for (count, bound) in counts.iter().zip(bounds) {
            sum = sum.saturating_add(*count);
            line(out, "estimate_ratio_bucket", signer, &format!(",le=\"{bound}\""), &sum.to_string());
        }
        line(out, "estimate_ratio_sum", signer, "", &decimal(found.tally.promises.hundredths, 100));
        line(out, "estimate_ratio_count", signer, "", &sum.to_string());
    }
    for (name, help) in [
        ("promised_seconds_total", "Seconds that signers first promised."),
        ("waited_seconds_total", "Seconds that these orders waited."),
    ] {
        family(out, name, "counter", help);
        for signer in signers {
            let Some(found) = found(signer) else { continue };
            let promises = &found.tally.promises;
            let seconds = if name == "promised_seconds_total" { promises.promised } else { promises.took };
            line(out, name, signer, "", &seconds.to_string());
        }
    }
}

/// Lists the certificates that nobody has, of all signers.
///
/// # Errors
/// [`Incomplete`] when the list would lack some.
pub fn undelivered<'a>(signers: &'a [Signer<'a>]) -> Result<Vec<UndeliveredView<'a>>, Incomplete> {
    for Signer { binding, report, .. } in signers {
        match report {
            None => return Err(Incomplete::Unreached((*binding).to_owned())),
            Some(report) if report.more => {
                return Err(Incomplete::TooMany { signer: (*binding).to_owned(), listed: report.cases.len() });
            }
            Some(_) => {}
        }
    }
    let of = |signer: &'a Signer<'a>| {
        let cases = signer.report.iter().flat_map(|report| &report.cases);
        cases.filter_map(|case| match &case.state {
            CaseState::Undecided => None,
            CaseState::Undelivered(Undelivered { found, revocation }) => {
                let SignedRecord { order, serial, profile, at, not_after, revocable, .. } = &case.signed;
                Some(UndeliveredView {
                    signer: signer.binding,
                    order,
                    serial: *serial,
                    profile,
                    signed: *at,
                    not_after: *not_after,
                    revocable: *revocable,
                    found: *found,
                    revocation: *revocation,
                })
            }
        })
    };
    Ok(signers.iter().flat_map(of).collect())
}

fn journal<'a>(signer: &'a Signer<'_>) -> Option<&'a JournalRecord> {
    signer.report.as_ref()?.journal.as_ref()
}

fn found<'a>(signer: &'a Signer<'_>) -> Option<&'a Reconciliation> {
    signer.report.as_ref()?.reconciliation.as_ref()
}

fn count(signer: &Signer<'_>, is: fn(&CaseState) -> bool) -> Option<u64> {
    let cases = &signer.report.as_ref()?.cases;
    u64::try_from(cases.iter().filter(|case| is(&case.state)).count()).ok()
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# HELP colophon_edge_{name} {help}\n# TYPE colophon_edge_{name} {kind}");
}

fn line(out: &mut String, name: &str, signer: &Signer<'_>, labels: &str, value: &str) {
    let _ = writeln!(out, "colophon_edge_{name}{{signer=\"{}\"{labels}}} {value}", signer.binding);
}

fn decimal(value: u64, unit: u64) -> String {
    let digits = if unit == 1000 { 3 } else { 2 };
    let (whole, part) = (value.checked_div(unit).unwrap_or(0), value.checked_rem(unit).unwrap_or(0));
    format!("{whole}.{part:0digits$}")
}
