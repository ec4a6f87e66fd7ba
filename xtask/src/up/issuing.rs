//! The issuing authorities, made with the signer's own command line as an operator would: one offline root, and one key
//! in one SoftHSM token with one subordinate certificate for every token of every signer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::state::{random_hex, write_private};
use crate::process::{command, run};

/// The label of the key in each token.
pub(crate) const KEY_LABEL: &str = "issuing";

/// The file with the passphrase of the root's key.
const PASSPHRASE: &str = "root.passphrase";

/// The ceremonies: which signer binary, which PKCS#11 module, and where the root lives.
#[derive(Debug)]
pub(crate) struct Ceremony {
    signer: PathBuf,
    module: PathBuf,
    root: PathBuf,
}

/// One token, ready to sign.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// The issuer's name: `a1`.
    pub(crate) name: String,
    /// The token's label.
    pub(crate) label: String,
    /// The file with its PIN.
    pub(crate) pin_file: PathBuf,
    /// The issuer's chain (PEM).
    pub(crate) chain: PathBuf,
}

impl Ceremony {
    /// With a root in `root`, made when there is none. Nothing is left half-made: the folder appears when it is
    /// complete.
    pub(crate) fn open(signer: PathBuf, module: PathBuf, root: PathBuf) -> Result<Self> {
        let ceremony = Self { signer, module, root };
        if !ceremony.root.exists() {
            let partial = partial(&ceremony.root)?;
            write_private(&partial.join(PASSPHRASE), random_hex(16)?.as_bytes())?;
            let mut create = command(&ceremony.signer);
            create
                .args(["root", "create", "--subject", "CN=Colophon Root", "--days", "3650", "--key"])
                .arg(partial.join("root.key"))
                .arg("--passphrase-file")
                .arg(partial.join(PASSPHRASE));
            run(create.arg("--certificate").arg(partial.join("root.pem"))).context("making the issuing root")?;
            fs::rename(&partial, &ceremony.root)?;
        }
        Ok(ceremony)
    }

    /// The root's certificate (PEM file).
    pub(crate) fn root_certificate(&self) -> PathBuf {
        self.root.join("root.pem")
    }

    /// The root's CRL (PEM), which revokes nothing; made when there is none. The root of a state of before has a key without a
    /// passphrase, which signs none.
    pub(crate) fn root_crl(&self) -> Result<Option<String>> {
        let (crl, passphrase) = (self.root.join("root.crl"), self.root.join(PASSPHRASE));
        if !passphrase.exists() {
            return Ok(None);
        }
        if !crl.exists() {
            let partial = partial(&crl)?;
            let plan = partial.join("ceremony.toml");
            let (made, text) =
                (partial.join("root.crl"), |path: PathBuf| toml::Value::from(path.display().to_string()));
            let lines = format!(
                "number = 1\nform = \"pem\"\nnext_update_days = 1825\nout = {}\n[root]\ncertificate = {}\n[root.key]\nfile = {}\npassphrase_file = {}\n",
                text(made.clone()),
                text(self.root_certificate()),
                text(self.root.join("root.key")),
                text(passphrase),
            );
            fs::write(&plan, lines)?;
            let mut sign = command(&self.signer);
            run(sign.args(["root", "crl", "--ceremony"]).arg(&plan)).context("making the CRL of the issuing root")?;
            fs::rename(made, &crl)?;
            fs::remove_dir_all(partial)?;
        }
        Ok(Some(fs::read_to_string(crl)?))
    }

    /// The PKCS#11 module.
    pub(crate) fn module(&self) -> &Path {
        &self.module
    }

    /// The token of that name in a signer's folder, made when there is none.
    pub(crate) fn token(&self, signer: &Path, name: &str) -> Result<Token> {
        let token = Token {
            name: name.to_owned(),
            label: format!("colophon-{name}"),
            pin_file: signer.join("pins").join(name),
            chain: signer.join("issuers").join(format!("{name}.pem")),
        };
        if !token.chain.exists() {
            self.make(signer, &token)
                .with_context(|| format!("making the token and the authority of issuer {name}"))?;
        }
        Ok(token)
    }

    /// Makes a token in a store of its own, then moves it into the signer's; the chain is moved last, and says that all
    /// is there.
    fn make(&self, signer: &Path, token: &Token) -> Result<()> {
        let partial = partial(&signer.join(&token.name))?;
        let store = partial.join("tokens");
        fs::create_dir(&store)?;
        let configuration = partial.join("softhsm2.conf");
        write_softhsm_configuration(&configuration, &store)?;
        let pin_file = partial.join("pin");
        let so_pin_file = partial.join("so-pin");
        write_private(&pin_file, random_hex(8)?.as_bytes())?;
        write_private(&so_pin_file, random_hex(8)?.as_bytes())?;
        let request = partial.join("request.pem");
        let certificate = partial.join("certificate.pem");
        let chain = partial.join("chain.pem");
        let verb = |verb: &str| {
            let mut command = command(&self.signer);
            command.arg(verb).env("SOFTHSM2_CONF", &configuration).arg("--module").arg(&self.module);
            command
        };
        let with_key = |mut command: Command| {
            command.args(["--token", &token.label, "--label", KEY_LABEL, "--pin-file"]).arg(&pin_file);
            command
        };
        run(verb("init")
            .args(["--label", &token.label, "--pin-file"])
            .arg(&pin_file)
            .arg("--so-pin-file")
            .arg(&so_pin_file))?;
        run(with_key(verb("keygen")).arg("--out").arg(partial.join("public.pem")))?;
        let subject = format!("CN=Colophon Issuing {}", token.name);
        run(with_key(verb("csr")).args(["--subject", &subject, "--out"]).arg(&request))?;
        let mut sign = command(&self.signer);
        sign.args(["root", "sign", "--days", "1825", "--key"]).arg(self.root.join("root.key"));
        let passphrase = self.root.join(PASSPHRASE);
        if passphrase.exists() {
            sign.arg("--passphrase-file").arg(passphrase);
        }
        run(sign
            .arg("--certificate")
            .arg(self.root_certificate())
            .arg("--csr")
            .arg(&request)
            .arg("--out")
            .arg(&certificate))?;
        let mut import = with_key(verb("import-chain"));
        run(import
            .arg("--chain")
            .arg(&certificate)
            .arg("--root")
            .arg(self.root_certificate())
            .arg("--out")
            .arg(&chain))?;

        for folder in ["tokens", "pins", "issuers"] {
            fs::create_dir_all(signer.join(folder))?;
        }
        for entry in fs::read_dir(&store)? {
            let entry = entry?;
            fs::rename(entry.path(), signer.join("tokens").join(entry.file_name()))?;
        }
        fs::rename(so_pin_file, token.pin_file.with_extension("so"))?;
        fs::rename(pin_file, &token.pin_file)?;
        fs::rename(chain, &token.chain)?;
        Ok(fs::remove_dir_all(partial)?)
    }
}

/// Writes SoftHSM's configuration for a store.
pub(crate) fn write_softhsm_configuration(file: &Path, store: &Path) -> Result<()> {
    let text = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
        store.display()
    );
    fs::write(file, text).with_context(|| format!("writing {}", file.display()))
}

/// An empty folder beside `place`, in which it is made; what an earlier attempt left is removed.
fn partial(place: &Path) -> Result<PathBuf> {
    let partial = place.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial).with_context(|| format!("creating {}", partial.display()))?;
    Ok(partial)
}
