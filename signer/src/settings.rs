//! The configuration, checked: after [`Settings::load`] nothing validates again. Relative paths are relative to the file.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use shared::chain::IssuerChain;
use toml::de::DeTable;

use crate::{
    Tokens,
    config::{GrantsConfig, IssuerConfig, LimitsConfig, SignerConfig, TokenConfig},
    constraints::{self, ChainLimits, Mismatch},
    grant::GrantKeys,
    peer::PeerSettings,
    place::{At, place},
    policy::{Clusters, Policy},
    status::settings::{ResponderSettings, StatusSettings},
    token::{
        opensc::{self, OpenscConf},
        uri::TokenUri,
    },
};

/// Everything that the daemon goes by.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The folder of the journal and of the marks about PINs.
    pub(crate) state: PathBuf,
    pub(crate) listen: ListenSettings,
    pub(crate) limits: Limits,
    /// Bytes from which on a segment of the journal gets no more records.
    pub(crate) segment_bytes: u64,
    /// Bytes that are kept for revocations when the disk is full.
    pub(crate) reserve_bytes: u64,
    /// Where metrics are asked for.
    pub(crate) operations: Option<SocketAddr>,
    pub(crate) policy: Policy,
    /// How the status of certificates is told.
    pub(crate) status: Option<StatusSettings>,
    /// With distinct names.
    pub(crate) peers: Vec<PeerSettings>,
    /// At least one, with distinct names and keys.
    pub(crate) issuers: Vec<IssuerSettings>,
}

/// Where edges call.
#[derive(Clone, Debug)]
pub(crate) struct ListenSettings {
    pub(crate) address: SocketAddr,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) client_roots: PathBuf,
}

/// What bounds work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) request_bytes: usize,
    pub(crate) connections: usize,
    pub(crate) connections_per_identity: usize,
    pub(crate) queue: usize,
    pub(crate) queue_per_edge: usize,
    pub(crate) queue_per_account: usize,
    pub(crate) queue_for_renewals: usize,
    pub(crate) forget: Duration,
    pub(crate) handshakes: usize,
    pub(crate) handshakes_per_address: usize,
    pub(crate) ipv6_prefix: u32,
    pub(crate) handshake: Duration,
    pub(crate) requests_per_identity: usize,
    pub(crate) bodies_per_identity: usize,
    pub(crate) answer_bytes_per_identity: u32,
    pub(crate) body: Duration,
    pub(crate) idle: Duration,
    pub(crate) answer: Duration,
    pub(crate) shutdown: Duration,
}

/// How accounts are bound.
#[derive(Clone, Debug)]
pub(crate) struct GrantSettings {
    pub(crate) keys: GrantKeys,
    /// Seconds that a grant lives.
    pub(crate) lifetime: u64,
    /// The file of the bindings.
    pub(crate) bindings: PathBuf,
    /// The files that the keys were read from.
    pub(crate) files: Vec<PathBuf>,
}

/// One issuer.
#[derive(Clone, Debug)]
pub(crate) struct IssuerSettings {
    pub(crate) name: String,
    pub(crate) chain: IssuerChain,
    /// What verifiers accept under the chain.
    pub(crate) limits: ChainLimits,
    pub(crate) is_drained: bool,
    /// Who signs OCSP responses, when not the issuer itself.
    pub(crate) responder: Option<ResponderSettings>,
    /// At least one.
    pub(crate) tokens: Vec<TokenSettings>,
}

/// One token.
#[derive(Clone, Debug)]
pub(crate) struct TokenSettings {
    pub(crate) module: PathBuf,
    pub(crate) uri: TokenUri,
    pub(crate) pin_file: PathBuf,
    pub(crate) deadline: Duration,
    pub(crate) environment: BTreeMap<String, String>,
    /// A file that the environment names, to be written before a worker starts.
    opensc: Option<OpenscConf>,
    #[cfg(feature = "slow-token")]
    pub(crate) latency_ms: u64,
}

