//! Lines of journals, pinned.

use super::*;

/// A journal that was written must be readable for ever.
#[test]
fn the_lines_of_a_journal_are_unchanged() {
    let signed = Event::Signed(Signed {
        order: "https://ca.test/acme/order/a/b".into(),
        intent: 0,
        serial: SerialNumber::from_random([1; 16]),
        chain: vec![Base64Url(vec![0x30, 0])],
    });
    let intent = Event::Intent(Box::new(Intent {
        order: "https://ca.test/acme/order/a/b".into(),
        account: Base64Url(vec![1]),
        csr: Base64Url(vec![2]),
        edge: "edge.test".into(),
        profile: "server".parse().unwrap(),
        scope: "open".into(),
        binding: None,
        names: vec![Identifier::Dns("a.test".parse().unwrap())],
        issuer: "a1".into(),
        issuer_sha256: Base64Url(vec![3]),
        serial: SerialNumber::from_random([1; 16]),
        not_before: Timestamp::from_seconds(1),
        not_after: Timestamp::from_seconds(2),
        extended_key_usage: vec![Usage::ServerAuth],
        tbs: Base64Url(vec![0x30, 0]),
        crl_shard: None,
    }));
    let refused = Event::Refused(RefusedRequest {
        reason: Refusal::NotPermitted,
        detail: "no scope".into(),
        edge: "edge.test".into(),
        order: "o".into(),
    });
    let revoked = Event::Revoked(RevokedCertificate {
        serial: SerialNumber::from_random([1; 16]),
        reason: RevocationReason::KeyCompromise,
        right: Right::CertificateKey.into(),
        order: "https://ca.test/acme/order/a/b".into(),
        key: Some(Base64Url(vec![4])),
        certificate_sha256: Base64Url(vec![5]),
        edge: "edge.test".into(),
    });
    let disowned = Event::Revoked(RevokedCertificate {
        serial: SerialNumber::from_random([1; 16]),
        reason: RevocationReason::Superseded,
        right: RevokedBy::Disowned,
        order: "https://ca.test/acme/order/a/b".into(),
        key: None,
        certificate_sha256: Base64Url(vec![5]),
        edge: "edge.test".into(),
    });
    let response = Event::Response(SignedStatus {
        issuer: "00".repeat(16).parse().unwrap(),
        serial: SerialNumber::from_random([1; 16]),
        hash: CertIdHash::Sha1,
        revoked: false,
        this_update: Timestamp::from_seconds(1),
        next_update: Timestamp::from_seconds(2),
        sha256: Base64Url(vec![6]),
    });
    let crl = Event::Crl(JournaledCrl {
        issuer: "00".repeat(16).parse().unwrap(),
        shard: "3-of-8".parse().unwrap(),
        number: 7,
        this_update: Timestamp::from_seconds(1),
        next_update: Timestamp::from_seconds(2),
        sha256: Base64Url(vec![6]),
        entries: 1,
    });
    let responder = Event::Responder(JournaledResponder {
        issuer: "00".repeat(16).parse().unwrap(),
        serial: SerialNumber::from_random([1; 16]),
        not_before: Timestamp::from_seconds(1),
        not_after: Timestamp::from_seconds(2),
        tbs: Base64Url(vec![0x30, 0]),
        signature: Some(Base64Url(vec![7])),
    });
    let bound = Event::Bound(BoundAccount {
        binding: "kid".into(),
        scope: "team".into(),
        account: Base64Url(vec![6]),
        follows: Some(Base64Url(vec![7])),
        edge: "edge.test".into(),
    });
    let settled = Event::Settled(SettledOrder {
        order: "https://ca.test/acme/order/a/b".into(),
        account: Base64Url(vec![1]),
        csr: Base64Url(vec![2]),
        lease: Timestamp::from_seconds(9),
        edge: "edge.test".into(),
    });
    let line = |index, event| {
        let previous = Base64Url(BEFORE_THE_FIRST.to_vec());
        let record = Record { index, previous, at: Timestamp::from_seconds(0), policy: None, event };
        let line = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
        assert_eq!(record.continues(index, &BEFORE_THE_FIRST), Ok(()));
        line
    };
    let zeros = "A".repeat(43);
    assert_eq!(
        line(0, intent),
        format!(
            r#"{{"index":0,"previous":"{zeros}","at":"1970-01-01T00:00:00Z","event":{{"intent":{{"order":"https://ca.test/acme/order/a/b","account":"AQ","csr":"Ag","edge":"edge.test","profile":"server","scope":"open","names":[{{"type":"dns","value":"a.test"}}],"issuer":"a1","issuer_sha256":"Aw","serial":"01010101010101010101010101010101","not_before":"1970-01-01T00:00:01Z","not_after":"1970-01-01T00:00:02Z","extended_key_usage":["serverAuth"],"tbs":"MAA"}}}}}}"#
        )
    );
    assert_eq!(
        line(1, signed),
        format!(
            r#"{{"index":1,"previous":"{zeros}","at":"1970-01-01T00:00:00Z","event":{{"signed":{{"order":"https://ca.test/acme/order/a/b","intent":0,"serial":"01010101010101010101010101010101","chain":["MAA"]}}}}}}"#
        )
    );
    assert_eq!(
        line(2, refused),
        format!(
            r#"{{"index":2,"previous":"{zeros}","at":"1970-01-01T00:00:00Z","event":{{"refused":{{"reason":"not-permitted","detail":"no scope","edge":"edge.test","order":"o"}}}}}}"#
        )
    );
    assert_eq!(
        line(3, revoked),
        format!(
            r#"{{"index":3,"previous":"{zeros}","at":"1970-01-01T00:00:00Z","event":{{"revoked":{{"serial":"01010101010101010101010101010101","reason":"keyCompromise","right":"certificate-key","order":"https://ca.test/acme/order/a/b","key":"BA","certificate_sha256":"BQ","edge":"edge.test"}}}}}}"#
        )
    );
    let (id, times) = ("0".repeat(32), r#""this_update":"1970-01-01T00:00:01Z","next_update":"1970-01-01T00:00:02Z""#);
    assert_eq!(
        line(4, response),
        format!(
            r#"{{"index":4,"previous":"{zeros}","at":"1970-01-01T00:00:00Z","event":{{"response":{{"issuer":"{id}","serial":"01010101010101010101010101010101","hash":"sha1","revoked":false,{times},"sha256":"Bg"}}}}}}"#
        )
    );
    assert_eq!(
        line(5, crl),
        format!(
            r#"{{"index":5,"previous":"{zeros}","at":"1970-01-01T00:00:00Z","event":{{"crl":{{"issuer":"{id}","shard":"3-of-8","number":7,{times},"sha256":"Bg","entries":1}}}}}}"#
        )
    );
    assert_eq!(
        line(6, responder),
        format!(
            r#"{{"index":6,"previous":"{zeros}","at":"1970-01-01T00:00:00Z","event":{{"responder":{{"issuer":"{id}","serial":"01010101010101010101010101010101","not_before":"1970-01-01T00:00:01Z","not_after":"1970-01-01T00:00:02Z","tbs":"MAA","signature":"Bw"}}}}}}"#
        )
    );
    assert_eq!(
        line(7, bound),
        format!(
            r#"{{"index":7,"previous":"{zeros}","at":"1970-01-01T00:00:00Z","event":{{"bound":{{"binding":"kid","scope":"team","account":"Bg","follows":"Bw","edge":"edge.test"}}}}}}"#
        )
    );
    assert_eq!(
        line(8, settled),
        format!(
            r#"{{"index":8,"previous":"{zeros}","at":"1970-01-01T00:00:00Z","event":{{"settled":{{"order":"https://ca.test/acme/order/a/b","account":"AQ","csr":"Ag","lease":"1970-01-01T00:00:09Z","edge":"edge.test"}}}}}}"#
        )
    );
    assert_eq!(
        line(9, disowned),
        format!(
            r#"{{"index":9,"previous":"{zeros}","at":"1970-01-01T00:00:00Z","event":{{"revoked":{{"serial":"01010101010101010101010101010101","reason":"superseded","right":"disowned","order":"https://ca.test/acme/order/a/b","certificate_sha256":"BQ","edge":"edge.test"}}}}}}"#
        )
    );
}
