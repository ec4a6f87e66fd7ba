//! What can be written after `signer attest`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::arguments::FormArgument;
use crate::ceremony::attest::{Evidence, Wanted};

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("evidence").required(true).args(["attestation", "module"])))]
#[command(group(ArgGroup::new("wanted").required(true).args(["csr", "public_key", "chain"])))]
pub(super) struct AttestArguments {
    /// The attestation of the slot, PEM or DER.
    #[arg(long, requires = "device", conflicts_with = "token")]
    attestation: Option<PathBuf>,
    /// The device's own certificate, of slot f9, PEM or DER.
    #[arg(long, requires = "attestation", conflicts_with = "token")]
    device: Option<PathBuf>,
    /// A PKCS#11 module that shows both certificates (ykcs11).
    #[arg(long, requires = "token")]
    module: Option<PathBuf>,
    /// The token's label.
    #[arg(long, requires = "module")]
    token: Option<String>,
    /// The maker's certificates between the device and the root, PEM.
    #[arg(long)]
    pub(super) intermediates: Option<PathBuf>,
    /// The maker's roots, PEM or DER.
    #[arg(long)]
    pub(super) root: PathBuf,
    /// PEM: the request whose key it should be.
    #[arg(long)]
    csr: Option<PathBuf>,
    /// PEM: the public key that it should be.
    #[arg(long)]
    public_key: Option<PathBuf>,
    /// PEM: the chain whose first certificate's key it should be.
    #[arg(long)]
    chain: Option<PathBuf>,
    #[command(flatten)]
    pub(super) form: FormArgument,
}

impl AttestArguments {
    /// Where the certificates are, and which key it should be; one of each, as the groups demand.
    pub(super) fn meaning(&self) -> Option<(Evidence, Wanted)> {
        let files = self.attestation.clone().zip(self.device.clone());
        let token = self.module.clone().zip(self.token.clone());
        let evidence = files
            .map(|(attestation, device)| Evidence::Files { attestation, device })
            .or(token.map(|(module, token)| Evidence::Token { module, token }))?;
        let csr = self.csr.clone().map(Wanted::Csr);
        let key = self.public_key.clone().map(Wanted::PublicKey);
        Some((evidence, csr.or(key).or(self.chain.clone().map(Wanted::Chain))?))
    }
}
