//! The edge's objects of status as one, driven by events and alarms, in front of a signer that signs at once. Every question that the
//! edge puts to it counts as a signature: the signer's own memory, which would save some, is left out.

use std::collections::{BTreeSet, HashMap, HashSet};

use edge::{
    acme::{
        record::Record as _,
        storage::{Change, Key, Memory, Storage as _},
    },
    status::{
        config::StatusConfig,
        document::Document,
        exchange::Question,
        memory::DocumentMemory,
        response::{self, Ask, Look, Outcome, ResponseRecord},
        revocation::{CertificateRecord, CertificateState},
    },
};
use shared::{
    base64url::Base64Url,
    ocsp::{CertIdHash, CertStatus, IssuerHashes, Responder as By, Response, ResponseContent},
    pointers::IssuerId,
    revocation::RevocationReason,
    serial::SerialNumber,
    signing::{OcspReply, OcspRequest, Revoked, SignedResponse, Urgency},
    testing::TestCa,
    timestamp::Timestamp,
};

use crate::{
    Figures,
    estate::{Estate, Event, at},
};

/// Seconds that a response is good: the signer's default.
pub(crate) const VALIDITY: u64 = 345_600;
/// Seconds after which an alarm asks a signer again: the edge's default.
const REDRIVE: u64 = 10;
/// Of so many responses one is signed and verified; what is stored of the others is held against what is stored of that one.
const SAMPLE: u64 = 1000;
/// By what most clients name certificates.
const HASH: CertIdHash = CertIdHash::Sha1;

#[derive(Debug)]
pub(crate) struct Responder<'a> {
    estate: &'a Estate,
    ca: TestCa,
    issuer: IssuerHashes,
    issuer_id: IssuerId,
    popular: Option<u32>,
    memory: DocumentMemory<Question>,
    memory_seconds: u64,
    rows: Memory,
    /// When alarms look at which rows.
    alarms: BTreeSet<(Timestamp, Key)>,
    alarm_of: HashMap<Key, Timestamp>,
    /// Last valid seconds.
    not_after: HashMap<SerialNumber, Timestamp>,
    revoked: HashSet<SerialNumber>,
    /// From when on it is counted.
    since: Timestamp,
    figures: Figures,
    asked_about: HashSet<SerialNumber>,
    all: u64,
    minute: (u64, u64),
}

impl<'a> Responder<'a> {
    pub(crate) fn new(estate: &'a Estate, popular: Option<u32>, since: u64) -> Self {
        let ca = TestCa::new(1);
        let figures =
            Figures { questions: 0, asked_about: 0, signatures: 0, awaited: 0, most_in_a_minute: 0, revocations: 0 };
        Self {
            estate,
            issuer: IssuerHashes::of(ca.chain.issuer(), HASH).unwrap(),
            issuer_id: IssuerId::of(ca.chain.issuer()),
            ca,
            popular,
            memory: DocumentMemory::default(),
            memory_seconds: StatusConfig::default().memory_seconds,
            rows: Memory::default(),
            alarms: BTreeSet::new(),
            alarm_of: HashMap::new(),
            not_after: HashMap::new(),
            revoked: HashSet::new(),
            since: at(since),
            figures,
            asked_about: HashSet::new(),
            all: 0,
            minute: (0, 0),
        }
    }

    /// Alarms until then, and then this.
    pub(crate) fn happens(&mut self, event: Event) {
        let now = at(event.second());
        while let Some((due, key)) = self.alarms.first().copied().filter(|(due, _)| *due <= now) {
            self.alarms.remove(&(due, key));
            self.alarm_of.remove(&key);
            self.rings(key, due);
        }
        match event {
            Event::Asked { second, place } => self.asked(place, second, now),
            Event::Revoked { second, place } => {
                let serial = self.estate.certificate(place, second).serial;
                self.revoke(serial, now);
            }
        }
    }

    pub(crate) fn figures(self) -> Figures {
        Figures { asked_about: self.asked_about.len() as u64, ..self.figures }
    }

    /// A client asks, and has to be told the truth.
    fn asked(&mut self, place: u32, second: u64, now: Timestamp) {
        let certificate = self.estate.certificate(place, second);
        let (serial, counts) = (certificate.serial, now >= self.since);
        self.not_after.insert(serial, certificate.not_after);
        if counts {
            self.figures.questions += 1;
            self.asked_about.insert(serial);
        }
        let question = self.question(serial);
        if self.memory.find(&question, now).is_some() {
            return;
        }
        let (changes, look) = response::look(&self.rows, &question, now, self.popular).unwrap();
        self.commit(&changes);
        let document = match look {
            Look::Fresh(document) => document,
            Look::Aging(document) => {
                self.sign(self.ask(serial, Urgency::Refresh), now);
                document
            }
            Look::Missing => {
                self.figures.awaited += u64::from(counts);
                self.sign(self.ask(serial, Urgency::Missing), now)
            }
        };
        assert!(document.is_good(now));
        if let [says_revoked] = document.body.0[..] {
            assert_eq!(says_revoked == 1, self.revoked.contains(&serial), "{serial}");
        }
        self.memory.keep(question, document, now, self.memory_seconds);
    }

