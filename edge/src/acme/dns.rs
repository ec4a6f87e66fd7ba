//! DNS messages (RFC 1035): the question of a probe as bytes, and what a resolver's answer says about it. How the bytes
//! travel is the platform's work.

use std::{fmt, net::IpAddr};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{self, DNSClass, Name, RData},
};
use shared::identifier::DnsName;

use super::probe::ProbeFault;

/// CNAME records that are followed at most, within one answer and across answers.
pub const MAX_ALIASES: usize = 8;

/// Records of one answer that are looked at; the rest is ignored.
pub const MAX_RECORDS: usize = 64;

/// What is asked of a resolver: the records of one type at one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    name: Name,
    kind: RecordType,
    /// CNAME records that were followed to come here.
    aliases: usize,
}

/// The record types that probes need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordType {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses (RFC 3596).
    Aaaa,
    /// Texts.
    Txt,
    /// Who may issue certificates (RFC 8659).
    Caa,
}

/// One record that answers a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Of an A or AAAA record.
    Address(IpAddr),
    /// Of a TXT record, its character strings joined (RFC 8555 §8.4 compares the whole).
    Text(Vec<u8>),
    /// Of a CAA record (RFC 8659 §4.1).
    Caa {
        /// Who does not know the tag must not issue.
        critical: bool,
        /// The property.
        tag: String,
        /// Its value, not read yet.
        value: Vec<u8>,
    },
}

/// What a resolver's answer comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The records that were asked for, at least one.
    Records(Vec<Record>),
    /// The name is an alias, and the answer does not say what is at its end: that is to be asked.
    Alias(Question),
}

impl Question {
    /// The addresses of a name: `kind` is [`RecordType::A`] or [`RecordType::Aaaa`].
    ///
    /// # Errors
    /// [`ProbeFault::NoSuchName`] when the name does not fit into a DNS message, so that it cannot exist.
    pub fn address(name: &DnsName, kind: RecordType) -> Result<Self, ProbeFault> {
        Self::below(&[], name, kind)
    }

    /// The texts at `_acme-challenge.` before a name (RFC 8555 §8.4).
    ///
    /// # Errors
    /// [`ProbeFault::NoSuchName`] when the longer name does not fit into a DNS message, so that it cannot exist.
    pub fn challenge(name: &DnsName) -> Result<Self, ProbeFault> {
        Self::below(&["_acme-challenge"], name, RecordType::Txt)
    }

    /// The records of a type at these labels before a name, whose wildcard does not count.
    ///
    /// # Errors
    /// [`ProbeFault::NoSuchName`] when the longer name does not fit into a DNS message, so that it cannot exist.
    pub fn below(labels: &[&str], name: &DnsName, kind: RecordType) -> Result<Self, ProbeFault> {
        let labels = labels.iter().copied().chain(name.base().split('.'));
        let mut name = Name::from_labels(labels.map(str::as_bytes)).map_err(|_| ProbeFault::NoSuchName)?;
        name.set_fqdn(true);
        Ok(Self { name, kind, aliases: 0 })
    }

    /// The name that is asked for, without the dot at its end.
    #[must_use]
    pub fn name(&self) -> String {
        self.name.to_ascii().trim_end_matches('.').to_owned()
    }

    /// The same question at the name above; nothing at a top-level domain, which has only the root above it.
    #[must_use]
    pub fn above(&self) -> Option<Self> {
        (self.name.num_labels() > 1).then(|| Self { name: self.name.base_name(), kind: self.kind, aliases: 0 })
    }

