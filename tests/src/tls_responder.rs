//! Answers TLS connections by the name that they ask for (SNI): with a certificate, with HTTP behind one, by way of another
//! server, or as no TLS server would. tls-alpn-01 and the https URLs of http-01 are looked for here (RFC 8737 §3).

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, Ipv6Addr, Shutdown, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use rcgen::{CertificateParams, CustomExtension, KeyPair, SanType};
use rustls::{
    ServerConfig, ServerConnection, Stream,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::Acceptor,
    sign::{CertifiedKey, SingleCertAndKey},
};

/// What is done with a connection.
#[derive(Clone, Debug)]
pub enum Manner {
    /// A handshake, and this answer to a GET, if one comes.
    Tls(Arc<ServerConfig>, String),
    /// The server at this port of 127.0.0.1 has it.
    Forward(u16),
    /// These bytes, whatever comes.
    Say(&'static [u8]),
    /// Nothing, for as long as the other side waits.
    Silent,
}

/// Listens until the process ends.
#[derive(Clone, Debug)]
pub struct TlsResponder {
    /// Where it listens, at 127.0.0.1 and, where there is IPv6, at `::1`.
    pub port: u16,
    /// True when it listens at `::1` too.
    pub ipv6: bool,
    manners: Arc<Mutex<BTreeMap<String, Manner>>>,
}

impl TlsResponder {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let other = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).ok();
        let responder = Self { port, ipv6: other.is_some(), manners: Arc::default() };
        for listener in std::iter::once(listener).chain(other) {
            let responder = responder.clone();
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let responder = responder.clone();
                    thread::spawn(move || responder.answer(stream));
                }
            });
        }
        Ok(responder)
    }

    /// Answers this name so from now on; the empty name is that of connections without SNI.
    pub fn put(&self, name: &str, manner: Manner) {
        self.manners.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), manner);
    }

    fn answer(&self, mut stream: TcpStream) -> Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let (mut acceptor, mut heard) = (Acceptor::default(), Vec::new());
        let accepted = loop {
            let mut part = [0; 4096];
            let read = stream.read(&mut part)?;
            let part = part.get(..read).filter(|part| !part.is_empty()).context("it hung up")?;
            heard.extend_from_slice(part);
            acceptor.read_tls(&mut &*part)?;
            if let Some(accepted) = acceptor.accept().map_err(|(error, _)| error)? {
                break accepted;
            }
        };
        let name = accepted.client_hello().server_name().unwrap_or_default().to_owned();
        let manner = self.manners.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        match manner.with_context(|| format!("nobody is {name:?}"))? {
            Manner::Tls(config, body) => {
                let connection = accepted.into_connection(config).or_else(|(error, mut alert)| {
                    alert.write(&mut stream)?;
                    Err(anyhow::Error::from(error))
                });
                serve(connection?, &mut stream, &body)
            }
            Manner::Forward(port) => forward(stream, port, &heard),
            Manner::Say(bytes) => Ok(stream.write_all(bytes)?),
            Manner::Silent => Ok(io::copy(&mut stream, &mut io::sink()).map(|_| ())?),
        }
    }
}

/// A server that presents a fresh self-signed certificate of P-256 for these names and with these extensions, and speaks these
/// protocols.
///
/// # Errors
/// When a certificate cannot have them.
pub fn presents(names: &[&str], extensions: Vec<CustomExtension>, protocols: &[&str]) -> Result<Arc<ServerConfig>> {
    let mut params = CertificateParams::default();
    for name in names {
        let name = name.parse().map(SanType::IpAddress).or_else(|_| (*name).try_into().map(SanType::DnsName))?;
        params.subject_alt_names.push(name);
    }
    params.custom_extensions = extensions;
    let key = KeyPair::generate()?;
    let chain = vec![params.self_signed(&key)?.der().clone()];
    let provider = Arc::new(ring::default_provider());
    let signs = provider.key_provider.load_private_key(PrivateKeyDer::Pkcs8(key.serialize_der().into()))?;
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
    // Not `with_single_cert`: it looks at the certificate, and refuses one with a critical extension that it does not know.
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, signs))));
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

/// A server that presents the certificate chain in this PEM file, with this key, and speaks HTTP/1.1.
///
/// # Errors
/// When a file cannot be read or they do not fit together.
pub fn of_files(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
    Ok(Arc::new(builder.with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?))
}

/// Answers every GET at this listener with this body, until the process ends.
pub fn answer_all(listener: &TcpListener, config: &Arc<ServerConfig>, body: &str) {
    for mut stream in listener.incoming().flatten() {
        let (config, body) = (Arc::clone(config), body.to_owned());
        thread::spawn(move || -> Result<()> {
            stream.set_read_timeout(Some(Duration::from_secs(30)))?;
            serve(ServerConnection::new(config)?, &mut stream, &body)
        });
    }
}

fn serve(mut connection: ServerConnection, stream: &mut TcpStream, body: &str) -> Result<()> {
    let mut stream = Stream::new(&mut connection, stream);
    let mut head = BufReader::new(&mut stream).lines();
    // Who is only after the certificate hangs up here.
    while head.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    drop(head);
    let length = body.len();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")?;
    stream.conn.send_close_notify();
    Ok(stream.flush()?)
}

fn forward(mut stream: TcpStream, port: u16, heard: &[u8]) -> Result<()> {
    let mut other = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    other.write_all(heard)?;
    let (mut back, mut there) = (other.try_clone()?, stream.try_clone()?);
    thread::spawn(move || {
        let copied = io::copy(&mut back, &mut there);
        let _ = there.shutdown(Shutdown::Both);
        copied
    });
    io::copy(&mut stream, &mut other)?;
    Ok(other.shutdown(Shutdown::Write)?)
}
