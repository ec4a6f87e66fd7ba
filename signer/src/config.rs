//! The configuration as an operator writes it: TOML, in which every unknown key is an error that names its place. Turned into
//! [`crate::settings::Settings`] at start; nothing else looks at it.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Deserializer, Serialize};
use shared::{
    pointers::StatusHost,
    profile::{ProfileConfig, ProfileName},
};

use crate::{
    budget::BudgetConfig,
    policy::{ClusterConfig, Key},
};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignerConfig {
    /// The folder of the journal and of the marks about PINs.
    pub(crate) state: PathBuf,
    pub(crate) listen: ListenConfig,
    #[serde(default)]
    pub(crate) limits: LimitsConfig,
    #[serde(default)]
    pub(crate) journal: JournalConfig,
    /// Metrics, health and readiness; nobody can ask when it is left out.
    #[serde(default)]
    pub(crate) operations: Option<OperationsConfig>,
    /// How the status of certificates is told; nothing is when it is left out.
    #[serde(default)]
    pub(crate) status: Option<StatusConfig>,
    /// Who may call.
    pub(crate) edge: Vec<EdgeConfig>,
    /// The other signers, whose journals this one watches.
    #[serde(default)]
    pub(crate) peer: Vec<PeerConfig>,
    /// Accounts with an external account binding; none when it is left out.
    #[serde(default)]
    pub(crate) grants: Option<GrantsConfig>,
    /// Whose ServiceAccount tokens prove names.
    #[serde(default)]
    pub(crate) cluster: Vec<ClusterConfig>,
    /// Whose keys sign.
    pub(crate) issuer: Vec<IssuerConfig>,
    /// What certificates look like.
    pub(crate) profile: Vec<ProfileConfig>,
    /// Who may have which names.
    pub(crate) scope: Vec<ScopeConfig>,
}

/// Where edges call, and how both sides know each other.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListenConfig {
    #[serde(deserialize_with = "address")]
    pub(crate) address: SocketAddr,
    /// PEM chain, our certificate first.
    pub(crate) certificate: PathBuf,
    /// PEM, PKCS#8.
    pub(crate) key: PathBuf,
    /// PEM: the roots that client certificates chain to.
    pub(crate) client_roots: PathBuf,
}

/// How the journal is kept.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct JournalConfig {
    /// A segment that has so many bytes gets no more records: the next ones go into a new file.
    pub(crate) segment_bytes: u64,
    /// Bytes on the disk of the state folder that are kept for revocations when it is full.
    pub(crate) reserve_bytes: u64,
}

/// Where an operator's machines ask how it goes, over plain HTTP.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OperationsConfig {
    #[serde(deserialize_with = "address")]
    pub(crate) address: SocketAddr,
}

/// How the status of certificates is told.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatusConfig {
    /// What certificates point to: `http://host[:port]`.
    pub(crate) host: StatusHost,
    /// Seconds that an OCSP response is good.
    #[serde(default = "default_ocsp_validity")]
    pub(crate) ocsp_validity_seconds: u64,
    /// OCSP responses that are kept in memory.
    #[serde(default = "default_ocsp_memory")]
    pub(crate) ocsp_memory: usize,
    /// Parts that the CRL of each issuer has.
    #[serde(default = "default_crl_shards")]
    pub(crate) crl_shards: u8,
    /// True: a CRL of all certificates of an issuer, too.
    #[serde(default)]
    pub(crate) complete_crl: bool,
    /// Seconds that a CRL is good.
    #[serde(default = "default_crl_validity")]
    pub(crate) crl_validity_seconds: u64,
    /// Seconds between two CRLs when nothing is revoked.
    #[serde(default = "default_crl_interval")]
    pub(crate) crl_interval_seconds: u64,
    /// Seconds from a revocation to the next CRL.
    #[serde(default = "default_crl_delay")]
    pub(crate) crl_delay_seconds: u64,
}

/// What bounds the work that strangers and edges can cause.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LimitsConfig {
    /// Bytes of a request's body.
    pub(crate) request_bytes: usize,
    /// Connections of authenticated peers at one time.
    pub(crate) connections: usize,
    /// Of these, connections of one client certificate's names; half of all when it is left out.
    pub(crate) connections_per_identity: Option<usize>,
    /// Jobs that wait for tokens, all issuers together.
    pub(crate) queue: usize,
    /// Of these, certificates for one edge; where it is left out all of them, and half where there are several edges.
    pub(crate) queue_per_edge: Option<usize>,
    /// Connections at one time whose peer is not authenticated yet. They take none of `connections`.
    pub(crate) handshakes: usize,
    /// Of these, connections from one address (of IPv6: from one network); a quarter of all when it is left out.
    pub(crate) handshakes_per_address: Option<usize>,
    /// Bits of the IPv6 networks that count as one address.
    pub(crate) ipv6_prefix: u32,
    /// Of these, certificates for one account; half of `queue_per_edge` when it is left out.
    pub(crate) queue_per_account: Option<usize>,
    /// Of `queue` and of `queue_per_edge`, places for renewals alone; an eighth when it is left out.
    pub(crate) queue_for_renewals: Option<usize>,
    /// Milliseconds that a handshake may take.
    pub(crate) handshake_ms: u64,
    /// Requests of one client certificate's names that are answered at one time, over all of its connections.
    pub(crate) requests_per_identity: usize,
    /// Of these, requests whose bodies are read at one time; each has at most `request_bytes`.
    pub(crate) bodies_per_identity: usize,
    /// Bytes of answers of one client certificate's names that wait to be sent at one time. A longer answer is sent alone.
    pub(crate) answer_bytes_per_identity: u32,
    /// Milliseconds within which a body must have arrived.
    pub(crate) body_ms: u64,
    /// Milliseconds without a request after which a connection is closed.
    pub(crate) idle_ms: u64,
    /// Seconds after which a job is dropped that nobody has asked for again, although it was time to.
    pub(crate) forget_seconds: u64,
    /// Milliseconds that an answer waits for its certificate before it says `queued`.
    pub(crate) answer_ms: u64,
    /// Milliseconds that running jobs get when the daemon is told to stop.
    pub(crate) shutdown_ms: u64,
}

