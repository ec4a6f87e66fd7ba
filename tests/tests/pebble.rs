//! The client of these tests against a server that is not ours: what fails there is the client's fault.
#![cfg(feature = "stack")]

use anyhow::Result;
use serde_json::json;
use tests::{
    account::Account,
    client::Client,
    named::Named,
    openssl,
    pebble::{Pebble, Surroundings},
    responder::Responder,
    stack::free_port,
};

#[test]
fn pebble_gives_our_client_a_certificate() -> Result<()> {
    let (responder, named) = (Responder::start()?, Named::start(env!("CARGO_TARGET_TMPDIR"))?);
    let surroundings = Surroundings {
        dns_server: &format!("127.0.0.1:{}", named.port),
        http_port: responder.port,
        tls_alpn_port: free_port()?,
    };
    let pebble = Pebble::start(env!("CARGO_TARGET_TMPDIR"), &surroundings)?;
    let client = Client::at(&pebble.directory, &pebble.ca)?;
    let profiles = &client.directory["meta"]["profiles"];
    assert_eq!(profiles, &json!({"both": "both", "client": "client", "server": "server"}));
    let (_, chain) = Account::new(&client)?.issue(&["pebble.test"], &responder)?;
    let names = openssl::x509(&chain, ["-ext", "subjectAltName"])?;
    assert!(names.contains("DNS:pebble.test"), "{names}");
    Ok(())
}
