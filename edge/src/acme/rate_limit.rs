//! Rate limits (RFC 8555 §6.6): how often an address may open accounts, how often an account or an external account binding may
//! order, and how often its validations may fail. Every limit is a rate that the operator sets; only that of key changes is built in.
//!
//! A meter is one point in time (the generic cell rate algorithm): it costs the same at any rate, and says exactly when the
//! next attempt can succeed. What an account does is metered in its own rows, in the commit that it makes anyway. Addresses
//! and bindings have objects of their own, which are asked only where such a limit is set.

use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use shared::timestamp::Timestamp;

use super::{
    config::{BadConfig, Config},
    problem::Problem,
    record::{AccountRecord, Record},
    route::{Resource, Route},
    step::Context,
    storage::{Change, Key, Rows},
};

/// What an account's failures are called where they are too many: those that failed, and those that are under way.
const FAILURES: &str = "failed validations of this account";

/// The limits that are set. Unknown keys are errors.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimits {
    /// The header in which a proxy, or the platform, names the client's address: one address and nothing else.
    #[serde(default)]
    pub client_address_header: Option<String>,
    /// True: every request passes a proxy that sets that header itself and removes what a client sends in it. Without
    /// that the header says what a client likes, and is not read.
    #[serde(default)]
    pub client_address_set_by_proxy: bool,
    /// New accounts of one address; of IPv6 those of a whole network.
    #[serde(default)]
    pub accounts_per_address: Option<Rate>,
    /// The length of the prefix of such a network, in bits, 1 to 128.
    #[serde(default = "ipv6_prefix")]
    pub ipv6_prefix: u8,
    /// New orders of one account.
    #[serde(default)]
    pub orders_per_account: Option<Rate>,
    /// New orders of all accounts with one external account binding.
    #[serde(default)]
    pub orders_per_binding: Option<Rate>,
    /// Key changes of one account, 10 in a day where it is left out: each leaves a pointer in an object of its own.
    #[serde(default = "key_changes")]
    pub key_changes_per_account: Rate,
    /// Failed validations of one account.
    #[serde(default)]
    pub failures_per_account: Option<Rate>,
    /// Failed validations of all accounts with one external account binding.
    #[serde(default)]
    pub failures_per_binding: Option<Rate>,
}

/// So many at once, and so many in each such time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// At least one.
    pub count: u32,
    /// At least one.
    pub seconds: u64,
}

/// A meter as it is stored: until then, in milliseconds since the epoch, what was done would take at the rate's steady pace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Meter(u64);

/// What an account's own rows meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metered {
    /// New orders.
    Orders,
    /// Failed validations.
    Failures,
    /// Key changes.
    KeyChanges,
}

/// The rate is used up; so many whole seconds until it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsedUp(pub u64);

/// What is metered outside of an account's object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MeterName {
    /// Accounts of an address.
    Address(IpAddr),
    /// Orders and failures of a binding's accounts, by its key id.
    Binding(String),
}

/// A question to a meter outside, before a request may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterQuestion {
    /// Which.
    pub name: MeterName,
    /// Counts one more of what the meter is for (accounts, or orders), unless the rate is used up.
    pub take: Option<Rate>,
    /// Asks whether failures have used up this rate.
    pub failures: Option<Rate>,
    /// True: counts a failure in advance, for a validation that begins. It is given back when that does not begin after
    /// all, or succeeds: of requests at the same time no more get through than the rate allows.
    pub reserves: bool,
}

/// More than a client that replaces its key each few hours needs.
const fn key_changes() -> Rate {
    Rate { count: 10, seconds: 86_400 }
}

/// The smallest network that a provider assigns to a site (RFC 6177): who has one has 256 of /64.
const fn ipv6_prefix() -> u8 {
    56
}

impl Default for RateLimits {
    /// No limit but that of key changes.
    fn default() -> Self {
        Self {
            client_address_header: None,
            client_address_set_by_proxy: false,
            accounts_per_address: None,
            ipv6_prefix: ipv6_prefix(),
            orders_per_account: None,
            orders_per_binding: None,
            key_changes_per_account: key_changes(),
            failures_per_account: None,
            failures_per_binding: None,
        }
    }
}

impl RateLimits {
    /// The header that names the client's address, where the operator says that a proxy sets it.
    #[must_use]
    pub fn trusted_address_header(&self) -> Option<&str> {
        self.client_address_header.as_deref().filter(|_| self.client_address_set_by_proxy)
    }

