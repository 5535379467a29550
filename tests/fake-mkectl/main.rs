//! A stand-in for `mkectl` that the tests put on the PATH: it records how it was called and does as it was told.
//!
//! It answers `version`, `init`, `apply --help` and `apply -f FILE` in the manner of the vendor's program: results on
//! standard output, `INF`, `WRN` and `FTL` lines on standard error. Anything else ends with exit code 2, so that a test
//! notices a command line which the real program would not understand.
//!
//! | variable | effect |
//! |---|---|
//! | `FAKE_MKECTL_RECORD` | file to which each call adds a line of JSON: arguments, environment, standard input, process id, and for `apply` the text of the file |
//! | `FAKE_MKECTL_VERSION` | the version to claim, `v4.1.5` if unset; empty for an answer without version |
//! | `FAKE_MKECTL_FLAGS` | `old` leaves `--no-color` and `--no-pretty-print` out of the help and refuses them |
//! | `FAKE_MKECTL_FLOOD` | how many lines `apply` writes, numbered from 1, by turns on both outputs |
//! | `FAKE_MKECTL_HANG` | `apply` waits for SIGINT or SIGTERM, says which came, and exits with 130 or 143; with the value `ignore` it says so and goes on waiting |
//! | `FAKE_MKECTL_EXIT` | exit code of `apply`, after an `FTL` line unless it is 0; overrides 130 and 143 |

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "this is a program of its own, which talks through its outputs and is told what to do by variables"
)]

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::process::ExitCode;

/// Exit code for a command line that this program does not know.
const USAGE: u8 = 2;

/// The default of `FAKE_MKECTL_VERSION`.
const VERSION: &str = "v4.1.5";

/// The flags of `apply` that are known from public documentation, and whether each takes a value.
const APPLY_FLAGS: &[(&str, bool)] = &[
    ("--admin-password", true),
    ("--bpf-dns-patch", false),
    ("--chart-registry-password", true),
    ("--chart-registry-username", true),
    ("--check-ports", false),
    ("--cni-check-port", true),
    ("--cni-check-timeout", true),
    ("--cni-check-timeout-windows", true),
    ("--image-registry-password", true),
    ("--image-registry-username", true),
    ("--timeout-minutes", true),
];

/// The flags of every command.
const GLOBAL_FLAGS: &[(&str, bool)] = &[
    ("--file", true),
    ("--help", false),
    ("--kubeconfig", true),
    ("--logLevel", true),
    ("--no-color", false),
    ("--no-pretty-print", false),
];

/// Flags that `FAKE_MKECTL_FLAGS=old` takes away.
const NEW_FLAGS: &[&str] = &["--no-color", "--no-pretty-print"];

fn main() -> ExitCode {
    match answer() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("FTL fake-mkectl: {error}");
            ExitCode::FAILURE
        }
    }
}

fn answer() -> io::Result<u8> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["version"] => {
            record(&arguments, None)?;
            match version().as_str() {
                "" => println!("mkectl, built from source"),
                version => println!("Version: {version}"),
            }
            Ok(0)
        }
        ["init"] => {
            record(&arguments, None)?;
            print!("{}", initial(&version()));
            Ok(0)
        }
        ["apply", rest @ ..] if rest.contains(&"--help") || rest.contains(&"-h") => {
            record(&arguments, None)?;
            print!("{}", help());
            Ok(0)
        }
        ["apply", rest @ ..] => match file_of(rest) {
            Ok(file) => apply(&arguments, file),
            Err(reason) => {
                record(&arguments, None)?;
                eprintln!("Error: {reason}");
                Ok(USAGE)
            }
        },
        _ => {
            record(&arguments, None)?;
            eprintln!(
                "Error: unknown command {:?} for \"mkectl\"",
                words.join(" ")
            );
            Ok(USAGE)
        }
    }
}

fn apply(arguments: &[String], file: &str) -> io::Result<u8> {
    // Before the first line that a test may react to: a signal that comes early must be waited for, not died of.
    let hang = std::env::var("FAKE_MKECTL_HANG").ok();
    let signals = hang.is_some().then(Signals::block);

    let text = std::fs::read_to_string(file);
    record(arguments, text.as_deref().ok())?;
    if let Err(error) = text {
        eprintln!("FTL failed to read config file {file}: {error}");
        return Ok(1);
    }
    eprintln!("INF mkectl {} reads {file}", version());
    flood(number("FAKE_MKECTL_FLOOD").unwrap_or(0))?;

    let exit = number("FAKE_MKECTL_EXIT");
    if let Some(signals) = signals {
        eprintln!("INF waiting for nodes to become ready");
        let (name, code) = signals.wait(hang.as_deref() == Some("ignore"))?;
        eprintln!("WRN received {name}, cleaning up");
        return Ok(exit.map_or(code, clamp));
    }
    match exit.unwrap_or(0) {
        0 => {
            println!(
                "Username: admin\nPassword: fake-generated-password (they are only showed once)"
            );
            eprintln!("INF MKE {} is installed", version());
            Ok(0)
        }
        code => {
            eprintln!("FTL apply failed: told to by FAKE_MKECTL_EXIT");
            Ok(clamp(code))
        }
    }
}

