//! The HTTP client of probes, without its sockets (RFC 9112): one GET on a connection of its own. Heads are read as browsers read
//! them; bodies are bounded. Nothing here judges what came.

use std::pin::pin;

use futures_util::future::{Either, select};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::acme::{
    probe::{Evidence, MAX_BODY, Peer, ProbeFault},
    probe_redirect::{BadRedirect, HttpTarget, Ports},
};

/// Names us in the logs of those who are probed.
pub(crate) const USER_AGENT: &str = concat!("Colophon/", env!("CARGO_PKG_VERSION"));

/// Any type of body will do.
pub(crate) const ACCEPT: &str = "*/*";

/// No coding of the body: it is compared as it comes.
pub(crate) const ACCEPT_ENCODING: &str = "identity";

/// The largest head of an answer, in bytes. A longer one is an error.
const MAX_HEAD: usize = 64 * 1024;

/// The most header fields of an answer. More are an error.
const MAX_HEADERS: usize = 2048;

/// One answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A redirect, with its `Location`.
    Redirect(Vec<u8>),
    /// The end.
    Final(Evidence),
}

/// Sends one GET and reads its answer.
///
/// # Errors
/// [`ProbeFault::NotHttp`], [`ProbeFault::Broken`], [`ProbeFault::LongBody`].
pub(crate) async fn exchange<C>(
    connection: C,
    target: &HttpTarget,
    ports: Ports,
    peer: &Peer,
) -> Result<Answer, ProbeFault>
where
    C: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let fault = |error: hyper::Error| match error.is_parse() {
        true => ProbeFault::NotHttp(peer.clone()),
        false => ProbeFault::Broken(peer.clone()),
    };
    let request = Request::get(&target.path)
        .header(header::HOST, target.authority(ports))
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::ACCEPT, ACCEPT)
        .header(header::ACCEPT_ENCODING, ACCEPT_ENCODING)
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| ProbeFault::BadRedirect { to: target.path.clone(), why: BadRedirect::Character })?;
    let (mut sender, driver) = http1::Builder::new()
        .title_case_headers(true)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .ignore_invalid_headers_in_responses(true)
        .handshake(TokioIo::new(connection))
        .await
        .map_err(fault)?;
    let answer = pin!(async move { read(sender.send_request(request).await.map_err(fault)?, peer).await });
    // The driver moves the bytes. When it ends first, all of them are there or the answer says what broke.
    match select(answer, pin!(driver)).await {
        Either::Left((answer, _driver)) => answer,
        Either::Right((_ended, answer)) => answer.await,
    }
}

async fn read(response: Response<Incoming>, peer: &Peer) -> Result<Answer, ProbeFault> {
    let status = response.status().as_u16();
    if is_redirect(status)
        && let Some(location) = response.headers().get(header::LOCATION)
    {
        return Ok(Answer::Redirect(location.as_bytes().trim_ascii().to_vec()));
    }
    let mut body = Vec::new();
    if status == 200 {
        let mut incoming = response.into_body();
        while let Some(frame) = incoming.frame().await {
            let data = frame.map_err(|_| ProbeFault::Broken(peer.clone()))?.into_data().unwrap_or_default();
            if MAX_BODY.saturating_sub(body.len()) < data.len() {
                return Err(ProbeFault::LongBody(peer.clone()));
            }
            body.extend_from_slice(&data);
        }
    }
    Ok(Answer::Final(Evidence::Http { status, body }))
}

