//! Ctrl-C and SIGTERM: a running mkectl gets them and is waited for, a push finishes what is in flight; anything else is safe to
//! leave at any instant.
//!
//! SIGHUP, when a terminal or its connection is lost, is like SIGTERM. But a running mkectl does not get it: a cluster that is half
//! upgraded is worse than a deploy that ends without a reader.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use release::signals::{Delivered, Signal};
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::failure::{self, Failure};

/// Runs `work` to its end on a runtime of its own, or until the first signal that is not handled: then the
/// process ends immediately. The store, the download and the registry can be left at any instant; the next run resumes.
pub(crate) fn until_interrupted<T>(
    app: &App<'_>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    let done = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::Runtime)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(Failure::Runtime)?;
        let mut hangup = match ignores_hangup() {
            true => None,
            false => Some(signal(SignalKind::hangup()).map_err(Failure::Runtime)?),
        };
        let signals = app.tool.signals.clone();
        let ui = app.ui.clone();
        let stopped = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stopped);
        // A task of its own, since reading a bundle and running mkectl keep the main one from looking.
        tokio::spawn(async move {
            loop {
                let received = tokio::select! {
                    _ = interrupt.recv() => Signal::Interrupt,
                    _ = terminate.recv() => Signal::Terminate,
                    () = hung_up(&mut hangup) => match signals.runs_mkectl() {
                        true => continue,
                        false => Signal::Terminate,
                    },
                };
                match signals.deliver(received) {
                    Delivered::ToMkectl | Delivered::ToWatch => {}
                    Delivered::ToPushes => {
                        stopping.store(true, Ordering::Relaxed);
                        ui.stopping();
                    }
                    Delivered::ToNobody => {
                        ui.interrupted();
                        #[expect(
                            clippy::exit,
                            reason = "work that blocks a thread cannot be told to stop otherwise"
                        )]
                        std::process::exit(failure::INTERRUPTED.into());
                    }
                }
            }
        });
        work.await.map_err(|failure| {
            if stopped.load(Ordering::Relaxed) && failure.is_stopped() {
                Failure::Interrupted(Box::new(failure))
            } else {
                failure
            }
        })
    });
    // What the work no longer waits for, such as a name that a resolver does not answer, does not keep the process.
    runtime.shutdown_background();
    done
}

async fn hung_up(hangup: &mut Option<tokio::signal::unix::Signal>) {
    match hangup {
        Some(hangup) => {
            hangup.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Returns whether this process was started to ignore SIGHUP, as `nohup` does. Known on Linux only.
fn ignores_hangup() -> bool {
    const HANGUP: u64 = 1;
    let status = files::read_text("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & HANGUP != 0)
}
