//! An ACME client without opinions: it says what it is told to say, once, and keeps the nonce of each answer for the next request.

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use shared::base64url;

use crate::{
    client::{Client, Reply},
    key::AccountKey,
    openssl,
    responder::Responder,
    subject,
};

/// How long things that need several parts may take.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);

/// An account, and the nonce that its next request uses.
#[derive(Debug)]
pub struct Account {
    /// How it speaks.
    pub client: Client,
    /// Its key.
    pub key: AccountKey,
    /// Its URL: the `kid` of its requests.
    pub url: String,
    nonce: Mutex<Option<String>>,
}

/// An order, and what it said when it was made.
#[derive(Clone, Debug)]
pub struct Order {
    /// Its URL.
    pub url: String,
    /// The order object (RFC 8555 §7.1.3).
    pub object: Value,
}

impl Account {
    /// Makes an account with a fresh ES256 key.
    ///
    /// # Errors
    /// When it is refused.
    pub fn new(client: &Client) -> Result<Self> {
        Self::with_key(client, AccountKey::es256())
    }

    /// Makes an account of this key (RFC 8555 §7.3).
    ///
    /// # Errors
    /// When it is refused.
    pub fn with_key(client: &Client, key: AccountKey) -> Result<Self> {
        let reply = Self::register(client, &key, &json!({}))?.expect(201)?;
        let nonce = Mutex::new(Some(reply.nonce()?));
        Ok(Self { client: client.clone(), key, url: reply.location()?, nonce })
    }

