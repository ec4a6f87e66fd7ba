//! The journal of a daemon that has worked, changed by somebody.

use std::{fs, path::Path, thread, time::Duration};

use shared::{
    checkpoint::{BrokenJournal, Checkpoint, JOURNAL_PATH},
    signing::Refusal,
};

use crate::{
    client::{Edge, simple},
    site::{Site, eventually, issue_identity},
};

/// Adds to the end of the configuration.
fn append(site: &Site, text: &str) {
    let file = site.path("signer.toml");
    fs::write(&file, fs::read_to_string(&file).unwrap() + "\n" + text).unwrap();
}

/// Copies a folder of files and folders.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to)
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn a_changed_journal_is_found_by_verify_and_stops_the_daemon() {
    let site = Site::new(&["a1"]);
    let mut daemon = site.serve();
    let edge = Edge::new(&site);
    for number in 0..3 {
        edge.issued(&simple(number));
    }
    assert!(daemon.terminate().success());
    assert!(site.signer_ok("journal verify --config signer.toml").contains("6 records are good; 3 intents, 3 signed"));
    let path = site.path("state/journal/00000000.jsonl");
    let good = fs::read_to_string(&path).unwrap();
    assert_eq!(site.signer_ok("journal export --config signer.toml"), good);

    // One name in the intent of the second order.
    fs::write(&path, good.replace(r#""value":"host-1.test""#, r#""value":"host-9.test""#)).unwrap();
    assert!(site.signer_fails("journal verify --config signer.toml").contains("record 3 is bad"));
    let output = site.signer("serve --config signer.toml");
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("record 3 is bad"));

    // A chain that is whole, but ends too early.
    fs::write(&path, good.lines().take(5).map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let words = site.signer_fails("journal verify --config signer.toml");
    assert!(words.contains("the journal has 5 records, but it had 6"), "{words}");
    let output = site.signer("serve --config signer.toml");
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("docs/journal.md"));

    // Nothing but the checkpoint knows.
    fs::remove_file(site.path("state/checkpoint")).unwrap();
    site.signer_ok("journal verify --config signer.toml");
    fs::write(&path, good).unwrap();
    let _daemon = site.serve();
}

#[test]
fn segments_follow_each_other_under_load_and_over_kills() {
    let site = Site::new(&["a1"]);
    append(&site, "[journal]\nsegment_bytes = 4096\n");
    let mut served = Vec::new();
    for round in 0..6_usize {
        let mut daemon = site.serve();
        let asked: Vec<_> = (0..4).map(|number| simple(round * 4 + number)).collect();
        thread::scope(|scope| {
            for asked in &asked {
                let site = &site;
                scope.spawn(move || drop(Edge::new(site).issue(asked)));
            }
            // Four certificates are three segments or so: the blow falls between two of them, too.
            thread::sleep(Duration::from_millis(20 + 15 * round as u64));
            daemon.kill();
        });
        let _daemon = site.serve();
        let edge = Edge::new(&site);
        served.extend(asked.into_iter().map(|asked| (edge.issued(&asked), asked)));
    }
    let daemon = site.serve();
    let edge = Edge::new(&site);
    for (issued, asked) in &served {
        assert_eq!(edge.issued(asked), *issued, "read again from whichever segment");
    }
    assert!(site.segments().len() > 6, "{:?}", site.segments());
    assert_eq!((site.events("intent").len(), site.events("signed").len()), (24, 24));
    // The daemon runs.
    let verified = site.signer_ok("journal verify --config signer.toml");
    assert!(verified.contains("24 intents, 24 signed"), "{verified}");
    let exported = site.signer_ok("journal export --config signer.toml");
    let files: String = site.segments().iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    assert_eq!(exported, files);
    drop(daemon);

    let second = site.path("state/journal/00000001.jsonl");
    fs::rename(&second, site.path("kept")).unwrap();
    let output = site.signer("serve --config signer.toml");
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("00000001.jsonl is missing"));
    fs::copy(site.path("state/journal/00000002.jsonl"), &second).unwrap();
    let output = site.signer("serve --config signer.toml");
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("00000001.jsonl: the journal's record"));
}

