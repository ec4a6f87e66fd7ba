//! Every pair of state and event: what an authorization and an order become, and that no event leads out of a final state.

use edge::acme::{
    authorization,
    challenge::ChallengeType,
    entropy::Entropy,
    finalize,
    object_id::ObjectId,
    order,
    perspective::Sighting,
    probe::{Evidence, Probe},
    problem::ProblemDocument,
    record::{
        AccountRecord, AccountStatus, AuthorizationRecord, AuthorizationState, Issued, OrderRecord, OrderState,
        Probing, Processing, Record,
    },
    scope::ScopeName,
    step::{Context, Settled},
    storage::{Key, Memory, Storage},
    view::OrderStatus,
};
use serde_json::json;
use shared::{identifier::Identifier, serial::SerialNumber, signing::IssueReply, timestamp::Timestamp};

use crate::desk::Desk;
use crate::probe_faults::late;

const NOW: u64 = 1_800_000_000;

fn id() -> ObjectId {
    "6a000000abababababababab".parse().unwrap()
}

fn problem() -> ProblemDocument {
    ProblemDocument::new("dns", Some(403), "x")
}

fn authorization(state: AuthorizationState, expires: u64) -> AuthorizationRecord {
    AuthorizationRecord {
        identifier: serde_json::from_value(json!({"type": "dns", "value": "a.test"})).unwrap(),
        wildcard: false,
        expires: Timestamp::from_seconds(expires),
        in_advance: false,
        token: "dG9rZW4".to_owned(),
        proved: None,
        seen: Vec::new(),
        state,
    }
}

fn probing(attempts: u32) -> AuthorizationState {
    let since = Timestamp::from_seconds(NOW);
    AuthorizationState::Processing(Probing {
        challenge: ChallengeType::Http01,
        since,
        attempts,
        charged: false,
        presented: None,
    })
}

fn authorization_states() -> Vec<(&'static str, AuthorizationState)> {
    let challenge = ChallengeType::Http01;
    vec![
        ("pending", AuthorizationState::Pending),
        ("processing", probing(1)),
        ("exhausted", probing(5)),
        ("valid", AuthorizationState::Valid { challenge, validated: Timestamp::from_seconds(NOW), evidence: None }),
        ("invalid", AuthorizationState::Invalid { challenge, problem: problem() }),
        ("deactivated", AuthorizationState::Deactivated),
        ("approved", AuthorizationState::Approved { since: Timestamp::from_seconds(NOW) }),
    ]
}

const fn name(state: &AuthorizationState) -> &'static str {
    match state {
        AuthorizationState::Pending => "pending",
        AuthorizationState::Processing(_) => "processing",
        AuthorizationState::Valid { .. } => "valid",
        AuthorizationState::Approved { .. } => "approved",
        AuthorizationState::Invalid { .. } => "invalid",
        AuthorizationState::Deactivated => "deactivated",
    }
}

fn rows_with(desk: &Desk, key: Key, record: &impl Record) -> Memory {
    let mut rows = Memory::default();
    let account = AccountRecord {
        key: desk.account_key.jwk(),
        contact: vec![],
        terms_agreed: true,
        terms_version: None,
        created: Timestamp::from_seconds(NOW),
        status: AccountStatus::Valid,
        binding: None,
    };
    rows.commit(&[account.put(Key::Account, None).unwrap(), record.put(key, None).unwrap()]).unwrap();
    rows
}

