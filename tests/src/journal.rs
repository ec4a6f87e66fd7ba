//! The signers' journals as their document describes them (docs/journal.md), read by other code than theirs.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde_json::Value;
use shared::base64url;

/// A certificate that a journal names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The order's URL.
    pub order: String,
    /// The certificate, DER.
    pub leaf: Vec<u8>,
}

/// All `signed` records of all signers of a stack, in order.
///
/// # Errors
/// When a journal is missing or is not what its document says. A last line without its end is one that is being written.
pub fn signed(state: &Path) -> Result<Vec<Signed>> {
    signed_in(records(state)?)
}

/// The same of the signer with this number, from 1.
///
/// # Errors
/// As [`signed`].
pub fn signed_by(state: &Path, number: usize) -> Result<Vec<Signed>> {
    signed_in(records_in(&state.join("signers").join(number.to_string()))?)
}

fn signed_in(records: Vec<Value>) -> Result<Vec<Signed>> {
    let mut all = Vec::new();
    for record in records {
        if let Some(signed) = record["event"].get("signed") {
            let order = signed["order"].as_str().context("a signed record has its order")?.to_owned();
            let leaf = signed["chain"][0].as_str().context("a signed record has its chain")?;
            all.push(Signed { order, leaf: base64url::decode(leaf)? });
        }
    }
    Ok(all)
}

fn records(state: &Path) -> Result<Vec<Value>> {
    let mut records = Vec::new();
    for signer in fs::read_dir(state.join("signers"))? {
        records.extend(records_in(&signer?.path())?);
    }
    Ok(records)
}

fn records_in(signer: &Path) -> Result<Vec<Value>> {
    let mut records = Vec::new();
    let folder = signer.join("state/journal");
    let segments = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut segments = segments.map(|segment| Ok(segment?.path())).collect::<Result<Vec<_>>>()?;
    // Their names are numbers of one length.
    segments.sort_unstable();
    for file in segments {
        let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            records.push(serde_json::from_str(line).with_context(|| format!("a record of {}", file.display()))?);
        }
    }
    Ok(records)
}

/// How many records of all journals say that the certificate of this serial number is revoked.
///
/// # Errors
/// As [`signed`].
pub fn revocations(state: &Path, serial: &str) -> Result<usize> {
    Ok(records(state)?.iter().filter(|record| record["event"]["revoked"]["serial"] == serial).count())
}

/// How many records of each signer say that the account of this thumbprint is bound.
///
/// # Errors
/// As [`signed`].
pub fn bound(state: &Path, account: &str) -> Result<Vec<usize>> {
    let mut by_signer = Vec::new();
    for signer in fs::read_dir(state.join("signers"))? {
        let records = records_in(&signer?.path())?;
        by_signer.push(records.iter().filter(|record| record["event"]["bound"]["account"] == account).count());
    }
    Ok(by_signer)
}

/// How many OCSP responses about the certificate of this serial number were signed.
///
/// # Errors
/// As [`signed`].
pub fn responses(state: &Path, serial: &str) -> Result<usize> {
    Ok(records(state)?.iter().filter(|record| record["event"]["response"]["serial"] == serial).count())
}

/// What the records of this kind in all journals say.
///
/// # Errors
/// As [`signed`].
pub fn of_kind(state: &Path, kind: &str) -> Result<Vec<Value>> {
    Ok(records(state)?.iter().filter_map(|record| record["event"].get(kind).cloned()).collect())
}

/// The first signer (its number, from 1) whose journal has a record of this kind about this order.
///
/// # Errors
/// As [`signed`].
pub fn whose(state: &Path, kind: &str, order: &str) -> Result<Option<usize>> {
    for number in 1.. {
        let signer = state.join("signers").join(number.to_string());
        if !signer.exists() {
            break;
        }
        if records_in(&signer)?.iter().any(|record| record["event"][kind]["order"] == order) {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

/// How many records of all journals are of this kind.
///
/// # Errors
/// As [`signed`].
pub fn count(state: &Path, kind: &str) -> Result<usize> {
    Ok(records(state)?.iter().filter(|record| record["event"].get(kind).is_some()).count())
}

/// The certificates that the journals name for this order.
///
/// # Errors
/// As [`signed`].
pub fn of_order(state: &Path, order: &str) -> Result<Vec<Vec<u8>>> {
    Ok(signed(state)?.into_iter().filter(|signed| signed.order == order).map(|signed| signed.leaf).collect())
}
