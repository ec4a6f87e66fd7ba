//! The stacks that http-01 is tried on. They end with the process.

use std::{sync::OnceLock, time::Duration};

use anyhow::Result;
use tests::{
    client::Client,
    resolver::Resolver,
    stack::{Options, Stack},
};

use crate::target::Target;

/// A stack, a client of it, who tells it where names are, and what it finds there.
pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) client: Client,
    pub(crate) resolver: Resolver,
    pub(crate) target: Target,
}

/// How long a probe may take on these stacks.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(3);
/// An address that somebody listens at, where probes may go.
pub(crate) const OPEN: &str = "127.0.0.1";
/// One where they may not.
pub(crate) const CLOSED: &str = "127.0.0.66";
/// One where nobody listens.
pub(crate) const EMPTY: &str = "127.0.0.9";

impl World {
    /// Starts a stack with these values of the configuration.
    pub(crate) fn start(
        name: &str,
        addresses: &[&str],
        resolver: Resolver,
        settings: &[(&str, String)],
    ) -> Result<Self> {
        let target = Target::start(addresses)?;
        let mut options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), name)?
            .http_port(target.port)
            .with(["--resolver", &resolver.url()])
            .set("validation.timeout_ms", &u64::try_from(TIMEOUT.as_millis())?.into());
        for (key, value) in settings {
            options = options.with(["--set", &format!("{key}={value}")]);
        }
        let stack = Stack::up(options)?;
        let client = Client::of(&stack.report)?;
        Ok(Self { stack, client, resolver, target })
    }

    /// The name is where probes may go.
    pub(crate) fn open(&self, name: &str) -> Result<()> {
        self.resolver.put(name, &[OPEN])
    }
}

/// The stack of most tests, started by whoever needs it first: loopback is permitted, less [`CLOSED`].
pub(crate) fn world() -> &'static World {
    static WORLD: OnceLock<Result<World, String>> = OnceLock::new();
    let start = || {
        let refused = ("validation.refused_networks", format!("[\"{CLOSED}/32\"]"));
        World::start("validation", &[OPEN, CLOSED], Resolver::start()?, &[refused])
    };
    let world = WORLD.get_or_init(|| start().map_err(|error: anyhow::Error| format!("{error:#}")));
    world.as_ref().unwrap_or_else(|error| panic!("{error}"))
}