    /// The query as a DNS message that asks for recursion. `id` is random, and zero over HTTPS (RFC 8484 §4.1).
    ///
    /// # Errors
    /// [`ProbeFault::NoSuchName`] when the question cannot be written.
    pub fn query(&self, id: u16) -> Result<Vec<u8>, ProbeFault> {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(self.name.clone(), self.kind.into()));
        message.to_vec().map_err(|_| ProbeFault::NoSuchName)
    }

    /// Reads a resolver's answer: the records of the type that was asked for, at the name or at the end of its aliases. A
    /// server that does not recurse may leave that end out.
    ///
    /// # Errors
    /// What the resolver says ([`ProbeFault::NoSuchName`], [`ProbeFault::NoRecords`], [`ProbeFault::DnsFailure`]),
    /// [`ProbeFault::DnsTruncated`], or [`ProbeFault::DnsMalformed`] when the bytes are no answer to this question.
    pub fn parse_answer(&self, id: u16, bytes: &[u8]) -> Result<Answer, ProbeFault> {
        let message = Message::from_vec(bytes).map_err(|_| ProbeFault::DnsMalformed)?;
        self.check_header(id, &message)?;
        match message.response_code {
            ResponseCode::NoError => {}
            ResponseCode::NXDomain => return Err(ProbeFault::NoSuchName),
            code => return Err(ProbeFault::DnsFailure(code.into())),
        }
        let (owner, aliases) = self.end_of_aliases(&message.answers)?;
        let at_owner =
            message.answers.iter().filter(|record| record.dns_class == DNSClass::IN && record.name == *owner);
        let records: Vec<_> = at_owner.filter_map(|record| self.kind.read(&record.data)).take(MAX_RECORDS).collect();
        match (records.is_empty(), owner == &self.name) {
            (false, _) => Ok(Answer::Records(records)),
            (true, true) => Err(ProbeFault::NoRecords),
            (true, false) => Ok(Answer::Alias(Self { name: owner.clone(), kind: self.kind, aliases })),
        }
    }

    /// A whole answer (never a truncated one: there is no datagram here) to our very question.
    fn check_header(&self, id: u16, message: &Message) -> Result<(), ProbeFault> {
        let answers = message.message_type == MessageType::Response && message.op_code == OpCode::Query;
        let ours = match message.queries.as_slice() {
            [query] => {
                *query.name() == self.name
                    && query.query_type() == self.kind.into()
                    && query.query_class() == DNSClass::IN
            }
            // A resolver that could not even read the question may leave it out.
            [] => message.response_code != ResponseCode::NoError,
            _ => false,
        };
        match answers && ours && message.id == id {
            true if message.truncation => Err(ProbeFault::DnsTruncated),
            true => Ok(()),
            false => Err(ProbeFault::DnsMalformed),
        }
    }

    /// The name that the CNAME records of the answer lead to, and how many have been followed to come there.
    fn end_of_aliases<'a>(&'a self, answers: &'a [rr::Record]) -> Result<(&'a Name, usize), ProbeFault> {
        let mut owner = &self.name;
        for aliases in self.aliases..=MAX_ALIASES {
            let alias = answers.iter().find_map(|record| match &record.data {
                RData::CNAME(target) if record.dns_class == DNSClass::IN && record.name == *owner => Some(&target.0),
                _ => None,
            });
            match alias {
                Some(target) => owner = target,
                None => return Ok((owner, aliases)),
            }
        }
        Err(ProbeFault::DnsMalformed)
    }
}

/// `TXT _acme-challenge.a.test`, for people.
impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", rr::RecordType::from(self.kind), self.name())
    }
}

impl RecordType {
    fn read(self, data: &RData) -> Option<Record> {
        match (self, data) {
            (Self::A, RData::A(address)) => Some(Record::Address(address.0.into())),
            (Self::Aaaa, RData::AAAA(address)) => Some(Record::Address(address.0.into())),
            (Self::Txt, RData::TXT(text)) => Some(Record::Text(text.txt_data.concat())),
            (Self::Caa, RData::CAA(caa)) => {
                Some(Record::Caa { critical: caa.issuer_critical, tag: caa.tag.clone(), value: caa.value.clone() })
            }
            _ => None,
        }
    }
}

