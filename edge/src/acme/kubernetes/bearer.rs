//! What the edge shows to API servers: one bearer token a cluster, from the secret `KUBERNETES_TOKENS`.

use std::{collections::BTreeMap, fmt};

/// Bearer tokens by the names of their clusters: the JSON object `{"cluster": "token"}`.
#[derive(Default)]
pub struct BearerTokens(BTreeMap<String, String>);

/// Why the secret cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBearerTokens {
    /// Not a JSON object of texts.
    #[error("not a JSON object of cluster names with bearer tokens")]
    Form,
    /// A cluster has an API server and no token for it.
    #[error("no token for the cluster {0:?}")]
    Missing(String),
}

impl BearerTokens {
    /// Reads the secret. `needed` are the clusters with an API server, each of which must have its token.
    ///
    /// # Errors
    /// [`BadBearerTokens`]; it names no token.
    pub fn parse<'a>(secret: &str, mut needed: impl Iterator<Item = &'a str>) -> Result<Self, BadBearerTokens> {
        let tokens: BTreeMap<String, String> = serde_json::from_str(secret).map_err(|_| BadBearerTokens::Form)?;
        let token = |byte: u8| byte.is_ascii_graphic();
        if !tokens.values().all(|text| !text.is_empty() && text.bytes().all(token)) {
            return Err(BadBearerTokens::Form);
        }
        let missing = needed.find(|name| !tokens.contains_key(*name));
        missing.map_or(Ok(Self(tokens)), |name| Err(BadBearerTokens::Missing(name.to_owned())))
    }

    /// The token for the API server of this cluster.
    #[must_use]
    pub fn of(&self, cluster: &str) -> Option<&str> {
        self.0.get(cluster).map(String::as_str)
    }
}

impl fmt::Debug for BearerTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
