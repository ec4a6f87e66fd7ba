//! Storage that fails at every commit of every handler, one at a time, lost or kept but reported as failed: the client tries
//! again, the object starts again, alarms ring, and in the end everything is as if nothing had failed.

use edge::acme::{
    challenge::ChallengeType,
    key_change::{KeyChange, Reservation, reserve},
    object_id::ObjectId,
    problem::Problem,
    record::{AccountRecord, AccountStatus, Record},
    route::{AccountId, Resource, Route},
    step::{Effect, Event},
    storage::{Failure, Key, Memory, Rows, Storage},
    terms,
};
use serde_json::{Value, json};
use shared::{
    signing::{IssueReply, Refusal, Refused},
    testing::TestKey,
};

use crate::desk::Desk;
use crate::probe_faults::late;

/// A desk, the object of the key that its account is rolled over to, and what was seen of the signer.
struct Life {
    desk: Desk,
    new_home: Memory,
    /// Each question by its order and the client's request: the same question may be asked again.
    questions: Vec<(ObjectId, String)>,
}

type Act = fn(&mut Life) -> Result<(), Problem>;
type Done = fn(&mut Life) -> bool;

/// Every handler that writes, in an order in which each has something to write; and how it is seen that it did.
const LIFE: [(&str, Act, Done); 15] = [
    (
        "newAccount",
        |life| life.desk.post(Route::NewAccount, &json!({"termsOfServiceAgreed": true})).map(drop),
        |life| life.account().is_some(),
    ),
    (
        "contact",
        |life| life.update(&json!({"contact": ["mailto:a@b.test"]})),
        |life| life.account().is_some_and(|account| account.contact == ["mailto:a@b.test"]),
    ),
    ("newAuthz", |life| life.authorize("advance.test"), |life| life.authorization("advance.test").is_some()),
    ("challenge", |life| life.respond("advance.test"), |life| life.authorization_state("advance.test") != "pending"),
    ("probed", Life::drive, |life| life.authorization_state("advance.test") == "valid"),
    ("newOrder", |life| life.order("advance.test").map(drop), |life| !life.orders().is_empty()),
    ("finalize", |life| life.finalize("advance.test"), |life| life.order_state("advance.test") != "open"),
    ("signed", Life::drive, |life| life.order_state("advance.test") == "valid"),
    ("second order", |life| life.order("second.test").map(drop), |life| life.orders().len() >= 2),
    ("refused order", |life| life.refuse("refused.test"), |life| life.order_state("refused.test") == "invalid"),
    (
        "failed validation",
        |life| life.fail("failing.test"),
        |life| life.authorization_state("failing.test") == "invalid",
    ),
    ("given up", |life| life.give_up("second.test"), |life| life.authorization_state("second.test") == "deactivated"),
    ("terms", Life::agree, |life| life.account().is_some_and(|account| account.terms_version.as_deref() == Some("2"))),
    ("keyChange", Life::roll_over, |life| life.account().is_some_and(|account| account.key == TestKey::new(8).jwk())),
    (
        "deactivate",
        |life| life.update(&json!({"status": "deactivated"})),
        |life| life.account().is_some_and(|account| account.status == AccountStatus::Deactivated),
    ),
];

impl Life {
    fn new() -> Self {
        let mut desk = Desk::new();
        desk.config.terms_of_service = Some("https://ca.test/terms".to_owned());
        desk.config.terms_of_service_version = Some("1".to_owned());
        desk.config.rate_limits.failures_per_account = Some(edge::acme::rate_limit::Rate { count: 100, seconds: 100 });
        desk.config.rate_limits.orders_per_account = Some(edge::acme::rate_limit::Rate { count: 100, seconds: 100 });
        Self { desk, new_home: Memory::default(), questions: Vec::new() }
    }

    fn account(&self) -> Option<AccountRecord> {
        AccountRecord::load(&self.desk.rows, Key::Account).unwrap()
    }

    fn update(&mut self, payload: &Value) -> Result<(), Problem> {
        let account = Route::Of(self.desk.account(), Resource::Account);
        self.desk.post(account, payload).map(drop)
    }

    fn orders(&self) -> Vec<ObjectId> {
        self.desk.rows.orders(None, 100).unwrap()
    }

