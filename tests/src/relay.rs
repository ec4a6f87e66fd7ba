//! The way from the edge to one signer (`up --signer-relay`): ends TLS on both sides with the certificates of the stack, so that what
//! is asked can be read, and cuts it where it is told to.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    libc,
    sys::socket::{setsockopt, sockopt::Linger},
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    server::WebPkiClientVerifier,
};

use crate::{
    cut::{Cuts, Making, Place, Way},
    wire::Message,
};

/// Between two looks at whether the other side has hung up.
const LOOK: Duration = Duration::from_millis(20);
/// So long after a request the signer has it and its token is at work.
const HEARD: Duration = Duration::from_millis(80);
/// Silence ends when nobody can be waiting any more.
const LONGEST: Duration = Duration::from_secs(90);

type Edge = StreamOwned<ServerConnection, TcpStream>;
type Signer = StreamOwned<ClientConnection, TcpStream>;

/// Carries requests until the process ends.
#[derive(Clone, Debug)]
pub struct Relay {
    /// Where the edge finds it.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    number: usize,
    state: PathBuf,
    cuts: Cuts,
    configurations: OnceLock<(Arc<ServerConfig>, Arc<ClientConfig>)>,
    strike: Mutex<Option<Strike>>,
    /// Connections of an earlier generation end when nothing is asked through them.
    generation: AtomicUsize,
    struck: AtomicUsize,
}

/// A cut of all connections that are made now.
#[derive(Clone, Copy, Debug)]
struct Strike {
    place: Place,
    way: Way,
    until: Instant,
}