/// One edge deployment.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EdgeConfig {
    /// A DNS name in the client certificate.
    pub(crate) name: String,
    /// The base URLs whose orders it may speak for.
    pub(crate) base_urls: Vec<String>,
    /// Certificates that it may disown in any 86400 seconds; 100 when it is left out, none when it is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) disowned_per_day: Option<u32>,
    /// Journal records that it can have written in any 86400 seconds without a signature of a token, by `settle` and `bind` together; 20000
    /// when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) records_per_day: Option<u32>,
}

/// Another signer. It may ask this one for its journal's head, and for nothing else.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PeerConfig {
    /// What it is called in the log, in metrics and in the state's folder.
    pub(crate) name: String,
    /// Where it listens: `https://host[:port]`, no trailing slash.
    pub(crate) url: String,
    /// A DNS name in the client certificate that it calls with.
    pub(crate) identity: String,
    /// PEM: the client certificate that it is called with; the listener's own where it is left out.
    #[serde(default)]
    pub(crate) certificate: Option<PathBuf>,
    /// PEM, PKCS#8: its key.
    #[serde(default)]
    pub(crate) key: Option<PathBuf>,
    /// PEM: the roots that its certificate chains to; the roots of clients where it is left out.
    #[serde(default)]
    pub(crate) roots: Option<PathBuf>,
}

/// How accounts with an external account binding get their rights.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrantsConfig {
    /// Files with the secrets that grants are authenticated by. The first makes them, all verify.
    pub(crate) keys: Vec<PathBuf>,
    /// How long a grant lives without being renewed.
    #[serde(default = "default_grant_lifetime")]
    pub(crate) lifetime_seconds: u64,
    /// The file of the bindings, which `signer eab` writes.
    #[serde(default = "default_bindings")]
    pub(crate) bindings: PathBuf,
}

/// One issuing certificate and the tokens that hold its key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IssuerConfig {
    pub(crate) name: String,
    /// PEM: the issuer's certificate, then those above it.
    pub(crate) chain: PathBuf,
    /// True: it signs no more certificates, only the status of those that there are.
    #[serde(default)]
    pub(crate) drained: bool,
    /// True: OCSP responses are signed in the signer's memory, with a key that the issuer certifies.
    #[serde(default)]
    pub(crate) delegated_responder: bool,
    /// Seconds that the certificate of such a key lives.
    #[serde(default = "default_responder_validity")]
    pub(crate) responder_validity_seconds: u64,
    pub(crate) token: Vec<TokenConfig>,
}

/// One token.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenConfig {
    /// The PKCS#11 module.
    pub(crate) module: PathBuf,
    /// A hint for where the key is (RFC 7512).
    pub(crate) uri: String,
    /// One of these two: a file, or the name of a credential of the service manager (`LoadCredentialEncrypted=`).
    #[serde(default)]
    pub(crate) pin_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) pin_credential: Option<String>,
    /// Milliseconds after which a call counts as hung.
    #[serde(default = "default_deadline")]
    pub(crate) deadline_ms: u64,
    /// Parts of the names of the readers that OpenSC is not to look at for this token: those of the others.
    #[serde(default)]
    pub(crate) ignored_readers: Option<Vec<String>>,
    /// The whole environment of the worker process.
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    /// Milliseconds that a signature takes at least.
    #[cfg(feature = "slow-token")]
    #[serde(default)]
    pub(crate) latency_ms: u64,
}

