//! http-01 by the platform's fetch: what it reaches, what it does not do, and what a socket is left to do.

use anyhow::Result;
use tests::resolver::Resolver;

use crate::{
    target::Asked,
    world::{CLOSED, EMPTY, OPEN, TIMEOUT, World},
};

/// `localhost` is the one name of a throwaway stack that the platform finds too.
fn start(name: &str, way: &str) -> Result<World> {
    let settings = [("validation.http", way.to_owned()), ("validation.refused_networks", format!("[\"{CLOSED}/32\"]"))];
    let world = World::start(name, &[OPEN, CLOSED], Resolver::start()?, &settings)?;
    world.resolver.put("localhost", &[OPEN])?;
    Ok(world)
}

fn asked(world: &World) -> Result<Asked> {
    Asked::of(&world.client, "localhost")
}

#[test]
fn a_fetch_proves_follows_and_is_bounded_as_a_socket_is() -> Result<()> {
    let world = start("validation-fetch", "fetch")?;
    let right = asked(&world)?;
    world.target.prove(&right.path, &right.key_authorization);
    right.ends(Ok(()))?;
    let head = world.target.asked(&right.path).join("\n").to_lowercase();
    assert!(head.contains("\nuser-agent: colophon/") && !head.contains("\ncookie:"), "{head}");

    let redirected = asked(&world)?;
    world.target.redirect(&redirected.path, "/second");
    world.target.prove("/second", &redirected.key_authorization);
    redirected.ends(Ok(()))?;

    let astray = asked(&world)?;
    world.target.redirect(&astray.path, &format!("http://{CLOSED}:{}/x", world.target.port));
    astray.ends(Err(("incorrectResponse", "is not followed: its host is an address")))?;

    let around = asked(&world)?;
    world.target.redirect(&around.path, &around.path);
    around.ends(Err(("incorrectResponse", "more than 10 redirects")))?;
    assert_eq!(world.target.asked(&around.path).len(), 11);

    let huge = asked(&world)?;
    world.target.prove(&huge.path, &format!("{}{}", huge.key_authorization, " ".repeat(8 << 20)));
    huge.ends(Err(("incorrectResponse", "has more than 4096 bytes")))?;

    let silent = asked(&world)?;
    world.target.answer(&silent.path, |_| {
        std::thread::sleep(TIMEOUT * 3);
        Ok(())
    });
    assert!(silent.ends(Err(("connection", "the time for validation ended while waiting for")))?.took < TIMEOUT * 3);

    // What our own resolver finds is checked first, and the platform is not asked to look.
    world.resolver.put("localhost", &[CLOSED])?;
    let refused = asked(&world)?;
    world.target.prove(&refused.path, &refused.key_authorization);
    refused.ends(Err(("connection", "the address of localhost is refused: probes do not go there.")))?;
    assert!(world.target.asked(&refused.path).is_empty());

    world.resolver.put("socket.test", &[OPEN])?;
    let unknown = Asked::of(&world.client, "socket.test")?;
    world.target.prove(&unknown.path, &unknown.key_authorization);
    unknown.ends(Err(("connection", "no connection: socket.test port ")))?;
    assert_eq!(world.target.connections(CLOSED), 0);
    Ok(())
}

#[test]
fn where_a_fetch_does_not_get_through_a_socket_does() -> Result<()> {
    let world = start("validation-fetch-then-socket", "fetch-then-socket")?;
    world.resolver.put("socket.test", &[OPEN])?;
    let by_socket = Asked::of(&world.client, "socket.test")?;
    world.target.prove(&by_socket.path, &by_socket.key_authorization);
    by_socket.ends(Ok(()))?;

    let wrong = asked(&world)?;
    world.target.prove(&wrong.path, "something else");
    wrong.ends(Err(("incorrectResponse", "not the key authorization")))?;
    assert_eq!(world.target.asked(&wrong.path).len(), 1, "a wrong answer is not asked for twice");

    // The platform gets a status that says that it reached nobody; the socket gets the answer.
    let unreached = asked(&world)?;
    let (path, proof) = (unreached.path.clone(), unreached.key_authorization.clone());
    let target = world.target.clone();
    world.target.answer(&unreached.path, move |stream| {
        target.prove(&path, &proof);
        std::io::Write::write_all(stream, b"HTTP/1.1 522 Timeout\r\nContent-Length: 0\r\n\r\n")
    });
    unreached.ends(Ok(()))?;
    assert_eq!(world.target.asked(&unreached.path).len(), 2);

    // An address is never fetched.
    world.resolver.put("localhost", &[EMPTY])?;
    let address = Asked::of(&world.client, OPEN)?;
    world.target.prove(&address.path, &address.key_authorization);
    address.ends(Ok(()))?;
    assert_eq!(world.target.asked(&address.path).len(), 1);
    Ok(())
}
