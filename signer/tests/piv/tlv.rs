//! BER-TLV as PIV cards speak it: tags of one to three bytes, lengths up to 65535.

/// A tag, the length and the value.
pub(crate) fn tlv(tag: &[u8], value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    let length: &[u8] = match length {
        [0, short @ 0..=0x7f] => &[short],
        [0, long] => &[0x81, long],
        [high, low] => &[0x82, high, low],
    };
    [tag, length, value].concat()
}

/// The first value with this tag of one byte, in a row of such values.
pub(crate) fn find(tag: u8, mut row: &[u8]) -> Option<&[u8]> {
    while let [found, length, rest @ ..] = row {
        let (length, rest) = match (length, rest) {
            (0x81, [long, rest @ ..]) => (usize::from(*long), rest),
            (0x82, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
            (short, rest) => (usize::from(*short), rest),
        };
        let (value, behind) = rest.split_at_checked(length)?;
        if *found == tag {
            return Some(value);
        }
        row = behind;
    }
    None
}
