//! What the person in front of the terminal sees: one line when a step begins, one when it ends, with its time.
//!
//! Everything goes to standard error: standard output belongs to the results (`up --json` prints exactly one line
//! there).

use std::time::{Duration, Instant};

/// A step that takes long enough to be announced.
pub(crate) struct Step {
    what: String,
    started: Instant,
}

impl Step {
    /// Announces the step.
    pub(crate) fn begin(what: impl Into<String>) -> Self {
        let what = what.into();
        eprintln!("==> {what}");
        Self { what, started: Instant::now() }
    }

    /// Says that it is done, and how long it took.
    pub(crate) fn done(self) -> Duration {
        let elapsed = self.started.elapsed();
        eprintln!("    {}: {}", self.what, seconds(elapsed));
        elapsed
    }
}

/// One line of detail below the current step.
pub(crate) fn note(text: impl AsRef<str>) {
    eprintln!("    {}", text.as_ref());
}

/// `3.2 s`, or `4 min 12 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs();
    if whole < 60 {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_times_have_a_decimal_and_long_ones_minutes() {
        assert_eq!(seconds(Duration::from_millis(3_240)), "3.2 s");
        assert_eq!(seconds(Duration::from_secs(252)), "4 min 12 s");
    }
}
