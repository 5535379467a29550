//! Asks many machines concurrently by the system's `ssh`: one connection each, a script on its
//! standard input, the lines that it prints.
//!
//! The operator's own `ssh` is taken as it is set up: its configuration, its agent, its known
//! hosts, and how strict it is about them. Nothing here weakens that. What is added keeps it from
//! asking questions, from waiting for ever, and from forwarding anything.

mod arguments;
mod refusal;

use std::collections::HashMap;
use std::io::{self, PipeWriter, Write as _};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use arguments::{Destination, Key, Login};
pub use refusal::{NotAnswered, Why};

use crate::process::{self, Input, Output};
use crate::{Command, Error, Executable, Variables};

/// How many connections are made through one bastion at a time. OpenSSH's server drops some of more
/// than ten that have not logged in yet (`MaxStartups 10:30:100`).
const THROUGH_ONE_BASTION: usize = 8;

/// What the remote shell prints when it is ready. Earlier output is from its start-up files.
const READY: &str = "airlock-is-here";

/// How much of an answer is kept, in bytes.
const MAX_ANSWER_BYTES: usize = 256 << 10;

/// The variables that `ssh` gets: those by which it finds itself, its settings, its user, and the
/// agents. No other, since `SendEnv` could send it on.
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

/// How much is done concurrently, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How many machines are asked concurrently.
    pub at_once: usize,
    /// How long one may take.
    pub each: Duration,
    /// How long all of them may take.
    pub whole: Duration,
}

/// What a machine answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The lines of the script.
    pub lines: Vec<String>,
    /// When its shell was there: the script was sent then.
    pub sent: Instant,
    /// When the script's first line came.
    pub first: Instant,
}

impl Ssh {
    /// Returns the first `ssh` in the folders of `PATH`.
    ///
    /// # Errors
    ///
    /// Those of [`Executable::find`]: there is none.
    pub fn find(variables: &Variables) -> Result<Self, Error> {
        Executable::find("ssh", variables.clone()).map(Self)
    }

    /// Has `script` run by the shell of each machine, and returns what each printed, in their
    /// order.
    ///
    /// `is_stopped` is asked at least every 50 milliseconds; when it returns true, all connections
    /// are ended immediately. `answered` is called for each machine when it is done.
    pub fn ask_all(
        &self,
        destinations: &[Destination],
        script: &str,
        bounds: Bounds,
        is_stopped: &(dyn Fn() -> bool + Sync),
        answered: &(dyn Fn() + Sync),
    ) -> Vec<Result<Answer, NotAnswered>> {
        let deadline = Instant::now() + bounds.whole;
        let queue = Queue::new(destinations);
        let answers = Mutex::new(vec![None; destinations.len()]);
        std::thread::scope(|scope| {
            for _ in 0..bounds.at_once.min(destinations.len()) {
                scope.spawn(|| {
                    while let Some(index) = queue.take() {
                        let limit = (Instant::now() + bounds.each).min(deadline);
                        let answer = match Instant::now() < deadline && !is_stopped() {
                            true => self.ask(&destinations[index], script, limit, is_stopped),
                            false => Err(NotAnswered::new(Why::NoTurn, "")),
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
            .map(|answer| answer.unwrap_or(Err(NotAnswered::new(Why::NoTurn, ""))))
            .collect()
    }

    fn ask(
        &self,
        destination: &Destination,
        script: &str,
        deadline: Instant,
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<Answer, NotAnswered> {
        let lost = |error: io::Error| NotAnswered::new(Why::NotStarted, error.to_string());
        let (reader, writer) = io::pipe().map_err(lost)?;
        let command = self.command(destination);
        let mut child =
            process::start(&command, Input::Pipe(reader), Output::Together).map_err(lost)?;
        let mut heard = Heard::default();
        let (go, going) = channel();
        let drained = std::thread::scope(|scope| {
            // By a thread of its own: a connection that stalls would hold this one up.
            scope.spawn(move || send(script, writer, &going));
            let is_over = || Instant::now() >= deadline || is_stopped();
            let drained = child.drain_until(&is_over, &mut |_, chunk| {
                if heard.add(chunk) {
                    // Writing fails when the program is gone; then the answer says why.
                    let _ = go.send(());
                }
            });
            if drained.is_err() {
                child.group.kill();
            }
            drop(go);
            drained
        });
        let late = drained.map_err(lost)?;
        let exit = child.reap().map_err(lost)?;
        heard.answer(exit.code(), late, destination.bastion.is_some())
    }

    fn command(&self, destination: &Destination) -> Command {
        let mut names = VARIABLES.to_vec();
        names.extend(destination.variables());
        // A script that is sent before the shell is ready would be lost in its start-up files, and
        // its first line could not be timed.
        let remote = format!("echo {READY}; exec sh -s");
        let arguments = destination.arguments(self.0.path.as_str());
        let arguments = arguments.iter().map(AsRef::as_ref).chain([remote.as_str()]);
        let mut command = self.0.command("ssh", arguments);
        command.variables = self.0.variables.only(&names);
        command
    }
}

/// Sends the script when it is time to. What cannot be sent is of a program that has ended.
fn send(script: &str, mut input: PipeWriter, going: &Receiver<()>) {
    if let Ok(()) = going.recv() {
        let _ = input.write_all(script.as_bytes());
    }
}

/// What came of a machine so far.
#[derive(Default)]
struct Heard {
    bytes: Vec<u8>,
    /// Where the script's own lines begin, and when that was.
    begun: Option<(usize, Instant)>,
    first: Option<Instant>,
}

impl Heard {
    /// Takes what arrived, and returns whether the shell has just become ready.
    fn add(&mut self, chunk: &[u8]) -> bool {
        let room = MAX_ANSWER_BYTES.saturating_sub(self.bytes.len());
        self.bytes
            .extend_from_slice(&chunk[..chunk.len().min(room)]);
        if let Some((from, _)) = self.begun {
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
            self.begun = Some((at + mark.len(), Instant::now()));
        }
        found.is_some()
    }

    fn answer(
        self,
        code: Option<i32>,
        late: bool,
        through_bastion: bool,
    ) -> Result<Answer, NotAnswered> {
        let text = String::from_utf8_lossy(&self.bytes);
        if late {
            let why = match self.begun {
                Some(_) => Why::Hangs,
                None => Why::TimedOut,
            };
            return Err(NotAnswered::new(why, text));
        }
        match (self.begun, self.first) {
            (Some((from, sent)), Some(first)) if code == Some(0) => {
                let own = String::from_utf8_lossy(&self.bytes[from..]).into_owned();
                Ok(Answer {
                    lines: own.lines().map(str::to_owned).collect(),
                    sent,
                    first,
                })
            }
            (Some(_), _) => Err(NotAnswered::new(Why::Cut, text)),
            // Any other code than 255 is that of what ran there.
            (None, _) if code.is_some_and(|code| code != 255) => {
                Err(NotAnswered::new(Why::Cut, text))
            }
            (None, _) => Err(NotAnswered::read(&text, through_bastion)),
        }
    }
}

/// Who is asked next. Machines behind one bastion take turns.
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

    /// Returns the next one, as soon as its bastion has room for it; nothing when none is waiting
    /// any more.
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