/// Which names accounts may have, how proven, in which profiles.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScopeConfig {
    pub(crate) name: String,
    /// True when accounts without an external account binding may use it.
    pub(crate) open: bool,
    /// Names equal to one of these or below it.
    pub(crate) dns_suffixes: Vec<String>,
    /// True: wildcards of such names too.
    pub(crate) wildcards: bool,
    /// True: every name of one label too (`db1`). False: none, not even a suffix of one label itself.
    #[serde(default)]
    pub(crate) single_labels: bool,
    /// Addresses in one of these.
    #[serde(default)]
    pub(crate) ip_networks: Vec<String>,
    /// Challenge types that count as proof.
    pub(crate) methods: Vec<String>,
    pub(crate) profiles: Vec<ProfileName>,
    /// Seconds that a proof counts; 30 days when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) proof_seconds: Option<u64>,
    /// Kinds of keys; all when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keys: Option<Vec<Key>>,
    /// Edges that may ask for it; all when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) edges: Option<Vec<String>>,
    /// Clusters whose tokens prove names by kubernetes-01; without them that method proves nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) clusters: Vec<String>,
    /// True: what the edge says of kubernetes-01 is enough, and no token is looked at.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) kubernetes_trusts_edge: bool,
    /// How many certificates there may be.
    #[serde(default)]
    pub(crate) budget: BudgetConfig,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            request_bytes: 65_536,
            connections: 256,
            connections_per_identity: None,
            queue: 1000,
            queue_per_edge: None,
            queue_per_account: None,
            queue_for_renewals: None,
            forget_seconds: 120,
            handshakes: 1024,
            handshakes_per_address: None,
            ipv6_prefix: 56,
            handshake_ms: 3000,
            requests_per_identity: 4096,
            bodies_per_identity: 256,
            answer_bytes_per_identity: 33_554_432,
            body_ms: 5000,
            idle_ms: 60_000,
            answer_ms: 10_000,
            shutdown_ms: 10_000,
        }
    }
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self { segment_bytes: crate::journal::SEGMENT_BYTES, reserve_bytes: crate::journal::RESERVE_BYTES }
    }
}

/// An address to listen on. A name is none: it could lead to several, and to others at the next start.
fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        serde::de::Error::custom(format!(
            "{text:?} is not an IP address and a port, such as 127.0.0.1:9443, 0.0.0.0:9443 (all addresses) or [::1]:9443; names such as \
             localhost are not looked up"
        ))
    })
}

const fn default_deadline() -> u64 {
    10_000
}

const fn default_responder_validity() -> u64 {
    86_400
}

const fn default_ocsp_validity() -> u64 {
    345_600
}

const fn default_ocsp_memory() -> usize {
    100_000
}

const fn default_crl_shards() -> u8 {
    8
}

const fn default_crl_validity() -> u64 {
    604_800
}

const fn default_crl_interval() -> u64 {
    21_600
}

const fn default_crl_delay() -> u64 {
    10
}

const fn default_grant_lifetime() -> u64 {
    30 * 86_400
}

fn default_bindings() -> PathBuf {
    "bindings.json".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_an_error_that_names_its_place() {
        let text = "state = \"s\"\n[listen]\nadress = \"127.0.0.1:1\"\n";
        let error = toml::from_str::<SignerConfig>(text).unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("adress") && error.contains("address"), "{error}");
    }

    #[test]
    fn the_unit_of_systemd_has_room_for_the_limits_and_none_for_swap() {
        let unit = include_str!("../systemd/colophon-signer.service");
        let value = |name: &str| unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap();
        let (limits, mib) = (LimitsConfig::default(), 1 << 20);
        // A file for each connection, and as many again for everything else.
        let files: usize = value("LimitNOFILE").parse().unwrap();
        assert!(files >= 2 * (limits.handshakes + limits.connections), "{files}");
        let memory: usize = value("MemoryMax").strip_suffix('G').unwrap().parse::<usize>().unwrap() << 30;
        let identity = limits.bodies_per_identity * limits.request_bytes + limits.answer_bytes_per_identity as usize;
        assert!(memory >= 4 * identity + 512 * mib, "{identity} bytes of an identity");
        assert_eq!(value("MemorySwapMax"), "0");
        assert_eq!(value("LimitCORE"), "0");
    }

    #[test]
    fn an_address_is_no_name() {
        let parse = |address: &str| toml::from_str::<OperationsConfig>(&format!("address = {address:?}"));
        assert_eq!(parse("[::1]:9443").unwrap().address.port(), 9443);
        for text in ["localhost:9443", "127.0.0.1", ":9443", "9443", "127.0.0.1:99999"] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")) && error.contains("127.0.0.1:9443"), "{error}");
        }
    }

    #[test]
    fn readers_to_be_ignored_are_a_list_under_their_own_name() {
        let token = |more: &str| {
            let text = format!("module = \"m\"\nuri = \"pkcs11:\"\npin_file = \"p\"\n{more}\n");
            toml::from_str::<TokenConfig>(&text).map(|token| token.ignored_readers).map_err(|error| error.to_string())
        };
        assert_eq!(token(""), Ok(None));
        assert_eq!(token("ignored_readers = [\"Yubico\"]"), Ok(Some(vec!["Yubico".into()])));
        assert!(token("ignored_readers = \"Yubico\"").is_err());
        assert!(token("ignore_readers = []").unwrap_err().contains("ignored_readers"));
    }

    #[test]
    #[cfg(not(feature = "slow-token"))]
    fn a_token_cannot_be_slowed() {
        let text = "module = \"m\"\nuri = \"pkcs11:\"\npin_file = \"p\"\nlatency_ms = 250\n";
        assert!(toml::from_str::<TokenConfig>(text).unwrap_err().to_string().contains("latency_ms"));
    }
}
