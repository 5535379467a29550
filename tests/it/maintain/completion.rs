//! `completion`: real shells complete commands, environments and releases when Tab is typed.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::{Sandbox, Text as _};

use crate::AIRLOCK;

/// The longest time that a shell may take to respond.
const PATIENCE: Duration = Duration::from_secs(30);

/// A shell, its arguments, and the definitions of functions that print their arguments.
struct Shell {
    name: &'static str,
    arguments: &'static [&'static str],
    first: &'static str,
    function: &'static str,
}

const SHELLS: [Shell; 3] = [
    Shell {
        name: "bash",
        arguments: &["--norc", "--noprofile", "-i"],
        first: "",
        function: "NAME() { echo \"got:<$*>\"; }",
    },
    Shell {
        name: "zsh",
        arguments: &["-f", "-i"],
        first: "autoload -U compinit; compinit -u -D",
        function: "NAME() { echo \"got:<$*>\"; }",
    },
    Shell {
        name: "fish",
        arguments: &["--no-config", "-i"],
        first: "",
        function: "function NAME; echo \"got:<$argv>\"; end",
    },
];

/// A shell at a terminal of its own, and its output.
struct Session {
    child: std::process::Child,
    terminal: File,
    seen: Arc<Mutex<String>>,
}

impl Session {
    fn start(sandbox: &Sandbox, shell: &Shell) -> Self {
        let (controller, terminal) = support::terminal::open();
        #[expect(clippy::disallowed_methods, reason = "tests start shells")]
        let mut command = Command::new(shell.name);
        command
            .args(shell.arguments)
            .current_dir(sandbox.path(""))
            .env_clear()
            .env("HOME", sandbox.home())
            .env("PATH", "/usr/bin:/bin")
            .env("TERM", "xterm")
            .stdin(terminal.try_clone().unwrap())
            .stdout(terminal.try_clone().unwrap())
            .stderr(terminal);
        // SAFETY: both calls are async-signal-safe and touch no memory.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        let seen = Arc::new(Mutex::new(String::new()));
        let (mut reader, all) = (controller.try_clone().unwrap(), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count) = reader.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..count]);
                all.lock().unwrap().push_str(&text);
            }
        });
        Self {
            child,
            terminal: controller,
            seen,
        }
    }

    /// Types a text and waits until the shell has written the expected text.
    fn expect(&mut self, typed: &str, expected: &str) {
        self.terminal.write_all(typed.as_bytes()).unwrap();
        let began = Instant::now();
        while !self.seen.lock().unwrap().contains(expected) {
            assert!(
                began.elapsed() < PATIENCE,
                "{expected} is not in\n{}",
                self.seen.lock().unwrap()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn json_output_has_the_script() {
    let run = sandbox().run("completion bash --format json").success();
    let object = run.json();
    let script = object["result"]["script"].as_str().unwrap();
    script.has("complete -o ");
}

/// Makes a workspace in which only the environment `prod` begins with `pr`.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(AIRLOCK);
    for name in ["prod", "lab"] {
        let path = format!("environments/{name}/environment.yaml");
        sandbox.write(&path, "release: v4.1.5\n");
    }
    sandbox.write("bundles/v4.1.5-demo-amd64.lock.yaml", "");
    sandbox
}

#[cfg_attr(without_shells, ignore = "bash, zsh and fish are needed")]
#[test]
fn each_shell_completes_an_environment_after_deploy() {
    let sandbox = sandbox();
    sandbox.write("other/environments/staging/environment.yaml", "");
    // Each shell has its own rules for characters in paths.
    let folder = sandbox.home().join("an operator's \"$HOME\"");
    let program = folder.join("airlock");
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(AIRLOCK, &program).unwrap();
    for shell in &SHELLS {
        #[expect(clippy::disallowed_methods, reason = "a program of that path")]
        let mut command = Command::new(&program);
        command.args(["completion", shell.name]);
        let output = command.current_dir(sandbox.path("")).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let script = String::from_utf8(output.stdout).unwrap();
        sandbox.write(&format!("completion.{}", shell.name), &script);
        let mut session = Session::start(&sandbox, shell);
        let functions = ["airlock", "cargo"].map(|name| shell.function.replace("NAME", name));
        for line in [shell.first, &functions[0], &functions[1]] {
            session
                .terminal
                .write_all(format!("{line}\n").as_bytes())
                .unwrap();
        }
        session.expect(
            &format!("source completion.{}\necho rea''dy\n", shell.name),
            "ready",
        );
        session.expect("airlock deploy pr\t\n", "got:<deploy prod>");
        session.expect("cargo xtask deploy pr\t\n", "got:<xtask deploy prod>");
        session.expect("airlock depl\tpr\t --pl\tx\n", "got:<deploy prod --plan x>");
        session.expect(
            "airlock -C ./other plan st\t\n",
            "got:<-C ./other plan staging>",
        );
    }
}

#[test]
fn environments_releases_and_options_are_candidates() {
    let sandbox = sandbox();
    let candidates = |words: &[&str]| {
        let arguments = [&["--", "airlock"], words].concat();
        let mut command = sandbox.command(&arguments);
        let output = command.env("AIRLOCK_COMPLETE", "fish").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let first = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
        text.lines().map(first).collect::<Vec<_>>()
    };
    assert_eq!(candidates(&["deploy", "p"]), ["prod"]);
    sandbox.write("../home/my site/environments/staging/environment.yaml", "");
    for words in [
        &["-C", "~/my\\ site", "deploy", ""][..],
        &["deploy", "--directory", "'../home/my site'", ""],
    ] {
        assert_eq!(candidates(words)[0], "staging", "{words:?}");
    }
    assert_eq!(candidates(&["cluster", "backup", ""])[..2], ["lab", "prod"]);
    assert_eq!(candidates(&["push", "lab", "p"]), ["prod"]);
    assert_eq!(candidates(&["diff", "v"]), ["v4.1.5-demo"]);
    let known = candidates(&["lock", "v4.1"]);
    assert!(
        known.contains(&"v4.1.5".to_owned()) && known.contains(&"v4.1.5-demo".to_owned()),
        "{known:?}"
    );
    assert_eq!(candidates(&["deploy", "--take"]), ["--take-over"]);
    assert_eq!(
        candidates(&["plan", "lab", "--out", "env"]),
        ["environments/"]
    );
    assert!(!candidates(&[""]).contains(&"rehearsal-mkectl".to_owned()));
    // The variable that other programs use has no effect.
    let mut command = sandbox.command("list");
    let output = command.env("COMPLETE", "fish").output().unwrap();
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("prod"),
        "{output:?}"
    );
}
