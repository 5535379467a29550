//! Faults of archives in a bundle: their layout, descriptors and documents.

use super::*;

/// Returns the files of an archive whose index lists `root`.
fn archive(root: &Value, blobs: &[&[u8]]) -> Vec<File> {
    let mut files = vec![
        file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#),
        file(
            "index.json",
            json!({"schemaVersion": 2, "manifests": [root]}).to_string(),
        ),
    ];
    for blob in blobs {
        files.push(file(&format!("blobs/sha256/{}", hex_of(blob)), *blob));
    }
    files
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest_of(blob).to_string(), "size": blob.len()})
}

/// Returns the error of an archive with these files.
fn fault(files: Vec<File>) -> String {
    let bundle = changed_archive(|inner| *inner = files);
    let text = chain(&inspect(&bundle).unwrap_err());
    let prefix = "the archive `bundles/images/pause@v1.0.tar` cannot be used: ";
    text.strip_prefix(prefix).unwrap_or(&text).to_owned()
}

const MANIFEST: &str = crate::document::OCI_MANIFEST;
const INDEX: &str = crate::document::OCI_INDEX;

#[test]
fn refuses_incomplete_layouts() {
    let config = b"{}".as_slice();
    let manifest = json!({
        "schemaVersion": 2,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [],
    })
    .to_string();
    let manifest = manifest.as_bytes();
    let root = descriptor(MANIFEST, manifest);
    let complete = || archive(&root, &[config, manifest]);
    let with = |change: fn(&mut Vec<File>)| {
        let mut files = complete();
        change(&mut files);
        fault(files)
    };
    let (config_digest, manifest_digest) = (digest_of(config), digest_of(manifest));

    inspect(&changed_archive(|inner| *inner = complete())).unwrap();
    assert_eq!(
        with(|files| drop(files.remove(0))),
        "it has no `oci-layout`, so it is not an OCI archive"
    );
    assert_eq!(
        with(|files| files[0].bytes = br#"{"imageLayoutVersion":"2.0.0"}"#.to_vec()),
        "its OCI layout has version `2.0.0`, only 1.x is supported"
    );
    assert_eq!(
        with(|files| drop(files.remove(1))),
        "it has no `index.json`"
    );
    assert_eq!(
        with(|files| files.push(files[1].clone())),
        "it has `index.json` twice"
    );
    assert_eq!(
        with(|files| files[1].bytes = b"[".to_vec()),
        "`index.json` cannot be parsed: EOF while parsing a list at line 1 column 1"
    );
    assert_eq!(
        with(|files| files[1].bytes = vec![b' '; (4 << 20) + 1]),
        "`index.json` has 4194305 bytes, but a manifest has at most 4 MiB"
    );
    assert_eq!(
        with(|files| files[1].bytes = br#"{"manifests":[]}"#.to_vec()),
        "its `index.json` lists 0 manifests; expected one"
    );
    assert_eq!(
        with(|files| drop(files.remove(2))),
        format!("blob `{config_digest}`, listed in `{manifest_digest}`, is missing")
    );
    assert_eq!(
        with(|files| drop(files.remove(3))),
        format!("blob `{manifest_digest}`, listed in `index.json`, is missing")
    );
    assert_eq!(
        with(|files| files[2].bytes = b"{ ".to_vec()),
        format!(
            "blob `{config_digest}` is corrupt: its content has digest `{}`",
            digest_of(b"{ ")
        )
    );
    assert_eq!(
        with(|files| files[2].kind = EntryType::Link),
        format!(
            "`blobs/sha256/{}` in it is not a regular file",
            config_digest.digest()
        )
    );
}

#[test]
fn refuses_wrong_descriptors() {
    let manifest = br#"{"schemaVersion":2}"#.as_slice();
    let digest = digest_of(manifest);
    let root = |media_type: &str| archive(&descriptor(media_type, manifest), &[manifest]);
    assert_eq!(
        fault(root("application/vnd.docker.distribution.manifest.v1+json")),
        format!(
            "`{digest}` has the media type `application/vnd.docker.distribution.manifest.v1+json`; expected a manifest or an index"
        )
    );
    assert_eq!(
        fault(root(MANIFEST)),
        format!("`{digest}` cannot be parsed: missing field `config` at line 1 column 19")
    );
    let index = br#"{"schemaVersion":2,"manifests":[]}"#;
    assert_eq!(
        fault(archive(&descriptor(MANIFEST, index), &[index])),
        format!(
            "`{}` is listed as `{MANIFEST}`, but its own media type differs",
            digest_of(index)
        )
    );
    let both = br#"{"schemaVersion":2,"manifests":[],"layers":[]}"#;
    assert_eq!(
        fault(archive(&descriptor(INDEX, both), &[both])),
        format!(
            "`{}` is listed as `{INDEX}`, but its own media type differs",
            digest_of(both)
        )
    );
    let list = br#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[]}"#;
    assert_eq!(
        fault(archive(&descriptor(INDEX, list), &[list])),
        format!(
            "`{}` is listed as `{INDEX}`, but its own media type differs",
            digest_of(list)
        )
    );
    let noise = b"noise".as_slice();
    assert_eq!(
        fault(archive(&descriptor(MANIFEST, noise), &[noise])),
        format!(
            "`{}` is listed as a manifest but is not one",
            digest_of(noise)
        )
    );
    let mut short = descriptor(MANIFEST, manifest);
    short["size"] = json!(3);
    assert_eq!(
        fault(archive(&short, &[manifest])),
        format!("blob `{digest}` has 19 bytes, but `index.json` records 3")
    );
    let sha512 =
        json!({"mediaType": MANIFEST, "digest": format!("sha512:{}", "0".repeat(128)), "size": 1});
    let text = fault(archive(&sha512, &[]));
    assert!(
        text.contains("uses `sha512`; only `sha256` is supported"),
        "{text}"
    );
}

#[test]
fn follows_nested_indexes_to_a_depth() {
    let nested = |levels: usize| {
        let mut blobs = vec![b"{}".to_vec()];
        let config = descriptor(crate::document::OCI_CONFIG, &blobs[0]);
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": []}).to_string();
        let mut root = descriptor(MANIFEST, manifest.as_bytes());
        blobs.push(manifest.into_bytes());
        for _ in 0..levels {
            // Each child is listed twice. It must be returned once, and the walk must not double at
            // each level.
            let index = json!({"schemaVersion": 2, "manifests": [root, root]}).to_string();
            root = descriptor(INDEX, index.as_bytes());
            blobs.push(index.into_bytes());
        }
        let blobs: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
        archive(&root, &blobs)
    };
    let bundle = changed_archive(|inner| *inner = nested(8));
    let contents = inspect(&bundle).unwrap();
    let manifests = &contents.artifacts[1].manifests;
    assert_eq!(manifests.len(), 9);
    let unique: HashSet<&str> = manifests.iter().map(|one| one.digest.as_ref()).collect();
    assert_eq!(unique.len(), 9);
    assert_eq!(
        fault(nested(9)),
        "its indexes are nested deeper than 8 levels"
    );
}

#[test]
fn accepts_docker_images_and_other_artifacts() {
    let config = br#"{"os":"linux","architecture":"amd64"}"#.as_slice();
    let kind = |media_type: &str, config_type: &str, artifact_type: Option<&str>| {
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": descriptor(config_type, config),
            "layers": [descriptor("application/octet-stream", config)],
        });
        if let Some(artifact_type) = artifact_type {
            manifest["artifactType"] = json!(artifact_type);
        }
        let manifest = manifest.to_string();
        let files = archive(
            &descriptor(media_type, manifest.as_bytes()),
            &[config, manifest.as_bytes()],
        );
        let contents = inspect(&changed_archive(|inner| *inner = files)).unwrap();
        let artifact = contents.artifacts[1].clone();
        // Config and layer are the same blob, which is listed once.
        assert_eq!(artifact.manifests[0].blobs.len(), 1);
        (artifact.kind, artifact.manifests[0].platform.clone())
    };
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let amd64 = Some("linux/amd64".to_owned());
    assert_eq!(
        kind(
            docker,
            "application/vnd.docker.container.image.v1+json",
            None
        ),
        (Kind::Image, amd64)
    );
    assert_eq!(
        kind(MANIFEST, "application/vnd.cncf.helm.config.v1+json", None),
        (Kind::Chart, None)
    );
    assert_eq!(
        kind(MANIFEST, "application/vnd.example+json", None),
        (Kind::Artifact, None)
    );
    assert_eq!(
        kind(
            MANIFEST,
            crate::document::OCI_CONFIG,
            Some("application/vnd.example")
        ),
        (Kind::Artifact, None)
    );
}

