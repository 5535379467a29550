//! `plan --out` and `deploy --plan`: a saved plan is executed exactly, or the changes since are
//! listed.

use std::process::Stdio;

use bundle::Artifact;
use support::wire::Wire;
use support::{Lab, Text as _, bundles};

use crate::{AIRLOCK, FAKE_MKECTL};

const PLAN: &str = "lab.plan.yaml";
const LOCK: &str = "bundles/v4.1.5-amd64.lock.yaml";
const RECEIPT: &str = "environments/lab/receipt.yaml";

/// Saves a plan, and returns its text.
fn plan(lab: &Lab) -> String {
    lab.run(&["plan", "lab", "--out", PLAN]).success();
    lab.read(PLAN)
}

/// Deploys by the saved plan.
fn deploy(lab: &Lab) -> support::Run {
    lab.run(&["deploy", "lab", "--plan", PLAN])
}

/// Runs a deploy that is refused because of changes, and returns the error with its lines.
#[track_caller]
fn changes(lab: &Lab) -> String {
    let run = deploy(lab).exits_with(2);
    assert_eq!(run.stdout, "");
    let lines = run
        .stderr
        .lines()
        .skip_while(|line| !line.starts_with("error:"));
    let lines = lines.filter(|line| !line.starts_with("hint:"));
    redact(&lines.collect::<Vec<_>>().join("\n"))
}

