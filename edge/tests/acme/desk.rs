//! One account's object as the platform runs it, on rows in memory: the same doors in the same order.

use std::{cell::Cell, collections::BTreeMap, net::IpAddr};

use edge::acme::{
    absorb,
    account::binding_claim,
    authentication::{account_of, key_of},
    challenge::{self, ChallengeType, dns_value, key_authorization},
    config::Config,
    entropy::Entropy,
    external_account::{BadBinding, Binding, HeldGrant},
    finalize,
    kubernetes::judgement::Seen,
    nonce::{Nonce, NonceSecrets, Redeemed, Window},
    object_id::ObjectId,
    pool::{Outlook, Pool},
    probe::{Evidence, Probe, ProbeOutcome},
    problem::Problem,
    record::{AuthorizationRecord, Record as _},
    revoke::{RevocationOrder, by_account},
    route::{AccountId, Resource, Route, UrlSecret, Urls},
    step::{Admission, Body, Context, Effect, Event, Reply, Sign, settle, step},
    storage::{Key, Memory, Rows, Storage},
};
use edge::status::renewal::Placement;
use serde_json::{Value, json};
use shared::{
    base64url::Base64Url,
    certificate::Content,
    csr::Csr,
    grant::GrantToken,
    jws::{Unverified, Verified},
    serial::SerialNumber,
    signed_der::Proved,
    signing::{IssueReply, Issued},
    testing::{TestCa, TestKey, server_profile},
    timestamp::Timestamp,
};

pub(crate) use crate::deployment::{config, config_object};
use crate::tls_alpn::Presented;

