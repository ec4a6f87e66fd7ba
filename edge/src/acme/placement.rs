//! A certificate that was issued is given a window for its renewal by its status object: after its order is settled, off the way of
//! the answer, and again by alarms until that was done.

use shared::{
    base64url::Base64Url,
    chain::{Issuer, Leaf},
};

use super::{
    object_id::ObjectId,
    order,
    problem::Problem,
    record::{Issued, OrderRecord, OrderState, Record},
    step::{Context, Effect, Settled},
    storage::{Key, Rows},
};
use crate::status::renewal::Placement;

/// The row of an order, and the question to the status object while its certificate has no window.
///
/// # Errors
/// Never: an order can be serialized.
pub fn wanted(id: ObjectId, record: &OrderRecord, context: &Context<'_>) -> Result<Settled, Problem> {
    let effect = match &record.state {
        OrderState::Valid(issued) if issued.unplaced => of(issued, context).map(|of| Effect::Place(id, of)),
        _ => None,
    };
    Ok(Settled { effect, ..Settled::changes(vec![order::put(id, record, context)?]) })
}

/// The certificate of this order has a window.
///
/// # Errors
/// When rows cannot be read.
pub fn placed(rows: &dyn Rows, id: ObjectId, context: &Context<'_>) -> Result<Settled, Problem> {
    let Some(mut record) = OrderRecord::load(rows, Key::Order(id))? else { return Ok(Settled::default()) };
    let OrderState::Valid(issued) = &mut record.state else { return Ok(Settled::default()) };
    issued.unplaced = false;
    Ok(Settled::changes(vec![order::put(id, &record, context)?]))
}

fn of(issued: &Issued, context: &Context<'_>) -> Option<Placement> {
    let [Base64Url(leaf), Base64Url(issuer), ..] = issued.chain.as_slice() else { return None };
    let leaf = Leaf::from_der(leaf).ok()?;
    Some(Placement {
        serial: leaf.serial,
        issuer: Base64Url(Issuer::from_der(issuer).ok()?.key_identifier().to_vec()),
        account: context.account,
        not_before: leaf.not_before,
        not_after: leaf.not_after,
    })
}