/// Returns the state folder that a configuration file names, also when the rest of the file cannot be read.
///
/// # Errors
/// When the file cannot be read or has no `state`.
pub(crate) fn state_folder(file: &Path) -> anyhow::Result<PathBuf> {
    let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let text = String::from_utf8_lossy(&text);
    let (table, _) = DeTable::parse_recoverable(&text);
    let state = table.get_ref().get("state").and_then(|state| state.get_ref().as_str());
    let state = state.with_context(|| format!("{} has no readable line `state = \"FOLDER\"`", file.display()))?;
    let folder = std::path::absolute(file)?.parent().map(Path::to_owned).unwrap_or_default();
    Ok(folder.join(state))
}

impl Settings {
    /// Reads and checks a configuration file and the chains that it names.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub(crate) fn load(file: &Path, tokens: Tokens) -> anyhow::Result<Self> {
        let (config, text) = read(file)?;
        Self::check(config, &folder_of(file)?, tokens).map_err(|error| located(file, &text, error))
    }

    /// Reads and checks the policy of a configuration file, whose issuers need not be there yet.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub(crate) fn load_policy(file: &Path) -> anyhow::Result<Policy> {
        let (config, text) = read(file)?;
        let SignerConfig { edge, profile, scope, cluster, .. } = config;
        let policy = Clusters::check(cluster, &folder_of(file)?)
            .and_then(|clusters| Policy::check(edge, profile, scope, clusters));
        policy.map_err(|error| located(file, &text, error))
    }

    /// What of the policy does not verify under the issuers' chains, and is refused when it is asked for.
    pub(crate) fn mismatches(&self) -> Vec<Mismatch> {
        mismatches(&self.policy, &self.issuers)
    }

    fn check(config: SignerConfig, folder: &Path, tokens: Tokens) -> anyhow::Result<Self> {
        let SignerConfig {
            state,
            listen,
            limits,
            journal,
            operations,
            status,
            edge,
            grants,
            peer,
            cluster,
            issuer,
            profile,
            scope,
        } = config;
        let segments = 4096..=1 << 40;
        let fits = segments.contains(&journal.segment_bytes);
        check(fits, "journal.segment_bytes is between 4096 and 2^40").at("segment_bytes").at("journal")?;
        let fits = (65_536..=1 << 40).contains(&journal.reserve_bytes);
        check(fits, "journal.reserve_bytes is between 65536 and 2^40").at("reserve_bytes").at("journal")?;
        ensure!(!issuer.is_empty(), "there is no [[issuer]]");
        let issuers = issuer
            .into_iter()
            .enumerate()
            .map(|(position, issuer)| {
                IssuerSettings::check(issuer, folder, &folder.join(&state), tokens).at(position).at("issuer")
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let names: BTreeSet<_> = issuers.iter().map(|issuer| issuer.name.as_str()).collect();
        let keys: BTreeSet<_> =
            issuers.iter().map(|issuer| issuer.chain.issuer().key().to_sec1_point(true).as_bytes().to_vec()).collect();
        ensure!(names.len() == issuers.len(), "two issuers have one name");
        ensure!(keys.len() == issuers.len(), "two issuers have one key");
        let grants = grants.map(|grants| GrantSettings::check(grants, folder).at("grants")).transpose()?;
        let policy = Policy::check(edge, profile, scope, Clusters::check(cluster, folder)?)?.with_grants(grants);
        if let Some(Mismatch::Never(mistake)) =
            mismatches(&policy, &issuers).into_iter().find(|mismatch| matches!(mismatch, Mismatch::Never(_)))
        {
            bail!("{mistake}");
        }
        let status = status.map(|status| StatusSettings::check(status).at("status")).transpose()?;
        ensure!(
            status.is_some() || !policy.has_status(),
            "a profile has a revocation other than \"none\", and there is no [status] that says where status is told"
        );
        let listen = ListenSettings {
            address: listen.address,
            certificate: folder.join(listen.certificate),
            key: folder.join(listen.key),
            client_roots: folder.join(listen.client_roots),
        };
        let peers = peer.into_iter().enumerate();
        let peers = peers.map(|(position, peer)| PeerSettings::check(peer, folder, &listen).at(position).at("peer"));
        let peers = peers.collect::<anyhow::Result<Vec<_>>>()?;
        let names: BTreeSet<_> = peers.iter().map(|peer| peer.name.as_str()).collect();
        ensure!(names.len() == peers.len(), "two peers have one name");
        Ok(Self {
            state: folder.join(state),
            listen,
            peers,
            limits: Limits::check(&limits, policy.edges().count()).at("limits")?,
            segment_bytes: journal.segment_bytes,
            reserve_bytes: journal.reserve_bytes,
            operations: operations.map(|operations| operations.address),
            policy,
            status,
            issuers,
        })
    }
}

fn read(file: &Path) -> anyhow::Result<(SignerConfig, String)> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let config = toml::from_str(&text).map_err(|error| located(file, &text, error.into()))?;
    Ok((config, text))
}

