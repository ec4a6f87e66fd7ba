//! What is told when tokens are short, and that nobody is told good once a revocation is stored: in any order, by any clock.

use edge::{
    acme::storage::Memory,
    status::response::{Look, Outcome, look},
};
use proptest::prelude::*;
use shared::{
    ocsp::Failure,
    signing::{OcspReply, Refusal, Refused},
    testing::TestCa,
};

use crate::responses::{at, looked, question, revoke, signed, stored, take_in};

fn busy() -> Result<OcspReply, String> {
    Ok(OcspReply::Refused(Refused { reason: Refusal::Busy, detail: String::new(), retry_after: None }))
}

#[test]
fn while_signers_are_busy_a_good_response_is_given_and_then_clients_are_told_to_try_later() {
    let ca = TestCa::new(1);
    let mut rows = Memory::default();
    take_in(&mut rows, &ca, Ok(OcspReply::Signed(signed(&ca, 0, false))), 0);
    for now in [500, 999] {
        assert_eq!(looked(&mut rows, &ca, now), "aging");
        assert!(matches!(take_in(&mut rows, &ca, busy(), now), Outcome::Later(_)));
        assert!(stored(&rows).unwrap().signed.is_some(), "at {now}");
    }
    assert_eq!(looked(&mut rows, &ca, 1000), "missing");
    let outcome = take_in(&mut rows, &ca, busy(), 1000);
    assert_eq!((outcome.failure(), outcome), (Some(Failure::TryLater), Outcome::Later(5)));
}

/// What can happen.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The clock goes on, or is set.
    Set(u64),
    /// An answer comes that was signed then.
    Answer {
        from: u64,
        revoked: bool,
    },
    /// The signer has confirmed the revocation.
    Revoke,
    Ask,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0_u64..2500).prop_map(Step::Set),
        3 => (0_u64..2500, any::<bool>()).prop_map(|(from, revoked)| Step::Answer { from, revoked }),
        1 => Just(Step::Revoke),
        4 => Just(Step::Ask),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nobody_is_told_good_after_a_revocation_is_stored_or_after_somebody_was_told_revoked(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let (ca, mut rows, mut now) = (TestCa::new(1), Memory::default(), 0);
        let (mut is_stored, mut was_told) = (false, false);
        for step in steps {
            let told = match step {
                Step::Set(to) => {
                    now = to;
                    None
                }
                Step::Revoke => {
                    revoke(&mut rows, now);
                    is_stored = true;
                    None
                }
                Step::Answer { from, revoked } => {
                    match take_in(&mut rows, &ca, Ok(OcspReply::Signed(signed(&ca, from, revoked))), now) {
                        Outcome::Signed(document) => Some(document),
                        _ => None,
                    }
                }
                Step::Ask => match look(&rows, &question(&ca), at(now), None).unwrap().1 {
                    Look::Fresh(document) | Look::Aging(document) => Some(document),
                    Look::Missing => None,
                },
            };
            let Some(document) = told else { continue };
            prop_assert!(document.is_good(at(now)));
            let record = stored(&rows).and_then(|record| record.signed).unwrap();
            prop_assert_eq!(&document.body, &record.response);
            prop_assert!(record.revoked || !(is_stored || was_told), "{:?} at {}", step, now);
            was_told |= record.revoked;
        }
    }
}
