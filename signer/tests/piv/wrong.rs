//! What is wrong from the start: a PIN, a certificate, a key. Nothing is signed, and nothing is tried twice.

use shared::signing::TokenState;

use crate::{
    applet::PIN_TRIES,
    client::{Edge, simple},
    estate::{Estate, Module, for_each_module},
    site::eventually,
};

for_each_module! {
    a_wrong_pin_costs_one_try_in_twenty_starts,
    a_certificate_of_another_key_in_the_slot_is_said_and_not_signed_for,
    a_certificate_of_the_other_card_in_the_slot_costs_no_try_of_its_pin,
    a_key_that_is_not_its_certificates_is_said_and_no_job_is_given_to_it,
}

fn a_wrong_pin_costs_one_try_in_twenty_starts(module: Module) {
    let estate = Estate::new(module, 1);
    estate.site.write_secret("pins/a1", "999999");
    for _ in 0..20 {
        let mut daemon = estate.site.spawn();
        assert_eq!(daemon.child.wait().unwrap().code(), Some(78), "{}", daemon.log());
        assert_eq!(estate.cards[0].applet().tries, PIN_TRIES - 1);
    }

    // An operator puts the right one there.
    estate.site.write_secret("pins/a1", "123456");
    let _daemon = estate.site.serve();
    Edge::new(&estate.site).issued(&simple(1));
    assert_eq!(estate.cards[0].applet().tries, PIN_TRIES);
}

fn a_certificate_of_another_key_in_the_slot_is_said_and_not_signed_for(module: Module) {
    let estate = Estate::new(module, 2);
    // A newer one tells ykcs11 itself which key it has, and is right in spite of its certificate.
    estate.cards[0].applet().make_older();
    let another = rcgen::generate_simple_self_signed(["nobody.test".to_owned()]).unwrap();
    estate.cards[0].applet().import_certificate(0x9a, another.cert.der());
    let _daemon = estate.site.serve();
    let edge = Edge::new(&estate.site);
    eventually("the other is ready", || estate.is_ready(&edge, 1));
    for number in 0..4 {
        assert_eq!(estate.issuer_of(&edge.issued(&simple(number))), 1);
    }
    eventually("it is said", || estate.tokens(&edge)[0].reason.contains("the issuer's public key is on none of the"));
    assert_eq!(estate.cards[0].applet().signatures, 0);

    // An operator puts it right; nobody restarts anything.
    estate.cards[0].applet().import_certificate(0x9a, estate.issuers[0].issuer().der());
    estate.cards[0].replug();
    eventually("both are ready", || estate.is_ready(&edge, 0));
    assert!(estate.cards.iter().all(|card| card.applet().tries == PIN_TRIES));
}

fn a_certificate_of_the_other_card_in_the_slot_costs_no_try_of_its_pin(module: Module) {
    let estate = Estate::new(module, 2);
    estate.cards[0].applet().make_older();
    estate.cards[0].applet().import_certificate(0x9a, estate.issuers[1].issuer().der());
    // The uris name serial numbers: the second issuer's PIN is not for whatever card shows its certificate.
    let daemon = estate.site.serve();
    let edge = Edge::new(&estate.site);
    eventually("the other is ready", || estate.is_ready(&edge, 1));
    eventually("it is said", || estate.tokens(&edge)[0].reason.contains("the issuer's public key is on none of the"));
    assert_eq!(daemon.log().matches("logging in").count(), 1);

    estate.cards[0].applet().import_certificate(0x9a, estate.issuers[0].issuer().der());
    estate.cards[0].replug();
    eventually("both are ready", || estate.is_ready(&edge, 0) && estate.is_ready(&edge, 1));
    assert!(estate.cards.iter().all(|card| card.applet().tries == PIN_TRIES));
}

fn a_key_that_is_not_its_certificates_is_said_and_no_job_is_given_to_it(module: Module) {
    let estate = Estate::new(module, 2);
    let right = estate.import_another_key(0);
    let _daemon = estate.site.serve();
    let edge = Edge::new(&estate.site);
    eventually("it is said", || {
        let token = &estate.tokens(&edge)[0];
        token.state == TokenState::Failed && token.reason.contains("does not verify under the issuer's public key")
    });
    assert!(estate.cards[0].applet().signatures > 0, "the card has signed; nobody got it");
    for number in 0..4 {
        assert_eq!(estate.issuer_of(&edge.issued(&simple(number))), 1);
    }
    assert_eq!((estate.site.events("intent").len(), estate.site.events("signed").len()), (4, 4));

    estate.cards[0].applet().import_key(0x9a, right);
    eventually("both are ready", || estate.is_ready(&edge, 0));
}
