//! Who may come, and how often: external account bindings and rate limits, on the real platform.
#![cfg(feature = "stack")]

use std::{sync::OnceLock, thread};

use anyhow::Result;
use serde_json::{Value, json};
use tests::{
    account::Account,
    binding::BindingKey,
    client::{Client, Reply},
    key::AccountKey,
    responder::Responder,
    stack::{Options, Stack},
};

/// A stack where accounts need a binding and everything is limited, and its key.
struct World {
    stack: Stack,
    responder: Responder,
    binding: BindingKey,
}

fn world() -> &'static World {
    static WORLD: OnceLock<Result<World, String>> = OnceLock::new();
    let start = || -> Result<World> {
        let responder = Responder::start()?;
        let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), "admission")?.http_port(responder.port);
        let stack = Stack::up(options.with(["--eab", "required", "--rate-limits"]))?;
        let binding = BindingKey::read(stack.report.external_account.as_deref())?;
        Ok(World { stack, responder, binding })
    };
    let world = WORLD.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    world.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

/// A client at this address: limits of addresses are each test's own.
fn client(address: &str) -> Result<Client> {
    Ok(Client::of(&world().stack.report)?.from_address(address))
}

fn register(client: &Client, key: &AccountKey) -> Result<Reply> {
    let binding = world().binding.bind(&key.jwk(), client.url("newAccount"))?;
    Account::register(client, key, &json!({ "externalAccountBinding": binding }))
}

fn account(client: &Client) -> Result<Account> {
    let key = AccountKey::es256();
    let reply = register(client, &key)?.expect(201)?;
    Ok(Account::of(client, key, reply.location()?))
}

/// Refused for being too often, with a time to wait that is no longer than an hour.
fn limited(reply: &Reply) -> Result<()> {
    assert_eq!((reply.status, reply.problem()?.as_str()), (429, "rateLimited"), "{reply:?}");
    let seconds: u64 = reply.header("retry-after").unwrap_or_default().parse()?;
    assert!((1..=3600).contains(&seconds), "{reply:?}");
    reply.nonce().map(drop)
}

#[test]
fn without_a_binding_there_is_no_account_and_with_one_it_is_shown() -> Result<()> {
    let client = client("192.0.2.1")?;
    assert_eq!(client.directory["meta"]["externalAccountRequired"], true);
    let key = AccountKey::es256();
    let reply = Account::register(&client, &key, &json!({}))?.expect(403)?;
    assert_eq!(reply.problem()?, "externalAccountRequired");
    let other = AccountKey::es256();
    let foreign = world().binding.bind(&other.jwk(), client.url("newAccount"))?;
    let reply = Account::register(&client, &key, &json!({ "externalAccountBinding": foreign }))?.expect(400)?;
    assert_eq!(reply.problem()?, "malformed");
    let mut wrong = world().binding.bind(&key.jwk(), client.url("newAccount"))?;
    wrong["signature"] = json!("AAAA");
    let reply = Account::register(&client, &key, &json!({ "externalAccountBinding": wrong }))?.expect(403)?;
    assert_eq!(reply.problem()?, "unauthorized");

    let reply = register(&client, &key)?.expect(201)?;
    assert_eq!(reply.hops()?, 3, "the account, the nonce's shard, the meter of the address");
    let shown = |reply: &Reply| -> Result<Value> { Ok(reply.json()?["externalAccountBinding"]["protected"].clone()) };
    assert!(shown(&reply)?.is_string());
    let account = Account::of(&client, key, reply.location()?);
    assert!(shown(&account.read(&account.url)?)?.is_string());
    account.issue(&["bound.test"], &world().responder).map(drop)
}

#[test]
fn an_address_opens_so_many_accounts_and_another_goes_on() -> Result<()> {
    let crowded = client("2001:db8:7::1")?;
    for _ in 0..10 {
        register(&crowded, &AccountKey::es256())?.expect(201)?;
    }
    // Another address of the same network is the same client.
    let neighbour = client("2001:db8:7:ff::1")?;
    limited(&register(&neighbour, &AccountKey::es256())?)?;
    let other = client("2001:db8:8::1")?;
    let key = AccountKey::es256();
    register(&other, &key)?.expect(201)?;
    // Finding an account is not opening one.
    for _ in 0..11 {
        Account::register(&other, &key, &json!({}))?.expect(200)?;
    }
    Ok(())
}

