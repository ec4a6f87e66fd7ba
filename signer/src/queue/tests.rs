//! Who is taken when, by whom.

use super::*;
use std::sync::Arc;

#[derive(Debug, PartialEq)]
struct Job(&'static str, Option<usize>);

impl Waits for Job {
    fn fits(&self, issuer: usize) -> bool {
        self.1.is_none_or(|bound| bound == issuer)
    }
    fn expire(self) {}
    fn turn_away(self) {}
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn queue_of(jobs: &[(Priority, u64, Job)]) -> Arc<Queue<Job>> {
    let queue = Arc::new(Queue::new(10));
    for (priority, deadline, Job(name, bound)) in jobs {
        queue.push(queue.place(*priority, at(*deadline)), Job(name, *bound)).unwrap();
    }
    queue
}

async fn drain(queue: &Queue<Job>, issuer: usize, now: u64) -> Vec<&'static str> {
    let mut names = Vec::new();
    while queue.len() > 0 {
        names.push(queue.take(issuer, false, || at(now)).await.unwrap().1.0);
    }
    names
}

#[tokio::test]
async fn renewals_go_first_then_deadlines_then_arrival() {
    use Priority::{New, Renewal};
    let queue = queue_of(&[
        (New, 10, Job("new, early", None)),
        (New, 10, Job("new, early, second", None)),
        (New, 9, Job("new, earliest", None)),
        (Renewal, 20, Job("renewal", None)),
    ]);
    assert_eq!(drain(&queue, 0, 0).await, ["renewal", "new, earliest", "new, early", "new, early, second"]);
}

#[tokio::test]
async fn a_job_of_another_issuer_is_passed_over() {
    let queue = queue_of(&[(Priority::New, 1, Job("bound", Some(1))), (Priority::New, 2, Job("free", None))]);
    assert_eq!(queue.take(0, false, || at(0)).await.unwrap().1.0, "free");
    assert_eq!(queue.take(1, false, || at(0)).await.unwrap().1.0, "bound");
}

#[tokio::test]
async fn jobs_whose_deadline_has_passed_are_dropped() {
    let queue = queue_of(&[
        (Priority::Renewal, 4, Job("late renewal", None)),
        (Priority::New, 4, Job("late", None)),
        (Priority::New, 5, Job("just in time", None)),
    ]);
    assert_eq!(drain(&queue, 0, 5).await, ["just in time"]);
}

#[tokio::test]
async fn a_busy_token_leaves_a_job_to_an_idle_one() {
    let queue = queue_of(&[]);
    let idle = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.take(0, false, || at(0)).await.unwrap().1.0 }
    });
    tokio::task::yield_now().await;
    let busy = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.take(0, true, || at(0)).await.unwrap().1.0 }
    });
    tokio::task::yield_now().await;
    queue.push(queue.place(Priority::New, at(1)), Job("first", None)).unwrap();
    assert_eq!(idle.await.unwrap(), "first");
    queue.push(queue.place(Priority::New, at(1)), Job("second", None)).unwrap();
    assert_eq!(busy.await.unwrap(), "second");
}

#[tokio::test]
async fn a_full_or_closed_queue_gives_the_job_back() {
    let queue = Queue::new(1);
    let push = |name| queue.push(queue.place(Priority::New, at(1)), Job(name, None));
    push("in").unwrap();
    assert_eq!(push("too many"), Err(Job("too many", None)));
    queue.close();
    assert_eq!(push("too late"), Err(Job("too late", None)));
    assert!(queue.take(0, false, || at(0)).await.is_none());
}

#[test]
fn the_estimate_counts_what_is_ahead_over_the_tokens() {
    let queue = queue_of(&[(Priority::New, 1, Job("a", None)), (Priority::New, 2, Job("b", None))]);
    let (first, last) = (queue.place(Priority::Renewal, at(9)), queue.place(Priority::New, at(9)));
    assert_eq!(queue.estimate(last, 1), Duration::ZERO);
    queue.served(Duration::from_millis(250));
    assert_eq!(queue.estimate(first, 1), Duration::from_millis(250));
    assert_eq!(queue.estimate(last, 1), Duration::from_millis(750));
    assert_eq!(queue.estimate(last, 2), Duration::from_millis(500));
    assert_eq!(queue.estimate(last, 0), Duration::from_millis(750));
}
