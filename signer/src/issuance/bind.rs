//! The verb `bind`: from what a client has signed to a grant. No token is asked, so it works while none does.

use shared::{
    base64url::Base64Url,
    grant::{BindReply, BindRequest, Bound},
    signing::{Refusal, Refused},
};

use super::{Issuance, unavailable};
use crate::{
    admit::refused,
    bind::{Bindable, Cause},
    clock,
    grant::Granted,
    journal::{BoundAccount, Event},
};

impl Issuance {
    /// The verb `bind`, asked by this edge.
    pub(crate) async fn bind(&self, edge: &str, request: BindRequest) -> BindReply {
        match self.try_bind(edge, request).await {
            Ok(bound) => BindReply::Bound(bound),
            Err(refused) => {
                match refused.reason {
                    // Anybody can ask for an account as often as he likes: the journal does not grow by it.
                    Refusal::BadBinding | Refusal::UnknownBinding | Refusal::BindingUsed => {
                        self.say(edge, "", &refused)
                    }
                    _ => self.note(edge, "", &refused).await,
                }
                BindReply::Refused(refused)
            }
        }
    }

    async fn try_bind(&self, edge: &str, request: BindRequest) -> Result<Bound, Refused> {
        let (policy, bound, now) = (self.policy(), &self.works.bound, clock::now());
        let asked = Bindable::verify(&policy, &bound.bindings(), edge, request, now)?;
        let grants = policy.grants()?;
        let granted = Granted::new(asked.account, &asked.binding, now, grants.lifetime);
        let token = grants.keys.seal(&granted).ok_or_else(unavailable)?;
        if bound.count_in(&asked)? {
            if self.written.take(edge, now).is_none() {
                bound.count_out(&asked);
                return Err(refused(Refusal::Busy, "this edge has had all its records for now: ask again later"));
            }
            let event = Event::Bound(BoundAccount {
                binding: asked.binding.kid.clone(),
                scope: asked.binding.scope.clone(),
                account: Base64Url(asked.account.0.to_vec()),
                follows: match asked.cause {
                    Cause::Follows(old) => Some(Base64Url(old.0.to_vec())),
                    Cause::Opens | Cause::Renews => None,
                },
                edge: edge.to_owned(),
            });
            if self.works.journal.append(event).await.is_err() {
                bound.count_out(&asked);
                return Err(unavailable());
            }
            tracing::info!(edge, binding = asked.binding.kid, scope = asked.binding.scope, "bound");
        }
        Ok(Bound {
            token,
            binding: asked.binding.kid.clone(),
            scope: asked.binding.scope.clone(),
            renew_after: granted.renew_after(),
            expires: granted.expires(),
        })
    }
}
