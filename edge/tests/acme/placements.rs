//! Every certificate is given a window for its renewal, once its order is settled.

use edge::acme::{challenge::ChallengeType, directory::Directory};
use shared::chain::Leaf;

use crate::desk::Desk;

#[test]
fn a_certificate_is_placed_when_it_is_there() {
    let (desk, certificate) = Desk::with_a_certificate(&["a.test"]);
    let leaf = Leaf::from_der(&certificate).unwrap();
    let [placed] = desk.placed.as_slice() else { panic!("{:?}", desk.placed) };
    assert_eq!((placed.serial, placed.account), (leaf.serial, desk.account()));
    assert_eq!((placed.not_before, placed.not_after), (leaf.not_before, leaf.not_after));
    assert_eq!(placed.issuer.0, desk.ca.chain.issuer().key_identifier());
    assert!(desk.next_drive().is_none(), "nothing is left to drive");
}

#[test]
fn alarms_place_it_again_until_its_status_object_has_answered() {
    let mut desk = Desk::new();
    desk.places = false;
    desk.new_account();
    desk.issue(&["a.test"]);
    assert_eq!(desk.placed.len(), 1);
    desk.live_until(desk.now.plus(10));
    assert_eq!(desk.placed.len(), 2);
    desk.places = true;
    desk.live_until(desk.now.plus(400));
    assert_eq!(desk.placed.len(), 3, "once more, and no more");
    assert!(desk.placed.windows(2).all(|pair| pair[0] == pair[1]), "the same each time");
}

#[test]
fn nothing_is_placed_or_advertised_where_it_is_not_offered() {
    let mut desk = Desk::new();
    desk.config.renewal.offered = false;
    let shown = |desk: &Desk| serde_json::to_value(Directory::new(&desk.config, &desk.urls)).unwrap();
    assert!(shown(&desk).get("renewalInfo").is_none());
    desk.new_account();
    let (order, view) = desk.new_order(&["a.test"]);
    desk.prove(&view, ChallengeType::Dns01);
    desk.finalize(order, &["a.test"]).unwrap();
    let question = desk.question();
    let answer = desk.signer_answer(&question);
    desk.event(edge::acme::step::Event::Signed(question.order, Ok(answer))).unwrap();
    assert!(desk.placed.is_empty());
    desk.config.renewal.offered = true;
    assert_eq!(shown(&desk)["renewalInfo"], "https://ca.test/acme/renewal-info");
}
