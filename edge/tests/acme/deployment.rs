//! The deployment that desks are of.

use edge::acme::config::{Config, ConfigObject};
use serde_json::{Value, json};
use shared::testing::TestCa;

pub(crate) fn config(ca: &TestCa) -> Config {
    serde_json::from_value::<ConfigObject>(config_object(ca)).unwrap().try_into().unwrap()
}

/// The configuration as an operator writes it.
pub(crate) fn config_object(ca: &TestCa) -> Value {
    json!({
        "deployment": "test", "base_url": "https://ca.test", "title": "Test", "root_certificate": ca.root_pem,
        "diagnostics": true, "signers": [{"binding": "SIGNER_1", "url": "https://signer-1.test"}],
        "default_profile": "server",
        "profiles": {
            "client": {"description": "TLS clients", "validity_seconds": 86400, "extended_key_usage": ["clientAuth"]},
            "server": {"description": "TLS servers", "validity_seconds": 86400, "extended_key_usage": ["serverAuth"]},
        },
        "identifiers": {"dns_suffixes": ["test"], "wildcards": true, "per_order": 3},
        "validation": {"resolvers": ["tcp://127.0.0.1:53"], "http_port": 80, "tls_alpn_port": 443,
            "allow_loopback": false, "timeout_ms": 1000},
        "lifetimes": {"order": 1000, "authorization": 500, "authorization_reuse": 0, "edge_nonce": 100, "idle_account": 100_000, "retention": 2000, "redrive": 10,
            "finalize_wait": 1},
        "limits": {"orders_page": 2, "body_bytes": 65536, "nonce_shards": 4},
    })
}
