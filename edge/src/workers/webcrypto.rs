//! Signatures of account keys by the platform's own cryptography: a ninth of the time of the module's for ES256. The module's
//! is the fallback for keys that the platform does not take, and what tests compare the platform with.

use js_sys::{Array, JSON, Object, Promise, Reflect, Uint8Array};
use shared::{
    jwk::{Algorithm, Jwk, Thumbprint},
    jws::{BadJws, Unverified, Verified},
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

async fn settled(promise: Result<Promise, JsValue>) -> Result<JsValue, JsValue> {
    JsFuture::from(promise?).await
}

/// The platform's name for an algorithm.
fn algorithm(algorithm: Algorithm) -> JsValue {
    let members: &[(&str, &str)] = match algorithm {
        Algorithm::Es256 => &[("name", "ECDSA"), ("namedCurve", "P-256"), ("hash", "SHA-256")],
        Algorithm::Es384 => &[("name", "ECDSA"), ("namedCurve", "P-384"), ("hash", "SHA-384")],
        Algorithm::Rs256 => &[("name", "RSASSA-PKCS1-v1_5"), ("hash", "SHA-256")],
        Algorithm::EdDsa => &[("name", "Ed25519")],
    };
    let object = Object::new();
    let set = |(name, value): &(&str, &str)| Reflect::set(&object, &JsValue::from_str(name), &JsValue::from_str(value));
    // Setting a member of a fresh object cannot fail; without it the platform refuses, and the module checks itself.
    let _ = members.iter().map(set).all(|set| set.is_ok());
    object.into()
}
