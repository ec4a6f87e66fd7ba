//! Modules that fail: what each error of PKCS#11 does to a worker, keys that want their PIN each time, and readers that hang. The
//! module is SoftHSM behind one of ours that does what a file says.

use std::{fs, path::PathBuf, process::Command, sync::OnceLock, thread};

use shared::signing::{IssueReply, Refusal, TokenState, TokenStatus};

use crate::{
    client::{Edge, simple},
    site::{MODULE, PIN, Site, eventually},
};

/// Builds the module, once for each run.
fn module() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/daemon/faults/module.rs");
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(&folder).unwrap();
        let built = folder.join(format!("libfaults-{}.so", std::process::id()));
        let output = Command::new("rustc")
            .args(["--edition", "2024", "--crate-type", "cdylib", "--crate-name", "faults", "-o"])
            .arg(&built)
            .arg(source)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        built
    })
}

/// A site whose issuers' tokens are behind the module. Faults are in the file of each issuer's name.
fn faulty_site(issuers: &[&str], more: &str) -> Site {
    let site = Site::new(issuers);
    put_behind(&site, issuers, more);
    site
}

fn put_behind(site: &Site, issuers: &[&str], more: &str) {
    site.write_config(issuers, more);
    let text = fs::read_to_string(site.path("signer.toml")).unwrap();
    let mut text = text.replace(MODULE, module().to_str().unwrap());
    for issuer in issuers {
        let faults = format!("pin_file = \"pins/{issuer}\"\nenvironment = {{ ");
        assert!(text.contains(&faults));
        text = text.replace(&faults, &format!("{faults}FAULTS = {:?}, ", site.path(&format!("faults-{issuer}"))));
    }
    fs::write(site.path("signer.toml"), text).unwrap();
}

fn set(site: &Site, issuer: &str, faults: &str) {
    // Whole or not at all: the module reads at any moment.
    fs::write(site.path("faults-new"), faults).unwrap();
    fs::rename(site.path("faults-new"), site.path(&format!("faults-{issuer}"))).unwrap();
}

fn token(edge: &Edge, issuer: usize) -> TokenStatus {
    edge.status().unwrap().issuers[issuer].tokens[0].clone()
}

