//! Answers http-01: one path, everything else is 404 (RFC 8555 §8.3).

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::Result;

const PREFIX: &str = "/.well-known/acme-challenge/";

type Answers = Arc<Mutex<BTreeMap<String, String>>>;

/// Listens until the process ends.
#[derive(Clone, Debug)]
pub struct Responder {
    /// Where it listens, on loopback.
    pub port: u16,
    answers: Answers,
}

impl Responder {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let answers = Answers::default();
        let shared = Arc::clone(&answers);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answers = Arc::clone(&shared);
                thread::spawn(move || answer(stream, &answers));
            }
        });
        Ok(Self { port, answers })
    }

    /// Answers this token from now on.
    pub fn put(&self, token: &str, key_authorization: String) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(token.to_owned(), key_authorization);
    }
}

fn answer(mut stream: TcpStream, answers: &Answers) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    // Closing with unread input would reset the connection.
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let path = first.split(' ').nth(1).unwrap_or_default();
    let body = path
        .strip_prefix(PREFIX)
        .and_then(|token| answers.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned());
    let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
    let body = body.unwrap_or_default();
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())?;
    Ok(())
}
