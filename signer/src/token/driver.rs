//! Drives one token: keeps a worker process alive, takes jobs for it, and has the next one ready just before the token has signed
//! (see [`super::lead`]).

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use shared::signing::TokenState;
use tokio::{task::JoinHandle, time::sleep};

use super::{
    choice::Others,
    frame::Login,
    lead::Lead,
    pin::{PinFile, PinMark},
    start::{Claim, GAP, Starts},
    view::TokenView,
    worker_process::{WorkerFailed, WorkerProcess},
};
use crate::{
    clock,
    queue::Place,
    settings::TokenSettings,
    work::{Work, Works},
};

/// Between two starts of a worker that fails: doubled from the first to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// Jobs that are out for one token: one that it signs, and one behind that, whose intent is being written or that waits in the
/// worker's pipe already; for one that is faster than a disk, as many more as it signs in this time.
const AHEAD: usize = 2;
const AHEAD_TIME: Duration = Duration::from_millis(5);
/// Never more than so many: what is out is no longer overtaken.
const MOST_AHEAD: usize = 24;

/// What operators are told of a key that wants its PIN for each signature.
pub(crate) const EACH_TIME: &str = "the key wants its PIN for each signature: slower, and the PIN stays in the worker's memory; a key with \
     the PIN policy \"once\" needs neither (of PIV the slots 9a, 9d and 82 to 95, not 9c)";

/// How often the file of a rejected PIN is looked at.
const PIN_FILE_CHECKS: Duration = Duration::from_secs(2);

/// One token and what it works for.
#[derive(Debug)]
pub(crate) struct Driver {
    /// Which issuer, by position.
    pub(crate) issuer: usize,
    /// The issuer's name and the token's position, for logs and file names.
    pub(crate) name: String,
    pub(crate) settings: TokenSettings,
    pub(crate) view: Arc<TokenView>,
    pub(crate) works: Arc<Works>,
    /// Where marks about PINs are.
    pub(crate) state: PathBuf,
    pub(crate) starts: Arc<Starts>,
    /// Serial numbers that the uris of the issuer's other tokens name, when this one's names none.
    pub(crate) named: Vec<String>,
}

/// How the time of a worker ended.
enum End {
    /// The queue is closed.
    Closed,
    /// The worker is gone.
    Failed(WorkerFailed),
}

/// What a worker was given and has not answered, oldest first.
#[derive(Default)]
struct Given {
    jobs: VecDeque<(Place, Work)>,
    /// Since when the oldest is the token's.
    since: Option<Instant>,
    /// What a signature takes, the last ones counting most; nothing before the first.
    typical: Option<Duration>,
}

/// A job and its place, ready for the token, and how long that took; nothing when it has been answered already.
type Prepared = Option<(Place, Work, Duration)>;

/// Jobs that are being prepared, in the order in which they were taken.
type Preparing = VecDeque<JoinHandle<Prepared>>;

impl Driver {
    /// Runs until the queue closes.
    pub(crate) async fn run(self) {
        let mut backoff = Duration::ZERO;
        loop {
            self.view.set(TokenState::Starting, "");
            let started = tokio::select! {
                started = self.starts.in_turn(&self.settings.module, self.start()) => started,
                () = self.works.queue.closed() => return,
            };
            let failed = match started {
                // The claim ends with the worker.
                Ok((mut worker, _claim)) => {
                    backoff = Duration::ZERO;
                    match self.serve(&mut worker).await {
                        End::Closed => return worker.stop().await,
                        End::Failed(failed) => failed,
                    }
                }
                Err(failed) => failed,
            };
            if let WorkerFailed::PinRejected(reason) = failed {
                let rejected = PinFile::of(&self.settings.pin_file).ok();
                tracing::error!(
                    token = self.name,
                    reason,
                    "the PIN is rejected; the token stays unused until an operator acts"
                );
                self.view.set(TokenState::PinRejected, &reason);
                tokio::select! {
                    () = self.pin_file_other_than(rejected) => continue,
                    () = self.works.queue.closed() => return,
                }
            }
            self.works.metrics.worker_failed(&self.name);
            self.view.lost(matches!(failed, WorkerFailed::Hung(_)));
            tracing::warn!(token = self.name, reason = %failed, backoff_ms = backoff.as_millis(), "the token failed");
            if !backoff.is_zero() {
                self.view.set(TokenState::Failed, &failed.to_string());
            }
            tokio::select! {
                () = sleep(backoff) => {}
                () = self.works.queue.closed() => return,
            }
            backoff = backoff.saturating_mul(2).clamp(BACKOFF.0, BACKOFF.1);
        }
    }

