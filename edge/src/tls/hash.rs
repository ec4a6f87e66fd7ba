//! SHA-256 and HMAC-SHA256 as rustls asks for them.

use hmac::{Hmac, KeyInit, Mac};
use rustls::crypto::{
    hash::{self, HashAlgorithm},
    hmac as mac,
};
use sha2::{Digest, Sha256};

/// SHA-256, for the transcript of a handshake and as HMAC (RFC 8446 §4.4.1, RFC 5246 §5).
#[derive(Clone, Copy, Debug)]
pub struct Sha256Hash;

/// Bytes of its output.
const LENGTH: usize = 32;

impl hash::Hash for Sha256Hash {
    fn start(&self) -> Box<dyn hash::Context> {
        Box::new(Transcript(Sha256::new()))
    }

    fn hash(&self, data: &[u8]) -> hash::Output {
        hash::Output::new(&Sha256::digest(data))
    }

    fn output_len(&self) -> usize {
        LENGTH
    }

    fn algorithm(&self) -> HashAlgorithm {
        HashAlgorithm::SHA256
    }
}

impl mac::Hmac for Sha256Hash {
    fn with_key(&self, key: &[u8]) -> Box<dyn mac::Key> {
        // HMAC takes a key of any length: the error cannot occur, and a key that is missing makes tags that fit nothing.
        Box::new(MacKey(<Hmac<Sha256> as KeyInit>::new_from_slice(key).ok()))
    }

    fn hash_output_len(&self) -> usize {
        LENGTH
    }
}

struct Transcript(Sha256);

impl hash::Context for Transcript {
    fn fork_finish(&self) -> hash::Output {
        hash::Output::new(&self.0.clone().finalize())
    }

    fn fork(&self) -> Box<dyn hash::Context> {
        Box::new(Self(self.0.clone()))
    }

    fn finish(self: Box<Self>) -> hash::Output {
        hash::Output::new(&self.0.finalize())
    }

    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }
}

struct MacKey(Option<Hmac<Sha256>>);

impl mac::Key for MacKey {
    fn sign_concat(&self, first: &[u8], middle: &[&[u8]], last: &[u8]) -> mac::Tag {
        let Some(mut mac) = self.0.clone() else { return mac::Tag::new(&[]) };
        mac.update(first);
        middle.iter().for_each(|part| mac.update(part));
        mac.update(last);
        mac::Tag::new(&mac.finalize().into_bytes())
    }

    fn tag_len(&self) -> usize {
        LENGTH
    }
}
