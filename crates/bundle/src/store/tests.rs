//! Tests of the store alone: what it stores and refuses, and the remains of killed processes.

use super::writer::LARGE;
use super::*;
use crate::digest::digest_of;
use crate::lock::{Kind, Manifest};
use crate::testing::{Folder, chain};
use oci_spec::image::MediaType;

fn put(store: &Store, bytes: &[u8]) -> Digest {
    let digest = digest_of(bytes);
    let mut writer = Box::new(store.writer(&digest, bytes.len() as u64).unwrap());
    writer.write(bytes).unwrap();
    writer.commit().unwrap();
    digest
}

fn artifact(tag: &str, root: &[u8]) -> Artifact {
    let digest = digest_of(root);
    Artifact {
        repository: "pause".to_owned(),
        tag: tag.to_owned(),
        kind: Kind::Image,
        archive: format!("pause@{tag}.tar"),
        source: None,
        digest: digest.clone(),
        media_type: MediaType::ImageManifest,
        size: root.len() as u64,
        manifests: vec![Manifest {
            digest,
            media_type: MediaType::ImageManifest,
            size: root.len() as u64,
            platform: None,
            blobs: Vec::new(),
            external: Vec::new(),
        }],
    }
}

#[test]
fn reads_what_was_written() {
    let folder = Folder::new();
    let store = Store::open(&folder.join("a/store")).unwrap();
    let large = vec![7; LARGE as usize + 1];
    for bytes in [b"".as_slice(), b"small", &large] {
        let digest = put(&store, bytes);
        let size = bytes.len() as u64;
        assert!(store.has(&digest, size));
        assert!(!store.has(&digest, size + 1));
        assert!(store.read(&digest, size).unwrap() == bytes);
        store.verify_blob(&digest, size).unwrap();
    }
}

#[test]
fn only_unchanged_files_of_this_process_count_as_checked() {
    let folder = Folder::new();
    let path = folder.join("store");
    let store = Store::open(&path).unwrap();
    let digest = put(&store, b"small");
    let file = || store.open_blob(&digest).unwrap();
    assert!(store.is_checked(&digest, &file()));
    assert!(!store.is_checked(&digest_of(b"other"), &file()));
    // A new process did not hash it.
    assert!(!Store::open(&path).unwrap().is_checked(&digest, &file()));

    // File systems may record times in steps of some milliseconds.
    std::thread::sleep(std::time::Duration::from_millis(20));
    let times = file().metadata().unwrap();
    fs::write(store.path(&digest), b"smell").unwrap();
    let touched = File::options()
        .write(true)
        .open(store.path(&digest))
        .unwrap();
    touched.set_modified(times.modified().unwrap()).unwrap();
    assert!(!store.is_checked(&digest, &file()));

    let replaced = put(&store, b"replaced");
    assert!(store.is_checked(&replaced, &store.open_blob(&replaced).unwrap()));
    fs::remove_file(store.path(&replaced)).unwrap();
    fs::write(store.path(&replaced), b"replaced").unwrap();
    assert!(!store.is_checked(&replaced, &store.open_blob(&replaced).unwrap()));
}

#[test]
fn a_missing_store_is_empty_and_is_not_created_by_reading() {
    let folder = Folder::new();
    let store = Store::open(&folder.join("store")).unwrap();
    let digest = digest_of(b"x");
    assert!(!store.has(&digest, 1));
    assert_eq!(store.listed().unwrap(), []);
    assert!(matches!(
        store.read(&digest, 1),
        Err(StoreError::Missing { .. })
    ));
    store.discard(&digest).unwrap();
    assert!(!folder.join("store").exists());
}

#[test]
fn refuses_a_folder_with_foreign_files() {
    let folder = Folder::new();
    fs::write(folder.join("thesis.txt"), "").unwrap();
    assert!(matches!(
        Store::open(folder.path()),
        Err(StoreError::NotAStore { .. })
    ));
    fs::remove_file(folder.join("thesis.txt")).unwrap();
    Store::open(folder.path()).unwrap();
    fs::write(
        folder.join("oci-layout"),
        r#"{"imageLayoutVersion":"9.0.0"}"#,
    )
    .unwrap();
    assert!(matches!(
        Store::open(folder.path()),
        Err(StoreError::NotAStore { .. })
    ));
}

#[test]
fn a_blob_that_is_not_committed_leaves_nothing() {
    let folder = Folder::new();
    let store = Store::open(folder.path()).unwrap();
    let digest = digest_of(b"whole");
    let mut writer = store.writer(&digest, 5).unwrap();
    writer.write(b"who").unwrap();
    drop(writer);
    assert!(!store.has(&digest, 5));
    let mut short = Box::new(store.writer(&digest, 5).unwrap());
    short.write(b"who").unwrap();
    assert!(matches!(
        short.commit(),
        Err(StoreError::Size {
            size: 5,
            found: 3,
            ..
        })
    ));
    assert_eq!(folder.files(), ["incoming/lock", "oci-layout"]);
}