    /// Refuses what can limit nothing.
    ///
    /// # Errors
    /// [`BadConfig::AddressHeader`], [`BadConfig::AddressTrust`], [`BadConfig::Ipv6Prefix`], [`BadConfig::Zero`].
    pub fn check(&self) -> Result<(), BadConfig> {
        if self.client_address_header.is_some() != self.client_address_set_by_proxy {
            return Err(BadConfig::AddressTrust);
        }
        if self.accounts_per_address.is_some() && self.trusted_address_header().is_none() {
            return Err(BadConfig::AddressHeader);
        }
        if !(1..=128).contains(&self.ipv6_prefix) {
            return Err(BadConfig::Ipv6Prefix);
        }
        let rates = [
            ("rate_limits.accounts_per_address", self.accounts_per_address),
            ("rate_limits.orders_per_account", self.orders_per_account),
            ("rate_limits.orders_per_binding", self.orders_per_binding),
            ("rate_limits.key_changes_per_account", Some(self.key_changes_per_account)),
            ("rate_limits.failures_per_account", self.failures_per_account),
            ("rate_limits.failures_per_binding", self.failures_per_binding),
        ];
        let zero = |(_, rate): &&(_, Option<Rate>)| rate.is_some_and(|rate| rate.count == 0 || rate.seconds == 0);
        rates.iter().find(zero).map_or(Ok(()), |(key, _)| Err(BadConfig::Zero(key)))
    }
}

impl Rate {
    const fn period(self) -> u64 {
        self.seconds.saturating_mul(1000)
    }

    const fn interval(self) -> u64 {
        match self.period().checked_div(self.count as u64) {
            Some(0) | None => 1,
            Some(interval) => interval,
        }
    }
}

impl Meter {
    /// Counts one more.
    ///
    /// # Errors
    /// When the rate is used up; nothing is counted then.
    pub fn take(self, rate: Rate, now: Timestamp) -> Result<Self, UsedUp> {
        let now = milliseconds(now);
        let next = self.0.max(now).saturating_add(rate.interval());
        match next.saturating_sub(now).checked_sub(rate.period()) {
            None | Some(0) => Ok(Self(next)),
            Some(early) => Err(UsedUp(early.div_ceil(1000))),
        }
    }

    /// Looks whether one more could be counted.
    ///
    /// # Errors
    /// When the rate is used up.
    pub fn check(self, rate: Rate, now: Timestamp) -> Result<(), UsedUp> {
        self.take(rate, now).map(drop)
    }

    /// Counts one more that has happened, allowed or not: but never so many that the wait is longer than the period.
    #[must_use]
    pub fn charge(self, rate: Rate, now: Timestamp) -> Self {
        let now = milliseconds(now);
        let next = self.0.max(now).saturating_add(rate.interval());
        Self(next.min(now.saturating_add(rate.period()).saturating_add(rate.interval())))
    }

    /// Takes back one that was counted.
    #[must_use]
    pub const fn refund(self, rate: Rate) -> Self {
        Self(self.0.saturating_sub(rate.interval()))
    }

    /// As it is stored outside of records.
    #[must_use]
    pub const fn from_milliseconds(until: u64) -> Self {
        Self(until)
    }

    /// The same back.
    #[must_use]
    pub const fn milliseconds(self) -> u64 {
        self.0
    }

    /// From then on the meter says nothing that an absent one does not.
    #[must_use]
    pub const fn forgettable_at(self) -> Timestamp {
        Timestamp::from_seconds(self.0.div_ceil(1000))
    }
}

impl Record for Meter {}

/// Counts a new order of the account.
///
/// # Errors
/// `rateLimited`.
pub fn take_order(rows: &dyn Rows, context: &Context<'_>) -> Result<Option<Change>, Problem> {
    check_failures(rows, context)?;
    let Some(rate) = limits(context.config).orders_per_account else { return Ok(None) };
    let meter = load(rows, Metered::Orders)?.take(rate, context.now);
    let meter = meter.map_err(|UsedUp(seconds)| Problem::RateLimited("new orders of this account", seconds))?;
    Ok(Some(put(meter, Metered::Orders)?))
}

/// Counts a key change, before another object is asked.
///
/// # Errors
/// `rateLimited`.
pub fn key_change(rows: &dyn Rows, context: &Context<'_>) -> Result<Change, Problem> {
    let rate = limits(context.config).key_changes_per_account;
    let meter = load(rows, Metered::KeyChanges)?.take(rate, context.now);
    let meter = meter.map_err(|UsedUp(seconds)| Problem::RateLimited("key changes of this account", seconds))?;
    put(meter, Metered::KeyChanges)
}

