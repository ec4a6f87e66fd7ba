//! What is on the disk: everything that was answered, and nothing that was only read.
#![cfg(feature = "stack")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tests::{
    account::Account,
    client::Client,
    responder::Responder,
    stack::{Options, Stack},
};

const QUIET: Duration = Duration::from_secs(3);

fn stack(name: &str, responder: &Responder) -> Result<Stack> {
    Stack::up(Options::fresh(env!("CARGO_TARGET_TMPDIR"), name)?.http_port(responder.port))
}

#[test]
fn a_second_up_on_the_same_state_finds_accounts_and_certificates() -> Result<()> {
    let responder = Responder::start()?;
    let stack = stack("restart", &responder)?;
    let account = Account::new(&Client::of(&stack.report)?)?;
    let (order, chain) = account.issue(&["kept.test"], &responder)?;
    let ready = account.ready_order(&["ready.test"], &responder)?;
    let before = stack.report.clone();
    let old_nonce = account.read(&account.url)?.nonce()?;

    let stack = stack.restart()?;
    assert_eq!((&stack.report.directory, &stack.report.root), (&before.directory, &before.root));
    // A restart revives no nonce.
    let reply = account.client.post(&account.url, &account.sign(&account.url, &old_nonce, b"")?)?.expect(400)?;
    assert_eq!(reply.problem()?, "badNonce");
    assert_eq!(account.read_patiently(&account.url)?.expect(200)?.json()?["status"], "valid");
    assert_eq!(account.certificate(&order)?, chain);
    let again = account.client.url("newAccount");
    let header = json!({"url": again, "nonce": account.client.nonce()?, "jwk": account.key.jwk()});
    let reply = account.client.post(again, account.key.sign(&header, b"{}")?.to_string().as_bytes())?.expect(200)?;
    assert_eq!(reply.location()?, account.url);
    account
        .patiently(&ready.finalize()?, Account::finalize_payload(&["ready.test"])?.to_string().as_bytes())?
        .expect(200)?;
    tests::openssl::verify(&before.root, &account.certificate(&ready)?, "ready.test")
}

#[test]
fn reading_commits_nothing() -> Result<()> {
    let responder = Responder::start()?;
    let stack = stack("reading", &responder)?;
    let account = Account::new(&Client::of(&stack.report)?)?;
    let (order, _) = account.issue(&["read.test"], &responder)?;
    let open = account.order(&["open.test"])?;
    let object = account.read(&order.url)?.json()?;
    let urls = [
        account.url.clone(),
        order.url.clone(),
        object["certificate"].as_str().context("a certificate")?.to_owned(),
        open.url.clone(),
        open.authorizations()?[0].clone(),
    ];
    // Others are not called by these requests (see the hops), and the platform tidies the files of those that are idle.
    let storage = stack.report.state.join("edge/storage/colophon-Account");
    let before = settled(&storage);
    assert!(!before.is_empty(), "no files in {}", storage.display());
    for _ in 0..3 {
        for url in &urls {
            account.read(url)?.expect(200)?;
        }
    }
    let after = settled(&storage);
    let changed: Vec<_> =
        after.iter().filter(|(path, content)| before.get(*path) != Some(content)).map(|(path, _)| path).collect();
    assert!(changed.is_empty(), "reading wrote {changed:?}");
    account.post(&account.url, &json!({"contact": ["mailto:written@read.test"]}))?.expect(200)?;
    assert_ne!(settled(&storage), before, "this test would notice");
    Ok(())
}

/// Runs statements on every database of a class of objects, and gives the first value of the first row of each.
fn sql(state: &Path, class: &str, statements: &str) -> Result<Vec<String>> {
    const PROGRAM: &str = "
import sqlite3, sys
for file in sys.argv[2:]:
    database = sqlite3.connect(file)
    for statement in sys.argv[1].split(';'):
        row = database.execute(statement).fetchone()
    database.commit()
    print(row and row[0])
    database.close()
";
    let files = fs::read_dir(state.join("edge/storage").join(format!("colophon-{class}")))?;
    let files = files.filter_map(|entry| Some(entry.ok()?.path()));
    let files = files.filter(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // The platform's own beside them hold alarms.
        name.ends_with(".sqlite") && !name.starts_with("metadata")
    });
    let output = Command::new("python3").args(["-c", PROGRAM, statements]).args(files).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

#[test]
fn a_database_of_the_first_schema_is_read_and_grows() -> Result<()> {
    let responder = Responder::start()?;
    let stack = stack("schema", &responder)?;
    let account = Account::new(&Client::of(&stack.report)?)?;
    let (order, chain) = account.issue(&["kept.test"], &responder)?;
    let state = stack.report.state.clone();
    let stack = stack.restart_after(|| {
        // The first schema had no index of serial numbers, and said so.
        let back = "DROP INDEX record_serial; UPDATE about SET version = 1; SELECT version FROM about";
        assert_eq!(sql(&state, "Account", back)?, ["1"]);
        Ok(())
    })?;
    // Reading does without what is missing, and changes nothing.
    assert_eq!(account.certificate(&order)?, chain);
    let revocation = json!({"certificate": shared::base64url::encode(&tests::openssl::der(&chain)?)});
    account.patiently(account.client.url("revokeCert"), revocation.to_string().as_bytes())?.expect(200)?;
    account.order(&["new.test"])?;
    drop(stack);
    let index = "SELECT COUNT(*) FROM sqlite_master WHERE name = 'record_serial'";
    assert_eq!(sql(&state, "Account", index)?, ["1"]);
    assert_eq!(sql(&state, "Account", "SELECT version FROM about")?, ["2"]);
    Ok(())
}

/// The content of all files of the objects' storage, once it stays the same for longer than the alarms of what was done take (2 s in
/// `up`).
fn settled(storage: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut last = content(storage);
    loop {
        thread::sleep(QUIET);
        let next = content(storage);
        if next == last {
            return next;
        }
        last = next;
    }
}

fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        // Shared memory of SQLite: locks and an index of the log, nothing that lasts.
        if path.is_dir() {
            found.extend(content(&path));
        } else if !path.to_string_lossy().ends_with("-shm") {
            found.insert(path.clone(), fs::read(&path).unwrap_or_default());
        }
    }
    found
}
