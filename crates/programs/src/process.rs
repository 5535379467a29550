//! Starts and supervises programs. Each program leads its own session, its pipes are read with a
//! bounded wait, signals reach the whole group, and no process of the group is left behind.
//!
//! The standard library offers none of this for a child and its descendants. All `unsafe` code of
//! this crate is here, one system call each.

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

use secrecy::ExposeSecret as _;

use crate::Exit;

/// Maximum wait for output before signals and time limits are checked again.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Time that output is still read after a program has ended, if a descendant holds the pipe open.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// Makes a new program the leader of its own session and process group.
///
/// A group would suffice for signals. The session also detaches the terminal, so a prompt there
/// (`ssh` prompts for an unknown host key) fails immediately. The system would stop a background
/// group at the prompt, and it would wait for ever.
///
/// On Linux the program also receives SIGINT when the thread that started it ends first, as when
/// this process is killed: an unsupervised program must not change a cluster.
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

/// Makes files that a new program creates readable by their owner alone, even if it is killed.
#[expect(
    clippy::unnecessary_wraps,
    reason = "duct's `before_spawn` expects a Result"
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

/// Returns whether a program started by [`run`](crate::run()) still runs, also one that an earlier
/// process of this tool started.
///
/// Such a program leads a session. A different process that reused the number counts as running
/// only if it leads one, too.
pub fn is_running(process: u32) -> bool {
    let process = process.cast_signed();
    // SAFETY: `getsid` touches no memory. It fails for a process that does not exist.
    process > 0 && unsafe { libc::getsid(process) } == process && !has_ended(process)
}

/// Returns whether any process with this number runs.
pub fn exists(process: u32) -> bool {
    let process = process.cast_signed();
    // SAFETY: `getsid` touches no memory. It fails for a process that does not exist.
    process > 0 && unsafe { libc::getsid(process) } != -1 && !has_ended(process)
}

/// Returns whether a process has ended but was not reaped, as happens in a container without an
/// init. Always false without `/proc`.
fn has_ended(process: i32) -> bool {
    let status = files::read_text(format!("/proc/{process}/stat"));
    let status = status.unwrap_or_default();
    // The program's name is in parentheses and may contain any character.
    let state = status.rsplit_once(") ").map(|(_, state)| state);
    state.is_some_and(|state| state.starts_with(['Z', 'X']))
}

/// Standard input of a program.
pub(crate) enum Input<'a> {
    Nothing,
    /// These bytes. The program need not read all of them.
    Bytes(&'a [u8]),
    /// The content of this pipe.
    Pipe(PipeReader),
}

/// Destination of a program's standard output and standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    /// One pipe for both, in the order of writing.
    Together,
    /// Standard error goes to the first pipe, standard output to the second.
    Apart,
    /// Both are discarded. The program keeps the terminal, where it may prompt for a passphrase.
    Terminal,
    /// Like [`Output::Terminal`], but standard error goes to a pipe.
    Errors,
}

/// A program that was started and not yet reaped. Dropping this value kills it.
pub(crate) struct Running {
    pub(crate) process: u32,
    pub(crate) group: Group,
    began: Instant,
    pipes: Vec<PipeReader>,
    handle: Option<duct::Handle>,
}

impl Running {
    /// Reads the program's output until it has ended; see [`drain`].
    pub(crate) fn drain(
        &mut self,
        chunk: &mut dyn FnMut(usize, &[u8]),
        tick: &mut dyn FnMut(),
    ) -> io::Result<()> {
        drain(&mut self.pipes, self.group, chunk, tick)
    }

    /// Reads the program's output until it has ended, and kills it once `is_over` returns true.
    /// Returns whether it was killed.
    pub(crate) fn drain_until(
        &mut self,
        is_over: &dyn Fn() -> bool,
        chunk: &mut dyn FnMut(usize, &[u8]),
    ) -> io::Result<bool> {
        let (group, mut killed) = (self.group, false);
        self.drain(chunk, &mut || {
            if !killed && is_over() {
                killed = true;
                group.kill();
            }
        })?;
        Ok(killed)
    }

    /// Reaps a program that has ended, and returns its exit.
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
            // The wait only reaps; an error cannot be reported here.
            let _ = handle.wait();
        }
    }
}

/// Starts the program of `command`.
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
    // It holds the writing ends of the pipes, which reach their end only when all are closed.
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

/// The process group that a program leads, or the program alone if it leads none.
///
/// The program is not reaped yet, so no other process can have its number and receive its signals.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    leader: libc::pid_t,
    is_alone: bool,
}

impl Group {
    /// Returns whether the leader has ended, without reaping it.
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
        // SAFETY: `waitid` sets the field for a child that has ended, and otherwise leaves zero.
        Ok(unsafe { info.si_pid() } != 0)
    }

    /// Sends a signal to every process of the group. Does nothing if the group has ended.
    pub(crate) fn signal(self, signal: libc::c_int) {
        let target = if self.is_alone {
            self.leader
        } else {
            -self.leader
        };
        // SAFETY: `kill` touches no memory. It fails only if the group has ended or, on some
        // systems, consists of zombies.
        unsafe {
            libc::kill(target, signal);
        }
    }

    /// Kills every process of the group.
    pub(crate) fn kill(self) {
        self.signal(libc::SIGKILL);
    }
}

/// Reads the output of a group until its leader has ended and the pipes are closed. `chunk`
/// receives the index of the pipe and the bytes.
///
/// `tick` is called at least every 50 milliseconds. A process that still holds a pipe open
/// [`GRACE`] after the leader's end is killed, and what the pipes contain by then is still read.
///
/// One thread reads all pipes with a bounded wait: a thread blocked in `read` could not be stopped.
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
        for which in readable(pipes, &open, POLL_INTERVAL)? {
            match pipes[which].read(&mut buffer) {
                Ok(0) => open.retain(|open| *open != which),
                Ok(length) => chunk(which, &buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    // A program may close its output and continue. Most end immediately.
    let mut pause = Duration::from_millis(1);
    while !group.leader_has_ended()? {
        tick();
        std::thread::sleep(pause);
        pause = POLL_INTERVAL.min(pause * 2);
    }
    Ok(())
}

/// Reads what the pipe contains now, at most 1 MiB (sixteen times a pipe's default capacity): a
/// process that left the group could write for ever.
fn drain_rest(pipe: &mut PipeReader, chunk: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut remaining_bytes: usize = 1 << 20;
    while remaining_bytes > 0
        && !readable(std::slice::from_ref(pipe), &[0], Duration::ZERO)?.is_empty()
    {
        match pipe.read(&mut buffer)? {
            0 => break,
            length => {
                chunk(&buffer[..length]);
                remaining_bytes = remaining_bytes.saturating_sub(length);
            }
        }
    }
    Ok(())
}

/// Returns the indices of those open pipes that have bytes or have reached their end. Waits at most
/// `limit`.
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
    // SAFETY: the pointer refers to `count` valid `pollfd`, whose descriptors are borrowed and thus
    // open.
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
