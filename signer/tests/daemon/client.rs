//! An edge, and behind it an ACME client, as far as the signer sees them.

use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use serde_json::{Value, json};
use shared::{
    base64url,
    checkpoint::{Checkpoint, JOURNAL_PATH, JournalReply, Unconfirmed},
    identifier::Identifier,
    jws::Flattened,
    serial::SerialNumber,
    signing::{
        CRL_PATH, CrlReply, CrlRequest, DISOWN_PATH, DisownRequest, Grant, ISSUE_PATH, IssueReply, IssueRequest,
        Issued, OCSP_PATH, OcspReply, OcspRequest, Priority, ProvenIdentifier, RECORDS_PATH, REVOKE_PATH, RecordsReply,
        RecordsRequest, Refusal, RevokeReply, RevokeRequest, SETTLE_PATH, STATUS_PATH, Status,
    },
    testing::TestKey,
    timestamp::Timestamp,
};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use crate::site::{BASE_URL, HANG, Identity, Site, stopwatch};

/// A connection pool of one edge.
#[derive(Clone)]
pub(crate) struct Edge {
    agent: ureq::Agent,
    base: String,
}

/// A finalize request of this account (RFC 8555 §7.4).
pub(crate) fn finalize(account: &TestKey, order: &str, csr: &[u8]) -> Flattened {
    let header =
        json!({"kid": format!("{BASE_URL}/acme/account/1"), "nonce": "bm9uY2U", "url": format!("{order}/finalize")});
    let payload = json!({"csr": base64url::encode(csr)}).to_string();
    serde_json::from_value(account.sign_jws(&header, payload.as_bytes())).unwrap()
}

/// The URL of an order.
pub(crate) fn order(number: usize) -> String {
    format!("{BASE_URL}/acme/order/ref/{number:024x}")
}

