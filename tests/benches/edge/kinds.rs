//! The kinds of requests that are measured.

use serde::Serialize;

/// What is measured, the floors among it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// A worker that answers at once.
    Empty,
    /// The same through an object.
    Hop,
    /// The same through an object that writes a row.
    Row,
    /// GET of the directory.
    Directory,
    /// HEAD of newNonce.
    NewNonce,
    /// A fresh key's account.
    NewAccount,
    /// An order of one name.
    NewOrder,
    /// POST-as-GET of the account.
    Account,
    /// POST-as-GET of a valid order.
    Order,
    /// POST-as-GET of a valid authorization.
    Authorization,
    /// POST-as-GET of a chain.
    Certificate,
    /// The response to a challenge, its probe included.
    Challenge,
    /// The finalization of a ready order, up to the certificate.
    Finalize,
    /// A rollover to a fresh key.
    KeyChange,
    /// GET of an OCSP response that the isolate remembers.
    OcspGet,
    /// The same by POST.
    OcspPost,
    /// GET of a CRL that the isolate remembers.
    Crl,
}

impl Kind {
    /// In the order of a round: floors between the others, and what needs another kind's orders after it.
    pub(crate) const ALL: [Self; 17] = [
        Self::Empty,
        Self::Directory,
        Self::NewNonce,
        Self::OcspGet,
        Self::OcspPost,
        Self::Crl,
        Self::Hop,
        Self::Account,
        Self::Order,
        Self::Authorization,
        Self::Certificate,
        Self::Row,
        Self::NewOrder,
        Self::Challenge,
        Self::Finalize,
        Self::NewAccount,
        Self::KeyChange,
    ];

    /// For people.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Empty => "floor: empty worker",
            Self::Hop => "floor: object hop",
            Self::Row => "floor: hop with a row",
            Self::Directory => "directory",
            Self::NewNonce => "newNonce",
            Self::NewAccount => "newAccount",
            Self::NewOrder => "newOrder",
            Self::Account => "read account",
            Self::Order => "read order",
            Self::Authorization => "read authorization",
            Self::Certificate => "read certificate",
            Self::Challenge => "challenge, with probe",
            Self::Finalize => "finalize",
            Self::KeyChange => "keyChange",
            Self::OcspGet => "OCSP by GET",
            Self::OcspPost => "OCSP by POST",
            Self::Crl => "CRL",
        }
    }

    /// Whether it is a POST-as-GET.
    #[must_use]
    pub(crate) const fn is_read(self) -> bool {
        matches!(self, Self::Account | Self::Order | Self::Authorization | Self::Certificate)
    }

    /// Whether it is about the status of a certificate.
    #[must_use]
    pub(crate) const fn is_status(self) -> bool {
        matches!(self, Self::OcspGet | Self::OcspPost | Self::Crl)
    }

    /// Whether it is signed.
    #[must_use]
    pub(crate) const fn is_signed(self) -> bool {
        !matches!(self, Self::Empty | Self::Hop | Self::Row | Self::Directory | Self::NewNonce) && !self.is_status()
    }

    /// Whether its answer waits for nothing outside, or sets something going.
    #[must_use]
    pub(crate) const fn has_effect(self) -> bool {
        matches!(self, Self::Challenge | Self::Finalize)
    }
}
