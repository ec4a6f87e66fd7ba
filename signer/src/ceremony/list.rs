//! `signer list`: what tokens a module shows, and what keys they show without a login.

use std::path::Path;

use serde::Serialize;

use super::{fingerprint, hex};
use crate::token::pkcs11::Module;

/// A token, as a module describes it.
#[derive(Debug, Serialize)]
pub(crate) struct ListedToken {
    label: String,
    serial: String,
    model: String,
    manufacturer: String,
    pin_locked: bool,
    pin_count_low: bool,
    keys: Vec<ListedKey>,
}

/// A P-256 key that can be seen without a login.
#[derive(Debug, Serialize)]
pub(crate) struct ListedKey {
    label: String,
    /// CKA_ID in hex.
    id: String,
    /// SHA-256 of the SubjectPublicKeyInfo in hex.
    sha256: String,
}

/// Every initialised token of a module.
pub(crate) fn run(module: &Path) -> anyhow::Result<Vec<ListedToken>> {
    let module = Module::load(module)?;
    let tokens = module.tokens()?.into_iter().filter(|(_, info)| info.token_initialized());
    tokens
        .map(|(slot, info)| {
            let keys = module
                .visible_keys(slot)?
                .into_iter()
                .map(|key| Ok(ListedKey { id: hex(&key.id), sha256: fingerprint(&key.public)?, label: key.label }));
            Ok(ListedToken {
                label: info.label().to_owned(),
                serial: info.serial_number().to_owned(),
                model: info.model().to_owned(),
                manufacturer: info.manufacturer_id().to_owned(),
                pin_locked: info.user_pin_locked(),
                pin_count_low: info.user_pin_count_low(),
                keys: keys.collect::<anyhow::Result<_>>()?,
            })
        })
        .collect()
}

impl std::fmt::Display for ListedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (serial {}, {} {})", self.label, self.serial, self.manufacturer, self.model)?;
        if self.pin_locked || self.pin_count_low {
            write!(f, "\n  wrong PINs were given; locked: {}", self.pin_locked)?;
        }
        self.keys.iter().try_for_each(|key| write!(f, "\n  key {:?} id {} sha256 {}", key.label, key.id, key.sha256))
    }
}