/// The same error, with the place of what it is about.
fn located(file: &Path, text: &str, error: anyhow::Error) -> anyhow::Error {
    let place = place(text, &error);
    error.context(format!("in {}{place}", file.display()))
}

/// The folder that the paths of a configuration file are beside.
fn folder_of(file: &Path) -> anyhow::Result<PathBuf> {
    Ok(std::path::absolute(file)?.parent().map(Path::to_owned).unwrap_or_default())
}

/// Compares a policy with the issuers that decide on certificates.
fn mismatches(policy: &Policy, issuers: &[IssuerSettings]) -> Vec<Mismatch> {
    let deciding = issuers.iter().filter(|issuer| !issuer.is_drained);
    let limits: Vec<_> = deciding.map(|issuer| (issuer.name.as_str(), &issuer.limits)).collect();
    if limits.is_empty() { Vec::new() } else { constraints::compare(policy, &limits) }
}

impl Limits {
    fn check(config: &LimitsConfig, edges: usize) -> anyhow::Result<Self> {
        let duration = |name: &'static str, milliseconds: u64| {
            let fits = (1..=3_600_000).contains(&milliseconds);
            check(fits, "every limit in milliseconds is between 1 and 3600000").at(name)?;
            Ok::<_, anyhow::Error>(Duration::from_millis(milliseconds))
        };
        // What fits into a request must fit into a worker's frame.
        check((1024..=131_072).contains(&config.request_bytes), "limits.request_bytes is between 1024 and 131072")
            .at("request_bytes")?;
        check((1..=65_536).contains(&config.connections), "limits.connections is between 1 and 65536")
            .at("connections")?;
        let share = config.connections_per_identity.unwrap_or(config.connections.div_ceil(2));
        check(
            (1..=config.connections).contains(&share),
            "limits.connections_per_identity is between 1 and limits.connections",
        )
        .at("connections_per_identity")?;
        check((1..=65_536).contains(&config.handshakes), "limits.handshakes is between 1 and 65536")
            .at("handshakes")?;
        let per_address = config.handshakes_per_address.unwrap_or(config.handshakes.div_ceil(4));
        check(
            (1..=config.handshakes).contains(&per_address),
            "limits.handshakes_per_address is between 1 and limits.handshakes",
        )
        .at("handshakes_per_address")?;
        check((1..=128).contains(&config.ipv6_prefix), "limits.ipv6_prefix is between 1 and 128").at("ipv6_prefix")?;
        check(
            (65_536..=1 << 30).contains(&config.answer_bytes_per_identity),
            "limits.answer_bytes_per_identity is between 65536 and 2^30",
        )
        .at("answer_bytes_per_identity")?;
        let requests = config.requests_per_identity;
        check((1..=100_000).contains(&requests), "limits.requests_per_identity is between 1 and 100000")
            .at("requests_per_identity")?;
        check(
            (1..=requests).contains(&config.bodies_per_identity),
            "limits.bodies_per_identity is between 1 and limits.requests_per_identity",
        )
        .at("bodies_per_identity")?;
        check((1..=100_000).contains(&config.queue), "limits.queue is between 1 and 100000").at("queue")?;
        let fair = if edges > 1 { config.queue.div_ceil(2) } else { config.queue };
        let queue_per_edge = config.queue_per_edge.unwrap_or(fair);
        check((1..=config.queue).contains(&queue_per_edge), "limits.queue_per_edge is between 1 and limits.queue")
            .at("queue_per_edge")?;
        let per_account = config.queue_per_account.unwrap_or(queue_per_edge.div_ceil(2));
        check(
            (1..=queue_per_edge).contains(&per_account),
            "limits.queue_per_account is between 1 and limits.queue_per_edge",
        )
        .at("queue_per_account")?;
        let renewals = config.queue_for_renewals.unwrap_or(queue_per_edge.checked_div(8).unwrap_or(0));
        check(renewals < queue_per_edge, "limits.queue_for_renewals is less than limits.queue_per_edge")
            .at("queue_for_renewals")?;
        check((1..=86_400).contains(&config.forget_seconds), "limits.forget_seconds is between 1 and 86400")
            .at("forget_seconds")?;
        Ok(Self {
            request_bytes: config.request_bytes,
            connections: config.connections,
            connections_per_identity: share,
            queue: config.queue,
            queue_per_edge,
            queue_per_account: per_account,
            queue_for_renewals: renewals,
            forget: Duration::from_secs(config.forget_seconds),
            handshakes: config.handshakes,
            handshakes_per_address: per_address,
            ipv6_prefix: config.ipv6_prefix,
            handshake: duration("handshake_ms", config.handshake_ms)?,
            requests_per_identity: requests,
            bodies_per_identity: config.bodies_per_identity,
            answer_bytes_per_identity: config.answer_bytes_per_identity,
            body: duration("body_ms", config.body_ms)?,
            idle: duration("idle_ms", config.idle_ms)?,
            answer: duration("answer_ms", config.answer_ms)?,
            shutdown: duration("shutdown_ms", config.shutdown_ms)?,
        })
    }
}

