//! A client must not have the edge connect to where the client cannot: private addresses in every spelling, names that change
//! between two looks, redirects, and the deployment's own hosts. What must not be connected to is listened at, and nobody comes.

use anyhow::{Context as _, Result};
use tests::resolver::Resolver;

use crate::{
    target::{Asked, End},
    world::{CLOSED, EMPTY, OPEN, World, world},
};

/// What a stranger hears, wherever the address leads.
const REFUSED: End = Err(("connection", "is refused: probes do not go there."));
const NOWHERE: End = Err(("incorrectResponse", "is not followed: it"));

/// A challenge for a name at these addresses, which the targets would prove.
fn asked(name: &str, addresses: &[&str]) -> Result<Asked> {
    world().resolver.put(name, addresses)?;
    let asked = Asked::of(&world().client, name)?;
    world().target.prove(&asked.path, &asked.key_authorization);
    Ok(asked)
}

fn nobody_came() {
    assert_eq!(world().target.connections(CLOSED), 0, "somebody connected to {CLOSED}");
}

#[test]
fn a_target_that_is_permitted_is_reached() -> Result<()> {
    asked("permitted.ssrf.test", &[OPEN])?.ends(Ok(()))?;
    assert!(world().target.connections(OPEN) > 0, "connections are counted");
    Ok(())
}

#[test]
fn refused_addresses_are_not_connected_to_in_any_spelling() -> Result<()> {
    let table = [
        CLOSED,
        "::ffff:127.0.0.66",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::127.0.0.66",
        "64:ff9b::127.0.0.1",
        "64:ff9b:1::127.0.0.1",
        "2002:7f00:42::1",
        "2001:0:7f00:42::1",
        "0.0.0.0",
        "0.0.0.66",
        "::",
        "10.0.0.1",
        "100.64.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "ff02::1",
    ];
    for (index, address) in table.into_iter().enumerate() {
        let asked = asked(&format!("spelling-{index}.ssrf.test"), &[address])?;
        let settled = asked.ends(REFUSED).with_context(|| address.to_owned())?;
        let words = format!(
            "Looking at the challenge failed: the address of spelling-{index}.ssrf.test is refused: probes do not go there."
        );
        assert_eq!(settled.problem.1, words, "{address}");
        assert!(world().target.asked(&asked.path).is_empty(), "{address} was asked");
    }
    nobody_came();
    Ok(())
}

#[test]
fn of_a_mix_only_the_permitted_addresses_are_connected_to() -> Result<()> {
    let refused = ["::ffff:127.0.0.66", "fd00::1", "10.0.0.1", CLOSED, "169.254.169.254"];
    asked("mixed.ssrf.test", &[&refused[..], &[OPEN]].concat())?.ends(Ok(()))?;
    // The permitted one does not answer: the refused ones are no second choice.
    asked("mixed-empty.ssrf.test", &[&refused[..], &[EMPTY]].concat())?
        .ends(Err(("connection", "no connection: 127.0.0.9 port ")))?;
    nobody_came();
    Ok(())
}

#[test]
fn a_name_that_moves_between_its_lookup_and_the_connection_is_connected_to_where_it_was() -> Result<()> {
    for (index, later) in [CLOSED, "169.254.169.254", "10.0.0.1", "0.0.0.0"].into_iter().enumerate() {
        let name = format!("rebinding-{index}.ssrf.test");
        let asked = asked(&name, &[])?;
        world().resolver.put_turns(&name, &[&[OPEN], &[later]])?;
        asked.ends(Ok(())).with_context(|| later.to_owned())?;
        assert_eq!(world().resolver.lookups(&name), 1, "one lookup, whose addresses are connected to");
    }
    nobody_came();
    Ok(())
}

#[test]
fn a_name_that_moves_between_two_redirects_is_checked_again() -> Result<()> {
    for (index, later) in [CLOSED, "169.254.169.254", "::ffff:127.0.0.1"].into_iter().enumerate() {
        let name = format!("moving-{index}.ssrf.test");
        let asked = asked(&name, &[])?;
        world().resolver.put_turns(&name, &[&[OPEN], &[later]])?;
        let second = format!("/second{}", asked.path);
        world().target.redirect(&asked.path, &second);
        world().target.prove(&second, &asked.key_authorization);
        asked.ends(REFUSED).with_context(|| later.to_owned())?;
        assert!(world().target.asked(&second).is_empty(), "{later}");
        assert_eq!(world().resolver.lookups(&name), 2);
    }
    nobody_came();
    Ok(())
}

