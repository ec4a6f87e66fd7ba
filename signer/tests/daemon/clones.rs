//! Several tokens that hold one key, as clones of a Nitrokey HSM do: they sign for one issuer, each for itself.

use std::{fs, process::Command};

use nix::sys::signal::Signal;
use rcgen::KeyPair;
use shared::signing::{TokenState, TokenStatus};

use crate::{
    client::{Edge, simple},
    site::{MODULE, PIN, Site, eventually, signal},
};

/// A site whose only issuer, "a1", has a key that is in tokens of these labels.
pub(crate) fn clone_site(labels: &[&str]) -> Site {
    let site = Site::without_issuers();
    site.write_secret("pins/a1", PIN);
    fs::write(site.path("clone.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    for label in labels {
        add_clone(&site, label);
    }
    let key = format!("--module {MODULE} --token ceremony --pin-file pins/a1 --label issuing");
    add_clone(&site, "ceremony");
    site.signer_ok(&format!("csr {key} --subject CN=Issuing-a1 --out a1.csr"));
    site.signer_ok("root sign --key root.key --certificate root.pem --csr a1.csr --days 1825 --out a1.pem");
    site.signer_ok(&format!("import-chain {key} --chain a1.pem --root root.pem --out issuers/a1.pem"));
    softhsm(&site, &["--delete-token", "--token", "ceremony"]);
    site
}

/// Makes a token with the key in it.
fn add_clone(site: &Site, label: &str) {
    let output = softhsm(site, &["--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "87654321"]);
    let slot = output.rsplit("slot ").next().unwrap().trim().to_owned();
    softhsm(site, &["--import", "clone.key", "--slot", &slot, "--label", "issuing", "--id", "0a", "--pin", PIN]);
}

fn softhsm(site: &Site, arguments: &[&str]) -> String {
    let mut command = Command::new("softhsm2-util");
    command.args(arguments).current_dir(site.path(".")).env("SOFTHSM2_CONF", site.path("softhsm2.conf"));
    let output = command.output().expect("softhsm2-util is not installed (Debian: apt-get install softhsm2)");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Writes the configuration with a token for each of these uris.
pub(crate) fn write_tokens(site: &Site, uris: &[&str], more: &str) {
    site.write_config(&["a1"], more);
    let text = fs::read_to_string(site.path("signer.toml")).unwrap();
    let (head, token) = text.split_once("[[issuer.token]]").unwrap();
    let mut text = head.to_owned();
    for uri in uris {
        text += &format!("[[issuer.token]]{}", token.replace("pkcs11:token=a1;object=issuing", uri));
    }
    fs::write(site.path("signer.toml"), text).unwrap();
}

pub(crate) fn tokens(edge: &Edge) -> Vec<TokenStatus> {
    edge.status().unwrap().issuers[0].tokens.clone()
}

/// What the tokens call themselves; all must be ready.
fn names(edge: &Edge, number: usize) -> Vec<String> {
    eventually("all tokens are ready", || {
        let tokens = tokens(edge);
        tokens.len() == number && tokens.iter().all(|token| token.state == TokenState::Ready)
    });
    tokens(edge).into_iter().map(|token| token.token).collect()
}

#[test]
fn tokens_of_one_label_and_one_key_each_get_a_worker_of_their_own() {
    let site = clone_site(&["twin", "twin"]);
    write_tokens(&site, &["pkcs11:token=twin"; 2], "");
    let check = site.signer_ok("check --config signer.toml");
    let serials: Vec<_> = check.lines().filter_map(|line| line.split("(serial ").nth(1)).collect();
    assert!(serials.len() == 2 && serials[0] != serials[1], "{check}");
    let daemon = site.serve();
    let edge = Edge::new(&site);
    let mut found = names(&edge, 2);
    assert_ne!(found[0], found[1], "two workers, two tokens");
    found.sort();

    // Whoever is killed comes back to the one that is free.
    for round in 0..2 {
        for worker in daemon.workers() {
            signal(worker, Signal::SIGKILL);
        }
        eventually("they were started again", || tokens(&edge).iter().all(|token| token.failures > round));
        let mut again = names(&edge, 2);
        again.sort();
        assert_eq!(again, found);
    }
    edge.issued(&simple(1));
    // And each is measured by itself.
    let tested = site.signer_ok("sign-test --config signer.toml");
    assert!(tested.contains("a1-0: 3 signatures") && tested.contains("a1-1: 3 signatures"), "{tested}");
}

#[test]
fn a_third_worker_of_two_tokens_has_none_and_a_serial_number_in_a_uri_is_left_to_it() {
    let site = clone_site(&["twin", "twin"]);
    write_tokens(&site, &["pkcs11:token=twin"; 3], "");
    {
        let _daemon = site.spawn();
        let edge = Edge::new(&site);
        eventually("two are ready", || {
            let of = |state| move |token: &TokenStatus| token.state == state;
            edge.status().is_ok_and(|status| {
                let tokens = &status.issuers[0].tokens;
                tokens.iter().filter(|token| of(TokenState::Ready)(token)).count() == 2
                    && tokens.iter().any(|token| token.reason.contains("are other workers'"))
            })
        });
    }
    let check = site.signer("check --config signer.toml");
    let check = String::from_utf8(check.stdout).unwrap();
    let serial = check.lines().find_map(|line| line.split("(serial ").nth(1)).unwrap().trim_end_matches(')').to_owned();
    // The first of the order is named by the second: the first worker takes the other.
    let named = format!("pkcs11:serial={serial}");
    write_tokens(&site, &["pkcs11:", &named], "");
    let _daemon = site.serve();
    let found = names(&Edge::new(&site), 2);
    assert!(!found[0].contains(&serial) && found[1].contains(&serial), "{found:?}");
}

#[test]
fn tokens_that_may_be_each_others_have_one_pin_or_are_named() {
    let site = clone_site(&["twin", "twin"]);
    site.write_secret("pins/other", PIN);
    write_tokens(&site, &["pkcs11:token=twin"; 2], "");
    let text = fs::read_to_string(site.path("signer.toml")).unwrap();
    let at = text.rfind("pins/a1").unwrap();
    let text = format!("{}pins/other{}", &text[..at], &text[at + "pins/a1".len()..]);
    fs::write(site.path("signer.toml"), text).unwrap();
    let said = site.signer_fails("check --config signer.toml");
    assert!(said.contains("may be each other's"), "{said}");
}

#[test]
fn a_token_that_dies_does_not_stop_its_clones() {
    let site = clone_site(&["one", "two"]);
    write_tokens(&site, &["pkcs11:token=one", "pkcs11:token=two"], "");
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    names(&edge, 2);
    softhsm(&site, &["--delete-token", "--token", "one"]);
    for number in 0..12 {
        edge.issued(&simple(number));
    }
    eventually("the lost one is seen", || tokens(&edge)[0].state != TokenState::Ready);
    let all = tokens(&edge);
    assert_eq!((all[1].state, all[1].failures), (TokenState::Ready, 0), "apart: {all:?}");
    assert!(all[0].failures > 0 && !all[0].reason.is_empty() || all[0].state == TokenState::Starting, "{all:?}");
}