#[test]
fn search_and_stats_read_a_journal_in_use() {
    let site = Site::new(&["a1"]);
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    let issued = edge.issued(&simple(1));
    edge.issued(&simple(2));
    let found = |query: &str| {
        let text = site.signer_ok(&format!("journal search --config signer.toml {query}"));
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let exported = site.signer_ok("journal export --config signer.toml");
    let lines: Vec<_> = exported.lines().map(str::to_owned).collect();
    assert_eq!(found(""), lines);
    assert_eq!(found("--name host-1.test"), lines[..2]);
    assert_eq!(found(&format!("--serial {} --kind signed", issued.serial)), lines[1..2]);
    assert!(found("--name host-3.test").is_empty());
    assert!(found("--until 2000-01-01T00:00:00Z").is_empty());
    assert!(site.signer_fails("journal search --config signer.toml --since yesterday").contains("--since"));
    let stats = site.signer_ok("journal stats --config signer.toml --json");
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    assert_eq!(stats["valid"]["a1"]["server"], 2);
    assert_eq!((&stats["records"], &stats["bytes"]), (&4.into(), &exported.len().into()));
    assert!(site.signer_ok("journal stats --config signer.toml").contains("valid now"));
}

#[test]
fn the_head_at_a_length_is_told_to_edges_and_peers_and_to_nobody_else() {
    let site = Site::new(&["a1"]);
    append(&site, "[[peer]]\nname = \"b\"\nurl = \"https://localhost:1\"\nidentity = \"b.internal\"\n");
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    let first = edge.journal(&Checkpoint::empty()).unwrap();
    assert_eq!(first, Checkpoint::empty());
    edge.issued(&simple(1));
    let second = edge.journal(&first).unwrap();
    assert_eq!(second.length, 2);
    let status = edge.status().unwrap();
    assert_eq!((status.journal_length, &status.journal_head), (2, &second.head));
    let longer = Checkpoint { length: 3, ..second.clone() };
    assert_eq!(edge.journal(&longer), Err(BrokenJournal::Truncated { had: 3, has: 2 }.into()));
    let forked = Checkpoint { length: 1, ..second.clone() };
    assert_eq!(edge.journal(&forked), Err(BrokenJournal::Forked { length: 1 }.into()));

    let peer = Edge::with(&site, Some(&issue_identity(&site.infrastructure, "b.internal")));
    assert_eq!(peer.journal(&first).unwrap(), second);
    assert_eq!(peer.refusal(&simple(2)), Refusal::UnknownEdge);
    assert!(peer.status().is_err());
    let stranger = Edge::with(&site, Some(&issue_identity(&site.infrastructure, "c.internal")));
    assert!(stranger.post_to(JOURNAL_PATH, b"{\"length\":0}").unwrap().1.contains("unknown-edge"));
    assert!(edge.post_to(JOURNAL_PATH, b"{}").unwrap().1.contains("malformed"));
}

#[test]
fn a_peer_that_was_restored_from_an_older_copy_is_noticed() {
    let (watched, watching) = (Site::new(&["a1"]), Site::new(&["b1"]));
    append(&watched, "[[peer]]\nname = \"b\"\nurl = \"https://localhost:1\"\nidentity = \"b.internal\"\n");
    let identity = issue_identity(&watched.infrastructure, "b.internal");
    fs::write(watching.path("tls/peer.pem"), identity.certificate).unwrap();
    watching.write_secret("tls/peer.key", identity.key.trim_end());
    fs::write(watching.path("tls/peers.pem"), watched.infrastructure.pem()).unwrap();
    let operations = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    append(
        &watching,
        &format!(
            "[operations]\naddress = \"{operations}\"\n[[peer]]\nname = \"a\"\nurl = \"https://{}\"\nidentity = \"a.internal\"\n\
             certificate = \"tls/peer.pem\"\nkey = \"tls/peer.key\"\nroots = \"tls/peers.pem\"\n",
            watched.address
        ),
    );
    let broken = |value: &str| {
        let line = format!("colophon_signer_peer_journal_broken{{peer=\"a\"}} {value}");
        let text =
            ureq::get(format!("http://{operations}/metrics")).call().unwrap().body_mut().read_to_string().unwrap();
        text.lines().any(|text| text == line)
    };

    let mut daemon = watched.serve();
    Edge::new(&watched).issued(&simple(1));
    assert!(daemon.terminate().success());
    copy(&watched.path("state"), &watched.path("older"));
    let mut daemon = watched.serve();
    Edge::new(&watched).issued(&simple(2));

    let mut watcher = watching.serve();
    eventually("the journal is seen", || broken("0.0"));
    let remembered: Checkpoint =
        serde_json::from_str(&fs::read_to_string(watching.path("state/peers/a.json")).unwrap()).unwrap();
    assert_eq!(remembered.length, 4);
    watcher.kill();
    daemon.kill();

    fs::rename(watched.path("state"), watched.path("newest")).unwrap();
    copy(&watched.path("older"), &watched.path("state"));
    let mut daemon = watched.serve();
    let mut watcher = watching.serve();
    eventually("an older copy is noticed", || broken("1.0"));
    assert!(watcher.log().contains("its journal has 2 records and had 4"), "{}", watcher.log());
    watcher.kill();
    // Grown again with other records, it is not the journal that it was.
    let edge = Edge::new(&watched);
    edge.issued(&simple(3));
    edge.issued(&simple(4));
    let mut watcher = watching.serve();
    eventually("a fork is noticed", || broken("1.0"));
    assert!(watcher.log().contains("its first 4 journal records are not those that were there"), "{}", watcher.log());
    let kept =
        format!("journal verify --config signer.toml --checkpoint {}", watching.path("state/peers/a.json").display());
    assert!(watched.signer_fails(&kept).contains("the journal's first 4 records are not those"));
    watcher.kill();
    daemon.kill();

    fs::remove_dir_all(watched.path("state")).unwrap();
    fs::rename(watched.path("newest"), watched.path("state")).unwrap();
    let _daemon = watched.serve();
    let _watcher = watching.serve();
    eventually("the newest copy is good", || broken("0.0"));
    watched.signer_ok(&kept);
}

#[test]
fn two_daemons_cannot_share_a_state() {
    let site = Site::new(&["a1"]);
    let _first = site.serve();
    assert!(site.signer_fails("serve --config signer.toml").contains("another signer"));
}