impl Relay {
    /// Starts it for the signer of this number (from 1) of the stack in this state folder, which need not be there yet.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start(state: &Path, number: usize, cuts: &Cuts) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            number,
            state: state.to_owned(),
            cuts: cuts.clone(),
            configurations: OnceLock::new(),
            strike: Mutex::default(),
            generation: AtomicUsize::new(0),
            struck: AtomicUsize::new(0),
        });
        let relay = Self { address, shared };
        let shared = Arc::clone(&relay.shared);
        thread::spawn(move || shared.listen(listener, address));
        Ok(relay)
    }

    /// Ends the connections that rest, and cuts all that are made within this time.
    pub fn strike(&self, place: Place, way: Way, lasts: Duration) {
        let strike = Strike { place, way, until: Instant::now() + lasts };
        *self.shared.strike.lock().unwrap_or_else(PoisonError::into_inner) = Some(strike);
        self.shared.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// How many connections were cut.
    #[must_use]
    pub fn struck(&self) -> usize {
        self.shared.struck.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn listen(self: Arc<Self>, listener: TcpListener, address: SocketAddr) -> Result<()> {
        let mut listener = Some(listener);
        loop {
            if let Some(strike) = self.strike().filter(|strike| strike.place == Place::Refused) {
                // A port without a listener answers RST by itself; who is silent has a listener that takes nothing.
                if matches!(strike.way, Way::Reset | Way::Close) {
                    listener = None;
                    self.struck.fetch_add(1, Ordering::SeqCst);
                }
                thread::sleep(strike.until.saturating_duration_since(Instant::now()));
                continue;
            }
            let listener = match &listener {
                Some(listener) => listener,
                None => listener.insert(TcpListener::bind(address)?),
            };
            listener.set_nonblocking(true)?;
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false)?;
                    let shared = Arc::clone(&self);
                    // What goes wrong with a connection ends it, as it would without this in between.
                    thread::spawn(move || shared.carry(stream));
                }
                Err(_) => thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    fn strike(&self) -> Option<Strike> {
        let strike = *self.strike.lock().unwrap_or_else(PoisonError::into_inner);
        strike.filter(|strike| Instant::now() < strike.until)
    }

    fn carry(&self, edge: TcpStream) -> Result<()> {
        let generation = self.generation.load(Ordering::SeqCst);
        let strike = self.strike();
        let (as_server, as_client) = self.configurations()?;
        let signer = match self.connect() {
            Ok(signer) => signer,
            Err(error) => {
                reset(&edge)?;
                return Err(error);
            }
        };
        for stream in [&edge, &signer] {
            stream.set_nodelay(true)?;
        }
        let host = ServerName::try_from(format!("signer-{}.colophon.internal", self.number))?;
        let mut edge = StreamOwned::new(ServerConnection::new(as_server)?, edge);
        let mut signer = StreamOwned::new(ClientConnection::new(as_client, host)?, signer);
        if let Some(Strike { place, way, .. }) = strike {
            self.struck.fetch_add(1, Ordering::SeqCst);
            let goes_on = match place {
                Place::FirstFlight => half_a_flight(&mut edge, &mut signer, way)?,
                Place::Established => {
                    shake(&mut edge, &mut signer)?;
                    way.goes_on()
                }
                _ => way.goes_on(),
            };
            if !goes_on {
                return end(edge, signer, way);
            }
        }
        shake(&mut edge, &mut signer)?;
        while self.somebody_asks(&mut edge, &mut signer, generation)? {
            let Some(request) = Message::read(&mut edge)? else { break };
            let cut = self.cuts.of(request.path().unwrap_or_default(), &request.body);
            let (before, after) = match &cut {
                Some(cut) if cut.place().is_in_the_request() => (Some(cut), None),
                cut => (None, cut.as_ref()),
            };
            let goes_on = self.part(&request, &mut signer, before)?;
            let (between, after) = match after {
                Some(cut) if matches!(cut.place(), Place::Sent | Place::Work) => (Some(cut), None),
                cut => (None, cut),
            };
            if between.is_some_and(|cut| cut.place() == Place::Work) {
                thread::sleep(HEARD);
            }
            if goes_on && between.is_none_or(|cut| cut.is_made(self.number)) {
                let Some(answer) = Message::read(&mut signer)? else { break };
                if self.part(&answer, &mut edge, after)? {
                    continue;
                }
            }
            return end(edge, signer, cut.map_or(Way::Close, |cut| cut.way()));
        }
        end(edge, signer, Way::Close)
    }

    /// Waits for a request; false when one of the two has hung up or is to.
    fn somebody_asks(&self, edge: &mut Edge, signer: &mut Signer, generation: usize) -> Result<bool> {
        loop {
            // A request may have come with the end of the handshake.
            if edge.conn.process_new_packets()?.plaintext_bytes_to_read() > 0 {
                return Ok(true);
            }
            edge.sock.set_read_timeout(Some(LOOK))?;
            let asks = edge.sock.peek(&mut [0]);
            edge.sock.set_read_timeout(None)?;
            match asks {
                Ok(0) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) => return Err(error.into()),
            }
            if self.generation.load(Ordering::SeqCst) != generation {
                return Ok(false);
            }
            // Session tickets lie before the end of a connection.
            signer.sock.set_nonblocking(true)?;
            let read = signer.conn.read_tls(&mut signer.sock);
            signer.sock.set_nonblocking(false)?;
            match read {
                Ok(0) => return Ok(false),
                Ok(_) => {
                    if signer.conn.process_new_packets()?.peer_has_closed() {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends a message as far as it is let through; false when that is the end.
    fn part(&self, message: &Message, to: &mut impl io::Write, cut: Option<&Making>) -> Result<bool> {
        let (head, body) = (&message.head, &message.body);
        let bytes = [head.as_slice(), body].concat();
        let through = cut.map_or(bytes.len(), |cut| cut.place().of(head.len(), body.len()));
        let (first, rest) = bytes.split_at(through);
        to.write_all(first)?;
        to.flush()?;
        if cut.is_some_and(|cut| !cut.is_made(self.number)) {
            return Ok(false);
        }
        to.write_all(rest)?;
        to.flush()?;
        Ok(true)
    }

    fn connect(&self) -> Result<TcpStream> {
        let ports: serde_json::Value = serde_json::from_slice(&fs::read(self.state.join("ports.json"))?)?;
        let port = ports[format!("signer-{}", self.number)].as_u64().context("a signer has a port")?;
        Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, u16::try_from(port)?))?)
    }

    /// As the signer to the edge, and as the edge to the signer.
    fn configurations(&self) -> Result<(Arc<ServerConfig>, Arc<ClientConfig>)> {
        if let Some(made) = self.configurations.get() {
            return Ok(made.clone());
        }
        let folder = self.state.join("pki/infrastructure");
        let pair = |name: &str| -> Result<_> {
            let certificate = CertificateDer::from_pem_file(folder.join(format!("{name}.pem")))?;
            Ok((vec![certificate], PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key")))?))
        };
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(folder.join("ca.pem"))?)?;
        let (roots, provider) = (Arc::new(roots), Arc::new(ring::default_provider()));
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider)).build()?;
        let (chain, key) = pair(&format!("signer-{}", self.number))?;
        let versions = &[&rustls::version::TLS13];
        let as_server = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions)?;
        let as_server = as_server.with_client_cert_verifier(verifier).with_single_cert(chain, key)?;
        let (chain, key) = pair("edge")?;
        let as_client = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions)?;
        let as_client = as_client.with_root_certificates(roots).with_client_auth_cert(chain, key)?;
        Ok(self.configurations.get_or_init(|| (Arc::new(as_server), Arc::new(as_client))).clone())
    }
}

