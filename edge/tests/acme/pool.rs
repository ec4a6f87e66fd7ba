//! The pool of signers over virtual time: thousands of orders, and signers that are fast, slow, dead, hung and flapping.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use edge::acme::pool::{Millis, Outcome, Outlook, Pool, Wanted, config::SignerConfig};
use serde_json::{Value, json};
use shared::{
    base64url::Base64Url,
    profile::ProfileName,
    public_key::KeyKind,
    signing::{IssuerStatus, JournalState, Status, TokenState, TokenStatus},
};

/// How long the simulated edge waits for an answer and for a status, and how long an order is one signer's alone.
const ANSWER: Millis = 12_000;
const STATUS: Millis = 5000;
const LEASE: Millis = 25_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Up,
    /// Connections are refused.
    Dead,
    /// Nothing is answered.
    Hung,
}

/// A signer: tokens with one queue, and a journal that survives everything.
struct Machine {
    signature: Millis,
    free: Vec<Millis>,
    /// When its health changes, to what.
    fate: Vec<(Millis, Health)>,
    /// Orders with the time of their signature, as far as they are in the queue or done.
    jobs: BTreeMap<usize, Millis>,
    questions: Vec<Millis>,
    probes: Vec<Millis>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Ask(usize),
    Answer(usize, usize, Answer),
    Told(usize, bool),
    Tick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    Issued,
    Queued(u64),
    Nothing,
}

struct Simulation {
    configs: Vec<SignerConfig>,
    pool: Pool,
    machines: Vec<Machine>,
    now: Millis,
    events: BinaryHeap<Reverse<(Millis, usize, Event)>>,
    sequence: usize,
    /// By order: its signer, and until when it is that one's alone.
    leases: BTreeMap<usize, (usize, Millis)>,
    /// By order: when it was made, and by whom.
    done: BTreeMap<usize, (Millis, usize)>,
}

fn signer(number: usize, more: &Value) -> SignerConfig {
    let mut object = json!({"binding": format!("SIGNER_{number}"), "url": "https://signer.test"});
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(object).unwrap()
}

fn profile() -> ProfileName {
    "server".parse().unwrap()
}

fn status(machine: &Machine, queued: usize) -> Status {
    let token = |_| TokenStatus {
        state: TokenState::Ready,
        reason: String::new(),
        median_ms: Some(machine.signature),
        tail_ms: None,
        signatures: 1,
        token: String::new(),
        since: None,
        failures: 0,
        hangs: 0,
        refusals: 0,
    };
    let issuer = IssuerStatus {
        name: "a1".into(),
        chain: vec![Base64Url(vec![1])],
        tokens: (0..machine.free.len()).map(token).collect(),
        drained: false,
        crl_shards: Vec::new(),
    };
    Status {
        version: String::new(),
        issuers: vec![issuer],
        journal_length: 0,
        journal_head: Base64Url(Vec::new()),
        queued: queued as u64,
        policy: Base64Url(Vec::new()),
        journal: JournalState::Writable,
    }
}

impl Machine {
    fn new(tokens: usize, signature: Millis) -> Self {
        let free = vec![0; tokens];
        Self { signature, free, fate: Vec::new(), jobs: BTreeMap::new(), questions: Vec::new(), probes: Vec::new() }
    }

    fn that(mut self, fate: &[(Millis, Health)]) -> Self {
        self.fate = fate.to_vec();
        self
    }

    fn health(&self, now: Millis) -> Health {
        self.fate.iter().rev().find(|(since, _)| *since <= now).map_or(Health::Up, |(_, health)| *health)
    }

    /// What waited when it died or hung is lost with its memory.
    fn forget(&mut self, now: Millis) {
        let Some((since, _)) = self.fate.iter().rev().find(|(since, health)| *since <= now && *health != Health::Up)
        else {
            return;
        };
        let (since, back) = (*since, self.fate.iter().find(|(at, health)| at > since && *health == Health::Up));
        let back = back.map_or(Millis::MAX, |(at, _)| *at);
        self.jobs.retain(|_, signed| *signed <= since || *signed >= back);
        for free in &mut self.free {
            if *free > since && *free < back.saturating_add(1) {
                *free = back.min(now);
            }
        }
    }

