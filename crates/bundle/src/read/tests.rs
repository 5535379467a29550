//! Faults of bundles: each of them is detected.

use std::collections::HashSet;
use std::sync::Mutex;

use oci_spec::image::Digest;
use serde_json::{Value, json};
use tar::EntryType;

use super::*;
use crate::digest::{digest_of, hex_of};
use crate::lock::Kind;
use crate::make::{ContentsRecipe, Recipe};
use crate::name::SetNames;
use crate::sink::{BlobSink, Inspection};
use crate::testing::{File, chain, file, gunzip, gzip, lock, make, small_recipe, tar, untar};
use crate::{Silent, Store, testing};

mod archives;
mod sinks;

fn inspect(bundle: &[u8]) -> Result<Contents, ReadError> {
    read(bundle, &mut Inspection, None, &Silent)
}

fn against(bundle: &[u8], lock: &Lock) -> Result<Contents, ReadError> {
    read(bundle, &mut Inspection, Some(lock), &Silent)
}

#[test]
fn lists_the_content_of_a_bundle() {
    let bundle = make(&small_recipe());
    let contents = inspect(&bundle).unwrap();
    assert_eq!(contents.size, bundle.len() as u64);
    assert_eq!(contents.sha256, hex_of(&bundle));
    assert_eq!(contents.ignored_files, 0);
    assert!(contents.unnamed_blobs.is_empty());
    let matrix = contents.release_matrix.unwrap();
    assert_eq!(
        (matrix.path.as_str(), matrix.size, matrix.sha256),
        ("bundles/release-matrix.json", 3, hex_of(b"[]\n"))
    );
    let summary: Vec<String> = contents
        .artifacts
        .iter()
        .map(|artifact| {
            let manifests: Vec<String> = artifact
                .manifests
                .iter()
                .map(|manifest| {
                    let platform = manifest.platform.as_deref().unwrap_or("-");
                    format!("{platform} {}", manifest.blobs.len())
                })
                .collect();
            format!(
                "{} {} {} [{}]",
                artifact.kind,
                artifact.archive,
                artifact.reference(),
                manifests.join(", ")
            )
        })
        .collect();
    insta::assert_snapshot!(summary.join("\n"), @r"
    image bundles/images/calico&node@v1.0.tar calico/node:v1.0 [linux/amd64 3, linux/arm64/v8 3, - 0]
    image bundles/images/pause@v1.0.tar pause:v1.0 [linux/amd64 3]
    chart bundles/charts/charts&dex@0.3.0.tar charts/dex:0.3.0 [- 2]
    ");
    for artifact in &contents.artifacts {
        let root = artifact.manifests.last().unwrap();
        assert_eq!(root.digest, artifact.digest);
    }
}

#[test]
fn the_lock_of_a_bundle_is_the_bundle() {
    for level in [0, 6] {
        let bundle = make(&Recipe {
            level,
            ..small_recipe()
        });
        against(&bundle, &lock(&bundle)).unwrap();
    }
}

/// Returns pieces of irregular sizes, like a network.
struct Pieces<'a>(&'a [u8]);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let limit = buffer.len().min(1 + self.0.len() % 97);
        self.0.read(&mut buffer[..limit])
    }
}

#[test]
fn the_size_of_reads_does_not_matter() {
    let bundle = make(&small_recipe());
    let pieces = read(Pieces(&bundle), &mut Inspection, None, &Silent).unwrap();
    assert_eq!(pieces, inspect(&bundle).unwrap());
}

/// Flips one bit of each byte. The bundle is minimal, so each byte can be tried.
fn flip_every_byte(level: u32) {
    let mut recipe = small_recipe();
    recipe.level = level;
    recipe.artifacts.drain(..1);
    recipe.artifacts.truncate(1);
    let ContentsRecipe::Image { layers, .. } = &mut recipe.artifacts[0].contents else {
        panic!("not an image");
    };
    layers.truncate(1);
    let bundle = make(&recipe);
    let lock = lock(&bundle);
    let mut flipped = bundle.clone();
    for place in 0..bundle.len() {
        let bit = 1 << (place % 8);
        flipped[place] ^= bit;
        let result = against(&flipped, &lock);
        assert!(result.is_err(), "byte {place} of {}", bundle.len());
        flipped[place] ^= bit;
    }
    against(&flipped, &lock).unwrap();
}

