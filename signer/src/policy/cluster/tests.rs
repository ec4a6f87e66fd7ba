//! Tokens by what makes each prove nothing, as the signer alone sees it.

use serde_json::{Value, json};
use shared::{
    kubernetes::evidence::TokenEvidence,
    signing::{IssueRequest, Refusal},
    testing::{TestCa, TestKey},
};

use super::*;
use crate::{
    admit::{Admitted, Bounds, Evidence},
    bound::Bound,
    budget::Spendings,
    clock,
    fixture::{self, EDGE},
    journal::Intent,
    policy::Policy,
    stops::Stops,
};

const NAME: &str = "web.shop.prod.test";
const CHALLENGE: &str = "Zd2EPVZMts0inS6hIkr0ew";

/// The key set of this key, with the id `k1`.
fn keys(key: &TestKey) -> String {
    let mut jwk = serde_json::to_value(key.jwk()).unwrap();
    jwk["kid"] = json!("k1");
    json!({ "keys": [jwk] }).to_string()
}

/// A policy with two clusters, `prod` of the key 20 and `dev` of the key 21, and a scope that says this of them.
fn policy(scope: &str, prod: &str) -> anyhow::Result<Policy> {
    let cluster = |name: &str, seed, more: &str| {
        format!(
            "[[cluster]]\nname = \"{name}\"\nissuer = \"https://{name}.test\"\naudience = \"acme\"\nkeys = '{}'\n\
             names = [\"{{serviceaccount}}.{{namespace}}.prod.test\"]\n{more}\n",
            keys(&TestKey::new(seed))
        )
    };
    let toml = format!(
        "{}{}[[edge]]\nname = \"{EDGE}\"\nbase_urls = [\"https://ca.test\"]\n[[profile]]\nname = \"server\"\n\
         validity_seconds = 86400\nbackdate_seconds = 60\nextended_key_usage = [\"serverAuth\"]\nrevocation = \"none\"\n\
         [[scope]]\nname = \"estate\"\nopen = true\ndns_suffixes = [\"test\"]\nwildcards = true\n\
         methods = [\"kubernetes-01\", \"dns-01\"]\nprofiles = [\"server\"]\n{scope}\n",
        cluster("prod", 20, prod),
        cluster("dev", 21, ""),
    );
    #[derive(Deserialize)]
    struct Part {
        cluster: Vec<ClusterConfig>,
        edge: Vec<crate::config::EdgeConfig>,
        profile: Vec<shared::profile::ProfileConfig>,
        scope: Vec<crate::config::ScopeConfig>,
    }
    let Part { cluster, edge, profile, scope } = toml::from_str(&toml)?;
    Policy::check(edge, profile, scope, Clusters::check(cluster, Path::new("/nonexistent"))?)
}

fn claims(now: Timestamp) -> Value {
    let digest = TokenEvidence { challenge: CHALLENGE.into(), token: String::new().into() };
    json!({
        "iss": "https://prod.test", "aud": [format!("acme/{}", digest.digest(TestKey::new(1).jwk().thumbprint()))],
        "sub": "system:serviceaccount:shop:web", "exp": now.seconds() + 600, "iat": now.seconds(),
        "kubernetes.io": {
            "namespace": "shop", "pod": {"name": "web-0", "uid": "u-pod"}, "serviceaccount": {"name": "web", "uid": "u-sa"},
        },
    })
}

fn token(key: &TestKey, claims: &Value) -> String {
    let jws = key.sign_jws(&json!({"kid": "k1"}), claims.to_string().as_bytes());
    ["protected", "payload", "signature"].map(|part| jws[part].as_str().unwrap().to_owned()).join(".")
}

/// A request for the name, proved by this token as far as the edge says.
fn request(token: Option<String>) -> IssueRequest {
    let mut request = fixture::request(&[NAME], &TestKey::new(7).csr(&[NAME], ""));
    let proven = &mut request.identifiers[0];
    proven.method = KUBERNETES.into();
    proven.evidence = token.map(|token| TokenEvidence { challenge: CHALLENGE.into(), token: token.into() });
    request
}

fn judge(policy: &Policy, request: IssueRequest, is_decided: bool) -> Result<Admitted, (Refusal, String)> {
    let (spendings, stops, bound) = (Spendings::default(), Stops::default(), Bound::default());
    let bounds = Bounds { spendings: &spendings, stops: &stops, bound: &bound };
    let evidence = Evidence::verify(policy, EDGE, request).unwrap();
    let scope = policy.scopes()[0].name().to_owned();
    let intent = is_decided.then(|| Intent { scope, ..fixture::intent(&TestCa::new(1), 7) });
    let judged = evidence.admit(policy, EDGE, clock::now(), intent.as_ref(), bounds);
    judged.map_err(|refused| (refused.reason, refused.detail))
}

const TRUSTING: &str = "clusters = [\"prod\"]";

#[test]
fn a_token_gives_its_workloads_name_and_no_other() {
    let policy = policy(TRUSTING, "").unwrap();
    let right = token(&TestKey::new(20), &claims(clock::now()));
    assert!(judge(&policy, request(Some(right.clone())), false).is_ok());

    let other = "db.shop.prod.test";
    let mut stolen = fixture::request(&[other], &TestKey::new(7).csr(&[other], ""));
    (stolen.identifiers[0].method, stolen.identifiers[0].evidence) =
        (KUBERNETES.into(), request(Some(right.clone())).identifiers[0].evidence.clone());
    let (reason, detail) = judge(&policy, stolen, false).unwrap_err();
    assert_eq!(reason, Refusal::BadProof);
    assert!(detail.contains("no name template") && !detail.contains(&right), "{detail}");
}

