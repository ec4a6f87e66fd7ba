//! The PIV application of a card, from command APDU to response APDU. Source: NIST SP 800-73-4 part 2, and for the instructions
//! from F7 on the manual of the YubiKey, as which it poses.
//!
//! It holds P-256 keys and certificates that a test has put there, counts wrong PINs, and knows no management key: nothing
//! can be changed through the reader.

use std::collections::{BTreeMap, BTreeSet};

use p256::ecdsa::{Signature, SigningKey};
use signature::hazmat::PrehashSigner;

use crate::{
    attester::{self, Attester, Claims},
    tlv::{find, tlv},
};

/// What a YubiKey 5 says at power on.
pub(crate) const ATR: &[u8] = &[
    0x3b, 0xfd, 0x13, 0, 0, 0x81, 0x31, 0xfe, 0x15, 0x80, 0x73, 0xc0, 0x21, 0xc0, 0x57, 0x59, 0x75, 0x62, 0x69, 0x4b,
    0x65, 0x79, 0x40,
];

/// The digital signature key: the one that wants its PIN before each signature.
pub(crate) const ALWAYS_AUTHENTICATE: u8 = 0x9c;

/// Wrong PINs that it takes in a row.
pub(crate) const PIN_TRIES: u8 = 3;

const PIV_AID: &[u8] = &[0xa0, 0, 0, 3, 8];
const NO_AGENCY: &[u8] = &[
    0xd4, 0xe7, 0x39, 0xda, 0x73, 0x9c, 0xed, 0x39, 0xce, 0x73, 0x9d, 0x83, 0x68, 0x58, 0x21, 0x08, 0x42, 0x10, 0x84,
    0x21, 0xc8, 0x42, 0x10, 0xc3, 0xeb,
];
/// From this firmware on a card says which key is in a slot; before, only a certificate can.
const METADATA_SINCE: [u8; 3] = [5, 3, 0];
/// ECDSA over P-256.
const P256: u8 = 0x11;

/// Where a key is from.
const MADE: u8 = 1;
const IMPORTED: u8 = 2;

/// What a response without extended length holds.
const SHORT: usize = 256;

const DONE: u16 = 0x9000;
const NOT_ALLOWED: u16 = 0x6982;
const BLOCKED: u16 = 0x6983;
const WRONG_DATA: u16 = 0x6a80;
const NOT_FOUND: u16 = 0x6a82;
const UNKNOWN_INSTRUCTION: u16 = 0x6d00;

/// The card's application and everything that it keeps.
pub(crate) struct Applet {
    pub(crate) serial: u32,
    /// Of the firmware.
    version: [u8; 3],
    pin: Vec<u8>,
    /// Wrong PINs that it still takes.
    pub(crate) tries: u8,
    /// Signatures that it has made.
    pub(crate) signatures: u64,
    keys: BTreeMap<u8, SigningKey>,
    /// Slots whose keys were made in it.
    made: BTreeSet<u8>,
    /// With what it attests those.
    attester: Option<Attester>,
    /// Data objects by tag, without the tag around them.
    objects: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Since the last power on the PIN was verified.
    verified: bool,
    /// It was, and no key has been used since.
    fresh: bool,
    /// The data of commands that are to be continued.
    chained: Vec<u8>,
    /// What is left of a long response.
    rest: Vec<u8>,
}

/// A command APDU, short or extended (ISO/IEC 7816-4 §5.1).
struct Command<'a> {
    class: u8,
    instruction: u8,
    parameters: [u8; 2],
    data: &'a [u8],
    /// The most bytes that an answer may have.
    expected: usize,
}

/// Data and status word.
type Answer = Result<Vec<u8>, u16>;

impl Applet {
    pub(crate) fn new(serial: u32, pin: &str) -> Self {
        let guid = [[0x5a; 12].as_slice(), &serial.to_be_bytes()].concat();
        // FASC-N of no agency, which has modules look at the GUID; expiry (SP 800-73-4 part 1 §3.1.2).
        let chuid = [
            tlv(&[0x30], NO_AGENCY),
            tlv(&[0x34], &guid),
            tlv(&[0x35], b"20500101"),
            tlv(&[0x3e], &[]),
            tlv(&[0xfe], &[]),
        ];
        let discovery = [tlv(&[0x4f], &[PIV_AID, &[0, 0, 0x10, 0, 1, 0]].concat()), tlv(&[0x5f, 0x2f], &[0x40, 0])];
        let objects = [(vec![0x5f, 0xc1, 0x02], chuid.concat()), (vec![0x7e], discovery.concat())];
        Self {
            serial,
            version: [5, 4, 3],
            pin: padded(pin),
            tries: PIN_TRIES,
            signatures: 0,
            keys: BTreeMap::new(),
            made: BTreeSet::new(),
            attester: None,
            objects: objects.into(),
            verified: false,
            fresh: false,
            chained: Vec::new(),
            rest: Vec::new(),
        }
    }

