//! The worker process: owns one token's session and its PIN, has no network, and believes nobody.
//!
//! What it is given is a TBSCertificate, never a digest; it reads it again and signs only what a leaf of its issuer looks like.
//! After any error of the token that is not about the question itself it drops the session, lists the slots, looks for the key anew and
//! logs in once; when that does not help it ends, and the parent starts another, which is the only clean `C_Finalize` there is.

use std::io::{Read, Write};

use anyhow::{Context, ensure};
use cryptoki::types::AuthPin;
use shared::chain::Issuer;

use super::{
    choice::{Others, TokenId},
    failure::SignFailed,
    frame::{self, Init, Login, Reply, Sign},
    pin::{self, Marked, PinFile, PinMark},
    pkcs11::{Located, LoginFailed, Module, TokenKey},
};

/// How often a token is looked for anew before the worker gives up and ends.
const RECONNECTIONS: u32 = 3;

/// The loop of a worker process: `Init`, then `Sign` after `Sign`, until its input ends.
pub(crate) fn run(mut input: impl Read, mut output: impl Write) -> anyhow::Result<()> {
    // A worker that outlives its parent would hold the token against the parent's successor.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).context("cannot tie the worker to its parent")?;
    // No core file and no debugger sees the PIN.
    nix::sys::prctl::set_dumpable(false).context("cannot forbid core files")?;
    let Some(init) = receive::<Init>(&mut input)? else { return Ok(()) };
    let mut token = match Token::open(init) {
        Ok(token) => token,
        Err(failure) => return send(&mut output, &failure.reply()),
    };
    send(&mut output, &token.ready())?;
    while let Some(Sign { tbs }) = receive(&mut input)? {
        let reply = token.sign(&tbs.0);
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
    module: Module,
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
        // From now on it stays with this token: another that holds the key may be another worker's by now.
        let only = Some(found.id.clone());
        let init = Init { others: Others { only, ..Others::default() }, ..init };
        Ok(Self { init, issuer, module, key, found })
    }

    fn ready(&self) -> Reply {
        let Found { id, description, each_time } = &self.found;
        Reply::Ready { token: description.clone(), id: id.clone(), each_time: *each_time }
    }

    fn sign(&mut self, tbs: &[u8]) -> Reply {
        if let Err(refusal) = super::lint::check(tbs, &self.issuer) {
            return Reply::Refused(refusal.to_string());
        }
        #[cfg(feature = "slow-token")]
        let started = crate::clock::instant();
        let mut reason = String::from("the worker was not told to log in");
        for attempt in 0..=RECONNECTIONS {
            if attempt > 0 {
                tracing::warn!(reason, attempt, "the token failed; looking for its key again");
                match connect(&self.module, &self.init, &self.issuer) {
                    Ok((key, _)) => self.key = key,
                    Err(Failure::PinRejected(reason)) => return Reply::PinRejected(reason),
                    Err(Failure::Other(error)) => {
                        reason = format!("{error:#}");
                        continue;
                    }
                }
            }
            match self.key.as_ref().map(|key| key.sign(tbs)) {
                Some(Ok(signature)) => {
                    #[cfg(feature = "slow-token")]
                    std::thread::sleep(
                        std::time::Duration::from_millis(self.init.latency_ms).saturating_sub(started.elapsed()),
                    );
                    return Reply::Signed(shared::base64url::Base64Url(signature));
                }
                Some(Err(SignFailed::PinRejected(code))) => return self.pin_rejected(&code),
                Some(Err(SignFailed::Argument(error))) => {
                    return Reply::Refused(format!("the token does not take it: {error}"));
                }
                Some(Err(error)) => {
                    reason = error.to_string();
                    // Closes the session, and with the last one of the process the login.
                    self.key = None;
                }
                None => {}
            }
        }
        Reply::Failed(reason)
    }

    /// A PIN that was right at the login and is not any more counts as one that was rejected there.
    fn pin_rejected(&self, code: &str) -> Reply {
        if let (Login::Yes { state, mark, .. }, Some(pin)) =
            (&self.init.login, self.key.as_ref().and_then(TokenKey::each_time))
        {
            mark_rejected(&PinMark::new(state, mark), pin);
        }
        Reply::PinRejected(format!("the token rejected its PIN: {code}"))
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
        return Ok((None, Found { id: id.clone(), description, each_time }));
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
    if info.user_pin_locked() || info.user_pin_final_try() {
        return Err(Failure::PinRejected("the token is locked or one wrong PIN from it".into()));
    }
    if info.user_pin_count_low() && !operator_acted {
        return Err(Failure::PinRejected("somebody has given the token wrong PINs; log in by hand once".into()));
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
            Ok((Some(key), Found { id: id.clone(), description, each_time }))
        }
        Err(LoginFailed::Rejected(code)) => {
            mark_rejected(&mark, &pin);
            Err(Failure::PinRejected(format!("the token rejected its PIN: {code}")))
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
