//! The one way in which a program is started and supervised: with a session of its own, pipes that
//! are read with a bounded wait, signals to the whole group, and nothing left behind.
//!
//! It adds what the standard library does not offer for a child process and everything that the
//! child starts. All the `unsafe` of this crate is here, one system call each.

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

use secrecy::ExposeSecret as _;

use crate::Exit;

/// How long to wait for more output, at the longest, before looking at signals and limits again.
const TURN: Duration = Duration::from_millis(50);

/// How long output is still read after a program has ended, if something that it started holds the
/// pipe open.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// Makes a program that is about to be started the leader of a session and process group of its
/// own.
///
/// A group alone would do for signals. The session also takes the terminal away: a question that a
/// program asks there (`ssh` does, for an unknown host key) fails immediately; a mere background
/// group would be stopped by the system and wait for ever.
///
/// On Linux it also asks for SIGINT when the thread that starts it ends before it does, which is
/// when this process is killed: an unsupervised program must not change a cluster.
fn lead_own_session(command: &mut std::process::Command) -> io::Result<()> {
    // SAFETY: `setsid` and `prctl` are async-signal-safe and touch no memory.
    unsafe {
        command.pre_exec(|| {
            if libc::setsid() == -1 {
                return Err(io::Error::last_os_error());
            }
            #[cfg(target_os = "linux")]
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGINT) == -1 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    Ok(())
}

/// Makes the files of a program that is about to be started readable by their owner alone, also if
/// it is killed.
#[expect(
    clippy::unnecessary_wraps,
    reason = "it is what a program is started with"
)]
fn own_files(command: &mut std::process::Command) -> io::Result<()> {
    // SAFETY: `umask` is async-signal-safe, touches no memory and cannot fail.
    unsafe {
        command.pre_exec(|| {
            libc::umask(0o077);
            Ok(())
        });
    }
    Ok(())
}

/// Returns whether a program that was started by [`run`](crate::run()), perhaps of a process that
/// was killed since, still runs.
///
/// It leads a session, so another process which got its number is taken for it only if it leads one
/// too.
pub fn is_running(process: u32) -> bool {
    let process = process.cast_signed();
    // SAFETY: `getsid` touches no memory. Of a process that is gone it says so.
    process > 0 && unsafe { libc::getsid(process) } == process && !has_ended(process)
}

/// Returns whether a process with this number runs, whatever it is.
pub fn exists(process: u32) -> bool {
    let process = process.cast_signed();
    // SAFETY: `getsid` touches no memory. Of a process that is gone it says so.
    process > 0 && unsafe { libc::getsid(process) } != -1 && !has_ended(process)
}

/// Returns whether a process has ended and only waits to be reaped, as in a container without an
/// init. Without `/proc` none has.
fn has_ended(process: i32) -> bool {
    let status = files::read_text(format!("/proc/{process}/stat"));
    let status = status.unwrap_or_default();
    // The name of the program is in parentheses and may contain any character.
    let state = status.rsplit_once(") ").map(|(_, state)| state);
    state.is_some_and(|state| state.starts_with(['Z', 'X']))
}

/// What a program reads from its standard input.
pub(crate) enum Input<'a> {
    /// Nothing.
    Nothing,
    /// These bytes. A program that reads no further than it needs is none the worse for it.
    Bytes(&'a [u8]),
    /// What is written to the other end of this pipe.
    Pipe(PipeReader),
}

/// Where the output of a program goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// All of it to one pipe, in the order in which it was written.
    Together,
    /// Standard error to the first pipe, and standard output to the second one.
    Apart,
    /// Nowhere. The program keeps the terminal, where it may ask for a passphrase.
    Terminal,
    /// The same, but standard error goes to a pipe.
    Errors,
}

/// A program that was started and not yet reaped. It does not outlive this value, whatever unwinds.
pub(crate) struct Running {
    pub(crate) process: u32,
    pub(crate) group: Group,
    began: Instant,
    pipes: Vec<PipeReader>,
    handle: Option<duct::Handle>,
}

