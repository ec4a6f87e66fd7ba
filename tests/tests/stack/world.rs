//! The stack that all of these tests share. It ends with the process.

use std::sync::OnceLock;

use anyhow::Result;
use tests::{
    client::Client,
    responder::Responder,
    stack::{Options, Stack},
};

/// A stack, a client of it, and an http-01 responder where it looks.
pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) client: Client,
    pub(crate) responder: Responder,
}

/// The one stack, started by whoever needs it first. When it does not start, it does not for everybody.
pub(crate) fn world() -> &'static World {
    static WORLD: OnceLock<Result<World, String>> = OnceLock::new();
    let start = || -> Result<World> {
        let responder = Responder::start()?;
        let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), "stack")?;
        let stack = Stack::up(options.http_port(responder.port))?;
        let client = Client::of(&stack.report)?;
        Ok(World { stack, client, responder })
    };
    let world = WORLD.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    world.as_ref().unwrap_or_else(|error| panic!("{error}"))
}
