//! http-01 against right, wrong, slow, huge and hostile targets (RFC 8555 §8.3, §10.2): each ends in time, and in its own problem.

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Result;
use tests::stack::free_port;

use crate::{
    target::{Asked, End},
    world::{EMPTY, OPEN, TIMEOUT, world},
};

const NOT_HTTP: End = Err(("incorrectResponse", "not HTTP"));
const BROKEN: End = Err(("connection", "was closed before the answer was complete"));
const LATE: End =
    Err(("connection", "the time for validation ended while waiting for the end of the HTTP answer of 127.0.0.1"));
const OTHER: End = Err(("incorrectResponse", "not the key authorization"));

/// A challenge for a name where probes may go.
fn asked(name: &str) -> Result<Asked> {
    world().open(name)?;
    Asked::of(&world().client, name)
}

#[test]
fn the_right_answer_proves_and_the_request_is_plain() -> Result<()> {
    let asked = asked("right.http.test")?;
    world().target.prove(&asked.path, &asked.key_authorization);
    asked.ends(Ok(()))?;
    let heads = world().target.asked(&asked.path);
    let head = heads[0].to_lowercase();
    assert_eq!(heads.len(), 1, "{heads:?}");
    assert!(head.starts_with("get /.well-known/acme-challenge/"), "{head}");
    assert!(head.contains(&format!("\nhost: right.http.test:{}", world().target.port)), "{head}");
    assert!(head.contains("\nuser-agent: colophon/"), "{head}");
    assert!(head.contains("\naccept-encoding: identity"), "{head}");
    for absent in ["cookie", "authorization", "referer", "range"] {
        assert!(!head.contains(&format!("\n{absent}:")), "{head}");
    }
    Ok(())
}

#[test]
fn answers_of_every_form_that_http_has_are_read() -> Result<()> {
    for (index, form) in ["chunked", "close", "folded", "informational", "spaces", "trailers"].into_iter().enumerate() {
        let asked = asked(&format!("form-{index}.http.test"))?;
        let proof = asked.key_authorization.clone();
        let (head, tail) = proof.split_at(10);
        let bytes = match form {
            "chunked" => format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n{head}\r\n{:x};ext=1\r\n{tail}\r\n0\r\n\r\n",
                tail.len()
            ),
            "close" => format!("HTTP/1.0 200 OK\r\n\r\n{proof}"),
            "folded" => {
                let many = "X-Header: of a proxy\r\n".repeat(500);
                format!("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n{many}Content-Length : {}\r\n\r\n{proof}", proof.len())
            }
            "informational" => {
                format!(
                    "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{proof}",
                    proof.len()
                )
            }
            "spaces" => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{proof} \t\r\n\r\n", proof.len() + 6),
            _ => format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{proof}\r\n0\r\nX: y\r\n\r\n",
                proof.len()
            ),
        };
        world().target.say(&asked.path, bytes);
        asked.ends(Ok(())).map_err(|error| error.context(form))?;
    }
    Ok(())
}

#[test]
fn a_wrong_answer_is_told_apart_from_a_wrong_status() -> Result<()> {
    let wrong = asked("wrong.http.test")?;
    world().target.prove(&wrong.path, "something else that must not be repeated");
    let settled = wrong.ends(OTHER)?;
    assert!(!settled.problem.1.contains("repeated"), "{settled:?}");
    let missing = asked("missing.http.test")?;
    missing.ends(Err(("incorrectResponse", "status 404")))?;
    let half = asked("half.http.test")?;
    world().target.say(&half.path, "HTTP/1.1 206 Partial Content\r\nContent-Length: 0\r\n\r\n");
    half.ends(Err(("incorrectResponse", "status 206"))).map(drop)
}

#[test]
fn ten_redirects_are_followed_and_eleven_are_not() -> Result<()> {
    for (redirects, expected) in [(1, Ok(())), (10, Ok(())), (11, Err(("incorrectResponse", "more than 10 redirects")))]
    {
        let asked = asked(&format!("redirects-{redirects}.http.test"))?;
        let step =
            |number: usize| if number == 0 { asked.path.clone() } else { format!("/step/{number}{}", asked.path) };
        for number in 0..redirects {
            world().target.redirect(&step(number), &step(number + 1));
        }
        world().target.prove(&step(redirects), &asked.key_authorization);
        asked.ends(expected)?;
        let reached = world().target.asked(&step(redirects)).len();
        assert_eq!(reached, usize::from(expected.is_ok()), "{redirects}");
    }
    Ok(())
}

#[test]
fn a_redirect_to_itself_ends_after_ten() -> Result<()> {
    let asked = asked("loop.http.test")?;
    world().target.redirect(&asked.path, &format!("http://loop.http.test:{}{}", world().target.port, asked.path));
    asked.ends(Err(("incorrectResponse", "more than 10 redirects")))?;
    assert_eq!(world().target.asked(&asked.path).len(), 11);
    Ok(())
}

#[test]
fn whoever_is_not_there_is_a_failed_connection() -> Result<()> {
    world().resolver.put("absent.http.test", &[EMPTY])?;
    Asked::of(&world().client, "absent.http.test")?.ends(Err(("connection", "no connection: 127.0.0.9 port ")))?;
    Asked::of(&world().client, "unknown.http.test")?
        .ends(Err(("dns", "unknown.http.test: the name does not exist")))?;
    world().resolver.put("bare.http.test", &[])?;
    Asked::of(&world().client, "bare.http.test")?.ends(Err(("dns", "no record"))).map(drop)
}

