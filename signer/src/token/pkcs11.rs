//! The few things that are asked of a PKCS#11 module: find a token and a key in it, log in once, sign a digest.
//!
//! Keys are found by their public half. No module's word is taken for a signature: it is verified before anybody sees it.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Function, Info, Pkcs11},
    error::{Error, RvError},
    mechanism::Mechanism,
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    slot::{Slot, TokenInfo},
    types::AuthPin,
};
use der::{Decode, Encode, asn1::OctetStringRef};
use p256::ecdsa::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};
use shared::ecdsa;
use spki::DecodePublicKey;

use super::{
    choice::{Others, TokenId},
    diagnosis,
    failure::{SignFailed, brief, is_argument},
    uri::TokenUri,
};

/// A module that is loaded and initialised in this process. Only worker processes and the offline commands have one.
#[derive(Debug)]
pub(crate) struct Module {
    loaded: Pkcs11,
    path: PathBuf,
}

/// A private key in a logged-in session, with the public key that every signature is verified under.
#[derive(Debug)]
pub(crate) struct TokenKey {
    session: Session,
    private: ObjectHandle,
    public: VerifyingKey,
    /// The PIN of a key that wants it for each signature. That of any other key is not kept.
    each_time: Option<AuthPin>,
}

/// A public key that a token shows without a login.
#[derive(Clone, Debug)]
pub(crate) struct VisibleKey {
    pub(crate) slot: Slot,
    pub(crate) id: Vec<u8>,
    pub(crate) label: String,
    pub(crate) public: VerifyingKey,
}

/// A key that was found, and the token that it is in.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    pub(crate) key: VisibleKey,
    pub(crate) info: TokenInfo,
    pub(crate) id: TokenId,
}

/// The tokens of a module that can be read, and why others cannot.
struct Seen {
    tokens: Vec<(Slot, TokenInfo)>,
    unreadable: Vec<Error>,
}

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginFailed {
    /// The token has rejected the PIN. Final until an operator acts.
    #[error("the token rejected its PIN: {0}")]
    Rejected(String),
    /// The token does not take the login as it was asked for: the same question has the same answer. Final likewise.
    #[error("the token does not take this login ({0}): is the PIN of the form that it wants?")]
    Argument(String),
    /// Anything else; it may pass.
    #[error("the login failed: {0}")]
    Other(Error),
}

