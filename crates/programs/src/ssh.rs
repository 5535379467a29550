//! Runs a script on many machines concurrently over the system's `ssh`, one connection each, and
//! collects the printed lines.
//!
//! The operator's `ssh` is used as configured: its agent, its known hosts, and its strictness about
//! them. Nothing here weakens that. The added options only prevent prompts, endless waits and
//! forwarding.

mod arguments;
mod refusal;

use std::collections::HashMap;
use std::io::{self, PipeWriter, Write as _};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use arguments::{Destination, Key, Login};
pub use refusal::{SshFailure, SshFailureKind};

use crate::process::{self, Input, Output};
use crate::{Command, Error, Executable, Variables};

/// Maximum number of concurrent connections through one bastion. OpenSSH's server drops some of
/// more than ten unauthenticated connections (`MaxStartups 10:30:100`).
const THROUGH_ONE_BASTION: usize = 8;

/// Line that the remote shell prints when it is ready. Earlier output is from its start-up files.
const READY: &str = "airlock-is-here";

/// Maximum bytes of an answer.
const MAX_ANSWER_BYTES: usize = 256 << 10;

/// The variables passed on: the locations of programs, settings and agents, and the user. No
/// others, since `SendEnv` could send them to the machine.
const VARIABLES: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "SSH_AUTH_SOCK",
    "KRB5CCNAME",
    "XDG_RUNTIME_DIR",
];

/// The system's `ssh`.
#[derive(Debug, Clone)]
pub struct Ssh(Executable);

/// Limits on concurrency and time.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Maximum number of machines asked concurrently.
    pub concurrent: usize,
    /// Time limit of one machine.
    pub each: Duration,
    /// Time limit of all machines together.
    pub total: Duration,
}

/// The output of the script on one machine.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Lines that the script printed.
    pub lines: Vec<String>,
    /// Time at which the remote shell was ready and the script was sent.
    pub sent: Instant,
    /// Time at which the script's first line arrived.
    pub first: Instant,
}

impl Ssh {
    /// Returns the first `ssh` in the folders of `PATH`.
    ///
    /// # Errors
    ///
    /// Those of [`Executable::find`].
    pub fn find(variables: &Variables) -> Result<Self, Error> {
        Executable::find("ssh", variables.clone()).map(Self)
    }

    /// Runs `script` in a shell on each machine. Returns the answers in the order of
    /// `destinations`.
    ///
    /// `is_stopped` is called at least every 50 milliseconds; once it returns true, all connections
    /// are closed immediately. `answered` is called after each machine.
    pub fn ask_all(
        &self,
        destinations: &[Destination],
        script: &str,
        bounds: Bounds,
        is_stopped: &(dyn Fn() -> bool + Sync),
        answered: &(dyn Fn() + Sync),
    ) -> Vec<Result<Answer, SshFailure>> {
        let deadline = Instant::now() + bounds.total;
        let queue = Queue::new(destinations);
        let answers = Mutex::new(vec![None; destinations.len()]);
        std::thread::scope(|scope| {
            for _ in 0..bounds.concurrent.min(destinations.len()) {
                scope.spawn(|| {
                    while let Some(index) = queue.take() {
                        let limit = (Instant::now() + bounds.each).min(deadline);
                        let answer = match Instant::now() < deadline && !is_stopped() {
                            true => self.ask(&destinations[index], script, limit, is_stopped),
                            false => Err(SshFailure::new(SshFailureKind::NoTurn, "")),
                        };
                        lock(&answers)[index] = Some(answer);
                        queue.done(index);
                        answered();
                    }
                });
            }
        });
        let answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
        answers
            .into_iter()
            .map(|answer| answer.unwrap_or(Err(SshFailure::new(SshFailureKind::NoTurn, ""))))
            .collect()
    }

