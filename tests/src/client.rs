//! HTTP as tests need it: trusts one CA file, never retries, never follows, and takes every status as an answer.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use ureq::{
    Agent,
    http::{HeaderMap, Method, Request},
    tls::{Certificate, RootCerts, TlsConfig},
};

use crate::stack::Report;

/// The media type of signed requests (RFC 8555 §6.2).
pub const JOSE: &str = "application/jose+json";

/// Connections that are kept for later requests.
const MAX_IDLE: usize = 512;

/// A client of one server. Cheap to clone; connections are shared.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    /// Sent with every request, as the platform in front of a deployment would.
    address: Option<String>,
    /// What the platform says of the connection, JSON.
    place: Option<String>,
    /// The directory (RFC 8555 §7.1.1).
    pub directory: Value,
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Client {
    /// Of a stack: reads its directory.
    ///
    /// # Errors
    /// When that fails.
    pub fn of(report: &Report) -> Result<Self> {
        Self::at(&report.directory, &report.ca)
    }

    /// Of any server: reads the directory at this URL, trusting the CA in this PEM file.
    ///
    /// # Errors
    /// When that fails.
    pub fn at(directory: &str, ca: &Path) -> Result<Self> {
        let mut client = Self::without_directory(ca)?;
        client.directory = client.get(directory)?.json()?;
        Ok(client)
    }

    /// Of a server that speaks no ACME, or is not asked for its directory yet.
    ///
    /// # Errors
    /// When the file is none.
    pub fn without_directory(ca: &Path) -> Result<Self> {
        let root = Certificate::from_pem(&fs::read(ca)?)?;
        let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[root])).build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(40)))
            // A handshake costs more than most requests.
            .max_idle_connections(MAX_IDLE)
            .max_idle_connections_per_host(MAX_IDLE)
            .allow_non_standard_methods(true)
            .build()
            .new_agent();
        Ok(Self { agent, address: None, place: None, directory: Value::Null })
    }

    /// The same from this address, as far as the edge can tell.
    #[must_use]
    pub fn from_address(&self, address: &str) -> Self {
        Self { address: Some(address.to_owned()), ..self.clone() }
    }

    /// The same at this place of the platform (an IATA code), as far as the edge can tell.
    #[must_use]
    pub fn from_place(&self, colo: &str) -> Self {
        Self { place: Some(serde_json::json!({ "colo": colo }).to_string()), ..self.clone() }
    }

    /// A URL of the directory.
    ///
    /// # Panics
    /// When it has none of this name.
    #[must_use]
    pub fn url(&self, name: &str) -> &str {
        self.directory[name].as_str().unwrap_or_else(|| panic!("the directory has no {name}"))
    }

    /// GET.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn get(&self, url: &str) -> Result<Reply> {
        self.bare("GET", url)
    }

    /// GET with this bearer token.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn get_as(&self, url: &str, token: &str) -> Result<Reply> {
        self.run(Request::get(url).header("authorization", format!("Bearer {token}")).body(())?)
    }

    /// A request without a body.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn bare(&self, method: &str, url: &str) -> Result<Reply> {
        self.run(Request::builder().method(Method::from_bytes(method.as_bytes())?).uri(url).body(())?)
    }

    /// POST of a signed request.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn post(&self, url: &str, body: &[u8]) -> Result<Reply> {
        self.post_as(url, JOSE, body)
    }

    /// POST of anything.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn post_as(&self, url: &str, media_type: &str, body: &[u8]) -> Result<Reply> {
        self.run(Request::post(url).header("content-type", media_type).body(body)?)
    }

    /// A nonce of newNonce (RFC 8555 §7.2).
    ///
    /// # Errors
    /// When there is none.
    pub fn nonce(&self) -> Result<String> {
        self.bare("HEAD", self.url("newNonce"))?.nonce()
    }

    fn run(&self, mut request: Request<impl ureq::AsSendBody>) -> Result<Reply> {
        if let Some(address) = &self.address {
            request.headers_mut().insert("cf-connecting-ip", address.parse()?);
        }
        if let Some(place) = &self.place {
            request.headers_mut().insert("cf-blob", place.parse()?);
        }
        let mut answer = self.agent.run(request)?;
        let body = answer.body_mut().read_to_vec()?;
        Ok(Reply { status: answer.status().as_u16(), headers: answer.headers().clone(), body })
    }
}

impl Reply {
    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// All headers of this name.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok())
    }

    /// Its media type, without parameters.
    #[must_use]
    pub fn media_type(&self) -> Option<&str> {
        self.header("content-type")?.split(';').next().map(str::trim)
    }

    /// Its fresh nonce.
    ///
    /// # Errors
    /// When it has none, or several.
    pub fn nonce(&self) -> Result<String> {
        let mut nonces = self.headers("replay-nonce");
        let nonce = nonces.next().with_context(|| format!("no Replay-Nonce: {self:?}"))?.to_owned();
        ensure!(nonces.next().is_none(), "several Replay-Nonce: {self:?}");
        Ok(nonce)
    }

    /// How many object calls it took.
    ///
    /// # Errors
    /// When it does not say.
    pub fn hops(&self) -> Result<u32> {
        Ok(self.header("colophon-hops").with_context(|| format!("no Colophon-Hops: {self:?}"))?.parse()?)
    }

    /// Where the new resource is.
    ///
    /// # Errors
    /// When it does not say.
    pub fn location(&self) -> Result<String> {
        Ok(self.header("location").with_context(|| format!("no Location: {self:?}"))?.to_owned())
    }

    /// The body as text.
    ///
    /// # Errors
    /// When it is none.
    pub fn text(&self) -> Result<&str> {
        Ok(str::from_utf8(&self.body)?)
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {self:?}"))
    }

    /// The same answer if it has this status.
    ///
    /// # Errors
    /// When it has another, with the whole answer.
    pub fn expect(self, status: u16) -> Result<Self> {
        ensure!(self.status == status, "{status} was expected: {} {:?}", self.status, self.text());
        Ok(self)
    }

    /// The error type of a problem document, without its prefix, after checking that it is one (RFC 8555 §6.7, RFC 7807).
    ///
    /// # Errors
    /// When it is not.
    pub fn problem(&self) -> Result<String> {
        ensure!(self.header("content-type") == Some("application/problem+json"), "not a problem document: {self:?}");
        let document = self.json()?;
        ensure!(document["status"] == self.status, "its status is not the answer's: {document}");
        ensure!(document["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "no detail: {document}");
        let kind = document["type"].as_str().context("a problem has a type")?;
        let kind = kind.strip_prefix("urn:ietf:params:acme:error:");
        Ok(kind.with_context(|| format!("not a problem of ACME: {document}"))?.to_owned())
    }
}
