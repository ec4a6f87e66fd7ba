//! What an operator's machines see: metrics, health, readiness, and the service manager's side of a start and an end.

use std::{
    fs,
    net::TcpListener,
    os::{
        fd::AsRawFd,
        unix::{fs::PermissionsExt, net::UnixDatagram, process::CommandExt},
    },
    time::Duration,
};

use crate::{
    client::{Edge, simple},
    site::{PIN, Site, eventually, signal},
};

fn operations_site() -> (Site, String) {
    let site = Site::new(&["a1"]);
    let url = observe(&site);
    (site, url)
}

/// Lets this site be observed. Gives the base of the URLs.
pub(crate) fn observe(site: &Site) -> String {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let text = fs::read_to_string(site.path("signer.toml")).unwrap();
    let text = text.replace("[limits]", &format!("[operations]\naddress = \"{address}\"\n[limits]"));
    fs::write(site.path("signer.toml"), text).unwrap();
    format!("http://{address}")
}

pub(crate) fn get(url: &str) -> (u16, String) {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let mut answer = agent.get(url).call().unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
}

#[test]
fn metrics_say_what_was_signed_refused_and_waits() {
    let (site, url) = operations_site();
    let _daemon = site.serve();
    let edge = Edge::new(&site);
    edge.issued(&simple(1));
    edge.issued(&simple(2));
    let mut foreign = simple(3);
    foreign.identifiers[0].method = "telepathy".into();
    edge.refusal(&foreign);
    let (status, text) = get(&format!("{url}/metrics"));
    assert_eq!(status, 200);
    let lines: Vec<_> = text.lines().collect();
    for line in [
        "colophon_signer_certificates_total 2",
        "colophon_signer_refusals_total{reason=\"not-permitted\"} 1",
        "colophon_signer_token_state{token=\"a1-0\",state=\"ready\"} 1.0",
        "colophon_signer_token_state{token=\"a1-0\",state=\"failed\"} 0.0",
        "colophon_signer_token_signatures{token=\"a1-0\"} 2.0",
        "colophon_signer_queue_jobs{class=\"renewal\"} 0.0",
        // Two intents, two certificates, one refusal.
        "colophon_signer_journal_records 5.0",
    ] {
        assert!(lines.contains(&line), "{line} is missing in\n{text}");
    }
    assert!(text.contains("colophon_signer_expiry_timestamp_seconds{what=\"the chain of issuer a1\"}"), "{text}");
    assert!(!text.contains("host-1.test"), "names are in the log, not in metrics");
    assert_eq!(get(&format!("{url}/readyz")), (200, "ready\n".to_owned()));
    assert_eq!(get(&format!("{url}/")).0, 404);
}

#[test]
fn a_daemon_without_a_token_that_works_is_healthy_and_not_ready() {
    let (site, url) = operations_site();
    fs::rename(site.path("tokens"), site.path("elsewhere")).unwrap();
    fs::create_dir(site.path("tokens")).unwrap();
    let _daemon = site.spawn();
    eventually("an answer", || std::net::TcpStream::connect(url.trim_start_matches("http://")).is_ok());
    assert_eq!(get(&format!("{url}/healthz")), (200, "ok\n".to_owned()));
    assert_eq!(get(&format!("{url}/readyz")).0, 503);
}

