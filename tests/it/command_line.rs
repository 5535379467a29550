//! The command line itself: what is typed wrongly, help, the version.

use support::Sandbox;

use crate::AIRLOCK;

#[test]
fn a_mistyped_command_is_guessed_and_has_a_code_of_its_own() {
    let sandbox = Sandbox::new(AIRLOCK);
    insta::assert_snapshot!(sandbox.run(&["depoly", "demo"]).whole(), @"");
    insta::assert_snapshot!(sandbox.run(&["deploy"]).whole(), @"");
    insta::assert_snapshot!(sandbox.run(&["deploy", "demo", "--confrim", "demo"]).whole(), @"");
    insta::assert_snapshot!(sandbox.run(&["list", "--format", "xml"]).whole(), @"");
}

#[test]
fn no_command_shows_what_there_is() {
    let sandbox = Sandbox::new(AIRLOCK);
    insta::assert_snapshot!(sandbox.run(&[]).whole(), @"");
}

#[test]
fn help_fits_a_screen_and_names_the_road() {
    let sandbox = Sandbox::new(AIRLOCK);
    let run = sandbox.run(&["--help"]);
    insta::assert_snapshot!("help", run.whole());
    assert!(
        run.stdout.lines().count() <= 50,
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
        "list", "show", "inspect", "plan", "new", "lock", "fetch", "render", "rehearse", "deploy",
        "push", "apply", "verify",
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