impl GrantSettings {
    fn check(config: GrantsConfig, folder: &Path) -> anyhow::Result<Self> {
        let fits = (60..=31_536_000).contains(&config.lifetime_seconds);
        check(fits, "grants.lifetime_seconds is between 60 and 31536000").at("lifetime_seconds")?;
        let files: Vec<_> = config.keys.into_iter().map(|file| folder.join(file)).collect();
        Ok(Self {
            keys: GrantKeys::read(files.iter().map(PathBuf::as_path)).at("keys")?,
            lifetime: config.lifetime_seconds,
            bindings: folder.join(config.bindings),
            files,
        })
    }
}

impl IssuerSettings {
    fn check(config: IssuerConfig, folder: &Path, state: &Path, tokens: Tokens) -> anyhow::Result<Self> {
        let IssuerConfig { name, chain, drained, delegated_responder, responder_validity_seconds, token } = config;
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        // It becomes part of file names.
        ensure!(
            (1..=64).contains(&name.len()) && name.bytes().all(good),
            "an issuer's name is 1 to 64 letters, digits, hyphens and underscores, not {name:?}"
        );
        let path = folder.join(chain);
        let bytes = std::fs::read(&path)
            .with_context(|| format!("issuer {name}: cannot read {}", path.display()))
            .at("chain")?;
        let chain = IssuerChain::from_pem(&bytes).with_context(|| format!("issuer {name}: {}", path.display()));
        let chain = chain.at("chain")?;
        let limits = ChainLimits::of(&chain, None).with_context(|| format!("issuer {name}: {}", path.display()));
        let limits = limits.at("chain")?;
        ensure!(!token.is_empty(), "issuer {name}: there is no [[issuer.token]]");
        let check = |(position, token)| {
            let token_name = format!("{name}-{position}");
            TokenSettings::check(token, folder, state, &token_name, tokens)
                .with_context(|| format!("token {token_name}"))
                .at(position)
                .at("token")
        };
        let tokens = token.into_iter().enumerate().map(check).collect::<anyhow::Result<Vec<_>>>()?;
        for (position, token) in tokens.iter().enumerate() {
            let others = tokens.iter().skip(position).filter(|other| token.may_be(other));
            for other in others {
                ensure!(
                    token.pin_file == other.pin_file,
                    "issuer {name}: two tokens may be each other's as their uris are; name their serial numbers, or give them one PIN"
                );
            }
        }
        let responder = delegated_responder.then(|| ResponderSettings::check(responder_validity_seconds));
        let responder = responder.transpose().with_context(|| format!("issuer {name}"))?;
        Ok(Self { name, chain, limits, is_drained: drained, responder, tokens })
    }