#[test]
fn every_flipped_bit_is_an_error_where_nothing_is_compressed() {
    flip_every_byte(0);
}

#[test]
fn every_flipped_bit_is_an_error_where_everything_is_compressed() {
    flip_every_byte(6);
}

#[test]
fn every_cut_is_an_error_without_a_lock() {
    let bundle = make(&Recipe {
        level: 6,
        ..small_recipe()
    });
    for length in 0..bundle.len() {
        assert!(inspect(&bundle[..length]).is_err(), "cut after {length}");
    }
}

#[test]
fn a_cut_names_the_archive() {
    let bundle = make(&small_recipe());
    let error = inspect(&bundle[..bundle.len() / 4]).unwrap_err();
    assert_eq!(
        chain(&error),
        "the bundle ends early, in the archive `bundles/images/calico&node@v1.0.tar`"
    );
}

#[test]
fn data_after_the_end_is_an_error() {
    let bundle = make(&small_recipe());
    let error = inspect(&[&bundle, &b"\n"[..]].concat()).unwrap_err();
    assert_eq!(
        chain(&error),
        format!(
            "the bundle's gzip stream ends at byte {}, but more data follows",
            bundle.len()
        )
    );
    // A second gzip member is valid gzip, but follows the end of the tar.
    let error = inspect(&[bundle, gzip(b"more")].concat()).unwrap_err();
    assert_eq!(
        chain(&error),
        "the tar in the bundle is broken, after the archive `bundles/charts/charts&dex@0.3.0.tar`: \
         data follows the end marker"
    );
}

#[test]
fn identifies_files_that_are_not_bundles() {
    let cases: [(&[u8], &str); 5] = [
        (b"", "the bundle is empty"),
        (
            b"<html>Please log in</html>",
            "the bundle is an HTML page, not a gzip file",
        ),
        (
            &gunzip(&make(&small_recipe())),
            "the bundle is an uncompressed tar; expected the compressed file",
        ),
        (b"PK\x03\x04", "the bundle is not a gzip file"),
        (
            &gzip(&tar(&[
                file("bundles/README", "hello"),
                file("bundles/metric-starter", "x"),
            ])),
            "the bundle contains no archive: none of its 2 files ends in `.tar`",
        ),
    ];
    for (bundle, expected) in cases {
        assert_eq!(chain(&inspect(bundle).unwrap_err()), expected);
    }
}

/// Returns the small bundle after a change to its files.
fn changed(change: impl FnOnce(&mut Vec<File>)) -> Vec<u8> {
    let mut files = untar(&gunzip(&make(&small_recipe())));
    change(&mut files);
    gzip(&tar(&files))
}

/// Returns the small bundle after a change to the files of its archive `pause`.
fn changed_archive(change: impl FnOnce(&mut Vec<File>)) -> Vec<u8> {
    changed(|files| {
        let archive = &mut files[PAUSE].bytes;
        let mut inner = untar(archive);
        change(&mut inner);
        *archive = tar(&inner);
    })
}

/// Index of the archive `pause` in the small bundle, after the matrix and one more archive.
const PAUSE: usize = 2;

#[test]
fn compares_archives_with_the_lock() {
    let lock = lock(&make(&small_recipe()));
    let cases = [
        (
            changed(|files| drop(files.remove(PAUSE))),
            "the bundle lacks `bundles/images/pause@v1.0.tar`, which the lock lists",
        ),
        (
            changed(|files| files[PAUSE].path = "bundles/images/pause@v2.tar".to_owned()),
            "the bundle contains `bundles/images/pause@v2.tar`, which the lock does not list",
        ),
        (
            changed(|files| {
                let node = files[PAUSE - 1].bytes.clone();
                files[PAUSE].bytes = node;
            }),
            "`bundles/images/pause@v1.0.tar` contains `",
        ),
        (
            changed(|files| files[0].bytes = b"{}\n".to_vec()),
            "the bundle's release matrix differs from the lock's",
        ),
        (
            changed(|files| files.push(file("bundles/README", "hello"))),
            "the bundle has ",
        ),
    ];
    for (bundle, expected) in cases {
        let text = chain(&against(&bundle, &lock).unwrap_err());
        assert!(text.starts_with(expected), "{text}");
    }
}

