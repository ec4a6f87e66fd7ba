//! The other signers, each of which this one watches: whether its journal continues what it was. What was seen last is kept in
//! `state/peers/NAME.json`. A peer that lost records, or has others, is an error in the log and a metric, until an operator has
//! removed that file.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, ensure};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request,
    body::Bytes,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST, HeaderValue},
    http::uri::Uri,
};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use shared::checkpoint::{BrokenJournal, Checkpoint, JOURNAL_PATH, JournalReply, Unconfirmed};
use tokio::{
    net::TcpStream,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_rustls::TlsConnector;

use crate::{clock, config::PeerConfig, files, metrics::Metrics, settings::ListenSettings, tls};

/// Between two questions.
const EVERY: Duration = Duration::from_secs(60);
/// One question takes no longer.
const LIMIT: Duration = Duration::from_secs(20);
/// Bytes of an answer.
const ANSWER: usize = 16_384;

/// Another signer.
#[derive(Clone, Debug)]
pub(crate) struct PeerSettings {
    /// Letters, digits, hyphens and underscores.
    pub(crate) name: String,
    /// A DNS name of the certificate that it calls us with.
    pub(crate) identity: String,
    /// Where it listens.
    host: ServerName<'static>,
    port: u16,
    /// What we call it with.
    certificate: PathBuf,
    key: PathBuf,
    roots: PathBuf,
}

/// Watches one peer.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) peer: PeerSettings,
    /// The folder of the state.
    pub(crate) state: PathBuf,
    pub(crate) metrics: Arc<Metrics>,
}

impl PeerSettings {
    /// Checks what an operator wrote. What is left out is as the listener has it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(crate) fn check(config: PeerConfig, folder: &Path, listen: &ListenSettings) -> anyhow::Result<Self> {
        let PeerConfig { name, url, identity, certificate, key, roots } = config;
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        // It becomes part of file names.
        ensure!(
            (1..=64).contains(&name.len()) && name.bytes().all(good),
            "a peer's name is 1 to 64 letters, digits, hyphens and underscores, not {name:?}"
        );
        let uri: Uri = url.parse().with_context(|| format!("peer {name}: {url:?} is no URL"))?;
        let plain =
            uri.scheme_str() == Some("https") && uri.path() == "/" && !url.ends_with('/') && uri.query().is_none();
        ensure!(plain, "peer {name}: its url is https://host[:port], not {url:?}");
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let host = ServerName::try_from(host).with_context(|| format!("peer {name}: {url:?} has no host"))?;
        ensure!(certificate.is_some() == key.is_some(), "peer {name}: it has certificate and key, or neither");
        let or = |file: Option<PathBuf>, other: &Path| file.map_or_else(|| other.to_owned(), |file| folder.join(file));
        Ok(Self {
            identity,
            host,
            port: uri.port_u16().unwrap_or(443),
            certificate: or(certificate, &listen.certificate),
            key: or(key, &listen.key),
            roots: or(roots, &listen.client_roots),
            name,
        })
    }

    /// Reads what it is called with. Anew for each call, so that a rotated certificate is taken.
    ///
    /// # Errors
    /// Names the file that is wrong.
    pub(crate) fn client(&self) -> anyhow::Result<Arc<ClientConfig>> {
        tls::client_config(&self.certificate, &self.key, &self.roots)
    }

    fn memory(&self, state: &Path) -> PathBuf {
        state.join("peers").join(format!("{}.json", self.name))
    }
}

impl Watch {
    /// Asks again and again, for ever.
    pub(crate) async fn run(self) {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let peer = self.peer.name.as_str();
            match timeout(LIMIT, self.look()).await {
                Ok(Ok(None)) => self.metrics.peer_compared(peer, clock::now(), false),
                Ok(Ok(Some(broken))) => {
                    self.metrics.peer_compared(peer, clock::now(), true);
                    tracing::error!(peer, %broken, "a peer's journal is broken: it must not sign any more");
                }
                Ok(Err(error)) => tracing::warn!(peer, error = format!("{error:#}"), "a peer's journal cannot be seen"),
                Err(_) => tracing::warn!(peer, "a peer's journal cannot be seen: no answer in time"),
            }
        }
    }

    /// Compares once. What was remembered stays when it is not continued, so that the next comparison fails too.
    async fn look(&self) -> anyhow::Result<Option<BrokenJournal>> {
        let remembered = self.remembered()?;
        let reply = self.ask(&remembered).await?;
        match remembered.continued(reply) {
            Ok(now) if now == remembered => Ok(None),
            Ok(now) => {
                let path = self.peer.memory(&self.state);
                let folder = path.parent().context("a peer's file has a folder")?;
                std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
                files::replace(&path, &serde_json::to_vec(&now)?)?;
                Ok(None)
            }
            Err(Unconfirmed::Broken(broken)) => Ok(Some(broken)),
            Err(error) => Err(error.into()),
        }
    }

    fn remembered(&self) -> anyhow::Result<Checkpoint> {
        let path = self.peer.memory(&self.state);
        match std::fs::read(&path) {
            Ok(text) => {
                serde_json::from_slice(&text).with_context(|| format!("{} is not a checkpoint", path.display()))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Checkpoint::empty()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    async fn ask(&self, remembered: &Checkpoint) -> anyhow::Result<JournalReply> {
        let PeerSettings { host, port, .. } = &self.peer;
        let (name, connector) = (host.to_str(), TlsConnector::from(self.peer.client()?));
        let stream = TcpStream::connect((name.as_ref(), *port)).await.context("no connection")?;
        let stream = connector.connect(host.clone(), stream).await.context("no handshake")?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::post(JOURNAL_PATH)
            .header(HOST, format!("{name}:{port}"))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(Full::new(Bytes::from(serde_json::to_vec(&remembered.question())?)))?;
        let exchange = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("the answer cannot be read: {error}"))?.to_bytes();
            serde_json::from_slice(&body).with_context(|| format!("status {status} and a body that is no answer"))
        };
        tokio::select! {
            reply = exchange => reply,
            ended = connection => {
                ended?;
                anyhow::bail!("the connection ended without an answer")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, name: &str) -> anyhow::Result<PeerSettings> {
        let listen = ListenSettings {
            address: "127.0.0.1:1".parse().unwrap(),
            certificate: "c".into(),
            key: "k".into(),
            client_roots: "r".into(),
        };
        let text = format!("name = {name:?}\nurl = {url:?}\nidentity = \"s2.internal\"\n");
        PeerSettings::check(toml::from_str(&text).unwrap(), Path::new("/etc"), &listen)
    }

    #[test]
    fn a_peer_has_a_plain_name_and_a_plain_url() {
        let peer = check("https://s2.internal:9443", "s2").unwrap();
        assert_eq!((peer.host.to_str().as_ref(), peer.port), ("s2.internal", 9443));
        assert_eq!(check("https://[::1]", "s2").unwrap().host.to_str(), "::1");
        assert_eq!((peer.certificate, peer.roots), (PathBuf::from("c"), PathBuf::from("r")));
        for url in ["http://s2.internal", "https://s2.internal/", "https://s2.internal/v1", "s2.internal", "https://"] {
            assert!(check(url, "s2").is_err(), "{url}");
        }
        for name in ["", "a/b", "..", "a.b"] {
            assert!(check("https://s2.internal", name).is_err(), "{name}");
        }
    }
}
