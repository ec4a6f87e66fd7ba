//! What parent and worker process say to each other: JSON behind its length (four bytes, big-endian), over a pair of pipes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shared::base64url::Base64Url;

use super::{
    choice::{Others, TokenId},
    pin::PinLengths,
    uri::TokenUri,
};

/// The largest frame in bytes. A TBSCertificate of a hundred long names has 64 KiB, a CRL 70 bytes for each certificate on it.
pub(crate) const MAX_BYTES: u32 = 16 * 1024 * 1024;

/// The first frame to a worker: which key it is to work with.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Init {
    /// The PKCS#11 module.
    pub(crate) module: PathBuf,
    /// Where to look for the key.
    pub(crate) uri: TokenUri,
    /// Where not to.
    pub(crate) others: Others,
    /// The issuer's certificate, DER: decides which key it is, and what the worker signs.
    pub(crate) issuer: Base64Url,
    /// Whether to log in, and with what.
    pub(crate) login: Login,
    /// How long a signature takes at least, for tests.
    #[cfg(feature = "slow-token")]
    #[serde(default)]
    pub(crate) latency_ms: u64,
}

/// Whether a worker logs in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Login {
    /// No: it only says whether the key is there. For `signer check`.
    No,
    /// Yes, with the PIN of a file.
    Yes {
        /// The PIN file.
        pin_file: PathBuf,
        /// Where marks about PINs are kept.
        state: PathBuf,
        /// The name of this token's marks.
        mark: String,
    },
}

/// Every later frame to a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sign {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its DER.
    pub(crate) tbs: Base64Url,
}

/// What a worker is given to sign: it looks at each with other eyes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Kind {
    /// The TBSCertificate of a leaf.
    Certificate,
    /// The ResponseData of an OCSP response (RFC 6960 §4.2.1).
    Ocsp,
    /// A TBSCertList (RFC 5280 §5.1).
    Crl,
    /// The TBSCertificate of an OCSP responder (RFC 6960 §4.2.2.2) with this key, a SubjectPublicKeyInfo in DER.
    Responder(Base64Url),
}

/// The frames from a worker: one for the `Init`, one for every `Sign`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Reply {
    /// The key is there, and the worker is logged in if it was told to.
    Ready {
        /// What the token calls itself, for the log.
        token: String,
        /// Which of those that fit the uri it is.
        id: TokenId,
        /// True when the key wants its PIN for each signature.
        each_time: bool,
        /// How long its PINs are, when it says so.
        pin_lengths: Option<PinLengths>,
    },
    /// The signature, DER, verified under the issuer's key.
    Signed(Base64Url),
    /// This is nothing that the worker signs, or that its token takes. It stays ready.
    Refused(String),
    /// The PIN was rejected, now or earlier. The worker ends.
    PinRejected(String),
    /// The token does not work. The worker ends.
    Failed(String),
}

/// A frame that is too long or is not the JSON that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadFrame {
    /// More than [`MAX_BYTES`].
    #[error("a frame is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Not the JSON that was expected.
    #[error("a frame is not of the worker's protocol")]
    Form,
}

/// A frame as bytes, with its length.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, BadFrame> {
    let json = serde_json::to_vec(value).map_err(|_| BadFrame::Form)?;
    let length = u32::try_from(json.len()).map_err(|_| BadFrame::TooLong)?;
    if length > MAX_BYTES {
        return Err(BadFrame::TooLong);
    }
    Ok([&length.to_be_bytes(), json.as_slice()].concat())
}

/// The length of the frame that follows these four bytes.
pub(crate) fn length(prefix: [u8; 4]) -> Result<usize, BadFrame> {
    match u32::from_be_bytes(prefix) {
        length if length <= MAX_BYTES => usize::try_from(length).map_err(|_| BadFrame::TooLong),
        _ => Err(BadFrame::TooLong),
    }
}

/// Reads the JSON of a frame.
pub(crate) fn decode<T: DeserializeOwned>(json: &[u8]) -> Result<T, BadFrame> {
    serde_json::from_slice(json).map_err(|_| BadFrame::Form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_as_it_went() {
        let frame = encode(&Sign { kind: Kind::Ocsp, tbs: Base64Url(vec![1, 2]) }).unwrap();
        let (prefix, json) = frame.split_first_chunk().unwrap();
        assert_eq!(length(*prefix), Ok(json.len()));
        let sign = decode::<Sign>(json).unwrap();
        assert_eq!((sign.kind, sign.tbs.0.as_slice()), (Kind::Ocsp, [1, 2].as_slice()));
    }

    #[test]
    fn long_frames_and_other_json_are_errors() {
        assert_eq!(length(u32::MAX.to_be_bytes()), Err(BadFrame::TooLong));
        assert_eq!(
            encode(&Sign { kind: Kind::Crl, tbs: Base64Url(vec![0; 13_000_000]) }).unwrap_err(),
            BadFrame::TooLong
        );
        assert_eq!(decode::<Sign>(br#"{"kind":"crl","tbs":"AQ","more":1}"#).unwrap_err(), BadFrame::Form);
    }
}