    /// Puts a key into a slot, and gives the one that was there.
    pub(crate) fn import_key(&mut self, slot: u8, key: SigningKey) -> Option<SigningKey> {
        self.made.remove(&slot);
        self.keys.insert(slot, key)
    }

    /// Has it say from now on that the key of this slot was made in it.
    pub(crate) fn pass_as_made_inside(&mut self, slot: u8) {
        self.made.insert(slot);
    }

    /// Gives it a key that attests others.
    pub(crate) fn fit(&mut self, attester: Attester) {
        self.import_certificate(attester::SLOT, &attester.certificate());
        self.attester = Some(attester);
    }

    /// Puts a certificate, DER, into a slot, whatever key is there.
    pub(crate) fn import_certificate(&mut self, slot: u8, certificate: &[u8]) {
        let object = [tlv(&[0x70], certificate), tlv(&[0x71], &[0]), tlv(&[0xfe], &[])].concat();
        self.objects.insert(certificate_tag(slot), object);
    }

    /// Gives it another PIN, as if somebody had done that elsewhere.
    pub(crate) fn change_pin(&mut self, pin: &str) {
        self.pin = padded(pin);
    }

    /// Makes it a card that knows no metadata of keys.
    pub(crate) fn make_older(&mut self) {
        self.version = [5, 2, 7];
    }

    /// Power off and on, or reset.
    pub(crate) fn reset(&mut self) {
        (self.verified, self.fresh) = (false, false);
        self.chained.clear();
        self.rest.clear();
    }

    /// Answers a command.
    pub(crate) fn answer(&mut self, apdu: &[u8]) -> Vec<u8> {
        let Some(command) = Command::parse(apdu) else { return 0x6700_u16.to_be_bytes().to_vec() };
        const CHAINED: u8 = 0x10;
        const GET_RESPONSE: u8 = 0xc0;
        if command.class & CHAINED != 0 {
            self.chained.extend(command.data);
            return DONE.to_be_bytes().to_vec();
        }
        let answer = if command.instruction == GET_RESPONSE {
            Ok(std::mem::take(&mut self.rest))
        } else {
            let data = [std::mem::take(&mut self.chained).as_slice(), command.data].concat();
            self.execute(&command, &data)
        };
        let (mut data, mut status) = answer.map_or_else(|status| (Vec::new(), status), |data| (data, DONE));
        self.rest = data.split_off(data.len().min(command.expected));
        if !self.rest.is_empty() {
            // 61xx: so many more, 0 for 256 and more.
            status = 0x6100 | u16::try_from(self.rest.len()).ok().filter(|left| *left < 256).unwrap_or(0);
        }
        [data.as_slice(), &status.to_be_bytes()].concat()
    }

    fn execute(&mut self, command: &Command<'_>, data: &[u8]) -> Answer {
        match (command.instruction, command.parameters) {
            (0xa4, [4, _]) => self.select(data),
            (0x20, [0, 0x80]) => self.verify(data),
            (0x20, [0xff, 0x80]) => {
                (self.verified, self.fresh) = (false, false);
                Ok(Vec::new())
            }
            (0x87, [P256, slot]) => self.sign(slot, data),
            (0xcb, [0x3f, 0xff]) => {
                let tag = find(0x5c, data).ok_or(WRONG_DATA)?;
                let object = self.objects.get(tag).ok_or(NOT_FOUND)?;
                // The discovery object has its own tag around it.
                Ok(if tag == [0x7e] { tlv(tag, object) } else { tlv(&[0x53], object) })
            }
            (0xf7, [0, slot]) if self.version >= METADATA_SINCE => self.metadata(slot),
            (0xf8, _) => Ok(self.serial.to_be_bytes().to_vec()),
            (0xf9, [slot, 0]) => self.attest(slot),
            (0xfd, _) => Ok(self.version.to_vec()),
            _ => Err(UNKNOWN_INSTRUCTION),
        }
    }

    /// By any beginning of the application's name that names it: some send five bytes, some all eleven.
    fn select(&mut self, name: &[u8]) -> Answer {
        if !name.starts_with(PIV_AID) {
            return Err(NOT_FOUND);
        }
        let authority = tlv(&[0x79], &tlv(&[0x4f], PIV_AID));
        Ok(tlv(&[0x61], &[tlv(&[0x4f], &[0, 0, 0x10, 0, 1, 0]), authority].concat()))
    }

