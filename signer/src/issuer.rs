//! An issuer: a certificate chain, and the tokens that hold its key. Decides what a certificate says ([`Issuer::prepare`]) and
//! checks what came back from a token before anybody sees it ([`Issuer::finish`]).

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use shared::{
    base64url::Base64Url,
    certificate::{CannotBuild, Content, TbsDer},
    chain::{BadChain, IssuerChain, Leaf},
    pointers::{CrlShard, IssuerId, StatusHost},
    public_key::PublicKey,
    serial::SerialNumber,
    signing::{IssuerStatus, TokenState},
    timestamp::Timestamp,
};

use crate::{
    admit::Admitted,
    constraints::{CannotVerify, ChainLimits},
    journal::Intent,
    token::view::TokenView,
};

/// One issuer of the configuration.
#[derive(Debug)]
pub(crate) struct Issuer {
    name: String,
    chain: IssuerChain,
    /// What verifiers accept under the chain. Nothing at all, where the chain itself cannot verify.
    limits: Result<ChainLimits, CannotVerify>,
    tokens: Vec<Arc<TokenView>>,
    id: IssuerId,
    /// Where its certificates say that their status is told, and in how many parts.
    pointers: Option<(StatusHost, u8)>,
    is_drained: bool,
}

/// A certificate that came out other than it was meant. It is never released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAsIntended {
    /// It cannot be put together or read back, or is not signed by this issuer.
    #[error("the certificate is not well formed: {0}")]
    Form(#[from] BadChain),
    /// It cannot be put together.
    #[error("the certificate cannot be put together: {0}")]
    Assembly(#[from] CannotBuild),
    /// It says something else than its intent.
    #[error("the certificate has another {0} than its intent")]
    Differs(&'static str),
}

impl Issuer {
    /// An issuer and its tokens.
    pub(crate) fn new(name: String, chain: IssuerChain, tokens: Vec<Arc<TokenView>>) -> Self {
        let id = IssuerId::of(chain.issuer());
        let limits = ChainLimits::of(&chain, None);
        Self { name, chain, limits, tokens, id, pointers: None, is_drained: false }
    }

    /// The same, and its certificates point to this host and to so many parts of its CRL.
    pub(crate) fn with_pointers(self, pointers: Option<(StatusHost, u8)>) -> Self {
        Self { pointers, ..self }
    }

    /// The same, and it decides on no more certificates when `is_drained`.
    pub(crate) fn drained(self, is_drained: bool) -> Self {
        Self { is_drained, ..self }
    }

    /// Its name in the configuration.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What it is called in URLs.
    pub(crate) const fn id(&self) -> IssuerId {
        self.id
    }

    /// True when it decides on no more certificates.
    pub(crate) const fn is_drained(&self) -> bool {
        self.is_drained
    }

    /// Its certificate.
    pub(crate) const fn certificate(&self) -> &shared::chain::Issuer {
        self.chain.issuer()
    }

    /// Whether a certificate of this issuer would verify under its chain.
    ///
    /// # Errors
    /// The first reason for which it would not.
    pub(crate) fn admit(&self, admitted: &Admitted) -> Result<(), CannotVerify> {
        self.limits.as_ref().map_err(Clone::clone)?.admit(&admitted.names, &admitted.profile)
    }

    /// True when this key is its own, or of a CA above it.
    pub(crate) fn has_key(&self, key: &PublicKey) -> bool {
        self.chain.has_key(key)
    }

    /// Decides on a certificate, to the last byte but its signature.
    ///
    /// # Errors
    /// When the names or the times cannot be in a certificate of this issuer.
    pub(crate) fn prepare(
        &self,
        admitted: &Admitted,
        serial: SerialNumber,
        now: Timestamp,
    ) -> Result<Intent, CannotBuild> {
        let issuer = self.chain.issuer();
        // Before this, its signatures are worth nothing; and a clock that is far behind is caught here.
        issuer.check_time(now).map_err(|_| CannotBuild::Validity)?;
        let (not_before, not_after) = admitted.times.validity(&admitted.profile, now);
        let content = Content {
            profile: &admitted.profile,
            names: &admitted.names,
            common_name: admitted.csr.common_name(),
            public_key: admitted.csr.public_key(),
            serial,
            not_before,
            not_after,
            status: self.pointers.as_ref().map(|(host, _)| host),
            crl_shards: self.pointers.as_ref().map_or(1, |(_, shards)| *shards),
        };
        let tbs = content.tbs(issuer)?;
        let pointers = self.pointers.as_ref().filter(|_| admitted.profile.revocation().has_crl());
        let shards = pointers.map(|(_, shards)| *shards);
        Ok(Intent {
            order: admitted.order.clone(),
            account: Base64Url(admitted.claim.account.0.to_vec()),
            csr: Base64Url(admitted.claim.csr.0.to_vec()),
            edge: admitted.edge.clone(),
            profile: admitted.profile.name().clone(),
            scope: admitted.scope.clone(),
            binding: admitted.rights.binding().map(str::to_owned),
            names: admitted.names.iter().cloned().collect(),
            issuer: self.name.clone(),
            issuer_sha256: Base64Url(self.chain.issuer().fingerprint().to_vec()),
            serial,
            not_before,
            not_after,
            extended_key_usage: admitted.profile.extended_key_usage().to_vec(),
            tbs: Base64Url(tbs.as_bytes().to_vec()),
            crl_shard: shards.map(|shards| CrlShard::holding(serial, shards)),
        })
    }

    /// True when the intent is of this issuer, by name and certificate.
    pub(crate) fn decided(&self, intent: &Intent) -> bool {
        self.name == intent.issuer && self.chain.issuer().fingerprint() == *intent.issuer_sha256.0
    }

    /// Puts the certificate together, reads it back, and compares it with its intent and the key that was asked for.
    ///
    /// # Errors
    /// Whatever is other than it was meant.
    pub(crate) fn finish(
        &self,
        intent: &Intent,
        public_key: &PublicKey,
        signature: &[u8],
    ) -> Result<Vec<Base64Url>, NotAsIntended> {
        let certificate = TbsDer::from_journal(intent.tbs.0.clone()).assemble(signature)?;
        compare(&self.chain.verify_leaf(&certificate)?, intent, public_key)?;
        let above = self.chain.sent().map(|issuer| Base64Url(issuer.der().to_vec()));
        Ok(std::iter::once(Base64Url(certificate)).chain(above).collect())
    }

    /// What a signature takes on each of the tokens that work; nothing for one that has not signed yet.
    fn medians(&self) -> impl Iterator<Item = Option<Duration>> {
        self.tokens.iter().filter(|token| is_live(token)).map(|token| token.median())
    }

    /// Tokens that sign now or are about to.
    pub(crate) fn live_tokens(&self) -> usize {
        self.tokens.iter().filter(|token| is_live(token)).count()
    }

    /// What `status` says of it.
    pub(crate) fn status(&self) -> IssuerStatus {
        IssuerStatus {
            name: self.name.clone(),
            chain: self.chain.sent().map(|issuer| Base64Url(issuer.der().to_vec())).collect(),
            tokens: self.tokens.iter().map(|token| token.status()).collect(),
            drained: self.is_drained,
            crl_shards: Vec::new(),
        }
    }
}

/// Compares a certificate with its intent and the key that was asked for.
///
/// # Errors
/// [`NotAsIntended::Differs`].
pub(crate) fn compare(leaf: &Leaf, intent: &Intent, public_key: &PublicKey) -> Result<(), NotAsIntended> {
    let usages: BTreeSet<_> = intent.extended_key_usage.iter().map(|usage| usage.oid()).collect();
    let differs = [
        ("set of names", !leaf.names.iter().eq(&intent.names)),
        ("key", leaf.public_key != *public_key),
        ("serial number", leaf.serial != intent.serial),
        ("validity", (leaf.not_before, leaf.not_after) != (intent.not_before, intent.not_after)),
        ("set of usages", leaf.extended_key_usage != usages),
    ];
    differs.into_iter().find(|(_, differs)| *differs).map_or(Ok(()), |(what, _)| Err(NotAsIntended::Differs(what)))
}

fn is_live(token: &TokenView) -> bool {
    matches!(token.state(), TokenState::Ready | TokenState::Starting)
}

/// The time between two signatures of all tokens of these issuers together, by the medians of what they did last; zero before the
/// first. A token that has not signed yet is taken for as fast as the others are on average.
pub(crate) fn pace<'a>(issuers: impl Iterator<Item = &'a Issuer>) -> Duration {
    let medians: Vec<_> = issuers.flat_map(Issuer::medians).collect();
    let measured: Vec<_> = medians.iter().flatten().map(Duration::as_micros).collect();
    // Signatures in 10^12 microseconds, to stay with whole numbers.
    let rates = measured.iter().map(|micros| 1_000_000_000_000_u128.checked_div(*micros).unwrap_or(u128::MAX));
    let rate = rates.fold(0, u128::saturating_add);
    let all = u128::try_from(medians.len()).unwrap_or(u128::MAX);
    let known = u128::try_from(measured.len()).unwrap_or(u128::MAX);
    let together = rate.saturating_mul(all).checked_div(known).unwrap_or(0);
    let micros = 1_000_000_000_000_u128.checked_div(together).unwrap_or(0);
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use shared::{identifier::Identifier, profile::Usage, testing::TestCa};

    #[test]
    fn a_certificate_that_is_not_as_intended_is_not_released() {
        let ca = TestCa::new(1);
        let issuer = Issuer::new("a1".into(), ca.chain.clone(), Vec::new());
        let (key, intent) = (fixture::csr(7).public_key().clone(), fixture::intent(&ca, 7));
        let signature = ca.sign(&intent.tbs.0);
        let chain = issuer.finish(&intent, &key, &signature).unwrap();
        assert_eq!(chain.len(), 2, "the leaf and its issuer; the root is not sent");

        let differs = |change: &dyn Fn(&mut Intent)| {
            let mut changed = intent.clone();
            change(&mut changed);
            issuer.finish(&changed, &key, &signature).unwrap_err()
        };
        let name = Identifier::Dns("more.a.test".parse().unwrap());
        assert_eq!(differs(&|intent| intent.names.push(name.clone())), NotAsIntended::Differs("set of names"));
        let serial = SerialNumber::from_random([9; 16]);
        assert_eq!(differs(&|intent| intent.serial = serial), NotAsIntended::Differs("serial number"));
        assert_eq!(differs(&|intent| intent.not_after = intent.not_after.plus(1)), NotAsIntended::Differs("validity"));
        let usage = Usage::ClientAuth;
        assert_eq!(differs(&|intent| intent.extended_key_usage.push(usage)), NotAsIntended::Differs("set of usages"));
        let refused = |key: &PublicKey, signature: &[u8]| issuer.finish(&intent, key, signature).unwrap_err();
        assert_eq!(refused(fixture::csr(8).public_key(), &signature), NotAsIntended::Differs("key"));
        let other = TestCa::new(2).sign(&intent.tbs.0);
        assert_eq!(refused(&key, &other), NotAsIntended::Form(BadChain::NotIssuedByNext));
    }
}
