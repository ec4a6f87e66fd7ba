//! What a wrong answer looks like, for the client that has to correct it: a few escaped bytes, and the mistake where it is a common
//! one.

use super::excerpt;

/// The byte order mark of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Records that are shown at most.
const SHOWN: usize = 3;

/// Describes the body of an answer to http-01 that is not the expected key authorization.
#[must_use]
pub fn body(body: &[u8], expected: &str) -> String {
    let token = expected.split('.').next().unwrap_or_default();
    let start = body.trim_ascii_start();
    let mistake = wrapped(body, expected).or(match body {
        [] => Some("an empty body"),
        [0x1f, 0x8b, ..] => Some("compressed, though identity was asked for"),
        _ if start.starts_with(expected.as_bytes()) => Some("the expected text with more behind it"),
        _ if start.trim_ascii_end() == token.as_bytes() => {
            Some("the token without the thumbprint of the account's key")
        }
        _ if start.starts_with(token.as_bytes()) => Some("a key authorization of this token and another account key"),
        _ if start.starts_with(b"<") => Some("markup such as HTML"),
        _ => None,
    });
    describe(body, mistake)
}

/// Describes TXT records of which none is the expected digest of the key authorization.
#[must_use]
pub fn records(records: &[Vec<u8>], expected: &str, key_authorization: &str) -> String {
    let describe = |record: &Vec<u8>| {
        let undigested = record == key_authorization.as_bytes();
        let undigested = undigested.then_some("the key authorization itself, not its digest");
        describe(record, wrapped(record, expected).or(undigested))
    };
    let shown: Vec<_> = records.iter().take(SHOWN).map(describe).collect();
    match records.len().checked_sub(SHOWN) {
        None | Some(0) => shown.join("; "),
        Some(more) => format!("{}; and {more} more", shown.join("; ")),
    }
}

fn describe(bytes: &[u8], mistake: Option<&str>) -> String {
    let excerpt = excerpt::of_content(bytes);
    mistake.map_or_else(|| excerpt.clone(), |mistake| format!("{excerpt}, {mistake}"))
}

/// The mistake of bytes that contain the expected text, and something around it.
fn wrapped(bytes: &[u8], expected: &str) -> Option<&'static str> {
    let expected = expected.as_bytes();
    let bare = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes).trim_ascii();
    let unquoted = bare.strip_prefix(b"\"").and_then(|bare| bare.strip_suffix(b"\""));
    match bytes {
        _ if bare == expected && bytes.starts_with(BYTE_ORDER_MARK) => {
            Some("the expected text behind a byte order mark")
        }
        _ if bare == expected => Some("the expected text with white space around it"),
        _ if unquoted == Some(expected) => Some("the expected text in quotation marks"),
        _ if bare.strip_suffix(b"=") == Some(expected) => Some("the expected text with the padding of base64"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: &str = "token.thumbprint";

    #[test]
    fn a_body_says_that_something_was_found_and_what_it_looks_like() {
        let table: [(&[u8], &str); 11] = [
            (b"", "\"\" (0 bytes), an empty body"),
            (
                b"\xef\xbb\xbftoken.thumbprint",
                "\"\\xef\\xbb\\xbftoken.thumbpr…\" (19 bytes), the expected text behind a byte order mark",
            ),
            (b" token.thumbprint", "\" token.thumbprin…\" (17 bytes), the expected text with white space around it"),
            (b"\"token.thumbprint\"\n", "\"\\\"token.thumbprin…\" (19 bytes), the expected text in quotation marks"),
            (b"token\n", "\"token\\n\" (6 bytes), the token without the thumbprint of the account's key"),
            (b"token.other", "\"token.other\" (11 bytes), a key authorization of this token and another account key"),
            (b"\x1f\x8b\x08", "\"\\x1f\\x8b\\x08\" (3 bytes), compressed, though identity was asked for"),
            (b"\n<!DOCTYPE html><title>secret", "\"\\n<!DOCTYPE html>…\" (29 bytes), markup such as HTML"),
            (b"elsewhere.thumbprint", "\"elsewhere.thumbp…\" (20 bytes)"),
            (b"token.thumbprint and more", "\"token.thumbprint…\" (25 bytes), the expected text with more behind it"),
            (b"\0", "\"\\x00\" (1 byte)"),
        ];
        for (bytes, expected) in table {
            assert_eq!(body(bytes, EXPECTED), expected);
        }
    }

    #[test]
    fn records_say_how_they_differ() {
        let table: [(&[&str], &str); 5] = [
            (&["\"digest\""], "\"\\\"digest\\\"\" (8 bytes), the expected text in quotation marks"),
            (&["digest="], "\"digest=\" (7 bytes), the expected text with the padding of base64"),
            (&["digest "], "\"digest \" (7 bytes), the expected text with white space around it"),
            (&[EXPECTED], "\"token.thumbprint\" (16 bytes), the key authorization itself, not its digest"),
            (&["a", "b", "c", "d", "e"], "\"a\" (1 byte); \"b\" (1 byte); \"c\" (1 byte); and 2 more"),
        ];
        for (found, expected) in table {
            let found: Vec<_> = found.iter().map(|record| record.as_bytes().to_vec()).collect();
            assert_eq!(records(&found, "digest", EXPECTED), expected);
        }
    }
}
