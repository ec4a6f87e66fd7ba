//! `cargo xtask deploy-check`: what wrangler would deploy to production, without deploying it.

use std::ffi::OsString;

use anyhow::Result;

use crate::build::{self, Size};
use crate::npm::Npm;
use crate::paths::Paths;
use crate::process::run;
use crate::progress::{Step, note};

/// Bundles for the production environment and shows bindings and sizes.
pub(crate) fn deploy_check(paths: &Paths) -> Result<()> {
    let bundle = build::build_edge(paths)?;
    let step = Step::begin("wrangler deploy --dry-run --env production");
    wrangler(paths, &["deploy", "--dry-run", "--env", "production"].map(OsString::from))?;
    let size = Size::of(&bundle)?;
    note(size.to_string());
    size.within_budget()?;
    step.done();
    Ok(())
}

/// Runs the pinned wrangler in the workspace's folder.
pub(crate) fn wrangler(paths: &Paths, arguments: &[OsString]) -> Result<()> {
    run(Npm::install(paths)?.wrangler()?.args(arguments).current_dir(&paths.root))
}
