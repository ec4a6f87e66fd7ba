//! `signer eab`: hands out external account bindings, lists them, ends them.

use std::{
    collections::HashSet,
    fmt::{self, Display, Formatter},
    path::Path,
};

use anyhow::{Context, ensure};
use serde::Serialize;
use shared::{
    base64url,
    timestamp::{Timestamp, parse_rfc3339},
};

use crate::{
    Tokens,
    bindings::{Binding, Bindings, MacKey},
    clock, random,
    settings::{GrantSettings, Settings},
};

/// What is asked of a new binding.
#[derive(Debug)]
pub(crate) struct NewBinding {
    pub(crate) scope: String,
    pub(crate) kid: Option<String>,
    pub(crate) uses: Option<u64>,
    pub(crate) expires: Option<String>,
    pub(crate) directory: Option<String>,
}

/// What a client is given.
#[derive(Debug, Serialize)]
pub(crate) struct MadeBinding {
    /// The key id.
    kid: String,
    /// base64url.
    hmac_key: String,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
    /// URLs of the ACME directories where it is of use.
    directories: Vec<String>,
}

/// A binding as it is listed.
#[derive(Debug, Serialize)]
pub(crate) struct ListedBinding {
    kid: String,
    scope: String,
    state: &'static str,
    created: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<Timestamp>,
    /// How many accounts may have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    uses: Option<u64>,
}

/// Makes a binding.
pub(crate) fn new(config: &Path, tokens: Tokens, wanted: NewBinding) -> anyhow::Result<MadeBinding> {
    let settings = Settings::load(config, tokens)?;
    let grants = grants(&settings)?;
    let NewBinding { scope, kid, uses, expires, directory } = wanted;
    ensure!(settings.policy.has_scope(&scope), "there is no [[scope]] {scope:?} in {}", config.display());
    let now = clock::now();
    let expires = expires.map(|text| parse_end(&text, now)).transpose()?;
    ensure!(expires.is_none_or(|end| end > now), "it would have ended already");
    let (kid, key) = (kid.map_or_else(new_kid, check_kid)?, new_key()?);
    let hmac_key = base64url::encode(&key);
    let key = MacKey::new(&key);
    let binding = Binding { kid: kid.clone(), key, scope: scope.clone(), uses, created: now, expires, revoked: None };
    Bindings::change(&grants.bindings, |bindings| bindings.add(binding))?;
    let directories: HashSet<_> = match directory {
        Some(directory) => [directory].into(),
        None => settings.policy.base_urls().map(|url| format!("{url}/directory")).collect(),
    };
    let mut directories: Vec<_> = directories.into_iter().collect();
    directories.sort_unstable();
    Ok(MadeBinding { kid, hmac_key, scope, expires, directories })
}

/// All bindings.
pub(crate) fn list(config: &Path, tokens: Tokens) -> anyhow::Result<Vec<ListedBinding>> {
    let settings = Settings::load(config, tokens)?;
    let now = clock::now();
    let listed = |binding: &Binding| ListedBinding {
        kid: binding.kid.clone(),
        scope: binding.scope.clone(),
        state: match (binding.revoked, binding.expires) {
            (Some(_), _) => "revoked",
            (None, Some(end)) if end <= now => "expired",
            _ => "live",
        },
        created: binding.created,
        expires: binding.expires,
        revoked: binding.revoked,
        uses: binding.uses,
    };
    Ok(Bindings::read(&grants(&settings)?.bindings)?.iter().map(listed).collect())
}

/// Ends a binding. Says what has come of it.
pub(crate) fn revoke(config: &Path, tokens: Tokens, kid: &str) -> anyhow::Result<String> {
    let settings = Settings::load(config, tokens)?;
    let since = Bindings::change(&grants(&settings)?.bindings, |bindings| bindings.revoke(kid, clock::now()))?;
    Ok(format!("{kid} is revoked since {since}; what it was given stays valid until it expires or is revoked"))
}

fn grants(settings: &Settings) -> anyhow::Result<&GrantSettings> {
    settings.policy.grants().ok().context("the configuration has no [grants]")
}

/// Lower-case hexadecimal: nothing in it means anything to a shell or a command line.
fn new_kid() -> anyhow::Result<String> {
    Ok(random::bytes::<12>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A key id that no command line takes for an option or for two words.
fn check_kid(kid: String) -> anyhow::Result<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    ensure!(
        (1..=64).contains(&kid.len()) && kid.bytes().all(plain) && !kid.starts_with('-'),
        "a kid has 1 to 64 letters, digits, dots, hyphens and underscores, and does not begin with a hyphen"
    );
    Ok(kid)
}

/// A key whose text no command line takes for an option.
fn new_key() -> anyhow::Result<[u8; 32]> {
    loop {
        let key = random::bytes::<32>()?;
        if !base64url::encode(&key).starts_with(['-', '_']) {
            return Ok(key);
        }
    }
}

/// A number of days from now, the end of a date, or a time.
fn parse_end(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    if let Ok(days) = text.parse::<u64>() {
        return Ok(now.plus(days.saturating_mul(86_400)));
    }
    let time = if text.contains('T') { text.to_owned() } else { format!("{text}T23:59:59Z") };
    parse_rfc3339(&time).with_context(|| format!("{text:?} is no number of days, no date and no time in UTC"))
}

impl Display for MadeBinding {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { kid, hmac_key: key, scope, expires, directories } = self;
        write!(f, "kid      {kid}\nkey      {key}\nscope    {scope}\n")?;
        if let Some(expires) = expires {
            writeln!(f, "expires  {expires}")?;
        }
        for directory in directories {
            write!(
                f,
                "\n# {directory}
certbot register --server {directory} --eab-kid {kid} --eab-hmac-key {key}
lego --server {directory} --eab --kid {kid} --hmac {key} …
acme.sh --register-account --server {directory} --eab-kid {kid} --eab-hmac-key {key}
# Caddyfile, in the global options
acme_ca {directory}
acme_eab {{
    key_id {kid}
    mac_key {key}
}}
# cert-manager: kubectl create secret generic colophon-eab --namespace cert-manager --from-literal=secret={key}
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata:
  name: colophon
spec:
  acme:
    server: {directory}
    externalAccountBinding:
      keyID: {kid}
      keySecretRef: {{ name: colophon-eab, key: secret }}
    privateKeySecretRef: {{ name: colophon-account }}
"
            )?;
        }
        Ok(())
    }
}

impl Display for ListedBinding {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { kid, scope, state, created, expires, revoked, uses } = self;
        write!(f, "{kid}  {state}  scope {scope}, made {created}")?;
        if let Some(uses) = uses {
            write!(f, ", for {uses} accounts")?;
        }
        match (revoked, expires) {
            (Some(revoked), _) => write!(f, ", revoked {revoked}"),
            (None, Some(expires)) => write!(f, ", until {expires}"),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_days_a_date_or_a_time() {
        let now = Timestamp::from_seconds(1_000);
        assert_eq!(parse_end("2", now).unwrap(), Timestamp::from_seconds(173_800));
        assert_eq!(parse_end("1970-01-01", now).unwrap(), Timestamp::from_seconds(86_399));
        assert_eq!(parse_end("1970-01-01T00:00:09Z", now).unwrap(), Timestamp::from_seconds(9));
        for text in ["", "soon", "-1", "1970-01-01 00:00:09", "1970-13-01"] {
            assert!(parse_end(text, now).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_handed_out_is_taken_for_no_option() {
        for _ in 0..200 {
            assert!(!base64url::encode(&new_key().unwrap()).starts_with('-'));
            assert!(new_kid().unwrap().bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
    }
}
