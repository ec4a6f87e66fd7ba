//! How a series of each kind is made. What it needs first is made before its clocks start: keys, signatures, orders in the right state.

use std::mem;

use anyhow::{Context as _, Result};
use serde_json::json;
use tests::{
    account::{self, Account, Order},
    client::{Client, Reply},
    cpu::Processes,
    figures::{Figures, Series},
    key::AccountKey,
    responder::Responder,
    stack::Report,
};

use crate::{kinds::Kind, status::Status};

/// Requests of a series that is cheap to prepare.
pub(crate) const CHEAP: usize = 200;
/// Requests of a series of which each makes an object, or needs an order of its own.
const DEAR: usize = 50;
/// Whose certificate is ordered.
const NAME: &str = "bench.test";

/// Everything that series need.
#[derive(Debug)]
pub(crate) struct World<'a> {
    responder: &'a Responder,
    client: Client,
    directory: String,
    /// The floor's base URL.
    floor_url: String,
    floor: Processes,
    edge: Processes,
    status: Status,
}

/// What one round has made: an account with a certificate, so that no round carries the orders of those before.
#[derive(Debug)]
pub(crate) struct Round<'a> {
    world: &'a World<'a>,
    account: Account,
    order: Order,
    certificate: String,
    /// Orders on their way.
    open: Vec<Order>,
}

impl<'a> World<'a> {
    /// Of a stack that has a floor.
    ///
    /// # Errors
    /// When it has none, or does not answer.
    pub(crate) fn new(report: &Report, responder: &'a Responder) -> Result<Self> {
        let pid = |role: &str| report.pids.get(role).copied().with_context(|| format!("the stack has no {role}"));
        let client = Client::of(report)?;
        Ok(Self {
            responder,
            status: Status::new(report, &client, responder)?,
            client,
            directory: report.directory.clone(),
            floor_url: report.floor.clone().context("the stack has no floor")?,
            floor: Processes::of([pid("floor")?])?,
            edge: Processes::of([pid("edge")?])?,
        })
    }

    /// The edge's process.
    #[must_use]
    pub(crate) const fn edge(&self) -> &Processes {
        &self.edge
    }

    /// Makes the account of a round.
    ///
    /// # Errors
    /// When its first certificate is not issued.
    pub(crate) fn round(&'a self) -> Result<Round<'a>> {
        let account = Account::new(&self.client)?;
        let (order, _) = account.issue(&[NAME], self.responder)?;
        let object = account.read(&order.url)?.json()?;
        let certificate = object["certificate"].as_str().context("a valid order has a certificate")?.to_owned();
        Ok(Round { world: self, account, order, certificate, open: Vec::new() })
    }
}

impl Round<'_> {
    /// One series of a kind.
    ///
    /// # Errors
    /// When an answer is not what it should be.
    pub(crate) fn measure(&mut self, kind: Kind) -> Result<Figures> {
        // So that the account's object is awake and the next nonce is its own.
        self.account.read_patiently(&self.account.url)?.expect(200)?;
        let World { client, floor, edge, .. } = self.world;
        let floor_url = |path: &str| format!("{}{path}", self.world.floor_url);
        match kind {
            Kind::Empty => bare(floor, client, "GET", &floor_url("/empty")),
            Kind::Hop => bare(floor, client, "GET", &floor_url("/hop")),
            Kind::Row => bare(floor, client, "GET", &floor_url("/row")),
            Kind::Directory => bare(edge, client, "GET", &self.world.directory),
            Kind::NewNonce => bare(edge, client, "HEAD", client.url("newNonce")),
            Kind::OcspGet | Kind::OcspPost | Kind::Crl => self.world.status.measure(kind, edge, client),
            Kind::Account => self.reads(&self.account.url),
            Kind::Order => self.reads(&self.order.url),
            Kind::Authorization => self.reads(self.order.authorizations()?.first().context("an authorization")?),
            Kind::Certificate => self.reads(&self.certificate),
            Kind::NewOrder => self.new_orders(),
            Kind::Challenge => self.challenges(),
            Kind::Finalize => self.finalizations(),
            Kind::NewAccount => self.new_accounts(),
            Kind::KeyChange => self.key_changes(),
        }
    }

    /// Sends a signed request of a series.
    fn post(&self, series: &mut Series, url: &str, payload: &[u8]) -> Result<Reply> {
        let body = self.account.sign(url, &self.account.nonce()?, payload)?;
        series.send(|| self.account.send_signed(url, &body))
    }

