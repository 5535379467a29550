//! Charts of classic Helm repositories: locked, fetched and pushed as what `helm push` makes of
//! them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use support::server::cut_after;
use support::{Arguments, Lab, Run, TlsProxy, Web, web};

use super::*;
use crate::FAKE_MKECTL;
use crate::referees::run;

const METADATA: &str = "\
apiVersion: v2
name: monitoring
version: 1.2.3+build.5
appVersion: 1.10
description: |
  A <chart> & \"more\",
  on two lines é
home: https://example.com/home
kubeVersion: '>=1.20.0-0'
keywords: [metrics]
sources: [https://example.com/one, https://example.com/two]
maintainers:
- { name: Ann, email: ann@example.com }
- { name: Bob }
annotations:
  category: Infra
  org.opencontainers.image.title: not-this
dependencies:
- { name: sub, version: 0.1.0, condition: sub.enabled, import-values: [data, { parent: b, child: a }] }
unknown: is dropped
";

/// A workspace with a set of one chart of a classic repository on loopback.
struct Classic {
    sandbox: Sandbox,
    web: Web,
    packed: Vec<u8>,
}

support::used_as!(Classic, sandbox: Sandbox);

impl Classic {
    async fn new() -> Self {
        let packed = web::chart("monitoring", METADATA, 3 << 20);
        let classic = Self {
            sandbox: Sandbox::new(AIRLOCK),
            web: Web::start().await,
            packed,
        };
        let url = "monitoring-1.2.3+build.5.tgz";
        classic.publish(url, &classic.packed);
        classic.write(&format!("http://{}/stable", classic.web.address), "");
        classic
    }

    /// Serves a chart with its index.
    fn publish(&self, url: &str, packed: &[u8]) {
        let index = web::index("monitoring", "1.2.3+build.5", url, packed);
        self.web.put("/stable/index.yaml", index);
        self.web
            .put("/stable/monitoring-1.2.3+build.5.tgz", packed.to_vec());
    }

    fn write(&self, repository: &str, more: &str) {
        self.sandbox
            .write("bundles/platform.set.yaml", &set(repository, more));
    }

    fn run(&self, arguments: impl Arguments) -> Run {
        self.sandbox.run(arguments)
    }

    fn lock(&self) -> Lock {
        Lock::read(&self.path("bundles/platform.lock.yaml")).unwrap()
    }

    fn forget_store(&self) {
        std::fs::remove_dir_all(self.path("bundles/store")).unwrap();
    }

    fn everything_is_there(&self) {
        let store = Store::open(&self.path("bundles/store")).unwrap();
        for (digest, size) in self.lock().artifacts.iter().flat_map(|one| one.blobs()) {
            store.verify_blob(digest, size).unwrap();
        }
    }
}

fn set(repository: &str, more: &str) -> String {
    format!(
        "charts:\n- {{ repository: '{repository}', name: monitoring, version: 1.2.3+build.5 }}\n{more}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_is_locked_with_its_url_and_fetched_by_its_digest() {
    let classic = Classic::new().await;
    classic.run("lock platform").success();
    let text = classic.read("bundles/platform.lock.yaml");
    let shown = text.replace(&classic.web.address, "127.0.0.1:[PORT]");
    let layer = classic.lock().artifacts[0].manifests[0].blobs[1].clone();
    assert_eq!(layer.size, classic.packed.len() as u64);
    insta::assert_snapshot!(shown);

    // The same upstream gives the same bytes, also into an empty store.
    classic.forget_store();
    classic.remove("bundles/platform.lock.yaml");
    classic.run("lock platform").success();
    assert_eq!(classic.read("bundles/platform.lock.yaml"), text);

    // A lock that was edited is refused.
    for url in ["ftp://127.0.0.1/a", "http://charts.example.com/a.tgz", "a"] {
        let edited = text.lines().map(|line| match line.contains("    url: ") {
            true => format!("    url: {url}\n"),
            false => format!("{line}\n"),
        });
        let edited: String = edited.collect();
        classic.sandbox.write("bundles/platform.lock.yaml", &edited);
        let run = classic.run("fetch platform").exits_with(3);
        run.reports("the lock contradicts itself");
        let hint = "restore the committed lock: `git checkout HEAD -- bundles/platform.lock.yaml`; or delete it and run `cargo xtask lock platform`";
        run.reports(hint);
    }
    classic.sandbox.write("bundles/platform.lock.yaml", &text);

    // What is in the store is not downloaded again: the index alone is asked for.
    let before = classic.web.count();
    let run = classic.run("fetch platform").success();
    insta::assert_snapshot!(run.stdout, @"the set platform is fetched: 0 new blobs, 0 B");
    assert_eq!(classic.web.asked()[before..], ["GET /stable/index.yaml"]);

    // A download that is cut is resumed.
    classic.forget_store();
    let (bytes, asked) = (
        bytes::Bytes::from(classic.packed.clone()),
        AtomicUsize::new(0),
    );
    let ranges = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&ranges);
    classic
        .web
        .answer("/stable/monitoring-1.2.3+build.5.tgz", move |request| {
            seen.lock()
                .unwrap()
                .push(request.header("range").to_owned());
            match asked.fetch_add(1, Ordering::SeqCst) {
                0 => cut_after(&bytes, 2 << 20),
                _ => support::server::part_of(&bytes, request),
            }
        });
    classic.run("fetch platform").success();
    classic.everything_is_there();
    let ranges = ranges.lock().unwrap().clone();
    assert!(
        ranges.len() == 2 && ranges[1].starts_with("bytes="),
        "{ranges:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_that_moved_is_named_and_moves_only_on_request() {
    let classic = Classic::new().await;
    classic.run("lock platform").success();
    classic.run("lock platform --check").success();
    let before = classic.lock();
    let other = web::chart("monitoring", METADATA, 1000);
    classic.publish("monitoring-1.2.3+build.5.tgz", &other);
    let run = classic.run("lock platform --check").exits_with(2);
    let was = &before.artifacts[0].manifests[0].blobs[1].digest;
    run.prints(&format!(
        "/stable/monitoring:1.2.3+build.5 was {was} when it was locked and is sha256:"
    ));
    classic.run("lock platform").success();
    assert_eq!(classic.lock(), before);
    // What was locked is not served any more.
    classic.forget_store();
    let run = classic.run("fetch platform").exits_with(5);
    run.reports("cannot read http://");
    classic.run("lock platform --update monitoring").success();
    assert_ne!(classic.lock(), before);
    classic.run("fetch platform").success();
    classic.everything_is_there();

    classic
        .web
        .put("/stable/index.yaml", "entries: { monitoring: [] }\n");
    let run = classic.run("lock platform --check").exits_with(2);
    run.prints("removed upstream: ");
    // Without a digest in the index, the chart is compared.
    classic.web.put(
        "/stable/index.yaml",
        "entries: { monitoring: [{ version: 1.2.3+build.5, urls: ['monitoring-1.2.3+build.5.tgz'] }] }\n",
    );
    classic.run("lock platform --check").success();
    classic.publish("monitoring-1.2.3+build.5.tgz", &classic.packed);
    classic.run("lock platform --check").exits_with(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_of_a_chart_are_named() {
    let classic = Classic::new().await;
    let url = format!("http://{}/stable", classic.web.address);
    let mut all = String::new();
    let mut refused = |set: &str, code: i32| {
        classic.sandbox.write("bundles/platform.set.yaml", set);
        let run = classic.run("lock platform").exits_with(code);
        run.does_not_mention("secret");
        assert!(!classic.path("bundles/platform.lock.yaml").exists());
        all.push_str(&run.stderr);
    };
    let chart = |keys: &str| format!("charts:\n- {{ {keys} }}\n");
    for (keys, code) in [
        ("name: a, version: 1.0.0".to_owned(), 3),
        (
            "repository: 'https://bob:secret@a.example', name: a, version: 1.0.0".to_owned(),
            3,
        ),
        (
            "repository: 'https://a.example/?token=secret', name: a, version: 1.0.0".to_owned(),
            3,
        ),
        (
            "repository: 'http://a.example', name: a, version: 1.0.0".to_owned(),
            3,
        ),
        (
            "repository: 'https://a.example', name: A, version: 1.0.0".to_owned(),
            3,
        ),
        (
            format!("repository: '{url}', name: absent, version: 1.0.0"),
            4,
        ),
        (
            format!("repository: '{url}', name: monitoring, version: ^1.0.0, as: a:1"),
            4,
        ),
        (
            format!("repository: '{url}/no', name: monitoring, version: 1.0.0"),
            5,
        ),
    ] {
        refused(&chart(&keys), code);
    }
    refused(
        &format!("images:\n- {{ repository: '{url}', name: a, version: '1' }}\n"),
        3,
    );
    let good = set(&url, "");
    for (index, code) in [
        (
            web::index("monitoring", "1.2.3+build.5", "oci://quay.io/a/b", b""),
            4,
        ),
        (
            web::index(
                "monitoring",
                "1.2.3+build.5",
                "http://a.example/secret.tgz",
                b"",
            ),
            4,
        ),
        (
            web::index(
                "monitoring",
                "1.2.3+build.5",
                "monitoring-1.2.3+build.5.tgz",
                b"other",
            ),
            4,
        ),
        ("entries: [\n".to_owned(), 4),
        ("<html>".to_owned(), 4),
    ] {
        classic.web.put("/stable/index.yaml", index);
        refused(&good, code);
    }
    let other = web::chart("monitoring", "name: monitoring\nversion: 2.0.0\n", 10);
    classic.publish("monitoring-1.2.3+build.5.tgz", &other);
    refused(&good, 4);
    classic.publish("monitoring-1.2.3+build.5.tgz", b"not a chart");
    refused(&good, 4);
    classic.web.answer("/stable/index.yaml", |_| {
        axum::response::Html("<h1>secret log-in</h1>").into_response()
    });
    refused(&good, 5);
    insta::assert_snapshot!(all.replace(&classic.web.address, "127.0.0.1:[PORT]"));
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrors_certificates_and_credentials_are_those_of_the_host() {
    let classic = Classic::new().await;
    let proxy = TlsProxy::start(&classic.web.address, &["127.0.0.1"], |_| ()).await;
    let address = &proxy.address;
    classic
        .sandbox
        .write("bundles/mirror-ca.pem", &proxy.ca_pem);
    classic.write(
        "https://charts.example.com",
        &format!(
            "registries:\n  charts.example.com: {{ mirror: '{address}/stable' }}\n  {address}: {{ ca: mirror-ca.pem }}\n"
        ),
    );
    let login = BASE64_STANDARD.encode("courier:planted-password-91c4");
    classic.log_in(address, &login);
    let index = web::index(
        "monitoring",
        "1.2.3+build.5",
        "monitoring.tgz",
        &classic.packed,
    );
    let wanted = format!("Basic {login}");
    classic.web.answer("/stable/index.yaml", move |asked| {
        match asked.header("authorization") == wanted {
            true => index.clone().into_response(),
            false => (
                StatusCode::UNAUTHORIZED,
                [("www-authenticate", "Basic realm=\"charts\"")],
            )
                .into_response(),
        }
    });
    classic
        .web
        .put("/stable/monitoring.tgz", classic.packed.clone());
    classic.run("lock platform").success();
    let source = classic.lock().artifacts[0].source.clone().unwrap();
    assert_eq!(
        source.url.as_deref(),
        Some("https://charts.example.com/monitoring.tgz")
    );
    classic.forget_store();
    classic.run("fetch platform").success();
    classic.everything_is_there();
    let offline = classic.run("lock platform --check --offline").exits_with(1);
    offline.reports("offline");
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(without_helm, ignore = "helm is not on PATH")]
async fn helm_pulls_the_chart_and_would_have_pushed_the_same() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let web = Web::start().await;
    let packed = web::chart("monitoring", METADATA, 1000);
    let index = web::index("monitoring", "1.2.3+build.5", "m.tgz", &packed);
    web.put("/stable/index.yaml", index);
    web.put("/stable/m.tgz", packed.clone());
    let set = set(&format!("http://{}/stable", web.address), "");
    lab.write("bundles/platform.set.yaml", &set);
    lab.write_environment("sets: [platform]\n");
    lab.run("lock platform").success();
    lab.run("deploy lab").success();

    let mirror = format!("oci://{}/mke/stable", lab.registry.address);
    let chart = format!("{mirror}/monitoring");
    let version = ["--plain-http", "--version", "1.2.3+build.5"];
    let out = lab.path("pulled");
    std::fs::create_dir(&out).unwrap();
    let pull = ["pull", &chart, "--destination", out.as_str()];
    run(&lab.sandbox, "helm", &[&pull[..], &version].concat());
    let pulled = std::fs::read(out.join("monitoring-1.2.3+build.5.tgz")).unwrap();
    assert!(pulled == packed);
    let shown = run(
        &lab.sandbox,
        "helm",
        &[&["show", "chart", &chart][..], &version].concat(),
    );
    shown.has("\nname: monitoring\n");

    let images = lab.run("images lab").success();
    let upstream = "/stable/monitoring:1.2.3+build.5 ";
    images.prints(upstream);
    let document = lab.run("images lab --as cyclonedx").success();
    let lock = Lock::read(&lab.path("bundles/platform.lock.yaml")).unwrap();
    let layer = &lock.artifacts[0].manifests[0].blobs[1];
    let checksum = layer.digest.to_string().replace(':', "%3A");
    let purl = format!(
        "pkg:generic/monitoring@1.2.3%2Bbuild.5?checksum={checksum}&download_url=http%3A%2F%2F"
    );
    document
        .prints(&purl)
        .prints("\"type\": \"application\"")
        .prints("\"version\": \"1.2.3+build.5\"");

    let client = lab.registry.client();
    let ours = client.get_manifest("mke/stable/monitoring", "1.2.3_build.5");
    let ours = ours.await.unwrap();
    let file = out.join("monitoring-1.2.3+build.5.tgz");
    run(
        &lab.sandbox,
        "helm",
        &[
            "push",
            file.as_str(),
            &format!("{mirror}/helm"),
            "--plain-http",
        ],
    );
    let theirs = client.get_manifest("mke/stable/helm/monitoring", "1.2.3_build.5");
    let theirs = String::from_utf8(theirs.await.unwrap().bytes.to_vec()).unwrap();
    let created = "\"org.opencontainers.image.created\":\"";
    let at = theirs.find(created).unwrap();
    let end = theirs[at..].find("Z\",").unwrap() + at + 3;
    let without = theirs[..at].to_owned() + &theirs[end..];
    assert_eq!(String::from_utf8_lossy(&ours.bytes), without);
}