fn shake(edge: &mut Edge, signer: &mut Signer) -> Result<()> {
    while edge.conn.is_handshaking() {
        edge.conn.complete_io(&mut edge.sock)?;
    }
    while signer.conn.is_handshaking() {
        signer.conn.complete_io(&mut signer.sock)?;
    }
    Ok(())
}

/// Half of the first flight that each side gets from us; false when that is the end.
fn half_a_flight(edge: &mut Edge, signer: &mut Signer, way: Way) -> Result<bool> {
    let mut hello = [0; 4096];
    while !edge.conn.wants_write() {
        let read = edge.sock.read(&mut hello)?;
        ensure!(read > 0, "it hung up");
        edge.conn.read_tls(&mut &hello[..read])?;
        edge.conn.process_new_packets()?;
    }
    let (mut to_edge, mut to_signer) = (Vec::new(), Vec::new());
    while edge.conn.wants_write() {
        edge.conn.write_tls(&mut to_edge)?;
    }
    while signer.conn.wants_write() {
        signer.conn.write_tls(&mut to_signer)?;
    }
    let ((first, rest), (start, remainder)) =
        (to_edge.split_at(to_edge.len() / 2), to_signer.split_at(to_signer.len() / 2));
    edge.sock.write_all(first)?;
    signer.sock.write_all(start)?;
    let goes_on = way.goes_on();
    if goes_on {
        edge.sock.write_all(rest)?;
        signer.sock.write_all(remainder)?;
    }
    Ok(goes_on)
}

/// Ends both connections, in this way.
fn end(mut edge: Edge, mut signer: Signer, way: Way) -> Result<()> {
    match way {
        Way::Reset => {
            reset(&edge.sock)?;
            reset(&signer.sock)
        }
        Way::Silence => {
            let until = Instant::now() + LONGEST;
            edge.sock.set_read_timeout(Some(LOOK))?;
            while Instant::now() < until && !edge.sock.peek(&mut [0]).is_ok_and(|read| read == 0) {
                thread::sleep(LOOK);
            }
            Ok(())
        }
        Way::Close | Way::Delay => {
            edge.conn.send_close_notify();
            signer.conn.send_close_notify();
            edge.conn.write_tls(&mut edge.sock)?;
            signer.conn.write_tls(&mut signer.sock)?;
            edge.sock.shutdown(Shutdown::Write)?;
            Ok(signer.sock.shutdown(Shutdown::Write)?)
        }
    }
}

/// Has a connection end with RST when it is dropped.
fn reset(stream: &TcpStream) -> Result<()> {
    Ok(setsockopt(stream, Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?)
}