/// Replaces digests, which differ from run to run.
fn redact(text: &str) -> String {
    let is_digest =
        |word: &&str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut redacted = text.to_owned();
    let words = text.split(|character: char| !character.is_ascii_alphanumeric());
    for digest in words.filter(is_digest) {
        redacted = redacted.replace(digest, "[SHA-256]");
    }
    redacted
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_a_readable_file_that_is_the_same_each_time() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let first = plan(&lab);
    insta::assert_snapshot!("plan", redact(&lab.redact(&first)));
    assert_eq!(plan(&lab), first);
    for secret in [support::lab::USER, support::lab::PASSWORD] {
        assert!(!first.contains(secret), "{secret}");
    }
    let json = lab
        .run(&["plan", "lab", "--out", PLAN, "--format", "json"])
        .success();
    let value = json.json();
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&first));
    assert_eq!(value["result"]["file"]["sha256"], digest.as_str());
    insta::assert_snapshot!("markdown", lab.run("plan lab --markdown").success().stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_plan_is_executed_exactly() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let wire = Wire::before(&lab.registry.address).await;
    lab.edit_environment(&lab.registry.address, &wire.address);
    // One artifact is present, one tag has different content, and the other artifacts are missing.
    lab.run("push lab").success();
    let lock = bundles::lock_of(&lab.sandbox);
    let (kept, other) = (&lock.artifacts[2], &lock.artifacts[1]);
    for artifact in lock.artifacts.iter().filter(|artifact| *artifact != kept) {
        delete(&lab, artifact).await;
    }
    put_as(&lab, kept, other).await;
    let text = plan(&lab);
    assert_eq!(
        text.matches("found: nothing").count(),
        lock.artifacts.len() - 2,
        "{text}"
    );
    let _ = wire.take();
    let run = deploy(&lab).success();
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&text));
    let receipt = lab.read(RECEIPT);
    receipt.has(&format!("  plan: {digest}\n"));
    let seen = wire.take();
    let tagged: Vec<&String> = seen
        .iter()
        .filter(|request| request.starts_with("PUT /v2/") && request.contains("/manifests/"))
        .filter(|request| !request.contains("sha256:") && !request.contains("/airlock/state/"))
        .collect();
    assert_eq!(tagged.len(), lock.artifacts.len() - 1, "{tagged:?}");
    let kept = format!("/v2/mke/{}/", kept.repository);
    let of_kept: Vec<&String> = seen
        .iter()
        .filter(|request| request.contains(&kept) && !request.starts_with("HEAD"))
        .collect();
    assert!(of_kept.is_empty(), "{of_kept:?}");
    assert_eq!(lab.applies().len(), 1);
    run.prints(" 13 pushed");

    // A plan is executed once: the receipt records it, and mkectl has nothing to do.
    let again = changes(&lab);
    assert_eq!(
        again,
        "error: `lab.plan.yaml` was already applied, at [TIME]"
    );
    // The requests are those of a deploy without a saved plan.
    let _ = plan(&lab);
    let _ = wire.take();
    deploy(&lab).success();
    assert_eq!(wire.take().len(), lock.artifacts.len() + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_since_the_plan_is_listed_and_nothing_is_deployed() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    lab.edit_environment("mke.lab.example.com", "mke2.lab.example.com");
    let _ = plan(&lab);
    let applies = lab.applies().len();
    let file = lab.path("environments/lab/environment.yaml");
    let environment = std::fs::read_to_string(&file).unwrap();
    let before = lab.state();

    let lock = lab.read(LOCK);
    lab.write(LOCK, &format!("{lock}# another\n"));
    insta::assert_snapshot!(changes(&lab), @r"
    error: `lab.plan.yaml` is outdated: a deploy would now do something different
      lock: was [SHA-256] and is [SHA-256]
    ");
    lab.write(LOCK, &lock);

    lab.edit_environment("mke2.lab.example.com", "mke3.lab.example.com");
    insta::assert_snapshot!(changes(&lab), @r"
    error: `lab.plan.yaml` is outdated: a deploy would now do something different
      config: was [SHA-256] and is [SHA-256]
    ");
    std::fs::write(&file, &environment).unwrap();

    let config = lab.read("environments/lab/mke4.yaml");
    lab.write(
        "environments/lab/mke4.yaml",
        &format!("{config}# by hand\n"),
    );
    insta::assert_snapshot!(changes(&lab), @r"
    error: `lab.plan.yaml` is outdated: a deploy would now do something different
      config: environments/lab/mke4.yaml was changed by something else
    ");
    lab.write("environments/lab/mke4.yaml", &config);

    let receipt = lab.read(RECEIPT);
    lab.write(RECEIPT, &format!("{receipt}# signed\n"));
    insta::assert_snapshot!(changes(&lab), @r"
    error: `lab.plan.yaml` is outdated: a deploy would now do something different
      receipt: was [SHA-256] and is [SHA-256]
    ");
    lab.write(RECEIPT, &receipt);

    // A different build of the same version.
    let mut program = std::fs::read(FAKE_MKECTL).unwrap();
    program.extend_from_slice(b"another build");
    lab.install_script("mkectl", program);
    insta::assert_snapshot!(changes(&lab), @r"
    error: `lab.plan.yaml` is outdated: a deploy would now do something different
      mkectl: was v4.1.5 [SHA-256] and is v4.1.5 [SHA-256]
    ");
    lab.variable("FAKE_MKECTL_VERSION", "v4.1.4");
    deploy(&lab).exits_with(6);
    lab.variable("FAKE_MKECTL_VERSION", "v4.1.5");
    lab.install(FAKE_MKECTL, "mkectl");

    let artifacts = bundles::lock_of(&lab.sandbox).artifacts;
    let (one, other) = (&artifacts[0], &artifacts[1]);
    delete(&lab, one).await;
    put_as(&lab, &artifacts[2], other).await;
    insta::assert_snapshot!(changes(&lab), @r"
    error: `lab.plan.yaml` is outdated: a deploy would now do something different
      registry: calico/apiserver:v3.30.2 was sha256:[SHA-256] and is nothing
      registry: calico/node:v3.30.2 was sha256:[SHA-256] and is sha256:[SHA-256]
    ");
    let json = lab
        .run(&["deploy", "lab", "--plan", PLAN, "--format", "json"])
        .exits_with(2);
    let value = json.json();
    assert_eq!(value["error"]["moved"][0]["subject"], "registry");
    assert_eq!(value["error"]["exit-code"], 2);

    assert_eq!(lab.applies().len(), applies, "mkectl ran");
    let mut changed = lab.changes_since(&before);
    // Files that this test restored, and the cache of what the other mkectl supports.
    let written = [
        LOCK,
        RECEIPT,
        "environments/lab/environment.yaml",
        "environments/lab/mke4.yaml",
    ];
    changed
        .retain(|path| !written.contains(&path.as_str()) && !path.starts_with("bundles/mkectl/"));
    assert_eq!(changed, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_not_plans_of_this_environment_are_refused() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let text = plan(&lab);
    lab.write(PLAN, &text.replace("environment: lab", "environment: prod"));
    let run = deploy(&lab).exits_with(64);
    assert_eq!(
        run.stderr,
        "error: `lab.plan.yaml` is a plan for prod, not for lab\nhint: `cargo xtask deploy prod --plan lab.plan.yaml`, or name a plan of lab\n"
    );
    lab.write(PLAN, &text.replace("version: 1\n", "version: 2\n"));
    let run = deploy(&lab).exits_with(3);
    run.reports("error: `lab.plan.yaml` is a plan of version 2, which this version of Airlock does not support");
    // An unknown key is refused.
    lab.write(
        PLAN,
        &text.replace("registry:\n", "approved: yes\nregistry:\n"),
    );
    let run = deploy(&lab).exits_with(3);
    run.reports("`lab.plan.yaml` is not a plan");
    lab.remove(PLAN);
    deploy(&lab).exits_with(3);
    assert!(lab.repositories().await.is_empty());
    assert!(!lab.path(RECEIPT).exists());

    // Without mkectl the plan lacks its commands, so it is not written.
    std::fs::remove_file(lab.bin().join("mkectl")).unwrap();
    let run = lab.run(&["plan", "lab", "--out", PLAN]).exits_with(6);
    run.reports("cannot plan for lab");
    assert!(!lab.path(PLAN).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_executed_again_after_its_deploy_failed_or_was_killed() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let _ = plan(&lab);
    // The deploy fails half-way: everything is pushed, the configuration is written, and the
    // receipt records the failure.
    lab.variable("FAKE_MKECTL_EXIT", "1");
    deploy(&lab).exits_with(7);
    lab.variable("FAKE_MKECTL_EXIT", "0");
    let run = deploy(&lab).success();
    run.prints(" 0 pushed");
    assert!(!lab.receipt().contains("failed:"));

    // The deploy is killed while mkectl runs, and writes no receipt.
    lab.edit_environment("mke.lab.example.com", "mke2.lab.example.com");
    let _ = plan(&lab);
    lab.variable("FAKE_MKECTL_HANG", "yes");
    let applies = lab.applies().len();
    let mut child = lab
        .command(&["deploy", "lab", "--plan", PLAN])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let began = std::time::Instant::now();
    while lab.applies().len() == applies {
        assert!(began.elapsed().as_secs() < 60, "mkectl was never run");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    lab.variable("FAKE_MKECTL_HANG", "no");
    let began = std::time::Instant::now();
    let last = loop {
        let run = deploy(&lab);
        // mkectl needs a moment to end after its signal.
        if run.code != Some(6) || began.elapsed().as_secs() > 30 {
            break run;
        }
    };
    last.success();

    // The failure of a deploy without this plan changes the receipt, so the plan is outdated.
    lab.edit_environment("mke2.lab.example.com", "mke3.lab.example.com");
    let _ = plan(&lab);
    let saved = lab.read(PLAN);
    lab.variable("FAKE_MKECTL_EXIT", "1");
    lab.edit_environment("mke3.lab.example.com", "mke4.lab.example.com");
    lab.run("deploy lab").exits_with(7);
    lab.edit_environment("mke4.lab.example.com", "mke3.lab.example.com");
    lab.write(PLAN, &saved);
    changes(&lab).has("receipt: was");
}

/// Deletes an artifact's manifest from the registry.
async fn delete(lab: &Lab, artifact: &Artifact) {
    let repository = format!("mke/{}", artifact.repository);
    (lab.registry)
        .delete_manifest(&repository, &artifact.digest)
        .await;
}

/// Makes the tag of one artifact point to the content of another.
async fn put_as(lab: &Lab, content: &Artifact, tagged: &Artifact) {
    let from = format!("mke/{}", content.repository);
    let to = format!("mke/{}", tagged.repository);
    (lab.registry)
        .copy_manifest((&from, &content.tag), (&to, &tagged.tag))
        .await;
}
