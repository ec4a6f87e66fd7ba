//! Ids of orders and authorizations: never given twice, even by an account that was deleted and came back, because a signer
//! refuses an order's URL for ever once it was used.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use shared::timestamp::Timestamp;

/// The id of an order or authorization within its account: 32 bits of seconds and 64 random bits. As text 24 lower-case hex
/// digits; text order is order of creation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId([u8; 12]);

/// The text is not an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id: 24 lower-case hex digits")]
pub struct NotAnId;

impl ObjectId {
    /// From the time of creation and fresh random bytes.
    #[must_use]
    pub fn new(now: Timestamp, random: [u8; 8]) -> Self {
        let seconds = u32::try_from(now.seconds()).unwrap_or(u32::MAX).to_be_bytes();
        let mut id = [0; 12];
        id.iter_mut().zip(seconds.into_iter().chain(random)).for_each(|(to, from)| *to = from);
        Self(id)
    }

    /// The id that stands for an identifier: the first 96 bits of SHA-256 over its text. Collisions gain nobody anything: what
    /// is found is compared with the identifier.
    #[must_use]
    pub fn of_identifier(text: &str) -> Self {
        let mut id = [0; 12];
        id.iter_mut().zip(Sha256::digest(text)).for_each(|(to, from)| *to = from);
        Self(id)
    }

    /// The last 32 of its random bits, to spread ids over things.
    #[must_use]
    pub fn random_part(self) -> usize {
        let [.., a, b, c, d] = self.0;
        usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(0)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ObjectId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        if text.len() != 24 {
            return Err(NotAnId);
        }
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte.wrapping_sub(b'0')),
            b'a'..=b'f' => Ok(byte.wrapping_sub(b'a').wrapping_add(10)),
            _ => Err(NotAnId),
        };
        let (pairs, _) = text.as_bytes().as_chunks::<2>();
        let mut id = [0; 12];
        for (to, [high, low]) in id.iter_mut().zip(pairs) {
            *to = (digit(*high)? << 4) | digit(*low)?;
        }
        Ok(Self(id))
    }
}

impl Serialize for ObjectId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ObjectId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back_is_the_same_id() {
        let id = ObjectId::new(Timestamp::from_seconds(0x6a00_0000), [0xab; 8]);
        assert_eq!(id.to_string(), "6a000000abababababababab");
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "6A000000ABABABABABABABAB", "6a000000ababababababab", "6a000000abababababababag"] {
            assert_eq!(text.parse::<ObjectId>(), Err(NotAnId));
        }
    }

    #[test]
    fn later_ids_sort_behind() {
        let at = |seconds| ObjectId::new(Timestamp::from_seconds(seconds), [0xff; 8]).to_string();
        assert!(at(1) < at(2) && at(255) < at(256));
    }
}
