//! kubernetes-01 on the real stack: keys that are fetched, TokenReview, pods by their addresses, and the signer that looks at the
//! tokens again. The clusters are stand-ins; no real one was available.

use std::{fs, sync::OnceLock};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use shared::base64url;
use tests::{
    account::{Account, Order, challenge},
    client::Client,
    key::AccountKey,
    openssl,
    stack::{Options, Stack},
};

use crate::cluster::{Cluster, KEY_ID};

const AUDIENCE: &str = "acme.test";
const JWKS: &str = "/openid/v1/jwks";
const REVIEW: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// A stack that knows two clusters.
struct World {
    stack: Stack,
    client: Client,
    /// Its tokens are checked under its keys alone, which are RSA; only bound audiences. The signer knows it too.
    keys: Cluster,
    /// Its API server is asked about tokens and pods; its tokens may have the plain audience. The signer does not know it.
    review: Cluster,
}

fn world() -> &'static World {
    static WORLD: OnceLock<Result<World, String>> = OnceLock::new();
    let world = WORLD.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    world.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

fn start() -> Result<World> {
    let (keys, review) = (Cluster::start(AccountKey::rs256()?)?, Cluster::start(AccountKey::es256())?);
    let clusters = json!({
        "keys": {
            "issuer": keys.url, "audience": AUDIENCE, "keys": {"url": format!("{}{JWKS}", keys.url)},
            "names": ["{serviceaccount}.{namespace}.{cluster}.test"],
        },
        "review": {
            "issuer": review.url, "audience": AUDIENCE, "allow_unbound_audience": true, "api": {"url": review.url},
            "token_review": true, "pod_address": true, "names": ["{serviceaccount}.{namespace}.{cluster}.test"],
        },
    });
    let known = json!([{
        "name": "keys", "issuer": keys.url, "audience": AUDIENCE, "keys": keys.key_set().to_string(),
        "names": ["{serviceaccount}.{namespace}.{cluster}.test"],
    }]);
    let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), "kubernetes")?
        .set("rate_limits", &json!({"client_address_header": "CF-Connecting-IP", "client_address_set_by_proxy": true}))
        .set("kubernetes", &clusters)
        .with(["--clusters", &known.to_string()]);
    let stack = Stack::up(options)?;
    review.trust(&fs::read_to_string(stack.report.state.join("secrets/kubernetes"))?);
    let client = Client::of(&stack.report)?;
    Ok(World { stack, client, keys, review })
}

/// A kubernetes-01 challenge of a fresh account's order.
struct Asked {
    account: Account,
    order: Order,
    authorization: String,
    url: String,
    /// The audience that is bound to it.
    audience: String,
}

impl Asked {
    fn of(client: &Client, name: &str) -> Result<Self> {
        let account = Account::new(client)?;
        let order = account.order(&[name])?;
        let authorization = order.authorizations()?.pop().context("an authorization")?;
        let object = account.read(&authorization)?.expect(200)?.json()?;
        let asked = challenge(&object, "kubernetes-01")?;
        let text = |key: &str| asked[key].as_str().map(str::to_owned).with_context(|| format!("{key}: {asked}"));
        let key_authorization = format!("{}.{}", text("token")?, account.key.thumbprint()?);
        let audience = format!("{AUDIENCE}/{}", base64url::encode(&Sha256::digest(key_authorization)));
        Ok(Self { url: text("url")?, account, order, authorization, audience })
    }

    /// Answers, and must come to this end: proved, or a part of the problem's words.
    fn ends(&self, payload: &Value, expected: Result<(), &str>) -> Result<()> {
        self.account.post(&self.url, payload)?.expect(200)?;
        // An error when it became invalid.
        let _ = self.account.wait(&self.authorization, "valid");
        let object = self.account.read(&self.url)?.expect(200)?.json()?;
        let (status, words) = expected.map_or_else(|words| ("invalid", words), |()| ("valid", ""));
        let detail = object["error"]["detail"].as_str().unwrap_or_default();
        ensure!(object["status"] == status && detail.contains(words), "{status} {words:?} was expected: {object}");
        Ok(())
    }

    fn presents(&self, token: &str, expected: Result<(), &str>) -> Result<()> {
        self.ends(&json!({ "token": token }), expected)?;
        let log = world().stack.log("edge")?;
        ensure!(!log.contains(token), "the log has a token");
        Ok(())
    }
}

#[test]
fn a_token_under_the_clusters_keys_gets_a_certificate_for_its_own_account_alone() -> Result<()> {
    let World { client, keys, review, stack } = world();
    let name = "web.shop.keys.test";
    let first = Asked::of(client, name)?;
    let token = keys.token("web-0", &first.audience, 600, &json!({}))?;

    let thief = Asked::of(client, name)?;
    thief.presents(&token, Err("audience"))?;
    assert_eq!(keys.asked(JWKS), 0, "nothing is fetched for a token of somebody else");

    first.presents(&token, Ok(()))?;
    first.account.post(&first.order.finalize()?, &Account::finalize_payload(&[name])?)?.expect(200)?;
    openssl::verify(&stack.report.root, &first.account.certificate(&first.order)?, name)?;

    let asked = || Asked::of(client, name);
    let second = asked()?;
    second.presents(&keys.token("web-0", &second.audience, 600, &json!({}))?, Ok(()))?;
    assert_eq!(keys.asked(JWKS), 1, "keys are kept for some minutes");

    let refused = asked()?;
    refused.presents(&keys.token("web-0", AUDIENCE, 600, &json!({}))?, Err("audience"))?;
    let refused = asked()?;
    refused.presents(&keys.token("web-0", &refused.audience, -60, &json!({}))?, Err("has expired"))?;
    let refused = asked()?;
    refused.presents(&keys.token("web-0", &refused.audience, 7200, &json!({}))?, Err("lives longer"))?;
    let refused = asked()?;
    let other = json!({"sub": "system:serviceaccount:evil:web", "kubernetes.io": {
        "namespace": "evil", "pod": {"name": "a", "uid": "a"}, "serviceaccount": {"name": "web", "uid": "a"},
    }});
    refused.presents(&keys.token("web-0", &refused.audience, 600, &other)?, Err("no name template"))?;
    // A token that says to be of this cluster, signed by the other one; and one of a cluster that nobody knows.
    let refused = asked()?;
    let forged = review.token("web-0", &refused.audience, 600, &json!({"iss": keys.url}))?;
    refused.presents(&forged, Err("signature does not verify"))?;
    let refused = asked()?;
    let unknown = keys.token("web-0", &refused.audience, 600, &json!({"iss": "https://nobody.test"}))?;
    refused.presents(&unknown, Err("no cluster that is known"))?;
    // The other cluster's workloads do not get this one's names.
    let refused = asked()?;
    refused.presents(&review.token("web-0", &refused.audience, 600, &json!({}))?, Err("no name template"))
}

