//! Dates of HTTP headers: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7). The obsolete forms are not read: a client that sends
//! one gets the whole answer.

use der::DateTime;
use shared::timestamp::Timestamp;

/// From Thursday on, the day of 1970-01-01.
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// As a header has it.
#[must_use]
pub fn format(at: Timestamp) -> String {
    let day = usize::try_from(at.seconds().wrapping_div(86_400).wrapping_rem(7)).unwrap_or_default();
    let Ok(date) = DateTime::from_unix_duration(std::time::Duration::from_secs(at.seconds())) else {
        return String::new();
    };
    format!(
        "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
        DAYS.get(day).copied().unwrap_or_default(),
        date.day(),
        MONTHS.get(usize::from(date.month().saturating_sub(1))).copied().unwrap_or_default(),
        date.year(),
        date.hour(),
        date.minutes(),
        date.seconds(),
    )
}

/// Nothing when it is no date of this form. The day of the week is not looked at.
#[must_use]
pub fn parse(text: &str) -> Option<Timestamp> {
    let (_, rest) = text.trim().split_once(", ")?;
    let mut parts = rest.split(' ');
    let day = parts.next()?.parse().ok()?;
    let name = parts.next()?;
    let month = MONTHS.iter().zip(1..).find_map(|(month, number)| (*month == name).then_some(number))?;
    let year = parts.next()?.parse().ok()?;
    let mut time = parts.next()?.split(':').map(|part| part.parse().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    if time.next().is_some() || parts.next() != Some("GMT") || parts.next().is_some() {
        return None;
    }
    let date = DateTime::new(year, month, day, hour, minute, second).ok()?;
    Some(Timestamp::from_seconds(date.unix_duration().as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_is_written_and_read() {
        let at = Timestamp::from_seconds(784_111_777);
        assert_eq!(format(at), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT"), Some(at));
    }

    #[test]
    fn other_texts_are_no_dates() {
        for text in [
            "",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT more",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
