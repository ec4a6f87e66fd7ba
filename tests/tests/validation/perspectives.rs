//! Several perspectives on the real stack: each has a resolver of its own, and one of them lies.

use anyhow::Result;
use sha2::{Digest as _, Sha256};
use shared::base64url;
use tests::resolver::Resolver;

use crate::{
    target::Asked,
    world::{EMPTY, OPEN, World},
};

/// A stack with two perspectives beside the account's object. The second's resolver is given back; it can lie.
fn start(name: &str, quorum: usize) -> Result<(World, Resolver)> {
    let (honest, other) = (Resolver::start()?, Resolver::start()?);
    let perspectives = format!(r#"[{{"hint": "weur"}}, {{"hint": "apac", "resolvers": ["{}"]}}]"#, other.url());
    let settings = [("validation.perspectives", perspectives), ("validation.quorum", quorum.to_string())];
    Ok((World::start(name, &["::1", OPEN], honest, &settings)?, other))
}

/// What the TXT record at `_acme-challenge` must be (RFC 8555 §8.4).
fn digest(asked: &Asked) -> String {
    base64url::encode(&Sha256::digest(&asked.key_authorization))
}

#[test]
fn all_must_agree_where_the_quorum_is_all() -> Result<()> {
    let (world, other) = start("validation-all", 3)?;
    for resolver in [&world.resolver, &other] {
        resolver.put("agreed.test", &["::1", OPEN])?;
    }
    let agreed = Asked::of(&world.client, "agreed.test")?;
    world.target.prove(&agreed.path, &agreed.key_authorization);
    agreed.ends(Ok(()))?;
    assert_eq!(world.target.asked(&agreed.path).len(), 3, "each looked by itself");
    assert_eq!((world.resolver.lookups("agreed.test"), other.lookups("agreed.test")), (2, 1));
    assert_eq!((world.target.connections("::1"), world.target.connections(OPEN)), (3, 0), "IPv6 comes first");

    // One alone sees a proof that the others do not: a lie that is not enough.
    world.resolver.put("lied.test", &[EMPTY])?;
    other.put("lied.test", &[OPEN])?;
    let lied = Asked::of(&world.client, "lied.test")?;
    world.target.prove(&lied.path, &lied.key_authorization);
    lied.ends(Err(("connection", "from 3 places; 1 found the proof and 3 must. Not found from: home, weur.")))?;

    let log = world.stack.log("edge")?;
    for line in ["lied.test from home: ", "lied.test from weur: "] {
        assert!(log.contains(line), "the operator is not told {line:?}");
    }
    assert!(
        !log.contains("lied.test from apac") && !log.contains("agreed.test from"),
        "who found it is no matter for the log"
    );

    // One alone does not see it.
    world.resolver.put("hidden.test", &[OPEN])?;
    other.put("hidden.test", &["169.254.169.254"])?;
    let hidden = Asked::of(&world.client, "hidden.test")?;
    world.target.prove(&hidden.path, &hidden.key_authorization);
    hidden.ends(Err(("connection", "the address of hidden.test is refused: probes do not go there.")))?;

    let texts = Asked::by(&world.client, "texts.test", "dns-01")?;
    world.resolver.put_text("_acme-challenge.texts.test", &digest(&texts));
    other.put_text("_acme-challenge.texts.test", "an older one");
    texts.ends(Err(("incorrectResponse", "Not found from: apac."))).map(drop)
}

#[test]
fn some_may_be_wrong_where_the_quorum_is_less() -> Result<()> {
    let (world, other) = start("validation-quorum", 2)?;
    world.resolver.put("enough.test", &[OPEN])?;
    other.put("enough.test", &[EMPTY])?;
    let enough = Asked::of(&world.client, "enough.test")?;
    world.target.prove(&enough.path, &enough.key_authorization);
    enough.ends(Ok(()))?;

    world.resolver.put("too-few.test", &[EMPTY])?;
    other.put("too-few.test", &[OPEN])?;
    let few = Asked::of(&world.client, "too-few.test")?;
    world.target.prove(&few.path, &few.key_authorization);
    few.ends(Err(("connection", "1 found the proof and 2 must. Not found from: home, weur.")))?;

    let texts = Asked::by(&world.client, "texts.test", "dns-01")?;
    world.resolver.put_text("_acme-challenge.texts.test", &digest(&texts));
    texts.ends(Ok(())).map(drop)
}
