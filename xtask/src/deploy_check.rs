//! `cargo xtask deploy-check`: what wrangler would deploy to production, without deploying it.

use std::ffi::OsString;
use std::fs;

use anyhow::{Context, Result, ensure};

use crate::build::{self, Size};
use crate::npm::Npm;
use crate::paths::Paths;
use crate::process::{run, run_attached};
use crate::progress::{Step, note};

/// The most that the platform takes for one variable, in bytes.
const VARIABLE_BYTES: usize = 5_000;

/// Bundles for the production environment and shows bindings and sizes.
pub(crate) fn deploy_check(paths: &Paths) -> Result<()> {
    let file = paths.root.join("wrangler.toml");
    let deployment = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    note(format!("vars.COLOPHON of production: {} of {VARIABLE_BYTES} bytes", variable_bytes(&deployment)?));
    let bundle = build::build_edge(paths)?;
    let step = Step::begin("wrangler deploy --dry-run --env production");
    let arguments = ["deploy", "--dry-run", "--env", "production"];
    run(Npm::install(paths)?.wrangler()?.args(arguments).current_dir(&paths.root))?;
    let size = Size::of(&bundle)?;
    note(size.to_string());
    size.within_budget()?;
    step.done();
    Ok(())
}

/// Runs the pinned wrangler in the workspace's folder, with our own input: `wrangler secret put` reads the secret from there.
pub(crate) fn wrangler(paths: &Paths, arguments: &[OsString]) -> Result<()> {
    run_attached(Npm::install(paths)?.wrangler()?.args(arguments).current_dir(&paths.root))
}

/// Returns the size of production's `vars.COLOPHON`, in bytes of JSON.
///
/// # Errors
/// When there is none, or it is larger than the platform takes.
fn variable_bytes(deployment: &str) -> Result<usize> {
    let deployment: toml::Table = deployment.parse().context("wrangler.toml")?;
    let mut place = deployment.get("env");
    for key in ["production", "vars", "COLOPHON"] {
        place = place.and_then(|table| table.get(key));
    }
    let size = serde_json::to_vec(place.context("wrangler.toml has no [env.production.vars.COLOPHON]")?)?.len();
    ensure!(
        size <= VARIABLE_BYTES,
        "env.production.vars.COLOPHON has {size} bytes as JSON, and the platform takes {VARIABLE_BYTES} for one variable: \
         shorten the certificates in root_certificate, alternate_chains and status.root_crl first, which are most of it"
    );
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_over_the_platforms_limit_is_refused_with_its_size() {
        let with = |text: &str| format!("[env.production.vars.COLOPHON]\nroot_certificate = \"{text}\"\n");
        assert_eq!(variable_bytes(&with("abc")).unwrap(), r#"{"root_certificate":"abc"}"#.len());
        assert_eq!(variable_bytes(&with(&"a".repeat(VARIABLE_BYTES - 23))).unwrap(), VARIABLE_BYTES);
        let error = variable_bytes(&with(&"a".repeat(VARIABLE_BYTES - 22))).unwrap_err().to_string();
        assert!(error.contains("5001 bytes") && error.contains("alternate_chains"), "{error}");
        assert!(variable_bytes("name = 'x'").is_err());
    }

    #[test]
    fn the_deployment_of_this_tree_leaves_room_for_certificates() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let size = variable_bytes(&fs::read_to_string(root.join("wrangler.toml")).unwrap()).unwrap();
        assert!(size < VARIABLE_BYTES - 1000, "{size}");
    }
}
