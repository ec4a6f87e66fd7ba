//! `signer serve`: puts the rooms together, says `ready`, and takes them apart again in order when it is told to stop.

use std::{io::Write, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use sd_notify::NotifyState;
use shared::{jwk::Thumbprint, signing::TokenState};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{Notify, Semaphore, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_util::task::TaskTracker;

use crate::{
    Tokens,
    bound::Bound,
    budget::Replay,
    client_roots, clock,
    exit::{Final, OperatorMustAct},
    expiry, files,
    handshakes::Handshakes,
    issuance::{Issuance, Ledger, Notes, QueueShares},
    issuer::Issuer,
    journal::{Ahead, Event, Journal, Record, RevokedBy, checkpoint},
    listen::{Listener, LogLimit},
    metrics::Metrics,
    operations::{self, Operations},
    peer,
    policy::Policy,
    queue::Queue,
    rehearsal::Rehearsal,
    rotation::{Present, Rotation},
    service::Service,
    settings::Settings,
    share::{Admissions, Shares},
    status::{Desk, schedule::Scheduler},
    stops,
    token::{driver::Driver, rhythm::Rhythm, start::Starts, view::TokenView},
    work::Works,
};

/// How long `ready` waits for tokens that do not report.
const REPORTS: Duration = Duration::from_secs(10);

/// Runs the daemon until a signal, or until no token is left that an operator need not act on.
pub(crate) fn run(file: &Path, tokens: Tokens) -> anyhow::Result<()> {
    let settings = Settings::load(file, tokens).operator_must_act()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let result = runtime.block_on(serve(file, tokens, settings));
    // Nothing that still runs may hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(500));
    result
}

async fn serve(file: &Path, tokens: Tokens, settings: Settings) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let tls = client_roots::server_config(&settings).operator_must_act()?;
    for mismatch in settings.mismatches() {
        tracing::warn!(%mismatch, "the policy gives what does not verify under an issuer's chain");
    }
    let metrics = Arc::new(Metrics::default());
    let (rotation, Present { tls, policy }) =
        Rotation::new(file.to_owned(), tokens, &settings, tls, Arc::clone(&metrics))?;
    metrics.expires(&expiry::warn(&settings, clock::now()));
    let ledger = Arc::new(Ledger::default());
    let bound = Arc::new(Bound::default());
    bound.load(&settings.policy).operator_must_act()?;
    let started = clock::steady();
    let [mut spendings, mut disowned, mut records] = [Replay::new(started), Replay::new(started), Replay::new(started)];
    let mut ahead = Ahead::new(started);
    let replay = |record: Record, location| {
        bound.replay(&record);
        ahead.see(&record);
        [&mut spendings, &mut disowned, &mut records].into_iter().for_each(|replay| replay.see(record.at));
        match &record.event {
            Event::Intent(intent) => match <[u8; 32]>::try_from(intent.account.0.as_slice()) {
                Ok(account) => spendings.spend_for(&intent.scope, &Thumbprint(account), record.at),
                Err(_) => spendings.spend(&intent.scope, record.at),
            },
            Event::Revoked(revoked) if revoked.right == RevokedBy::Disowned => {
                disowned.spend(&revoked.edge, record.at);
            }
            Event::Settled(settled) => records.spend(&settled.edge, record.at),
            Event::Bound(bound) => records.spend(&bound.edge, record.at),
            _ => {}
        }
        ledger.replay(&record, location)
    };
    let journal = Journal::open_with(&settings.state, settings.segment_bytes, settings.reserve_bytes, replay)?;
    if let Err(error) = files::sweep(&settings.state) {
        tracing::warn!(%error, "files that were left half written in the state folder cannot be removed");
    }
    ahead.report();
    ledger.forget(clock::now());
    let checkpoints = tokio::spawn(checkpoint::keep(journal.clone()));
    journal.name_policy(policy.borrow().hash());
    let (stops, follow_stops) = stops::follow(&settings.state, journal.clone());
    let following = [
        tokio::spawn(Arc::clone(&bound).follow(policy.clone())),
        tokio::spawn(follow_stops),
        tokio::spawn(name_policies(journal.clone(), policy.clone())),
    ];
    let socket = listen(settings.listen.address).await?;
    let address = socket.local_addr().context("the listening socket has no address")?;

    let changed = Arc::new(Notify::new());
    let views: Vec<Vec<_>> = settings
        .issuers
        .iter()
        .map(|issuer| issuer.tokens.iter().map(|_| Arc::new(TokenView::new(Arc::clone(&changed)))).collect())
        .collect();
    let lives = settings.issuers.iter().enumerate();
    let lives = lives.filter_map(|(position, issuer)| Some((position, issuer.responder?.validity)));
    let desk = Desk::open(settings.status.clone(), &settings.state, &ledger, &journal)?.with_delegates(lives);
    let issuers = settings.issuers.iter().zip(&views);
    let works = Arc::new(Works {
        issuers: issuers
            .map(|(issuer, views)| {
                Issuer::new(issuer.name.clone(), issuer.chain.clone(), views.clone())
                    .with_pointers(settings.status.as_ref().map(|status| (status.host.clone(), status.crl.shards)))
                    .drained(issuer.is_drained)
            })
            .collect(),
        queue: Queue::new(settings.limits.queue, views.iter().map(Vec::len).sum()),
        journal,
        ledger: Arc::clone(&ledger),
        bound: Arc::clone(&bound),
        metrics,
        desk,
        rehearsal: Rehearsal::new()?,
        spendings: Arc::new(spendings.end()),
        disowned: Arc::new(disowned.end()),
        records: Arc::new(records.end()),
        stops,
        policy: policy.clone(),
        running: TaskTracker::new(),
    });
    let mut drivers = start_drivers(&settings, &views, &works);
    let views: Vec<_> = views.into_iter().flatten().collect();

    let scheduler = Scheduler { works: Arc::clone(&works), policy: policy.clone() };
    scheduler.look(clock::now());
    let scheduling = tokio::spawn(scheduler.run());
    let (stop, stopped) = watch::channel(false);
    let issuance = Issuance {
        policy,
        ledger,
        works: Arc::clone(&works),
        answer: settings.limits.answer,
        forget: settings.limits.forget,
        shares: QueueShares {
            queue: settings.limits.queue,
            edges: Shares::new(settings.limits.queue_per_edge),
            accounts: Shares::new(settings.limits.queue_per_account),
            for_renewals: settings.limits.queue_for_renewals,
        },
        notes: Notes::default(),
        readers: Arc::default(),
    };
    let listener = Listener {
        socket,
        tls,
        service: Service {
            issuance: Arc::new(issuance),
            request_bytes: settings.limits.request_bytes,
            body: settings.limits.body,
            peers: settings.peers.iter().map(|peer| peer.identity.clone()).collect(),
        },
        handshakes: Handshakes::new(
            settings.limits.handshakes,
            settings.limits.handshakes_per_address,
            settings.limits.ipv6_prefix,
        ),
        handshake: settings.limits.handshake,
        connections: Arc::new(Semaphore::new(settings.limits.connections)),
        shares: Shares::new(settings.limits.connections_per_identity),
        admissions: Admissions::new(
            settings.limits.requests_per_identity,
            settings.limits.bodies_per_identity,
            settings.limits.answer_bytes_per_identity,
        ),
        idle: settings.limits.idle,
        log: LogLimit::default(),
    };
    let operations = match settings.operations {
        Some(address) => Some(tokio::spawn(Operations::bind(address, Arc::clone(&works)).await?.run())),
        None => None,
    };
    let (rotating, beating) = (tokio::spawn(rotation.run()), tokio::spawn(operations::watchdog()));
    let listening = tokio::spawn(listener.run(stopped));
    let _watches = watch_peers(&settings, &works);
    tracing::info!(%address, "listening");

    let announce_and_watch = async {
        let reported = wait_until(&changed, || views.iter().all(|view| view.state() != TokenState::Starting));
        if timeout(REPORTS, reported).await.is_err() {
            tracing::warn!("some tokens have not reported yet");
        }
        operations::tell(&[NotifyState::Ready]);
        writeln!(std::io::stdout(), "ready").context("cannot write to stdout")?;
        wait_until(&changed, || views.iter().all(|view| view.state() == TokenState::PinRejected)).await;
        Err(anyhow::Error::new(OperatorMustAct).context("every token has rejected its PIN"))
    };
    let result = tokio::select! {
        result = announce_and_watch => result,
        () = works.journal.broken() => Err(anyhow!("the journal cannot be written; the next start verifies what is on the disk")),
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };

    tracing::info!("stopping");
    operations::tell(&[NotifyState::Stopping]);
    rotating.abort();
    scheduling.abort();
    following.iter().for_each(tokio::task::JoinHandle::abort);
    let _ = stop.send(true);
    works.queue.close();
    let rest = async {
        while drivers.join_next().await.is_some() {}
        works.running.close();
        works.running.wait().await;
        if let Ok(connections) = listening.await {
            connections.wait().await;
        }
    };
    if timeout(settings.limits.shutdown, rest).await.is_err() {
        tracing::warn!("some connections or tokens did not end in time");
    }
    checkpoints.abort();
    works.journal.store_checkpoint();
    // Asked to the last.
    beating.abort();
    operations.inspect(tokio::task::JoinHandle::abort);
    result
}

/// Has the journal name each policy from when on it holds.
async fn name_policies(journal: Journal, mut policy: watch::Receiver<Arc<Policy>>) {
    while policy.changed().await.is_ok() {
        journal.name_policy(policy.borrow_and_update().hash());
    }
}

/// Takes the socket that the service manager has opened for us, or opens one of our own.
///
/// # Errors
/// When the service manager hands over more than one socket: a second one would accept connections that are never served.
async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let mut handed = listenfd::ListenFd::from_env();
    if handed.len() > 1 {
        let detail = format!(
            "the service manager hands over {} sockets, and one is served: leave one ListenStream= in the socket unit \
             (ListenStream=PORT takes IPv4 and IPv6)",
            handed.len()
        );
        return Err(anyhow::Error::msg(detail)).operator_must_act();
    }
    let handed = handed.take_tcp_listener(0).context("the socket from the service manager").operator_must_act()?;
    match handed {
        Some(socket) => {
            socket.set_nonblocking(true)?;
            TcpListener::from_std(socket).context("the socket from the service manager")
        }
        None => TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}")),
    }
}

