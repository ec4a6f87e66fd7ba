//! How much of what a token can sign arrives as certificates: raw signatures, signatures of a worker's loop and certificates of the
//! daemon are measured by turns in one run, so that only ratios count.

use std::{
    fs,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    mechanism::Mechanism,
    object::{Attribute, ObjectClass},
    session::UserType,
    types::AuthPin,
};
use nix::sys::signal::Signal;
use shared::{
    signing::{IssueReply, IssueRequest},
    testing::TestKey,
};

use crate::{
    client::{Edge, csr, request},
    site::{Daemon, MODULE, PIN, Site, eventually, signal, stopwatch},
};

const CLIENTS: usize = 8;
const ROUNDS: usize = 3;
/// Jobs that are out for a token at most: more than enough.
const AHEAD: u64 = 40;
/// Certificates of each client in a round.
const EACH: usize = 40;
/// The variable that makes a child of this program sign for so many milliseconds.
const CHILD: &str = "COLOPHON_RAW_MILLISECONDS";

/// Signatures a second of one session, as fast as the module gives them, neither hashed nor verified.
fn raw_rate(site: &Site) -> f64 {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "throughput::raw_signatures_are_counted_in_a_process_of_their_own", "--nocapture"]);
    let output = child.env(CHILD, "1000").env("SOFTHSM2_CONF", site.path("softhsm2.conf")).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    said.split("raw ").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn raw_signatures_are_counted_in_a_process_of_their_own() {
    // SoftHSM is configured by its process' environment, so the test below starts this one again.
    let Ok(milliseconds) = std::env::var(CHILD) else { return };
    let module = Pkcs11::new(MODULE).unwrap();
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let slots = module.get_slots_with_initialized_token().unwrap();
    let session = module.open_ro_session(slots[0]).unwrap();
    session.login(UserType::User, Some(&AuthPin::from(PIN))).unwrap();
    let key = session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)]).unwrap()[0];
    let (started, mut signatures, mut digest) = (stopwatch(), 0_u32, [0; 32]);
    while started.elapsed() < Duration::from_millis(milliseconds.parse().unwrap()) {
        signatures += 1;
        digest[..4].copy_from_slice(&signatures.to_be_bytes());
        session.sign(&Mechanism::Ecdsa, key, &digest).unwrap();
    }
    println!("raw {:.1} a second", f64::from(signatures) / started.elapsed().as_secs_f64());
}

/// Signatures a second of a worker's own loop, hashed and verified.
fn worker_rate(site: &Site) -> f64 {
    let said = site.signer_ok("bench --seconds 1 --config signer.toml --json");
    let measured: serde_json::Value = serde_json::from_str(&said).unwrap();
    measured[0]["rate"].as_f64().unwrap()
}

