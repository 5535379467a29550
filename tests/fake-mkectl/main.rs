//! A fake `mkectl` that tests put on PATH: it records its calls, and environment variables control
//! its behaviour.
//!
//! It plays the release that `FAKE_MKECTL_VERSION` names, with the commands and flags of
//! `releases.rs`, in the manner of the vendor's program: results on standard output, `INF`, `WRN`
//! and `FTL` lines on standard error. Any other command line exits with code 2, so a test notices a
//! command line that the real program refuses. It fails in these cases, as the real program does or
//! is assumed to: a given path does not exist, a backup exists already, `backup` runs with
//! `KUBECONFIG`, a cluster is created with a kubeconfig, or `reset` lacks `--force`.
//!
//! | variable | effect |
//! |---|---|
//! | `FAKE_MKECTL_RECORD` | file to which each call adds a line of JSON: arguments, environment, standard input, process id, and the texts of the files that `--file` and `--hosts-path` name |
//! | `FAKE_MKECTL_VERSION` | the version to claim, `v4.1.5` if unset; empty for an answer without version |
//! | `FAKE_MKECTL_FLAGS` | `old` leaves `--no-color` and `--no-pretty-print` out of the help and refuses them |
//! | `FAKE_MKECTL_CLUSTER` | file with the cluster's configuration: `apply` writes its file there, `upgrade` adds its version and a key, and `config get` prints it; without the file no cluster responds. A kubeconfig with a line `# cluster: FILE` selects that file instead |
//! | `FAKE_MKECTL_CONFIG` | file that `config get` prints, instead of the output of `init`; without it and without a kubeconfig, no cluster responds |
//! | `FAKE_MKECTL_IMAGES`, `FAKE_MKECTL_CHARTS` | files that `airgap list-images` and `list-charts` print, instead of a reference or two |
//! | `FAKE_MKECTL_BACKUP` | the result of a backup, instead of an archive: `none` writes no file and reports success, `empty`, `garbage` and `cut` write such a file, `link` a link to an archive, `fail` exits with 1, `hang` waits as `FAKE_MKECTL_HANG` does |
//! | `FAKE_MKECTL_UPGRADE` | `none`: `upgrade` changes nothing and reports success |
//! | `FAKE_MKECTL_MIGRATED` | file with the configuration that an upgrade from MKE 3 leaves in `--config-out` |
//! | `FAKE_MKECTL_DRY_RUN` | `fail`: `apply --dry-run` exits with 1 |
//! | `FAKE_MKECTL_REFUSED` | a text: a configuration that contains it is invalid |
//! | `FAKE_MKECTL_EXIT` | exit code of a command that works, after an `FTL` line unless it is 0; overrides 130 and 143. An upgrade rolls back first |
//!
//! These are for the commands that work for a while: all but `version`, `init`, `config get` and
//! `airgap`. With `FAKE_MKECTL_AT`, they and `FAKE_MKECTL_EXIT` are for the command of these words
//! alone, `upgrade` for example.
//!
//! | variable | effect |
//! |---|---|
//! | `FAKE_MKECTL_FLOOD` | how many lines it writes, numbered from 1, by turns on both outputs |
//! | `FAKE_MKECTL_HANG` | it waits for SIGINT or SIGTERM, prints which one, and exits with 130 or 143; with the value `ignore` it prints so and keeps waiting, with `no` it does not wait |
//! | `FAKE_MKECTL_CLEANED` | file to which the name of the signal goes, when it is cleaned up after |
//! | `FAKE_MKECTL_LEAK` | it prints the value of the variable of this name, or with `arguments` all its arguments, each cut in two writes |
//! | `FAKE_MKECTL_PASSWORD` | with the value `crash`, it aborts right after it has printed the administrator's password; with `unknown` it prints that in a form of its own |
//! | `FAKE_MKECTL_CRASH` | with any value, it aborts after its first lines, without cleaning up |

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "this is a program of its own, which prints, and is controlled by environment variables"
)]

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use releases::Release;

mod releases;

/// Exit code for a command line that this program does not know.
const USAGE: u8 = 2;

/// The default of `FAKE_MKECTL_VERSION`.
const VERSION: &str = "v4.1.5";

