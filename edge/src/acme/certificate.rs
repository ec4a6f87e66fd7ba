//! The certificate resource: a chain in PEM, read by POST-as-GET (RFC 8555 §7.4.2, §9.1).

use std::num::NonZeroU16;

use der::pem::{LineEnding, encode_string};
use shared::{alternate_chain::AlternateChain, base64url::Base64Url, chain::Issuer, jws::Verified};

use super::{
    object_id::ObjectId,
    problem::Problem,
    record::{Issued, OrderRecord, OrderState, Record},
    route::Resource,
    step::{Body, Context, Reply, Step, require_post_as_get},
    storage::{Key, Rows},
};

/// A POST-as-GET of an order's certificate, with the chain of its issuer or with an alternate one; every answer leads to all
/// others (RFC 8555 §7.4.2).
///
/// # Errors
/// `orderNotReady` when there is none yet, `malformed` (404) when there is no such order or alternate.
pub fn read(
    rows: &dyn Rows,
    id: ObjectId,
    alternate: Option<NonZeroU16>,
    request: &Verified,
    context: &Context<'_>,
) -> Result<Step, Problem> {
    require_post_as_get(request)?;
    let record = OrderRecord::load(rows, Key::Order(id))?.ok_or(Problem::NotFound)?;
    let OrderState::Valid(issued) = &record.state else { return Err(Problem::NoCertificate) };
    let alternates = alternates(issued, context);
    let chain: Vec<&[u8]> = match alternate {
        None => issued.chain.iter().map(|Base64Url(der)| der.as_slice()).collect(),
        Some(wanted) => {
            let (_, found) = alternates.iter().find(|(number, _)| *number == wanted).ok_or(Problem::NotFound)?;
            let leaf = issued.chain.first().map(|Base64Url(der)| der.as_slice());
            leaf.into_iter().chain(found.sent()).collect()
        }
    };
    let all = std::iter::once(None).chain(alternates.iter().map(|(number, _)| Some(*number)));
    let others = all.filter(|other| *other != alternate);
    let url = |other| context.urls.resource(context.account, Resource::Certificate(id, other));
    let reply = Reply { alternates: others.map(url).collect(), ..Reply::new(200, Body::PemChain(pem_chain(&chain)?)) };
    Ok(Step::read(reply))
}

/// The alternate chains of a certificate's issuer that are valid now, with their numbers in the configuration, from 1.
fn alternates<'a>(issued: &Issued, context: &Context<'a>) -> Vec<(NonZeroU16, &'a AlternateChain)> {
    let configured = &context.config.alternate_chains;
    let issuer = issued.chain.get(1).filter(|_| !configured.is_empty());
    let Some(issuer) = issuer.and_then(|Base64Url(der)| Issuer::from_der(der).ok()) else { return Vec::new() };
    let numbered = (1..=u16::MAX).filter_map(NonZeroU16::new).zip(configured);
    numbered.filter(|(_, chain)| chain.is_for(&issuer) && chain.is_valid_at(context.now)).collect()
}

/// Certificates in PEM, the leaf first (RFC 8555 §9.1).
fn pem_chain(chain: &[&[u8]]) -> Result<String, Problem> {
    chain
        .iter()
        .map(|der| encode_string("CERTIFICATE", LineEnding::LF, der))
        .collect::<Result<String, _>>()
        .map_err(|_| Problem::Internal("a certificate cannot be written as PEM"))
}
