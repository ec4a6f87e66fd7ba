//! Ending: on Ctrl-C, on SIGTERM, and when the terminal goes away.

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

use crate::progress::note;

/// Runs `body` on this thread: the kernel ends our children when the thread that started them ends, so that has to be
/// the main one.
pub(crate) fn run(body: impl AsyncFnOnce(&mut Stop) -> Result<()>, background: bool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { body(&mut Stop::listen(background)?).await })
}

/// The wish of the person or the system that we end.
#[derive(Debug)]
pub(crate) struct Stop {
    signals: tokio::sync::mpsc::Receiver<()>,
}

impl Stop {
    fn listen(background: bool) -> Result<Self> {
        let (sender, signals) = tokio::sync::mpsc::channel(1);
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let mut stream = signal(kind)?;
            let sender = sender.clone();
            // In the background the terminal's end is not ours.
            let ignored = background && kind == SignalKind::hangup();
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    if !ignored {
                        let _ = sender.try_send(());
                    }
                }
            });
        }
        Ok(Self { signals })
    }

    /// The result of `work`, or none when we are to end before.
    pub(crate) async fn unless<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<Option<T>> {
        tokio::select! {
            result = work => result.map(Some),
            _ = self.signals.recv() => {
                note("stopping");
                Ok(None)
            }
        }
    }
}
