//! What certificates are for: keys and requests of their holders.

use anyhow::Result;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

/// A CSR in DER for these names, under a fresh P-256 key and with an empty subject.
///
/// # Errors
/// When a name is none.
pub fn csr(names: &[&str]) -> Result<Vec<u8>> {
    csr_of(names, &KeyPair::generate()?)
}

/// The same under this key.
///
/// # Errors
/// When a name is none.
pub fn csr_of(names: &[&str], key: &KeyPair) -> Result<Vec<u8>> {
    let mut request = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
    request.distinguished_name = DistinguishedName::new();
    Ok(request.serialize_request(key)?.der().to_vec())
}
