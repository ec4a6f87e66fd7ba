//! Terms of service that change (RFC 8555 §7.3.3).

use edge::acme::{
    problem::Problem,
    route::{Resource, Route},
    storage::Storage,
    terms,
};
use serde_json::json;

use crate::desk::Desk;

const TERMS: &str = "https://ca.test/terms";

fn desk() -> Desk {
    let mut desk = Desk::new();
    desk.config.terms_of_service = Some(TERMS.to_owned());
    desk.config.terms_of_service_version = Some("1".to_owned());
    desk
}

fn order(desk: &mut Desk) -> Result<u16, Problem> {
    let payload = json!({"identifiers": [{"type": "dns", "value": "a.test"}]});
    desk.post(Route::NewOrder, &payload).map(|reply| reply.status)
}

#[test]
fn a_new_account_must_agree() {
    let mut desk = desk();
    let problem = desk.post(Route::NewAccount, &json!({})).unwrap_err();
    assert_eq!((problem.status(), problem.terms()), (403, Some(TERMS)));
    assert_eq!(problem.document().instance.as_deref(), Some(TERMS));
    desk.new_account();
    assert_eq!(desk.read(Resource::Account)["termsOfServiceAgreed"], true);
    assert_eq!(order(&mut desk), Ok(201));
}

/// RFC 8555 §7.3.3 MUST: a request that needs agreement to changed terms is 403 and `userActionRequired`.
/// RFC 8555 §7.3.3 MUST: `userActionRequired` links to the terms as `terms-of-service`, and says in `instance` where to go.
/// RFC 8555 §7.3.2 MUST: updates of `orders`, `termsOfServiceAgreed`, `status` and members that are not known are ignored.
#[test]
fn another_version_stops_orders_until_a_person_agrees() {
    let mut desk = desk();
    desk.new_account();
    desk.config.terms_of_service_version = Some("2".to_owned());
    assert_eq!(desk.read(Resource::Account)["termsOfServiceAgreed"], false);
    let problem = order(&mut desk).unwrap_err();
    let document = problem.document();
    assert_eq!(document.kind, "urn:ietf:params:acme:error:userActionRequired");
    assert_eq!((document.status, problem.terms()), (Some(403), Some(TERMS)));
    let instance = terms::agreement(desk.account(), &desk.config, &desk.urls);
    assert_eq!(document.instance.as_deref(), Some(instance.as_str()));
    let identifier = json!({"identifier": {"type": "dns", "value": "a.test"}});
    assert_eq!(desk.post(Route::NewAuthorization, &identifier).unwrap_err(), problem);
    // Agreement is not a client's to give (RFC 8555 §7.3.2): it is ignored.
    let account = Route::Of(desk.account(), Resource::Account);
    desk.post(account, &json!({"termsOfServiceAgreed": true})).unwrap();
    assert!(order(&mut desk).is_err());

    let entropy = desk.entropy();
    let changes = terms::agree(&desk.rows, &desk.context(&entropy)).unwrap();
    desk.rows.commit(&changes).unwrap();
    assert_eq!(order(&mut desk), Ok(201));
    assert!(terms::agree(&desk.rows, &desk.context(&entropy)).unwrap().is_empty(), "once is enough");
}

#[test]
fn the_url_to_agree_at_is_of_one_account_and_one_version() {
    let desk = desk();
    let url = desk.urls.agreement(desk.account(), "1");
    let Ok(Route::Agreement(account, tag)) = desk.urls.parse(url.strip_prefix("https://ca.test").unwrap()) else {
        panic!("{url}")
    };
    assert_eq!((account, tag), (desk.account(), desk.urls.agreement_tag(desk.account(), "1")));
    assert_ne!(tag, desk.urls.agreement_tag(desk.account(), "2"));
}

#[test]
fn without_terms_nobody_agrees_to_anything() {
    let mut desk = Desk::new();
    desk.new_account();
    assert_eq!(desk.read(Resource::Account).get("termsOfServiceAgreed"), None);
    assert_eq!(order(&mut desk), Ok(201));
}