    /// Serial numbers that are left to those of the tokens that name them; none for a token that names its own.
    pub(crate) fn named_by_others(&self, token: &TokenSettings) -> Vec<String> {
        if token.uri.serial.is_some() {
            return Vec::new();
        }
        let others = self.tokens.iter().filter(|other| other.module == token.module);
        others.filter_map(|other| other.uri.serial.clone()).collect()
    }
}

impl TokenSettings {
    /// Writes what its environment names.
    pub(crate) fn prepare(&self) -> anyhow::Result<()> {
        self.opensc.as_ref().map_or(Ok(()), OpenscConf::write)
    }

    /// True when nothing but their order tells the tokens apart that these two mean.
    pub(crate) fn looks_like(&self, other: &Self) -> bool {
        self.same_place(other) && self.uri == other.uri
    }

    /// True when one token may be what both mean.
    fn may_be(&self, other: &Self) -> bool {
        let differ = |one: &Option<String>, other: &Option<String>| one.is_some() && other.is_some() && one != other;
        self.same_place(other)
            && !differ(&self.uri.serial, &other.uri.serial)
            && !differ(&self.uri.token, &other.uri.token)
            // Who names no serial number leaves those that others name alone.
            && self.uri.serial.is_some() == other.uri.serial.is_some()
    }

    fn same_place(&self, other: &Self) -> bool {
        // OpenSC's file differs, and which tokens it hides is not known here.
        let of = |environment: &BTreeMap<String, String>| {
            environment
                .iter()
                .filter(|(name, _)| *name != opensc::VARIABLE)
                .map(|(_, value)| value.clone())
                .collect::<Vec<_>>()
        };
        self.module == other.module && of(&self.environment) == of(&other.environment)
    }

    fn check(config: TokenConfig, folder: &Path, state: &Path, name: &str, tokens: Tokens) -> anyhow::Result<Self> {
        #[cfg(feature = "slow-token")]
        if tokens == Tokens::AsTheyAre && config.latency_ms != 0 {
            bail!("unknown field `latency_ms`: this program does not slow tokens");
        }
        #[cfg(not(feature = "slow-token"))]
        let Tokens::AsTheyAre = tokens;
        if !(100..=600_000).contains(&config.deadline_ms) {
            bail!("deadline_ms is between 100 and 600000");
        }
        let mut environment = config.environment;
        let opensc = match config.ignored_readers {
            None => None,
            Some(readers) => {
                let conf = OpenscConf::ignoring(&readers, state, name)?;
                let path = conf.path().to_str().context("the path of the state folder is not text")?.to_owned();
                let other = environment.insert(opensc::VARIABLE.to_owned(), path);
                ensure!(other.is_none(), "ignored_readers and {} exclude each other", opensc::VARIABLE);
                Some(conf)
            }
        };
        Ok(Self {
            module: folder.join(config.module),
            uri: config.uri.parse()?,
            pin_file: pin_file(folder, config.pin_file, config.pin_credential)?,
            deadline: Duration::from_millis(config.deadline_ms),
            environment,
            opensc,
            #[cfg(feature = "slow-token")]
            latency_ms: config.latency_ms,
        })
    }
}

/// # Errors
/// This mistake, unless it is right.
fn check(is_right: bool, mistake: &'static str) -> anyhow::Result<()> {
    ensure!(is_right, mistake);
    Ok(())
}

/// Where the PIN is: in a file, or in a credential that the service manager shows to this service alone.
fn pin_file(folder: &Path, file: Option<PathBuf>, credential: Option<String>) -> anyhow::Result<PathBuf> {
    match (file, credential) {
        (Some(file), None) => Ok(folder.join(file)),
        (None, Some(name)) => {
            let plain = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
            ensure!(plain, "pin_credential is a name without slashes, not {name:?}");
            let folder = std::env::var_os("CREDENTIALS_DIRECTORY")
                .with_context(|| format!("pin_credential {name:?}: the service manager gives no credentials here"))?;
            Ok(Path::new(&folder).join(name))
        }
        _ => bail!("a token has either pin_file or pin_credential"),
    }
}
