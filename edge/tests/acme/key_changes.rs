//! Key rollover between two objects (RFC 8555 §7.3.5).

use edge::acme::{
    entropy::Entropy,
    key_change::{KeyChange, Reservation, reserve},
    nonce::Nonce,
    problem::Problem,
    rate_limit,
    route::{AccountId, Resource, Route},
    step::{Context, Reply},
    storage::{Memory, Rows, Storage},
};
use serde_json::{Value, json};
use shared::{jws::Unverified, testing::TestKey};

use crate::desk::Desk;

/// The inner JWS as a right client makes it, with one thing changed.
fn inner(desk: &Desk, new_key: &TestKey, change: impl FnOnce(&mut Value, &mut Value)) -> Value {
    let mut header = json!({"url": desk.urls.of(Route::KeyChange)});
    let mut payload = json!({"account": desk.url(Resource::Account), "oldKey": desk.account_key.jwk()});
    change(&mut header, &mut payload);
    new_key.sign_jws_with_jwk(&header, payload.to_string().as_bytes())
}

/// Both objects' parts of a rollover, in the order of the platform's code.
fn roll(desk: &mut Desk, inner: &Value, new_home: &mut Memory) -> Result<Reply, Problem> {
    let body = desk.sign(Route::KeyChange, inner.to_string().as_bytes());
    let request = Unverified::parse(&body)?;
    let verified = request.verify(&desk.account_key.jwk())?;
    let nonce = verified.header().nonce.as_deref().unwrap();
    let Ok(Nonce::Account(nonce)) = desk.secrets.parse(nonce, Some(desk.account()), desk.now) else { panic!() };
    let redeemed = desk.window.redeem(nonce).unwrap();
    let entropy = Entropy::new([0; 32]);
    let context = |account| Context {
        config: &desk.config,
        scope: &desk.config.scopes.open,
        urls: &desk.urls,
        account,
        now: desk.now,
        entropy: &entropy,
        client: None,
        outlook: None,
        proved: &desk.proved,
    };
    let home = desk.account();
    let change = KeyChange::check(&desk.rows, verified, redeemed, &context(home))?;
    let (reservation, changes) = reserve(new_home, home, &context(change.new_home()))?;
    new_home.commit(&changes)?;
    let step = change.commit(&desk.rows, reservation, None, &context(home))?;
    desk.rows.commit(&step.changes)?;
    Ok(step.reply)
}

#[test]
fn the_account_keeps_its_place_and_gets_the_new_key() {
    let mut desk = Desk::new();
    desk.new_account();
    let home = desk.account();
    let new_key = TestKey::new(5);
    let inner = inner(&desk, &new_key, |_, _| {});
    let reply = roll(&mut desk, &inner, &mut Memory::default()).unwrap();
    assert_eq!(reply.status, 200);

    let account = Route::Of(home, Resource::Account);
    let nonce = desk.window.mint(&desk.secrets, home);
    let header =
        json!({"url": desk.urls.of(account), "nonce": nonce, "kid": desk.urls.resource(home, Resource::Account)});
    let new = new_key.sign_jws(&header, b"").to_string();
    assert!(desk.handle(account, new.as_bytes()).is_ok());
    let old = desk.sign(account, b"");
    assert!(matches!(desk.handle(account, &old), Err(Problem::Jws(_))), "the old key opens nothing");
    assert!(
        matches!(desk.post(Route::NewAccount, &json!({})), Err(Problem::Unauthorized(_))),
        "nor does it make a new one"
    );
    assert!(
        matches!(desk.post(Route::NewAccount, &json!({"onlyReturnExisting": true})), Err(Problem::AccountDoesNotExist)),
        "nor does it find one"
    );
}

