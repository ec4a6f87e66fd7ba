//! The slot whose key wants its PIN for each signature.

use crate::{
    applet::{ALWAYS_AUTHENTICATE, PIN_TRIES},
    client::{Edge, simple},
    estate::{Estate, Module, for_each_module},
};

for_each_module! {
    a_key_in_slot_9c_signs_again_and_again_and_operators_are_told_that_another_slot_is_better,
}

fn a_key_in_slot_9c_signs_again_and_again_and_operators_are_told_that_another_slot_is_better(module: Module) {
    let estate = Estate::with_slot(module, 1, ALWAYS_AUTHENTICATE);
    estate.site.signer_ok("sign-test --config signer.toml");
    let daemon = estate.site.serve();
    let edge = Edge::new(&estate.site);
    for number in 0..5 {
        estate.issuer_of(&edge.issued(&simple(number)));
    }
    let token = &estate.tokens(&edge)[0];
    assert_eq!((token.signatures, token.failures), (5, 0), "{}", daemon.log());
    assert!(token.reason.contains("the key wants its PIN for each signature"), "{}", token.reason);
    assert_eq!(estate.cards[0].applet().tries, PIN_TRIES);

    // What rejects a PIN in the middle of a signature is not asked again.
    estate.cards[0].applet().change_pin("111111");
    let _ = edge.issue(&simple(6));
    let mut daemon = daemon;
    assert_eq!(daemon.child.wait().unwrap().code(), Some(78), "{}", daemon.log());
    assert_eq!(estate.cards[0].applet().tries, PIN_TRIES - 1);
}
