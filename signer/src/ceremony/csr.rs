//! `signer csr`: a certification request (PKCS#10, RFC 2986) for a key in a token, to be carried to the root.

use std::path::Path;

use anyhow::Context;
use der::{Decode, Encode, asn1::BitString};
use shared::{
    public_key::PublicKey,
    signed_der::{Proved, SignedDer},
};
use x509_cert::{
    builder::{Builder, RequestBuilder},
    request::CertReq,
};

use super::{KeyPlace, PUBLIC_MODE, PublicHalf, fingerprint, made::Made, pem, subject, transcript::Transcript};
use crate::files::NewFile;

/// Builds the request, signs it in the token, checks it and writes it as PEM.
pub(crate) fn run(place: &KeyPlace, name: &str, out: &Path, transcript: &mut Transcript) -> anyhow::Result<Made> {
    let name = subject(name)?;
    let file = NewFile::create(out, PUBLIC_MODE)?;
    let key = place.open(transcript)?;
    transcript.key(key.public())?;
    let public = PublicHalf(*key.public());
    let mut builder = RequestBuilder::new(name).map_err(|_| anyhow::anyhow!("the request cannot be built"))?;
    let signed = builder.finalize(&public).map_err(|_| anyhow::anyhow!("the request cannot be built"))?;
    transcript.touched();
    let signature = BitString::from_bytes(&key.sign(&signed)?)?;
    let request = builder.assemble(signature, &public).map_err(|_| anyhow::anyhow!("the request cannot be built"))?;
    verify(&request)?;
    transcript.signed("request", &request.to_der()?)?;
    let text = pem(&request)?;
    file.commit(text.as_bytes())?;
    transcript.wrote(out, text.as_bytes())?;
    Ok(Made {
        public_key_sha256: Some(fingerprint(key.public())?),
        files: vec![out.to_owned()],
        ..Made::new("request", request.info.subject.to_string())
    })
}

/// Reads a request in PEM and checks its own signature.
pub(super) fn read(pem: &str) -> anyhow::Result<CertReq> {
    let der = shared::pem::read_one(pem.as_bytes(), shared::pem::Label::Request)
        .context("not a certification request in PEM")?;
    let request = CertReq::from_der(&der).context("not a certification request in DER")?;
    // Over the bytes of the request: encoded again, they may be others.
    let signed = SignedDer::request(&der).context("the request's key is refused")?;
    signed.verify(&Proved::default()).context("the request is not signed by its own key")?;
    Ok(request)
}

fn verify(request: &CertReq) -> anyhow::Result<()> {
    let key = PublicKey::from_spki(request.info.public_key.clone())?;
    let signature = request.signature.as_bytes().context("the request's signature is not whole bytes")?;
    key.verify(&request.info.to_der()?, &request.algorithm, signature)
        .context("the request is not signed by its own key")
}