#[test]
fn the_api_server_has_the_last_word_where_it_is_asked() -> Result<()> {
    let World { client, review, .. } = world();
    let asked = || Asked::of(client, "web.shop.review.test");
    let right = asked()?;
    right.presents(&review.token("web-1", &right.audience, 600, &json!({}))?, Ok(()))?;
    let before = review.asked(REVIEW);
    assert!(before > 0);

    // The plain audience is allowed here, and so a second account can present the same token: as the document says.
    let plain = review.token("web-1", AUDIENCE, 600, &json!({}))?;
    asked()?.presents(&plain, Ok(()))?;
    asked()?.presents(&plain, Ok(()))?;

    let deleted = asked()?;
    let token = review.token("web-2", &deleted.audience, 600, &json!({}))?;
    review.delete_pod("uid-web-2");
    deleted.presents(&token, Err("does not authenticate"))?;

    let forged = asked()?;
    let claims = token.split('.').nth(1).context("claims")?;
    let mut claims: Value = serde_json::from_slice(&base64url::decode(claims)?)?;
    claims["aud"] = json!([forged.audience]);
    forged.presents(&review.sign(&AccountKey::es256(), KEY_ID, &claims)?, Err("does not authenticate"))
}

#[test]
fn a_signer_takes_no_edges_word_for_a_cluster_that_it_does_not_know() -> Result<()> {
    let World { client, review, stack, .. } = world();
    let name = "web.shop.review.test";
    let asked = Asked::of(client, name)?;
    let token = review.token("web-1", &asked.audience, 600, &json!({}))?;
    asked.presents(&token, Ok(()))?;
    asked.account.post(&asked.order.finalize()?, &Account::finalize_payload(&[name])?)?.expect(200)?;
    // An error when it became invalid.
    let _ = asked.account.wait(&asked.order.url, "valid");
    let order = asked.account.read(&asked.order.url)?.expect(200)?.json()?;
    assert_eq!(
        (&order["status"], order["error"]["type"].as_str()),
        (&json!("invalid"), Some("urn:ietf:params:acme:error:unauthorized")),
        "{order}"
    );
    let log = stack.log("signer-1")?;
    assert!(
        log.contains("no cluster that is known here") && !log.contains(&token),
        "the operator is told why, without the token"
    );
    Ok(())
}

#[test]
fn a_pod_is_known_by_its_address_where_the_operator_trusts_addresses() -> Result<()> {
    let World { client, review, .. } = world();
    review.run_pod("web-3", "10.1.2.3");
    let asked = |address: &str| Asked::of(&client.from_address(address), "web.shop.review.test");
    asked("10.1.2.3")?.ends(&json!({}), Ok(()))?;
    asked("10.1.2.4")?.ends(&json!({}), Err("not that of exactly one running pod"))?;
    review.run_pod("web-4", "10.1.2.5");
    review.run_pod("web-5", "10.1.2.5");
    asked("10.1.2.5")?.ends(&json!({}), Err("not that of exactly one running pod"))?;
    // A request whose address nobody told is nobody's.
    let unknown = Asked::of(client, "web.shop.review.test")?;
    assert_eq!(unknown.account.post(&unknown.url, &json!({}))?.expect(400)?.problem()?, "malformed");
    Ok(())
}

#[test]
fn a_broken_api_server_proves_nothing_and_the_client_is_told_no_more() -> Result<()> {
    let cluster = Cluster::start(AccountKey::es256())?;
    let clusters = json!({"broken": {
        "issuer": cluster.url, "audience": AUDIENCE, "api": {"url": cluster.url}, "token_review": true,
        "names": ["{serviceaccount}.{namespace}.test"],
    }});
    let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), "kubernetes-broken")?.set("kubernetes", &clusters);
    let stack = Stack::up(options)?;
    let client = Client::of(&stack.report)?;
    let ends = |expected| -> Result<()> {
        let asked = Asked::of(&client, "web.shop.test")?;
        asked.ends(&json!({"token": cluster.token("web-0", &asked.audience, 600, &json!({}))?}), expected)
    };
    // It does not know the edge's bearer token, then it fails, then it works.
    ends(Err("the cluster cannot be asked"))?;
    cluster.trust(&fs::read_to_string(stack.report.state.join("secrets/kubernetes"))?);
    cluster.set_broken(true);
    ends(Err("the cluster cannot be asked"))?;
    cluster.set_broken(false);
    ends(Ok(()))?;
    let log = stack.log("edge")?;
    for words in ["tokenreviews: status 401", "tokenreviews: status 500"] {
        assert!(log.contains(words), "the operator is not told {words:?}");
    }
    Ok(())
}
