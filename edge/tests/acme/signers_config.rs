//! What an operator may write of signers, and what is refused with which words.

use edge::acme::config::{Config, ConfigObject};
use serde_json::{Value, json};

use crate::desk::{Desk, config_object};

#[test]
fn signers_are_checked_at_the_start() {
    let desk = Desk::new();
    let read = |signers: &Value| {
        let mut object = config_object(&desk.ca);
        object["signers"] = signers.clone();
        let object: ConfigObject = serde_json::from_value(object).map_err(|error| error.to_string())?;
        Config::try_from(object).map(drop).map_err(|error| error.to_string())
    };
    let one = |more: Value| {
        let mut signer = json!({"binding": "A", "url": "https://a.test"});
        signer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        read(&json!([signer, {"binding": "B", "url": "https://b.test", "profiles": ["server"]}]))
    };
    let whole = json!({"weight": 100, "colos": ["AMS"], "last_resort": true, "drain": true, "keys": ["p256", "p384", "rsa"],
        "profiles": ["server", "client"]});
    assert_eq!(one(whole), Ok(()));
    for (wrong, says) in [
        (json!({"weight": 0}), "A: weight"),
        (json!({"weight": 101}), "A: weight"),
        (json!({"colos": ["ams"]}), "A: colos"),
        (json!({"profiles": []}), "A: profiles"),
        (json!({"profiles": ["none"]}), "A: profiles"),
        (json!({"profiles": ["server"]}), "profiles.client: no signer"),
        (json!({"keys": []}), "A: profiles and keys"),
        (json!({"keys": ["p521"]}), "p521"),
        (json!({"wheight": 1}), "wheight"),
        (json!({"binding": "B"}), "each binding once"),
    ] {
        let error = one(wrong).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
    assert!(read(&json!([])).unwrap_err().contains("at least one"));
    let drained = json!([{"binding": "A", "url": "https://a.test", "drain": true}]);
    assert!(read(&drained).unwrap_err().contains("no certificate"));
}
