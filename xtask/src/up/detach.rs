//! `up --detach`: the same command once more in the background, waited for until it is ready.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::UpOptions;
use super::report::Report;
use super::supervisor::tail;

/// Starts us again without `--detach`, and passes its report on.
pub(crate) fn detach(state: &Path, options: &UpOptions) -> Result<()> {
    let logs = state.join("logs");
    fs::create_dir_all(&logs).with_context(|| format!("creating {}", logs.display()))?;
    let log = logs.join("up.log");
    let arguments = env::args_os().skip(1).filter(|argument| argument != "--detach" && argument != "--json");
    let mut child = Command::new(env::current_exe()?)
        .args(arguments)
        .args(["--json", "--background"])
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(&log)?)
        .spawn()
        .context("starting in the background")?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut line)?;
    }
    let Ok(mut report) = serde_json::from_str::<Report>(&line) else {
        bail!("the stack did not start: {}{}", child.wait()?, tail(&log));
    };
    report.throwaway_resolver = options.resolver.is_none();
    report.print(options.json)
}
