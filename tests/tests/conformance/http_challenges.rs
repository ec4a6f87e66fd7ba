//! http-01 (RFC 8555 §8.1, §8.3).

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tests::account::Account;

use crate::{
    ask::{account, authorization, challenge},
    world::world,
};

/// A challenge of a fresh authorization, before it is answered.
struct Asked {
    account: Account,
    authorization: String,
    url: String,
    token: String,
}

impl Asked {
    fn of(name: &str) -> Result<Self> {
        let account = account()?;
        let order = account.order(&[name])?;
        let (authorization, object) = authorization(&account, &order)?;
        let (url, token) = challenge(&object, "http-01")?;
        Ok(Self { account, authorization, url, token })
    }

    fn key_authorization(&self) -> Result<String> {
        Ok(format!("{}.{}", self.token, self.account.key.thumbprint()?))
    }

    /// Answers, and gives the authorization when it is settled.
    fn settle(&self) -> Result<Value> {
        self.account.post(&self.url, &json!({}))?.expect(200)?;
        // An error when it became invalid.
        let _ = self.account.wait(&self.authorization, "valid");
        self.account.read(&self.authorization)?.expect(200)?.json()
    }
}

/// RFC 8555 §8.3 says: a GET of `/.well-known/acme-challenge/` and the token, at the name itself, finds the key authorization.
/// RFC 8555 §8.3 SHOULD: white space at the end of the body is ignored.
#[test]
fn http_01_asks_the_name_for_the_token_and_bears_white_space_behind() -> Result<()> {
    let asked = Asked::of("plain.http.test")?;
    world().responder.put(&asked.token, format!("{} \t\r\n", asked.key_authorization()?));
    assert_eq!(asked.settle()?["status"], "valid");
    let heads = world().responder.asked(&asked.token);
    let head = heads.first().context("a request")?;
    assert!(head.starts_with(&format!("GET /.well-known/acme-challenge/{} HTTP/1.1\n", asked.token)), "{head}");
    let host =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("host:").map(|host| host.trim().to_owned()));
    let host = host.context("Host")?;
    assert_eq!(host.split(':').next(), Some("plain.http.test"), "{head}");
    Ok(())
}

/// RFC 8555 §8.3 MUST: what is found is the key authorization, and nothing else counts.
/// RFC 8555 §8.1 says: a key authorization is the token, a dot, and the thumbprint of the account's key.
#[test]
fn http_01_is_not_proved_by_anything_else() -> Result<()> {
    for wrong in 0..7 {
        let asked = Asked::of(&format!("wrong-{wrong}.http.test"))?;
        let right = asked.key_authorization()?;
        let responder = &world().responder;
        let path = format!("/.well-known/acme-challenge/{}", asked.token);
        match wrong {
            0 => responder.put(&asked.token, asked.token.clone()),
            1 => responder.put(&asked.token, format!("{}.{}", asked.token, account()?.key.thumbprint()?)),
            2 => responder.put(&asked.token, format!(" {right}")),
            3 => responder.put(&asked.token, format!("{right}x")),
            4 => responder.put(&asked.token, right.replacen('.', "\n", 1)),
            5 => responder.answer(&path, "404 Not Found", right),
            _ => responder.put(&asked.token, String::new()),
        }
        assert_eq!(asked.settle()?["status"], "invalid", "{wrong}");
    }
    Ok(())
}

/// RFC 8555 §8.3 SHOULD: redirects are followed.
#[test]
fn http_01_follows_redirects() -> Result<()> {
    let asked = Asked::of("redirected.http.test")?;
    let (responder, port) = (&world().responder, world().responder.port);
    let path = format!("/.well-known/acme-challenge/{}", asked.token);
    let elsewhere = format!("http://elsewhere.http.test:{port}/answers/{}", asked.token);
    responder.answer(&path, &format!("302 Found\nLocation: {elsewhere}"), String::new());
    let relative = format!("307 Temporary Redirect\nLocation: /second/{}", asked.token);
    responder.answer(&format!("/answers/{}", asked.token), &relative, String::new());
    responder.answer(&format!("/second/{}", asked.token), "200 OK", asked.key_authorization()?);
    assert_eq!(asked.settle()?["status"], "valid");
    Ok(())
}

/// RFC 8555 §10.2 says: a redirect that has no end, or leads where http-01 must not look, ends in an error.
#[test]
fn http_01_does_not_follow_redirects_for_ever_or_anywhere() -> Result<()> {
    let port = world().responder.port;
    for (index, target) in
        ["/.well-known/acme-challenge/TOKEN", "http://127.0.0.1:PORT/x", "ftp://x.http.test/", "http://:PORT/"]
            .iter()
            .enumerate()
    {
        let asked = Asked::of(&format!("loop-{index}.http.test"))?;
        let target = target.replace("TOKEN", &asked.token).replace("PORT", &port.to_string());
        let path = format!("/.well-known/acme-challenge/{}", asked.token);
        world().responder.answer(&path, &format!("302 Found\nLocation: {target}"), String::new());
        assert_eq!(asked.settle()?["status"], "invalid", "{target}");
        assert!(world().responder.asked(&asked.token).len() <= 20, "{target}");
    }
    Ok(())
}

/// RFC 8555 §8.2 says: an answer that was given once is not asked for again when it is sent again.
#[test]
fn a_challenge_that_is_settled_is_not_looked_at_again() -> Result<()> {
    let asked = Asked::of("again.http.test")?;
    world().responder.put(&asked.token, asked.key_authorization()?);
    assert_eq!(asked.settle()?["status"], "valid");
    let before = world().responder.asked(&asked.token).len();
    for _ in 0..3 {
        let again = asked.account.post(&asked.url, &json!({}))?.expect(200)?.json()?;
        assert_eq!(again["status"], "valid");
    }
    assert_eq!(world().responder.asked(&asked.token).len(), before);
    Ok(())
}
