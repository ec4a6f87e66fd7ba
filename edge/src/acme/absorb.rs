//! A client that asks again and again for what it has (a workload that crashes in a loop, say) is given the certificate that it has,
//! while more than two thirds of that one's life are left: no signer is asked. Only where names, key and profile are the same, the
//! order asks for no times and replaces nothing, and the status object knows no reason to renew.

use serde::{Deserialize, Serialize};
use shared::{
    base64url::{self, Base64Url},
    chain::{Issuer, Leaf},
    csr::Csr,
    identifier::Identifier,
    public_key::PublicKey,
};

use super::{
    object_id::ObjectId,
    order,
    problem::Problem,
    record::{Issued, OrderRecord, OrderState, Record},
    renewal_info::CertificateId,
    step::Context,
    storage::{Change, Key, Rows, StorageFault},
};

/// Whose certificate of certain names and a certain key is the newest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRecord {
    /// That order.
    pub order: ObjectId,
}

impl Record for HeldRecord {}

/// A certificate that an order may be given again, if its status object knows no reason to renew it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The order that it was issued for.
    pub order: ObjectId,
    /// What to ask the status object about.
    pub certificate: CertificateId,
}

/// An order has its certificate: the row by which a later one finds it.
///
/// # Errors
/// Never: a record can be serialized.
pub fn keep(
    id: ObjectId,
    record: &OrderRecord,
    key: &PublicKey,
    context: &Context<'_>,
) -> Result<Option<Change>, StorageFault> {
    if !is_plain(record) || !is_on(record, context) {
        return Ok(None);
    }
    let due = order::deleted_at(record, context);
    HeldRecord { order: id }.put(key_of(&record.identifiers, key), Some(due)).map(Some)
}

/// What this order may be given in place of a new certificate for this CSR, in DER.
///
/// # Errors
/// When rows cannot be read.
pub fn candidate(rows: &dyn Rows, id: ObjectId, csr: &[u8], context: &Context<'_>) -> Result<Option<Held>, Problem> {
    let Some(record) = OrderRecord::load(rows, Key::Order(id))?.filter(is_plain) else { return Ok(None) };
    let Ok(key) = Csr::public_key_of(csr) else { return Ok(None) };
    let Some(HeldRecord { order }) = HeldRecord::load(rows, key_of(&record.identifiers, &key))? else {
        return Ok(None);
    };
    let Some((_, issued)) = issued_to(rows, order, &key, context)? else { return Ok(None) };
    let issuer = issued.chain.get(1).and_then(|Base64Url(der)| Issuer::from_der(der).ok());
    let certificate =
        issuer.map(|issuer| CertificateId { key_identifier: issuer.key_identifier().to_vec(), serial: issued.serial });
    Ok(certificate.map(|certificate| Held { order, certificate }))
}

/// The certificate of that order, if it is what this one asks for.
///
/// # Errors
/// When rows cannot be read.
pub fn held(
    rows: &dyn Rows,
    order: ObjectId,
    record: &OrderRecord,
    key: &PublicKey,
    context: &Context<'_>,
) -> Result<Option<Issued>, Problem> {
    let found = issued_to(rows, order, key, context)?;
    let same = |(of, _): &(OrderRecord, Issued)| of.identifiers == record.identifiers && of.profile == record.profile;
    Ok(found.filter(same).filter(|_| is_plain(record) && is_on(record, context)).map(|(_, issued)| issued))
}

/// The binding of the signer whose journal names this order's certificate, for metrics.
///
/// # Errors
/// When rows cannot be read.
pub fn signer_of(rows: &dyn Rows, order: ObjectId) -> Result<Option<String>, Problem> {
    Ok(OrderRecord::load(rows, Key::Order(order))?.and_then(|record| match record.state {
        OrderState::Valid(issued) => Some(issued.signer),
        _ => None,
    }))
}

/// The certificate of this order, if it has this key and most of its life before it.
fn issued_to(
    rows: &dyn Rows,
    order: ObjectId,
    key: &PublicKey,
    context: &Context<'_>,
) -> Result<Option<(OrderRecord, Issued)>, Problem> {
    let Some(record) = OrderRecord::load(rows, Key::Order(order))? else { return Ok(None) };
    let OrderState::Valid(issued) = record.state.clone() else { return Ok(None) };
    let leaf = issued.chain.first().and_then(|Base64Url(der)| Leaf::from_der(der).ok());
    let fits = leaf.is_some_and(|leaf| {
        let (left, life) = (leaf.not_after.since(context.now), leaf.not_after.since(leaf.not_before));
        leaf.public_key == *key && left.saturating_mul(3) > life.saturating_mul(2)
    });
    Ok(fits.then_some((record, issued)))
}

/// It takes any certificate of its names and profile.
fn is_plain(record: &OrderRecord) -> bool {
    record.replaces.is_none() && record.not_before.is_none() && record.not_after.is_none()
}

fn is_on(record: &OrderRecord, context: &Context<'_>) -> bool {
    context.config.renewal.offered && context.config.profiles.get(&record.profile).is_some_and(|profile| profile.absorb)
}

fn key_of(identifiers: &[Identifier], key: &PublicKey) -> Key {
    let mut text = base64url::encode(&key.key_identifier());
    for identifier in identifiers {
        text.push(' ');
        text.push_str(&identifier.to_string());
    }
    Key::Held(ObjectId::of_identifier(&text))
}
