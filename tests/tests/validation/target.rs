//! What http-01 looks at: servers that answer in any way that TCP allows, and count who came. One challenge of a client, from
//! its order to its end.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Result as Io, Write},
    net::{IpAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tests::{
    account::{Account, challenge},
    client::Client,
};

/// How a request is answered.
type Answer = Arc<dyn Fn(&mut TcpStream) -> Io<()> + Send + Sync>;

#[derive(Default)]
struct Book {
    answers: BTreeMap<String, Answer>,
    /// By path: the heads of the requests.
    asked: BTreeMap<String, Vec<String>>,
    /// By the address that was connected to.
    connections: BTreeMap<IpAddr, usize>,
}

/// Servers on one port of several addresses. They listen until the process ends.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) port: u16,
    book: Arc<Mutex<Book>>,
}

impl Target {
    /// Listens at these addresses, on a port that is free at the first.
    pub(crate) fn start(addresses: &[&str]) -> Result<Self> {
        let mut target = Self { port: 0, book: Arc::default() };
        for address in addresses {
            let address: IpAddr = address.parse()?;
            let listener = TcpListener::bind((address, target.port)).with_context(|| format!("{address}"))?;
            target.port = listener.local_addr()?.port();
            let book = Arc::clone(&target.book);
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    *lock(&book).connections.entry(address).or_default() += 1;
                    let book = Arc::clone(&book);
                    thread::spawn(move || converse(stream, &book));
                }
            });
        }
        Ok(target)
    }

    /// Answers this path so from now on. What is not told is 404.
    pub(crate) fn answer(&self, path: &str, answer: impl Fn(&mut TcpStream) -> Io<()> + Send + Sync + 'static) {
        lock(&self.book).answers.insert(path.to_owned(), Arc::new(answer));
    }

    /// Answers with these bytes.
    pub(crate) fn say(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        self.answer(path, move |stream| stream.write_all(&bytes));
    }

    /// Answers with a redirect.
    pub(crate) fn redirect(&self, path: &str, location: &str) {
        self.say(path, format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"));
    }

    /// Answers as a web server does that was given the key authorization.
    pub(crate) fn prove(&self, path: &str, key_authorization: &str) {
        let length = key_authorization.len();
        self.say(path, format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{key_authorization}"));
    }

    /// The heads of the requests for this path so far.
    pub(crate) fn asked(&self, path: &str) -> Vec<String> {
        lock(&self.book).asked.get(path).cloned().unwrap_or_default()
    }

    /// How often somebody connected to this address.
    pub(crate) fn connections(&self, address: &str) -> usize {
        let address: IpAddr = address.parse().unwrap_or_else(|error| panic!("{address}: {error}"));
        lock(&self.book).connections.get(&address).copied().unwrap_or_default()
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

fn converse(mut stream: TcpStream, book: &Mutex<Book>) -> Io<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut head = Vec::new();
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        head.push(line);
    }
    let path = head.first().and_then(|first| first.split(' ').nth(1)).unwrap_or_default().to_owned();
    let answer = {
        let mut book = lock(book);
        book.asked.entry(path.clone()).or_default().push(head.join("\n"));
        book.answers.get(&path).cloned()
    };
    match answer {
        Some(answer) => answer(&mut stream),
        None => stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
    }
}

/// An http-01 challenge of a fresh authorization, before it is answered.
pub(crate) struct Asked {
    pub(crate) account: Account,
    authorization: String,
    url: String,
    /// The challenge's path at the target.
    pub(crate) path: String,
    /// What the target is to answer with.
    pub(crate) key_authorization: String,
}

/// How a challenge must end: proved, or with the type of its problem and a part of its words.
pub(crate) type End = Result<(), (&'static str, &'static str)>;

/// How a challenge ended.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) status: String,
    /// The type of the challenge's error, without its prefix, and its words; empty when there is none.
    pub(crate) problem: (String, String),
    /// From the client's answer to the end that it saw.
    pub(crate) took: Duration,
}

impl Asked {
    pub(crate) fn of(client: &Client, name: &str) -> Result<Self> {
        Self::by(client, name, "http-01")
    }

    /// The same of another type; then the path means nothing.
    pub(crate) fn by(client: &Client, name: &str, kind: &str) -> Result<Self> {
        let account = Account::new(client)?;
        let order = account.order(&[name])?;
        let authorization = order.authorizations()?.pop().context("an authorization")?;
        let object = account.read(&authorization)?.expect(200)?.json()?;
        let asked = challenge(&object, kind)?;
        let text = |key: &str| asked[key].as_str().map(str::to_owned).with_context(|| format!("{key}: {asked}"));
        let (url, token) = (text("url")?, text("token")?);
        let key_authorization = format!("{token}.{}", account.key.thumbprint()?);
        let path = format!("/.well-known/acme-challenge/{token}");
        Ok(Self { account, authorization, url, path, key_authorization })
    }

    /// Answers, and waits for the end.
    pub(crate) fn settle(&self) -> Result<Settled> {
        let started = Instant::now();
        self.account.post(&self.url, &json!({}))?.expect(200)?;
        // An error when it became invalid.
        let _ = self.account.wait(&self.authorization, "valid");
        let took = started.elapsed();
        let object = self.account.read(&self.url)?.expect(200)?.json()?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let kind = text(&object["error"]["type"]).replace("urn:ietf:params:acme:error:", "");
        Ok(Settled { status: text(&object["status"]), problem: (kind, text(&object["error"]["detail"])), took })
    }

    /// Answers, and must come to this end.
    pub(crate) fn ends(&self, expected: End) -> Result<Settled> {
        let settled = self.settle()?;
        let (kind, words) = expected.err().unwrap_or_default();
        let status = if expected.is_ok() { "valid" } else { "invalid" };
        anyhow::ensure!(
            settled.status == status && settled.problem.0 == kind && settled.problem.1.contains(words),
            "{status} {kind} {words:?} was expected: {settled:?}"
        );
        Ok(settled)
    }
}
