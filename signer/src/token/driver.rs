//! Drives one token: keeps a worker process alive, takes jobs for it, and has the next one ready just before the token has signed
//! (see [`super::lead`]). Until the last moment a renewal that comes can still go before that one.

use std::{collections::VecDeque, path::PathBuf, sync::Arc, time::Duration};

use shared::signing::TokenState;
use tokio::{task::JoinHandle, time::sleep};

use super::{
    choice::Others,
    frame::Login,
    given::{AHEAD, Given, Ready},
    lead::Lead,
    pin::{PinFile, PinMark},
    rhythm::Rhythm,
    start::{Claim, GAP, Starts},
    view::TokenView,
    worker_process::{WorkerFailed, WorkerProcess},
};
use crate::{
    clock,
    queue::{By, Place},
    settings::TokenSettings,
    work::{Work, Works},
};

/// So many jobs for each token that signs must wait, before one of them waits so that they begin one after the other.
const MUCH: usize = 4;

/// Between two starts of a worker that fails: doubled from the first to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

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
    /// What tells it from the signer's other tokens there.
    pub(crate) number: usize,
    pub(crate) rhythm: Arc<Rhythm>,
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
        let (mut given, mut ready, mut preparing) = (Given::default(), None, Preparing::new());
        let end = self.turn(worker, &mut given, &mut ready, &mut preparing).await;
        self.rhythm.rests(self.number);
        let mut jobs = given.jobs.into_iter();
        if let Some((place, job)) = jobs.next() {
            // The first could be the one that its worker has died of.
            self.works.try_again(place, job);
        }
        let ready = ready.map(|ready| (ready.place, ready.job));
        jobs.chain(ready).for_each(|(place, job)| self.works.queue.put_back(place, job));
        for preparing in preparing {
            if let Ok(Some((place, job, _))) = preparing.await {
                self.works.queue.put_back(place, job);
            }
        }
        end
    }

    async fn turn(
        &self,
        worker: &mut WorkerProcess,
        given: &mut Given,
        ready: &mut Option<Ready>,
        preparing: &mut Preparing,
    ) -> End {
        let (deadline, mut closed, mut lead) = (worker.deadline(), false, Lead::default());
        loop {
            self.keep_time(given);
            let out = given.jobs.len().saturating_add(preparing.len()).saturating_add(usize::from(ready.is_some()));
            if closed && out == 0 {
                return End::Closed;
            }
            let by = self.takes(given, ready.as_ref(), preparing).filter(|_| !closed);
            let hand = tokio::select! {
                signature = worker.signature() => {
                    match signature {
                        Ok(signature) => self.signed(given, signature),
                        Err(WorkerFailed::Refused(reason)) => {
                            self.view.refused();
                            if let Some((_, job)) = given.next() {
                                job.fail(&reason);
                            }
                        }
                        Err(failed) => return End::Failed(failed),
                    }
                    if given.jobs.is_empty() && given.wait().is_zero() { ready.take() } else { None }
                },
                () = given.late(deadline) => {
                    return End::Failed(WorkerFailed::Hung(format!("no answer within {} ms", deadline.as_millis())));
                },
                // What goes before it is not ready yet, or there is nothing like that.
                () = sleep(given.rest(self.view.quick())), if ready.is_some() && preparing.is_empty() => ready.take(),
                prepared = finished(preparing) => match prepared {
                    Some((place, job, took)) => {
                        lead.took(took);
                        let prepared = Ready { place, job, overtaken: false };
                        if ready.is_some() || place.is_urgent() || given.rest(self.view.quick()).is_zero() {
                            Some(prepared)
                        } else {
                            *ready = Some(prepared);
                            None
                        }
                    }
                    // A job that could not be prepared has been answered already.
                    None => None,
                },
                taken = self.take(by.unwrap_or(By::Busy), self.pause(given, lead)), if by.is_some() => {
                    match taken {
                        Some(taken) => preparing.push_back(taken),
                        // What is out is still signed.
                        None => closed = true,
                    }
                    ready.iter_mut().for_each(|ready| ready.overtaken = true);
                    None
                },
            };
            if let Some(Ready { place, job, .. }) = hand {
                let handed = worker.give(&job.sign()).await;
                given.push(place, job);
                if let Err(failed) = handed {
                    return End::Failed(failed);
                }
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

    /// Tells the other tokens when this one begins, and sees whether it is to begin later the next time.
    fn keep_time(&self, given: &mut Given) {
        if given.since == given.beat {
            return;
        }
        given.beat = given.since;
        match (given.since, self.view.quick()) {
            (Some(since), Some(usual)) => {
                self.rhythm.begins(self.number, since, usual);
                let much = self.rhythm.signing().saturating_mul(MUCH);
                let wait = if self.works.queue.len() >= much { self.rhythm.wait(self.number) } else { Duration::ZERO };
                given.begins = if wait.is_zero() { None } else { since.checked_add(usual.saturating_add(wait)) };
            }
            // It rests because it waits.
            (None, _) if !given.wait().is_zero() => {}
            _ => self.rhythm.rests(self.number),
        }
    }

    /// Takes a job after this pause and lets its intent be written. Cancel-safe: what was taken is in the task that is given back.
    async fn take(&self, by: By, pause: Duration) -> Option<JoinHandle<Prepared>> {
        if by == By::Busy && !pause.is_zero() {
            sleep(pause).await;
        }
        let (place, job) = self.works.queue.take(self.issuer, by, clock::now).await?;
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

    /// How another job may be taken, if at all: while another token starts, none behind the one that is signed, so that there is a gap.
    fn takes(&self, given: &Given, ready: Option<&Ready>, preparing: &Preparing) -> Option<By> {
        let most = if self.starts.underway(&self.settings.module) { 1 } else { given.most() };
        let out = given.jobs.len().saturating_add(preparing.len());
        match ready {
            Some(ready) if ready.overtaken || out > 1 => None,
            Some(_) => Some(By::Ready),
            None if out == 0 => Some(By::Idle),
            // Of a slow token the next one is taken as late as can be, so only behind one that it has.
            None => (out < most && (preparing.is_empty() || most > AHEAD)).then_some(By::Busy),
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