impl Module {
    /// Loads and initialises a module.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let loaded = Pkcs11::new(path).with_context(|| format!("cannot load the module {}", path.display()))?;
        loaded
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .with_context(|| format!("cannot initialise the module {}: {}", path.display(), diagnosis::advice(path)))?;
        Ok(Self { loaded, path: path.to_owned() })
    }

    /// What the module says about itself: for transcripts, and for commands that are meant for one kind of token only.
    pub(crate) fn library(&self) -> anyhow::Result<Info> {
        self.loaded.get_library_info().context("the module does not describe itself")
    }

    /// Every slot with a token in it that can be read, initialised or not.
    pub(crate) fn tokens(&self) -> anyhow::Result<Vec<(Slot, TokenInfo)>> {
        Ok(self.seen()?.tokens)
    }

    fn seen(&self) -> anyhow::Result<Seen> {
        let slots = self.loaded.get_slots_with_token();
        let slots = slots.with_context(|| format!("cannot list the slots: {}", diagnosis::advice(&self.path)))?;
        let (mut tokens, mut unreadable) = (Vec::new(), Vec::new());
        for slot in slots {
            match self.loaded.get_token_info(slot) {
                Ok(info) => tokens.push((slot, info)),
                // One that was pulled out a moment ago, or that another program holds.
                Err(error) => unreadable.push(error),
            }
        }
        Ok(Seen { tokens, unreadable })
    }

    /// What a token says of itself.
    pub(crate) fn info(&self, slot: Slot) -> anyhow::Result<TokenInfo> {
        self.loaded.get_token_info(slot).context("the token does not describe itself")
    }

    /// The one initialised token with this label.
    pub(crate) fn token(&self, label: &str) -> anyhow::Result<Slot> {
        let tokens = self.tokens()?;
        let mut named = tokens.iter().filter(|(_, info)| info.token_initialized() && info.label() == label);
        match (named.next(), named.next()) {
            (Some((slot, _)), None) => Ok(*slot),
            (None, _) => bail!("there is no token with the label {label:?}; {}", self.shows()?),
            (Some(_), Some(_)) => bail!("there are several tokens with the label {label:?}"),
        }
    }

    /// What the module shows, for people who look for a token that is not among it.
    fn shows(&self) -> anyhow::Result<String> {
        let Seen { tokens, unreadable } = self.seen()?;
        let initialised: Vec<_> = tokens.iter().map(|(_, info)| info).filter(|info| info.token_initialized()).collect();
        let path = self.path.display();
        let mut text = if initialised.is_empty() {
            format!("the module {path} shows no token: {}", diagnosis::advice(&self.path))
        } else {
            format!("the module {path} shows {}", diagnosis::shown(initialised.into_iter()))
        };
        if let Some(error) = unreadable.first() {
            text.push_str(&format!(
                "; {} more cannot be read ({}): another program may hold the card (gpg's scdaemon, a browser, another signer)",
                unreadable.len(),
                brief(error)
            ));
        }
        Ok(text)
    }

    /// Initialises the token in a slot. Whoever calls this has made sure that nothing is lost.
    pub(crate) fn init_token(&self, slot: Slot, so_pin: &AuthPin, label: &str) -> anyhow::Result<()> {
        self.loaded.init_token(slot, so_pin, label).context("cannot initialise the token")
    }

    /// A session that may change the token.
    pub(crate) fn writing_session(&self, slot: Slot) -> anyhow::Result<Session> {
        self.loaded.open_rw_session(slot).context("cannot open a session")
    }

    /// The P-256 public keys that a token shows without a login, from its public key objects and its certificates.
    pub(crate) fn visible_keys(&self, slot: Slot) -> anyhow::Result<Vec<VisibleKey>> {
        let session = self.loaded.open_ro_session(slot).context("cannot open a session")?;
        let mut keys = Vec::new();
        for (class, value) in
            [(ObjectClass::PUBLIC_KEY, AttributeType::EcPoint), (ObjectClass::CERTIFICATE, AttributeType::Value)]
        {
            for object in session.find_objects(&[Attribute::Class(class)]).context("cannot list the objects")? {
                let wanted = [value, AttributeType::Id, AttributeType::Label];
                let attributes = session.get_attributes(object, &wanted).unwrap_or_default();
                let (mut public, mut id, mut label) = (None, Vec::new(), String::new());
                for attribute in attributes {
                    match attribute {
                        Attribute::EcPoint(point) => public = from_ec_point(&point),
                        Attribute::Value(certificate) => public = from_certificate(&certificate),
                        Attribute::Id(value) => id = value,
                        Attribute::Label(value) => label = String::from_utf8_lossy(&value).into_owned(),
                        _ => {}
                    }
                }
                keys.extend(public.map(|public| VisibleKey { slot, id, label, public }));
            }
        }
        Ok(keys)
    }

    /// The certificates that a token shows without a login, DER.
    pub(crate) fn certificates(&self, slot: Slot) -> anyhow::Result<Vec<Vec<u8>>> {
        let session = self.loaded.open_ro_session(slot).context("cannot open a session")?;
        let found = session.find_objects(&[Attribute::Class(ObjectClass::CERTIFICATE)]);
        let objects = found.context("cannot list the certificates")?.into_iter();
        let values =
            objects.flat_map(|object| session.get_attributes(object, &[AttributeType::Value]).unwrap_or_default());
        Ok(values.filter_map(|value| if let Attribute::Value(der) = value { Some(der) } else { None }).collect())
    }

    /// Where `public` can be seen, on a token that the hints do not exclude and that is not another worker's. No login.
    ///
    /// Tokens are looked at by serial number, then by slot, so that several that hold the key are always found in one order. One
    /// that cannot be read does not keep the next from being found.
    pub(crate) fn locate(&self, hints: &TokenUri, others: &Others, public: &VerifyingKey) -> anyhow::Result<Located> {
        let fits = |info: &TokenInfo| {
            let other_label = hints.token.as_deref().is_some_and(|label| label != info.label());
            let other_serial = hints.serial.as_deref().is_some_and(|serial| serial != info.serial_number());
            info.token_initialized() && !other_label && !other_serial
        };
        let mut tokens: Vec<_> = self.tokens()?.into_iter().filter(|(_, info)| fits(info)).collect();
        tokens.sort_by_key(|(slot, info)| (info.serial_number().to_owned(), slot.id()));
        let ids = TokenId::all(tokens.iter().map(|(_, info)| info.serial_number()));
        let (fitting, mut skip, mut taken, mut unreadable) = (tokens.len(), others.skip, 0_usize, None);
        for (id, (slot, info)) in ids.into_iter().zip(tokens) {
            if others.have(&id) {
                taken = taken.saturating_add(1);
                continue;
            }
            let keys = match self.visible_keys(slot) {
                Ok(keys) => keys.into_iter().filter(|key| key.public == *public),
                Err(error) => {
                    unreadable = Some(error);
                    continue;
                }
            };
            // The object's own hints only order what the public key has decided.
            let best = keys.min_by_key(|key| {
                let label_differs = hints.object.as_deref().is_some_and(|label| label != key.label);
                let id_differs = hints.id.as_deref().is_some_and(|id| id != key.id);
                (id_differs, label_differs)
            });
            match best {
                Some(key) if skip == 0 => return Ok(Located { key, info, id }),
                Some(_) => skip = skip.saturating_sub(1),
                None => {}
            }
        }
        match unreadable {
            Some(error) => Err(error.context(
                "a token that fits the uri cannot be read; another program may hold the card (gpg's scdaemon, a browser)",
            )),
            None if fitting == 0 => {
                bail!("no token fits the uri, which wants {}; {}", diagnosis::wanted(hints), self.shows()?)
            }
            None if taken == 0 => bail!("the issuer's public key is on none of the {fitting} tokens that fit the uri"),
            None => bail!(
                "of the {fitting} tokens that fit the uri {taken} are other workers', and no other has the issuer's public key"
            ),
        }
    }

    /// True when a key wants its PIN for each signature, as far as can be seen without a login. Many modules show private keys
    /// only after one; the slot of PIV that is made so (9c, object 2 of both modules) is known by its place.
    pub(crate) fn seems_to_want_its_pin_each_time(&self, located: &Located) -> bool {
        let Located { key, info, .. } = located;
        let shown = self.loaded.open_ro_session(key.slot).ok().and_then(|session| {
            let private = private_key(&session, &key.id).ok()?;
            wants_its_pin_each_time(&session, private).ok()
        });
        let is_piv =
            [info.label(), info.manufacturer_id()].iter().any(|text| text.to_ascii_lowercase().contains("piv"));
        shown.unwrap_or(is_piv && key.id == [2])
    }

    /// Opens a session and logs in, once.
    pub(crate) fn login(&self, slot: Slot, pin: &AuthPin) -> Result<Session, LoginFailed> {
        let session = self.loaded.open_ro_session(slot).map_err(LoginFailed::Other)?;
        login(&session, pin)?;
        Ok(session)
    }
}

