//! The list of an account's orders, page by page (RFC 8555 §7.1.2.1).

use shared::jws::Verified;

use super::{
    object_id::ObjectId,
    problem::Problem,
    route::Resource,
    step::{Context, Reply, Step, require_post_as_get},
    storage::Rows,
    view::OrdersView,
};

/// A POST-as-GET of the list. The newest come first; `Link: …;rel="next"` leads to those before them. A page is found by the
/// order that it follows, so orders that are made meanwhile move nothing.
///
/// # Errors
/// `malformed` when the payload is not empty.
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
    let orders = ids.into_iter().map(|id| url(Resource::Order(id))).collect();
    Ok(Step::read(Reply { next, ..Reply::json(200, &OrdersView { orders })? }))
}
