//! `signer import-chain`: takes what came back from the root and writes the chain file of an issuer, if everything about it
//! is right: the key is the token's and signs, the path leads to the root, and all of it is valid now.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use shared::chain::{Issuer, IssuerChain};

use super::{KeyPlace, PUBLIC_MODE, check_dates, fingerprint, hex, made::Made, transcript::Transcript};
use crate::{
    clock,
    constraints::{self, ChainLimits, Mismatch},
    files,
    settings::Settings,
};

/// Checks a chain, compares it with the policy of a configuration file where one is named, and writes it as a whole.
pub(crate) fn run(
    place: &KeyPlace,
    chain: &Path,
    root: &Path,
    config: Option<&Path>,
    out: &Path,
    transcript: &mut Transcript,
) -> anyhow::Result<Made> {
    let text = transcript.read_text(chain)?;
    let chain = IssuerChain::from_pem(&text).with_context(|| format!("the chain in {}", chain.display()))?;
    let root =
        Issuer::from_pem(&transcript.read_text(root)?).with_context(|| format!("the root in {}", root.display()))?;
    let now = clock::now();
    chain.all().chain([&root]).try_for_each(|certificate| check_dates(certificate, now))?;
    chain.verify_to(&root, now)?;
    let limits = ChainLimits::of(&chain, Some(&root))?;
    if let Some(config) = config {
        let policy = Settings::load_policy(config)?;
        let name = chain.issuer().subject().to_string();
        for mismatch in constraints::compare(&policy, &[(name.as_str(), &limits)]) {
            match mismatch {
                Mismatch::Never(mistake) => bail!("{mistake}; compared with the policy in {}", config.display()),
                Mismatch::Partly(text) => tracing::warn!("{text}"),
            }
        }
    }

    let key = place.open(transcript)?;
    transcript.key(key.public())?;
    ensure!(*key.public() == chain.issuer().key(), "the chain is of another key than the token's");
    key.sign(b"a key that does not sign is found now").context("the token's key does not work")?;

    // Written as read: `from_pem` has understood every certificate in it.
    files::write_whole(out, text.as_bytes(), PUBLIC_MODE)?;
    transcript.wrote(out, text.as_bytes())?;
    Ok(Made {
        public_key_sha256: Some(fingerprint(key.public())?),
        certificate_sha256: Some(hex(&chain.issuer().fingerprint())),
        not_after: Some(chain.issuer().not_after()),
        files: vec![out.to_owned()],
        ..Made::new("chain", chain.issuer().subject().to_string())
    })
}
