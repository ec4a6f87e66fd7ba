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
mod tests;
