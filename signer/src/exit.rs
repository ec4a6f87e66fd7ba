//! How the process ends, so that whatever restarts it knows whether it should.

use std::process::ExitCode;

/// Do not restart: an operator must act first. `RestartPreventExitStatus=78` in systemd (EX_CONFIG of sysexits).
pub(crate) const OPERATOR_MUST_ACT: u8 = 78;

/// Marks an error that a restart would only repeat: a bad configuration, a broken journal, a rejected PIN.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("an operator must act before the signer is started again")]
pub(crate) struct OperatorMustAct;

/// Adds [`OperatorMustAct`] to an error.
pub(crate) trait Final<T> {
    /// Marks the error, if it is one, as one that a restart would repeat.
    fn operator_must_act(self) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> Final<T> for Result<T, E> {
    fn operator_must_act(self) -> anyhow::Result<T> {
        self.map_err(|error| Marked(error.into()).into())
    }
}

/// The exit code that tells what the result was.
pub(crate) fn code(result: &anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_final(error) => ExitCode::from(OPERATOR_MUST_ACT),
        Err(_) => ExitCode::FAILURE,
    }
}

fn is_final(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<OperatorMustAct>() || cause.is::<Marked>())
}

/// An error with the mark on it, which prints as the error alone.
#[derive(Debug)]
struct Marked(anyhow::Error);

impl std::fmt::Display for Marked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Marked {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.chain().nth(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn the_mark_survives_context_and_is_not_printed() {
        let error = std::fs::read("/nonexistent").context("inner").operator_must_act().context("outer").unwrap_err();
        assert!(is_final(&error));
        let text = format!("{error:#}");
        assert!(text.starts_with("outer: inner: No such file"), "{text}");
        assert!(!is_final(&anyhow::anyhow!("other")));
    }
}
