//! Messages of HTTP/1.1 as bytes, as far as the parts of a stack use it with each other: every body has its length in the head.

use std::io::Read;

use anyhow::{Context as _, Result, ensure};

const LONGEST_HEAD: usize = 16 * 1024;

/// A request or an answer.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// With the empty line at its end.
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// The next one; nothing when the other side has ended before it.
    ///
    /// # Errors
    /// When it ends in the middle, or has no length.
    pub(crate) fn read(from: &mut impl Read) -> Result<Option<Self>> {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            ensure!(head.len() < LONGEST_HEAD, "no end of a head");
            if from.read(&mut byte)? == 0 {
                ensure!(head.is_empty(), "it ends within a head");
                return Ok(None);
            }
            head.extend_from_slice(&byte);
        }
        let text = String::from_utf8(head.clone())?;
        let header = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        };
        ensure!(header("transfer-encoding").is_none(), "a body without its length: {text}");
        let length = header("content-length").map_or(Ok(0), str::parse).context("a length")?;
        let mut body = vec![0; length];
        from.read_exact(&mut body)?;
        Ok(Some(Self { head, body }))
    }

    /// What a request asks for.
    pub(crate) fn path(&self) -> Option<&str> {
        str::from_utf8(&self.head).ok()?.split(' ').nth(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_one_by_one_and_half_a_one_is_an_error() {
        let text = b"POST /v1/issue HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}GET / HTTP/1.1\r\n\r\nPOST /";
        let mut bytes = text.as_slice();
        let first = Message::read(&mut bytes).unwrap().unwrap();
        assert_eq!((first.path(), first.body.as_slice()), (Some("/v1/issue"), b"{}".as_slice()));
        let second = Message::read(&mut bytes).unwrap().unwrap();
        assert_eq!((second.path(), second.body.len()), (Some("/"), 0));
        assert!(Message::read(&mut bytes).is_err());
        assert!(Message::read(&mut bytes).unwrap().is_none());
    }
}