    /// Waits until an operator has changed the PIN file, or has said that it is right. That the PIN in it is another is for the
    /// worker to see.
    async fn pin_file_other_than(&self, rejected: Option<PinFile>) {
        let mark = PinMark::new(&self.state, &self.name);
        let is_right = || PinFile::of(&self.settings.pin_file).is_ok_and(|file| mark.has_accepted(&file));
        while PinFile::of(&self.settings.pin_file).ok() == rejected && !is_right() {
            sleep(PIN_FILE_CHECKS).await;
        }
        tracing::info!(token = self.name, "the PIN file has changed, or an operator says that it is right");
    }

    async fn start(&self) -> Result<(WorkerProcess, Claim), WorkerFailed> {
        let login =
            Login::Yes { pin_file: self.settings.pin_file.clone(), state: self.state.clone(), mark: self.name.clone() };
        let Some(issuer) = self.works.issuers.get(self.issuer) else {
            return Err(WorkerFailed::Gone("there is no such issuer".into()));
        };
        let issuer = issuer.certificate().der();
        let module = &self.settings.module;
        let held = self.starts.held(self.issuer, module);
        let others = Others { held, named: self.named.clone(), ..Others::default() };
        let (worker, token) = WorkerProcess::start(&self.settings, issuer, others, login, &self.name).await?;
        let Some(claim) = self.starts.claim(self.issuer, module, token.id) else {
            return Err(WorkerFailed::Gone(format!("another worker was faster with {}", token.name)));
        };
        tracing::info!(token = self.name, pid = worker.pid(), "ready: {}", token.name);
        if token.each_time {
            tracing::warn!(token = self.name, "{EACH_TIME}");
        }
        self.view.found(&token.name, if token.each_time { EACH_TIME } else { "" });
        Ok((worker, claim))
    }

    /// Signs job after job, until the queue closes or the worker fails. Nothing is lost in either case.
    async fn serve(&self, worker: &mut WorkerProcess) -> End {
        let mut given = Given::default();
        let mut preparing = Preparing::new();
        let end = self.turn(worker, &mut given, &mut preparing).await;
        let mut jobs = given.jobs.into_iter();
        if let Some((place, job)) = jobs.next() {
            // The first could be the one that its worker has died of.
            self.works.try_again(place, job);
        }
        jobs.for_each(|(place, job)| self.works.queue.put_back(place, job));
        for preparing in preparing {
            if let Ok(Some((place, job, _))) = preparing.await {
                self.works.queue.put_back(place, job);
            }
        }
        end
    }

    async fn turn(&self, worker: &mut WorkerProcess, given: &mut Given, preparing: &mut Preparing) -> End {
        let (deadline, mut closed, mut lead) = (worker.deadline(), false, Lead::default());
        loop {
            let out = given.jobs.len().saturating_add(preparing.len());
            if closed && out == 0 {
                return End::Closed;
            }
            tokio::select! {
                signature = worker.signature() => match signature {
                    Ok(signature) => self.signed(given, signature),
                    Err(WorkerFailed::Refused(reason)) => {
                        self.view.refused();
                        if let Some((_, job)) = given.next() {
                            job.fail(&reason);
                        }
                    }
                    Err(failed) => return End::Failed(failed),
                },
                () = given.late(deadline) => {
                    return End::Failed(WorkerFailed::Hung(format!("no answer within {} ms", deadline.as_millis())));
                },
                prepared = finished(preparing) => {
                    // A job that could not be prepared has been answered already.
                    if let Some((place, job, took)) = prepared {
                        lead.took(took);
                        let handed = worker.give(&job.sign()).await;
                        given.push(place, job);
                        if let Err(failed) = handed {
                            return End::Failed(failed);
                        }
                    }
                },
                taken = self.take(out > 0, self.pause(given, lead)), if !closed && self.has_room(given, preparing) => match taken {
                    Some(taken) => preparing.push_back(taken),
                    // What is out is still signed.
                    None => closed = true,
                },
            }
        }
    }

