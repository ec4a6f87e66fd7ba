//! A certificate whose status is asked for: over the TLS connection that everything is measured by, as the floor is.

use anyhow::{Context as _, Result, ensure};
use shared::{base64url, chain::Issuer, chain::Leaf};
use tests::{
    account::Account, client::Client, cpu::Processes, figures::Figures, ocsp, openssl, responder::Responder,
    stack::Report,
};

use crate::{
    kinds::Kind,
    world::{CHEAP, bare},
};

/// Whose certificate it is.
const NAME: &str = "status.test";

/// What is asked, and where.
#[derive(Debug)]
pub(crate) struct Status {
    ocsp: String,
    request: Vec<u8>,
    crl: String,
}

impl Status {
    /// Of a certificate that is issued for it. Its response and its CRL have been signed after this.
    ///
    /// # Errors
    /// When it is not issued, or points to nothing.
    pub(crate) fn new(report: &Report, client: &Client, responder: &Responder) -> Result<Self> {
        let account = Account::new(client)?;
        let order = account.order_of("monthly", &[NAME])?;
        account.prove(&order, responder)?;
        account.post(&order.finalize()?, &Account::finalize_payload(&[NAME])?)?.expect(200)?;
        let chain = account.certificate(&order)?;
        let (_, above) = chain.split_once("-----END CERTIFICATE-----\n").context("a chain has two certificates")?;
        let issuer = Issuer::from_pem(above)?;
        let leaf = openssl::der(&chain)?;
        let origin = report.directory.strip_suffix("/directory").context("the directory is at the top")?;
        let pointer = |extension: &str, mark: &str| -> Result<String> {
            let text = openssl::x509(&chain, ["-ext", extension])?;
            let (_, rest) = text.split_once(mark).with_context(|| format!("no {mark} in {text}"))?;
            let url = rest.lines().next().unwrap_or_default().trim();
            let path = url.strip_prefix("http://").and_then(|url| url.split_once('/')).context("a URL has a path")?.1;
            Ok(format!("{origin}/{path}"))
        };
        let status = Self {
            ocsp: pointer("authorityInfoAccess", "OCSP - URI:")?,
            request: ocsp::request(&issuer, Leaf::from_der(&leaf)?.serial)?,
            crl: pointer("crlDistributionPoints", "URI:")?,
        };
        let answer = ocsp::ask(client, &status.ocsp, &status.request)?.expect(200)?;
        ensure!(ocsp::read(&answer, &issuer)?.is_some(), "an OCSP response that says nothing");
        client.get(&status.crl)?.expect(200)?;
        Ok(status)
    }

    /// One series of a kind.
    ///
    /// # Errors
    /// When an answer is not what it should be.
    pub(crate) fn measure(&self, kind: Kind, edge: &Processes, client: &Client) -> Result<Figures> {
        match kind {
            Kind::Crl => bare(edge, client, "GET", &self.crl),
            // The alphabet that paths need no escapes for (RFC 6960 §A.1 has the other one; both are taken).
            Kind::OcspGet => bare(edge, client, "GET", &format!("{}/{}", self.ocsp, base64url::encode(&self.request))),
            _ => Figures::of(edge, |series| {
                let mut times = 0..CHEAP;
                times.try_for_each(|_| {
                    series.send(|| ocsp::ask(client, &self.ocsp, &self.request))?.expect(200).map(drop)
                })
            }),
        }
    }
}
