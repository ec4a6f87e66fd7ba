//! The state folder of one stack: a lock, remembered ports and secrets, and what is running.
//!
//! ```text
//! lock            held by the running `up`; holds its process id
//! running.json    the report of the running stack (absent when it is down)
//! ports.json      the loopback ports of last time
//! pki/            infrastructure, front and issuing authorities
//! secrets/        what the edge gets as secrets
//! edge/           workerd's configuration, the bundle, the objects' storage; edge-2/, … of further edges
//! signers/N/      configuration, tokens, PINs, certificates and journal of signer N
//! logs/           one file per process
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::digest::hex;

/// Ports that systems give to nobody by themselves: between the choice and the moment in which it is listened on, any other would now and
/// then become the near end of somebody's connection.
const PORTS: Range<u16> = 10_000..32_000;
/// Ports that are tried.
const ATTEMPTS: usize = 100;

/// An open state folder.
#[derive(Debug)]
pub(crate) struct State {
    folder: PathBuf,
    ports: BTreeMap<String, u16>,
    _lock: File,
}

impl State {
    /// Opens or creates the folder and locks it.
    ///
    /// # Errors
    /// When another `up` runs on it.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        let folder = folder.canonicalize()?;
        let mut lock = open_lock(&folder)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = holder(&folder).map_or_else(String::new, |pid| format!(" (process {pid})"));
                bail!("another `up` runs on {}{holder}: stop it with `cargo xtask down --state {0}`", folder.display());
            }
            Err(TryLockError::Error(error)) => return Err(error).context("locking the state folder"),
        }
        lock.set_len(0)?;
        writeln!(lock, "{}", std::process::id())?;
        let ports = match fs::read(folder.join("ports.json")) {
            Ok(text) => serde_json::from_slice(&text).context("reading ports.json")?,
            Err(_) => BTreeMap::new(),
        };
        let _ = fs::remove_file(folder.join("running.json"));
        Ok(Self { folder, ports, _lock: lock })
    }

    /// The folder, absolute.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A folder inside, created when missing.
    pub(crate) fn subfolder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        Ok(folder)
    }

    /// The address with its port, where 0 stands for the port of last time if that is free, else for any free one.
    pub(crate) fn address(&mut self, role: &str, wanted: SocketAddr) -> Result<SocketAddr> {
        if wanted.port() != 0 {
            free(wanted).with_context(|| format!("{wanted} is not free for {role}"))?;
            return Ok(wanted);
        }
        let remembered = self.ports.get(role).copied().filter(|port| free(SocketAddr::new(wanted.ip(), *port)).is_ok());
        let port = match remembered {
            Some(port) => port,
            None => self.fresh_port(wanted.ip())?,
        };
        self.ports.insert(role.to_owned(), port);
        write_private(&self.folder.join("ports.json"), &serde_json::to_vec(&self.ports)?)?;
        Ok(SocketAddr::new(wanted.ip(), port))
    }

    fn fresh_port(&self, ip: IpAddr) -> Result<u16> {
        for _ in 0..ATTEMPTS {
            let mut random = [0; 2];
            getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
            let port = PORTS.start + u16::from_ne_bytes(random) % (PORTS.end - PORTS.start);
            if !self.ports.values().any(|taken| *taken == port) && free(SocketAddr::new(ip, port)).is_ok() {
                return Ok(port);
            }
        }
        bail!("{ATTEMPTS} ports of {ip} between {} and {} are not free", PORTS.start, PORTS.end)
    }

    /// A secret of 32 random bytes in hexadecimal, made once. Gives its file.
    pub(crate) fn secret(&self, name: &str) -> Result<PathBuf> {
        let file = self.subfolder("secrets")?.join(name);
        if !file.exists() {
            write_private(&file, random_hex(32)?.as_bytes())?;
        }
        Ok(file)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.folder.join("running.json"));
    }
}

/// Opens the lock of a state folder without taking it.
pub(crate) fn open_lock(folder: &Path) -> Result<File> {
    let file = folder.join("lock");
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&file)
        .with_context(|| format!("opening {}", file.display()))
}

/// The process that has locked the folder, as far as it wrote its id.
pub(crate) fn holder(folder: &Path) -> Option<i32> {
    let mut text = String::new();
    File::open(folder.join("lock")).ok()?.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Writes a file that only its owner may read, whole or not at all.
pub(crate) fn write_private(file: &Path, content: &[u8]) -> Result<()> {
    let partial = file.with_extension("partial");
    let mut options = OpenOptions::new();
    let write = || -> std::io::Result<()> {
        let _ = fs::remove_file(&partial);
        options.write(true).create_new(true).mode(0o600).open(&partial)?.write_all(content)?;
        fs::rename(&partial, file)
    };
    let mut write = write;
    write().with_context(|| format!("writing {}", file.display()))
}

/// So many random bytes, in hexadecimal.
pub(crate) fn random_hex(bytes: usize) -> Result<String> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    Ok(hex(&random))
}

/// The port on which one could listen at that address.
fn free(address: SocketAddr) -> Result<u16> {
    Ok(TcpListener::bind(address)?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn two_stacks_do_not_share_a_state() {
        let folder = tempfile::tempdir().unwrap();
        let first = State::open(folder.path()).unwrap();
        let error = State::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("another `up`") && error.contains(&std::process::id().to_string()), "{error}");
        drop(first);
        State::open(folder.path()).unwrap();
    }

    #[test]
    fn a_port_of_zero_is_the_same_port_next_time() {
        let folder = tempfile::tempdir().unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let first = State::open(folder.path()).unwrap().address("https", any).unwrap();
        let second = State::open(folder.path()).unwrap().address("https", any).unwrap();
        assert!(first.port() != 0 && first == second);
        let _taken = TcpListener::bind(first).unwrap();
        let mut state = State::open(folder.path()).unwrap();
        assert_ne!(state.address("https", any).unwrap(), first);
        assert!(state.address("https", first).is_err());
    }

    #[test]
    fn a_secret_is_made_once_and_is_nobody_elses_to_read() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let file = state.secret("url").unwrap();
        let secret = fs::read_to_string(&file).unwrap();
        assert_eq!(secret.len(), 64);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o077, 0);
        assert_eq!(fs::read_to_string(state.secret("url").unwrap()).unwrap(), secret);
    }
}
