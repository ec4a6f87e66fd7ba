//! What a request must show before anything is signed for it, in this order. [`Evidence`] says that the account's holder asked for
//! this; [`Admitted`] says that the policy gives it. Only the second is ever made into a certificate.

use std::collections::BTreeSet;

use serde::Deserialize;
use shared::{
    base64url::Base64Url,
    csr::Csr,
    identifier::Identifier,
    jwk::Thumbprint,
    jws::{KeyReference, Unverified},
    profile::Profile,
    public_key::PublicKey,
    signing::{FINALIZE_SUFFIX, IssueRequest, Priority, Refusal, Refused},
    timestamp::Timestamp,
};

use crate::{
    bound::Bound,
    budget::{Budget, Spendings},
    clock,
    grant::Rights,
    issuance::Claim,
    journal::Intent,
    policy::{Asking, NotGiven, Policy, Proofs, Scope},
    stops::{Stops, Subject},
};

/// Longer ones are nobody's.
const URL_MAX_BYTES: usize = 1024;

/// The account's own request for the certificate of an order: its signature is good and all of it fits together.
#[derive(Debug)]
pub(crate) struct Evidence {
    request: IssueRequest,
    csr: Csr,
    claim: Claim,
}

/// A request that the policy gives. Made by [`Evidence::admit`] and by nothing else.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// The order's URL.
    pub(crate) order: String,
    /// The edge that asked.
    pub(crate) edge: String,
    pub(crate) claim: Claim,
    /// By what it was given.
    pub(crate) rights: Rights,
    pub(crate) profile: Profile,
    pub(crate) names: BTreeSet<Identifier>,
    pub(crate) csr: Csr,
    pub(crate) times: RequestedTimes,
    pub(crate) priority: Priority,
    pub(crate) deadline: Timestamp,
    pub(crate) lease: Option<Timestamp>,
    /// The scope that gives it, and what that may spend.
    pub(crate) scope: String,
    pub(crate) budget: Budget,
}

/// What bounds a policy at this moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds<'a> {
    pub(crate) spendings: &'a Spendings,
    pub(crate) stops: &'a Stops,
    pub(crate) bound: &'a Bound,
}

/// The times that an order asked for, known to be within its profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestedTimes {
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) not_after: Option<Timestamp>,
}

/// The payload of a finalize request (RFC 8555 §7.4).
#[derive(Deserialize)]
struct FinalizePayload {
    csr: Base64Url,
}

impl Evidence {
    /// Checks who asks and what the account has signed.
    pub(crate) fn verify(policy: &Policy, edge: &str, request: IssueRequest) -> Result<Self, Refused> {
        // 1. The edge is known and speaks for this URL.
        let order = request.order.as_str();
        let base_url = speaks_for(policy, edge, order)
            .ok_or_else(|| refused(Refusal::UnknownEdge, "the edge does not speak for this order"))?;

        // 2. The account's key has signed a finalize request of this very order.
        let evidence = |detail: String| refused(Refusal::BadEvidence, detail);
        let jws = Unverified::from_flattened(request.finalize.clone()).map_err(|error| evidence(error.to_string()))?;
        let KeyReference::Kid(account_url) = &jws.header().key else {
            return Err(evidence("the finalize request has a jwk, not a kid".into()));
        };
        if !account_url.strip_prefix(base_url).is_some_and(|rest| rest.starts_with('/')) {
            return Err(evidence("the kid is not below the order's base URL".into()));
        }
        if jws.header().url.strip_suffix(FINALIZE_SUFFIX) != Some(order) {
            return Err(evidence("the finalize request is not for this order".into()));
        }
        let jws = jws.verify(&request.account_key).map_err(|error| evidence(error.to_string()))?;

        // 3. In it is a CSR that is well formed, of a good key, and signed by that.
        let bad_csr = |detail: String| refused(Refusal::BadCsr, detail);
        let payload: FinalizePayload =
            serde_json::from_slice(jws.payload()).map_err(|_| bad_csr("the payload has no csr".into()))?;
        let csr = Csr::parse(&payload.csr.0).map_err(|error| bad_csr(error.to_string()))?;
        if request.account_key.is_same_key(csr.public_key()) {
            return Err(bad_csr("the key is the account's (RFC 8555 §11.1)".into()));
        }
        csr.public_key().check_primes().map_err(|error| bad_csr(error.to_string()))?;
        let claim = Claim { account: jws.signer(), csr: csr.hash() };

        // 4. Its names are the order's, neither more nor less.
        let names: BTreeSet<_> = request.identifiers.iter().map(|proven| &proven.identifier).collect();
        if names.len() != request.identifiers.len() || !csr.names().iter().eq(names) {
            return Err(refused(Refusal::NameMismatch, "the names of the CSR are not the identifiers of the order"));
        }
        Ok(Self { request, csr, claim })
    }

    /// The order's URL.
    pub(crate) fn order(&self) -> &str {
        &self.request.order
    }