    /// One newAccount request of a key, with these members beside the agreement to the terms.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn register(client: &Client, key: &AccountKey, members: &Value) -> Result<Reply> {
        let mut payload = members.clone();
        payload["termsOfServiceAgreed"] = json!(true);
        register(client, key, &payload)
    }

    /// An account that is there.
    #[must_use]
    pub fn of(client: &Client, key: AccountKey, url: String) -> Self {
        Self { client: client.clone(), key, url, nonce: Mutex::default() }
    }

    /// The nonce for the next request: the last answer's, or a new one.
    ///
    /// # Errors
    /// When none is to be had.
    pub fn nonce(&self) -> Result<String> {
        let kept = self.nonce.lock().unwrap_or_else(PoisonError::into_inner).take();
        kept.map_or_else(|| self.client.nonce(), Ok)
    }

    /// A signed request as bytes.
    ///
    /// # Errors
    /// When signing fails.
    pub fn sign(&self, url: &str, nonce: &str, payload: &[u8]) -> Result<Vec<u8>> {
        let header = json!({"url": url, "nonce": nonce, "kid": self.url});
        Ok(self.key.sign(&header, payload)?.to_string().into_bytes())
    }

    /// One request, whatever the answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn send(&self, url: &str, payload: &[u8]) -> Result<Reply> {
        self.send_signed(url, &self.sign(url, &self.nonce()?, payload)?)
    }

    /// One request that [`Account::sign`] made, whatever the answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn send_signed(&self, url: &str, body: &[u8]) -> Result<Reply> {
        let reply = self.client.post(url, body)?;
        *self.nonce.lock().unwrap_or_else(PoisonError::into_inner) = Some(reply.nonce()?);
        Ok(reply)
    }

    /// POST of a JSON payload.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn post(&self, url: &str, payload: &Value) -> Result<Reply> {
        self.send(url, payload.to_string().as_bytes())
    }

    /// POST-as-GET (RFC 8555 §6.3).
    ///
    /// # Errors
    /// When there is no answer.
    pub fn read(&self, url: &str) -> Result<Reply> {
        self.send(url, b"")
    }

    /// POST-as-GET as a good client does it: tried again after a lost connection, `badNonce`, or a server that is not well.
    ///
    /// # Errors
    /// When it still fails after a minute.
    pub fn read_patiently(&self, url: &str) -> Result<Reply> {
        self.patiently(url, b"")
    }

    /// The same with any payload.
    ///
    /// # Errors
    /// When it still fails after a minute.
    pub fn patiently(&self, url: &str, payload: &[u8]) -> Result<Reply> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.send(url, payload) {
                Ok(reply) if reply.status < 500 && reply.problem().ok().as_deref() != Some("badNonce") => {
                    return Ok(reply);
                }
                other if Instant::now() > deadline => bail!("{url} does not answer: {other:?}"),
                _ => thread::sleep(PAUSE),
            }
        }
    }

    /// Makes an order of DNS names and addresses (RFC 8555 §7.4, RFC 8738 §3).
    ///
    /// # Errors
    /// When it is refused.
    pub fn order(&self, names: &[&str]) -> Result<Order> {
        self.order_with(names, json!({}))
    }

    /// The same of a profile (draft-ietf-acme-profiles §4).
    ///
    /// # Errors
    /// When it is refused.
    pub fn order_of(&self, profile: &str, names: &[&str]) -> Result<Order> {
        self.order_with(names, json!({"profile": profile}))
    }

    /// The same with other members.
    ///
    /// # Errors
    /// When it is refused.
    pub fn order_with(&self, names: &[&str], mut members: Value) -> Result<Order> {
        let kind = |name: &str| if name.parse::<IpAddr>().is_ok() { "ip" } else { "dns" };
        let identifiers: Vec<Value> = names.iter().map(|name| json!({"type": kind(name), "value": name})).collect();
        members["identifiers"] = identifiers.into();
        let payload = members.to_string();
        let reply = self.patiently(self.client.url("newOrder"), payload.as_bytes())?.expect(201)?;
        Ok(Order { url: reply.location()?, object: reply.json()? })
    }

    /// Proves every identifier of the order by http-01, and waits until the order is ready.
    ///
    /// # Errors
    /// When one cannot be proved.
    pub fn prove(&self, order: &Order, responder: &Responder) -> Result<()> {
        self.answer(&order.authorizations()?, responder)?;
        self.wait(&order.url, "ready").map(|_| ())
    }

    /// Answers the http-01 challenge of each of these authorizations.
    ///
    /// # Errors
    /// When one has no such challenge.
    pub fn answer(&self, authorizations: &[String], responder: &Responder) -> Result<()> {
        for url in authorizations {
            let authorization = self.read_patiently(url)?.expect(200)?.json()?;
            let challenge = challenge(&authorization, "http-01")?;
            let token = challenge["token"].as_str().context("a challenge has a token")?;
            responder.put(token, format!("{token}.{}", self.key.thumbprint()?));
            let url = challenge["url"].as_str().context("a challenge has a URL")?;
            self.patiently(url, b"{}")?.expect(200)?;
        }
        Ok(())
    }

    /// The payload of a finalize request for these names, under a fresh key.
    ///
    /// # Errors
    /// When a name is none.
    pub fn finalize_payload(names: &[&str]) -> Result<Value> {
        Ok(json!({"csr": base64url::encode(&subject::csr(names)?)}))
    }

    /// An order of these names as far as `ready`.
    ///
    /// # Errors
    /// When it is refused or cannot be proved.
    pub fn ready_order(&self, names: &[&str], responder: &Responder) -> Result<Order> {
        let order = self.order(names)?;
        self.prove(&order, responder)?;
        Ok(order)
    }

    /// A whole issuance by http-01: the order, and the chain in PEM.
    ///
    /// # Errors
    /// When any step fails.
    pub fn issue(&self, names: &[&str], responder: &Responder) -> Result<(Order, String)> {
        let order = self.ready_order(names, responder)?;
        self.post(&order.finalize()?, &Self::finalize_payload(names)?)?.expect(200)?;
        let chain = self.certificate(&order)?;
        Ok((order, chain))
    }

    /// Waits until the order is valid, and reads its chain.
    ///
    /// # Errors
    /// When it becomes invalid, or takes too long.
    pub fn certificate(&self, order: &Order) -> Result<String> {
        let object = self.wait(&order.url, "valid")?;
        let url = object["certificate"].as_str().context("a valid order has a certificate")?;
        let reply = self.read_patiently(url)?.expect(200)?;
        ensure!(reply.media_type() == Some("application/pem-certificate-chain"), "{reply:?}");
        Ok(reply.text()?.to_owned())
    }

    /// The certificate alone, in DER.
    ///
    /// # Errors
    /// As [`Account::certificate`].
    pub fn leaf(&self, order: &Order) -> Result<Vec<u8>> {
        openssl::der(&self.certificate(order)?)
    }

    /// Reads a resource until it has this status.
    ///
    /// # Errors
    /// When it becomes invalid, or takes longer than a minute.
    pub fn wait(&self, url: &str, status: &str) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let object = self.read_patiently(url)?.expect(200)?.json()?;
            if object["status"] == status {
                return Ok(object);
            }
            ensure!(object["status"] != "invalid", "{url} is invalid: {object}");
            ensure!(Instant::now() < deadline, "{url} is not {status} in time: {object}");
            thread::sleep(PAUSE);
        }
    }
}

impl Order {
    /// Where to send the CSR.
    ///
    /// # Errors
    /// When it does not say.
    pub fn finalize(&self) -> Result<String> {
        Ok(self.object["finalize"].as_str().context("an order has a finalize URL")?.to_owned())
    }

    /// The URLs of its authorizations.
    ///
    /// # Errors
    /// When it has none.
    pub fn authorizations(&self) -> Result<Vec<String>> {
        let urls = self.object["authorizations"].as_array().context("an order has authorizations")?;
        Ok(urls.iter().filter_map(|url| url.as_str().map(str::to_owned)).collect())
    }
}

/// newAccount of this key with exactly this payload, whatever the answer (RFC 8555 §7.3).
///
/// # Errors
/// When there is no answer.
pub fn register(client: &Client, key: &AccountKey, payload: &Value) -> Result<Reply> {
    let url = client.url("newAccount");
    let header = json!({"url": url, "nonce": client.nonce()?, "jwk": key.jwk()});
    client.post(url, key.sign(&header, payload.to_string().as_bytes())?.to_string().as_bytes())
}

/// The challenge of this type.
///
/// # Errors
/// When there is none.
pub fn challenge<'a>(authorization: &'a Value, kind: &str) -> Result<&'a Value> {
    let challenges = authorization["challenges"].as_array().context("an authorization has challenges")?;
    challenges.iter().find(|challenge| challenge["type"] == kind).with_context(|| format!("no {kind}: {authorization}"))
}
