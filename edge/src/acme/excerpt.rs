//! What a problem shows of bytes that a stranger sent: the beginning, escaped, and how many there are.

/// Bytes of a body or a record that are shown at most: enough to see a quotation mark, a byte order mark or a page of HTML, and too
/// few to read something that the client may not read.
const SHOWN: usize = 16;

/// Bytes of a name or a URL that are shown at most.
const SHOWN_OF_NAMES: usize = 64;

/// Returns the beginning of a body or a record in quotation marks, with its length: `"\xef\xbb\xbfabc…" (90 bytes)`.
#[must_use]
pub fn of_content(bytes: &[u8]) -> String {
    let unit = if bytes.len() == 1 { "byte" } else { "bytes" };
    format!("{} ({} {unit})", quoted(bytes, SHOWN), bytes.len())
}

/// Returns the beginning of a name, a tag or a URL in quotation marks.
#[must_use]
pub fn of_name(bytes: &[u8]) -> String {
    quoted(bytes, SHOWN_OF_NAMES)
}

fn quoted(bytes: &[u8], most: usize) -> String {
    let (shown, more) = match bytes.split_at_checked(most) {
        Some((shown, rest)) => (shown, if rest.is_empty() { "" } else { "…" }),
        None => (bytes, ""),
    };
    format!("\"{}{more}\"", shown.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_few_escaped_bytes_are_shown() {
        let table: [(&[u8], &str); 4] = [
            (b"", "\"\" (0 bytes)"),
            (b"x", "\"x\" (1 byte)"),
            (b"0123456789abcdef", "\"0123456789abcdef\" (16 bytes)"),
            (b"\xef\xbb\xbf\r\n\"0123456789abcdef", "\"\\xef\\xbb\\xbf\\r\\n\\\"0123456789…\" (22 bytes)"),
        ];
        for (bytes, expected) in table {
            assert_eq!(of_content(bytes), expected);
        }
        assert_eq!(of_name(&[b'a'; 65]), format!("\"{}…\"", "a".repeat(64)));
    }
}
