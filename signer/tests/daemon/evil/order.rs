//! What the account has signed, and for which order.

use serde_json::{Value, json};
use shared::{
    base64url,
    jws::Flattened,
    signing::{IssueRequest, Refusal},
    testing::TestKey,
};

use super::{Attempt, Stage};
use crate::{
    client::{csr, finalize, order, request, simple},
    site::BASE_URL,
};

/// A finalize request of the account 1 with this header, for a CSR of `host-1.test`.
fn signed(header: &Value) -> Flattened {
    let payload = json!({"csr": base64url::encode(&csr(&["host-1.test"]))}).to_string();
    serde_json::from_value(TestKey::new(1).sign_jws(header, payload.as_bytes())).unwrap()
}

fn header(url: &str) -> Value {
    json!({"kid": format!("{BASE_URL}/acme/account/1"), "nonce": "bm9uY2U", "url": url})
}

/// The same with another protected header, whose signature is as good as it can be made.
fn forged(change: impl FnOnce(&mut Value)) -> Flattened {
    let good = signed(&header(&format!("{}/finalize", order(1))));
    let mut header: Value = serde_json::from_slice(&base64url::decode(&good.protected).unwrap()).unwrap();
    change(&mut header);
    Flattened { protected: base64url::encode(header.to_string().as_bytes()), ..good }
}

fn with(finalize: Flattened) -> IssueRequest {
    IssueRequest { finalize, ..simple(1) }
}

fn at(order: &str) -> IssueRequest {
    IssueRequest { order: order.to_owned(), finalize: signed(&header(&format!("{order}/finalize"))), ..simple(1) }
}

/// What the account has not signed for this order.
pub(super) fn unsigned(_stage: &Stage) -> Vec<Attempt> {
    let (victim, thief) = (TestKey::new(1), TestKey::new(66));
    let (honest, other) = (simple(1), simple(2));
    let payload = json!({}).to_string();
    let url = format!("{}/finalize", order(1));
    let twice = format!("{{\"csr\":\"{0}\",\"csr\":\"{0}\"}}", base64url::encode(&csr(&["host-1.test"])));
    let bare = |payload: &str| {
        let jws = victim.sign_jws(&header(&url), payload.as_bytes());
        with(serde_json::from_value(jws).unwrap())
    };
    let evidence = |name, request: &IssueRequest| Attempt::issue(name, Refusal::BadEvidence, request);
    let elsewhere = |name, url: &str| evidence(name, &with(signed(&header(url))));
    let swapped = Flattened { payload: other.finalize.payload.clone(), ..honest.finalize.clone() };
    let by_jwk = victim.sign_jws_with_jwk(&json!({"nonce": "bm9uY2U", "url": url}), payload.as_bytes());
    vec![
        evidence("the CSR of another order, under this one's signature", &with(swapped)),
        evidence(
            "a CSR of the edge's own, signed by the edge",
            &with(finalize(&thief, &order(1), &csr(&["host-1.test"]))),
        ),
        evidence("a finalize request of another order", &with(other.finalize.clone())),
        evidence("another account's key", &IssueRequest { account_key: thief.jwk(), ..honest.clone() }),
        evidence("no signature", &with(Flattened { signature: String::new(), ..honest.finalize.clone() })),
        evidence(
            "the signature of another request",
            &with(Flattened { signature: other.finalize.signature.clone(), ..honest.finalize.clone() }),
        ),
        evidence(
            "a signature that is not base64url",
            &with(Flattened { signature: "=+/".into(), ..honest.finalize.clone() }),
        ),
        elsewhere("a URL of another order", &format!("{}/finalize", order(7))),
        elsewhere("a URL of another host", &format!("{}/finalize", order(1)).replace("localhost", "elsewhere")),
        elsewhere("a URL that goes on", &format!("{url}/")),
        elsewhere("a URL with a query", &format!("{url}?")),
        elsewhere("a URL with a fragment", &format!("{url}#")),
        elsewhere("the URL of the order itself", &order(1)),
        elsewhere("the URL in upper case", &url.to_uppercase()),
        elsewhere("the URL of a revocation", &format!("{BASE_URL}/acme/revoke-cert")),
        evidence(
            "a kid of another deployment",
            &with(forged(|header| header["kid"] = json!("https://elsewhere/acme/account/1"))),
        ),
        evidence(
            "a kid beside the base URL",
            &with(forged(|header| header["kid"] = json!(format!("{BASE_URL}0/acme/account/1")))),
        ),
        evidence("a jwk in place of a kid", &with(serde_json::from_value(by_jwk).unwrap())),
        evidence(
            "a jwk beside the kid",
            &with(forged(|header| header["jwk"] = serde_json::to_value(victim.jwk()).unwrap())),
        ),
        evidence("the algorithm none", &with(forged(|header| header["alg"] = json!("none")))),
        evidence("a MAC", &with(forged(|header| header["alg"] = json!("HS256")))),
        evidence("an algorithm of another key", &with(forged(|header| header["alg"] = json!("RS256")))),
        evidence("a critical extension", &with(forged(|header| header["crit"] = json!(["exp"])))),
        evidence("an unencoded payload", &with(forged(|header| header["b64"] = json!(false)))),
        evidence("another nonce than was signed", &with(forged(|header| header["nonce"] = json!("b3RoZXI")))),
        Attempt::issue("no CSR", Refusal::BadCsr, &bare("{}")),
        Attempt::issue("a read in place of a finalize request", Refusal::BadCsr, &bare("")),
        Attempt::issue("two CSRs", Refusal::BadCsr, &bare(&twice)),
        Attempt::issue("a CSR that is none", Refusal::BadCsr, &bare("{\"csr\":\"AAAA\"}")),
    ]
}

