//! A signer's site whose tokens are PIV cards in virtual readers.

use std::{
    fs,
    path::PathBuf,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use p256::{ecdsa::SigningKey, pkcs8::DecodePrivateKey};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use shared::{
    chain::IssuerChain,
    signing::{Issued, TokenState, TokenStatus},
};

use crate::{
    card::Card,
    client::Edge,
    readers::Readers,
    site::{Site, eventually},
};

/// Cards have different PINs: one that is given another's has lost a try.
const PINS: [&str; 2] = ["123456", "234567"];

/// After that a card counts as hung.
pub(crate) const DEADLINE: Duration = Duration::from_millis(2000);

/// The middleware between the signer and its cards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Module {
    Ykcs11,
    Opensc,
}

/// Makes a test for each module of functions that take one.
macro_rules! for_each_module {
    ($($test:ident),+ $(,)?) => {
        mod ykcs11 {
            $(#[test] fn $test() { super::$test(crate::estate::Module::Ykcs11); })+
        }
        mod opensc {
            $(#[test] fn $test() { super::$test(crate::estate::Module::Opensc); })+
        }
    };
}
pub(crate) use for_each_module;

/// Tests that measure run alone.
static MACHINE: RwLock<()> = RwLock::new(());

/// Cards in readers, one issuer each, and a site that is configured for them.
pub(crate) struct Estate {
    pub(crate) cards: Vec<Card>,
    pub(crate) issuers: Vec<IssuerChain>,
    pub(crate) readers: Readers,
    pub(crate) site: Site,
    module: Module,
    slot: u8,
    _machine: Share,
}

/// A share of the machine, or all of it.
enum Share {
    Part(#[allow(dead_code, reason = "held, never read")] RwLockReadGuard<'static, ()>),
    Whole(#[allow(dead_code, reason = "held, never read")] RwLockWriteGuard<'static, ()>),
}

impl Module {
    /// How the module writes a card's serial number: its own, or the end of its GUID.
    fn serial(self, serial: u32) -> String {
        match self {
            Self::Ykcs11 => serial.to_string(),
            Self::Opensc => format!("5a5a5a5a{serial:08x}"),
        }
    }

    pub(crate) fn path(self) -> PathBuf {
        let (variable, usual) = match self {
            Self::Ykcs11 => ("COLOPHON_YKCS11", "/usr/lib/x86_64-linux-gnu/libykcs11.so.2"),
            Self::Opensc => ("COLOPHON_OPENSC", "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so"),
        };
        let path = PathBuf::from(std::env::var_os(variable).unwrap_or_else(|| usual.into()));
        assert!(path.exists(), "{} is not installed", path.display());
        path
    }
}

impl Estate {
    /// So many cards, each with the key of an issuer in its slot 9a.
    pub(crate) fn new(module: Module, cards: usize) -> Self {
        Self::with_slot(module, cards, 0x9a)
    }

    /// The same, while no other test runs.
    pub(crate) fn alone(module: Module, cards: usize) -> Self {
        let machine = Share::Whole(MACHINE.write().unwrap_or_else(PoisonError::into_inner));
        Self::make(module, cards, 0x9a, machine)
    }

    /// The same with the keys in another slot.
    pub(crate) fn with_slot(module: Module, cards: usize, slot: u8) -> Self {
        let machine = Share::Part(MACHINE.read().unwrap_or_else(PoisonError::into_inner));
        Self::make(module, cards, slot, machine)
    }

    fn make(module: Module, cards: usize, slot: u8, machine: Share) -> Self {
        let mut site = Site::without_issuers();
        // Figures are of a program as it is used.
        if let Ok(program) = std::env::var("COLOPHON_SIGNER") {
            site.program = program.leak();
        }
        let readers = Readers::start(&site.path(""));
        let mut estate =
            Self { cards: Vec::new(), issuers: Vec::new(), readers, site, module, slot, _machine: machine };
        for number in 0..cards {
            estate.add_card(number);
        }
        estate.configure(0..cards);
        estate
    }

    fn add_card(&mut self, number: usize) {
        let (name, pin) = (name(number), PINS[number]);
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, format!("Issuing {name}"));
        let request = parameters.serialize_request(&key).unwrap();
        fs::write(self.site.path(&format!("{name}.csr")), request.pem().unwrap()).unwrap();
        self.site.signer_ok(&format!(
            "root sign --key root.key --certificate root.pem --csr {name}.csr --days 1825 --out issuers/{name}.pem"
        ));
        self.site.write_secret(&format!("pins/{name}"), pin);
        let chain = fs::read_to_string(self.site.path(&format!("issuers/{name}.pem"))).unwrap();
        let chain = IssuerChain::from_pem(&chain).unwrap();

        let card = Card::new(0x0100_0000 + u32::try_from(number).unwrap(), pin);
        card.applet().import_key(self.slot, SigningKey::from_pkcs8_der(&key.serialize_der()).unwrap());
        card.applet().import_certificate(self.slot, chain.issuer().der());
        card.plug(self.reader(number));
        eventually("the reader has seen its card", || card.is_powered());
        self.cards.push(card);
        self.issuers.push(chain);
    }

    /// Configures the issuers of these cards, with the serial numbers of their tokens.
    pub(crate) fn configure(&self, cards: std::ops::Range<usize>) {
        let uri = |number: usize| format!("pkcs11:serial={}", self.module.serial(self.cards[number].applet().serial));
        let (variable, socket) = self.readers.environment();
        let tables = cards.map(|number| {
            format!(
                r#"
[[issuer]]
name = "{name}"
chain = "issuers/{name}.pem"
[[issuer.token]]
module = "{module}"
uri = "{uri}"
pin_file = "pins/{name}"
environment = {{ {variable} = "{socket}" }}
deadline_ms = {deadline}
"#,
                name = name(number),
                uri = uri(number),
                module = self.module.path().display(),
                deadline = DEADLINE.as_millis(),
                socket = socket.display(),
            )
        });
        self.site.write_config_with(&tables.collect::<String>());
    }

    /// Puts a key of nobody beside the certificate of this card, and gives the right one.
    pub(crate) fn import_another_key(&self, number: usize) -> SigningKey {
        let another = SigningKey::from_pkcs8_der(&KeyPair::generate().unwrap().serialize_der()).unwrap();
        self.cards[number].applet().import_key(self.slot, another).unwrap()
    }

    /// Where the reader of this number waits for a card.
    pub(crate) fn reader(&self, number: usize) -> std::net::SocketAddr {
        self.readers.reader(u16::try_from(number).unwrap())
    }

    /// Whose certificate this is. It verifies under that issuer, or the test fails.
    pub(crate) fn issuer_of(&self, issued: &Issued) -> usize {
        let leaf = &issued.chain[0].0;
        let verified: Vec<_> =
            (0..self.issuers.len()).filter(|number| self.issuers[*number].verify_leaf(leaf).is_ok()).collect();
        assert_eq!(verified.len(), 1, "a certificate verifies under one issuer");
        assert_eq!(issued.chain[1].0, self.issuers[verified[0]].issuer().der(), "it came with that issuer");
        verified[0]
    }

    /// The tokens of the daemon, in the order of the cards.
    pub(crate) fn tokens(&self, edge: &Edge) -> Vec<TokenStatus> {
        edge.status().unwrap().issuers.into_iter().flat_map(|issuer| issuer.tokens).collect()
    }

    pub(crate) fn set_latency(&self, latency: Duration) {
        self.cards.iter().for_each(|card| card.set_latency(latency));
    }

    pub(crate) fn is_ready(&self, edge: &Edge, number: usize) -> bool {
        self.tokens(edge)[number].state == TokenState::Ready
    }
}

/// What the daemon has said is gone with their folder; of a test that fails it is shown.
impl Drop for Estate {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for file in fs::read_dir(self.site.path("")).unwrap().flatten() {
                if file.file_name().to_string_lossy().starts_with("log-") {
                    println!("{}", fs::read_to_string(file.path()).unwrap_or_default());
                }
            }
        }
    }
}

fn name(number: usize) -> String {
    format!("a{}", number + 1)
}
