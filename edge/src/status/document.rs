//! What is sent to those who check certificates, with the headers of RFC 5019 §6 (RFC 9919 §6): bytes that are the same for
//! everybody, until when they are good, and what a client need not be sent again.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::{base64url::Base64Url, timestamp::Timestamp};

use super::http_date;

/// What the bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An OCSPResponse (RFC 6960 §A.2).
    Ocsp,
    /// A CRL (RFC 2585 §4.2).
    Crl,
    /// A certificate (RFC 2585 §4.1).
    Certificate,
}

/// Something signed that anybody may keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// What it is.
    pub kind: Kind,
    /// DER.
    pub body: Base64Url,
    /// Since when it says so: its thisUpdate, a certificate's notBefore.
    pub this_update: Timestamp,
    /// Until when it is good: its nextUpdate, a certificate's notAfter.
    pub next_update: Timestamp,
}

/// What a client says that it has (RFC 9110 §13.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions<'a> {
    /// `If-None-Match`.
    pub if_none_match: Option<&'a str>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<&'a str>,
}

impl Kind {
    /// The media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Ocsp => "application/ocsp-response",
            Self::Crl => "application/pkix-crl",
            Self::Certificate => "application/pkix-cert",
        }
    }
}

impl Document {
    /// The entity tag: SHA-256 of the bytes in hex, quoted.
    #[must_use]
    pub fn tag(&self) -> String {
        let mut tag = String::from("\"");
        for byte in Sha256::digest(&self.body.0) {
            // Writing to a string cannot fail.
            let _ = write!(tag, "{byte:02x}");
        }
        tag.push('"');
        tag
    }

    /// True while it may be sent.
    #[must_use]
    pub fn is_good(&self, now: Timestamp) -> bool {
        now < self.next_update
    }

    /// The headers of an answer that has it, or that says that the client has it already. No cache keeps it longer than `most`
    /// seconds, nor longer than it is good.
    #[must_use]
    pub fn headers(&self, now: Timestamp, most: u64) -> [(&'static str, String); 5] {
        let age = self.next_update.since(now).min(most);
        [
            ("Content-Type", self.kind.media_type().to_owned()),
            ("Last-Modified", http_date::format(self.this_update)),
            ("Expires", http_date::format(self.next_update)),
            ("ETag", self.tag()),
            ("Cache-Control", format!("max-age={age}, public, no-transform, must-revalidate")),
        ]
    }

    /// True when the client has it: then the answer is 304 without a body. A tag decides where there is one (RFC 9110 §13.2.2).
    #[must_use]
    pub fn is_known(&self, conditions: Conditions<'_>) -> bool {
        if let Some(tags) = conditions.if_none_match {
            let own = self.tag();
            return tags
                .split(',')
                .map(str::trim)
                .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == own);
        }
        conditions.if_modified_since.and_then(http_date::parse).is_some_and(|since| self.this_update <= since)
    }
}