/// Flags that `FAKE_MKECTL_FLAGS=old` hides.
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
    let release = Release::of(&version());
    let command_length = words
        .iter()
        .take_while(|word| !word.starts_with('-'))
        .count();
    let (command, flags) = words.split_at(command_length);
    if flags.contains(&"--help") || flags.contains(&"-h") {
        record(&arguments, None)?;
        return match release.help(command, hidden()) {
            Some(help) => {
                print!("{help}");
                Ok(0)
            }
            None => unknown(&words),
        };
    }
    if !release.commands().contains(&command) {
        record(&arguments, None)?;
        return unknown(&words);
    }
    let given = match Given::read(release, command, flags) {
        Ok(given) => given,
        Err(reason) => {
            record(&arguments, None)?;
            eprintln!("Error: {reason}");
            return Ok(USAGE);
        }
    };
    match command {
        ["version"] => {
            record(&arguments, Some(&given))?;
            match version().as_str() {
                "" => println!("mkectl, built from source"),
                version => println!("Version: {version}"),
            }
        }
        ["init"] => {
            record(&arguments, Some(&given))?;
            if let Err(reason) = given.check_paths(command) {
                eprintln!("FTL {reason}");
                return Ok(1);
            }
            match given.value("--file") {
                Some(file) => {
                    let text = std::fs::read_to_string(file)?;
                    if let Err(reason) = valid(&text) {
                        eprintln!("FTL invalid config {file}: {reason}");
                        return Ok(1);
                    }
                    println!("apiVersion: k0sctl.k0sproject.io/v1beta1\nkind: Cluster\n{text}");
                }
                None => print!("{}", initial(&version())),
            }
        }
        ["config", "get"] => {
            record(&arguments, Some(&given))?;
            if let Err(reason) = given.check_paths(command) {
                eprintln!("FTL {reason}");
                return Ok(1);
            }
            return config_get(release, &given);
        }
        ["airgap", "list-images"] => {
            record(&arguments, Some(&given))?;
            print!("{}", listed("FAKE_MKECTL_IMAGES", IMAGES)?);
        }
        ["airgap", "list-charts"] => {
            record(&arguments, Some(&given))?;
            print!("{}", listed("FAKE_MKECTL_CHARTS", CHARTS)?);
        }
        _ => return work(release, command, &arguments, &given),
    }
    Ok(0)
}

/// The default registries of charts and images.
const CHARTS_AT: &str = "oci://registry.mirantis.com/mke";
const IMAGES_AT: &str = " registry.mirantis.com/mke";

/// The default output of `airgap list-images`: some images of the small bundle of the tests.
const IMAGES: &str = "registry.mirantis.com/mke/calico/node:v3.30.2\nregistry.mirantis.com/k0rdent-enterprise/mke-operator:v1.6.3\n";

/// The default output of `airgap list-charts`.
const CHARTS: &str =
    "oci://registry.mirantis.com/k0rdent-enterprise/charts/k0rdent-enterprise:1.2.3\n";

fn listed(variable: &str, otherwise: &str) -> io::Result<String> {
    match std::env::var_os(variable) {
        Some(path) => std::fs::read_to_string(path),
        None => Ok(otherwise.to_owned()),
    }
}

fn unknown(words: &[&str]) -> io::Result<u8> {
    eprintln!(
        "Error: unknown command {:?} for \"mkectl\"",
        words.join(" ")
    );
    Ok(USAGE)
}

/// Checks a configuration as `init -f` and `apply` do.
fn valid(text: &str) -> Result<(), String> {
    if !text.starts_with("apiVersion: mke.mirantis.com/")
        && !text.contains("\napiVersion: mke.mirantis.com/")
    {
        return Err("apiVersion is not mke.mirantis.com".to_owned());
    }
    match std::env::var("FAKE_MKECTL_REFUSED") {
        Ok(refused) if text.contains(&refused) => Err(format!("{refused} is not allowed")),
        _ => Ok(()),
    }
}

fn config_get(release: Release, given: &Given<'_>) -> io::Result<u8> {
    let config = match (cluster(given), std::env::var_os("FAKE_MKECTL_CONFIG")) {
        (Some(path), _) | (None, Some(path)) => std::fs::read_to_string(path)?,
        (None, None) if given.has("--kubeconfig") || leftover_kubeconfig() => initial(&version()),
        (None, None) => {
            eprintln!("FTL there is no kubeconfig");
            return Ok(1);
        }
    };
    if release.mixes_log_and_config() {
        let (head, rest) = config.split_once('\n').unwrap_or_default();
        print!(
            "\u{1b}[32mINF\u{1b}[0m reading the cluster\n{head}\n\u{1b}[33mWRN\u{1b}[0m slow\n{rest}"
        );
    } else {
        print!("{config}");
    }
    Ok(0)
}

