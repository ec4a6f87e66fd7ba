//! Drives one token: keeps a worker process alive, takes jobs for it, and has the next one ready while the token still signs,
//! so that the token never waits for the journal's disk.

use std::{path::PathBuf, sync::Arc, time::Duration};

use shared::signing::TokenState;
use tokio::{task::JoinHandle, time::sleep};

use super::{
    frame::Login,
    view::TokenView,
    worker_process::{WorkerFailed, WorkerProcess},
};
use crate::{
    clock,
    issuance::job::{Job, Works},
    queue::Place,
    settings::TokenSettings,
};

/// Between two starts of a worker that fails: doubled from the first to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

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
}

/// How the time of a worker ended.
enum End {
    /// The queue is closed.
    Closed,
    /// The worker is gone.
    Failed(WorkerFailed),
}

/// A job and its place, ready for the token.
type Prepared = Option<(Place, Job)>;

impl Driver {
    /// Runs until the queue closes, or the PIN is rejected.
    pub(crate) async fn run(self) {
        let mut backoff = Duration::ZERO;
        loop {
            self.view.set(TokenState::Starting, "");
            let failed = match self.start().await {
                Ok(mut worker) => {
                    backoff = Duration::ZERO;
                    match self.serve(&mut worker).await {
                        End::Closed => return worker.stop().await,
                        End::Failed(failed) => failed,
                    }
                }
                Err(failed) => failed,
            };
            if let WorkerFailed::PinRejected(reason) = failed {
                tracing::error!(
                    token = self.name,
                    reason,
                    "the PIN is rejected; the token stays unused until an operator acts"
                );
                return self.view.set(TokenState::PinRejected, &reason);
            }
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

    async fn start(&self) -> Result<WorkerProcess, WorkerFailed> {
        let login =
            Login::Yes { pin_file: self.settings.pin_file.clone(), state: self.state.clone(), mark: self.name.clone() };
        let Some(issuer) = self.works.issuers.get(self.issuer) else {
            return Err(WorkerFailed::Gone("there is no such issuer".into()));
        };
        let issuer = issuer.certificate().der();
        let (worker, token) = WorkerProcess::start(&self.settings, issuer, login, &self.name).await?;
        tracing::info!(token = self.name, pid = worker.pid(), "ready: {token}");
        self.view.set(TokenState::Ready, "");
        Ok(worker)
    }

    /// Signs job after job. While the token signs one, the next is taken and its intent written.
    async fn serve(&self, worker: &mut WorkerProcess) -> End {
        let mut next: Option<JoinHandle<Prepared>> = None;
        loop {
            let preparing = match next.take() {
                Some(preparing) => preparing,
                None => tokio::select! {
                    taken = self.take(false) => match taken {
                        Some(preparing) => preparing,
                        None => return End::Closed,
                    },
                    reason = worker.ended() => return End::Failed(WorkerFailed::Gone(reason)),
                },
            };
            // A job that could not be prepared has been answered already.
            let Ok(Some((place, job))) = preparing.await else { continue };
            let started = clock::instant();
            let result = {
                let mut signing = std::pin::pin!(worker.sign(job.tbs()));
                loop {
                    tokio::select! {
                        result = &mut signing => break result,
                        Some(preparing) = self.take(true), if next.is_none() => next = Some(preparing),
                    }
                }
            };
            match result {
                Ok(signature) => {
                    let duration = started.elapsed();
                    self.view.signed(duration);
                    self.works.queue.served(duration);
                    let works = Arc::clone(&self.works);
                    self.works.running.spawn(async move { works.finish(job, signature).await });
                }
                Err(WorkerFailed::Refused(reason)) => job.fail(&reason),
                Err(failed) => {
                    self.works.try_again(place, job);
                    if let Some(Ok(Some((place, job)))) = async { Some(next.take()?.await) }.await {
                        self.works.queue.put_back(place, job);
                    }
                    return End::Failed(failed);
                }
            }
        }
    }

    /// Takes a job and lets its intent be written. Cancel-safe: what was taken is in the task that is given back.
    async fn take(&self, busy: bool) -> Option<JoinHandle<Prepared>> {
        let (place, job) = self.works.queue.take(self.issuer, busy, clock::now).await?;
        let (works, issuer) = (Arc::clone(&self.works), self.issuer);
        Some(tokio::spawn(async move { Some((place, works.prepare(job, issuer).await?)) }))
    }
}
