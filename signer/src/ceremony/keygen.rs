//! `signer keygen`: makes a P-256 key inside a token, never to leave it.

use std::path::Path;

use anyhow::{Context, ensure};
use cryptoki::{
    mechanism::Mechanism,
    object::{Attribute, AttributeType, KeyType, ObjectClass},
    session::Session,
};
use der::{Encode, asn1::ObjectIdentifier, pem::LineEnding};
use spki::EncodePublicKey;

use super::{KeyPlace, PUBLIC_MODE, fingerprint, made::Made, transcript::Transcript, visible_key};
use crate::{files::NewFile, random, token::pkcs11::TokenKey};

/// The curve P-256 (RFC 5480 §2.1.1.1).
const PRIME256V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

/// Makes the key, looks at what the token says of it, signs with it once, and writes its public half as PEM.
pub(crate) fn run(place: &KeyPlace, out: &Path, transcript: &mut Transcript) -> anyhow::Result<Made> {
    let KeyPlace { token, label, .. } = place;
    ensure!(!label.is_empty(), "a key has a label");
    // Before the key: a key whose public half could not be written would be in the way of the next try.
    let file = NewFile::create(out, PUBLIC_MODE)?;
    let module = place.load(transcript)?;
    let slot = module.token(token)?;
    let session = module.writing_session(slot)?;
    let pin = place.login(&session, &module.info(slot)?)?;
    let existing = session.find_objects(&[Attribute::Label(label.as_bytes().to_vec())])?;
    ensure!(existing.is_empty(), "the token {token:?} has an object with the label {label:?}; no second one is made");

    transcript.touched();
    generate(&session, label)?;
    let visible = visible_key(&module, token, label)?;
    let key = TokenKey::find(session, &visible)?.with_pin(pin)?;
    key.sign(b"a key that does not sign is found now").context("the new key does not work")?;
    let pem = key.public().to_public_key_pem(LineEnding::LF).context("the public key cannot be encoded")?;
    transcript.key(key.public())?;
    file.commit(pem.as_bytes())?;
    transcript.wrote(out, pem.as_bytes())?;
    Ok(Made {
        public_key_sha256: Some(fingerprint(key.public())?),
        files: vec![out.to_owned()],
        ..Made::new("key", label.clone())
    })
}

fn generate(session: &Session, label: &str) -> anyhow::Result<()> {
    let curve = PRIME256V1.to_der()?;
    let (id, label) = (random::bytes::<16>()?.to_vec(), label.as_bytes().to_vec());
    let public = [
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Verify(true),
        Attribute::EcParams(curve),
        Attribute::Id(id.clone()),
        Attribute::Label(label.clone()),
    ];
    let private = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Id(id),
        Attribute::Label(label),
    ];
    let (_, private) =
        session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private).context("the token made no key")?;
    let wanted = [
        AttributeType::Sensitive,
        AttributeType::AlwaysSensitive,
        AttributeType::NeverExtractable,
        AttributeType::Local,
        AttributeType::Class,
        AttributeType::KeyType,
    ];
    for attribute in session.get_attributes(private, &wanted).context("the token does not describe the key")? {
        let good = match attribute {
            Attribute::Sensitive(value)
            | Attribute::AlwaysSensitive(value)
            | Attribute::NeverExtractable(value)
            | Attribute::Local(value) => value,
            Attribute::Class(class) => class == ObjectClass::PRIVATE_KEY,
            Attribute::KeyType(kind) => kind == KeyType::EC,
            _ => true,
        };
        ensure!(good, "the token made a key that is not as it was asked for: {attribute:?}");
    }
    Ok(())
}
