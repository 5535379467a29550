//! Edited locks, wrong files and hostile upstream registries: the message names them, and nothing
//! is locked or fetched from them.

use std::time::{Duration, Instant};

use axum::response::Response;
use bundle::Artifact;
use support::bundles::sha256;
use support::server::{Asked, beginning_of};
use support::{Lab, TlsProxy, Web, web};

use super::*;
use crate::FAKE_MKECTL;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Returns a digest of something.
fn some(digit: &str) -> String {
    format!("sha256:{}", digit.repeat(64))
}

/// Returns a text with redacted ports, as a [`Run`](support::Run) has it.
fn shown(text: &str) -> String {
    let port = regex_lite::Regex::new(r"127\.0\.0\.1:\d+").unwrap();
    port.replace_all(text, "127.0.0.1:[PORT]").into_owned()
}

/// Takes the content of another artifact.
fn take(artifact: &mut Artifact, other: &Artifact) {
    artifact.digest = other.digest.clone();
    artifact.media_type = other.media_type.clone();
    artifact.size = other.size;
    artifact.manifests = other.manifests.clone();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_whose_origins_were_edited_is_named_and_locked_again() {
    let (upstream, web) = (Upstream::start().await, Web::start().await);
    let address = &upstream.address;
    upstream.image("a/other", "1", &["linux/amd64"], 300, "other");
    let pinned = upstream.image("a/app", "1", &["linux/amd64"], 300, "app");
    let signature = upstream.signature("a/app", &pinned, "cosign");
    let tag = pinned.replace(':', "-");
    upstream.tag(
        "a/app",
        &format!("{tag}.sig"),
        &signature[signature.find("sha256:").unwrap()..][..71],
    );
    upstream.chart("charts/oci", "1.0.0");
    let packed = web::chart("app", "apiVersion: v2\nname: app\nversion: 1.0.0\n", 10);
    web.put(
        "/stable/index.yaml",
        web::index("app", "1.0.0", "app.tgz", &packed),
    );
    web.put("/stable/app.tgz", packed.clone());
    web.put("/stable/copy.tgz", packed);
    web.put("/tools/one", "one");
    let sandbox = Sandbox::new(AIRLOCK);
    let sum = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";
    sandbox.write(
        "bundles/platform.set.yaml",
        &format!(
            "images:\n- {address}/a/other:1\n- {{ reference: '{address}/a/app@{pinned}', as: 'app:1', aliases: [alias], signatures: true }}\n\
             charts:\n- {address}/charts/oci:1.0.0\n- {{ repository: 'http://{0}/stable', name: app, version: 1.0.0 }}\n\
             files:\n- {{ url: 'http://{0}/tools/one', sha256: {sum} }}\n",
            web.address
        ),
    );
    sandbox.run("lock platform").success();
    let good = sandbox.read("bundles/platform.lock.yaml");
    let path = sandbox.path("bundles/platform.lock.yaml");
    let lock = Lock::read(&path).unwrap();
    let elsewhere = format!("http://{}/elsewhere", web.address);
    let one = |place: &str| {
        lock.artifacts
            .iter()
            .find(|one| one.reference().starts_with(place))
            .unwrap()
    };
    let edited = |place: &str, change: &dyn Fn(&mut Artifact)| {
        let mut lock = lock.clone();
        let one = lock
            .artifacts
            .iter_mut()
            .find(|one| one.reference().starts_with(place));
        change(one.unwrap());
        std::fs::write(&path, lock.to_yaml()).unwrap();
    };
    type Change<'a> = &'a dyn Fn(&mut Artifact);
    let url: Change<'_> = &|one| one.source.as_mut().unwrap().url = Some(elsewhere.clone());
    let changes: [(&str, Change<'_>, String); 6] = [
        (
            "tools/one:",
            url,
            format!("/tools/one@sha256:{sum} is locked from a different origin"),
        ),
        (
            "charts/oci:",
            url,
            format!("{address}/charts/oci:1.0.0 is locked from a different origin"),
        ),
        (
            "app:1",
            &|artifact| take(artifact, one("a/other:")),
            format!("a/app@{pinned} is locked from"),
        ),
        (
            "alias:",
            &|artifact| take(artifact, one("a/other:")),
            format!("a/app@{pinned} is locked from"),
        ),
        (
            &format!("app:{tag}"),
            &|one| one.source.as_mut().unwrap().reference = format!("{address}/a/other:{tag}.sig"),
            format!("the entry of {address}/a/app@{pinned} was changed"),
        ),
        (
            &format!("app:{tag}"),
            &|one| one.source.as_mut().unwrap().url = Some(elsewhere.clone()),
            format!("the entry of {address}/a/app@{pinned} was changed"),
        ),
    ];
    for (place, change, expected) in changes {
        edited(place, change);
        let run = sandbox.run("lock platform --check").exits_with(2);
        assert!(
            run.stdout.contains(&shown(&expected)),
            "{expected}: {}",
            run.whole()
        );
        let run = sandbox.run("fetch platform").exits_with(3);
        assert!(
            run.stderr.contains(&shown(&expected)),
            "{expected}: {}",
            run.stderr
        );
        sandbox.run("lock platform").success();
        let what = format!("{place} {expected}");
        assert_eq!(sandbox.read("bundles/platform.lock.yaml"), good, "{what}");
    }
    // A manifest that no index names would be pushed, too.
    let more = one("a/other:").manifests[0].clone();
    let changes: [Change<'_>; 4] = [
        &|one| one.manifests.insert(0, more.clone()),
        &|one| one.kind = bundle::Kind::Artifact,
        &|one| one.manifests[0].platform = Some("linux/arm64".to_owned()),
        &|one| one.manifests[0].platform = None,
    ];
    for change in changes {
        edited("app:1", change);
        for command in [&["lock", "platform", "--check"][..], &["fetch", "platform"]] {
            let run = sandbox.run(command).exits_with(4);
            let expected = format!("does not list what manifest {pinned} of app:1 contains");
            run.reports(&expected);
        }
    }
    std::fs::write(&path, &good).unwrap();
    // The index of a repository lists the URL.
    let copy = format!("http://{}/stable/copy.tgz", web.address);
    edited("stable/app:", &|one| {
        one.source.as_mut().unwrap().url = Some(copy.clone())
    });
    let run = sandbox.run("lock platform --check").exits_with(2);
    let expected = format!(
        "was {copy} when it was locked and is http://{}/stable/app.tgz now",
        web.address
    );
    run.prints(&shown(&expected));
    let run = sandbox.run("lock platform").success();
    run.mentions(&shown(&expected));
    sandbox.run("lock platform --replace").success();
    assert_eq!(sandbox.read("bundles/platform.lock.yaml"), good);
    sandbox.run("lock platform --check").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_that_cannot_be_are_named_with_what_served_them() {
    let upstream = Upstream::start().await;
    let sandbox = Sandbox::new(AIRLOCK);
    sandbox.write(
        "bundles/platform.set.yaml",
        &format!(
            "images:\n- app:1\nregistries:\n  docker.io: {{ mirror: '{}' }}\n",
            upstream.address
        ),
    );
    let blob = |digit: &str, size: &str| {
        format!(
            r#"{{"mediaType":"a/b","digest":"{}","size":{size}}}"#,
            some(digit)
        )
    };
    let image = |layers: &[String]| {
        let config = blob("0", "7").replace("a/b", "application/vnd.example+json");
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":[{}]}}"#,
            layers.join(",")
        )
    };
    let index = |size: &str| {
        let child = blob("1", size).replace("a/b", MANIFEST);
        format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{child}]}}"#)
    };
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let petabyte = (1_u64 << 50).to_string();
    for (body, expected) in [
        (image(&[blob("1", "-1")]), "expected u64"),
        (image(&[blob("1", "1e3")]), "expected u64"),
        (image(&[blob("1", "18446744073709551616")]), "expected u64"),
        (
            image(&[blob("1", "18446744073709551615")]),
            "the limit is 1 PiB",
        ),
        (
            image(&[blob("1", "9000000000000000000")]),
            "the limit is 1 PiB",
        ),
        (image(&[blob("1", "0")]), "0 bytes have a different digest"),
        (
            image(&[blob("1", "5").replace(&"1".repeat(64), empty)]),
            "the digest of 0 bytes",
        ),
        (
            image(&[blob("1", "5"), blob("1", "6")]),
            "elsewhere in it the size is different",
        ),
        (
            image(&[blob("1", &petabyte), blob("2", &petabyte)]),
            "its blobs have more than 1 PiB",
        ),
        (
            index("9000000000000000000"),
            "a manifest of it is larger than 4 MiB",
        ),
    ] {
        upstream.instead(move |asked| {
            let is_it = asked.path.ends_with("/manifests/1");
            let media_type = if body.contains("\"manifests\"") {
                INDEX
            } else {
                MANIFEST
            };
            is_it.then(|| ([("content-type", media_type)], body.clone()).into_response())
        });
        let run = sandbox.run("lock platform").exits_with(4);
        assert!(run.stderr.contains(expected), "{expected}: {}", run.stderr);
        let served = format!(
            "docker.io/library/app:1 from {} cannot be carried",
            upstream.address
        );
        assert!(
            run.stderr.contains(&shown(&served)),
            "{expected}: {}",
            run.stderr
        );
        assert!(!sandbox.path("bundles/platform.lock.yaml").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_wrong_about_its_manifests_is_named() {
    let upstream = Upstream::start().await;
    upstream.image("a/app", "1", &["linux/amd64"], 300, "app");
    let sandbox = Sandbox::new(AIRLOCK);
    let address = &upstream.address;
    let whole = format!("images:\n- {address}/a/app:1\n");
    let chosen =
        format!("images:\n- {{ reference: '{address}/a/app:1', platforms: [linux/amd64] }}\n");
    sandbox.write("bundles/platform.set.yaml", &whole);
    sandbox.run("lock platform").success();
    let path = sandbox.path("bundles/platform.lock.yaml");
    let lock = Lock::read(&path).unwrap();
    let child = &lock.artifacts[0].manifests[0];
    let index = |media_type: &str, size: u64| {
        let platform = r#""platform":{"os":"linux","architecture":"amd64"}"#;
        let child = format!(
            r#"{{"mediaType":"{media_type}","digest":"{}","size":{size},{platform}}}"#,
            child.digest
        );
        format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{child}]}}"#)
    };
    for (index, expected) in [
        (
            index(MANIFEST, child.size + 1),
            "an index names a wrong size",
        ),
        (
            index(MANIFEST, u64::MAX),
            "a manifest of it is larger than 4 MiB",
        ),
        (
            index(INDEX, child.size),
            "an index names a wrong media type",
        ),
        (
            index("text/plain", child.size),
            "an index names a wrong media type",
        ),
    ] {
        upstream.instead(move |asked| {
            let is_it = asked.path.ends_with("/manifests/1");
            is_it.then(|| ([("content-type", INDEX)], index.clone()).into_response())
        });
        for set in [&whole, &chosen] {
            sandbox.write("bundles/platform.set.yaml", set);
            std::fs::remove_file(&path).ok();
            let run = sandbox.run("lock platform").exits_with(4);
            assert!(run.stderr.contains(expected), "{expected}: {}", run.stderr);
            assert!(!path.exists());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_artifacts_that_disagree_about_a_size_are_both_named() {
    let upstream = Upstream::start().await;
    let sandbox = Sandbox::new(AIRLOCK);
    let address = &upstream.address;
    sandbox.write(
        "bundles/platform.set.yaml",
        &format!("images:\n- {address}/a/app:1\n- {address}/b/app:1\n"),
    );
    upstream.instead(|asked| {
        let size = if asked.path.contains("/a/app/") { 5 } else { 6 };
        let blob = |digit: &str, size: i32| {
            format!(
                r#"{{"mediaType":"application/vnd.example+json","digest":"{}","size":{size}}}"#,
                some(digit)
            )
        };
        let body = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{}]}}"#,
            blob("0", 7),
            blob("1", size)
        );
        Some(([("content-type", MANIFEST)], body).into_response())
    });
    let run = sandbox.run("lock platform").exits_with(4);
    let expected = format!(
        "{address}/a/app:1 and {address}/b/app:1 cannot be carried: they list one blob with different sizes"
    );
    run.reports(&shown(&expected));
    assert!(!sandbox.path("bundles/platform.lock.yaml").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_authority_is_named_with_the_key_of_the_set() {
    let place = Place::new().await;
    let authority = |year: i32| {
        let mut parameters = rcgen::CertificateParams::default();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        parameters.not_before = rcgen::date_time_ymd(year - 1, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().pem()
    };
    let set = place.sandbox.read("bundles/platform.set.yaml");
    let address = &place.upstream.address;
    place.sandbox.write(
        "bundles/platform.set.yaml",
        &format!("{set}  {address}: {{ ca: mirror-ca.pem }}\n"),
    );
    for (text, expected) in [
        (None, "bundles/mirror-ca.pem does not exist"),
        (
            Some(String::new()),
            "bundles/mirror-ca.pem contains no PEM certificate",
        ),
        (Some("not PEM\n".to_owned()), "contains no PEM certificate"),
        (
            Some("-----BEGIN PRIVATE KEY-----\n".to_owned()),
            "contains a private key",
        ),
        (
            Some(authority(2001)),
            "the certificate in bundles/mirror-ca.pem expired on Mon, 01 Jan 2001",
        ),
        (Some(authority(2999)), "is not valid before"),
    ] {
        if let Some(text) = text {
            place.sandbox.write("bundles/mirror-ca.pem", &text);
        }
        let run = place.sandbox.run("lock platform").exits_with(3);
        let key = format!("bundles/platform.set.yaml: `ca` of {address} in `registries`: ");
        assert!(
            run.stderr.contains(&shown(&key)),
            "{expected}: {}",
            run.stderr
        );
        assert!(run.stderr.contains(expected), "{expected}: {}", run.stderr);
        run.does_not_report("registry.ca");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_trusted_is_fixed_in_the_set() {
    let place = Place::new().await;
    let proxy = TlsProxy::start(&place.upstream.address, &["127.0.0.1"], |_| ()).await;
    let other = TlsProxy::start(&place.upstream.address, &["127.0.0.1"], |_| ()).await;
    let address = &proxy.address;
    place.sandbox.write(
        "bundles/platform.set.yaml",
        &format!("images: ['{address}/library/nginx:1.29']\nregistries: {{ '{address}': {{ ca: ca.pem }} }}\n"),
    );
    place.sandbox.write("bundles/ca.pem", &other.ca_pem);
    let run = place.sandbox.run("lock platform").exits_with(5);
    let hint = format!("in the set's file: `registries: {{ '{address}': {{ ca: FILE }} }}`");
    run.reports(&shown(&hint));
    run.does_not_report("registry.ca");
    place.sandbox.write("bundles/ca.pem", &proxy.ca_pem);
    place.sandbox.run("lock platform").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_refuses_a_ca_that_a_deploy_could_not_use() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let upstream = Upstream::start().await;
    upstream.image("library/nginx", "1.29", BOTH, 3000, "1");
    let proxy = TlsProxy::start(&upstream.address, &["127.0.0.1"], |_| ()).await;
    let address = &proxy.address;
    lab.write(
        "bundles/platform.set.yaml",
        &format!("images: ['{address}/library/nginx:1.29']\nregistries: {{ '{address}': {{ ca: ca.pem }} }}\n"),
    );
    lab.write("bundles/ca.pem", &proxy.ca_pem);
    lab.write_environment("sets: [platform]\n");
    lab.run("lock platform").success();
    support::bundles::forget_store(&lab.sandbox);
    lab.write("bundles/ca.pem", "of last year");
    for command in ["plan", "deploy"] {
        let run = lab.run(&[command, "lab"]).exits_with(3);
        let named = "bundles/platform.set.yaml: `ca` of ";
        run.reports(named);
    }
    assert_eq!(lab.repositories().await, Vec::<String>::new());
    lab.write("bundles/ca.pem", &proxy.ca_pem);
    lab.run("plan lab").success();
}

/// Runs a command until its standard error contains a text, and returns the elapsed time.
fn until(sandbox: &Sandbox, arguments: &[&str], expected: &str) -> Duration {
    use std::io::{BufRead as _, BufReader};
    let began = Instant::now();
    let mut command = sandbox.command(arguments);
    let mut run = command
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(run.stderr.take().unwrap()).lines();
    let found = lines
        .map_while(Result::ok)
        .any(|line| line.contains(expected));
    run.kill().unwrap();
    run.wait().unwrap();
    assert!(found, "{arguments:?} did not report: {expected}");
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_upstream_is_named_after_a_few_seconds() {
    let place = Place::new().await;
    type Silent = fn(&Asked) -> Option<Response>;
    let silent: Silent = |asked| {
        let body = bytes::Bytes::from_static(b"{}");
        asked
            .path
            .contains("/manifests/")
            .then(|| beginning_of(&body, 1))
    };
    place.upstream.instead(silent);
    let expected = format!(
        "registry {} has not answered for 3 s; still waiting",
        place.upstream.address
    );
    let took = until(&place.sandbox, &["lock", "platform"], &expected);
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_that_nodes_download_from_elsewhere_are_named_by_lock() {
    let place = Place::new().await;
    let digest = |bytes: &[u8]| format!("sha256:{}", sha256(bytes));
    let config = r#"{"architecture":"amd64","os":"windows"}"#;
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip","digest":"{}","size":7,"urls":["https://mcr.example.com/base"]}}]}}"#,
        digest(config.as_bytes()),
        config.len(),
        digest(b"windows"),
    );
    let named = digest(manifest.as_bytes());
    place.upstream.instead(move |asked| {
        let part = asked.path.strip_prefix("/v2/windows/app/")?;
        if part.starts_with("blobs/") {
            return Some(config.into_response());
        }
        let headers = [
            ("content-type", "application/vnd.oci.image.manifest.v1+json"),
            ("docker-content-digest", named.as_str()),
        ];
        Some((headers, manifest.clone()).into_response())
    });
    place.write(&format!("- {}/windows/app:1\n", place.upstream.address));
    let run = place.sandbox.run("lock platform").success();
    let warning = "warning: external layers are not pushed, and nodes download them from the URLs in the manifests: windows/app:1 (1)";
    run.reports(warning);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_refuses_connections_is_named_with_the_reason() {
    let sandbox = Sandbox::new(AIRLOCK);
    sandbox.write(
        "bundles/platform.set.yaml",
        "images: ['127.0.0.1:1/a/b:1']\n",
    );
    let expected = "registry 127.0.0.1:1: connection refused; trying again";
    until(&sandbox, &["lock", "platform"], expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_partial_download_is_not_blamed_on_the_registry() {
    let upstream = Upstream::start().await;
    upstream.image("a/large", "1", &["linux/amd64"], 3 << 20, "1");
    let sandbox = Sandbox::new(AIRLOCK);
    let set = format!("images:\n- {}/a/large:1\n", upstream.address);
    sandbox.write("bundles/platform.set.yaml", &set);
    sandbox.run("lock platform").success();
    let place = Place { sandbox, upstream };
    let large = place.upstream.blobs()[0].clone();
    let partial = place.sandbox.path("bundles/store/partial");
    let partial = partial.join(large.trim_start_matches("sha256:"));
    std::fs::create_dir_all(partial.parent().unwrap()).unwrap();
    for damaged in [vec![7; 1000], vec![7; 3 << 20], vec![7; 4 << 20]] {
        std::fs::write(&partial, damaged).unwrap();
        let run = place.sandbox.run("fetch platform").success();
        run.does_not_report("registry");
        place.everything_is_there();
        let large = bundle::sha256_digest(&large).unwrap();
        std::fs::remove_file(place.store().path(&large)).unwrap();
    }
    // Wrong from the beginning, it is the registry's.
    let digest = large.clone();
    place.upstream.instead(move |asked| {
        (asked.path.ends_with(&digest)).then(|| vec![8; 3 << 20].into_response())
    });
    std::fs::write(&partial, vec![7; 1000]).unwrap();
    let run = place.sandbox.run("fetch platform").exits_with(5);
    run.reports(&format!("cannot read {large}"));
}