impl Running {
    /// Reads what the program writes until it has ended; see [`drain`].
    pub(crate) fn drain(
        &mut self,
        chunk: &mut dyn FnMut(usize, &[u8]),
        tick: &mut dyn FnMut(),
    ) -> io::Result<()> {
        drain(&mut self.pipes, self.group, chunk, tick)
    }

    /// Reads what the program writes until it has ended, and kills it once `is_over` says so.
    /// Returns whether that happened.
    pub(crate) fn drain_until(
        &mut self,
        is_over: &dyn Fn() -> bool,
        chunk: &mut dyn FnMut(usize, &[u8]),
    ) -> io::Result<bool> {
        let (group, mut late) = (self.group, false);
        self.drain(chunk, &mut || {
            if !late && is_over() {
                late = true;
                group.kill();
            }
        })?;
        Ok(late)
    }

    /// Takes the exit of a program that has ended.
    pub(crate) fn reap(mut self) -> io::Result<Exit> {
        match self.handle.take() {
            Some(handle) => handle.into_output().map(|output| {
                let exit = Exit::of(output.status);
                let (process, ms) = (self.process, self.began.elapsed().as_millis() as u64);
                tracing::debug!(process, %exit, ms, "program ended");
                exit
            }),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            self.group.kill();
            // The wait is for reaping alone; a failure cannot be reported any more.
            let _ = handle.wait();
        }
    }
}

/// Starts a program.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that starts programs"
)]
pub(crate) fn start(
    command: &crate::Command,
    input: Input<'_>,
    output: Output,
) -> io::Result<Running> {
    let secrets = command.secrets.iter();
    let secrets = secrets.map(|(name, value)| (name.as_ref(), value.expose_secret().as_ref()));
    let variables = command.variables.iter().chain(secrets);
    let mut program = duct::cmd(command.program.as_std_path(), command.argv()).full_env(variables);
    if let Some(directory) = &command.directory {
        program = program.dir(directory);
    }
    program = match input {
        Input::Nothing => program.stdin_null(),
        Input::Bytes(bytes) => program.stdin_bytes(bytes),
        Input::Pipe(pipe) => program.stdin_file(pipe),
    };
    let mut pipes = Vec::new();
    let mut pipe = || {
        let (reader, writer) = io::pipe()?;
        pipes.push(reader);
        io::Result::Ok(writer)
    };
    program = match output {
        Output::Together => program.stderr_to_stdout().stdout_file(pipe()?),
        Output::Apart => program.stderr_file(pipe()?).stdout_file(pipe()?),
        Output::Terminal => program.stdout_null().stderr_null(),
        Output::Errors => program.stdout_null().stderr_file(pipe()?),
    };
    let is_alone = matches!(output, Output::Terminal | Output::Errors);
    if !is_alone {
        program = program.before_spawn(lead_own_session);
    }
    if command.is_private {
        program = program.before_spawn(own_files);
    }
    let handle = program.unchecked().start()?;
    // It holds the writing ends. Only when they are gone can the pipes end.
    drop(program);
    let process = *handle
        .pids()
        .first()
        .expect("a command that was started is one process");
    tracing::debug!(process, command = %command.display(), "program started");
    Ok(Running {
        process,
        began: Instant::now(),
        group: Group {
            leader: process.cast_signed(),
            is_alone,
        },
        pipes,
        handle: Some(handle),
    })
}

/// The process group of a program that leads one and has not been reaped; or the program alone, if
/// it leads none.
///
/// As long as its leader is not reaped, no other process can get its number, so a signal cannot hit
/// a stranger.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    leader: libc::pid_t,
    is_alone: bool,
}

