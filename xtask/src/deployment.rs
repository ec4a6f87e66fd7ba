//! What `up` takes from `wrangler.toml`, so that the stack at home is the deployment's and not a copy of it: the
//! compatibility date and flags, the objects, the variables. A key that we do not understand is an error: it would
//! silently be missing here.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

/// The top level of `wrangler.toml`: a developer's own machine.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deployment {
    #[expect(dead_code, reason = "read, so that no key is unknown")]
    name: String,
    #[expect(dead_code, reason = "read, so that no key is unknown")]
    main: String,
    #[expect(dead_code, reason = "read, so that no key is unknown")]
    build: toml::Table,
    #[expect(dead_code, reason = "other environments are wrangler's business")]
    env: toml::Table,
    /// The day whose behaviour the platform shows.
    pub(crate) compatibility_date: String,
    /// Behaviours switched on or off by name.
    #[serde(default)]
    pub(crate) compatibility_flags: Vec<String>,
    durable_objects: DurableObjects,
    exports: BTreeMap<String, Export>,
    vars: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DurableObjects {
    bindings: Vec<ObjectBinding>,
}

/// A kind of object and the name under which the edge finds it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ObjectBinding {
    /// The binding's name: `ACCOUNT`.
    pub(crate) name: String,
    /// The exported class: `Account`.
    pub(crate) class_name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Export {
    r#type: String,
    storage: String,
}

impl Deployment {
    /// Reads `wrangler.toml` in the workspace's folder.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let file = root.join("wrangler.toml");
        let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", file.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let deployment: Self = toml::from_str(text)?;
        for object in &deployment.durable_objects.bindings {
            match deployment.exports.get(&object.class_name) {
                None => bail!("{} is bound, but there is no [exports.{}]", object.name, object.class_name),
                Some(export) if export.r#type != "durable-object" || export.storage != "sqlite" => {
                    bail!("{} is not an object with SQLite storage", object.class_name)
                }
                Some(_) => {}
            }
        }
        for name in deployment.exports.keys() {
            if !deployment.objects().iter().any(|object| &object.class_name == name) {
                bail!("{name} is exported, but not bound");
            }
        }
        Ok(deployment)
    }

    /// All kinds of objects.
    pub(crate) fn objects(&self) -> &[ObjectBinding] {
        &self.durable_objects.bindings
    }

    /// The edge's configuration: the variable `COLOPHON`.
    pub(crate) fn colophon(&self) -> Result<Value> {
        match self.vars.get("COLOPHON") {
            Some(value @ Value::Object(_)) => Ok(value.clone()),
            _ => bail!("wrangler.toml has no table [vars.COLOPHON]"),
        }
    }

    /// Every other variable; all are text.
    pub(crate) fn text_variables(&self) -> Result<BTreeMap<&str, &str>> {
        let others = self.vars.iter().filter(|(name, _)| *name != "COLOPHON");
        others
            .map(|(name, value)| Ok((name.as_str(), value.as_str().with_context(|| format!("{name} is not text"))?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deployment_of_this_tree_is_understood() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let deployment = Deployment::read(root).unwrap();
        assert!(deployment.objects().iter().any(|object| object.name == "ACCOUNT" && object.class_name == "Account"));
        assert_eq!(deployment.colophon().unwrap()["deployment"], "local");
        assert!(deployment.text_variables().unwrap().contains_key("GUARD_TIMEOUT_MS"));
    }

    const SMALL: &str = "name = 'x'\nmain = 'y'\ncompatibility_date = '2026-01-01'\nbuild = {}\nenv = {}\nvars = {}\n";

    #[test]
    fn an_unknown_key_is_an_error() {
        let objects = "[durable_objects]\nbindings = []\n[exports]\n";
        Deployment::parse(&format!("{SMALL}{objects}")).unwrap();
        let error = Deployment::parse(&format!("{SMALL}kv_namespaces = []\n{objects}")).unwrap_err();
        assert!(error.to_string().contains("kv_namespaces"), "{error}");
    }

    #[test]
    fn every_bound_class_is_exported_and_the_other_way_round() {
        let bound = "durable_objects = { bindings = [{ name = 'A', class_name = 'A' }] }\n";
        let export = "[exports.A]\ntype = 'durable-object'\nstorage = 'sqlite'\n";
        Deployment::parse(&format!("{SMALL}{bound}{export}")).unwrap();
        assert!(Deployment::parse(&format!("{SMALL}{bound}[exports]\n")).is_err());
        assert!(Deployment::parse(&format!("{SMALL}durable_objects = {{ bindings = [] }}\n{export}")).is_err());
    }
}
