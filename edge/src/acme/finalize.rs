//! Finalize: from a ready order and a CSR to a certificate (RFC 8555 §7.4). `processing` is written before a signer is asked:
//! that state is the lock, and an alarm drives it with the same question until it settles.

use std::collections::BTreeSet;

use serde::Deserialize;
use shared::{
    base64url::{Base64Url, is_pem},
    chain::{BadChain, IssuerChain, Leaf},
    csr::Csr,
    identifier::Identifier,
    json,
    jws::{Unverified, Verified},
    kubernetes::evidence::TokenEvidence,
    profile::ProfileName,
    public_key::PublicKey,
    signing::{self, IssueReply, IssueRequest, Priority, ProvenIdentifier, Refusal},
};

use super::{
    absorb, account,
    caa_check::{self, CaaFindings},
    config::ProfileSummary,
    external_account::grant_of,
    kept::Promise,
    kubernetes::presented,
    lease::{self, Leased, Turn},
    object_id::ObjectId,
    order,
    order_times::OrderTimes,
    page, placement,
    problem::{NamesDiffer, Problem, ProblemDocument},
    record::{
        AccountRecord, AuthorizationRecord, AuthorizationState, Issued, OrderRecord, OrderState, Processing, Record,
    },
    route::Resource,
    step::{Admission, Context, Effect, Settled, Sign, Step, payload},
    storage::{Key, Rows},
    view::OrderStatus,
};

/// A POST to an order's finalize URL.
///
/// # Errors
/// `orderNotReady`, `badCSR`, `malformed` (404 when there is no such order).
pub fn finalize(
    rows: &dyn Rows,
    account: AccountRecord,
    id: ObjectId,
    request: Verified,
    admission: Admission,
    context: &Context<'_>,
) -> Result<Step, Problem> {
    let mut record = OrderRecord::load(rows, Key::Order(id))?.ok_or(Problem::NotFound)?;
    let authorizations = order::authorizations(rows, &record, context.now)?;
    let (status, _) = order::status(&record, &authorizations, context.now);
    if status != OrderStatus::Ready {
        return Err(Problem::OrderNotReady(status));
    }
    let asked: Finalize = payload(&request, "an object with \"csr\": base64url of a DER request, without padding")?;
    if is_pem(&asked.csr.0) {
        return Err(Problem::CsrPem);
    }
    let csr = Csr::parse_proved(&asked.csr.0, context.proved)?;
    if let Some(differ) = NamesDiffer::between(&record.identifiers.iter().cloned().collect(), csr.names()) {
        return Err(Problem::CsrNames(Box::new(differ)));
    }
    if account.key.is_same_key(csr.public_key()) {
        return Err(Problem::CsrAccountKey);
    }
    if !record.profile_named {
        record.profile = profile_for(&csr, record.profile, context)?;
    }
    if let Some(held) = admission.held
        && let Some(issued) = absorb::held(rows, held, &record, csr.public_key(), context)?
    {
        record.state = OrderState::Valid(Issued { unplaced: false, promise: None, ..issued });
        let reply = order::reply(200, id, &record, &[], context)?;
        return Ok(Step { changes: vec![order::put(id, &record, context)?], effect: None, reply });
    }
    let renewed = admission.grant.is_some();
    let account = account.with_grant(admission.grant);
    let proven = prove(&record, &authorizations)?;
    let (signer, lease) = lease::first(id, &record.profile, csr.public_key().kind(), context)?;
    let processing = Processing {
        finalize: request.into_flattened(),
        account_key: account.key.clone(),
        grant: account.bound().map(|(_, grant)| grant.token.clone()),
        caa_due: caa_check::is_due(&proven, context),
        proven,
        signer,
        lease,
        expected: None,
        promised: None,
        since: context.now,
        attempts: 0,
    };
    let effect = next(id, &record, &processing, false, context);
    record.state = OrderState::Processing(processing);
    let mut changes = vec![order::put(id, &record, context)?];
    changes.extend(presented::used(&record.authorizations, authorizations, context)?);
    if renewed {
        changes.push(account::put(&account, context)?);
    }
    // What the client is told when the certificate takes longer than it is made to wait.
    let reply = order::reply(200, id, &record, &[], context)?;
    Ok(Step { changes, effect: Some(effect), reply })
}