impl Group {
    /// Returns whether the leader has ended. It stays unreaped.
    fn leader_has_ended(self) -> io::Result<bool> {
        // SAFETY: all-zero is a valid `siginfo_t`, and `waitid` writes nothing else.
        let (answer, info) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let answer = libc::waitid(
                libc::P_PID,
                self.leader.cast_unsigned(),
                &raw mut info,
                libc::WEXITED | libc::WNOHANG | libc::WNOWAIT,
            );
            (answer, info)
        };
        if answer == -1 {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(libc::EINTR) => Ok(false),
                _ => Err(error),
            };
        }
        // SAFETY: the field is set for a child that has ended, and zero, as it was, when there is
        // none.
        Ok(unsafe { info.si_pid() } != 0)
    }

    /// Sends a signal to every process of the group. A group that has ended is none the worse for
    /// it.
    pub(crate) fn signal(self, signal: libc::c_int) {
        let target = if self.is_alone {
            self.leader
        } else {
            -self.leader
        };
        // SAFETY: `kill` touches no memory. It fails only for a group that is gone or, on some
        // systems, is all zombies.
        unsafe {
            libc::kill(target, signal);
        }
    }

    /// Kills every process of the group.
    pub(crate) fn kill(self) {
        self.signal(libc::SIGKILL);
    }
}

/// Reads what a group writes until its leader has ended and the pipes are closed, and returns then.
/// `chunk` receives which of the pipes it came from.
///
/// `tick` is called at least every 50 milliseconds. A process that still holds a pipe open
/// [`GRACE`] after the leader's end is killed, and what is in the pipes by then is still read.
///
/// One thread does it all, with a wait that is bounded: a thread that blocked in `read` could not
/// be called back.
fn drain(
    pipes: &mut [PipeReader],
    group: Group,
    chunk: &mut dyn FnMut(usize, &[u8]),
    tick: &mut dyn FnMut(),
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut ended: Option<Instant> = None;
    let mut open: Vec<usize> = (0..pipes.len()).collect();
    while !open.is_empty() {
        tick();
        if ended.is_none() && group.leader_has_ended()? {
            ended = Some(Instant::now());
        }
        if ended.is_some_and(|at| at.elapsed() >= GRACE) {
            group.kill();
            for which in open {
                drain_rest(&mut pipes[which], &mut |bytes| chunk(which, bytes))?;
            }
            return Ok(());
        }
        for which in readable(pipes, &open, TURN)? {
            match pipes[which].read(&mut buffer) {
                Ok(0) => open.retain(|open| *open != which),
                Ok(length) => chunk(which, &buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    // A program may close its output and work on. Most end immediately.
    let mut pause = Duration::from_millis(1);
    while !group.leader_has_ended()? {
        tick();
        std::thread::sleep(pause);
        pause = TURN.min(pause * 2);
    }
    Ok(())
}

/// Reads what is in the pipe now, at most as much as a pipe holds by default times sixteen: a
/// process that left the group could write for ever.
fn drain_rest(pipe: &mut PipeReader, chunk: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut left = 1 << 20;
    while left > 0 && !readable(std::slice::from_ref(pipe), &[0], Duration::ZERO)?.is_empty() {
        match pipe.read(&mut buffer)? {
            0 => break,
            length => {
                chunk(&buffer[..length]);
                left = usize::saturating_sub(left, length);
            }
        }
    }
    Ok(())
}

/// Returns which of the open pipes can be read without blocking, for bytes or for the end. Waits
/// for it no longer than `limit`.
fn readable(pipes: &[PipeReader], open: &[usize], limit: Duration) -> io::Result<Vec<usize>> {
    use std::os::fd::AsFd;

    let mut wanted: Vec<libc::pollfd> = open
        .iter()
        .map(|which| {
            let descriptor: BorrowedFd<'_> = pipes[*which].as_fd();
            libc::pollfd {
                fd: descriptor.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            }
        })
        .collect();
    let milliseconds = libc::c_int::try_from(limit.as_millis()).unwrap_or(libc::c_int::MAX);
    let count = libc::nfds_t::try_from(wanted.len()).map_err(io::Error::other)?;
    // SAFETY: the pointer is to this many valid `pollfd`, and the descriptors are open as long as
    // they are borrowed.
    if unsafe { libc::poll(wanted.as_mut_ptr(), count, milliseconds) } == -1 {
        let error = io::Error::last_os_error();
        return match error.kind() {
            io::ErrorKind::Interrupted => Ok(Vec::new()),
            _ => Err(error),
        };
    }
    let ready = open.iter().zip(&wanted);
    Ok(ready
        .filter(|(_, descriptor)| descriptor.revents != 0)
        .map(|(which, _)| *which)
        .collect())
}
