//! Virtual time: what the queue does under loads that tokens cannot bear, beside the policies that it was chosen over. Four tokens
//! of 0.3 s a signature (13.3 a second), Poisson arrivals of certificates and OCSP responses, a CRL every ten seconds.

use std::collections::BTreeMap;

use super::{schedule::Schedule, *};

const TOKENS: usize = 4;
const SERVICE: f64 = 0.3;

/// splitmix64: the same run every time.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Time until the next arrival at so many a second.
    fn pause(&mut self, rate: f64) -> f64 {
        -(1.0 - self.uniform()).ln() / rate
    }
}

#[derive(Debug)]
struct Job {
    class: Class,
    arrived: f64,
    holder: u16,
    party: u16,
    /// What it was told when it came, if it was asked.
    promised: Option<f64>,
}

impl Waits for Job {
    fn party(&self) -> Party {
        let mut account = AccountKey::default();
        account[..2].copy_from_slice(&self.party.to_be_bytes());
        Party { holder: Holder::Binding(self.holder.to_string()), account }
    }
    fn deadline(&self) -> Timestamp {
        Timestamp::from_seconds(4_000_000_000)
    }
    fn fits(&self, _issuer: usize) -> bool {
        true
    }
    fn is_forsaken(&self, _now: Timestamp) -> bool {
        false
    }
    fn expire(self) {}
    fn turn_away(self) {}
}

/// What decides whose turn it is.
trait Policy {
    /// False: refused.
    fn push(&mut self, job: Job, now: f64) -> bool;
    fn take(&mut self, now: f64) -> Option<Job>;
}

/// By a key that a job has from its arrival, with at most so many of a class.
struct Keyed {
    key: fn(&Job) -> (u8, f64),
    most: fn(Class) -> usize,
    waiting: BTreeMap<(u8, u64, u64), Job>,
    counts: BTreeMap<Class, usize>,
    number: u64,
}

impl Keyed {
    fn new(key: fn(&Job) -> (u8, f64), most: fn(Class) -> usize) -> Self {
        Self { key, most, waiting: BTreeMap::new(), counts: BTreeMap::new(), number: 0 }
    }
}

impl Policy for Keyed {
    fn push(&mut self, job: Job, _now: f64) -> bool {
        let count = self.counts.entry(job.class).or_default();
        if *count >= (self.most)(job.class) {
            return false;
        }
        *count += 1;
        self.number += 1;
        let (major, minor) = (self.key)(&job);
        self.waiting.insert((major, (minor * 1e6) as u64, self.number), job);
        true
    }

    fn take(&mut self, _now: f64) -> Option<Job> {
        let (_, job) = self.waiting.pop_first()?;
        *self.counts.entry(job.class).or_default() -= 1;
        Some(job)
    }
}

impl Policy for Schedule<Job> {
    fn push(&mut self, mut job: Job, now: f64) -> bool {
        if self.is_full(job.class) {
            return false;
        }
        let (place, since) = (self.place(job.class), Duration::from_secs_f64(now));
        // Looking ahead costs more than the turn itself, so not everybody asks.
        if place.number % 97 == 0 {
            let pace = Duration::from_secs_f64(SERVICE / TOKENS as f64);
            job.promised = Some(self.wait_of_new(job.class, &job.party(), since, pace).as_secs_f64());
        }
        Schedule::push(self, place, job, since);
        true
    }

    fn take(&mut self, now: f64) -> Option<Job> {
        Schedule::take(self, |_| true, |_| true, Duration::from_secs_f64(now)).map(|(_, job)| job)
    }
}

/// Waits until the signature was begun, and refusals, by class; and pairs of promised and true times.
#[derive(Default)]
struct Outcome {
    waits: BTreeMap<Class, Vec<f64>>,
    refused: BTreeMap<Class, usize>,
    promises: Vec<(Class, f64, f64)>,
}

impl Outcome {
    fn quantile(&mut self, class: Class, part: f64) -> f64 {
        let waits = self.waits.entry(class).or_default();
        waits.sort_by(f64::total_cmp);
        let position = ((waits.len() - 1) as f64 * part) as usize;
        waits[position]
    }

    fn refused(&self, class: Class) -> f64 {
        let refused = self.refused.get(&class).copied().unwrap_or_default() as f64;
        refused / (refused + self.waits.get(&class).map_or(0, Vec::len) as f64)
    }
}

