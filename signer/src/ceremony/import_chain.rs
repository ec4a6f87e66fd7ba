//! `signer import-chain`: takes what came back from the root and writes the chain file of an issuer, if everything about it
//! is right: the key is the token's and signs, the path leads to the root, and all of it is valid now.

use std::path::Path;

use anyhow::{Context, ensure};
use shared::chain::{Issuer, IssuerChain};

use super::{PUBLIC_MODE, hex, token_key};
use crate::{clock, files, token::pkcs11::Module};

/// Where the key is that the chain should be of.
#[derive(Debug)]
pub(crate) struct KeyPlace<'a> {
    pub(crate) module: &'a Path,
    pub(crate) token: &'a str,
    pub(crate) pin_file: &'a Path,
    pub(crate) label: &'a str,
}

/// Checks a chain and writes it as a whole.
pub(crate) fn run(place: &KeyPlace<'_>, chain: &Path, root: &Path, out: &Path) -> anyhow::Result<String> {
    let read = |path: &Path| std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let text = read(chain)?;
    let chain = IssuerChain::from_pem(&text).with_context(|| format!("the chain in {}", chain.display()))?;
    let root = Issuer::from_pem(&read(root)?).with_context(|| format!("the root in {}", root.display()))?;
    chain.verify_to(&root, clock::now())?;

    let module = Module::load(place.module)?;
    let key = token_key(&module, place.token, place.label, place.pin_file)?;
    ensure!(*key.public() == chain.issuer().key(), "the chain is of another key than the token's");
    key.sign(b"a key that does not sign is found now").context("the token's key does not work")?;

    // Written as read: `from_pem` has understood every certificate in it.
    files::write_whole(out, text.as_bytes(), PUBLIC_MODE)?;
    Ok(format!(
        "the issuer {} is ready\nSHA-256 of its certificate: {}",
        chain.issuer().subject(),
        hex(&chain.issuer().fingerprint())
    ))
}