#[test]
fn an_edited_lock_is_detected() {
    let bundle = make(&small_recipe());
    let mut lock = lock(&bundle);
    lock.artifacts[0].manifests[0].platform = Some("linux/s390x".to_owned());
    let error = against(&bundle, &lock).unwrap_err();
    assert!(
        matches!(&error, ReadError::DescribedWrongly { archive } if archive.contains("node")),
        "{error}"
    );
}

#[test]
fn refuses_archives_by_name() {
    let cases = [
        (
            changed(|files| files.push(file("x/Pause@1.tar", ""))),
            "the name of the archive `x/Pause@1.tar` does not give a repository and a tag: `Pause` is not a repository name: \
             only lower-case letters, digits, `.`, `_`, `-` and `/` are allowed",
        ),
        (
            changed(|files| {
                let mut again = files[PAUSE].clone();
                again.path = "other/pause@v1.0.tar".to_owned();
                files.push(again);
            }),
            "the archives `bundles/images/pause@v1.0.tar` and `other/pause@v1.0.tar` are both `pause:v1.0`",
        ),
        (
            changed(|files| {
                files.push(File {
                    path: "link@1.tar".to_owned(),
                    kind: EntryType::Symlink,
                    bytes: Vec::new(),
                });
            }),
            "`link@1.tar` is named like an archive, but is not a regular file",
        ),
        (
            changed(|files| files.push(file("x/pause@2.tar.gz", "x"))),
            "`x/pause@2.tar.gz` looks like a compressed archive; only uncompressed archives ending in `.tar` are supported",
        ),
        (
            changed(|files| files.push(file("x/\u{1b}[2J@2.tar", "x"))),
            r"the path of an archive is not printable: `x/\x1b[2J@2.tar`",
        ),
        (
            changed(|files| files[PAUSE].bytes = gzip(&files[PAUSE].bytes)),
            "the archive `bundles/images/pause@v1.0.tar` cannot be used: \
             it is compressed with gzip; expected an uncompressed OCI archive",
        ),
        (
            changed(|files| files[PAUSE].bytes = b"no tar ".repeat(200)),
            "the archive `bundles/images/pause@v1.0.tar` cannot be used: it is not a complete tar archive: \
             numeric field was not a number: ",
        ),
        (
            changed(|files| files[PAUSE].bytes.clear()),
            "the archive `bundles/images/pause@v1.0.tar` cannot be used: \
             it is empty; the bundle was damaged or repacked",
        ),
        (
            changed(|files| files[PAUSE].bytes.truncate(2000)),
            "the archive `bundles/images/pause@v1.0.tar` cannot be used: it is not a complete tar archive: \
             a member ends before its size is reached",
        ),
    ];
    for (bundle, expected) in cases {
        let text = chain(&inspect(&bundle).unwrap_err());
        assert!(text.starts_with(expected), "{text}");
    }
}

