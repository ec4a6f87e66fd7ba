//! Whatever happens in whatever order, nothing leaves a final state (RFC 8555 §7.1.6): histories of clients, probes, signers,
//! alarms and time, drawn at random.

use std::collections::BTreeMap;

use edge::acme::{
    challenge::ChallengeType,
    problem::Problem,
    route::{Resource, Route},
    step::{Effect, Event},
    storage::Rows,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use shared::signing::{IssueReply, Refusal, Refused};

use crate::desk::{Desk, json_of};
use crate::probe_faults::late;

#[derive(Clone, Debug)]
enum Happening {
    NewOrder(u8),
    NewAuthorization(u8),
    Respond(usize, bool),
    Outcome(usize, u8),
    Finalize(usize),
    DeactivateAuthorization(usize),
    DeactivateAccount,
    Wait(u64),
    Alarm,
    Restart,
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let index = 0_usize..8;
    let one = prop_oneof![
        3 => (0_u8..3).prop_map(Happening::NewOrder),
        1 => (0_u8..3).prop_map(Happening::NewAuthorization),
        6 => (index.clone(), any::<bool>()).prop_map(|(index, dns)| Happening::Respond(index, dns)),
        8 => (index.clone(), 0_u8..5).prop_map(|(index, outcome)| Happening::Outcome(index, outcome)),
        6 => index.clone().prop_map(Happening::Finalize),
        1 => index.prop_map(Happening::DeactivateAuthorization),
        1 => Just(Happening::DeactivateAccount),
        3 => prop_oneof![Just(1_u64), Just(11), Just(300), Just(600), Just(2500), Just(40_000)].prop_map(Happening::Wait),
        3 => Just(Happening::Alarm),
        1 => Just(Happening::Restart),
    ];
    prop::collection::vec(one, 1..60)
}

/// Everything that was ever made, and the status that it had when it was last seen.
#[derive(Default)]
struct Seen {
    orders: Vec<Resource>,
    authorizations: Vec<Resource>,
    names: BTreeMap<String, &'static [&'static str]>,
    statuses: BTreeMap<String, String>,
}

const ORDER: &[&str] = &["valid", "invalid"];
const AUTHORIZATION: &[&str] = &["invalid", "deactivated", "expired"];
const CHALLENGE: &[&str] = &["valid", "invalid"];

impl Seen {
    fn note(&mut self, what: String, status: &Value, finals: &'static [&'static str]) -> Result<(), TestCaseError> {
        let status = status.as_str().unwrap().to_owned();
        let before = self.statuses.insert(what.clone(), status.clone());
        self.names.insert(what.clone(), finals);
        if let Some(before) = before.filter(|before| finals.contains(&before.as_str())) {
            prop_assert_eq!(&before, &status, "{} left a final state", what);
        }
        Ok(())
    }

    /// Looks at everything. What is gone was final; nothing that was final is anything else.
    fn look(&mut self, desk: &mut Desk) -> Result<(), TestCaseError> {
        for resource in [self.orders.clone(), self.authorizations.clone()].concat() {
            let order = matches!(resource, Resource::Order(_));
            match desk.get(Route::Of(desk.account(), resource)) {
                Ok(reply) => {
                    let view = json_of(&reply);
                    let finals = if order { ORDER } else { AUTHORIZATION };
                    self.note(format!("{resource:?}"), &view["status"], finals)?;
                    for challenge in view["challenges"].as_array().into_iter().flatten() {
                        self.note(challenge["url"].to_string(), &challenge["status"], CHALLENGE)?;
                    }
                }
                Err(Problem::NotFound | Problem::AccountDoesNotExist) => {}
                // The account is deactivated: nothing can be read any more, and that does not change.
                Err(Problem::Deactivated) => prop_assert_eq!(self.statuses.get("account").unwrap(), "deactivated"),
                Err(other) => return Err(TestCaseError::fail(format!("{other:?}"))),
            }
        }
        Ok(())
    }
}

