//! Who may connect at all.

use shared::signing::Refusal;

use crate::{
    client::{Edge, simple},
    site::{Site, infrastructure_ca, issue_identity},
};

#[test]
fn the_client_certificate_of_an_edge_is_logged() {
    let site = Site::new(&["a1"]);
    let daemon = site.serve();
    Edge::new(&site).status().unwrap();
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains("connected")).unwrap();
    assert!(
        line.contains("edge.colophon.internal") && line.contains("serial") && line.contains("key_sha256"),
        "{line}"
    );
}

#[test]
fn without_a_client_certificate_the_handshake_is_refused() {
    let site = Site::new(&["a1"]);
    let daemon = site.serve();
    assert!(Edge::with(&site, None).status().is_err());
    assert!(
        daemon.log().contains("handshake refused") && daemon.log().contains("sent no certificates"),
        "{}",
        daemon.log()
    );
}

#[test]
fn a_client_certificate_of_another_ca_is_refused_in_the_handshake() {
    let site = Site::new(&["a1"]);
    let daemon = site.serve();
    // Even of one with the same name.
    let identity = issue_identity(&infrastructure_ca(), crate::site::EDGE);
    assert!(Edge::with(&site, Some(&identity)).status().is_err());
    assert!(daemon.log().contains("handshake refused"), "{}", daemon.log());
    assert!(!daemon.log().contains("connected"));
}

#[test]
fn a_client_that_is_no_edge_of_the_configuration_gets_nothing() {
    let site = Site::new(&["a1"]);
    let _daemon = site.serve();
    let identity = issue_identity(&site.infrastructure, "somebody.colophon.internal");
    let edge = Edge::with(&site, Some(&identity));
    assert_eq!(edge.refusal(&simple(1)), Refusal::UnknownEdge);
    assert!(edge.status().is_err(), "the status is for edges");
    assert!(site.events("intent").is_empty());
}
