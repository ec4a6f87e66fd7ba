//! Who is taken when, by whom.

use super::*;
use std::sync::Arc;

const PACE: Duration = Duration::from_millis(250);

#[derive(Debug, PartialEq)]
struct Job {
    name: &'static str,
    holder: u8,
    party: u8,
    issuer: Option<usize>,
    deadline: u64,
    forsaken: bool,
}

fn job(name: &'static str) -> Job {
    Job { name, holder: 0, party: 0, issuer: None, deadline: u64::MAX, forsaken: false }
}

impl Waits for Job {
    fn party(&self) -> Party {
        Party { holder: Holder::Binding(self.holder.to_string()), account: [self.party; 32] }
    }
    fn deadline(&self) -> Timestamp {
        at(self.deadline)
    }
    fn fits(&self, issuer: usize) -> bool {
        self.issuer.is_none_or(|bound| bound == issuer)
    }
    fn is_forsaken(&self, _now: Timestamp) -> bool {
        self.forsaken
    }
    fn expire(self) {}
    fn turn_away(self) {}
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(seconds.min(4_000_000_000))
}

fn push(queue: &Queue<Job>, class: Class, job: Job) -> Result<Place, NoRoom> {
    let place = queue.place(class);
    queue.push(place, job, at(0), PACE).map_err(|(_, why)| why)?;
    Ok(place)
}

fn queue_of(jobs: Vec<(Class, Job)>) -> Arc<Queue<Job>> {
    let queue = Arc::new(Queue::new(100, 1));
    for (class, job) in jobs {
        push(&queue, class, job).unwrap();
    }
    queue
}

async fn drain(queue: &Queue<Job>, issuer: usize, now: u64) -> Vec<&'static str> {
    let mut names = Vec::new();
    while queue.len() > 0 {
        names.push(queue.take(issuer, By::Idle, || at(now)).await.unwrap().1.name);
    }
    names
}

#[tokio::test]
async fn classes_go_by_their_patience_and_jobs_of_one_by_arrival() {
    let queue = queue_of(vec![
        (Class::Crl, job("crl")),
        (Class::Refresh, job("refresh")),
        (Class::New, job("first")),
        (Class::New, job("second")),
        (Class::Revocation, job("revocation")),
        (Class::Renewal, job("renewal")),
    ]);
    // The revocation is older than the renewal, which has as little patience.
    assert_eq!(drain(&queue, 0, 0).await, ["revocation", "renewal", "first", "second", "refresh", "crl"]);
}

#[tokio::test]
async fn a_party_with_many_jobs_delays_another_one_by_a_place() {
    let many = |name| (Class::New, Job { party: 1, ..job(name) });
    let queue = queue_of(vec![many("a1"), many("a2"), many("a3"), many("a4")]);
    push(&queue, Class::New, Job { party: 2, ..job("b1") }).unwrap();
    push(&queue, Class::New, Job { party: 2, ..job("b2") }).unwrap();
    push(&queue, Class::New, Job { party: 3, ..job("c1") }).unwrap();
    assert_eq!(drain(&queue, 0, 0).await, ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]);
}

#[tokio::test]
async fn a_holder_of_many_accounts_has_no_more_turns_than_one_of_a_single_account() {
    let many = |name, party| (Class::New, Job { party, ..job(name) });
    let queue = queue_of(vec![many("a1", 1), many("b1", 2), many("c1", 3)]);
    let late = push(&queue, Class::New, Job { holder: 1, party: 1, ..job("other 1") }).unwrap();
    push(&queue, Class::New, Job { holder: 1, party: 1, ..job("other 2") }).unwrap();
    assert_eq!(queue.estimate(late, PACE), PACE * 2);
    assert_eq!(drain(&queue, 0, 0).await, ["a1", "other 1", "b1", "other 2", "c1"]);
}

#[tokio::test]
async fn a_party_that_had_its_turns_is_not_held_to_account_for_them() {
    let queue =
        queue_of(vec![(Class::New, Job { party: 1, ..job("a1") }), (Class::New, Job { party: 1, ..job("a2") })]);
    assert_eq!(drain(&queue, 0, 0).await, ["a1", "a2"]);
    push(&queue, Class::New, Job { party: 1, ..job("a3") }).unwrap();
    push(&queue, Class::New, Job { party: 2, ..job("b1") }).unwrap();
    assert_eq!(drain(&queue, 0, 0).await, ["a3", "b1"], "by arrival again");
}

#[tokio::test]
async fn a_job_of_another_issuer_is_passed_over() {
    let queue = queue_of(vec![(Class::New, Job { issuer: Some(1), ..job("bound") }), (Class::New, job("free"))]);
    assert_eq!(queue.take(0, By::Idle, || at(0)).await.unwrap().1.name, "free");
    assert_eq!(queue.take(1, By::Idle, || at(0)).await.unwrap().1.name, "bound");
}