/// Orders that are not below a base URL of this edge.
pub(super) fn elsewhere(_stage: &Stage) -> Vec<Attempt> {
    let edge = |name, order: &str| Attempt::issue(name, Refusal::UnknownEdge, &at(order));
    let plain = BASE_URL.trim_start_matches("https://");
    vec![
        edge("another deployment", "https://elsewhere.test/acme/order/1"),
        edge("another edge of this signer", "https://second.test/acme/order/1"),
        edge("a host that begins alike", &format!("{BASE_URL}.evil.test/acme/order/1")),
        edge("a port that begins alike", &format!("{BASE_URL}1/acme/order/1")),
        edge("a user name", &format!("https://{plain}@evil.test/acme/order/1")),
        edge("plain HTTP", &format!("http://{plain}/acme/order/1")),
        edge("the base URL itself", BASE_URL),
        edge("upper case", &BASE_URL.to_uppercase()),
        edge("no URL", ""),
        edge("a space", &format!("{BASE_URL}/acme/order/ 1")),
        edge("a line's end", &format!("{BASE_URL}/acme/order/1\n")),
        edge("another script", &format!("{BASE_URL}/acme/order/\u{44f}")),
        edge("a very long one", &format!("{BASE_URL}/{}", "a".repeat(2000))),
    ]
}

#[test]
fn an_order_that_has_its_certificate_has_it_for_ever() {
    let stage = Stage::new();
    let (names, key) = (["host-1.test"], TestKey::new(1));
    let first = csr(&names);
    let honest = request(1, &key, &first, &names);
    let issued = stage.edge.issued(&honest);
    let used = |name, request: &IssueRequest| Attempt::issue(name, Refusal::OrderUsed, request);
    stage.try_each(&[
        used("another CSR of the same account", &request(1, &key, &csr(&names), &names)),
        used("the same CSR for an account that the edge has made up", &request(1, &TestKey::new(66), &first, &names)),
        used(
            "another CSR for an account that the edge has made up",
            &request(1, &TestKey::new(66), &csr(&names), &names),
        ),
    ]);
    let before = stage.spent();
    assert_eq!(stage.edge.issued(&honest), issued, "a replay gets the same bytes");
    assert_eq!(stage.spent(), before, "and costs nothing");
}
