//! What jobs are, as far as their turn is concerned.
//!
//! The numbers of a class say two things. When nothing is scarce, the class with the least patience goes first. When everything is,
//! a class is served `window / patience` times a second for each token at least, and the rest goes to those with less patience: a
//! token of 3.3 signatures a second spends at most a sixth of them on refreshing OCSP responses and a twentieth on CRLs, however many
//! wait, and never less than that on CRLs, however long the line of certificates is.

use std::time::Duration;

use shared::signing::Priority;

/// A kind of job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Class {
    /// A certificate that replaces another one.
    Renewal,
    /// A first certificate.
    New,
    /// The OCSP response of a certificate that was revoked just now.
    Revocation,
    /// The OCSP response of a certificate that has none that is good.
    Status,
    /// A CRL.
    Crl,
    /// An OCSP response in place of one that is still good.
    Refresh,
}

impl Class {
    /// All, in the order of ties.
    pub(crate) const ALL: [Self; 6] =
        [Self::Renewal, Self::Revocation, Self::New, Self::Status, Self::Crl, Self::Refresh];

    /// As operators read it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Renewal => "renewal",
            Self::New => "new",
            Self::Revocation => "revocation",
            Self::Status => "status",
            Self::Crl => "crl",
            Self::Refresh => "refresh",
        }
    }

    /// How long a job at the head of its line lets others go first.
    pub(crate) const fn patience(self) -> Duration {
        match self {
            Self::Renewal | Self::Revocation => Duration::from_millis(500),
            Self::New | Self::Status => Duration::from_secs(5),
            Self::Refresh => Duration::from_secs(20),
            Self::Crl => Duration::from_secs(60),
        }
    }

    /// True when somebody waits for it who has what will not do for long.
    pub(crate) const fn is_urgent(self) -> bool {
        matches!(self, Self::Renewal | Self::Revocation)
    }

    /// Jobs of the class whose patience runs at the same time, for each token.
    pub(crate) const fn window(self) -> usize {
        match self {
            Self::Renewal | Self::New | Self::Revocation | Self::Status => 2,
            Self::Crl | Self::Refresh => 10,
        }
    }

    /// Jobs that may wait, for each token; nothing when only the whole queue is limited. A response that nobody waits for
    /// is better refused early than signed late.
    pub(crate) const fn most(self) -> Option<usize> {
        match self {
            Self::Renewal | Self::New | Self::Revocation => None,
            Self::Status => Some(200),
            Self::Crl | Self::Refresh => Some(10),
        }
    }
}

impl From<Priority> for Class {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Renewal => Self::Renewal,
            Priority::New => Self::New,
        }
    }
}
