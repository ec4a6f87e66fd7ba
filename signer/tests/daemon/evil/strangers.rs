//! Peers that hold connections, requests and bodies without an end. Each has bounds in number and time, and takes no place of others.

use std::{
    convert::Infallible,
    fs,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    os::fd::{AsRawFd, OwnedFd},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    thread,
};

use hyper::{
    Request,
    body::{Body, Bytes, Frame},
    client::conn::http2,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect as connect_socket, socket};
use serde_json::Value;
use shared::signing::ISSUE_PATH;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::{Stage, connections, policy, rewrite};
use crate::{
    client::{Edge, simple},
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

/// More time than a test takes: what ends sooner does not end by it.
const LONG_MS: u64 = 3_600_000;

#[test]
fn silent_connections_of_strangers_take_no_place_of_an_edge() {
    // Fewer places for edges than one stranger opens.
    let limits = "connections = 8\nhandshakes = 64\nhandshakes_per_address = 16";
    let stage = Stage::of(site(&format!("{limits}\nhandshake_ms = {LONG_MS}")));
    let before = sockets(stage.daemon.child.id());
    let open = |streams: &[TcpStream]| streams.iter().filter(|stream| !is_closed(stream)).count();

    // One address has its places and no more, and keeps no edge out, not even at the same address.
    for last in [2, 1] {
        let one: Vec<_> = (0..48).map(|_| from_address(&stage.site, last)).collect();
        eventually("the oldest over limits.handshakes_per_address are closed", || open(&one) == 16);
        assert!(one[32..].iter().all(|stream| !is_closed(stream)), "the newest are those that are left");
        assert_eq!(sockets(stage.daemon.child.id()), before + 16);
        // A fresh connection, so that a handshake is needed.
        Edge::new(&stage.site).issued(&simple(usize::from(last)));
        drop(one);
        eventually("all its sockets are closed", || sockets(stage.daemon.child.id()) <= before);
    }

    // Many addresses have all places, and one that has few keeps its own.
    let few = [from_address(&stage.site, 20), from_address(&stage.site, 21)];
    let many: Vec<_> = (3..11).flat_map(|last| (0..16).map(move |_| last)).collect();
    let many: Vec<_> = many.into_iter().map(|last| from_address(&stage.site, last)).collect();
    eventually("those over limits.handshakes are closed", || {
        open(&many) == 62 && sockets(stage.daemon.child.id()) <= before + 64 + 1
    });
    assert_eq!(open(&few), 2, "those of others went first");
    Edge::new(&stage.site).issued(&simple(3));
    assert_eq!(open(&few), 2, "those of others went first");
    let lines = stage.daemon.log().matches("handshake refused").count();
    assert!((1..96 + 128).contains(&lines), "{lines} lines of the log");
}

#[test]
fn a_handshake_that_stands_still_ends_by_itself() {
    let stage = Stage::of(site("connections = 8\nhandshake_ms = 500"));
    let before = sockets(stage.daemon.child.id());
    // One that sends nothing, and one that begins and stops.
    let mut streams = [from_address(&stage.site, 2), from_address(&stage.site, 3)];
    streams[1].write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
    for stream in &mut streams {
        // The end, or a reset.
        assert_eq!(stream.read(&mut [0; 64]).unwrap_or(0), 0);
    }
    eventually("the sockets are closed", || sockets(stage.daemon.child.id()) <= before);
    assert!(stage.daemon.log().contains("no handshake within limits.handshake_ms = 500"));
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
    // Those that wait for the place of a body get it at the end of another one's time, or not at all.
    let (stopped, waited) = (of(400, "did not arrive within limits.body_ms"), of(503, "limits.bodies_per_identity"));
    assert!(stopped >= 4 && stopped + waited == 8, "{answers:?}");
    drop(held);
    assert_eq!(stage.spent().signatures, before.signatures + 1);
}

/// A body that stops after some bytes, and never ends.
struct Stopped(Option<Bytes>);

impl Body for Stopped {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.0.take().map_or(Poll::Pending, |bytes| Poll::Ready(Some(Ok(Frame::data(bytes)))))
    }
}

/// Connections of HTTP/2, requests on each, and how many of all are answered at one time.
const CONNECTIONS: usize = 4;
const STREAMS: usize = 200;
const REQUESTS: usize = 100;

fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn bodies_of_http2_that_stop_are_bounded_over_all_connections_of_an_identity() {
    let limits =
        format!("connections = 256\nrequests_per_identity = {REQUESTS}\nbodies_per_identity = 50\nbody_ms = {LONG_MS}");
    let stage = Stage::of(site(&limits));
    let evil = crate::site::issue_identity(&stage.site.infrastructure, super::SECOND);
    let config = Arc::new(connections::client_config(&stage.site, &evil, &[b"h2"]));
    let port: u16 = stage.site.address.rsplit(':').next().unwrap().parse().unwrap();
    let pid = stage.daemon.child.id();
    let before = resident_kib(pid);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut senders, mut answers) = (Vec::new(), JoinSet::new());
        for _ in 0..CONNECTIONS {
            let socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let connector = TlsConnector::from(Arc::clone(&config));
            let stream = connector.connect("localhost".try_into().unwrap(), socket).await.unwrap();
            let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            for _ in 0..STREAMS {
                let request = Request::post(format!("https://localhost{ISSUE_PATH}")).header("content-length", 60_000);
                let request = request.body(Stopped(Some(Bytes::from(vec![b' '; 1000])))).unwrap();
                answers.spawn(sender.clone().send_request(request));
            }
            senders.push(sender);
        }
        for _ in 0..CONNECTIONS * STREAMS - REQUESTS {
            let answer = tokio::time::timeout(HANG, answers.join_next()).await.expect("an answer").unwrap().unwrap();
            assert_eq!(answer.unwrap().status(), 503);
        }
        assert_eq!(answers.len(), REQUESTS, "those that are held");
        println!(
            "{CONNECTIONS} connections, {} requests of which {REQUESTS} are held: {before} KiB, then {} KiB",
            CONNECTIONS * STREAMS,
            resident_kib(pid)
        );
        let edge = stage.edge.clone();
        tokio::task::spawn_blocking(move || edge.issued(&simple(1))).await.unwrap();
        assert!(answers.try_join_next().is_none(), "none of those that are held has an answer");
    });
    // With the connections what they held is gone.
    let honest = Edge::with(&stage.site, Some(&evil));
    eventually("the identity has its places back", || honest.status().is_ok());
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
