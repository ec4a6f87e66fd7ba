//! Points in time as whole seconds, written as RFC 3339 in UTC (RFC 8555 §7.1.3) or as X.509 times (RFC 5280 §4.1.2.5).

use std::{fmt, str::FromStr, time::Duration};

use der::{
    DateTime,
    asn1::{GeneralizedTime, UtcTime},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use x509_cert::time::Time;

/// Seconds since 1970-01-01T00:00:00Z. On the wire RFC 3339 in UTC without a fraction: `2026-11-21T12:00:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

/// The text or the number is not a time between 1970 and 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time in UTC between 1970 and 9999")]
pub struct NotATime;

impl Timestamp {
    /// The last second that X.509 can write: 9999-12-31T23:59:59Z (RFC 5280 §4.1.2.5).
    pub const MAX: Self = Self(253_402_300_799);

    const FIRST_OF_2050: Self = Self(2_524_608_000);

    /// From seconds since the epoch; later than [`Self::MAX`] becomes `MAX`.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        if seconds > Self::MAX.0 { Self::MAX } else { Self(seconds) }
    }

    /// Seconds since the epoch.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0
    }

    /// This many seconds later; stops at [`Self::MAX`].
    #[must_use]
    pub const fn plus(self, seconds: u64) -> Self {
        Self::from_seconds(self.0.saturating_add(seconds))
    }

    /// This many seconds earlier; stops at the epoch.
    #[must_use]
    pub const fn minus(self, seconds: u64) -> Self {
        Self(self.0.saturating_sub(seconds))
    }

    /// Seconds from `earlier` to this; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// As an X.509 time: `UTCTime` through 2049, `GeneralizedTime` from 2050 (RFC 5280 §4.1.2.5).
    ///
    /// # Errors
    /// Never for a value made by this type; the library's bounds are its own.
    pub fn to_x509(self) -> Result<Time, NotATime> {
        let duration = Duration::from_secs(self.0);
        if self < Self::FIRST_OF_2050 {
            UtcTime::from_unix_duration(duration).map(Time::from).map_err(|_| NotATime)
        } else {
            GeneralizedTime::from_unix_duration(duration).map(Time::from).map_err(|_| NotATime)
        }
    }

    /// From an X.509 time.
    #[must_use]
    pub fn from_x509(time: &Time) -> Self {
        Self::from_seconds(time.to_unix_duration().as_secs())
    }

    fn date_time(self) -> Result<DateTime, NotATime> {
        DateTime::from_unix_duration(Duration::from_secs(self.0)).map_err(|_| NotATime)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.date_time().map_err(|_| fmt::Error)?.fmt(f)
    }
}

impl FromStr for Timestamp {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let time: DateTime = text.parse().map_err(|_| NotATime)?;
        Ok(Self::from_seconds(time.unix_duration().as_secs()))
    }
}

/// Parses a time as clients write it: RFC 3339 with any offset and any fraction, which is dropped (RFC 8555 §7.4,
/// RFC 3339 §5.6).
///
/// # Errors
/// When it is not such a time, or not between 1970 and 9999.
pub fn parse_rfc3339(text: &str) -> Result<Timestamp, NotATime> {
    let seconds = u64::try_from(rfc3339_seconds(text)?).map_err(|_| NotATime)?;
    Ok(Timestamp::from_seconds(seconds))
}

/// Parses a time that a client may leave out of a request. Some clients send the empty text, or the zero time of their
/// language (Go: `0001-01-01T00:00:00Z`), in place of leaving it out: both are no time. Every other time of RFC 3339 is
/// one; what is before 1970 is the first second of 1970.
///
/// # Errors
/// When it is not a time of RFC 3339.
pub fn parse_optional_rfc3339(text: &str) -> Result<Option<Timestamp>, NotATime> {
    if text.is_empty() {
        return Ok(None);
    }
    match rfc3339_seconds(text)? {
        ZERO_TIME => Ok(None),
        seconds => Ok(Some(Timestamp::from_seconds(u64::try_from(seconds).unwrap_or(0)))),
    }
}

/// 0001-01-01T00:00:00Z in seconds since 1970.
const ZERO_TIME: i64 = -62_135_596_800;

/// Seconds of 2000 years: five times the cycle of the Gregorian calendar.
const TWENTY_CENTURIES: i64 = 63_113_904_000;