    /// The key to certify.
    pub(crate) const fn public_key(&self) -> &PublicKey {
        self.csr.public_key()
    }

    /// Who asked for what.
    pub(crate) const fn claim(&self) -> Claim {
        self.claim
    }

    /// Until when the order is this signer's alone; nothing: for good.
    pub(crate) const fn lease(&self) -> Option<Timestamp> {
        self.request.lease
    }

    /// Checks that the policy gives it. The certificate that an earlier intent has decided on is judged as it stands, by the policy of
    /// today: its profile, scope, binding and edge. Its times are not judged again, and its budget is spent.
    pub(crate) fn admit(
        self,
        policy: &Policy,
        edge: &str,
        now: Timestamp,
        decided: Option<&Intent>,
        bounds: Bounds<'_>,
    ) -> Result<Admitted, Refused> {
        // 5. There is such a profile, the account has the rights that it claims, and a scope gives it these names by them.
        let profile = self.profile(policy)?.clone();
        let rights = self.rights(policy, now, bounds.bound)?;
        if let Some(intent) = decided {
            self.still_permits(intent, &profile, &rights, policy, bounds.stops)?;
        }
        let proofs = policy.clusters().prove(&self.request.identifiers, self.claim.account, now, decided.is_some());
        let asking = Asking { now: decided.is_none().then_some(now), ..self.asking(edge, &rights, &proofs) };
        let scope = bounds.choose(policy, &asking, &self.claim.account, decided)?;
        let (scope, budget) = (scope.name().to_owned(), scope.budget().clone());
        let Self { request, csr, claim } = self;
        // 6. The times are within the profile.
        let times = RequestedTimes { not_before: request.not_before, not_after: request.not_after };
        if decided.is_none() && !times.are_within(&profile, now) {
            return Err(refused(Refusal::BadProfile, "the times are outside of the profile"));
        }
        // 7. Somebody still waits for it.
        if request.deadline <= now {
            return Err(refused(Refusal::Busy, "the deadline has passed"));
        }
        Ok(Admitted {
            order: request.order,
            edge: edge.to_owned(),
            claim,
            rights,
            profile,
            names: csr.names().clone(),
            csr,
            times,
            priority: request.priority,
            deadline: request.deadline,
            lease: request.lease,
            scope,
            budget,
        })
    }

    /// Checks that the policy could give it at some time: by profile, rights, names and key. Holds, budgets, times and the ages of
    /// proofs are not looked at.
    ///
    /// # Errors
    /// [`Refusal::BadProfile`], [`Refusal::NotPermitted`], and those of [`Rights::of`].
    pub(crate) fn permit(&self, policy: &Policy, edge: &str, now: Timestamp, bound: &Bound) -> Result<(), Refused> {
        self.profile(policy)?;
        let rights = self.rights(policy, now, bound)?;
        let proofs = policy.clusters().prove(&self.request.identifiers, self.claim.account, now, true);
        let asking = self.asking(edge, &rights, &proofs);
        if policy.scopes().iter().any(|scope| scope.gives(&asking).is_ok()) {
            Ok(())
        } else {
            Err(refused(Refusal::NotPermitted, "no scope gives these names, proven so, in this profile"))
        }
    }

    fn profile<'a>(&self, policy: &'a Policy) -> Result<&'a Profile, Refused> {
        let name = &self.request.profile;
        policy.profile(name).ok_or_else(|| refused(Refusal::BadProfile, format!("there is no profile {name}")))
    }

    fn rights(&self, policy: &Policy, now: Timestamp, bound: &Bound) -> Result<Rights, Refused> {
        let account = self.claim.account;
        let rights = Rights::of(&self.request.grant, account, policy, &bound.bindings(), now)?;
        match rights.binding() {
            Some(binding) if bound.is_replaced(binding, account) => {
                Err(refused(Refusal::GrantExpired, "the account has another key now"))
            }
            _ => Ok(rights),
        }
    }

    /// What is asked of the policy, without a time.
    fn asking<'a>(&'a self, edge: &'a str, rights: &'a Rights, proofs: &'a Proofs) -> Asking<'a> {
        Asking {
            edge,
            rights,
            names: &self.request.identifiers,
            profile: &self.request.profile,
            key: self.csr.public_key().kind(),
            now: None,
            proofs,
        }
    }

    /// Checks a certificate that was decided on before against the profile and the rights of today, and its edge against the policy and
    /// the holds. Its scope is judged with the names.
    fn still_permits(
        &self,
        intent: &Intent,
        profile: &Profile,
        rights: &Rights,
        policy: &Policy,
        stops: &Stops,
    ) -> Result<(), Refused> {
        if intent.profile != *profile.name() {
            let detail = format!("its certificate was decided on with the profile {}", intent.profile);
            return Err(refused(Refusal::BadProfile, detail));
        }
        let lifetime = intent.not_after.since(intent.not_before).saturating_add(1);
        if lifetime > profile.validity_seconds() || intent.extended_key_usage != profile.extended_key_usage() {
            let name = profile.name();
            let detail =
                format!("the profile {name} has changed since the certificate was decided on: order a new one");
            return Err(refused(Refusal::BadProfile, detail));
        }
        if intent.binding.as_deref() != rights.binding() {
            return Err(refused(Refusal::NotPermitted, "its certificate was decided on by other rights"));
        }
        if speaks_for(policy, &intent.edge, &intent.order).is_none() {
            let detail =
                format!("its certificate was decided on for the edge {}, which is not here any more", intent.edge);
            return Err(refused(Refusal::UnknownEdge, detail));
        }
        if stops.edge(&intent.edge) {
            let detail =
                format!("its certificate was decided on for the edge {}, which an operator holds", intent.edge);
            return Err(refused(Refusal::Stopped, detail));
        }
        Ok(())
    }
}