#[test]
fn the_service_manager_hears_of_the_start_the_pulse_and_the_end() {
    let (site, _) = operations_site();
    let path = site.path("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let heard = || {
        let mut buffer = [0; 256];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let mut daemon = site.spawn_with(|command| {
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    });
    let mut said = String::new();
    while !said.contains("READY=1") || !said.contains("WATCHDOG=1") {
        said += &heard();
    }
    assert!(daemon.terminate().success());
    while !said.contains("STOPPING=1") {
        said += &heard();
    }
}

#[test]
fn the_socket_of_the_service_manager_is_listened_on() {
    let (site, _) = operations_site();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let text = fs::read_to_string(site.path("signer.toml")).unwrap();
    let other = site.address.rsplit(':').next().unwrap();
    fs::write(site.path("signer.toml"), text.replace(&format!("127.0.0.1:{other}"), "127.0.0.1:1")).unwrap();
    let _daemon = site.spawn_with(|command| {
        // The shell has the socket as number 3, and its process number becomes the daemon's.
        nix::fcntl::fcntl(&socket, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
        let (program, number) = (command.get_program().to_owned(), socket.as_raw_fd());
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let folder = command.get_current_dir().unwrap().to_owned();
        let script = format!("exec 3<&{number}; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" \"$@\"");
        let mut shell = std::process::Command::new("/bin/sh");
        shell.arg("-c").arg(script).arg(program).args(arguments).current_dir(folder);
        shell.env("SOFTHSM2_CONF", site.path("softhsm2.conf")).env_remove("SIGNER_LOG").process_group(0);
        *command = shell;
    });
    let mut there = site;
    there.address = format!("localhost:{}", address.port());
    Edge::new(&there).issued(&simple(1));
}

#[test]
fn more_sockets_than_one_are_refused_and_not_left_unserved() {
    let (site, _) = operations_site();
    let sockets = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
    let mut daemon = site.spawn_with(|command| {
        for socket in &sockets {
            nix::fcntl::fcntl(socket, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
        }
        let (program, folder) = (command.get_program().to_owned(), command.get_current_dir().unwrap().to_owned());
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let [one, two] = sockets.each_ref().map(AsRawFd::as_raw_fd);
        // By way of numbers that neither socket has.
        let script =
            format!("exec 8<&{one} 9<&{two}; exec 3<&8 4<&9; export LISTEN_FDS=2 LISTEN_PID=$$; exec \"$0\" \"$@\"");
        let mut shell = std::process::Command::new("/bin/sh");
        shell.arg("-c").arg(script).arg(program).args(arguments).current_dir(folder);
        shell.env("SOFTHSM2_CONF", site.path("softhsm2.conf")).env_remove("SIGNER_LOG").process_group(0);
        *command = shell;
    });
    eventually("the daemon ends", || daemon.child.try_wait().unwrap().is_some());
    assert_eq!(daemon.child.wait().unwrap().code(), Some(78), "{}", daemon.log());
    assert!(daemon.log().contains("hands over 2 sockets"), "{}", daemon.log());
}

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_state_folder_and_its_lock_are_the_daemons_alone() {
    let site = Site::new(&["a1"]);
    let (state, lock) = (site.path("state"), site.path("state/lock"));
    drop(site.serve());
    assert_eq!((mode(&state), mode(&lock)), (0o700, 0o600));
    // Another user who may read the lock could hold it.
    set_mode(&lock, 0o644);
    drop(site.serve());
    assert_eq!(mode(&lock), 0o600);
    set_mode(&state, 0o777);
    let refused = site.signer("serve --config signer.toml");
    assert_eq!(refused.status.code(), Some(78));
    let says = String::from_utf8(refused.stderr).unwrap();
    assert!(says.contains("others may replace files in the state folder") && says.contains("0700"), "{says}");
}

#[test]
fn a_tls_key_that_others_may_read_is_refused_at_the_check_the_start_and_a_reload() {
    let site = Site::new(&["a1"]);
    let (key, behind) = (site.path("tls/signer.key"), site.path("tls/behind.key"));
    let daemon = site.serve();
    for loose in [0o644, 0o640, 0o604] {
        set_mode(&key, loose);
        let checked = site.signer("check --config signer.toml");
        let says = String::from_utf8(checked.stdout).unwrap();
        assert_eq!(checked.status.code(), Some(1));
        assert!(says.contains("BAD") && says.contains("signer.key") && says.contains("0600"), "{loose:o}: {says}");
    }
    assert_eq!(site.signer("serve --config signer.toml").status.code(), Some(78));
    signal(daemon.child.id(), nix::sys::signal::Signal::SIGHUP);
    eventually("the reload is refused", || daemon.log().contains("rotation refused"));
    assert!(daemon.log().contains("signer.key") && Edge::new(&site).status().is_ok(), "{}", daemon.log());
    // A link is followed, and the rules hold for its end.
    fs::rename(&key, &behind).unwrap();
    std::os::unix::fs::symlink(&behind, &key).unwrap();
    assert!(site.signer_fails("check --config signer.toml").contains("1 of"));
    set_mode(&behind, 0o600);
    site.signer_ok("check --config signer.toml");
}

#[test]
fn a_pin_may_be_a_credential_of_the_service_manager() {
    let (site, _) = operations_site();
    let text = fs::read_to_string(site.path("signer.toml")).unwrap();
    fs::write(site.path("signer.toml"), text.replace("pin_file = \"pins/a1\"", "pin_credential = \"a1-pin\"")).unwrap();
    assert!(site.signer_fails("check --config signer.toml").contains("the service manager gives no credentials here"));
    fs::create_dir(site.path("credentials")).unwrap();
    site.write_secret("credentials/a1-pin", PIN);
    let credentials = site.path("credentials");
    let _daemon = site.spawn_with(|command| {
        command.env("CREDENTIALS_DIRECTORY", credentials);
    });
    eventually("a certificate", || Edge::new(&site).status().is_ok());
    Edge::new(&site).issued(&simple(1));
}
