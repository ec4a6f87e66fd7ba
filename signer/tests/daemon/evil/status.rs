//! What is said about certificates: nothing is un-revoked, and nobody hears `good` of what the journal does not have.

use serde_json::{Value, json};
use shared::{
    base64url,
    ocsp::{CertIdHash, CertStatus},
    pointers::{CrlShard, IssuerId},
    serial::SerialNumber,
    signing::{
        CRL_PATH, CrlReply, CrlRequest, Issued, OCSP_PATH, OcspReply, OcspRequest, REVOKE_PATH, Refusal, RevokeRequest,
        Right, Urgency,
    },
    testing::TestKey,
};

use super::{Attempt, Stage};
use crate::{
    client::{csr, request, simple},
    ocsp::{ask, content, issuer, response},
    revoke::{by_account, by_key, payload, revoked, simple_revocation},
    site::{BASE_URL, Site, eventually},
};

const ASKED: &str = "anybody can ask a responder anything";

/// Two issuers that sign nothing by themselves for as long as a test takes.
fn stage() -> Stage {
    let site = Site::new(&["a1", "a2"]);
    site.tell_status("crl_shards = 1\ncrl_delay_seconds = 3600");
    super::policy(&site);
    let stage = Stage::of(site);
    eventually("the first CRLs", || stage.site.events("crl").len() == 2);
    stage
}

fn url() -> String {
    format!("{BASE_URL}/acme/revoke-cert")
}

fn by(account: &TestKey, payload: &Value) -> RevokeRequest {
    by_account(account, Right::Account, &url(), payload)
}

/// One certificate of each issuer.
fn of_each(stage: &Stage) -> [Issued; 2] {
    let mut number = 100;
    let mut other = |than: Option<&Issued>| loop {
        number += 1;
        let issued = stage.edge.issued(&simple(number));
        if than.is_none_or(|than| than.chain[1] != issued.chain[1]) {
            return issued;
        }
    };
    let first = other(None);
    let second = other(Some(&first));
    [first, second]
}

#[test]
fn nothing_is_revoked_without_a_signature_or_for_a_reason_that_can_be_lifted() {
    let stage = stage();
    let (account, own) = (TestKey::new(1), TestKey::new(7));
    let issued = stage.edge.issued(&request(1, &account, &own.csr(&["host-1.test"], ""), &["host-1.test"]));
    let leaf = issued.chain[0].0.clone();
    let attempt = |name, refusal, asked: &RevokeRequest| Attempt::post(name, refusal, REVOKE_PATH, asked);
    let reason = |name, code| attempt(name, Refusal::Malformed, &by(&account, &payload(&leaf, code)));
    let odd = |name, payload: Value| attempt(name, Refusal::Malformed, &by(&account, &payload));
    let mut altered = leaf.clone();
    let last = altered.len() - 1;
    altered[last] ^= 1;
    let mut swapped = by(&account, &payload(&leaf, 0));
    swapped.request.payload = base64url::encode(payload(&leaf, 1).to_string().as_bytes());
    let foreign = shared::testing::TestCa::new(3);
    let names = shared::testing::dns_names(&["host-1.test"]);
    let unknown = foreign.issue(&shared::certificate::Content {
        profile: &shared::testing::server_profile(),
        names: &names,
        common_name: None,
        public_key: &own.public_key(),
        serial: SerialNumber::from_random([3; 16]),
        not_before: simple(1).deadline.minus(3600),
        not_after: simple(1).deadline.plus(3600),
        status: None,
        crl_shards: 1,
    });
    let text = base64url::encode(&leaf);
    stage.try_each(&[
        reason("removeFromCRL", 8),
        reason("a hold", 6),
        reason("a CA's reason", 2),
        reason("a reason that is none", 7),
        reason("a reason of an attribute authority", 10),
        reason("a reason below all", -1),
        reason("a very large reason", i64::MAX),
        odd("a reason as text", json!({"certificate": text, "reason": "removeFromCRL"})),
        odd("no certificate", json!({"reason": 8})),
        odd("a serial number alone", json!({"serial": issued.serial.to_string(), "reason": 1})),
        odd("a certificate that is none", json!({"certificate": "AAAA", "reason": 1})),
        odd("the issuer's certificate", json!({"certificate": base64url::encode(&issued.chain[1].0), "reason": 1})),
        attempt("another payload than was signed", Refusal::BadEvidence, &swapped),
        attempt(
            "a key that has not signed",
            Refusal::BadEvidence,
            &RevokeRequest { key: TestKey::new(2).jwk(), ..by(&account, &payload(&leaf, 1)) },
        ),
        attempt(
            "by the certificate's key, of another key",
            Refusal::BadEvidence,
            &by_key(&account, &payload(&leaf, 1)),
        ),
        attempt(
            "by the certificate's key, with a kid",
            Refusal::BadEvidence,
            &by_account(&own, Right::CertificateKey, &url(), &payload(&leaf, 1)),
        ),
        attempt(
            "by an account, with a jwk",
            Refusal::BadEvidence,
            &RevokeRequest { right: Right::Account, ..by_key(&own, &payload(&leaf, 1)) },
        ),
        attempt(
            "at another deployment",
            Refusal::UnknownEdge,
            &by_account(&account, Right::Account, "https://second.test/acme/revoke-cert", &payload(&leaf, 1)),
        ),
        attempt("an altered certificate", Refusal::UnknownCertificate, &by(&account, &payload(&altered, 1))),
        attempt("the certificate of another CA", Refusal::UnknownCertificate, &by(&account, &payload(&unknown, 1))),
    ]);
    assert!(stage.site.events("revoked").is_empty());
}

