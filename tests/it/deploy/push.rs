//! Tests of `push`: promises that hold for every kind of registry, the command itself, and bundles
//! that must be refused.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use bundle::{Lock, Store};
use camino::Utf8Path;
use oci_spec::image::Digest;
use registry::node::Node;
use registry::{Artifact, Blob, BlobSource, Credentials, Endpoint, Error, Manifest, Registry};
use secrecy::SecretString;
use sha2::Digest as _;
use support::bundles::{self, FILE, Member};
use support::registries::{PASSWORD, USER};
use support::{Arguments, Certificates, Run, Sandbox, TestRegistry};

use crate::AIRLOCK;

/// Makes a test of each promise with each kind of registry.
macro_rules! promises {
    ($($promise:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $promise() {
                super::$promise(support::TestRegistry::embedded().await).await;
            })*
        }
        mod registry_2_plain {
            $(#[tokio::test(flavor = "multi_thread")]
            #[cfg_attr(without_docker, ignore = "Docker does not answer")]
            async fn $promise() {
                super::$promise(support::TestRegistry::plain().await).await;
            })*
        }
        mod registry_2_with_tls {
            $(#[tokio::test(flavor = "multi_thread")]
            #[cfg_attr(without_docker, ignore = "Docker does not answer")]
            async fn $promise() {
                super::$promise(support::TestRegistry::tls().await).await;
            })*
        }
        mod registry_2_with_credentials {
            $(#[tokio::test(flavor = "multi_thread")]
            #[cfg_attr(without_docker, ignore = "Docker does not answer")]
            async fn $promise() {
                super::$promise(support::TestRegistry::with_credentials().await).await;
            })*
        }
    };
}

promises!(
    everything_that_was_pushed_is_served_byte_for_byte,
    a_second_push_sends_nothing,
    a_push_sends_only_what_is_missing,
    a_missing_blob_tags_nothing,
    a_tag_that_points_elsewhere_is_moved,
    nodes_pull_everything_unless_the_registry_requires_credentials,
);

async fn everything_that_was_pushed_is_served_byte_for_byte(registry: TestRegistry) {
    let content = Content::of(&bundles::small());
    let client = registry.client();
    for artifact in content.artifacts() {
        let pushed = client.push(&artifact, &content.store, &()).await.unwrap();
        assert_eq!(pushed.digest, root(&artifact).digest);
        assert_eq!(pushed.replaced, None);
    }
    // A new client has no recorded state of the push.
    let client = registry.client();
    for artifact in content.artifacts() {
        let name = artifact.name();
        let found = client
            .head_manifest(&artifact.repository, &artifact.tag)
            .await
            .unwrap()
            .unwrap_or_else(|| panic!("{name}"));
        let root = root(&artifact);
        assert_eq!(found.digest.as_ref(), Some(&root.digest), "{name}");
        assert_eq!(found.media_type.as_ref(), Some(&root.media_type), "{name}");
        let tagged = client
            .get_manifest(&artifact.repository, &artifact.tag)
            .await
            .unwrap();
        assert_eq!(tagged.bytes, content.bytes(&root.digest), "{name}");
        for manifest in &artifact.manifests {
            let fetched = client
                .get_manifest(&artifact.repository, manifest.digest.as_ref())
                .await
                .unwrap();
            assert_eq!(fetched.bytes, content.bytes(&manifest.digest), "{name}");
            assert_eq!(
                fetched.media_type.as_ref(),
                Some(&manifest.media_type),
                "{name}"
            );
            for blob in &manifest.blobs {
                let mut reader = client
                    .get_blob(&artifact.repository, &blob.digest, blob.size)
                    .await
                    .unwrap();
                let mut bytes = Vec::new();
                while let Some(piece) = reader.next().await.unwrap() {
                    bytes.extend_from_slice(&piece);
                }
                assert_eq!(bytes, content.bytes(&blob.digest), "{name}");
            }
        }
    }
}

async fn a_second_push_sends_nothing(registry: TestRegistry) {
    let content = Content::of(&bundles::tiny());
    content.push_all(&registry.client()).await;
    let client = registry.client();
    for artifact in content.artifacts() {
        let counted = Counted::new(&content.store.0);
        let pushed = client.push(&artifact, &counted, &()).await.unwrap();
        assert_eq!((pushed.uploaded.blobs, pushed.manifests), (0, 0));
        assert_eq!(counted.opened(), BTreeSet::new(), "{}", artifact.name());
    }
}

async fn a_push_sends_only_what_is_missing(registry: TestRegistry) {
    let content = Content::of(&bundles::tiny());
    content.push_all(&registry.client()).await;
    // The repository already has all blobs and manifests of this tag.
    for mut artifact in content.artifacts() {
        artifact.tag = "again".to_owned();
        let counted = Counted::new(&content.store.0);
        let pushed = registry
            .client()
            .push(&artifact, &counted, &())
            .await
            .unwrap();
        assert_eq!(pushed.uploaded.blobs, 0, "{}", artifact.name());
        assert_eq!(pushed.uploaded.bytes, 0, "{}", artifact.name());
        let manifests: BTreeSet<String> = artifact
            .manifests
            .iter()
            .map(|manifest| manifest.digest.to_string())
            .collect();
        assert!(
            counted.opened().is_subset(&manifests),
            "{}",
            artifact.name()
        );
    }
}

async fn a_missing_blob_tags_nothing(registry: TestRegistry) {
    let content = Content::of(&bundles::tiny());
    for artifact in content.artifacts() {
        let client = registry.client();
        // A layer that no other artifact has.
        let missing = &artifact.manifests[0].blobs.last().unwrap().digest;
        let source = Lacking {
            store: &content.store.0,
            digest: missing,
        };
        let error = client.push(&artifact, &source, &()).await.unwrap_err();
        assert!(matches!(error, Error::Source { .. }), "{error:?}");
        assert!(error.to_string().contains(missing.as_ref()), "{error}");
        assert_eq!(
            registry
                .client()
                .head_manifest(&artifact.repository, &artifact.tag)
                .await
                .unwrap(),
            None,
            "{}",
            artifact.name()
        );
        // The same client completes the push when the blob is available.
        client.push(&artifact, &content.store, &()).await.unwrap();
    }
}

