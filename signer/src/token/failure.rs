//! Why a token did not sign, and what that means for the worker: the same code of PKCS#11 means one thing in a login and another in a
//! signature, and modules differ in what they say when a token is gone. So only what is certainly about the question itself leaves
//! the session alone; everything else has the token looked for again.

use cryptoki::error::{Error, RvError};

use super::pkcs11::LoginFailed;

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignFailed {
    /// The PIN that the key wants for each signature was rejected. Final until an operator acts.
    #[error("the token rejected its PIN: {0}")]
    PinRejected(String),
    /// The token does not take what it was asked; another session would not change that.
    #[error("the token does not take this: {}", brief(.0))]
    Argument(Error),
    /// Anything else: the token may be gone.
    #[error("the token did not sign: {}", brief(.0))]
    Lost(Error),
    /// Something else than 64 bytes of r and s.
    #[error("the token gave no P-256 signature")]
    NotASignature,
    /// A signature by another key, or of something else.
    #[error("the token's signature does not verify under the issuer's public key")]
    DoesNotVerify,
}

impl From<Error> for SignFailed {
    fn from(error: Error) -> Self {
        match &error {
            Error::Pkcs11(code, _) if is_argument(*code) => Self::Argument(error),
            _ => Self::Lost(error),
        }
    }
}

impl From<LoginFailed> for SignFailed {
    fn from(failed: LoginFailed) -> Self {
        match failed {
            LoginFailed::Rejected(code) | LoginFailed::Argument(code) => Self::PinRejected(code),
            LoginFailed::Other(error) => Self::Lost(error),
        }
    }
}

/// The code of an error and where it came from, without the standard's prose.
pub(super) fn brief(error: &Error) -> String {
    match error {
        Error::Pkcs11(code, function) => format!("{code:?} in {function:?}"),
        other => other.to_string(),
    }
}

/// True for what is about the arguments of a call. Handles are not among those: they end with their session and their token.
pub(super) const fn is_argument(code: RvError) -> bool {
    matches!(
        code,
        RvError::ArgumentsBad
            | RvError::DataInvalid
            | RvError::DataLenRange
            | RvError::MechanismInvalid
            | RvError::MechanismParamInvalid
            | RvError::KeyFunctionNotPermitted
            | RvError::KeySizeRange
            | RvError::KeyTypeInconsistent
            | RvError::FunctionNotSupported
            | RvError::AttributeTypeInvalid
            | RvError::AttributeValueInvalid
            | RvError::TemplateIncomplete
            | RvError::TemplateInconsistent
    )
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    /// What modules were seen to say when a token was pulled out, came back or was taken over.
    const OF_TOKENS: [RvError; 14] = [
        RvError::GeneralError,
        RvError::DeviceError,
        RvError::DeviceRemoved,
        RvError::DeviceMemory,
        RvError::TokenNotPresent,
        RvError::TokenNotRecognized,
        RvError::SlotIdInvalid,
        RvError::SessionHandleInvalid,
        RvError::SessionClosed,
        RvError::ObjectHandleInvalid,
        RvError::KeyHandleInvalid,
        RvError::UserNotLoggedIn,
        RvError::FunctionFailed,
        RvError::OperationActive,
    ];

    #[test]
    fn only_what_is_about_the_question_leaves_the_session_alone() {
        for code in OF_TOKENS {
            let failed = SignFailed::from(Error::Pkcs11(code, Function::Sign));
            assert!(matches!(failed, SignFailed::Lost(_)), "{failed}");
        }
        for code in [RvError::ArgumentsBad, RvError::DataLenRange, RvError::DataInvalid, RvError::MechanismInvalid] {
            let failed = SignFailed::from(Error::Pkcs11(code, Function::Sign));
            assert!(matches!(failed, SignFailed::Argument(_)), "{failed}");
        }
    }

    #[test]
    fn a_code_that_rejects_a_pin_does_so_in_a_login_alone() {
        let failed = SignFailed::from(LoginFailed::Rejected("PinIncorrect".into()));
        assert!(matches!(failed, SignFailed::PinRejected(_)));
        let failed = SignFailed::from(Error::Pkcs11(RvError::PinIncorrect, Function::Sign));
        assert!(matches!(failed, SignFailed::Lost(_)));
    }
}
