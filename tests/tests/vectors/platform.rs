//! The platform itself: one worker without a binding, on the workerd and the compatibility date of `cargo xtask up`.

use std::{
    env,
    fs::{self, File},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use tests::{keeper, stack::free_port, tree};

use crate::question::Question;

/// Names the program.
const PROGRAM: &str = "COLOPHON_WORKERD";
/// 20 s, in steps of 20 ms.
const START_ATTEMPTS: usize = 1000;

/// What the platform says of a signature.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Answer {
    /// True when it took the key.
    pub(crate) taken: bool,
    /// Nothing where it cannot tell: the edge then computes.
    pub(crate) valid: Option<bool>,
    /// Why it cannot tell.
    pub(crate) error: Option<String>,
}

/// A running workerd. Ends with this value, and with this process.
#[derive(Debug)]
struct Platform {
    port: u16,
    process: Child,
}

/// The platform's answers, in the order of the questions.
///
/// # Errors
/// When it does not start, or not answer.
pub(crate) fn answers(name: &str, questions: &[Question]) -> Result<Vec<Answer>> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("questions.json"), serde_json::to_vec(questions)?)?;
    fs::write(folder.join("platform.mjs"), include_str!("platform.mjs"))?;
    let platform = Platform::start(&folder)?;
    let url = format!("http://127.0.0.1:{}/", platform.port);
    let reply = ureq::get(url).call().context("the worker does not answer")?;
    let answers: Vec<Answer> = serde_json::from_reader(reply.into_body().into_reader())?;
    ensure!(answers.len() == questions.len(), "{} answers to {} questions", answers.len(), questions.len());
    Ok(answers)
}

impl Platform {
    fn start(folder: &Path) -> Result<Self> {
        let program =
            env::var_os(PROGRAM).with_context(|| format!("{PROGRAM} must name workerd: run `cargo xtask test`"))?;
        let port = free_port()?;
        let configuration = folder.join("workerd.capnp");
        fs::write(&configuration, self::configuration(port)?)?;
        let log = folder.join("workerd.log");
        let mut command = keeper::command(program);
        command.arg("serve").arg(&configuration);
        command.stdin(Stdio::null()).stdout(File::create(&log)?).stderr(File::options().append(true).open(&log)?);
        let process = keeper::spawn(command).context("starting workerd with setpriv")?;
        let mut platform = Self { port, process };
        for _ in 0..START_ATTEMPTS {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(platform);
            }
            if platform.process.try_wait()?.is_some() {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!("workerd did not start:\n{}", fs::read_to_string(&log).unwrap_or_default())
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        keeper::end(&mut self.process);
    }
}

/// As `up` writes it for the edge, of the same date and flags.
fn configuration(port: u16) -> Result<String> {
    let deployment: toml::Table = tree::read("wrangler.toml").parse()?;
    let date = deployment.get("compatibility_date").context("wrangler.toml has a compatibility date")?;
    let flags = deployment.get("compatibility_flags").map_or_else(|| "[]".to_owned(), ToString::to_string);
    Ok(format!(
        "using Workerd = import \"/workerd/workerd.capnp\";

const config :Workerd.Config = (
  services = [(name = \"platform\", worker = .platform)],
  sockets = [(name = \"http\", address = \"127.0.0.1:{port}\", service = \"platform\", http = ())],
);

const platform :Workerd.Worker = (
  modules = [
    (name = \"platform.mjs\", esModule = embed \"platform.mjs\"),
    (name = \"questions.json\", json = embed \"questions.json\"),
  ],
  compatibilityDate = {date},
  compatibilityFlags = {flags},
);
"
    ))
}
