//! Revocation, from the client to the signer's journal (RFC 8555 §7.6).

use std::{fs, thread};

use anyhow::{Context as _, Result};
use rcgen::KeyPair;
use serde_json::{Value, json};
use shared::{base64url, chain::Leaf};
use tempfile::NamedTempFile;
use tests::{account::Account, client::Reply, journal, key::AccountKey, openssl, subject};

use crate::world::{World, world};

/// An account's certificate, in DER.
fn issued(world: &World, account: &Account, name: &str) -> Result<Vec<u8>> {
    let (_, chain) = account.issue(&[name], &world.responder)?;
    openssl::der(&chain)
}

fn payload(certificate: &[u8], reason: i64) -> Value {
    json!({"certificate": base64url::encode(certificate), "reason": reason})
}

fn revoke(account: &Account, payload: &Value) -> Result<Reply> {
    account.post(account.client.url("revokeCert"), payload)
}

/// How often the signers' journals name this as revoked.
fn journaled(world: &World, certificate: &[u8]) -> Result<usize> {
    journal::revocations(&world.stack.report.state, &Leaf::from_der(certificate)?.serial.to_string())
}

/// RFC 8555 §7.6 MUST: the account that a certificate was issued to may have it revoked.
/// RFC 8555 §7.6 says: a revocation is answered by 200, and one of what is revoked already by 400 and `alreadyRevoked`.
#[test]
fn an_account_revokes_its_certificate_once_and_is_told_so_again() -> Result<()> {
    let world = world();
    let account = Account::new(&world.client)?;
    let certificate = issued(world, &account, "revoked.test")?;
    let reply = revoke(&account, &payload(&certificate, 4))?.expect(200)?;
    assert_eq!((reply.body.len(), reply.hops()?), (0, 2), "the account, and the certificate's status");
    let again = revoke(&account, &payload(&certificate, 1))?.expect(400)?;
    assert_eq!(again.problem()?, "alreadyRevoked");
    assert_eq!(journaled(world, &certificate)?, 1);
    Ok(())
}

/// RFC 8555 §7.6 MUST: who signs by the certificate's key may have it revoked.
/// RFC 8555 §7.6 MUST: it is checked that the signer of the request may have the certificate revoked.
/// RFC 8555 §6.2 MUST: revokeCert by the certificate's key has a `jwk`.
#[test]
fn whoever_has_the_certificates_key_revokes_it_without_an_account() -> Result<()> {
    let world = world();
    let account = Account::new(&world.client)?;
    let pair = KeyPair::generate()?;
    let order = account.ready_order(&["keyed.test"], &world.responder)?;
    let csr = base64url::encode(&subject::csr_of(&["keyed.test"], &pair)?);
    account.post(&order.finalize()?, &json!({ "csr": csr }))?.expect(200)?;
    let (key, certificate) = (AccountKey::of(&pair)?, account.leaf(&order)?);
    let client = &world.client;
    let url = client.url("revokeCert");
    let signed = |key: &AccountKey, payload: &Value| -> Result<Reply> {
        let header = json!({"url": url, "nonce": client.nonce()?, "jwk": key.jwk()});
        client.post(url, key.sign(&header, payload.to_string().as_bytes())?.to_string().as_bytes())
    };
    let stranger = signed(&AccountKey::es256(), &payload(&certificate, 1))?.expect(403)?;
    assert_eq!(stranger.problem()?, "unauthorized");
    assert_eq!(journaled(world, &certificate)?, 0);
    let reply = signed(&key, &payload(&certificate, 1))?.expect(200)?;
    assert_eq!(reply.hops()?, 2, "the certificate's status, and the nonce's shard");
    assert_eq!(signed(&key, &payload(&certificate, 1))?.expect(400)?.problem()?, "alreadyRevoked");
    assert_eq!(journaled(world, &certificate)?, 1);
    Ok(())
}

