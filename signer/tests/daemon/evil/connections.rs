//! More connections than anybody needs. One identity can take its share and no more.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::Value;

use super::{SECOND, Stage, policy, rewrite};
use crate::{
    client::{Edge, simple},
    site::{Identity, Site, issue_identity},
};

/// A connection that says what a test makes it say.
pub(super) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// The connection of this identity, whose handshake is done.
pub(super) fn connect(site: &Site, identity: &Identity) -> io::Result<Stream> {
    connect_with(site, identity, &[])
}

/// The same, with these protocols offered by ALPN.
pub(super) fn connect_with(site: &Site, identity: &Identity, protocols: &[&[u8]]) -> io::Result<Stream> {
    let config = client_config(site, identity, protocols);
    let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let port: u16 = site.address.rsplit(':').next().unwrap().parse().unwrap();
    let socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    socket.set_write_timeout(Some(Duration::from_secs(20)))?;
    let mut stream = StreamOwned::new(connection, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// What this identity connects with.
pub(super) fn client_config(site: &Site, identity: &Identity, protocols: &[&[u8]]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(site.infrastructure.pem().as_bytes()).unwrap()).unwrap();
    let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

/// Asks over this connection and keeps it.
pub(super) fn post(stream: &mut Stream, path: &str, body: &[u8]) -> io::Result<(u16, Value)> {
    write!(stream, "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", body.len())?;
    stream.write_all(body)?;
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let mut answer = vec![0; length];
    reader.read_exact(&mut answer)?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok((status, serde_json::from_slice(&answer).unwrap_or_default()))
}

#[test]
fn a_thousand_connections_of_one_edge_leave_the_others_theirs() {
    let site = Site::new(&["a1"]);
    policy(&site);
    rewrite(&site, |text| text.replace("connections = 256", "connections = 64\nconnections_per_identity = 32"));
    let stage = Stage::of(site);
    let before = stage.spent();
    let (evil, honest) = (stage.site.edge(), issue_identity(&stage.site.infrastructure, SECOND));
    // All are opened and held; whoever is over the share is closed after its handshake.
    let body = serde_json::to_vec(&simple(1)).unwrap();
    let open = || connect(&stage.site, &evil).ok();
    let held: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(move || (0..250).filter_map(|_| open()).collect::<Vec<_>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let other = Edge::with(&stage.site, Some(&honest));
    assert!(other.status().is_ok(), "another edge is served meanwhile");
    let mut held = held;
    let served = held.iter_mut().filter_map(|stream| post(stream, "/v2/none", &body).ok()).count();
    assert!((1..=32).contains(&served), "{served} of {} connections are served", held.len());
    drop(held);
    assert_eq!(stage.spent(), before);
    stage.edge.issued(&simple(2));
}
