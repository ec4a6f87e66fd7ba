//! A bound on time: the platform's sockets and requests have none of their own.

use std::{future::Future, pin::pin, time::Duration};

use futures_util::future::{Either, select};
use worker::Delay;

/// The future's output; nothing when it takes longer, and then the future is dropped. The timer is cleared either way.
pub(super) async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    match select(pin!(future), Delay::from(limit)).await {
        Either::Left((output, _timer)) => Some(output),
        Either::Right(((), _late)) => None,
    }
}