#[test]
fn files_of_killed_processes_are_removed_and_those_of_running_ones_are_kept() {
    let folder = Folder::new();
    let running = Store::open(folder.path()).unwrap();
    let digest = digest_of(b"x");
    let writer = running.writer(&digest, 1).unwrap();
    let unfinished = || {
        let files = folder.files().into_iter();
        files
            .filter(|path| path.starts_with("incoming/") && path != "incoming/lock")
            .count()
    };
    let other = Store::open(folder.path()).unwrap();
    put(&other, b"y");
    assert_eq!(unfinished(), 1);
    // Simulates a killed process: the file remains, and the lock is released.
    std::mem::forget(writer.file.into_temp_path());
    drop((running, writer.store, other));
    assert_eq!(unfinished(), 1);
    put(&Store::open(folder.path()).unwrap(), b"z");
    assert_eq!(unfinished(), 0);
}

#[test]
fn detects_damage_and_recovers() {
    let folder = Folder::new();
    let store = Store::open(folder.path()).unwrap();
    let digest = put(&store, b"right");
    fs::write(store.path(&digest), b"wrong").unwrap();
    assert!(store.has(&digest, 5), "only the size is compared");
    assert_eq!(
        chain(&store.read(&digest, 5).unwrap_err()),
        format!(
            "`{}` is corrupt: its content has digest `{}`",
            store.path(&digest),
            digest_of(b"wrong")
        )
    );
    assert!(matches!(
        store.verify_blob(&digest, 5),
        Err(StoreError::Corrupt { .. })
    ));
    store.discard(&digest).unwrap();
    assert!(!store.has(&digest, 5));
    fs::write(store.path(&digest), b"short").unwrap();
    assert!(matches!(
        store.verify_blob(&digest, 9),
        Err(StoreError::Size {
            size: 9,
            found: 5,
            ..
        })
    ));
    assert!(matches!(
        store.read(&digest, 4),
        Err(StoreError::TooLarge { limit: 4, .. })
    ));
}

#[cfg(unix)]
#[test]
fn a_link_is_not_a_blob() {
    let folder = Folder::new();
    let store = Store::open(folder.path()).unwrap();
    let digest = put(&store, b"right");
    let path = store.path(&digest);
    fs::rename(&path, folder.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(folder.join("elsewhere"), &path).unwrap();
    assert!(!store.has(&digest, 5));
}

#[test]
fn lists_artifacts_by_name_and_the_last_one_wins() {
    let folder = Folder::new();
    let store = Store::open(folder.path()).unwrap();
    for root in [b"one", b"two"] {
        put(&store, root);
    }
    store
        .list(&[artifact("v2", b"one"), artifact("v1", b"one")])
        .unwrap();
    let again = Store::open(folder.path()).unwrap();
    again.list(&[artifact("v2", b"two")]).unwrap();
    let listed: Vec<(String, Digest)> = store
        .listed()
        .unwrap()
        .into_iter()
        .map(|listed| (listed.reference, listed.digest))
        .collect();
    assert_eq!(
        listed,
        [
            ("pause:v1".to_owned(), digest_of(b"one")),
            ("pause:v2".to_owned(), digest_of(b"two"))
        ]
    );
    assert!(matches!(
        store.list(&[artifact("v3", b"absent")]),
        Err(StoreError::Missing { .. })
    ));
}

#[test]
fn no_entry_is_lost_when_many_list_concurrently() {
    let folder = Folder::new();
    let store = Store::open(folder.path()).unwrap();
    put(&store, b"one");
    std::thread::scope(|scope| {
        for number in 0..8 {
            // Each store acts like a separate process: only the folder is shared.
            let store = Store::open(folder.path()).unwrap();
            scope.spawn(move || {
                store
                    .list(&[artifact(&format!("v{number}"), b"one")])
                    .unwrap()
            });
        }
    });
    assert_eq!(store.listed().unwrap().len(), 8);
}

#[test]
fn blobs_are_readable_by_the_team() {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::new();
        let store = Store::open(folder.path()).unwrap();
        let digest = put(&store, b"x");
        let mode = fs::metadata(store.path(&digest))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o644);
    }
}

#[test]
fn lists_blobs_and_ignores_foreign_files() {
    let folder = Folder::new();
    let store = Store::open(&folder.join("store")).unwrap();
    assert_eq!(store.blobs().unwrap(), BTreeMap::new());
    assert!(store.exclusive().unwrap().is_none());
    assert!(!folder.join("store").exists(), "reading creates no store");
    let (one, two) = (put(&store, b"one"), put(&store, b"three"));
    fs::write(folder.join("store/blobs/sha256/notes.txt"), "x").unwrap();
    let found = store.blobs().unwrap();
    assert_eq!(
        found,
        BTreeMap::from([(one.to_string(), 3), (two.to_string(), 5)])
    );
}

