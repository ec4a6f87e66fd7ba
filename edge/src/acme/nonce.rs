//! Nonces: accepted once in the whole world, with almost no storage (RFC 8555 §6.5).
//!
//! Two kinds. The edge mints one without a hop for newNonce and for answers before an account is known; it is spent as a row
//! in the shard that it names. An account's object mints the other for every answer of its own: a counter of this
//! incarnation's epoch; which counters are spent is kept in memory, so a restart revives nothing.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use shared::{base64url, timestamp::Timestamp};
use subtle::ConstantTimeEq;

use super::route::AccountId;

/// How many of its latest nonces an account's object accepts. Older ones are `badNonce`, which costs a client one retry.
const WINDOW: u64 = 4096;

/// The secrets that authenticate nonces: the current one mints, both are accepted, so that it can be rotated.
#[derive(Clone)]
pub struct NonceSecrets {
    current: Vec<u8>,
    previous: Option<Vec<u8>>,
}

/// A nonce whose MAC is right. Not spent yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nonce {
    /// Minted by the edge: to be spent in a shard.
    Edge(EdgeNonce),
    /// Minted by an account's object: to be spent in its window.
    Account(AccountNonce),
}

/// A nonce of newNonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdgeNonce {
    /// The shard that remembers it.
    pub shard: u8,
    /// After this it is refused, and the shard may forget it.
    pub expires: Timestamp,
    /// 96 random bits: its identity.
    pub random: [u8; 12],
}

/// A nonce of an account's object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountNonce {
    epoch: [u8; 8],
    counter: u64,
}

/// Proof that a nonce was good and is now spent. Made by [`Window::redeem`] and [`EdgeNonce::redeemed`], used by one step.
#[derive(Debug)]
pub struct Redeemed(());

/// The nonce is not ours, expired, or was used before; for `badNonce`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadNonce;

/// What one incarnation of an account's object knows of its nonces: 512 bytes, nothing stored.
#[derive(Debug)]
pub struct Window {
    epoch: [u8; 8],
    next: u64,
    spent: Vec<u64>,
}

impl NonceSecrets {
    /// From the texts of the secrets `NONCE_SECRET` and `NONCE_SECRET_PREVIOUS`.
    #[must_use]
    pub fn new(current: &str, previous: Option<&str>) -> Self {
        Self { current: current.as_bytes().to_vec(), previous: previous.map(|text| text.as_bytes().to_vec()) }
    }

    /// Mints a nonce of the edge. `random` is fresh; its last byte also chooses the shard, below `shards` (1 to 256).
    #[must_use]
    pub fn mint_edge(&self, random: [u8; 13], shards: u16, expires: Timestamp) -> String {
        let (first, identity) = random
            .split_first()
            .map_or((0, [0; 12]), |(first, rest)| (*first, <[u8; 12]>::try_from(rest).unwrap_or_default()));
        let [_, shard] = u16::from(first).checked_rem(shards).unwrap_or(0).to_be_bytes();
        let content = [&[EDGE, shard], expires.seconds().to_be_bytes().as_slice(), &identity].concat();
        base64url::encode(&[content.as_slice(), &mac(&self.current, None, &content)].concat())
    }

