//! The command line itself: what is typed wrongly, help, the version.

use support::Sandbox;

use crate::AIRLOCK;

#[test]
fn a_mistyped_command_is_guessed_and_has_a_code_of_its_own() {
    let sandbox = Sandbox::new(AIRLOCK);
    insta::assert_snapshot!(sandbox.run(&["depoly", "demo"]).whole(), @r#"
    exit code: 64
    --- stdout
    --- stderr
    error: unrecognized subcommand 'depoly'

      tip: some similar subcommands exist: 'apply', 'deploy'

    Usage: cargo xtask [OPTIONS] <COMMAND>

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(sandbox.run(&["deploy"]).whole(), @r#"
    exit code: 64
    --- stdout
    --- stderr
    error: the following required arguments were not provided:
      <ENVIRONMENT>

    Usage: cargo xtask deploy <ENVIRONMENT>

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(sandbox.run(&["deploy", "demo", "--confrim", "demo"]).whole(), @r#"
    exit code: 64
    --- stdout
    --- stderr
    error: unexpected argument '--confrim' found

      tip: a similar argument exists: '--confirm'

    Usage: cargo xtask deploy --confirm <NAME> <ENVIRONMENT>

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(sandbox.run(&["list", "--format", "xml"]).whole(), @r#"
    exit code: 64
    --- stdout
    --- stderr
    error: invalid value 'xml' for '--format <FORMAT>'
      [possible values: human, json]

    For more information, try '--help'.
    "#);
}

#[test]
fn machines_are_told_of_a_mistyped_command_too() {
    let sandbox = Sandbox::new(AIRLOCK);
    for format in [&["--format", "json"][..], &["--format=json"]] {
        let run = sandbox.run(&[format, &["depoly"]].concat()).ends_with(64);
        let object: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
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
    let run = sandbox
        .run(&["mkectl", "--", "--format", "json"])
        .ends_with(64);
    assert_eq!(run.stdout, "");
}

#[test]
fn the_options_of_all_commands_come_last_in_each_help() {
    let sandbox = Sandbox::new(AIRLOCK);
    for command in [&["deploy"][..], &["lock"], &["store", "gc"], &["list"]] {
        let run = sandbox.run(&[command, &["-h"]].concat()).ends_with(0);
        let options: Vec<&str> = (run.stdout.lines())
            .filter_map(|line| line.trim_start().split_once(' '))
            .map(|(first, _)| first)
            .filter(|first| first.starts_with('-'))
            .collect();
        assert!(
            options.ends_with(&["--format", "-C,", "--offline", "-h,"]),
            "{options:?}"
        );
    }
}

#[test]
fn no_command_shows_what_there_is() {
    let sandbox = Sandbox::new(AIRLOCK);
    insta::assert_snapshot!(sandbox.run(&[]).whole(), @r#"
    exit code: 64
    --- stdout
    --- stderr
    Carry a release of Mirantis Kubernetes Engine 4 across an air gap

    Usage: cargo xtask [OPTIONS] <COMMAND>

    Look
      list       Show environments and locked releases
      show       Print an environment with everything that it inherits
      inspect    List what a bundle holds
      plan       Say what deploy would do
      inventory  Say what a registry holds, for plans that are made elsewhere
      diff       Compare an environment with what is committed and applied, two environments, or two releases
      releases   Say what is known of each release, how well, and from where
      status     Compare what is wanted with what receipts, registries and clusters say
      preflight  Find everything from here that would stop an installation

    Prepare
      new        Write a new environment
      check      Say everything that is wrong with environments, from their files alone
      lock       Record a release's bundle, byte by byte, in a file to be committed
      learn      Record what a real bundle and a real mkectl of a release show
      fetch      Download a locked bundle and verify it
      render     Write an environment's mke4.yaml
      promote    Give one environment the release of another
      rehearse   Go the whole way without touching registry or cluster

    Deploy
      deploy     Do it all: fetch, verify, push, render, apply
      push       Send the registry what it lacks
      apply      Run mkectl on the rendered mke4.yaml
      migrate    Bring an MKE 3 cluster to the release: fetch, verify, push, render, upgrade

    Care
      verify     Look at the registry as a node does
      store      Say what the store holds, by release; `store gc` removes what no lock names
      receipt    Rebuild a lost receipt from the cluster and the registry
      cluster    Ask, check, back up, restore or reset a cluster, or get its kubeconfig
      mkectl     Run any other command of an environment's own mkectl
      prune      Plan what an environment's registry needs no more; `prune --plan FILE` removes it
      bench      Measure a push on this machine, beside the vendor's loop

    Options:
          --format <FORMAT>  Output format [default: human] [possible values: human, json]
      -C, --directory <DIR>  The folder of environments/ and bundles/ [default: the nearest upwards]
          --offline          Ask only registries, nodes and clusters [env: AIRLOCK_OFFLINE]
      -h, --help             Print help
      -V, --version          Print version

    Exit codes: 0 done, 1 failed, 2 something differs (plan, diff and status --detailed-exitcode, render --check),
    3 a file of yours is wrong, 4 the bundle is not what its lock says, 5 the registry, 6 no fitting mkectl,
    7 mkectl itself failed, 8 not allowed, 9 pushed in part, 64 wrong command line, 130 interrupted.
    "#);
}

#[test]
fn help_fits_a_screen_and_names_the_road() {
    let sandbox = Sandbox::new(AIRLOCK);
    let run = sandbox.run(&["--help"]);
    insta::assert_snapshot!("help", run.whole());
    assert!(
        run.stdout.lines().count() <= 54,
        "{}",
        run.stdout.lines().count()
    );
    assert!(run.stdout.lines().all(|line| line.chars().count() <= 120));
    assert!(!run.stdout.contains("rehearsal-mkectl"));
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
        "bench",
    ] {
        let run = sandbox.run(&[command, "--help"]).ends_with(0);
        assert!(
            run.stdout
                .contains(&format!("Usage: cargo xtask {command}")),
            "{}",
            run.stdout
        );
        assert_eq!(run.stderr, "", "{command}");
    }
    insta::assert_snapshot!("help_deploy", sandbox.run(&["deploy", "--help"]).whole());
}

#[test]
fn the_version_is_that_of_the_package() {
    let run = Sandbox::new(AIRLOCK).run(&["--version"]).ends_with(0);
    assert_eq!(
        run.stdout,
        format!("cargo xtask {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn what_is_written_to_a_closed_pipe_is_no_failure() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = sandbox
        .command(&["show", "prod"])
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
