//! Each verb of the signers that changes something, as a client brings it about, with or without a cut.

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use shared::{base64url, chain::Leaf, grant::BIND_PATH, signing};
use tests::{
    account::{Account, register},
    client::Reply,
    cut::{Cut, Place, Way},
    journal,
    key::AccountKey,
};

use crate::world::World;

/// How long a client that asks again and again may have to.
const PATIENCE: Duration = Duration::from_secs(100);
/// Some answer comes within this time, whatever a signer does not say: clients hang up after 30 seconds.
const ANSWERED: Duration = Duration::from_secs(25);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Issue,
    Settle,
    Revoke,
    Bind,
}

/// A cut of one exchange of a verb.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blow {
    pub(crate) verb: Verb,
    pub(crate) place: Place,
    pub(crate) way: Way,
    /// Where it is to be settled: whether its signer has signed.
    pub(crate) signed: bool,
}

impl Verb {
    pub(crate) const ALL: [Self; 4] = [Self::Issue, Self::Settle, Self::Revoke, Self::Bind];

    const fn path(self) -> &'static str {
        match self {
            Self::Issue => signing::ISSUE_PATH,
            Self::Settle => signing::SETTLE_PATH,
            Self::Revoke => signing::REVOKE_PATH,
            Self::Bind => BIND_PATH,
        }
    }
}

impl Blow {
    fn about(self, about: &str) -> Cut {
        Cut { path: self.verb.path(), about: about.to_owned(), place: self.place, way: self.way, times: 1 }
    }
}

impl fmt::Display for Blow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, place, way, signed } = self;
        let which = match verb {
            Verb::Settle if *signed => " of what is signed",
            Verb::Settle => " of what is not signed",
            _ => "",
        };
        write!(formatter, "{verb:?}{which} at {place:?} by {way:?}")
    }
}

/// Brings it about under this name, which nobody else uses; the blow falls in the middle.
pub(crate) fn run(world: &World, verb: Verb, blow: Option<Blow>, name: &str) -> Result<()> {
    match verb {
        Verb::Issue | Verb::Settle => issue(world, blow, name),
        Verb::Revoke => revoke(world, blow, name),
        Verb::Bind => bind(world, blow, name),
    }
}

fn issue(world: &World, blow: Option<Blow>, name: &str) -> Result<()> {
    let (account, order) = world.ready(name)?;
    let about = format!("\"{}\"", order.url);
    let struck = blow.map(|blow| world.cuts.expect(blow.about(&about)));
    let settles = blow.filter(|blow| blow.verb == Verb::Settle);
    if let Some(Blow { signed, .. }) = settles {
        // Until it gives up asking.
        let place = if signed { Place::Answer } else { Place::Request };
        let cut = Cut { path: Verb::Issue.path(), about: about.clone(), place, way: Way::Reset, times: usize::MAX };
        world.cuts.expect(cut);
    }
    let payload = Account::finalize_payload(&[name])?.to_string();
    account.patiently(&order.finalize()?, payload.as_bytes())?.expect(200)?;
    if let Some(struck) = struck {
        struck.wait(PATIENCE)?;
        world.cuts.forget(&about);
    }
    world.settled_once(&account, &order).map(|_| ())
}

fn revoke(world: &World, blow: Option<Blow>, name: &str) -> Result<()> {
    let (account, order) = world.ready(name)?;
    account.post(&order.finalize()?, &Account::finalize_payload(&[name])?)?.expect(200)?;
    let leaf = world.settled_once(&account, &order)?;
    let payload = json!({"certificate": base64url::encode(&leaf), "reason": 4}).to_string();
    let struck = blow.map(|blow| world.cuts.expect(blow.about(&base64url::encode(payload.as_bytes()))));
    let url = world.client.url("revokeCert");
    again(
        || account.send(url, payload.as_bytes()),
        |reply| Ok(reply.status == 200 || reply.problem()? == "alreadyRevoked"),
    )?;
    if let Some(struck) = struck {
        ensure!(struck.times() == 1, "{name} was not cut");
    }
    let serial = Leaf::from_der(&leaf)?.serial.to_string();
    ensure!(journal::revocations(&world.stack.report.state, &serial)? == 1, "{name} is revoked once");
    Ok(())
}

fn bind(world: &World, blow: Option<Blow>, name: &str) -> Result<()> {
    let key = AccountKey::es256();
    let external = world.binding.bind(&key.jwk(), world.client.url("newAccount"))?;
    let payload = json!({"externalAccountBinding": external, "termsOfServiceAgreed": true});
    let encoded = base64url::encode(payload.to_string().as_bytes());
    let struck = blow.map(|blow| world.cuts.expect(blow.about(&encoded)));
    let opened = |reply: &Reply| Ok(matches!(reply.status, 200 | 201));
    let url = again(|| register(&world.client, &key, &payload), opened)?.location()?;
    if let Some(struck) = struck {
        ensure!(struck.times() == 1, "{name} was not cut");
    }
    let same = register(&world.client, &key, &json!({"onlyReturnExisting": true}))?.expect(200)?;
    ensure!(same.location()? == url, "one key, one account");
    let bound = journal::bound(&world.stack.report.state, &key.thumbprint()?)?;
    ensure!(bound.iter().sum::<usize>() > 0 && bound.iter().all(|times| *times <= 1), "by signer {bound:?}");
    // What it was given is of use.
    let account = Account::of(&world.client, key, url);
    let (order, _) = account.issue(&[name], &world.responder)?;
    world.settled_once(&account, &order).map(|_| ())
}

/// Asks as a client does that wants it: until the answer is the one.
fn again(ask: impl Fn() -> Result<Reply>, is_it: impl Fn(&Reply) -> Result<bool>) -> Result<Reply> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (started, answer) = (Instant::now(), ask());
        ensure!(started.elapsed() < ANSWERED, "an answer took {:?}", started.elapsed());
        let said = match answer {
            Ok(reply) if reply.status < 400 || reply.status == 400 && reply.problem()? != "badNonce" => {
                ensure!(is_it(&reply)?, "{} {}", reply.status, reply.text()?);
                return Ok(reply);
            }
            Ok(reply) => reply.text().map(str::to_owned).context("words")?,
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() > deadline {
            bail!("still {said}");
        }
        thread::sleep(Duration::from_millis(200));
    }
}
