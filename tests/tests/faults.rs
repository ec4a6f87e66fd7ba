//! What goes wrong while a certificate is being made: processes die, on either side, at random moments, and clients hang up.
#![cfg(feature = "stack")]
#![allow(clippy::disallowed_methods, reason = "tests live in real time")]

use std::{
    io::Write as _,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tests::{
    account::{Account, Order},
    client::{Client, JOSE},
    journal, keeper,
    random::Sequence,
    responder::Responder,
    stack::{Options, Stack},
};

const ROUNDS: usize = 10;
/// A token takes so long; the blow falls before, during, and after.
const LATENCY_MS: &str = "300";
const LATEST_MS: u64 = 500;

#[test]
fn a_kill_at_any_moment_loses_no_order_and_makes_no_second_certificate() -> Result<()> {
    let responder = Responder::start()?;
    let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), "faults")?.http_port(responder.port);
    let stack = Stack::up(options.with(["--restart", "--token-latency-ms", LATENCY_MS]))?;
    let client = Client::of(&stack.report)?;
    let account = Account::new(&client)?;
    let mut random = Sequence::seeded();
    let mut served = Vec::new();
    for round in 0..ROUNDS {
        let role = if round % 2 == 0 { "signer-1" } else { "edge" };
        let delay = Duration::from_millis(random.below(LATEST_MS));
        let name = format!("round-{round}.test");
        let order = account.ready_order(&[&name], &responder).with_context(|| format!("preparing round {round}"))?;
        let url = order.finalize()?;
        let body =
            account.sign(&url, &account.nonce()?, Account::finalize_payload(&[&name])?.to_string().as_bytes())?;
        let answer = thread::scope(|scope| {
            let finalize = scope.spawn(|| client.post(&url, &body));
            thread::sleep(delay);
            let killed = stack.kill(role)?;
            let answer = finalize.join().expect("a request does not panic");
            await_successor(&stack, role, killed)?;
            anyhow::Ok(answer)
        })?;
        let started = Instant::now();
        let answer = match answer {
            Ok(reply) => format!("{} {}", reply.status, reply.json().unwrap_or_default()["status"]),
            // Nobody was told anything, so nothing is promised: a good client asks again.
            Err(error) => format!("no answer ({error})"),
        };
        let again = finish(&account, &url, &body, &order)?;
        let leaf = account.leaf(&order)?;
        eprintln!(
            "round {round}: {role} killed after {delay:?}; finalize: {answer}{again}; valid after {:?}",
            started.elapsed()
        );
        assert_eq!(journal::of_order(&stack.report.state, &order.url)?, [leaf.as_slice()], "round {round}");
        served.push((order.url.clone(), leaf));
    }
    // Later rounds took nothing back, and made nothing twice.
    for (order, leaf) in &served {
        assert_eq!(journal::of_order(&stack.report.state, order)?, [leaf.as_slice()], "{order}");
    }
    assert_eq!(journal::signed(&stack.report.state)?.len(), ROUNDS);
    Ok(())
}

/// When the blow came before the request was taken, the order is still ready: the same CSR is then sent once more. Says so.
fn finish(account: &Account, url: &str, body: &[u8], order: &Order) -> Result<&'static str> {
    let status = account.read_patiently(&order.url)?.expect(200)?.json()?["status"].clone();
    let again = status == "ready";
    if again {
        let request: serde_json::Value = serde_json::from_slice(body)?;
        let payload = shared::base64url::decode(request["payload"].as_str().context("a payload")?)?;
        account.patiently(url, &payload)?;
    }
    account.wait(&order.url, "valid")?;
    Ok(if again { ", and sent again" } else { "" })
}

/// Waits until the process that takes the killed one's place is there.
fn await_successor(stack: &Stack, role: &str, killed: i32) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while stack.processes()?.get(role).is_none_or(|pid| *pid == killed) {
        ensure!(Instant::now() < deadline, "{role} was not started again");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[test]
fn a_client_that_hangs_up_after_finalize_finds_its_order_valid() -> Result<()> {
    let responder = Responder::start()?;
    let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), "hangs-up")?.http_port(responder.port);
    // Slow enough to hang up in the middle.
    let stack = Stack::up(options.with(["--token-latency-ms", "2000"]))?;
    let account = Account::new(&Client::of(&stack.report)?)?;
    let order = account.ready_order(&["gone.test"], &responder)?;
    let url = order.finalize()?;
    let body =
        account.sign(&url, &account.nonce()?, Account::finalize_payload(&["gone.test"])?.to_string().as_bytes())?;
    let mut connection = half_a_conversation(&url, &body)?;
    account.wait(&order.url, "processing")?;
    connection.kill()?;
    connection.wait()?;
    let leaf = account.leaf(&order)?;
    assert_eq!(journal::of_order(&stack.report.state, &order.url)?, [leaf]);
    Ok(())
}

/// Sends a request through `openssl s_client`, which waits for the answer until it is killed.
fn half_a_conversation(url: &str, body: &[u8]) -> Result<Child> {
    let (_, rest) = url.split_once("https://").context("an https URL")?;
    let (authority, path) = rest.split_once('/').context("a URL with a path")?;
    let mut client = keeper::command("openssl");
    client.args(["s_client", "-quiet", "-connect", authority]);
    client.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut client = keeper::spawn(client)?;
    let input = client.stdin.as_mut().context("its input is a pipe")?;
    write!(input, "POST /{path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: {JOSE}\r\n")?;
    write!(input, "Content-Length: {}\r\n\r\n", body.len())?;
    input.write_all(body)?;
    input.flush()?;
    Ok(client)
}
