//! What an account's object says of a certificate that a signer's journal calls signed for one of its orders: whether a client has it
//! or can fetch it. Reconciliation asks (see [`crate::status::case`]).

use serde::{Deserialize, Serialize};
use shared::{serial::SerialNumber, timestamp::Timestamp};

use super::{
    object_id::ObjectId,
    record::{OrderRecord, OrderState, Processing, Record},
    storage::{Key, Rows, StorageFault},
};

/// How it stands with a certificate, by its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// It is the order's: its client has it, or can fetch it. With what was promised, where it had to wait.
    Delivered(Option<Promise>),
    /// The order may still become valid, with this certificate or with another.
    Undecided,
    /// There is no such order, or it ended in another way: no client can fetch the certificate.
    Otherwise,
}

/// A signer's first estimate for an order, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// Seconds from finalize to when the certificate was said to be there.
    pub promised: u64,
    /// Seconds from finalize to when it was.
    pub took: u64,
}

impl Promise {
    /// Of an order whose certificate is there now; nothing where no signer gave an estimate.
    #[must_use]
    pub fn of(processing: &Processing, now: Timestamp) -> Option<Self> {
        let since = processing.since;
        processing.promised.map(|promised| Self { promised: promised.since(since), took: now.since(since) })
    }
}

/// How it stands with this certificate of this order.
///
/// An order is there for as long as its certificate is valid, and longer. One that is gone has none that a client could fetch.
///
/// # Errors
/// When rows cannot be read.
pub fn kept(rows: &dyn Rows, order: ObjectId, serial: SerialNumber, now: Timestamp) -> Result<Kept, StorageFault> {
    let Some(record) = OrderRecord::load(rows, Key::Order(order))? else { return Ok(Kept::Otherwise) };
    Ok(match record.state {
        OrderState::Valid(issued) if issued.serial == serial => Kept::Delivered(issued.promise),
        OrderState::Processing(_) => Kept::Undecided,
        // Its client may finalize it yet.
        OrderState::Open if record.expires >= now => Kept::Undecided,
        OrderState::Open | OrderState::Valid(_) | OrderState::Invalid(_) => Kept::Otherwise,
    })
}