    fn ask(
        &self,
        destination: &Destination,
        script: &str,
        deadline: Instant,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<Answer, SshFailure> {
        let lost =
            |error: io::Error| SshFailure::new(SshFailureKind::NotStarted, error.to_string());
        let (reader, writer) = io::pipe().map_err(lost)?;
        let command = self.command(destination);
        let mut child =
            process::start(&command, Input::Pipe(reader), Output::Together).map_err(lost)?;
        let mut transcript = Transcript::default();
        let (ready, is_ready) = channel();
        let drained = std::thread::scope(|scope| {
            // On a thread of its own, because a stalled connection would block this one.
            scope.spawn(move || send(script, writer, &is_ready));
            let is_over = || Instant::now() >= deadline || is_stopped();
            let drained = child.drain_until(&is_over, &mut |_, chunk| {
                if transcript.add(chunk) {
                    // Fails if the program has ended, which `answer` reports.
                    let _ = ready.send(());
                }
            });
            if drained.is_err() {
                child.group.kill();
            }
            drop(ready);
            drained
        });
        let timed_out = drained.map_err(lost)?;
        let exit = child.reap().map_err(lost)?;
        transcript.answer(exit.code(), timed_out, destination.bastion.is_some())
    }

    fn command(&self, destination: &Destination) -> Command {
        let mut names = VARIABLES.to_vec();
        names.extend(destination.variables());
        // A script sent before the shell is ready could be consumed by its start-up files, and its
        // first line could not be timed.
        let remote = format!("echo {READY}; exec sh -s");
        let arguments = destination.arguments(self.0.path.as_str());
        let arguments = arguments.iter().map(AsRef::as_ref).chain([remote.as_str()]);
        let mut command = self.0.command("ssh", arguments);
        command.variables = self.0.variables.only(&names);
        command
    }
}

/// Sends the script once the shell is ready. Writing fails only if the program has ended.
fn send(script: &str, mut input: PipeWriter, is_ready: &Receiver<()>) {
    if let Ok(()) = is_ready.recv() {
        let _ = input.write_all(script.as_bytes());
    }
}

/// The output of a machine so far.
#[derive(Default)]
struct Transcript {
    bytes: Vec<u8>,
    /// Offset of the script's first line, and the time at which the shell was ready.
    ready: Option<(usize, Instant)>,
    first: Option<Instant>,
}

impl Transcript {
    /// Appends a chunk. Returns whether it made the shell ready.
    fn add(&mut self, chunk: &[u8]) -> bool {
        let room = MAX_ANSWER_BYTES.saturating_sub(self.bytes.len());
        self.bytes
            .extend_from_slice(&chunk[..chunk.len().min(room)]);
        if let Some((from, _)) = self.ready {
            if self.first.is_none() && self.bytes.len() > from {
                self.first = Some(Instant::now());
            }
            return false;
        }
        let mark = format!("{READY}\n");
        let found = self
            .bytes
            .windows(mark.len())
            .position(|window| window == mark.as_bytes());
        if let Some(at) = found {
            self.ready = Some((at + mark.len(), Instant::now()));
        }
        found.is_some()
    }

    fn answer(
        self,
        code: Option<i32>,
        timed_out: bool,
        through_bastion: bool,
    ) -> Result<Answer, SshFailure> {
        let text = String::from_utf8_lossy(&self.bytes);
        if timed_out {
            let kind = match self.ready {
                Some(_) => SshFailureKind::Hangs,
                None => SshFailureKind::TimedOut,
            };
            return Err(SshFailure::new(kind, text));
        }
        match (self.ready, self.first) {
            (Some((from, sent)), Some(first)) if code == Some(0) => {
                let own = String::from_utf8_lossy(&self.bytes[from..]).into_owned();
                Ok(Answer {
                    lines: own.lines().map(str::to_owned).collect(),
                    sent,
                    first,
                })
            }
            (Some(_), _) => Err(SshFailure::new(SshFailureKind::Cut, text)),
            // `ssh` itself exits with 255; any other code is that of the remote command.
            (None, _) if code.is_some_and(|code| code != 255) => {
                Err(SshFailure::new(SshFailureKind::Cut, text))
            }
            (None, _) => Err(SshFailure::read(&text, through_bastion)),
        }
    }
}

/// The machines to ask, with a limit on connections through one bastion.
struct Queue<'a> {
    destinations: &'a [Destination],
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    waiting: Vec<usize>,
    through: HashMap<String, usize>,
}

impl<'a> Queue<'a> {
    fn new(destinations: &'a [Destination]) -> Self {
        Self {
            destinations,
            state: Mutex::new(State {
                waiting: (0..destinations.len()).collect(),
                through: HashMap::new(),
            }),
            changed: Condvar::new(),
        }
    }

    /// Returns the next machine as soon as its bastion has room, or `None` when all were taken.
    fn take(&self) -> Option<usize> {
        let mut state = lock(&self.state);
        loop {
            if state.waiting.is_empty() {
                return None;
            }
            let next = state.waiting.iter().position(|index| {
                let under_way = self
                    .bastion(*index)
                    .and_then(|bastion| state.through.get(bastion));
                under_way.is_none_or(|count| *count < THROUGH_ONE_BASTION)
            });
            match next {
                Some(place) => {
                    let index = state.waiting.remove(place);
                    if let Some(bastion) = self.bastion(index) {
                        *state.through.entry(bastion.to_owned()).or_default() += 1;
                    }
                    return Some(index);
                }
                None => {
                    let woken = self.changed.wait(state);
                    state = woken.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    fn done(&self, index: usize) {
        if let Some(bastion) = self.bastion(index) {
            let mut state = lock(&self.state);
            if let Some(count) = state.through.get_mut(bastion) {
                *count -= 1;
            }
        }
        self.changed.notify_all();
    }

    fn bastion(&self, index: usize) -> Option<&'a str> {
        let bastion = self.destinations[index].bastion.as_ref()?;
        Some(&bastion.address)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
