//! PINs that would cost a try, tokens that were left half made, and links that wait for a command of root.

use std::{fs, os::unix::fs::symlink, process::Command};

use shared::signing::TokenState;

use crate::{
    client::{Edge, simple},
    site::{MODULE, PIN, Site, eventually},
};

/// `pkcs11-tool` on the site's tokens.
fn pkcs11_tool(site: &Site, arguments: &[&str]) {
    let mut command = Command::new("pkcs11-tool");
    command.args(["--module", MODULE]).args(arguments).env("SOFTHSM2_CONF", site.path("softhsm2.conf"));
    let output = command.output().expect("pkcs11-tool of OpenSC is installed");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn init_refuses_what_would_fail_before_it_touches_the_token() {
    let site = Site::without_issuers();
    site.write_secret("pins/good", PIN);
    let tokens = || fs::read_dir(site.path("tokens")).unwrap().count();
    let init = |label: &str, pin: &str, so_pin: &str| {
        let mut command = site.command(&format!("init --module {MODULE} --pin-file {pin} --so-pin-file {so_pin}"));
        let output = command.args(["--label", label]).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    for (name, secret) in [("short", "123"), ("long", &"1".repeat(256)), ("two", "123456\n654321")] {
        site.write_secret(&format!("pins/{name}"), secret);
    }
    let table = [
        ("a1 ", "pins/good", "pins/so", "blank"),
        ("a1", "pins/short", "pins/so", "the user's PIN: the PIN has 3 bytes"),
        ("a1", "pins/long", "pins/so", "the user's PIN: the PIN has 256 bytes"),
        ("a1", "pins/good", "pins/short", "the security officer's PIN: the PIN has 3 bytes"),
        ("a1", "pins/two", "pins/so", "line break"),
    ];
    for (label, pin, so_pin, why) in table {
        let (done, said) = init(label, pin, so_pin);
        assert!(!done && said.contains(why), "{label:?} {pin} {so_pin}: {said}");
        assert_eq!(tokens(), 0, "{why}: a token was made");
    }
    assert!(init("a1", "pins/good", "pins/so").0);
}

#[test]
fn a_token_that_was_left_half_made_is_finished_by_the_same_command() {
    let site = Site::without_issuers();
    site.write_secret("pins/a1", PIN);
    site.write_secret("pins/other", "12344321");
    pkcs11_tool(&site, &["--slot-index", "0", "--init-token", "--label", "a1", "--so-pin", "87654321"]);
    let init = |so_pin: &str| format!("init --module {MODULE} --label a1 --pin-file pins/a1 --so-pin-file {so_pin}");
    assert!(site.signer_fails(&init("pins/other")).contains("has the SO-PIN of that time"));
    site.signer_ok(&init("pins/so"));
    site.signer_ok(&format!("keygen --module {MODULE} --token a1 --pin-file pins/a1 --label issuing --out a1.pub"));
    assert!(site.signer_fails(&init("pins/so")).contains("it is not initialised again"));
}

#[test]
fn a_pin_that_cannot_be_right_costs_no_try() {
    let site = Site::new(&["a1"]);
    let long = "1".repeat(256);
    for (content, why) in
        [(format!("{PIN}\n"), "line break"), (format!("\u{feff}{PIN}"), "byte order mark"), (long, "256 bytes")]
    {
        site.write_secret("pins/a1", &content);
        let said = site.signer_fails("check --config signer.toml");
        assert!(said.contains(why) && said.contains("pins/a1"), "{said}");
        let key = "--token a1 --pin-file pins/a1 --label issuing";
        let said = site.signer_fails(&format!("csr --module {MODULE} {key} --subject CN=A --out new.csr"));
        assert!(said.contains(why), "{said}");
        let output = site.signer("sign-test --config signer.toml");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(why) && !said.contains("logging in"), "{said}");
        assert!(
            !site.path("state/pin-rejected-a1-0").exists(),
            "nothing counts against the PIN that is put there next"
        );
    }
    // The daemon leaves the token alone, and takes it when the PIN is another.
    let daemon = site.spawn();
    eventually("it says why", || daemon.log().contains("256 bytes"));
    drop(daemon);
    site.write_secret("pins/a1", PIN);
    let daemon = site.serve();
    let edge = Edge::new(&site);
    eventually("it is used", || edge.status().unwrap().issuers[0].tokens[0].state == TokenState::Ready);
    edge.issued(&simple(1));
    assert_eq!(daemon.log().matches("logging in").count(), 1);
}

#[test]
fn two_private_keys_with_one_identifier_are_named() {
    let site = Site::new(&["a1"]);
    let key = |label: &str| format!("--module {MODULE} --token a1 --pin-file pins/a1 --label {label}");
    site.signer_ok(&format!("keygen {} --out second.pub", key("second")));
    for (label, id) in [("second", "07"), ("issuing", "07")] {
        let listed: serde_json::Value =
            serde_json::from_str(&site.signer_ok(&format!("list --module {MODULE} --json"))).unwrap();
        let keys = listed[0]["keys"].as_array().unwrap();
        let old = keys.iter().find(|key| key["label"] == label).unwrap()["id"].as_str().unwrap();
        for kind in ["pubkey", "privkey"] {
            let set = ["--login", "--pin", PIN, "--type", kind, "--id", old, "--set-id", id];
            pkcs11_tool(&site, &set);
        }
    }
    let said = site.signer_fails(&format!("csr {} --subject CN=A --out new.csr", key("issuing")));
    assert!(said.contains("2 private EC keys of the token have the identifier 07"), "{said}");
}

#[test]
fn a_token_that_is_not_there_is_told_from_a_module_without_a_configuration() {
    let site = Site::new(&["a1"]);
    let key = "--token a2 --pin-file pins/a1 --label issuing --subject CN=A --out new.csr";
    let said = site.signer_fails(&format!("csr --module {MODULE} {key}"));
    assert!(said.contains("no token with the label \"a2\"") && said.contains("shows \"a1\" (serial "), "{said}");

    let mut list = site.command(&format!("list --module {MODULE}"));
    let output = list.env("SOFTHSM2_CONF", site.path("none.conf")).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("SOFTHSM2_CONF names") && said.contains("none.conf"), "{said}");
    site.write_config(&["a1"], "");
    let text = fs::read_to_string(site.path("signer.toml")).unwrap();
    fs::write(site.path("signer.toml"), text.replace("token=a1", "token=a7")).unwrap();
    let said = site.signer_fails("check --config signer.toml");
    assert!(said.contains("no token fits the uri, which wants the label \"a7\"") && said.contains("\"a1\""), "{said}");
}