fn start_drivers(settings: &Settings, views: &[Vec<Arc<TokenView>>], works: &Arc<Works>) -> JoinSet<()> {
    let (mut drivers, starts) = (JoinSet::new(), Arc::new(Starts::default()));
    let (rhythm, mut numbers) = (Arc::new(Rhythm::new(clock::instant())), 0..);
    for (issuer, (of_issuer, views)) in settings.issuers.iter().zip(views).enumerate() {
        for (token, (of_token, view)) in of_issuer.tokens.iter().zip(views).enumerate() {
            let driver = Driver {
                issuer,
                name: format!("{}-{token}", of_issuer.name),
                settings: of_token.clone(),
                view: Arc::clone(view),
                works: Arc::clone(works),
                state: settings.state.clone(),
                starts: Arc::clone(&starts),
                number: numbers.next().unwrap_or_default(),
                rhythm: Arc::clone(&rhythm),
                named: of_issuer.named_by_others(of_token),
            };
            drivers.spawn(driver.run());
        }
    }
    drivers
}

/// Watches all peers, until what is returned is dropped.
fn watch_peers(settings: &Settings, works: &Works) -> JoinSet<()> {
    let mut watches = JoinSet::new();
    for peer in &settings.peers {
        let (peer, state, metrics) = (peer.clone(), settings.state.clone(), Arc::clone(&works.metrics));
        watches.spawn(peer::Watch { peer, state, metrics }.run());
    }
    watches
}

/// Waits until a condition on the tokens' states holds.
async fn wait_until(changed: &Notify, holds: impl Fn() -> bool) {
    while !holds() {
        changed.notified().await;
    }
}
