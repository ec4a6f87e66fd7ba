//! The judgement of a kubernetes-01 proof. [`question`] checks everything that can be told without the cluster, so that
//! nothing is sent to one for a token that would be refused anyway; [`judge`] checks it again, and then what the cluster said.

use std::net::IpAddr;

use shared::{
    identifier::Identifier,
    kubernetes::{keys::KeySet, refusal::BadToken, token::Unverified},
    timestamp::Timestamp,
};

use super::{
    cluster::{Cluster, Clusters, Keys},
    pods,
    presented::{Presented, Proof},
    refusal::Refusal,
    review,
};

/// What has to be asked of a cluster.
#[derive(Debug)]
pub struct Question<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// What to ask.
    pub about: About<'a>,
}

/// What a cluster is asked about.
#[derive(Debug)]
pub enum About<'a> {
    /// A token that is right as far as can be told without the cluster, for this audience.
    Token(Box<Unverified<'a>>, String),
    /// The pod of this address.
    Address(IpAddr),
}

/// What was fetched; nothing where nothing was to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The cluster's keys, where they are not in the configuration.
    pub keys: Option<KeySet>,
    /// The API server's answer: a TokenReview, or a list of pods.
    pub answer: Option<Vec<u8>>,
}

/// What to ask about a proof. `digest` is base64url of SHA-256 of the key authorization.
///
/// # Errors
/// What is wrong with the proof, whatever the cluster would say.
pub fn question<'a>(
    clusters: &'a Clusters,
    presented: &'a Presented,
    digest: &str,
    now: Timestamp,
) -> Result<Question<'a>, Refusal> {
    match &presented.proof {
        Proof::Address(address) => {
            let cluster = clusters.by_address().ok_or(Refusal::NothingPresented)?;
            Ok(Question { cluster, about: About::Address(*address) })
        }
        Proof::Token(text) => {
            let token = Unverified::parse(text.expose())?;
            let cluster = clusters.of_issuer(token.issuer()).ok_or(BadToken::Issuer)?;
            let audience = cluster.rules.check(&token, digest, now)?;
            Ok(Question { cluster, about: About::Token(Box::new(token), audience) })
        }
    }
}

/// Whether a proof, with what was fetched for it, gives its workload this identifier.
///
/// # Errors
/// The first thing that is wrong.
pub fn judge(question: &Question<'_>, seen: &Seen, identifier: &Identifier, wildcard: bool) -> Result<(), Refusal> {
    let cluster = question.cluster;
    let workload = match &question.about {
        About::Address(address) => pods::workload(seen.answer.as_deref().ok_or(Refusal::ApiAnswer)?, *address)?,
        About::Token(token, audience) => {
            match &cluster.keys {
                Some(Keys::Inline(keys)) => token.verify(keys)?,
                Some(Keys::At(_)) => token.verify(seen.keys.as_ref().ok_or(BadToken::KeySet)?)?,
                // The API server verifies the signature: a cluster has keys or a review, or both.
                None if cluster.token_review => {}
                None => return Err(BadToken::KeySet.into()),
            }
            if cluster.token_review {
                review::check(seen.answer.as_deref().ok_or(Refusal::ApiAnswer)?, token, audience)?;
            }
            token.workload()
        }
    };
    Ok(cluster.rules.give(&workload, identifier, wildcard)?)
}
