//! Requests of strangers, and the headers of answers.

use data_encoding::{BASE64, BASE64URL_NOPAD};
use edge::status::{
    config::NoncePolicy,
    document::{Conditions, Document, Kind},
    exchange::{MAX_REQUEST, questions, request_of_path},
    route::StatusRoute,
};
use proptest::prelude::*;
use shared::{
    base64url::Base64Url,
    ocsp::Failure,
    pointers::{CrlShard, StatusHost},
    timestamp::Timestamp,
};

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(784_111_777 + seconds)
}

/// RFC 6960 §A.1: base64 of the request, as clients write it and as they should.
#[test]
fn a_request_in_a_path_is_read_however_it_was_written() {
    let request: Vec<u8> = (0..=255).collect();
    let base64 = BASE64.encode(&request);
    let percent = base64.replace('+', "%2B").replace('/', "%2f").replace('=', "%3D");
    for path in [
        base64.as_str(),
        percent.as_str(),
        base64.trim_end_matches('='),
        BASE64URL_NOPAD.encode(&request).as_str(),
        &format!("/{base64}"),
    ] {
        assert_eq!(request_of_path(path).as_ref(), Ok(&request), "{path}");
    }
    let long = BASE64.encode(&vec![0; MAX_REQUEST + 1]);
    for path in ["%", "%2", "%zz", "%ff", "a", "ä", "MA==x", "M A=", long.as_str()] {
        assert_eq!(request_of_path(path), Err(Failure::MalformedRequest), "{path}");
    }
}

#[test]
fn what_is_no_request_is_malformed() {
    for bytes in [&[][..], &[0x30, 0x00], b"GET / HTTP/1.1"] {
        assert_eq!(questions(bytes, NoncePolicy::Ignore), Err(Failure::MalformedRequest));
    }
}

proptest! {
    #[test]
    fn no_bytes_and_no_path_of_a_stranger_make_it_panic(bytes: Vec<u8>, text: String) {
        let _ = questions(&bytes, NoncePolicy::Ignore);
        let _ = request_of_path(&text).map(|bytes| questions(&bytes, NoncePolicy::Refuse));
        let _ = StatusRoute::parse(&text);
        let _ = edge::status::http_date::parse(&text);
    }
}

#[test]
fn paths_are_those_that_certificates_point_to() {
    let host: StatusHost = "http://status.test".parse().unwrap();
    let issuer = "000102030405060708090a0b0c0d0e0f".parse().unwrap();
    let path = |url: String| StatusRoute::parse(url.strip_prefix("http://status.test").unwrap());
    assert_eq!(path(host.ocsp()), Some(StatusRoute::Ocsp));
    assert_eq!(path(format!("{}/MA", host.ocsp())), Some(StatusRoute::OcspGet("MA".to_owned())));
    assert_eq!(path(host.issuer(issuer)), Some(StatusRoute::Issuer(issuer)));
    let shard = CrlShard::new(3, 8).unwrap();
    assert_eq!(path(host.crl(issuer, shard)), Some(StatusRoute::Crl(issuer, shard)));
    assert_eq!(StatusRoute::parse("/root.crl"), Some(StatusRoute::RootCrl));
    for path in
        ["/", "/ocspx", "/crl/x/1-of-1.crl", "/issuer/000102030405060708090a0b0c0d0e0f", "/root.crl/", "/acme/x"]
    {
        assert_eq!(StatusRoute::parse(path), None, "{path}");
    }
}

/// RFC 5019 §6, RFC 9919 §6.
#[test]
fn headers_say_since_when_and_until_when() {
    let document =
        Document { kind: Kind::Ocsp, body: Base64Url(b"abc".to_vec()), this_update: at(0), next_update: at(600) };
    let tag = "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"";
    let headers = |now, most| document.headers(now, most).map(|(_, value)| value);
    let [kind, modified, expires, etag, cache] = headers(at(100), 3600);
    assert_eq!((kind.as_str(), etag.as_str()), ("application/ocsp-response", tag));
    assert_eq!(modified, "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(expires, "Sun, 06 Nov 1994 08:59:37 GMT");
    assert_eq!(cache, "max-age=500, public, no-transform, must-revalidate");
    assert!(headers(at(100), 60)[4].starts_with("max-age=60,"));
    assert!(headers(at(700), 60)[4].starts_with("max-age=0,"));

    let several = format!("\"x\", W/{tag}");
    let known = |tags, since| document.is_known(Conditions { if_none_match: tags, if_modified_since: since });
    let (at_update, before) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:36 GMT");
    assert!(known(Some(tag), None) && known(Some("*"), None) && known(Some(several.as_str()), None));
    assert!(
        known(None, Some(at_update)) && !known(None, Some(before)) && !known(None, Some("x")) && !known(None, None)
    );
    assert!(!known(Some("\"x\""), Some(at_update)), "the tag decides");
}
