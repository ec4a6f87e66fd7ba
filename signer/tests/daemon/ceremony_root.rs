//! The offline root as ceremonies with files: in a SoftHSM token and in an encrypted file, its issuers and its CRLs, and what OpenSSL
//! says about each.

use std::{
    fs,
    process::{Command, Output},
};

use serde_json::Value;

use crate::site::{MODULE, PIN, Site};

/// A site with a root in a token of its own, and issuers' requests. The ceremony files are written, and none was held but the root's.
pub(crate) struct Ceremony(pub(crate) Site);

/// What an issuer may do, as ceremony files have it.
const CONSTRAINTS: &str = r#"
permitted_dns = ["corp.example"]
permitted_ip = ["10.0.0.0/8"]
excluded_dns = ["secret.corp.example"]
excluded_ip = ["10.9.0.0/16", "::/0"]
"#;
pub(crate) const UNCONSTRAINED: &str = "permitted_dns = []\npermitted_ip = []\nexcluded_dns = []\nexcluded_ip = []";
const TIMES: &str = "days = 1825";

impl Ceremony {
    pub(crate) fn in_token() -> Self {
        let site = Site::without_issuers();
        site.write_secret("pins/root", PIN);
        let key = format!("--module {MODULE} --token root --pin-file pins/root --label root");
        site.signer_ok(&format!("init --module {MODULE} --label root --pin-file pins/root --so-pin-file pins/so"));
        site.signer_ok(&format!("keygen {key} --out token-root.pub"));
        let ceremony = Self(site);
        let root = ceremony.root();
        ceremony.write("create.toml", &format!("subject = \"CN=Token Root,O=Example\"\ndays = 7300\n{root}"));
        ceremony.0.signer_ok("root create --ceremony create.toml");
        ceremony
    }

