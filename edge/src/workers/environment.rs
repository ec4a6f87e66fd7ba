//! What the deployment gives the code: its configuration and secrets, the clock, and randomness. The only file that knows a
//! clock or a generator; everywhere else time and entropy are values.

use std::{cell::RefCell, rc::Rc};

use js_sys::{JSON, Reflect};
use shared::timestamp::Timestamp;
use wasm_bindgen::JsValue;
use worker::{Date, Env, console_error};

use crate::acme::{
    config::{BadConfig, Config, ConfigObject},
    entropy::Entropy,
    kubernetes::bearer::{BadBearerTokens, BearerTokens},
    nonce::NonceSecrets,
    problem::Problem,
    route::{UrlSecret, Urls},
};

/// The variable that holds the configuration as an object.
const CONFIG: &str = "COLOPHON";

/// The fewest characters of a secret.
const MIN_SECRET: usize = 32;

/// A deployment, checked once per isolate.
#[derive(Debug)]
pub(super) struct Environment {
    /// The configuration.
    pub(super) config: Config,
    /// Its URLs.
    pub(super) urls: Urls,
    /// What authenticates nonces.
    pub(super) nonce_secrets: NonceSecrets,
    /// What the API of the zone is shown whose caches are purged.
    pub(super) purge_token: Option<String>,
    /// What operators show who ask for metrics; nobody may without it.
    pub(super) metrics_token: Option<String>,
    /// What API servers of clusters are shown.
    pub(super) bearer_tokens: BearerTokens,
}

/// Why a deployment cannot serve. Each names the variable, the key or the secret, and never a secret's value.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadEnvironment {
    /// The variable is missing or no object.
    #[error("the variable COLOPHON is missing or is not an object")]
    NoConfig,
    /// A key is missing, unknown, or of another type.
    #[error("COLOPHON: {0}")]
    Form(#[from] serde_json::Error),
    /// A value that cannot be served.
    #[error("COLOPHON: {0}")]
    Value(#[from] BadConfig),
    /// A secret is missing or too short.
    #[error("the secret {0} is missing or has fewer than 32 characters")]
    Secret(&'static str),
    /// The bearer tokens for API servers cannot be used.
    #[error("the secret KUBERNETES_TOKENS: {0}")]
    BearerTokens(#[from] BadBearerTokens),
}

thread_local! {
    /// Bindings never change within an isolate: a new version of a deployment runs in new ones.
    static CHECKED: RefCell<Option<Rc<Environment>>> = const { RefCell::new(None) };
}

impl Environment {
    /// The deployment that these bindings describe; read at the first call, kept after that.
    ///
    /// # Errors
    /// What is wrong with it, also written to the console. Nothing is kept then.
    pub(super) fn of(bindings: &Env) -> Result<Rc<Self>, BadEnvironment> {
        if let Some(environment) = CHECKED.with_borrow(Clone::clone) {
            return Ok(environment);
        }
        let environment = Rc::new(Self::read(bindings).inspect_err(|error| console_error!("{error}"))?);
        CHECKED.with_borrow_mut(|checked| *checked = Some(Rc::clone(&environment)));
        Ok(environment)
    }

    fn read(bindings: &Env) -> Result<Self, BadEnvironment> {
        let config = Config::try_from(config_object(bindings)?)?;
        let previous = secret(bindings, "NONCE_SECRET_PREVIOUS")?;
        let required = |name| secret(bindings, name)?.ok_or(BadEnvironment::Secret(name));
        let bearer_tokens = match config.scopes.clusters_with_api().next() {
            Some(_) => BearerTokens::parse(&required("KUBERNETES_TOKENS")?, config.scopes.clusters_with_api())?,
            None => BearerTokens::default(),
        };
        let purge_token = config.status.purge.as_ref().map(|_| required("CACHE_PURGE_TOKEN")).transpose()?;
        Ok(Self {
            purge_token,
            metrics_token: secret(bindings, "METRICS_TOKEN")?,
            bearer_tokens,
            urls: Urls::new(config.base_url.clone(), UrlSecret::new(&required("URL_SECRET")?)),
            nonce_secrets: NonceSecrets::new(&required("NONCE_SECRET")?, previous.as_deref()),
            config,
        })
    }

    /// A nonce minted without a hop (RFC 8555 §7.2).
    ///
    /// # Errors
    /// When there is no randomness.
    pub(super) fn mint_nonce(&self) -> Result<String, Problem> {
        let expires = now().plus(self.config.lifetimes.edge_nonce);
        Ok(self.nonce_secrets.mint_edge(random()?, self.config.limits.nonce_shards, expires))
    }
}

/// The time. On the platform it stands still while the code runs and moves on with each await.
pub(super) fn now() -> Timestamp {
    Timestamp::from_seconds(Date::now().as_millis() / 1000)
}

/// The same in milliseconds since 1970.
pub(super) fn millis() -> u64 {
    // They are whole and far below 2^53.
    Date::now().as_millis()
}

/// Fresh random bytes of the platform's generator.
///
/// # Errors
/// When there are none, which the platform does not do.
pub(super) fn random<const N: usize>() -> Result<[u8; N], Problem> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// Fills this with fresh random bytes.
///
/// # Errors
/// As [`random`].
#[allow(clippy::disallowed_methods, reason = "this file is the port of randomness")]
pub(super) fn fill(bytes: &mut [u8]) -> Result<(), Problem> {
    getrandom::fill(bytes).map_err(|_| Problem::Internal("the platform gives no randomness"))
}

/// A fresh seed for one step.
///
/// # Errors
/// As [`random`].
pub(super) fn entropy() -> Result<Entropy, Problem> {
    random().map(Entropy::new)
}

/// By way of JSON text: the direct conversion from JavaScript objects does not notice unknown keys.
fn config_object(bindings: &Env) -> Result<ConfigObject, BadEnvironment> {
    let object = Reflect::get(bindings, &JsValue::from_str(CONFIG)).map_err(|_| BadEnvironment::NoConfig)?;
    if !object.is_object() {
        return Err(BadEnvironment::NoConfig);
    }
    let text = JSON::stringify(&object).map_err(|_| BadEnvironment::NoConfig)?;
    Ok(serde_json::from_slice(String::from(text).as_bytes())?)
}

/// A secret that is there is long enough.
fn secret(bindings: &Env, name: &'static str) -> Result<Option<String>, BadEnvironment> {
    let Ok(binding) = bindings.secret(name) else { return Ok(None) };
    let text = binding.to_string();
    if text.chars().count() < MIN_SECRET { Err(BadEnvironment::Secret(name)) } else { Ok(Some(text)) }
}