/// Seconds since 1970, negative before it. The library's dates begin in 1970: what is before that is read 2000 years
/// later.
fn rfc3339_seconds(text: &str) -> Result<i64, NotATime> {
    let (date_time, rest) = text.split_at_checked(19).ok_or(NotATime)?;
    let (year, in_year) = date_time.split_at_checked(4).ok_or(NotATime)?;
    if !year.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NotATime);
    }
    let year: u16 = year.parse().map_err(|_| NotATime)?;
    let (shifted, shift) = if year < 1970 { (year.saturating_add(2000), TWENTY_CENTURIES) } else { (year, 0) };
    // A leap second (RFC 3339 §5.7) is the last second of its minute once more.
    let in_year = in_year.strip_suffix(":60").map_or_else(|| in_year.to_owned(), |minute| format!("{minute}:59"));
    let local: Timestamp = format!("{shifted:04}{}Z", in_year.replace('t', "T")).parse()?;
    let local = i64::try_from(local.seconds()).map_err(|_| NotATime)?.saturating_sub(shift);

    let fraction = rest.strip_prefix('.').map(|rest| rest.trim_start_matches(|digit: char| digit.is_ascii_digit()));
    let offset = match fraction {
        Some(offset) if rest.len().saturating_sub(offset.len()) > 1 => offset,
        Some(_) => return Err(NotATime),
        None => rest,
    };
    let (sign, hours_minutes) = match offset.split_at_checked(1) {
        Some(("Z" | "z", "")) => return Ok(local),
        Some((sign @ ("+" | "-"), hours_minutes)) => (sign, hours_minutes),
        _ => return Err(NotATime),
    };
    let number = |text: &str, limit: i64| match text.parse::<i64>() {
        Ok(number) if text.len() == 2 && number <= limit && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(number)
        }
        _ => Err(NotATime),
    };
    let (hours, minutes) = hours_minutes.split_once(':').ok_or(NotATime)?;
    let seconds = number(hours, 23)?.saturating_mul(60).saturating_add(number(minutes, 59)?).saturating_mul(60);
    Ok(if sign == "+" { local.saturating_sub(seconds) } else { local.saturating_add(seconds) })
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_rfc_3339_in_utc() {
        let time = Timestamp::from_seconds(1_795_262_400);
        assert_eq!(time.to_string(), "2026-11-21T12:00:00Z");
        assert_eq!("2026-11-21T12:00:00Z".parse(), Ok(time));
        assert_eq!("2026-11-21 12:00:00".parse::<Timestamp>(), Err(NotATime));
    }

    #[test]
    fn arithmetic_stops_at_both_ends() {
        assert_eq!(Timestamp::MAX.plus(1), Timestamp::MAX);
        assert_eq!(Timestamp::from_seconds(u64::MAX).to_string(), "9999-12-31T23:59:59Z");
        assert_eq!(Timestamp::from_seconds(5).minus(6).seconds(), 0);
    }

    #[test]
    fn clients_may_write_offsets_and_fractions() {
        let time = Timestamp::from_seconds(1_795_262_400);
        let table = [
            "2026-11-21T12:00:00Z",
            "2026-11-21t12:00:00z",
            "2026-11-21T12:00:00.999Z",
            "2026-11-21T13:30:00+01:30",
            "2026-11-21T04:00:00.5-08:00",
        ];
        for text in table {
            assert_eq!(parse_rfc3339(text), Ok(time), "{text}");
        }
        let table = [
            "",
            "2026-11-21",
            "2026-11-21T12:00:00",
            "2026-11-21T12:00:00.Z",
            "2026-11-21T12:00:00+0100",
            "2026-11-21T12:00:00+24:00",
            "2026-11-21T12:00:00+1:00",
            "2026-13-21T12:00:00Z",
            "2026-11-21T12:00:00ZZ",
            "2026-11-21T12:00:00++1:00",
            "ääääääääääääääääääääZ",
        ];
        for text in table {
            assert_eq!(parse_rfc3339(text), Err(NotATime), "{text}");
        }
    }

    #[test]
    fn every_time_of_rfc_3339_is_one_and_zero_times_are_absent() {
        for absent in [
            "",
            "0001-01-01T00:00:00Z",
            "0001-01-01t00:00:00.000z",
            "0001-01-01T00:00:00+00:00",
            "0001-01-01T01:30:00+01:30",
        ] {
            assert_eq!(parse_optional_rfc3339(absent), Ok(None), "{absent}");
        }
        let table = [
            ("0001-01-01T00:00:01Z", "1970-01-01T00:00:00Z"),
            ("0000-02-29T00:00:00Z", "1970-01-01T00:00:00Z"),
            ("1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z"),
            ("1969-12-31T23:59:59-00:01", "1970-01-01T00:00:59Z"),
            ("1970-01-01T00:00:00+23:59", "1970-01-01T00:00:00Z"),
            ("2026-11-21T12:00:00.123456789Z", "2026-11-21T12:00:00Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
            ("9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59Z"),
        ];
        for (text, time) in table {
            assert_eq!(parse_optional_rfc3339(text), Ok(Some(time.parse().unwrap())), "{text}");
        }
        for text in
            ["0", "1900-02-29T00:00:00Z", "0000-00-00T00:00:00Z", "-001-01-01T00:00:00Z", "2026-11-21T12:00:61Z", " "]
        {
            assert_eq!(parse_optional_rfc3339(text), Err(NotATime), "{text}");
        }
        assert_eq!(parse_rfc3339("1969-12-31T23:59:59Z"), Err(NotATime), "no time that we write is before 1970");
    }

    #[test]
    fn x509_times_change_form_in_2050() {
        let early = "2049-12-31T23:59:59Z".parse::<Timestamp>().unwrap();
        assert!(matches!(early.to_x509(), Ok(Time::UtcTime(_))));
        assert!(matches!(early.plus(1).to_x509(), Ok(Time::GeneralTime(_))));
        assert_eq!(Timestamp::from_x509(&early.to_x509().unwrap()), early);
    }
}
