//! DNS over HTTPS (RFC 8484) in front of a real DNS server: BIND speaks it over HTTP/2 alone, and the local platform's fetch speaks
//! HTTP/1.1. Only the carrier is ours; every answer is the server's own.

use std::{
    io::{BufRead as _, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

/// Answers until the process ends.
#[derive(Clone, Debug)]
pub struct DnsOverHttps {
    answered: Arc<AtomicUsize>,
}

impl DnsOverHttps {
    /// Listens on this port of loopback with this certificate and key, PEM, and asks the DNS server at that port.
    ///
    /// # Errors
    /// When it cannot.
    pub fn start(port: u16, certificate: &Path, key: &Path, server: u16) -> Result<Self> {
        let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
        let (config, listener) = (Arc::new(config), TcpListener::bind((Ipv4Addr::LOCALHOST, port))?);
        let this = Self { answered: Arc::default() };
        let answered = Arc::clone(&this.answered);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, answered) = (Arc::clone(&config), Arc::clone(&answered));
                thread::spawn(move || converse(stream, config, server, &answered));
            }
        });
        Ok(this)
    }

    /// Questions that it has answered.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }
}

/// One connection: requests until the client closes.
fn converse(stream: TcpStream, config: Arc<ServerConfig>, server: u16, answered: &AtomicUsize) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut reader = BufReader::new(StreamOwned::new(ServerConnection::new(config)?, stream));
    loop {
        let (mut request, mut length) = (String::new(), None);
        anyhow::ensure!(reader.read_line(&mut request)? > 0, "it hung up");
        let mut is_dns = request.starts_with("POST /dns-query ");
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse::<usize>().ok(),
                "content-type" => is_dns &= value.trim() == "application/dns-message",
                _ => {}
            }
        }
        let mut query = vec![0; length.context("a length")?];
        reader.read_exact(&mut query)?;
        let answer = if is_dns { Some(ask(server, &query)?) } else { None };
        let (status, body) = answer.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/dns-message\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let stream = reader.get_mut();
        stream.write_all(head.as_bytes())?;
        stream.write_all(&body)?;
        stream.flush()?;
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// Over TCP (RFC 7766).
fn ask(server: u16, query: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server))?;
    stream.write_all(&u16::try_from(query.len())?.to_be_bytes())?;
    stream.write_all(query)?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}
