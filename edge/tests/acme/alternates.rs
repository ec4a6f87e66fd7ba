//! Alternate chains of a certificate (RFC 8555 §7.4.2).

use std::num::NonZeroU16;

use edge::acme::{
    challenge::ChallengeType,
    config::{BadConfig, Config, ConfigObject},
    object_id::ObjectId,
    problem::Problem,
    route::{Resource, Route},
    step::{Body, Event, Reply},
};
use serde_json::json;
use shared::{
    alternate_chain::AlternateChain,
    chain::{BadChain, Issuer, IssuerChain},
    pem::BadPem,
    testing::TestCa,
};

use crate::desk::{Desk, config_object};

/// A desk with a certificate, and the id of its order. Its configuration has three alternate chains: the first of an issuer
/// of somebody else, the others to the roots 2 and 3.
fn desk() -> (Desk, ObjectId) {
    let mut desk = Desk::new();
    let [two, three] = [TestCa::new(2), TestCa::new(3)];
    let chains = [two.cross_certificate(&three), desk.ca.cross_certificate(&two), desk.ca.cross_certificate(&three)];
    desk.config.alternate_chains = chains.iter().map(|pem| AlternateChain::from_pem(pem).unwrap()).collect();
    desk.new_account();
    let (order, view) = desk.new_order(&["a.test"]);
    let Resource::Order(id) = order else { panic!() };
    desk.prove(&view, ChallengeType::Http01);
    desk.finalize(order, &["a.test"]).unwrap();
    let question = desk.question();
    let answer = desk.signer_answer(&question);
    desk.event(Event::Signed(question.order, Ok(answer))).unwrap();
    (desk, id)
}

fn certificate(id: ObjectId, alternate: u16) -> Resource {
    Resource::Certificate(id, NonZeroU16::new(alternate))
}

fn read(desk: &mut Desk, resource: Resource) -> Result<Reply, Problem> {
    desk.get(Route::Of(desk.account(), resource))
}

fn pem(reply: &Reply) -> &str {
    let Body::PemChain(pem) = &reply.body else { panic!("{reply:?}") };
    pem
}

/// True when what is behind the leaf leads to this root, and the leaf verifies under it.
fn leads_to(chain: &str, root: &Issuer, desk: &Desk) -> bool {
    let end = "-----END CERTIFICATE-----\n";
    let (leaf, above) = chain.split_once(end).unwrap();
    let (_, leaf) = der::pem::decode_vec(format!("{leaf}{end}").as_bytes()).unwrap();
    let above = IssuerChain::from_pem(above).unwrap();
    above.verify_leaf(&leaf).unwrap();
    above.verify_to(root, desk.now).is_ok()
}

/// RFC 8555 §7.4.2 SHOULD: a link of relation `alternate` leads to another chain of the same certificate.
#[test]
fn every_chain_leads_to_all_others() {
    let (mut desk, id) = desk();
    let numbers = [0, 2, 3];
    let replies = numbers.map(|number| read(&mut desk, certificate(id, number)).unwrap());
    for (number, reply) in numbers.iter().zip(&replies) {
        let others = numbers.iter().filter(|other| *other != number);
        let urls: Vec<_> = others.map(|other| desk.url(certificate(id, *other))).collect();
        assert_eq!(reply.alternates, urls, "{number}");
    }
    let leaf = |reply: &Reply| pem(reply).split("-----END").next().unwrap().to_owned();
    assert!(replies.iter().all(|reply| leaf(reply) == leaf(&replies[0])));
    assert!(leads_to(pem(&replies[0]), &desk.ca.root, &desk));
    assert!(leads_to(pem(&replies[1]), &TestCa::new(2).root, &desk));
    assert!(leads_to(pem(&replies[2]), &TestCa::new(3).root, &desk));
}

#[test]
fn a_client_finds_the_chain_to_the_root_that_it_prefers() {
    let (mut desk, id) = desk();
    // As a client does it: the default first, then what the links say, until one leads where it wants.
    let view = desk.read(Resource::Order(id));
    for seed in [1, 2, 3] {
        let preferred = TestCa::new(seed).root;
        let first = desk.resource(&view["certificate"]);
        let default = read(&mut desk, first).unwrap();
        let alternates = default.alternates.iter().map(|url| desk.resource(&json!(url))).collect::<Vec<_>>();
        let others: Vec<_> = alternates.into_iter().map(|alternate| read(&mut desk, alternate).unwrap()).collect();
        let replies = std::iter::once(default).chain(others).collect::<Vec<_>>();
        let mut fitting = replies.iter().filter(|reply| leads_to(pem(reply), &preferred, &desk));
        assert!(fitting.next().is_some() && fitting.next().is_none(), "root {seed}");
    }
}

#[test]
fn numbers_of_other_issuers_and_of_nothing_are_not_found() {
    let (mut desk, id) = desk();
    for number in [1, 4, u16::MAX] {
        assert_eq!(read(&mut desk, certificate(id, number)), Err(Problem::NotFound), "{number}");
    }
    let route = Route::Of(desk.account(), certificate(id, 2));
    assert!(matches!(desk.post(route, &json!({})), Err(Problem::Payload(_))));
    let (order, _) = desk.new_order(&["b.test"]);
    let Resource::Order(open) = order else { panic!() };
    assert_eq!(read(&mut desk, certificate(open, 2)), Err(Problem::NoCertificate));
}

#[test]
fn a_chain_that_is_over_is_not_offered() {
    let (mut desk, id) = desk();
    // Of the three roots' certificates none outlives 2049; the vector ends in 2048.
    let vector = include_str!("../../../shared/tests/vectors/alternate-chain.pem");
    desk.config.alternate_chains.push(AlternateChain::from_pem(vector).unwrap());
    assert_eq!(read(&mut desk, certificate(id, 0)).unwrap().alternates.len(), 3);
    assert_eq!(pem(&read(&mut desk, certificate(id, 4)).unwrap()).matches("BEGIN CERTIFICATE").count(), 3);
    desk.now = "2049-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(read(&mut desk, certificate(id, 0)).unwrap().alternates.len(), 2);
    assert_eq!(read(&mut desk, certificate(id, 4)), Err(Problem::NotFound));
}

#[test]
fn without_alternate_chains_there_are_no_links() {
    let (mut desk, id) = desk();
    desk.config.alternate_chains.clear();
    assert!(read(&mut desk, certificate(id, 0)).unwrap().alternates.is_empty());
}

#[test]
fn an_alternate_chain_that_is_none_is_found_at_the_start() {
    let (ours, other) = (TestCa::new(1), TestCa::new(2));
    let good = ours.cross_certificate(&other);
    let read = |chains: &[&str]| {
        let mut object = config_object(&ours);
        object["alternate_chains"] = json!(chains);
        Config::try_from(serde_json::from_value::<ConfigObject>(object).unwrap())
    };
    assert_eq!(read(&[&good]).unwrap().alternate_chains.len(), 1);
    assert_eq!(
        read(&[&good, ""]).unwrap_err(),
        BadConfig::AlternateChain(2, BadChain::Pem(BadPem::Nothing("CERTIFICATE")))
    );
    let error = read(&[&ours.root_pem]).unwrap_err();
    assert_eq!(error, BadConfig::AlternateChain(1, BadChain::NoCross));
    assert!(error.to_string().starts_with("alternate_chains: number 1: "), "{error}");
    let wrong = good.clone() + &ours.root_pem;
    assert_eq!(read(&[&wrong]).unwrap_err(), BadConfig::AlternateChain(1, BadChain::NotIssuedByNext));
}
