//! What holds for one edge: its budget, and the kill switch.

use anyhow::{Context as _, Result, ensure};
use tests::{
    account::{Account, Order},
    journal,
};

use crate::world::{EDGES, World, finalize, issue, one_at_a_time, ready, until, world};

/// True when the signer's log has a line with all of these in it.
fn logged(world: &World, words: &[&str]) -> Result<bool> {
    Ok(world.stack.log("signer-1")?.lines().any(|line| words.iter().all(|word| line.contains(word))))
}

/// The order stays `processing`, and its client is told when to look again.
fn waits(world: &World, account: &Account, order: &Order) -> Result<()> {
    let reply = account.read_patiently(&order.url)?.expect(200)?;
    ensure!(reply.json()?["status"] == "processing", "{reply:?}");
    let after: u64 = reply.header("retry-after").context("when to look again")?.parse()?;
    ensure!(after > 0, "{reply:?}");
    ensure!(journal::of_order(&world.stack.report.state, &order.url)?.is_empty(), "{} is signed", order.url);
    Ok(())
}

#[test]
fn a_spent_budget_keeps_its_own_edge_waiting_and_leaves_the_other_alone() -> Result<()> {
    let (_turn, world) = (one_at_a_time(), world());
    let (spender, other) = (world.account(0, "spends.test")?, world.account(1, "saves.test")?);
    let mine = |intent: &&serde_json::Value| intent["scope"] == "everything";
    let spent = world.records("intent")?.iter().filter(mine).count();
    let most = i64::try_from(spent + 2)?;
    world.reconfigure(|configuration| set_budget(configuration, Some(most)))?;
    for _ in 0..2 {
        issue(&spender, "spends.test")?;
    }
    let order = ready(&spender, "spends.test")?;
    finalize(&spender, "spends.test", &order)?;
    let said = format!("scope everything: {most} certificates in 86400 s are spent; there is more in");
    until("the signer says why", 20, || logged(world, &[&order.url, EDGES[0], "OverBudget", &said]))?;
    waits(world, &spender, &order)?;
    for _ in 0..4 {
        issue(&other, "saves.test")?;
    }
    waits(world, &spender, &order)?;
    let refused = world.records("refused")?;
    let refused: Vec<_> = refused.iter().filter(|refused| refused["reason"] == "over-budget").collect();
    ensure!(!refused.is_empty() && refused.iter().all(|refused| refused["edge"] == EDGES[0]), "{refused:?}");
    // More of it, and the order goes on by itself.
    world.reconfigure(|configuration| set_budget(configuration, None))?;
    spender.certificate(&order).map(drop)
}

/// The budget of the first edge's scope, a day.
fn set_budget(configuration: &mut toml::Table, most: Option<i64>) {
    let scopes = configuration.get_mut("scope").and_then(toml::Value::as_array_mut).expect("scopes");
    let scope = scopes.iter_mut().find(|scope| scope["name"].as_str() == Some("everything"));
    let scope = scope.and_then(toml::Value::as_table_mut).expect("the first edge's scope");
    match most {
        Some(most) => scope.insert("budget".into(), toml::Table::from_iter([("per_day".into(), most.into())]).into()),
        None => scope.remove("budget"),
    };
}

#[test]
fn an_edge_that_the_signer_stops_gets_no_answer_and_the_other_goes_on() -> Result<()> {
    let (_turn, world) = (one_at_a_time(), world());
    let (stopped, other) = (world.account(0, "stopped.test")?, world.account(1, "goes.test")?);
    let order = ready(&stopped, "stopped.test")?;
    world.signer(["stop", "--edge", EDGES[0]])?;
    until("it holds", 10, || logged(world, &["what is stopped has changed", EDGES[0]]))?;
    finalize(&stopped, "stopped.test", &order)?;
    for _ in 0..3 {
        issue(&other, "goes.test")?;
    }
    waits(world, &stopped, &order)?;
    world.signer(["resume", "--edge", EDGES[0]])?;
    stopped.certificate(&order)?;
    let stops = world.records("stops")?;
    let stops: Vec<_> = stops.iter().map(|stops| stops["edges"].clone()).collect();
    assert_eq!(stops, [serde_json::json!([EDGES[0]]), serde_json::json!([])]);
    Ok(())
}