#[test]
fn what_the_rules_of_the_two_signatures_forbid_is_refused() {
    type Change = fn(&mut Value, &mut Value);
    let table: [(&str, Change); 6] = [
        ("another url", |header, _| header["url"] = json!("https://ca.test/acme/new-order")),
        ("a nonce inside", |header, _| header["nonce"] = json!("AAAA")),
        ("another account", |_, payload| payload["account"] = json!("https://ca.test/acme/account/x")),
        ("another old key", |_, payload| payload["oldKey"] = json!(TestKey::new(9).jwk())),
        ("no old key", |_, payload| drop(payload.as_object_mut().unwrap().remove("oldKey"))),
        ("no account", |_, payload| drop(payload.as_object_mut().unwrap().remove("account"))),
    ];
    for (what, change) in table {
        let mut desk = Desk::new();
        desk.new_account();
        let inner = inner(&desk, &TestKey::new(5), change);
        let mut new_home = Memory::default();
        assert!(roll(&mut desk, &inner, &mut new_home).is_err(), "{what}");
        assert_eq!(new_home.commits, 0, "{what}: nothing was reserved");
    }
}

#[test]
fn an_inner_jws_that_the_new_key_did_not_sign_is_refused() {
    let mut desk = Desk::new();
    desk.new_account();
    let mut inner = inner(&desk, &TestKey::new(5), |_, _| {});
    inner["signature"] = json!(shared::base64url::encode(&[1; 64]));
    assert!(matches!(roll(&mut desk, &inner, &mut Memory::default()), Err(Problem::Jws(_))));
}

#[test]
fn the_same_key_again_is_refused() {
    let mut desk = Desk::new();
    desk.new_account();
    let key = TestKey::new(1);
    let inner = inner(&desk, &key, |_, _| {});
    assert!(matches!(roll(&mut desk, &inner, &mut Memory::default()), Err(Problem::Payload(_))));
}

#[test]
fn a_key_in_use_is_a_conflict_that_names_the_account() {
    let mut other = Desk::new();
    other.account_key = TestKey::new(5);
    other.new_account();
    let mut desk = Desk::new();
    desk.new_account();
    let inner = inner(&desk, &TestKey::new(5), |_, _| {});
    let problem = roll(&mut desk, &inner, &mut other.rows).unwrap_err();
    assert_eq!(problem.status(), 409);
    assert_eq!(problem.location(), Some(other.url(Resource::Account).as_str()));
}

#[test]
fn a_reservation_is_the_homes_alone_and_may_be_asked_for_again() {
    let desk = Desk::new();
    let entropy = Entropy::new([0; 32]);
    let context = Context {
        config: &desk.config,
        scope: &desk.config.scopes.open,
        urls: &desk.urls,
        account: desk.account(),
        now: desk.now,
        entropy: &entropy,
        client: None,
        outlook: None,
        proved: &desk.proved,
    };
    let mut rows = Memory::default();
    let (one, two) = (AccountId(TestKey::new(6).jwk().thumbprint()), AccountId(TestKey::new(7).jwk().thumbprint()));
    let (reservation, changes) = reserve(&rows, one, &context).unwrap();
    assert_eq!(reservation, Reservation::Reserved);
    rows.commit(&changes).unwrap();
    assert_eq!(reserve(&rows, one, &context).unwrap(), (Reservation::Reserved, vec![]));
    assert_eq!(reserve(&rows, two, &context).unwrap(), (Reservation::Held(one), vec![]));
    assert!(rows.next_due().unwrap().is_none());
}

#[test]
fn key_changes_of_an_account_are_limited() {
    let mut desk = Desk::new();
    desk.new_account();
    let take = |desk: &mut Desk| {
        let entropy = Entropy::new([0; 32]);
        let change = rate_limit::key_change(&desk.rows, &desk.context(&entropy));
        change.map(|change| desk.rows.commit(&[change]).unwrap())
    };
    for number in 0..10 {
        assert!(take(&mut desk).is_ok(), "{number}");
    }
    assert!(matches!(take(&mut desk), Err(Problem::RateLimited("key changes of this account", 8640))));
    desk.now = desk.now.plus(8640);
    assert!(take(&mut desk).is_ok() && take(&mut desk).is_err());
}
