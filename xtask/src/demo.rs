//! `cargo xtask demo`: the stack, one certificate by an ACME client, verified by OpenSSL up to the root, and a line for
//! each common client.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, ExternalAccountKey, Identifier, NewAccount, NewOrder, OrderStatus,
    RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::packages::{self, OPENSSL};
use crate::paths::Paths;
use crate::process::{command, output};
use crate::progress::{Step, note, seconds};
use crate::up::{self, Artefacts, Report, Stack, UpOptions, external_account};

/// The name that gets a certificate.
const NAME: &str = "demo.test";

/// The flags of `demo`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DemoOptions {
    /// Ends after the certificate was verified, instead of staying
    #[arg(long)]
    exit: bool,
    #[command(flatten)]
    up: UpOptions,
}

/// Tokens and the key authorizations that answer them.
type Answers = Arc<Mutex<BTreeMap<String, String>>>;

/// `cargo xtask demo`.
pub(crate) fn demo(paths: &Paths, options: &DemoOptions, started: Instant) -> Result<()> {
    if options.up.detach || options.up.json {
        bail!("demo neither detaches nor speaks JSON: use `cargo xtask up`");
    }
    packages::ensure([OPENSSL])?;
    let artefacts = Artefacts::prepare(paths, &options.up)?;
    let built = started.elapsed();
    let up_started = Instant::now();
    up::run(
        async |stop| {
            let Some(mut stack) = stop.unless(Stack::start(paths, &options.up, &artefacts, up_started)).await? else {
                return Ok(());
            };
            let report = stack.report.clone();
            let shown = async {
                report.print(false)?;
                let folder = issue(&report, options.up.http_port).await?;
                note(format!(
                    "from `up` to the first certificate: {} (building took {})",
                    seconds(up_started.elapsed()),
                    seconds(built)
                ));
                verify(&report, &folder)?;
                println!("{}", clients(&report, options.up.http_port));
                Ok(())
            };
            let result = stop.unless(shown).await;
            let result = match result {
                Ok(Some(())) if !options.exit => stop.unless(stack.watch(false)).await.map(|_| ()),
                other => other.map(|_| ()),
            };
            stack.stop().await;
            result
        },
        false,
    )
}

/// Issues a certificate for [`NAME`] and gives the folder with `leaf.pem`, `chain.pem` and `key.pem`.
async fn issue(report: &Report, http_port: u16) -> Result<std::path::PathBuf> {
    let step = Step::begin(format!("issuing a certificate for {NAME} (http-01)"));
    let answers = Answers::default();
    serve_challenges(http_port, answers.clone()).await?;
    let contact = NewAccount { contact: &[], terms_of_service_agreed: true, only_return_existing: false };
    let binding = report.external_account.as_deref().map(external_account::read).transpose()?;
    let binding = binding.map(|key| ExternalAccountKey::new(key.key_id, &key.hmac_key.0));
    let builder = Account::builder_with_root(&report.ca)?;
    let (account, _) = builder.create(&contact, report.directory.clone(), binding.as_ref()).await?;
    let identifiers = [Identifier::Dns(NAME.to_owned())];
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let mut challenge = authorization.challenge(ChallengeType::Http01).context("the server offers no http-01")?;
        let token = challenge.token.clone();
        let key_authorization = challenge.key_authorization().as_str().to_owned();
        answers.lock().map_err(|_| anyhow!("the challenge server failed"))?.insert(token, key_authorization);
        challenge.set_ready().await?;
    }
    let patience = RetryPolicy::new().initial_delay(Duration::from_millis(100)).timeout(Duration::from_secs(30));
    let status = order.poll_ready(&patience).await?;
    if status != OrderStatus::Ready {
        bail!("the order is {status:?}: {:?}", order.state().error);
    }
    let key = KeyPair::generate()?;
    let mut request = CertificateParams::new(vec![NAME.to_owned()])?;
    request.distinguished_name = DistinguishedName::new();
    order.finalize_csr(request.serialize_request(&key)?.der()).await?;
    let chain = order.poll_certificate(&patience).await?;
    step.done();
    let folder = report.state.join("demo");
    fs::create_dir_all(&folder)?;
    let (leaf, rest) = split_chain(&chain)?;
    fs::write(folder.join("leaf.pem"), leaf)?;
    fs::write(folder.join("chain.pem"), rest)?;
    fs::write(folder.join("key.pem"), key.serialize_pem())?;
    Ok(folder)
}

/// The first certificate of a PEM chain, and the others.
fn split_chain(chain: &str) -> Result<(&str, &str)> {
    const END: &str = "-----END CERTIFICATE-----";
    let first = chain.find(END).context("the server sent no certificate")?;
    Ok(chain.split_at(first + END.len()))
}

fn verify(report: &Report, folder: &Path) -> Result<()> {
    let step = Step::begin("openssl verify");
    let mut verify = command("openssl");
    verify
        .args(["verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", NAME, "-CAfile"])
        .arg(&report.root);
    verify.arg("-untrusted").arg(folder.join("chain.pem")).arg(folder.join("leaf.pem"));
    note(output(&mut verify)?.trim());
    let mut show = command("openssl");
    show.args(["x509", "-noout", "-serial", "-issuer", "-dates", "-ext", "subjectAltName", "-in"])
        .arg(folder.join("leaf.pem"));
    output(&mut show)?.lines().for_each(note);
    step.done();
    Ok(())
}

/// Answers http-01 until the runtime ends: one path, everything else is 404.
async fn serve_challenges(port: u16, answers: Answers) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.with_context(|| {
        format!("port {port} is where http-01 gets validated, and it is taken (--http-port names another)")
    })?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answers = answers.clone();
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                let token = request
                    .strip_prefix("GET /.well-known/acme-challenge/")
                    .and_then(|rest| rest.split_whitespace().next());
                let body = token.and_then(|token| answers.lock().ok()?.get(token).cloned());
                let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
                let body = body.unwrap_or_default();
                let reply = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: application/octet-stream\r\n\
                     Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(reply.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    Ok(())
}

/// Ready lines for the clients that people have.
fn clients(report: &Report, port: u16) -> String {
    let (directory, ca) = (&report.directory, report.ca.display());
    format!(
        "
Get one yourself (any name under test, example or internal; validated at 127.0.0.1:{port}):

certbot
  REQUESTS_CA_BUNDLE={ca} certbot certonly --standalone --http-01-address 127.0.0.1 --http-01-port {port} \\
    --server {directory} -n --agree-tos --register-unsafely-without-email \\
    --config-dir /tmp/certbot/etc --work-dir /tmp/certbot/work --logs-dir /tmp/certbot/logs -d a.test

lego
  LEGO_CA_CERTIFICATES={ca} lego --server {directory} --path /tmp/lego --accept-tos --email you@example.com \\
    --http --http.port 127.0.0.1:{port} -d a.test run

Caddy (in the site's block of the Caddyfile)
  tls {{
    issuer acme {directory} {{
      trusted_roots {ca}
      alt_http_port {port}
    }}
  }}

acme.sh
  acme.sh --issue --standalone --httpport {port} --server {directory} --ca-bundle {ca} -d a.test
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_its_leaf_and_the_rest() {
        let one = "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n";
        let chain = format!("{one}{one}");
        let (leaf, rest) = split_chain(&chain).unwrap();
        assert_eq!(leaf, one.trim_end());
        assert_eq!(rest.trim(), one.trim());
        assert!(split_chain("no").is_err());
    }
}
