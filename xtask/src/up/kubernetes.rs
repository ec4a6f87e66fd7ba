//! The edge's secret for the API servers of clusters that `--set kubernetes=…` names: one bearer token for all of them.

use std::fs;

use anyhow::Result;
use serde_json::{Map, Value};

use super::state::State;

/// The secret `KUBERNETES_TOKENS`: the token of `secrets/kubernetes` for each cluster.
pub(super) fn tokens(state: &State, colophon: &Value) -> Result<Vec<u8>> {
    let token = Value::String(fs::read_to_string(state.secret("kubernetes")?)?);
    let clusters = colophon.get("kubernetes").and_then(Value::as_object).into_iter().flat_map(Map::keys);
    let tokens: Map<String, Value> = clusters.map(|name| (name.clone(), token.clone())).collect();
    Ok(Value::Object(tokens).to_string().into_bytes())
}
