//! DNS messages (RFC 1035): the question of a probe as bytes, and what a resolver's answer says about it. How the bytes
//! travel is the platform's work.

use std::{fmt, net::IpAddr};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{self, DNSClass, Name, RData},
};
use serde::{Deserialize, Serialize};
use shared::identifier::DnsName;

use super::host::HostName;

/// CNAME records that are followed at most, within one answer and across answers.
pub const MAX_ALIASES: usize = 8;

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

/// Why a question has no answer. The question itself is named by the error that contains this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum DnsFault {
    /// NXDOMAIN.
    #[error("the name does not exist (NXDOMAIN)")]
    NoSuchName,
    /// The name has records of other types only, or none.
    #[error("the name has no record of this type")]
    NoRecords,
    /// No resolver could be reached.
    #[error("no resolver can be reached")]
    Unreachable,
    /// No resolver answered in time.
    #[error("no resolver answered in time")]
    Timeout,
    /// A resolver answered with this response code (SERVFAIL is 2).
    #[error("the resolver failed with response code {0} ({name})", name = response_code(*.0))]
    Failure(u16),
    /// A resolver for DNS over HTTPS answered with this status.
    #[error("the resolver answered with the HTTP status {0}, not 200")]
    HttpStatus(u16),
    /// An answer that is not a DNS message for the question.
    #[error("the resolver's answer is not a well-formed DNS message for this question")]
    Malformed,
    /// More than [`MAX_ALIASES`] CNAME records.
    #[error("the name is an alias, and its CNAME records form a loop or a chain of more than {MAX_ALIASES}")]
    Aliases,
    /// An answer that is cut off, over a transport that has room for all of it.
    #[error("the resolver's answer is truncated")]
    Truncated,
    /// An answer over HTTPS that no DNS message can be as long as.
    #[error("the resolver's answer has more than 65535 bytes")]
    TooLong,
}

impl DnsFault {
    /// True when it says something about the resolver alone, so that another one may know the answer.
    #[must_use]
    pub const fn is_of_resolver(self) -> bool {
        !matches!(self, Self::NoSuchName | Self::NoRecords)
    }
}

/// As RFC 1035 §4.1.1 and RFC 2136 §2.2 name it.
const fn response_code(code: u16) -> &'static str {
    match code {
        1 => "FORMERR",
        2 => "SERVFAIL",
        4 => "NOTIMP",
        5 => "REFUSED",
        _ => "unusual",
    }
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
    /// [`DnsFault::NoSuchName`] when the name does not fit into a DNS message, so that it cannot exist.
    pub fn address(name: &HostName, kind: RecordType) -> Result<Self, DnsFault> {
        Self::of_labels(name.as_str().split('.'), kind)
    }

    /// The texts at `_acme-challenge.` before a name (RFC 8555 §8.4).
    ///
    /// # Errors
    /// [`DnsFault::NoSuchName`] when the longer name does not fit into a DNS message, so that it cannot exist.
    pub fn challenge(name: &DnsName) -> Result<Self, DnsFault> {
        Self::below(&["_acme-challenge"], name, RecordType::Txt)
    }

    /// The records of a type at these labels before a name, whose wildcard does not count.
    ///
    /// # Errors
    /// [`DnsFault::NoSuchName`] when the longer name does not fit into a DNS message, so that it cannot exist.
    pub fn below(labels: &[&str], name: &DnsName, kind: RecordType) -> Result<Self, DnsFault> {
        Self::of_labels(labels.iter().copied().chain(name.base().split('.')), kind)
    }

    fn of_labels<'a>(labels: impl Iterator<Item = &'a str>, kind: RecordType) -> Result<Self, DnsFault> {
        let labels: Vec<_> = labels.map(str::as_bytes).collect();
        let mut name = Name::from_labels(labels).map_err(|_| DnsFault::NoSuchName)?;
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
    /// [`DnsFault::NoSuchName`] when the question cannot be written.
    pub fn query(&self, id: u16) -> Result<Vec<u8>, DnsFault> {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(self.name.clone(), self.kind.into()));
        message.to_vec().map_err(|_| DnsFault::NoSuchName)
    }

    /// Reads a resolver's answer: the records of the type that was asked for, at the name or at the end of its aliases. A
    /// server that does not recurse may leave that end out. All records are returned: their number is bounded by the length of
    /// a DNS message alone, so that no record is ever ignored because others came before it.
    ///
    /// # Errors
    /// What the resolver says ([`DnsFault::NoSuchName`], [`DnsFault::NoRecords`], [`DnsFault::Failure`]),
    /// [`DnsFault::Truncated`], [`DnsFault::Aliases`], or [`DnsFault::Malformed`] when the bytes are no answer to this question,
    /// or one of the records that it asks for cannot be read.
    pub fn parse_answer(&self, id: u16, bytes: &[u8]) -> Result<Answer, DnsFault> {
        let message = Message::from_vec(bytes).map_err(|_| DnsFault::Malformed)?;
        self.check_header(id, &message)?;
        match message.response_code {
            ResponseCode::NoError => {}
            ResponseCode::NXDomain => return Err(DnsFault::NoSuchName),
            code => return Err(DnsFault::Failure(code.into())),
        }
        let (owner, aliases) = self.end_of_aliases(&message.answers)?;
        let asked_for = |record: &&rr::Record| {
            record.dns_class == DNSClass::IN && record.name == *owner && record.record_type() == self.kind.into()
        };
        let read = |record: &rr::Record| self.kind.read(&record.data).ok_or(DnsFault::Malformed);
        let records: Vec<_> = message.answers.iter().filter(asked_for).map(read).collect::<Result<_, _>>()?;
        match (records.is_empty(), owner == &self.name) {
            (false, _) => Ok(Answer::Records(records)),
            (true, true) => Err(DnsFault::NoRecords),
            (true, false) => Ok(Answer::Alias(Self { name: owner.clone(), kind: self.kind, aliases })),
        }
    }

    /// A whole answer (never a truncated one: there is no datagram here) to our very question.
    fn check_header(&self, id: u16, message: &Message) -> Result<(), DnsFault> {
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
            true if message.truncation => Err(DnsFault::Truncated),
            true => Ok(()),
            false => Err(DnsFault::Malformed),
        }
    }

    /// The name that the CNAME records of the answer lead to, and how many have been followed to come there.
    fn end_of_aliases<'a>(&'a self, answers: &'a [rr::Record]) -> Result<(&'a Name, usize), DnsFault> {
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
        Err(DnsFault::Aliases)
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
mod tests;
