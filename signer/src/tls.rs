//! The TLS side of the listener: 1.3 only, client certificates required, no resumption, so that an identity that is taken back
//! is gone with its last connection. And of the client that asks peers.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use shared::pem::{self, Label};
use x509_cert::{Certificate, der::Decode};

use crate::{files, settings::ListenSettings};

/// Reads certificate, key and client roots.
///
/// # Errors
/// Names the file that is wrong.
pub(crate) fn server_config(listen: &ListenSettings) -> anyhow::Result<Arc<ServerConfig>> {
    let provider = Arc::new(ring::default_provider());
    let roots = root_store(&listen.client_roots)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .with_context(|| format!("in {}", listen.client_roots.display()))?;
    let chain = certificates(&listen.certificate)?;
    let key = private_key(&listen.key)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .with_context(|| format!("{} and {}", listen.certificate.display(), listen.key.display()))?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Reads a client's certificate and key, and the roots of the servers that it calls.
///
/// # Errors
/// Names the file that is wrong.
pub(crate) fn client_config(certificate: &Path, key: &Path, roots: &Path) -> anyhow::Result<Arc<ClientConfig>> {
    let trusted = root_store(roots)?;
    let (chain, key) = (certificates(certificate)?, private_key(key)?);
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(trusted)
        .with_client_auth_cert(chain, key)
        .with_context(|| certificate.display().to_string())?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Reads a private key by the rules of secret files: no other user may read it. The path may lead through symbolic links, as tools that
/// renew certificates make them; the rules hold for the file at their end.
fn private_key(path: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    let file = path.canonicalize().with_context(|| format!("cannot read the private key {}", path.display()))?;
    let text = files::read_private(&file).context("the private key of TLS")?;
    PrivateKeyDer::from_pem_slice(pem::trimmed(&text).as_bytes())
        .with_context(|| format!("{} in {}", missing_key(&text), path.display()))
}

/// What stands in the place of a key that the daemon can use.
fn missing_key(text: &str) -> &'static str {
    if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED") {
        "the private key is encrypted, and the daemon has no passphrase (`openssl pkey -in FILE -out NEW` decrypts it)"
    } else {
        "no private key in PEM (PKCS#8, SEC 1 or PKCS#1)"
    }
}

/// Reads roots. Each certificate of the file is one, or the file is refused.
fn root_store(file: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for (position, root) in certificates(file)?.into_iter().enumerate() {
        let number = position.saturating_add(1);
        roots.add(root).with_context(|| format!("certificate {number} in {} cannot be a root", file.display()))?;
    }
    Ok(roots)
}

/// Reads all certificates of a file, DER.
///
/// # Errors
/// Names the file and the block, when it has none or one that cannot be used.
pub(crate) fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read certificates from {}", path.display()))?;
    let ders = pem::read(&bytes, Label::Certificate)
        .with_context(|| format!("no certificates in PEM in {}", path.display()))?;
    for (position, der) in ders.iter().enumerate() {
        let number = position.saturating_add(1);
        Certificate::from_der(der)
            .with_context(|| format!("certificate {number} in {} is not a certificate in DER", path.display()))?;
    }
    Ok(ders.into_iter().map(CertificateDer::from).collect())
}

#[cfg(test)]
mod tests {
    use shared::testing::TestCa;

    use super::*;

    #[test]
    fn no_root_of_clients_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("roots.pem");
        let (one, other) = (TestCa::new(1).root_pem, TestCa::new(2).root_pem);
        let read = |text: String| {
            std::fs::write(&file, text).unwrap();
            root_store(&file).map(|roots| roots.len()).map_err(|error| format!("{error:#}"))
        };
        let plain = format!("{one}{other}");
        for text in [
            plain.clone(),
            plain.replace('\n', "\r\n"),
            format!("\u{feff}Subject: one\n\n{one}\n\n\u{feff}{other}text behind it\n"),
        ] {
            assert_eq!(read(text), Ok(2));
        }
        for (text, said) in [
            (format!("{one}{}", other.replace("CERTIFICATE", "TRUSTED CERTIFICATE")), "block 2 is TRUSTED CERTIFICATE"),
            (format!("{one}{}", other.replace("-----BEGIN", "----BEGIN")), "is not a first or last line of a block"),
            (format!("{one}{}", other.replace("-----END", "----END")), "block 2"),
            (format!("{one}{}", other.replace("MI", "NI")), "certificate 2"),
            (String::new(), "there is no block"),
        ] {
            let why = read(text).unwrap_err();
            assert!(why.contains(said) && why.contains("roots.pem"), "{why}");
        }
    }

    #[test]
    fn a_key_that_is_encrypted_is_told_from_none() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let said = |content: &str| {
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            private_key(&path).map(drop).map_err(|error| error.to_string())
        };
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        assert_eq!(said(&key), Ok(()));
        let sealed = said(&key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY")).unwrap_err();
        assert!(sealed.contains("is encrypted") && sealed.ends_with("/key"), "{sealed}");
        assert!(said("").unwrap_err().contains("no private key in PEM"));
    }
}