/// Certificates a second over kept connections, from the first request to the last answer.
fn certificate_rate(edges: &[Edge], requests: &[Vec<IssueRequest>]) -> f64 {
    let (started, issued) = (stopwatch(), AtomicUsize::new(0));
    thread::scope(|scope| {
        for (edge, requests) in edges.iter().zip(requests) {
            let issued = &issued;
            scope.spawn(move || {
                for asked in requests {
                    assert!(matches!(edge.issue(asked), Ok(IssueReply::Issued(_))));
                    issued.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    issued.into_inner() as f64 / started.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// Seconds of processor time of a process.
fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

#[test]
fn certificates_of_the_daemon_over_signatures_of_the_module() {
    let site = Site::new(&["a1"]);
    let daemon = site.serve();
    let account = TestKey::new(1);
    let edges: Vec<_> = (0..CLIENTS).map(|_| Edge::new(&site)).collect();
    edges.iter().for_each(|edge| drop(edge.status().unwrap()));
    let (mut raw, mut worker, mut certificates, mut used) = (Vec::new(), Vec::new(), Vec::new(), [0.0; 2]);
    for round in 0..ROUNDS {
        let of_client = |client: usize| {
            let name = format!("client-{client}.test");
            let csr = csr(&[&name]);
            let number = |position| (round * EACH + position) * CLIENTS + client;
            (0..EACH).map(|position| request(number(position), &account, &csr, &[&name])).collect()
        };
        let requests: Vec<_> = (0..CLIENTS).map(of_client).collect();
        raw.push(raw_rate(&site));
        worker.push(worker_rate(&site));
        let processes = [daemon.child.id(), daemon.workers()[0]];
        let before = processes.map(cpu);
        certificates.push(certificate_rate(&edges, &requests));
        for (used, (pid, before)) in used.iter_mut().zip(processes.into_iter().zip(before)) {
            *used += cpu(pid) - before;
        }
    }
    let (raw, worker, certificates) = (median(raw), median(worker), median(certificates));
    let number = (ROUNDS * CLIENTS * EACH) as f64;
    let (of_raw, of_worker) = (certificates / raw, certificates / worker);
    println!(
        "raw C_Sign {raw:.0} a second, a worker's verified signatures {worker:.0}, certificates {certificates:.0}"
    );
    println!("certificates over raw {of_raw:.3}, over a worker's {of_worker:.3}");
    let [daemon_ms, worker_ms] = used.map(|seconds| seconds * 1000.0 / number);
    println!("processor time for each certificate: daemon {daemon_ms:.2} ms, worker {worker_ms:.2} ms");
    assert!(of_raw >= FLOOR_OF_RAW && of_worker >= FLOOR_OF_WORKER, "{of_raw:.3} {of_worker:.3}");
}

/// Certificates that wait when the token begins.
const BACKLOG: usize = 600;

/// Certificates a second of a backlog, from the moment when the token begins with it to the last answer: all are admitted before that,
/// as they are when a token is what everybody waits for.
fn backlog_rate(site: &Site, daemon: &Daemon, edges: &[Edge], requests: &[IssueRequest]) -> (f64, [f64; 2]) {
    let worker = daemon.workers()[0];
    let processes = [daemon.child.id(), worker];
    signal(worker, Signal::SIGSTOP);
    let observer = Edge::new(site);
    thread::scope(|scope| {
        let threads: Vec<_> =
            edges.iter().zip(requests).map(|(edge, asked)| scope.spawn(move || drop(edge.issued(asked)))).collect();
        let all = requests.len() as u64;
        eventually("the backlog", || observer.status().unwrap().queued + AHEAD >= all);
        let (before, started) = (processes.map(cpu), stopwatch());
        signal(worker, Signal::SIGCONT);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let took = started.elapsed().as_secs_f64();
        let after = processes.map(cpu);
        (all as f64 / took, [after[0] - before[0], after[1] - before[1]])
    })
}

#[test]
fn certificates_of_a_backlog_over_signatures_of_the_module() {
    let site = Site::new(&["a1"]);
    site.write_config(&["a1"], "deadline_ms = 60000");
    let text = fs::read_to_string(site.path("signer.toml")).unwrap();
    let many = "connections = 2000\nconnections_per_identity = 1500";
    fs::write(site.path("signer.toml"), text.replace("connections = 256", many)).unwrap();
    let daemon = site.serve();
    let edges: Vec<_> = (0..BACKLOG).map(|_| Edge::new(&site)).collect();
    thread::scope(|scope| edges.iter().for_each(|edge| drop(scope.spawn(|| edge.status().unwrap()))));
    let (account, csr) = (TestKey::new(1), csr(&["client.test"]));
    let mut best = 0.0_f64;
    for round in 0..ROUNDS {
        let requests: Vec<_> =
            (0..BACKLOG).map(|number| request(round * BACKLOG + number, &account, &csr, &["client.test"])).collect();
        let raw = raw_rate(&site);
        let (rate, used) = backlog_rate(&site, &daemon, &edges, &requests);
        let [daemon_ms, worker_ms] = used.map(|seconds| seconds * 1000.0 / BACKLOG as f64);
        println!(
            "raw C_Sign {raw:.0} a second; of a backlog {rate:.0} certificates a second, {:.3} of that; \
             processor time for each: daemon {daemon_ms:.2} ms, worker {worker_ms:.2} ms",
            rate / raw
        );
        best = best.max(rate / raw);
    }
    assert!(best >= FLOOR_OF_RAW, "{best:.3}");
}

/// See docs/benchmarks.md: SoftHSM signs faster than this daemon can verify; a USB token does not. Programs that are not optimised say
/// nothing, but that it works.
const FLOOR_OF_RAW: f64 = if cfg!(debug_assertions) { 0.001 } else { 0.02 };
const FLOOR_OF_WORKER: f64 = if cfg!(debug_assertions) { 0.005 } else { 0.05 };
