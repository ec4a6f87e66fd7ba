//! `up --set`: one value of the edge's configuration, for tests of what an operator may choose.

use std::str::FromStr;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// A value and its place. The edge itself refuses what it does not know.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Setting {
    /// The number of the edge that it is for; all of them without one.
    edge: Option<u16>,
    path: Vec<String>,
    value: Value,
}

impl FromStr for Setting {
    type Err = anyhow::Error;

    /// Reads `lifetimes.order=3`, or `2:lifetimes.order=3` for the second edge: the value is JSON, or else text.
    fn from_str(text: &str) -> Result<Self> {
        let numbered = |(number, rest): (&str, _)| Some((number.parse().ok()?, rest));
        let (edge, text) =
            text.split_once(':').and_then(numbered).map_or((None, text), |(edge, rest)| (Some(edge), rest));
        let (path, value) = text.split_once('=').context("expected KEY=VALUE")?;
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        ensure!(path.iter().all(|key| !key.is_empty()), "`{text}` has an empty key");
        Ok(Self { edge, path, value: serde_json::from_str(value).unwrap_or_else(|_| json!(value)) })
    }
}

impl Setting {
    /// True when it holds for the edge with this number.
    pub(crate) fn is_for(&self, edge: u16) -> bool {
        self.edge.is_none_or(|own| own == edge)
    }

    /// Returns the name and the content of the profile that it adds or replaces as a whole.
    pub(crate) fn profile(&self) -> Option<(&str, &Value)> {
        let [table, name] = self.path.as_slice() else { return None };
        (table == "profiles").then_some((name, &self.value))
    }

    /// Puts the value into its place, over what is there.
    pub(crate) fn apply(&self, configuration: &mut Value) -> Result<()> {
        let mut place = configuration;
        for key in &self.path {
            let table = place.as_object_mut().with_context(|| format!("{} is below a value", self.path.join(".")))?;
            place = table.entry(key).or_insert_with(|| json!({}));
        }
        *place = self.value.clone();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_replaces_or_adds_one_value() {
        let mut configuration = json!({"title": "a", "limits": {"orders_page": 100, "nonce_shards": 16}});
        for text in ["title=b c", "limits.orders_page=2", r#"rate_limits.orders_per_account={"count":1}"#] {
            text.parse::<Setting>().unwrap().apply(&mut configuration).unwrap();
        }
        let expected = json!({"title": "b c", "limits": {"orders_page": 2, "nonce_shards": 16},
            "rate_limits": {"orders_per_account": {"count": 1}}});
        assert_eq!(configuration, expected);
        assert!("title.x=1".parse::<Setting>().unwrap().apply(&mut configuration).is_err());
        let profile: Setting = r#"profiles.short={"validity_seconds":60}"#.parse().unwrap();
        assert_eq!(profile.profile(), Some(("short", &json!({"validity_seconds": 60}))));
        assert_eq!("profiles.short.validity_seconds=60".parse::<Setting>().unwrap().profile(), None);
        let second: Setting = "2:title=b:c".parse().unwrap();
        assert!(second.is_for(2) && !second.is_for(1) && "title=2:c".parse::<Setting>().unwrap().is_for(1));
        for wrong in ["title", "=1", "a..b=1"] {
            assert!(wrong.parse::<Setting>().is_err(), "{wrong}");
        }
    }
}