    /// Reads a nonce and checks its MAC; one of an account is good for `account` alone, and nowhere where there is none.
    ///
    /// # Errors
    /// When it is not ours, of another account, or expired at `now`.
    pub fn parse(&self, text: &str, account: Option<AccountId>, now: Timestamp) -> Result<Nonce, BadNonce> {
        let bytes = base64url::decode(text).map_err(|_| BadNonce)?;
        let (content, tag) = bytes.split_last_chunk::<16>().ok_or(BadNonce)?;
        let bound_to = match content.first() {
            Some(&ACCOUNT) => Some(account.ok_or(BadNonce)?),
            _ => None,
        };
        let valid = |secret: &[u8]| bool::from(mac(secret, bound_to, content).as_slice().ct_eq(tag));
        if !valid(&self.current) && !self.previous.as_deref().is_some_and(valid) {
            return Err(BadNonce);
        }
        match content {
            [EDGE, shard, rest @ ..] => {
                let (expires, random) = rest.split_first_chunk::<8>().ok_or(BadNonce)?;
                let expires = Timestamp::from_seconds(u64::from_be_bytes(*expires));
                let random = random.try_into().map_err(|_| BadNonce)?;
                if expires < now {
                    Err(BadNonce)
                } else {
                    Ok(Nonce::Edge(EdgeNonce { shard: *shard, expires, random }))
                }
            }
            [ACCOUNT, rest @ ..] => {
                let (epoch, counter) = rest.split_first_chunk::<8>().ok_or(BadNonce)?;
                let counter = u64::from_be_bytes(counter.try_into().map_err(|_| BadNonce)?);
                Ok(Nonce::Account(AccountNonce { epoch: *epoch, counter }))
            }
            _ => Err(BadNonce),
        }
    }

    fn mint_account(&self, account: AccountId, nonce: AccountNonce) -> String {
        let content = [&[ACCOUNT], nonce.epoch.as_slice(), &nonce.counter.to_be_bytes()].concat();
        base64url::encode(&[content.as_slice(), &mac(&self.current, Some(account), &content)].concat())
    }
}

impl EdgeNonce {
    /// The shard answered that it had not seen this nonce, and has it now.
    ///
    /// # Errors
    /// When the shard had seen it.
    pub fn redeemed(self, first_time: bool) -> Result<Redeemed, BadNonce> {
        if first_time { Ok(Redeemed(())) } else { Err(BadNonce) }
    }
}

impl Window {
    /// A new incarnation, which accepts nothing of an earlier one.
    #[must_use]
    pub const fn new(epoch: [u8; 8]) -> Self {
        Self { epoch, next: 0, spent: Vec::new() }
    }

    /// Mints the next nonce.
    pub fn mint(&mut self, secrets: &NonceSecrets, account: AccountId) -> String {
        if self.spent.is_empty() {
            self.spent = vec![0; WORDS];
        }
        let counter = self.next;
        self.next = self.next.saturating_add(1);
        // The slot held the counter that now leaves the window.
        let (word, bit) = slot(counter);
        if let Some(word) = self.spent.get_mut(word) {
            *word &= !bit;
        }
        secrets.mint_account(account, AccountNonce { epoch: self.epoch, counter })
    }

    /// Spends a nonce.
    ///
    /// # Errors
    /// When it is of another incarnation, left the window, or was spent.
    pub fn redeem(&mut self, nonce: AccountNonce) -> Result<Redeemed, BadNonce> {
        let in_window = nonce.counter < self.next && nonce.counter >= self.next.saturating_sub(WINDOW);
        if nonce.epoch != self.epoch || !in_window {
            return Err(BadNonce);
        }
        let (word, bit) = slot(nonce.counter);
        let word = self.spent.get_mut(word).ok_or(BadNonce)?;
        if *word & bit != 0 {
            return Err(BadNonce);
        }
        *word |= bit;
        Ok(Redeemed(()))
    }
}

impl std::fmt::Debug for NonceSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NonceSecrets(…)")
    }
}

const EDGE: u8 = 1;
const ACCOUNT: u8 = 2;
const WORDS: usize = 64;

/// Word and bit of a counter in the ring of [`WINDOW`] bits.
fn slot(counter: u64) -> (usize, u64) {
    let index = counter % WINDOW;
    (usize::try_from(index / 64).unwrap_or(0), 1 << (index % 64))
}

