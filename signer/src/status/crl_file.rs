//! `STATE/crl/ISSUER/N-of-M.crl`: the newest CRL of a part, in DER, for the next start.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use shared::{base64url::Base64Url, chain::Issuer, crl::CrlContent, signing::SignedCrl};

use super::book::Part;
use crate::files;

/// Reads the CRL of a part. Nothing when there is none, or none that this issuer has signed for this part; why, is logged.
pub(super) fn read(
    folder: &Path,
    part: Part,
    url: Option<&str>,
    issuer: &Issuer,
) -> Option<(CrlContent, Arc<SignedCrl>)> {
    let path = path(folder, part);
    let der = match fs::read(&path) {
        Ok(der) => der,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "a CRL cannot be read; it is signed anew");
            return None;
        }
    };
    match CrlContent::verify(&der, issuer) {
        Ok(content) if content.distribution_point.as_deref() == url => {
            let crl = Arc::new(signed(&content, der));
            Some((content, crl))
        }
        Ok(_) => {
            tracing::warn!(path = %path.display(), "a CRL is of another place; it is signed anew");
            None
        }
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "a CRL is broken; it is signed anew");
            None
        }
    }
}

/// Writes the CRL of a part in the place of an older one: whole, or not at all.
pub(super) fn write(folder: &Path, part: Part, der: &[u8]) -> anyhow::Result<()> {
    let path = path(folder, part);
    let above = path.parent().context("a CRL's file has no folder")?;
    fs::create_dir_all(above).with_context(|| format!("cannot make {}", above.display()))?;
    files::replace(&path, der)
}

/// As it is given out.
pub(super) const fn signed(content: &CrlContent, der: Vec<u8>) -> SignedCrl {
    let CrlContent { number, this_update, next_update, .. } = content;
    SignedCrl {
        crl: Base64Url(der),
        number: *number,
        this_update: *this_update,
        next_update: *next_update,
        pending: false,
    }
}

fn path(folder: &Path, (issuer, shard): Part) -> PathBuf {
    folder.join(issuer.to_string()).join(format!("{shard}.crl"))
}