/// A site whose key wants its PIN for each signature, made by the ceremony with the module in between.
fn each_time_site() -> Site {
    let site = Site::without_issuers();
    site.write_secret("pins/a1", PIN);
    fs::write(site.path("faults-a1"), "keys want-their-pin\n").unwrap();
    let module = module().display();
    let signer = |arguments: &str| {
        let mut command = site.command(arguments);
        let output = command.env("FAULTS", site.path("faults-a1")).output().unwrap();
        assert!(output.status.success(), "signer {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let key = format!("--module {module} --token a1 --pin-file pins/a1 --label issuing");
    signer(&format!("init --module {MODULE} --label a1 --pin-file pins/a1 --so-pin-file pins/so"));
    signer(&format!("keygen {key} --out a1.pub"));
    signer(&format!("csr {key} --subject CN=Issuing-a1 --out a1.csr"));
    signer("root sign --key root.key --certificate root.pem --csr a1.csr --days 1825 --out a1.pem");
    signer(&format!("import-chain {key} --chain a1.pem --root root.pem --out issuers/a1.pem"));
    put_behind(&site, &["a1"], "");
    site
}

#[test]
fn a_key_that_wants_its_pin_for_each_signature_signs_three_times_in_a_row_and_says_that_it_is_slow() {
    let site = each_time_site();
    let tested = site.signer_ok("sign-test --config signer.toml --json");
    assert!(tested.contains("\"signatures\": 3"), "{tested}");
    let daemon = site.serve();
    let edge = Edge::new(&site);
    for number in 0..3 {
        edge.issued(&simple(number));
    }
    let TokenStatus { state, reason, failures, signatures, .. } = token(&edge, 0);
    assert_eq!((state, failures, signatures), (TokenState::Ready, 0, 3));
    assert!(reason.contains("PIN for each signature") && reason.contains("9a, 9d and 82 to 95"), "{reason}");
    assert!(daemon.log().contains("WARN") && daemon.log().contains("the key wants its PIN for each signature"));
    assert!(!daemon.log().contains(PIN));
    assert_eq!(daemon.log().matches("logging in").count(), 1, "the daemon's login is one");
}

#[test]
fn a_key_that_wants_its_pin_for_each_signature_is_not_signed_with_without() {
    // Through SoftHSM itself, which does not take CKM_ECDSA in parts: the login is really asked for.
    let site = each_time_site();
    site.write_config(&["a1"], "");
    assert!(site.signer_fails("sign-test --config signer.toml").contains("a1-0 did not sign"));
}

#[test]
fn a_pin_that_is_rejected_between_a_signatures_beginning_and_its_end_is_not_tried_again() {
    let site = each_time_site();
    let mut daemon = site.serve();
    let edge = Edge::new(&site);
    edge.issued(&simple(1));
    set(&site, "a1", "context-login fails a0\n");
    let asked = simple(2);
    let _ = edge.issue(&asked);
    // Every token has rejected its PIN: an operator must act.
    assert_eq!(daemon.child.wait().unwrap().code(), Some(78), "{}", daemon.log());
    assert!(site.path("state/pin-rejected-a1-0").exists());
    set(&site, "a1", "");
    let mut daemon = site.spawn();
    assert_eq!(daemon.child.wait().unwrap().code(), Some(78));
    assert_eq!(daemon.log().matches("logging in").count(), 0);
    site.signer_ok("pin-ok --config signer.toml --token a1-0");
    let _daemon = site.serve();
    edge.issued(&asked);
}

#[test]
fn what_a_token_does_not_take_fails_the_job_and_not_the_worker() {
    let site = faulty_site(&["a1"], "");
    let daemon = site.serve();
    let edge = Edge::new(&site);
    edge.issued(&simple(1));
    let worker = daemon.workers();
    for (number, code) in ["7", "20", "21", "70"].into_iter().enumerate() {
        set(&site, "a1", &format!("sign fails {code}\n"));
        assert_eq!(edge.refusal(&simple(10 + number)), Refusal::Unavailable);
    }
    assert_eq!(daemon.workers(), worker);
    assert_eq!(daemon.log().matches("logging in").count(), 1, "{}", daemon.log());
    assert!(daemon.log().contains("the token does not take this: DataLenRange in Sign"), "{}", daemon.log());
    let TokenStatus { state, failures, refusals, .. } = token(&edge, 0);
    assert_eq!((state, failures, refusals), (TokenState::Ready, 0, 4));
    set(&site, "a1", "");
    edge.issued(&simple(30));
    assert_eq!(daemon.log().matches("logging in").count(), 1);
}

#[test]
fn every_other_error_ends_the_worker_and_another_does_the_job() {
    let site = faulty_site(&["a1"], "");
    let daemon = site.serve();
    let edge = Edge::new(&site);
    edge.issued(&simple(1));
    // General error, device error, device removed, key handle, session closed, session handle, token not present, not logged in.
    for (number, code) in ["5", "30", "32", "60", "b0", "b3", "e0", "101"].into_iter().enumerate() {
        let (worker, asked) = (daemon.workers(), simple(10 + number));
        set(&site, "a1", &format!("sign fails {code}\n"));
        let pending = thread::scope(|scope| {
            let pending = scope.spawn(|| edge.issue(&asked));
            eventually("the worker has ended", || daemon.workers() != worker);
            set(&site, "a1", "");
            pending.join().unwrap()
        });
        assert!(
            !matches!(pending, Ok(IssueReply::Refused(ref refused)) if !refused.reason.is_temporary()),
            "{pending:?}"
        );
        edge.issued(&asked);
    }
    let TokenStatus { state, reason, failures, hangs, .. } = token(&edge, 0);
    assert_eq!((state, reason.as_str(), hangs), (TokenState::Ready, "", 0));
    assert!(failures >= 8, "{failures}");
    // One login in each worker: no more.
    let logins = daemon.log().matches("logging in").count() as u64;
    assert!(logins <= 1 + failures, "{logins} logins for {failures} failures");
    assert_eq!((site.events("intent").len(), site.events("signed").len()), (9, 9));
}

#[test]
fn a_reader_that_hangs_holds_up_no_other_start_and_is_shown_as_hung() {
    let site = faulty_site(&["a1", "a2"], "deadline_ms = 2000");
    set(&site, "a1", "initialize hangs\n");
    let _daemon = site.spawn();
    eventually("an answer", || std::net::TcpStream::connect(&site.address).is_ok());
    let edge = Edge::new(&site);
    eventually("the other token", || token(&edge, 1).state == TokenState::Ready);
    // The other one has not waited for the end of a start that hangs and is killed after three deadlines of two seconds.
    edge.issued(&simple(1));
    eventually("two tries", || token(&edge, 0).hangs >= 2);
    let TokenStatus { state, reason, since, failures, .. } = token(&edge, 0);
    assert!(matches!(state, TokenState::Failed | TokenState::Starting) && failures >= 2);
    assert!(state == TokenState::Starting || reason.contains("did not start within 6000 ms"), "{reason}");
    let hung_since = since.unwrap();
    edge.issued(&simple(2));
    set(&site, "a1", "");
    eventually("it is used when it does not hang any more", || token(&edge, 0).state == TokenState::Ready);
    assert!(token(&edge, 0).since.unwrap() > hung_since);
    assert!(token(&edge, 0).token.starts_with("a1 (serial "), "{:?}", token(&edge, 0));
}
