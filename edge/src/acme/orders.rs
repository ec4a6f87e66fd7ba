//! The list of an account's orders, page by page (RFC 8555 §7.1.2.1).

use shared::jws::Verified;

use super::{
    object_id::ObjectId,
    order,
    problem::Problem,
    route::Resource,
    step::{Context, Reply, Step, require_post_as_get},
    storage::Rows,
    view::{OrderStatus, OrdersView},
};

/// A POST-as-GET of the list. The newest come first; `Link: …;rel="next"` leads to those before them. A page is found by the
/// order that it follows, so orders that are made meanwhile move nothing. Invalid orders are left out, so a page may have
/// fewer than it could.
///
/// # Errors
/// `malformed` when the payload is not empty; when rows cannot be read.
pub fn read(
    rows: &dyn Rows,
    before: Option<ObjectId>,
    request: &Verified,
    context: &Context<'_>,
) -> Result<Step, Problem> {
    require_post_as_get(request)?;
    let page = context.config.limits.orders_page;
    // One more than is shown tells whether there is a next page.
    let mut ids = rows.orders(before, page.saturating_add(1))?;
    let more = ids.len() > page;
    ids.truncate(page);
    let url = |resource| context.urls.resource(context.account, resource);
    let next = ids.last().filter(|_| more).map(|last| url(Resource::Orders(Some(*last))));
    let mut orders = Vec::new();
    for id in ids {
        if order::state(rows, id, context)? != Some(OrderStatus::Invalid) {
            orders.push(url(Resource::Order(id)));
        }
    }
    Ok(Step::read(Reply { next, ..Reply::json(200, &OrdersView { orders })? }))
}