/// A signer answered, or could not be reached. A late or doubled answer changes nothing.
///
/// # Errors
/// When rows cannot be read.
pub fn signed(
    rows: &dyn Rows,
    id: ObjectId,
    answer: Result<IssueReply, String>,
    context: &Context<'_>,
) -> Result<Settled, Problem> {
    let mut record = OrderRecord::load(rows, Key::Order(id))?.ok_or(Problem::NotFound)?;
    let OrderState::Processing(processing) = &mut record.state else { return Ok(Settled::default()) };
    let mut leased = Leased::new(id, &record.profile, processing, context);
    let turn = match answer {
        Ok(IssueReply::Issued(issued)) => match check(&record.identifiers, processing, &issued, context) {
            Ok(leaf) => {
                record.state = OrderState::Valid(Issued {
                    chain: issued.chain,
                    serial: leaf.serial,
                    signer: processing.signer.clone(),
                    journal_index: issued.journal_index,
                    not_after: leaf.not_after,
                    unplaced: context.config.renewal.offered,
                    promise: Promise::of(processing, context.now),
                });
                let mut settled = placement::wanted(id, &record, context)?;
                settled.changes.extend(absorb::keep(id, &record, &leaf.public_key, context)?);
                return Ok(settled);
            }
            Err(why) => {
                let log = refused_certificate(id, processing, &why, context);
                record.state = OrderState::Invalid(ProblemDocument::new(
                    "serverInternal",
                    Some(500),
                    "A signer sent a certificate that is not the one that was asked for. Tell the operator; make a new order.",
                ));
                return Ok(Settled { log: Some(log), ..settled(id, &record, context)? });
            }
        },
        Ok(IssueReply::Refused(refused)) if !refused.reason.is_temporary() => {
            record.state = OrderState::Invalid(refusal(refused.reason));
            return settled(id, &record, context);
        }
        // Nothing is signed for it, and it has had its time.
        Ok(IssueReply::Refused(_)) if record.expires < context.now && !leased.is_settling() => {
            record.state = OrderState::Invalid(ProblemDocument::new(
                "rateLimited",
                Some(429),
                format!(
                    "The signers had no room for this order until it expired at {}; make a new order later.",
                    record.expires
                ),
            ));
            return settled(id, &record, context);
        }
        Ok(IssueReply::Queued { retry_after }) => leased.queued(retry_after),
        Ok(IssueReply::Settled { .. }) if leased.is_settling() => leased.give_to_another(),
        Ok(IssueReply::Settled { .. }) => leased.refused(None, record.expires),
        Ok(IssueReply::Refused(refused)) => leased.refused(refused.retry_after, record.expires),
        Err(_) => leased.unreached(),
    };
    take(id, record, turn, context)
}

/// The changes and the effect of a turn.
fn take(id: ObjectId, record: OrderRecord, turn: Turn, context: &Context<'_>) -> Result<Settled, Problem> {
    let OrderState::Processing(processing) = &record.state else { return Ok(Settled::default()) };
    if let Turn::Wait(seconds) = turn {
        return Ok(Settled::changes(vec![record.put(Key::Order(id), Some(context.now.plus(seconds)))?]));
    }
    let effect = Some(next(id, &record, processing, turn == Turn::Settle, context));
    Ok(Settled { effect, ..settled(id, &record, context)? })
}

