//! `signer init`: initialises a software token, for trials. Hardware tokens are initialised with their maker's tool, because
//! for some of them that wipes every key.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use cryptoki::session::UserType;

use super::{made::Made, pin, transcript::Transcript};
use crate::token::{pin::PinLengths, pkcs11::Module};

/// Who says so of itself has an InitToken that takes every key away.
const WIPES: [&str; 2] = ["yubico", "yubikey"];

/// Characters of a label, which tokens pad with blanks (PKCS#11 v3.0, CK_TOKEN_INFO).
const LABEL_MAX_BYTES: usize = 32;

/// Initialises a free slot and sets its user PIN. Refuses when a token has the label already, but for one that an earlier try left
/// without a user PIN: that is finished.
///
/// Everything that can be wrong with what was given is found before the token is touched.
pub(crate) fn run(
    path: &Path,
    label: &str,
    pin_file: Option<&Path>,
    so_pin_file: Option<&Path>,
    mut transcript: Option<&mut Transcript>,
) -> anyhow::Result<Made> {
    check_label(label)?;
    let module = Module::load(path)?;
    // By what the module says: a file can have any name.
    let library = module.library()?;
    permitted(library.manufacturer_id(), library.library_description())?;
    let tokens = module.tokens()?;
    let named: Vec<_> = tokens.iter().filter(|(_, info)| info.token_initialized() && info.label() == label).collect();
    let half_made = match named.as_slice() {
        [] => None,
        [(slot, info)] if !info.user_pin_initialized() => Some((*slot, info)),
        _ => bail!("there is a token with the label {label:?}; it is not initialised again"),
    };
    let free = tokens.iter().find(|(_, info)| !info.token_initialized()).map(|(slot, info)| (*slot, info));
    let (slot, info) = half_made.or(free).context("there is no slot with a free token")?;
    let (user_pin, so_pin) = (pin::new_user(label, pin_file)?, pin::new_officer(label, so_pin_file)?);
    if let Some(lengths) = PinLengths::of(info) {
        lengths.admit(&user_pin).context("the user's PIN")?;
        lengths.admit(&so_pin).context("the security officer's PIN")?;
    }
    if let Some(transcript) = &mut transcript {
        transcript.module(path, &module)?;
        transcript.touched();
    }
    if half_made.is_none() {
        module.init_token(slot, &so_pin, label)?;
    }
    // A slot that was just initialised has another number now.
    let session = module.writing_session(module.token(label)?)?;
    session.login(UserType::So, Some(&so_pin)).with_context(|| {
        format!("the security officer's login; a token {label:?} that was left half made has the SO-PIN of that time")
    })?;
    session.init_pin(&user_pin).with_context(|| {
        format!("the token {label:?} is initialised, and its user PIN cannot be set: run the same command again")
    })?;
    if let Some(transcript) = transcript {
        transcript.token(&module, label)?;
    }
    Ok(Made::new("token", label.to_owned()))
}

/// Refuses a label that would not come back as it is.
fn check_label(label: &str) -> anyhow::Result<()> {
    ensure!(
        (1..=LABEL_MAX_BYTES).contains(&label.len()),
        "a token's label has 1 to {LABEL_MAX_BYTES} bytes, and {label:?} has {}",
        label.len()
    );
    ensure!(
        label.trim() == label,
        "the label {label:?} begins or ends with a blank: tokens pad labels with blanks, and it would not be found again"
    );
    ensure!(!label.contains(char::is_control), "the label {label:?} has a control character in it");
    Ok(())
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
    fn a_label_that_would_not_come_back_is_refused() {
        let longest = "x".repeat(LABEL_MAX_BYTES);
        for label in ["a1", "My token", longest.as_str()] {
            assert!(check_label(label).is_ok(), "{label:?}");
        }
        for label in ["", "a1 ", " a1", "a1\t", "a\u{0}1", &format!("{longest}x")] {
            assert!(check_label(label).is_err(), "{label:?}");
        }
    }

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