/// The state folder is the daemon's user's, who may put links there; root runs these commands.
#[test]
fn commands_write_through_no_link_in_the_state_folder() {
    let site = Site::new(&["a1"]);
    fs::create_dir(site.path("state")).unwrap();
    fs::write(site.path("victim"), "of another").unwrap();
    let links = [
        "stops.json",
        "stops.partial",
        "stops.json.partial",
        "pin-accepted-a1-0",
        "pin-accepted-a1-0.partial",
        "pin-rejected-a1-0.partial",
    ];
    for name in links {
        symlink(site.path("victim"), site.path("state").join(name)).unwrap();
    }
    // What is there is no file of ours: it is not read through either.
    assert!(site.signer_fails("stop --config signer.toml --everything").contains("stops.json"));
    fs::remove_file(site.path("state/stops.json")).unwrap();
    site.signer_ok("stop --config signer.toml --everything");
    site.signer_ok("pin-ok --config signer.toml --token a1-0");
    assert_eq!(fs::read_to_string(site.path("victim")).unwrap(), "of another");
    for name in ["stops.json", "pin-accepted-a1-0"] {
        assert!(fs::symlink_metadata(site.path("state").join(name)).unwrap().is_file(), "{name}");
    }
}

#[test]
fn a_pin_file_that_is_a_link_is_refused_in_plain_words() {
    let site = Site::new(&["a1"]);
    fs::rename(site.path("pins/a1"), site.path("pins/real")).unwrap();
    symlink("real", site.path("pins/a1")).unwrap();
    let said = site.signer_fails("check --config signer.toml");
    assert!(said.contains("symbolic link, to real"), "{said}");
}