    fn reads(&self, url: &str) -> Result<Figures> {
        Figures::of(&self.world.edge, |series| {
            (0..CHEAP).try_for_each(|_| self.post(series, url, b"")?.expect(200).map(drop))
        })
    }

    fn new_orders(&mut self) -> Result<Figures> {
        let url = self.world.client.url("newOrder");
        let payload = json!({"identifiers": [{"type": "dns", "value": NAME}]}).to_string();
        let mut open = Vec::new();
        let figures = Figures::of(&self.world.edge, |series| {
            (0..CHEAP).try_for_each(|_| {
                let reply = self.post(series, url, payload.as_bytes())?.expect(201)?;
                open.push(Order { url: reply.location()?, object: reply.json()? });
                Ok(())
            })
        })?;
        open.truncate(DEAR);
        self.open = open;
        Ok(figures)
    }

    /// Of the orders of the last [`Self::new_orders`], which are ready after this.
    fn challenges(&self) -> Result<Figures> {
        let mut urls = Vec::new();
        for order in &self.open {
            let authorization = self.account.read(order.authorizations()?.first().context("an authorization")?)?;
            let authorization = authorization.expect(200)?.json()?;
            let challenge = account::challenge(&authorization, "http-01")?;
            let text = |name: &str| challenge[name].as_str().with_context(|| format!("a challenge has a {name}"));
            let token = text("token")?;
            self.world.responder.put(token, format!("{token}.{}", self.account.key.thumbprint()?));
            urls.push(text("url")?.to_owned());
        }
        let figures = Figures::of(&self.world.edge, |series| {
            urls.iter().try_for_each(|url| self.post(series, url, b"{}")?.expect(200).map(drop))
        })?;
        for order in &self.open {
            self.account.wait(&order.url, "ready")?;
        }
        Ok(figures)
    }

    /// Of the orders that [`Self::challenges`] has made ready.
    fn finalizations(&mut self) -> Result<Figures> {
        let ready = mem::take(&mut self.open);
        let requests =
            ready.iter().map(|order| Ok((order.finalize()?, Account::finalize_payload(&[NAME])?.to_string())));
        let requests: Vec<(String, String)> = requests.collect::<Result<_>>()?;
        let figures = Figures::of(&self.world.edge, |series| {
            let mut requests = requests.iter();
            requests.try_for_each(|(url, payload)| self.post(series, url, payload.as_bytes())?.expect(200).map(drop))
        })?;
        for order in &ready {
            self.account.wait(&order.url, "valid")?;
        }
        Ok(figures)
    }

    fn new_accounts(&self) -> Result<Figures> {
        let client = &self.world.client;
        let url = client.url("newAccount");
        let request = || -> Result<Vec<u8>> {
            let key = AccountKey::es256();
            let header = json!({"url": url, "nonce": client.nonce()?, "jwk": key.jwk()});
            Ok(key.sign(&header, br#"{"termsOfServiceAgreed":true}"#)?.to_string().into_bytes())
        };
        let requests: Vec<Vec<u8>> = (0..DEAR).map(|_| request()).collect::<Result<_>>()?;
        Figures::of(&self.world.edge, |series| {
            requests.iter().try_for_each(|body| series.send(|| client.post(url, body))?.expect(201).map(drop))
        })
    }

    /// Of an account of its own.
    fn key_changes(&self) -> Result<Figures> {
        let mut account = Account::new(&self.world.client)?;
        let url = self.world.client.url("keyChange");
        let keys: Vec<AccountKey> = (0..DEAR).map(|_| AccountKey::es256()).collect();
        Figures::of(&self.world.edge, |series| {
            keys.into_iter().try_for_each(|new_key| {
                let payload = json!({"account": account.url, "oldKey": account.key.jwk()}).to_string();
                let inner = new_key.sign(&json!({"url": url, "jwk": new_key.jwk()}), payload.as_bytes())?;
                let body = account.sign(url, &account.nonce()?, inner.to_string().as_bytes())?;
                series.send(|| account.send_signed(url, &body))?.expect(200)?;
                account.key = new_key;
                Ok(())
            })
        })
    }
}

/// A series of unsigned requests.
pub(crate) fn bare(server: &Processes, client: &Client, method: &str, url: &str) -> Result<Figures> {
    Figures::of(server, |series| {
        (0..CHEAP).try_for_each(|_| series.send(|| client.bare(method, url))?.expect(200).map(drop))
    })
}
