//! Answers http-01: one path, everything else is 404 (RFC 8555 §8.3).

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::Result;

const PREFIX: &str = "/.well-known/acme-challenge/";

/// Something for each token.
type Answers = Arc<Mutex<BTreeMap<String, String>>>;

/// Listens until the process ends.
#[derive(Clone, Debug)]
pub struct Responder {
    /// Where it listens, at 127.0.0.1 and, where there is IPv6, at `::1`.
    pub port: u16,
    /// True when it listens at `::1` too.
    pub ipv6: bool,
    answers: Answers,
    hosts: Answers,
}

impl Responder {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let (answers, hosts) = (Answers::default(), Answers::default());
        let other = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).ok();
        let ipv6 = other.is_some();
        for listener in std::iter::once(listener).chain(other) {
            let shared = (Arc::clone(&answers), Arc::clone(&hosts));
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let (answers, hosts) = shared.clone();
                    thread::spawn(move || answer(stream, &answers, &hosts));
                }
            });
        }
        Ok(Self { port, ipv6, answers, hosts })
    }

    /// Answers this token from now on.
    pub fn put(&self, token: &str, key_authorization: String) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(token.to_owned(), key_authorization);
    }

    /// The `Host` that this token was last asked for with.
    #[must_use]
    pub fn host(&self, token: &str) -> Option<String> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }
}

fn answer(mut stream: TcpStream, answers: &Answers, hosts: &Answers) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let token = first.split(' ').nth(1).and_then(|path| path.strip_prefix(PREFIX)).unwrap_or_default();
    // Closing with unread input would reset the connection.
    for line in lines {
        match line?.split_once(':') {
            Some((name, host)) if name.eq_ignore_ascii_case("host") => {
                hosts.lock().unwrap_or_else(PoisonError::into_inner).insert(token.to_owned(), host.trim().to_owned());
            }
            Some(_) => {}
            None => break,
        }
    }
    let body = answers.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned();
    let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
    let body = body.unwrap_or_default();
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())?;
    Ok(())
}
