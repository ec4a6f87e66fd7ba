//! Why a module shows no token: looks at what modules depend on, and says what an operator can change. Decides nothing.

use std::{
    fmt::Write,
    fs::File,
    io::ErrorKind,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use cryptoki::slot::TokenInfo;

use super::uri::TokenUri;

/// Where pcscd listens (pcsc-lite's `PCSCLITE_CSOCK_NAME`).
const PCSCD: &str = "/run/pcscd/pcscd.comm";
/// SoftHSM's variable.
const SOFTHSM_CONF: &str = "SOFTHSM2_CONF";
/// Where SoftHSM looks otherwise: in the home folder, and then here (Debian, and the default of its build).
const SOFTHSM_HOME: &str = ".config/softhsm2/softhsm2.conf";
const SOFTHSM_SYSTEM: [&str; 2] = ["/etc/softhsm/softhsm2.conf", "/etc/softhsm2.conf"];
/// The variables by which modules of cards and of the YubiHSM find their configuration.
const CONFIGURATIONS: [&str; 2] = ["OPENSC_CONF", "YUBIHSM_PKCS11_CONF"];
/// A worker's environment.
const ONLY_THIS: &str = "a worker's environment is what `environment` of its token says, and nothing else";

/// What an operator should look at when a module cannot be initialised or shows no token.
pub(crate) fn advice(module: &Path) -> String {
    let name = module.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if name.contains("softhsm") {
        return softhsm(&variable(SOFTHSM_CONF), home().as_deref());
    }
    let configurations = CONFIGURATIONS.iter().filter_map(|name| Some((*name, variable(name)?)));
    unreadable(configurations).unwrap_or_else(|| cards(Path::new(PCSCD)))
}

/// The first of these configuration files, with the variables that name them, that cannot be read.
fn unreadable<'a>(mut configurations: impl Iterator<Item = (&'a str, PathBuf)>) -> Option<String> {
    configurations.find_map(|(variable, file)| {
        let error = File::open(&file).err()?;
        Some(format!("{variable} names {}, which cannot be read: {error}", file.display()))
    })
}

/// The tokens that a module shows, for people.
pub(super) fn shown<'a>(tokens: impl Iterator<Item = &'a TokenInfo>) -> String {
    let mut text = String::new();
    for info in tokens {
        let separator = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{separator}{:?} (serial {})", info.label(), info.serial_number());
    }
    text
}

/// What a uri asks of a token, for people.
pub(super) fn wanted(uri: &TokenUri) -> String {
    let label = uri.token.as_ref().map(|label| format!("the label {label:?}"));
    let serial = uri.serial.as_ref().map(|serial| format!("the serial number {serial}"));
    let wanted: Vec<_> = label.into_iter().chain(serial).collect();
    if wanted.is_empty() { "any label".to_owned() } else { wanted.join(" and ") }
}

/// What SoftHSM reads, and what is wrong with it.
fn softhsm(variable: &Option<PathBuf>, home: Option<&Path>) -> String {
    let candidates = home.map(|home| home.join(SOFTHSM_HOME)).into_iter().chain(SOFTHSM_SYSTEM.map(PathBuf::from));
    let found = variable.clone().or_else(|| candidates.into_iter().find(|path| path.exists()));
    let Some(file) = found else {
        return format!(
            "SoftHSM has no configuration: {SOFTHSM_CONF} is not set ({ONLY_THIS}), and no default file is there"
        );
    };
    let from = match variable {
        Some(_) => format!("{SOFTHSM_CONF} names"),
        None => format!("{SOFTHSM_CONF} is not set ({ONLY_THIS}), so SoftHSM reads"),
    };
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) => return format!("{from} {}, which cannot be read: {error}", file.display()),
    };
    let mut folders =
        text.lines().rev().filter_map(|line| line.trim().strip_prefix("directories.tokendir")?.split_once('='));
    let Some((_, folder)) = folders.next() else {
        return format!("{from} {}, which has no line directories.tokendir", file.display());
    };
    let folder = Path::new(folder.trim());
    match std::fs::read_dir(folder) {
        Err(error) => {
            format!("{from} {}, whose token folder {} cannot be read: {error}", file.display(), folder.display())
        }
        Ok(_) => format!("{from} {}, whose token folder is {}", file.display(), folder.display()),
    }
}

/// Whether smart cards can be reached at all.
fn cards(socket: &Path) -> String {
    match UnixStream::connect(socket) {
        Ok(_) => "pcscd runs: is the card plugged in (pcsc_scan shows it), does polkit let this user at it \
                  (org.debian.pcsc-lite.access_pcsc and access_card), does another program hold it (gpg's scdaemon, a browser), and is \
                  its reader not among ignored_readers?"
            .to_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => format!(
            "pcscd does not run: there is no {}; install it, and start it with `systemctl enable --now pcscd.socket`",
            socket.display()
        ),
        Err(error) => format!(
            "pcscd cannot be reached at {} ({error}): is it running, and may this user use it (polkit)?",
            socket.display()
        ),
    }
}

/// A variable of the environment that names a file.
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn home() -> Option<PathBuf> {
    variable("HOME")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softhsms_configuration_is_followed_to_its_tokens() {
        let folder = tempfile::tempdir().unwrap();
        let conf = folder.path().join("softhsm2.conf");
        let said = || softhsm(&Some(conf.clone()), None);
        assert!(said().contains("SOFTHSM2_CONF names") && said().contains("cannot be read"), "{}", said());
        std::fs::write(&conf, "log.level = ERROR\n").unwrap();
        assert!(said().contains("no line directories.tokendir"), "{}", said());
        let tokens = folder.path().join("tokens");
        std::fs::write(&conf, format!("directories.tokendir = {}\n", tokens.display())).unwrap();
        assert!(said().contains("token folder") && said().contains("cannot be read"), "{}", said());
        std::fs::create_dir(&tokens).unwrap();
        assert!(said().ends_with(&format!("whose token folder is {}", tokens.display())), "{}", said());

        let home = folder.path().join("home");
        std::fs::create_dir_all(home.join(SOFTHSM_HOME).parent().unwrap()).unwrap();
        std::fs::copy(&conf, home.join(SOFTHSM_HOME)).unwrap();
        let said = softhsm(&None, Some(&home));
        assert!(said.starts_with("SOFTHSM2_CONF is not set (a worker's environment"), "{said}");
    }

    #[test]
    fn a_variable_that_names_no_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (there, missing) = (folder.path().join("there"), folder.path().join("missing"));
        std::fs::write(&there, "").unwrap();
        assert_eq!(unreadable([("OPENSC_CONF", there.clone())].into_iter()), None);
        let said = unreadable([("OPENSC_CONF", there), ("YUBIHSM_PKCS11_CONF", missing)].into_iter()).unwrap();
        assert!(
            said.starts_with("YUBIHSM_PKCS11_CONF names ") && said.contains("missing, which cannot be read"),
            "{said}"
        );
    }

    #[test]
    fn a_pcscd_that_is_missing_dead_or_there_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("pcscd.comm");
        assert!(cards(&socket).contains("pcscd does not run"));
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(cards(&socket).contains("pcscd runs") && cards(&socket).contains("scdaemon"));
        drop(listener);
        assert!(cards(&socket).contains("cannot be reached"));
    }
}
