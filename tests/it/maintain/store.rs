//! Tests of `store`: it shows the size of each release, and removes blobs that no lock names.

use std::fs;

use support::{Sandbox, Text as _};

use crate::AIRLOCK;

const LOCK: &str = "bundles/v4.1.5-demo-amd64.lock.yaml";

/// Makes the shipped workspace with the demo's bundle in its store.
fn fetched() -> Sandbox {
    let sandbox = Sandbox::shipped(AIRLOCK);
    sandbox.run("fetch demo").success();
    sandbox
}

/// Returns how many blobs are in the store.
fn blobs(sandbox: &Sandbox) -> usize {
    fs::read_dir(sandbox.path("bundles/store/blobs/sha256"))
        .unwrap()
        .count()
}

#[test]
fn the_blobs_of_each_release_are_shown() {
    let sandbox = fetched();
    let run = sandbox.run("store").success();
    let text = run.whole();
    text.has("v4.1.5-demo     amd64     65  3.10 MB");
    text.has("bundles/store: 65 blobs, 3.10 MB");
    text.lacks("No lock names");
}

#[test]
fn gc_shows_blobs_that_no_lock_names_and_removes_them() {
    let sandbox = fetched();
    let whole = blobs(&sandbox);
    let text = sandbox.run("store gc").success().whole();
    text.has("Nothing to remove");
    assert_eq!(blobs(&sandbox), whole);

    let lock = sandbox.read(LOCK);
    sandbox.remove(LOCK);
    let before = sandbox.state();
    let text = sandbox.run("store gc --dry-run").success().whole();
    text.has("  k0sproject/pause:3.10\n");
    text.has("would be removed. Nothing was removed.");
    assert_eq!(sandbox.changes_since(&before), Vec::<String>::new());

    let text = sandbox.run("store gc").success().whole();
    text.has("  k0sproject/pause:3.10\n");
    text.has(&format!("{whole} blobs of 3.10 MB removed"));
    assert_eq!(blobs(&sandbox), 0);

    // `fetch` stores removed blobs again.
    sandbox.write(LOCK, &lock);
    sandbox.run("fetch demo").success();
    assert_eq!(blobs(&sandbox), whole);
}

#[test]
fn gc_removes_nothing_while_another_process_writes() {
    let sandbox = fetched();
    let whole = blobs(&sandbox);
    sandbox.remove(LOCK);
    // A process that reads a bundle into the store holds this lock.
    let writing = fs::File::open(sandbox.path("bundles/store/incoming/lock")).unwrap();
    writing.lock_shared().unwrap();
    let text = sandbox.run("store gc").exits_with(8).whole();
    text.has("another process is writing");
    assert_eq!(blobs(&sandbox), whole);
    drop(writing);
    sandbox.run("store gc").success();
    assert_eq!(blobs(&sandbox), 0);
}

#[test]
fn gc_removes_nothing_if_it_cannot_read_the_committed_locks() {
    let sandbox = fetched();
    let whole = blobs(&sandbox);
    sandbox.remove(LOCK);
    sandbox.git("init --quiet");
    // PATH of the command lacks git.
    let run = sandbox.run("store gc").exits_with(8);
    run.reports(
        "error: cannot see whether committed locks are missing from the working tree\n  because: git is not installed\n",
    );
    assert_eq!(blobs(&sandbox), whole);
}

#[test]
fn a_deploy_replaces_a_damaged_blob_of_the_store() {
    let sandbox = fetched();
    let lock = bundle::Lock::read(&sandbox.path(LOCK)).unwrap();
    let layer = lock.artifacts[0].manifests[0].blobs.last().unwrap();
    let path = sandbox.path(&format!(
        "bundles/store/blobs/sha256/{}",
        layer.digest.digest()
    ));
    let original = fs::read(&path).unwrap();
    let mut damaged = original.clone();
    damaged[0] ^= 1;
    fs::write(&path, &damaged).unwrap();
    let text = sandbox.run("deploy demo").success().whole();
    let warning = format!("{} was damaged in the store", layer.digest);
    assert!(text.contains(&warning), "{text}");
    assert!(fs::read(&path).unwrap() == original);
    // The receipt counts the blobs that were sent before the damage was found.
    let receipt = sandbox.read("environments/demo/receipt.yaml");
    receipt.has("sent:\n      blobs: 40\n");
}

#[test]
fn gc_names_a_lock_that_is_only_missing_from_the_working_tree() {
    let sandbox = fetched();
    sandbox.install_system("git");
    let names = |lock: &str| format!("`git restore {lock}` restores it");
    sandbox.git("init --quiet");
    sandbox.git(&["add", "--force", LOCK]);
    sandbox.git("commit --quiet --message lock");
    // A missing lock that was never committed is not named.
    let unknown = "bundles/v4.1.4-demo-amd64.lock.yaml";
    sandbox.write(unknown, &sandbox.read(LOCK));
    for lock in [LOCK, unknown] {
        sandbox.remove(lock);
    }
    let run = sandbox.run("store gc --dry-run").success();
    run.prints(&format!(
        "{LOCK} is committed, but missing from the working tree: {}\n",
        names(LOCK)
    ));
    run.does_not_mention(unknown);
    run.does_not_mention("not committed");
    let json = sandbox.run("store gc --dry-run --format json").success();
    let last = json.json();
    assert_eq!(last["result"]["missing-locks"], serde_json::json!([LOCK]));

    // Nothing is removed while the lock is missing.
    let whole = blobs(&sandbox);
    let run = sandbox.run("store gc").exits_with(8);
    run.reports(&format!(
        "error: {LOCK} is committed, but missing from the working tree\n"
    ));
    run.reports(&format!("`git restore {LOCK}`"));
    assert_eq!(blobs(&sandbox), whole);

    sandbox.git(&["restore", LOCK]);
    let run = sandbox.run("store gc --dry-run").success();
    run.prints("Nothing to remove");

    // After its removal is committed, the lock is not named, and its blobs can be removed.
    sandbox.git(&["rm", "--quiet", LOCK]);
    sandbox.git("commit --quiet --message remove");
    let run = sandbox.run("store gc --dry-run").success();
    run.does_not_mention("working tree");
    run.prints("would be removed");
    sandbox.run("store gc").success();
    assert_eq!(blobs(&sandbox), 0);
}
