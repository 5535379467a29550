//! Handles Ctrl-C, SIGTERM and SIGHUP.
//!
//! - A running mkectl receives the signal, and this process waits for it.
//! - A push finishes the uploads in progress.
//! - Other work is safe to abort at any time.
//!
//! SIGHUP, sent when a terminal or its connection is lost, is handled like SIGTERM. But a running
//! mkectl does not receive it: a half-upgraded cluster is worse than a deploy whose output is lost.

use std::future::Future;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use release::signals::{Delivered, Signal};
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::consent::PROMPT_INTERRUPTED;
use crate::failure::{self, Failure};

/// Whether a signal requested that pushes stop.
static STOPPED: AtomicBool = AtomicBool::new(false);

/// Signals within this time count as one: `timeout` sends its signal to the program and again to
/// its process group.
const SAME_SIGNAL: Duration = Duration::from_millis(100);

/// Time limit for the last message, which blocks if the reader of a pipe does not read.
const LAST_MESSAGE: Duration = Duration::from_secs(1);

/// Runs `work` on a runtime of its own. A signal that neither mkectl nor a push handles ends the
/// process immediately: the store, downloads and the registry can be left at any time, and the next
/// run resumes.
pub(crate) fn until_interrupted<T>(
    app: &App<'_>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    listen(app)?;
    let runtime = runtime()?;
    let done = runtime.block_on(work);
    // Blocking calls that the work no longer waits for, such as a name lookup, must not delay the
    // exit.
    runtime.shutdown_background();
    match done {
        Ok(_) if PROMPT_INTERRUPTED.load(Ordering::Relaxed) => Err(Failure::Signalled),
        Err(failure) if STOPPED.load(Ordering::Relaxed) && failure.is_stopped() => {
            Err(Failure::Interrupted(Box::new(failure)))
        }
        done => done,
    }
}

/// Creates a runtime with a thread for each processor.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Runtime::new().map_err(Failure::Runtime)
}

/// Handles signals from the start of a command with `--format json`, which must end with an object.
///
/// # Errors
/// The operating system refuses a handler.
pub(crate) fn listen_for_json(app: App<'_>) -> Result<App<'_>, Failure> {
    if !app.ui.is_human() {
        listen(&app)?;
    }
    Ok(app)
}

/// Handles signals from now to the end of the process, in a thread of its own: reading a bundle,
/// running mkectl and prompts block the other threads.
///
/// # Errors
/// The operating system refuses a handler.
fn listen(app: &App<'_>) -> Result<(), Failure> {
    static LISTENING: Once = Once::new();
    let mut started = Ok(());
    LISTENING.call_once(|| started = start(app).map_err(Failure::Runtime));
    started
}

fn start(app: &App<'_>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = match ignores_hangup() {
        true => None,
        false => Some(signal(SignalKind::hangup())?),
    };
    drop(entered);
    let (signals, ui) = (app.tool.signals.clone(), app.ui.clone());
    let listening = async move {
        let mut last: Option<Instant> = None;
        loop {
            let received = tokio::select! {
                _ = interrupt.recv() => Signal::Interrupt,
                _ = terminate.recv() => Signal::Terminate,
                () = hung_up(&mut hangup) => match signals.runs_mkectl() {
                    true => continue,
                    false => Signal::Terminate,
                },
            };
            if last
                .replace(Instant::now())
                .is_some_and(|last| last.elapsed() < SAME_SIGNAL)
            {
                continue;
            }
            match signals.deliver(received) {
                Delivered::ToMkectl | Delivered::ToWatch => {}
                Delivered::ToPushes => {
                    STOPPED.store(true, Ordering::Relaxed);
                    ui.stopping();
                }
                Delivered::ToNobody => {
                    let (sender, receiver) = std::sync::mpsc::channel();
                    let ui = ui.clone();
                    let _ = std::thread::Builder::new().spawn(move || {
                        ui.interrupted();
                        sender.send(())
                    });
                    let _ = receiver.recv_timeout(LAST_MESSAGE);
                    #[expect(
                        clippy::exit,
                        reason = "work that blocks a thread cannot be stopped otherwise"
                    )]
                    std::process::exit(failure::INTERRUPTED.into());
                }
            }
        }
    };
    let thread = std::thread::Builder::new().name("signals".to_owned());
    thread.spawn(move || runtime.block_on(listening)).map(drop)
}

async fn hung_up(hangup: &mut Option<tokio::signal::unix::Signal>) {
    match hangup {
        Some(hangup) => {
            hangup.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Returns whether this process was started with SIGHUP ignored, as by `nohup`. Always false
/// outside of Linux.
fn ignores_hangup() -> bool {
    const HANGUP: u64 = 1;
    let status = files::read_text("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & HANGUP != 0)
}