/// Runs a command that changes a cluster. Variables make it fail, hang, print a lot or crash.
fn work(
    release: Release,
    command: &[&str],
    arguments: &[String],
    given: &Given<'_>,
) -> io::Result<u8> {
    // Signals are blocked before the first line of output: a test may send a signal as soon as it
    // reads a line, and the signal must not end the process.
    let is_meant = std::env::var("FAKE_MKECTL_AT").map_or(true, |words| words == command.join(" "));
    let hang = std::env::var("FAKE_MKECTL_HANG").ok().filter(|_| is_meant);
    let backup = std::env::var("FAKE_MKECTL_BACKUP").unwrap_or_default();
    let backup = if command.last() == Some(&"backup") {
        backup.as_str()
    } else {
        ""
    };
    let hang = hang.filter(|hang| hang != "no");
    let hang = hang.or_else(|| (backup == "hang").then(|| "yes".to_owned()));
    let signals = hang.is_some().then(Signals::block);

    record(arguments, Some(given))?;
    if let Err(reason) = refusal(command, given) {
        eprintln!("{reason}");
        return Ok(1);
    }
    if command == ["apply"] {
        let file = given.file();
        match std::fs::read_to_string(file) {
            Ok(text) => {
                if let Err(reason) = valid(&text) {
                    eprintln!("FTL invalid config {file}: {reason}");
                    return Ok(1);
                }
            }
            Err(error) => {
                eprintln!("FTL failed to read config file {file}: {error}");
                return Ok(1);
            }
        }
        eprintln!("INF mkectl {} reads {file}", version());
        if given.has("--dry-run") {
            eprintln!("INF dry run: nothing is changed");
            return Ok(u8::from(
                std::env::var("FAKE_MKECTL_DRY_RUN").is_ok_and(|how| how == "fail"),
            ));
        }
    } else {
        eprintln!("INF mkectl {} begins: {}", version(), command.join(" "));
    }
    flood(
        number("FAKE_MKECTL_FLOOD")
            .filter(|_| is_meant)
            .unwrap_or(0),
    )?;
    if let Ok(name) = std::env::var("FAKE_MKECTL_LEAK")
        && is_meant
    {
        leak(&name, arguments)?;
    }
    if std::env::var_os("FAKE_MKECTL_PASSWORD").is_some_and(|when| when == "crash" && is_meant) {
        credentials()?;
        std::process::abort();
    }
    if std::env::var_os("FAKE_MKECTL_CRASH").is_some() && is_meant {
        std::process::abort();
    }

    let exit = number("FAKE_MKECTL_EXIT").filter(|_| is_meant);
    if let Some(signals) = signals {
        eprintln!("INF waiting for nodes to become ready");
        let (name, code) = signals.wait(hang.as_deref() == Some("ignore"))?;
        if let Some(path) = std::env::var_os("FAKE_MKECTL_CLEANED") {
            std::fs::write(path, name)?;
        }
        let _ = writeln!(io::stderr(), "WRN received {name}, cleaning up");
        return Ok(exit.map_or(code, clamp));
    }
    match exit.unwrap_or(u64::from(backup == "fail")) {
        0 => done(release, command, given, backup),
        code => {
            if let (Some("backup"), Some(name)) = (command.last().copied(), given.value("--name")) {
                std::fs::write(name, "#")?;
            }
            match command {
                ["upgrade"] => {
                    // A failed upgrade is rolled back.
                    eprintln!("FTL Upgrade failed due to error: told to by FAKE_MKECTL_EXIT");
                    eprintln!("INF rolling back\nINF rollback is complete");
                }
                command => eprintln!(
                    "FTL {} failed: told to by FAKE_MKECTL_EXIT",
                    command.join(" ")
                ),
            }
            Ok(clamp(code))
        }
    }
}