    /// With nothing: says how many tries there are, unless the PIN is verified.
    fn verify(&mut self, pin: &[u8]) -> Answer {
        let left = |tries: u8| 0x63c0 | u16::from(tries);
        match pin {
            _ if self.tries == 0 => Err(BLOCKED),
            [] if self.verified => Ok(Vec::new()),
            [] => Err(left(self.tries)),
            pin if pin == self.pin => {
                (self.tries, self.verified, self.fresh) = (PIN_TRIES, true, true);
                Ok(Vec::new())
            }
            _ => {
                (self.tries, self.verified, self.fresh) = (self.tries - 1, false, false);
                Err(left(self.tries))
            }
        }
    }

    /// GENERAL AUTHENTICATE: a signature of the digest in the challenge.
    fn sign(&mut self, slot: u8, data: &[u8]) -> Answer {
        let digest = find(0x7c, data).and_then(|template| find(0x81, template)).ok_or(WRONG_DATA)?;
        let key = self.keys.get(&slot).ok_or(WRONG_DATA)?;
        let fresh = std::mem::take(&mut self.fresh);
        if !self.verified || (slot == ALWAYS_AUTHENTICATE && !fresh) {
            return Err(NOT_ALLOWED);
        }
        let signature: Signature = key.sign_prehash(digest).map_err(|_| WRONG_DATA)?;
        self.signatures += 1;
        Ok(tlv(&[0x7c], &tlv(&[0x82], signature.to_der().as_bytes())))
    }

    /// Of a key: algorithm, PIN and touch policy, origin, public point. Of the PIN: whether it is the default, tries.
    fn metadata(&self, slot: u8) -> Answer {
        if slot == 0x80 {
            return Ok([tlv(&[1], &[0xff]), tlv(&[5], &[0]), tlv(&[6], &[PIN_TRIES, self.tries])].concat());
        }
        let key = self.keys.get(&slot).ok_or(NOT_FOUND)?;
        let point = key.verifying_key().to_sec1_point(false);
        let origin = if self.made.contains(&slot) { MADE } else { IMPORTED };
        let public = tlv(&[4], &tlv(&[0x86], point.as_bytes()));
        Ok([tlv(&[1], &[P256]), tlv(&[2], &policy(slot)), tlv(&[3], &[origin]), public].concat())
    }

    /// A certificate, without anything around it, of a key that was made here.
    fn attest(&self, slot: u8) -> Answer {
        let attester = self.attester.as_ref().ok_or(UNKNOWN_INSTRUCTION)?;
        let key = self.keys.get(&slot).filter(|_| self.made.contains(&slot)).ok_or(WRONG_DATA)?;
        let claims = Claims { slot, firmware: self.version, serial: self.serial, policy: policy(slot) };
        Ok(attester.attest(key, &claims))
    }
}

impl<'a> Command<'a> {
    fn parse(apdu: &'a [u8]) -> Option<Self> {
        let [class, instruction, first, second, body @ ..] = apdu else { return None };
        // Ne of zero means the most that there can be.
        let short = |le: u8| if le == 0 { SHORT } else { usize::from(le) };
        let (data, expected): (&[u8], usize) = match body {
            [] => (&[], SHORT),
            [le] => (&[], short(*le)),
            [0, _, _] => (&[], 0x10000),
            [0, high, low, rest @ ..] => (rest.get(..usize::from(u16::from_be_bytes([*high, *low])))?, 0x10000),
            [length, rest @ ..] => {
                let (data, le) = rest.split_at_checked(usize::from(*length))?;
                (data, le.first().map_or(SHORT, |le| short(*le)))
            }
        };
        Some(Self { class: *class, instruction: *instruction, parameters: [*first, *second], data, expected })
    }
}

/// When a slot's key wants the PIN (once, always), and a touch (never).
const fn policy(slot: u8) -> [u8; 2] {
    if slot == ALWAYS_AUTHENTICATE { [3, 1] } else { [2, 1] }
}

/// The tag of a slot's certificate (SP 800-73-4 part 1, table 3).
fn certificate_tag(slot: u8) -> Vec<u8> {
    let last = match slot {
        attester::SLOT => return vec![0x5f, 0xff, 0x01],
        0x9a => 0x05,
        0x9c => 0x0a,
        0x9d => 0x0b,
        0x9e => 0x01,
        0x82..=0x95 => slot - 0x82 + 0x0d,
        _ => panic!("there is no slot {slot:02x}"),
    };
    vec![0x5f, 0xc1, last]
}

/// A PIN as it is sent: eight bytes, filled up.
fn padded(pin: &str) -> Vec<u8> {
    let mut padded = pin.as_bytes().to_vec();
    padded.resize(8, 0xff);
    padded
}