/// Logs a session in, once.
pub(crate) fn login(session: &Session, pin: &AuthPin) -> Result<(), LoginFailed> {
    login_as(session, UserType::User, pin)
}

fn login_as(session: &Session, user: UserType, pin: &AuthPin) -> Result<(), LoginFailed> {
    judge(session.login(user, Some(pin)))
}

/// Tells what is final about a login from what may pass.
fn judge(result: cryptoki::error::Result<()>) -> Result<(), LoginFailed> {
    match result {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, Function::Login)) => Ok(()),
        Err(Error::Pkcs11(
            code @ (RvError::PinIncorrect
            | RvError::PinInvalid
            | RvError::PinLenRange
            | RvError::PinExpired
            | RvError::PinLocked),
            Function::Login,
        )) => Err(LoginFailed::Rejected(format!("{code:?}"))),
        Err(Error::Pkcs11(code, Function::Login)) if is_argument(code) => {
            Err(LoginFailed::Argument(format!("{code:?}")))
        }
        Err(other) => Err(LoginFailed::Other(other)),
    }
}

impl TokenKey {
    /// The private half of a visible key, in a session that is logged in.
    pub(crate) fn find(session: Session, key: &VisibleKey) -> anyhow::Result<Self> {
        let private = private_key(&session, &key.id)?;
        Ok(Self { session, private, public: key.public, each_time: None })
    }

    /// Keeps the PIN if the key wants it for each signature (CKA_ALWAYS_AUTHENTICATE), and forgets it otherwise.
    pub(crate) fn with_pin(mut self, pin: AuthPin) -> anyhow::Result<Self> {
        self.each_time = wants_its_pin_each_time(&self.session, self.private)?.then_some(pin);
        Ok(self)
    }

    /// The PIN, when the key wants it for each signature.
    pub(crate) const fn each_time(&self) -> Option<&AuthPin> {
        self.each_time.as_ref()
    }

    /// The public half.
    pub(crate) const fn public(&self) -> &VerifyingKey {
        &self.public
    }

