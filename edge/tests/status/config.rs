//! What an operator may write below `status`.

use edge::status::config::{BadStatus, StatusConfig};
use serde_json::{Value, json};

fn checked(config: Value, loopback: bool) -> Result<Result<(), BadStatus>, String> {
    let config: StatusConfig = serde_json::from_value(config).map_err(|error| error.to_string())?;
    Ok(config.check(loopback))
}

#[test]
fn every_number_has_bounds() {
    assert_eq!(checked(json!({}), false), Ok(Ok(())));
    for (key, least, most) in [
        ("presign", 1_u64, 100_u64),
        ("memory_seconds", 0, 60),
        ("crl_memory_seconds", 0, 300),
        ("crl_poll_seconds", 1, 3600),
        ("max_age_seconds", 0, 604_800),
    ] {
        for good in [least, most] {
            assert_eq!(checked(json!({ key: good }), false), Ok(Ok(())), "{key} = {good}");
        }
        for bad in [least.checked_sub(1), Some(most + 1)].into_iter().flatten() {
            assert_eq!(
                checked(json!({ key: bad }), false),
                Ok(Err(BadStatus::Range(key, least, most))),
                "{key} = {bad}"
            );
        }
    }
}

#[test]
fn unknown_keys_are_errors() {
    for config in [json!({"presigned": 1}), json!({"purge": {"zone": "0", "token": "x"}}), json!({"purge": {}})] {
        assert!(checked(config.clone(), false).is_err(), "{config}");
    }
}

#[test]
fn the_api_that_purges_is_https_but_on_a_throwaway_stack() {
    let zone = "0123456789abcdef0123456789abcdef";
    let purge =
        |zone: &str, api: &str, loopback| checked(json!({"purge": {"zone": zone, "api": api}}), loopback).unwrap();
    assert_eq!(checked(json!({"purge": {"zone": zone}}), false), Ok(Ok(())));
    assert_eq!(purge(zone, "https://api.test/v4", false), Ok(()));
    assert_eq!(purge(zone, "http://127.0.0.1:8000/v4", true), Ok(()));
    for wrong in
        ["http://127.0.0.1:8000", "http://api.test", "https://", "https:///v4", "https://api.test/", "https://a@b"]
    {
        assert_eq!(purge(zone, wrong, false), Err(BadStatus::Api), "{wrong}");
    }
    for wrong in ["", &zone[1..], "0123456789ABCDEF0123456789ABCDEF", "../../../../../../../../accounts"] {
        assert_eq!(purge(wrong, "https://api.test", false), Err(BadStatus::Zone), "{wrong}");
    }
}
