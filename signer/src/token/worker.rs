//! The worker process: owns one token's session and its PIN, has no network, and believes nobody.
//!
//! What it is given is a TBSCertificate, a response or a CRL, never a digest; it reads it again and signs only what a leaf or a status
//! of its issuer looks like.
//! After any error of the token that is not about the question itself it ends, and the parent starts another, which looks for the key
//! anew and logs in once. Modules cannot be trusted with a second try in one process: after cards were swapped, ykcs11 keeps a
//! lock on one that it no longer needs, and no other process gets at that card.

use std::io::{Read, Write};

use anyhow::{Context, ensure};
use cryptoki::types::AuthPin;
use shared::chain::Issuer;

use super::{
    choice::TokenId,
    failure::SignFailed,
    frame::{self, Init, Kind, Login, Reply, Sign},
    pin::{self, Marked, NotTried, PinFile, PinLengths, PinMark},
    pkcs11::{Located, LoginFailed, Module, TokenKey},
};

/// What a worker has its key sign before it says that it is ready: nothing that a verifier could read.
const PROOF: &[u8] = b"Colophon proves that this is the key of its issuer";

/// The loop of a worker process: `Init`, then `Sign` after `Sign`, until its input ends.
pub(crate) fn run(mut input: impl Read, mut output: impl Write) -> anyhow::Result<()> {
    // A worker that outlives its parent would hold the token against the parent's successor.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).context("cannot tie the worker to its parent")?;
    // No core file and no debugger sees the PIN.
    nix::sys::prctl::set_dumpable(false).context("cannot forbid core files")?;
    let Some(init) = receive::<Init>(&mut input)? else { return Ok(()) };
    let token = match Token::open(init) {
        Ok(token) => token,
        Err(failure) => return send(&mut output, &failure.reply()),
    };
    send(&mut output, &token.ready())?;
    while let Some(Sign { kind, tbs }) = receive(&mut input)? {
        let reply = token.sign(&kind, &tbs.0);
        send(&mut output, &reply)?;
        if matches!(reply, Reply::Failed(_) | Reply::PinRejected(_)) {
            break;
        }
    }
    Ok(())
}

/// The token as this process has it.
struct Token {
    init: Init,
    issuer: Issuer,
    /// None when the worker was told not to log in.
    key: Option<TokenKey>,
    found: Found,
}

/// What is known about the token.
struct Found {
    id: TokenId,
    description: String,
    /// True when the key wants its PIN for each signature.
    each_time: bool,
    pin_lengths: Option<PinLengths>,
}

/// Why there is no key to sign with.
enum Failure {
    PinRejected(String),
    Other(anyhow::Error),
}

/// A key to sign with in this process, for those who measure a token: found, and logged in to, as a worker does it.
pub(crate) fn open(init: Init) -> anyhow::Result<TokenKey> {
    let token = Token::open(init).map_err(|failure| match failure {
        Failure::PinRejected(reason) => anyhow::anyhow!(reason),
        Failure::Other(error) => error,
    })?;
    token.key.context("the token was not logged in to")
}

impl Token {
    fn open(init: Init) -> Result<Self, Failure> {
        let issuer = Issuer::from_der(&init.issuer.0).context("the issuer's certificate")?;
        let module = Module::load(&init.module)?;
        let (key, found) = connect(&module, &init, &issuer)?;
        let token = Self { init, issuer, key, found };
        token.prove()?;
        Ok(token)
    }

    /// Signs once for itself: the key beside a certificate may be another, and that is found before a job is lost to it.
    fn prove(&self) -> Result<(), Failure> {
        match self.key.as_ref().map(|key| key.sign(PROOF)) {
            None | Some(Ok(_)) => Ok(()),
            Some(Err(SignFailed::PinRejected(code))) => Err(Failure::PinRejected(self.pin_rejected(&code))),
            Some(Err(error)) => Err(Failure::Other(error.into())),
        }
    }

    fn ready(&self) -> Reply {
        let Found { id, description, each_time, pin_lengths } = &self.found;
        let (token, id) = (description.clone(), id.clone());
        Reply::Ready { token, id, each_time: *each_time, pin_lengths: *pin_lengths }
    }

    fn sign(&self, kind: &Kind, tbs: &[u8]) -> Reply {
        if let Err(refusal) = super::lint::check(kind, tbs, &self.issuer) {
            return Reply::Refused(refusal.to_string());
        }
        #[cfg(feature = "slow-token")]
        let started = crate::clock::instant();
        let Some(key) = &self.key else { return Reply::Failed("the worker was not told to log in".into()) };
        match key.sign(tbs) {
            Ok(signature) => {
                #[cfg(feature = "slow-token")]
                std::thread::sleep(
                    std::time::Duration::from_millis(self.init.latency_ms).saturating_sub(started.elapsed()),
                );
                Reply::Signed(shared::base64url::Base64Url(signature))
            }
            Err(SignFailed::PinRejected(code)) => Reply::PinRejected(self.pin_rejected(&code)),
            Err(error @ SignFailed::Argument(_)) => Reply::Refused(error.to_string()),
            Err(error) => Reply::Failed(error.to_string()),
        }
    }

