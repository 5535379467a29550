//! Files by URL: locked by the digest that the set lists, fetched, and pushed as what `oras push`
//! makes of them.

use support::bundles::sha256;
use support::server::{cut_after, part_of};
use support::{Courier, Lab, Web};

use super::*;
use crate::FAKE_MKECTL;
use crate::referees::run;

/// The file's bytes: more than one piece.
fn bytes() -> bytes::Bytes {
    let numbers = (0..400_000_u32).flat_map(u32::to_le_bytes);
    numbers.collect::<Vec<u8>>().into()
}

/// Writes the set `platform` of one file.
fn write(sandbox: &Sandbox, url: &str, sha256: &str, more: &str) {
    sandbox.write(
        "bundles/platform.set.yaml",
        &format!("files:\n- {{ url: '{url}', sha256: {sha256}{more} }}\n"),
    );
}

fn lock_of(sandbox: &Sandbox) -> Lock {
    Lock::read(&sandbox.path("bundles/platform.lock.yaml")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_locked_by_its_digest_and_its_download_is_resumed() {
    let (sandbox, web, bytes) = (Sandbox::new(AIRLOCK), Web::start().await, bytes());
    web.put("/v3/tool.tgz", bytes.clone());
    let url = format!("http://{}/v3/tool.tgz", web.address);
    write(&sandbox, &url, &sha256(&bytes), "");
    sandbox.run("lock platform").success();
    // Its content is not needed.
    assert_eq!(web.asked(), ["HEAD /v3/tool.tgz"]);
    let text = sandbox.read("bundles/platform.lock.yaml");
    insta::assert_snapshot!(text.replace(&web.address, "127.0.0.1:[PORT]"));
    let store = Store::open(&sandbox.path("bundles/store")).unwrap();
    let artifact = lock_of(&sandbox).artifacts[0].clone();
    let manifest = store.read(&artifact.digest, 10_000).unwrap();
    // As `oras push` writes it, without the time.
    insta::assert_snapshot!(String::from_utf8(manifest).unwrap());

    std::fs::remove_dir_all(sandbox.path("bundles/store")).unwrap();
    let (served, count) = (bytes.clone(), AtomicUsize::new(0));
    web.answer("/v3/tool.tgz", move |asked| {
        match count.fetch_add(1, Ordering::SeqCst) {
            0 => cut_after(&served, 1 << 20),
            _ => part_of(&served, asked),
        }
    });
    let run = sandbox.run("fetch platform").success();
    insta::assert_snapshot!(run.stdout, @"the set platform is fetched: 3 new blobs, 1.60 MB");
    for (digest, size) in artifact.blobs() {
        store.verify_blob(digest, size).unwrap();
    }
    // A digest never moves: nothing is asked.
    let before = web.count();
    sandbox.run("lock platform --check").success();
    sandbox.run("fetch platform").success();
    assert_eq!(web.count(), before);
    // A different digest in the set is a different file.
    write(&sandbox, &url, &"0".repeat(64), "");
    let run = sandbox.run("fetch platform").exits_with(3);
    run.reports("is not locked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_the_one_of_its_digest_never_reaches_the_store() {
    let (sandbox, web, bytes) = (Sandbox::new(AIRLOCK), Web::start().await, bytes());
    web.put("/tool", bytes.clone());
    let url = format!("http://{}/tool", web.address);
    let wrong = "1".repeat(64);
    write(&sandbox, &url, &wrong, "");
    sandbox.run("lock platform").success();
    let run = sandbox.run("fetch platform").exits_with(4);
    run.reports("/tool: the server has");
    assert!(
        !sandbox
            .path(&format!("bundles/store/blobs/sha256/{wrong}"))
            .exists()
    );

    // A server that does not say the size is read.
    let served = bytes.clone();
    web.answer("/tool", move |_| {
        let chunks = [Ok::<_, std::io::Error>(served.clone())];
        axum::body::Body::from_stream(futures_util::stream::iter(chunks)).into_response()
    });
    let run = sandbox.run("lock platform --replace").success();
    run.prints("unchanged");
    sandbox.remove("bundles/platform.lock.yaml");
    let run = sandbox.run("lock platform").exits_with(4);
    run.reports("its SHA-256 differs from that of the set");
    write(&sandbox, &url, &sha256(&bytes), "");
    sandbox.run("lock platform").success();
    // It was kept as it was read.
    let run = ["fetch", "platform", "--offline"];
    sandbox.run(&run).success();
    std::fs::remove_dir_all(sandbox.path("bundles/store")).unwrap();
    sandbox.run(&run).exits_with(1);
    sandbox.run("fetch platform").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_follows_redirects_and_takes_no_credentials_along() {
    let (sandbox, web, other) = (
        Sandbox::new(AIRLOCK),
        Web::start().await,
        Web::start().await,
    );
    let to = format!("http://{}/storage?signature=planted-secret", other.address);
    let redirects = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&redirects);
    web.answer("/tool", move |asked| {
        if asked.header("authorization").is_empty() {
            let challenge = [("www-authenticate", "Basic realm=\"files\"")];
            return (StatusCode::UNAUTHORIZED, challenge).into_response();
        }
        count.fetch_add(1, Ordering::SeqCst);
        support::server::redirect(&to)
    });
    let served = bytes();
    other.answer("/storage", move |asked| {
        assert_eq!(asked.header("authorization"), "");
        part_of(&served, asked)
    });
    // `user:sesame-open`
    sandbox.log_in(&web.address, "dXNlcjpzZXNhbWUtb3Blbg==");
    let url = format!("http://{}/tool", web.address);
    write(&sandbox, &url, &sha256(bytes()), "");
    sandbox.run("lock platform").success();
    let run = sandbox.run("fetch platform -v").success();
    run.does_not_mention("planted-secret");
    assert_eq!(redirects.load(Ordering::SeqCst), 2);
    let text = sandbox.read("bundles/platform.lock.yaml");
    text.lacks("planted-secret");
}

#[test]
fn mistakes_of_a_file_are_named() {
    let sandbox = Sandbox::new(AIRLOCK);
    let mut all = String::new();
    let digest = "0".repeat(64);
    for (url, sha256, more) in [
        ("https://a.example/", digest.as_str(), ""),
        ("https://bob:secret@a.example/x", &digest, ""),
        ("https://a.example/x?token=secret", &digest, ""),
        ("bob:secret@a.example/x", &digest, ""),
        ("ftp://a.example/x", &digest, ""),
        ("https://a.example/x", "12", ""),
        (
            "https://a.example/x",
            &digest,
            ", as: 'bob:secret@quay.io/x'",
        ),
        (
            "https://a.example/x",
            &digest,
            ", aliases: ['bob:secret@quay.io/x']",
        ),
        ("https://a.example/x", &digest, ", name: x"),
        ("https://a.example/Tool.tgz", &digest, ""),
        ("https://a.example/airlock/state", &digest, ""),
    ] {
        write(&sandbox, url, sha256, more);
        let run = sandbox.run("lock platform").exits_with(3);
        run.does_not_mention("secret");
        all.push_str(&run.stderr);
    }
    insta::assert_snapshot!(all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_medium_carries_files_over_the_gap() {
    let Courier { lab, .. } = Courier::new(AIRLOCK, FAKE_MKECTL).await;
    let (web, bytes) = (Web::start().await, bytes());
    web.put("/Tool-Linux.tgz", bytes.clone());
    let url = format!("http://{}/Tool-Linux.tgz", web.address);
    let places = ", as: 'tools/tool:v3', aliases: [more/tool, 'more/tool:latest']";
    write(&lab.sandbox, &url, &sha256(&bytes), places);
    lab.write_environment("sets: [platform]\n");
    lab.run("lock platform").success();
    lab.commit("Carry a tool");
    let inside = lab.carry();
    let to = ["-C", inside.as_str()];
    let before = web.count();
    let push = ["push", "lab", "--offline"];
    lab.run(&[&push[..], &to].concat()).success();
    assert_eq!(web.count(), before);
    let client = lab.registry.client();
    for (place, tag) in [
        ("tools/tool", "v3"),
        ("more/tool", "v3"),
        ("more/tool", "latest"),
    ] {
        let pushed = client.get_manifest(&format!("mke/{place}"), tag).await;
        let digest = pushed.unwrap().digest;
        assert_eq!(digest, lock_of(&lab.sandbox).artifacts[0].digest);
        let images = lab.run("images lab").success();
        images.prints(&format!("/mke/{place}:{tag}@sha256:"));
    }
    // Nodes do not pull it.
    for consumer in ["kustomize", "containerd", "idms"] {
        let printed = lab.run(&["images", "lab", "--as", consumer]).success();
        printed.does_not_print("tool");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_docker, ignore = "Docker does not answer")]
#[cfg_attr(without_oras, ignore = "python3 has no module oras")]
async fn oras_pulls_the_file_from_distribution_with_its_name() {
    let registry = support::TestRegistry::plain().await;
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.edit_environment(&lab.registry.address, &registry.address);
    let (web, bytes) = (Web::start().await, bytes());
    web.put("/Tool-Linux.tgz", bytes.clone());
    let url = format!("http://{}/Tool-Linux.tgz", web.address);
    write(&lab.sandbox, &url, &sha256(&bytes), ", as: 'tools/tool:v3'");
    lab.edit_environment("release: v4.1.5", "sets: [platform]\nrelease: v4.1.5");
    lab.run("lock platform").success();
    lab.run("push lab").success();
    let out = lab.path("pulled");
    std::fs::create_dir(&out).unwrap();
    let script = "import sys, oras.client\n\
                  client = oras.client.OrasClient(hostname=sys.argv[1], insecure=True)\n\
                  client.pull(target=sys.argv[1] + '/mke/tools/tool:v3', outdir=sys.argv[2])";
    let arguments = ["-c", script, &registry.address, out.as_str()];
    run(&lab.sandbox, "python3", &arguments);
    assert!(std::fs::read(out.join("Tool-Linux.tgz")).unwrap() == bytes);
}