/// The first 128 bits of HMAC-SHA256.
fn mac(secret: &[u8], account: Option<AccountId>, content: &[u8]) -> [u8; 16] {
    let mut tag = [0; 16];
    // HMAC takes a key of any length; the error cannot occur.
    if let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(secret) {
        mac.update(b"colophon nonce\0");
        if let Some(account) = account {
            mac.update(&account.0.0);
        }
        mac.update(content);
        tag.iter_mut().zip(mac.finalize().into_bytes()).for_each(|(to, from)| *to = from);
    }
    tag
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::jwk::Thumbprint;

    const ONE: AccountId = AccountId(Thumbprint([1; 32]));
    const TWO: AccountId = AccountId(Thumbprint([2; 32]));

    fn secrets() -> NonceSecrets {
        NonceSecrets::new("current secret of enough length..", None)
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn account_nonce(text: &str) -> AccountNonce {
        match secrets().parse(text, Some(ONE), at(0)) {
            Ok(Nonce::Account(nonce)) => nonce,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_nonce_of_the_edge_reads_back_until_it_expires() {
        let text = secrets().mint_edge([200; 13], 16, at(100));
        let nonce = EdgeNonce { shard: 8, expires: at(100), random: [200; 12] };
        assert_eq!(secrets().parse(&text, Some(ONE), at(100)), Ok(Nonce::Edge(nonce)));
        assert_eq!(secrets().parse(&text, Some(ONE), at(101)), Err(BadNonce));
    }

    #[test]
    fn shards_are_below_their_number() {
        for (shards, first) in [(1, 255), (16, 255), (256, 255), (256, 0)] {
            let mut random = [0; 13];
            random[0] = first;
            let text = secrets().mint_edge(random, shards, at(1));
            let Ok(Nonce::Edge(nonce)) = secrets().parse(&text, Some(ONE), at(0)) else { panic!() };
            assert!(u16::from(nonce.shard) < shards);
        }
    }

    #[test]
    fn every_changed_byte_is_a_bad_nonce() {
        let text = secrets().mint_edge([3; 13], 16, at(100));
        for index in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            assert_eq!(secrets().parse(std::str::from_utf8(&changed).unwrap(), Some(ONE), at(0)), Err(BadNonce));
        }
        assert_eq!(secrets().parse("", Some(ONE), at(0)), Err(BadNonce));
    }

    #[test]
    fn the_previous_secret_is_accepted_and_never_mints() {
        let rotated = NonceSecrets::new("a new secret of enough length....", Some("current secret of enough length.."));
        let old = secrets().mint_edge([3; 13], 16, at(100));
        assert!(rotated.parse(&old, Some(ONE), at(0)).is_ok());
        assert_eq!(secrets().parse(&rotated.mint_edge([3; 13], 16, at(100)), Some(ONE), at(0)), Err(BadNonce));
    }

    #[test]
    fn a_nonce_of_an_account_is_good_there_alone_and_once() {
        let mut window = Window::new([9; 8]);
        let text = window.mint(&secrets(), ONE);
        assert_eq!(secrets().parse(&text, Some(TWO), at(0)), Err(BadNonce));
        let nonce = account_nonce(&text);
        assert!(window.redeem(nonce).is_ok());
        assert!(window.redeem(nonce).is_err());
    }

    #[test]
    fn a_new_incarnation_accepts_nothing_of_the_old_one() {
        let nonce = account_nonce(&Window::new([9; 8]).mint(&secrets(), ONE));
        let mut window = Window::new([8; 8]);
        window.mint(&secrets(), ONE);
        assert!(window.redeem(nonce).is_err());
    }

    #[test]
    fn a_nonce_that_left_the_window_is_refused_and_a_reused_slot_is_fresh() {
        let mut window = Window::new([9; 8]);
        let first = account_nonce(&window.mint(&secrets(), ONE));
        let second = account_nonce(&window.mint(&secrets(), ONE));
        assert!(window.redeem(second).is_ok());
        for _ in 2..=WINDOW {
            window.mint(&secrets(), ONE);
        }
        assert!(window.redeem(first).is_err(), "left the window");
        let reused = account_nonce(&window.mint(&secrets(), ONE));
        assert_eq!(slot(reused.counter), slot(second.counter));
        assert!(window.redeem(reused).is_ok());
    }

    #[test]
    fn a_counter_that_was_never_minted_is_refused() {
        let mut window = Window::new([9; 8]);
        assert!(window.redeem(AccountNonce { epoch: [9; 8], counter: 0 }).is_err());
    }
}
