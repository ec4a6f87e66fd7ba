//! `signer pin-ok`: an operator says that the PIN in a token's file is right. It is then tried once more, whatever marks or the token's
//! own counter say; only a token that is locked, or one wrong PIN from it, is still left alone.

use std::path::Path;

use anyhow::Context;

use crate::{
    Tokens,
    files::Folder,
    settings::Settings,
    token::pin::{self, PinFile, PinMark},
};

/// Takes the mark of this token away. `name` is the issuer's name and the token's position, as in logs and metrics: `a1-0`.
pub(crate) fn run(config: &Path, tokens: Tokens, name: &str) -> anyhow::Result<String> {
    let settings = Settings::load(config, tokens)?;
    let all = settings.issuers.iter().flat_map(|issuer| {
        issuer.tokens.iter().enumerate().map(move |(position, token)| (format!("{}-{position}", issuer.name), token))
    });
    let names: Vec<_> = all.clone().map(|(name, _)| name).collect();
    let token = all.into_iter().find(|(other, _)| other == name).map(|(_, token)| token);
    let token = token.with_context(|| format!("there is no token {name:?}; there are {}", names.join(", ")))?;
    // What is not a PIN, or lies open to others, is not right.
    pin::read(&token.pin_file)?;
    Folder::make(&settings.state).with_context(|| format!("cannot make {}", settings.state.display()))?;
    PinMark::new(&settings.state, name).accept(&PinFile::of(&token.pin_file)?)?;
    Ok(format!("{name}: the PIN in {} will be tried once more", token.pin_file.display()))
}
