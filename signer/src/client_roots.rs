//! The roots that edges' client certificates chain to. They are of an infrastructure CA that issues nothing else: were one of them a CA of
//! the chain that this signer issues under, anyone with a certificate of it for the right name could call as an edge.

use anyhow::{Context, ensure};
use der::Decode;
use shared::{
    chain::{Issuer, IssuerChain},
    public_key::PublicKey,
};
use x509_cert::{Certificate, ext::pkix::BasicConstraints};

use crate::{settings::Settings, tls};

/// Reads the listener's files, and compares the roots of clients with the issuers.
///
/// # Errors
/// Names the file that is wrong, and the certificate in it.
pub(crate) fn server_config(settings: &Settings) -> anyhow::Result<std::sync::Arc<rustls::ServerConfig>> {
    let config = tls::server_config(&settings.listen)?;
    let file = &settings.listen.client_roots;
    for (position, root) in tls::certificates(file)?.iter().enumerate() {
        let number = position.saturating_add(1);
        let chains = settings.issuers.iter().map(|issuer| (issuer.name.as_str(), &issuer.chain));
        check(root, chains).with_context(|| format!("client_roots: certificate {number} in {}", file.display()))?;
    }
    Ok(config)
}

/// Checks one root.
fn check<'a>(root: &[u8], issuers: impl Iterator<Item = (&'a str, &'a IssuerChain)>) -> anyhow::Result<()> {
    let certificate = Certificate::from_der(root).context("it is not a certificate in DER")?;
    let tbs = certificate.tbs_certificate();
    let subject = tbs.subject();
    let constraints = tbs.get_extension::<BasicConstraints>().context("its basicConstraints cannot be read")?;
    ensure!(
        constraints.is_some_and(|(_, constraints)| constraints.ca),
        "{subject} is no CA (basicConstraints CA:TRUE is missing): name the CA that issued the edges' client certificates, not one of them"
    );
    // A key of another kind is none of an issuer's.
    let key = PublicKey::from_spki(tbs.subject_public_key_info().clone()).ok();
    for (name, chain) in issuers {
        ensure!(
            !key.as_ref().is_some_and(|key| chain.has_key(key)) && !is_above(root, chain),
            "{subject} is the CA of issuer {name}: anyone with a certificate of this CA could call as an edge. The client certificates of \
             edges come from a CA of their own, which issues nothing else"
        );
    }
    Ok(())
}

/// True when this certificate is the one above a chain whose file does not have it.
fn is_above(root: &[u8], chain: &IssuerChain) -> bool {
    let last = chain.all().last().map(Issuer::der);
    last.is_some_and(|last| IssuerChain::from_ders([last, root]).is_ok())
}

#[cfg(test)]
mod tests {
    use shared::testing::TestCa;

    use super::*;

    #[test]
    fn a_root_of_clients_is_a_ca_and_not_one_that_issues() {
        let (ours, other) = (TestCa::new(1), TestCa::new(2));
        let whole = &ours.chain;
        let short = IssuerChain::from_ders([ours.chain.issuer().der()]).unwrap();
        let said = |root: &[u8], chain: &IssuerChain| {
            check(root, [("a1", chain)].into_iter()).map_err(|error| format!("{error:#}"))
        };
        assert_eq!(said(other.root.der(), whole), Ok(()));
        for root in [ours.root.der(), ours.chain.issuer().der()] {
            for chain in [whole, &short] {
                assert!(said(root, chain).unwrap_err().contains("is the CA of issuer a1"));
            }
        }
        let leaf = rcgen::generate_simple_self_signed(["edge.test".to_owned()]).unwrap();
        assert!(said(leaf.cert.der(), whole).unwrap_err().contains("is no CA"));
        assert!(said(&[0x30, 0], whole).is_err());
    }
}
