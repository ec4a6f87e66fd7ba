//! What expires: our own TLS certificate, the roots of clients, the issuers and those above them. Said while there is time.

use std::path::Path;

use rustls_pki_types::CertificateDer;
use shared::timestamp::Timestamp;
use x509_cert::{Certificate, der::Decode};

use crate::settings::Settings;

/// The longest time ahead that an end is worth a warning, in seconds.
const LONGEST: u64 = 90 * 86_400;

/// The end of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expiry {
    /// Which certificate.
    pub(crate) what: String,
    /// True for one of the listener's files.
    pub(crate) of_listener: bool,
    /// Its first valid second.
    pub(crate) not_before: Timestamp,
    /// Its last.
    pub(crate) not_after: Timestamp,
}

impl Expiry {
    fn of(what: String, of_listener: bool, der: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let validity = certificate.tbs_certificate().validity();
        let (not_before, not_after) =
            (Timestamp::from_x509(&validity.not_before), Timestamp::from_x509(&validity.not_after));
        Some(Self { what, of_listener, not_before, not_after })
    }

    /// True in the last third of its life, and not more than 90 days ahead.
    pub(crate) fn is_near(&self, now: Timestamp) -> bool {
        let third = self.not_after.since(self.not_before).checked_div(3).unwrap_or(0);
        now.plus(third.min(LONGEST)) > self.not_after
    }
}

/// Everything that these settings depend on.
pub(crate) fn all(settings: &Settings) -> Vec<Expiry> {
    let mut found = Vec::new();
    let files =
        [("our TLS certificate", &settings.listen.certificate), ("a root of clients", &settings.listen.client_roots)];
    for (what, file) in files {
        found.extend(
            certificates(file).iter().filter_map(|der| Expiry::of(format!("{what} in {}", file.display()), true, der)),
        );
    }
    for issuer in &settings.issuers {
        let chain = issuer.chain.sent();
        found.extend(
            chain.filter_map(|above| Expiry::of(format!("the chain of issuer {}", issuer.name), false, above.der())),
        );
    }
    found
}

/// Logs what ends soon or has ended. Gives everything that ends.
pub(crate) fn warn(settings: &Settings, now: Timestamp) -> Vec<Expiry> {
    let all = all(settings);
    for expiry in all.iter().filter(|expiry| expiry.is_near(now)) {
        let Expiry { what, not_after, .. } = expiry;
        let days = not_after.since(now) / 86_400;
        if *not_after < now {
            tracing::error!(what, %not_after, "a certificate has expired");
        } else {
            tracing::warn!(what, %not_after, days, "a certificate expires soon");
        }
    }
    all
}

fn certificates(file: &Path) -> Vec<CertificateDer<'static>> {
    crate::tls::certificates(file).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_near_in_the_last_third_of_a_life_and_in_its_last_ninety_days() {
        let (day, start) = (86_400, 1_800_000_000);
        let near = |life: u64, left: u64| {
            let expiry = Expiry {
                what: String::new(),
                of_listener: true,
                not_before: Timestamp::from_seconds(start),
                not_after: Timestamp::from_seconds(start + life),
            };
            expiry.is_near(Timestamp::from_seconds(start + life - left))
        };
        assert!(near(day, 7 * 3600) && !near(day, 9 * 3600));
        assert!(near(1825 * day, 89 * day) && !near(1825 * day, 91 * day));
        assert!(near(day, 0));
    }
}
