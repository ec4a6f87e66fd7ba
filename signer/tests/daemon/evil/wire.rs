//! Bytes that are no request: of another form, size, verb or version.

use std::{
    io::{Read, Write},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use shared::{
    checkpoint::JOURNAL_PATH,
    grant::BIND_PATH,
    signing::{CRL_PATH, DISOWN_PATH, ISSUE_PATH, OCSP_PATH, RECORDS_PATH, REVOKE_PATH, Refusal, STATUS_PATH},
};

use super::{Attempt, Stage, connections::connect};
use crate::client::simple;

/// Every verb that reads a body.
const VERBS: [&str; 8] =
    [ISSUE_PATH, REVOKE_PATH, BIND_PATH, OCSP_PATH, CRL_PATH, JOURNAL_PATH, RECORDS_PATH, DISOWN_PATH];

/// A good request in which one value is another.
fn with(pointer: &str, value: Value) -> Vec<u8> {
    let mut asked = serde_json::to_value(simple(1)).unwrap();
    *asked.pointer_mut(pointer).unwrap() = value;
    asked.to_string().into_bytes()
}

/// A good request with one member more.
fn more(pointer: &str, member: &str) -> Vec<u8> {
    let mut asked = serde_json::to_value(simple(1)).unwrap();
    asked.pointer_mut(pointer).unwrap()[member] = json!("MAA");
    asked.to_string().into_bytes()
}

fn malformed(name: &'static str, body: impl Into<Vec<u8>>) -> Attempt {
    Attempt::bytes(name, Refusal::Malformed, ISSUE_PATH, body)
}

/// What is not of the protocol.
pub(super) fn malformed_bodies(_stage: &Stage) -> Vec<Attempt> {
    let good = serde_json::to_vec(&simple(1)).unwrap();
    let text = String::from_utf8(good.clone()).unwrap();
    let nested = |open: &str| open.repeat(20_000);
    let mut attempts = vec![
        malformed("a tbs", more("", "tbs")),
        malformed("a digest", more("", "digest")),
        malformed("a serial number", more("", "serial")),
        malformed("a common name", more("", "common_name")),
        malformed("a member more in an identifier", more("/identifiers/0", "wildcard")),
        malformed("a member more in the finalize request", more("/finalize", "header")),
        malformed("a member twice", text.replacen('{', "{\"order\":\"x\",", 1)),
        malformed("a member less", text.replacen("\"priority\":\"new\",", "", 1)),
        malformed("more behind the end", format!("{text}{text}")),
        malformed("less than all", &good[..good.len() - 1]),
        malformed("half", &good[..good.len() / 2]),
        malformed("a mark before the beginning", format!("\u{feff}{text}")),
        malformed("what is not UTF-8", b"\xff\xfe{}".as_slice()),
        malformed("arrays in arrays", nested("[")),
        malformed("objects in objects", nested("{\"order\":")),
        malformed("a grant of another kind", with("/grant", json!("everything"))),
        malformed("two grants", with("/grant", json!({"bound": "x", "open": null}))),
        malformed("a grant that is a number", with("/grant", json!({"bound": 1e308}))),
        malformed("an account key off its curve", with("/account_key/y", json!("A".repeat(43)))),
        malformed("an account key of another kind", with("/account_key/kty", json!("oct"))),
        malformed("a private key", more("/account_key", "d")),
        malformed("no identifiers", with("/identifiers", Value::Null)),
        malformed("a number as an order", with("/order", json!(1))),
        malformed("a body of 70 kB", vec![b' '; 70_000]),
        malformed("a CSR of 60 kB", with("/finalize/payload", json!("A".repeat(66_000)))),
        malformed("XML", "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>"),
        malformed("a form", "order=1&profile=ca"),
    ];
    for path in VERBS {
        for (name, body) in
            [("nothing", ""), ("an empty object", "{}"), ("a list", "[]"), ("null", "null"), ("a number", "1")]
        {
            attempts.push(Attempt::bytes(name, Refusal::Malformed, path, body));
        }
    }
    attempts
}

/// A request with this head, and all of its answer.
fn raw(stage: &Stage, head: &str, body: &[u8]) -> String {
    let mut stream = connect(&stage.site, &stage.site.edge()).unwrap();
    write!(stream, "{head}\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    // Who closes without the end of TLS has said all that he says.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn who_writes_a_body_that_is_too_long_to_its_end_hears_why_it_is_refused() {
    let stage = Stage::new();
    let mut stream = connect(&stage.site, &stage.site.edge()).unwrap();
    let part = [b' '; 70_000];
    let length = 3 * part.len();
    write!(
        stream,
        "POST {ISSUE_PATH} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    )
    .unwrap();
    for _ in 0..3 {
        stream.write_all(&part).unwrap();
        // The first is more than the limit already.
        thread::sleep(Duration::from_millis(200));
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("\"malformed\""), "{answer}");
}

#[test]
fn other_methods_paths_and_versions_are_answered_and_do_nothing() {
    let stage = Stage::new();
    let body = serde_json::to_vec(&simple(1)).unwrap();
    let length = format!("content-length: {}", body.len());
    let before = stage.spent();
    let paths = [
        "/",
        "/v1",
        "/v1/",
        "/v1/sign",
        "/v1/issue/",
        "/v1//issue",
        "/V1/issue",
        "/v2/issue",
        "/v1/issue/..",
        "/v1/%69ssue",
        "/metrics",
    ];
    for path in paths {
        let answer = raw(&stage, &format!("POST {path} HTTP/1.1\r\n{length}"), &body);
        assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("\"malformed\""), "{path}: {answer}");
    }
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "SIGN"] {
        let answer = raw(&stage, &format!("{method} {ISSUE_PATH} HTTP/1.1\r\n{length}"), &body);
        assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("\"malformed\""), "{method}: {answer}");
    }
    let answer = raw(&stage, &format!("POST {STATUS_PATH} HTTP/1.1\r\n{length}"), &body);
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    // Nobody asked for anything that there is: the access is nothing that the journal is about.
    assert!(stage.site.events("refused").is_empty());
    for head in [
        "POST /v1/issue HTTP/9.9",
        "POST /v1/issue",
        "\0\0\0",
        "GET / HTTP/1.1\r\ncontent-length: -1",
        "PRI * HTTP/2.0",
    ] {
        let answer = raw(&stage, head, b"");
        assert!(!answer.starts_with("HTTP/1.1 2"), "{head:?}: {answer}");
    }
    // Two lengths, or a length beside chunks, are how requests are smuggled.
    for heads in ["content-length: 5\r\ncontent-length: 6", "transfer-encoding: gzip", "transfer-encoding: chunked, x"]
    {
        let answer = raw(&stage, &format!("POST {ISSUE_PATH} HTTP/1.1\r\n{heads}"), b"0\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 400") || answer.is_empty(), "{heads}: {answer}");
    }
    assert_eq!(stage.spent(), before);
    stage.edge.issued(&simple(2));
}

/// The type of a body is not looked at: it is JSON of the protocol, or it is malformed.
#[test]
fn a_body_is_what_it_is_whatever_it_is_called() {
    let stage = Stage::new();
    let mut asked = simple(1);
    asked.profile = "ca".parse().unwrap();
    let body = serde_json::to_vec(&asked).unwrap();
    let before = stage.spent();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jose+json", ""] {
        let head = format!("POST {ISSUE_PATH} HTTP/1.1\r\ncontent-type: {kind}\r\ncontent-length: {}", body.len());
        let answer = raw(&stage, &head, &body);
        assert!(answer.starts_with("HTTP/1.1 422") && answer.contains("\"bad-profile\""), "{kind}: {answer}");
    }
    assert_eq!(stage.site.events("refused").len(), 4);
    // One that says nothing of its length is read up to the limit, and one that ends too early is no request.
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000)).repeat(4);
    let answer = raw(&stage, &format!("POST {ISSUE_PATH} HTTP/1.1\r\ntransfer-encoding: chunked"), chunk.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 400") || answer.is_empty(), "{answer}");
    assert_eq!(stage.spent(), before);
}
