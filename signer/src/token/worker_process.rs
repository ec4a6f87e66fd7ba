//! The parent's side of a worker process: starts it with nothing but its configured environment, hands it work ahead of time, and
//! kills it when it does not keep its deadline. A hung PKCS#11 call can be ended in no other way.

use std::{path::Path, process::Stdio, time::Duration};

use serde::Serialize;
use shared::base64url::Base64Url;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    sync::mpsc,
    time::timeout,
};

use super::{
    choice::{Others, TokenId},
    frame::{self, Init, Login, Reply, Sign},
    pin::PinLengths,
};
use crate::settings::TokenSettings;

/// A start is several calls to the module: load, list, open, log in.
const CALLS_OF_A_START: u32 = 3;
/// What a worker gets to end by itself when its input has ended.
const FAREWELL: Duration = Duration::from_secs(1);

/// A worker process that has reported that it is ready.
#[derive(Debug)]
pub(crate) struct WorkerProcess {
    child: Child,
    input: ChildStdin,
    /// What it says, frame by frame; ends with the process.
    replies: mpsc::Receiver<Result<Reply, String>>,
    deadline: Duration,
}

/// The token that a worker has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundToken {
    /// What it calls itself, for people.
    pub(crate) name: String,
    /// Which of those that fit the uri it is.
    pub(crate) id: TokenId,
    /// True when its key wants the PIN for each signature.
    pub(crate) each_time: bool,
    /// How long its PINs are, when it says so.
    pub(crate) pin_lengths: Option<PinLengths>,
}

/// Why there is no worker, or no signature of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WorkerFailed {
    /// The token rejected its PIN. No other worker is started for it.
    #[error("{0}")]
    PinRejected(String),
    /// It does not sign this; it goes on.
    #[error("{0}")]
    Refused(String),
    /// It said nothing in time, and was killed.
    #[error("{0}")]
    Hung(String),
    /// It said that its token does not work, or ended.
    #[error("{0}")]
    Gone(String),
}

impl WorkerProcess {
    /// Starts a worker and waits until it has found its key, in a token that is not one of the others. Gives that with it.
    pub(crate) async fn start(
        token: &TokenSettings,
        issuer: &[u8],
        others: Others,
        login: Login,
        name: &str,
    ) -> Result<(Self, FoundToken), WorkerFailed> {
        token.prepare().map_err(|error| WorkerFailed::Gone(format!("{error:#}")))?;
        let gone = |error: std::io::Error| WorkerFailed::Gone(format!("the worker cannot be started: {error}"));
        // The running program itself, even when its file was replaced: both sides must be of one version.
        let mut child = Command::new("/proc/self/exe")
            .arg0("signer")
            .arg("worker")
            .env_clear()
            .envs(&token.environment)
            .current_dir(Path::new("/"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(gone)?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(errors)) = pipes else {
            return Err(WorkerFailed::Gone("the worker has no pipes".into()));
        };
        tracing::debug!(token = name, pid = child.id(), "started a worker");
        tokio::spawn(log_lines(errors, name.to_owned()));
        let (said, replies) = mpsc::channel(1);
        tokio::spawn(read_replies(output, said));
        let mut worker = Self { child, input, replies, deadline: token.deadline };
        let init = Init {
            module: token.module.clone(),
            uri: token.uri.clone(),
            others,
            issuer: Base64Url(issuer.to_vec()),
            login,
            #[cfg(feature = "slow-token")]
            latency_ms: token.latency_ms,
        };
        worker.send(&init).await?;
        let patience = token.deadline.saturating_mul(CALLS_OF_A_START);
        match timeout(patience, worker.receive()).await {
            Ok(Ok(Reply::Ready { token: name, id, each_time, pin_lengths })) => {
                Ok((worker, FoundToken { name, id, each_time, pin_lengths }))
            }
            Ok(Ok(Reply::PinRejected(reason))) => Err(WorkerFailed::PinRejected(reason)),
            Ok(Ok(Reply::Failed(reason) | Reply::Refused(reason))) => Err(WorkerFailed::Gone(reason)),
            Ok(Ok(Reply::Signed(_))) => Err(WorkerFailed::Gone("the worker speaks out of turn".into())),
            Ok(Err(failed)) => Err(failed),
            Err(_) => Err(WorkerFailed::Hung(format!("it did not start within {} ms", patience.as_millis()))),
        }
    }

    /// The process, for the log.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// How long a signature may take.
    pub(crate) const fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Gives it something to sign, behind what it has.
    pub(crate) async fn give(&mut self, sign: &Sign) -> Result<(), WorkerFailed> {
        self.send(sign).await
    }

    /// The signature, DER, of the oldest that it was given. Cancel-safe.
    pub(crate) async fn signature(&mut self) -> Result<Vec<u8>, WorkerFailed> {
        match self.receive().await? {
            Reply::Signed(signature) => Ok(signature.0),
            Reply::Refused(reason) => Err(WorkerFailed::Refused(reason)),
            Reply::PinRejected(reason) => Err(WorkerFailed::PinRejected(reason)),
            Reply::Failed(reason) => Err(WorkerFailed::Gone(reason)),
            Reply::Ready { .. } => Err(WorkerFailed::Gone("the worker speaks out of turn".into())),
        }
    }

    /// Lets the worker end by itself, or kills it.
    pub(crate) async fn stop(mut self) {
        drop(self.input);
        if timeout(FAREWELL, self.child.wait()).await.is_err() {
            // It is reaped when it is dropped.
            let _ = self.child.start_kill();
        }
    }

    async fn send<T: Serialize + Sync>(&mut self, frame: &T) -> Result<(), WorkerFailed> {
        let frame = frame::encode(frame).map_err(|error| WorkerFailed::Gone(error.to_string()))?;
        match timeout(self.deadline, self.input.write_all(&frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(WorkerFailed::Gone(format!("the worker is gone: {error}"))),
            Err(_) => Err(WorkerFailed::Hung("the worker does not read".into())),
        }
    }

    async fn receive(&mut self) -> Result<Reply, WorkerFailed> {
        let gone = || WorkerFailed::Gone("the worker is gone".into());
        self.replies.recv().await.ok_or_else(gone)?.map_err(WorkerFailed::Gone)
    }
}

/// Reads frame after frame until the process has ended or says something else.
async fn read_replies(mut output: ChildStdout, said: mpsc::Sender<Result<Reply, String>>) {
    loop {
        let reply = read_reply(&mut output).await.map_err(|error| format!("the worker is gone: {error}"));
        let last = reply.is_err();
        if said.send(reply).await.is_err() || last {
            return;
        }
    }
}

async fn read_reply(output: &mut ChildStdout) -> std::io::Result<Reply> {
    let mut prefix = [0; 4];
    output.read_exact(&mut prefix).await?;
    let mut json = vec![0; frame::length(prefix).map_err(std::io::Error::other)?];
    output.read_exact(&mut json).await?;
    frame::decode(&json).map_err(std::io::Error::other)
}

/// Puts what the worker and its module say into our log.
async fn log_lines(errors: ChildStderr, token: String) {
    let mut lines = BufReader::new(errors).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        tracing::info!(token, "worker: {line}");
    }
}