/// Refuses what would lead to a validation, when too many have failed.
///
/// # Errors
/// `rateLimited`.
pub fn check_failures(rows: &dyn Rows, context: &Context<'_>) -> Result<(), Problem> {
    let Some(rate) = limits(context.config).failures_per_account else { return Ok(()) };
    let checked = load(rows, Metered::Failures)?.check(rate, context.now);
    checked.map_err(|UsedUp(seconds)| Problem::RateLimited(FAILURES, seconds))
}

/// Counts a validation that begins as one that fails, so that of several at the same time no more are run than may
/// fail; [`refund_failure`] takes that back. Nothing where no limit is set.
///
/// # Errors
/// `rateLimited`.
pub fn reserve_failure(rows: &dyn Rows, context: &Context<'_>) -> Result<Option<Change>, Problem> {
    let Some(rate) = limits(context.config).failures_per_account else { return Ok(None) };
    let meter = load(rows, Metered::Failures)?.take(rate, context.now);
    let meter = meter.map_err(|UsedUp(seconds)| Problem::RateLimited(FAILURES, seconds))?;
    Ok(Some(put(meter, Metered::Failures)?))
}

/// Takes back what [`reserve_failure`] has counted for a validation that succeeded.
///
/// # Errors
/// When rows cannot be read.
pub fn refund_failure(rows: &dyn Rows, context: &Context<'_>) -> Result<Option<Change>, Problem> {
    let Some(rate) = limits(context.config).failures_per_account else { return Ok(None) };
    Ok(Some(put(load(rows, Metered::Failures)?.refund(rate), Metered::Failures)?))
}

/// Counts a validation that failed and was not counted when it began.
///
/// # Errors
/// When rows cannot be read.
pub fn charge_failure(rows: &dyn Rows, context: &Context<'_>) -> Result<Option<Change>, Problem> {
    let Some(rate) = limits(context.config).failures_per_account else { return Ok(None) };
    Ok(Some(put(load(rows, Metered::Failures)?.charge(rate, context.now), Metered::Failures)?))
}

/// What a meter outside must be asked before this request may go on. `begins` says whether it would open an account, or
/// begin a validation.
///
/// # Errors
/// [`Problem::ClientAddress`]; when rows cannot be read.
pub fn question(
    rows: &dyn Rows,
    route: Route,
    begins: bool,
    client: Option<IpAddr>,
    config: &Config,
) -> Result<Option<MeterQuestion>, Problem> {
    let limits = limits(config);
    let question = match route {
        Route::NewAccount if begins => match (limits.accounts_per_address, client) {
            (None, _) => None,
            (Some(rate), Some(address)) => {
                let name = MeterName::Address(network(address, limits.ipv6_prefix));
                Some(MeterQuestion { name, take: Some(rate), failures: None, reserves: false })
            }
            (Some(_), None) => {
                let header = limits.client_address_header.clone().unwrap_or_default();
                return Err(Problem::ClientAddress(header));
            }
        },
        Route::NewOrder => binding_question(rows, limits.orders_per_binding, limits.failures_per_binding)?,
        Route::NewAuthorization => binding_question(rows, None, limits.failures_per_binding)?,
        Route::Of(_, Resource::Challenge(..)) if begins => {
            let question = binding_question(rows, None, limits.failures_per_binding)?;
            question.map(|question| MeterQuestion { reserves: true, ..question })
        }
        _ => None,
    };
    Ok(question.filter(|question| question.take.is_some() || question.failures.is_some()))
}

/// The binding whose meter has counted a validation of this account when it began.
///
/// # Errors
/// When rows cannot be read.
pub fn charged_binding(rows: &dyn Rows, config: &Config) -> Result<Option<(MeterName, Rate)>, Problem> {
    let question = binding_question(rows, None, limits(config).failures_per_binding)?;
    Ok(question.and_then(|question| question.failures.map(|rate| (question.name, rate))))
}

fn binding_question(
    rows: &dyn Rows,
    take: Option<Rate>,
    failures: Option<Rate>,
) -> Result<Option<MeterQuestion>, Problem> {
    if take.is_none() && failures.is_none() {
        return Ok(None);
    }
    let binding = AccountRecord::load(rows, Key::Account)?.and_then(|account| account.binding);
    Ok(binding.map(|binding| MeterQuestion {
        name: MeterName::Binding(binding.key_id),
        take,
        failures,
        reserves: false,
    }))
}