/// What a command that works leaves behind when it succeeds.
fn done(release: Release, command: &[&str], given: &Given<'_>, backup: &str) -> io::Result<u8> {
    match command {
        ["apply"] => {
            if let Some(cluster) = cluster(given) {
                std::fs::copy(given.file(), cluster)?;
            }
            match std::env::var("FAKE_MKECTL_PASSWORD") {
                Ok(form) if form == "unknown" => {
                    println!("They are only showed once\nsee the portal")
                }
                _ => credentials()?,
            }
            eprintln!("INF MKE {} is installed", version());
        }
        ["upgrade"] => {
            if given.value("--hosts-path").is_some() && leftover_kubeconfig() {
                eprintln!("FATA[0000] Upgrade failed due to error: kubeconfig exists already");
                return Ok(1);
            }
            let given_or = |flag, other| given.value(flag).unwrap_or(other);
            if let Some(path) = given.value("--config-out") {
                let text = match std::env::var_os("FAKE_MKECTL_MIGRATED") {
                    Some(file) => std::fs::read_to_string(file)?,
                    None => initial(&version())
                        .replace(CHARTS_AT, given_or("--chart-registry", CHARTS_AT))
                        .replace(
                            IMAGES_AT,
                            &format!(" {}", given_or("--image-registry", IMAGES_AT.trim())),
                        ),
                };
                std::fs::write(path, text)?;
            }
            let is_done = std::env::var("FAKE_MKECTL_UPGRADE").as_deref() != Ok("none");
            if let Some(cluster) = cluster(given).filter(|_| is_done) {
                let text = std::fs::read_to_string(&cluster)?;
                let lines: Vec<String> = text
                    .lines()
                    .map(|line| match line.starts_with("  version: ") {
                        true => format!("  version: {}\n  upgraded: true\n", version()),
                        false => format!("{line}\n"),
                    })
                    .collect();
                std::fs::write(cluster, lines.concat())?;
            }
            println!("Upgrade Summary");
        }
        [.., "backup"] => {
            // What a build wrote, only the same build restores.
            let name = given.value("--name").unwrap_or("backup.tar");
            let mut archive = archive(&written_by())?;
            match backup {
                "empty" => archive.clear(),
                "garbage" => archive = vec![b'#'; 4096],
                "cut" => archive.truncate(700),
                _ => {}
            }
            if backup != "none" {
                std::fs::write(name, archive)?;
            }
            if backup == "link" {
                std::fs::rename(name, "elsewhere.tar")?;
                std::os::unix::fs::symlink("elsewhere.tar", name)?;
            }
            eprintln!("INF {name} is written");
        }
        [.., "restore"] => {
            let name = given.value("--name").unwrap_or("backup.tar");
            let bytes = std::fs::read(name)?;
            let wanted = written_by();
            if !bytes
                .windows(wanted.len())
                .any(|window| window == wanted.as_bytes())
            {
                eprintln!("FTL {name} was written by another build");
                return Ok(1);
            }
            if !release.has_etcd() && given.value("--hosts-path").is_none() {
                eprintln!("Error: required flag(s) \"hosts-path\" not set");
                return Ok(USAGE);
            }
            eprintln!("INF {name} is restored");
        }
        ["kubeconfig" | "login"] => {
            eprintln!("INF logging in");
            print!("{KUBECONFIG}");
        }
        // Whatever else there is.
        _ => eprintln!("INF {} is done", command.join(" ")),
    }
    Ok(0)
}

/// Checks the conditions under which the real program refuses a command.
fn refusal(command: &[&str], given: &Given<'_>) -> Result<(), String> {
    given
        .check_paths(command)
        .map_err(|reason| format!("FTL {reason}"))?;
    let has_variable = std::env::var_os("KUBECONFIG").is_some();
    match command {
        ["apply"] => {
            let is_new = cluster(given).is_some_and(|path| !std::path::Path::new(&path).exists());
            if is_new && (has_variable || given.has("--kubeconfig")) {
                return Err("FTL a kubeconfig must not be used to create a cluster".to_owned());
            }
        }
        [.., "backup"] => {
            if has_variable {
                return Err("FTL KUBECONFIG must be unset for a backup".to_owned());
            }
            let name = given.value("--name").unwrap_or("backup.tar");
            if std::path::Path::new(name).exists() {
                return Err(format!("FTL a backup with the name {name} already exists"));
            }
        }
        ["reset"] if !given.has("--force") => {
            eprintln!(
                "time=\"2026-01-01T00:00:00Z\" level=info msg=\"==> Running phase: Disconnect from hosts\""
            );
            return Err("Error: reset requires --force".to_owned());
        }
        _ => {}
    }
    Ok(())
}

