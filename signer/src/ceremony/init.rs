//! `signer init`: initialises a software token, for trials. Hardware tokens are initialised with their maker's tool, because
//! for some of them that wipes every key.

use std::path::Path;

use anyhow::{Context, bail, ensure};

use crate::token::{pin, pkcs11::Module};

/// Initialises a free slot and sets its user PIN. Refuses when a token has the label already.
pub(crate) fn run(module: &Path, label: &str, pin_file: &Path, so_pin_file: &Path) -> anyhow::Result<String> {
    ensure!((1..=32).contains(&label.len()), "a token's label has 1 to 32 bytes");
    let (user_pin, so_pin) = (pin::read(pin_file)?, pin::read(so_pin_file)?);
    let module = Module::load(module)?;
    let manufacturer = module.manufacturer()?;
    ensure!(
        manufacturer.contains("SoftHSM"),
        "only SoftHSM tokens are initialised here, and this module is of {manufacturer:?}: use its maker's tool"
    );
    let tokens = module.tokens()?;
    if tokens.iter().any(|(_, info)| info.token_initialized() && info.label() == label) {
        bail!("there is a token with the label {label:?}; it is not initialised again");
    }
    let (free, _) =
        tokens.into_iter().find(|(_, info)| !info.token_initialized()).context("there is no slot with a free token")?;
    module.init_token(free, &so_pin, label)?;
    // The slot has another number now.
    let session = module.writing_session(module.token(label)?)?;
    session.login(cryptoki::session::UserType::So, Some(&so_pin)).context("the security officer's login")?;
    session.init_pin(&user_pin).context("cannot set the PIN")?;
    Ok(format!("initialised the token {label:?}"))
}