/// Statuses whose `Location` is followed (RFC 9110 §15.4).
pub(crate) const fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join;
    use shared::identifier::Identifier;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const PORTS: Ports = Ports { http: 80, https: 443 };

    fn peer() -> Peer {
        Peer::Address("192.0.2.1:80".parse().unwrap())
    }

    /// What comes of an answer with these bytes, and what was asked.
    fn ask(answer: &[u8]) -> (Result<Answer, ProbeFault>, String) {
        let target = HttpTarget::challenge(&Identifier::Dns("a.test".parse().unwrap()), "token");
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let serve = async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(theirs.read_u8().await.unwrap());
            }
            theirs.write_all(answer).await.unwrap();
            String::from_utf8(head).unwrap()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let peer = peer();
        runtime.block_on(join(exchange(ours, &target, PORTS, &peer), serve))
    }

    fn body(answer: &[u8]) -> Result<Vec<u8>, ProbeFault> {
        match ask(answer).0? {
            Answer::Final(Evidence::Http { status: 200, body }) => Ok(body),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_asks_for_a_body_without_a_coding() {
        let (_, asked) = ask(b"HTTP/1.1 404 Not Found\r\n\r\n");
        let expected = format!(
            "GET /.well-known/acme-challenge/token HTTP/1.1\r\nHost: a.test\r\nUser-Agent: {USER_AGENT}\r\n\
             Accept: */*\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(asked, expected);
    }

    #[test]
    fn heads_are_read_as_browsers_read_them() {
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\nproof", "X-Header: of a proxy\r\n".repeat(1000));
        let table: [(&str, &[u8]); 6] = [
            ("obsolete line folding", b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\tc\r\nContent-Length: 5\r\n\r\nproof"),
            ("a blank before a colon", b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\nX\t: y\r\n\r\nproof"),
            ("a field without a colon", b"HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 5\r\n\r\nproof"),
            ("a name that is no token", b"HTTP/1.1 200 OK\r\nX(y): z\r\nContent-Length: 5\r\n\r\nproof"),
            ("no reason phrase", b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nproof"),
            ("many header fields", many.as_bytes()),
        ];
        for (name, answer) in table {
            assert_eq!(body(answer).as_deref(), Ok(&b"proof"[..]), "{name}");
        }
        let (folded, _) = ask(b"HTTP/1.1 302 Found\r\nLocation :\r\n /x\r\n\r\n");
        assert_eq!(folded, Ok(Answer::Redirect(b"/x".to_vec())));
    }

    /// A body that was cut after 4096 bytes once proved what its rest denied.
    #[test]
    fn a_body_that_is_too_long_is_an_error_and_never_a_shorter_one() {
        let answer = |length: usize, chunked: bool| {
            let content = [b"proof".as_slice(), &vec![b' '; length - 5]].concat();
            let (head, tail) = match chunked {
                true => {
                    (format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n"), "\r\n0\r\n\r\n")
                }
                false => ("HTTP/1.1 200 OK\r\n\r\n".to_owned(), ""),
            };
            body(&[head.as_bytes(), &content, tail.as_bytes()].concat())
        };
        for chunked in [true, false] {
            assert_eq!(answer(MAX_BODY, chunked).unwrap().len(), MAX_BODY);
            assert_eq!(answer(MAX_BODY + 1, chunked), Err(ProbeFault::LongBody(peer())));
        }
        let long = [b"HTTP/1.1 404 Not Found\r\n\r\n".as_slice(), &[b'x'; 2 * MAX_BODY]].concat();
        let missing = Answer::Final(Evidence::Http { status: 404, body: Vec::new() });
        assert_eq!(ask(&long).0, Ok(missing), "the status is the problem, not the length of its page");
    }

    #[test]
    fn what_exceeds_a_limit_or_breaks_off_names_the_server() {
        let fields = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(MAX_HEADERS + 1));
        let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(4 * MAX_HEAD));
        let table: [(&[u8], ProbeFault); 5] = [
            (fields.as_bytes(), ProbeFault::NotHttp(peer())),
            (long.as_bytes(), ProbeFault::NotHttp(peer())),
            (b"SSH-2.0-OpenSSH_9.2\r\n", ProbeFault::NotHttp(peer())),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nproof", ProbeFault::Broken(peer())),
            (b"", ProbeFault::Broken(peer())),
        ];
        for (answer, fault) in table {
            assert_eq!(ask(answer).0, Err(fault), "{:?}", String::from_utf8_lossy(answer).get(..20));
        }
        let words = ProbeFault::Broken(peer()).to_string();
        assert_eq!(words, "the connection to 192.0.2.1 port 80 (IPv4) was closed before the answer was complete");
    }
}
