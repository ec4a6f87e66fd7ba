//! Two virtual readers behind a pcscd of their own: the machine's is left alone, and nothing listens beyond the loopback.
//!
//! pcscd is given its listening socket as a service manager gives it, so that it is anywhere. Clients find it by
//! `PCSCLITE_CSOCK_NAME`.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    os::{fd::OwnedFd, unix::net::UnixListener},
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::atomic::{AtomicU16, Ordering},
};

const DRIVER: &str = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so";
/// Names another place of it.
const DRIVER_VARIABLE: &str = "COLOPHON_VPCD";

/// The readers. They end when this is dropped, and with the thread that has made them.
pub(crate) struct Readers {
    pcscd: Child,
    address: Ipv4Addr,
    /// Of the first reader; the second one's is the next.
    port: u16,
    socket: PathBuf,
}

impl Readers {
    /// Starts pcscd with two empty readers; its files are in `folder`.
    pub(crate) fn start(folder: &Path) -> Self {
        let folder = folder.join("pcscd");
        fs::create_dir_all(folder.join("readers")).unwrap();
        let (address, port) = own_address();
        // ykcs11 looks at readers with such names alone.
        let driver = std::env::var(DRIVER_VARIABLE).unwrap_or_else(|_| DRIVER.to_owned());
        assert!(Path::new(&driver).exists(), "the virtual reader is not installed: {driver} is missing");
        let readers = format!(
            "FRIENDLYNAME \"Yubico YubiKey OTP+FIDO+CCID\"\nDEVICENAME /dev/null:{port:#x}\nLIBPATH {driver}\nCHANNELID {port:#x}\n"
        );
        fs::write(folder.join("readers/vpcd"), readers).unwrap();
        let shim = folder.join("loopback.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/piv/loopback.c");
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&shim, &source]).arg("-ldl").status();
        assert!(compiled.unwrap().success(), "the shim does not compile");

        let socket = folder.join("pcscd.comm");
        let listener = UnixListener::bind(&socket).unwrap();
        let log = File::create(folder.join("log")).unwrap();
        let script = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec pcscd --foreground --config \"$0\"";
        let pcscd = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "sh", "-c", script])
            .arg(folder.join("readers"))
            .env("LD_PRELOAD", &shim)
            .env("LOOPBACK_ADDRESS", address.to_string())
            .stdin(OwnedFd::from(listener))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { pcscd, address, port, socket }
    }

    /// Where a reader waits for its card.
    pub(crate) fn reader(&self, number: u16) -> SocketAddr {
        (self.address, self.port + number).into()
    }

    /// The environment of whatever speaks to these readers.
    pub(crate) fn environment(&self) -> (&'static str, &Path) {
        ("PCSCLITE_CSOCK_NAME", &self.socket)
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        let _ = self.pcscd.kill();
        let _ = self.pcscd.wait();
    }
}

/// An address of the loopback and a pair of ports that no other process and no other readers of this one have.
fn own_address() -> (Ipv4Addr, u16) {
    static PAIR: AtomicU16 = AtomicU16::new(10_000);
    // Process ids have at most 22 bits.
    let address = Ipv4Addr::from_bits(0x7f40_0000 | std::process::id() & 0x003f_ffff);
    (address, PAIR.fetch_add(1, Ordering::Relaxed) * 2)
}