    /// An alarm looks at a row that is due.
    fn rings(&mut self, key: Key, now: Timestamp) {
        let Key::Response(serial, hash) = key else { panic!("{key:?} has no alarm") };
        let (changes, ask) = response::due(&self.rows, (serial, hash), now, now.plus(REDRIVE)).unwrap();
        self.commit(&changes);
        if let Some(ask) = ask {
            self.sign(ask, now);
        }
    }

    /// A signer has confirmed a revocation: what the status object does then.
    fn revoke(&mut self, serial: SerialNumber, now: Timestamp) {
        if !self.revoked.insert(serial) {
            return;
        }
        self.figures.revocations += u64::from(now >= self.since);
        let mut changes = response::forgotten(&self.rows, serial, now).unwrap();
        let revoked = Revoked { serial, reason: RevocationReason::KeyCompromise, at: now, journal_index: 1 };
        let record = CertificateRecord::new(CertificateState::Revoked(revoked));
        changes.push(record.put(Key::Certificate(serial), None).unwrap());
        self.commit(&changes);
        self.rings(Key::Response(serial, HASH), now);
    }

    /// The signer signs, and the edge takes that in. An expired certificate has no status.
    fn sign(&mut self, ask: Ask, now: Timestamp) -> Document {
        let serial = ask.request.serial;
        self.count(now);
        let (revoked, not_after) = (self.revoked.contains(&serial), self.not_after[&serial]);
        let next_update = now.plus(VALIDITY).min(not_after);
        let signed = |response| SignedResponse { response, this_update: now, next_update, revoked };
        let due = next_update.plus(86_400);
        if self.all % SAMPLE != 1 {
            let record = self.record(&ask, signed(Base64Url(vec![u8::from(revoked)])));
            self.commit(&[record.put(Key::Response(serial, HASH), Some(due)).unwrap()]);
            let (_, look) = response::look(&self.rows, &ask.question, now, None).unwrap();
            let Look::Fresh(document) = look else { panic!("{look:?}") };
            return document;
        }
        let status = if revoked { CertStatus::Revoked(now, RevocationReason::KeyCompromise) } else { CertStatus::Good };
        let issuer = self.ca.chain.issuer();
        let by = By::Issuer(issuer);
        let tbs = ResponseContent::tbs(serial, HASH, status, (now, next_update), issuer, by).unwrap();
        let signature = self.ca.sign(tbs.as_bytes());
        let signed = signed(Base64Url(tbs.assemble(&signature, by).unwrap()));
        let reply = Ok(OcspReply::Signed(signed.clone()));
        let (changes, outcome, words) = response::answered(&self.rows, &ask, issuer, reply, now).unwrap();
        let expected = self.record(&ask, signed).put(Key::Response(serial, HASH), Some(due)).unwrap();
        assert_eq!((changes.as_slice(), words), (&[expected][..], None));
        self.commit(&changes);
        let Outcome::Signed(document) = outcome else { panic!("{outcome:?}") };
        let Response::Answer(content) = Response::verify(&document.body.0, self.ca.chain.issuer()).unwrap() else {
            panic!("it says nothing")
        };
        assert_eq!(content.status != CertStatus::Good, self.revoked.contains(&serial));
        document
    }

    fn count(&mut self, now: Timestamp) {
        self.all += 1;
        if now >= self.since {
            self.figures.signatures += 1;
            let minute = now.seconds() / 60;
            self.minute = if self.minute.0 == minute { (minute, self.minute.1 + 1) } else { (minute, 1) };
            self.figures.most_in_a_minute = self.figures.most_in_a_minute.max(self.minute.1);
        }
    }

    fn question(&self, serial: SerialNumber) -> Question {
        let IssuerHashes { name, key } = self.issuer.clone();
        Question { serial, hash: HASH, name: Base64Url(name), key: Base64Url(key) }
    }

    fn ask(&self, serial: SerialNumber, urgency: Urgency) -> Ask {
        let request = OcspRequest { issuer: self.issuer_id, serial, hash: HASH, urgency };
        Ask { question: self.question(serial), request, signer: "SIGNER_1".to_owned() }
    }

    fn record(&self, ask: &Ask, signed: SignedResponse) -> ResponseRecord {
        let (name, key) = (ask.question.name.clone(), ask.question.key.clone());
        let (issuer, signer) = (ask.request.issuer, ask.signer.clone());
        ResponseRecord { name, key, issuer, signer, signed: Some(signed), questions: 0, asked: false }
    }

    fn commit(&mut self, changes: &[Change]) {
        for change in changes {
            let (key, due) = match change {
                Change::Put { key, due, .. } => (*key, *due),
                Change::Delete(key) => (*key, None),
                Change::Clear => panic!("no object of status is cleared"),
            };
            if let Some(before) = self.alarm_of.remove(&key) {
                self.alarms.remove(&(before, key));
            }
            if let Some(due) = due {
                self.alarm_of.insert(key, due);
                self.alarms.insert((due, key));
            }
        }
        self.rows.commit(changes).unwrap();
    }
}