    /// When the order's certificate is or will be signed.
    fn job(&mut self, order: usize, now: Millis) -> Millis {
        if let Some(signed) = self.jobs.get(&order) {
            return *signed;
        }
        let free = self.free.iter_mut().min().unwrap();
        *free = now.max(*free) + self.signature;
        let signed = *free;
        self.jobs.insert(order, signed);
        signed
    }
}

impl Simulation {
    fn new(signers: Vec<(Value, Machine)>) -> Self {
        let numbered = signers.iter().enumerate();
        let configs: Vec<_> = numbered.map(|(number, (more, _))| signer(number, more)).collect();
        Self {
            pool: Pool::new(&configs),
            configs,
            machines: signers.into_iter().map(|(_, machine)| machine).collect(),
            now: 0,
            events: BinaryHeap::new(),
            sequence: 0,
            leases: BTreeMap::new(),
            done: BTreeMap::new(),
        }
    }

    fn at(&mut self, time: Millis, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((time, self.sequence, event)));
    }

    fn number(&self, binding: &str) -> usize {
        self.configs.iter().position(|config| config.binding == binding).unwrap()
    }

    /// Lets orders arrive, one each `gap` milliseconds from `start`, and runs until all are done.
    fn run(&mut self, orders: usize, gap: impl Fn(usize) -> Millis) {
        for order in 0..orders {
            self.at(gap(order), Event::Ask(order));
        }
        self.at(0, Event::Tick);
        while let Some(Reverse((time, _, event))) = self.events.pop() {
            assert!(time < 3_600_000, "{} of {orders} orders are done after an hour", self.done.len());
            self.now = time;
            for machine in &mut self.machines {
                machine.forget(time);
            }
            match event {
                Event::Ask(order) => self.ask(order),
                Event::Answer(order, number, answer) => self.answered(order, number, answer),
                Event::Told(number, true) => {
                    let queued = self.machines[number].jobs.values().filter(|signed| **signed > self.now).count();
                    let status = status(&self.machines[number], queued);
                    self.pool.learned(&self.configs[number].binding, &status, |_| true, 20, self.now);
                }
                Event::Told(number, false) => self.pool.unreached(&self.configs[number].binding, self.now),
                Event::Tick if self.done.len() == orders => {}
                Event::Tick => self.tick(),
            }
        }
        assert_eq!(self.done.len(), orders, "an order was lost");
        for order in 0..orders {
            let signed = |machine: &&Machine| machine.jobs.get(&order).is_some_and(|signed| *signed <= self.now);
            assert_eq!(self.machines.iter().filter(signed).count(), 1, "order {order} was signed twice");
        }
    }

    fn tick(&mut self) {
        for binding in self.pool.probe(self.now) {
            let number = self.number(&binding);
            self.machines[number].probes.push(self.now);
            let (told, after) = match self.machines[number].health(self.now) {
                Health::Up => (true, 20),
                Health::Dead => (false, 1),
                Health::Hung => (false, STATUS),
            };
            self.at(self.now + after, Event::Told(number, told));
        }
        self.at(self.now + 200, Event::Tick);
    }

    fn ask(&mut self, order: usize) {
        let (profile, not) = (profile(), self.leases.get(&order).map(|(number, _)| *number));
        let number = match self.leases.get(&order) {
            Some((number, until)) if self.now <= *until => *number,
            _ => {
                let not = not.map(|number| self.configs[number].binding.as_str());
                let wanted = Wanted { profile: &profile, key: KeyKind::P256, lot: order, not };
                let outlook = Outlook { pool: &self.pool, colo: None, now: self.now };
                let chosen = outlook.choose(&wanted).unwrap().to_owned();
                self.pool.chosen(&chosen, self.now);
                let number = self.number(&chosen);
                self.leases.insert(order, (number, self.now + LEASE));
                number
            }
        };
        self.pool.asked(&self.configs[number].binding);
        let machine = &mut self.machines[number];
        machine.questions.push(self.now);
        let (answer, after) = match machine.health(self.now) {
            Health::Dead => (Answer::Nothing, 1),
            Health::Hung => (Answer::Nothing, ANSWER),
            Health::Up => match machine.job(order, self.now).saturating_sub(self.now) {
                soon @ 0..10_000 => (Answer::Issued, soon),
                late => (Answer::Queued(late.div_ceil(1000)), 10),
            },
        };
        self.at(self.now + after, Event::Answer(order, number, answer));
    }

    fn answered(&mut self, order: usize, number: usize, answer: Answer) {
        // A signer that died since it was asked answers nothing.
        let gone = answer == Answer::Issued && !self.machines[number].jobs.contains_key(&order);
        let answer = if gone { Answer::Nothing } else { answer };
        let (outcome, again) = match answer {
            Answer::Issued => {
                self.done.insert(order, (self.now, number));
                (Outcome::Settled, None)
            }
            Answer::Queued(seconds) => {
                self.leases.insert(order, (number, self.now + seconds * 1000 + LEASE));
                (Outcome::Queued(seconds), Some(seconds * 1000))
            }
            Answer::Nothing => (Outcome::Unreachable, Some(2000)),
        };
        self.pool.answered(&self.configs[number].binding, Some(outcome), self.now);
        if let Some(again) = again {
            self.at(self.now + again, Event::Ask(order));
        }
    }

    fn made_by(&self, number: usize) -> usize {
        self.done.values().filter(|(_, by)| *by == number).count()
    }

    fn last(&self) -> Millis {
        self.done.values().map(|(at, _)| *at).max().unwrap()
    }
}

