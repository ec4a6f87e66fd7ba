//! The status of certificates, pure: what is known of one by its serial number, who issued it, how it is revoked, and what those
//! who check certificates are told: OCSP responses, CRLs, certificates of issuers.

pub mod cache_tag;
pub mod case;
pub mod config;
pub mod crl;
pub mod document;
pub mod exchange;
pub mod http_date;
pub mod issuers;
pub mod journal;
pub mod memory;
pub mod metrics;
pub mod news;
pub mod reconciliation;
pub mod reconciliation_config;
pub mod renewal;
pub mod renewal_config;
pub mod renewal_window;
pub mod response;
pub mod revocation;
pub mod route;