    /// Signs `message` with ECDSA and SHA-256, hashed here, and verifies the signature. DER (RFC 5758 §3.2).
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignFailed> {
        let digest = Sha256::digest(message);
        let raw = match &self.each_time {
            None => self.session.sign(&Mechanism::Ecdsa, self.private, &digest)?,
            Some(pin) => self.sign_after_login(&digest, pin)?,
        };
        let signature = Signature::from_slice(&raw).map_err(|_| SignFailed::NotASignature)?;
        if !ecdsa::verify_p256(&self.public, message, &signature) {
            return Err(SignFailed::DoesNotVerify);
        }
        Ok(signature.to_der().as_bytes().to_vec())
    }

    /// The login stands between the beginning of a signature and its end (PKCS#11 v3.0 §5.6.8, CKU_CONTEXT_SPECIFIC). In parts: one
    /// part that is all of it is what modules take for CKM_ECDSA.
    fn sign_after_login(&self, digest: &[u8], pin: &AuthPin) -> Result<Vec<u8>, SignFailed> {
        self.session.sign_init(&Mechanism::Ecdsa, self.private)?;
        login_as(&self.session, UserType::ContextSpecific, pin)?;
        self.session.sign_update(digest)?;
        Ok(self.session.sign_final()?)
    }
}

fn wants_its_pin_each_time(session: &Session, private: ObjectHandle) -> anyhow::Result<bool> {
    let attributes = session.get_attributes(private, &[AttributeType::AlwaysAuthenticate]);
    let attributes = attributes.context("the token does not describe the private key")?;
    Ok(attributes.contains(&Attribute::AlwaysAuthenticate(true)))
}

/// The private EC key with this identifier.
fn private_key(session: &Session, id: &[u8]) -> anyhow::Result<ObjectHandle> {
    let template =
        [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::KeyType(KeyType::EC), Attribute::Id(id.to_vec())];
    let found = session.find_objects(&template).context("cannot list the private keys")?;
    let name = || id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    ensure!(
        found.len() <= 1,
        "{} private EC keys of the token have the identifier {} (CKA_ID, in hex), and which of them belongs to the public key cannot be \
         seen: give each its own (pkcs11-tool --login --set-id), or remove those that are not used",
        found.len(),
        name()
    );
    found.first().copied().with_context(|| {
        format!("the token has the public key, and no private EC key with its identifier {} (CKA_ID, in hex)", name())
    })
}

/// CKA_EC_POINT: a DER OCTET STRING of the point, as the standard says, or the bare point, as some modules have it.
fn from_ec_point(point: &[u8]) -> Option<VerifyingKey> {
    let bare = <&OctetStringRef>::from_der(point).map_or(point, |inner| inner.as_bytes());
    VerifyingKey::from_sec1_bytes(bare).ok()
}

fn from_certificate(der: &[u8]) -> Option<VerifyingKey> {
    let certificate = x509_cert::Certificate::from_der(der).ok()?;
    let spki = certificate.tbs_certificate().subject_public_key_info().to_der().ok()?;
    VerifyingKey::from_public_key_der(&spki).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_that_would_fail_again_is_final() {
        let judged = |code, function| judge(Err(Error::Pkcs11(code, function)));
        for code in [RvError::PinIncorrect, RvError::PinLenRange, RvError::PinLocked] {
            assert!(matches!(judged(code, Function::Login), Err(LoginFailed::Rejected(_))), "{code:?}");
        }
        for code in [RvError::ArgumentsBad, RvError::FunctionNotSupported, RvError::DataInvalid] {
            assert!(matches!(judged(code, Function::Login), Err(LoginFailed::Argument(_))), "{code:?}");
        }
        for code in [RvError::DeviceError, RvError::TokenNotPresent, RvError::GeneralError] {
            assert!(matches!(judged(code, Function::Login), Err(LoginFailed::Other(_))), "{code:?}");
        }
        assert!(judged(RvError::UserAlreadyLoggedIn, Function::Login).is_ok());
    }

    #[test]
    fn a_point_is_read_bare_and_in_its_octet_string() {
        let key = crate::random::signing_key().unwrap();
        let point = key.verifying_key().to_sec1_point(false);
        let wrapped = [&[0x04, 65], point.as_bytes()].concat();
        assert_eq!(from_ec_point(point.as_bytes()), Some(*key.verifying_key()));
        assert_eq!(from_ec_point(&wrapped), Some(*key.verifying_key()));
        assert_eq!(from_ec_point(&wrapped[1..]), None);
        assert_eq!(from_ec_point(&[]), None);
    }
}