/// Arrivals a second of each class; parties of certificates.
struct Load {
    rates: Vec<(Class, f64)>,
    parties: u16,
    seconds: f64,
}

fn load(refresh: f64, seconds: f64) -> Load {
    Load { rates: vec![(Class::Renewal, 2.0), (Class::Refresh, refresh), (Class::Crl, 0.1)], parties: 20, seconds }
}

fn run(policy: &mut dyn Policy, load: &Load) -> Outcome {
    let mut random = Random(1);
    let mut next: Vec<(f64, Class, f64)> =
        load.rates.iter().map(|(class, rate)| (random.pause(*rate), *class, *rate)).collect();
    let mut free = [0.0_f64; TOKENS];
    let mut outcome = Outcome::default();
    loop {
        let arrival = (0..next.len()).min_by(|a, b| next[*a].0.total_cmp(&next[*b].0)).unwrap();
        let token = (0..TOKENS).min_by(|a, b| free[*a].total_cmp(&free[*b])).unwrap();
        // All that arrived before a token is free wait when it looks.
        if next[arrival].0 <= free[token] {
            let (now, class, rate) = next[arrival];
            next[arrival].0 += random.pause(rate);
            // Certificates are somebody's; what is said about them is nobody's more than another's.
            let party = if rank(class) == 0 { (random.uniform() * f64::from(load.parties)) as u16 } else { 0 };
            if !policy.push(Job { class, arrived: now, holder: party, party, promised: None }, now) {
                *outcome.refused.entry(class).or_default() += 1;
            }
            continue;
        }
        let now = free[token];
        if now > load.seconds {
            return outcome;
        }
        let Some(job) = policy.take(now) else {
            free[token] = next[arrival].0;
            continue;
        };
        free[token] = now + SERVICE;
        outcome.waits.entry(job.class).or_default().push(now - job.arrived);
        if let Some(promised) = job.promised {
            outcome.promises.push((job.class, promised, now - job.arrived));
        }
    }
}

fn chosen() -> Schedule<Job> {
    Schedule::new(TOKENS)
}

const fn rank(class: Class) -> u8 {
    match class {
        Class::Renewal | Class::New => 0,
        Class::Refresh | Class::Status | Class::Revocation => 1,
        Class::Crl => 2,
    }
}

const fn everything(_class: Class) -> usize {
    usize::MAX
}

#[test]
fn the_policies_that_were_not_chosen_fail_as_they_are_known_to() {
    let due = |job: &Job| (0, job.arrived + job.class.patience().as_secs_f64());
    let fifo = || Keyed::new(|job| (0, job.arrived), everything);
    let strict = || Keyed::new(|job| (rank(job.class), job.arrived), everything);
    let edf = || Keyed::new(due, everything);

    // At 98 % a first-come queue makes certificates wait as long as everything else.
    let mut at_98 = run(&mut fifo(), &load(11.0, 1500.0));
    assert!(at_98.quantile(Class::Renewal, 0.99) > 1.0);
    // Strict priority starves CRLs, and the more the longer it lasts.
    let mut at_165 = run(&mut strict(), &load(20.0, 1500.0));
    assert!(at_165.quantile(Class::Renewal, 0.99) < 0.5);
    assert!(at_165.waits.get(&Class::Crl).is_none_or(|waits| waits.len() < 10), "hardly any CRL is ever signed");
    // Deadlines without caps collapse: everything is late, so everything waits for the oldest.
    let mut collapsed = run(&mut edf(), &load(20.0, 1500.0));
    assert!(collapsed.quantile(Class::Renewal, 0.99) > 100.0);
}

#[test]
fn under_full_load_every_class_is_within_its_bound() {
    for (refresh, most_refused) in [(11.0, 0.02), (20.0, 0.46)] {
        let mut outcome = run(&mut chosen(), &load(refresh, 1500.0));
        assert!(outcome.quantile(Class::Renewal, 0.99) < 0.25, "{refresh}");
        assert!(outcome.quantile(Class::Refresh, 0.99) < 4.5, "{refresh}");
        assert!(outcome.quantile(Class::Crl, 1.0) < 60.0, "{refresh}");
        assert!(outcome.refused(Class::Refresh) < most_refused, "{refresh}: {}", outcome.refused(Class::Refresh));
        assert_eq!(outcome.refused(Class::Crl), 0.0);
    }
}

