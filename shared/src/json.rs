//! JSON objects. serde's derive also reads a struct from an array of its members in order; no protocol here means that.

use serde::de::DeserializeOwned;

/// The most characters of a fault that are repeated: a text of a client may be in it.
const MAX_FAULT: usize = 200;

/// The bytes are not a JSON object of the wanted type: which member is wrong, and how.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotTheObject(String);

/// Parses one JSON object, and nothing else, into a type. Duplicate members of the type are errors.
///
/// # Errors
/// When the bytes are not JSON, are another JSON value, or lack what the type needs.
pub fn object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, NotTheObject> {
    match bytes.trim_ascii_start().first() {
        Some(b'{') => serde_json::from_slice(bytes).map_err(|error| NotTheObject::of(bytes, &error)),
        Some(_) => Err(NotTheObject("it is not a JSON object".to_owned())),
        None => Err(NotTheObject("it is empty".to_owned())),
    }
}

impl NotTheObject {
    fn of(bytes: &[u8], error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let fault = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
        let fault = match fault.char_indices().nth(MAX_FAULT) {
            Some((end, _)) => format!("{}…", fault.get(..end).unwrap_or_default()),
            None => fault.to_owned(),
        };
        if !error.is_data() {
            return Self(format!("it is not JSON: {fault}, at line {line}, column {column}"));
        }
        let lines = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::len);
        let offset = lines.take(line.saturating_sub(1)).fold(column, usize::saturating_add);
        let read = bytes.get(..offset).unwrap_or(bytes);
        // What a type's own conversion refuses is noticed at the end of its container, when that was the last value
        // there.
        let read = match read.split_last() {
            Some((b'}' | b']', before)) if !fault.starts_with("missing field") => before,
            _ => read,
        };
        let member = member_at(read);
        Self(if member.is_empty() { fault } else { format!("\"{member}\": {fault}") })
    }
}

/// A value that contains the end of a JSON text that was read in part.
enum Container {
    /// An object, at the member of this name.
    Object(String),
    /// An array, at the value of this index.
    Array(usize),
}

/// The member that a JSON text ends in or right behind: `identifiers[0].value`. Empty at the top.
fn member_at(read: &[u8]) -> String {
    let mut containers = Vec::new();
    let mut bytes = read.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' => containers.push(Container::Object(String::new())),
            b'[' => containers.push(Container::Array(0)),
            b'}' | b']' => drop(containers.pop()),
            b',' => match containers.last_mut() {
                Some(Container::Object(name)) => name.clear(),
                Some(Container::Array(index)) => *index = index.saturating_add(1),
                None => {}
            },
            b'"' => {
                let text = string(&mut bytes);
                if let Some(Container::Object(name)) = containers.last_mut()
                    && name.is_empty()
                {
                    *name = text;
                }
            }
            _ => {}
        }
    }
    let mut path = String::new();
    for container in &containers {
        match container {
            Container::Object(name) if path.is_empty() || name.is_empty() => path.push_str(name),
            Container::Object(name) => path = format!("{path}.{name}"),
            Container::Array(index) => path = format!("{path}[{index}]"),
        }
    }
    path.chars().take(MAX_FAULT).collect()
}

/// The rest of a string as it is written, escapes included.
fn string(bytes: &mut impl Iterator<Item = u8>) -> String {
    let mut text = Vec::new();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => break,
            b'\\' => text.extend([Some(byte), bytes.next()].into_iter().flatten()),
            _ => text.push(byte),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct One {
        one: u8,
    }

    #[derive(Debug, serde::Deserialize)]
    struct Order {
        #[serde(default)]
        contact: Vec<String>,
        #[serde(default)]
        identifiers: Vec<Named>,
        #[serde(default)]
        csr: crate::base64url::Base64Url,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Named {
        value: String,
    }

    #[test]
    fn only_an_object_is_an_object() {
        assert_eq!(object::<One>(b" {\"one\": 1}").unwrap().one, 1);
        for other in ["[1]", "1", "null", "", "{\"one\":1}{}", "{\"one\":1,\"one\":2}", "{\"two\":1}"] {
            assert!(object::<One>(other.as_bytes()).is_err(), "{other}");
        }
    }

    #[test]
    fn a_fault_names_the_member_that_it_is_about() {
        let table = [
            ("", "it is empty"),
            ("[]", "it is not a JSON object"),
            ("{\n\"csr\"", "it is not JSON: EOF while parsing an object, at line 2, column 5"),
            (r#"{"contact":null}"#, "\"contact\": invalid type: null, expected a sequence"),
            (r#"{"contact":null,"csr":""}"#, "\"contact\": invalid type: null, expected a sequence"),
            (
                "{\n \"contact\" : \"a\" ,\n\"csr\":\"\"}",
                "\"contact\": invalid type: string \"a\", expected a sequence",
            ),
            (r#"{"contact":["a",1]}"#, "\"contact[1]\": invalid type: integer `1`, expected a string"),
            (
                r#"{"identifiers":[{"value":"a"},{"value":"b","x":1}]}"#,
                "\"identifiers[1].x\": unknown field `x`, expected `value`",
            ),
            (r#"{"identifiers":[{"value":"\"}],"},{}]}"#, "\"identifiers[1]\": missing field `value`"),
            (r#"{"identifiers":[{"value":null}]}"#, "\"identifiers[0].value\": invalid type: null, expected a string"),
            (r#"{"csr":"AA=="}"#, "\"csr\": not base64url without padding: it has padding, \"=\""),
            (r#"{"csr":"AA==","contact":[]}"#, "\"csr\": not base64url without padding: it has padding, \"=\""),
            (r#"{"contact":{}}"#, "\"contact\": invalid type: map, expected a sequence"),
        ];
        for (text, fault) in table {
            assert_eq!(object::<Order>(text.as_bytes()).unwrap_err().to_string(), fault, "{text}");
        }
        let order: Order = object(br#"{"contact":["a"],"identifiers":[{"value":"b"}],"csr":"AA"}"#).unwrap();
        assert_eq!((order.contact.len(), order.identifiers[0].value.as_str(), order.csr.0.len()), (1, "b", 1));
    }

    #[test]
    fn a_fault_repeats_a_bounded_part_of_what_was_sent() {
        let text = format!(r#"{{"contact":"{}"}}"#, "ä".repeat(10_000));
        let fault = object::<Order>(text.as_bytes()).unwrap_err().to_string();
        assert!(fault.starts_with("\"contact\": invalid type: string \"ä") && fault.chars().count() < 250, "{fault}");
        let text = format!(r#"{{"identifiers":[{{"{}":1}}]}}"#, "x".repeat(10_000));
        assert!(object::<Order>(text.as_bytes()).unwrap_err().to_string().len() < 500);
    }
}