impl Admitted {
    /// Whom it is for, as far as it can be stopped.
    pub(crate) fn subject(&self) -> Subject {
        Subject {
            edge: self.edge.clone(),
            binding: self.rights.binding().map(str::to_owned),
            scope: self.scope.clone(),
        }
    }
}

impl Bounds<'_> {
    /// The first scope that gives it, is not stopped and has some left. For a certificate that was decided on only its own scope counts,
    /// whose budget it has spent.
    fn choose<'a>(
        self,
        policy: &'a Policy,
        asking: &Asking<'_>,
        account: &Thumbprint,
        decided: Option<&Intent>,
    ) -> Result<&'a Scope, Refused> {
        let mut why = refused(Refusal::NotPermitted, "no scope gives these names, proven so, in this profile");
        for scope in policy.scopes().iter().filter(|scope| decided.is_none_or(|intent| intent.scope == scope.name())) {
            match scope.gives(asking) {
                Ok(()) => {}
                Err(not_given @ NotGiven::Proof(..)) if why.reason == Refusal::NotPermitted => {
                    why = refused(Refusal::BadProof, format!("scope {}: {not_given}", scope.name()));
                    continue;
                }
                Err(_) => continue,
            }
            let subject = Subject {
                edge: asking.edge.to_owned(),
                binding: asking.rights.binding().map(str::to_owned),
                scope: scope.name().to_owned(),
            };
            if let Some(reason) = self.stops.reason(&subject) {
                why = refused(Refusal::Stopped, reason);
            } else if decided.is_none()
                && let Err(exhausted) = self.spendings.check_for(scope.name(), account, scope.budget(), clock::steady())
            {
                why = Refused {
                    retry_after: Some(exhausted.retry_after()),
                    ..refused(Refusal::OverBudget, format!("scope {}: {exhausted}", scope.name()))
                };
            } else {
                return Ok(scope);
            }
        }
        Err(why)
    }
}

impl RequestedTimes {
    /// First and last valid second of a certificate that is made now: what was asked for, the profile's where nothing was.
    /// Where only the last second was asked for, the backdate is shortened to what the profile's validity leaves.
    pub(crate) fn validity(&self, profile: &Profile, now: Timestamp) -> (Timestamp, Timestamp) {
        // Both ends are included (RFC 5280 §4.1.2.5).
        let all_but_one = profile.validity_seconds().saturating_sub(1);
        let backdated = now.minus(profile.backdate_seconds());
        let earliest = self.not_after.map_or(backdated, |last| last.minus(all_but_one).max(backdated));
        let not_before = self.not_before.unwrap_or(earliest);
        (not_before, self.not_after.unwrap_or_else(|| not_before.plus(all_but_one)))
    }

    /// Not empty, not longer than the profile's validity, not before its backdate, and not beyond what a certificate of now
    /// could reach: one that begins with the next second at the latest, so that "in 24 hours" is within a validity of a
    /// day.
    fn are_within(&self, profile: &Profile, now: Timestamp) -> bool {
        let (not_before, not_after) = self.validity(profile, now);
        let earliest = now.minus(profile.backdate_seconds());
        let latest = now.plus(profile.validity_seconds());
        let longest = not_before.plus(profile.validity_seconds()).minus(1);
        let starts_well = self.not_before.is_none() || not_before >= earliest;
        starts_well && not_after > now && not_before <= not_after && not_after <= longest && not_after <= latest
    }
}

/// The base URL of this edge under which a URL lies that is as plain as all of ours.
pub(crate) fn speaks_for<'a>(policy: &'a Policy, edge: &str, url: &str) -> Option<&'a str> {
    let is_plain = url.len() <= URL_MAX_BYTES && url.bytes().all(|byte| byte.is_ascii_graphic());
    if is_plain { policy.base_url(edge, url) } else { None }
}

/// A refusal with its detail.
pub(crate) fn refused(reason: Refusal, detail: impl Into<String>) -> Refused {
    Refused { reason, detail: detail.into(), retry_after: None }
}

#[cfg(test)]
mod tests;