/// The network of an address of IPv6, which is its holder's as a whole; an address of IPv4 itself.
fn network(address: IpAddr, ipv6_prefix: u8) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let host_bits = 128_u32.saturating_sub(ipv6_prefix.into());
            let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
        address => address,
    }
}

fn limits(config: &Config) -> &RateLimits {
    &config.rate_limits
}

fn load(rows: &dyn Rows, metered: Metered) -> Result<Meter, Problem> {
    Ok(Meter::load(rows, Key::Meter(metered))?.unwrap_or_default())
}

/// An alarm deletes it when it says nothing any more.
fn put(meter: Meter, metered: Metered) -> Result<Change, Problem> {
    Ok(meter.put(Key::Meter(metered), Some(meter.forgettable_at()))?)
}

const fn milliseconds(at: Timestamp) -> u64 {
    at.seconds().saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(1_800_000_000 + seconds)
    }

    #[test]
    fn so_many_at_once_then_one_at_each_interval() {
        let rate = Rate { count: 3, seconds: 30 };
        let mut meter = Meter::default();
        for _ in 0..3 {
            meter = meter.take(rate, at(0)).unwrap();
        }
        assert_eq!(meter.take(rate, at(0)), Err(UsedUp(10)));
        assert_eq!(meter.take(rate, at(9)), Err(UsedUp(1)));
        meter = meter.take(rate, at(10)).unwrap();
        assert_eq!(meter.check(rate, at(10)), Err(UsedUp(10)));
        assert!(meter.check(rate, at(20)).is_ok());
        assert_eq!(meter.forgettable_at(), at(40));
    }

    #[test]
    fn charges_never_pile_up_beyond_the_period() {
        let rate = Rate { count: 2, seconds: 20 };
        let meter = (0..100).fold(Meter::default(), |meter, _| meter.charge(rate, at(0)));
        assert_eq!(meter.check(rate, at(0)), Err(UsedUp(20)));
        assert!(meter.check(rate, at(20)).is_ok());
    }

    #[test]
    fn an_ipv6_address_counts_as_its_network() {
        let table = [
            ("192.0.2.7", 56, "192.0.2.7"),
            ("::ffff:192.0.2.7", 1, "192.0.2.7"),
            ("2001:db8:1:2ff:3:4:5:6", 56, "2001:db8:1:200::"),
            ("2001:db8:1:2ff:3:4:5:6", 64, "2001:db8:1:2ff::"),
            ("2001:db8:1:2ff:3:4:5:6", 128, "2001:db8:1:2ff:3:4:5:6"),
            ("ffff::1", 1, "8000::"),
        ];
        for (address, prefix, counted) in table {
            assert_eq!(network(address.parse().unwrap(), prefix), counted.parse::<IpAddr>().unwrap(), "{address}");
        }
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_no_more_than_that() {
        let rate = Rate { count: 3, seconds: 30 };
        let full = (0..3).fold(Meter::default(), |meter, _| meter.take(rate, at(0)).unwrap());
        assert!(full.check(rate, at(0)).is_err());
        let one_back = full.refund(rate).take(rate, at(0)).unwrap();
        assert_eq!(one_back.check(rate, at(0)), Err(UsedUp(10)));
        // What is given back late, when it has come back by itself, is not there twice.
        let late = full.refund(rate).refund(rate).refund(rate);
        let again = (0..3).fold(late, |meter, _| meter.take(rate, at(1000)).unwrap());
        assert_eq!(again.check(rate, at(1000)), Err(UsedUp(10)));
    }

    proptest! {
        /// Whatever comes when: what is let through in any stretch of one period is at most twice the count (a full burst, and
        /// what comes back meanwhile); and who waits as long as was said is let through.
        #[test]
        fn the_rate_holds(count in 1_u32..20, seconds in 1_u64..100, waits in prop::collection::vec(0_u64..10, 1..200)) {
            let rate = Rate { count, seconds };
            let (mut meter, mut now, mut taken) = (Meter::default(), 0, Vec::new());
            for wait in waits {
                now += wait;
                match meter.take(rate, at(now)) {
                    Ok(next) => {
                        meter = next;
                        taken.push(now);
                    }
                    Err(UsedUp(retry_after)) => prop_assert!(meter.take(rate, at(now + retry_after)).is_ok()),
                }
                let recent = taken.iter().filter(|at| **at + seconds > now).count();
                prop_assert!(recent <= 2 * usize::try_from(count).unwrap());
            }
        }
    }
}