#[test]
fn an_address_that_refuses_is_followed_by_the_next() -> Result<()> {
    for (index, addresses) in [["::1", OPEN], [EMPTY, OPEN]].into_iter().enumerate() {
        let name = format!("second-{index}.http.test");
        world().resolver.put(&name, &addresses)?;
        let asked = Asked::of(&world().client, &name)?;
        world().target.prove(&asked.path, &asked.key_authorization);
        asked.ends(Ok(())).map_err(|error| error.context(format!("{addresses:?}")))?;
    }
    Ok(())
}

/// None of these ends by itself.
#[test]
fn slow_targets_end_with_the_time_for_a_probe() -> Result<()> {
    type Slow = fn(&mut std::net::TcpStream) -> std::io::Result<()>;
    let table: [(&str, Slow); 5] = [
        ("silent", |_| {
            thread::sleep(TIMEOUT * 3);
            Ok(())
        }),
        ("slow-head", |stream| drip(stream, b"HTTP/1.1 200 OK\r\nX: ")),
        ("slow-body", |stream| drip(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n")),
        ("slow-chunks", |stream| drip(stream, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n")),
        ("interim", |stream| {
            loop {
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
                thread::sleep(Duration::from_millis(100));
            }
        }),
    ];
    for (name, answer) in table {
        let asked = asked(&format!("{name}.http.test"))?;
        world().target.answer(&asked.path, answer);
        let settled = asked.ends(LATE).map_err(|error| error.context(name))?;
        assert!(settled.took >= TIMEOUT / 2 && settled.took < TIMEOUT * 3, "{name}: {settled:?}");
    }
    Ok(())
}

fn drip(stream: &mut std::net::TcpStream, first: &[u8]) -> std::io::Result<()> {
    stream.write_all(first)?;
    loop {
        thread::sleep(Duration::from_millis(100));
        stream.write_all(b"x")?;
    }
}

#[test]
fn a_body_without_end_is_not_read_to_its_end() -> Result<()> {
    for (index, head) in ["Content-Length: 104857600", "Connection: close"].into_iter().enumerate() {
        let asked = asked(&format!("huge-{index}.http.test"))?;
        let written = Arc::new(AtomicUsize::new(0));
        let (counter, proof) = (Arc::clone(&written), asked.key_authorization.clone());
        world().target.answer(&asked.path, move |stream| {
            write!(stream, "HTTP/1.1 200 OK\r\n{head}\r\n\r\n{proof}")?;
            for _ in 0..1600 {
                stream.write_all(&[b' '; 65_536])?;
                counter.fetch_add(65_536, Ordering::Relaxed);
            }
            Ok(())
        });
        // White space behind the proof counts for nothing, but a body is never cut: what exceeds the limit is refused.
        asked.ends(Err(("incorrectResponse", "has more than 4096 bytes")))?;
        thread::sleep(Duration::from_millis(500));
        let written = written.load(Ordering::Relaxed);
        assert!(written < 100 << 20, "{head}: {written} bytes were taken");
    }
    Ok(())
}

#[test]
fn what_is_not_http_is_told_apart_from_a_connection_that_breaks() -> Result<()> {
    let table: [(&str, Vec<u8>, End); 12] = [
        ("http-0-9", b"the whole answer\n".to_vec(), NOT_HTTP),
        ("preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), NOT_HTTP),
        ("settings", b"\0\0\0\x04\0\0\0\0\0".to_vec(), NOT_HTTP),
        ("tls", b"\x15\x03\x01\0\x02\x02\x46".to_vec(), NOT_HTTP),
        ("version", b"HTTP/9.9 200 OK\r\n\r\n".to_vec(), NOT_HTTP),
        ("status", b"HTTP/1.1 20x OK\r\n\r\n".to_vec(), NOT_HTTP),
        ("long-head", [b"HTTP/1.1 200 OK\r\nX: ", "x".repeat(1 << 20).as_bytes()].concat(), NOT_HTTP),
        ("many-headers", [b"HTTP/1.1 200 OK\r\n", "X: y\r\n".repeat(3000).as_bytes(), b"\r\n"].concat(), NOT_HTTP),
        ("two-lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx".to_vec(), NOT_HTTP),
        ("nothing", Vec::new(), BROKEN),
        ("half-a-body", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx".to_vec(), BROKEN),
        ("bad-chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx".to_vec(), BROKEN),
    ];
    for (name, bytes, expected) in table {
        let asked = asked(&format!("{name}.http.test"))?;
        world().target.say(&asked.path, bytes);
        let settled = asked.ends(expected).map_err(|error| error.context(name))?;
        assert!(settled.took < TIMEOUT * 2, "{name}: {settled:?}");
    }
    Ok(())
}

#[test]
fn redirects_lead_nowhere_else() -> Result<()> {
    let other = free_port()?;
    let table = [
        format!("https://elsewhere.http.test:{other}/"),
        "ftp://elsewhere.http.test/".to_owned(),
        "file:///etc/passwd".to_owned(),
        format!("http://elsewhere.http.test:{other}/"),
        format!("http://user:secret@elsewhere.http.test:{}/", world().target.port),
        format!("http://*.http.test:{}/", world().target.port),
        "http://".to_owned(),
        "/a b".to_owned(),
        "/\u{e4}".to_owned(),
    ];
    for (index, location) in table.iter().enumerate() {
        let asked = asked(&format!("elsewhere-{index}.http.test"))?;
        world().target.redirect(&asked.path, location);
        asked
            .ends(Err(("incorrectResponse", "is not followed: it")))
            .map_err(|error| error.context(location.clone()))?;
    }
    assert_eq!(world().resolver.lookups("elsewhere.http.test"), 0);
    Ok(())
}