/// Returns the file with the cluster's configuration: the file that the kubeconfig selects, or that
/// of `FAKE_MKECTL_CLUSTER`.
fn cluster(given: &Given<'_>) -> Option<std::ffi::OsString> {
    let home =
        || Some(std::path::PathBuf::from(std::env::var_os("HOME")?).join(".mke/mke.kubeconf"));
    let variable = || std::env::var_os("KUBECONFIG").map(std::path::PathBuf::from);
    let path = given.value("--kubeconfig").map(std::path::PathBuf::from);
    let text = path
        .or_else(variable)
        .or_else(home)
        .and_then(|path| std::fs::read_to_string(path).ok());
    let named = text.as_deref().and_then(|text| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix("# cluster: "))
    });
    named
        .map(Into::into)
        .or_else(|| std::env::var_os("FAKE_MKECTL_CLUSTER"))
}

/// Returns the content of a backup, which names the build that wrote it.
fn written_by() -> String {
    format!("backup of mkectl {}\n", version())
}

/// Returns a tar with one member.
fn archive(text: &str) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o600);
    tar.append_data(&mut header, "backup.txt", text.as_bytes())?;
    tar.into_inner()
}

/// What `kubeconfig` prints. Its key is what a log must never have.
const KUBECONFIG: &str = "apiVersion: v1\nkind: Config\nclusters:\n- name: mke\nusers:\n- name: mke\n  user:\n    \
                          password: fake-kubeconfig-password\n    client-key-data: ZmFrZS1rdWJlY29uZmln\n";

/// Returns whether an earlier try has left a kubeconfig where mkectl keeps it.
fn leftover_kubeconfig() -> bool {
    std::env::var_os("HOME").is_some_and(|home| {
        std::path::Path::new(&home)
            .join(".mke/mke.kubeconf")
            .exists()
    })
}

/// Prints secrets or arguments, each word in two writes.
fn leak(what: &str, arguments: &[String]) -> io::Result<()> {
    let words = match what {
        "arguments" => arguments.to_vec(),
        name => vec![std::env::var(name).unwrap_or_default()],
    };
    let mut out = io::stdout();
    write!(out, "WRN connecting with")?;
    for word in words {
        let (head, tail) = word.as_bytes().split_at(word.len() / 2);
        out.write_all(b" ")?;
        out.write_all(head)?;
        out.flush()?;
        std::thread::sleep(std::time::Duration::from_millis(30));
        out.write_all(tail)?;
    }
    writeln!(out)?;
    out.flush()
}

/// Prints the box with the administrator's password, in two writes that cut the password
/// (CONF-132).
fn credentials() -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(
        b"!!! Make sure to save the admin credentials shown below !!!\n              They are only showed once\n\
          \x20        You won't be able to see them again\n             Generated username:password\n\
          \x20       admin:fake-gene",
    )?;
    out.flush()?;
    std::thread::sleep(std::time::Duration::from_millis(100));
    out.write_all(b"rated-password\n")?;
    out.flush()
}

/// The flags that were given, with their values.
struct Given<'a>(Vec<(&'static str, &'a str)>);

impl<'a> Given<'a> {
    /// Reads the flags of a command, or returns what is wrong with them.
    fn read(release: Release, command: &[&str], arguments: &[&'a str]) -> Result<Self, String> {
        let flags = release.flags(command);
        let mut given = Vec::new();
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
            let known = flags
                .iter()
                .find(|(known, _)| *known == name && !hidden().contains(known));
            let Some((known, takes_value)) = known else {
                return Err(match name.starts_with('-') {
                    true => format!("unknown flag: {name}"),
                    false => format!("unknown command {name:?} for \"mkectl\""),
                });
            };
            if *takes_value && value.is_none() {
                value = rest.next().copied();
                if value.is_none() {
                    return Err(format!("flag needs an argument: {name}"));
                }
            }
            given.push((*known, value.unwrap_or_default()));
        }
        Ok(Self(given))
    }

    fn has(&self, flag: &str) -> bool {
        self.0.iter().any(|(name, _)| *name == flag)
    }

    /// Returns which of the files that the command is to read does not exist.
    fn check_paths(&self, command: &[&str]) -> Result<(), String> {
        const READ: &[&str] = &[
            "--file",
            "--kubeconfig",
            "--hosts-path",
            "--release-matrix",
            "--backup-path",
            "--etcd-snapshot-path",
            "--mke3-config-path",
            "--chart-registry-ca-file",
            "--image-registry-ca-file",
            "--ca-file",
        ];
        let is_restore = command.last() == Some(&"restore");
        for (flag, value) in &self.0 {
            let is_read = READ.contains(flag) || is_restore && *flag == "--name";
            if is_read && !std::path::Path::new(value).exists() {
                return Err(format!("{flag} {value}: no such file or directory"));
            }
        }
        Ok(())
    }

