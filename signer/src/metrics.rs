//! What is counted, for Prometheus. Names of clients, orders or certificates are never labels: those are in the log.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use shared::{
    signing::{Refusal, TokenState},
    timestamp::Timestamp,
};

use crate::{expiry::Expiry, journal::Room, queue::Class, status::Overview, work::Works};

type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;

/// All metrics of the daemon.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    refusals: Family<Labels, Counter>,
    certificates: Counter,
    revocations: Counter,
    disowned: Counter,
    settled: Counter,
    leases_over: Counter,
    signed: Family<Labels, Counter>,
    remembered: Counter,
    crl_number: Gauges,
    crl_oldest: Gauges,
    crl_pending: Gauges,
    handshakes: Counter,
    rotations: Family<Labels, Counter>,
    worker_failures: Family<Labels, Counter>,
    ready: Gauges,
    seconds: Gauges,
    signatures: Gauges,
    queued: Gauges,
    journal: Gauge<f64, AtomicU64>,
    writable: Gauge<f64, AtomicU64>,
    expiries: Gauges,
    peers_broken: Gauges,
    peers_seen: Gauges,
}

impl Default for Metrics {
    /// All at zero.
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("colophon_signer"),
            refusals: Family::default(),
            certificates: Counter::default(),
            revocations: Counter::default(),
            disowned: Counter::default(),
            settled: Counter::default(),
            leases_over: Counter::default(),
            signed: Family::default(),
            remembered: Counter::default(),
            crl_number: Gauges::default(),
            crl_oldest: Gauges::default(),
            crl_pending: Gauges::default(),
            handshakes: Counter::default(),
            rotations: Family::default(),
            worker_failures: Family::default(),
            ready: Gauges::default(),
            seconds: Gauges::default(),
            signatures: Gauges::default(),
            queued: Gauges::default(),
            journal: Gauge::default(),
            writable: Gauge::default(),
            expiries: Gauges::default(),
            peers_broken: Gauges::default(),
            peers_seen: Gauges::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("refusals", "Requests refused, by reason", metrics.refusals.clone());
        registry.register("certificates", "Certificates signed and journaled", metrics.certificates.clone());
        registry.register("revocations", "Revocations journaled", metrics.revocations.clone());
        registry.register("disowned", "Revocations that no client asked for", metrics.disowned.clone());
        registry.register("settled", "Orders given up to other signers", metrics.settled.clone());
        registry.register(
            "leases_over",
            "Signatures dropped because their lease was over",
            metrics.leases_over.clone(),
        );
        registry.register("signatures", "Signatures that were journaled, by what they are of", metrics.signed.clone());
        registry.register("ocsp_remembered", "OCSP responses given again from memory", metrics.remembered.clone());
        registry.register("crl_number", "The highest number of a CRL, by issuer", metrics.crl_number.clone());
        registry.register(
            "crl_oldest_timestamp_seconds",
            "When the oldest of the newest CRLs was signed, by issuer",
            metrics.crl_oldest.clone(),
        );
        registry.register("crl_pending", "CRLs that a revocation waits for, by issuer", metrics.crl_pending.clone());
        registry.register("handshakes_refused", "TLS handshakes that failed", metrics.handshakes.clone());
        registry.register("rotations", "Readings of the rotated files, by outcome", metrics.rotations.clone());
        registry.register("worker_failures", "Workers lost or not started, by token", metrics.worker_failures.clone());
        registry.register("token_state", "1 for the state that the token is in", metrics.ready.clone());
        registry.register("token_signature_seconds", "Of the last signatures, by quantile", metrics.seconds.clone());
        registry.register("token_signatures", "Signatures since the start", metrics.signatures.clone());
        registry.register("queue_jobs", "Jobs that wait, by class", metrics.queued.clone());
        registry.register("journal_records", "Records in the journal", metrics.journal.clone());
        registry.register(
            "journal_writable",
            "1 while all records can be written, 0 when the disk is full or failing",
            metrics.writable.clone(),
        );
        registry.register(
            "expiry_timestamp_seconds",
            "Last valid second of what we depend on",
            metrics.expiries.clone(),
        );
        registry.register(
            "peer_journal_broken",
            "1 when a peer's journal lost records or has others",
            metrics.peers_broken.clone(),
        );
        registry.register(
            "peer_journal_seen_timestamp_seconds",
            "When a peer's journal was compared last",
            metrics.peers_seen.clone(),
        );
        metrics
    }
}

impl Metrics {
    /// A request was refused.
    pub(crate) fn refused(&self, reason: Refusal) {
        let name = serde_json::to_value(reason).ok();
        let name = name.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        self.refusals.get_or_create(&vec![("reason", name)]).inc();
    }

    /// A certificate is in the journal.
    pub(crate) fn signed(&self) {
        self.certificates.inc();
        self.signature("certificate");
    }

    /// An OCSP response is in the journal.
    pub(crate) fn response_signed(&self) {
        self.signature("ocsp");
    }