    /// The authorization of a name; of several the one that got furthest.
    fn authorization(&self, name: &str) -> Option<ObjectId> {
        let ids =
            self.desk.rows.keys().filter_map(|key| if let Key::Authorization(id) = key { Some(id) } else { None });
        let of_name = ids.filter(|id| self.stored(Key::Authorization(*id))["identifier"]["value"] == name);
        of_name.max_by_key(|id| state(&self.stored(Key::Authorization(*id))) != "pending")
    }

    fn authorization_state(&self, name: &str) -> String {
        self.authorization(name).map_or_else(String::new, |id| state(&self.stored(Key::Authorization(id))))
    }

    /// The state of the order of a name; of several that of the one that got furthest.
    fn order_state(&self, name: &str) -> String {
        let orders = self.orders().into_iter().map(|id| self.stored(Key::Order(id)));
        let states = orders.filter(|order| order["identifiers"][0]["value"] == name).map(|order| state(&order));
        states.max_by_key(|state| state != "open").unwrap_or_default()
    }

    fn stored(&self, key: Key) -> Value {
        serde_json::from_str(&self.desk.rows.read(key).unwrap().unwrap()).unwrap()
    }

    fn authorize(&mut self, name: &str) -> Result<(), Problem> {
        let payload = json!({"identifier": {"type": "dns", "value": name}});
        self.desk.post(Route::NewAuthorization, &payload).map(drop)
    }

    fn respond(&mut self, name: &str) -> Result<(), Problem> {
        let challenge = Resource::Challenge(self.authorization(name).unwrap(), ChallengeType::Http01);
        self.desk.post(Route::Of(self.desk.account(), challenge), &json!({})).map(drop)
    }

    fn order(&mut self, name: &str) -> Result<Resource, Problem> {
        let payload = json!({"identifiers": [{"type": "dns", "value": name}]});
        let reply = self.desk.post(Route::NewOrder, &payload)?;
        Ok(self.desk.resource(&json!(reply.location.unwrap())))
    }

    fn finalize(&mut self, name: &str) -> Result<(), Problem> {
        let order = self.orders().into_iter().find(|id| {
            let order = self.stored(Key::Order(*id));
            order["identifiers"][0]["value"] == name && order["state"] == "open"
        });
        self.desk.finalize(Resource::Order(order.unwrap()), &[name]).map(drop)
    }

    /// Lets everything come back that is under way or due; questions to the signer are answered honestly.
    fn drive(&mut self) -> Result<(), Problem> {
        self.drive_with(false, false)
    }

    fn drive_with(&mut self, refuse: bool, fail: bool) -> Result<(), Problem> {
        let mut result = Ok(());
        for _ in 0..10 {
            while let Some(effect) = self.desk.effects.pop() {
                let event = match effect {
                    Effect::Probe(probe) => {
                        let right = self.desk.right_answer(&probe);
                        Event::Probed(probe, if fail { Err(late()) } else { right })
                    }
                    Effect::CheckCaa(_) => panic!("not configured"),
                    Effect::Place(..) => panic!("the desk answers it"),
                    Effect::Sign(sign) => {
                        self.questions.push((sign.order, format!("{:?}", sign.request.finalize)));
                        let answer = if refuse {
                            let detail = String::new();
                            IssueReply::Refused(Refused { reason: Refusal::NotPermitted, detail, retry_after: None })
                        } else {
                            self.desk.signer_answer(&sign)
                        };
                        Event::Signed(sign.order, Ok(answer))
                    }
                };
                result = result.and(self.desk.event(event));
            }
            let Some(due) = self.desk.next_drive() else { break };
            self.desk.now = self.desk.now.max(due);
            for key in self.desk.rows.due(self.desk.now, 10).unwrap() {
                result = result.and(self.desk.event(Event::Due(key)));
            }
        }
        result
    }

    /// An order of its own whose certificate the signer refuses.
    fn refuse(&mut self, name: &str) -> Result<(), Problem> {
        let order = self.order(name)?;
        self.respond_to(order)?;
        self.drive()?;
        let finalized = self.desk.finalize(order, &[name]).map(drop);
        // What a fault has left half done is driven on, as alarms would.
        finalized.and(self.drive_with(true, false))
    }

    /// An order whose validation fails.
    fn fail(&mut self, name: &str) -> Result<(), Problem> {
        let order = self.order(name)?;
        let responded = self.respond_to(order);
        responded.and(self.drive_with(false, true))
    }

