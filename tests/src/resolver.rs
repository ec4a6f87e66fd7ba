//! A resolver that says what it is told, and changes its mind when it is told to: DNS over TCP (RFC 7766) on loopback.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::{Context as _, Result};
use hickory_proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{
        RData, Record, RecordType,
        rdata::{A, AAAA, TXT},
    },
};

#[derive(Debug, Default)]
struct Book {
    /// By name: the addresses of each lookup; those of the last one again and again.
    addresses: BTreeMap<String, Vec<Vec<IpAddr>>>,
    texts: BTreeMap<String, Vec<String>>,
    /// By name and type.
    asked: BTreeMap<(String, RecordType), usize>,
}

/// Answers until the process ends. Names that it was not told of do not exist.
#[derive(Clone, Debug)]
pub struct Resolver {
    /// Where it listens.
    pub address: SocketAddr,
    book: Arc<Mutex<Book>>,
}

impl Resolver {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let resolver = Self { address: listener.local_addr()?, book: Arc::default() };
        let book = Arc::clone(&resolver.book);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let book = Arc::clone(&book);
                thread::spawn(move || converse(stream, &book));
            }
        });
        Ok(resolver)
    }

    /// As `up --resolver` and `validation.resolvers` want it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// The name is at these addresses from now on.
    ///
    /// # Errors
    /// When one is no address.
    pub fn put(&self, name: &str, addresses: &[&str]) -> Result<()> {
        self.put_turns(name, &[addresses])
    }

    /// The name is at the first of these lists for its first lookup, at the next for the next, and at the last for ever.
    ///
    /// # Errors
    /// When one is no address.
    pub fn put_turns(&self, name: &str, turns: &[&[&str]]) -> Result<()> {
        let parse = |address: &&str| address.parse().with_context(|| format!("{address:?}"));
        let turns = turns.iter().map(|addresses| addresses.iter().map(parse).collect()).collect::<Result<_>>()?;
        self.lock().addresses.insert(name.to_owned(), turns);
        Ok(())
    }

    /// The name has this TXT record, and no other.
    pub fn put_text(&self, name: &str, text: &str) {
        self.lock().texts.insert(name.to_owned(), vec![text.to_owned()]);
    }

    /// How often the IPv4 addresses of a name were asked for.
    #[must_use]
    pub fn lookups(&self, name: &str) -> usize {
        self.lock().asked.get(&(name.to_owned(), RecordType::A)).copied().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }
}

fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection: length-prefixed messages until the client closes.
fn converse(mut stream: TcpStream, book: &Mutex<Book>) -> Result<()> {
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut query)?;
        let reply = answer(&Message::from_vec(&query)?, &mut lock(book))?.to_vec()?;
        stream.write_all(&[&u16::try_from(reply.len())?.to_be_bytes()[..], &reply].concat())?;
    }
}

fn answer(query: &Message, book: &mut Book) -> Result<Message> {
    let mut reply = Message::response(query.metadata.id, OpCode::Query);
    let question = query.queries.first().context("a question")?;
    reply.add_query(question.clone());
    let (name, kind) = (question.name().to_lowercase(), question.query_type());
    let text = name.to_ascii().trim_end_matches('.').to_owned();
    let turn = book.asked.entry((text.clone(), kind)).or_default();
    let turns = book.addresses.get(&text);
    let addresses = turns.and_then(|turns| turns.get(*turn).or(turns.last())).cloned().unwrap_or_default();
    *turn += 1;
    let of_kind = addresses.into_iter().filter_map(|address| match (kind, address) {
        (RecordType::A, IpAddr::V4(address)) => Some(RData::A(A(address))),
        (RecordType::AAAA, IpAddr::V6(address)) => Some(RData::AAAA(AAAA(address))),
        _ => None,
    });
    let texts = book.texts.get(&text).filter(|_| kind == RecordType::TXT);
    let texts = texts.into_iter().flatten().map(|text| RData::TXT(TXT::new(vec![text.clone()])));
    let data: Vec<_> = of_kind.chain(texts).collect();
    for data in data {
        reply.add_answer(Record::from_rdata(question.name().clone(), 0, data));
    }
    if !book.addresses.contains_key(&text) && !book.texts.contains_key(&text) {
        reply.metadata.response_code = ResponseCode::NXDomain;
    }
    Ok(reply)
}
