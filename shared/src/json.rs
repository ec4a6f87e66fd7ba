//! JSON objects. serde's derive also reads a struct from an array of its members in order; no protocol here means that.

use serde::de::DeserializeOwned;

/// The bytes are not a JSON object of the wanted type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a JSON object of the expected members")]
pub struct NotTheObject;

/// Parses one JSON object, and nothing else, into a type. Duplicate members of the type are errors.
///
/// # Errors
/// When the bytes are not JSON, are another JSON value, or lack what the type needs.
pub fn object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, NotTheObject> {
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(NotTheObject);
    }
    serde_json::from_slice(bytes).map_err(|_| NotTheObject)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct One {
        one: u8,
    }

    #[test]
    fn only_an_object_is_an_object() {
        assert_eq!(object::<One>(b" {\"one\": 1}").unwrap().one, 1);
        for other in ["[1]", "1", "null", "", "{\"one\":1}{}", "{\"one\":1,\"one\":2}", "{\"two\":1}"] {
            assert_eq!(object::<One>(other.as_bytes()).unwrap_err(), NotTheObject, "{other}");
        }
    }
}
