//! `pebble-challtestsrv`: the DNS server and responder that Pebble's own tests and many clients' tests use. A real Go responder for
//! tls-alpn-01, among other things.

use std::{
    env,
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{keeper, stack::free_port};

/// Names the folder with the programs of `tests/go`.
const PROGRAMS: &str = "COLOPHON_GO_PROGRAMS";
const START_LIMIT: Duration = Duration::from_secs(20);

/// A running server. Ends with this value, and with this process.
#[derive(Debug)]
pub struct Challtestsrv {
    /// Where it answers tls-alpn-01, on loopback.
    pub tls_alpn_port: u16,
    management: u16,
    process: Child,
}

impl Challtestsrv {
    /// Starts it with its responder for tls-alpn-01 and nothing else, and waits until it listens.
    ///
    /// # Errors
    /// When there is no program, or it does not listen.
    pub fn start() -> Result<Self> {
        let (tls_alpn_port, management) = (free_port()?, free_port()?);
        let mut command = keeper::command(program("pebble-challtestsrv")?);
        command.args(["-dnsserver", "", "-doh", "", "-http01", "", "-https01", ""]);
        command.args(["-tlsalpn01", &format!("127.0.0.1:{tls_alpn_port}")]);
        command.args(["-management", &format!("127.0.0.1:{management}")]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = keeper::spawn(command).context("starting pebble-challtestsrv with setpriv")?;
        let mut server = Self { tls_alpn_port, management, process };
        let deadline = Instant::now() + START_LIMIT;
        for port in [tls_alpn_port, management] {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
                let runs = server.process.try_wait()?.is_none();
                ensure!(runs && Instant::now() < deadline, "pebble-challtestsrv does not listen at 127.0.0.1:{port}");
                thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(server)
    }

    /// Asks it for something, as its own clients do: `POST /PATH` with JSON.
    ///
    /// # Errors
    /// When it refuses.
    pub fn ask(&self, path: &str, body: &Value) -> Result<()> {
        let url = format!("http://127.0.0.1:{}/{path}", self.management);
        ureq::post(&url).send(body.to_string()).with_context(|| format!("asking {url}"))?;
        Ok(())
    }
}

impl Drop for Challtestsrv {
    fn drop(&mut self) {
        keeper::end(&mut self.process);
    }
}

/// Returns a program of `tests/go`.
///
/// # Errors
/// When the variable is not set.
pub fn program(name: &str) -> Result<PathBuf> {
    let folder =
        env::var_os(PROGRAMS).with_context(|| format!("{PROGRAMS} must name a folder: run `cargo xtask test`"))?;
    Ok(PathBuf::from(folder).join(name))
}