fn happen(desk: &mut Desk, seen: &mut Seen, happening: Happening) {
    let pick = |list: &[Resource], index: usize| list.get(index % list.len().max(1)).copied();
    match happening {
        Happening::NewOrder(name) => {
            let payload = json!({"identifiers": [{"type": "dns", "value": format!("{name}.test")}]});
            if let Ok(reply) = desk.post(Route::NewOrder, &payload) {
                seen.orders.push(desk.resource(&json!(reply.location.clone().unwrap())));
                let view = json_of(&reply);
                for url in view["authorizations"].as_array().unwrap() {
                    let authorization = desk.resource(url);
                    if !seen.authorizations.contains(&authorization) {
                        seen.authorizations.push(authorization);
                    }
                }
            }
        }
        Happening::NewAuthorization(name) => {
            let payload = json!({"identifier": {"type": "dns", "value": format!("{name}.test")}});
            if let Ok(reply) = desk.post(Route::NewAuthorization, &payload) {
                seen.authorizations.push(desk.resource(&json!(reply.location.unwrap())));
            }
        }
        Happening::Respond(index, dns) => {
            let kind = if dns { ChallengeType::Dns01 } else { ChallengeType::Http01 };
            if let Some(Resource::Authorization(id)) = pick(&seen.authorizations, index) {
                let _ = desk.post(Route::Of(desk.account(), Resource::Challenge(id, kind)), &json!({}));
            }
        }
        Happening::Outcome(index, outcome) if !desk.effects.is_empty() => {
            let effect = desk.effects.remove(index % desk.effects.len());
            let event = match effect {
                Effect::Probe(probe) => {
                    let right = desk.right_answer(&probe);
                    Event::Probed(probe, if outcome < 3 { right } else { Err(late()) })
                }
                Effect::CheckCaa(_) => panic!("not configured"),
                Effect::Place(..) => panic!("the desk answers it"),
                Effect::Sign(sign) => {
                    let refused =
                        |reason| IssueReply::Refused(Refused { reason, detail: String::new(), retry_after: None });
                    let answer = match outcome {
                        0 | 1 => Ok(desk.signer_answer(&sign)),
                        2 => Ok(IssueReply::Queued { retry_after: 5 }),
                        3 => Ok(refused(Refusal::NotPermitted)),
                        _ => Err("no answer".to_owned()),
                    };
                    Event::Signed(sign.order, answer)
                }
            };
            // What came back for something that is deleted is for nobody.
            let _ = desk.event(event);
        }
        Happening::Outcome(..) => {}
        Happening::Finalize(index) => {
            if let Some(order) = pick(&seen.orders, index)
                && let Ok(reply) = desk.get(Route::Of(desk.account(), order))
            {
                let name = json_of(&reply)["identifiers"][0]["value"].as_str().unwrap().to_owned();
                let _ = desk.finalize(order, &[&name]);
            }
        }
        Happening::DeactivateAuthorization(index) => {
            if let Some(authorization) = pick(&seen.authorizations, index) {
                let _ = desk.post(Route::Of(desk.account(), authorization), &json!({"status": "deactivated"}));
            }
        }
        Happening::DeactivateAccount => {
            let account = Route::Of(desk.account(), Resource::Account);
            if desk.post(account, &json!({"status": "deactivated"})).is_ok() {
                seen.statuses.insert("account".to_owned(), "deactivated".to_owned());
            }
        }
        Happening::Wait(seconds) => desk.now = desk.now.plus(seconds),
        Happening::Alarm => {
            for key in desk.rows.due(desk.now, 50).unwrap() {
                desk.event(Event::Due(key)).unwrap();
            }
        }
        Happening::Restart => desk.restart(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// RFC 8555 §7.1.6 says: states of orders change as the diagram has it, and in no other way.
    /// RFC 8555 §7.1.6 says: states of authorizations and challenges change as the diagram has it, and in no other way.
    #[test]
    fn nothing_leaves_a_final_state(happenings in happenings()) {
        let mut desk = Desk::new();
        desk.config.lifetimes.authorization_reuse = 400;
        desk.new_account();
        let mut seen = Seen::default();
        for happening in happenings {
            happen(&mut desk, &mut seen, happening);
            seen.look(&mut desk)?;
        }
    }
}
