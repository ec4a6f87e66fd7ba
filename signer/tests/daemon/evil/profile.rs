//! Profiles, times, and the age of proofs.

use serde_json::json;
use shared::{
    signing::{ISSUE_PATH, IssueRequest, Refusal},
    testing::TestKey,
    timestamp::Timestamp,
};

use super::{Attempt, Stage, name::asked, rewrite};
use crate::{
    client::{csr, finalize, request, simple},
    site::{MODULE, Site},
};

const DAY: u64 = 86_400;

/// A request that `change` has changed.
fn changed(change: impl FnOnce(&mut IssueRequest, Timestamp)) -> IssueRequest {
    let mut asked = simple(1);
    let now = asked.deadline.minus(600);
    change(&mut asked, now);
    asked
}

/// Times, profiles, methods and proofs that the policy does not take.
pub(super) fn beyond(_stage: &Stage) -> Vec<Attempt> {
    let bad = |name, change: &dyn Fn(&mut IssueRequest, Timestamp)| {
        Attempt::issue(name, Refusal::BadProfile, &changed(change))
    };
    let never = |name, change: &dyn Fn(&mut IssueRequest, Timestamp)| {
        Attempt::issue(name, Refusal::NotPermitted, &changed(change))
    };
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let raw = |name, member: &str, value: serde_json::Value| {
        let mut asked = serde_json::to_value(simple(1)).unwrap();
        asked[member] = value;
        Attempt::post(name, Refusal::Malformed, ISSUE_PATH, &asked)
    };
    let mut late = asked(&["host.plain.example"], "http-01");
    late.identifiers[0].validated = late.deadline.minus(600 + 700);
    let mut rsa = asked(&["host.plain.example"], "http-01");
    rsa.profile = "client".parse().unwrap();
    vec![
        bad("an end in a week", &|asked, now| asked.not_after = Some(now.plus(7 * DAY))),
        bad("an end a minute too late", &|asked, now| asked.not_after = Some(now.plus(DAY + 60))),
        bad("an end in the year 9999", &|asked, _| asked.not_after = Some(at("9999-12-31T23:59:59Z"))),
        bad("an end in the past", &|asked, now| asked.not_after = Some(now.minus(1))),
        bad("an end before the beginning", &|asked, now| {
            asked.not_before = Some(now.plus(60));
            asked.not_after = Some(now.plus(30));
        }),
        bad("a beginning in the past", &|asked, now| asked.not_before = Some(now.minus(3600))),
        bad("a beginning in 1970", &|asked, _| asked.not_before = Some(Timestamp::from_seconds(0))),
        bad("a beginning tomorrow, for a whole day", &|asked, now| asked.not_before = Some(now.plus(DAY))),
        bad("a beginning in the future, for a whole day from then on", &|asked, now| {
            asked.not_before = Some(now.plus(3600));
            asked.not_after = Some(now.plus(3600 + DAY - 1));
        }),
        bad("a profile that is not there", &|asked, _| asked.profile = "ca".parse().unwrap()),
        never("a profile that the scope does not have: other usages", &|asked, _| {
            asked.profile = "client".parse().unwrap()
        }),
        Attempt::issue("the same of a scope that has less", Refusal::NotPermitted, &rsa),
        Attempt::issue("a proof that is older than the scope takes", Refusal::NotPermitted, &late),
        never("a proof of last year", &|asked, now| asked.identifiers[0].validated = now.minus(365 * DAY)),
        never("a proof of tomorrow", &|asked, now| asked.identifiers[0].validated = now.plus(DAY)),
        raw("a profile's name that is none", "profile", json!("../server")),
        raw("a list of profiles", "profile", json!(["server"])),
        raw("a time that is a number", "not_after", json!(4_102_444_800_u64)),
        raw("a time that is none", "not_after", json!("tomorrow")),
        raw("a priority of its own", "priority", json!("first")),
        Attempt::issue(
            "a deadline that has passed",
            Refusal::Busy,
            &changed(|asked, now| asked.deadline = now.minus(1)),
        )
        .logged("it is only a matter of time"),
    ]
}

/// A key of a kind that the scope does not take.
pub(super) fn other_keys(_stage: &Stage) -> Vec<Attempt> {
    let mut asked = asked(&["host.plain.example"], "http-01");
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let mut parameters = rcgen::CertificateParams::new(["host.plain.example".to_owned()]).unwrap();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    let csr = parameters.serialize_request(&key).unwrap();
    asked.finalize = finalize(&TestKey::new(1), &asked.order, csr.der());
    vec![Attempt::issue("P-384", Refusal::NotPermitted, &asked)]
}

#[test]
fn no_certificate_outlives_its_issuer() {
    let site = Site::without_issuers();
    site.write_secret("pins/a1", crate::site::PIN);
    let key = format!("--module {MODULE} --token a1 --pin-file pins/a1 --label issuing");
    site.signer_ok(&format!("init --module {MODULE} --label a1 --pin-file pins/a1 --so-pin-file pins/so"));
    site.signer_ok(&format!("keygen {key} --out a1.pub"));
    site.signer_ok(&format!("csr {key} --subject CN=Issuing-a1 --out a1.csr"));
    site.signer_ok("root sign --key root.key --certificate root.pem --csr a1.csr --days 3 --out a1.pem");
    site.signer_ok(&format!("import-chain {key} --chain a1.pem --root root.pem --out issuers/a1.pem"));
    site.write_config(&["a1"], "");
    rewrite(&site, |text| {
        let week = "[[profile]]\nname = \"week\"\nvalidity_seconds = 604800\nbackdate_seconds = 60\n\
                    extended_key_usage = [\"serverAuth\"]\nrevocation = \"none\"\n[[scope]]";
        text.replacen("[[scope]]", week, 1).replace("profiles = [\"server\"]", "profiles = [\"server\", \"week\"]")
    });
    let stage = Stage::of(site);
    let asked = |end: Option<u64>| {
        changed(|asked, now| {
            asked.profile = "week".parse().unwrap();
            asked.not_after = end.map(|end| now.plus(end));
        })
    };
    let why = "no issuer can make it, and one may come";
    stage.try_each(&[
        Attempt::issue("a whole week", Refusal::Unavailable, &asked(None)).logged(why),
        Attempt::issue("a minute longer than the issuer", Refusal::Unavailable, &asked(Some(3 * DAY + 60))).logged(why),
    ]);
    stage.edge.issued(&IssueRequest {
        profile: "week".parse().unwrap(),
        not_after: Some(simple(1).deadline.plus(2 * DAY)),
        ..request(2, &TestKey::new(1), &csr(&["host-2.test"]), &["host-2.test"])
    });
}
