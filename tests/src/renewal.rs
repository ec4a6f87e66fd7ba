//! Renewal information as a client asks for it (RFC 9773).

use std::{thread, time::Duration};

use anyhow::{Context as _, Result};
use shared::{
    base64url,
    chain::{Issuer, Leaf},
    timestamp::Timestamp,
};

use crate::{
    client::{Client, Reply},
    openssl,
};

/// A certificate of a chain in PEM.
#[derive(Debug)]
pub struct Subject {
    /// DER.
    pub der: Vec<u8>,
    /// What is in it.
    pub leaf: Leaf,
    /// Who issued it.
    pub issuer: Issuer,
    /// Its identifier (RFC 9773 §4.1).
    pub id: String,
}

impl Subject {
    /// The first certificate of the chain, and the second as its issuer.
    ///
    /// # Errors
    /// When there are no two.
    pub fn of(chain: &str) -> Result<Self> {
        let above = chain.split_inclusive("-----END CERTIFICATE-----").nth(1).context("an issuer")?;
        let der = openssl::der(chain)?;
        let (leaf, issuer) = (Leaf::from_der(&der)?, Issuer::from_pem(above)?);
        let serial = leaf.serial.to_x509()?;
        let id = format!("{}.{}", base64url::encode(issuer.key_identifier()), base64url::encode(serial.as_bytes()));
        Ok(Self { der, leaf, issuer, id })
    }
}

/// What the server says of this identifier, whatever that is.
///
/// # Errors
/// When there is no answer.
pub fn ask(client: &Client, id: &str) -> Result<Reply> {
    client.get(&format!("{}/{id}", client.url("renewalInfo")))
}

/// The answer once the status object has been told of the certificate, which nobody waits for.
///
/// # Errors
/// When that takes longer than some seconds.
pub fn placed(client: &Client, id: &str) -> Result<Reply> {
    for _ in 0..100 {
        let reply = ask(client, id)?;
        if reply.status == 200 {
            return Ok(reply);
        }
        thread::sleep(Duration::from_millis(100));
    }
    ask(client, id)?.expect(200)
}

/// The suggested window of an answer: its start and its end.
///
/// # Errors
/// When there is none.
pub fn window(reply: &Reply) -> Result<(Timestamp, Timestamp)> {
    let window = reply.json()?["suggestedWindow"].clone();
    let time = |name: &str| -> Result<Timestamp> { Ok(window[name].as_str().context("a time")?.parse()?) };
    Ok((time("start")?, time("end")?))
}
