//! Where in a configuration file a mistake stands: checks say the way to the value ([`At::at`]), and [`place`] finds its line and
//! column in the text.

use std::fmt;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// One step of the way to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Into a table.
    Key(&'static str),
    /// Into an array, from 0.
    Position(usize),
}

/// A mistake, and the way to the value that has it.
#[derive(Debug)]
pub(crate) struct Misplaced {
    way: Vec<Step>,
    error: anyhow::Error,
}

/// Results of checks of values.
pub(crate) trait At<T> {
    /// The same; a mistake is below this step. The innermost step is said first.
    ///
    /// # Errors
    /// The mistake, with the way to it.
    fn at(self, step: impl Into<Step>) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> At<T> for Result<T, E> {
    fn at(self, step: impl Into<Step>) -> anyhow::Result<T> {
        self.map_err(|error| {
            let mut error: anyhow::Error = error.into();
            match error.downcast_mut::<Misplaced>() {
                Some(misplaced) => misplaced.way.insert(0, step.into()),
                None => error = Misplaced { way: vec![step.into()], error }.into(),
            }
            error
        })
    }
}

/// `:LINE:COLUMN` of a mistake in the text of a file, both from 1; nothing for one of which no place is known.
pub(crate) fn place(text: &str, error: &anyhow::Error) -> String {
    let offset = match (error.downcast_ref::<Misplaced>(), error.downcast_ref::<toml::de::Error>()) {
        (Some(misplaced), _) => offset(text, &misplaced.way),
        (None, Some(error)) => error.span().map(|span| span.start),
        (None, None) => None,
    };
    let Some(before) = offset.and_then(|offset| text.get(..offset)) else { return String::new() };
    let line = before.matches('\n').count().saturating_add(1);
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count().saturating_add(1);
    format!(":{line}:{column}")
}

/// The first byte of the value at the end of this way, or of its key; as far as the way leads.
fn offset(text: &str, way: &[Step]) -> Option<usize> {
    let whole = DeTable::parse(text).ok()?;
    let (first, way) = way.split_first()?;
    let Step::Key(key) = first else { return None };
    let (mut at, mut value) = entry(whole.get_ref(), key)?;
    for step in way {
        let next = match (step, value.get_ref()) {
            (Step::Key(key), DeValue::Table(table)) => entry(table, key),
            (Step::Position(position), DeValue::Array(array)) => {
                array.get(*position).map(|value| (value.span().start, value))
            }
            _ => None,
        };
        let Some(next) = next else { break };
        (at, value) = next;
    }
    Some(at)
}

fn entry<'a, 'i>(table: &'a DeTable<'i>, key: &str) -> Option<(usize, &'a Spanned<DeValue<'i>>)> {
    table.iter().find(|(found, _)| found.get_ref() == key).map(|(found, value)| (found.span().start, value))
}

impl fmt::Display for Misplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

impl std::error::Error for Misplaced {}

impl From<&'static str> for Step {
    fn from(key: &'static str) -> Self {
        Self::Key(key)
    }
}

impl From<usize> for Step {
    fn from(position: usize) -> Self {
        Self::Position(position)
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    const TEXT: &str = "state = \"s\"\n\n[limits]\nqueue = 0\n[[scope]]\nname = \"a\"\n[[scope]]\nname = \"ä\"\nmethods = [\"x\",\n  \"y\"]\n[scope.budget]\nper_day = 0\n";

    fn at(way: &[Step]) -> String {
        let wrong = Err(anyhow!("wrong"));
        let error = way.iter().rev().fold(wrong, |error: anyhow::Result<()>, step| error.at(step.clone()));
        place(TEXT, &error.context("more").unwrap_err())
    }

    #[test]
    fn a_mistake_is_found_by_its_way() {
        let (key, position) = (Step::Key, Step::Position);
        assert_eq!(at(&[key("limits"), key("queue")]), ":4:1");
        assert_eq!(at(&[key("scope"), position(1), key("name")]), ":8:1");
        assert_eq!(at(&[key("scope"), position(1), key("methods"), position(1)]), ":10:3");
        assert_eq!(at(&[key("scope"), position(1), key("budget"), key("per_day")]), ":12:1");
        // What is left out has the place of what it is missing from.
        assert_eq!(at(&[key("scope"), position(1), key("profiles")]), ":7:1");
        assert_eq!(at(&[key("edge")]), "");
        assert_eq!(place(TEXT, &anyhow!("wrong")), "");
    }

    #[test]
    fn what_is_not_toml_has_a_place_too() {
        let error = toml::from_str::<toml::Table>("a = 1\nb = =\n").unwrap_err();
        assert_eq!(place("a = 1\nb = =\n", &error.into()), ":2:5");
    }
}
