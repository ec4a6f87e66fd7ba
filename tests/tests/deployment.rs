//! What wrangler.toml says of a deployment that is not for tests.

use tests::tree;

fn production(table: &str) -> toml::Table {
    let deployment: toml::Table = tree::read("wrangler.toml").parse().expect("wrangler.toml is TOML");
    deployment["env"]["production"]["vars"]["COLOPHON"][table].as_table().expect("a table").clone()
}

/// RFC 8555 §8.3 MUST: http-01 asks at TCP port 80.
#[test]
fn challenges_are_looked_at_at_their_own_ports_and_never_on_loopback() {
    let validation = production("validation");
    assert_eq!(validation["http_port"].as_integer(), Some(80));
    assert_eq!(validation["tls_alpn_port"].as_integer(), Some(443));
    assert_eq!(validation.get("https_port"), None, "it is 443 by itself");
    assert_eq!(validation["allow_loopback"].as_bool(), Some(false));
}

/// RFC 8555 §11.2 SHOULD: DNS is asked over TCP.
#[test]
fn names_are_looked_up_by_https_or_over_tcp() {
    let validation = production("validation");
    let resolvers = validation["resolvers"].as_array().expect("resolvers");
    let good = |url: &str| url.starts_with("https://") || url.starts_with("tcp://");
    assert!(!resolvers.is_empty() && resolvers.iter().all(|url| url.as_str().is_some_and(good)), "{resolvers:?}");
}
