//! What can be written on the command line. What each verb does stands in `help.rs`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::{attest::AttestArguments, eab::Eab, help};
use crate::ceremony::{
    KeyPlace,
    root::{Constraints, CreatePlan, KeyFile, RootPlace, SignPlan},
};

/// Signs certificates with keys in PKCS#11 tokens.
#[derive(Debug, Parser)]
#[command(name = "signer", version, long_about = help::SIGNER)]
pub(super) struct Cli {
    /// The form of the log on stderr; what it says is chosen with SIGNER_LOG (for example "debug").
    #[arg(long, value_enum, default_value = "text", global = true)]
    pub(super) log: LogForm,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LogForm {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Initialise a SoftHSM token. Hardware tokens: use their maker's tool.
    #[command(long_about = help::INIT)]
    Init {
        #[command(flatten)]
        module: ModuleArgument,
        /// The new token's label.
        #[arg(long)]
        label: String,
        /// A file with the new PIN, which is asked for twice on the terminal otherwise.
        #[arg(long)]
        pin_file: Option<PathBuf>,
        /// A file with the security officer's PIN, which is asked for twice on the terminal otherwise.
        #[arg(long)]
        so_pin_file: Option<PathBuf>,
        /// Where the transcript goes; none is written otherwise. A new file.
        #[arg(long)]
        transcript: Option<PathBuf>,
        #[command(flatten)]
        form: FormArgument,
    },
    /// Make a P-256 key inside a token.
    #[command(long_about = help::KEYGEN)]
    Keygen {
        #[command(flatten)]
        key: KeyArguments,
        /// Where the public key goes, PEM.
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        record: RecordArguments,
    },
    /// Make a certification request for a key in a token.
    #[command(long_about = help::CSR)]
    Csr {
        #[command(flatten)]
        key: KeyArguments,
        /// The new issuer's name, for example "CN=Example Issuing 1".
        #[arg(long)]
        subject: String,
        /// Where the request goes, PEM.
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        record: RecordArguments,
    },
    /// The offline root.
    #[command(subcommand, long_about = help::ROOT)]
    Root(Root),
    /// Check what came back from the root and make it an issuer's chain file.
    #[command(long_about = help::IMPORT_CHAIN)]
    ImportChain {
        #[command(flatten)]
        key: KeyArguments,
        /// PEM: the issuer's certificate, then those above it.
        #[arg(long)]
        chain: PathBuf,
        /// PEM: the root.
        #[arg(long)]
        root: PathBuf,
        /// The signer's configuration file: its policy is compared with what the chain permits. The chain need not be there yet.
        #[arg(long)]
        config: Option<PathBuf>,
        /// Where the chain goes.
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        record: RecordArguments,
    },
    /// Check a YubiKey's attestation of a key.
    #[command(long_about = help::ATTEST)]
    Attest(AttestArguments),
    /// List the tokens of a module and the keys that they show. No PIN.
    #[command(long_about = help::LIST)]
    List {
        #[command(flatten)]
        module: ModuleArgument,
        #[command(flatten)]
        form: FormArgument,
    },
    /// Say what is wrong with a configuration, its chains, dates and tokens. No PIN.
    #[command(long_about = help::CHECK)]
    Check {
        #[command(flatten)]
        config: ConfigArgument,
        #[command(flatten)]
        form: FormArgument,
    },
    /// Measure what the tokens of a configuration sign, all at the same time. Measure for minutes: some chips slow down.
    #[command(long_about = help::BENCH)]
    Bench {
        #[command(flatten)]
        config: ConfigArgument,
        /// For how long.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
        seconds: u64,
        /// Only this one, as in the log: a1-0.
        #[arg(long)]
        token: Option<String>,
        #[command(flatten)]
        form: FormArgument,
    },
    /// Let each token sign three times and verify it: keys that want their PIN each time fail at the second.
    #[command(long_about = help::SIGN_TEST)]
    SignTest {
        #[command(flatten)]
        config: ConfigArgument,
        /// Only this one, as in the log: a1-0.
        #[arg(long)]
        token: Option<String>,
        #[command(flatten)]
        form: FormArgument,
    },
    /// The process of one token; started by `bench` and `sign-test`.
    #[command(hide = true)]
    Measure {
        #[command(flatten)]
        config: ConfigArgument,
        #[arg(long)]
        token: String,
        #[arg(long, conflicts_with = "signatures")]
        seconds: Option<u64>,
        #[arg(long, default_value_t = 3)]
        signatures: usize,
    },
    /// Say that the PIN in a token's file is right, after the token or a crash has spoken against it. It is tried once more.
    #[command(long_about = help::PIN_OK)]
    PinOk {
        #[command(flatten)]
        config: ConfigArgument,
        /// The issuer's name and the token's position, as in the log: a1-0.
        #[arg(long)]
        token: String,
        #[command(flatten)]
        form: FormArgument,
    },
    /// External account bindings (RFC 8555 §7.3.4): who may open accounts with the rights of a scope.
    #[command(subcommand, long_about = help::EAB)]
    Eab(Eab),
    /// The journal of a daemon.
    #[command(subcommand, long_about = help::JOURNAL)]
    Journal(super::journal::Journal),
    /// What the policy gives.
    #[command(subcommand)]
    Policy(super::policy::Policy),
    /// Stop an edge, a binding, a scope or all certificates, within a second.
    #[command(long_about = help::STOP)]
    Stop(super::policy::StopArguments),
    /// Let go on what was stopped.
    #[command(long_about = help::RESUME)]
    Resume(super::policy::StopArguments),
    /// Run the daemon. Prints "ready" when it listens.
    #[command(long_about = help::SERVE)]
    Serve {
        #[command(flatten)]
        config: ConfigArgument,
    },
    /// Print the manual page of the program or of one of its verbs.
    #[command(long_about = help::MANUAL)]
    Manual {
        /// The verb, for example: root sign.
        verb: Vec<String>,
        /// A folder that is made, and gets the pages of all verbs.
        #[arg(long, value_name = "FOLDER", conflicts_with = "verb")]
        out: Option<PathBuf>,
    },
    /// The process of one token; started by `serve`.
    #[command(hide = true)]
    Worker,
}

#[derive(Debug, Subcommand)]
pub(super) enum Root {
    /// Make a root certificate, and its key when that goes into a file.
    #[command(long_about = help::ROOT_CREATE)]
    Create {
        #[command(flatten)]
        ceremony: CeremonyArgument,
        #[command(flatten)]
        quick: Option<QuickCreate>,
        #[command(flatten)]
        record: RecordArguments,
    },
    /// Sign an issuer's request.
    #[command(long_about = help::ROOT_SIGN)]
    Sign {
        #[command(flatten)]
        ceremony: CeremonyArgument,
        #[command(flatten)]
        quick: Option<QuickSign>,
        #[command(flatten)]
        record: RecordArguments,
    },
    /// Sign the root's next CRL.
    #[command(long_about = help::ROOT_CRL)]
    Crl {
        /// The ceremony file.
        #[arg(long, value_name = "FILE")]
        ceremony: PathBuf,
        #[command(flatten)]
        record: RecordArguments,
    },
}

#[derive(Debug, Args)]
pub(super) struct ModuleArgument {
    /// The PKCS#11 module, for example /usr/lib/softhsm/libsofthsm2.so.
    #[arg(long)]
    pub(super) module: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct KeyArguments {
    #[command(flatten)]
    module: ModuleArgument,
    /// The token's label.
    #[arg(long)]
    token: String,
    /// A file with the PIN, which is asked for on the terminal otherwise.
    #[arg(long)]
    pin_file: Option<PathBuf>,
    /// The key's label.
    #[arg(long)]
    label: String,
}

#[derive(Debug, Args)]
pub(super) struct FormArgument {
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// What every ceremony leaves behind.
#[derive(Debug, Args)]
pub(super) struct RecordArguments {
    /// Where the transcript goes, a new file: OUT.transcript unless it is said.
    #[arg(long, value_name = "FILE")]
    pub(super) transcript: Option<PathBuf>,
    #[command(flatten)]
    pub(super) form: FormArgument,
}

#[derive(Debug, Args)]
pub(super) struct CeremonyArgument {
    /// A ceremony file that says everything; nothing else is said then.
    #[arg(long, value_name = "FILE")]
    pub(super) ceremony: Option<PathBuf>,
}

/// A root in a file, without a ceremony file: for trials.
#[derive(Debug, Args)]
pub(super) struct QuickCreate {
    /// The root's name, for example "CN=Example Root".
    #[arg(long, required = false, required_unless_present = "ceremony", conflicts_with = "ceremony")]
    subject: String,
    /// How long it is valid.
    #[arg(long, required = false, required_unless_present = "ceremony", conflicts_with = "ceremony")]
    days: u32,
    /// The root's private key, PKCS#8 in PEM.
    #[arg(long, required = false, required_unless_present = "ceremony", conflicts_with = "ceremony")]
    key: PathBuf,
    /// The root's certificate, PEM.
    #[arg(long, required = false, required_unless_present = "ceremony", conflicts_with = "ceremony")]
    certificate: PathBuf,
    /// A file with the passphrase that the key is encrypted with.
    #[arg(long, conflicts_with = "ceremony")]
    passphrase_file: Option<PathBuf>,
}

/// An issuer without constraints, without a ceremony file: for trials.
#[derive(Debug, Args)]
pub(super) struct QuickSign {
    /// The root's private key, PKCS#8 in PEM.
    #[arg(long, required = false, required_unless_present = "ceremony", conflicts_with = "ceremony")]
    key: PathBuf,
    /// The root's certificate, PEM.
    #[arg(long, required = false, required_unless_present = "ceremony", conflicts_with = "ceremony")]
    certificate: PathBuf,
    /// A file with the passphrase that the key is encrypted with.
    #[arg(long, conflicts_with = "ceremony")]
    passphrase_file: Option<PathBuf>,
    /// PEM: the request.
    #[arg(long, required = false, required_unless_present = "ceremony", conflicts_with = "ceremony")]
    csr: PathBuf,
    /// How long the issuer is valid.
    #[arg(long, required = false, required_unless_present = "ceremony", conflicts_with = "ceremony")]
    days: u32,
    /// Where the issuer's certificate goes, PEM.
    #[arg(long, required = false, required_unless_present = "ceremony", conflicts_with = "ceremony")]
    out: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct ConfigArgument {
    /// The configuration file.
    #[arg(long)]
    pub(super) config: PathBuf,
}

impl From<KeyArguments> for KeyPlace {
    fn from(arguments: KeyArguments) -> Self {
        let KeyArguments { module: ModuleArgument { module }, token, pin_file, label } = arguments;
        Self { module, token, pin_file, label }
    }
}

impl From<QuickCreate> for CreatePlan {
    fn from(quick: QuickCreate) -> Self {
        let QuickCreate { subject, days, key, certificate, passphrase_file } = quick;
        let root = root_in_file(key, certificate, passphrase_file);
        Self { subject, days: Some(days), not_before: None, not_after: None, root }
    }
}

impl From<QuickSign> for SignPlan {
    fn from(quick: QuickSign) -> Self {
        let QuickSign { key, certificate, passphrase_file, csr, days, out } = quick;
        Self {
            csr,
            out,
            subject: None,
            days: Some(days),
            not_before: None,
            not_after: None,
            extended_key_usage: Vec::new(),
            issuer_urls: Vec::new(),
            crl_urls: Vec::new(),
            name_constraints: Constraints::default(),
            root: root_in_file(key, certificate, passphrase_file),
        }
    }
}

fn root_in_file(file: PathBuf, certificate: PathBuf, passphrase_file: Option<PathBuf>) -> RootPlace {
    RootPlace { certificate, key: Some(KeyFile { file, passphrase_file }), token: None }
}
