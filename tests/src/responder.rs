//! Answers http-01 as it is told to, and remembers what it was asked; everything else is 404 (RFC 8555 §8.3).

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::Result;

const PREFIX: &str = "/.well-known/acme-challenge/";

#[derive(Debug, Default)]
struct Book {
    /// By path: the status line, headers, and the body.
    answers: BTreeMap<String, (String, String)>,
    /// By path: the heads of the requests, in their order; a body follows an empty line.
    asked: BTreeMap<String, Vec<String>>,
}

type Shared = Arc<Mutex<Book>>;

/// Listens until the process ends.
#[derive(Clone, Debug)]
pub struct Responder {
    /// Where it listens, at 127.0.0.1 and, where there is IPv6, at `::1`.
    pub port: u16,
    /// True when it listens at `::1` too.
    pub ipv6: bool,
    book: Shared,
}

impl Responder {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let book = Shared::default();
        let other = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).ok();
        let ipv6 = other.is_some();
        for listener in std::iter::once(listener).chain(other) {
            let shared = Arc::clone(&book);
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let book = Arc::clone(&shared);
                    thread::spawn(move || answer(stream, &book));
                }
            });
        }
        Ok(Self { port, ipv6, book })
    }

    /// Answers this token from now on.
    pub fn put(&self, token: &str, key_authorization: String) {
        self.answer(&format!("{PREFIX}{token}"), "200 OK", key_authorization);
    }

    /// Answers this path from now on: `head` is the status and, after line breaks, headers.
    pub fn answer(&self, path: &str, head: &str, body: String) {
        lock(&self.book).answers.insert(path.to_owned(), (head.to_owned(), body));
    }

    /// The heads of the requests for this token so far.
    #[must_use]
    pub fn asked(&self, token: &str) -> Vec<String> {
        self.asked_for(&format!("{PREFIX}{token}"))
    }

    /// The requests for this path so far: the head, and after an empty line the body.
    #[must_use]
    pub fn asked_for(&self, path: &str) -> Vec<String> {
        lock(&self.book).asked.get(path).cloned().unwrap_or_default()
    }

    /// The `Host` that this token was last asked for with.
    #[must_use]
    pub fn host(&self, token: &str) -> Option<String> {
        let head = self.asked(token).pop()?;
        let host = |line: &str| {
            line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("host"))?.1.trim().to_owned().into()
        };
        head.lines().find_map(host)
    }
}

fn lock(book: &Shared) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(mut stream: TcpStream, book: &Shared) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut head = Vec::new();
    // Closing with unread input would reset the connection.
    let mut reader = BufReader::new(stream.try_clone()?);
    for line in reader.by_ref().lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        head.push(line);
    }
    let length = head.iter().find_map(|line| {
        line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))?.1.trim().parse().ok()
    });
    if let Some(length) = length {
        let mut body = String::new();
        reader.take(length).read_to_string(&mut body)?;
        head.extend([String::new(), body]);
    }
    let path = head.first().and_then(|first| first.split(' ').nth(1)).unwrap_or_default().to_owned();
    let found = {
        let mut book = lock(book);
        book.asked.entry(path.clone()).or_default().push(head.join("\n"));
        book.answers.get(&path).cloned()
    };
    let (head, body) = found.unwrap_or_else(|| ("404 Not Found".to_owned(), String::new()));
    let head = head.replace('\n', "\r\n");
    write!(stream, "HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())?;
    Ok(())
}
