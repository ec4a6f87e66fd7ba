//! Bounds the places of the queue that one edge and one account have, so that neither keeps others, or renewals, out.

use shared::signing::Priority;

use crate::{
    admit::Admitted,
    share::{Share, Shares},
};

/// The places of the queue for certificates.
#[derive(Debug)]
pub(crate) struct QueueShares {
    /// Places of the whole queue.
    pub(crate) queue: usize,
    pub(crate) edges: Shares,
    pub(crate) accounts: Shares,
    /// Places of the queue, and of each edge, that are for renewals alone.
    pub(crate) for_renewals: usize,
}

impl QueueShares {
    /// Takes a place for an admitted request while `waiting` jobs are in the queue.
    ///
    /// # Errors
    /// Names the limit that is reached.
    pub(crate) fn take(&self, admitted: &Admitted, waiting: usize) -> Result<[Share; 2], &'static str> {
        self.take_for(&admitted.edge, &admitted.claim.account.to_string(), admitted.priority, waiting)
    }

    fn take_for(
        &self,
        edge: &str,
        account: &str,
        priority: Priority,
        waiting: usize,
    ) -> Result<[Share; 2], &'static str> {
        let left = match priority {
            Priority::Renewal => 0,
            Priority::New => self.for_renewals,
        };
        if waiting >= self.queue.saturating_sub(left) {
            return Err("the queue is full (limits.queue)");
        }
        let of_edge = self.edges.take_beside(&[edge.to_owned()], left);
        let of_edge = of_edge.ok_or("as many certificates wait for this edge as may (limits.queue_per_edge)")?;
        let of_account = self.accounts.take_beside(&[edge.to_owned(), account.to_owned()], left.min(1));
        let of_account =
            of_account.ok_or("as many certificates wait for this account as may (limits.queue_per_account)")?;
        Ok([of_edge, of_account])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_and_an_edge_leave_places_for_others_and_for_renewals() {
        let shares = QueueShares { queue: 20, edges: Shares::new(10), accounts: Shares::new(5), for_renewals: 2 };
        let mut held = Vec::new();
        let mut take = |edge: &str, account: &str, priority| {
            let taken = shares.take_for(edge, account, priority, held.len());
            taken.map(|taken| held.push(taken)).map_err(|limit| limit.split("limits.").nth(1).unwrap().to_owned())
        };
        for _ in 0..4 {
            assert_eq!(take("one", "greedy", Priority::New), Ok(()));
        }
        assert_eq!(take("one", "greedy", Priority::New), Err("queue_per_account)".to_owned()));
        assert_eq!(take("one", "greedy", Priority::Renewal), Ok(()), "its renewals have a place more");
        for account in ["a", "b", "c"] {
            assert_eq!(take("one", account, Priority::New), Ok(()));
        }
        assert_eq!(take("one", "d", Priority::New), Err("queue_per_edge)".to_owned()));
        assert_eq!(take("one", "d", Priority::Renewal), Ok(()));
        for account in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            assert_eq!(take("two", account, Priority::New), Ok(()));
        }
        assert_eq!(take("three", "a", Priority::Renewal), Ok(()));
        assert_eq!(take("three", "b", Priority::New), Err("queue)".to_owned()), "the last places are for renewals");
        assert_eq!(take("three", "b", Priority::Renewal), Ok(()));
        assert_eq!(take("three", "c", Priority::Renewal), Ok(()));
        assert_eq!(take("three", "d", Priority::Renewal), Err("queue)".to_owned()));
    }
}