#[test]
fn a_burst_spreads_in_proportion_to_what_tokens_do() {
    let machines = [(1, 250), (2, 250), (2, 125)].map(|(tokens, signature)| Machine::new(tokens, signature));
    let mut simulation = Simulation::new(machines.into_iter().map(|machine| (json!({}), machine)).collect());
    // All at once, as soon as each signer has told its rate.
    simulation.run(2800, |order| 1000 + order as Millis / 100);
    // 4, 8 and 16 signatures a second.
    for (number, rate) in [(0, 4), (1, 8), (2, 16)] {
        let share = simulation.made_by(number) as f64 / 2800.0 * 28.0 / f64::from(rate);
        assert!((0.95..1.05).contains(&share), "signer {number} had {share} of its share");
    }
    let ideal = 2800.0 / 28.0 * 1000.0;
    let took = (simulation.last() - 1000) as f64;
    assert!(took < ideal / 0.95, "{took} ms, where the tokens alone take {ideal}");
}

#[test]
fn a_dead_signer_is_left_alone_and_comes_back_by_itself() {
    let dead = Machine::new(2, 250).that(&[(30_000, Health::Dead), (120_000, Health::Up)]);
    let mut simulation = Simulation::new(vec![(json!({}), Machine::new(2, 250)), (json!({}), dead)]);
    simulation.run(2000, |order| order as Millis * 100);
    let dead = &simulation.machines[1];
    let during = |times: &[Millis]| times.iter().filter(|time| (35_000..120_000).contains(*time)).count();
    // Orders that it had are asked about until their lease is over; new ones go elsewhere.
    assert!(during(&dead.questions) < 60, "{} questions while it was dead", during(&dead.questions));
    assert!((4..12).contains(&during(&dead.probes)), "{} probes while it was dead", during(&dead.probes));
    let back = dead.questions.iter().find(|time| **time >= 120_000).copied().unwrap_or(Millis::MAX);
    assert!(back < 138_000, "it was taken again only at {back}");
    let slowest = simulation.done.iter().map(|(order, (at, _))| at - *order as Millis * 100).max().unwrap();
    assert!(slowest < 2 * LEASE, "an order took {slowest} ms");
}

#[test]
fn hung_slow_and_flapping_signers_lose_nothing_and_double_nothing() {
    let hung = Machine::new(2, 250).that(&[(20_000, Health::Hung), (80_000, Health::Up)]);
    let flaps: Vec<_> =
        (0..20).flat_map(|number| [(number * 14_000, Health::Dead), (number * 14_000 + 7000, Health::Up)]).collect();
    let machines = [Machine::new(2, 250), hung, Machine::new(1, 2000), Machine::new(2, 250).that(&flaps)];
    let mut simulation = Simulation::new(machines.into_iter().map(|machine| (json!({}), machine)).collect());
    simulation.run(3000, |order| order as Millis * 70);
    let hung = &simulation.machines[1];
    let during = hung.questions.iter().filter(|time| (35_000..80_000).contains(*time)).count();
    assert!(during < 300, "{during} questions while it hung");
    assert!(simulation.made_by(2) < simulation.made_by(0) / 4, "the slow one had no more than it can do");
    assert!((0..4).all(|number| simulation.made_by(number) > 0));
}

