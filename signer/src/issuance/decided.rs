//! A certificate that was decided on is judged again before it is signed: by the policy, the bindings and the stops of that moment, for
//! the profile, scope, binding and edge that its intent names. What was removed, narrowed or held since then signs nothing.

use std::collections::BTreeSet;

use shared::{
    pointers,
    profile::Profile,
    public_key::KeyKind,
    signing::{Refusal, Refused},
    timestamp::Timestamp,
};

use crate::{
    admit::refused,
    bindings::Bindings,
    journal::Intent,
    policy::Policy,
    stops::{Stops, Subject},
};

/// What holds at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Present<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) bindings: &'a Bindings,
    pub(crate) stops: &'a Stops,
    pub(crate) now: Timestamp,
}

impl Present<'_> {
    /// Checks that the certificate of this intent, for a key of this kind, may be signed now. Its proofs were judged when it was decided on.
    ///
    /// # Errors
    /// [`Refusal::Stopped`], [`Refusal::UnknownEdge`], [`Refusal::UnknownBinding`], [`Refusal::BadGrant`], [`Refusal::BadProfile`],
    /// [`Refusal::NotPermitted`]: the first thing that does not hold any more.
    pub(crate) fn judge(self, intent: &Intent, key: KeyKind) -> Result<(), Refused> {
        let Self { policy, bindings, stops, now } = self;
        let Intent { edge, scope, binding, .. } = intent;
        // 1. Nothing of it is stopped.
        let subject = Subject { edge: edge.clone(), binding: binding.clone(), scope: scope.clone() };
        if let Some(reason) = stops.reason(&subject) {
            return Err(refused(Refusal::Stopped, reason));
        }
        // 2. Its edge still speaks for its order.
        if policy.base_url(edge, &intent.order).is_none() {
            let detail = format!("the certificate was decided on for the edge {edge}, which does not speak for it now");
            return Err(refused(Refusal::UnknownEdge, detail));
        }
        // 3. Its binding lives, and still gives its scope.
        if let Some(kid) = binding {
            let gives = &bindings.live(kid, now)?.scope;
            if gives != scope {
                let detail = format!("the binding {kid} gives the scope {gives} now, not {scope}");
                return Err(refused(Refusal::BadGrant, detail));
            }
        }
        // 4. Its profile still makes such certificates.
        let profile = policy
            .profile(&intent.profile)
            .ok_or_else(|| refused(Refusal::BadProfile, format!("there is no profile {} any more", intent.profile)))?;
        makes(profile, intent)?;
        // 5. Its scope still gives it.
        let given_by = policy.scopes().iter().find(|given_by| given_by.name() == *scope);
        let given_by =
            given_by.ok_or_else(|| refused(Refusal::NotPermitted, format!("there is no scope {scope:?} any more")))?;
        let gives = given_by.still_gives(intent, key);
        gives.map_err(|not_given| refused(Refusal::NotPermitted, format!("scope {scope}: {not_given}")))
    }
}

/// Checks that a profile of today is not narrower than the intent.
fn makes(profile: &Profile, intent: &Intent) -> Result<(), Refused> {
    let usages: BTreeSet<_> = profile.extended_key_usage().iter().collect();
    // Both ends are included (RFC 5280 §4.1.2.5).
    let validity = intent.not_after.since(intent.not_before).saturating_add(1);
    let revocation = profile.revocation();
    let narrower = [
        ("the extended key usages", intent.extended_key_usage.iter().any(|usage| !usages.contains(usage))),
        ("the validity", validity > profile.validity_seconds()),
        ("a CRL", revocation.has_crl() && intent.crl_shard.is_none()),
        ("an OCSP responder", revocation.has_ocsp() && !pointers::tbs_has_ocsp(&intent.tbs.0)),
    ];
    match narrower.into_iter().find(|(_, differs)| *differs) {
        Some((what, _)) => {
            let name = profile.name();
            let detail = format!("the profile {name} has changed in {what} since the certificate was decided on");
            Err(refused(Refusal::BadProfile, detail))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixture, policy};
    use shared::{profile::Usage, testing::TestCa};

    fn refusal(change: impl FnOnce(&mut Intent)) -> Result<(), Refusal> {
        let (policy, bindings, stops) = (policy::tests::policy(), Bindings::default(), Stops::default());
        let mut intent = fixture::intent(&TestCa::new(1), 7);
        change(&mut intent);
        let present = Present { policy: &policy, bindings: &bindings, stops: &stops, now: intent.not_before.plus(60) };
        present.judge(&intent, KeyKind::P256).map_err(|refused| refused.reason)
    }

    #[test]
    fn each_thing_that_an_intent_names_is_judged_by_the_policy_of_today() {
        assert_eq!(refusal(|_| {}), Ok(()));
        // As if the policy of its time had had what today's does not.
        assert_eq!(refusal(|intent| intent.edge = "removed.colophon.internal".into()), Err(Refusal::UnknownEdge));
        assert_eq!(refusal(|intent| intent.order = "https://b.test/order/1".into()), Err(Refusal::UnknownEdge));
        assert_eq!(refusal(|intent| intent.binding = Some("removed".into())), Err(Refusal::UnknownBinding));
        assert_eq!(refusal(|intent| intent.profile = "removed".parse().unwrap()), Err(Refusal::BadProfile));
        assert_eq!(refusal(|intent| intent.extended_key_usage.push(Usage::ClientAuth)), Err(Refusal::BadProfile));
        assert_eq!(refusal(|intent| intent.not_after = intent.not_after.plus(1)), Err(Refusal::BadProfile));
        assert_eq!(refusal(|intent| intent.scope = "removed".into()), Err(Refusal::NotPermitted));
        assert_eq!(refusal(|intent| intent.scope = String::new()), Err(Refusal::NotPermitted));
        assert_eq!(refusal(|intent| intent.scope = "plain".into()), Err(Refusal::NotPermitted), "other names");
        assert_eq!(refusal(|intent| intent.scope = "closed".into()), Err(Refusal::NotPermitted), "no binding");
    }

    #[test]
    fn an_intent_of_a_scope_that_was_stopped_since_is_not_signed() {
        let (policy, bindings) = (policy::tests::policy(), Bindings::default());
        let intent = fixture::intent(&TestCa::new(1), 7);
        for stops in [r#"{"scopes":["open"]}"#, r#"{"edges":["edge.colophon.internal"]}"#, r#"{"everything":true}"#] {
            let stops = serde_json::from_str(stops).unwrap();
            let present = Present { policy: &policy, bindings: &bindings, stops: &stops, now: intent.not_before };
            assert_eq!(present.judge(&intent, KeyKind::P256).unwrap_err().reason, Refusal::Stopped);
        }
    }
}