/// The CAA records of an order's names were looked up, because that was too long ago. A late or doubled outcome changes
/// nothing.
///
/// # Errors
/// When rows cannot be read.
pub fn caa_checked(
    rows: &dyn Rows,
    id: ObjectId,
    findings: &CaaFindings,
    context: &Context<'_>,
) -> Result<Settled, Problem> {
    let mut record = OrderRecord::load(rows, Key::Order(id))?.ok_or(Problem::NotFound)?;
    let OrderState::Processing(processing) = &mut record.state else { return Ok(Settled::default()) };
    if !processing.caa_due {
        return Ok(Settled::default());
    }
    if let Err(problem) = caa_check::judge_order(processing, findings, context) {
        record.state = OrderState::Invalid(*problem);
        return settled(id, &record, context);
    }
    processing.caa_due = false;
    take(id, record, Turn::Ask, context)
}

/// An alarm found an order still processing: its signer is asked the same question again.
///
/// # Errors
/// When rows cannot be read.
pub fn ask_again(id: ObjectId, mut record: OrderRecord, context: &Context<'_>) -> Result<Settled, Problem> {
    let OrderState::Processing(processing) = &mut record.state else { return Ok(Settled::default()) };
    let turn = Leased::new(id, &record.profile, processing, context).due();
    take(id, record, turn, context)
}

fn settled(id: ObjectId, record: &OrderRecord, context: &Context<'_>) -> Result<Settled, Problem> {
    Ok(Settled::changes(vec![order::put(id, record, context)?]))
}

/// The profile of an order that names none: the one that has exactly the CSR's extended key usages, or the default.
fn profile_for(csr: &Csr, default: ProfileName, context: &Context<'_>) -> Result<ProfileName, Problem> {
    let asked: BTreeSet<_> = csr.extended_key_usage().iter().copied().collect();
    let gives = |summary: &ProfileSummary| {
        summary.extended_key_usage.iter().map(|usage| usage.oid()).collect::<BTreeSet<_>>() == asked
    };
    if asked.is_empty() || context.config.profiles.get(&default).is_some_and(gives) {
        return Ok(default);
    }
    let mut profiles = context.config.profiles.iter();
    profiles.find(|(_, summary)| gives(summary)).map(|(name, _)| name.clone()).ok_or_else(|| {
        let usages: Vec<_> = asked.iter().take(10).map(ToString::to_string).collect();
        Problem::CsrUsage(usages.join(", "))
    })
}

/// Each identifier of the order with how and when it was proved.
fn prove(record: &OrderRecord, authorizations: &[AuthorizationRecord]) -> Result<Vec<ProvenIdentifier>, Problem> {
    if record.identifiers.len() != authorizations.len() {
        return Err(Problem::Internal("an order has another number of authorizations than of identifiers"));
    }
    let prove = |(identifier, authorization): (&Identifier, &AuthorizationRecord)| {
        let (method, validated) = authorization.state.proof().ok_or(Problem::OrderNotReady(OrderStatus::Pending))?;
        let evidence = match &authorization.state {
            AuthorizationState::Valid { evidence: Some(token), .. } => {
                Some(TokenEvidence { challenge: authorization.token.clone(), token: token.clone() })
            }
            _ => None,
        };
        Ok(ProvenIdentifier { identifier: identifier.clone(), method: method.to_owned(), validated, evidence })
    };
    record.identifiers.iter().zip(authorizations).map(prove).collect()
}

/// What an order waits for.
fn next(id: ObjectId, record: &OrderRecord, processing: &Processing, settle: bool, context: &Context<'_>) -> Effect {
    if processing.caa_due {
        return Effect::CheckCaa(caa_check::of_order(id, processing));
    }
    Effect::Sign(Box::new(Sign {
        order: id,
        signer: processing.signer.clone(),
        settle,
        request: IssueRequest {
            order: context.urls.resource(context.account, Resource::Order(id)),
            finalize: processing.finalize.clone(),
            account_key: processing.account_key.clone(),
            grant: grant_of(processing.grant.as_ref()),
            identifiers: processing.proven.clone(),
            profile: record.profile.clone(),
            not_before: OrderTimes { not_before: record.not_before, not_after: record.not_after }
                .not_before_now(&record.profile, context),
            not_after: record.not_after,
            priority: if record.replaces.is_some() { Priority::Renewal } else { Priority::New },
            // The certificate is of use as long as the client may still ask for it.
            deadline: record.expires.max(context.now.plus(context.config.lifetimes.redrive)),
            lease: processing.lease.map(|lease| lease.until),
        },
    }))
}