#[test]
fn a_last_resort_is_taken_only_while_no_other_can_be_used() {
    let dead = [(30_000, Health::Dead), (60_000, Health::Up)];
    let resort = (json!({"last_resort": true}), Machine::new(4, 50));
    let mut simulation = Simulation::new(vec![(json!({}), Machine::new(2, 250).that(&dead)), resort]);
    simulation.run(600, |order| order as Millis * 200);
    assert!(!simulation.machines[1].questions.is_empty());
    assert!(simulation.machines[1].questions.iter().all(|time| (30_000..78_000).contains(time)));
}

#[test]
fn weights_and_marks_are_kept() {
    let configs = [json!({"weight": 3}), json!({}), json!({"drain": true}), json!({"profiles": ["client"]})];
    let mut simulation = Simulation::new(configs.into_iter().map(|config| (config, Machine::new(2, 250))).collect());
    simulation.run(1000, |order| 1000 + order as Millis * 40);
    let made: Vec<_> = (0..4).map(|number| simulation.made_by(number)).collect();
    assert!(made[0] > made[1] && made[1] > 0, "{made:?}");
    assert_eq!(made[2..], [0, 0], "one is drained, one issues by another profile");
}

#[test]
fn a_signer_without_an_issuer_under_the_root_gets_nothing_and_one_that_is_near_is_preferred() {
    let configs = [signer(0, &json!({"colos": ["AMS", "FRA"]})), signer(1, &json!({})), signer(2, &json!({}))];
    let mut pool = Pool::new(&configs);
    let machine = Machine::new(1, 250);
    for config in &configs {
        pool.learned(&config.binding, &status(&machine, 0), |_| config.binding != "SIGNER_1", 20, 0);
    }
    let profile = profile();
    let taken = |pool: &Pool, colo| -> BTreeSet<_> {
        let choose = |lot| {
            let wanted = Wanted { profile: &profile, key: KeyKind::P256, lot, not: None };
            Outlook { pool, colo, now: 0 }.choose(&wanted).unwrap().to_owned()
        };
        (0..9).map(choose).collect()
    };
    assert_eq!(taken(&pool, None), ["SIGNER_0", "SIGNER_2"].map(str::to_owned).into());
    assert_eq!(taken(&pool, Some("EWR")), ["SIGNER_2".to_owned()].into(), "the near one is for others");
    (0..6).for_each(|_| pool.chosen("SIGNER_2", 0));
    assert_eq!(taken(&pool, Some("EWR")), ["SIGNER_0".to_owned()].into(), "but a long wait is worse than a long way");
}

#[test]
fn a_signer_that_hung_is_asked_again_at_once_and_has_its_share_again_after_its_next_answer() {
    let configs = [signer(0, &json!({})), signer(1, &json!({}))];
    let mut pool = Pool::new(&configs);
    let machine = Machine::new(2, 250);
    let mut now = 0;
    let mut asked_again = |took| {
        now += 20_000;
        assert_eq!(pool.probe(now).len(), 2);
        for (binding, took) in [("SIGNER_0", took), ("SIGNER_1", 20)] {
            pool.learned(binding, &status(&machine, 0), |_| true, took, now);
        }
        pool.probe(now + 1)
    };
    assert_eq!(asked_again(20), Vec::<String>::new());
    assert_eq!(asked_again(900), Vec::<String>::new());
    assert_eq!(asked_again(4000), ["SIGNER_0"]);
    pool.learned("SIGNER_0", &status(&machine, 0), |_| true, 20, now);
    let outlook = Outlook { pool: &pool, colo: None, now };
    assert_eq!(outlook.expected_wait("SIGNER_0"), outlook.expected_wait("SIGNER_1"));
}