#[test]
fn nothing_is_removed_while_a_process_writes() {
    let folder = Folder::new();
    let writing = Store::open(folder.path()).unwrap();
    let digest = put(&writing, b"one");
    let collecting = Store::open(folder.path()).unwrap();
    assert!(matches!(
        collecting.exclusive(),
        Err(StoreError::InUse { .. })
    ));
    drop(writing);
    // A reading that writes nothing relies on the blobs, too.
    let mut reading = Store::open(folder.path()).unwrap();
    assert!(reading.blob(&digest, 3).unwrap().is_none());
    assert!(matches!(
        collecting.exclusive(),
        Err(StoreError::InUse { .. })
    ));
    drop(reading);
    collecting.exclusive().unwrap().unwrap();
}

#[test]
fn nothing_is_written_while_a_process_removes() {
    let folder = Folder::new();
    put(&Store::open(folder.path()).unwrap(), b"one");
    let collecting = Store::open(folder.path()).unwrap();
    let exclusive = collecting.exclusive().unwrap().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut store = Store::open(folder.path()).unwrap();
            let is_present = store.blob(&digest_of(b"one"), 3).unwrap().is_none();
            sender.send(is_present).unwrap();
        });
        let waited = receiver.recv_timeout(std::time::Duration::from_millis(200));
        assert!(waited.is_err(), "the reading did not wait");
        exclusive.remove(&digest_of(b"one")).unwrap();
        drop(exclusive);
        assert!(!receiver.recv().unwrap(), "the removed blob is missing");
    });
}

#[test]
fn several_processes_may_create_a_store_concurrently() {
    for _ in 0..400 {
        let folder = Folder::new();
        let begin = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for text in ["one", "two", "three", "four"] {
                let (folder, begin) = (&folder, &begin);
                scope.spawn(move || {
                    begin.wait();
                    put(&Store::open(folder.path()).unwrap(), text.as_bytes());
                });
            }
        });
        assert_eq!(
            Store::open(folder.path()).unwrap().blobs().unwrap().len(),
            4
        );
    }
}

#[test]
fn removes_artifacts_from_the_index_and_sweeps() {
    let folder = Folder::new();
    {
        let store = Store::open(folder.path()).unwrap();
        put(&store, b"one");
        store
            .list(&[artifact("v1", b"one"), artifact("v2", b"one")])
            .unwrap();
    }
    fs::write(folder.join("incoming/left-behind"), "x").unwrap();
    let store = Store::open(folder.path()).unwrap();
    let exclusive = store.exclusive().unwrap().unwrap();
    exclusive
        .unlist(&|listed| listed.reference == "pause:v2")
        .unwrap();
    exclusive.sweep().unwrap();
    drop(exclusive);
    let names: Vec<String> = (store.listed().unwrap().into_iter())
        .map(|listed| listed.reference)
        .collect();
    assert_eq!(names, ["pause:v2"]);
    let incoming: Vec<String> = (folder.files().into_iter())
        .filter(|path| path.starts_with("incoming/"))
        .collect();
    assert_eq!(incoming, ["incoming/lock"]);
}

#[test]
fn many_small_blobs_are_synced_by_one_request() {
    let folder = Folder::new();
    let store = Store::open(&folder.join("store")).unwrap();
    put(&store, b"one");
    put(&store, b"two");
    // The folder is the third.
    assert_eq!(store.sync().unwrap(), 3);
    for number in 0..=MOST_SINGLE_SYNCS {
        put(&store, number.to_string().as_bytes());
    }
    if cfg!(target_os = "linux") {
        assert_eq!(store.sync().unwrap(), 1);
    }
}

#[test]
fn damaged_documents_are_restored_and_no_blob_is_lost() {
    let folder = Folder::new();
    let path = folder.join("store");
    let store = Store::open(&path).unwrap();
    let one = artifact("1", b"{}");
    put(&store, b"{}");
    store.list([&one]).unwrap();
    drop(store);
    fs::create_dir_all(path.join("partial")).unwrap();
    let documents = ["oci-layout", "index.json"].map(|name| path.join(name));
    let valid = documents.each_ref().map(|path| fs::read(path).unwrap());
    for damage in [None, Some(""), Some("garbage")] {
        for document in &documents {
            match damage {
                None => fs::remove_file(document).unwrap(),
                Some(text) => fs::write(document, text).unwrap(),
            }
        }
        let store = Store::open(&path).unwrap();
        assert_eq!(store.listed().unwrap(), []);
        assert!(store.exclusive().unwrap().is_some());
        assert_eq!(store.blobs().unwrap().len(), 1);
        store.list([&one]).unwrap();
        let restored = documents.each_ref().map(|path| fs::read(path).unwrap());
        assert_eq!(restored, valid, "{damage:?}");
    }
}
