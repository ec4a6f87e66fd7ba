//! nginx staples, with verification, and curl demands the staple.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tests::{keeper, stack::free_port};

use crate::world::{Subject, World, said, world};

/// A staple is fetched by the first connection and sent from the second or third on.
const PATIENCE: Duration = Duration::from_secs(20);

/// curl: no staple, or one that says no good.
const INVALID_STATUS: i32 = 91;

/// A server that staples. Ends with this value.
struct Nginx {
    process: Child,
    port: u16,
}

impl Nginx {
    /// With what the certificate's responder says, verified; or with the staple of a file, as it is.
    fn start(world: &World, subject: &Subject, staple: Option<&Path>) -> Result<Self> {
        let (port, folder) = (free_port()?, world.folder.join(format!("nginx-{}", subject.name)));
        fs::create_dir_all(&folder)?;
        let above = folder.join("above.pem");
        fs::write(&above, fs::read_to_string(&world.issuer)? + &fs::read_to_string(&world.root)?)?;
        let staple = staple.map_or_else(
            || format!("ssl_stapling_verify on; ssl_trusted_certificate {};", above.display()),
            |file| format!("ssl_stapling_file {};", file.display()),
        );
        let (place, chain, key) = (folder.display(), subject.chain.display(), subject.key.display());
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {place}/{kind};"));
        let configuration = format!(
            "daemon off; master_process off; pid {place}/pid; error_log {place}/error.log info; events {{}}\n\
             http {{ access_log off; {}\n\
             server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {chain}; ssl_certificate_key {key};\n\
             ssl_stapling on; {staple} return 200 served; }} }}\n",
            temporary.concat()
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, configuration)?;
        let mut nginx = keeper::command("nginx");
        nginx.arg("-e").arg(folder.join("error.log")).arg("-p").arg(&folder).arg("-c").arg(&file);
        let process = keeper::spawn(nginx).context("starting nginx")?;
        Ok(Self { process, port })
    }

    /// curl, which takes no connection without a good staple.
    fn curl(&self, world: &World, subject: &Subject) -> Result<Output> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--cert-status", "--connect-timeout", "5", "--cacert"]).arg(&world.root);
        curl.args(["--resolve", &format!("{}:{}:127.0.0.1", subject.name, self.port)]);
        curl.arg(format!("https://{}:{}/", subject.name, self.port)).stdin(Stdio::null());
        curl.output().context("starting curl")
    }

    /// What curl says once nginx listens, and `enough` of it.
    fn curl_until(&self, world: &World, subject: &Subject, enough: impl Fn(&Output) -> bool) -> Result<Output> {
        let started = Instant::now();
        loop {
            let output = self.curl(world, subject)?;
            if enough(&output) {
                return Ok(output);
            }
            ensure!(started.elapsed() < PATIENCE, "{}", String::from_utf8_lossy(&output.stderr));
            thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        keeper::end(&mut self.process);
    }
}

#[test]
fn nginx_staples_a_good_answer_that_it_has_verified_and_curl_takes_it() -> Result<()> {
    let world = world();
    let nginx = Nginx::start(world, &world.good, None)?;
    let output = nginx.curl_until(world, &world.good, |output| output.status.success())?;
    ensure!(output.stdout == b"served", "{}", String::from_utf8_lossy(&output.stdout));
    Ok(())
}

#[test]
fn curl_refuses_a_server_that_staples_a_revoked_answer() -> Result<()> {
    let world = world();
    let staple = world.folder.join("revoked.ocsp");
    let mut ask = Command::new("openssl");
    ask.args(["ocsp", "-no_nonce", "-noverify", "-url", &world.revoked.pointer("authorityInfoAccess", "OCSP - URI:")?]);
    said(ask.arg("-issuer").arg(&world.issuer).arg("-cert").arg(&world.revoked.leaf).arg("-respout").arg(&staple))?;
    let nginx = Nginx::start(world, &world.revoked, Some(&staple))?;
    let ended = |output: &Output| output.status.code() == Some(INVALID_STATUS);
    let output = nginx.curl_until(world, &world.revoked, ended)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(said.contains("revocation reason: keyCompromise"), "{said}");
    Ok(())
}