    fn respond_to(&mut self, order: Resource) -> Result<(), Problem> {
        let url = self.desk.read(order)["authorizations"][0].clone();
        let Resource::Authorization(id) = self.desk.resource(&url) else { panic!() };
        let challenge = Resource::Challenge(id, ChallengeType::Http01);
        self.desk.post(Route::Of(self.desk.account(), challenge), &json!({})).map(drop)
    }

    fn give_up(&mut self, name: &str) -> Result<(), Problem> {
        let authorization = Resource::Authorization(self.authorization(name).unwrap());
        self.desk.post(Route::Of(self.desk.account(), authorization), &json!({"status": "deactivated"})).map(drop)
    }

    fn agree(&mut self) -> Result<(), Problem> {
        self.desk.config.terms_of_service_version = Some("2".to_owned());
        let entropy = self.desk.entropy();
        let changes = terms::agree(&self.desk.rows, &self.desk.context(&entropy))?;
        Ok(self.desk.rows.commit(&changes)?)
    }

    fn roll_over(&mut self) -> Result<(), Problem> {
        let new_key = TestKey::new(8);
        let route = Route::KeyChange;
        let url = self.desk.urls.of(route);
        let payload = json!({"account": self.desk.url(Resource::Account), "oldKey": self.desk.account_key.jwk()});
        let inner = new_key.sign_jws_with_jwk(&json!({"url": url}), payload.to_string().as_bytes()).to_string();
        let body = self.desk.sign(route, inner.as_bytes());
        let (verified, redeemed) = self.desk.admit(route, &body)?;
        let entropy = self.desk.entropy();
        let home = self.desk.account();
        let change = KeyChange::check(&self.desk.rows, verified, redeemed, &self.desk.context(&entropy))?;
        let (reservation, changes) = reserve(&self.new_home, home, &self.desk.context(&entropy))?;
        assert_eq!(reservation, Reservation::Reserved, "a reservation that was kept is the same account's");
        self.new_home.commit(&changes)?;
        assert_eq!(change.new_home(), AccountId(new_key.jwk().thumbprint()));
        let step = change.commit(&self.desk.rows, reservation, None, &self.desk.context(&entropy))?;
        self.desk.rows.commit(&step.changes)?;
        Ok(())
    }

    /// Lives it; gives what can be seen in the end.
    fn live(mut self) -> (Self, Vec<String>) {
        for (name, act, done) in LIFE {
            for attempt in 0.. {
                assert!(attempt < 4, "{name} is never done");
                if act(&mut self).is_err() {
                    // The incarnation ends with the fault; what it had under way is lost, and alarms drive it on.
                    self.desk.restart();
                }
                if done(&mut self) {
                    break;
                }
            }
            if name == "keyChange" {
                self.desk.rolled_over = Some(TestKey::new(8));
            }
        }
        let names = ["advance.test", "second.test", "refused.test", "failing.test"];
        let seen = names.map(|name| format!("{} {}", self.authorization_state(name), self.order_state(name)));
        (self, seen.to_vec())
    }
}

/// The name of a stored state.
fn state(record: &Value) -> String {
    match &record["state"] {
        Value::String(state) => state.clone(),
        state => state.as_object().unwrap().keys().next().unwrap().clone(),
    }
}

#[test]
fn every_write_of_every_handler_may_fail() {
    let (life, expected) = Life::new().live();
    let (commits, commits_elsewhere) = (life.desk.rows.commits, life.new_home.commits);
    assert!(commits > 20 && commits_elsewhere == 1, "{commits} {commits_elsewhere}");
    for failure in [Failure::Lost, Failure::Kept] {
        for at in 0..commits + commits_elsewhere {
            let mut life = Life::new();
            match at.checked_sub(commits) {
                None => life.desk.rows.fail_commit_number(at, failure),
                Some(at) => life.new_home.fail_commit_number(at, failure),
            }
            let (life, seen) = life.live();
            assert_eq!(seen, expected, "{failure:?} at commit {at}");
            let mut questions = life.questions.clone();
            questions.sort_unstable();
            questions.dedup();
            let orders = questions.iter().map(|(order, _)| order).collect::<std::collections::BTreeSet<_>>();
            assert_eq!(orders.len(), questions.len(), "one question for each order: {failure:?} at commit {at}");
            let account = life.account().unwrap();
            assert_eq!(account.status, AccountStatus::Deactivated);
        }
    }
}
