//! revokeCert: who may have a certificate revoked (RFC 8555 §7.6). The account that it was issued to, an account that holds
//! authorizations for all of its names, and whoever has its private key. What is asked for here is carried out by the object
//! that knows the certificate's status (see [`crate::status`]).

use serde::{Deserialize, Serialize};
use shared::{
    jws::{KeyReference, Unverified, Verified},
    revocation::Revocation,
    serial::SerialNumber,
    signing::{RevokeRequest, Right},
};

use super::{
    authorization,
    nonce::Redeemed,
    problem::Problem,
    record::{OrderRecord, OrderState, Record},
    route::Route,
    step::{Context, acting_account},
    storage::{Key, Rows},
};

/// A revocation that its client has the right to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevocationOrder {
    /// The certificate's number: its first byte names the object.
    pub serial: SerialNumber,
    /// What a signer is to be asked.
    pub request: RevokeRequest,
    /// The binding of the signer that issued the certificate, where that is known.
    pub signer: Option<String>,
}

impl RevocationOrder {
    /// DER of the certificate, out of the client's own request.
    ///
    /// # Errors
    /// Never for what [`by_account`] and [`by_certificate_key`] have made.
    pub fn certificate(&self) -> Result<Vec<u8>, Problem> {
        certificate_of(&self.request)
    }
}

/// DER of the certificate that a request to a signer is about.
///
/// # Errors
/// Never for what [`by_account`] and [`by_certificate_key`] have made.
pub fn certificate_of(request: &RevokeRequest) -> Result<Vec<u8>, Problem> {
    let request = Unverified::from_flattened(request.request.clone())?;
    Ok(Revocation::parse(request.payload())?.certificate)
}

/// A revocation signed by an account's key.
///
/// # Errors
/// `malformed`, `badRevocationReason`, `unauthorized`.
pub fn by_account(
    rows: &dyn Rows,
    request: Verified,
    _nonce: Redeemed,
    context: &Context<'_>,
) -> Result<RevocationOrder, Problem> {
    let account = acting_account(rows, &request)?;
    let revocation = check(&request, context)?;
    let (right, signer) = match issued_to(rows, &revocation)? {
        Some(signer) => (Right::Account, Some(signer)),
        None => {
            for name in &revocation.leaf.names {
                authorization::held(rows, name, context)?.ok_or_else(|| Problem::NotHeld(name.clone()))?;
            }
            (Right::Authorizations, None)
        }
    };
    let request = RevokeRequest { request: request.into_flattened(), key: account.key, right };
    Ok(RevocationOrder { serial: revocation.leaf.serial, request, signer })
}

/// A revocation signed by the certificate's own key.
///
/// # Errors
/// `malformed`, `badRevocationReason`, `unauthorized`.
pub fn by_certificate_key(
    request: Verified,
    _nonce: Redeemed,
    context: &Context<'_>,
) -> Result<RevocationOrder, Problem> {
    let KeyReference::Jwk(key) = &request.header().key else { return Err(Problem::WrongKeyMember("jwk")) };
    let key = (**key).clone();
    let revocation = check(&request, context)?;
    if !key.is_same_key(&revocation.leaf.public_key) {
        return Err(Problem::Unauthorized(
            "The request is signed by a key that is not the certificate's. Sign with that, or name an account by \"kid\".",
        ));
    }
    let request = RevokeRequest { request: request.into_flattened(), key, right: Right::CertificateKey };
    Ok(RevocationOrder { serial: revocation.leaf.serial, request, signer: None })
}

fn check(request: &Verified, context: &Context<'_>) -> Result<Revocation, Problem> {
    if request.header().url != context.urls.of(Route::RevokeCertificate) {
        return Err(Problem::url_mismatch(context.urls.of(Route::RevokeCertificate), &request.header().url));
    }
    let revocation = Revocation::parse(request.payload())?;
    if revocation.leaf.not_after < context.now {
        return Err(Problem::CertificateExpired(revocation.leaf.not_after));
    }
    Ok(revocation)
}

/// The signer that issued this very certificate to this account; nothing when another account has it, or nobody.
fn issued_to(rows: &dyn Rows, revocation: &Revocation) -> Result<Option<String>, Problem> {
    let Some(id) = rows.order_of(revocation.leaf.serial)? else { return Ok(None) };
    let Some(OrderRecord { state: OrderState::Valid(issued), .. }) = OrderRecord::load(rows, Key::Order(id))? else {
        return Ok(None);
    };
    let same = issued.chain.first().is_some_and(|leaf| leaf.0 == revocation.certificate);
    Ok(same.then_some(issued.signer))
}
