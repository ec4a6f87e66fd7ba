//! tls-alpn-01 (RFC 8737) and http-01 by way of https, against OpenSSL, rustls, lego, and servers that are none.

use std::{
    net::{Ipv4Addr, TcpStream},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rcgen::CustomExtension;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tests::{
    account::{Account, Order, challenge},
    challtestsrv::Challtestsrv,
    client::Client,
    keeper, openssl,
    responder::Responder,
    stack::{Options, Stack, free_port},
    tls_responder::{Manner, TlsResponder, presents},
};

const PROTOCOL: &[&str] = &["acme-tls/1"];
const ACME_IDENTIFIER: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 1, 31];
const DRAFT: [u64; 10] = [1, 3, 6, 1, 5, 5, 7, 1, 30, 1];

/// A stack, a client of it, and servers where it looks.
struct World {
    stack: Stack,
    client: Client,
    http: Responder,
    tls: TlsResponder,
}

/// The one stack of these tests. It ends with the process. When it does not start, it does not for everybody.
fn world() -> &'static World {
    static WORLD: OnceLock<Result<World, String>> = OnceLock::new();
    let start = || -> Result<World> {
        let (http, tls) = (Responder::start()?, TlsResponder::start()?);
        let options = Options::fresh(env!("CARGO_TARGET_TMPDIR"), "tls_alpn")?.http_port(http.port);
        let options = options.tls_alpn_port(tls.port).set("validation.https_port", &json!(tls.port));
        let stack = Stack::up(options.set("validation.timeout_ms", &json!(4000)))?;
        let client = Client::of(&stack.report)?;
        Ok(World { stack, client, http, tls })
    };
    let world = WORLD.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    world.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

/// An order of one identifier, and its challenge of one type.
struct Asked {
    account: Account,
    order: Order,
    challenge: Value,
    key_authorization: String,
}

impl Asked {
    fn new(identifier: &str, kind: &str) -> Result<Self> {
        let account = Account::new(&world().client)?;
        let order = account.order(&[identifier])?;
        let authorization = account.read(&order.authorizations()?[0])?.expect(200)?.json()?;
        let challenge = challenge(&authorization, kind)?.clone();
        let token = challenge["token"].as_str().context("a challenge has a token")?;
        let key_authorization = format!("{token}.{}", account.key.thumbprint()?);
        Ok(Self { account, order, challenge, key_authorization })
    }

    fn digest(&self) -> Vec<u8> {
        Sha256::digest(&self.key_authorization).to_vec()
    }

    /// The extension as it must be.
    fn extension(&self) -> CustomExtension {
        CustomExtension::new_acme_identifier(&self.digest())
    }

