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
    let mut pem = String::new();
    if let Some(wanted) = alternate {
        let (_, found) = alternates.iter().find(|(number, _)| *number == wanted).ok_or(Problem::NotFound)?;
        let Base64Url(leaf) = issued.chain.first().ok_or(Problem::Internal("a stored chain is empty"))?;
        append(&mut pem, leaf)?;
        found.sent().iter().try_for_each(|der| append(&mut pem, der))?;
    } else {
        issued.chain.iter().try_for_each(|Base64Url(der)| append(&mut pem, der))?;
    }
    let mut reply = Reply::new(200, Body::PemChain(pem));
    for other in std::iter::once(None).chain(alternates.iter().map(|(number, _)| Some(*number))) {
        if other != alternate {
            reply.alternates.push(context.urls.resource(context.account, Resource::Certificate(id, other)));
        }
    }
    Ok(Step::read(reply))
}

/// The alternate chains of a certificate's issuer that are valid now, with their numbers in the configuration, from 1.
fn alternates<'a>(issued: &Issued, context: &Context<'a>) -> Vec<(NonZeroU16, &'a AlternateChain)> {
    let mut found = Vec::new();
    let configured = &context.config.alternate_chains;
    let issuer = issued.chain.get(1).filter(|_| !configured.is_empty());
    let Some(issuer) = issuer.and_then(|Base64Url(der)| Issuer::from_der(der).ok()) else { return found };
    for (number, chain) in (1..=u16::MAX).zip(configured) {
        if let Some(number) =
            NonZeroU16::new(number).filter(|_| chain.is_for(&issuer) && chain.is_valid_at(context.now))
        {
            found.push((number, chain));
        }
    }
    found
}

/// Appends a certificate in PEM (RFC 8555 §9.1).
fn append(pem: &mut String, der: &[u8]) -> Result<(), Problem> {
    let failed = |_| Problem::Internal("a certificate cannot be written as PEM");
    pem.push_str(&encode_string("CERTIFICATE", LineEnding::LF, der).map_err(failed)?);
    Ok(())
}
