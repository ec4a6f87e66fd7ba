//! A file system that is really full: certificates wait, revocations do not, and all goes on when there is space again, without a restart.

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    process::Command,
};

use shared::signing::{IssueReply, JournalState, Refusal};

use crate::{
    client::{Edge, simple},
    operations::{get, observe},
    revoke::{revoked, simple_revocation},
    site::{Site, eventually},
};

/// A file system of its own for the state folder; unmounted when it is dropped.
struct Disk(PathBuf);

impl Disk {
    /// Of so few bytes that it is soon full. Needs root, or sudo without a password.
    fn new(site: &Site) -> Self {
        let path = site.path("state");
        fs::create_dir(&path).unwrap();
        let user = nix::unistd::geteuid();
        let options = format!("size=2m,mode=0700,uid={user},gid={}", nix::unistd::getegid());
        privileged(&["mount", "-t", "tmpfs", "-o", &options, "none", path.to_str().unwrap()]);
        Self(path)
    }

    /// Writes until nothing fits any more.
    fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).unwrap();
        for bytes in [4096, 1] {
            while file.write_all(&vec![0; bytes]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        privileged(&["umount", "-l", self.0.to_str().unwrap()]);
    }
}

fn privileged(arguments: &[&str]) {
    let mut command = if nix::unistd::geteuid().is_root() {
        Command::new(arguments[0])
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", arguments[0]]);
        sudo
    };
    let status = command.args(&arguments[1..]).status().unwrap();
    assert!(status.success(), "this test needs root, or sudo without a password: {arguments:?}");
}

#[test]
fn a_full_disk_stops_certificates_and_not_revocations_until_there_is_space_again() {
    let site = Site::new(&["a1"]);
    site.tell_status("crl_shards = 1");
    let url = observe(&site);
    let text = fs::read_to_string(site.path("signer.toml")).unwrap();
    let text = text.replacen("[limits]", "[journal]\nreserve_bytes = 262144\n[limits]", 1);
    fs::write(site.path("signer.toml"), text).unwrap();
    let disk = Disk::new(&site);
    let mut daemon = site.serve();
    let edge = Edge::new(&site);
    let (first, second) = (edge.issued(&simple(1)), edge.issued(&simple(2)));
    assert_eq!(edge.status().unwrap().journal, JournalState::Writable);
    disk.fill();

    // What is left in the last page takes a few records.
    let refused = (10..20).find(|number| match edge.issue(&simple(*number)).unwrap() {
        IssueReply::Issued(_) => false,
        IssueReply::Refused(refused) => refused.reason == Refusal::Unavailable,
        other => panic!("{other:?}"),
    });
    let refused = refused.expect("no certificate was refused");
    assert_eq!(edge.status().unwrap().journal, JournalState::Full, "{}", daemon.log());
    let (status, text) = get(&format!("{url}/readyz"));
    assert!(status == 503 && text.contains("the disk of the state folder is full"), "{status} {text}");
    assert!(get(&format!("{url}/metrics")).1.contains("colophon_signer_journal_writable 0.0"));
    assert_eq!(edge.refusal(&simple(21)), Refusal::Unavailable);

    // A revocation is recorded and published, before and after a restart on the full disk.
    assert_eq!(revoked(&edge, &simple_revocation(&first)).serial, first.serial);
    let crls = || site.events("crl").iter().filter(|crl| crl["entries"] != 0).count();
    eventually("a CRL with the revocation", || crls() > 0);
    daemon.kill();
    let daemon = site.serve();
    assert_eq!(edge.status().unwrap().journal, JournalState::Full, "{}", daemon.log());
    assert_eq!(revoked(&edge, &simple_revocation(&second)).serial, second.serial);
    assert_eq!(edge.refusal(&simple(refused)), Refusal::Unavailable);

    disk.free();
    eventually("it can be written again", || edge.status().unwrap().journal == JournalState::Writable);
    edge.issued(&simple(30));
    assert_eq!(get(&format!("{url}/readyz")).0, 200);
    assert!(get(&format!("{url}/metrics")).1.contains("colophon_signer_journal_writable 1.0"));
    assert_eq!(site.events("revoked").len(), 2);
    site.signer_ok("journal verify --config signer.toml");
}
