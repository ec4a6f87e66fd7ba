//! The issuers of all signers, as far as they are known: who issued a certificate that a stranger shows.

use shared::{
    base64url::Base64Url,
    chain::{Issuer, IssuerChain},
    signing::Status,
    timestamp::Timestamp,
};

/// Issuers with the binding of the signer that has their key.
#[derive(Clone, Debug, Default)]
pub struct Issuers(Vec<(String, IssuerChain)>);

impl Issuers {
    /// Takes in what a signer says of itself. A chain that does not lead to our root now is left out.
    pub fn learn(&mut self, signer: &str, status: &Status, root: &Issuer, now: Timestamp) {
        self.0.retain(|(known, _)| known != signer);
        for issuer in &status.issuers {
            let chain = IssuerChain::from_ders(issuer.chain.iter().map(|Base64Url(der)| der.as_slice()));
            if let Ok(chain) = chain
                && chain.verify_to(root, now).is_ok()
            {
                self.0.push((signer.to_owned(), chain));
            }
        }
    }

    /// The signer one of whose issuers signed this certificate.
    #[must_use]
    pub fn signer_of(&self, certificate: &[u8]) -> Option<&str> {
        self.0.iter().find(|(_, chain)| chain.verify_leaf(certificate).is_ok()).map(|(signer, _)| signer.as_str())
    }
}
