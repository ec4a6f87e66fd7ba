//! What a message quotes of foreign input: escaped and of bounded length.

use std::fmt;

/// The characters of a quoted text.
const MAX_CHARS: usize = 100;
/// The bytes of a quoted value that is not text.
const MAX_BYTES: usize = 32;

/// Foreign text in quotation marks, for a message. Control characters are escaped; a long text ends with "...".
#[derive(Clone, PartialEq, Eq)]
pub struct Quoted(Box<str>);

/// Quotes text.
#[must_use]
pub fn text(text: &str) -> Quoted {
    let kept: String = text.chars().take(MAX_CHARS).collect();
    let more = if kept.len() < text.len() { "..." } else { "" };
    Quoted(format!("\"{}{more}\"", kept.escape_debug()).into())
}

/// Writes bytes in hexadecimal digits, for what is not text.
#[must_use]
pub fn hex(bytes: &[u8]) -> Quoted {
    let mut digits: String = bytes.iter().take(MAX_BYTES).map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > MAX_BYTES {
        digits.push_str("...");
    }
    Quoted(format!("0x{digits}").into())
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_quotation_is_escaped_and_bounded() {
        assert_eq!(super::text("a\n\"b").to_string(), "\"a\\n\\\"b\"");
        assert_eq!(super::text(&"x".repeat(500)).to_string(), format!("\"{}...\"", "x".repeat(100)));
        assert_eq!(super::hex(&[0; 40]).to_string(), format!("0x{}...", "00".repeat(32)));
    }
}
