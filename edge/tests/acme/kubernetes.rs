//! kubernetes-01: every reason to refuse a proof, and its way through the account's object.

use edge::acme::{
    challenge::ChallengeType,
    config::{Config, ConfigObject},
    kubernetes::{
        judgement::{self, Seen},
        presented::{Presented, Proof},
        refusal::Refusal,
    },
    object_id::ObjectId,
    probe::{Evidence, Probe},
    problem::Problem,
    record::{AuthorizationRecord, Record as _},
    route::{Resource, Route},
    step::{Effect, Event},
    storage::Key,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use shared::{
    identifier::Identifier,
    kubernetes::{keys::KeySet, refusal::BadToken},
    testing::TestKey,
};

use crate::{
    desk::{Desk, config_object},
    workloads::{TestCluster, claims, pods, review},
};

const AUDIENCE: &str = "acme.example";

/// A cluster whose keys are in the configuration, with these members besides.
fn cluster(members: &Value) -> Value {
    let mut cluster = json!({
        "issuer": "https://prod.example", "audience": AUDIENCE, "keys": TestCluster::new(9).keys().to_string(),
        "names": ["{serviceaccount}.{namespace}.test", "*.{namespace}.test"],
    });
    for (name, value) in members.as_object().unwrap() {
        cluster[name] = value.clone();
    }
    cluster
}

pub(crate) fn api() -> Value {
    json!({"url": "https://api.example:6443"})
}

pub(crate) fn config(desk: &Desk, clusters: Value) -> Config {
    let mut object = config_object(&desk.ca);
    object["rate_limits"] = json!({"client_address_header": "CF-Connecting-IP", "client_address_set_by_proxy": true});
    object["kubernetes"] = clusters;
    serde_json::from_value::<ConfigObject>(object).unwrap().try_into().unwrap()
}

/// A desk with an account and an order of this name: its authorization, and the audience that is bound to it.
pub(crate) fn desk(members: &Value, name: &str) -> (Desk, ObjectId, String) {
    desk_of(1, members, name)
}

/// The same for the account of another key.
fn desk_of(seed: u8, members: &Value, name: &str) -> (Desk, ObjectId, String) {
    let (desk, _, id, audience) = desk_with_order(seed, members, name);
    (desk, id, audience)
}

/// The same, with the order.
pub(crate) fn desk_with_order(seed: u8, members: &Value, name: &str) -> (Desk, Resource, ObjectId, String) {
    let mut desk = Desk::new();
    desk.account_key = TestKey::new(seed);
    let prod = cluster(members);
    desk.config = config(&desk, json!({ "prod": prod }));
    desk.client = Some("::ffff:10.1.2.3".parse().unwrap());
    desk.new_account();
    let (order, view) = desk.new_order(&[name]);
    let Resource::Authorization(id) = desk.resource(&view["authorizations"][0]) else { panic!() };
    let record = AuthorizationRecord::load(&desk.rows, Key::Authorization(id)).unwrap().unwrap();
    let digest = edge::acme::challenge::dns_value(&record.token, desk.account_key.jwk().thumbprint());
    (desk, order, id, format!("{AUDIENCE}/{digest}"))
}

pub(crate) fn answer(desk: &mut Desk, id: ObjectId, payload: &Value) -> Result<Option<Probe>, Problem> {
    let route = Route::Of(desk.account(), Resource::Challenge(id, ChallengeType::Kubernetes01));
    desk.post(route, payload)?;
    Ok(desk.effects.pop().map(|effect| match effect {
        Effect::Probe(probe) => probe,
        other => panic!("{other:?}"),
    }))
}

/// The status of the authorization after this answer and what was seen, and the problem if there is one.
fn outcome(desk: &mut Desk, id: ObjectId, payload: &Value, seen: Seen) -> (String, String) {
    let probe = answer(desk, id, payload).unwrap().unwrap();
    desk.event(Event::Probed(probe, Ok(Evidence::Kubernetes(seen)))).unwrap();
    let view = desk.read(Resource::Authorization(id));
    let status = view["status"].as_str().unwrap().to_owned();
    (status, view["challenges"][0]["error"]["detail"].as_str().unwrap_or_default().to_owned())
}

fn answered(value: &Value) -> Seen {
    Seen { keys: None, answer: Some(value.to_string().into_bytes()) }
}

/// What becomes of a token with these claims under these members of the configuration.
fn judged(members: &Value, change: impl Fn(&mut Value)) -> (String, String) {
    let (mut desk, id, audience) = desk(members, "web.shop.test");
    let mut claims = claims(&audience, desk.now.seconds());
    change(&mut claims);
    outcome(&mut desk, id, &json!({"token": TestCluster::new(9).token(&claims)}), Seen::default())
}

fn assert_refused(outcome: &(String, String), why: impl Into<Refusal>) {
    let why = why.into();
    assert_eq!((outcome.0.as_str(), outcome.1.clone()), ("invalid", format!("The proof is refused: {why}.")));
}

#[test]
fn a_bound_token_proves_the_names_of_its_workload() {
    assert_eq!(judged(&json!({}), |_| {}), ("valid".to_owned(), String::new()));
    // An audience as text is the same as a list of one.
    let text = |claims: &mut Value| claims["aud"] = claims["aud"][0].clone();
    assert_eq!(judged(&json!({}), text).0, "valid");
    let without = |claims: &mut Value| drop(claims.as_object_mut().unwrap().remove("nbf"));
    assert_eq!(judged(&json!({}), without).0, "valid");
    for name in ["*.shop.test", "web.shop.test"] {
        let (mut desk, id, audience) = desk(&json!({}), name);
        let token = TestCluster::new(9).token(&claims(&audience, desk.now.seconds()));
        assert_eq!(outcome(&mut desk, id, &json!({ "token": token }), Seen::default()).0, "valid", "{name}");
    }
}

#[test]
fn every_wrong_claim_has_its_refusal() {
    use BadToken::{Audience, Expired, Form, Issuer, Legacy, NotYet, ServiceAccount, Subject, TooLong};
    type Change = fn(&mut Value);
    let without = |member: &'static str| move |claims: &mut Value| drop(claims.as_object_mut().unwrap().remove(member));
    let table: [(&str, Change, BadToken); 25] = [
        ("other audience", |claims| claims["aud"] = json!(["other.example"]), Audience),
        ("the plain audience", |claims| claims["aud"] = json!([AUDIENCE]), Audience),
        (
            "two audiences",
            |claims| claims["aud"].as_array_mut().unwrap().push(json!("https://kubernetes.default.svc")),
            Audience,
        ),
        ("no audience in the list", |claims| claims["aud"] = json!([]), Audience),
        ("another digest", |claims| claims["aud"] = json!([format!("{AUDIENCE}/{}", "A".repeat(43))]), Audience),
        ("a null audience", |claims| claims["aud"] = Value::Null, Form),
        ("a fraction", |claims| claims["exp"] = json!(2e9), Form),
        ("a negative time", |claims| claims["iat"] = json!(-1), Form),
        ("expired", |claims| claims["exp"] = json!(claims["iat"].as_u64().unwrap() - 1), Expired),
        (
            "expired a minute ago",
            |claims| {
                let now = claims["iat"].as_u64().unwrap();
                (claims["iat"], claims["nbf"], claims["exp"]) = (json!(now - 600), json!(now - 600), json!(now - 60));
            },
            Expired,
        ),
        ("of the future", |claims| claims["iat"] = json!(claims["iat"].as_u64().unwrap() + 60), NotYet),
        ("not yet", |claims| claims["nbf"] = json!(claims["iat"].as_u64().unwrap() + 60), NotYet),
        ("too long", |claims| claims["exp"] = json!(claims["iat"].as_u64().unwrap() + 3601), TooLong),
        ("for ever", |claims| claims["exp"] = json!(u64::MAX), TooLong),
        ("issued at the beginning of time", |claims| claims["iat"] = json!(0), TooLong),
        ("of another cluster", |claims| claims["iss"] = json!("https://dev.example"), Issuer),
        ("of an issuer in other letters", |claims| claims["iss"] = json!("https://PROD.example"), Issuer),
        ("another subject", |claims| claims["sub"] = json!("system:serviceaccount:shop:root"), Subject),
        ("a user", |claims| claims["sub"] = json!("admin"), Subject),
        (
            "another namespace",
            |claims| {
                claims["sub"] = json!("system:serviceaccount:evil:web");
                claims["kubernetes.io"]["namespace"] = json!("evil");
            },
            ServiceAccount,
        ),
        ("no pod", |claims| drop(claims["kubernetes.io"].as_object_mut().unwrap().remove("pod")), Form),
        ("a null pod", |claims| claims["kubernetes.io"]["pod"] = Value::Null, Form),
        ("an empty pod", |claims| claims["kubernetes.io"]["pod"]["uid"] = json!(""), Form),
        (
            "a legacy token",
            |claims| {
                *claims = json!({
                    "iss": "kubernetes/serviceaccount", "kubernetes.io/serviceaccount/namespace": "shop",
                    "kubernetes.io/serviceaccount/secret.name": "web-token",
                    "kubernetes.io/serviceaccount/service-account.name": "web",
                    "kubernetes.io/serviceaccount/service-account.uid": "u-sa", "sub": "system:serviceaccount:shop:web",
                });
            },
            Legacy,
        ),
        (
            "a legacy claim beside the others",
            |claims| claims["kubernetes.io/serviceaccount/namespace"] = json!("shop"),
            Legacy,
        ),
    ];
    let members = json!({"service_accounts": ["shop/*"]});
    for (what, change, why) in table {
        println!("{what}");
        assert_refused(&judged(&members, change), why);
    }
    for member in ["aud", "exp", "iat", "iss", "sub", "kubernetes.io"] {
        println!("without {member}");
        assert_refused(&judged(&members, without(member)), Form);
    }
}

#[test]
fn a_token_is_for_a_clusters_own_key_and_nothing_that_it_brings() {
    use BadToken::{Algorithm, Form, Header, Signature, UnknownKey};
    let own = json!({"alg": "ES256", "kid": "k1"});
    let with = |member: &str, value: Value| {
        let mut header = own.clone();
        header[member] = value;
        header
    };
    let key = TestCluster::new(9).keys()["keys"][0].clone();
    let table = [
        (with("alg", json!("none")), 9, Algorithm),
        (with("alg", json!("HS256")), 9, Algorithm),
        (with("alg", json!("RS256")), 9, Signature),
        (with("alg", json!("ES384")), 9, Signature),
        (with("alg", json!("PS256")), 9, Algorithm),
        (with("alg", json!("EdDSA")), 9, Algorithm),
        (with("kid", json!("k2")), 9, UnknownKey),
        (with("kid", json!("")), 9, Form),
        (json!({"alg": "ES256"}), 9, Form),
        (with("crit", json!(["exp"])), 9, Header("crit")),
        (with("b64", json!(false)), 9, Header("b64")),
        (with("jku", json!("https://evil.example/keys")), 9, Header("jku")),
        (with("x5u", json!("https://evil.example/chain")), 9, Header("x5u")),
        (with("x5c", json!([])), 9, Header("x5c")),
        (with("jwk", key), 9, Header("jwk")),
        (own, 8, Signature),
    ];
    for (header, seed, why) in table {
        let (mut desk, id, audience) = desk(&json!({}), "web.shop.test");
        let token = TestCluster::new(seed).sign(&header, &claims(&audience, desk.now.seconds()));
        println!("{header}");
        assert_refused(&outcome(&mut desk, id, &json!({ "token": token }), Seen::default()), why);
    }
    let (mut desk, id, audience) = desk(&json!({}), "web.shop.test");
    let token = TestCluster::new(9).token(&claims(&audience, desk.now.seconds()));
    let (signed, _) = token.rsplit_once('.').unwrap();
    assert_refused(&outcome(&mut desk, id, &json!({"token": format!("{signed}.")}), Seen::default()), Form);
}

#[test]
fn keys_that_are_fetched_are_judged_like_those_of_the_configuration() {
    let at = json!({"keys": {"url": "https://keys.example/openid/v1/jwks"}});
    let set = |seed| Some(KeySet::parse(TestCluster::new(seed).keys().to_string().as_bytes()).unwrap());
    for (keys, expected) in [(set(9), None), (set(8), Some(BadToken::Signature)), (None, Some(BadToken::KeySet))] {
        let (mut desk, id, audience) = desk(&at, "web.shop.test");
        let token = TestCluster::new(9).token(&claims(&audience, desk.now.seconds()));
        let outcome = outcome(&mut desk, id, &json!({ "token": token }), Seen { keys, answer: None });
        match expected {
            None => assert_eq!(outcome.0, "valid"),
            Some(why) => assert_refused(&outcome, why),
        }
    }
}

#[test]
fn a_token_of_one_account_is_nothing_in_anothers_hand() {
    let (mut first, id, audience) = desk(&json!({}), "web.shop.test");
    let token = json!({"token": TestCluster::new(9).token(&claims(&audience, first.now.seconds()))});
    let (mut second, theirs, _) = desk_of(7, &json!({}), "web.shop.test");
    assert_refused(&outcome(&mut second, theirs, &token, Seen::default()), BadToken::Audience);
    assert_eq!(outcome(&mut first, id, &token, Seen::default()).0, "valid");
    // Without the digest the token says nothing about the account: until it expires anybody who has it can present it.
    for seed in [1, 7] {
        let (mut desk, id, _) = desk_of(seed, &json!({"allow_unbound_audience": true}), "web.shop.test");
        let token = json!({"token": TestCluster::new(9).token(&claims(AUDIENCE, desk.now.seconds()))});
        assert_eq!(outcome(&mut desk, id, &token, Seen::default()).0, "valid");
    }
}

#[test]
fn a_review_must_confirm_the_token_its_audience_and_its_pod() {
    use Refusal::{ApiAnswer, NotAuthenticated, ReviewAudience, ReviewUser};
    type Change = fn(&mut Value);
    let extra = "authentication.kubernetes.io/pod-uid";
    assert!(review("x")["status"]["user"]["extra"][extra].is_array());
    let table: [(&str, Change, Option<Refusal>); 13] = [
        ("right", |_| {}, None),
        ("not authenticated", |answer| answer["status"] = json!({"user": {}}), Some(NotAuthenticated)),
        (
            "a deleted pod",
            |answer| {
                answer["status"] = json!({"user": {}, "error": "[invalid bearer token, pod has been invalidated]"})
            },
            Some(NotAuthenticated),
        ),
        ("false", |answer| answer["status"]["authenticated"] = json!(false), Some(NotAuthenticated)),
        ("an error besides", |answer| answer["status"]["error"] = json!("?"), Some(NotAuthenticated)),
        ("\"true\"", |answer| answer["status"]["authenticated"] = json!("true"), Some(NotAuthenticated)),
        (
            "no audiences",
            |answer| drop(answer["status"].as_object_mut().unwrap().remove("audiences")),
            Some(ReviewAudience),
        ),
        ("other audiences", |answer| answer["status"]["audiences"] = json!([AUDIENCE]), Some(ReviewAudience)),
        ("another user", |answer| answer["status"]["user"]["username"] = json!("admin"), Some(ReviewUser)),
        ("another account of the name", |answer| answer["status"]["user"]["uid"] = json!("u-old"), Some(ReviewUser)),
        (
            "another pod of the name",
            |answer| answer["status"]["user"]["extra"]["authentication.kubernetes.io/pod-uid"] = json!(["u-old"]),
            Some(ReviewUser),
        ),
        (
            "two pods",
            |answer| answer["status"]["user"]["extra"]["authentication.kubernetes.io/pod-name"] = json!(["web-0", "x"]),
            Some(ReviewUser),
        ),
        ("another kind", |answer| answer["kind"] = json!("Status"), Some(ApiAnswer)),
    ];
    for members in
        [json!({"api": api(), "token_review": true}), json!({"api": api(), "token_review": true, "keys": null})]
    {
        for (what, change, why) in &table {
            let (mut desk, id, audience) = desk(&members, "web.shop.test");
            let token = TestCluster::new(9).token(&claims(&audience, desk.now.seconds()));
            let mut answer = review(&audience);
            change(&mut answer);
            println!("{what}");
            let outcome = outcome(&mut desk, id, &json!({ "token": token }), answered(&answer));
            match why {
                None => assert_eq!(outcome.0, "valid", "{what}"),
                Some(why) => assert_refused(&outcome, *why),
            }
        }
    }
    // A review does not make up for a signature that the keys refuse.
    let (mut desk, id, audience) = desk(&json!({"api": api(), "token_review": true}), "web.shop.test");
    let token = TestCluster::new(8).token(&claims(&audience, desk.now.seconds()));
    let outcome = outcome(&mut desk, id, &json!({ "token": token }), answered(&review(&audience)));
    assert_refused(&outcome, BadToken::Signature);
}

#[test]
fn an_address_is_the_one_running_pod_that_has_it_for_itself() {
    type Change = fn(&mut Value);
    let table: [(&str, Change, Option<Refusal>); 10] = [
        ("right", |_| {}, None),
        ("nobody", |list| list["items"] = Value::Null, Some(Refusal::NoPod)),
        ("two", |list| list["items"] = json!([list["items"][0], list["items"][0]]), Some(Refusal::NoPod)),
        ("the node's", |list| list["items"][0]["spec"]["hostNetwork"] = json!(true), Some(Refusal::NoPod)),
        ("ended", |list| list["items"][0]["status"]["phase"] = json!("Succeeded"), Some(Refusal::NoPod)),
        (
            "ending",
            |list| list["items"][0]["metadata"]["deletionTimestamp"] = json!("2026-11-21T12:00:00Z"),
            Some(Refusal::NoPod),
        ),
        ("another address", |list| list["items"][0]["status"]["podIP"] = json!("10.1.2.4"), Some(Refusal::NoPod)),
        ("more to come", |list| list["metadata"]["continue"] = json!("x"), Some(Refusal::NoPod)),
        (
            "another workload",
            |list| list["items"][0]["spec"]["serviceAccountName"] = json!("db"),
            Some(Refusal::Token(BadToken::Name)),
        ),
        ("another kind", |list| list["kind"] = json!("Status"), Some(Refusal::ApiAnswer)),
    ];
    for (what, change, why) in table {
        let (mut desk, id, _) = desk(&json!({"api": api(), "pod_address": true}), "web.shop.test");
        let mut list = pods();
        change(&mut list);
        println!("{what}");
        let outcome = outcome(&mut desk, id, &json!({}), answered(&list));
        match why {
            None => assert_eq!(outcome.0, "valid", "{what}"),
            Some(why) => assert_refused(&outcome, why),
        }
    }
}

proptest! {
    /// Bytes of strangers in place of each part of a right token are refused, and nothing panics.
    #[test]
    fn hostile_tokens_prove_nothing(parts in ["[A-Za-z0-9_-]{0,200}", "[A-Za-z0-9_-]{0,200}", "[A-Za-z0-9_-]{0,90}"], which in 1_u8..8) {
        let (desk, _, audience) = desk(&json!({}), "web.shop.test");
        let token = TestCluster::new(9).token(&claims(&audience, desk.now.seconds()));
        let own: Vec<&str> = token.split('.').collect();
        let part = |index: usize| if which & (1 << index) == 0 { own[index] } else { parts[index].as_str() };
        let text = format!("{}.{}.{}", part(0), part(1), part(2));
        let digest = audience.rsplit('/').next().unwrap().to_owned();
        let presented = Presented { proof: Proof::Token(text.into()), digest: digest.clone() };
        let name = Identifier::Dns("web.shop.test".parse().unwrap());
        let clusters = &desk.config.scopes.open.kubernetes;
        let judged = judgement::question(clusters, &presented, &digest, desk.now)
            .and_then(|question| judgement::judge(&question, &Seen::default(), &name, false));
        prop_assert!(judged.is_err());
    }
}
