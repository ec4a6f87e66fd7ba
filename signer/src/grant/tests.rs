//! Tokens: who made them, whose they are, how long, and whether the binding lives.

use shared::{base64url, testing::TestKey};

use super::*;
use crate::{bindings::MacKey, policy::tests::bound_policy};

fn keys(seeds: &[u8]) -> GrantKeys {
    GrantKeys(seeds.iter().map(|seed| Zeroizing::new(vec![*seed; KEY_MIN_BYTES])).collect())
}

fn account(seed: u8) -> Thumbprint {
    TestKey::new(seed).jwk().thumbprint()
}

fn now() -> Timestamp {
    Timestamp::from_seconds(1_000_000)
}

fn binding() -> Binding {
    Binding {
        kid: "team".into(),
        key: MacKey::new(&[7; 32]),
        scope: "closed".into(),
        uses: None,
        created: now(),
        expires: None,
        revoked: None,
    }
}

fn bindings(change: impl FnOnce(&mut Binding)) -> Bindings {
    let (mut bindings, mut binding) = (Bindings::default(), binding());
    change(&mut binding);
    bindings.add(binding).unwrap();
    bindings
}

fn token(seeds: &[u8]) -> GrantToken {
    keys(seeds).seal(&Granted::new(account(1), &binding(), now(), 100)).unwrap()
}

fn judge(
    token: &GrantToken,
    seeds: &[u8],
    by: u8,
    bindings: &Bindings,
    now: Timestamp,
) -> Result<Option<String>, Refusal> {
    let policy = bound_policy(keys(seeds));
    let rights = Rights::of(&Grant::Bound(token.clone()), account(by), &policy, bindings, now);
    rights.map(|rights| rights.binding().map(ToOwned::to_owned)).map_err(|refused| refused.reason)
}

#[test]
fn a_grant_is_good_for_its_account_until_it_expires() {
    let (token, bindings) = (token(&[1]), bindings(|_| {}));
    assert_eq!(judge(&token, &[1], 1, &bindings, now()), Ok(Some("team".into())));
    assert_eq!(judge(&token, &[1], 1, &bindings, now().plus(99)), Ok(Some("team".into())));
    assert_eq!(judge(&token, &[1], 1, &bindings, now().plus(100)), Err(Refusal::GrantExpired));
    assert_eq!(judge(&token, &[1], 2, &bindings, now()), Err(Refusal::BadGrant));
}

#[test]
fn keys_overlap_while_they_are_exchanged() {
    let (old, bindings) = (token(&[1]), bindings(|_| {}));
    assert!(judge(&old, &[2, 1], 1, &bindings, now()).is_ok());
    assert_eq!(judge(&old, &[2], 1, &bindings, now()), Err(Refusal::BadGrant));
    assert!(judge(&token(&[2, 1]), &[2], 1, &bindings, now()).is_ok(), "the first one makes them");
}

#[test]
fn every_changed_byte_of_a_token_makes_it_worthless() {
    let (GrantToken(text), bindings) = (token(&[1]), bindings(|_| {}));
    for index in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        let forged = GrantToken(String::from_utf8(bytes).unwrap());
        assert_eq!(judge(&forged, &[1], 1, &bindings, now()), Err(Refusal::BadGrant), "{index}");
    }
    for text in ["", ".", "e30.", &text.replace('.', ""), &format!("{text}.")] {
        assert_eq!(judge(&GrantToken(text.to_owned()), &[1], 1, &bindings, now()), Err(Refusal::BadGrant), "{text}");
    }
}

/// A MAC over the content alone, without what says that it is a grant, is another one.
#[test]
fn a_mac_that_was_made_for_something_else_is_no_grant() {
    let content = base64url::encode(&serde_json::to_vec(&Granted::new(account(1), &binding(), now(), 100)).unwrap());
    let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&[1; 32]).unwrap().chain_update(&content);
    let token = GrantToken(format!("{content}.{}", base64url::encode(&mac.finalize().into_bytes())));
    assert_eq!(judge(&token, &[1], 1, &bindings(|_| {}), now()), Err(Refusal::BadGrant));
}

#[test]
fn a_grant_ends_with_its_binding() {
    let token = token(&[1]);
    let revoked = bindings(|binding| binding.revoked = Some(now()));
    let expired = bindings(|binding| binding.expires = Some(now()));
    let other = bindings(|binding| binding.scope = "open".into());
    assert_eq!(judge(&token, &[1], 1, &revoked, now()), Err(Refusal::UnknownBinding));
    assert_eq!(judge(&token, &[1], 1, &expired, now()), Err(Refusal::UnknownBinding));
    assert_eq!(judge(&token, &[1], 1, &other, now()), Err(Refusal::BadGrant));
}

/// One signer has made the grant; the file of bindings is copied to the next one by something slow.
#[test]
fn a_binding_that_has_not_come_yet_is_waited_for_but_not_for_ever() {
    let (token, none) = (token(&[1]), Bindings::default());
    assert_eq!(judge(&token, &[1], 1, &none, now()), Err(Refusal::Unavailable));
    assert_eq!(judge(&token, &[1], 2, &none, now()), Err(Refusal::BadGrant));
    let binding = binding();
    let long = Granted::new(account(1), &binding, now(), 1000);
    let long = keys(&[1]).seal(&long).unwrap();
    assert_eq!(judge(&long, &[1], 1, &none, now().plus(299)), Err(Refusal::Unavailable));
    assert_eq!(judge(&long, &[1], 1, &none, now().plus(300)), Err(Refusal::UnknownBinding));
}

#[test]
fn a_grant_lives_no_longer_than_its_binding_and_is_renewed_at_half_of_its_life() {
    let mut binding = binding();
    assert_eq!(Granted::new(account(1), &binding, now(), 100).renew_after(), now().plus(50));
    binding.expires = Some(now().plus(10));
    let granted = Granted::new(account(1), &binding, now(), 100);
    assert_eq!((granted.expires(), granted.renew_after()), (now().plus(10), now().plus(5)));
}

#[test]
fn a_key_that_is_too_short_is_refused_and_none_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        files::replace(&path, text.as_bytes()).unwrap();
        path
    };
    let (good, short) = (write("good", &"k".repeat(32)), write("short", &"k".repeat(31)));
    let read = |files: &[&Path]| GrantKeys::read(files.iter().copied());
    assert_eq!(format!("{:?}", read(&[&good]).unwrap()), "GrantKeys(1 keys)");
    assert!(read(&[&good, &short]).is_err());
    assert!(read(&[]).is_err());
}
