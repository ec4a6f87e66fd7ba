//! `signer root`: the root, on a machine without a network. Makes it, certifies the issuers under it, and signs its CRLs; each as one
//! ceremony with a file that says what is to be done, lints before the key is used, and a transcript.

mod crl;
mod intent;
mod key;
mod lint;
#[cfg(test)]
mod lint_tests;
mod plan;
mod serial;
mod signed;

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, ensure};
use der::pem::LineEnding;
use shared::{
    chain::{Issuer, IssuerChain},
    public_key::{KeyKind, PublicKey},
    timestamp::Timestamp,
};

use self::{
    crl::{CrlIntent, Entry, Previous},
    intent::CaIntent,
    key::RootKey,
    lint::{CaLint, Linted, Lints},
    plan::{Form, KeyHome, RevokedPlan},
    serial::AnySerial,
};
pub(crate) use self::{
    intent::Constraints,
    key::KeyFile,
    plan::{CreatePlan, CrlPlan, Plan, RootPlace, SignPlan},
    signed::Signed,
};
use super::{PUBLIC_MODE, check_dates, csr, hex, made::Made, name, subject, transcript::Transcript};
use crate::{clock, files::NewFile, random};

/// Makes a root's self-signed certificate; its key too, when that goes into a file.
pub(crate) fn create(plan: &CreatePlan, transcript: &mut Transcript) -> anyhow::Result<Made> {
    let name = subject(&plan.subject)?;
    let now = clock::now();
    let (not_before, not_after) = plan::validity((plan.days, plan.not_before, plan.not_after), now, None)?;
    let (key, new_key) = match plan.root.home()? {
        KeyHome::File(file) => file.make().map(|(key, new)| (key, Some((file, new))))?,
        KeyHome::Token(place) => (RootKey::of_token(place, transcript)?, None),
    };
    let certificate_file = NewFile::create(&plan.root.certificate, PUBLIC_MODE)?;
    transcript.key(key.public())?;
    let public = signed::public_key(key.public())?;
    let intent = CaIntent {
        issuer: name.clone(),
        subject: name,
        public,
        authority: None,
        serial: random::serial_number()?,
        not_before,
        not_after,
        path_length: None,
        constraints: Constraints::default(),
        extended_key_usage: Vec::new(),
        issuer_urls: Vec::new(),
        crl_urls: Vec::new(),
    };
    let lints = CaLint { intent: &intent, issuer: None };
    let certificate = Linted::new(&lints, &key, transcript)?.sign(&lints, &key, transcript)?;
    let issuer = Issuer::from_der(&certificate)?;
    IssuerChain::from_ders([issuer.der()])?.verify_to(&issuer, now.max(not_before))?;
    if let Some((file, new_key)) = new_key {
        new_key.keep()?;
        transcript.wrote_secret(&file.file)?;
    }
    let text = pem("CERTIFICATE", &certificate)?;
    certificate_file.commit(text.as_bytes())?;
    transcript.wrote(&plan.root.certificate, text.as_bytes())?;
    Ok(certificate_made("root", &issuer, &intent, &plan.root.certificate))
}

/// Certifies an issuer: a CA that issues leaves and no further CA (pathLenConstraint 0).
pub(crate) fn sign(plan: &SignPlan, transcript: &mut Transcript) -> anyhow::Result<Made> {
    let request_text = transcript.read_text(&plan.csr)?;
    let request = csr::read(&request_text)?;
    name::check(&request.info.subject).context("the subject of the request")?;
    if let Some(wanted) = &plan.subject {
        let said = &request.info.subject;
        ensure!(subject(wanted)? == *said, "the request is of {said}, and the ceremony of {wanted}");
    }
    let public = PublicKey::from_spki(request.info.public_key)?;
    ensure!(public.kind() == KeyKind::P256, "the key of an issuer is P-256");

    let now = clock::now();
    let root = open_certificate(&plan.root, now, transcript)?;
    let times = (plan.days, plan.not_before, plan.not_after);
    let (not_before, not_after) = plan::validity(times, now, Some((root.not_before(), root.not_after())))?;
    ensure!(request.info.subject != *root.subject(), "an issuer has another name than its root");
    ensure!(*public.spki() != *signed::public_key(&root.key())?.spki(), "an issuer has another key than its root");
    let intent = CaIntent {
        issuer: root.subject().clone(),
        subject: request.info.subject,
        public,
        authority: Some(root.key_identifier().to_vec()),
        serial: random::serial_number()?,
        not_before,
        not_after,
        path_length: Some(0),
        constraints: plan.name_constraints.clone(),
        extended_key_usage: plan.extended_key_usage.clone(),
        issuer_urls: plan.issuer_urls.clone(),
        crl_urls: plan.crl_urls.clone(),
    };
    let file = NewFile::create(&plan.out, PUBLIC_MODE)?;
    let key = open_key(&plan.root, &root, transcript)?;
    let lints = CaLint { intent: &intent, issuer: Some(&root) };
    let certificate = Linted::new(&lints, &key, transcript)?.sign(&lints, &key, transcript)?;
    IssuerChain::from_ders([certificate.as_slice()])?.verify_to(&root, now.max(not_before))?;
    let text = pem("CERTIFICATE", &certificate)?;
    file.commit(text.as_bytes())?;
    transcript.wrote(&plan.out, text.as_bytes())?;
    Ok(certificate_made("issuer", &Issuer::from_der(&certificate)?, &intent, &plan.out))
}