#[test]
fn where_accounts_are_counted_by_address_one_of_an_unknown_address_is_not_opened() -> Result<()> {
    let unknown = Client::of(&world().stack.report)?;
    for client in [unknown.clone(), unknown.from_address("192.0.2.9, 198.51.100.1"), unknown.from_address("localhost")]
    {
        let reply = register(&client, &AccountKey::es256())?.expect(500)?;
        assert_eq!(reply.problem()?, "serverInternal");
    }
    assert!(
        world()
            .stack
            .log("edge")?
            .contains("in the header CF-Connecting-IP, which rate_limits.accounts_per_address needs")
    );
    Ok(())
}

/// Challenges of several accounts that are answered at the same time begin no more validations than may fail.
#[test]
fn of_twenty_challenges_at_the_same_time_as_many_are_looked_at_as_may_fail() -> Result<()> {
    let responder = Responder::start()?;
    let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), "admission-parallel")?.http_port(responder.port);
    let rate = |count: u32| json!({"count": count, "seconds": 3600});
    let limits = json!({"failures_per_account": rate(20), "failures_per_binding": rate(3)});
    let stack = Stack::up(options.set("rate_limits", &limits).with(["--eab", "required"]))?;
    let (client, binding) = (Client::of(&stack.report)?, BindingKey::read(stack.report.external_account.as_deref())?);
    let open = || -> Result<Account> {
        let key = AccountKey::es256();
        let proof = binding.bind(&key.jwk(), client.url("newAccount"))?;
        let reply = Account::register(&client, &key, &json!({ "externalAccountBinding": proof }))?.expect(201)?;
        Ok(Account::of(&client, key, reply.location()?))
    };
    let accounts = [open()?, open()?];
    // Those that succeed are given back.
    for index in 0..5 {
        accounts[0].issue(&[&format!("{index}.good.test")], &responder)?;
    }
    let mut requests = Vec::new();
    for account in &accounts {
        let names: Vec<_> = (0..10).map(|index| format!("{index}.failing.test")).collect();
        let order = account.order(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        for url in order.authorizations()? {
            let authorization = account.read_patiently(&url)?.expect(200)?.json()?;
            let url =
                tests::account::challenge(&authorization, "http-01")?["url"].as_str().unwrap_or_default().to_owned();
            let body = account.sign(&url, &client.nonce()?, b"{}")?;
            requests.push((url, body));
        }
    }
    let replies = thread::scope(|scope| {
        let client = &client;
        let posted: Vec<_> = requests.iter().map(|(url, body)| scope.spawn(move || client.post(url, body))).collect();
        posted.into_iter().map(|reply| reply.join().expect("no panic")).collect::<Result<Vec<_>>>()
    })?;
    let begun = replies.iter().filter(|reply| reply.status == 200).count();
    // The last of those that succeeded may not be given back yet.
    assert!((1..=3).contains(&begun), "{begun}");
    assert_eq!(replies.iter().filter(|reply| reply.status == 429).count(), 20 - begun);
    Ok(())
}

#[test]
fn an_account_orders_so_often_and_fails_so_often() -> Result<()> {
    let client = client("192.0.2.3")?;
    let account = account(&client)?;
    let new_order = client.url("newOrder");
    let order = |name: &str| account.post(new_order, &json!({"identifiers": [{"type": "dns", "value": name}]}));
    // Three failed validations (nobody answers) are what an account may have.
    for index in 0..3 {
        let order = account.order(&[&format!("{index}.failing.test")])?;
        let authorization = account.read_patiently(&order.authorizations()?[0])?.expect(200)?.json()?;
        let challenge = tests::account::challenge(&authorization, "http-01")?;
        account.post(challenge["url"].as_str().unwrap_or_default(), &json!({}))?.expect(200)?;
        assert!(account.wait(&order.url, "ready").is_err());
    }
    limited(&order("a.failing.test")?)?;
    // An order without a failure counts alone.
    let account = self::account(&client)?;
    let order = |name: &str| account.post(new_order, &json!({"identifiers": [{"type": "dns", "value": name}]}));
    let refused = order("refused.invalid")?;
    assert_eq!(refused.problem()?, "rejectedIdentifier");
    let mut made = 0;
    for index in 0..20 {
        let reply = order(&format!("{index}.ordered.test"))?;
        if reply.status == 429 {
            // All accounts of the binding together have another limit; the tests beside this one use it too.
            assert!(reply.json()?["detail"].as_str().unwrap_or_default().contains("binding"), "{reply:?}");
            return limited(&reply);
        }
        reply.expect(201)?;
        made += 1;
    }
    assert_eq!(made, 20);
    limited(&order("one-more.ordered.test")?)
}
