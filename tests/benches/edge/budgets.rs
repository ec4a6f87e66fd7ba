//! The budgets, and whether they are met. They are the design's; nothing here fails by itself.

use serde::Serialize;

/// CPU of a signed POST over that of an empty worker.
pub(crate) const POST: f64 = 10.0;
/// CPU of a POST-as-GET over that of an empty worker.
pub(crate) const READ: f64 = 5.0;
/// CPU of an issuance over Pebble's.
pub(crate) const ISSUANCE: f64 = 1.0;
/// The compressed bundle, in kB.
pub(crate) const BUNDLE: f64 = 700.0;
/// From listening to the first answer, in milliseconds.
pub(crate) const FIRST_ANSWER: f64 = 60.0;
/// The 99th percentile of a POST without effect over the floor's median, in milliseconds.
pub(crate) const LATENCY: f64 = 10.0;

/// A budget beside what was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Budget {
    /// What is bounded.
    pub(crate) what: String,
    /// The unit of both numbers.
    pub(crate) unit: &'static str,
    /// At most so much.
    pub(crate) limit: f64,
    /// What it was.
    pub(crate) measured: f64,
    /// Whether that is within the limit.
    pub(crate) met: bool,
}

impl Budget {
    /// Compares.
    #[must_use]
    pub(crate) fn new(what: impl Into<String>, unit: &'static str, limit: f64, measured: f64) -> Self {
        // Not a number is not met.
        Self { what: what.into(), unit, limit, measured, met: measured <= limit }
    }
}

impl std::fmt::Display for Budget {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { what, unit, limit, measured, .. } = self;
        let verdict = if self.met { "met" } else { "NOT MET" };
        let margin = (limit - measured).abs();
        let side = if self.met { "below" } else { "over" };
        write!(out, "{what:<58} {measured:>8.2} of {limit:>6.1} {unit:<3} {verdict:<8} {margin:.2} {side}")
    }
}
