//! `signer init`: initialises a software token, for trials. Hardware tokens are initialised with their maker's tool, because
//! for some of them that wipes every key.

use std::path::Path;

use anyhow::{Context, bail, ensure};

use super::{made::Made, pin, transcript::Transcript};
use crate::token::pkcs11::Module;

/// Who says so of itself has an InitToken that takes every key away.
const WIPES: [&str; 2] = ["yubico", "yubikey"];

/// Initialises a free slot and sets its user PIN. Refuses when a token has the label already.
pub(crate) fn run(
    path: &Path,
    label: &str,
    pin_file: Option<&Path>,
    so_pin_file: Option<&Path>,
    mut transcript: Option<&mut Transcript>,
) -> anyhow::Result<Made> {
    ensure!((1..=32).contains(&label.len()), "a token's label has 1 to 32 bytes");
    let module = Module::load(path)?;
    // By what the module says: a file can have any name.
    let library = module.library()?;
    permitted(library.manufacturer_id(), library.library_description())?;
    let tokens = module.tokens()?;
    if tokens.iter().any(|(_, info)| info.token_initialized() && info.label() == label) {
        bail!("there is a token with the label {label:?}; it is not initialised again");
    }
    let (free, _) =
        tokens.into_iter().find(|(_, info)| !info.token_initialized()).context("there is no slot with a free token")?;
    let (user_pin, so_pin) = (pin::new_user(label, pin_file)?, pin::new_officer(label, so_pin_file)?);
    if let Some(transcript) = &mut transcript {
        transcript.module(path, &module)?;
        transcript.touched();
    }
    module.init_token(free, &so_pin, label)?;
    // The slot has another number now.
    let session = module.writing_session(module.token(label)?)?;
    session.login(cryptoki::session::UserType::So, Some(&so_pin)).context("the security officer's login")?;
    session.init_pin(&user_pin).context("cannot set the PIN")?;
    if let Some(transcript) = transcript {
        transcript.token(&module, label)?;
    }
    Ok(Made::new("token", label.to_owned()))
}

/// Refuses every module but SoftHSM's.
fn permitted(manufacturer: &str, description: &str) -> anyhow::Result<()> {
    let says = format!("{manufacturer} {description}").to_ascii_lowercase();
    ensure!(
        !WIPES.iter().any(|name| says.contains(name)),
        "this module is of {manufacturer:?}: on a YubiKey it would block the PINs and wipe every key; use its maker's tool"
    );
    ensure!(
        manufacturer.contains("SoftHSM"),
        "only SoftHSM tokens are initialised here, and this module is of {manufacturer:?}: use its maker's tool"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_software_token_is_initialised_whatever_its_file_is_called() {
        assert!(permitted("SoftHSM", "Implementation of PKCS11").is_ok());
        let table = [
            ("Yubico (www.yubico.com)", "PKCS#11 PIV Library (SP-800-73)", "wipe"),
            ("SoftHSM", "YubiKey shim", "wipe"),
            ("OpenSC Project", "OpenSC smartcard framework", "maker's tool"),
            ("PKCS#11 Kit", "PKCS#11 Kit Proxy Module", "maker's tool"),
            ("", "", "maker's tool"),
        ];
        for (manufacturer, description, word) in table {
            let error = permitted(manufacturer, description).unwrap_err().to_string();
            assert!(error.contains(word), "{manufacturer}: {error}");
        }
    }
}
