//! The two servers, and what of an answer is compared.

use std::sync::OnceLock;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tests::{
    account::{Account, Order, challenge},
    client::{Client, Reply},
    key::AccountKey,
    named::Named,
    pebble::{Pebble, Surroundings},
    responder::Responder,
    stack::{Options, Stack, free_port},
};

/// One of the two, with what answers its challenges.
pub(crate) struct Side {
    pub(crate) client: Client,
    pub(crate) directory: String,
    pub(crate) responder: Responder,
    /// Ends with this value.
    _server: Server,
}

enum Server {
    Colophon { _stack: Box<Stack> },
    Pebble { _process: Pebble, _named: Named },
}

/// Both: Colophon first.
pub(crate) fn sides() -> &'static (Side, Side) {
    static SIDES: OnceLock<Result<(Side, Side), String>> = OnceLock::new();
    let start = || -> Result<(Side, Side)> {
        let responder = Responder::start()?;
        let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), "differential")?.http_port(responder.port);
        // Pebble demands agreement to its terms.
        let terms = r#"terms_of_service="https://ca.test/terms""#;
        let stack = Stack::up(options.with(["--set", terms]))?;
        let ours = Side {
            client: Client::of(&stack.report)?,
            directory: stack.report.directory.clone(),
            responder,
            _server: Server::Colophon { _stack: Box::new(stack) },
        };
        let (responder, named) = (Responder::start()?, Named::start(env!("CARGO_TARGET_TMPDIR"))?);
        let surroundings = Surroundings {
            dns_server: &format!("127.0.0.1:{}", named.port),
            http_port: responder.port,
            tls_alpn_port: free_port()?,
        };
        let pebble = Pebble::start(env!("CARGO_TARGET_TMPDIR"), &surroundings)?;
        let theirs = Side {
            client: Client::at(&pebble.directory, &pebble.ca)?,
            directory: pebble.directory.clone(),
            responder,
            _server: Server::Pebble { _process: pebble, _named: named },
        };
        Ok((ours, theirs))
    };
    let sides = SIDES.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    sides.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

impl Side {
    /// A fresh account.
    pub(crate) fn account(&self) -> Result<Account> {
        Account::new(&self.client)
    }

    /// A fresh account with an order of this name that is ready.
    pub(crate) fn ready(&self, name: &str) -> Result<(Account, Order)> {
        let account = self.account()?;
        let order = account.ready_order(&[name], &self.responder)?;
        Ok((account, order))
    }

    /// A fresh account with a certificate of this name: its order as it is then, and its chain.
    pub(crate) fn issued(&self, name: &str) -> Result<(Account, Order, String)> {
        let account = self.account()?;
        let (order, chain) = account.issue(&[name], &self.responder)?;
        let object = account.read(&order.url)?.expect(200)?.json()?;
        Ok((account, Order { object, ..order }, chain))
    }
}

/// The protected header of a right request of this account.
pub(crate) fn header(account: &Account, url: &str) -> Result<Value> {
    Ok(json!({"alg": account.key.algorithm(), "url": url, "nonce": account.client.nonce()?, "kid": account.url}))
}

/// A request of this account with this header, by this key.
pub(crate) fn by(account: &Account, key: &AccountKey, url: &str, header: &Value, payload: &[u8]) -> Result<Reply> {
    account.client.post(url, key.sign(header, payload)?.to_string().as_bytes())
}

/// A right request.
pub(crate) fn send(account: &Account, url: &str, payload: &[u8]) -> Result<Reply> {
    by(account, &account.key, url, &header(account, url)?, payload)
}

/// A right request with this payload, reduced.
pub(crate) fn post(account: &Account, url: &str, payload: &Value) -> Result<String> {
    send(account, url, payload.to_string().as_bytes()).map(|reply| reduced(&reply))
}

/// A resource's status as it is now.
pub(crate) fn status(account: &Account, url: &str) -> Result<String> {
    let reply = send(account, url, b"")?;
    let object = reply.json().unwrap_or_default();
    Ok(object["status"].as_str().map_or_else(|| reduced(&reply), str::to_owned))
}

/// A right POST-as-GET, reduced.
pub(crate) fn read(account: &Account, url: &str) -> Result<String> {
    send(account, url, b"").map(|reply| reduced(&reply))
}

/// What a client acts on: status, problem type or the object's status, where it is led to, and whether it can go on.
pub(crate) fn reduced(reply: &Reply) -> String {
    let mut text = reply.status.to_string();
    let object = reply.json().unwrap_or_default();
    if reply.media_type() == Some("application/problem+json") {
        let kind = object["type"].as_str().unwrap_or_default();
        text += &format!(" {}", kind.rsplit(':').next().unwrap_or_default());
        let about = object["subproblems"].as_array().map_or(0, Vec::len);
        if about > 1 {
            text += &format!(" about {about}");
        }
    } else if let Some(status) = object["status"].as_str() {
        text += &format!(" {status}");
    }
    if reply.header("location").is_some() {
        text += " +Location";
    }
    if reply.header("retry-after").is_some() && reply.status >= 400 {
        text += " +Retry-After";
    }
    if reply.nonce().is_err() {
        text += " without a nonce";
    }
    text
}

/// The authorization of an order's first identifier, and its http-01 challenge: URL and object, URL and token.
pub(crate) fn first(account: &Account, order: &Order) -> Result<(String, Value, String, String)> {
    let authorization = order.authorizations()?.first().context("an authorization")?.clone();
    let object = account.read(&authorization)?.expect(200)?.json()?;
    let http = challenge(&object, "http-01")?;
    let text = |member: &str| http[member].as_str().map(str::to_owned).with_context(|| format!("no {member}"));
    let (url, token) = (text("url")?, text("token")?);
    Ok((authorization, object, url, token))
}

/// The names of an object's members.
pub(crate) fn members(object: &Value) -> String {
    let mut names: Vec<_> = object.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.join(" ")
}
