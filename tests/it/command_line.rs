//! The command line: mistyped commands, help and the version.

use std::process::Stdio;
use std::time::{Duration, Instant};

use support::faulty::{Fault, FaultyRegistry, Kind, Quirks, always};
use support::{Lab, Sandbox, TestRegistry, Text as _};

use crate::{AIRLOCK, FAKE_MKECTL};

#[test]
fn a_mistyped_command_gets_a_suggestion_and_exit_code_64() {
    let sandbox = Sandbox::new(AIRLOCK);
    insta::assert_snapshot!(sandbox.run("depoly demo").whole(), @r#"
    exit code: 64
    --- stdout
    --- stderr
    error: unrecognized subcommand 'depoly'

      tip: a similar subcommand exists: 'deploy'

    Usage: cargo xtask [OPTIONS] <COMMAND>

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(sandbox.run("deploy").whole(), @r#"
    exit code: 64
    --- stdout
    --- stderr
    error: the following required arguments were not provided:
      ENVIRONMENT

    Usage: cargo xtask deploy [OPTIONS] <ENVIRONMENT>

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(sandbox.run("deploy demo --confrim demo").whole(), @r#"
    exit code: 64
    --- stdout
    --- stderr
    error: unexpected argument '--confrim' found

      tip: a similar argument exists: '--confirm'

    Usage: cargo xtask deploy [OPTIONS] <ENVIRONMENT>

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(sandbox.run("list --format xml").whole(), @r#"
    exit code: 64
    --- stdout
    --- stderr
    error: invalid value 'xml' for '--format <FORMAT>'
      [possible values: human, json]

    For more information, try '--help'.
    "#);
}

#[test]
fn conflicts_and_missing_arguments_are_named_with_the_usage_of_the_help() {
    let sandbox = Sandbox::new(AIRLOCK);
    let mut all = String::new();
    for arguments in [
        "check demo --all",
        "render demo --all",
        "render",
        "releases v4.1.5 --check",
        "pack demo",
        "cluster backup",
    ] {
        let stderr = sandbox.run(arguments).exits_with(64).stderr;
        let help = format!("{arguments} --help");
        let help = sandbox.run(help.as_str()).success().stdout;
        let usage = stderr.lines().find(|line| line.starts_with("Usage: "));
        assert!(
            usage.is_none_or(|usage| help.contains(&format!("\n{usage}\n"))),
            "{stderr}{help}"
        );
        all.push_str(&stderr);
    }
    insta::assert_snapshot!(all.replace("\n\nFor more information, try '--help'.\n", "\n\n"), @"
    error: the argument 'ENVIRONMENT' cannot be used with '--all'

    Usage: cargo xtask check [OPTIONS] [ENVIRONMENT]

    error: the argument 'ENVIRONMENT' cannot be used with '--all'

    Usage: cargo xtask render [OPTIONS] <ENVIRONMENT|--all>

    error: the following required arguments were not provided:
      ENVIRONMENT or --all

    Usage: cargo xtask render [OPTIONS] <ENVIRONMENT|--all>

    error: the argument 'RELEASE' cannot be used with '--check'

    Usage: cargo xtask releases [OPTIONS] [RELEASE]

    error: the following required arguments were not provided:
      --out DIR or --dry-run

    Usage: cargo xtask pack [OPTIONS] <--out <DIR>|--dry-run> [ENVIRONMENT]...

    error: the following required arguments were not provided:
      ENVIRONMENT

    Usage: cargo xtask cluster backup [OPTIONS] <ENVIRONMENT> [-- <FLAGS>...]
    ");
}

#[test]
fn habitual_options_get_a_hint_at_the_right_command() {
    let sandbox = Sandbox::new(AIRLOCK);
    for command in ["deploy", "push", "apply"] {
        let run = sandbox.run(&[command, "lab", "--dry-run"]).exits_with(64);
        run.reports("`cargo xtask plan lab`");
        run.does_not_report("-- --dry-run");
    }
    sandbox
        .run("list --format cyclonedx")
        .exits_with(64)
        .reports("`--format cyclonedx` is for `cargo xtask inspect ENVIRONMENT`");
    let run = sandbox.run("render lab --dry-run").exits_with(64);
    run.reports("`cargo xtask render lab --check`");
    let run = sandbox.run("prune lab --dry-run").exits_with(64);
    run.reports("`cargo xtask prune lab`")
        .does_not_report("plan lab");
    for rate in ["20", "0.5"] {
        let run = sandbox
            .run(&["push", "lab", "--max-rate", rate])
            .exits_with(64);
        let expected = format!("it has no unit: write {rate}MB for {rate} megabytes a second");
        run.reports(&expected);
    }
    sandbox
        .run("push lab --max-rate 20MB/s")
        .exits_with(3)
        .reports("environment not found: `lab`");
}

#[test]
fn a_workspace_can_be_named_from_a_different_folder() {
    let sandbox = Sandbox::with_examples(AIRLOCK);
    let workspace = sandbox.path("");
    let outside = |arguments: &str| {
        let mut command = sandbox.command(format!("-C {workspace} {arguments}").as_str());
        let output = command.current_dir("/").output().unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.code(), text)
    };
    for arguments in ["deploy demo", "rehearse staging"] {
        let (code, text) = outside(arguments);
        assert_eq!(code, Some(0), "{text}");
    }
    // The commands in hints name the workspace, too.
    for format in ["human", "json"] {
        let (code, text) = outside(&format!("plan pord --format {format}"));
        assert_eq!(code, Some(3), "{text}");
        text.has(&format!("`cargo xtask -C {workspace} list`"));
    }
    let (code, text) = outside("push lab --dry-run");
    assert_eq!(code, Some(64), "{text}");
    text.has(&format!("tip: `cargo xtask -C {workspace} plan lab`"));
    text.has(&format!("Usage: cargo xtask -C {workspace} push"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_json_output_with_the_error() {
    let asks = [Kind::HeadManifest, Kind::GetManifest];
    let stalls = always(&asks, Fault::Stall { after: 0 });
    let registry = FaultyRegistry::start(Quirks::default(), &[stalls], 1).await;
    let sandbox = Sandbox::new(AIRLOCK);
    TestRegistry::describe_at(&registry.address, None, &sandbox, "");
    support::bundles::make_locked(&sandbox, &support::bundles::tiny());
    // One command waits for a registry, and the other one between two steps.
    let asked = sandbox.path("asked");
    let script = format!("#!/bin/sh\n: > {asked}\nexec /bin/sleep 60\n");
    sandbox.install_script("mkectl", script);
    let is_asked: [&dyn Fn() -> bool; 2] = [&|| registry.played() > 0, &|| asked.exists()];
    for (arguments, is_asked) in ["verify lab", "check lab --with-mkectl"]
        .iter()
        .zip(is_asked)
    {
        let mut command = sandbox.command(*arguments);
        command.args(["--format", "json"]);
        let child = command.stdout(Stdio::piped()).spawn().unwrap();
        let began = Instant::now();
        while !is_asked() {
            assert!(began.elapsed() < Duration::from_secs(60), "{arguments}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // SAFETY: the process is our own child, and was not waited for yet.
        unsafe { libc::kill(child.id().cast_signed(), libc::SIGTERM) };
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(130), "{text}");
        let last = text.lines().last().unwrap();
        let last: serde_json::Value = serde_json::from_str(last).unwrap();
        assert_eq!(last["error"]["message"], "interrupted");
        assert_eq!(last["error"]["exit-code"], 130);
    }
}

#[test]
fn a_table_fits_the_terminal_and_breaks_no_word() {
    let mut sandbox = Sandbox::with_examples(AIRLOCK);
    let wide = sandbox.run("list").success().stdout;
    sandbox.variable("COLUMNS", "80");
    let narrow = sandbox.run("list").success().stdout;
    assert!(narrow.lines().all(|line| line.len() <= 80), "{narrow}");
    for word in wide
        .split_whitespace()
        .filter(|word| word.contains(['.', ':']))
    {
        assert!(narrow.contains(word), "{word} is broken: {narrow}");
    }
    for arguments in ["releases", "status", "inspect v4.1.5-demo", "store"] {
        let text = sandbox.run(arguments).success().stdout;
        let (table, _) = text.split_once("\n\n").unwrap_or((&text, ""));
        assert!(
            table.lines().all(|line| line.chars().count() <= 80),
            "{arguments:?}: {text}"
        );
    }
}

#[test]
fn every_help_fits_80_columns() {
    let sandbox = Sandbox::new(AIRLOCK);
    let help = |command: &[&str]| {
        let arguments = [command, &["--help"]].concat();
        let text = sandbox.run(&arguments).success().stdout;
        let wide: Vec<&str> = text
            .lines()
            .filter(|line| line.chars().count() > 80)
            .collect();
        assert!(wide.is_empty(), "{command:?}: {}", wide.join("\n"));
        text
    };
    let commands = help(&[]);
    let commands = commands.lines().filter_map(|line| line.strip_prefix("  "));
    let names = commands.filter_map(|line| line.split_once("  ").map(|(name, _)| name));
    let names: Vec<&str> = names
        .filter(|name| !name.is_empty() && name.chars().all(|letter| letter.is_ascii_lowercase()))
        .collect();
    assert!(names.len() > 25, "{names:?}");
    for name in names {
        let _ = help(&[name]);
    }
}

#[test]
fn commands_that_only_read_work_in_a_read_only_checkout() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;

    /// Root may write everywhere, so the commands run as the user `nobody`.
    const NOBODY: u32 = 65_534;
    let sandbox = Sandbox::shipped(AIRLOCK);
    sandbox.run("render demo").success();
    let program = sandbox.bin().join("airlock");
    std::fs::copy(AIRLOCK, &program).unwrap();
    let root = sandbox.bin().parent().unwrap().to_owned();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir_utf8().unwrap() {
            let path = entry.unwrap().into_path();
            if path.is_dir() {
                folders.push(path);
            }
        }
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o555)).unwrap();
    }
    let before = sandbox.state();
    for arguments in [
        "list",
        "show demo",
        "check",
        "render demo --check",
        "diff demo",
        "plan demo",
        "status",
        "report demo",
        "inspect v4.1.5-demo",
        "releases",
        "store",
        "verify demo",
    ] {
        #[expect(
            clippy::disallowed_methods,
            reason = "tests start the command that they test"
        )]
        let mut command = std::process::Command::new(&program);
        command
            .args(arguments.split(' '))
            .current_dir(sandbox.path(""))
            .env_clear()
            .env("HOME", sandbox.home())
            .env("PATH", sandbox.bin());
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!text.contains("ermission denied"), "{arguments:?}: {text}");
        // Nothing was deployed, so `verify` reports every artifact as missing.
        let expected = if arguments == "verify demo" { 5 } else { 0 };
        assert_eq!(
            output.status.code(),
            Some(expected),
            "{arguments:?}: {text}"
        );
    }
    assert_eq!(sandbox.changes_since(&before), [""; 0]);
    for folder in [sandbox.bin(), sandbox.home(), sandbox.path("")] {
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn json_output_reports_a_mistyped_command_too() {
    let sandbox = Sandbox::new(AIRLOCK);
    for arguments in ["--format json depoly", "--format=json depoly"] {
        let run = sandbox.run(arguments).exits_with(64);
        let object = run.json();
        assert_eq!(object["error"]["exit-code"], 64);
        let message = object["error"]["message"].as_str().unwrap();
        assert!(
            message.starts_with("unrecognized subcommand 'depoly'"),
            "{message}"
        );
        assert!(
            run.stderr.starts_with("error: unrecognized"),
            "{}",
            run.stderr
        );
    }
    let run = sandbox.run("mkectl -- --format json").exits_with(64);
    assert_eq!(run.stdout, "");
}

#[test]
fn the_options_of_all_commands_come_last_in_each_help() {
    let sandbox = Sandbox::new(AIRLOCK);
    for arguments in ["deploy -h", "lock -h", "store gc -h", "list -h"] {
        let run = sandbox.run(arguments).success();
        let options: Vec<&str> = (run.stdout.lines())
            .filter_map(|line| line.split_whitespace().next())
            .filter(|first| first.starts_with('-'))
            .collect();
        assert!(
            options.ends_with(&["--format", "-C,", "--offline", "-v,", "--trace", "-h,"]),
            "{options:?}"
        );
    }
}

#[test]
fn without_a_command_the_help_is_shown() {
    let sandbox = Sandbox::new(AIRLOCK);
    insta::assert_snapshot!(sandbox.run(&[]).whole(), @"
    exit code: 64
    --- stdout
    --- stderr
    Install and upgrade Mirantis Kubernetes Engine 4 across an air gap

    Usage: cargo xtask [OPTIONS] <COMMAND>

    Inspect
      list        List environments and locked releases
      show        Print an environment with everything it inherits
      inspect     List the contents of a bundle or a set
      images      Map upstream references to those of the registry
      plan        Show what deploy would do
      snapshot    Write what a registry contains, for plan --snapshot
      diff        Compare environments, releases or sets
      releases    Show the recorded facts of releases and their sources
      status      Compare files, receipts, registries and clusters
      report      Write a page about environments for a browser
      preflight   Find what would stop an installation

    Prepare
      new         Write a new environment
      check       Validate environments from their files alone
      lock        Record every digest of a bundle or a set
      learn       Record facts from a real bundle and a real mkectl
      fetch       Download a locked bundle or set and verify it
      pack        Write a medium for a site without internet
      unpack      Verify a medium and import it into the workspace
      render      Write an environment's mke4.yaml
      promote     Write the release of one environment into another
      rehearse    Run a deploy without touching registry or cluster

    Deploy
      deploy      Fetch, verify, push, render and apply a release
      push        Push missing artifacts to the registry
      apply       Run mkectl on the rendered mke4.yaml
      migrate     Upgrade an MKE 3 cluster to MKE 4

    Maintain
      verify      Read the registry as a node does
      store       Report the contents of the store by release
      receipt     Rebuild a lost receipt from the cluster and the registry
      cluster     Manage the cluster of an environment
      mkectl      Run any command of the cluster's mkectl
      prune       Remove tags that no release needs, by a reviewed plan
      support     Write a support archive without secrets
      completion  Print a shell completion script
      man         Write a manual page for each command
      ci          Run the checks of this workspace's CI

    Options:
          --format <FORMAT>  Output format: human or json [default: human]
      -C, --directory <DIR>  Workspace folder [default: nearest with environments/]
          --offline          Do not use the internet [env: AIRLOCK_OFFLINE]
      -v, --verbose...       Log requests and programs, -vv more [env: AIRLOCK_LOG]
          --trace <FILE>     Write a log for diagnosis to FILE, as JSON lines
      -h, --help             Print help
      -V, --version          Print version

    Exit codes:
        0  success                         6  no suitable mkectl, or no cluster
        1  failure of this machine         7  mkectl failed
        2  something differs               8  not allowed
        3  workspace file is invalid       9  pushed in part
        4  bundle differs from its lock   64  invalid command line
        5  registry                      130  interrupted
    ");
}

#[test]
fn help_fits_a_screen_and_names_every_command() {
    let sandbox = Sandbox::new(AIRLOCK);
    let run = sandbox.run("--help");
    insta::assert_snapshot!("help", run.whole());
    assert!(
        run.stdout.lines().count() <= 64,
        "{}",
        run.stdout.lines().count()
    );
    assert!(run.stdout.lines().all(|line| line.chars().count() <= 120));
    run.does_not_print("rehearsal-mkectl");
}

#[test]
fn every_command_has_help() {
    let sandbox = Sandbox::new(AIRLOCK);
    for command in [
        "list",
        "show",
        "inspect",
        "plan",
        "diff",
        "releases",
        "report",
        "preflight",
        "new",
        "check",
        "lock",
        "fetch",
        "render",
        "rehearse",
        "deploy",
        "push",
        "apply",
        "verify",
        "store",
    ] {
        let run = sandbox.run(&[command, "--help"]).success();
        run.prints(&format!("Usage: cargo xtask {command}"));
        assert_eq!(run.stderr, "", "{command}");
    }
    insta::assert_snapshot!("help_deploy", sandbox.run("deploy --help").whole());
}

#[test]
fn the_version_is_that_of_the_package_and_names_the_revision() {
    let run = Sandbox::new(AIRLOCK).run("--version").success();
    let version = run.stdout.trim_end();
    let package = concat!("airlock ", env!("CARGO_PKG_VERSION"));
    // A tarball without Git has no revision.
    let revision = version.strip_prefix(package).unwrap();
    if support::sandbox::repository().join(".git").exists() {
        let revision = revision
            .strip_prefix(" (")
            .and_then(|rest| rest.strip_suffix(')'));
        let revision = revision.unwrap_or_else(|| panic!("{version}"));
        assert!(
            revision.len() == 12 && u64::from_str_radix(revision, 16).is_ok(),
            "{version}"
        );
    }
}

#[test]
fn a_closed_pipe_is_not_a_failure() {
    let sandbox = Sandbox::with_examples(AIRLOCK);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = sandbox
        .command("show prod")
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn help_and_hints_name_the_program_as_it_was_called() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    let by_alias = sandbox.run("help deploy").success();
    assert_eq!(by_alias.stdout, sandbox.run("deploy --help").stdout);
    by_alias.prints("Usage: cargo xtask deploy");
    for (arguments, expected) in [
        (&["help", "plan"][..], "  [AIRLOCK] plan prod --out"),
        (&["deploi"], "[AIRLOCK]"),
        (&["plan", "pord"], "`[AIRLOCK] list`"),
    ] {
        let output = sandbox
            .command(arguments)
            .env_remove("CARGO")
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = sandbox.redact(&String::from_utf8_lossy(&text));
        assert!(text.contains(expected), "{text}");
        text.lacks("cargo xtask");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_replaces_only_a_file_of_its_kind() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    let kinds = [
        (["plan", "lab", "--out"], "lab.plan.yaml"),
        (["snapshot", "lab", "--out"], "lab.snapshot.yaml"),
        (["prune", "lab", "--out"], "prune.yaml"),
        (["report", "lab", "--out"], "lab.html"),
        (["verify", "lab", "--textfile"], "lab.prom"),
    ];
    let run =
        |[command, name, option]: [&str; 3], path: &str| lab.run(&[command, name, option, path]);
    // An empty plan does not create a file, so this file is from an earlier run.
    lab.write("prune.yaml", "# Run `prune lab --plan FILE`.\n");
    for (command, own) in kinds {
        run(command, own).success();
        run(command, own).success();
    }
    crate::files::pipe(&lab.path("pipe"));
    let before = lab.state();
    for (command, own) in kinds {
        let others = kinds.iter().map(|(_, other)| *other);
        let others = others.filter(|other| *other != own).chain([
            "pipe",
            "environments/lab/environment.yaml",
            "environments/lab/receipt.yaml",
        ]);
        for other in others {
            run(command, other).exits_with(3);
        }
    }
    assert_eq!(lab.changes_since(&before), [""; 0]);
    // The pipe is refused again, so no file has replaced it.
    let refused = [
        run(kinds[0].0, "prune.yaml"),
        run(kinds[0].0, "environments/lab/receipt.yaml"),
        run(kinds[1].0, "pipe"),
        run(kinds[3].0, "lab.plan.yaml"),
        run(kinds[4].0, "pipe"),
    ];
    let refused: Vec<&str> = refused
        .iter()
        .filter_map(|run| Some(run.stderr.get(run.stderr.find("error: ")?..)?.trim_end()))
        .collect();
    insta::assert_snapshot!(refused.join("\n"), @"
    error: `prune.yaml` exists and is not a plan
    hint: name a different file
    error: `environments/lab/receipt.yaml` is reserved for a file of the workspace
    hint: name a different file
    error: `pipe` is a named pipe, not a regular file
    hint: name a regular file; without `--out`, the result goes to standard output
    error: `lab.plan.yaml` exists and is not a report
    hint: name a different file
    error: `pipe` is a named pipe, not a regular file
    hint: name a regular file
    ");
}

#[test]
fn a_folder_whose_path_is_not_utf_8_is_named() {
    use std::os::unix::ffi::OsStrExt as _;
    let sandbox = Sandbox::new(AIRLOCK);
    let folder = sandbox
        .path("")
        .as_std_path()
        .join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    std::fs::create_dir_all(folder.join("environments")).unwrap();
    let output = sandbox.command("list").current_dir(&folder).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.contains("the path of the current folder is not UTF-8: `")
            && text.contains("caf\u{fffd}`"),
        "{text}"
    );
}

#[test]
fn a_dash_is_not_a_file_to_write() {
    let sandbox = Sandbox::new(AIRLOCK);
    sandbox.run("new lab --release v4.1.5").success();
    for command in [
        "plan lab --out -",
        "snapshot lab --out -",
        "prune lab --out -",
        "report lab --out -",
        "support lab --out -",
        "cluster backup lab --output -",
        "cluster kubeconfig lab --output -",
        "verify lab --textfile -",
    ] {
        let run = sandbox.run(command).exits_with(64);
        run.reports("it names no file; write `./-` for a file of that name");
    }
    assert!(!sandbox.path("-").exists());
}