/// Returns the file that `apply` is to read, or what is wrong with its arguments.
fn file_of<'a>(arguments: &[&'a str]) -> Result<&'a str, String> {
    let mut file = "mke4.yaml";
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (name, mut value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (*argument, None),
        };
        let name = match name {
            "-f" => "--file",
            "-l" => "--logLevel",
            name => name,
        };
        let known = flags().find(|(known, _)| *known == name);
        let Some((_, takes_value)) = known else {
            return Err(match name.starts_with('-') {
                true => format!("unknown flag: {name}"),
                false => format!("unknown command {name:?} for \"mkectl apply\""),
            });
        };
        if takes_value && value.is_none() {
            value = rest.next().copied();
            if value.is_none() {
                return Err(format!("flag needs an argument: {name}"));
            }
        }
        if name == "--file" {
            file = value.unwrap_or_default();
        }
    }
    Ok(file)
}

fn flags() -> impl Iterator<Item = (&'static str, bool)> {
    let old = std::env::var("FAKE_MKECTL_FLAGS").is_ok_and(|flags| flags == "old");
    APPLY_FLAGS
        .iter()
        .chain(GLOBAL_FLAGS)
        .copied()
        .filter(move |(name, _)| !(old && NEW_FLAGS.contains(name)))
}

fn help() -> String {
    let mut text =
        "Apply the MKE config to the cluster\n\nUsage:\n  mkectl apply [flags]\n\nFlags:\n"
            .to_owned();
    for (name, takes_value) in flags() {
        let short = match name {
            "--file" => "  -f, ",
            "--help" => "  -h, ",
            "--logLevel" => "  -l, ",
            _ => "      ",
        };
        let value = if takes_value { " string" } else { "" };
        text.push_str(&format!("{short}{name}{value}\n"));
    }
    text
}

fn initial(version: &str) -> String {
    format!(
        "apiVersion: mke.mirantis.com/v1alpha1\nkind: MkeConfig\nmetadata:\n  creationTimestamp: null\n  name: mke\n  \
         namespace: mke\nspec:\n  airgap:\n    enabled: false\n  hosts:\n  - role: controller+worker\n    ssh:\n      \
         address: 1.2.3.4\n      keyPath: path/to/key\n      port: 22\n      user: root\n  registries:\n    \
         chartRegistry:\n      url: oci://registry.mirantis.com/mke\n    imageRegistry:\n      url: \
         registry.mirantis.com/mke\n  version: {version}\n"
    )
}

fn flood(lines: u64) -> io::Result<()> {
    for line in 1..=lines {
        let text = format!("INF flood line {line} of {lines}\n");
        // Unbuffered on both sides, since the order is what a test looks at.
        match line % 2 {
            0 => io::stdout().write_all(text.as_bytes())?,
            _ => io::stderr().write_all(text.as_bytes())?,
        }
    }
    Ok(())
}

/// Adds this call to the record, if one is kept.
fn record(arguments: &[String], file: Option<&str>) -> io::Result<()> {
    let Some(path) = std::env::var_os("FAKE_MKECTL_RECORD") else {
        return Ok(());
    };
    let mut stdin = Vec::new();
    io::stdin().read_to_end(&mut stdin)?;
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .map(|(name, value)| {
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        })
        .collect();
    let call = serde_json::json!({
        "arguments": arguments,
        "environment": environment,
        "stdin": String::from_utf8_lossy(&stdin),
        "file": file,
        "process": std::process::id(),
    });
    let mut record = OpenOptions::new().create(true).append(true).open(path)?;
    // One write, so that the lines of calls at the same time do not mix.
    record.write_all(format!("{call}\n").as_bytes())
}

fn version() -> String {
    std::env::var("FAKE_MKECTL_VERSION").unwrap_or_else(|_| VERSION.to_owned())
}

/// Returns the number in a variable. A value that is none is as good as none: the test will notice.
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn clamp(code: u64) -> u8 {
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// SIGINT and SIGTERM, blocked from now on and waited for.
struct Signals(libc::sigset_t);

impl Signals {
    fn block() -> Self {
        // SAFETY: `sigemptyset` initialises the set before anything reads it, and the pointers are to a local.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGINT);
            libc::sigaddset(&raw mut set, libc::SIGTERM);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            Self(set)
        }
    }

    /// Waits for a signal and returns its name and the exit code that goes with it. With `stubborn` it never returns.
    fn wait(&self, stubborn: bool) -> io::Result<(&'static str, u8)> {
        loop {
            let mut signal = 0;
            // SAFETY: both pointers are to initialised values.
            let answer = unsafe { libc::sigwait(&raw const self.0, &raw mut signal) };
            if answer != 0 {
                return Err(io::Error::from_raw_os_error(answer));
            }
            let came = match signal {
                libc::SIGINT => ("SIGINT", 130),
                _ => ("SIGTERM", 143),
            };
            if !stubborn {
                return Ok(came);
            }
            eprintln!("WRN received {}, which is ignored", came.0);
        }
    }
}
