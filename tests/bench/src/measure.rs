//! Runs a program and says what it cost, by the kernel's own account: its, and that of all it
//! started and waited for.

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use camino::Utf8Path;
use serde::Serialize;

use crate::failure::Failure;

/// How many lines of a program's output an error repeats.
const LAST_LINES: usize = 10;

/// What a measured run cost.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Cost {
    /// From its start to its end, in seconds.
    pub(crate) wall_seconds: f64,
    /// Processor time, the kernel's for it included, in seconds.
    pub(crate) cpu_seconds: f64,
    /// The registry's processor time meanwhile, in seconds.
    pub(crate) registry_cpu_seconds: f64,
    /// That of the proxy that plays the distance, in seconds.
    pub(crate) proxy_cpu_seconds: f64,
    /// The most memory that one of its processes had resident, in bytes.
    pub(crate) peak_memory: u64,
    /// What it wrote to file systems that are disks, in bytes; none if the system keeps no such
    /// account.
    pub(crate) written: Option<u64>,
    /// The requests that the registry noted, by their methods.
    pub(crate) requests: BTreeMap<String, u64>,
    /// Those that ask for a tag.
    pub(crate) requests_for_tags: u64,
    /// Those about blobs, without mounts.
    pub(crate) requests_for_blobs: u64,
}

impl Cost {
    pub(crate) fn requests(&self) -> u64 {
        self.requests.values().sum()
    }
}

/// What the kernel says of a process that has ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) cpu: Duration,
    pub(crate) peak_memory: u64,
    pub(crate) written: Option<u64>,
}

/// Runs `command` to its end, its output into the file `log`, and returns how long it took and what
/// it cost.
///
/// What others have written is brought to the disk first, so no contender pays for another.
pub(crate) fn run(
    mut command: Command,
    what: &str,
    log: &Utf8Path,
) -> Result<(Duration, Ended), Failure> {
    let failed = |source| Failure::io("write", log, source);
    let output = std::fs::File::create(log).map_err(failed)?;
    let errors = output.try_clone().map_err(failed)?;
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    // SAFETY: it takes nothing and returns nothing.
    unsafe { libc::sync() };
    let program = command.get_program().to_string_lossy().into_owned();
    let began = Instant::now();
    let child = command
        .spawn()
        .map_err(|source| Failure::io("start", Utf8Path::new(&program), source))?;
    let ended = wait(child.id())
        .map_err(|source| Failure::io("wait for", Utf8Path::new(&program), source))?;
    let wall = began.elapsed();
    if ended.status.success() {
        return Ok((wall, ended));
    }
    let text = files::read_text(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    Err(Failure::Measured {
        what: what.to_owned(),
        status: ended.status.to_string(),
        last_lines: lines[lines.len().saturating_sub(LAST_LINES)..].join("\n"),
    })
}

/// Waits for a child and returns what it and the processes that it waited for cost.
pub(crate) fn wait(child: u32) -> io::Result<Ended> {
    let id = libc::pid_t::try_from(child).map_err(io::Error::other)?;
    // The system reports what it wrote until it is waited for, so this only looks.
    retried(|| {
        let mut information = MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: `information` is as large as the kernel's, and nothing else is written.
        unsafe {
            libc::waitid(
                libc::P_PID,
                child,
                information.as_mut_ptr(),
                libc::WEXITED | libc::WNOWAIT,
            )
        }
    })?;
    let written = written(child);
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both are as large as the kernel's, and nothing else is written.
    retried(|| unsafe { libc::wait4(id, &raw mut status, 0, usage.as_mut_ptr()) })?;
    // SAFETY: zero is a value of each of its fields, and wait4 has filled it.
    let usage = unsafe { usage.assume_init() };
    Ok(Ended {
        status: ExitStatus::from_raw(status),
        cpu: duration(usage.ru_utime) + duration(usage.ru_stime),
        peak_memory: u64::try_from(usage.ru_maxrss).unwrap_or(0) * MEMORY_UNIT,
        written,
    })
}

/// What `ru_maxrss` counts in, in bytes: getrusage(2).
const MEMORY_UNIT: u64 = if cfg!(target_os = "linux") { 1024 } else { 1 };

/// Repeats a system call that a signal has interrupted.
fn retried(mut call: impl FnMut() -> libc::c_int) -> io::Result<()> {
    while call() < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(())
}

/// Returns what a process and the processes that it waited for wrote to disks, in bytes:
/// proc_pid_io(5).
fn written(process: u32) -> Option<u64> {
    let text = files::read_text(format!("/proc/{process}/io")).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes:"))?;
    line.trim().parse().ok()
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use camino::Utf8PathBuf;

    use super::*;

    fn log(name: &str) -> Utf8PathBuf {
        let folder = Utf8PathBuf::from_path_buf(std::env::temp_dir()).unwrap();
        folder.join(format!("airlock-{name}-{}.log", std::process::id()))
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn counts_what_the_children_of_a_child_cost() {
        let log = log("cost");
        // A shell that starts another one, which takes its time on the processor.
        let script = "sh -c 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done'; true";
        let (wall, ended) = run(shell(script), "a loop", &log).unwrap();
        std::fs::remove_file(&log).unwrap();
        assert!(ended.cpu > Duration::ZERO);
        assert!(wall > Duration::ZERO);
        assert!(ended.peak_memory > 100_000, "{}", ended.peak_memory);
    }

    #[test]
    fn a_program_that_fails_is_an_error_with_its_last_words() {
        let log = log("failed");
        let error = run(shell("echo why not; exit 3"), "it", &log)
            .err()
            .unwrap();
        std::fs::remove_file(&log).unwrap();
        let Failure::Measured {
            status, last_lines, ..
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!(
            (status.as_str(), last_lines.as_str()),
            ("exit status: 3", "why not")
        );
    }
}