fn run(desk: &Desk, rows: &mut Memory, event: impl FnOnce(&Memory, &Context<'_>) -> Settled) {
    let entropy = Entropy::new([1; 32]);
    let now = Timestamp::from_seconds(NOW);
    let context = Context {
        config: &desk.config,
        scope: &desk.config.scopes.open,
        urls: &desk.urls,
        account: desk.account(),
        now,
        entropy: &entropy,
        client: None,
        outlook: None,
        proved: &desk.proved,
    };
    let settled = event(rows, &context);
    rows.commit(&settled.changes).unwrap();
}

/// RFC 8555 §7.1.6 says: states of authorizations and challenges change as the diagram has it, and in no other way.
#[test]
fn authorization_table() {
    // state, after a right answer, after a wrong answer, after an answer to another challenge, after an alarm
    let table = [
        ("pending", ["pending", "pending", "pending", "pending"]),
        ("processing", ["valid", "invalid", "processing", "processing"]),
        ("exhausted", ["valid", "invalid", "processing", "invalid"]),
        ("valid", ["valid"; 4]),
        ("invalid", ["invalid"; 4]),
        ("deactivated", ["deactivated"; 4]),
        ("approved", ["approved"; 4]),
    ];
    let desk = Desk::new();
    for ((state_name, state), (row, expected)) in authorization_states().into_iter().zip(table) {
        assert_eq!(state_name, row);
        for (event, expected) in expected.into_iter().enumerate() {
            let key = Key::Authorization(id());
            let mut rows = rows_with(&desk, key, &authorization(state.clone(), NOW + 1));
            let probe = |challenge| Probe {
                authorization: id(),
                challenge,
                identifier: Identifier::Dns("a.test".parse().unwrap()),
                account: desk.url(edge::acme::route::Resource::Account),
                token: "dG9rZW4".to_owned(),
                scope: ScopeName::default(),
                presented: None,
            };
            run(&desk, &mut rows, |rows, context| match event {
                0 => {
                    let probe = probe(ChallengeType::Http01);
                    let outcome = desk.right_answer(&probe);
                    authorization::probed(rows, &probe, &[Sighting::at_home(outcome)], context).unwrap()
                }
                1 => authorization::probed(
                    rows,
                    &probe(ChallengeType::Http01),
                    &[Sighting::at_home(Err(late()))],
                    context,
                )
                .unwrap(),
                2 => authorization::probed(
                    rows,
                    &probe(ChallengeType::Dns01),
                    &[Sighting::at_home(Ok(Evidence::Txt(vec![])))],
                    context,
                )
                .unwrap(),
                _ => authorization::due(rows, id(), context).unwrap(),
            });
            let after = AuthorizationRecord::load(&rows, key).unwrap().unwrap();
            assert_eq!(name(&after.state), expected, "{state_name}, event {event}");
        }
    }
}

fn order_record(state: OrderState, expires: u64) -> OrderRecord {
    OrderRecord {
        identifiers: vec![serde_json::from_value(json!({"type": "dns", "value": "a.test"})).unwrap()],
        profile: "server".parse().unwrap(),
        profile_named: false,
        authorizations: vec![id()],
        created: Timestamp::from_seconds(NOW),
        expires: Timestamp::from_seconds(expires),
        not_before: None,
        not_after: None,
        replaces: None,
        replaced_by: None,
        state,
    }
}

/// RFC 8555 §7.1.6 says: states of orders change as the diagram has it, and in no other way.
#[test]
fn derived_order_states() {
    let (past, future) = (NOW - 1, NOW + 1);
    let valid = authorization_states().remove(3).1;
    let table = [
        (AuthorizationState::Pending, future, future, OrderStatus::Pending),
        (probing(1), future, future, OrderStatus::Pending),
        (valid.clone(), future, future, OrderStatus::Ready),
        (valid.clone(), future, past, OrderStatus::Invalid),
        (valid, past, future, OrderStatus::Invalid),
        (AuthorizationState::Pending, past, future, OrderStatus::Invalid),
        (authorization_states().remove(6).1, future, future, OrderStatus::Ready),
        (authorization_states().remove(6).1, future, past, OrderStatus::Invalid),
        (AuthorizationState::Deactivated, future, future, OrderStatus::Invalid),
        (authorization_states().remove(4).1, future, future, OrderStatus::Invalid),
    ];
    for (state, order_expires, authorization_expires, expected) in table {
        let authorization = authorization(state, authorization_expires);
        let record = order_record(OrderState::Open, order_expires);
        let (status, error) =
            order::status(&record, std::slice::from_ref(&authorization), Timestamp::from_seconds(NOW));
        assert_eq!(status, expected, "{authorization:?}");
        assert_eq!(error.is_some(), status == OrderStatus::Invalid);
    }
}

#[test]
fn order_table() {
    let desk = Desk::new();
    let processing = OrderState::Processing(Processing {
        finalize: serde_json::from_value(desk.account_key.sign_jws(&json!({"url": "x", "kid": "y"}), b"{}")).unwrap(),
        account_key: desk.account_key.jwk(),
        grant: None,
        proven: vec![],
        caa_due: false,
        signer: "SIGNER_1".to_owned(),
        lease: None,
        expected: None,
        promised: None,
        since: Timestamp::from_seconds(NOW),
        attempts: 0,
    });
    let valid = OrderState::Valid(Issued {
        chain: vec![],
        serial: SerialNumber::from_random([1; 16]),
        signer: "SIGNER_1".to_owned(),
        journal_index: 1,
        not_after: Timestamp::from_seconds(NOW),
        unplaced: false,
        promise: None,
    });
    // state, then whether it stays the same after: queued, unreachable, a certificate that is none, an alarm
    let table = [
        (OrderState::Open, [true, true, true, true]),
        (processing, [true, true, false, true]),
        (valid, [true, true, true, true]),
        (OrderState::Invalid(problem()), [true, true, true, true]),
    ];
    for (state, same) in table {
        for (event, same) in same.into_iter().enumerate() {
            let key = Key::Order(id());
            let mut rows = rows_with(&desk, key, &order_record(state.clone(), NOW + 1));
            run(&desk, &mut rows, |rows, context| match event {
                0 => finalize::signed(rows, id(), Ok(IssueReply::Queued { retry_after: 0 }), context).unwrap(),
                1 => finalize::signed(rows, id(), Err("connection refused".to_owned()), context).unwrap(),
                2 => {
                    let serial = SerialNumber::from_random([1; 16]);
                    let issued = shared::signing::Issued { chain: vec![], serial, journal_index: 0 };
                    finalize::signed(rows, id(), Ok(IssueReply::Issued(issued)), context).unwrap()
                }
                _ => order::due(rows, id(), context).unwrap(),
            });
            let after = OrderRecord::load(&rows, key).unwrap().unwrap().state;
            let discriminant = std::mem::discriminant::<OrderState>;
            assert_eq!(discriminant(&after) == discriminant(&state), same, "{state:?}, event {event}");
        }
    }
}
