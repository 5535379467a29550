//! `snapshot`: the content of a registry as a file, for plans on a machine without the registry.

use support::wire::Wire;
use support::{Lab, Text as _, bundles};

use crate::{AIRLOCK, FAKE_MKECTL};

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_a_snapshot_sends_no_request_and_can_be_executed() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let wire = Wire::before(&lab.registry.address).await;
    lab.edit_environment(&lab.registry.address, &wire.address);
    let run = lab.run("snapshot lab --out lab.snapshot.yaml").success();
    insta::assert_snapshot!(run.whole(), @r"
    exit code: 0
    --- stdout
    127.0.0.1:[PORT]/mke has 0 of 14 tags that the locks name
    --- stderr
    the snapshot is in lab.snapshot.yaml
    ");
    let first = lab.read("lab.snapshot.yaml");
    let asked = wire.take();
    assert_eq!(asked.len(), 15, "{asked:?}");

    lab.run("plan lab --snapshot lab.snapshot.yaml --out lab.plan.yaml")
        .success();
    assert_eq!(wire.take(), [""; 0], "a plan of a snapshot sent requests");
    // Both plans have the same text, including the commands of mkectl.
    let live = lab.run("plan lab").success();
    live.prints("mkectl apply -f ");
    let taken = lab.run("plan lab --snapshot lab.snapshot.yaml");
    assert_eq!(taken.whole(), live.whole());
    let _ = wire.take();
    let plan = lab.read("lab.plan.yaml");
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&first));
    plan.has(&format!("\nsnapshot: {digest}\n"));
    assert_eq!(
        plan.matches("found: nothing").count(),
        bundles::lock_of(&lab.sandbox).artifacts.len()
    );

    // The names of earlier versions are accepted.
    let earlier = lab.run("inventory lab --out earlier.yaml");
    assert_eq!(
        earlier.success().stderr,
        "the snapshot is in earlier.yaml\n"
    );
    assert_eq!(lab.read("earlier.yaml"), first);
    lab.run("plan lab --inventory earlier.yaml --out earlier.plan.yaml")
        .success();
    assert_eq!(lab.read("earlier.plan.yaml"), plan);
    let earlier = plan.replace("\nsnapshot: ", "\ninventory: ");
    lab.write("lab.plan.yaml", &earlier);

    lab.run("deploy lab --plan lab.plan.yaml").success();
    lab.run("snapshot lab --out lab.snapshot.yaml").success();
    let second = lab.read("lab.snapshot.yaml");
    second.lacks("found: nothing");
    lab.run("snapshot lab --out again.yaml").success();
    assert_eq!(second, lab.read("again.yaml"));
    lab.run("plan lab --snapshot again.yaml --detailed-exitcode")
        .success()
        .prints("Nothing to do");
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_that_a_snapshot_does_not_list_are_reported_and_count_as_missing() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("push lab").success();
    let path = "bundles/v4.1.5-amd64.lock.yaml";
    let lock = lab.read(path);
    lab.remove(path);
    lab.run("snapshot lab --out empty.yaml").success();
    lab.write(path, &lock);
    let plan = lab
        .run("plan lab --snapshot empty.yaml --out lab.plan.yaml")
        .success();
    plan.prints("warning: the snapshot does not list 14 of 14 artifacts");
    // The deploy finds them in the registry, and does not refuse the plan because of that.
    lab.run("deploy lab --plan lab.plan.yaml")
        .success()
        .prints(" 0 pushed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_lacks_images_that_only_mkectl_lists() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("snapshot lab --out lab.yaml").success();
    let list = lab.home().join("images.txt");
    std::fs::write(&list, "registry.mirantis.com/mke/calico/other:v1\n").unwrap();
    lab.variable("FAKE_MKECTL_IMAGES", list.as_str());
    let plan = lab.run("plan lab --snapshot lab.yaml").exits_with(3);
    plan.prints("warning: the snapshot does not list 1 artifact that mkectl requires and the lock lacks: `plan` without `--snapshot` asks the registry\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_of_other_registries_and_other_files_are_refused() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("snapshot lab --out lab.yaml").success();
    let text = lab.read("lab.yaml");
    let plan = |text: &str| {
        lab.write("other.yaml", text);
        lab.run("plan lab --snapshot other.yaml")
            .exits_with(3)
            .stderr
    };
    insta::assert_snapshot!(plan(&text.replace("/mke\n", "/other\n")), @r"
    error: the snapshot is of 127.0.0.1:[PORT]/other, but the environment's registry is 127.0.0.1:[PORT]/mke
    hint: take a snapshot of this environment: `cargo xtask snapshot lab --out FILE`
    ");
    insta::assert_snapshot!(plan(&text.replace("version: 1", "version: 2")), @"error: `other.yaml` is a registry snapshot of version 2, which this version of Airlock does not support");
    insta::assert_snapshot!(plan("version: 1\nwhat: this\n"), @r"
    error: `other.yaml` is not a registry snapshot
      because: unknown field `what`, expected one of `version`, `environment`, `registry`, `taken`, `commit`, `blobs`, `lost`, `tags` at line 2 column 1
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_does_not_quote_a_file_that_was_named_by_mistake() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let mut all = String::new();
    for text in ["hunter2, expected\n", "version: hunter2\nformat: hunter2\n"] {
        lab.write("secret.txt", text);
        for command in [
            "plan lab --snapshot secret.txt",
            "deploy lab --plan secret.txt",
            "prune lab --plan secret.txt",
            "pack lab --dry-run --have secret.txt",
        ] {
            let run = lab.run(command).exits_with(3);
            run.does_not_mention("hunter2");
            all.push_str(&run.stderr);
        }
    }
    insta::assert_snapshot!(all, @"
    error: `secret.txt` is not a registry snapshot
      because: invalid type: string, expected keys and values
    error: `secret.txt` is not a plan
      because: invalid type: string, expected keys and values, `version` among them
    error: `secret.txt` is not a prune plan
      because: invalid type: string, expected keys and values
    error: `secret.txt` is not a registry snapshot and not the manifest of a medium
      because: the manifest of the medium is not valid
      because: invalid type: string, expected keys and values, `format` among them
    hint: name the file of `cargo xtask snapshot`, or manifest.yaml of a medium
    error: `secret.txt` is not a registry snapshot
      because: version: invalid type: string, expected u32 at line 1 column 10
    error: `secret.txt` is not a plan
      because: version: invalid type: string, expected u32 at line 1 column 10
    error: `secret.txt` is not a prune plan
      because: version: invalid type: string, expected u32 at line 1 column 10
    error: `secret.txt` is not a registry snapshot and not the manifest of a medium
      because: the manifest of the medium is not valid
      because: format: invalid type: string, expected u32 at line 2 column 9
    hint: name the file of `cargo xtask snapshot`, or manifest.yaml of a medium
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_folder_is_an_error_and_is_not_created() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    for command in ["snapshot", "plan"] {
        lab.run(&[command, "lab", "--out", "mistyped/lab.yaml"])
            .exits_with(3)
            .reports("the folder `mistyped`");
        assert!(!lab.path("mistyped").exists(), "{command} made it");
    }
}