#[test]
fn an_edge_that_says_so_is_no_proof() {
    let policy = policy(TRUSTING, "").unwrap();
    let (reason, detail) = judge(&policy, request(None), false).unwrap_err();
    assert_eq!(reason, Refusal::BadProof);
    assert!(detail.contains("no token came with it"), "{detail}");
    // What another method proves needs no token.
    let mut by_dns = request(None);
    by_dns.identifiers[0].method = "dns-01".into();
    assert!(judge(&policy, by_dns, false).is_ok());
}

#[test]
fn every_token_that_does_not_hold_is_refused_and_never_repeated() {
    type Change = fn(&mut Value);
    let table: [(&str, u8, Change); 9] = [
        ("signature does not verify", 22, |_| {}),
        ("not the one that this challenge expects", 20, |claims| claims["aud"] = json!(["acme"])),
        ("not the one that this challenge expects", 20, |claims| {
            claims["aud"] = json!([format!("acme/{}", "A".repeat(43))])
        }),
        ("no cluster that is known here", 20, |claims| claims["iss"] = json!("https://nobody.test")),
        ("has expired", 20, |claims| claims["exp"] = json!(claims["iat"].as_u64().unwrap() - 1)),
        ("not valid yet", 20, |claims| claims["iat"] = json!(claims["iat"].as_u64().unwrap() + 300)),
        ("lives longer", 20, |claims| claims["exp"] = json!(claims["iat"].as_u64().unwrap() + 3601)),
        ("of the cluster dev, which the scope does not name", 21, |claims| claims["iss"] = json!("https://dev.test")),
        ("service account may not", 20, |claims| {
            claims["kubernetes.io"]["namespace"] = json!("evil");
            claims["sub"] = json!("system:serviceaccount:evil:web");
        }),
    ];
    let policy = policy(TRUSTING, "service_accounts = [\"shop/*\"]").unwrap();
    for (words, seed, change) in table {
        let mut claims = claims(clock::now());
        change(&mut claims);
        let token = token(&TestKey::new(seed), &claims);
        let (reason, detail) = judge(&policy, request(Some(token.clone())), false).unwrap_err();
        assert_eq!(reason, Refusal::BadProof, "{words}");
        assert!(detail.contains(words), "{words}: {detail}");
        assert!(!token.split('.').any(|part| detail.contains(part)), "{detail}");
    }
}

#[test]
fn the_time_of_the_proof_is_within_what_our_clock_allows() {
    let policy = policy(TRUSTING, "max_proof_age_seconds = 1000").unwrap();
    let now = clock::now();
    let at = |validated: Timestamp, is_decided| {
        let mut request = request(Some(token(&TestKey::new(20), &claims(validated))));
        request.identifiers[0].validated = validated;
        judge(&policy, request, is_decided).map(drop).map_err(|(reason, _)| reason)
    };
    // The token may have expired since it was presented.
    assert_eq!(at(now.minus(990), false), Ok(()));
    assert_eq!(at(now.minus(1010), false), Err(Refusal::BadProof));
    assert_eq!(at(now.minus(1010), true), Ok(()), "an intent was decided on while it was fresh");
    assert_eq!(at(now.plus(60), false), Err(Refusal::BadProof));
    // A token of today is not made older by saying so.
    let mut early = request(Some(token(&TestKey::new(20), &claims(now))));
    early.identifiers[0].validated = now.minus(300);
    assert_eq!(judge(&policy, early, false).unwrap_err().0, Refusal::BadProof);
}

#[test]
fn a_scope_without_clusters_takes_nobodys_word_unless_it_says_so() {
    let right = || request(Some(token(&TestKey::new(20), &claims(clock::now()))));
    let (reason, detail) = judge(&policy("", "").unwrap(), right(), false).unwrap_err();
    assert_eq!(reason, Refusal::BadProof);
    assert!(detail.contains("names no clusters"), "{detail}");
    assert!(judge(&policy("kubernetes_trusts_edge = true", "").unwrap(), request(None), false).is_ok());
}

#[test]
fn a_cluster_that_cannot_be_checked_is_an_error_of_the_configuration() {
    for (scope, prod, words) in [
        ("clusters = [\"staging\"]", "", "scope estate: there is no cluster staging"),
        ("clusters = [\"prod\"]\nkubernetes_trusts_edge = true", "", "exclude each other"),
        (TRUSTING, "keys_file = \"prod.jwks\"", "cluster prod: a cluster has either keys or keys_file"),
        (TRUSTING, "max_token_seconds = 0", "cluster prod: max_token_seconds: 1 to 86400"),
        (TRUSTING, "max_proof_age_seconds = 0", "cluster prod: max_proof_age_seconds: 1 to 86400"),
        (TRUSTING, "service_accounts = [\"shop\"]", "cluster prod: service_accounts: \"shop\" is not NAMESPACE/NAME"),
        (TRUSTING, "token_review = true", "unknown field `token_review`"),
    ] {
        let error = format!("{:#}", policy(scope, prod).unwrap_err());
        assert!(error.contains(words), "{words}: {error}");
    }
    assert_ne!(policy(TRUSTING, "").unwrap().hash(), policy("", "").unwrap().hash());
}
