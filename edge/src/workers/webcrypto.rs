//! Signatures of requests, CSRs and certificates by the platform's own cryptography: a ninth of the time of the module's for ES256. The module's
//! is the fallback for keys that the platform does not take, and what tests compare the platform with.

use std::cell::RefCell;

use js_sys::{Array, JSON, Object, Promise, Reflect, Uint8Array};
use shared::{
    base64url::Base64Url,
    chain::Issuer,
    jwk::{Algorithm, Jwk, Thumbprint},
    jws::{BadJws, Unverified, Verified},
    public_key::KeyKind,
    signed_der::{PlainSignature, Proved, SignedDer},
};
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};
use wasm_bindgen_futures::JsFuture;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = ["crypto", "subtle"], js_name = importKey, catch)]
    fn import_key(
        format: &str,
        key: &JsValue,
        algorithm: &JsValue,
        extractable: bool,
        usages: &Array,
    ) -> Result<Promise, JsValue>;

    #[wasm_bindgen(js_namespace = ["crypto", "subtle"], js_name = verify, catch)]
    fn verify_signature(
        algorithm: &JsValue,
        key: &JsValue,
        signature: &Uint8Array,
        data: &Uint8Array,
    ) -> Result<Promise, JsValue>;
}

/// CA certificates of one deployment are few.
const MAX_CA_CERTIFICATES: usize = 100;

thread_local! {
    /// Signatures of CA certificates that were valid: each issued chain has the same ones.
    static CA_CERTIFICATES: RefCell<Proved> = const { RefCell::new(Proved::nothing()) };
}

/// A key as the platform holds it. An account's object keeps the one that it used last: importing costs as much as a
/// verification.
#[derive(Clone, Debug)]
pub(super) struct ImportedKey {
    thumbprint: Thumbprint,
    key: JsValue,
}

/// Checks a signature, by the platform where it takes the key. `kept` is the key of the last call, `keep` gets this one's.
///
/// # Errors
/// As [`Unverified::verify`], with the same answers.
pub(super) async fn verify(
    request: Unverified,
    key: &Jwk,
    kept: Option<ImportedKey>,
    keep: impl FnOnce(ImportedKey),
) -> Result<Verified, BadJws> {
    let claim = request.claim(key)?;
    let algorithm = algorithm(key.algorithm());
    let imported = match kept.filter(|kept| kept.thumbprint == key.thumbprint()) {
        Some(kept) => Ok(kept),
        None => import(key, &algorithm).await,
    };
    let verdict = match imported {
        Ok(imported) => {
            let (signature, data) = (Uint8Array::from(claim.signature), Uint8Array::from(claim.message.as_slice()));
            let verdict = settled(verify_signature(&algorithm, &imported.key, &signature, &data)).await;
            keep(imported);
            verdict.ok().and_then(|verdict| verdict.as_bool())
        }
        Err(_) => None,
    };
    match verdict {
        Some(valid) => request.settle(key, valid),
        None => request.verify(key),
    }
}

async fn import(key: &Jwk, algorithm: &JsValue) -> Result<ImportedKey, JsValue> {
    let jwk = JSON::parse(&key.canonical_json())?;
    let usages = Array::of1(&JsValue::from_str("verify"));
    let imported = settled(import_key("jwk", &jwk, algorithm, false, &usages)).await?;
    Ok(ImportedKey { thumbprint: key.thumbprint(), key: imported })
}

/// Checks a signature over DER by the platform, and notes it where it is valid. Where the platform cannot tell, whoever needs to
/// know computes it.
pub(super) async fn prove(signed: &SignedDer, proved: &mut Proved) {
    let Some(plain) = signed.plain() else { return };
    let verdict = async {
        let key = import_spki(&plain).await?;
        let algorithm = x509_algorithm(&plain);
        let (signature, data) = (Uint8Array::from(plain.signature.as_slice()), Uint8Array::from(signed.content()));
        settled(verify_signature(&algorithm, &key, &signature, &data)).await
    };
    if verdict.await.is_ok_and(|verdict| verdict.as_bool() == Some(true)) {
        proved.note(signed);
    }
}

/// Checks the signatures of an issued chain: the leaf's, and those of the CA certificates up to the root, of which the isolate
/// remembers the ones that it has seen.
pub(super) async fn prove_chain(chain: &[Base64Url], root: &Issuer) -> Proved {
    let mut proved = Proved::nothing();
    let issuers = chain.iter().skip(1).map(|Base64Url(der)| der.as_slice()).chain([root.der()]);
    for (index, (Base64Url(der), issuer)) in chain.iter().zip(issuers).enumerate() {
        let Some(signed) = SignedDer::certificate(der, issuer) else { continue };
        if CA_CERTIFICATES.with_borrow(|known| known.holds(&signed)) {
            proved.note(&signed);
            continue;
        }
        prove(&signed, &mut proved).await;
        if index > 0 && proved.holds(&signed) {
            CA_CERTIFICATES.with_borrow_mut(|known| {
                if known.len() < MAX_CA_CERTIFICATES {
                    known.note(&signed);
                }
            });
        }
    }
    proved
}

async fn import_spki(plain: &PlainSignature) -> Result<JsValue, JsValue> {
    let usages = Array::of1(&JsValue::from_str("verify"));
    let spki = Uint8Array::from(plain.spki.as_slice());
    settled(import_key("spki", &spki, &x509_algorithm(plain), false, &usages)).await
}

fn x509_algorithm(plain: &PlainSignature) -> JsValue {
    match plain.kind {
        KeyKind::P256 => object(&[("name", "ECDSA"), ("namedCurve", "P-256"), ("hash", plain.hash)]),
        KeyKind::P384 => object(&[("name", "ECDSA"), ("namedCurve", "P-384"), ("hash", plain.hash)]),
        KeyKind::Rsa(_) => object(&[("name", "RSASSA-PKCS1-v1_5"), ("hash", plain.hash)]),
    }
}

async fn settled(promise: Result<Promise, JsValue>) -> Result<JsValue, JsValue> {
    JsFuture::from(promise?).await
}

/// The platform's name for an algorithm.
fn algorithm(algorithm: Algorithm) -> JsValue {
    match algorithm {
        Algorithm::Es256 => object(&[("name", "ECDSA"), ("namedCurve", "P-256"), ("hash", "SHA-256")]),
        Algorithm::Es384 => object(&[("name", "ECDSA"), ("namedCurve", "P-384"), ("hash", "SHA-384")]),
        Algorithm::Rs256 => object(&[("name", "RSASSA-PKCS1-v1_5"), ("hash", "SHA-256")]),
        Algorithm::EdDsa => object(&[("name", "Ed25519")]),
    }
}

fn object(members: &[(&str, &str)]) -> JsValue {
    let object = Object::new();
    for (name, value) in members {
        // Setting a member of a fresh object cannot fail; without it the platform refuses, and the module computes.
        let _ = Reflect::set(&object, &JsValue::from_str(name), &JsValue::from_str(value));
    }
    object.into()
}