    /// Lets the server look, and gives the challenge as it is in the end.
    fn respond(&self) -> Result<Value> {
        let url = self.challenge["url"].as_str().context("a challenge has a URL")?;
        self.account.patiently(url, b"{}")?.expect(200)?;
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let challenge = self.account.read_patiently(url)?.expect(200)?.json()?;
            if challenge["status"] == "valid" || challenge["status"] == "invalid" {
                return Ok(challenge);
            }
            ensure!(Instant::now() < deadline, "no end: {challenge}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// It must be valid, and the order must give a certificate for the identifier.
    fn must_succeed(&self, identifier: &str) -> Result<()> {
        let challenge = self.respond()?;
        ensure!(challenge["status"] == "valid", "{identifier}: {challenge}");
        self.account.wait(&self.order.url, "ready")?;
        self.account.post(&self.order.finalize()?, &Account::finalize_payload(&[identifier])?)?.expect(200)?;
        openssl::verify(&world().stack.report.root, &self.account.certificate(&self.order)?, identifier)
    }

    /// It must be invalid with this problem, whose detail says this.
    fn must_fail(&self, kind: &str, says: &str) -> Result<()> {
        let challenge = self.respond()?;
        let error = &challenge["error"];
        let detail = error["detail"].as_str().unwrap_or_default();
        ensure!(
            challenge["status"] == "invalid"
                && error["type"] == format!("urn:ietf:params:acme:error:{kind}")
                && detail.contains(says),
            "expected {kind}, {says:?}: {challenge}"
        );
        Ok(())
    }
}

fn extension(oid: &[u64], value: &[u8], critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, value.to_vec());
    extension.set_criticality(critical);
    extension
}

/// A digest in DER.
fn octets(digest: &[u8]) -> Vec<u8> {
    [&[4, 32], digest].concat()
}

#[test]
fn a_name_is_proved_by_the_right_certificate() -> Result<()> {
    let asked = Asked::new("right.tls.test", "tls-alpn-01")?;
    let config = presents(&["right.tls.test"], vec![asked.extension()], PROTOCOL)?;
    world().tls.put("right.tls.test", Manner::Tls(config, String::new()));
    asked.must_succeed("right.tls.test")
}

#[test]
fn addresses_are_asked_for_in_the_reverse_tree() -> Result<()> {
    let six = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa";
    for (address, name) in [("127.0.0.1", "1.0.0.127.in-addr.arpa"), ("::1", six)] {
        if address == "::1" && !world().tls.ipv6 {
            eprintln!("this machine has no ::1");
            continue;
        }
        let asked = Asked::new(address, "tls-alpn-01")?;
        let config = presents(&[address], vec![asked.extension()], PROTOCOL)?;
        world().tls.put(name, Manner::Tls(config, String::new()));
        asked.must_succeed(address)?;
    }
    Ok(())
}

#[test]
fn wrong_certificates_are_refused_each_with_its_reason() -> Result<()> {
    type Make = fn(&Asked, &'static str) -> (Vec<&'static str>, Vec<CustomExtension>, &'static [&'static str]);
    let table: [(&'static str, Make, &str, &str); 8] = [
        (
            "digest.tls.test",
            |_, name| (vec![name], vec![CustomExtension::new_acme_identifier(&[7; 32])], PROTOCOL),
            "incorrectResponse",
            "not the digest",
        ),
        (
            "critical.tls.test",
            |asked, name| (vec![name], vec![extension(&ACME_IDENTIFIER, &octets(&asked.digest()), false)], PROTOCOL),
            "incorrectResponse",
            "not critical",
        ),
        (
            "draft.tls.test",
            |asked, name| (vec![name], vec![extension(&DRAFT, &octets(&asked.digest()), true)], PROTOCOL),
            "incorrectResponse",
            "of a draft",
        ),
        ("none.tls.test", |_, name| (vec![name], vec![], PROTOCOL), "incorrectResponse", "exactly one acmeIdentifier"),
        (
            "two.tls.test",
            |asked, name| (vec![name, "b.test"], vec![asked.extension()], PROTOCOL),
            "incorrectResponse",
            "has 2 entries",
        ),
        (
            "other.tls.test",
            |asked, _| (vec!["b.test"], vec![asked.extension()], PROTOCOL),
            "incorrectResponse",
            "not the identifier",
        ),
        (
            "deaf.tls.test",
            |asked, name| (vec![name], vec![asked.extension()], &[]),
            "incorrectResponse",
            "did not choose the protocol",
        ),
        ("web.tls.test", |asked, name| (vec![name], vec![asked.extension()], &["h2"]), "tls", "protocol"),
    ];
    for (name, make, kind, says) in table {
        let asked = Asked::new(name, "tls-alpn-01")?;
        let (names, extensions, protocols) = make(&asked, name);
        world().tls.put(name, Manner::Tls(presents(&names, extensions, protocols)?, String::new()));
        asked.must_fail(kind, says).context(name)?;
    }
    Ok(())
}

#[test]
fn what_is_no_tls_is_a_problem_of_tls_and_what_is_silent_one_of_the_connection() -> Result<()> {
    for (name, manner, kind, says) in [
        ("http.tls.test", Manner::Say(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "tls", "not TLS"),
        ("silent.tls.test", Manner::Silent, "connection", "waiting for the end of the TLS handshake with 127.0.0.1"),
        ("gone.tls.test", Manner::Say(b""), "connection", "was closed before the answer was complete"),
    ] {
        let asked = Asked::new(name, "tls-alpn-01")?;
        world().tls.put(name, manner);
        asked.must_fail(kind, says).context(name)?;
    }
    Ok(())
}

/// OpenSSL's server with a certificate that is right, on a port of its own. It ends with this value.
struct Openssl(Child, #[expect(dead_code, reason = "its files")] TempDir);

impl Openssl {
    fn start(asked: &Asked, name: &str, key: &[&str], flags: &[&str]) -> Result<Self> {
        let (place, port) = (TempDir::new()?, free_port()?);
        let (key_file, certificate) = (place.path().join("key.pem"), place.path().join("certificate.pem"));
        let digest: String = asked.digest().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut make = openssl::command(["req", "-x509", "-nodes", "-subj", "/CN=challenge", "-days", "1"]);
        make.args(key).arg("-keyout").arg(&key_file).arg("-out").arg(&certificate);
        make.args(["-addext", &format!("subjectAltName=DNS:{name}")]);
        make.args(["-addext", &format!("1.3.6.1.5.5.7.1.31=critical,DER:0420{digest}")]);
        openssl::run(&mut make, b"")?;
        let mut serve = keeper::command("openssl");
        serve.args(["s_server", "-quiet", "-alpn", "acme-tls/1", "-accept", &format!("127.0.0.1:{port}")]);
        serve.args(flags).arg("-key").arg(&key_file).arg("-cert").arg(&certificate);
        serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Self(keeper::spawn(serve)?, place);
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            ensure!(Instant::now() < deadline, "OpenSSL does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        world().tls.put(name, Manner::Forward(port));
        Ok(server)
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        keeper::end(&mut self.0);
    }
}

const P256: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
const P384: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"];
const RSA: &[&str] = &["-newkey", "rsa:2048"];

#[test]
fn openssl_is_understood_in_both_versions_with_every_kind_of_key() -> Result<()> {
    for (index, key) in [P256, P384, RSA, &["-newkey", "ed25519"]].into_iter().enumerate() {
        // TLS 1.2 has the curves of certificates among those of the key exchange (RFC 8422 §5.1.1), and P-384 is not offered there.
        let versions: &[_] = if key == P384 { &["-tls1_3"] } else { &["-tls1_2", "-tls1_3"] };
        for version in versions {
            let name = format!("key{index}{}.openssl.test", version.replace(['-', '_'], ""));
            let asked = Asked::new(&name, "tls-alpn-01")?;
            let _server = Openssl::start(&asked, &name, key, &[version])?;
            asked.must_succeed(&name).with_context(|| format!("{version} {key:?}"))?;
        }
    }
    Ok(())
}

#[test]
fn tls_1_1_is_refused() -> Result<()> {
    let name = "old.openssl.test";
    let asked = Asked::new(name, "tls-alpn-01")?;
    let _server = Openssl::start(&asked, name, RSA, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"])?;
    asked.must_fail("tls", "neither TLS 1.2 nor TLS 1.3")
}

#[test]
fn lego_gets_a_certificate() -> Result<()> {
    let (place, port) = (TempDir::new()?, free_port()?);
    let report = &world().stack.report;
    world().tls.put("lego.tls.test", Manner::Forward(port));
    let mut lego = Command::new("lego");
    lego.env("LEGO_CA_CERTIFICATES", &report.ca).args(["--server", &report.directory, "--accept-tos"]);
    lego.args(["--email", "a@clients.test", "--path"]).arg(place.path());
    lego.args(["--tls", "--tls.port", &format!("127.0.0.1:{port}"), "-d", "lego.tls.test", "run"]);
    openssl::run(&mut lego, b"")?;
    let chain = std::fs::read_to_string(place.path().join("certificates/lego.tls.test.crt"))?;
    openssl::verify(&report.root, &chain, "lego.tls.test")
}

/// Its certificates have the dates of Go's zero time: year 1, which RFC 8737 has nothing against.
#[test]
fn the_responder_of_pebbles_own_tests_proves_a_name() -> Result<()> {
    let (server, name) = (Challtestsrv::start()?, "challtestsrv.tls.test");
    let asked = Asked::new(name, "tls-alpn-01")?;
    server.ask("add-tlsalpn01", &json!({ "host": name, "content": asked.key_authorization }))?;
    world().tls.put(name, Manner::Forward(server.tls_alpn_port));
    asked.must_succeed(name)
}

/// http-01 for this name, redirected to https at this other name.
fn redirected(name: &str, to: &str) -> Result<Asked> {
    let asked = Asked::new(name, "http-01")?;
    let token = asked.challenge["token"].as_str().context("a challenge has a token")?;
    let path = format!("/.well-known/acme-challenge/{token}");
    world().http.answer(&path, &format!("301 Moved\nLocation: https://{to}{path}"), String::new());
    Ok(asked)
}

/// RFC 8555 §8.3 SHOULD: redirects are followed.
#[test]
fn http_01_follows_a_redirect_to_https_whatever_the_certificate() -> Result<()> {
    let asked = redirected("plain.https.test", "secure.https.test")?;
    let config = presents(&["unrelated.test"], vec![], &["h2", "http/1.1"])?;
    world().tls.put("secure.https.test", Manner::Tls(config, asked.key_authorization.clone()));
    asked.must_succeed("plain.https.test")
}

#[test]
fn http_01_by_https_is_judged_like_any_other() -> Result<()> {
    let asked = redirected("wrong.https.test", "answers.https.test")?;
    let config = presents(&["answers.https.test"], vec![], &["http/1.1"])?;
    world().tls.put("answers.https.test", Manner::Tls(config, "something else".to_owned()));
    asked.must_fail("incorrectResponse", "not the key authorization")?;
    let asked = redirected("broken.https.test", "speaks.https.test")?;
    world().tls.put("speaks.https.test", Manner::Say(b"220 smtp.test ESMTP\r\n"));
    asked.must_fail("tls", "not TLS")
}