async fn a_tag_that_points_elsewhere_is_moved(registry: TestRegistry) {
    let content = Content::of(&bundles::tiny());
    let mut artifacts = content.artifacts();
    let client = registry.client();
    let present = artifacts.pop().unwrap();
    client.push(&present, &content.store, &()).await.unwrap();
    let wanted = Artifact {
        repository: present.repository.clone(),
        tag: present.tag.clone(),
        ..artifacts.pop().unwrap()
    };
    let pushed = client.push(&wanted, &content.store, &()).await.unwrap();
    assert_eq!(pushed.replaced.as_ref(), Some(&root(&present).digest));
    let found = client
        .head_manifest(&wanted.repository, &wanted.tag)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.digest.as_ref(), Some(&root(&wanted).digest));
}

async fn nodes_pull_everything_unless_the_registry_requires_credentials(registry: TestRegistry) {
    let content = Content::of(&bundles::small());
    content.push_all(&registry.client()).await;
    let node = Node::new(registry.endpoint()).unwrap();
    for artifact in content.artifacts() {
        let pulled = node.pull(&artifact.repository, &artifact.tag).await;
        if registry.wants_credentials {
            let error = pulled.unwrap_err();
            assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
            continue;
        }
        let pulled = pulled.unwrap();
        let digests = |digests: Vec<&Digest>| -> BTreeSet<String> {
            digests.into_iter().map(ToString::to_string).collect()
        };
        assert_eq!(pulled.digest, root(&artifact).digest);
        assert_eq!(
            digests(pulled.manifests.iter().collect()),
            digests(artifact.manifests.iter().map(|one| &one.digest).collect())
        );
        let blobs = digests(
            artifact
                .manifests
                .iter()
                .flat_map(|manifest| &manifest.blobs)
                .map(|blob| &blob.digest)
                .collect(),
        );
        assert_eq!(pulled.blobs.blobs, blobs.len() as u64);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn a_wrong_password_is_unauthorized_and_never_reported() {
    let registry = TestRegistry::with_credentials().await;
    let content = Content::of(&bundles::tiny());
    let wrong = Credentials::Basic {
        username: USER.to_owned(),
        password: SecretString::from("not-the-password"),
    };
    for credentials in [wrong, Credentials::Anonymous] {
        let client = Registry::new(registry.endpoint(), credentials).unwrap();
        let refused = [
            client.ping().await.unwrap_err(),
            client
                .push(&content.artifacts()[0], &content.store, &())
                .await
                .unwrap_err(),
        ];
        for error in refused {
            assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
            assert!(!format!("{error} {error:?}").contains("not-the-password"));
        }
    }
    registry.client().ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn a_certificate_of_another_authority_is_refused() {
    let registry = TestRegistry::tls().await;
    let other = Certificates::local();
    // A client uses HTTPS for a loopback address only if the endpoint has a CA.
    let endpoint = Endpoint::new(&registry.address, Some(&other.ca_pem)).unwrap();
    let client = Registry::new(endpoint.clone(), Credentials::Anonymous).unwrap();
    let error = client.ping().await.unwrap_err();
    assert!(matches!(error, Error::UnknownAuthority { .. }), "{error:?}");
    let node = Node::new(endpoint).unwrap();
    let error = node.pull("mke/pause", "3.10").await.unwrap_err();
    assert!(matches!(error, Error::UnknownAuthority { .. }), "{error:?}");

    let endpoint = Endpoint::new(&registry.address, None).unwrap();
    let client = Registry::new(endpoint, Credentials::Anonymous).unwrap();
    let error = client.ping().await.unwrap_err();
    assert!(matches!(error, Error::HttpsServer { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_pushes_once_and_then_finds_nothing_to_do() {
    let registry = TestRegistry::embedded().await;
    let sandbox = Sandbox::new(AIRLOCK);
    registry.describe(&sandbox, "");
    bundles::make_locked(&sandbox, &bundles::tiny());
    let run = sandbox.run("push lab");
    insta::assert_snapshot!(run.whole(), @"
    exit code: 0
    --- stdout
    lab: 3 artifacts in 127.0.0.1:[PORT]/mke/four, 3 pushed, 16.25 kB sent
    --- stderr
       verify bundles/mke_bundle_v4.1.5_amd64.tar.gz
         push 3 artifacts to 127.0.0.1:[PORT]/mke/four
       verify done: 3 artifacts match the lock
         push done: 3 artifacts pushed: 9 blobs sent, 1 mounted or already present
      confirm 3 artifacts as a node pulls them
      confirm done: 3 artifacts are served to nodes
    ");
    assert_pushed(&registry, &bundles::lock_of(&sandbox)).await;

    // Neither bundle nor store is needed once the registry has everything.
    sandbox.remove(&format!("bundles/{FILE}"));
    bundles::forget_store(&sandbox);
    let run = sandbox.run("push lab");
    insta::assert_snapshot!(run.whole(), @"
    exit code: 0
    --- stdout
    lab: 3 artifacts in 127.0.0.1:[PORT]/mke/four, 0 pushed, 0 B sent
    --- stderr
    ");
    let run = sandbox.run("push lab --format json");
    insta::assert_snapshot!(run.whole(), @r#"
    exit code: 0
    --- stdout
    {"result":{"artifacts":3,"environment":"lab","pushed":0,"sent-bytes":0}}
    --- stderr
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_sends_only_the_artifacts_that_are_missing() {
    let registry = TestRegistry::embedded().await;
    let sandbox = Sandbox::new(AIRLOCK);
    registry.describe(&sandbox, "");
    bundles::make_locked(&sandbox, &bundles::tiny());
    let content = Content::of(&bundles::tiny());
    registry
        .client()
        .push(&content.artifacts()[0], &content.store, &())
        .await
        .unwrap();
    let run = sandbox.run("push lab").success();
    run.prints("2 pushed");
    assert_pushed(&registry, &content.lock).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn blobs_of_another_environment_in_the_same_registry_are_mounted() {
    let registry = TestRegistry::plain().await;
    let sandbox = Sandbox::new(AIRLOCK);
    registry.describe(&sandbox, "");
    bundles::make_locked(&sandbox, &bundles::small());
    sandbox.run("push lab").success();
    let description = sandbox.read("environments/lab/environment.yaml");
    sandbox.write(
        "environments/prod/environment.yaml",
        &description.replace("mke/four", "mke/prod"),
    );
    let receipt = format!(
        "version: 2\napplied:\n  release: v4.1.5\n  lock: {0}\n  registry: {1}/mke/four\n  config: {0}\n  mkectl: {{ version: \
         v4.1.5 }}\n  artifacts: 1\n  pushed:\n    artifacts: 1\n    sent: {{ blobs: 1, bytes: 1 }}\n    \
         mounted: {{ blobs: 0, bytes: 0 }}\n    present: {{ blobs: 0, bytes: 0 }}\n  \
         ended: 2026-01-02T03:04:05Z\n  by: {{ airlock: 0.1.0 }}\n",
        "0".repeat(64),
        registry.address
    );
    sandbox.write("environments/lab/receipt.yaml", &receipt);
    let run = sandbox.run("push prod --format json");
    let result = run.json();
    assert_eq!(result["result"]["sent-bytes"], 0, "{}", run.whole());
    let lock = bundles::lock_of(&sandbox);
    for artifact in artifacts(&lock, "mke/prod") {
        let found = registry
            .client()
            .head_manifest(&artifact.repository, &artifact.tag)
            .await
            .unwrap();
        assert_eq!(
            found.and_then(|found| found.digest).as_ref(),
            Some(&root(&artifact).digest)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn a_push_that_is_killed_tags_nothing_that_is_incomplete_and_the_next_one_finishes() {
    let registry = TestRegistry::plain().await;
    let sandbox = Sandbox::new(AIRLOCK);
    registry.describe(&sandbox, "");
    bundles::make_locked(&sandbox, &bundles::small());
    let lock = bundles::lock_of(&sandbox);
    for milliseconds in [0, 30, 60, 100, 150, 220, 300, 400] {
        let mut child = sandbox
            .command("push lab")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let client = registry.client();
        for artifact in artifacts(&lock, "mke/four") {
            let (repository, tag) = (&artifact.repository, &artifact.tag);
            let Some(found) = client.head_manifest(repository, tag).await.unwrap() else {
                continue;
            };
            assert_eq!(found.digest.as_ref(), Some(&root(&artifact).digest));
            for manifest in &artifact.manifests {
                let digest = manifest.digest.as_ref();
                let child = client.head_manifest(repository, digest).await.unwrap();
                assert!(child.is_some(), "{} lacks {digest}", artifact.name());
                for blob in &manifest.blobs {
                    let there = client
                        .find_blob(repository, &blob.digest)
                        .await
                        .unwrap()
                        .is_some();
                    assert!(there, "{} lacks {}", artifact.name(), blob.digest);
                }
            }
        }
    }
    sandbox.run("push lab").success();
    sandbox.run("verify lab").success();
    // The store has no partially written blob.
    let other_files = files_below(&sandbox.path("bundles/store"))
        .into_iter()
        .filter(|file| !file.contains("/blobs/sha256/"))
        .map(|file| file.rsplit('/').next().unwrap().to_owned())
        .collect::<BTreeSet<String>>();
    insta::assert_snapshot!(format!("{other_files:?}"), @r#"{"index.json", "index.lock", "lock", "oci-layout"}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_to_a_protected_environment_requires_its_name() {
    let registry = TestRegistry::embedded().await;
    let sandbox = Sandbox::new(AIRLOCK);
    registry.describe(&sandbox, "");
    let file = "environments/lab/environment.yaml";
    sandbox.write(file, &format!("protected: true\n{}", sandbox.read(file)));
    bundles::make_locked(&sandbox, &bundles::tiny());
    insta::assert_snapshot!(sandbox.run("push lab").whole(), @"
    exit code: 8
    --- stdout
    --- stderr
    error: lab was not confirmed: a terminal is required to confirm
    hint: add `--confirm lab` for runs without a terminal
    ");
    assert_nothing_tagged(&registry, &bundles::lock_of(&sandbox)).await;
    sandbox.run("push lab --confirm prod").exits_with(8);
    sandbox.run("push lab --confirm lab").success();
    // A push with nothing to send needs no confirmation.
    sandbox.run("push lab").success();
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn the_command_pushes_to_registry_2_over_plain_http_on_loopback() {
    let registry = TestRegistry::plain().await;
    let sandbox = Sandbox::new(AIRLOCK);
    registry.describe(&sandbox, "");
    bundles::make_locked(&sandbox, &bundles::small());
    let run = sandbox.run("push lab");
    insta::assert_snapshot!(run.whole(), @"
    exit code: 0
    --- stdout
    lab: 14 artifacts in 127.0.0.1:[PORT]/mke/four, 14 pushed, 3.09 MB sent
    --- stderr
       verify bundles/mke_bundle_v4.1.5_amd64.tar.gz
         push 14 artifacts to 127.0.0.1:[PORT]/mke/four
       verify done: 14 artifacts match the lock
         push done: 14 artifacts pushed: 40 blobs sent, 7 mounted or already present
      confirm 14 artifacts as a node pulls them
      confirm done: 14 artifacts are served to nodes
    ");
    assert_pushed(&registry, &bundles::lock_of(&sandbox)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn the_command_trusts_the_authority_that_the_environment_names() {
    let registry = TestRegistry::tls().await;
    let sandbox = Sandbox::new(AIRLOCK);
    registry.describe(&sandbox, "");
    bundles::make_locked(&sandbox, &bundles::tiny());
    sandbox.run("push lab").success();
    assert_pushed(&registry, &bundles::lock_of(&sandbox)).await;

    sandbox.write(
        "environments/lab/registry-ca.pem",
        &Certificates::local().ca_pem,
    );
    let run = sandbox.run("push lab");
    insta::assert_snapshot!(run.whole(), @"
    exit code: 5
    --- stdout
    --- stderr
    error: registry 127.0.0.1:[PORT] cannot be used
      because: GET https://127.0.0.1:[PORT]/v2/: the server's certificate is from an unknown authority
    hint: copy the CA that signed the registry's certificate next to environment.yaml and name it: `registry.ca: registry-ca.pem`; a CA that is named there already did not sign it
    ");
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn a_registry_that_refuses_anonymous_pulls_is_reported_before_anything_is_sent() {
    let registry = TestRegistry::with_credentials().await;
    let mut sandbox = Sandbox::new(AIRLOCK);
    registry.describe(&sandbox, "  push-credentials: { env: LAB }\n");
    bundles::make_locked(&sandbox, &bundles::tiny());

    let run = sandbox.run("push lab");
    insta::assert_snapshot!(run.whole(), @"
    exit code: 3
    --- stdout
    --- stderr
    error: no credentials for registry 127.0.0.1:[PORT]
      because: the variables LAB_USERNAME and LAB_PASSWORD are not set
    hint: set the variables that `push-credentials` names; without `push-credentials`, log in with Docker, Podman or Skopeo, which write the file
    ");

    sandbox
        .variable("LAB_USERNAME", USER)
        .variable("LAB_PASSWORD", "not-the-password");
    let run = sandbox.run("push lab").exits_with(5);
    // It differs from run to run which artifact is requested first.
    let expected = [
        "the user `courier` was rejected: 401 Unauthorized",
        "hint: check user and password: the variables that registry.push-credentials names",
    ];
    for text in expected {
        assert_eq!(run.stderr.matches(text).count(), 1, "{}", run.whole());
    }

    sandbox.variable("LAB_PASSWORD", PASSWORD);
    let run = sandbox.run("push lab");
    insta::assert_snapshot!(run.whole(), @"
    exit code: 5
    --- stdout
    --- stderr
    error: registry 127.0.0.1:[PORT] does not serve mke/four/calico/node without credentials
      because: HEAD https://127.0.0.1:[PORT]/v2/mke/four/calico/node/manifests/v3.30.2: no credentials were sent: 401 Unauthorized (a user name and a password are required)
    hint: nodes pull without credentials: make the project public (Harbor, MSR: the project's access level). Where the release supports it, name a pull secret in config.registries.imageRegistry.credentialsSecretName
    ");
    run.does_not_mention(PASSWORD);
    assert_nothing_tagged(&registry, &bundles::lock_of(&sandbox)).await;
    let run = sandbox.run("push lab --format json").exits_with(5);
    run.does_not_mention(PASSWORD);
    insta::assert_snapshot!(run.whole(), @r#"
    exit code: 5
    --- stdout
    {"error":{"causes":["HEAD https://127.0.0.1:[PORT]/v2/mke/four/calico/node/manifests/v3.30.2: no credentials were sent: 401 Unauthorized (a user name and a password are required)"],"exit-code":5,"hints":["nodes pull without credentials: make the project public (Harbor, MSR: the project's access level). Where the release supports it, name a pull secret in config.registries.imageRegistry.credentialsSecretName"],"message":"registry 127.0.0.1:[PORT] does not serve mke/four/calico/node without credentials"}}
    --- stderr
    "#);
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn credentials_of_docker_login_are_used() {
    let registry = TestRegistry::with_credentials().await;
    let sandbox = Sandbox::new(AIRLOCK);
    // Nodes have a pull secret, so the registry may refuse anonymous pulls.
    registry.describe(&sandbox, "");
    let file = "environments/lab/environment.yaml";
    sandbox.edit(file, "config:\n", "config:\n  registries: { imageRegistry: { credentialsSecretName: pull }, chartRegistry: { credentialsSecretName: pull } }\n");
    bundles::make_locked(&sandbox, &bundles::tiny());
    // `courier:correct-horse` in Base64.
    sandbox.log_in(&registry.address, "Y291cmllcjpjb3JyZWN0LWhvcnNl");
    let run = sandbox.run("push lab");
    insta::assert_snapshot!(run.whole(), @"
    exit code: 0
    --- stdout
    lab: 3 artifacts in 127.0.0.1:[PORT]/mke/four, 3 pushed, 16.25 kB sent
    --- stderr
       verify bundles/mke_bundle_v4.1.5_amd64.tar.gz
         push 3 artifacts to 127.0.0.1:[PORT]/mke/four
       verify done: 3 artifacts match the lock
         push done: 3 artifacts pushed: 9 blobs sent, 1 mounted or already present
      confirm 3 artifacts as a node pulls them
      confirm done: 3 artifacts are served to nodes
    ");
    assert_pushed(&registry, &bundles::lock_of(&sandbox)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_with_one_flipped_bit_is_refused_at_every_position() {
    let registry = TestRegistry::embedded().await;
    let sandbox = Sandbox::new(AIRLOCK);
    registry.describe(&sandbox, "");
    let whole = bundles::bytes(&bundles::tiny());
    bundles::put_locked(&sandbox, &whole);
    let lock = bundles::lock_of(&sandbox);
    let layers = layers(&whole, &lock);
    assert!(layers.len() > 3, "{layers:?}");

    // Positions in the headers of gzip and of the first members, in the trailer, in each layer, and
    // at regular distances.
    let length = whole.len();
    let mut places: BTreeSet<usize> = (0..length).step_by(length / 40).collect();
    places.extend([0, 1, 2, 3, 9, 10, 11, 15, 20, 130, 160, 170, 280]);
    places.extend((1..10).map(|from_end| length - from_end));
    places.extend(layers.iter().map(|(place, _)| place.start + 100));
    for place in places {
        let mut broken = whole.clone();
        broken[place] ^= 1 << (place % 8);
        let run = push_of(&sandbox, &broken);
        assert_eq!(run.code, Some(4), "byte {place}: {}", run.whole());
        if let Some((_, archive)) = layers.iter().find(|(layer, _)| layer.contains(&place)) {
            assert!(
                run.stderr.contains(archive.as_str()),
                "byte {place} is in {archive}: {}",
                run.whole()
            );
        }
    }
    assert_nothing_tagged(&registry, &lock).await;
    // The bundle without a flipped bit is accepted.
    push_of(&sandbox, &whole).success();
    assert_pushed(&registry, &lock).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_bundle_is_refused_at_every_length() {
    let registry = TestRegistry::embedded().await;
    let sandbox = Sandbox::new(AIRLOCK);
    registry.describe(&sandbox, "");
    let whole = bundles::bytes(&bundles::tiny());
    bundles::put_locked(&sandbox, &whole);
    let lock = bundles::lock_of(&sandbox);
    let length = whole.len();
    let cuts = (0..length).step_by(length / 10).chain([
        1,
        10,
        length - 1024,
        length - 9,
        length - 8,
        length - 1,
    ]);
    for cut in cuts {
        let run = push_of(&sandbox, &whole[..cut]);
        assert_eq!(run.code, Some(4), "{cut} bytes: {}", run.whole());
        // A sparse copy fills the missing part with zeros.
        let mut filled = whole[..cut].to_vec();
        filled.resize(length, 0);
        if filled == whole {
            // The last bytes of gzip are the high bytes of a length, so they are zero.
            continue;
        }
        let run = push_of(&sandbox, &filled);
        assert_eq!(run.code, Some(4), "{cut} bytes, filled: {}", run.whole());
    }
    let mut longer = whole.clone();
    longer.push(0);
    push_of(&sandbox, &longer).exits_with(4);
    assert_nothing_tagged(&registry, &lock).await;
    insta::assert_snapshot!(push_of(&sandbox, &whole[..length / 2]).whole(), @"
    exit code: 4
    --- stdout
    --- stderr
    error: `bundles/mke_bundle_v4.1.5_amd64.tar.gz` has 23819 bytes, but its lock records 47639
    hint: trust the lock bundles/v4.1.5-amd64.lock.yaml, which was reviewed and committed, not the copied bundle: compare bundles/mke_bundle_v4.1.5_amd64.tar.gz with its source, and copy it again; to download it, move it away and run `cargo xtask fetch`
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repacked_bundle_is_refused_with_the_name_of_the_archive() {
    let registry = TestRegistry::embedded().await;
    let sandbox = Sandbox::new(AIRLOCK);
    registry.describe(&sandbox, "");
    let members = bundles::unpack(&bundles::bytes(&bundles::tiny()));
    bundles::put_locked(&sandbox, &bundles::pack(&members));
    let lock = bundles::lock_of(&sandbox);
    let place = members
        .iter()
        .position(|member| member.path.contains("pause"))
        .unwrap();

    // An archive is missing, and the size of the bundle is the same.
    let mut without = members.clone();
    without[place].path = "bundles/images/padding.txt".to_owned();
    insta::assert_snapshot!(push_of(&sandbox, &bundles::pack(&without)).whole(), @"
    exit code: 4
    --- stdout
    --- stderr
       verify bundles/mke_bundle_v4.1.5_amd64.tar.gz
         push 3 artifacts to 127.0.0.1:[PORT]/mke/four
    error: `bundles/mke_bundle_v4.1.5_amd64.tar.gz` is refused
      because: the bundle lacks `bundles/images/pause@3.10.tar`, which the lock lists
    hint: trust the lock bundles/v4.1.5-amd64.lock.yaml, which was reviewed and committed, not the copied bundle: compare bundles/mke_bundle_v4.1.5_amd64.tar.gz with its source, and copy it again; to download it, move it away and run `cargo xtask fetch`
    ");

    // An archive has different content of the same size.
    let mut other = bundles::tiny();
    other.artifacts[1] = bundles::image(
        "pause",
        "3.10",
        &["linux/amd64"],
        &[("base", 900), ("esuap", 700)],
    );
    let other = bundles::pack(&bundles::unpack(&bundles::bytes(&other)));
    insta::assert_snapshot!(push_of(&sandbox, &other).whole(), @"
    exit code: 4
    --- stdout
    --- stderr
       verify bundles/mke_bundle_v4.1.5_amd64.tar.gz
         push 3 artifacts to 127.0.0.1:[PORT]/mke/four
    error: `bundles/mke_bundle_v4.1.5_amd64.tar.gz` is refused
      because: `bundles/images/pause@3.10.tar` contains `sha256:394d92f94b7b7bb4c4af3d8e03d25448dc382990acf083c702b0bac7bae6155b`, but the lock records `sha256:3ec34db4bc5a9858aa383238dc0cd38e1a0fa7728bc3b694a8f390b11ebe2903`
    hint: trust the lock bundles/v4.1.5-amd64.lock.yaml, which was reviewed and committed, not the copied bundle: compare bundles/mke_bundle_v4.1.5_amd64.tar.gz with its source, and copy it again; to download it, move it away and run `cargo xtask fetch`
    ");

    // The archives are the same, but in a different order.
    let mut turned = members.clone();
    turned.swap(place, place - 1);
    insta::assert_snapshot!(push_of(&sandbox, &bundles::pack(&turned)).whole(), @"
    exit code: 4
    --- stdout
    --- stderr
       verify bundles/mke_bundle_v4.1.5_amd64.tar.gz
         push 3 artifacts to 127.0.0.1:[PORT]/mke/four
    error: `bundles/mke_bundle_v4.1.5_amd64.tar.gz` is refused
      because: the bundle has SHA-256 3978f790da32c911e6c78036cad22e8d9ed0152de94a284db91c263e1f61f6c5, but the lock records b280279e71110f49d19a90a69d988deed84005d79e5e23ee7b37b51458d84e5e
    hint: trust the lock bundles/v4.1.5-amd64.lock.yaml, which was reviewed and committed, not the copied bundle: compare bundles/mke_bundle_v4.1.5_amd64.tar.gz with its source, and copy it again; to download it, move it away and run `cargo xtask fetch`
    ");

    // The bundle has one more archive, and the lock records the new size.
    let mut more = members.clone();
    more.push(Member::new(
        "bundles/images/extra@v1.tar",
        members[place].bytes.clone(),
    ));
    let more = bundles::pack(&more);
    let text = sandbox.read(bundles::LOCK);
    sandbox.write(
        bundles::LOCK,
        &text.replace(
            &format!("size: {}\n", lock.bundle.size),
            &format!("size: {}\n", more.len()),
        ),
    );
    insta::assert_snapshot!(push_of(&sandbox, &more).whole(), @"
    exit code: 4
    --- stdout
    --- stderr
       verify bundles/mke_bundle_v4.1.5_amd64.tar.gz
         push 3 artifacts to 127.0.0.1:[PORT]/mke/four
    error: `bundles/mke_bundle_v4.1.5_amd64.tar.gz` is refused
      because: the bundle contains `bundles/images/extra@v1.tar`, which the lock does not list
    hint: trust the lock bundles/v4.1.5-amd64.lock.yaml, which was reviewed and committed, not the copied bundle: compare bundles/mke_bundle_v4.1.5_amd64.tar.gz with its source, and copy it again; to download it, move it away and run `cargo xtask fetch`
    ");
    sandbox.write(bundles::LOCK, &text);
    assert_nothing_tagged(&registry, &lock).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_writes_outside_of_bundles_and_the_environments_folder() {
    let registry = TestRegistry::embedded().await;
    let sandbox = Sandbox::new(AIRLOCK);
    registry.describe(&sandbox, "");
    let bundle = sandbox.path("carried.tar.gz");
    bundles::make(&bundles::tiny(), &bundle);
    let elsewhere = |sandbox: &Sandbox| -> BTreeSet<String> {
        let kept = [sandbox.path("bundles"), sandbox.path("environments/lab")];
        files_below(sandbox.path("").parent().unwrap())
            .into_iter()
            .filter(|file| !kept.iter().any(|folder| file.starts_with(folder.as_str())))
            .collect()
    };
    let before = elsewhere(&sandbox);
    let temporary = sandbox.bin().parent().unwrap().join("temporary");
    std::fs::create_dir(&temporary).unwrap();
    for arguments in [
        &["lock", "v4.1.5", "--bundle", bundle.as_str()][..],
        &["fetch", "v4.1.5"],
        &["push", "lab"],
        &["verify", "lab"],
    ] {
        let status = sandbox
            .command(arguments)
            .env("TMPDIR", &temporary)
            .output()
            .unwrap()
            .status;
        assert_eq!(status.code(), Some(0), "{arguments:?}");
        if arguments[0] == "lock" {
            bundles::forget_mkectl(&sandbox);
        }
    }
    assert_eq!(elsewhere(&sandbox), before);
    assert_eq!(files_below(&temporary), BTreeSet::new());
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
async fn memory_does_not_depend_on_the_size_of_a_bundle() {
    const ARCHIVES: usize = 12;
    const LAYER: usize = 26_000_000;
    /// Much less than the bundle, and more than the program needs without a bundle.
    const MOST: u64 = 200_000_000;
    let registry = TestRegistry::plain().await;
    let sandbox = Sandbox::new(AIRLOCK);
    registry.describe(&sandbox, "");
    let recipe = bundles::of(
        (0..ARCHIVES)
            .map(|number| {
                let name = format!("large-{number}");
                bundles::image(&name, "v1", &["linux/amd64"], &[(&name, LAYER)])
            })
            .collect(),
    );
    let file = sandbox.path(&format!("bundles/{FILE}"));
    bundles::make(&recipe, &file);
    assert!(std::fs::metadata(&file).unwrap().len() > 300_000_000);
    let (code, bytes) = memory_of(&sandbox, &["lock", "v4.1.5", "--bundle", file.as_str()]);
    assert_eq!(code, Some(0));
    assert!((1..MOST).contains(&bytes), "lock takes {bytes} bytes");
    // Inside, one process reads the bundle and pushes.
    bundles::forget_store(&sandbox);
    let (code, bytes) = memory_of(&sandbox, "push lab");
    assert_eq!(code, Some(0));
    assert!((1..MOST).contains(&bytes), "push takes {bytes} bytes");
    assert_pushed(&registry, &bundles::lock_of(&sandbox)).await;
}

/// Compares a push with the push of a program of other authors, from the same archives.
#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
#[cfg_attr(without_skopeo, ignore = "skopeo is not on PATH")]
async fn a_push_and_skopeo_make_the_same_manifests() {
    let registry = TestRegistry::plain().await;
    let sandbox = Sandbox::new(AIRLOCK);
    registry.describe(&sandbox, "");
    let mut members = bundles::unpack(&bundles::bytes(&bundles::small()));
    members.extend(archives_by_skopeo(&sandbox));
    bundles::put_locked(&sandbox, &bundles::pack(&members));
    sandbox.run("push lab").success();

    let lock = bundles::lock_of(&sandbox);
    let kinds: BTreeSet<String> = lock
        .artifacts
        .iter()
        .flat_map(|artifact| &artifact.manifests)
        .map(|manifest| manifest.media_type.to_string())
        .collect();
    assert_eq!(
        kinds.iter().map(String::as_str).collect::<Vec<_>>(),
        [
            "application/vnd.docker.distribution.manifest.v2+json",
            "application/vnd.oci.image.index.v1+json",
            "application/vnd.oci.image.manifest.v1+json",
        ]
    );
    assert_eq!(lock.artifacts.len(), 17);
    for artifact in &lock.artifacts {
        let name = artifact.reference();
        let archive = members
            .iter()
            .find(|member| member.path == artifact.archive)
            .unwrap();
        let ours = skopeo(
            &sandbox,
            &[
                "inspect",
                "--raw",
                "--tls-verify=false",
                &format!("docker://{}/mke/four/{name}", registry.address),
            ],
        );
        assert_eq!(
            ours,
            blob_of(&archive.bytes, artifact.digest.digest()),
            "{name}"
        );

        let file = sandbox.path("archive.tar");
        std::fs::write(&file, &archive.bytes).unwrap();
        let theirs = format!("docker://{}/skopeo/{name}", registry.address);
        let from = format!("oci-archive:{file}");
        if artifact
            .media_type
            .to_string()
            .starts_with("application/vnd.docker.")
        {
            // skopeo does not read such a manifest from an OCI archive. skopeo made this image in a
            // folder, so it is copied from there.
            let from = format!("dir:{}", sandbox.path("docker"));
            skopeo(
                &sandbox,
                &[
                    "copy",
                    "--preserve-digests",
                    "--dest-tls-verify=false",
                    &from,
                    &theirs,
                ],
            );
        } else {
            skopeo(
                &sandbox,
                &[
                    "copy",
                    "--multi-arch",
                    "all",
                    "--preserve-digests",
                    "--dest-tls-verify=false",
                    &from,
                    &theirs,
                ],
            );
        }
        let theirs = skopeo(
            &sandbox,
            &["inspect", "--raw", "--tls-verify=false", &theirs],
        );
        assert_eq!(ours, theirs, "{name}");
        // skopeo can pull the pushed artifact with its blobs.
        let out = sandbox.path("out");
        let _ = std::fs::remove_dir_all(&out);
        skopeo(
            &sandbox,
            &[
                "copy",
                "--multi-arch",
                "all",
                "--preserve-digests",
                "--src-tls-verify=false",
                &format!("docker://{}/mke/four/{name}", registry.address),
                &format!("dir:{out}"),
            ],
        );
    }
}

/// The blobs of a bundle, and its lock.
pub(crate) struct Content {
    _folder: tempfile::TempDir,
    lock: Lock,
    pub(crate) store: Stored,
}

/// A store as a source of blobs.
pub(crate) struct Stored(Store);

/// A store that records which blobs are opened.
struct Counted<'a> {
    store: &'a Store,
    opened: Mutex<BTreeSet<String>>,
}

/// A store that lacks one blob.
struct Lacking<'a> {
    store: &'a Store,
    digest: &'a Digest,
}

impl Content {
    pub(crate) fn of(recipe: &bundle::make::Recipe) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap();
        let (lock, store) = bundles::ingest(recipe, &path.join("store"));
        Self {
            _folder: folder,
            lock,
            store: Stored(store),
        }
    }

    pub(crate) fn artifacts(&self) -> Vec<Artifact> {
        artifacts(&self.lock, "mke/four")
    }

    pub(crate) fn bytes(&self, digest: &Digest) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut file = self.store.0.open_blob(digest).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    async fn push_all(&self, client: &Registry) {
        for artifact in self.artifacts() {
            client.push(&artifact, &self.store, &()).await.unwrap();
        }
    }
}

impl BlobSource for Stored {
    fn open(&self, digest: &Digest) -> std::io::Result<std::fs::File> {
        self.0.open_blob(digest).map_err(std::io::Error::other)
    }
}

impl<'a> Counted<'a> {
    fn new(store: &'a Store) -> Self {
        Self {
            store,
            opened: Mutex::default(),
        }
    }

    fn opened(&self) -> BTreeSet<String> {
        self.opened.lock().unwrap().clone()
    }
}

impl BlobSource for Counted<'_> {
    fn open(&self, digest: &Digest) -> std::io::Result<std::fs::File> {
        self.opened.lock().unwrap().insert(digest.to_string());
        self.store.open_blob(digest).map_err(std::io::Error::other)
    }
}

impl BlobSource for Lacking<'_> {
    fn open(&self, digest: &Digest) -> std::io::Result<std::fs::File> {
        if digest == self.digest {
            return Err(std::io::ErrorKind::NotFound.into());
        }
        self.store.open_blob(digest).map_err(std::io::Error::other)
    }
}

/// Checks with a new client that every tag of a lock points to its digest.
async fn assert_pushed(registry: &TestRegistry, lock: &Lock) {
    let client = registry.client();
    for artifact in artifacts(lock, "mke/four") {
        let found = client
            .head_manifest(&artifact.repository, &artifact.tag)
            .await
            .unwrap()
            .unwrap_or_else(|| panic!("{} is missing", artifact.name()));
        assert_eq!(found.digest.as_ref(), Some(&root(&artifact).digest));
    }
}

/// Checks that a registry has none of a lock's tags.
async fn assert_nothing_tagged(registry: &TestRegistry, lock: &Lock) {
    let client = registry.client();
    for artifact in artifacts(lock, "mke/four") {
        let found = client
            .head_manifest(&artifact.repository, &artifact.tag)
            .await
            .unwrap();
        assert_eq!(found, None, "{}", artifact.name());
    }
}

/// Returns the artifacts of a lock as they are pushed to `project`.
pub(crate) fn artifacts(lock: &Lock, project: &str) -> Vec<Artifact> {
    let manifest = |manifest: &bundle::Manifest| Manifest {
        digest: manifest.digest.clone(),
        media_type: manifest.media_type.clone(),
        size: manifest.size,
        blobs: manifest
            .blobs
            .iter()
            .map(|blob| Blob {
                digest: blob.digest.clone(),
                size: blob.size,
            })
            .collect(),
    };
    lock.artifacts
        .iter()
        .map(|artifact| Artifact {
            repository: format!("{project}/{}", artifact.repository),
            tag: artifact.tag.clone(),
            manifests: artifact.manifests.iter().map(manifest).collect(),
        })
        .collect()
}

/// Returns the manifest that an artifact's tag points to.
pub(crate) fn root(artifact: &Artifact) -> &Manifest {
    artifact.manifests.last().unwrap()
}

/// Runs the command to its end, and returns its exit code and its peak memory, in bytes.
///
/// VmHWM only grows, so reading it repeatedly misses only the last moments. The figure of `wait4`
/// would include the memory of the process that started the command.
#[cfg(target_os = "linux")]
fn memory_of(sandbox: &Sandbox, arguments: impl Arguments) -> (Option<i32>, u64) {
    let mut child = sandbox
        .command(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    loop {
        // The line is missing as soon as the process has ended.
        let kilobytes = std::fs::read_to_string(&status).ok().and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        });
        most = kilobytes.map_or(most, |kilobytes| kilobytes * 1024);
        if let Some(ended) = child.try_wait().unwrap() {
            return (ended.code(), most);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Replaces the bundle by these bytes, empties the store, and pushes.
#[must_use]
fn push_of(sandbox: &Sandbox, bundle: &[u8]) -> Run {
    std::fs::write(sandbox.path(&format!("bundles/{FILE}")), bundle).unwrap();
    bundles::forget_store(sandbox);
    sandbox.run("push lab")
}

/// Returns the layers of an uncompressed bundle: the range of bytes of each, and its archive.
fn layers(bundle: &[u8], lock: &Lock) -> Vec<(std::ops::Range<usize>, String)> {
    let mut found = Vec::new();
    for member in bundles::unpack(bundle) {
        if !member.path.ends_with(".tar") {
            continue;
        }
        let layers: BTreeSet<&str> = lock
            .artifacts
            .iter()
            .filter(|artifact| artifact.archive == member.path)
            .flat_map(|artifact| &artifact.manifests)
            .flat_map(|manifest| manifest.blobs.iter().skip(1))
            .map(|blob| blob.digest.digest())
            .collect();
        for blob in bundles::untar(&member.bytes) {
            let name = blob.path.rsplit('/').next().unwrap();
            // Shared bytes are found several times. Bytes that cross a gzip block are not found.
            let mut places = (0..bundle.len() - blob.bytes.len())
                .filter(|&start| bundle[start..].starts_with(&blob.bytes));
            if let (true, Some(start), None) = (layers.contains(name), places.next(), places.next())
            {
                found.push((start..start + blob.bytes.len(), member.path.clone()));
            }
        }
    }
    found
}

fn files_below(folder: &Utf8Path) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for entry in folder.read_dir_utf8().unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files.extend(files_below(entry.path()));
        } else {
            files.insert(entry.path().to_string());
        }
    }
    files
}

/// Returns archives that skopeo wrote: an image for one platform, one for two, and one in Docker's
/// format.
fn archives_by_skopeo(sandbox: &Sandbox) -> Vec<Member> {
    let members = bundles::unpack(&bundles::bytes(&bundles::tiny()));
    let layout = |part: &str| {
        let archive = members
            .iter()
            .find(|member| member.path.contains(part))
            .unwrap();
        let folder = sandbox.path(&format!("layouts/{part}"));
        for file in bundles::untar(&archive.bytes) {
            let path = folder.join(file.path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file.bytes).unwrap();
        }
        folder
    };
    let archive = |part: &str| {
        let file = sandbox.path(&format!("{part}.tar"));
        let to = format!("oci-archive:{file}");
        let from = format!("oci:{}", layout(part));
        skopeo(
            sandbox,
            &[
                "copy",
                "--multi-arch",
                "all",
                "--preserve-digests",
                &from,
                &to,
            ],
        );
        std::fs::read(&file).unwrap()
    };
    // skopeo converts the image to Docker's format. The files are packed as an OCI layout.
    let docker = sandbox.path("docker");
    let from = format!("oci:{}", layout("pause"));
    skopeo(
        sandbox,
        &["copy", "--format", "v2s2", &from, &format!("dir:{docker}")],
    );
    let manifest = std::fs::read(docker.join("manifest.json")).unwrap();
    let digest = hex::encode(sha2::Sha256::digest(&manifest));
    let index = serde_json::json!({
        "schemaVersion": 2,
        "manifests": [{
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "digest": format!("sha256:{digest}"),
            "size": manifest.len(),
        }],
    });
    let mut layout = vec![
        Member::new("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#),
        Member::new("index.json", index.to_string()),
        Member::new(&format!("blobs/sha256/{digest}"), manifest),
    ];
    for entry in docker.read_dir_utf8().unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().len() == 64 {
            let path = format!("blobs/sha256/{}", entry.file_name());
            layout.push(Member::new(&path, std::fs::read(entry.path()).unwrap()));
        }
    }
    vec![
        Member::new("bundles/images/skopeo&one@v1.tar", archive("pause")),
        Member::new("bundles/images/skopeo&two@v1.tar", archive("node")),
        Member::new("bundles/images/skopeo&docker@v1.tar", bundles::tar(&layout)),
    ]
}

/// Runs skopeo and returns its standard output.
fn skopeo(sandbox: &Sandbox, arguments: &[&str]) -> Vec<u8> {
    #[expect(clippy::disallowed_methods, reason = "another program is the referee")]
    let output = std::process::Command::new("skopeo")
        .arg("--insecure-policy")
        .args(arguments)
        .env("HOME", sandbox.home())
        .env_remove("XDG_RUNTIME_DIR")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "skopeo {arguments:?}: {stderr}");
    output.stdout
}

/// Returns a blob of an archive.
fn blob_of(archive: &[u8], hex: &str) -> Vec<u8> {
    bundles::untar(archive)
        .into_iter()
        .find(|member| member.path.ends_with(hex))
        .unwrap()
        .bytes
}

#[test]
fn an_end_in_the_past_is_refused() {
    let run = Sandbox::new(AIRLOCK).run("push lab --until 2020-01-01T00:00");
    run.exits_with(64)
        .reports("error: `--until 2020-01-01T00:00:00` is in the past\n");
}