    /// The root's place, for ceremony files.
    fn root(&self) -> String {
        format!(
            "[root]\ncertificate = \"token-root.pem\"\n[root.token]\nmodule = \"{MODULE}\"\ntoken = \"root\"\n\
             label = \"root\"\npin_file = \"pins/root\"\n"
        )
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path(name), text).unwrap();
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.0.path(name)).unwrap()
    }

    /// A request of a new token of this name.
    fn request(&self, name: &str) {
        self.0.write_secret(&format!("pins/{name}"), PIN);
        let key = format!("--module {MODULE} --token {name} --pin-file pins/{name} --label issuing");
        let pins = format!("--pin-file pins/{name} --so-pin-file pins/so");
        self.0.signer_ok(&format!("init --module {MODULE} --label {name} {pins}"));
        self.0.signer_ok(&format!("keygen {key} --out {name}.pub"));
        self.0.signer_ok(&format!("csr {key} --subject CN=Issuing-{name} --out {name}.csr"));
    }

    /// The file of a ceremony that signs this request.
    fn write_sign(&self, name: &str, times: &str, constraints: &str) {
        let text = format!(
            "csr = \"{name}.csr\"\nout = \"{name}.pem\"\nsubject = \"CN=Issuing-{name}\"\n{times}\n\
             extended_key_usage = [\"serverAuth\", \"clientAuth\"]\n\
             issuer_urls = [\"http://pki.example/root.der\"]\ncrl_urls = [\"http://pki.example/root.crl\"]\n\
             [name_constraints]\n{constraints}\n{}",
            self.root()
        );
        self.write(&format!("sign-{name}.toml"), &text);
    }

    /// Certifies it.
    pub(crate) fn sign(&self, name: &str, constraints: &str) -> String {
        self.request(name);
        self.write_sign(name, TIMES, constraints);
        self.0.signer_ok(&format!("root sign --ceremony sign-{name}.toml --json"))
    }

    pub(crate) fn write_crl(&self, number: u64, previous: Option<u64>, form: &str, revoked: &str) -> String {
        let previous = previous.map_or_else(String::new, |number| format!("previous = \"root-{number}.crl\"\n"));
        let text = format!(
            "number = {number}\n{previous}out = \"root-{number}.crl\"\nform = \"{form}\"\nnext_update_days = 90\n\
             {revoked}\n{}",
            self.root()
        );
        self.write("crl.toml", &text);
        "root crl --ceremony crl.toml".into()
    }

    pub(crate) fn openssl_output(&self, arguments: &str) -> Output {
        Command::new("openssl").args(arguments.split(' ')).current_dir(self.0.path("")).output().unwrap()
    }

    pub(crate) fn openssl(&self, arguments: &str) -> String {
        let output = self.openssl_output(arguments);
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }

    fn openssl_fails(&self, arguments: &str) -> String {
        let output = self.openssl_output(arguments);
        assert!(!output.status.success(), "{arguments} should fail");
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }

    fn transcript(&self, name: &str) -> Vec<Value> {
        self.text(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[test]
fn a_root_in_a_token_certifies_an_issuer_with_everything_that_its_file_says() {
    let ceremony = Ceremony::in_token();
    let made: Value = serde_json::from_str(&ceremony.sign("a1", CONSTRAINTS)).unwrap();
    assert_eq!((&made["what"], &made["name"]), (&"issuer".into(), &"CN=Issuing-a1".into()));
    ceremony.openssl("verify -x509_strict -CAfile token-root.pem token-root.pem");
    ceremony.openssl("verify -x509_strict -CAfile token-root.pem a1.pem");
    let text = ceremony.openssl("x509 -noout -text -in a1.pem");
    for expected in [
        "X509v3 Basic Constraints: critical\n                CA:TRUE, pathlen:0",
        "X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign",
        "X509v3 Extended Key Usage: \n                TLS Web Server Authentication, TLS Web Client Authentication",
        "X509v3 Name Constraints: critical",
        "DNS:corp.example",
        "DNS:secret.corp.example",
        "IP:10.0.0.0/255.0.0.0",
        "IP:10.9.0.0/255.255.0.0",
        "IP:0:0:0:0:0:0:0:0/0:0:0:0:0:0:0:0",
        "CA Issuers - URI:http://pki.example/root.der",
        "URI:http://pki.example/root.crl",
    ] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    let key = format!("--module {MODULE} --token a1 --pin-file pins/a1 --label issuing");
    ceremony.0.signer_ok(&format!("import-chain {key} --chain a1.pem --root token-root.pem --out issuers/a1.pem"));
}

#[test]
fn openssl_honours_the_constraints_of_an_issuer() {
    let ceremony = Ceremony::in_token();
    ceremony.request("a1");
    // The same name and constraints, with a key that can sign leaves here.
    ceremony.openssl("req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout open.key -subj /CN=Issuing-a1 -out open.csr");
    fs::rename(ceremony.0.path("open.csr"), ceremony.0.path("a1.csr")).unwrap();
    ceremony.write_sign("a1", TIMES, CONSTRAINTS);
    ceremony.0.signer_ok("root sign --ceremony sign-a1.toml");
    let table = [
        ("DNS:www.corp.example", true),
        ("DNS:corp.example", true),
        ("IP:10.1.2.3", true),
        ("DNS:www.corp.example,IP:10.1.2.3", true),
        ("DNS:www.other.example", false),
        ("DNS:secret.corp.example", false),
        ("DNS:a.secret.corp.example", false),
        ("DNS:www.corp.example,DNS:other.example", false),
        ("IP:10.9.0.1", false),
        ("IP:192.0.2.1", false),
        ("IP:2001:db8::1", false),
    ];
    ceremony.openssl(
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout leaf.key -subj /O=Leaf -out leaf.csr",
    );
    for (names, good) in table {
        ceremony.write("leaf.cnf", &format!("subjectAltName={names}\nextendedKeyUsage=serverAuth\n"));
        ceremony.openssl("x509 -req -in leaf.csr -CA a1.pem -CAkey open.key -days 1 -extfile leaf.cnf -out leaf.pem");
        let verify = "verify -purpose sslserver -CAfile token-root.pem -untrusted a1.pem leaf.pem";
        if good {
            ceremony.openssl(verify);
        } else {
            let words = ceremony.openssl_fails(verify);
            assert!(words.contains("subtree violation"), "{names}: {words}");
        }
    }
    // The usages of the issuer bound those of its leaves.
    ceremony.write("leaf.cnf", "subjectAltName=DNS:www.corp.example\nextendedKeyUsage=codeSigning\n");
    ceremony.openssl("x509 -req -in leaf.csr -CA a1.pem -CAkey open.key -days 1 -extfile leaf.cnf -out leaf.pem");
    ceremony.openssl_fails("verify -purpose codesign -CAfile token-root.pem -untrusted a1.pem leaf.pem");
}

#[test]
fn a_transcript_says_what_was_done_and_no_secret() {
    let ceremony = Ceremony::in_token();
    ceremony.sign("a1", CONSTRAINTS);
    for (name, verb) in [
        ("token-root.pub.transcript", "keygen"),
        ("token-root.pem.transcript", "root create"),
        ("a1.csr.transcript", "csr"),
        ("a1.pem.transcript", "root sign"),
    ] {
        let lines = ceremony.transcript(name);
        assert_eq!((&lines[0]["event"], &lines[0]["verb"]), (&"asked".into(), &verb.into()), "{name}");
        assert_eq!(lines.last().unwrap()["event"], "finished", "{name}");
        let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
        for event in ["module", "token", "key", "wrote"] {
            assert!(events.contains(&event), "{name} says nothing of {event}: {events:?}");
        }
        let text = ceremony.text(name);
        assert!(!text.contains(PIN) && !text.contains("87654321"), "{name} has a PIN in it");
    }
    let lines = ceremony.transcript("a1.pem.transcript");
    let of = |event: &str| lines.iter().filter(|line| line["event"] == event).cloned().collect::<Vec<_>>();
    assert_eq!(of("asked")[0]["what"]["name_constraints"]["permitted_dns"][0], "corp.example");
    assert!(
        of("linted").len() > 20 && of("linted").iter().any(|line| line["rule"].as_str().unwrap().contains("§4.2.1.10"))
    );
    let sha256 = |name: &str| ceremony.openssl(&format!("dgst -sha256 -r {name}"))[..64].to_owned();
    assert_eq!(of("wrote")[0]["sha256"], sha256("a1.pem"));
    assert_eq!(of("module")[0]["sha256"], sha256(MODULE));
    assert_eq!(of("read")[0]["sha256"], sha256("a1.csr"));
    // Nor is one ever written over.
    fs::remove_file(ceremony.0.path("a1.pem")).unwrap();
    let before = ceremony.text("a1.pem.transcript");
    assert!(ceremony.0.signer_fails("root sign --ceremony sign-a1.toml").contains("a1.pem.transcript exists"));
    assert_eq!(ceremony.text("a1.pem.transcript"), before);
    assert!(!ceremony.0.path("a1.pem").exists());
    ceremony.0.signer_ok("root sign --ceremony sign-a1.toml --transcript again.transcript");
}

#[test]
fn a_ceremony_file_is_strict() {
    let ceremony = Ceremony::in_token();
    ceremony.request("a1");
    ceremony.write_sign("a1", TIMES, UNCONSTRAINED);
    let good = ceremony.text("sign-a1.toml");
    let table = [
        ("days = 1825", "days = 1825\npath_lenght = 0", "unknown field `path_lenght`"),
        ("days = 1825", "days = 1825\nnot_after = \"2030-01-01T00:00:00Z\"", "by days, or by not_before and not_after"),
        ("days = 1825", "", "by days, or by not_before and not_after"),
        ("days = 1825", "days = 0", "at least a day"),
        ("days = 1825", "days = 7301", "outlive its root"),
        ("subject = \"CN=Issuing-a1\"\n", "", "missing field `subject`"),
        ("CN=Issuing-a1", "CN=Issuing-b1", "the request is of CN=Issuing-a1"),
        ("\"serverAuth\"", "\"anyExtendedKeyUsage\"", "unknown variant `anyExtendedKeyUsage`"),
        ("http://pki.example/root.crl", "https://pki.example/root.crl", "plain HTTP"),
        ("permitted_dns = []", "", "missing field `permitted_dns`"),
        ("permitted_dns = []", "permitted_dns = [\"corp.example\"]", "what is not named is not constrained"),
        ("excluded_dns = []", "excluded_dns = [\".corp.example\"]", "not a DNS suffix"),
        ("excluded_ip = []", "excluded_ip = [\"10.0.0.1/8\"]", "not an IP range"),
        ("label = \"root\"", "label = \"root\"\npin = \"123456\"", "unknown field `pin`"),
        ("[root.token]", "[root.tokens]", "unknown field `tokens`"),
        ("[root.token]", "[root.key]\nfile = \"root.key\"\n[root.token]", "in a file ([root.key]) or in a token"),
    ];
    for (from, to, words) in table {
        assert!(good.contains(from), "{from}");
        ceremony.write("bad.toml", &good.replacen(from, to, 1));
        let said = ceremony.0.signer_fails("root sign --ceremony bad.toml");
        assert!(
            said.contains(words) && said.contains("bad.toml") | !words.contains("unknown"),
            "{words} is not in {said}"
        );
        assert!(!words.contains("unknown field") || said.contains("line"), "no position in {said}");
    }
    assert!(!ceremony.0.path("a1.pem").exists() && !ceremony.0.path("a1.pem.transcript").exists());
    ceremony.0.signer_ok("root sign --ceremony sign-a1.toml");
}

#[test]
fn times_may_be_given_outright() {
    let ceremony = Ceremony::in_token();
    ceremony.request("a1");
    ceremony.write_sign(
        "a1",
        "not_before = \"2026-01-01T00:00:00Z\"\nnot_after = \"2031-01-01T00:00:00Z\"",
        UNCONSTRAINED,
    );
    let said = ceremony.0.signer_fails("root sign --ceremony sign-a1.toml");
    assert!(said.contains("before its root"), "{said}");
    let times = "not_before = \"2036-01-01T00:00:00Z\"\nnot_after = \"2040-12-31T23:59:59Z\"";
    ceremony.write_sign("a1", times, UNCONSTRAINED);
    ceremony.0.signer_ok("root sign --ceremony sign-a1.toml");
    let dates = ceremony.openssl("x509 -noout -dates -in a1.pem");
    assert_eq!(dates, "notBefore=Jan  1 00:00:00 2036 GMT\nnotAfter=Dec 31 23:59:59 2040 GMT\n");
}

#[test]
fn a_root_in_an_encrypted_file_works_the_same_and_is_never_left_open() {
    let site = Site::without_issuers();
    let ceremony = Ceremony(site);
    ceremony.0.write_secret("passphrase", "sesame");
    let root = "[root]\ncertificate = \"file-root.pem\"\n[root.key]\nfile = \"file-root.key\"\n";
    let head = "subject = \"CN=File Root\"\ndays = 3650\n";
    ceremony.write("create.toml", &format!("{head}{root}"));
    assert!(ceremony.0.signer_fails("root create --ceremony create.toml").contains("passphrase_file is missing"));
    ceremony.write("create.toml", &format!("{head}{root}passphrase_file = \"passphrase\"\n"));
    ceremony.0.signer_ok("root create --ceremony create.toml");
    let key = ceremony.text("file-root.key");
    assert!(key.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    ceremony.openssl("pkey -in file-root.key -passin pass:sesame -noout");
    let transcript = ceremony.text("file-root.pem.transcript");
    assert!(!transcript.contains("sesame") && transcript.contains("wrote_secret"));
    // Nothing is written over, and nothing is put where others could replace it.
    ceremony.0.signer_fails("root create --ceremony create.toml --transcript second.transcript");
    assert_eq!(ceremony.text("file-root.key"), key);
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir(ceremony.0.path("open")).unwrap();
    fs::set_permissions(ceremony.0.path("open"), fs::Permissions::from_mode(0o777)).unwrap();
    let open = ceremony.text("create.toml").replace("file-root", "open/file-root");
    ceremony.write("open.toml", &open);
    assert!(ceremony.0.signer_fails("root create --ceremony open.toml").contains("others may write"));
    assert_eq!(fs::read_dir(ceremony.0.path("open")).unwrap().count(), 0);
}

#[test]
fn a_root_does_not_certify_itself_and_not_with_another_key() {
    let ceremony = Ceremony::in_token();
    let key = format!("--module {MODULE} --token root --pin-file pins/root --label root");
    let csr = |subject: &str, out: &str| {
        let output = Command::new(ceremony.0.program)
            .args(format!("csr {key} --out {out} --subject").split(' '))
            .arg(subject)
            .current_dir(ceremony.0.path(""))
            .env("SOFTHSM2_CONF", ceremony.0.path("softhsm2.conf"))
            .output()
            .unwrap();
        assert!(output.status.success());
    };
    csr("CN=Issuing-own", "own.csr");
    ceremony.write_sign("own", TIMES, UNCONSTRAINED);
    assert!(ceremony.0.signer_fails("root sign --ceremony sign-own.toml").contains("another key than its root"));
    csr("CN=Token Root,O=Example", "same.csr");
    ceremony.write_sign("same", TIMES, UNCONSTRAINED);
    let same = ceremony.text("sign-same.toml").replace("CN=Issuing-same", "CN=Token Root,O=Example");
    ceremony.write("sign-same.toml", &same);
    assert!(ceremony.0.signer_fails("root sign --ceremony sign-same.toml").contains("another name than its root"));
    // The certificate of one root with the key of another.
    ceremony.request("a1");
    ceremony.write_sign("a1", TIMES, UNCONSTRAINED);
    ceremony.write("sign-a1.toml", &ceremony.text("sign-a1.toml").replace("token-root.pem", "root.pem"));
    assert!(
        ceremony.0.signer_fails("root sign --ceremony sign-a1.toml").contains("not the one of the root's certificate")
    );
}
