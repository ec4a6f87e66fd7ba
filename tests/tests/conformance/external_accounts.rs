//! External account bindings (RFC 8555 §7.3.4). The MAC is OpenSSL's.

use std::{fmt::Write as _, path::Path};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use shared::base64url::{self, Base64Url};
use tests::{
    account::{Account, register},
    binding::BindingKey,
    client::Client,
    key::AccountKey,
    openssl,
};

use crate::{
    ask::kind,
    world::{strict, world},
};

/// A binding of these parts: header, payload, and the key of the MAC.
fn mac(header: &Value, payload: &Value, digest: &str, key: &[u8]) -> Result<Value> {
    let [protected, payload] = [header, payload].map(|part| base64url::encode(part.to_string().as_bytes()));
    let mut hex = "hexkey:".to_owned();
    key.iter().try_for_each(|byte| write!(hex, "{byte:02x}"))?;
    let mut command = openssl::command(["dgst", digest, "-mac", "HMAC", "-macopt"]);
    let mac = openssl::run(command.arg(hex).arg("-binary"), format!("{protected}.{payload}").as_bytes())?;
    Ok(json!({"protected": protected, "payload": payload, "signature": base64url::encode(&mac)}))
}

/// A right binding of this account key, by the key in that file.
pub(crate) fn bind(client: &Client, key: &AccountKey, file: Option<&Path>) -> Result<Value> {
    BindingKey::read(file)?.bind(&key.jwk(), client.url("newAccount"))
}

/// Opens an account where a binding and agreement are demanded.
pub(crate) fn open(client: &Client, file: Option<&Path>) -> Result<Account> {
    let key = AccountKey::es256();
    let payload = json!({"termsOfServiceAgreed": true, "externalAccountBinding": bind(client, &key, file)?});
    let reply = register(client, &key, &payload)?.expect(201)?;
    Ok(Account::of(client, key, reply.location()?))
}

/// The usual stack's file.
fn file() -> Option<&'static Path> {
    world().stack.report.external_account.as_deref()
}

/// RFC 8555 §7.3.4 MUST: the account has the binding as it was sent, when it was verified.
#[test]
fn a_right_binding_is_accepted_and_shown_as_it_was_sent() -> Result<()> {
    let (client, key) = (&world().client, AccountKey::es256());
    let BindingKey { key_id: id, hmac_key: Base64Url(secret) } = BindingKey::read(file())?;
    for (algorithm, digest) in [("HS256", "-sha256"), ("HS384", "-sha384"), ("HS512", "-sha512")] {
        let key = AccountKey::es256();
        let header = json!({"alg": algorithm, "kid": id, "url": client.url("newAccount")});
        let binding = mac(&header, &key.jwk(), digest, &secret)?;
        let object = register(client, &key, &json!({"externalAccountBinding": binding}))?.expect(201)?.json()?;
        assert_eq!(object["externalAccountBinding"], binding, "{algorithm}");
    }
    let account = Account::with_key(client, key)?;
    assert!(account.read(&account.url)?.json()?.get("externalAccountBinding").is_none());
    Ok(())
}

/// RFC 8555 §7.3.4 MUST: a binding is a well-formed JWS.
/// RFC 8555 §7.3.4 MUST: `alg` of a binding is a MAC.
/// RFC 8555 §7.3.4 MUST: `kid` of a binding is a key id that was handed out.
/// RFC 8555 §7.3.4 MUST NOT: a binding has a nonce.
/// RFC 8555 §7.3.4 MUST: `url` of a binding is that of the outer JWS.
/// RFC 8555 §7.3.4 MUST: the MAC of a binding verifies by the key of that id.
/// RFC 8555 §7.3.4 MUST: the payload of a binding is the account's key.
/// RFC 8555 §7.3.4 MUST: newAccount with a binding that fails a check is refused.
#[test]
fn a_binding_that_is_wrong_in_one_thing_opens_no_account() -> Result<()> {
    let (client, key) = (&world().client, AccountKey::es256());
    let BindingKey { key_id: id, hmac_key: Base64Url(secret) } = BindingKey::read(file())?;
    let header = json!({"alg": "HS256", "kid": id, "url": client.url("newAccount")});
    let with = |member: &str, value: Value| {
        let mut header = header.clone();
        header[member] = value;
        mac(&header, &key.jwk(), "-sha256", &secret)
    };
    let good = mac(&header, &key.jwk(), "-sha256", &secret)?;
    let other = AccountKey::es256();
    let mut by_the_account = key.sign(&json!({"kid": id, "url": client.url("newAccount")}), b"{}")?;
    by_the_account["payload"] = good["payload"].clone();
    let changed = |member: &str, value: Value| {
        let mut binding = good.clone();
        binding[member] = value;
        binding
    };
    let table = [
        json!("no JWS"),
        json!({}),
        json!([good]),
        changed("signature", json!("")),
        changed("signature", json!(base64url::encode(&[0; 32]))),
        changed("payload", json!("")),
        by_the_account,
        with("alg", json!("none"))?,
        with("alg", json!("ES256"))?,
        with("kid", json!("nobody"))?,
        with("kid", Value::Null)?,
        with("nonce", json!(client.nonce()?))?,
        with("url", json!(client.url("newOrder")))?,
        with("url", Value::Null)?,
        mac(&header, &key.jwk(), "-sha256", &[7; 32])?,
        mac(&header, &key.jwk(), "-sha384", &secret)?,
        mac(&header, &other.jwk(), "-sha256", &secret)?,
        mac(&header, &json!({}), "-sha256", &secret)?,
    ];
    for binding in table {
        let reply = register(client, &key, &json!({"externalAccountBinding": binding}))?;
        kind(&reply).with_context(|| binding.to_string())?;
    }
    let existing = register(client, &key, &json!({"onlyReturnExisting": true}))?;
    assert_eq!(kind(&existing)?, "accountDoesNotExist");
    Ok(())
}

/// RFC 8555 §7.3.4 SHOULD: newAccount without a binding that is demanded is `externalAccountRequired`.
#[test]
fn a_binding_that_is_demanded_and_not_there_is_asked_for() -> Result<()> {
    let strict = strict();
    let key = AccountKey::es256();
    let reply = register(&strict.client, &key, &json!({"termsOfServiceAgreed": true}))?;
    assert_eq!(kind(&reply)?, "externalAccountRequired");
    let account = open(&strict.client, strict.stack.report.external_account.as_deref())?;
    // Who has an account finds it without a binding.
    let found = register(&strict.client, &account.key, &json!({"onlyReturnExisting": true}))?.expect(200)?;
    assert_eq!(found.location()?, account.url);
    Ok(())
}

/// RFC 8555 §7.1.2 says: a client cannot change the binding of its account.
#[test]
fn a_binding_cannot_be_added_or_exchanged_later() -> Result<()> {
    let client = &world().client;
    let bound = open(client, file())?;
    let before = bound.read(&bound.url)?.json()?;
    let another = json!({"externalAccountBinding": bind(client, &bound.key, file())?});
    for account in [bound, Account::new(client)?] {
        let was = account.read(&account.url)?.json()?["externalAccountBinding"].clone();
        let after = account.post(&account.url, &another)?.expect(200)?.json()?;
        assert_eq!(after["externalAccountBinding"], was);
    }
    assert!(before.get("externalAccountBinding").is_some());
    Ok(())
}