    /// A PIN that was right at the login and is not any more counts as one that was rejected there.
    fn pin_rejected(&self, code: &str) -> String {
        if let (Login::Yes { state, mark, .. }, Some(pin)) =
            (&self.init.login, self.key.as_ref().and_then(TokenKey::each_time))
        {
            mark_rejected(&PinMark::new(state, mark), pin);
        }
        format!("the token rejected its PIN: {code}")
    }
}

impl Failure {
    fn reply(&self) -> Reply {
        match self {
            Self::PinRejected(reason) => Reply::PinRejected(reason.clone()),
            Self::Other(error) => Reply::Failed(format!("{error:#}")),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

/// Finds the issuer's key and logs in to its token, once.
fn connect(module: &Module, init: &Init, issuer: &Issuer) -> Result<(Option<TokenKey>, Found), Failure> {
    let located = module.locate(&init.uri, &init.others, &issuer.key())?;
    let Located { key: visible, info, id } = &located;
    let description = format!("{} (serial {})", info.label(), info.serial_number());
    let Login::Yes { pin_file, state, mark: mark_name } = &init.login else {
        let each_time = module.seems_to_want_its_pin_each_time(&located);
        return Ok((None, Found { id: id.clone(), description, each_time, pin_lengths: PinLengths::of(info) }));
    };

    let (pin, file, mark) = (pin::read(pin_file)?, PinFile::of(pin_file)?, PinMark::new(state, mark_name));
    let accepted = mark.has_accepted(&file);
    let operator_acted = match mark.about(&pin) {
        Marked::ThisPin => {
            return Err(Failure::PinRejected(format!(
                "this PIN was rejected before, or its first try never ended; put another into {}, or say `signer pin-ok --token {}`",
                pin_file.display(),
                mark_name
            )));
        }
        Marked::AnotherPin => true,
        Marked::Nothing => accepted,
    };
    let pin_ok = format!("say `signer pin-ok --token {mark_name}`");
    if let Err(not_tried) = pin::may_try(info, &pin) {
        return Err(Failure::PinRejected(match not_tried {
            NotTried::Length { .. } => format!("{not_tried}; put another into {}", pin_file.display()),
            NotTried::Locked | NotTried::OneTryLeft => format!("{not_tried}; then {pin_ok}"),
        }));
    }
    if info.user_pin_count_low() && !operator_acted {
        return Err(Failure::PinRejected(format!(
            "the token was given wrong PINs since the last right one, and no try is spent: log in once by hand with the right PIN, or {pin_ok} \
             if {} has it",
            pin_file.display()
        )));
    }
    if !accepted {
        mark.reject(&pin)?;
    }
    tracing::info!(token = description, "logging in");
    match module.login(visible.slot, &pin) {
        Ok(session) => {
            if !accepted {
                mark.accept(&file)?;
            }
            let key = TokenKey::find(session, visible)?.with_pin(pin)?;
            let each_time = key.each_time().is_some();
            Ok((Some(key), Found { id: id.clone(), description, each_time, pin_lengths: PinLengths::of(info) }))
        }
        Err(failed @ (LoginFailed::Rejected(_) | LoginFailed::Argument(_))) => {
            mark_rejected(&mark, &pin);
            Err(Failure::PinRejected(failed.to_string()))
        }
        Err(LoginFailed::Other(error)) => {
            if !accepted {
                mark.clear()?;
            }
            Err(Failure::Other(anyhow::Error::new(error).context("the login failed")))
        }
    }
}

/// The rejection itself is what must be told; that its mark could not be written is told beside it.
fn mark_rejected(mark: &PinMark, pin: &AuthPin) {
    if let Err(error) = mark.reject(pin) {
        tracing::error!(error = format!("{error:#}"), "the mark of a rejected PIN cannot be written");
    }
}

/// The next frame; nothing when the input has ended between two.
fn receive<T: serde::de::DeserializeOwned>(input: &mut impl Read) -> anyhow::Result<Option<T>> {
    let mut prefix = [0; 4];
    if let Err(error) = input.read_exact(&mut prefix) {
        ensure!(error.kind() == std::io::ErrorKind::UnexpectedEof, "the pipe from the parent: {error}");
        return Ok(None);
    }
    let mut json = vec![0; frame::length(prefix)?];
    input.read_exact(&mut json).context("the pipe from the parent")?;
    Ok(Some(frame::decode(&json)?))
}

fn send(output: &mut impl Write, reply: &Reply) -> anyhow::Result<()> {
    let bytes = frame::encode(reply)?;
    output.write_all(&bytes).and_then(|()| output.flush()).context("the pipe to the parent")
}
