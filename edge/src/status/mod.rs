//! The status of certificates, pure: what is known of one by its serial number, who issued it, and how it is revoked.

pub mod issuers;
pub mod journal;
pub mod revocation;
