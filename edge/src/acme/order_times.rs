//! notBefore and notAfter of an order: the times that a client asks for, and whether a profile gives them (RFC 8555
//! §7.4).

use shared::{
    profile::ProfileName,
    timestamp::{Timestamp, parse_optional_rfc3339},
};

use super::step::Context;

/// The most characters of a client's text that are repeated.
const SHOWN: usize = 64;

/// The times of an order as its client wrote them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskedTimes {
    /// First valid second.
    pub not_before: Option<String>,
    /// Last valid second.
    pub not_after: Option<String>,
}

/// The times that an order asks for, which its profile gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderTimes {
    /// First valid second; nothing when the signer chooses.
    pub not_before: Option<Timestamp>,
    /// Last valid second; nothing when the signer chooses.
    pub not_after: Option<Timestamp>,
}

/// Why the times of an order are refused. Each is a sentence for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTimes {
    /// A text that is no time.
    #[error("\"{member}\" is {text:?}, which is not a time of RFC 3339 such as 2026-11-21T12:00:00Z")]
    Form {
        /// `notBefore` or `notAfter`.
        member: &'static str,
        /// The beginning of its text.
        text: String,
    },
    /// The certificate would begin when the longest one of now has ended.
    #[error(
        "\"notBefore\" is {asked}; the latest that the profile \"{profile}\" of {seconds} seconds gives now is {limit}"
    )]
    NotBefore {
        /// What was asked for.
        asked: Timestamp,
        /// The latest possible one.
        limit: Timestamp,
        /// The order's profile.
        profile: ProfileName,
        /// Its validity.
        seconds: u64,
    },
    /// The certificate would end before it begins.
    #[error("\"notAfter\" is {asked}, which is not after now and \"notBefore\"; the earliest possible is {limit}")]
    Ended {
        /// What was asked for.
        asked: Timestamp,
        /// The earliest possible one.
        limit: Timestamp,
    },
    /// The certificate would end later than one of now can.
    #[error(
        "\"notAfter\" is {asked}; the latest that the profile \"{profile}\" of {seconds} seconds gives now is {limit}. \
         Ask for that or less, or leave \"notAfter\" out"
    )]
    NotAfter {
        /// What was asked for.
        asked: Timestamp,
        /// The latest possible one.
        limit: Timestamp,
        /// The order's profile.
        profile: ProfileName,
        /// Its validity.
        seconds: u64,
    },
}

impl AskedTimes {
    /// Returns the times, if they can be given by this profile. A client that names only the first second gets the last
    /// one that is possible. A notAfter of exactly now and the profile's validity is given: the certificate begins a
    /// second after the order at the earliest then, because both of its ends are included (RFC 5280 §4.1.2.5).
    ///
    /// # Errors
    /// [`BadTimes`].
    pub fn check(self, profile: &ProfileName, context: &Context<'_>) -> Result<OrderTimes, BadTimes> {
        let not_before = parse("notBefore", self.not_before)?;
        let not_after = parse("notAfter", self.not_after)?;
        let seconds = context.config.profiles.get(profile).map_or(0, |profile| profile.validity_seconds);
        let first = not_before.unwrap_or(context.now).max(context.now);
        let last_of_now = context.now.plus(seconds.saturating_sub(1));
        match not_after {
            None if first > last_of_now => {
                Err(BadTimes::NotBefore { asked: first, limit: last_of_now, profile: profile.clone(), seconds })
            }
            None => Ok(OrderTimes { not_before, not_after: not_before.map(|_| last_of_now) }),
            Some(asked) if asked <= context.now || asked < first => {
                Err(BadTimes::Ended { asked, limit: first.max(context.now.plus(1)) })
            }
            Some(asked) if asked > last_of_now.plus(1) => {
                Err(BadTimes::NotAfter { asked, limit: last_of_now.plus(1), profile: profile.clone(), seconds })
            }
            Some(_) => Ok(OrderTimes { not_before, not_after }),
        }
    }
}

impl OrderTimes {
    /// The notBefore for a signer that is asked now. One that has passed means from now on, or from when the profile's
    /// validity reaches the notAfter, which is a second later at most.
    #[must_use]
    pub fn not_before_now(self, profile: &ProfileName, context: &Context<'_>) -> Option<Timestamp> {
        let seconds = context.config.profiles.get(profile).map_or(0, |profile| profile.validity_seconds);
        let reaching = self.not_after.map(|last| last.minus(seconds.saturating_sub(1)));
        self.not_before.map(|asked| asked.max(context.now).max(reaching.unwrap_or(asked)))
    }
}

fn parse(member: &'static str, text: Option<String>) -> Result<Option<Timestamp>, BadTimes> {
    let Some(text) = text else { return Ok(None) };
    parse_optional_rfc3339(&text).map_err(|_| BadTimes::Form { member, text: text.chars().take(SHOWN).collect() })
}