#[test]
fn a_sets_bundle_may_have_other_files_but_no_damaged_archives() {
    let rules = Rules {
        of_set: Some(SetNames::default()),
        ..Rules::default()
    };
    let read = |bundle: &[u8], sink: &mut Inspection| read_observed(bundle, sink, &rules, &Silent);
    let bundle = changed(|files| {
        for (place, path) in ["top/calico/node_v1.tar", "top/pause@v1.tar", "dex_1.tar"]
            .into_iter()
            .enumerate()
        {
            let archive = files.iter().filter(|one| one.path.ends_with(".tar"));
            let bytes = archive.clone().nth(place).unwrap().bytes.clone();
            files.push(file(path, bytes));
        }
        files.retain(|one| !one.path.starts_with("bundles/"));
        let two_roots = json!({"schemaVersion": 2, "manifests": []}).to_string();
        let layout = r#"{"imageLayoutVersion":"1.0.0"}"#;
        let two_roots = [file("index.json", two_roots), file("oci-layout", layout)];
        files.push(file("several_1.tar", tar(&two_roots)));
        files.push(file("docker_1.tar", tar(&[file("manifest.json", "[]")])));
        files.push(file("packed_1.tar", gzip(&tar(&[]))));
        files.push(file("x@1.tar.gz", "packed"));
        files.push(file("release-matrix.json", "[]"));
    });
    let contents = read(&bundle, &mut Inspection).unwrap();
    let names = contents.artifacts.iter().map(Artifact::reference);
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["top/calico/node:v1", "pause:v1", "dex:1"]
    );
    let skipped = contents.skipped.iter();
    let skipped: Vec<String> = skipped
        .map(|one| format!("{}: {}", one.archive, one.reason))
        .collect();
    insta::assert_snapshot!(skipped.join("\n"), @r"
    several_1.tar: its `index.json` lists 0 manifests; expected one
    docker_1.tar: it has no `oci-layout`, so it is not an OCI archive
    packed_1.tar: it is compressed with gzip; expected an uncompressed OCI archive
    x@1.tar.gz: it is not an OCI archive
    release-matrix.json: it is not an OCI archive
    ");
    assert!(contents.release_matrix.is_none());

    // An OCI archive without its last file counts as damaged.
    let cut = changed_archive(|inner| inner.retain(|one| one.path != "oci-layout"));
    let error = chain(&read(&cut, &mut Inspection).unwrap_err());
    assert!(error.contains("it has no `oci-layout`"), "{error}");
}

#[test]
fn prefers_the_plain_matrix_and_counts_the_rest() {
    let bundle = changed(|files| {
        files.insert(0, file("a/release-matrix-old.json", "1"));
        files.insert(0, file("a/release-matrix-schema.json", "2"));
        files.push(file("mkectl_linux_x86_64.tar.gz", "3"));
    });
    let contents = inspect(&bundle).unwrap();
    let matrix = contents.release_matrix.unwrap();
    assert_eq!(matrix.path, "bundles/release-matrix.json");
    assert_eq!(contents.ignored_files, 3);
    assert_eq!(contents.other_matrices, ["a/release-matrix-old.json"]);
}

#[test]
fn lists_files_that_may_be_meant_as_archives() {
    let suspicious = [
        "images/p@1.TAR",
        "images/q@1.tar ",
        "r.tar.sig",
        "pause@3.10",
        "x.OCI",
    ];
    let bundle = changed(|files| {
        files.extend(suspicious.map(|name| file(name, "")));
        files.extend(
            ["images/dir@1.tar/x", "images/dir@1.tar/y", "README.md"].map(|name| file(name, "")),
        );
    });
    let contents = inspect(&bundle).unwrap();
    assert_eq!(
        contents.suspicious_files,
        [&suspicious[..], &["images/dir@1.tar/"]].concat()
    );
}

#[test]
fn counts_blobs_that_no_lock_names() {
    let bundle = changed_archive(|files| {
        files.push(file(&format!("blobs/sha256/{}", hex_of(b"stray")), "stray"));
    });
    let contents = inspect(&bundle).unwrap();
    assert_eq!(
        contents.unnamed_blobs.into_iter().collect::<Vec<_>>(),
        [("bundles/images/pause@v1.0.tar".to_owned(), 1)]
    );
}

#[test]
fn reports_progress() {
    #[derive(Default)]
    struct Log(Mutex<Vec<String>>);
    impl Observer for Log {
        fn event(&self, event: Event<'_>) {
            let line = match event {
                Event::BundleRead { bytes } => format!("read {bytes}"),
                Event::ArchiveStarted { archive, .. } => format!("started {archive}"),
                Event::ArchiveFinished { artifact } => format!("finished {}", artifact.reference()),
                other => panic!("{other:?}"),
            };
            self.0.lock().unwrap().push(line);
        }
    }
    let bundle = make(&small_recipe());
    let log = Log::default();
    read(bundle.as_slice(), &mut Inspection, None, &log).unwrap();
    let lines = log.0.into_inner().unwrap();
    assert_eq!(lines[0], "started bundles/images/calico&node@v1.0.tar");
    assert_eq!(lines[1], "finished calico/node:v1.0");
    assert_eq!(lines.last().unwrap(), &format!("read {}", bundle.len()));
}
