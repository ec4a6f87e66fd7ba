//! Whose turn it is within a class, whatever came in which order.

use std::collections::HashSet;

use proptest::{collection::vec, prelude::*};

use super::*;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Job {
    holder: u8,
    account: u8,
    number: u64,
    deadline: u64,
}

impl Waits for Job {
    fn party(&self) -> Party {
        let holder = match self.holder {
            0 => Holder::Open { edge: "edge".into(), scope: "open".into() },
            binding => Holder::Binding(binding.to_string()),
        };
        Party { holder, account: [self.account; 32] }
    }
    fn deadline(&self) -> Timestamp {
        Timestamp::from_seconds(self.deadline)
    }
    fn fits(&self, _issuer: usize) -> bool {
        true
    }
    fn is_forsaken(&self, _now: Timestamp) -> bool {
        false
    }
    fn expire(self) {}
    fn turn_away(self) {}
}

/// A line with jobs of these holders and accounts, numbered from 0.
fn lane_of(parties: &[(u8, u8)]) -> Lane<Job> {
    let mut lane = Lane::new(1);
    for (number, (holder, account)) in (0..).zip(parties) {
        push(&mut lane, number, *holder, *account);
    }
    lane
}

fn push(lane: &mut Lane<Job>, number: u64, holder: u8, account: u8) {
    lane.push(number, Job { holder, account, number, deadline: 100 }, Duration::ZERO);
}

fn drain(lane: &mut Lane<Job>) -> Vec<u64> {
    std::iter::from_fn(|| lane.take(|_| true, Duration::ZERO)).map(|(number, _)| number).collect()
}

#[test]
fn a_binding_with_many_accounts_delays_another_binding_by_a_place() {
    let mut lane = lane_of(&[(1, 1), (1, 2), (1, 3), (1, 4), (2, 9), (2, 9)]);
    assert_eq!(drain(&mut lane), [0, 4, 1, 5, 2, 3]);
}

#[test]
fn an_account_with_many_jobs_delays_another_of_its_binding_by_a_place() {
    // The other one comes when the first has had a turn.
    let mut lane = lane_of(&[(1, 1), (1, 1), (1, 1), (1, 1)]);
    assert_eq!(lane.take(|_| true, Duration::ZERO).unwrap().0, 0);
    push(&mut lane, 4, 1, 2);
    push(&mut lane, 5, 1, 2);
    assert_eq!(drain(&mut lane), [1, 4, 2, 5, 3]);
}

#[test]
fn accounts_without_a_binding_have_the_turns_of_one_together() {
    let flood: Vec<_> = (0..200).map(|account| (0, account)).collect();
    let mut lane = lane_of(&flood);
    push(&mut lane, 200, 1, 1);
    push(&mut lane, 201, 2, 1);
    push(&mut lane, 202, 2, 1);
    assert_eq!(drain(&mut lane)[..5], [0, 200, 201, 1, 202]);
}

#[test]
fn whoever_comes_back_for_every_job_passes_nobody() {
    let mut lane = lane_of(&[(1, 1), (2, 1)]);
    push(&mut lane, 2, 3, 1);
    let mut order = Vec::new();
    for number in 10..13 {
        order.push(lane.take(|_| true, Duration::ZERO).unwrap().0);
        // Each time with another account.
        push(&mut lane, number, 1, number as u8);
    }
    assert_eq!(order, [0, 1, 2]);
}

#[test]
fn a_job_that_was_put_back_takes_no_turn_from_its_holder() {
    let mut lane = lane_of(&[(1, 1), (1, 1), (2, 1), (2, 1)]);
    let (number, job) = lane.take(|_| true, Duration::ZERO).unwrap();
    lane.put_back(number, job);
    assert_eq!(drain(&mut lane), [0, 2, 1, 3]);
}

/// What happens to a line.
#[derive(Clone, Debug)]
enum Step {
    Push {
        holder: u8,
        account: u8,
        deadline: u64,
    },
    /// The first of a holder's, or of anybody's; it is put back if `back`.
    Take {
        of: Option<u8>,
        back: bool,
    },
    /// So much time passes.
    Expire(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let push = || {
        (0..4_u8, 0..4_u8, 1..60_u64).prop_map(|(holder, account, deadline)| Step::Push { holder, account, deadline })
    };
    let take = (proptest::option::of(0..4_u8), any::<bool>()).prop_map(|(of, back)| Step::Take { of, back });
    vec(prop_oneof![4 => push(), 2 => take, 1 => (0..3_u64).prop_map(Step::Expire)], 0..80)
}

proptest! {
    #[test]
    fn no_job_is_lost_or_doubled_and_all_come_when_they_were_told(steps in steps()) {
        let mut lane = Lane::new(2);
        let (mut inside, mut now) = (HashSet::new(), 0);
        for (number, step) in (0..).zip(steps) {
            match step {
                Step::Push { holder, account, deadline } => {
                    let job = Job { holder, account, number, deadline: now + deadline };
                    let promised = lane.ahead_of_new(&job.party());
                    inside.insert(job.clone());
                    lane.push(number, job, Duration::ZERO);
                    prop_assert_eq!(lane.ahead_of(number), Some(promised));
                }
                Step::Take { of, back } => {
                    let fits = |job: &Job| of.is_none_or(|holder| job.holder == holder);
                    let able = inside.iter().any(fits);
                    prop_assert_eq!(lane.any(fits), able);
                    let taken = lane.take(fits, Duration::ZERO);
                    prop_assert_eq!(taken.is_some(), able);
                    match taken {
                        Some((number, job)) if back => lane.put_back(number, job),
                        Some((number, job)) => {
                            prop_assert_eq!(number, job.number);
                            prop_assert!(inside.remove(&job), "taken twice");
                        }
                        None => {}
                    }
                }
                Step::Expire(seconds) => {
                    now += seconds;
                    for job in lane.expired(Timestamp::from_seconds(now)) {
                        prop_assert!(job.deadline < now);
                        prop_assert!(inside.remove(&job), "expired twice");
                    }
                    prop_assert!(inside.iter().all(|job| job.deadline >= now));
                }
            }
            prop_assert_eq!(lane.len(), inside.len());
        }
        let told: Vec<_> = inside.iter().map(|job| (lane.ahead_of(job.number), job.number)).collect();
        let order = drain(&mut lane);
        prop_assert_eq!(order.len(), inside.len());
        for (ahead, number) in told {
            prop_assert_eq!(ahead, order.iter().position(|other| *other == number));
        }
    }
}
