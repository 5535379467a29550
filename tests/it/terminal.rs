//! Output on a terminal of 80 columns: no line is wider, so the terminal breaks no word. Lines of a
//! diff may be wider.

use support::terminal::{COLUMNS, Shown, show, show_without_term};
use support::{Arguments, Lab, Sandbox};

use crate::{AIRLOCK, FAKE_MKECTL};

/// Collects lines that are too wide. Commands to copy and single words may be wider than the
/// terminal, such as a path of this test.
#[derive(Default)]
struct Wide(Vec<String>);

impl Wide {
    #[track_caller]
    fn look(&mut self, sandbox: &Sandbox, arguments: impl Arguments) -> Shown {
        self.look_typing(sandbox, arguments, "y\n")
    }

    #[track_caller]
    fn look_typing(&mut self, sandbox: &Sandbox, arguments: impl Arguments, typed: &str) -> Shown {
        let shown = show(sandbox.command(arguments), typed);
        let is_wrong = matches!(shown.code, None | Some(101));
        assert!(!is_wrong, "{arguments:?}: {}", shown.text);
        // The typed answer ends the line of a prompt.
        let lines = shown
            .lines()
            .join("\n")
            .replace("continue: ", "continue:\n")
            .replace("[y/N] ", "[y/N]\n");
        let mut is_diff = false;
        for line in lines.lines() {
            // The end of a line is two characters.
            let continues = line.is_empty() || line.starts_with(['+', '-', ' ', '@']);
            is_diff = line.starts_with("--- ") || is_diff && continues;
            let is_command = line.trim_start().starts_with("$ ");
            let is_word = line.split_whitespace().count() == 1;
            if line.chars().count() > usize::from(COLUMNS) && !(is_command || is_word || is_diff) {
                self.0.push(format!("{arguments:?}: {line}"));
            }
        }
        shown
    }

    #[track_caller]
    fn assert_none(&self) {
        assert!(self.0.is_empty(), "{}", self.0.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_fits_80_columns() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.variable("FAKE_MKECTL_LIST_IMAGES", "0");
    let mut wide = Wide::default();
    let before = [
        "list",
        "check",
        "new staging --release v4.1.5",
        "plan lab",
        "plan lab --out lab.plan.yaml",
        "preflight lab",
        "rehearse lab",
        "render lab",
        "cluster status lab",
        "deploy lab",
        "deploy lab",
    ];
    for arguments in before {
        let shown = wide.look(&lab.sandbox, arguments);
        assert_eq!(shown.code, Some(0), "{arguments:?}: {}", shown.text);
    }
    lab.edit_environment("port: 22", "port: 2222");
    let after = [
        "plan lab",
        "diff lab",
        "diff lab --live",
        "diff lab staging",
        "apply lab",
        "push lab",
        "verify lab --full",
        "verify lab --repair",
        "status --live",
        "snapshot lab",
        "snapshot lab --out lab.snapshot.yaml",
        "prune lab",
        "prune lab --out prune.yaml",
        "cluster status lab",
        "cluster check lab",
        "cluster backup lab",
        "mkectl lab -- version",
        "inspect v4.1.5",
        "inspect bundles/mke_bundle_v4.1.5_amd64.tar.gz",
        "fetch v4.1.5 --check",
        "lock v4.1.5 --bundle bundles/mke_bundle_v4.1.5_amd64.tar.gz --offline",
        "learn v4.1.5 --bundle bundles/mke_bundle_v4.1.5_amd64.tar.gz --offline",
        "releases",
        "releases v4.1.5",
        "releases v4.2.0",
        "store",
        "store gc --dry-run",
        "receipt rebuild lab --confirm lab",
    ];
    let mut failed = Vec::new();
    for arguments in after {
        let shown = wide.look(&lab.sandbox, arguments);
        if shown.code != Some(0) {
            failed.push(format!("{arguments:?}: {}", shown.text));
        }
    }
    // Commands that read the cluster fail.
    assert!(failed.len() <= 6, "{}", failed.join("\n"));
    wide.assert_none();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diff_has_its_sign_in_every_line() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    let long = "/home/operator/keys of the whole company and all of its departments/id_ed25519";
    lab.edit_environment("~/.ssh/id_ed25519", &format!("\"{long}\""));
    for arguments in ["plan lab", "render lab --check"] {
        let shown = show(lab.command(arguments), "");
        let lines = shown.lines();
        let has_long = |line: &&String| line.starts_with('+') && line.contains(long);
        assert!(lines.iter().any(|line| has_long(&line)), "{}", shown.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_error_fits_80_columns() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let mut wide = Wide::default();
    let file = "environments/lab/environment.yaml";
    let valid = lab.read(file);
    for arguments in [
        "depoly lab",
        "push lab --max-rate 20",
        "plan lba",
        "-C /nonexistent/folder/of/some/operator list",
        "lock v4.2.0 --offline",
        "lock v4.2.0 --bundle bundles/mke_bundle_v4.1.5_amd64.tar.gz --offline",
        "fetch v4.2.0 --offline",
        "verify lab",
        "receipt rebuild lab",
        "cluster reset lab",
        "diff v4.1.5",
    ] {
        let _ = wide.look_typing(&lab.sandbox, arguments, "something else\n");
    }
    let edits = [
        ("port: 22", "prot: 22"),
        (
            "project: mke",
            "project: /mke/of/the/whole/company/and/all/of/its/departments/",
        ),
        (
            "tracking: { enabled: false }",
            "tracking: { enabled: perhaps, and-more-of-it: [1, 2, 3, 4, 5, 6, 7, 8] }",
        ),
        ("release: v4.1.5", "release: v4.1.4"),
        ("address: 127", "address: nowhere.example.com:5000 #"),
        ("push-credentials", "protected: true #"),
    ];
    for (from, to) in edits {
        lab.write(file, &valid.replace(from, to));
        let _ = wide.look(&lab.sandbox, "deploy lab");
    }
    lab.write(file, &format!("protected: true\n{valid}"));
    let _ = wide.look_typing(&lab.sandbox, "deploy lab", "prod\ny\n");
    lab.write(file, &valid);
    lab.variable("FAKE_MKECTL_EXIT", "1");
    let _ = wide.look(&lab.sandbox, "deploy lab");
    wide.assert_none();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_progress_bar_shows_the_rate_and_fits_80_columns() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let mut wide = Wide::default();
    let shown = wide.look(&lab.sandbox, "push lab --max-rate 200kB");
    assert!(shown.text.contains("kB/s"), "{}", shown.text);
    wide.assert_none();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_without_control_sequences_gets_plain_lines() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    for (arguments, expected) in [
        ("push lab --max-rate 1MB", "push done: "),
        ("new site", "wrote environments/site/environment.yaml"),
    ] {
        let mut command = lab.command(arguments);
        command.env("TERM", "dumb").env_remove("NO_COLOR");
        let shown = show_without_term(command, "");
        assert_eq!(shown.code, Some(0), "{}", shown.text);
        let text = shown.text.replace("\r\n", "\n");
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains(['\u{1b}', '\r']), "{text:?}");
    }
}
