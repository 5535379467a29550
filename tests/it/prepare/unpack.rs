//! `unpack`: it verifies a medium, resumes after interruptions, and names each damage.

use std::process::Stdio;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use medium::What;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use support::bundles::sha256;
use support::courier::Choice;
use support::{Courier, Text as _};

use crate::{AIRLOCK, FAKE_MKECTL};

const UNSIGNED: &[&str] = &["--allow-unsigned"];

fn signed() -> Choice {
    Choice {
        signed: true,
        ..Choice::default()
    }
}

/// Returns the options of a medium with many volumes and small pieces.
fn volumes() -> Choice {
    Choice {
        volume: Some(2_200_000),
        piece: Some(100_000),
        ..Choice::default()
    }
}

async fn courier() -> Courier {
    Courier::new(AIRLOCK, FAKE_MKECTL).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_folder_becomes_a_workspace_and_the_next_medium_continues_it() {
    let courier = courier().await;
    let manifest = courier.pack(&signed());
    let fingerprint = courier.fingerprint(&courier.key);
    let shown = |text: String| {
        let text = text.replace(&fingerprint, "[KEY]");
        let key = text.split("ssh-ed25519 ").nth(1).map(|rest| {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            rest[..end].to_owned()
        });
        let text = key.map_or(text.clone(), |key| text.replace(&key, "[PUBLIC KEY]"));
        hashes(&text)
    };
    // Without a terminal, the key cannot be confirmed.
    let run = courier.unpack(&[&courier.medium], &[]).exits_with(8);
    insta::assert_snapshot!(shown(run.whole()), @"
    exit code: 8
    --- stdout
    --- stderr
    error: the key [KEY] was not confirmed: a terminal is required to confirm
    hint: compare the fingerprint with the sender's, then add `--fingerprint [KEY]`
    ");
    assert!(!courier.inside("environments").exists());
    let unknown = format!("SHA256:{}", "A".repeat(43));
    let other = courier.unpack(&[&courier.medium], &["--fingerprint", &unknown]);
    let named = format!("not by {unknown}");
    assert!(other.exits_with(8).stderr.contains(&named));
    // An incomplete fingerprint is a usage error, not a forged medium.
    for half in [&fingerprint["SHA256:".len()..], "SHA256:abc"] {
        let run = courier.unpack(&[&courier.medium], &["--fingerprint", half]);
        let stderr = run.exits_with(64).stderr;
        stderr.has("write `SHA256:` and 43 characters");
    }
    // With `--allow-unsigned`, the fingerprint would not be compared.
    let both = ["--fingerprint", &unknown, "--allow-unsigned"];
    let run = courier.unpack(&[&courier.medium], &both).exits_with(64);
    run.reports("cannot be used with");

    let first = courier.unpack(&[&courier.medium], &["--fingerprint", &fingerprint]);
    insta::assert_snapshot!(shown(first.clone().success().whole()), @r#"
    exit code: 0
    --- stdout
    pack [HASH] is unpacked
      signed by   [KEY]
      repository  main at [HASH], 1 commit new
      program     airlock
      mkectl      bundles/mkectl/v4.1.5/linux-x86_64/mkectl
      store       65 blobs of 3.10 MB added, 0 known
    Next:
      cd [WORKSPACE]/../inside/
      ./airlock plan lab
      ./airlock deploy lab
    To accept this key in future, commit this line in environments/allowed_signers:
      courier namespaces="airlock" ssh-ed25519 [PUBLIC KEY]
    --- stderr
       unpack pack [HASH]
       unpack done: every used piece of pack [HASH] is verified
    "#);
    courier.assert_complete(&manifest);
    // A second `unpack` of the same medium changes nothing.
    let again = courier.unpack(&[&courier.medium], &["--fingerprint", &fingerprint]);
    assert!(again.success().stdout.contains("0 blobs of 0 B added"));
    courier.assert_complete(&manifest);

    // The second medium lists the key in allowed_signers, and has only new commits.
    let known = courier.git("rev-parse HEAD");
    let mut lines = first.stdout.lines().map(str::trim);
    let line = lines.find(|line| line.starts_with("courier "));
    let signers = format!("{}\n", line.unwrap());
    courier.write("environments/allowed_signers", &signers);
    courier.commit("Permit the courier's key");
    let manifest = courier.pack(&Choice {
        assumed_commits: vec![known],
        ..signed()
    });
    let second = courier.unpack(&[&courier.medium], &["--fingerprint", &fingerprint]);
    insta::assert_snapshot!(shown(second.success().whole()), @"
    exit code: 0
    --- stdout
    pack [HASH] is unpacked
      signed by   [KEY]
      repository  main at [HASH], 1 commit new
      program     airlock
      mkectl      bundles/mkectl/v4.1.5/linux-x86_64/mkectl
      store       0 blobs of 0 B added, 65 known
    Next:
      cd [WORKSPACE]/../inside/
      ./airlock plan lab
      ./airlock deploy lab
    --- stderr
       unpack pack [HASH]
       unpack done: every used piece of pack [HASH] is verified
    ");
    courier.assert_complete(&manifest);

    // Now that the workspace has allowed_signers, it accepts only the keys in it.
    courier.commit("Something");
    let manifest = courier.pack(&signed());
    courier.unpack(&[&courier.medium], &[]).success();
    courier.assert_complete(&manifest);
    courier.new_key(&courier.key);
    courier.pack(&signed());
    let fingerprint = courier.fingerprint(&courier.key);
    let run = courier.unpack(&[&courier.medium], &["--fingerprint", &fingerprint]);
    let stderr = run.exits_with(8).stderr;
    stderr.has("signed by an unknown key");
    courier.pack(&Choice::default());
    let run = courier.unpack(&[&courier.medium], &[]).exits_with(8);
    run.reports("is not signed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_was_changed_after_signing_is_refused() {
    let courier = courier().await;
    let manifest = courier.pack(&signed());
    let fingerprint = courier.fingerprint(&courier.key);
    let bytes = manifest.to_bytes().unwrap();
    let other = String::from_utf8(bytes)
        .unwrap()
        .replace("- lab\n", "- bal\n");
    let pack = sha256(manifest.to_bytes().unwrap());
    for folder in [courier.medium.clone(), courier.medium.join("volumes/0001")] {
        std::fs::write(folder.join("manifest.yaml"), &other).unwrap();
    }
    let volume = courier.medium.join("volumes/0001/volume.yaml");
    let text = std::fs::read_to_string(&volume).unwrap();
    std::fs::write(&volume, text.replace(&pack, &sha256(&other))).unwrap();
    let run = courier.unpack(&[&courier.medium], &["--fingerprint", &fingerprint]);
    let stderr = run.exits_with(8).stderr;
    stderr.has("changed after it was signed");
    stderr.lacks("because:");
    assert!(!courier.inside("").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn diverged_history_and_local_changes_stop_an_unpack() {
    let courier = courier().await;
    courier.pack(&Choice::default());
    courier.unpack(&[&courier.medium], UNSIGNED).success();
    let inside = courier.inside("");
    let refused = |words: &str| {
        let head = courier.git_in(&inside, "rev-parse HEAD");
        let status = courier.git_in(&inside, "status --porcelain");
        let run = courier.unpack(&[&courier.medium], UNSIGNED).exits_with(8);
        run.reports(words);
        assert_eq!(courier.git_in(&inside, "rev-parse HEAD"), head);
        assert_eq!(courier.git_in(&inside, "status --porcelain"), status);
    };
    let environment = "environments/lab/environment.yaml";
    let text = courier.read(environment);

    // The medium changes a file that has local changes.
    courier.write(environment, &format!("{text}# outside\n"));
    courier.write("new.txt", "outside\n");
    courier.commit("Change the environment");
    let manifest = courier.pack(&Choice::default());
    std::fs::write(inside.join(environment), "# inside\n").unwrap();
    refused("local changes would be overwritten: environments/lab/environment.yaml");
    assert_eq!(
        std::fs::read_to_string(inside.join(environment)).unwrap(),
        "# inside\n"
    );
    std::fs::write(inside.join(environment), &text).unwrap();
    std::fs::write(inside.join("new.txt"), "inside\n").unwrap();
    refused("local changes would be overwritten: new.txt");
    // A file that already has the new content is not a conflict. Other local changes stay.
    std::fs::write(inside.join("new.txt"), "outside\n").unwrap();
    std::fs::write(inside.join("mine.txt"), "inside\n").unwrap();
    courier.unpack(&[&courier.medium], UNSIGNED).success();
    assert_eq!(
        std::fs::read_to_string(inside.join("mine.txt")).unwrap(),
        "inside\n"
    );
    std::fs::remove_file(inside.join("mine.txt")).unwrap();
    courier.assert_complete(&manifest);

    // An older medium changes nothing, except that it adds a missing program.
    let head = courier.git("rev-parse HEAD");
    courier.git("reset --quiet --hard HEAD~1");
    courier.pack(&Choice::default());
    let program = inside.join("airlock");
    std::fs::write(&program, "a newer one").unwrap();
    let run = courier.unpack(&[&courier.medium], UNSIGNED).success();
    run.reports("airlock stays as it is");
    assert_eq!(std::fs::read_to_string(&program).unwrap(), "a newer one");
    std::fs::remove_file(&program).unwrap();
    courier.unpack(&[&courier.medium], UNSIGNED).success();
    assert!(program.exists());
    assert_eq!(courier.git_in(&inside, "rev-parse HEAD"), head);

    // The connected side has rewritten its last commit.
    courier.commit("Rewritten");
    courier.pack(&Choice::default());
    refused("the medium rewrites history");

    // The inside has commits of its own.
    courier.git(&["reset", "--quiet", "--hard", &head]);
    courier.commit("Outside");
    courier.pack(&Choice::default());
    courier.git_in(&inside, "commit --quiet --allow-empty --message Inside");
    refused("does not build");

    // The medium builds on a commit that the inside lacks.
    let known = courier.commit("Outside, again");
    courier.commit("Outside, for the last time");
    courier.pack(&Choice {
        assumed_commits: vec![known],
        ..Choice::default()
    });
    let run = courier.unpack(&[&courier.medium], UNSIGNED).exits_with(3);
    run.reports("which the workspace lacks");
}

/// Replaces hashes, which differ from run to run.
pub(crate) fn hashes(text: &str) -> String {
    let mut shown = String::new();
    for word in text.split_inclusive(|character: char| !character.is_ascii_alphanumeric()) {
        let bare = word.trim_end_matches(|character: char| !character.is_ascii_alphanumeric());
        let is_hash = bare.len() >= 12 && bare.bytes().all(|byte| byte.is_ascii_hexdigit());
        match is_hash {
            true => shown.push_str(&word.replace(bare, "[HASH]")),
            false => shown.push_str(word),
        }
    }
    shown
}

/// Returns every file of a medium.
fn files(folder: &Utf8Path) -> Vec<Utf8PathBuf> {
    let mut found = Vec::new();
    for entry in folder.read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

fn remove(folder: &Utf8Path) {
    if folder.exists() {
        std::fs::remove_dir_all(folder).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_anywhere_is_named_or_harmless() {
    let courier = courier().await;
    let choice = Choice {
        piece: Some(100_000),
        ..signed()
    };
    let manifest = courier.pack(&choice);
    let fingerprint = courier.fingerprint(&courier.key);
    let is_piece = |path: &Utf8PathBuf| path.file_name().unwrap().len() == 64;
    let (pieces, others): (Vec<_>, Vec<_>) = files(&courier.medium).into_iter().partition(is_piece);
    let names = [
        "START.txt",
        "airlock",
        "manifest.yaml",
        "manifest.yaml.sig",
        "volume.yaml",
    ];
    for name in names {
        assert!(others.iter().any(|path| path.ends_with(name)), "{others:?}");
    }
    let arguments = ["--fingerprint", fingerprint.as_str()];
    let mut runner = TestRunner::new(Config::with_cases(32));
    let place = (
        prop::bool::ANY.prop_map(|one| if one { &pieces } else { &others }),
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        0..8_u32,
    );
    let result = runner.run(&place, |(all, file, at, bit)| {
        let path = file.get(all);
        let whole = std::fs::read(path).unwrap();
        let mut flipped = whole.clone();
        let at = at.index(flipped.len());
        flipped[at] ^= 1 << bit;
        std::fs::write(path, &flipped).unwrap();
        remove(&courier.inside(""));
        let run = courier.unpack(&[&courier.medium], &arguments);
        std::fs::write(path, &whole).unwrap();
        let name = path.file_name().unwrap();
        if name.len() == 64 {
            prop_assert_eq!(run.code, Some(4), "{}", run.whole());
            let named = format!("piece {} of volume 1 is damaged", &name[..12]);
            prop_assert!(run.stderr.contains(&named), "{}", run.whole());
            let is_history = name == manifest.contents[0].sha256;
            let shown = if is_history { "history" } else { &name[..12] };
            let again = format!("pack lab --only {shown} --out DIR");
            prop_assert!(run.stderr.contains(&again), "{}", run.whole());
            // The other pieces were unpacked. The same medium without the damage adds the rest.
            courier.unpack(&[&courier.medium], &arguments).success();
        } else {
            prop_assert_eq!(run.code, Some(0), "{}: {}", path, run.whole());
            let is_named = run.stderr.contains(&format!("{name} on the medium is"));
            let is_beside = name != "manifest.yaml.sig" && path.parent() == Some(&courier.medium);
            prop_assert_eq!(is_named, is_beside, "{}", run.whole());
        }
        courier.assert_complete(&manifest);
        Ok(())
    });
    result.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_in_any_order_or_twice_are_unpacked_and_missing_ones_are_named() {
    let courier = courier().await;
    let manifest = courier.pack(&volumes());
    let count = manifest.volumes.len();
    assert!(count >= 3, "{count}");
    let all: Vec<Utf8PathBuf> = (1..=count)
        .map(|number| courier.medium.join(format!("volumes/{number:04}")))
        .collect();
    // Three disks, each with one or more volumes.
    let mut runner = TestRunner::new(Config::with_cases(12));
    let picked = Just(all.clone()).prop_shuffle().prop_flat_map(|order| {
        let twice = prop::sample::subsequence(order.clone(), 0..=2);
        let missing = prop::option::of(0..order.len());
        (Just(order), twice, missing)
    });
    let result = runner.run(&picked, |(order, twice, missing)| {
        remove(&courier.inside(""));
        let lost = missing.map(|at| order[at].clone());
        let chosen: Vec<&Utf8Path> = order
            .iter()
            .chain(&twice)
            .filter(|folder| Some(*folder) != lost.as_ref())
            .map(Utf8PathBuf::as_path)
            .collect();
        let run = courier.unpack(&chosen, UNSIGNED);
        let Some(lost) = lost else {
            prop_assert_eq!(run.code, Some(0), "{}", run.whole());
            courier.assert_complete(&manifest);
            return Ok(());
        };
        let number: u32 = lost.file_name().unwrap().parse().unwrap();
        prop_assert_eq!(run.code, Some(4), "{}", run.whole());
        let named = format!("volume {number} is missing, with");
        prop_assert!(run.stderr.contains(&named), "{}", run.whole());
        // The volume comes later, together with the others.
        let everything: Vec<&Utf8Path> = order.iter().map(Utf8PathBuf::as_path).collect();
        courier.unpack(&everything, UNSIGNED).success();
        courier.assert_complete(&manifest);
        Ok(())
    });
    result.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_or_mixed_medium_and_other_files_are_named() {
    let courier = courier().await;
    let first = courier.pack(&Choice::default());
    let kept = courier.path("../first");
    std::fs::rename(&courier.medium, &kept).unwrap();
    courier.commit("Another pack");
    courier.pack(&Choice::default());
    let run = courier.unpack(&[&kept, &courier.medium], UNSIGNED);
    let stderr = run.exits_with(64).stderr;
    stderr.has("belongs to a different pack");
    let nothing = courier.home();
    let run = courier.unpack(&[&nothing], UNSIGNED).exits_with(64);
    run.reports("contains no medium");
    let file = courier.path("environments/lab/environment.yaml");
    let run = courier.unpack(&[&file], UNSIGNED).exits_with(64);
    run.reports("is a file, not the folder of a medium");
    let on_medium = courier.medium.join("workspace");
    let medium = &courier.medium;
    let run = courier.run(&format!("unpack {medium} -C {on_medium} --allow-unsigned"));
    assert!(
        run.exits_with(64)
            .stderr
            .contains("is on the medium itself")
    );

    // One piece of a blob is truncated, and one is missing.
    let mut pieces = files(&kept);
    pieces.retain(|path| path.file_name().unwrap().len() == 64);
    let blobs = first
        .contents
        .iter()
        .filter(|one| one.what == What::Blob {} && one.size > 10);
    let names: Vec<&str> = blobs.map(|blob| blob.sha256.as_str()).collect();
    let of = |name: &str| pieces.iter().find(|path| path.ends_with(name)).unwrap();
    let cut = std::fs::read(of(names[0])).unwrap();
    std::fs::write(of(names[0]), &cut[..cut.len() / 2]).unwrap();
    std::fs::remove_file(of(names[1])).unwrap();
    let longer = std::fs::read(of(names[2])).unwrap();
    std::fs::write(of(names[2]), [&longer[..], b"more"].concat()).unwrap();
    let run = courier.unpack(&[&kept], UNSIGNED).exits_with(4);
    let faults = ["cut off", "missing", "damaged"];
    for (name, fault) in names.iter().zip(faults) {
        let named = format!("piece {} of volume 1 is {fault}", &name[..12]);
        run.reports(&named);
    }
    // The rest is usable.
    assert!(
        courier
            .inside("environments/lab/environment.yaml")
            .is_file()
    );
    let blobs = courier.inside("bundles/store/blobs/sha256");
    let count = first
        .contents
        .iter()
        .filter(|one| one.what == What::Blob {});
    assert_eq!(blobs.read_dir().unwrap().count(), count.count() - 3);
    assert!(
        courier
            .inside("bundles/mkectl/v4.1.5/linux-x86_64/mkectl")
            .is_file()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_git_nothing_is_written_and_git_is_named() {
    let courier = courier().await;
    courier.pack(&Choice::default());
    std::fs::remove_file(courier.bin().join("git")).unwrap();
    let run = courier.unpack(&[&courier.medium], UNSIGNED).exits_with(1);
    insta::assert_snapshot!(hashes(&run.whole()), @"
    exit code: 1
    --- stdout
    --- stderr
       unpack pack [HASH]
    error: the workspace's repository cannot be brought up to date
      because: git is not installed
    hint: install git; it keeps the workspace's history
    ");
    assert!(!courier.inside("").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_unpacked_and_resumed_after_a_truncated_one() {
    let courier = courier().await;
    let choice = Choice {
        piece: Some(100_000),
        ..Choice::default()
    };
    let (manifest, _) = courier.contents(&choice);
    let stream = courier.stream(&choice);
    let run = courier.unpack_stream(&stream[..stream.len() * 3 / 4], UNSIGNED);
    assert_ne!(run.code, Some(0), "{}", run.whole());
    run.reports("send the stream again");
    assert!(!courier.inside("environments").exists());
    let blobs = courier.inside("bundles/store/blobs/sha256");
    let received = blobs.read_dir().unwrap().count();
    assert!(received > 0);
    let resumed = courier.unpack_stream(&stream, UNSIGNED).success();
    courier.assert_complete(&manifest);
    let whole = blobs.read_dir().unwrap().count();
    let added = format!(
        "store       {} ",
        environment::count(whole - received, "blob")
    );
    resumed.prints(&added);
    resumed.prints(&format!(" added, {received} known"));
    // A flipped bit in the middle is named.
    remove(&courier.inside(""));
    let mut flipped = stream.clone();
    let last = stream.iter().rposition(|byte| *byte != 0).unwrap();
    flipped[last] ^= 1;
    let run = courier.unpack_stream(&flipped, UNSIGNED).exits_with(4);
    run.reports("is damaged");
    // Neither text, random bytes nor a compressed stream is a medium.
    let bytes: Vec<u8> = (0..4096_u32).map(|at| (at * 7919 % 251) as u8).collect();
    let gzip = [&b"\x1f\x8b\x08\0"[..], &bytes].concat();
    for other in [&b"no tar"[..], &bytes, &gzip] {
        let run = courier.unpack_stream(other, UNSIGNED).exits_with(4);
        let named = "error: the stream is not a medium: it does not begin with a manifest\nhint: ";
        assert!(run.stderr.starts_with(named), "{}", run.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_at_any_moment_is_finished_by_the_next() {
    let courier = courier().await;
    let big = vec![7_u8; 30_000_000];
    courier.write("large.txt", &String::from_utf8_lossy(&big));
    courier.commit("A large file");
    let manifest = courier.pack(&Choice::default());
    let inside = courier.inside("");
    let arguments = format!("unpack -C {inside} {} --allow-unsigned", courier.medium);
    for round in 0..10_u64 {
        let mut child = (courier.command(&arguments))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(20 + 60 * round));
        // The run may have ended already.
        let _ = child.kill();
        child.wait().unwrap();
    }
    // A killed run leaves a temporary file beside mkectl.
    let folder = courier.inside("bundles/mkectl/v4.1.5/linux-x86_64");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(".tmpAbCdEf"), "half").unwrap();
    std::fs::write(folder.join(".AbCdEf.part"), "half").unwrap();
    courier.unpack(&[&courier.medium], UNSIGNED).success();
    courier.assert_complete(&manifest);
    let left = folder.read_dir_utf8().unwrap().flatten();
    let left: Vec<String> = left.map(|one| one.file_name().to_owned()).collect();
    assert!(left.iter().all(|name| !name.starts_with('.')), "{left:?}");
    let left = courier.inside("bundles/store/incoming");
    let left: Vec<_> = left.read_dir_utf8().unwrap().flatten().collect();
    assert!(left.iter().all(|one| one.file_name() == "lock"), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_of_two_concurrent_runs_is_refused() {
    let courier = courier().await;
    let manifest = courier.pack(&Choice::default());
    let stream = courier.stream(&Choice::default());
    let folder = courier.inside("bundles/unpack");
    std::fs::create_dir_all(&folder).unwrap();
    let first = std::fs::File::create(folder.join("lock")).unwrap();
    first.lock().unwrap();
    for run in [
        courier.unpack(&[&courier.medium], UNSIGNED),
        courier.unpack_stream(&stream, UNSIGNED),
    ] {
        let run = run.exits_with(8);
        run.reports("error: a different command uses `bundles/unpack`");
        run.reports("hint: wait until that command ends, then unpack again");
    }
    assert!(!courier.inside("environments").exists());
    drop(first);
    courier.unpack(&[&courier.medium], UNSIGNED).success();
    courier.assert_complete(&manifest);
    assert!(!folder.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_git_of_a_killed_run_that_still_holds_a_lock_is_waited_for() {
    let courier = courier().await;
    let manifest = courier.pack(&Choice::default());
    let lock = courier.inside(".git/config.lock");
    std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
    std::fs::write(&lock, "").unwrap();
    let ending = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(600));
        std::fs::remove_file(lock).unwrap();
    });
    courier.unpack(&[&courier.medium], UNSIGNED).success();
    ending.join().unwrap();
    courier.assert_complete(&manifest);
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_that_a_killed_git_left_in_a_new_repository_stop_nothing() {
    let courier = courier().await;
    let manifest = courier.pack(&Choice::default());
    for lock in ["config.lock", "HEAD.lock"] {
        let inside = courier.inside("");
        let _ = std::fs::remove_dir_all(&inside);
        let lock = inside.join(".git").join(lock);
        std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
        std::fs::write(&lock, "").unwrap();
        courier.unpack(&[&courier.medium], UNSIGNED).success();
        courier.assert_complete(&manifest);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_a_killed_git_left_is_removed_if_it_is_of_our_own_refs_and_named_otherwise() {
    let courier = courier().await;
    let manifest = courier.pack(&Choice::default());
    let index = courier.inside(".git/index.lock");
    let refs = courier.inside(".git/refs/airlock");
    std::fs::create_dir_all(&refs).unwrap();
    for lock in [
        &index,
        &refs.join("incoming.lock"),
        &refs.join("outside.lock"),
    ] {
        std::fs::write(lock, "").unwrap();
    }
    let run = courier.unpack(&[&courier.medium], UNSIGNED).exits_with(1);
    run.reports("if no other git is running, delete ")
        .reports(".git/index.lock\n");
    std::fs::remove_file(index).unwrap();
    courier.unpack(&[&courier.medium], UNSIGNED).success();
    courier.assert_complete(&manifest);
    assert!(!refs.join("outside.lock").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_history_nothing_is_unpacked_and_a_replacement_comes_with_the_medium() {
    let courier = courier().await;
    let manifest = courier.pack(&signed());
    let fingerprint = courier.fingerprint(&courier.key);
    let arguments = ["--fingerprint", fingerprint.as_str()];
    let medium = courier.path("../first");
    std::fs::rename(&courier.medium, &medium).unwrap();
    let history = &manifest.contents[0].sha256;
    let pieces = files(&medium);
    let piece = pieces.iter().find(|path| path.ends_with(history)).unwrap();
    std::fs::write(piece, "damaged").unwrap();
    let run = courier.unpack(&[&medium], &arguments).exits_with(4);
    run.reports("cannot be used; nothing was unpacked")
        .reports("pack lab --only history --out DIR")
        .reports("/inside/ unpack REPLACEMENT`, then `cargo xtask -C ");
    assert!(!courier.inside("environments").exists());
    courier.pack(&Choice {
        keep: Some(|what| matches!(what, What::Repository { .. })),
        ..signed()
    });
    // The replacement alone does not make a complete workspace.
    let run = courier.unpack(&[&courier.medium], &arguments).success();
    run.reports("the workspace still lacks the program, mkectl v4.1.5, ");
    run.does_not_print("Next:");
    courier.unpack(&[&medium], &arguments).success();
    courier.assert_complete(&manifest);
    for folders in [[&medium, &courier.medium], [&courier.medium, &medium]] {
        remove(&courier.inside(""));
        let folders = folders.map(Utf8PathBuf::as_path);
        let run = courier.unpack(&folders, &arguments).success();
        run.does_not_report("lacks");
        courier.assert_complete(&manifest);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_that_come_one_command_after_the_other_are_complete_in_the_end() {
    let courier = courier().await;
    let manifest = courier.pack(&Choice {
        piece: Some(20_000),
        ..volumes()
    });
    let spans = |content: &medium::Content| {
        let mut pieces = content.pieces.iter();
        pieces.any(|piece| piece.volume != content.pieces[0].volume)
    };
    assert!(manifest.contents.iter().any(spans));
    // The first has the history.
    let count = manifest.volumes.len();
    let order: Vec<usize> = std::iter::once(1).chain((2..=count).rev()).collect();
    for (place, number) in order.iter().enumerate() {
        let volume = courier.medium.join(format!("volumes/{number:04}"));
        let run = courier.unpack(&[&volume], UNSIGNED);
        if place + 1 == count {
            run.success();
            break;
        }
        let run = run.exits_with(4);
        run.reports("the other pieces are unpacked or kept");
        for earlier in &order[..=place] {
            run.does_not_report(&format!("volume {earlier} "));
        }
    }
    courier.assert_complete(&manifest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_of_pieces_completes_a_workspace() {
    let courier = courier().await;
    let manifest = courier.pack(&Choice::default());
    let blob = manifest
        .contents
        .iter()
        .find(|one| one.what == What::Blob {})
        .unwrap();
    let pieces = files(&courier.medium);
    let piece = pieces
        .iter()
        .find(|path| path.ends_with(&blob.sha256))
        .unwrap();
    std::fs::remove_file(piece).unwrap();
    courier.unpack(&[&courier.medium], UNSIGNED).exits_with(4);
    // A medium without history needs a workspace.
    courier.pack(&Choice {
        keep: Some(|what| *what == What::Blob {}),
        ..Choice::default()
    });
    courier.unpack(&[&courier.medium], UNSIGNED).success();
    courier.assert_complete(&manifest);
    remove(&courier.inside(""));
    let run = courier.unpack(&[&courier.medium], UNSIGNED).exits_with(3);
    run.reports("no workspace exists at");
    std::fs::create_dir_all(courier.inside("something")).unwrap();
    let run = courier.unpack(&[&courier.medium], UNSIGNED).exits_with(3);
    run.reports("neither a workspace nor empty");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_site_returns_is_merged_and_nothing_later_is_replaced() {
    let courier = courier().await;
    courier.pack(&Choice::default());
    courier.unpack(&[&courier.medium], UNSIGNED).success();
    let inside = courier.inside("");
    let base = courier.git_in(&inside, "rev-parse HEAD");
    let commit_inside = |file: &str, text: &str| {
        std::fs::write(inside.join(file), text).unwrap();
        courier.git_in(&inside, "add --all");
        courier.git_in(&inside, &["commit", "--quiet", "--message", file]);
        courier.git_in(&inside, "rev-parse HEAD")
    };
    let sandbox = &courier.sandbox;
    let file = |name: &str, text: &str| {
        let path = sandbox.path(&format!("../{name}"));
        std::fs::write(&path, text).unwrap();
        path
    };
    let receipt = |ended: &str| {
        format!(
            "version: 2\nfailed:\n  release: v4.1.5\n  step: push\n  error: stopped\n  ended: {ended}\n  by: {{ airlock: 0.1.0 }}\n"
        )
    };
    let snapshot = |taken: &str| {
        format!("version: 1\nenvironment: lab\nregistry: r/mke\ntaken: {taken}\ntags: []\n")
    };
    let lab = || "lab".to_owned();
    let unpack_return = |commit: &str, time: &str| {
        let history = sandbox.path("../back");
        let create = format!("bundle create --quiet {history} main ^{base}");
        courier.git_in(&inside, &create);
        let commits = What::Commits {
            branch: "main".to_owned(),
            commit: commit.to_owned(),
        };
        let log = What::Log {
            environment: lab(),
            file: "push.log".to_owned(),
        };
        courier.pack(&Choice {
            assumed_commits: vec![base.clone()],
            keep: Some(|_| false),
            extra: vec![
                (commits, history),
                (
                    What::Receipt { environment: lab() },
                    file("receipt", &receipt(time)),
                ),
                (
                    What::Snapshot { environment: lab() },
                    file("snapshot", &snapshot(time)),
                ),
                (log, file("log", "a line\n")),
            ],
            ..Choice::default()
        });
        courier.run(&["unpack", courier.medium.as_str(), "--allow-unsigned"])
    };
    // Both sides have new commits.
    courier.commit("Outside");
    let commit = commit_inside("inside.txt", "inside\n");
    let (first, second) = ("2026-01-02T03:04:05Z", "2026-01-03T03:04:05Z");
    let run = unpack_return(&commit, second).success();
    run.prints("1 commit new");
    courier.git(&["merge-base", "--is-ancestor", &commit, "HEAD"]);
    let (at_receipt, at_snapshot) = (
        "environments/lab/receipt.yaml",
        "environments/lab/registry.snapshot.yaml",
    );
    assert_eq!(sandbox.read(at_receipt), receipt(second));
    assert_eq!(sandbox.read(at_snapshot), snapshot(second));
    assert_eq!(sandbox.read("environments/lab/logs/push.log"), "a line\n");
    // The same return again, and an older one, replace nothing.
    for time in [second, first] {
        let before = sandbox.state();
        let run = unpack_return(&commit, time).success();
        run.prints("nothing new");
        let mut changes = sandbox.changes_since(&before);
        changes.retain(|path| !path.starts_with(".git/"));
        assert_eq!(changes, [""; 0]);
    }
    // A file was changed on both sides.
    sandbox.write("both.txt", "outside\n");
    let head = courier.commit("Outside");
    let commit = commit_inside("both.txt", "inside, too\n");
    let run = unpack_return(&commit, second).exits_with(8);
    run.reports("both.txt changed here too");
    assert_eq!(courier.git("rev-parse HEAD"), head);
    assert_eq!(courier.git("status --porcelain"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_without_the_branch_of_the_medium_is_not_sent_to_it() {
    let courier = courier().await;
    courier.pack(&Choice::default());
    let other = courier.inside("");
    std::fs::create_dir_all(other.join("environments")).unwrap();
    courier.git_in(&other, "init --quiet --initial-branch=master");
    std::fs::write(other.join("notes.txt"), "notes").unwrap();
    courier.git_in(&other, "add notes.txt");
    courier.git_in(&other, "commit --quiet --message notes");
    let run = courier.unpack(&[&courier.medium], UNSIGNED).exits_with(8);
    run.reports("but branch `master` is checked out in the workspace");
    run.reports("name the workspace or a new folder with `-C DIR`: this repository does not have");
}
