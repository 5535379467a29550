//! Reading of files: a path to a pipe, a folder or a device is refused with its name, and no
//! command waits for a pipe.

use std::process::Stdio;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use support::{Arguments, Lab, Run, Sandbox, Text as _};

use crate::{AIRLOCK, FAKE_MKECTL};

const DEMO: &str = "environments/demo/environment.yaml";

/// The longest time that a command may take. A busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// Replaces the file at `path` by a named pipe.
pub(crate) fn pipe(path: &Utf8Path) {
    let _ = std::fs::remove_file(path);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path.as_std_path(),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
}

/// Runs a command, and panics if it waits for a pipe.
#[must_use]
fn run(sandbox: &Sandbox, arguments: impl Arguments) -> Run {
    let mut child = sandbox
        .approved(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("{arguments:?} waits for a pipe");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    sandbox.ended(&output)
}

#[test]
fn a_folder_that_is_a_dangling_link_is_named_by_every_command() {
    for place in ["bundles", "bundles/store", "environments"] {
        let sandbox = Sandbox::shipped(AIRLOCK);
        let path = sandbox.path(place);
        if path.exists() {
            std::fs::rename(&path, sandbox.home().join("moved")).unwrap();
        }
        std::os::unix::fs::symlink("/nowhere/disk", &path).unwrap();
        for command in ["list", "status", "plan demo", "store", "deploy demo"] {
            let run = sandbox.run(command).exits_with(3);
            run.reports(&format!(
                "error: `{place}` is a symbolic link to /nowhere/disk, which does not exist\nhint: "
            ));
        }
    }
}

#[test]
fn a_pipe_instead_of_a_file_is_refused_without_waiting() {
    for (path, arguments) in [
        (DEMO, "check demo"),
        ("environments/base.yaml", "check piped"),
        ("environments/piped/hosts.csv", "show rows"),
        ("environments/piped/ca.pem", "check trusted"),
        ("environments/demo/receipt.yaml", "plan demo"),
        ("environments/demo/mke4.yaml", "render demo --check"),
        ("bundles/v4.1.5-demo-amd64.lock.yaml", "inspect v4.1.5-demo"),
        ("saved.plan", "deploy demo --plan saved.plan"),
        ("prune.plan", "prune demo --plan prune.plan"),
        ("snapshot", "plan demo --snapshot snapshot"),
        ("bundle.tar.gz", "lock v4.1.5 --bundle bundle.tar.gz"),
    ] {
        let sandbox = Sandbox::shipped(AIRLOCK);
        sandbox.write(
            "environments/piped/environment.yaml",
            "inherit: ../base.yaml\n",
        );
        let demo = sandbox.read(DEMO);
        sandbox.write(
            "environments/rows/environment.yaml",
            &format!("inventory: ../piped/hosts.csv\n{demo}"),
        );
        sandbox.write(
            "environments/trusted/environment.yaml",
            &demo.replace("registry:\n", "registry:\n  ca: ../piped/ca.pem\n"),
        );
        pipe(&sandbox.path(path));
        let run = run(&sandbox, arguments);
        assert_ne!(run.code, Some(0), "{path}: {}", run.whole());
        let text = run.whole();
        let name = path.rsplit('/').next().unwrap();
        assert!(
            text.contains("it is a named pipe, not a regular file") && text.contains(name),
            "{path}: {text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_instead_of_a_secret_is_refused_without_waiting() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.edit_environment(
        "  tracking:",
        "  license: { token: { $file: secret } }\n  tracking:",
    );
    pipe(&lab.path("environments/lab/secret"));
    let text = run(&lab.sandbox, "deploy lab").whole();
    text.has("environments/lab/secret")
        .has("it is a named pipe, not a regular file");

    lab.write_environment("");
    lab.edit_environment("  push-credentials: { env: LAB_REGISTRY }\n", "");
    let file = lab.home().join("auth.json");
    pipe(&file);
    lab.variable("REGISTRY_AUTH_FILE", file.as_str());
    let text = run(&lab.sandbox, "push lab").whole();
    text.has("auth.json")
        .has("it is a named pipe, not a regular file");
}

#[test]
fn a_missing_file_of_the_command_line_has_exit_code_3() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    sandbox.run("fetch demo").success();
    let out = sandbox.home().join("out");
    let pack = |option: &str| format!("pack demo --out {out} {option} absent");
    for arguments in [
        "deploy demo --plan absent",
        "prune demo --plan absent",
        "plan demo --snapshot absent",
        "plan demo --trace absent/trace",
        "plan demo --out absent/plan",
        "lock v4.1.5-demo --bundle absent",
        "lock v4.1.5-demo --bundle bundles/mke_bundle_v4.1.5-demo_amd64.tar.gz --checksum absent",
        "lock v4.1.5 --from registry.example.com/mke --images absent",
        "learn v4.1.5 --bundle absent",
        "learn v4.1.5 --mkectl absent",
        "fetch v4.1.5-demo --check --bundle absent",
        &pack("--have"),
        &pack("--sign"),
        &pack("--program"),
        "unpack absent",
        "inspect ./absent",
    ] {
        run(&sandbox, arguments).exits_with(3).reports("absent");
    }
}
