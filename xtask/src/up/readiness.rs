//! Whether the edge serves: asked as a client would. And whether anything listens.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use tokio::net::TcpStream;
use tokio::time::sleep;

/// How long the edge may take until it answers.
const EDGE_LIMIT: Duration = Duration::from_secs(30);

/// Waits until the directory is served over TLS, with the certificate that clients will be told to trust.
pub(crate) async fn serves(directory: String, ca: PathBuf) -> Result<()> {
    let ca = std::fs::read(&ca).with_context(|| format!("reading {}", ca.display()))?;
    let root = ureq::tls::Certificate::from_pem(&ca)?;
    let agent = ureq::Agent::config_builder()
        .proxy(None)
        .timeout_global(Some(Duration::from_secs(5)))
        .http_status_as_error(false)
        .tls_config(ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::new_with_certs(&[root])).build())
        .build()
        .new_agent();
    let deadline = Instant::now() + EDGE_LIMIT;
    loop {
        let (agent, url) = (agent.clone(), directory.clone());
        let attempt = tokio::task::spawn_blocking(move || -> Result<()> {
            let mut response = agent.get(&url).call()?;
            let status = response.status();
            let body = response.body_mut().read_to_string()?;
            let is_directory =
                serde_json::from_str::<serde_json::Value>(&body).is_ok_and(|body| body.get("newNonce").is_some());
            if status == 200 && is_directory { Ok(()) } else { Err(anyhow!("{url} answered {status}: {body}")) }
        })
        .await?;
        match attempt {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() >= deadline => {
                return Err(error.context("the edge does not serve its directory"));
            }
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Waits until something listens there.
pub(crate) async fn listens(address: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + EDGE_LIMIT;
    loop {
        match TcpStream::connect(address).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= deadline => {
                return Err(error).with_context(|| format!("nothing listens on {address}"));
            }
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}
