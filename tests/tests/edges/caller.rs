//! Whoever has the client certificate of one edge, and asks the signer by the protocol for what is the other's.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rcgen::KeyPair;
use serde::Serialize;
use serde_json::{Value, json};
use shared::{
    base64url,
    chain::Leaf,
    signing::{
        Grant, ISSUE_PATH, IssueRequest, Priority, ProvenIdentifier, REVOKE_PATH, RevokeRequest, Right, SETTLE_PATH,
    },
    timestamp::Timestamp,
};
use tests::{account::Account, client::Reply, journal, openssl, subject};

use crate::world::{EDGES, World, one_at_a_time, ready, world};

const NAME: &str = "coveted.test";

/// Asks the signer as the edge whose folder in the state this is.
fn ask(world: &World, folder: &str, path: &str, request: &impl Serialize) -> Result<Value> {
    let state = &world.stack.report.state;
    let configuration: toml::Table = std::fs::read_to_string(state.join("signers/1/signer.toml"))?.parse()?;
    let address = configuration["listen"]["address"].as_str().context("an address")?;
    let (ip, port) = address.rsplit_once(':').context("a port")?;
    let host = "signer-1.colophon.internal";
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "20", "--data-binary", "@-"]).args([
        "--header",
        "content-type: application/json",
        "--resolve",
        &format!("{host}:{port}:{ip}"),
    ]);
    for (option, file) in [("--cacert", "infrastructure.pem"), ("--cert", "client.pem"), ("--key", "client.key")] {
        curl.arg(option).arg(state.join(folder).join(file));
    }
    let answer = openssl::run(curl.arg(format!("https://{host}:{port}{path}")), &serde_json::to_vec(request)?)?;
    serde_json::from_slice(&answer).with_context(|| String::from_utf8_lossy(&answer).into_owned())
}

fn now() -> Result<Timestamp> {
    Ok(Timestamp::from_seconds(std::time::UNIX_EPOCH.elapsed()?.as_secs()))
}

/// What the account's own edge would ask for this order.
fn request(account: &Account, order: &str, finalize: &[u8]) -> Result<IssueRequest> {
    Ok(IssueRequest {
        order: order.to_owned(),
        finalize: serde_json::from_slice(finalize)?,
        account_key: serde_json::from_value(account.key.jwk())?,
        grant: Grant::Open,
        identifiers: vec![ProvenIdentifier {
            identifier: shared::identifier::Identifier::Dns(NAME.parse()?),
            method: "http-01".to_owned(),
            validated: now()?,
            evidence: None,
        }],
        profile: "both".parse()?,
        not_before: None,
        not_after: None,
        priority: Priority::New,
        deadline: now()?.plus(600),
        lease: Some(now()?.plus(60)),
    })
}

#[test]
fn with_its_own_certificate_an_edge_gets_and_settles_nothing_that_another_one_ordered() -> Result<()> {
    let (_turn, world) = (one_at_a_time(), world());
    let account = world.account(1, NAME)?;
    let order = ready(&account, NAME)?;
    let url = order.finalize()?;
    let payload = Account::finalize_payload(&[NAME])?.to_string();
    let finalize = account.sign(&url, &account.nonce()?, payload.as_bytes())?;
    let request = request(&account, &order.url, &finalize)?;
    let refused = |path: &str| -> Result<()> {
        let before = world.records("refused")?.len();
        let answer = ask(world, "edge", path, &request)?;
        ensure!(answer["refused"]["reason"] == "unknown-edge", "{path}: {answer}");
        let records = world.records("refused")?.split_off(before);
        ensure!(records.len() == 1 && records[0]["edge"] == EDGES[0], "{records:?}");
        Ok(())
    };
    refused(ISSUE_PATH)?;
    refused(SETTLE_PATH)?;
    ensure!(journal::of_order(&world.stack.report.state, &order.url)?.is_empty(), "it was signed");
    // It was not settled either: the client's own request, at its own edge, has its certificate.
    account.send_signed(&url, &finalize)?.expect(200)?;
    let leaf = account.leaf(&order)?;
    // Nor are the bytes of an order that has them given away; its own edge gets them.
    refused(ISSUE_PATH)?;
    let answer = ask(world, "edge-2", ISSUE_PATH, &request)?;
    let given = answer["issued"]["chain"][0].as_str().with_context(|| answer.to_string())?;
    assert_eq!(base64url::decode(given)?, leaf);
    Ok(())
}

/// A certificate of this account for a key of its own.
fn certificate(account: &Account) -> Result<(KeyPair, Vec<u8>)> {
    let (order, pair) = (ready(account, NAME)?, KeyPair::generate()?);
    let csr = base64url::encode(&subject::csr_of(&[NAME], &pair)?);
    account.post(&order.finalize()?, &json!({ "csr": csr }))?.expect(200)?;
    Ok((pair, account.leaf(&order)?))
}

fn revoke(account: &Account, certificate: &[u8]) -> Result<Reply> {
    let payload = json!({"certificate": base64url::encode(certificate), "reason": 1});
    account.post(account.client.url("revokeCert"), &payload)
}

#[test]
fn an_edge_revokes_nothing_that_another_one_ordered_but_by_the_certificates_own_key() -> Result<()> {
    let (_turn, world) = (one_at_a_time(), world());
    let (owner, other) = (world.account(1, NAME)?, world.account(0, NAME)?);
    let (pair, leaf) = certificate(&owner)?;
    let serial = Leaf::from_der(&leaf)?.serial.to_string();
    let revocations = || journal::revocations(&world.stack.report.state, &serial);
    // An account that has proved the name elsewhere.
    assert_eq!(revoke(&other, &leaf)?.expect(404)?.problem()?, "malformed");
    // The first edge says that an account of its own has the right, and that one of the second has asked.
    let payload = json!({"certificate": base64url::encode(&leaf), "reason": 1}).to_string();
    for (account, right, reason) in [
        (&other, Right::Account, "unknown-certificate"),
        (&other, Right::Authorizations, "unknown-certificate"),
        (&owner, Right::Account, "unknown-edge"),
    ] {
        let signed = account.sign(account.client.url("revokeCert"), "bm9uY2U", payload.as_bytes())?;
        let key = serde_json::from_value(account.key.jwk())?;
        let request = RevokeRequest { request: serde_json::from_slice(&signed)?, key, right };
        let answer = ask(world, "edge", REVOKE_PATH, &request)?;
        ensure!(answer["refused"]["reason"] == reason, "{right:?}: {answer}");
    }
    assert_eq!(revocations()?, 0);
    // Whoever has the certificate's key may, wherever he asks.
    let (key, client) = (tests::key::AccountKey::of(&pair)?, &world.clients[0]);
    let header = json!({"url": client.url("revokeCert"), "nonce": client.nonce()?, "jwk": key.jwk()});
    let body = key.sign(&header, payload.as_bytes())?.to_string();
    client.post(client.url("revokeCert"), body.as_bytes())?.expect(200)?;
    assert_eq!(revocations()?, 1);
    assert_eq!(revoke(&owner, &leaf)?.status, 200, "its own edge hears of the first revocation as of its own");
    assert_eq!(revocations()?, 1);
    Ok(())
}
