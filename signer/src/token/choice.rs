//! Which of several tokens that hold one key is whose. Clones of a key look alike: same key, often the same label. Serial numbers tell
//! them apart, and where even those are equal the order of the slots does.

use serde::{Deserialize, Serialize};

/// One of the tokens that fit a uri.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenId {
    /// Its serial number.
    pub(crate) serial: String,
    /// Tokens of the same serial number in slots before it.
    pub(crate) twin: usize,
}

/// The tokens that are not for this worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Others {
    /// Those that other workers have.
    pub(crate) held: Vec<TokenId>,
    /// Serial numbers that the uris of other tokens name.
    pub(crate) named: Vec<String>,
    /// Tokens with the key that are left to others, who choose at the same time.
    pub(crate) skip: usize,
}

impl TokenId {
    /// The tokens of these serial numbers, which are in order.
    pub(crate) fn all<'a>(serials: impl Iterator<Item = &'a str>) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for serial in serials {
            let twin = all.iter().filter(|other| other.serial == serial).count();
            all.push(Self { serial: serial.to_owned(), twin });
        }
        all
    }
}

impl Others {
    /// True when this token is not for this worker.
    pub(crate) fn have(&self, id: &TokenId) -> bool {
        self.held.contains(id) || self.named.contains(&id.serial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(serial: &str, twin: usize) -> TokenId {
        TokenId { serial: serial.into(), twin }
    }

    #[test]
    fn tokens_of_one_serial_number_are_told_apart_by_their_order() {
        assert_eq!(TokenId::all(["a", "a", "b"].into_iter()), [id("a", 0), id("a", 1), id("b", 0)]);
    }

    #[test]
    fn a_token_is_left_to_who_has_it_or_names_it() {
        let others = Others { held: vec![id("a", 0)], named: vec!["b".into()], ..Others::default() };
        let free = |others: &Others, id| !others.have(&id);
        assert!(!free(&others, id("a", 0)) && free(&others, id("a", 1)));
        assert!(!free(&others, id("b", 0)) && !free(&others, id("b", 7)));
    }
}
