//! How status is told, checked.

use anyhow::ensure;
use shared::pointers::StatusHost;

use super::book::Part;
use crate::config::StatusConfig;

/// The longest time in seconds that a worker lets anything be said ahead: 31 days.
const LONGEST: u64 = 31 * 86_400;

/// The configuration's `[status]`.
#[derive(Clone, Debug)]
pub(crate) struct StatusSettings {
    /// What certificates point to.
    pub(crate) host: StatusHost,
    /// Seconds that an OCSP response is good.
    pub(crate) ocsp_validity: u64,
    /// OCSP responses that are kept.
    pub(crate) ocsp_memory: usize,
    pub(crate) crl: CrlSettings,
}

/// How CRLs are signed. Times in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CrlSettings {
    /// Parts of each issuer's, 1 to 128.
    pub(crate) shards: u8,
    /// Whether all certificates are on one too.
    pub(crate) has_complete: bool,
    /// How long one is good.
    pub(crate) validity: u64,
    /// Between two when nothing is revoked.
    pub(crate) interval: u64,
    /// From a revocation to the next.
    pub(crate) delay: u64,
}

/// A responder that an issuer certifies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResponderSettings {
    /// Seconds that its certificate lives.
    pub(crate) validity: u64,
}

impl StatusSettings {
    /// What the CRL of a part names itself; nothing for the complete one (RFC 5280 §5.2.5).
    pub(crate) fn url(&self, (issuer, shard): Part) -> Option<String> {
        (!shard.is_complete()).then(|| self.host.crl(issuer, shard))
    }

    pub(crate) fn check(config: StatusConfig) -> anyhow::Result<Self> {
        let StatusConfig {
            host,
            ocsp_validity_seconds,
            ocsp_memory,
            crl_shards,
            complete_crl,
            crl_validity_seconds,
            crl_interval_seconds,
            crl_delay_seconds,
        } = config;
        let validity = 60..=LONGEST;
        ensure!(validity.contains(&ocsp_validity_seconds), "status.ocsp_validity_seconds is between 60 and {LONGEST}");
        ensure!((1..=10_000_000).contains(&ocsp_memory), "status.ocsp_memory is between 1 and 10000000");
        ensure!((1..=128).contains(&crl_shards), "status.crl_shards is between 1 and 128");
        ensure!(validity.contains(&crl_validity_seconds), "status.crl_validity_seconds is between 60 and {LONGEST}");
        // One may fail, and the next is still in time.
        let most = crl_validity_seconds / 2;
        ensure!(
            (1..=most).contains(&crl_interval_seconds),
            "status.crl_interval_seconds is between 1 and half of crl_validity_seconds"
        );
        ensure!(crl_delay_seconds <= crl_interval_seconds, "status.crl_delay_seconds is at most crl_interval_seconds");
        let crl = CrlSettings {
            shards: crl_shards,
            has_complete: complete_crl,
            validity: crl_validity_seconds,
            interval: crl_interval_seconds,
            delay: crl_delay_seconds,
        };
        Ok(Self { host, ocsp_validity: ocsp_validity_seconds, ocsp_memory, crl })
    }
}

impl ResponderSettings {
    pub(crate) fn check(validity: u64) -> anyhow::Result<Self> {
        ensure!((120..=LONGEST).contains(&validity), "responder_validity_seconds is between 120 and {LONGEST}");
        Ok(Self { validity })
    }
}
