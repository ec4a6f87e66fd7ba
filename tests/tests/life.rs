//! The end of things on the real platform: alarms delete what has ended, and idle accounts delete themselves.
#![cfg(feature = "stack")]
#![allow(clippy::disallowed_methods, reason = "tests live in real time")]

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde_json::json;
use tests::{
    account::Account,
    client::Client,
    responder::Responder,
    stack::{Options, Stack},
};

const PATIENCE: Duration = Duration::from_secs(40);

fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !holds()? {
        ensure!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(300));
    }
    Ok(())
}

#[test]
fn orders_are_deleted_after_their_end_and_idle_accounts_delete_themselves() -> Result<()> {
    let responder = Responder::start()?;
    let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), "life")?.http_port(responder.port);
    let options = options
        .set("lifetimes.order", &json!(3))
        .set("lifetimes.authorization", &json!(2))
        .set("lifetimes.retention", &json!(2))
        .set("lifetimes.idle_account", &json!(9));
    let stack = Stack::up(options)?;
    let client = Client::of(&stack.report)?;

    let account = Account::new(&client)?;
    let order = account.order(&["short.test"])?;
    let authorization = order.authorizations()?.remove(0);
    until("the order expires", || Ok(account.read_patiently(&order.url)?.json()?["status"] == "invalid"))?;
    until("the order is deleted", || Ok(account.read_patiently(&order.url)?.status == 404))?;
    until("its authorization is deleted", || Ok(account.read_patiently(&authorization)?.status == 404))?;

    // One account has issued nothing; another has a certificate that lives.
    let busy = Account::new(&client)?;
    let (kept, _) = busy.issue(&["kept.test"], &responder)?;
    let look = |account: &Account| Account::register(&client, &account.key, &json!({"onlyReturnExisting": true}));
    until("the idle account deletes itself", || {
        let reply = look(&account)?;
        Ok(reply.status == 400 && reply.problem()? == "accountDoesNotExist")
    })?;
    assert_eq!(account.read_patiently(&account.url)?.problem()?, "accountDoesNotExist");
    thread::sleep(Duration::from_secs(6));
    look(&busy)?.expect(200)?;
    assert_eq!(busy.read_patiently(&kept.url)?.expect(200)?.json()?["status"], "valid");

    // The key may come again, to the same URL and an empty account.
    let again = Account::register(&client, &account.key, &json!({}))?.expect(201)?;
    assert_eq!(again.location()?, account.url);
    let orders = account.read_patiently(&account.url)?.expect(200)?.json()?["orders"].clone();
    let list = account.read_patiently(orders.as_str().unwrap_or_default())?.expect(200)?.json()?;
    assert_eq!(list["orders"], json!([]));
    Ok(())
}