/// A CSR for these names under a fresh key, DER.
pub(crate) fn csr(names: &[&str]) -> Vec<u8> {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut parameters = CertificateParams::new(names).unwrap();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.serialize_request(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

/// A request that a signer grants.
pub(crate) fn request(number: usize, account: &TestKey, csr: &[u8], names: &[&str]) -> IssueRequest {
    let now = Timestamp::from_seconds(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs());
    let proven = |name: &&str| ProvenIdentifier {
        identifier: Identifier::Dns(name.parse().unwrap()),
        method: "dns-01".into(),
        validated: now,
        evidence: None,
    };
    IssueRequest {
        order: order(number),
        finalize: finalize(account, &order(number), csr),
        account_key: account.jwk(),
        grant: Grant::Open,
        identifiers: names.iter().map(proven).collect(),
        profile: "server".parse().unwrap(),
        not_before: None,
        not_after: None,
        priority: Priority::New,
        deadline: now.plus(600),
        lease: None,
    }
}

/// The same for one name and a fresh CSR.
pub(crate) fn simple(number: usize) -> IssueRequest {
    let name = format!("host-{number}.test");
    request(number, &TestKey::new(1), &csr(&[&name]), &[&name])
}

impl Edge {
    pub(crate) fn new(site: &Site) -> Self {
        Self::with(site, Some(&site.edge()))
    }

    pub(crate) fn with(site: &Site, identity: Option<&Identity>) -> Self {
        Self::new_with(site, &site.infrastructure.pem(), identity)
    }

    /// One that trusts these roots of servers.
    pub(crate) fn trusting(site: &Site, roots: &str, identity: &Identity) -> Self {
        Self::new_with(site, roots, Some(identity))
    }

    fn new_with(site: &Site, roots: &str, identity: Option<&Identity>) -> Self {
        let roots = parse_pem(roots.as_bytes()).filter_map(|item| match item.unwrap() {
            PemItem::Certificate(root) => Some(root),
            _ => None,
        });
        let roots: Vec<_> = roots.collect();
        let client = identity.map(|identity| {
            let certificate = Certificate::from_pem(identity.certificate.as_bytes()).unwrap();
            ClientCert::new_with_certs(&[certificate], PrivateKey::from_pem(identity.key.as_bytes()).unwrap())
        });
        let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots)).client_cert(client).build();
        let agent = ureq::Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build()
            .new_agent();
        Self { agent, base: format!("https://{}", site.address) }
    }

    pub(crate) fn post(&self, body: &[u8]) -> anyhow::Result<(u16, Value)> {
        let (status, answer) = self.post_to(ISSUE_PATH, body)?;
        Ok((status, serde_json::from_str(&answer)?))
    }

    /// Asks whether an order is signed, and else not to sign it.
    pub(crate) fn settle(&self, request: &IssueRequest) -> IssueReply {
        let (_, answer) = self.post_to(SETTLE_PATH, &serde_json::to_vec(request).unwrap()).unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    pub(crate) fn post_revocation(&self, body: &[u8]) -> anyhow::Result<(u16, String)> {
        self.post_to(REVOKE_PATH, body)
    }

    pub(crate) fn revoke(&self, request: &RevokeRequest) -> anyhow::Result<RevokeReply> {
        let (_, answer) = self.post_revocation(&serde_json::to_vec(request).unwrap())?;
        Ok(serde_json::from_str(&answer).unwrap())
    }

    pub(crate) fn records(&self, from: u64) -> RecordsReply {
        let (_, answer) = self.post_to(RECORDS_PATH, &serde_json::to_vec(&RecordsRequest { from }).unwrap()).unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    pub(crate) fn disown(&self, serial: SerialNumber) -> RevokeReply {
        let (_, answer) = self.post_to(DISOWN_PATH, &serde_json::to_vec(&DisownRequest { serial }).unwrap()).unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    pub(crate) fn ocsp(&self, request: &OcspRequest) -> anyhow::Result<OcspReply> {
        let (_, answer) = self.post_to(OCSP_PATH, &serde_json::to_vec(request).unwrap())?;
        Ok(serde_json::from_str(&answer).unwrap())
    }

    pub(crate) fn crl(&self, request: &CrlRequest) -> anyhow::Result<CrlReply> {
        let (_, answer) = self.post_to(CRL_PATH, &serde_json::to_vec(request).unwrap())?;
        Ok(serde_json::from_str(&answer).unwrap())
    }

    /// Asks whether the journal continues this checkpoint, and what it is now.
    pub(crate) fn journal(&self, checkpoint: &Checkpoint) -> Result<Checkpoint, Unconfirmed> {
        let question = serde_json::to_vec(&checkpoint.question()).unwrap();
        let (_, answer) = self.post_to(JOURNAL_PATH, &question).unwrap();
        checkpoint.continued(serde_json::from_str::<JournalReply>(&answer).unwrap())
    }

    pub(crate) fn post_to(&self, path: &str, body: &[u8]) -> anyhow::Result<(u16, String)> {
        let mut answer = self.agent.post(format!("{}{path}", self.base)).send(body)?;
        Ok((answer.status().as_u16(), answer.body_mut().read_to_string()?))
    }

    pub(crate) fn issue(&self, request: &IssueRequest) -> anyhow::Result<IssueReply> {
        let (_, body) = self.post(&serde_json::to_vec(request).unwrap())?;
        Ok(serde_json::from_value(body).unwrap())
    }

    /// Asks until the answer is neither `queued` nor temporary, as an edge does.
    pub(crate) fn issued(&self, request: &IssueRequest) -> Issued {
        let started = stopwatch();
        while started.elapsed() < HANG {
            match self.issue(request) {
                Ok(IssueReply::Issued(issued)) => return issued,
                Ok(IssueReply::Refused(refused)) if !refused.reason.is_temporary() => panic!("{refused:?}"),
                _ => std::thread::sleep(Duration::from_millis(100)),
            }
        }
        panic!("no certificate for {}", request.order);
    }

    pub(crate) fn refusal(&self, request: &IssueRequest) -> Refusal {
        match self.issue(request).unwrap() {
            IssueReply::Refused(refused) => refused.reason,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(crate) fn status(&self) -> anyhow::Result<Status> {
        let mut answer = self.agent.get(format!("{}{STATUS_PATH}", self.base)).call()?;
        Ok(serde_json::from_str(&answer.body_mut().read_to_string()?)?)
    }
}