#[test]
fn a_revocation_is_never_lifted_nor_changed() {
    let stage = stage();
    let (account, own) = (TestKey::new(1), TestKey::new(7));
    let issued = stage.edge.issued(&request(1, &account, &own.csr(&["host-1.test"], ""), &["host-1.test"]));
    let leaf = issued.chain[0].0.clone();
    assert_eq!(content(&response(&stage.edge, &ask(&issued)), &issued).status, CertStatus::Good);
    let first = revoked(&stage.edge, &simple_revocation(&issued));
    let before = stage.spent();
    for code in [0, 1, 3, 4, 5, 9] {
        for right in [Right::Account, Right::Authorizations] {
            let again = by_account(&TestKey::new(66), right, &url(), &payload(&leaf, code));
            assert_eq!(revoked(&stage.edge, &again), first, "{code}");
        }
        assert_eq!(revoked(&stage.edge, &by_key(&own, &payload(&leaf, code))), first, "{code}");
    }
    assert_eq!(stage.spent(), before, "one record, and no signature");
    for code in [8, 6] {
        stage.try_each(&[Attempt::post(
            "lift it",
            Refusal::Malformed,
            REVOKE_PATH,
            &by(&account, &payload(&leaf, code)),
        )]);
    }
    // However it is asked, the answer is the journal's.
    for urgency in [Urgency::Refresh, Urgency::Missing] {
        let said = response(&stage.edge, &OcspRequest { urgency, ..ask(&issued) });
        assert!(said.revoked && content(&said, &issued).status != CertStatus::Good, "{urgency:?}");
    }
}

#[test]
fn nobody_hears_good_of_what_the_journal_does_not_have() {
    let stage = stage();
    let [first, second] = of_each(&stage);
    let mut plain = request(1, &TestKey::new(1), &csr(&["host-1.test"]), &["host-1.test"]);
    plain.profile = "server".parse().unwrap();
    let asked = ask(&first);
    let unknown =
        |name, asked: &OcspRequest| Attempt::post(name, Refusal::UnknownCertificate, OCSP_PATH, asked).logged(ASKED);
    let nobody = IssuerId::of(shared::testing::TestCa::new(3).chain.issuer());
    let ours = IssuerId::of(&issuer(&first));
    let odd = |name, member: &str, value: Value| {
        let mut asked = serde_json::to_value(&asked).unwrap();
        asked[member] = value;
        Attempt::post(name, Refusal::Malformed, OCSP_PATH, &asked)
    };
    let list = |name, issuer, shard| {
        let why = "whoever serves CRLs may ask for any";
        Attempt::post(name, Refusal::UnknownCertificate, CRL_PATH, &CrlRequest { issuer, shard }).logged(why)
    };
    stage.try_each(&[
        unknown(
            "a serial number that there never was",
            &OcspRequest { serial: SerialNumber::from_random([5; 16]), ..asked.clone() },
        ),
        unknown(
            "the same with another hash",
            &OcspRequest { serial: SerialNumber::from_random([5; 16]), hash: CertIdHash::Sha256, ..asked.clone() },
        ),
        unknown(
            "the same in spare time",
            &OcspRequest { serial: SerialNumber::from_random([5; 16]), urgency: Urgency::Refresh, ..asked.clone() },
        ),
        unknown("a serial number of another issuer here", &OcspRequest { serial: second.serial, ..asked.clone() }),
        unknown("an issuer that is not here", &OcspRequest { issuer: nobody, ..asked.clone() }),
        odd("the status that the edge wants", "status", json!("good")),
        odd("a serial number that is none", "serial", json!("xyz")),
        odd("a hash that is none", "hash", json!("md5")),
        odd("no issuer", "issuer", Value::Null),
        list("a CRL of an issuer that is not here", nobody, CrlShard::COMPLETE),
        list("a part that there is not", ours, CrlShard::new(2, 2).unwrap()),
        Attempt::post(
            "a part that cannot be",
            Refusal::Malformed,
            CRL_PATH,
            &json!({"issuer": ours, "shard": "9-of-1"}),
        ),
    ]);
    // And they are told the truth about what there is.
    let said = stage.edge.ocsp(&asked).unwrap();
    assert!(matches!(said, OcspReply::Signed(_) | OcspReply::Queued { .. }));
    assert!(matches!(
        stage.edge.crl(&CrlRequest { issuer: ours, shard: CrlShard::COMPLETE }).unwrap(),
        CrlReply::Current(_)
    ));
}
