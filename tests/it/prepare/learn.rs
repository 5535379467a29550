//! Tests of `learn`: it records facts of a bundle and a mkectl, which `lock`, `push` and `render`
//! use.

use serde_json::{Value, json};
use support::bundles::{self, Member};
use support::{Lab, Sandbox};

use crate::{AIRLOCK, FAKE_MKECTL};

const FACTS: &str = "environments/facts/v4.1.5.yaml";
const FILE: &str = "odd.tar.gz";

/// Returns a bundle that differs from the vendor's documentation: a nested top folder, Docker's
/// media types, two archives whose index lists two roots, and three file names that do not contain
/// repository and tag.
fn odd_bundle() -> Vec<u8> {
    let recipe = bundles::of(vec![
        bundles::image(
            "calico/node",
            "v3.30.2",
            &["linux/amd64", "linux/arm64"],
            &[("base", 900), ("node", 1_500)],
        ),
        bundles::pause("3.10"),
        bundles::pause("3.9"),
        bundles::dex(),
        bundles::image("library/nginx", "1.29", &["linux/amd64"], &[("nginx", 800)]),
    ]);
    let mut files = bundles::unpack(&bundles::bytes(&recipe));
    for file in &mut files {
        file.path = format!("mke-v4.1.5/{}", file.path);
        let mut members = bundles::untar(&file.bytes);
        if file.path.contains("pause") {
            let tag = if file.path.contains("3.10") {
                "3.10"
            } else {
                "3.9"
            };
            add_root(&mut members, tag);
        }
        if file.path.contains("nginx") {
            members = with_docker_types(&members);
            name_root(&mut members, "registry.mirantis.com/library/nginx:1.29");
            file.path = "mke-v4.1.5/bundles/images/nginx-image.tar".to_owned();
        }
        if file.path.contains("dex") {
            file.path = "mke-v4.1.5/bundles/charts/dex_0.23.0.tar".to_owned();
        }
        file.bytes = bundles::tar(&members);
    }
    let tools = bundles::tar(&[Member::new("manifest.json", "[]")]);
    files.push(Member::new(
        "mke-v4.1.5/bundles/images/skopeo_v1.17.0.tar",
        tools,
    ));
    bundles::pack(&files)
}

fn index(members: &mut [Member]) -> &mut Member {
    let mut members = members.iter_mut();
    members
        .find(|member| member.path == "index.json")
        .expect("an index.json")
}

fn edit_index(members: &mut [Member], edit: impl Fn(&mut Vec<Value>)) {
    let file = index(members);
    let mut document: Value = serde_json::from_slice(&file.bytes).unwrap();
    edit(document["manifests"].as_array_mut().unwrap());
    file.bytes = document.to_string().into_bytes();
}

