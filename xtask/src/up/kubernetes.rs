//! The edge's secret for the API servers of clusters that `--set kubernetes=…` names: one bearer token for all of them.

use std::fs;

use anyhow::Result;
use serde_json::{Map, Value};

use super::state::State;

/// The secret `KUBERNETES_TOKENS`: the token of `secrets/kubernetes` for each cluster.
pub(super) fn tokens(state: &State, colophon: &Value) -> Result<Vec<u8>> {
    let token = Value::String(fs::read_to_string(state.secret("kubernetes")?)?);
    let scopes = colophon.get("scopes").and_then(Value::as_object).into_iter().flat_map(Map::values);
    let clusters = std::iter::once(colophon).chain(scopes).filter_map(|place| place.get("kubernetes"));
    let clusters = clusters.filter_map(Value::as_object).flat_map(Map::keys);
    let tokens: Map<String, Value> = clusters.map(|name| (name.clone(), token.clone())).collect();
    Ok(Value::Object(tokens).to_string().into_bytes())
}
