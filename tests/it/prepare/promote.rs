//! `promote`, and `requires`: a release is deployed to a second environment only after a successful
//! deploy to the first.

use support::Lab;

use crate::{AIRLOCK, FAKE_MKECTL};

/// Makes a lab with a second environment, `staging`, in a different project of the same registry.
/// `more` is inserted at the top of the lab's file.
async fn with_staging(more: &str) -> Lab {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.write_environment("");
    let text = lab.read("environments/lab/environment.yaml");
    lab.write(
        "environments/staging/environment.yaml",
        &text
            .replace("project: mke", "project: staging")
            .replace("mke.lab.example.com", "mke.staging.example.com"),
    );
    lab.write_environment(more);
    lab
}

/// Locks the lab's bundle again, as a different release.
fn lock_as(lab: &Lab, release: &str) {
    let bundle = lab.path("bundles/mke_bundle_v4.1.5_amd64.tar.gz");
    lab.lock_as(release, &bundle);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_waits_for_what_its_environment_requires() {
    let mut lab = with_staging("requires: staging\n").await;
    insta::assert_snapshot!(lab.run("deploy lab").whole().lines().rev().take(2).collect::<Vec<_>>().join("\n"), @r"
    hint: `cargo xtask status staging` shows more; `cargo xtask deploy lab --override-requires REASON` ignores the requirement, and the receipt records the reason
    error: lab requires staging: staging has no receipt of a deploy
    ");
    lab.run("deploy lab").exits_with(8);
    lab.run("apply lab").exits_with(5);
    let plan = lab.run("plan lab").exits_with(8);
    plan.prints("  refused   staging has no receipt of a deploy\n");
    let check = lab.run("check lab").success();
    check.reports("warning: lab: it requires staging, but staging has no receipt of a deploy: until then `deploy` and `apply` are refused\n");
    assert!(lab.repositories().await.is_empty(), "something was pushed");
    assert!(lab.applies().is_empty());
    assert!(!lab.path("environments/lab/receipt.yaml").exists());
    // A push to the registry is allowed before the required deploy.
    lab.run("push lab").success();
    lab.run("apply lab").exits_with(8);

    lab.variable("FAKE_MKECTL_EXIT", "1");
    lab.run("deploy staging").exits_with(7);
    let failed = lab.run("deploy lab").exits_with(8);
    failed.reports("the last deploy to staging, of v4.1.5, failed at apply");
    lab.variable("FAKE_MKECTL_EXIT", "0");
    lab.run("deploy staging").success();
    lab.run("deploy lab").success();
    assert!(!lab.receipt().contains("overridden"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_of_a_different_lock_or_a_recent_deploy_is_not_enough() {
    let lab = with_staging("requires: { environment: staging, minimum-age: 1h }\n").await;
    lab.run("deploy staging").success();
    let young = lab.run("deploy lab").exits_with(8);
    young.reports(
        "error: lab requires staging: staging has run it only since [TIME]; wait until [TIME]\n",
    );
    let path = "environments/staging/receipt.yaml";
    let receipt = lab.read(path);
    let (head, tail) = receipt.split_once("  ended: ").unwrap();
    let old = format!("{head}  ended: 2026-01-02T03:04:05Z{}", &tail[20..]);
    lab.write(path, &old);
    lab.run("deploy lab").success();

    let locked = "bundles/v4.1.5-amd64.lock.yaml";
    let lock = lab.read(locked);
    lab.write(locked, &format!("{lock}# another\n"));
    let other = lab.run("deploy lab").exits_with(8);
    other.reports("staging got v4.1.5 from a different lock");
    // A deploy updates the receipt of staging, though nothing is sent or applied.
    let plan = lab.run("plan staging").success();
    plan.prints("  receipt   write, because the receipt records a different lock\n");
    let applies = lab.applies().len();
    lab.run("deploy staging").success();
    assert_eq!(lab.applies().len(), applies, "mkectl ran for nothing");
    let again = lab.run("deploy staging").success();
    assert_eq!(again.stdout, "staging: nothing to do\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_requires_a_reason_which_the_receipt_records() {
    let lab = with_staging("requires: staging\n").await;
    for empty in ["", "  "] {
        lab.run(&["deploy", "lab", "--override-requires", empty])
            .exits_with(64);
    }
    let reason = "staging burnt down: see #17";
    lab.run(&["deploy", "lab", "--override-requires", reason])
        .success();
    let receipt = lab.receipt();
    assert!(
        receipt.ends_with(
            "  overridden:\n    missing: staging has no receipt of a deploy\n    reason: 'staging burnt down: see #17'\n"
        ),
        "{receipt}"
    );
    // The override is recorded only if a requirement was missing. Without changes, no deploy is
    // required.
    lab.run("deploy lab").success();
    lab.run("deploy staging").success();
    lab.run(&["apply", "lab", "--override-requires", reason])
        .success();
    assert!(!lab.receipt().contains("overridden"), "{}", lab.receipt());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_is_missing_cannot_be_required() {
    let lab = with_staging("requires: stagin\n").await;
    for command in ["check", "plan", "deploy"] {
        let run = lab.run(&[command, "lab"]);
        insta::allow_duplicates! {
            insta::assert_snapshot!(run.whole(), @r"
            exit code: 3
            --- stdout
            --- stderr
            error: environment not found: `stagin`
             --> environments/lab/environment.yaml:1:11
              |
            1 | requires: stagin
              |           ^^^^^^
              |
              = help: did you mean `staging`?

            1 problem
            ");
        }
    }
    lab.run("preflight lab").exits_with(3);
    lab.edit_environment("stagin", "staging");
    let report = lab.run("preflight lab").exits_with(8);
    report.prints("staging has no receipt of a deploy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_changes_the_release_and_nothing_else() {
    let lab = with_staging("").await;
    lock_as(&lab, "v4.1.2");
    // The lab inherits an earlier release; staging was deployed.
    lab.write(
        "environments/base.yaml",
        "# Shared.\nrelease: v4.1.2 # the last one\n",
    );
    let text = lab.read("environments/lab/environment.yaml");
    let inheriting = text.replace(
        "release: v4.1.5\n",
        "# Production: by hand.\ninherit: ../base.yaml   # all of it\n",
    );
    lab.write("environments/lab/environment.yaml", &inheriting);
    lab.run("render lab").success();
    let unproven = lab.run("promote staging lab").exits_with(3);
    insta::assert_snapshot!(unproven.whole(), @"
    exit code: 3
    --- stdout
    --- stderr
    error: cannot promote staging to lab
      because: staging has no receipt of a deploy of v4.1.5
    hint: deploy to staging first, then promote; to promote anyway: `cargo xtask promote staging lab --unproven`
    ");
    lab.run("deploy staging").success();

    let before = lab.state();
    let run = lab.run("promote staging lab").success();
    insta::assert_snapshot!("promoted", run.whole());
    assert_eq!(
        lab.changes_since(&before),
        [
            "environments/lab/environment.yaml",
            "environments/lab/mke4.yaml"
        ]
    );
    assert_eq!(
        lab.read("environments/lab/environment.yaml"),
        inheriting.replace(
            "inherit: ../base.yaml   # all of it\n",
            "inherit: ../base.yaml   # all of it\nrelease: v4.1.5\n"
        )
    );
    lab.run("render lab --check").success();
    let again = lab.run("promote staging lab").success();
    assert!(
        again.stdout.starts_with("lab has v4.1.5 already\n"),
        "{}",
        again.stdout
    );

    // A release in the file itself is changed in place. The output is Markdown.
    let own = text.replace("release: v4.1.5", "release: \"v4.1.2\"  # not yet");
    lab.write("environments/lab/environment.yaml", &own);
    let markdown = lab.run("promote staging lab --markdown").success();
    assert!(
        markdown.stdout.starts_with("### staging → lab: v4.1.2 → v4.1.5\n\n```diff\n--- a/environments/lab/environment.yaml\n"),
        "{}",
        markdown.stdout
    );
    assert_eq!(
        lab.read("environments/lab/environment.yaml"),
        own.replace("v4.1.2", "v4.1.5")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_proves_nothing() {
    let lab = with_staging("requires: staging\n").await;
    lab.run("deploy staging").success();
    let proven = lab.run("check lab").success();
    proven.does_not_report("rehearsal");
    let path = "environments/staging/environment.yaml";
    let text = lab.read(path);
    lab.write(path, &format!("rehearsal: true\n{text}"));

    let check = lab.run("check lab").success();
    check.reports("warning: lab: it requires staging, which is a rehearsal: a deploy to it reaches no cluster and proves nothing; require an environment with a cluster\n");
    let before = lab.state();
    let refused = lab.run("promote staging lab").exits_with(3);
    insta::assert_snapshot!(refused.whole(), @"
    exit code: 3
    --- stdout
    --- stderr
    error: cannot promote staging to lab
      because: staging is a rehearsal: a deploy to it reaches no cluster
    hint: promote from an environment with a cluster; to promote anyway: `cargo xtask promote staging lab --unproven`
    ");
    assert_eq!(lab.changes_since(&before), [""; 0]);
    lab.run("promote staging lab --unproven")
        .success()
        .reports("warning: staging is a rehearsal: a deploy to it reaches no cluster\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_promotion_is_refused_and_changes_nothing() {
    let lab = with_staging("").await;
    lab.run("deploy lab").success();
    lock_as(&lab, "v4.1.2");
    let path = "environments/staging/environment.yaml";
    let text = lab.read(path).replace("v4.1.5", "v4.1.2");
    lab.write(path, &text);
    let before = lab.state();
    let run = lab.run("promote staging lab --unproven");
    insta::assert_snapshot!(run.whole(), @"
    exit code: 3
    --- stdout
    --- stderr
    error: cannot promote staging to lab
      because: the cluster of lab runs v4.1.5
      because: v4.1.2 is older than v4.1.5; only a backup restores an older release
    ");
    lab.run("promote lab lab").exits_with(3);
    lab.run("promote lab nowhere").exits_with(3);
    // A configuration that cannot be rendered with the release leaves the file as it was.
    lab.write(path, &text.replace("v4.1.2", "v9.9.9"));
    lab.run("promote staging lab --unproven").exits_with(3);
    lab.write(path, &text);
    let changes = lab.changes_since(&before);
    assert!(
        !changes.iter().any(|path| path.contains("/lab/")),
        "{changes:?}"
    );
}