/// Signs the root's next CRL.
pub(crate) fn sign_crl(plan: &CrlPlan, transcript: &mut Transcript) -> anyhow::Result<Made> {
    let now = clock::now();
    let root = open_certificate(&plan.root, now, transcript)?;
    if let Some(previous) = &plan.previous {
        transcript.read(previous)?;
    }
    let previous = plan.previous.as_deref().map(|path| Previous::read(path, &root)).transpose()?;
    match &previous {
        Some(previous) => ensure!(
            plan.number > previous.number,
            "the number of a CRL is larger than that of the one before, which is {}",
            previous.number
        ),
        None => ensure!(plan.number == 1, "a CRL with another number than 1 has one before it: previous is missing"),
    }
    ensure!(plan.next_update_days > 0, "the next CRL is due in a day at least");
    let mut intent = CrlIntent {
        root: &root,
        number: plan.number,
        this_update: now,
        next_update: plan::days_after(now, plan.next_update_days),
        entries: previous.as_ref().map_or_else(BTreeMap::new, |previous| previous.entries.clone()),
        previous,
    };
    for revoked in &plan.revoked {
        let serial = serial_of(revoked, &root, transcript)?;
        intent.revoke(serial, Entry { date: revoked.date, reason: revoked.reason })?;
    }
    let file = NewFile::create(&plan.out, PUBLIC_MODE)?;
    let key = open_key(&plan.root, &root, transcript)?;
    let der = Linted::new(&intent, &key, transcript)?.sign(&intent, &key, transcript)?;
    let content = match plan.form {
        Form::Der => der,
        Form::Pem => pem("X509 CRL", &der)?.into_bytes(),
    };
    file.commit(&content)?;
    transcript.wrote(&plan.out, &content)?;
    Ok(Made {
        number: Some(intent.number),
        revoked: Some(intent.entries.len()),
        not_after: Some(intent.next_update),
        files: vec![plan.out.clone()],
        ..Made::new(CrlIntent::WHAT, root.subject().to_string())
    })
}

fn open_certificate(place: &RootPlace, now: Timestamp, transcript: &mut Transcript) -> anyhow::Result<Issuer> {
    let root = Issuer::from_pem(&transcript.read_text(&place.certificate)?).context("the root's certificate")?;
    check_dates(&root, now)?;
    Signed::parse(root.der())?.verify(&signed::public_key(&root.key())?).context("the root's certificate")?;
    Ok(root)
}

fn open_key(place: &RootPlace, root: &Issuer, transcript: &mut Transcript) -> anyhow::Result<RootKey> {
    let key = match place.home()? {
        KeyHome::File(file) => RootKey::of_file(file)?,
        KeyHome::Token(place) => RootKey::of_token(place, transcript)?,
    };
    ensure!(*key.public() == root.key(), "the key is not the one of the root's certificate");
    transcript.key(key.public())?;
    Ok(key)
}

/// The serial number of what is revoked. A certificate is one of this root's.
fn serial_of(revoked: &RevokedPlan, root: &Issuer, transcript: &mut Transcript) -> anyhow::Result<AnySerial> {
    match (&revoked.certificate, revoked.serial) {
        (None, Some(serial)) => Ok(serial),
        (Some(path), None) => {
            let text = transcript.read_text(path)?;
            let der = shared::pem::read_one(text.as_bytes(), shared::pem::Label::Certificate)
                .with_context(|| path.display().to_string())?;
            let certificate = <x509_cert::Certificate as der::Decode>::from_der(&der)
                .with_context(|| format!("{}: not a certificate in DER", path.display()))?;
            Signed::parse(&der)?
                .verify(&signed::public_key(&root.key())?)
                .with_context(|| format!("{}: not issued by this root", path.display()))?;
            let tbs = certificate.tbs_certificate();
            ensure!(tbs.issuer() == root.subject(), "{}: not issued by this root", path.display());
            ensure!(tbs.subject() != root.subject(), "a root cannot be revoked by its own CRL");
            AnySerial::from_x509(tbs.serial_number())
        }
        _ => anyhow::bail!("what is revoked is named by its certificate or by its serial number"),
    }
}

fn certificate_made(what: &'static str, issuer: &Issuer, intent: &CaIntent, file: &Path) -> Made {
    Made {
        certificate_sha256: Some(hex(&issuer.fingerprint())),
        serial: Some(intent.serial),
        not_after: Some(intent.not_after),
        files: vec![file.to_owned()],
        ..Made::new(what, issuer.subject().to_string())
    }
}

fn pem(label: &'static str, der: &[u8]) -> anyhow::Result<String> {
    der::pem::encode_string(label, LineEnding::LF, der).map_err(|_| anyhow::anyhow!("cannot be encoded as PEM"))
}
