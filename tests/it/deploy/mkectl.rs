//! How a deploy runs mkectl: which mkectl, with which timeout and signals, and where the password
//! that it prints is kept.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use sha2::Digest as _;
use support::bundles::{self, LOCK, Member};
use support::{Arguments, Lab, Sandbox, Server};

use crate::{AIRLOCK, FAKE_MKECTL};

/// The administrator password that `fake-mkectl` generates.
const PASSWORD: &str = "fake-generated-password";

/// The file in which Airlock keeps the administrator password.
const KEPT: &str = "environments/lab/admin-password";

#[tokio::test(flavor = "multi_thread")]
async fn the_administrators_password_is_in_one_file_even_when_mkectl_crashes() {
    for format in ["human", "json"] {
        let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
        lab.variable("FAKE_MKECTL_PASSWORD", "crash");
        let run = lab
            .run(&["deploy", "lab", "--format", format])
            .exits_with(7);
        assert_eq!(lab.read(KEPT), format!("{PASSWORD}\n"));
        let mode = std::fs::metadata(lab.path(KEPT))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        run.mentions(KEPT);
        assert_nowhere_else(&lab, &run.whole());
        let again = lab.run(&["plan", "lab", "--format", format]).success();
        assert_nowhere_else(&lab, &again.whole());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_gets_the_administrators_password_on_its_standard_input() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let safe = lab.home().join("safe");
    lab.write_environment(&format!(
        "admin-password: {{ command: [/bin/sh, -c, '/bin/cat - /proc/$$/cmdline > {safe}'] }}\n"
    ));
    let run = lab.run("deploy lab").success();
    run.reports("the password of user admin was passed to `/bin/sh`");
    let text = std::fs::read_to_string(&safe).unwrap();
    assert!(text.starts_with(&format!("{PASSWORD}\n")), "{text}");
    assert_eq!(text.matches(PASSWORD).count(), 1, "{text}");
    std::fs::remove_file(safe).unwrap();
    assert!(!lab.path(KEPT).exists());
    assert_nowhere_else(&lab, &run.whole());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_fails_leaves_the_administrators_password_in_its_file() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.write_environment("admin-password: { command: [/bin/sh, -c, 'cat; exit 3'] }\n");
    let run = lab.run("deploy lab").success();
    run.reports("exited with code 3 and may not have kept the password");
    run.reports(KEPT);
    assert_eq!(lab.read(KEPT), format!("{PASSWORD}\n"));
    assert_nowhere_else(&lab, &run.whole());
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_the_command_that_gets_the_password_and_the_receipt_is_written() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let got = lab.home().join("got");
    lab.write_environment(&format!(
        "admin-password: {{ command: [/bin/sh, -c, 'echo $$ > {got}; exec /bin/sleep 60'] }}\n"
    ));
    let mut child = start(&lab.sandbox, "deploy lab");
    let process = || std::fs::read_to_string(&got).ok()?.trim().parse().ok();
    wait_until(|| process().is_some());
    // SAFETY: `kill` touches no memory, and the process has not been waited for.
    unsafe { libc::kill(child.id().cast_signed(), libc::SIGINT) };
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!programs::exists(process().unwrap()));
    assert_eq!(lab.read(KEPT), format!("{PASSWORD}\n"));
    lab.run("deploy lab").success().prints("lab: nothing to do");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_the_prompt_for_the_password_and_the_receipt_is_written() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.write_environment("admin-password: ask\n");
    let (mut controller, terminal) = support::terminal::open();
    let copy = || terminal.try_clone().unwrap();
    let mut command = lab.approved("deploy lab");
    command.stdin(copy()).stdout(copy()).stderr(copy());
    let mut child = command.spawn().unwrap();
    drop((command, terminal));
    let mut seen = String::new();
    let mut block = [0; 4096];
    while let Ok(read @ 1..) = controller.read(&mut block) {
        let had = seen.len();
        seen.push_str(&String::from_utf8_lossy(&block[..read]));
        let question = |text: &str| text.contains("Type `yes`: ");
        if question(&seen) && !question(&seen[..had]) {
            // SAFETY: `kill` touches no memory, and the process has not been waited for.
            unsafe { libc::kill(child.id().cast_signed(), libc::SIGINT) };
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(130), "{seen}");
    let said = "was not shown on the terminal: interrupted";
    assert!(seen.replace("\r\n", " ").contains(said), "{seen}");
    assert_eq!(lab.read(KEPT), format!("{PASSWORD}\n"));
    lab.run("deploy lab").success().prints("lab: nothing to do");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_the_administrators_password_stays_in_its_file() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.write_environment("admin-password: ask\n");
    let run = lab.run("deploy lab").success();
    run.reports("was not shown on the terminal: a terminal is required to show it")
        .reports(&format!("is in {KEPT}, which only you can read"));
    assert_eq!(lab.read(KEPT), format!("{PASSWORD}\n"));
    assert_nowhere_else(&lab, &run.whole());
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn while_mkectl_runs_the_process_list_has_no_secret_and_a_signal_lets_it_clean_up() {
    const TOKEN: &str = "planted-license-5d21";
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let cleaned = lab.home().join("cleaned");
    lab.edit_environment(
        "config:\n",
        "config:\n  license: { token: { $env: LAB_LICENSE } }\n",
    );
    lab.variable("LAB_LICENSE", TOKEN)
        .variable("FAKE_MKECTL_HANG", "yes")
        .variable("FAKE_MKECTL_CLEANED", cleaned.as_str());
    let secrets = [TOKEN, support::lab::PASSWORD];
    let mut child = start(&lab.sandbox, "deploy lab");
    wait_for_log(&lab.sandbox, "waiting for nodes");
    let mkectl = lab.applies()[0].process;
    let proc = |process: &str, file: &str| {
        std::fs::read(format!("/proc/{process}/{file}"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let (airlock, mkectl) = (child.id().to_string(), mkectl.to_string());
    // Every user of the machine can read the command lines. The owner can read the variables of
    // mkectl too.
    for text in [
        proc(&airlock, "cmdline"),
        proc(&mkectl, "cmdline"),
        proc(&mkectl, "environ"),
    ] {
        let text = text.unwrap();
        assert!(!text.is_empty());
        for secret in secrets {
            assert!(!text.contains(secret), "{text}");
        }
    }
    // Airlock passes its SIGINT to mkectl once, and mkectl cleans up.
    let process: i32 = airlock.parse().unwrap();
    // SAFETY: `kill` touches no memory, and the process has not been waited for.
    unsafe { libc::kill(process, libc::SIGINT) };
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(std::fs::read_to_string(&cleaned).unwrap(), "SIGINT");
    let log = log_of(&lab.sandbox).unwrap();
    assert_eq!(
        log.matches("received SIGINT, cleaning up").count(),
        1,
        "{log}"
    );
    assert!(proc(&mkectl, "cmdline").is_err(), "mkectl is still running");
    for (path, content) in lab.files() {
        let text = String::from_utf8_lossy(&content);
        for secret in secrets {
            // The test's record of calls has the file that mkectl got, with the token.
            let is_meant = path.as_str().ends_with("mkectl-calls") && secret == TOKEN;
            assert!(is_meant || !text.contains(secret), "{path} holds {secret}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_in_the_output_of_mkectl_are_masked_even_if_it_crashes() {
    const TOKEN: &str = "planted-license-5d21";
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.edit_environment(
        "config:\n",
        "config:\n  license: { token: { $env: LAB_LICENSE } }\n",
    );
    // mkectl does not get LAB_LICENSE, so the test passes the token in a different variable. The
    // fake prints it in two parts.
    lab.variable("LAB_LICENSE", TOKEN)
        .variable("REPEATED", TOKEN)
        .variable("FAKE_MKECTL_LEAK", "REPEATED")
        .variable("FAKE_MKECTL_CRASH", "yes");
    let run = lab.run("deploy lab --format json").exits_with(7);
    run.prints("connecting with ***");
    run.does_not_mention(TOKEN);
    for (path, content) in lab.files() {
        let text = String::from_utf8_lossy(&content);
        let is_meant = path.as_str().ends_with("mkectl-calls");
        assert!(is_meant || !text.contains(TOKEN), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_a_kubeconfig_in_the_output_of_mkectl_are_masked() {
    const TOKEN: &str = "planted-bearer-77ac";
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.write_environment("kubeconfig: kubeconfig.yaml\n");
    lab.write(
        "environments/lab/kubeconfig.yaml",
        &format!("users: [{{ name: admin, user: {{ token: {TOKEN} }} }}]\n"),
    );
    let cluster = lab.path("cluster.yaml");
    lab.variable("REPEATED", TOKEN)
        .variable("FAKE_MKECTL_CLUSTER", cluster.as_str())
        .variable("FAKE_MKECTL_LEAK", "REPEATED");
    let run = lab.run("deploy lab").success();
    run.reports("connecting with ***");
    for (path, content) in lab.files() {
        let text = String::from_utf8_lossy(&content);
        let is_meant =
            path.as_str().ends_with("kubeconfig.yaml") || path.as_str().ends_with("mkectl-calls");
        assert!(is_meant || !text.contains(TOKEN), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_existing_file_for_the_password_is_never_overwritten() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.write_environment("admin-password: { file: ../../safe/admin }\n");
    lab.write("safe/admin", "of another cluster\n");
    lab.run("deploy lab").success();
    assert_eq!(lab.read("safe/admin"), "of another cluster\n");
    let files: Vec<Utf8PathBuf> = (lab.path("safe").read_dir_utf8().unwrap())
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.file_name() != Some("admin"))
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let text = std::fs::read_to_string(&files[0]).unwrap();
    assert_eq!(text, format!("{PASSWORD}\n"));
    assert!(!lab.path(KEPT).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn mkectl_gets_a_signal_when_its_timeout_expires() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("push lab").success();
    lab.write_environment("apply-timeout: 3s\n");
    lab.variable("FAKE_MKECTL_HANG", "yes");
    let run = lab.run("apply lab").exits_with(7);
    run.reports("error: `mkectl apply` took longer than 3 s and exited with code 130\n");
    run.reports("received SIGINT, cleaning up");
    assert!(lab.receipt().contains("took longer than 3 s"));
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_mkectl_ends_and_the_next_run_records_what_happened() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let cleaned = lab.home().join("cleaned");
    lab.variable("FAKE_MKECTL_HANG", "yes")
        .variable("FAKE_MKECTL_CLEANED", cleaned.as_str());
    let mut child = start(&lab.sandbox, "deploy lab");
    wait_for_log(&lab.sandbox, "waiting for nodes");
    child.kill().unwrap();
    child.wait().unwrap();
    // Airlock is gone, so the kernel sends the signal to mkectl.
    wait_until(|| std::fs::read_to_string(&cleaned).is_ok_and(|signal| signal == "SIGINT"));

    let interrupted = "`mkectl apply` for v4.1.5 began at [TIME], and Airlock ended before it recorded the result; \
                its log is environments/lab/logs/[TIME]-apply.log";
    wait_until(|| lab.run("plan lab").whole().contains(interrupted));
    lab.variable("FAKE_MKECTL_HANG", "no");
    let run = lab.run("deploy lab").success();
    run.reports(interrupted);
    // The receipt records the result now, so the note is no longer reported.
    let run = lab.run("deploy lab").success();
    assert_eq!(
        run.stderr.matches("before it recorded").count(),
        0,
        "{}",
        run.stderr
    );
    assert_eq!(run.stdout, "lab: nothing to do\n");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn while_a_mkectl_is_running_a_deploy_does_not_start_another_one() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.variable("FAKE_MKECTL_HANG", "ignore");
    let mut child = start(&lab.sandbox, "deploy lab");
    wait_for_log(&lab.sandbox, "waiting for nodes");
    child.kill().unwrap();
    child.wait().unwrap();
    let process = lab.applies()[0].process;
    let run = lab.run("deploy lab").exits_with(6);
    run.reports(&format!(
            "error: mkectl for v4.1.5 is still running as process {process}; its log is environments/lab/logs/"
        ));
    run.reports("delete environments/lab/logs/under-way.yaml");
    assert_eq!(lab.applies().len(), 1);
    let plan = lab.run("plan lab").exits_with(6);
    plan.prints(&format!("is still running as process {process}"));
    plan.reports("hint: wait until it ends");
    let saved = lab.run("plan lab --out lab.plan.yaml").exits_with(6);
    saved.reports(
        "error: cannot plan for lab\n  because: mkectl for v4.1.5 is still running as process",
    );
    saved.reports("hint: wait until it ends");
    // SAFETY: `kill` touches no memory, and the process was seen alive a moment ago.
    unsafe { libc::kill(process, libc::SIGKILL) };
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_a_million_lines_is_in_the_log_and_not_in_memory() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("push lab").success();
    lab.variable("FAKE_MKECTL_HANG", "yes");
    let mut peaks = Vec::new();
    for lines in ["1000", "1000000"] {
        let _ = std::fs::remove_dir_all(lab.path("environments/lab/logs"));
        lab.variable("FAKE_MKECTL_FLOOD", lines);
        let mut child = start(&lab.sandbox, "apply lab");
        wait_for_log(&lab.sandbox, "waiting for nodes");
        peaks.push(peak(child.id()));
        // SAFETY: `kill` touches no memory, and the process has not been waited for.
        unsafe { libc::kill(child.id().cast_signed(), libc::SIGINT) };
        assert_eq!(child.wait().unwrap().code(), Some(130));
        let text = log_of(&lab.sandbox).unwrap();
        let floods = text.lines().filter(|line| line.contains("flood line"));
        let mut count = 0;
        for (at, line) in floods.enumerate() {
            assert!(
                line.ends_with(&format!("flood line {} of {lines}", at + 1)),
                "{line}"
            );
            count += 1;
        }
        assert_eq!(count.to_string(), lines);
    }
    // A million lines have 35 MB. The peaks are in kB.
    assert!(peaks[1] < peaks[0] + 16_000, "{peaks:?} kB");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_locked_mkectl_is_fetched_and_precedes_the_one_on_path() {
    let download = bundles::pack(&[Member::new("mkectl", std::fs::read(FAKE_MKECTL).unwrap())]);
    let server = Server::of(download.clone()).await;
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lock_mkectl(&lab.sandbox, &server.url("mkectl.tar.gz"), &download);
    let folder = format!("bundles/mkectl/v4.1.5/{}", platform());
    let program = lab.path(&format!("{folder}/mkectl"));

    let run = lab.run("fetch v4.1.5").success();
    run.reports(&format!("mkectl v4.1.5 is in {folder}/mkectl"));
    let mode = std::fs::metadata(&program).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    lab.run("fetch v4.1.5").success();
    assert_eq!(server.asked().len(), 1);
    let plan = lab.run("plan lab").success();
    plan.prints(&format!(
        "{folder}/mkectl apply -f environments/lab/mke4.yaml"
    ));

    // A mkectl with a changed byte is refused before anything is sent.
    let whole = std::fs::read(&program).unwrap();
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(&program, changed).unwrap();
    for command in ["deploy", "fetch"] {
        let run = lab.run(&[command, "lab"]).exits_with(6);
        run.reports(&format!("the mkectl in `{folder}` is refused"))
            .reports("it was changed");
    }
    assert_eq!(lab.repositories().await, [""; 0]);
    assert!(!lab.path("environments/lab/mke4.yaml").exists());
    std::fs::write(&program, whole).unwrap();
    let run = lab.run("deploy lab").success();
    run.reports(&folder);
    // Airlock reads the help of a mkectl once, and keeps what it lists.
    let is_help = |call: &support::lab::Call| call.arguments == ["apply", "--help"];
    assert_eq!(lab.calls().iter().filter(|call| is_help(call)).count(), 1);
    // The mkectl that an environment names precedes the locked one.
    lab.install(FAKE_MKECTL, "other");
    lab.write_environment(&format!("mkectl: {}\n", lab.bin().join("other")));
    let run = lab.run("apply lab").success();
    run.reports("bin/other apply");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_downloaded_mkectl_that_differs_from_the_lock_is_not_kept() {
    let download = bundles::pack(&[Member::new("mkectl", *b"#!/bin/sh\n")]);
    let other = bundles::pack(&[Member::new("mkectl", *b"#!/bin/sh\necho other\n")]);
    let server = Server::of(other).await;
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lock_mkectl(&lab.sandbox, &server.url("mkectl.tar.gz"), &download);
    let run = lab.run("fetch lab").exits_with(4);
    run.reports("mkectl.tar.gz");
    let folder = format!("bundles/mkectl/v4.1.5/{}", platform());
    for name in ["mkectl", "mkectl.tar.gz"] {
        let path = lab.path(&format!("{folder}/{name}"));
        assert!(!path.exists(), "{path}");
    }
}

/// Checks that no output, argument, variable or file has the password, except the file that is
/// meant to keep it.
#[track_caller]
fn assert_nowhere_else(lab: &Lab, output: &str) {
    assert!(!output.contains(PASSWORD), "{output}");
    for call in lab.calls() {
        assert!(!format!("{call:?}").contains(PASSWORD), "{call:?}");
    }
    for (path, content) in lab.files() {
        let found = String::from_utf8_lossy(&content).contains(PASSWORD);
        // The password is a constant in the program `fake-mkectl`.
        let is_meant = path.as_str().ends_with("/admin-password") || path.as_str() == KEPT;
        assert!(!found || is_meant || path.ends_with("mkectl"), "{path}");
    }
}

/// Locks a download of mkectl v4.1.5 for this machine.
pub(crate) fn lock_mkectl(sandbox: &Sandbox, url: &str, download: &[u8]) {
    bundles::forget_mkectl(sandbox);
    let lock = sandbox.read(LOCK);
    let sha256 = hex::encode(sha2::Sha256::digest(download));
    let entry = format!(
        "mkectl:\n- platform: {}\n  url: {url}\n  sha256: {sha256}\n",
        platform()
    );
    let lock = lock.replace("mkectl: []\n", &entry);
    assert!(lock.contains(&sha256), "{lock}");
    sandbox.write(LOCK, &lock);
}

/// Returns the platform of this machine, as the lock names it.
pub(crate) fn platform() -> String {
    let system = std::env::consts::OS.replace("macos", "darwin");
    let machine = std::env::consts::ARCH.replace("aarch64", "arm64");
    format!("{system}-{machine}")
}

fn start(sandbox: &Sandbox, arguments: impl Arguments) -> Child {
    sandbox
        .approved(arguments)
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Returns the text of the log of `mkectl apply`, if it exists.
fn log_of(sandbox: &Sandbox) -> Option<String> {
    let logs = sandbox.path("environments/lab/logs");
    let log = (logs.read_dir_utf8().ok()?)
        .map(|entry| entry.unwrap().into_path())
        .find(|path| path.as_str().ends_with("-apply.log"))?;
    std::fs::read_to_string(log).ok()
}

#[track_caller]
fn wait_for_log(sandbox: &Sandbox, text: &str) {
    wait_until(|| log_of(sandbox).is_some_and(|log| log.contains(text)));
}

#[track_caller]
fn wait_until(mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(300), "still waiting");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Returns the most memory that a process has used, in kilobytes.
fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}