    fn value(&self, flag: &str) -> Option<&'a str> {
        let found = self.0.iter().rev().find(|(name, _)| *name == flag);
        found.map(|(_, value)| *value)
    }

    /// Returns the configuration that the command is to read.
    fn file(&self) -> &'a str {
        self.value("--file").unwrap_or("mke4.yaml")
    }
}

/// Returns the flags that are taken away.
fn hidden() -> &'static [&'static str] {
    match std::env::var("FAKE_MKECTL_FLAGS") {
        Ok(flags) if flags == "old" => NEW_FLAGS,
        _ => &[],
    }
}

fn initial(version: &str) -> String {
    format!(
        "apiVersion: mke.mirantis.com/v1alpha1\nkind: MkeConfig\nmetadata:\n  creationTimestamp: null\n  name: mke\n  \
         namespace: mke\nspec:\n  airgap:\n    enabled: false\n  hosts:\n  - role: controller+worker\n    ssh:\n      \
         address: 1.2.3.4\n      keyPath: path/to/key\n      port: 22\n      user: root\n  network:\n    nodePortRange: \
         32768-35535\n    serviceCIDR: 10.96.0.0/16\n  registries:\n    \
         chartRegistry:\n      url: oci://registry.mirantis.com/mke\n    imageRegistry:\n      url: \
         registry.mirantis.com/mke\n  version: {version}\n"
    )
}

fn flood(lines: u64) -> io::Result<()> {
    for line in 1..=lines {
        let text = format!("INF flood line {line} of {lines}\n");
        // Both outputs are unbuffered, because a test compares the order of lines.
        match line % 2 {
            0 => io::stdout().write_all(text.as_bytes())?,
            _ => io::stderr().write_all(text.as_bytes())?,
        }
    }
    Ok(())
}

/// Adds this call to the file of `FAKE_MKECTL_RECORD`, if that is set.
fn record(arguments: &[String], given: Option<&Given<'_>>) -> io::Result<()> {
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
    let text = |flag: &str| {
        let path = given?.value(flag)?;
        std::fs::read_to_string(path).ok()
    };
    let call = serde_json::json!({
        "arguments": arguments,
        "environment": environment,
        "stdin": String::from_utf8_lossy(&stdin),
        "file": text("--file"),
        "hosts": text("--hosts-path"),
        "process": std::process::id(),
    });
    let mut record = OpenOptions::new().create(true).append(true).open(path)?;
    // One write, so lines of concurrent calls do not mix.
    record.write_all(format!("{call}\n").as_bytes())
}

fn version() -> String {
    std::env::var("FAKE_MKECTL_VERSION").unwrap_or_else(|_| VERSION.to_owned())
}

/// Returns the number in a variable; `None` if the variable is unset or not a number.
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn clamp(code: u64) -> u8 {
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// SIGINT and SIGTERM, which are blocked, so [`Signals::wait`] can receive them.
struct Signals(libc::sigset_t);

impl Signals {
    fn block() -> Self {
        // SAFETY: `sigemptyset` initialises the set before anything reads it, and the pointers are
        // to a local.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGINT);
            libc::sigaddset(&raw mut set, libc::SIGTERM);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            Self(set)
        }
    }

    /// Waits for a signal, and returns its name and its exit code. With `stubborn`, it ignores all
    /// signals and never returns.
    fn wait(&self, stubborn: bool) -> io::Result<(&'static str, u8)> {
        loop {
            let mut signal = 0;
            // SAFETY: both pointers are to initialised values.
            let answer = unsafe { libc::sigwait(&raw const self.0, &raw mut signal) };
            if answer != 0 {
                return Err(io::Error::from_raw_os_error(answer));
            }
            let received = match signal {
                libc::SIGINT => ("SIGINT", 130),
                _ => ("SIGTERM", 143),
            };
            if !stubborn {
                return Ok(received);
            }
            // The process that reads standard error may have ended.
            let _ = writeln!(
                io::stderr(),
                "WRN received {}, which is ignored",
                received.0
            );
        }
    }
}
