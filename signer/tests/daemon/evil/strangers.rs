//! Peers that hold connections, requests and bodies without an end. Each has bounds in number and time, and takes no place of others.

use std::{
    fs,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    os::fd::{AsRawFd, OwnedFd},
    thread,
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect as connect_socket, socket};
use serde_json::Value;
use shared::signing::ISSUE_PATH;

use super::{Stage, connections, policy, rewrite};
use crate::{
    client::simple,
    site::{HANG, Site, eventually},
};

/// A connection from another loopback address.
fn from_address(site: &Site, last: u8) -> TcpStream {
    let port: u16 = site.address.rsplit(':').next().unwrap().parse().unwrap();
    let made: OwnedFd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    let address = |address: SocketAddr| match address {
        SocketAddr::V4(address) => SockaddrIn::from(address),
        SocketAddr::V6(_) => unreachable!("loopback here is IPv4"),
    };
    let from = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), 0);
    bind(made.as_raw_fd(), &address(from)).unwrap();
    connect_socket(made.as_raw_fd(), &address(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))).unwrap();
    let stream = TcpStream::from(made);
    stream.set_read_timeout(Some(HANG)).unwrap();
    stream
}

fn sockets(pid: u32) -> usize {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    files
        .filter(|file| {
            let target = fs::read_link(file.as_ref().unwrap().path()).unwrap_or_default();
            target.to_string_lossy().starts_with("socket:")
        })
        .count()
}

fn is_closed(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    match stream.peek(&mut [0; 1]) {
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

/// A site with these limits in place of its own.
fn site(limits: &str) -> Site {
    let site = Site::new(&["a1"]);
    policy(&site);
    rewrite(&site, |text| text.replace("connections = 256", limits));
    site
}

#[test]
fn silent_connections_of_strangers_take_no_place_of_an_edge_and_end_by_themselves() {
    // Fewer places for edges than one stranger opens; more time than the test takes to open all of them.
    let stage = Stage::of(site("connections = 8\nhandshakes = 64\nhandshakes_per_address = 16\nhandshake_ms = 8000"));
    let before = sockets(stage.daemon.child.id());

    // One address has its places, and no more.
    let one: Vec<_> = (0..48).map(|_| from_address(&stage.site, 2)).collect();
    eventually("those over limits.handshakes_per_address are closed", || {
        one.iter().filter(|stream| is_closed(stream)).count() == 32
    });
    assert_eq!(sockets(stage.daemon.child.id()), before + 16);
    stage.edge.issued(&simple(1));

    // Many addresses have all places, and lose the oldest.
    let many: Vec<_> = (3..11).flat_map(|last| (0..16).map(move |_| last)).collect();
    let many: Vec<_> = many.into_iter().map(|last| from_address(&stage.site, last)).collect();
    eventually("the oldest are closed", || {
        let open = one.iter().chain(&many).filter(|stream| !is_closed(stream)).count();
        open == 64 && sockets(stage.daemon.child.id()) <= before + 64 + 1
    });
    assert!(one.iter().all(is_closed), "the oldest went first");
    stage.edge.issued(&simple(2));
    eventually("all have ended after limits.handshake_ms", || many.iter().all(is_closed));
    eventually("their sockets are closed", || sockets(stage.daemon.child.id()) <= before + 1);
    let lines = stage.daemon.log().matches("handshake refused").count();
    assert!((1..32 + 128).contains(&lines), "{lines} lines of the log for {} connections", 48 + 128);
}

/// A request whose body stops in its middle.
fn half_a_request(stream: &mut connections::Stream) {
    let body = vec![b' '; 1000];
    write!(stream, "POST {ISSUE_PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 60000\r\n\r\n").unwrap();
    stream.write_all(&body).unwrap();
    stream.flush().unwrap();
}

fn status(stream: &mut connections::Stream) -> (u16, String) {
    stream.sock.set_read_timeout(Some(HANG)).unwrap();
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&said).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && serde_json::from_str::<Value>(body).is_ok()
        {
            return (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned());
        }
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "the connection ended without an answer: {text}");
        said.extend_from_slice(&buffer[..read]);
    }
}

#[test]
fn bodies_that_stop_are_refused_and_more_requests_than_an_identity_may_have_are_busy() {
    let limits = "connections = 64\nrequests_per_identity = 8\nbodies_per_identity = 4\nbody_ms = 10000";
    let stage = Stage::of(site(limits));
    let before = stage.spent();
    let evil = crate::site::issue_identity(&stage.site.infrastructure, super::SECOND);
    let mut held: Vec<_> = (0..20).map(|_| connections::connect(&stage.site, &evil).unwrap()).collect();
    held.iter_mut().for_each(half_a_request);
    // Another identity has room of its own.
    stage.edge.issued(&simple(1));
    let answers: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = held.iter_mut().map(|stream| scope.spawn(|| status(stream))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let of = |status: u16, text: &str| answers.iter().filter(|(s, body)| *s == status && body.contains(text)).count();
    assert_eq!(of(503, "limits.requests_per_identity"), 12, "{answers:?}");
    assert_eq!(of(400, "did not arrive within limits.body_ms"), 8, "{answers:?}");
    drop(held);
    assert_eq!(stage.spent().signatures, before.signatures + 1);
}

#[test]
fn a_connection_without_a_request_is_closed_also_before_its_first_byte() {
    let stage = Stage::of(site("connections = 64\nidle_ms = 500"));
    for protocol in [&b"h2"[..], b"http/1.1"] {
        let mut silent = connections::connect_with(&stage.site, &stage.site.edge(), &[protocol]).unwrap();
        silent.sock.set_read_timeout(Some(HANG)).unwrap();
        // An HTTP/2 server speaks first; then the connection ends.
        let ended = silent.read_to_end(&mut Vec::new());
        assert!(
            ended.as_ref().is_ok() || ended.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::UnexpectedEof),
            "{ended:?}"
        );
    }
    stage.edge.issued(&simple(1));
}
