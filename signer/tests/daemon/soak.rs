//! Load for a while, without growth of memory or of open files: 20 seconds, or COLOPHON_SOAK_SECONDS.
//!
//! What grows by design is the index of all certificates, which is in memory: a bound for each is part of what is asserted.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use shared::{signing::IssueReply, testing::TestKey};

use crate::{
    client::{Edge, csr, request},
    site::{Daemon, Site, stopwatch},
};

/// Connections that ask at the same time.
const CLIENTS: usize = 4;
/// Bytes that the index may have for each certificate: two hash maps, at the moment when they have just doubled.
const BYTES_OF_A_CERTIFICATE: usize = 640;
/// Bytes that an allocator may keep or give back between two looks.
const NOISE: usize = 6 << 20;

/// What a daemon and its workers hold.
#[derive(Clone, Debug)]
struct Held {
    certificates: usize,
    /// Resident bytes: of the daemon, then of its workers.
    resident: Vec<usize>,
    /// Open files of all of them.
    files: usize,
}

fn held(daemon: &Daemon, certificates: usize) -> Held {
    let processes: Vec<_> = std::iter::once(daemon.child.id()).chain(daemon.workers()).collect();
    let resident = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    };
    let files = |pid: &u32| fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    Held { certificates, resident: processes.iter().map(resident).collect(), files: processes.iter().map(files).sum() }
}

/// Asks until told to stop: for certificates, for the same again, for what is refused, over old and new connections.
fn ask(site: &Site, client: usize, stop: &AtomicBool, issued: &AtomicUsize) {
    let (account, name) = (TestKey::new(1), format!("client-{client}.test"));
    let csr = csr(&[&name]);
    let mut edge = Edge::new(site);
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        if round % 50 == 49 {
            edge = Edge::new(site);
        }
        let mut asked = request(round * CLIENTS + client, &account, &csr, &[&name]);
        assert!(matches!(edge.issue(&asked), Ok(IssueReply::Issued(_))), "client {client}, round {round}");
        issued.fetch_add(1, Ordering::Relaxed);
        match round % 10 {
            0 => drop(edge.issued(&asked)),
            1 => drop(edge.status().unwrap()),
            2 => {
                asked.identifiers.clear();
                assert!(matches!(edge.issue(&asked), Ok(IssueReply::Issued(_) | IssueReply::Refused(_))));
            }
            _ => {}
        }
    }
}

#[test]
fn under_load_neither_memory_nor_open_files_grow() {
    let seconds = std::env::var("COLOPHON_SOAK_SECONDS").map_or(20, |seconds| seconds.parse::<u64>().unwrap());
    let site = Site::new(&["a1", "a2"]);
    let daemon = site.serve();
    let (stop, issued) = (AtomicBool::new(false), AtomicUsize::new(0));
    let quarter = Duration::from_secs(seconds) / 4;
    let mut looks = Vec::new();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (site, stop, issued) = (&site, &stop, &issued);
            scope.spawn(move || ask(site, client, stop, issued));
        }
        let started = stopwatch();
        for number in 1..=4 {
            thread::sleep((quarter * number).saturating_sub(started.elapsed()));
            looks.push(held(&daemon, issued.load(Ordering::Relaxed)));
            println!("after {:?}: {:?}", started.elapsed(), looks.last());
        }
        stop.store(true, Ordering::Relaxed);
    });
    let (first, last) = (&looks[0], &looks[3]);
    let certificates = last.certificates - first.certificates;
    assert!(certificates > 100, "{certificates}");
    assert_eq!(first.resident.len(), 3);
    let grown = |process: usize| last.resident[process].saturating_sub(first.resident[process]);
    assert!(grown(0) <= NOISE + certificates * BYTES_OF_A_CERTIFICATE, "the daemon grew by {} bytes", grown(0));
    assert!(grown(1) <= NOISE && grown(2) <= NOISE, "a worker grew: {} {}", grown(1), grown(2));
    // A client that connects anew has two connections for a moment.
    assert!(last.files <= first.files + 2 * CLIENTS, "{} open files, then {}", first.files, last.files);
    // Nobody asks any more: what was opened for those who did is closed.
    assert!(!daemon.log().contains("ERROR") && !daemon.log().contains("the token failed"));
    println!("{certificates} certificates in {:?}", quarter * 3);
}
