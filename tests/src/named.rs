//! A real DNS server (BIND's `named`) on loopback: the zones `test`, where every name is at 127.0.0.1, and `elsewhere.example`,
//! both of which anybody here may update; and the zone `broken.example`, which cannot be loaded.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{keeper, openssl, stack::free_port};

const START_LIMIT: Duration = Duration::from_secs(20);

/// The zone: answers must not outlive a change, so nothing may be cached.
const ZONE: &str = "\
$TTL 0
@ IN SOA ns.test. hostmaster.test. 1 3600 600 86400 0
@ IN NS ns.test.
ns IN A 127.0.0.1
* IN A 127.0.0.1
";

/// A running server. Ends with this value, and with this process.
#[derive(Debug)]
pub struct Named {
    /// Where it listens, UDP and TCP, on loopback.
    pub port: u16,
    folder: PathBuf,
    process: Child,
}

impl Named {
    /// Starts it on a fresh folder below `place`, which should be cargo's `CARGO_TARGET_TMPDIR`, and waits until it answers.
    ///
    /// # Errors
    /// When there is no `named`, or with what it said.
    pub fn start(place: &str) -> Result<Self> {
        let folder = Path::new(place).join("named");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
        }
        fs::create_dir_all(&folder)?;
        let port = free_port()?;
        let place = folder.display();
        fs::write(folder.join("test.zone"), ZONE)?;
        fs::write(folder.join("elsewhere.zone"), ZONE)?;
        let configuration = format!(
            "options {{
    directory \"{place}\"; pid-file none; lock-file none; session-keyfile \"{place}/session.key\";
    listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
    recursion no; dnssec-validation no; notify no;
}};
controls {{ }};
zone \"test\" {{ type primary; file \"test.zone\"; allow-update {{ 127.0.0.1; }}; }};
zone \"elsewhere.example\" {{ type primary; file \"elsewhere.zone\"; allow-update {{ 127.0.0.1; }}; }};
zone \"broken.example\" {{ type secondary; primaries {{ 127.0.0.1 port 1; }}; file \"broken.zone\"; }};
"
        );
        let file = folder.join("named.conf");
        fs::write(&file, configuration)?;
        let log = folder.join("named.log");
        let mut command = keeper::command("named");
        command.arg("-g").arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        let process = keeper::spawn({
            command.stderr(fs::File::create(&log)?);
            command
        })
        .context("starting named with setpriv")?;
        let mut server = Self { port, folder, process };
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if Instant::now() > deadline || server.process.try_wait()?.is_some() {
                bail!("named did not start:\n{}", fs::read_to_string(&log).unwrap_or_default());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// As `up --resolver` wants it.
    #[must_use]
    pub fn resolver(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }

    /// Adds a TXT record to a name below `test.`, as `nsupdate` does it.
    ///
    /// # Errors
    /// When the server refuses it.
    pub fn add_txt(&self, name: &str, value: &str) -> Result<()> {
        self.add(name, "TXT", &format!("\"{value}\""))
    }

    /// Adds a record of this type to a name of one of the zones.
    ///
    /// # Errors
    /// When the server refuses it.
    pub fn add(&self, name: &str, kind: &str, data: &str) -> Result<()> {
        let zone = if name.ends_with(".example") { "elsewhere.example" } else { "test" };
        let port = self.port;
        let script = format!("server 127.0.0.1 {port}\nzone {zone}\nupdate add {name}. 0 {kind} {data}\nsend\n");
        openssl::run(&mut Command::new("nsupdate"), script.as_bytes()).map(|_| ())
    }

    /// Removes all records of this type at a name below `test.`.
    ///
    /// # Errors
    /// When the server refuses it.
    pub fn remove(&self, name: &str, kind: &str) -> Result<()> {
        let port = self.port;
        let script = format!("server 127.0.0.1 {port}\nzone test\nupdate delete {name}. {kind}\nsend\n");
        openssl::run(&mut Command::new("nsupdate"), script.as_bytes()).map(|_| ())
    }

    /// A program as lego's `exec` provider calls it: `present|cleanup NAME VALUE`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn hook(&self) -> Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt as _;

        let file = self.folder.join("hook");
        let script = format!(
            r#"#!/bin/sh
set -e
case "$1" in
present) update="add $2 0 TXT \"$3\"" ;;
cleanup) update="delete $2 TXT \"$3\"" ;;
*) exit 2 ;;
esac
printf 'server 127.0.0.1 {}\nzone test\nupdate %s\nsend\n' "$update" | nsupdate
"#,
            self.port
        );
        // In one step: another test may be running it.
        let new = tempfile::NamedTempFile::new_in(&self.folder)?;
        fs::write(new.path(), script)?;
        fs::set_permissions(new.path(), fs::Permissions::from_mode(0o755))?;
        new.persist(&file)?;
        Ok(file)
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        keeper::end(&mut self.process);
    }
}