/// The CSR in a finalize request, as far as it can be read.
#[must_use]
pub fn csr_of(request: &Verified) -> Option<Vec<u8>> {
    json::object::<Finalize>(request.payload()).ok().map(|asked| asked.csr.0)
}

/// Reads back what a signer sent: it must be what was asked for, under an issuer of our root (RFC 8555 §7.4.2).
fn check(
    identifiers: &[Identifier],
    processing: &Processing,
    issued: &signing::Issued,
    context: &Context<'_>,
) -> Result<Leaf, BadChain> {
    let (leaf, issuers) = issued.chain.split_first().ok_or(BadChain::NotCertificates)?;
    let issuers = issuers.iter().map(|Base64Url(der)| der.as_slice());
    let chain = IssuerChain::from_ders_proved(issuers, context.proved)?;
    chain.verify_to_proved(&context.config.root, context.now, context.proved)?;
    let leaf = chain.verify_leaf_proved(&leaf.0, context.proved)?;
    let names: BTreeSet<_> = identifiers.iter().cloned().collect();
    let key = key_of(processing).ok_or(BadChain::NotOurLeaf)?;
    let as_asked = leaf.names == names && leaf.public_key == key && leaf.serial == issued.serial;
    if as_asked && leaf.not_after >= context.now { Ok(leaf) } else { Err(BadChain::NotOurLeaf) }
}

/// Why a certificate of a signer is not given to its client, for the operator's log.
fn refused_certificate(id: ObjectId, processing: &Processing, why: &BadChain, context: &Context<'_>) -> String {
    let order = context.urls.resource(context.account, Resource::Order(id));
    let signer = &processing.signer;
    let what_to_do = match why {
        BadChain::OtherRoot | BadChain::NotIssuedByNext => {
            let root = &context.config.root;
            format!(
                ". root_certificate is that of \"{}\", valid until {}, SHA-256 {}: compare it with the root of that \
                 signer's issuer",
                root.subject(),
                root.not_after(),
                page::hex(&root.fingerprint())
            )
        }
        _ => String::new(),
    };
    format!("{signer} sent a certificate for {order} that is refused: {why}{what_to_do}")
}

/// The key that a certificate is asked for.
pub(super) fn key_of(processing: &Processing) -> Option<PublicKey> {
    let request = Unverified::from_flattened(processing.finalize.clone()).ok()?;
    let asked: Finalize = json::object(request.payload()).ok()?;
    Csr::public_key_of(&asked.csr.0).ok()
}

/// What a client is told of a signer's refusal. The signer's own words are for the log.
fn refusal(reason: Refusal) -> ProblemDocument {
    let (kind, status, detail) = match reason {
        Refusal::BadCsr => ("badCSR", 400, "The CSR is refused. Check its key and its form."),
        Refusal::NameMismatch => {
            ("badCSR", 400, "The signer reads other names in the CSR than the order has. Name each once, as a SAN.")
        }
        Refusal::NotPermitted => ("rejectedIdentifier", 403, "The CA's policy does not permit this certificate."),
        Refusal::UnknownBinding | Refusal::BadGrant | Refusal::GrantExpired => (
            "unauthorized",
            403,
            "The account's external account binding was revoked or has expired, and gives it no certificate any more.",
        ),
        Refusal::BadProof => {
            ("unauthorized", 403, "What proved a name of the order does not prove it to the signer. Make a new order.")
        }
        Refusal::BadProfile => ("invalidProfile", 400, "The CA does not issue by this profile."),
        _ => {
            ("serverInternal", 500, "The CA refused to sign. Make a new order; tell the operator if it happens again.")
        }
    };
    ProblemDocument::new(kind, Some(status), detail)
}

/// RFC 8555 §7.4.
#[derive(Deserialize)]
struct Finalize {
    csr: Base64Url,
}
