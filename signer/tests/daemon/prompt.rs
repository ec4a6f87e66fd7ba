//! PINs that are asked for: on a terminal, which util-linux's `script` makes, and from nobody else.

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
};

use crate::site::{MODULE, Site};

const PIN: &str = "74205916";

/// Runs the program on a terminal and types each answer once its question is there. Gives what the terminal showed, and whether
/// the program succeeded.
fn on_a_terminal(site: &Site, arguments: &str, answers: &[(&str, &str)]) -> (String, bool) {
    let program = site.command("");
    let line = format!("{} {arguments}", program.get_program().to_str().unwrap());
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"]).current_dir(site.path(""));
    script.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut keyboard, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut shown, mut answers) = (Vec::new(), answers.iter());
    let mut next = answers.next();
    let mut bytes = [0; 1024];
    loop {
        let length = screen.read(&mut bytes).unwrap();
        if length == 0 {
            break;
        }
        shown.extend_from_slice(&bytes[..length]);
        if let Some((question, answer)) = next
            && String::from_utf8_lossy(&shown).ends_with(question)
        {
            writeln!(keyboard, "{answer}").unwrap();
            next = answers.next();
        }
    }
    let shown = String::from_utf8_lossy(&shown).into_owned();
    assert!(next.is_none(), "not everything was asked for: {shown}");
    (shown, child.wait().unwrap().success())
}

#[test]
fn a_pin_is_asked_for_on_a_terminal_and_not_shown() {
    let site = Site::without_issuers();
    site.write_secret("pins/so", "12345678");
    let init = format!("init --module {MODULE} --label a1 --so-pin-file pins/so");
    let (once, again) = ("PIN of the token \"a1\": ", "PIN of the token \"a1\", again: ");
    let (shown, good) = on_a_terminal(&site, &init, &[(once, PIN), (again, "74205917")]);
    assert!(!good && shown.contains("two PINs"), "{shown}");
    let (shown, good) = on_a_terminal(&site, &init, &[(once, PIN), (again, PIN)]);
    assert!(good && !shown.contains(PIN), "{shown}");

    let keygen = format!("keygen --module {MODULE} --token a1 --label issuing --out a1.pub");
    // It means something else to a module, and no try is spent on it.
    let (shown, good) = on_a_terminal(&site, &keygen, &[(once, "VERIFY_NONE")]);
    assert!(!good && shown.contains("this is not a PIN") && !site.path("a1.pub").exists(), "{shown}");
    let (shown, good) = on_a_terminal(&site, &keygen, &[(once, PIN)]);
    assert!(good && !shown.contains(PIN) && site.path("a1.pub").exists(), "{shown}");
}

#[test]
fn without_a_terminal_the_error_says_what_to_give() {
    let site = Site::new(&["a1"]);
    let csr = format!("csr --module {MODULE} --token a1 --label issuing --subject CN=A --out new.csr");
    let words = site.signer_fails(&csr);
    for name in ["--pin-file", "\"a1-pin\"", "terminal"] {
        assert!(words.contains(name), "{name}: {words}");
    }
    assert!(!site.path("new.csr").exists());
}

#[test]
fn the_service_managers_credential_goes_before_a_file() {
    let site = Site::new(&["a1"]);
    std::fs::create_dir(site.path("credentials")).unwrap();
    std::fs::copy(site.path("pins/a1"), site.path("credentials/a1-pin")).unwrap();
    let csr =
        format!("csr --module {MODULE} --token a1 --label issuing --subject CN=A --pin-file pins/none --out new.csr");
    assert!(site.signer_fails(&csr).contains("pins/none"));
    let output = site.command(&csr).env("CREDENTIALS_DIRECTORY", site.path("credentials")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