#[test]
fn a_day_at_165_percent_ends_as_it_began() {
    let mut outcome = run(&mut chosen(), &load(20.0, 86_400.0));
    assert!(outcome.quantile(Class::Renewal, 0.999) < 0.35);
    assert!(outcome.quantile(Class::Refresh, 0.999) < 5.5);
    assert!(outcome.quantile(Class::Crl, 1.0) < 60.0);
    let signed: usize = outcome.waits.values().map(Vec::len).sum();
    let capacity = 86_400.0 * TOKENS as f64 / SERVICE;
    assert!(signed as f64 > 0.99 * capacity, "no token ever rests while something waits");
}

#[test]
fn a_restart_of_thousands_starves_neither_crls_nor_revocations_nor_renewals() {
    // First issues alone are three times what the tokens can do.
    let rates = vec![
        (Class::New, 40.0),
        (Class::Renewal, 1.0),
        (Class::Revocation, 0.2),
        (Class::Crl, 0.1),
        (Class::Refresh, 5.0),
    ];
    let mut outcome = run(&mut chosen(), &Load { rates, parties: 20, seconds: 600.0 });
    assert!(outcome.quantile(Class::Renewal, 0.99) < 0.3);
    assert!(outcome.quantile(Class::Revocation, 0.99) < 0.3);
    assert!(outcome.quantile(Class::Crl, 1.0) < 60.0);
    let share =
        |class: Class, outcome: &Outcome| outcome.waits[&class].len() as f64 / (600.0 * TOKENS as f64 / SERVICE);
    assert!(share(Class::Refresh, &outcome) < 0.2);
    assert!(share(Class::New, &outcome) > 0.6);
}

#[test]
fn what_a_job_is_told_when_it_comes_is_what_happens_to_it() {
    let rates = vec![(Class::New, 11.0), (Class::Renewal, 1.0), (Class::Crl, 0.1)];
    let outcome = run(&mut chosen(), &Load { rates, parties: 1, seconds: 3600.0 });
    let waited: Vec<_> = outcome.promises.iter().filter(|(class, ..)| *class == Class::New).collect();
    assert!(waited.len() > 100);
    let promised: f64 = waited.iter().map(|(_, promised, _)| promised).sum();
    // A promise is of the end of the signature, a wait ends at its beginning.
    let happened: f64 = waited.iter().map(|(_, _, waited)| waited + SERVICE / TOKENS as f64).sum();
    let ratio = happened / promised;
    assert!((0.7..1.5).contains(&ratio), "{ratio}");
}

/// Puts in a certificate of an account of a holder.
fn ask(schedule: &mut Schedule<Job>, holder: u16, party: u16, now: f64) {
    let job = Job { class: Class::New, arrived: now, holder, party, promised: None };
    assert!(Policy::push(schedule, job, now));
}

#[test]
fn a_binding_with_a_thousand_jobs_of_many_accounts_delays_another_one_by_a_place() {
    let mut schedule = chosen();
    for job in 0..1000 {
        ask(&mut schedule, 1, job % 500, 0.0);
    }
    for done in 0..10 {
        assert_eq!(Policy::take(&mut schedule, SERVICE).unwrap().party, done, "by arrival among themselves");
    }
    ask(&mut schedule, 2, 1, SERVICE);
    let next = [(); 3].map(|()| Policy::take(&mut schedule, SERVICE).unwrap().holder);
    assert_eq!(next, [1, 2, 1]);
}

#[test]
fn a_flood_of_new_accounts_without_a_binding_does_not_delay_those_who_have_one() {
    let (mut schedule, mut waits, mut flood) = (chosen(), Vec::new(), 0);
    for round in 0..3000_u16 {
        let now = f64::from(round) * SERVICE / TOKENS as f64;
        // Three times what the tokens can do, each from an account of its own.
        for account in 0..3 {
            ask(&mut schedule, 0, round * 3 + account, now);
        }
        if round % 5 == 0 {
            ask(&mut schedule, 1 + round % 4, 0, now);
        }
        let job = Policy::take(&mut schedule, now).unwrap();
        if job.holder == 0 { flood += 1 } else { waits.push(now - job.arrived) }
    }
    assert_eq!(waits.len(), 600, "all of them");
    assert!(waits.iter().all(|wait| *wait <= SERVICE / TOKENS as f64 + 1e-9));
    assert_eq!(flood, 2400, "and the rest of the tokens is not wasted");
}