#[tokio::test]
async fn jobs_whose_deadline_has_passed_or_that_nobody_asks_for_are_dropped() {
    let queue = queue_of(vec![
        (Class::Renewal, Job { deadline: 4, ..job("late renewal") }),
        (Class::New, Job { deadline: 4, ..job("late") }),
        (Class::New, Job { forsaken: true, ..job("forsaken") }),
        (Class::New, Job { deadline: 5, ..job("just in time") }),
    ]);
    assert_eq!(drain(&queue, 0, 5).await, ["just in time"]);
}

#[tokio::test]
async fn a_job_that_is_put_back_is_the_next_of_its_class() {
    let queue = queue_of(vec![(Class::New, job("first")), (Class::New, job("second"))]);
    let (place, first) = queue.take(0, By::Idle, || at(0)).await.unwrap();
    assert_eq!(first.name, "first");
    queue.put_back(place, first);
    assert_eq!(queue.estimate(place, PACE), PACE);
    assert_eq!(drain(&queue, 0, 0).await, ["first", "second"]);
}

#[tokio::test]
async fn a_busy_token_leaves_a_job_to_an_idle_one() {
    let queue = queue_of(vec![]);
    let idle = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.take(0, By::Idle, || at(0)).await.unwrap().1.name }
    });
    tokio::task::yield_now().await;
    let busy = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.take(0, By::Busy, || at(0)).await.unwrap().1.name }
    });
    tokio::task::yield_now().await;
    push(&queue, Class::New, job("first")).unwrap();
    assert_eq!(idle.await.unwrap(), "first");
    push(&queue, Class::New, job("second")).unwrap();
    assert_eq!(busy.await.unwrap(), "second");
}

#[tokio::test]
async fn a_token_that_has_the_next_job_takes_only_one_that_should_not_wait_for_that() {
    let queue = queue_of(vec![(Class::New, job("new")), (Class::Crl, job("crl")), (Class::Status, job("status"))]);
    let ready = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.take(0, By::Ready, || at(0)).await.unwrap().1.name }
    });
    tokio::task::yield_now().await;
    assert!(!ready.is_finished());
    push(&queue, Class::Renewal, job("renewal")).unwrap();
    assert_eq!(ready.await.unwrap(), "renewal");
    push(&queue, Class::Revocation, job("revocation")).unwrap();
    assert_eq!(queue.take(0, By::Ready, || at(0)).await.unwrap().1.name, "revocation");
    assert_eq!(queue.len(), 3);
}

#[tokio::test]
async fn what_cannot_wait_is_given_back_with_the_reason() {
    let queue = Queue::new(12, 1);
    for _ in 0..10 {
        push(&queue, Class::Refresh, job("refresh")).unwrap();
    }
    assert_eq!(push(&queue, Class::Refresh, job("too many")), Err(NoRoom::Full), "of its class");
    let late = Err(NoRoom::TooLate(PACE));
    assert_eq!(
        push(&queue, Class::New, Job { deadline: 0, ..job("now") }),
        Ok(Place { class: Class::New, number: 12 })
    );
    let queue_behind = |deadline| push(&queue, Class::Crl, Job { deadline, ..job("crl") });
    assert_eq!(queue_behind(2), Err(NoRoom::TooLate(PACE * 12)), "behind everything, at this moment");
    assert_ne!(queue_behind(3), late);
    assert_eq!(push(&queue, Class::New, job("too many")), Err(NoRoom::Full), "in all");
    queue.close();
    assert_eq!(push(&queue, Class::New, job("too late")), Err(NoRoom::Closed));
    assert!(queue.take(0, By::Idle, || at(0)).await.is_none());
}

#[test]
fn the_estimate_counts_those_who_go_before() {
    let queue =
        queue_of(vec![(Class::New, Job { party: 1, ..job("a1") }), (Class::New, Job { party: 1, ..job("a2") })]);
    let own = push(&queue, Class::New, Job { party: 1, ..job("a3") }).unwrap();
    let other = push(&queue, Class::New, Job { party: 2, ..job("b1") }).unwrap();
    let refresh = push(&queue, Class::Refresh, job("refresh")).unwrap();
    assert_eq!(queue.estimate(other, PACE), PACE * 2);
    assert_eq!(queue.estimate(own, PACE), PACE * 4);
    assert_eq!(queue.estimate(refresh, PACE), PACE * 5);
    assert_eq!(queue.estimate(own, Duration::ZERO), Duration::ZERO);
}