    /// A CRL is in the journal.
    pub(crate) fn crl_signed(&self) {
        self.signature("crl");
    }

    /// The certificate of an OCSP responder is in the journal.
    pub(crate) fn responder_signed(&self) {
        self.signature("responder");
    }

    /// An OCSP response was given again.
    pub(crate) fn remembered(&self) {
        self.remembered.inc();
    }

    fn signature(&self, kind: &str) {
        self.signed.get_or_create(&vec![("kind", kind.to_owned())]).inc();
    }

    /// A revocation is in the journal.
    pub(crate) fn revoked(&self) {
        self.revocations.inc();
    }

    /// A revocation that no client asked for is in the journal.
    pub(crate) fn disowned(&self) {
        self.disowned.inc();
    }

    /// An order was given up to another signer.
    pub(crate) fn settled(&self) {
        self.settled.inc();
    }

    /// A signature was dropped because its order may be another signer's.
    pub(crate) fn lease_over(&self) {
        self.leases_over.inc();
    }

    /// Somebody did not get through the handshake.
    pub(crate) fn handshake_refused(&self) {
        self.handshakes.inc();
    }

    /// The rotated files were read.
    pub(crate) fn rotated(&self, taken: bool) {
        let outcome = if taken { "taken" } else { "refused" };
        self.rotations.get_or_create(&vec![("outcome", outcome.to_owned())]).inc();
    }

    /// A worker was lost.
    pub(crate) fn worker_failed(&self, token: &str) {
        self.worker_failures.get_or_create(&vec![("token", token.to_owned())]).inc();
    }

    /// A peer's journal was compared: whether it lost records or has others.
    pub(crate) fn peer_compared(&self, peer: &str, at: Timestamp, broken: bool) {
        let labels = vec![("peer", peer.to_owned())];
        self.peers_seen.get_or_create(&labels).set(seconds(at));
        self.peers_broken.get_or_create(&labels).set(if broken { 1.0 } else { 0.0 });
    }

    /// What expires, as read last.
    pub(crate) fn expires(&self, all: &[Expiry]) {
        self.expiries.clear();
        for Expiry { what, not_after, .. } in all {
            let gauge = self.expiries.get_or_create(&vec![("what", what.clone())]);
            // Of several that are called the same the earliest counts.
            if gauge.get() == 0.0 || gauge.get() > seconds(*not_after) {
                gauge.set(seconds(*not_after));
            }
        }
    }

    /// Everything in the text format of OpenMetrics, with the present state of tokens, queue and journal.
    ///
    /// # Errors
    /// Never: text can be written to memory.
    pub(crate) fn text(&self, works: &Works) -> Result<String, std::fmt::Error> {
        for issuer in &works.issuers {
            let status = issuer.status();
            for (number, token) in status.tokens.iter().enumerate() {
                let labels = |more: Option<(&'static str, &str)>| {
                    let mut labels = vec![("token", format!("{}-{number}", status.name))];
                    labels.extend(more.map(|(name, value)| (name, value.to_owned())));
                    labels
                };
                for (name, state) in STATES {
                    let gauge = self.ready.get_or_create(&labels(Some(("state", name))));
                    gauge.set(if token.state == state { 1.0 } else { 0.0 });
                }
                for (quantile, milliseconds) in [("0.5", token.median_ms), ("0.95", token.tail_ms)] {
                    if let Some(milliseconds) = milliseconds {
                        let gauge = self.seconds.get_or_create(&labels(Some(("quantile", quantile))));
                        gauge.set(float(milliseconds) / 1000.0);
                    }
                }
                self.signatures.get_or_create(&labels(None)).set(float(token.signatures));
            }
        }
        for class in Class::ALL {
            let jobs = u64::try_from(works.queue.len_of(class)).unwrap_or(u64::MAX);
            self.queued.get_or_create(&vec![("class", class.name().to_owned())]).set(float(jobs));
        }
        for Overview { issuer, number, oldest, pending } in works.desk.crls.overviews() {
            let name = works.issuers.iter().find(|ours| ours.id() == issuer).map_or("", |issuer| issuer.name());
            let labels = vec![("issuer", name.to_owned())];
            self.crl_number.get_or_create(&labels).set(float(number));
            self.crl_oldest.get_or_create(&labels).set(seconds(oldest));
            self.crl_pending.get_or_create(&labels).set(float(pending));
        }
        self.journal.set(float(works.journal.head().length));
        self.writable.set(if works.journal.room() == Room::Free { 1.0 } else { 0.0 });
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

const STATES: [(&str, TokenState); 4] = [
    ("starting", TokenState::Starting),
    ("ready", TokenState::Ready),
    ("failed", TokenState::Failed),
    ("pin-rejected", TokenState::PinRejected),
];

fn seconds(timestamp: Timestamp) -> f64 {
    float(timestamp.seconds())
}

/// Exact below 2^53, which counts and times stay below.
#[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
fn float(number: u64) -> f64 {
    number as f64
}
