//! CRLs, which the daemon signs by itself, over real mutual TLS.

use std::{fs, process::Command};

use shared::{
    crl::CrlContent,
    pointers::{CrlShard, IssuerId},
    revocation::RevocationReason,
    signing::{CrlReply, CrlRequest, Issued, Refusal, SignedCrl},
};

use crate::{
    client::{Edge, simple},
    ocsp::{ask, issuer, response, write_pem},
    revoke::{revoked, simple_revocation},
    site::{STATUS_HOST, Site, eventually},
};

const SHARDS: u8 = 2;

/// A site that signs a CRL a second after a revocation.
fn site() -> Site {
    let site = Site::new(&["a1"]);
    site.tell_status(&format!("crl_shards = {SHARDS}\ncomplete_crl = true\ncrl_delay_seconds = 1"));
    site
}

fn asked(issued: &Issued, of: u8) -> CrlRequest {
    CrlRequest { issuer: IssuerId::of(&issuer(issued)), shard: CrlShard::holding(issued.serial, of) }
}

/// The newest CRL, as soon as there is one for which this holds.
fn current(edge: &Edge, asked: &CrlRequest, holds: impl Fn(&SignedCrl) -> bool) -> SignedCrl {
    let mut found = None;
    eventually("a CRL", || {
        let reply = edge.crl(asked).unwrap();
        found = match reply {
            CrlReply::Current(crl) => Some(crl).filter(&holds),
            CrlReply::Refused(refused) if refused.reason == Refusal::Unavailable => None,
            CrlReply::Refused(refused) => panic!("{refused:?}"),
        };
        found.is_some()
    });
    found.unwrap()
}

fn content(crl: &SignedCrl, issued: &Issued) -> CrlContent {
    CrlContent::verify(&crl.crl.0, &issuer(issued)).unwrap()
}

fn has(crl: &SignedCrl, issued: &Issued) -> bool {
    content(crl, issued).entries.iter().any(|entry| entry.serial == issued.serial)
}

/// What OpenSSL says of a certificate by this CRL.
fn openssl(site: &Site, crl: &SignedCrl, issued: &Issued) -> String {
    write_pem(site, "leaf.pem", &issued.chain[0].0);
    write_pem(site, "above.pem", &issued.chain[1].0);
    fs::write(site.path("crl.der"), &crl.crl.0).unwrap();
    let mut command = Command::new("openssl");
    command.args(["crl", "-inform", "DER", "-in"]).arg(site.path("crl.der"));
    command.arg("-CAfile").arg(site.path("above.pem")).args(["-verify", "-out"]).arg(site.path("crl.pem"));
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("verify OK"), "{said}");
    let mut command = Command::new("openssl");
    command.args(["verify", "-crl_check", "-extended_crl", "-CAfile"]).arg(site.path("root.pem"));
    command.arg("-untrusted").arg(site.path("above.pem")).arg("-CRLfile").arg(site.path("crl.pem"));
    let output = command.arg(site.path("leaf.pem")).output().unwrap();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_revoked_certificate_is_on_the_next_crl_and_openssl_refuses_it() {
    let site = site();
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    let [issued, other] = [1, 2].map(|number| edge.issued(&simple(number)));
    let shard = asked(&issued, SHARDS);
    let first = current(&edge, &shard, |crl| !crl.pending);
    assert!(content(&first, &issued).entries.is_empty());
    let url = format!("{STATUS_HOST}/crl/{}/{}.crl", shard.issuer, shard.shard);
    assert_eq!(content(&first, &issued).distribution_point, Some(url));
    assert!(openssl(&site, &first, &issued).contains("leaf.pem: OK"));

    let revocation = revoked(&edge, &simple_revocation(&issued));
    for asked in [shard.clone(), asked(&issued, 1)] {
        let next = current(&edge, &asked, |crl| has(crl, &issued));
        let content = content(&next, &issued);
        let entry = content.entries.iter().find(|entry| entry.serial == issued.serial).unwrap();
        assert_eq!((entry.at, entry.reason), (revocation.at, RevocationReason::KeyCompromise));
        assert!(next.number > first.number && !next.pending && content.number == next.number);
        let verdict = openssl(&site, &next, &issued);
        assert!(verdict.contains("certificate revoked"), "{verdict}");
        assert!(!has(&next, &other));
    }
    // A part without a revocation is not signed again.
    let untouched = CrlShard::all(SHARDS).find(|part| *part != shard.shard).unwrap();
    let of = |part: CrlShard| {
        site.events("crl").iter().filter(|event| event["shard"] == serde_json::to_value(part).unwrap()).count()
    };
    assert_eq!((of(shard.shard), of(untouched), of(CrlShard::COMPLETE)), (2, 1, 2));
    let shards = &edge.status().unwrap().issuers[0].crl_shards;
    assert_eq!(shards.len(), 3, "{shards:?}");
    let unknown = CrlRequest { shard: CrlShard::new(1, 3).unwrap(), ..shard };
    let CrlReply::Refused(refused) = edge.crl(&unknown).unwrap() else { panic!("a CRL of nothing") };
    assert_eq!(refused.reason, Refusal::UnknownCertificate);
}