#[test]
fn a_layer_with_urls_may_be_missing() {
    let (config, layer) = (b"{}".as_slice(), b"layer".as_slice());
    let external = |urls: Value| {
        let mut external = descriptor(
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            b"base",
        );
        external["urls"] = urls;
        let manifest = json!({
            "schemaVersion": 2,
            "config": descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [external, descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
        })
        .to_string();
        archive(
            &descriptor(MANIFEST, manifest.as_bytes()),
            &[config, layer, manifest.as_bytes()],
        )
    };
    let files = external(json!(["https://mcr.example/base"]));
    let bundle = changed_archive(|inner| *inner = files);
    let contents = inspect(&bundle).unwrap();
    let artifact = (contents.artifacts.iter())
        .find(|artifact| !artifact.external().is_empty())
        .unwrap();
    let missing = digest_of(b"base");
    assert_eq!(
        artifact.external().into_iter().collect::<Vec<_>>(),
        [(missing.as_ref(), 4)]
    );
    assert!(artifact.blobs().all(|(digest, _)| *digest != missing));
    assert_eq!(artifact.manifests[0].blobs.len(), 2);
    let lock = crate::testing::lock(&bundle);
    assert!(!lock.blobs().contains_key(missing.as_ref()));
    let lock = Lock::parse(&lock.to_yaml(), "lock".into()).unwrap();
    against(&bundle, &lock).unwrap();

    for urls in [json!([]), Value::Null] {
        let fault = fault(external(urls));
        assert!(fault.contains("`, is missing"), "{fault}");
    }
}

#[test]
fn refuses_manifests_that_parsers_interpret_differently() {
    let config = b"{}".as_slice();
    let layers = json!([descriptor(
        "application/vnd.oci.image.layer.v1.tar",
        b"other"
    )]);
    let with = |extra: &str| {
        let config = descriptor("application/vnd.oci.image.config.v1+json", config);
        format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]{extra}}}"#)
    };
    for extra in [
        format!(r#","Layers":{layers}"#),
        format!(r#","layers":{layers}"#),
    ] {
        let manifest = with(&extra);
        let manifest = manifest.as_bytes();
        let fault = fault(archive(
            &descriptor(MANIFEST, manifest),
            &[config, manifest],
        ));
        assert!(fault.contains("cannot be parsed: the key `"), "{fault}");
    }
    let mut files = archive(&descriptor(MANIFEST, b"x"), &[]);
    files[1].bytes = br#"{"manifests":[],"Manifests":[]}"#.to_vec();
    let fault = fault(files);
    assert!(fault.contains("`Manifests` differs"), "{fault}");
}

#[test]
fn files_of_a_repacked_bundle_are_named() {
    for (name, expected) in [
        (
            "x&y@1.0.tar",
            "it is empty; the bundle was damaged or repacked",
        ),
        (
            "._x&y@1.0.tar",
            "it is an AppleDouble file; the bundle was repacked on macOS",
        ),
        (
            "._x.tar",
            "it is an AppleDouble file; the bundle was repacked on macOS",
        ),
    ] {
        let path = format!("bundles/images/{name}");
        let bundle = gzip(&tar(&[file(&path, "")]));
        assert_eq!(
            chain(&inspect(&bundle).unwrap_err()),
            format!("the archive `{path}` cannot be used: {expected}")
        );
    }
}