#[test]
fn redirects_to_refused_places_are_not_followed() -> Result<()> {
    world().resolver.put("inside.ssrf.test", &[CLOSED])?;
    world().resolver.put("metadata.ssrf.test", &["169.254.169.254"])?;
    let table = [
        ("http://inside.ssrf.test:PORT/x", REFUSED),
        ("//inside.ssrf.test:PORT/x", REFUSED),
        ("http://metadata.ssrf.test:PORT/latest/meta-data/", REFUSED),
        ("http://127.0.0.66:PORT/x", NOWHERE),
        ("http://127.0.0.1:PORT/x", NOWHERE),
        ("http://169.254.169.254/latest/meta-data/", NOWHERE),
        ("http://169.254.169.254:PORT/latest/meta-data/", NOWHERE),
        ("http://[::1]:PORT/x", NOWHERE),
        ("http://[::ffff:127.0.0.66]:PORT/x", NOWHERE),
        ("http://[64:ff9b::7f00:42]:PORT/x", NOWHERE),
        ("http://[fe80::1%25lo]:PORT/x", NOWHERE),
        ("http://2130706433:PORT/x", NOWHERE),
        ("http://2130706498:PORT/x", NOWHERE),
        ("http://0177.0.0.102:PORT/x", NOWHERE),
        ("http://0177.0.0.1:PORT/x", NOWHERE),
        ("http://0x7f.0x0.0x0.0x42:PORT/x", NOWHERE),
        ("http://0x7f.1:PORT/x", NOWHERE),
        ("http://0x7f000042:PORT/x", NOWHERE),
        ("http://127.66:PORT/x", NOWHERE),
        ("http://127.0.66:PORT/x", NOWHERE),
        ("http://127.0.0.66.:PORT/x", NOWHERE),
        ("http://0:PORT/x", NOWHERE),
        ("http://\u{2460}\u{2461}\u{2466}.0.0.66:PORT/x", NOWHERE),
        ("http://inside.ssrf.test:22/x", NOWHERE),
        ("http://right@inside.ssrf.test:PORT/x", NOWHERE),
        ("http://inside.ssrf.test:PORT#@permitted.ssrf.test/x", REFUSED),
        ("http:\\\\inside.ssrf.test:PORT/x", NOWHERE),
    ];
    for (index, (location, expected)) in table.into_iter().enumerate() {
        let asked = asked(&format!("redirect-{index}.ssrf.test"), &[OPEN])?;
        let location = location.replace("PORT", &world().target.port.to_string());
        world().target.redirect(&asked.path, &location);
        asked.ends(expected).with_context(|| location.clone())?;
    }
    assert!(world().target.asked("/x").is_empty() && world().target.asked("/latest/meta-data/").is_empty());
    nobody_came();
    Ok(())
}

#[test]
fn own_hosts_are_refused_by_name_wherever_they_are() -> Result<()> {
    let own = "signer-1.colophon.internal";
    asked(own, &[OPEN])?.ends(REFUSED)?;
    let asked = asked("to-own.ssrf.test", &[OPEN])?;
    world().target.redirect(&asked.path, &format!("http://{}:{}/x", own.to_uppercase(), world().target.port));
    asked.ends(REFUSED)?;
    assert_eq!(world().resolver.lookups(own), 0, "it was not even looked up");
    Ok(())
}

#[test]
fn addresses_as_identifiers_are_bounded_as_names_are() -> Result<()> {
    Asked::of(&world().client, CLOSED)?.ends(REFUSED)?;
    nobody_came();
    let asked = Asked::of(&world().client, OPEN)?;
    world().target.redirect(&asked.path, &format!("http://{CLOSED}:{}/x", world().target.port));
    asked.ends(NOWHERE)?;
    nobody_came();
    Ok(())
}

/// As in production: loopback is not permitted, and no list opens it. Something listens at all of it.
#[test]
fn loopback_is_out_of_reach_where_it_was_not_allowed() -> Result<()> {
    let settings = [
        ("validation.allow_loopback", "false".to_owned()),
        ("validation.networks", r#"["0.0.0.0/0", "::/0", "127.0.0.0/8", "::1/128"]"#.to_owned()),
    ];
    let world = World::start("validation-no-loopback", &[OPEN, CLOSED], Resolver::start()?, &settings)?;
    for (index, address) in
        [OPEN, CLOSED, "::1", "::ffff:127.0.0.1", "0.0.0.0", "169.254.169.254"].into_iter().enumerate()
    {
        let name = format!("loopback-{index}.ssrf.test");
        world.resolver.put(&name, &[address])?;
        let asked = Asked::of(&world.client, &name)?;
        world.target.prove(&asked.path, &asked.key_authorization);
        asked.ends(REFUSED).with_context(|| address.to_owned())?;
    }
    Asked::of(&world.client, OPEN)?.ends(REFUSED)?;
    for address in [OPEN, CLOSED] {
        assert_eq!(world.target.connections(address), 0, "{address}");
    }
    Ok(())
}
