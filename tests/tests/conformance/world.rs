//! The stacks that all of these tests share. They end with the process.

use std::sync::OnceLock;

use anyhow::Result;
use tests::{
    client::Client,
    named::Named,
    responder::Responder,
    stack::{Options, Stack},
};

/// A stack, a client of it, and what answers its challenges.
pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) client: Client,
    pub(crate) responder: Responder,
    pub(crate) named: Named,
}

/// A stack of an operator who demands everything, and has small numbers. What it issues is not looked at.
pub(crate) struct Strict {
    pub(crate) stack: Stack,
    pub(crate) client: Client,
}

/// The terms of service of [`strict`].
pub(crate) const TERMS: &str = "https://ca.test/terms/1";
/// Seconds until an order of [`strict`] expires.
pub(crate) const ORDER_SECONDS: u64 = 3;
/// Orders that an account of [`strict`] may make in an hour.
pub(crate) const ORDERS_AN_HOUR: usize = 5;
/// Orders in a page of [`strict`]'s lists.
pub(crate) const PAGE: usize = 2;

/// The one stack with the usual numbers, started by whoever needs it first. When it does not start, it does not for everybody.
pub(crate) fn world() -> &'static World {
    static WORLD: OnceLock<Result<World, String>> = OnceLock::new();
    let start = || -> Result<World> {
        let (named, responder) = (Named::start(env!("CARGO_TARGET_TMPDIR"))?, Responder::start()?);
        let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), "conformance")?.http_port(responder.port);
        let stack = Stack::up(options.with(["--eab", "optional", "--resolver", &named.resolver()]))?;
        let client = Client::of(&stack.report)?;
        Ok(World { stack, client, responder, named })
    };
    let world = WORLD.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    world.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

/// The one stack of the other operator.
pub(crate) fn strict() -> &'static Strict {
    static STRICT: OnceLock<Result<Strict, String>> = OnceLock::new();
    let start = || -> Result<Strict> {
        let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), "conformance-strict")?.with(["--eab", "required"]);
        let rate = format!(r#"rate_limits={{"orders_per_account":{{"count":{ORDERS_AN_HOUR},"seconds":3600}}}}"#);
        let stack = Stack::up(options.with([
            "--set",
            &format!("terms_of_service=\"{TERMS}\""),
            "--set",
            &format!("lifetimes.order={ORDER_SECONDS}"),
            "--set",
            &format!("limits.orders_page={PAGE}"),
            "--set",
            &rate,
        ]))?;
        let client = Client::of(&stack.report)?;
        Ok(Strict { stack, client })
    };
    let strict = STRICT.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    strict.as_ref().unwrap_or_else(|error| panic!("{error}"))
}
