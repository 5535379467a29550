//! Tests with a shell script in place of `ssh`, which runs the remote command locally. Real servers
//! are in the integration tests.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

struct Played {
    folder: tempfile::TempDir,
    ssh: Ssh,
}

/// Installs a script `ssh`, in which `run` runs the remote command.
fn played(text: &str) -> Played {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("ssh");
    let text = format!(
        "#!/bin/sh\ncd {}\nfor last; do :; done\nrun() {{ sh -c \"$last\"; }}\n{text}\n",
        folder.path().display()
    );
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    let variables = Variables::inherited([
        ("PATH", path.as_str()),
        ("HOME", "/nowhere"),
        ("PROD_PASSWORD", "swordfish"),
        ("MKE_KEY", "/keys/mke"),
    ]);
    let ssh = Ssh::find(&variables).unwrap();
    Played { folder, ssh }
}

fn to(address: &str) -> Destination {
    Destination {
        login: Login {
            address: address.to_owned(),
            user: None,
            port: 22,
            key: None,
        },
        bastion: None,
    }
}

fn bounds(seconds: u64) -> Bounds {
    Bounds {
        concurrent: 32,
        each: Duration::from_secs(seconds),
        total: Duration::from_secs(20),
    }
}

fn ask(ssh: &Ssh, destinations: &[Destination], script: &str) -> Vec<Result<Answer, SshFailure>> {
    ssh.ask_all(destinations, script, bounds(2), &|| false, &|| {})
}

#[test]
fn the_lines_of_the_script_are_the_answer_and_nothing_else() {
    let played = played("echo 'Welcome to node 7'; printf 'no end of line '; run");
    let script = format!("echo one\n# {}\necho two\n", "x".repeat(200_000));
    let answers = ask(&played.ssh, &[to("10.0.0.1")], &script);
    let answer = answers[0].as_ref().unwrap();
    assert_eq!(answer.lines, ["one", "two"]);
    assert!(answer.first >= answer.sent);
}

#[test]
fn only_what_ssh_needs_of_the_environment_reaches_it() {
    let played = played("env > seen; run");
    let mut destination = to("10.0.0.1");
    destination.login.key = Some(Key::Variable("MKE_KEY".to_owned()));
    assert!(ask(&played.ssh, &[destination], "echo")[0].is_ok());
    let seen = std::fs::read_to_string(played.folder.path().join("seen")).unwrap();
    assert!(
        seen.contains("HOME=/nowhere") && seen.contains("MKE_KEY=/keys/mke"),
        "{seen}"
    );
    assert!(!seen.contains("swordfish"), "{seen}");
}

#[test]
fn a_machine_that_hangs_delays_no_other_and_leaves_no_process() {
    let played = played("case \"$*\" in *10.0.0.9*) sleep 61 & echo $! > pid; wait;; esac; run");
    let destinations: Vec<Destination> =
        (1..=20).map(|last| to(&format!("10.0.0.{last}"))).collect();
    let begun = Instant::now();
    let done = AtomicUsize::new(0);
    let count = || {
        done.fetch_add(1, Ordering::Relaxed);
    };
    let answers = played
        .ssh
        .ask_all(&destinations, "echo", bounds(2), &|| false, &count);
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(done.into_inner(), 20);
    for (index, answer) in answers.iter().enumerate() {
        match index {
            8 => assert_eq!(answer.as_ref().unwrap_err().kind, SshFailureKind::TimedOut),
            _ => assert!(answer.is_ok(), "{answer:?}"),
        }
    }
    let pid = std::fs::read_to_string(played.folder.path().join("pid")).unwrap();
    crate::run::tests::assert_ends(pid.trim().parse().unwrap());
}

#[test]
fn a_stop_ends_all_of_them_immediately() {
    let played = played("run");
    let destinations: Vec<Destination> =
        (1..=40).map(|last| to(&format!("10.0.0.{last}"))).collect();
    let stopped = AtomicBool::new(false);
    let begun = Instant::now();
    let answers = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            stopped.store(true, Ordering::Relaxed);
        });
        let is_stopped = || stopped.load(Ordering::Relaxed);
        played.ssh.ask_all(
            &destinations,
            "echo; sleep 62",
            bounds(15),
            &is_stopped,
            &|| {},
        )
    });
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    let kind: Vec<SshFailureKind> = answers
        .into_iter()
        .map(|answer| answer.unwrap_err().kind)
        .collect();
    assert!(
        kind.contains(&SshFailureKind::Hangs) && kind.contains(&SshFailureKind::NoTurn),
        "{kind:?}"
    );
}

#[test]
fn machines_behind_one_bastion_take_turns() {
    let played = played(
        "mkdir here.$$; ls -d here.* | wc -l >> most; run; code=$?; sleep 0.2; rmdir here.$$; exit $code",
    );
    let through = |last: usize, bastion: &str| Destination {
        bastion: Some(to(bastion).login),
        ..to(&format!("10.0.0.{last}"))
    };
    let destinations: Vec<Destination> = (1..=20).map(|last| through(last, "jump")).collect();
    let answers = ask(&played.ssh, &destinations, "echo");
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let most = std::fs::read_to_string(played.folder.path().join("most")).unwrap();
    let most = most
        .lines()
        .map(|line| line.trim().parse::<usize>().unwrap())
        .max()
        .unwrap();
    assert!((2..=THROUGH_ONE_BASTION).contains(&most), "{most}");
}

#[test]
fn a_shell_that_ends_early_gives_no_result() {
    for (text, kind) in [
        ("run; exit 255", SshFailureKind::Cut),
        (
            "echo 'mke@10.0.0.1: Permission denied (publickey).' >&2; exit 255",
            SshFailureKind::KeyRefused,
        ),
        (
            "echo 'This account is not available.'; exit 1",
            SshFailureKind::Cut,
        ),
    ] {
        let played = played(text);
        let answers = ask(&played.ssh, &[to("10.0.0.1")], "echo one");
        assert_eq!(answers[0].as_ref().unwrap_err().kind, kind, "{text}");
    }
}

#[test]
fn a_machine_without_ssh_is_reported() {
    let error = Ssh::find(&Variables::inherited([("PATH", "/nowhere")])).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}