impl From<RecordType> for rr::RecordType {
    fn from(kind: RecordType) -> Self {
        match kind {
            RecordType::A => Self::A,
            RecordType::Aaaa => Self::AAAA,
            RecordType::Txt => Self::TXT,
            RecordType::Caa => Self::CAA,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::{A, CNAME, TXT};
    use proptest::prelude::*;

    const ID: u16 = 0x1234;

    fn question() -> Question {
        Question::challenge(&"a.test".parse().unwrap()).unwrap()
    }

    fn name(text: &str) -> Name {
        let mut name = Name::from_labels(text.split('.').map(str::as_bytes)).unwrap();
        name.set_fqdn(true);
        name
    }

    fn record(owner: &str, data: RData) -> rr::Record {
        rr::Record::from_rdata(name(owner), 60, data)
    }

    fn text(owner: &str, strings: &[&[u8]]) -> rr::Record {
        record(owner, RData::TXT(TXT::from_bytes(strings.to_vec())))
    }

    fn alias(owner: &str, target: &str) -> rr::Record {
        record(owner, RData::CNAME(CNAME(name(target))))
    }

    fn answer(records: Vec<rr::Record>) -> Message {
        let mut message = Message::from_vec(&question().query(ID).unwrap()).unwrap();
        message.metadata.message_type = MessageType::Response;
        message.add_answers(records);
        message
    }

    fn parse(message: &Message) -> Result<Vec<Record>, ProbeFault> {
        records(question().parse_answer(ID, &message.to_vec().unwrap()))
    }

    fn records(answer: Result<Answer, ProbeFault>) -> Result<Vec<Record>, ProbeFault> {
        match answer? {
            Answer::Records(records) => Ok(records),
            Answer::Alias(question) => panic!("{question}"),
        }
    }

    #[test]
    fn a_query_is_one_question_that_asks_for_recursion() {
        let expected = b"\x12\x34\x01\x00\x00\x01\0\0\0\0\0\0\x0f_acme-challenge\x01a\x04test\0\0\x10\0\x01";
        assert_eq!(question().query(ID).unwrap(), expected);
    }

    #[test]
    fn a_wildcard_is_asked_for_without_its_star() {
        let question = Question::address(&"*.a.test".parse().unwrap(), RecordType::A).unwrap();
        assert_eq!(question.name, name("a.test"));
    }

    #[test]
    fn a_name_that_is_too_long_with_its_prefix_does_not_exist() {
        let long = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(56)].join(".");
        assert_eq!(Question::challenge(&long.parse().unwrap()), Err(ProbeFault::NoSuchName));
    }

    #[test]
    fn texts_are_joined_within_a_record_and_kept_apart_between_records() {
        let message =
            answer(vec![text("_acme-challenge.a.test", &[b"one", b"two"]), text("_acme-challenge.A.TEST", &[b""])]);
        assert_eq!(parse(&message), Ok(vec![Record::Text(b"onetwo".to_vec()), Record::Text(Vec::new())]));
    }

    #[test]
    fn aliases_are_followed_in_any_order() {
        let message = answer(vec![
            text("c.test", &[b"found"]),
            alias("b.test", "c.test"),
            alias("_acme-challenge.a.test", "b.test"),
        ]);
        assert_eq!(parse(&message), Ok(vec![Record::Text(b"found".to_vec())]));
    }

    #[test]
    fn a_chain_that_ends_outside_of_the_answer_is_asked_on_and_counted() {
        let message =
            answer(vec![alias("_acme-challenge.a.test", "b.test"), text("_acme-challenge.a.test", &[b"beside"])]);
        let on = question().parse_answer(ID, &message.to_vec().unwrap()).unwrap();
        assert_eq!(on, Answer::Alias(Question { name: name("b.test"), kind: RecordType::Txt, aliases: 1 }));
    }

    #[test]
    fn a_chain_that_never_ends_is_malformed_after_eight_aliases() {
        let mut asked = question();
        for aliases in 1.. {
            let mut message = Message::from_vec(&asked.query(ID).unwrap()).unwrap();
            message.metadata.message_type = MessageType::Response;
            let target = name(&format!("{aliases}.test"));
            message.add_answer(rr::Record::from_rdata(asked.name.clone(), 60, RData::CNAME(CNAME(target))));
            match asked.parse_answer(ID, &message.to_vec().unwrap()) {
                Ok(Answer::Alias(next)) => asked = next,
                other => {
                    assert_eq!((other, aliases), (Err(ProbeFault::DnsMalformed), MAX_ALIASES + 1));
                    break;
                }
            }
        }
    }

    #[test]
    fn the_name_above_a_top_level_domain_is_never_asked_for() {
        let asked = Question::below(&[], &"*.b.a.test".parse().unwrap(), RecordType::Caa).unwrap();
        let names: Vec<_> =
            std::iter::successors(Some(asked), Question::above).map(|asked| asked.to_string()).collect();
        assert_eq!(names, ["CAA b.a.test", "CAA a.test", "CAA test"]);
    }

    #[test]
    fn caa_records_are_read_with_their_flag() {
        let asked = Question::below(&[], &"a.test".parse().unwrap(), RecordType::Caa).unwrap();
        let mut message = Message::from_vec(&asked.query(ID).unwrap()).unwrap();
        message.metadata.message_type = MessageType::Response;
        let mut bytes = message.to_vec().unwrap();
        // The answer's count, then a record by hand: flags 128, tag "tbs", value "x".
        bytes[7] = 1;
        bytes.extend(b"\x01a\x04test\0\x01\x01\0\x01\0\0\0\x3c\0\x06\x80\x03tbsx");
        let expected = Record::Caa { critical: true, tag: "tbs".to_owned(), value: b"x".to_vec() };
        assert_eq!(records(asked.parse_answer(ID, &bytes)), Ok(vec![expected]));
    }

    #[test]
    fn records_of_other_names_are_no_answer() {
        assert_eq!(parse(&answer(vec![text("b.test", &[b"other"])])), Err(ProbeFault::NoRecords));
    }

    #[test]
    fn eight_aliases_are_followed_and_a_loop_is_malformed() {
        let chain = |length: usize| {
            let owner = |index| if index == 0 { "_acme-challenge.a.test".to_owned() } else { format!("{index}.test") };
            let mut records: Vec<_> = (0..length).map(|index| alias(&owner(index), &owner(index + 1))).collect();
            records.push(text(&owner(length), &[b"end"]));
            parse(&answer(records))
        };
        assert!(chain(MAX_ALIASES).is_ok());
        assert_eq!(chain(MAX_ALIASES + 1), Err(ProbeFault::DnsMalformed));
        let circle = vec![alias("_acme-challenge.a.test", "b.test"), alias("b.test", "_acme-challenge.a.test")];
        assert_eq!(parse(&answer(circle)), Err(ProbeFault::DnsMalformed));
    }

    #[test]
    fn response_codes_are_told_apart() {
        let table = [
            (ResponseCode::NoError, ProbeFault::NoRecords),
            (ResponseCode::NXDomain, ProbeFault::NoSuchName),
            (ResponseCode::ServFail, ProbeFault::DnsFailure(2)),
            (ResponseCode::Refused, ProbeFault::DnsFailure(5)),
        ];
        for (code, fault) in table {
            let mut message = answer(Vec::new());
            message.metadata.response_code = code;
            assert_eq!(parse(&message), Err(fault));
        }
    }

    #[test]
    fn what_answers_another_question_is_malformed() {
        let records = || vec![text("_acme-challenge.a.test", &[b"x"])];
        let changed = |change: fn(&mut Message)| {
            let mut message = answer(records());
            change(&mut message);
            parse(&message)
        };
        assert!(changed(|_| {}).is_ok());
        let changes: [fn(&mut Message); 5] = [
            |message| message.metadata.id = ID + 1,
            |message| message.metadata.message_type = MessageType::Query,
            |message| message.metadata.op_code = OpCode::Notify,
            |message| message.queries.clear(),
            |message| message.queries = vec![Query::query(name("b.test"), rr::RecordType::TXT)],
        ];
        for change in changes {
            assert_eq!(changed(change), Err(ProbeFault::DnsMalformed));
        }
        assert_eq!(changed(|message| message.metadata.truncation = true), Err(ProbeFault::DnsTruncated));
    }

    #[test]
    fn addresses_of_another_type_are_no_answer() {
        let question = Question::address(&"a.test".parse().unwrap(), RecordType::Aaaa).unwrap();
        let mut message = Message::from_vec(&question.query(ID).unwrap()).unwrap();
        message.metadata.message_type = MessageType::Response;
        message.add_answer(record("a.test", RData::A(A::new(192, 0, 2, 1))));
        assert_eq!(records(question.parse_answer(ID, &message.to_vec().unwrap())), Err(ProbeFault::NoRecords));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = question().parse_answer(ID, &bytes);
        }

        #[test]
        fn an_answer_with_changed_bytes_never_panics(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let records = vec![alias("_acme-challenge.a.test", "b.test"), text("b.test", &[b"one", b"two"])];
            let mut bytes = answer(records).to_vec().unwrap();
            for (index, byte) in changes {
                let index = index.index(bytes.len());
                bytes[index] = byte;
            }
            let _ = question().parse_answer(ID, &bytes);
        }
    }
}