/// RFC 8555 §7.6 MUST: an account that holds authorizations for all identifiers of a certificate may have it revoked.
/// RFC 8555 §7.6 MUST: it is checked that the signer of the request may have the certificate revoked.
#[test]
fn another_account_revokes_when_it_holds_authorizations_for_all_names() -> Result<()> {
    let world = world();
    let owner = Account::new(&world.client)?;
    let certificate = issued(world, &owner, "moved.test")?;
    let other = Account::new(&world.client)?;
    assert_eq!(revoke(&other, &payload(&certificate, 0))?.expect(403)?.problem()?, "unauthorized");
    other.ready_order(&["moved.test"], &world.responder)?;
    revoke(&other, &payload(&certificate, 0))?.expect(200)?;
    assert_eq!(revoke(&owner, &payload(&certificate, 0))?.expect(400)?.problem()?, "alreadyRevoked");
    Ok(())
}

/// RFC 8555 §7.6 MUST: a reason that is not allowed is `badRevocationReason`.
#[test]
fn what_is_not_ours_or_makes_no_sense_is_refused() -> Result<()> {
    let world = world();
    let account = Account::new(&world.client)?;
    let certificate = issued(world, &account, "kept.revocation.test")?;
    for reason in [2, 6, 7, 8, 10, 11, -1] {
        let reply = revoke(&account, &payload(&certificate, reason))?.expect(400)?;
        assert_eq!(reply.problem()?, "badRevocationReason", "{reason}");
    }
    for wrong in [json!({}), json!({"certificate": "!"}), json!({"certificate": "MAA"})] {
        assert_eq!(revoke(&account, &wrong)?.expect(400)?.problem()?, "malformed", "{wrong}");
    }
    // A certificate with the same serial number and names, and other bytes: the account is not whom it was issued to, but it
    // holds the authorization; that nobody of ours signed it is found out.
    let mut forged = certificate.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    account.ready_order(&["kept.revocation.test"], &world.responder)?;
    let reply = revoke(&account, &payload(&forged, 0))?.expect(404)?;
    assert_eq!(reply.problem()?, "malformed");
    assert_eq!(journaled(world, &certificate)?, 0);
    revoke(&account, &payload(&certificate, 0))?.expect(200)?;
    Ok(())
}

#[test]
fn many_at_once_are_one_revocation_and_one_success() -> Result<()> {
    let world = world();
    let account = Account::new(&world.client)?;
    let certificate = issued(world, &account, "crowd.test")?;
    let answers: Vec<Result<Reply>> = thread::scope(|scope| {
        let ask = || {
            let url = account.client.url("revokeCert");
            let nonce = account.client.nonce()?;
            account.client.post(url, &account.sign(url, &nonce, payload(&certificate, 0).to_string().as_bytes())?)
        };
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let mut revoked = 0;
    for answer in answers {
        let answer = answer?;
        match answer.status {
            200 => revoked += 1,
            _ => assert_eq!(answer.problem()?, "alreadyRevoked"),
        }
    }
    assert_eq!(revoked, 1, "the others hear alreadyRevoked");
    assert_eq!(journaled(world, &certificate)?, 1);
    Ok(())
}

/// RFC 5280 §5: the root's CRL, as a client finds it.
#[test]
fn openssl_verifies_the_roots_crl_and_the_chain_with_it() -> Result<()> {
    let world = world();
    let reply = world.client.get(&format!("{}/root.crl", world.stack.report.status_url))?.expect(200)?;
    assert_eq!(reply.media_type(), Some("application/pkix-crl"));
    let mut verify = openssl::command(["crl", "-inform", "DER", "-verify", "-CAfile"]);
    let crl = openssl::run(verify.arg(&world.stack.report.root), &reply.body)?;
    let account = Account::new(&world.client)?;
    let (_, chain) = account.issue(&["root-crl.test"], &world.responder)?;
    let (_, issuer) = chain.split_once("-----END CERTIFICATE-----\n").context("a chain has two certificates")?;
    let file = NamedTempFile::new()?;
    fs::write(file.path(), crl)?;
    let mut verify = openssl::command(["verify", "-crl_check", "-CAfile"]);
    verify.arg(&world.stack.report.root).arg("-CRLfile").arg(file.path());
    openssl::run(&mut verify, issuer.as_bytes())?;
    Ok(())
}