#[test]
fn a_revocation_before_a_crash_is_on_the_first_crl_after_it_and_numbers_only_rise() {
    let site = Site::new(&["a1"]);
    site.tell_status("crl_shards = 1\ncrl_delay_seconds = 600");
    let mut daemon = site.serve();
    let edge = Edge::new(&site);
    let issued = edge.issued(&simple(1));
    let shard = asked(&issued, 1);
    let first = current(&edge, &shard, |_| true);
    revoked(&edge, &simple_revocation(&issued));
    assert!(current(&edge, &shard, |crl| crl.pending).number == first.number);
    daemon.kill();
    let text = fs::read_to_string(site.path("signer.toml")).unwrap();
    fs::write(site.path("signer.toml"), text.replace("crl_delay_seconds = 600", "crl_delay_seconds = 1")).unwrap();
    let mut daemon = site.serve();
    let second = current(&edge, &shard, |crl| has(crl, &issued));
    assert!(second.number > first.number);
    // As it was, byte for byte, without another signature.
    assert!(daemon.terminate().success());
    let mut daemon = site.serve();
    assert_eq!(current(&edge, &shard, |_| true), second);
    assert!(daemon.terminate().success());
    // A file that is broken or lost is signed anew, with a higher number.
    let file = site.path(&format!("state/crl/{}/1-of-1.crl", shard.issuer));
    assert_eq!(fs::read(&file).unwrap(), second.crl.0);
    fs::write(&file, b"broken").unwrap();
    let mut daemon = site.serve();
    let third = current(&edge, &shard, |crl| has(crl, &issued));
    assert!(third.number > second.number);
    assert!(daemon.terminate().success());
    fs::remove_dir_all(site.path("state/crl")).unwrap();
    let _daemon = site.serve();
    let fourth = current(&edge, &shard, |crl| has(crl, &issued));
    assert!(fourth.number > third.number);
    let numbers: Vec<_> = site.events("crl").iter().map(|event| event["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [first.number, second.number, third.number, fourth.number]);
    assert!(site.signer_ok("journal verify --config signer.toml").contains("1 revoked"));
}

#[test]
fn a_drained_issuer_signs_no_certificate_and_still_tells_what_became_of_them() {
    let site = site();
    let mut daemon = site.serve();
    let edge = Edge::new(&site);
    let issued = edge.issued(&simple(1));
    assert!(daemon.terminate().success());
    let text = fs::read_to_string(site.path("signer.toml")).unwrap();
    fs::write(site.path("signer.toml"), text.replace("name = \"a1\"", "name = \"a1\"\ndrained = true")).unwrap();
    let _daemon = site.serve();
    assert_eq!(edge.refusal(&simple(2)), Refusal::Unavailable);
    assert!(edge.status().unwrap().issuers[0].drained);
    assert!(!response(&edge, &ask(&issued)).revoked);
    revoked(&edge, &simple_revocation(&issued));
    assert!(response(&edge, &ask(&issued)).revoked);
    current(&edge, &asked(&issued, SHARDS), |crl| has(crl, &issued));
}

#[test]
fn certificates_keep_the_crl_that_they_point_to_when_the_number_of_parts_changes() {
    let site = site();
    let mut daemon = site.serve();
    let edge = Edge::new(&site);
    let issued = edge.issued(&simple(1));
    assert!(daemon.terminate().success());
    let text = fs::read_to_string(site.path("signer.toml")).unwrap();
    fs::write(site.path("signer.toml"), text.replace("crl_shards = 2", "crl_shards = 3")).unwrap();
    let _daemon = site.serve();
    revoked(&edge, &simple_revocation(&issued));
    for of in [2, 3] {
        let crl = current(&edge, &asked(&issued, of), |crl| has(crl, &issued));
        assert!(openssl(&site, &crl, &issued).contains("revoked") || of == 3);
    }
}