    fn signed(&self, given: &mut Given, signature: Vec<u8>) {
        let duration = given.took();
        let Some((_, job)) = given.next() else {
            return tracing::error!(token = self.name, "a signature that nobody asked for");
        };
        self.view.signed(duration);
        let works = Arc::clone(&self.works);
        self.works.running.spawn(async move { works.finish(job, signature).await });
    }

    /// How long the next job stays where a renewal can still go before it.
    fn pause(&self, given: &Given, lead: Lead) -> Duration {
        given.since.map_or(Duration::ZERO, |since| lead.pause(self.view.quick(), since.elapsed()))
    }

    /// Takes a job after this pause and lets its intent be written. Cancel-safe: what was taken is in the task that is given back.
    async fn take(&self, busy: bool, pause: Duration) -> Option<JoinHandle<Prepared>> {
        if !pause.is_zero() {
            sleep(pause).await;
        }
        let (place, job) = self.works.queue.take(self.issuer, busy, clock::now).await?;
        let (works, issuer) = (Arc::clone(&self.works), self.issuer);
        let gap = self.starts.underway(&self.settings.module).then_some(GAP);
        Some(tokio::spawn(async move {
            let began = clock::instant();
            let prepared = works.prepare(job, issuer).await?;
            let took = began.elapsed();
            sleep(gap.unwrap_or_default()).await;
            Some((place, prepared, took))
        }))
    }

    /// Whether another job may be out: while another token starts, none behind the one that is signed, so that there is a gap.
    fn has_room(&self, given: &Given, preparing: &Preparing) -> bool {
        let most = if self.starts.underway(&self.settings.module) { 1 } else { given.most() };
        let out = given.jobs.len().saturating_add(preparing.len());
        // Of a slow token the next one is taken as late as can be, so only behind one that it has.
        out < most && (preparing.is_empty() || most > AHEAD)
    }
}

impl Given {
    fn push(&mut self, place: Place, job: Work) {
        if self.jobs.is_empty() {
            self.since = Some(clock::instant());
        }
        self.jobs.push_back((place, job));
    }

    /// Takes out the oldest. From now on the token is with the one behind it.
    fn next(&mut self) -> Option<(Place, Work)> {
        let oldest = self.jobs.pop_front();
        self.since = (!self.jobs.is_empty()).then(clock::instant);
        oldest
    }

    /// How long the oldest was with the token.
    fn took(&mut self) -> Duration {
        let took = self.since.map(|since| since.elapsed()).unwrap_or_default();
        let weighed = |typical: Duration| typical.saturating_mul(7).saturating_add(took).checked_div(8);
        self.typical = Some(self.typical.and_then(weighed).unwrap_or(took));
        took
    }

    /// How many jobs may be out.
    fn most(&self) -> usize {
        let fit = self.typical.and_then(|typical| AHEAD_TIME.as_micros().checked_div(typical.as_micros()));
        let more = fit.and_then(|fit| usize::try_from(fit).ok()).unwrap_or_default();
        AHEAD.saturating_add(more).min(MOST_AHEAD)
    }

    /// Ends when the oldest has been with the token for too long; never when there is none.
    async fn late(&self, deadline: Duration) {
        match self.since {
            Some(since) => sleep(deadline.saturating_sub(since.elapsed())).await,
            None => std::future::pending().await,
        }
    }
}

/// Waits for the job that was taken first of those that are being prepared, and takes it out; for ever when there is none. Cancel-safe.
async fn finished(preparing: &mut Preparing) -> Prepared {
    let Some(task) = preparing.front_mut() else { return std::future::pending().await };
    let prepared = task.await;
    preparing.pop_front();
    // A task that has panicked has dropped its job, and with it its ticket: that one was answered too.
    prepared.ok().flatten()
}
