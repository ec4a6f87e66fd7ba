//! Finding records: by what they are about, by when and by kind. A certificate is found with everything that happened to it: whatever
//! names the order or the serial number of an intent that was found is found too.

use std::collections::BTreeSet;

use serde_json::Value;
use shared::timestamp::Timestamp;

use super::{Event, Record};

/// What records are asked for; what is left out holds for all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    /// A serial number, hexadecimal.
    pub(crate) serial: Option<String>,
    /// An order's URL.
    pub(crate) order: Option<String>,
    /// A name that a certificate is for.
    pub(crate) name: Option<String>,
    /// The thumbprint of an account's key, base64url.
    pub(crate) account: Option<String>,
    /// Not before this.
    pub(crate) since: Option<Timestamp>,
    /// Before this.
    pub(crate) until: Option<Timestamp>,
    /// The kind of the event.
    pub(crate) kind: Option<String>,
}

/// A query and the certificates that it has found so far.
#[derive(Debug)]
pub(crate) struct Search {
    query: Query,
    orders: BTreeSet<String>,
    serials: BTreeSet<String>,
}

impl Search {
    /// Begins before the first record.
    pub(crate) fn new(query: Query) -> Self {
        Self { query: query.normalized(), orders: BTreeSet::new(), serials: BTreeSet::new() }
    }

    /// Looks at the next record. True when it is one of those that are asked for.
    ///
    /// # Errors
    /// Never: a record can be written.
    pub(crate) fn find(&mut self, record: &Record) -> serde_json::Result<bool> {
        let value = serde_json::to_value(record)?;
        let Some((kind, event)) = kind(&value) else { return Ok(false) };
        let about = self.query.is_about(event);
        if about
            && self.query.has_subject()
            && let Event::Intent(intent) = &record.event
        {
            self.orders.insert(intent.order.clone());
            self.serials.insert(intent.serial.to_string());
        }
        let known = |member: &str, all: &BTreeSet<String>| event[member].as_str().is_some_and(|one| all.contains(one));
        let linked = known("order", &self.orders) || known("serial", &self.serials);
        let Query { since, until, kind: asked, .. } = &self.query;
        Ok((about || linked)
            && since.is_none_or(|since| record.at >= since)
            && until.is_none_or(|until| record.at < until)
            && asked.as_ref().is_none_or(|asked| asked == kind))
    }
}

impl Query {
    /// Serial numbers and names have one form.
    fn normalized(self) -> Self {
        let serial = self.serial.map(|serial| serial.replace(':', "").to_ascii_lowercase());
        Self { serial, name: self.name.map(|name| name.to_ascii_lowercase()), ..self }
    }

    const fn has_subject(&self) -> bool {
        self.serial.is_some() || self.order.is_some() || self.name.is_some() || self.account.is_some()
    }

    /// Whether the event itself says all that is asked for.
    fn is_about(&self, event: &Value) -> bool {
        let is = |member: &str, asked: &Option<String>| {
            asked.as_ref().is_none_or(|asked| event[member].as_str() == Some(asked))
        };
        let named = |asked: &String| {
            let names = event["names"].as_array().map(Vec::as_slice).unwrap_or_default();
            names.iter().any(|name| name["value"].as_str() == Some(asked))
        };
        is("serial", &self.serial)
            && is("order", &self.order)
            && is("account", &self.account)
            && self.name.as_ref().is_none_or(named)
    }
}

/// An event's kind and what it says.
pub(crate) fn kind(record: &Value) -> Option<(&String, &Value)> {
    record["event"].as_object()?.iter().next()
}

#[cfg(test)]
mod tests {
    use shared::{
        base64url::Base64Url,
        revocation::RevocationReason,
        signing::{Refusal, Right},
    };

    use super::*;
    use crate::{
        fixture,
        journal::{RefusedRequest, RevokedCertificate},
    };

    /// An intent, its certificate, a revocation, and a refusal of another order; one a day.
    fn records() -> Vec<Record> {
        let (intent, signed) = fixture::signed();
        let revoked = RevokedCertificate {
            serial: signed.serial,
            reason: RevocationReason::KeyCompromise,
            right: Right::Account.into(),
            order: signed.order.clone(),
            key: Some(Base64Url(vec![1])),
            certificate_sha256: Base64Url(vec![2]),
            edge: fixture::EDGE.into(),
        };
        let refused = RefusedRequest {
            reason: Refusal::NotPermitted,
            detail: String::new(),
            edge: fixture::EDGE.into(),
            order: "https://ca.test/acme/order/ref/2".into(),
        };
        let events =
            [Event::Intent(Box::new(intent)), Event::Signed(signed), Event::Revoked(revoked), Event::Refused(refused)];
        let record = |(index, event)| Record {
            index,
            previous: Base64Url(vec![0; 32]),
            at: Timestamp::from_seconds(index * 86_400),
            policy: None,
            event,
        };
        (0..).zip(events).map(record).collect()
    }

    #[test]
    fn a_certificate_is_found_by_each_of_its_properties_with_everything_that_happened_to_it() {
        let records = records();
        let Event::Intent(intent) = &records[0].event else { panic!() };
        let account = serde_json::to_value(&intent.account).unwrap().as_str().unwrap().to_owned();
        let some = |text: &str| Some(text.to_owned());
        let day = |day: u64| Some(Timestamp::from_seconds(day * 86_400));
        let colons = intent.serial.to_string().to_uppercase();
        let colons =
            colons.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair)).collect::<Vec<_>>().join(":");
        let table = [
            (Query::default(), vec![0, 1, 2, 3]),
            (Query { serial: some(&intent.serial.to_string()), ..Query::default() }, vec![0, 1, 2]),
            (Query { serial: Some(colons), ..Query::default() }, vec![0, 1, 2]),
            (Query { order: some(fixture::ORDER), ..Query::default() }, vec![0, 1, 2]),
            (Query { name: some("HOST.a.test"), ..Query::default() }, vec![0, 1, 2]),
            (Query { account: some(&account), ..Query::default() }, vec![0, 1, 2]),
            (Query { name: some("host.a.test"), account: some("AAAA"), ..Query::default() }, vec![]),
            (Query { name: some("a.test"), ..Query::default() }, vec![]),
            (Query { kind: some("revoked"), name: some("host.a.test"), ..Query::default() }, vec![2]),
            (Query { kind: some("refused"), ..Query::default() }, vec![3]),
            (Query { since: day(1), until: day(3), ..Query::default() }, vec![1, 2]),
            (Query { since: day(2), name: some("host.a.test"), ..Query::default() }, vec![2]),
        ];
        for (query, expected) in table {
            let mut search = Search::new(query.clone());
            let found = records.iter().filter(|record| search.find(record).unwrap());
            assert_eq!(found.map(|record| record.index).collect::<Vec<_>>(), expected, "{query:?}");
        }
    }
}
