//! Ctrl-C and SIGTERM: a running mkectl gets them and is waited for, a push finishes what is in
//! flight; anything else is safe to leave at any instant.
//!
//! SIGHUP, when a terminal or its connection is lost, is like SIGTERM. But a running mkectl does
//! not get it: a cluster that is half upgraded is worse than a deploy that ends without a reader.

use std::future::Future;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use release::signals::{Delivered, Signal};
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::consent::ENDED_QUESTION;
use crate::failure::{self, Failure};

/// Whether a signal asked pushes to stop.
static STOPPED: AtomicBool = AtomicBool::new(false);

/// Signals so close to each other are one: `timeout` sends its signal to the program and to the
/// group that it is in.
const ONE: Duration = Duration::from_millis(100);

/// How long a reader that reads no more may keep the process.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs `work` to its end on a runtime of its own, or until the first signal that is not handled:
/// then the process ends immediately. The store, the download and the registry can be left at any
/// instant; the next run resumes.
pub(crate) fn until_interrupted<T>(
    app: &App<'_>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    listen(app)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    let done = runtime.block_on(work);
    // What the work no longer waits for, such as a name that a resolver does not answer, does not
    // keep the process.
    runtime.shutdown_background();
    match done {
        Ok(_) if ENDED_QUESTION.load(Ordering::Relaxed) => Err(Failure::Signalled),
        Err(failure) if STOPPED.load(Ordering::Relaxed) && failure.is_stopped() => {
            Err(Failure::Interrupted(Box::new(failure)))
        }
        done => done,
    }
}

/// Prepares a command that a signal may end at any instant. Only machines read how it ended.
///
/// # Errors
/// The operating system refuses a handler.
pub(crate) fn listen_for_json(app: App<'_>) -> Result<App<'_>, Failure> {
    if !app.ui.is_human() {
        listen(&app)?;
    }
    Ok(app)
}

/// Handles signals from now to the end of the process, also between two parts of its work. The
/// thread is its own: reading a bundle, running mkectl and questions block the others.
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
                .is_some_and(|last| last.elapsed() < ONE)
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
                    let (said, heard) = std::sync::mpsc::channel();
                    let ui = ui.clone();
                    let _ = std::thread::Builder::new().spawn(move || {
                        ui.interrupted();
                        said.send(())
                    });
                    let _ = heard.recv_timeout(LAST_WORDS);
                    #[expect(
                        clippy::exit,
                        reason = "work that blocks a thread cannot be told to stop otherwise"
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

/// Returns whether this process was started to ignore SIGHUP, as `nohup` does. Known on Linux only.
fn ignores_hangup() -> bool {
    const HANGUP: u64 = 1;
    let status = files::read_text("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & HANGUP != 0)
}