fn name_root(members: &mut [Member], name: &str) {
    edit_index(members, |roots| {
        roots[0]["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
    });
}

/// Adds a second root, the same image with one more annotation, and gives the first one the tag as
/// its name.
fn add_root(members: &mut Vec<Member>, tag: &str) {
    let file = index(members);
    let document: Value = serde_json::from_slice(&file.bytes).unwrap();
    let first = document["manifests"][0].clone();
    let digest = first["digest"].as_str().unwrap().replace(':', "/");
    let manifest = members
        .iter()
        .find(|member| member.path.ends_with(&digest))
        .unwrap();
    let mut manifest: Value = serde_json::from_slice(&manifest.bytes).unwrap();
    manifest["annotations"] = json!({ "made-by": "a second build" });
    let bytes = manifest.to_string().into_bytes();
    let digest = bundles::sha256(&bytes);
    let size = bytes.len();
    members.push(Member::new(&format!("blobs/sha256/{digest}"), bytes));
    edit_index(members, |roots| {
        roots[0]["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        let mut second = roots[0].clone();
        second["digest"] = json!(format!("sha256:{digest}"));
        second["size"] = json!(size);
        second["annotations"] = json!({ "org.opencontainers.image.ref.name": "other" });
        roots.push(second);
    });
}

/// Returns an archive of one manifest with the media types of Docker instead of OCI.
fn with_docker_types(members: &[Member]) -> Vec<Member> {
    const TYPES: [(&str, &str); 3] = [
        (
            "application/vnd.oci.image.manifest.v1+json",
            "application/vnd.docker.distribution.manifest.v2+json",
        ),
        (
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.docker.container.image.v1+json",
        ),
        (
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ),
    ];
    let docker = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let text = TYPES
            .iter()
            .fold(text, |text, (oci, docker)| text.replace(oci, docker));
        text.into_bytes()
    };
    let document = members.iter().find(|it| it.path == "index.json").unwrap();
    let document: Value = serde_json::from_slice(&document.bytes).unwrap();
    let old = document["manifests"][0]["digest"].as_str().unwrap();
    let old = old.trim_start_matches("sha256:").to_owned();
    let manifest = members.iter().find(|it| it.path.ends_with(&old)).unwrap();
    let manifest = docker(&manifest.bytes);
    let new = bundles::sha256(&manifest);
    let size = manifest.len();
    let mut changed: Vec<Member> = members.to_vec();
    for member in &mut changed {
        if member.path.ends_with(&old) {
            *member = Member::new(&format!("blobs/sha256/{new}"), manifest.clone());
        }
    }
    edit_index(&mut changed, |roots| {
        roots[0]["digest"] = json!(format!("sha256:{new}"));
        roots[0]["size"] = json!(size);
        roots[0]["mediaType"] = json!(TYPES[0].1);
    });
    changed
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_of_a_bundle_are_recorded_and_used_by_lock_and_push() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let sandbox = &lab.sandbox;
    sandbox.remove(bundles::LOCK);
    sandbox.remove(&format!("bundles/{}", bundles::FILE));
    bundles::forget_store(sandbox);
    std::fs::write(sandbox.path(FILE), odd_bundle()).unwrap();
    let checksum = format!("{}  {FILE}\n", "0f".repeat(32));
    std::fs::write(sandbox.path("checksum.txt"), checksum).unwrap();

    // Without recorded facts the bundle is refused, and the hint names `learn`.
    let refused = lab.run(&["lock", "v4.1.5", "--bundle", FILE]).exits_with(4);
    refused.reports("cargo xtask learn");

    let learn = format!("learn v4.1.5 --bundle {FILE} --checksum checksum.txt");
    let run = lab.run(&learn).success();
    insta::assert_snapshot!("learn", run.stdout);
    let facts = sandbox.read(FACTS);
    let observed = facts.split("\nmkectl:").next().unwrap();
    insta::assert_snapshot!("facts", observed);
    insta::assert_snapshot!(
        "table",
        observed_facts(&lab.run("releases v4.1.5").success().stdout)
    );
    for private in [sandbox.path("").as_str(), sandbox.home().as_str()] {
        assert!(
            !facts.contains(private) && !run.stdout.contains(private),
            "{private}"
        );
    }
    let again = lab.run(&learn).success();
    assert!(
        again.stdout.starts_with("unchanged:") && sandbox.read(FACTS) == facts,
        "{}",
        again.stdout
    );

    lab.run(&["lock", "v4.1.5", "--bundle", FILE]).success();
    let lock = bundles::lock_of(sandbox);
    let mut references: Vec<String> = lock
        .artifacts
        .iter()
        .map(bundle::Artifact::reference)
        .collect();
    references.sort();
    assert_eq!(
        references,
        [
            "calico/node:v3.30.2",
            "charts/dex:0.23.0",
            "library/nginx:1.29",
            "pause:3.10",
            "pause:3.9"
        ]
    );
    assert_eq!(
        lock.skipped[0].archive,
        "mke-v4.1.5/bundles/images/skopeo_v1.17.0.tar"
    );

    lab.run("push lab").success();
    let client = lab.registry.client();
    for artifact in &lock.artifacts {
        let repository = format!("mke/{}", artifact.repository);
        let found = client.head_manifest(&repository, &artifact.tag).await;
        assert_eq!(
            found.unwrap().unwrap().digest,
            Some(artifact.digest.clone()),
            "{repository}"
        );
    }
}

/// Returns the observed facts in the output of `releases`.
fn observed_facts(text: &str) -> String {
    let facts = text.split("\n\n").filter(|fact| fact.contains(" observed"));
    facts.collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn render_uses_the_recorded_flags_for_pull_credentials() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.edit_environment("release: v4.1.5", "release: v4.2.1");
    lab.edit_environment(
        "config:\n",
        "config:\n  registries:\n    imageRegistry: { credentialsSecretName: pull }\n",
    );
    let warning = "is expected to pull without credentials only";
    let before = lab.run("render lab");
    let mut sandbox = lab.sandbox;
    let _ = sandbox.variable("FAKE_MKECTL_VERSION", "v4.2.1");
    let run = sandbox.run("learn v4.2.1").success();
    run.prints("mkectl: Version: v4.2.1");
    let facts = sandbox.read("environments/facts/v4.2.1.yaml");
    assert!(
        facts.contains("--chart-registry-username") && !facts.contains(sandbox.home().as_str()),
        "{facts}"
    );
    let releases = sandbox.run("releases v4.2.1").success();
    releases.prints("observed");
    before.does_not_report(warning);
    // Without the flag in the recorded facts, the warning appears.
    let without = facts.replace("--chart-registry-username", "--other");
    sandbox.write("environments/facts/v4.2.1.yaml", &without);
    let after = sandbox.run("render lab").success();
    after.reports(warning);
}

#[test]
fn a_decision_in_the_file_is_kept_and_its_absence_refused() {
    let sandbox = Sandbox::new(AIRLOCK);
    let mut files = bundles::unpack(&bundles::bytes(&bundles::tiny()));
    for file in &mut files {
        if file.path.contains("pause") {
            file.path = "bundles/images/PAUSE.tar".to_owned();
        }
    }
    std::fs::write(sandbox.path(FILE), bundles::pack(&files)).unwrap();
    let learn = ["learn", "v4.1.5", "--bundle", FILE];
    let run = sandbox.run(&learn).success();
    run.prints("decide before `lock`");
    let lock = ["lock", "v4.1.5", "--bundle", FILE];
    let refused = sandbox.run(&lock).exits_with(3);
    refused.reports(FACTS).reports("reference");
    let decided = sandbox.read(FACTS).replace(
        "problem: the file name does not give repository and tag\n",
        "problem: the file name does not give repository and tag\n      reference: pause:3.10\n",
    );
    sandbox.write(FACTS, &decided);
    sandbox.run(&learn).success();
    assert_eq!(sandbox.read(FACTS), decided);
    sandbox.run(&lock).success();
    let lock = bundles::lock_of(&sandbox);
    assert!(
        lock.artifacts
            .iter()
            .any(|it| it.reference() == "pause:3.10")
    );
}

#[test]
fn lock_warns_of_facts_that_differ_from_the_table() {
    let sandbox = Sandbox::new(AIRLOCK);
    let recipe = bundle::make::Recipe {
        directory: "mke/bundles".to_owned(),
        ..bundles::tiny()
    };
    std::fs::write(sandbox.path(FILE), bundles::bytes(&recipe)).unwrap();
    let run = sandbox.run(&["lock", "v4.1.5", "--bundle", FILE]).success();
    run.reports("v4.1.5: top folder: expected bundles (documented), observed mke/bundles; `cargo xtask learn v4.1.5` records it");
    sandbox
        .run(&["learn", "v4.1.5", "--bundle", FILE])
        .success();
    let after = sandbox.run(&["lock", "v4.1.5", "--bundle", FILE]).success();
    after.does_not_report("top folder");
}

#[test]
fn missing_inputs_and_facts_of_a_different_release_are_errors() {
    let sandbox = Sandbox::new(AIRLOCK);
    insta::assert_snapshot!(sandbox.run("learn v4.1.5").whole(), @r"
    exit code: 3
    --- stdout
    --- stderr
    error: no bundle and no mkectl of v4.1.5 found: looked for bundles/mke_bundle_v4.1.5_amd64.tar.gz and for mkectl
    hint: name them: `cargo xtask learn v4.1.5 --bundle FILE --mkectl FILE`; one of the two is enough
    ");
    sandbox.write(FACTS, "release: v4.1.4\n");
    insta::assert_snapshot!(sandbox.run("releases v4.1.5").whole(), @r"
    exit code: 3
    --- stdout
    --- stderr
    error: `environments/facts/v4.1.5.yaml` cannot be used
      because: it is about v4.1.4, not about v4.1.5
    hint: edit environments/facts/v4.1.5.yaml, or delete it and run `cargo xtask learn` again
    ");
}

/// Returns a bundle in which the archive of pause lacks a layer.
fn damaged_bundle() -> Vec<u8> {
    let mut files = bundles::unpack(&bundles::bytes(&bundles::tiny()));
    for file in files.iter_mut().filter(|file| file.path.contains("pause")) {
        let mut members = bundles::untar(&file.bytes);
        let place = members
            .iter()
            .position(|member| member.path.starts_with("blobs/"));
        members.remove(place.unwrap());
        file.bytes = bundles::tar(&members);
    }
    bundles::pack(&files)
}

#[test]
fn a_damaged_archive_of_the_release_is_not_skipped_without_a_decision() {
    let sandbox = Sandbox::new(AIRLOCK);
    std::fs::write(sandbox.path(FILE), damaged_bundle()).unwrap();
    sandbox
        .run(&["learn", "v4.1.5", "--bundle", FILE])
        .success()
        .prints("decide before `lock`");
    sandbox
        .run(&["lock", "v4.1.5", "--bundle", FILE])
        .exits_with(3);
}

#[test]
fn a_bundle_of_a_different_release_or_without_archives_is_not_recorded() {
    let sandbox = Sandbox::new(AIRLOCK);
    bundles::make(&bundles::small(), &sandbox.path(FILE));
    let learn = ["learn", "v4.2.0", "--bundle", FILE];
    let run = sandbox.run(&learn).exits_with(4);
    run.reports("this bundle is not v4.2.0");
    assert!(!sandbox.path("environments/facts").exists());
    let forced = ["learn", "v4.2.0", "--bundle", FILE, "--force-release"];
    sandbox.run(&forced).success();
    std::fs::write(
        sandbox.path(FILE),
        bundles::pack(&[Member::new("readme", "x")]),
    )
    .unwrap();
    sandbox
        .run(&["learn", "v4.1.5", "--bundle", FILE])
        .exits_with(4)
        .reports("no archive");
}

#[test]
fn facts_are_not_written_through_a_link() {
    let sandbox = Sandbox::new(AIRLOCK);
    bundles::make(&bundles::tiny(), &sandbox.path(FILE));
    std::fs::create_dir_all(sandbox.home().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(
        sandbox.home().join("elsewhere"),
        sandbox.path("environments/facts"),
    )
    .unwrap();
    let run = sandbox.run(&["learn", "v4.1.5", "--bundle", FILE]);
    assert_ne!(run.code, Some(0), "{}", run.whole());
    let written = std::fs::read_dir(sandbox.home().join("elsewhere")).unwrap();
    assert_eq!(written.count(), 0);
}

#[test]
fn a_repacked_bundle_is_refused_and_nothing_is_recorded() {
    let sandbox = Sandbox::new(AIRLOCK);
    let whole = bundles::unpack(&bundles::bytes(&bundles::tiny()));
    for (name, reason) in [
        ("x&y@1.0.tar", "it is empty; the bundle was damaged"),
        (
            "._x&y@1.0.tar",
            "it is an AppleDouble file; the bundle was repacked on macOS",
        ),
    ] {
        let mut files = whole.clone();
        files.push(Member::new(&format!("bundles/images/{name}"), ""));
        std::fs::write(sandbox.path(FILE), bundles::pack(&files)).unwrap();
        for command in ["lock", "learn"] {
            let run = sandbox.run(&[command, "v4.1.5", "--bundle", FILE]);
            let run = run.exits_with(4);
            run.reports(&format!(
                "because: the archive `bundles/images/{name}` cannot be used"
            ));
            run.reports(&format!("because: {reason}"));
            run.reports("check that odd.tar.gz is the complete and unchanged bundle of the vendor");
        }
        assert!(!sandbox.path("environments/facts").exists());
    }
}