/// A client, its account's object and a signer.
pub(crate) struct Desk {
    pub(crate) rows: Memory,
    pub(crate) config: Config,
    pub(crate) urls: Urls,
    pub(crate) secrets: NonceSecrets,
    pub(crate) binding_keys: BTreeMap<String, Vec<u8>>,
    /// A grant that a signer has renewed, for the next finalize request.
    pub(crate) renewed: Option<HeldGrant>,
    pub(crate) proved: Proved,
    /// What is known of signers, where a test has several.
    pub(crate) pool: Option<Pool>,
    pub(crate) window: Window,
    pub(crate) now: Timestamp,
    /// Where requests come from.
    pub(crate) client: Option<IpAddr>,
    pub(crate) ca: TestCa,
    pub(crate) account_key: TestKey,
    /// The account's key since a rollover.
    pub(crate) rolled_over: Option<TestKey>,
    pub(crate) subject_key: TestKey,
    /// Effects that were started and have not come back.
    pub(crate) effects: Vec<Effect>,
    /// What the operator's log got.
    pub(crate) logged: Vec<String>,
    /// What the status objects were told, and whether they answered.
    pub(crate) placed: Vec<Placement>,
    pub(crate) places: bool,
    /// Whether they know no reason to renew.
    pub(crate) early: bool,
    serials: Cell<u8>,
    seed: u8,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let ca = TestCa::new(1);
        Self {
            rows: Memory::default(),
            config: config(&ca),
            urls: Urls::new("https://ca.test".to_owned(), UrlSecret::new("a url secret of enough length....")),
            binding_keys: BTreeMap::new(),
            renewed: None,
            proved: Proved::default(),
            pool: None,
            secrets: NonceSecrets::new("a nonce secret of enough length..", None),
            window: Window::new([1; 8]),
            now: "2026-11-21T12:00:00Z".parse().unwrap(),
            client: None,
            ca,
            account_key: TestKey::new(1),
            rolled_over: None,
            subject_key: TestKey::new(2),
            effects: Vec::new(),
            logged: Vec::new(),
            placed: Vec::new(),
            places: true,
            early: true,
            serials: Cell::new(0),
            seed: 0,
        }
    }

    /// What a signer gives for a binding.
    pub(crate) fn grant(&self, token: &str) -> HeldGrant {
        HeldGrant { token: GrantToken(token.into()), renew_after: self.now.plus(50), expires: self.now.plus(100) }
    }

    pub(crate) fn account(&self) -> AccountId {
        AccountId(self.account_key.jwk().thumbprint())
    }

    pub(crate) fn url(&self, resource: Resource) -> String {
        self.urls.resource(self.account(), resource)
    }

    /// A request as a client makes it, with a nonce of this object.
    pub(crate) fn sign(&mut self, route: Route, payload: &[u8]) -> Vec<u8> {
        let nonce = self.window.mint(&self.secrets, self.account());
        let mut header = json!({"url": self.urls.of(route), "nonce": nonce});
        let jws = if route == Route::NewAccount {
            self.account_key.sign_jws_with_jwk(&header, payload)
        } else {
            header["kid"] = json!(self.url(Resource::Account));
            self.rolled_over.as_ref().unwrap_or(&self.account_key).sign_jws(&header, payload)
        };
        jws.to_string().into_bytes()
    }

    /// The doors of a revocation by the account: as [`Self::handle`], with nothing to commit.
    pub(crate) fn revoke(&mut self, payload: &Value) -> Result<RevocationOrder, Problem> {
        let body = self.sign(Route::RevokeCertificate, payload.to_string().as_bytes());
        let (verified, redeemed) = self.admit(Route::RevokeCertificate, &body)?;
        let entropy = self.entropy();
        by_account(&self.rows, verified, redeemed, &self.context(&entropy))
    }

    /// The first doors: parse, authenticate, redeem.
    pub(crate) fn admit(&mut self, route: Route, body: &[u8]) -> Result<(Verified, Redeemed), Problem> {
        let request = Unverified::parse(body)?;
        let account = account_of(route, request.header(), &self.urls)?;
        let key = key_of(route, &request, account, &self.urls, &self.rows)?;
        let verified = request.verify(&key)?;
        let nonce = verified.header().nonce.as_deref().ok_or(Problem::MissingNonce)?;
        let redeemed = match self.secrets.parse(nonce, Some(account), self.now) {
            Ok(Nonce::Account(nonce)) => self.window.redeem(nonce).map_err(|_| Problem::BadNonce)?,
            Ok(Nonce::Edge(nonce)) => nonce.redeemed(true).map_err(|_| Problem::BadNonce)?,
            Err(_) => return Err(Problem::BadNonce),
        };
        Ok((verified, redeemed))
    }

    /// All doors: parse, authenticate, redeem, step, commit, start the effect.
    pub(crate) fn handle(&mut self, route: Route, body: &[u8]) -> Result<Reply, Problem> {
        let (verified, redeemed) = self.admit(route, body)?;
        let entropy = self.entropy();
        let step = {
            let context = self.context(&entropy);
            let mut admission = Admission { nonce: redeemed, binding: None, grant: self.renewed.clone(), held: None };
            if let Route::Of(_, Resource::Finalize(id)) = route
                && let Some(csr) = finalize::csr_of(&verified)
            {
                let held = absorb::candidate(&self.rows, id, &csr, &context)?;
                admission.held = held.filter(|_| self.early).map(|held| held.order);
            }
            if route == Route::NewAccount
                && let Some(claim) = binding_claim(&self.rows, &verified, &context)?
            {
                let key = self.binding_keys.get(claim.key_id()).ok_or(BadBinding::Mac)?;
                claim.verify(key)?;
                admission.binding = Some(Binding::new(claim, self.grant("first")));
            }
            step(&self.rows, route, verified, admission, &context)?
        };
        if !step.changes.is_empty() {
            self.rows.commit(&step.changes)?;
        }
        self.effects.extend(step.effect);
        Ok(step.reply)
    }

    /// An event's door: settle, commit, start the effect.
    pub(crate) fn event(&mut self, event: Event) -> Result<(), Problem> {
        let entropy = self.entropy();
        let settled = {
            let context = self.context(&entropy);
            settle(&self.rows, event, &context)?
        };
        self.logged.extend(settled.log);
        if settled.ends {
            self.rows = Memory::default();
        } else if !settled.changes.is_empty() {
            self.rows.commit(&settled.changes)?;
        }
        if let Some(Effect::Place(order, placement)) = settled.effect {
            self.placed.push(placement);
            return self.event(Event::Placed(order, self.places));
        }
        self.effects.extend(settled.effect);
        Ok(())
    }

    pub(crate) fn post(&mut self, route: Route, payload: &Value) -> Result<Reply, Problem> {
        let body = self.sign(route, payload.to_string().as_bytes());
        self.handle(route, &body)
    }

    pub(crate) fn get(&mut self, route: Route) -> Result<Reply, Problem> {
        let body = self.sign(route, b"");
        self.handle(route, &body)
    }

    pub(crate) fn read(&mut self, resource: Resource) -> Value {
        let route = Route::Of(self.account(), resource);
        json_of(&self.get(route).unwrap())
    }

    pub(crate) fn resource(&self, url: &Value) -> Resource {
        match self.urls.parse(url.as_str().unwrap().strip_prefix("https://ca.test").unwrap()).unwrap() {
            Route::Of(_, resource) => resource,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn new_account(&mut self) {
        let reply = self.post(Route::NewAccount, &json!({"termsOfServiceAgreed": true})).unwrap();
        assert_eq!(reply.status, 201);
    }

    /// A new order for these names: its resource and its object.
    pub(crate) fn new_order(&mut self, names: &[&str]) -> (Resource, Value) {
        let identifiers: Vec<_> = names.iter().map(|name| json!({"type": "dns", "value": name})).collect();
        let reply = self.post(Route::NewOrder, &json!({"identifiers": identifiers})).unwrap();
        assert_eq!(reply.status, 201);
        let order = self.resource(&json!(reply.location.clone().unwrap()));
        (order, json_of(&reply))
    }

    /// Answers one challenge of each authorization of the order, and lets the probes come back right.
    pub(crate) fn prove(&mut self, order: &Value, kind: ChallengeType) {
        for url in order["authorizations"].as_array().unwrap() {
            let Resource::Authorization(id) = self.resource(url) else { panic!() };
            let route = Route::Of(self.account(), Resource::Challenge(id, kind));
            self.post(route, &json!({})).unwrap();
            let Some(Effect::Probe(probe)) = self.effects.pop() else { panic!("no probe") };
            let outcome = self.right_answer(&probe);
            self.event(Event::Probed(probe, outcome)).unwrap();
        }
    }

    /// The probe of a challenge, as it would be started.
    pub(crate) fn probe(&self, id: ObjectId, kind: ChallengeType) -> Probe {
        let record = AuthorizationRecord::load(&self.rows, Key::Authorization(id)).unwrap().unwrap();
        challenge::probe(id, &record, kind, &self.context(&Entropy::new([0; 32])))
    }

    pub(crate) fn right_answer(&self, probe: &Probe) -> ProbeOutcome {
        let thumbprint = self.account_key.jwk().thumbprint();
        Ok(match probe.challenge {
            ChallengeType::Http01 => {
                Evidence::Http { status: 200, body: key_authorization(&probe.token, thumbprint).into_bytes() }
            }
            ChallengeType::TlsAlpn01 => {
                let expected = key_authorization(&probe.token, thumbprint);
                Evidence::Tls(Presented::right(&probe.identifier.to_string(), &expected).handshake())
            }
            ChallengeType::Dns01 | ChallengeType::DnsAccount01 => {
                Evidence::Txt(vec![dns_value(&probe.token, thumbprint).into_bytes()])
            }
            ChallengeType::DnsPersist01 => {
                let issuer = self.config.caa_identities[0].as_str();
                Evidence::Txt(vec![format!("{issuer}; accounturi={}; policy=wildcard", probe.account).into_bytes()])
            }
            // The tests of kubernetes-01 make their own.
            ChallengeType::Kubernetes01 => Evidence::Kubernetes(Seen::default()),
        })
    }

    pub(crate) fn finalize(&mut self, order: Resource, names: &[&str]) -> Result<Reply, Problem> {
        let Resource::Order(id) = order else { panic!() };
        let csr = Base64Url(self.subject_key.csr(names, ""));
        self.post(Route::Of(self.account(), Resource::Finalize(id)), &json!({"csr": csr}))
    }

    /// An account with an order of `a.test` that waits for its certificate.
    pub(crate) fn with_a_processing_order() -> (Self, Resource) {
        let mut desk = Self::new();
        desk.new_account();
        let (order, view) = desk.new_order(&["a.test"]);
        desk.prove(&view, ChallengeType::Http01);
        desk.finalize(order, &["a.test"]).unwrap();
        (desk, order)
    }

    /// An account with a certificate for these names: its DER.
    pub(crate) fn with_a_certificate(names: &[&str]) -> (Self, Vec<u8>) {
        let mut desk = Self::new();
        desk.new_account();
        let certificate = desk.issue(names);
        (desk, certificate)
    }

    /// Issues a certificate: its DER.
    pub(crate) fn issue(&mut self, names: &[&str]) -> Vec<u8> {
        let (order, view) = self.new_order(names);
        self.prove(&view, ChallengeType::Dns01);
        self.finalize(order, names).unwrap();
        let question = self.question();
        let answer = self.signer_answer(&question);
        let IssueReply::Issued(issued) = &answer else { panic!() };
        let leaf = issued.chain[0].0.clone();
        self.event(Event::Signed(question.order, Ok(answer))).unwrap();
        leaf
    }

    /// The question that is under way.
    pub(crate) fn question(&mut self) -> Box<Sign> {
        match self.effects.pop() {
            Some(Effect::Sign(sign)) => sign,
            other => panic!("{other:?}"),
        }
    }

    /// What an honest signer answers; a new certificate each time, to show that only one is ever stored.
    pub(crate) fn signer_answer(&self, question: &Sign) -> IssueReply {
        let request = Unverified::from_flattened(question.request.finalize.clone()).unwrap();
        let payload: Value = serde_json::from_slice(request.payload()).unwrap();
        let csr: Base64Url = serde_json::from_value(payload["csr"].clone()).unwrap();
        let csr = Csr::parse(&csr.0).unwrap();
        self.serials.set(self.serials.get() + 1);
        let serial = SerialNumber::from_random([self.serials.get(); 16]);
        let content = Content {
            profile: &server_profile(),
            names: csr.names(),
            common_name: None,
            public_key: csr.public_key(),
            serial,
            not_before: self.now.minus(60),
            not_after: self.now.plus(86_000),
            status: None,
            crl_shards: 1,
        };
        let chain = vec![Base64Url(self.ca.issue(&content)), Base64Url(self.ca.chain.issuer().der().to_vec())];
        IssueReply::Issued(Issued { chain, serial, journal_index: 7 })
    }

    /// When the next thing is to be driven on; what waits for its deletion is not.
    pub(crate) fn next_drive(&self) -> Option<Timestamp> {
        self.rows.next_due().unwrap().filter(|due| *due <= self.now.plus(1000))
    }

    /// Lets all alarms ring until this time.
    pub(crate) fn live_until(&mut self, end: Timestamp) {
        while let Some(due) = self.rows.next_due().unwrap().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            for key in self.rows.due(self.now, 10).unwrap() {
                self.event(Event::Due(key)).unwrap();
            }
        }
        self.now = end;
    }

    /// Another incarnation of the object on the same rows: memory is gone, effects under way are lost.
    pub(crate) fn restart(&mut self) {
        self.seed = self.seed.wrapping_add(1);
        self.window = Window::new([self.seed; 8]);
        self.effects.clear();
    }

    pub(crate) fn context<'a>(&'a self, entropy: &'a Entropy) -> Context<'a> {
        let account = self.account();
        Context {
            config: &self.config,
            scope: &self.config.scopes.open,
            urls: &self.urls,
            account,
            now: self.now,
            entropy,
            client: self.client,
            outlook: self.pool.as_ref().map(|pool| Outlook { pool, colo: None, now: self.now.seconds() * 1000 }),
            proved: &self.proved,
        }
    }

    pub(crate) fn entropy(&mut self) -> Entropy {
        self.seed = self.seed.wrapping_add(1);
        Entropy::new([self.seed; 32])
    }
}

pub(crate) fn json_of(reply: &Reply) -> Value {
    match &reply.body {
        Body::Json(text) => serde_json::from_str(text).unwrap(),
        other => panic!("{other:?}"),
    }
}
