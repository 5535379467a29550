//! The text of a lock, and errors of wrong ones.

use super::*;
use crate::testing::{chain, lock, make, small_recipe};

fn sample() -> Lock {
    lock(&make(&small_recipe()))
}

fn parse(text: &str) -> Result<Lock, LockError> {
    Lock::parse(text, Utf8Path::new("bundles/x.lock.yaml"))
}

/// Returns the error after a change to the sample's text.
fn wrong(from: &str, to: &str) -> String {
    let text = sample().to_yaml();
    assert!(text.contains(from), "{from} is not in\n{text}");
    chain(&parse(&text.replacen(from, to, 1)).unwrap_err())
}

#[test]
fn the_text_is_the_same_on_every_machine() {
    let text = sample().to_yaml();
    let head: Vec<&str> = text.lines().take(52).collect();
    insta::assert_snapshot!(head.join("\n"), @r"
    # What is in mke_bundle_v4.1.5_amd64.tar.gz. Written by `lock v4.1.5`; not to be edited.
    version: 1
    release: v4.1.5
    arch: amd64
    bundle:
      file: mke_bundle_v4.1.5_amd64.tar.gz
      url: https://packages.example.com/caas/mke_bundle_v4.1.5_amd64.tar.gz
      size: 46615
      sha256: 268026d30bb00dc21ddba4acaeee5fcad7b6a8e2d518ae52d275ea5d4fbc0f95
    release-matrix:
      path: bundles/release-matrix.json
      size: 3
      sha256: 37517e5f3dc66819f61f5a7bb8ace1921282415f10551d2defa5c3eb0985b570
    mkectl:
    - platform: linux-x86_64
      url: https://downloads.example.com/mkectl_linux_x86_64.tar.gz
      sha256: abababababababababababababababababababababababababababababababab
    artifacts:
    - repository: calico/node
      tag: v1.0
      kind: image
      archive: bundles/images/calico&node@v1.0.tar
      digest: sha256:d8d4d77d87c8711272a68b744a3634416bfa455b2316be035baf4ad4b3bf8453
      media-type: application/vnd.oci.image.index.v1+json
      size: 506
      manifests:
      - digest: sha256:5fcdd946063df925237b313b1bc65e4956b7dd4c2e31842a84ef17b9e7dc9065
        media-type: application/vnd.oci.image.manifest.v1+json
        size: 557
        platform: linux/amd64
        blobs:
        - digest: sha256:18e1cfda36567ec542cb3f5939a77d73efb1f1fca6b38339a8df62dcb0d8e4ce
          size: 225
        - digest: sha256:6a741599c2d970274eb20471533659f914124c3b4fc6136cad0a85b5e15c9168
          size: 2583
        - digest: sha256:961e5f1fb14606d5850d25fa7d3acf2aec480123a4c2fcac65ed0e57982e0af0
          size: 2583
      - digest: sha256:da67b87251c7034a179fe2b835a7a91deb8167fdb5917899e19bb897ba069595
        media-type: application/vnd.oci.image.manifest.v1+json
        size: 557
        platform: linux/arm64/v8
        blobs:
        - digest: sha256:518c6439c687e5fd23d05b04c87106dca75d5ca98a1a281fb05ba2cc0bce5fb7
          size: 240
        - digest: sha256:6a741599c2d970274eb20471533659f914124c3b4fc6136cad0a85b5e15c9168
          size: 2583
        - digest: sha256:444a0c78e5ed33ac16cabc9f39f523a8188824edd3d1e111eaff0ce96986fb23
          size: 2583
      - digest: sha256:d8d4d77d87c8711272a68b744a3634416bfa455b2316be035baf4ad4b3bf8453
        media-type: application/vnd.oci.image.index.v1+json
        size: 506
        blobs: []
    ");
}

#[test]
fn reads_what_it_writes() {
    let lock = sample();
    let text = lock.to_yaml();
    let read = parse(&text).unwrap();
    assert_eq!(read, lock);
    assert_eq!(read.to_yaml(), text);
    assert_eq!(parse(&format!("\u{feff}{text}")).unwrap(), lock);
}

#[test]
fn the_order_of_reading_does_not_matter() {
    let lock = sample();
    let mut shuffled = lock.clone();
    shuffled.artifacts.reverse();
    assert_eq!(shuffled.to_yaml(), lock.to_yaml());
    let references: Vec<String> = lock.artifacts.iter().map(Artifact::reference).collect();
    assert_eq!(
        references,
        ["calico/node:v1.0", "charts/dex:0.3.0", "pause:v1.0"]
    );
}

#[test]
fn strings_that_look_like_other_types_stay_strings() {
    for tag in [
        "1.10",
        "1e3",
        "0755",
        "on",
        "null",
        "2026-01-01",
        "1_000",
        "_",
    ] {
        let mut lock = sample();
        let artifact = &mut lock.artifacts[2];
        artifact.tag = tag.to_owned();
        artifact.archive = format!("pause@{tag}.tar");
        assert_eq!(parse(&lock.to_yaml()).unwrap().artifacts[2].tag, tag);
    }
}

#[test]
fn counts_shared_blobs_once() {
    let lock = sample();
    let named: usize = lock
        .artifacts
        .iter()
        .flat_map(|artifact| &artifact.manifests)
        .map(|manifest| manifest.blobs.len() + 1)
        .sum();
    // The base layer is in three images.
    assert_eq!(lock.blobs().len(), named - 2);
    assert_eq!(lock.unique_bytes(), lock.blobs().values().sum::<u64>());
}

#[test]
fn has_a_name_and_a_digest() {
    assert_eq!(Lock::file_name("v4.1.5", "amd64"), "v4.1.5-amd64.lock.yaml");
    assert_eq!(
        Lock::digest("abc"),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

#[test]
fn errors_give_line_and_column() {
    assert_eq!(
        wrong("arch: amd64", "archs: amd64"),
        "bundles/x.lock.yaml:4:1: the lock is damaged: unknown field `archs`, expected one of `version`, `release`, \
         `arch`, `from`, `bundle`, `forced-release`, `release-matrix`, `mkectl`, `init`, `skipped`, `artifacts` at line 4 column 1"
    );
    assert_eq!(
        wrong("kind: image", "kind: picture"),
        "bundles/x.lock.yaml:21:9: the lock is damaged: artifacts[0].kind: unknown variant `picture`, expected one of \
         `image`, `chart`, `artifact` at line 21 column 9"
    );
    assert_eq!(
        wrong("digest: sha256:", "digest: sha1:x"),
        "bundles/x.lock.yaml:23:11: the lock is damaged: artifacts[0].digest: digest \
         `sha1:xd8d4d77d87c8711272a68b744a3634416bfa455b2316be035baf4ad4b3bf8453` uses `sha1`; only `sha256` is \
         supported at line 23 column 11"
    );
}

#[test]
fn a_merge_conflict_is_named_with_its_line() {
    let error = wrong(
        "version: 1\n",
        "version: 1\n<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> other\n",
    );
    assert_eq!(
        error,
        "bundles/x.lock.yaml:3: a merge conflict is not resolved"
    );
    let set = "set: tools\n<<<<<<< HEAD\nversion: 1\n";
    assert!(matches!(
        Lock::parse(set, Utf8Path::new("bundles/tools.lock.yaml")),
        Err(LockError::Conflict { line: 2, .. })
    ));
}

#[test]
fn distinguishes_other_versions_from_damaged_files() {
    let text = "version: 2\nsomething: new\n";
    assert_eq!(
        chain(&parse(text).unwrap_err()),
        "bundles/x.lock.yaml: the lock has format version 2; this version of Airlock supports 1"
    );
    assert!(matches!(parse("hello"), Err(LockError::Syntax { .. })));
    assert!(matches!(parse(""), Err(LockError::Syntax { .. })));
    assert!(matches!(
        Lock::read(Utf8Path::new("/nowhere/x.lock.yaml")),
        Err(LockError::Read { .. })
    ));
}

#[test]
fn refuses_contradictions_in_the_text() {
    let sha256 = sample().bundle.sha256;
    let cases = [
        (
            "release: v4.1.5",
            "release: 4.1.5",
            "`4.1.5` is not a release: expected `v` and a version, such as `v4.1.5`",
        ),
        (
            "arch: amd64",
            "arch: ../amd64",
            "`../amd64` is not a valid architecture",
        ),
        (
            "file: mke_bundle",
            "file: /etc/mke_bundle",
            "`/etc/mke_bundle_v4.1.5_amd64.tar.gz` is not a valid file name of the bundle",
        ),
        (
            sha256.as_str(),
            "abc",
            "the sha256 of the bundle is not 64 lower-case hexadecimal digits",
        ),
        (
            "url: https://packages",
            "url: https://me:secret@packages",
            "the URL of the bundle contains credentials, which must not be committed",
        ),
        (
            "url: https://packages.example.com",
            "url: packages",
            "the URL of the bundle is not valid: relative URL without a base",
        ),
        (
            "repository: pause",
            "repository: Pause",
            "the name of an artifact is not valid in a registry: `Pause` is not a repository name: \
             only lower-case letters, digits, `.`, `_`, `-` and `/` are allowed",
        ),
        (
            "repository: pause",
            "repository: paws",
            "`paws:v1.0` comes from `bundles/images/pause@v1.0.tar`, but that name gives a different reference",
        ),
    ];
    for (from, to, expected) in cases {
        assert_eq!(
            wrong(from, to),
            format!("bundles/x.lock.yaml: the lock contradicts itself: {expected}")
        );
    }
}

#[test]
fn refuses_contradictions_between_artifacts() {
    let after = |change: fn(&mut Lock)| {
        let mut lock = sample();
        change(&mut lock);
        chain(&lock.check().unwrap_err())
    };
    assert_eq!(
        after(|lock| lock.artifacts.push(lock.artifacts[0].clone())),
        "`calico/node:v1.0` is listed twice"
    );
    assert_eq!(after(|lock| lock.artifacts.clear()), "it lists no artifact");
    assert_eq!(
        after(|lock| {
            let blob = &mut lock.artifacts[0].manifests[0].blobs[0];
            // Listed many times, with the same size each time.
            blob.size = crate::LARGEST_BLOB;
            let blobs = vec![blob.clone(); 1 << 14];
            lock.artifacts.truncate(1);
            lock.artifacts[0].manifests[0].blobs = blobs;
            lock.artifacts[0].manifests[1].blobs.clear();
        }),
        "the sum of its sizes is too large"
    );
    let with_size = |size: u64| {
        let mut lock = sample();
        lock.artifacts[0].manifests[0].blobs[0].size = size;
        chain(&lock.check().unwrap_err())
    };
    assert!(with_size(0).ends_with(" has 0 bytes: 0 bytes have a different digest"));
    assert!(with_size(u64::MAX).ends_with(" has 18446744073709551615 bytes: the limit is 1 PiB"));
    assert_eq!(
        after(|lock| lock.artifacts[0].manifests.clear()),
        "`calico/node:v1.0` has no manifest"
    );
    assert!(
        after(|lock| lock.artifacts[0].manifests.reverse())
            .starts_with("the last manifest of `calico/node:v1.0` is not its root `sha256:")
    );
    assert!(
        after(|lock| {
            let manifests = &mut lock.artifacts[0].manifests;
            manifests.insert(0, manifests[0].clone());
        })
        .starts_with("`calico/node:v1.0` lists the manifest `sha256:")
    );
    assert!(
        after(|lock| lock.artifacts[0].manifests[0].blobs[1].size += 1)
            .ends_with("has 2584 bytes in one place and 2583 in another")
    );
    assert_eq!(
        after(|lock| lock.artifacts[0].manifests[0].media_type = "a b".into()),
        "`a b` of `calico/node:v1.0` is not a media type"
    );
    assert_eq!(
        after(|lock| lock.mkectl.push(lock.mkectl[0].clone())),
        "mkectl for `linux-x86_64` is listed twice"
    );
    assert_eq!(
        after(|lock| lock.artifacts[0].archive = "\u{1b}/calico&node@v1.0.tar".to_owned()),
        r"`calico/node:v1.0` comes from `\u{1b}/calico&node@v1.0.tar`, but that name gives a different reference"
    );
}

/// Returns the lock of a set with one bundle below a folder.
fn of_bundle() -> Lock {
    let url = "https://get.example.com/1/bundle.tar.gz";
    let mut artifact = sample().artifacts.swap_remove(0);
    artifact.repository = "below/capi/controller".to_owned();
    artifact.tag = "v1".to_owned();
    artifact.archive = "capi/controller_v1.tar".to_owned();
    artifact.source = Some(Source::of_bundle(url));
    let bundle = SetBundle {
        url: url.to_owned(),
        size: 7,
        sha256: "0".repeat(64),
        key: Some("1".repeat(64)),
        place: Some("below".to_owned()),
        strip: 0,
        skipped: Vec::new(),
    };
    Lock::of_set("k0rdent", vec![bundle], vec![artifact])
}

#[test]
fn a_bundle_of_a_set_is_a_lock_of_its_own() {
    let lock = of_bundle();
    let text = lock.to_yaml();
    let path = Utf8Path::new("bundles/k0rdent.lock.yaml");
    assert_eq!(Lock::parse(&text, path).unwrap(), lock);
    let parts: Vec<Lock> = lock.set_bundles().collect();
    let [part] = parts.as_slice() else {
        panic!("{parts:?}");
    };
    assert_eq!(part.bundle.file, "bundle.tar.gz");
    assert_eq!(part.blobs(), lock.blobs());
    assert!(part.artifacts[0].source.is_none());
    // Artifacts of a set's bundle are not in the release's bundle.
    assert!(lock.of_bundle().artifacts.is_empty());
    for (from, to, wrong) in [
        ("as: below", "as: under", "is in no bundle of the lock"),
        (
            "    reference: https:",
            "    reference: http:",
            "is in no bundle of the lock",
        ),
        ("tag: v1", "tag: v2", "is in no bundle of the lock"),
        ("url: https:", "url: ftp:", "no bundle can be carried from"),
        (
            "bundle.tar.gz\n  size",
            "bundle.lock.yaml\n  size",
            "no bundle can be carried from",
        ),
        (
            "sha256: '000",
            "sha256: '00",
            "is not 64 lower-case hexadecimal digits",
        ),
        (
            "key: '111",
            "key: '11",
            "is not 64 lower-case hexadecimal digits",
        ),
    ] {
        assert!(text.contains(from), "{from}: {text}");
        let error = Lock::parse(&text.replacen(from, to, 1), path).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains(wrong), "{to}: {source}");
    }
    let mut twice = lock.clone();
    twice.bundles.push(twice.bundles[0].clone());
    let error = Lock::parse(&twice.to_yaml(), path).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.ends_with("is listed twice"), "{source}");
}
