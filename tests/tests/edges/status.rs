//! What became of a certificate is its issuer's to say: whichever edge is asked.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use shared::{
    base64url,
    chain::{Issuer, Leaf},
    crl::CrlContent,
    ocsp::CertStatus,
};
use tests::{account::Account, client::Client, ocsp, openssl};

use crate::world::{one_at_a_time, until, world};

const NAME: &str = "status.test";

/// A certificate of a profile whose status is told, and where that is.
struct Subject {
    leaf: Vec<u8>,
    issuer: Issuer,
    /// Below the base URL of an edge's plain HTTP.
    ocsp: String,
    crl: String,
}

fn subject(account: &Account, first: &str) -> Result<Subject> {
    let order = account.order_of("monthly", &[NAME])?;
    account.post(&order.finalize()?, &Account::finalize_payload(&[NAME])?)?.expect(200)?;
    let chain = account.certificate(&order)?;
    let pointer = |extension: &str, mark: &str| -> Result<String> {
        let text = openssl::x509(&chain, ["-ext", extension])?;
        let (_, rest) = text.split_once(mark).with_context(|| format!("no {mark} in {text}"))?;
        let url = rest.lines().next().unwrap_or_default().trim();
        Ok(url.strip_prefix(first).with_context(|| format!("{url} is not below {first}"))?.to_owned())
    };
    let (_, above) = chain.split_once("-----END CERTIFICATE-----\n").context("a chain has two certificates")?;
    Ok(Subject {
        leaf: openssl::der(&chain)?,
        issuer: Issuer::from_pem(above)?,
        ocsp: pointer("authorityInfoAccess", "OCSP - URI:")?,
        crl: pointer("crlDistributionPoints", "URI:")?,
    })
}

impl Subject {
    fn is_revoked(&self, client: &Client, http: &str) -> Result<bool> {
        let serial = Leaf::from_der(&self.leaf)?.serial;
        let request = ocsp::request(&self.issuer, serial)?;
        let reply = ocsp::ask(client, &format!("{http}{}", self.ocsp), &request)?;
        let content = ocsp::read(&reply, &self.issuer)?.with_context(|| format!("no answer: {reply:?}"))?;
        ensure!(content.cert_id.serial == Some(serial), "an answer about another certificate");
        Ok(content.status != CertStatus::Good)
    }

    fn is_on_the_crl(&self, client: &Client, http: &str) -> Result<bool> {
        let reply = client.get(&format!("{http}{}", self.crl))?;
        if reply.status != 200 {
            return Ok(false);
        }
        let serial = Leaf::from_der(&self.leaf)?.serial;
        Ok(CrlContent::verify(&reply.body, &self.issuer)?.entries.iter().any(|entry| entry.serial == serial))
    }
}

#[test]
fn a_certificate_has_the_same_status_at_the_edge_that_did_not_order_it() -> Result<()> {
    let (turn, world) = (one_at_a_time(), world());
    let report = &world.stack.report;
    let [ours, theirs] = &world.clients;
    let (first, second) = (&report.status_url, &report.other_edges.first().context("a second edge")?.http);
    let mut all = Vec::new();
    for (edge, own) in [ours, theirs].into_iter().enumerate() {
        let account = world.account(edge, NAME)?;
        let (good, revoked) = (subject(&account, first)?, subject(&account, first)?);
        for (client, http) in [(ours, first), (theirs, second)] {
            ensure!(!good.is_revoked(client, http)?, "at {http}");
        }
        let payload = json!({"certificate": base64url::encode(&revoked.leaf), "reason": 1});
        account.post(own.url("revokeCert"), &payload)?.expect(200)?;
        for (client, http) in [(ours, first), (theirs, second)] {
            ensure!(revoked.is_revoked(client, http)?, "at {http}");
            ensure!(!good.is_revoked(client, http)?, "at {http}");
        }
        all.push(revoked);
    }
    // CRLs come some seconds later, while other tests stop or kill one of the edges.
    drop(turn);
    for (client, http) in [(ours, first), (theirs, second)] {
        for revoked in &all {
            until("it is on the CRL", 60, || Ok(revoked.is_on_the_crl(client, http).unwrap_or_default()))?;
        }
    }
    Ok(())
}
