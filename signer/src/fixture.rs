//! What the tests of several rooms need: a request that the tests' policy gives, and the intent that comes of it.

use serde_json::{Value, json};
use shared::{
    base64url::{self, Base64Url},
    certificate::TbsDer,
    csr::Csr,
    identifier::Identifier,
    jws::Flattened,
    signing::{Grant, IssueRequest, Priority, ProvenIdentifier, Refusal},
    testing::{TestCa, TestKey},
};

use crate::{
    admit::{Admitted, Bounds, Evidence},
    bound::Bound,
    budget::Spendings,
    clock,
    issuer::Issuer,
    journal::{Event, Intent, Journal, Location, RefusedRequest, Signed},
    policy, random,
    stops::Stops,
};

/// The edge of the tests' policy.
pub(crate) const EDGE: &str = "edge.colophon.internal";
/// An order of that edge.
pub(crate) const ORDER: &str = "https://ca.test/acme/order/ref/1";

/// The protected header of that order's finalize request, but for `alg`.
pub(crate) fn header(order: &str) -> Value {
    json!({"kid": "https://ca.test/acme/account/1", "nonce": "bm9uY2U", "url": format!("{order}/finalize")})
}

/// A JWS of this key.
pub(crate) fn sign(account: &TestKey, header: &Value, payload: &Value) -> Flattened {
    serde_json::from_value(account.sign_jws(header, payload.to_string().as_bytes())).unwrap()
}

/// A request of the account 1 that the tests' policy gives.
pub(crate) fn request(names: &[&str], csr: &[u8]) -> IssueRequest {
    let account = TestKey::new(1);
    let now = clock::now();
    let proven = |name: &&str| ProvenIdentifier {
        identifier: Identifier::Dns(name.parse().unwrap()),
        method: "dns-01".into(),
        validated: now,
        evidence: None,
    };
    IssueRequest {
        order: ORDER.into(),
        finalize: sign(&account, &header(ORDER), &json!({"csr": base64url::encode(csr)})),
        account_key: account.jwk(),
        grant: Grant::Open,
        identifiers: names.iter().map(proven).collect(),
        profile: "server".parse().unwrap(),
        not_before: None,
        not_after: None,
        priority: Priority::New,
        deadline: now.plus(600),
        lease: None,
    }
}

/// A CSR for `host.a.test` of the key with this seed.
pub(crate) fn csr(seed: u8) -> Csr {
    Csr::parse(&TestKey::new(seed).csr(&["host.a.test"], "")).unwrap()
}

/// The intent of the issuer `a1` with this CA's key for [`csr`].
pub(crate) fn intent(ca: &TestCa, seed: u8) -> Intent {
    let now = clock::now();
    let names = ["host.a.test"];
    let policy = policy::tests::policy();
    let request = request(&names, &TestKey::new(seed).csr(&names, ""));
    let (spendings, stops, bound) = (Spendings::default(), Stops::default(), Bound::default());
    let bounds = Bounds { spendings: &spendings, stops: &stops, bound: &bound };
    let admitted: Admitted =
        Evidence::verify(&policy, EDGE, request).unwrap().admit(&policy, EDGE, now, None, bounds).unwrap();
    Issuer::new("a1".into(), ca.chain.clone(), Vec::new())
        .prepare(&admitted, random::serial_number().unwrap(), now)
        .unwrap()
}

/// The certificate of [`intent`] for the key 7, as a journal has it behind that intent.
pub(crate) fn signed() -> (Intent, Signed) {
    let ca = TestCa::new(1);
    let intent = intent(&ca, 7);
    let leaf = TbsDer::from_journal(intent.tbs.0.clone()).assemble(&ca.sign(&intent.tbs.0)).unwrap();
    let signed = Signed { order: ORDER.into(), intent: 0, serial: intent.serial, chain: vec![Base64Url(leaf)] };
    (intent, signed)
}

/// Two records' places, which a journal alone makes.
pub(crate) async fn locations() -> (tempfile::TempDir, [Location; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path(), |_, _| Ok(())).unwrap();
    let event = || {
        Event::Refused(RefusedRequest {
            reason: Refusal::Malformed,
            detail: String::new(),
            edge: String::new(),
            order: String::new(),
        })
    };
    let locations = [journal.append(event()).await.unwrap(), journal.append(event()).await.unwrap()];
    (folder, locations)
}
