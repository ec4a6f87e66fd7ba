//! One URL, six issuers: clients that people have get certificates of all of them, and never notice.
#![cfg(feature = "stack")]

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tests::{
    openssl,
    stack::{Options, Report, Stack},
};

const SIGNERS: usize = 3;
const TOKENS: usize = 2;
/// So slow that all tokens are busy when as many clients ask within it.
const LATENCY_MS: &str = "5000";
/// Clients that run beside each other.
const AT_ONCE: usize = SIGNERS * TOKENS;
/// Each kind of client runs so many times at most.
const RUNS: usize = 5 * AT_ONCE;

/// One way of asking: the command, and the file with the chain.
type Client = fn(&Report, &Path, &Path, &str) -> Result<(Command, PathBuf)>;

#[test]
fn certbot_and_lego_get_certificates_of_all_six_issuers_and_each_is_good_with_the_root_alone() -> Result<()> {
    let webroot = TempDir::new()?;
    // Made before and never empty: clients that run beside each other would each make it, and remove it under another one.
    let challenges = webroot.path().join(".well-known/acme-challenge");
    fs::create_dir_all(&challenges)?;
    fs::write(challenges.join("keep"), "")?;
    let port = serve(webroot.path())?;
    let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), "issuers")?.http_port(port);
    let (signers, tokens) = (SIGNERS.to_string(), TOKENS.to_string());
    let options = options.with(["--signers", &signers, "--tokens", &tokens, "--token-latency-ms", LATENCY_MS]);
    let stack = Stack::up(options)?;
    let clients: [(&str, Client); 2] = [("certbot", certbot), ("lego", lego)];
    for (kind, client) in clients {
        let (mut runs, mut chains) = (0, BTreeMap::<String, usize>::new());
        while chains.len() < AT_ONCE {
            ensure!(runs < RUNS, "{kind} was not given all issuers in {runs} runs: {chains:?}");
            let issuers = thread::scope(|scope| {
                let run = |number: usize| {
                    let (stack, webroot) = (&stack, webroot.path());
                    let name = format!("{kind}-{}.test", runs + number);
                    scope.spawn(move || issued(&stack.report, webroot, client, &name))
                };
                let threads: Vec<_> = (0..AT_ONCE).map(run).collect();
                threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect::<Result<Vec<_>>>()
            })?;
            runs += AT_ONCE;
            issuers.into_iter().for_each(|issuer| *chains.entry(issuer).or_default() += 1);
        }
        eprintln!("{kind}: {runs} runs, by issuer {:?}", chains.values());
        assert_eq!(chains.len(), SIGNERS * TOKENS, "{chains:?}");
    }
    Ok(())
}

/// A client gets a certificate of this name. Gives its issuer, when OpenSSL finds the way to the root.
fn issued(report: &Report, webroot: &Path, client: Client, name: &str) -> Result<String> {
    let place = TempDir::new()?;
    let (mut command, file) = client(report, webroot, place.path(), name)?;
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let said = || format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{command:?}: {}\n{}", output.status, said());
    let chain = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    openssl::verify(&report.root, &chain, name)?;
    openssl::x509(&chain, ["-issuer"])
}

fn certbot(report: &Report, webroot: &Path, place: &Path, name: &str) -> Result<(Command, PathBuf)> {
    let program =
        env::var_os("COLOPHON_CERTBOT").context("COLOPHON_CERTBOT must name certbot: run `cargo xtask test`")?;
    let mut command = Command::new(program);
    command.env("REQUESTS_CA_BUNDLE", &report.ca).args(["certonly", "--webroot", "-w"]).arg(webroot);
    command.args(["--server", &report.directory, "-n", "--agree-tos", "--register-unsafely-without-email", "-d", name]);
    for (flag, folder) in [("--config-dir", "e"), ("--work-dir", "w"), ("--logs-dir", "l")] {
        command.arg(flag).arg(place.join(folder));
    }
    Ok((command, place.join("e/live").join(name).join("fullchain.pem")))
}

fn lego(report: &Report, webroot: &Path, place: &Path, name: &str) -> Result<(Command, PathBuf)> {
    let program = env::var_os("COLOPHON_LEGO").unwrap_or_else(|| OsString::from("lego"));
    let mut command = Command::new(program);
    command.env("LEGO_CA_CERTIFICATES", &report.ca).args(["--server", &report.directory, "--accept-tos"]);
    command.args(["--email", "a@issuers.test", "--path"]).arg(place).args(["--http", "--http.webroot"]).arg(webroot);
    command.args(["-d", name, "run"]);
    Ok((command, place.join("certificates").join(format!("{name}.crt"))))
}

/// A web server of this folder, until the process ends. Gives its port.
fn serve(folder: &Path) -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let (port, folder) = (listener.local_addr()?.port(), folder.to_owned());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let folder = folder.clone();
            thread::spawn(move || file(stream, &folder));
        }
    });
    Ok(port)
}

fn file(mut stream: TcpStream, folder: &Path) -> Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().context("a request")??;
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = first.split(' ').nth(1).context("a path")?.trim_start_matches('/');
    let (status, body) = match fs::read(folder.join(path)) {
        Ok(body) if !path.contains("..") => ("200 OK", body),
        _ => ("404 Not Found", Vec::new()),
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    Ok(stream.write_all(&body)?)
}
