//! Tests of sets: how they are locked and fetched, what registries may do meanwhile, and how an
//! environment carries them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use bundle::{Lock, Store};
use support::upstream::Upstream;
use support::{Sandbox, Server, Text as _, bundles};

use crate::AIRLOCK;

mod aliases;
mod carried;
mod compared;
mod faulty;
mod files;
mod helm;
mod hostile;
mod of_bundles;
mod signatures;

const BOTH: &[&str] = &["linux/amd64", "linux/arm64/v8"];

/// A workspace with the set `platform` of an image, one with a short name, and a chart.
struct Place {
    sandbox: Sandbox,
    upstream: Upstream,
}

support::used_as!(Place, sandbox: Sandbox);

impl Place {
    async fn new() -> Self {
        let upstream = Upstream::start().await;
        upstream.image("library/nginx", "1.29", BOTH, 3000, "1");
        upstream.image("prometheus/node-exporter", "v1.9", BOTH, 2000, "1");
        upstream.chart("charts/monitoring", "1.0.0");
        let sandbox = Sandbox::new(AIRLOCK);
        let place = Self { sandbox, upstream };
        place.write("");
        place
    }

    /// Writes the set's file, with more lines for its images.
    fn write(&self, more: &str) {
        let address = &self.upstream.address;
        self.sandbox.write(
            "bundles/platform.set.yaml",
            &format!(
                "images:\n- nginx:1.29\n- {address}/prometheus/node-exporter:v1.9\n{more}charts:\n- oci://{address}/charts/monitoring:1.0.0\n\
                 registries:\n  docker.io: {{ mirror: '{address}' }}\n"
            ),
        );
    }

    fn lock(&self) -> Lock {
        Lock::read(&self.path("bundles/platform.lock.yaml")).unwrap()
    }

    fn store(&self) -> Store {
        Store::open(&self.path("bundles/store")).unwrap()
    }

    /// Checks that the store has all blobs of the lock, undamaged.
    fn everything_is_there(&self) {
        let store = self.store();
        for (digest, size) in self.lock().artifacts.iter().flat_map(|one| one.blobs()) {
            store.verify_blob(digest, size).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_locked_by_digest_and_the_same_upstream_gives_the_same_bytes() {
    let place = Place::new().await;
    let run = place.run("lock platform").success();
    insta::assert_snapshot!(run.stdout, @"wrote bundles/platform.lock.yaml: 3 artifacts, 19.34 kB");
    let first = place.read("bundles/platform.lock.yaml");
    let head: Vec<&str> = first.lines().take(9).collect();
    let head = head
        .join("\n")
        .replace(&place.upstream.address, "127.0.0.1:[PORT]");
    insta::assert_snapshot!(head, @"
    # What the set platform carries. Written by `lock platform`; not to be edited.
    version: 1
    set: platform
    artifacts:
    - repository: charts/monitoring
      tag: 1.0.0
      kind: chart
      source:
        reference: 127.0.0.1:[PORT]/charts/monitoring:1.0.0
    ");
    let names: Vec<String> = place
        .lock()
        .artifacts
        .iter()
        .map(|one| one.reference())
        .collect();
    assert_eq!(
        names,
        [
            "charts/monitoring:1.0.0",
            "library/nginx:1.29",
            "prometheus/node-exporter:v1.9"
        ]
    );

    // Known tags are only looked at.
    let before = place.upstream.count();
    place.run("lock platform").success();
    assert_eq!(place.upstream.count() - before, 3);
    place.remove("bundles/platform.lock.yaml");
    std::fs::remove_dir_all(place.path("bundles/store")).unwrap();
    place.run("lock platform").success();
    assert_eq!(place.read("bundles/platform.lock.yaml"), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_locked_stays_until_it_is_updated() {
    let place = Place::new().await;
    place.run("lock platform").success();
    let before = place.lock();
    place.run("lock platform --check").success();
    let nginx = place
        .upstream
        .image("library/nginx", "1.29", BOTH, 3000, "2");
    let exporter = place
        .upstream
        .image("prometheus/node-exporter", "v1.9", BOTH, 2000, "2");
    let checked = place.run("lock platform --check").exits_with(2);
    checked.prints(&format!("and is {nginx} now"));
    let kept = place.run("lock platform").success();
    kept.prints("kept as locked; moved upstream: docker.io/library/nginx:1.29");
    let address = &place.upstream.address;
    let all = format!(
        "--update docker.io/library/nginx:1.29 --update {address}/prometheus/node-exporter:v1.9`"
    );
    let all = all.replace(address, "127.0.0.1:[PORT]");
    kept.prints(&all);
    checked.prints(&all);
    assert_eq!(place.lock(), before);
    place.run("lock platform --update nginx").success();
    let digests = |lock: &Lock| -> BTreeMap<String, String> {
        lock.artifacts
            .iter()
            .map(|one| (one.repository.clone(), one.digest.to_string()))
            .collect()
    };
    let updated = digests(&place.lock());
    assert_eq!(updated["library/nginx"], nginx);
    assert_eq!(
        updated["prometheus/node-exporter"],
        digests(&before)["prometheus/node-exporter"]
    );
    place.run("lock platform --replace").success();
    assert_eq!(digests(&place.lock())["prometheus/node-exporter"], exporter);
    let unknown = place.run("lock platform --update redis").exits_with(64);
    unknown.reports("`redis` names no entry of the set platform");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_was_changed_keeps_what_it_was_locked_as() {
    let place = Place::new().await;
    let first = place.upstream.image("a/one", "1", BOTH, 500, "1");
    let one = format!("{}/a/one:1", place.upstream.address);
    place.write(&format!("- {one}\n"));
    place.run("lock platform").success();
    place.upstream.image("a/one", "1", BOTH, 500, "2");
    let relocked = |change: &str, expected: &str| {
        place.write(&format!("- {{ reference: '{one}', {change} }}\n"));
        let run = place.run("lock platform").success();
        let kept = format!("kept as locked; {expected} upstream: 127.0.0.1:[PORT]/a/one:1 ");
        assert!(run.stdout.contains(&kept), "{change}: {}", run.stdout);
        let lock = place.lock();
        let (artifact, source) = (lock.artifacts.iter())
            .filter_map(|one| Some((one, one.source.as_ref()?)))
            .find(|(_, source)| source.reference == one)
            .unwrap();
        let whole = source.full_index.as_ref().unwrap_or(&artifact.digest);
        assert_eq!(whole.as_ref(), first, "{change}");
    };
    for change in [
        "as: moved/one",
        "as: moved/one, signatures: true",
        "as: other/one, signatures: true",
        "platforms: [linux/amd64]",
        "platforms: [linux/amd64], aliases: [second/one]",
    ] {
        relocked(change, "moved");
    }
    // This holds also after the tag was removed.
    place.upstream.instead(|asked| {
        (asked.path.ends_with("/a/one/manifests/1")).then(|| StatusCode::NOT_FOUND.into_response())
    });
    relocked("as: gone/one", "removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_not_reached_does_not_stop_the_others() {
    let place = Place::new().await;
    let address = &place.upstream.address;
    place.run("lock platform").success();
    place.run("fetch platform").success();
    place.upstream.image("a/new", "1", BOTH, 500, "1");
    // A registry that refuses connections is asked six times, which takes longer.
    let answers = |status: StatusCode| {
        place.upstream.instead(move |asked| {
            let answer = (status, [("retry-after", "7200")]);
            (asked.path.contains("/library/nginx/")).then(|| answer.into_response())
        });
    };
    answers(StatusCode::FORBIDDEN);
    place.run("lock platform --check").exits_with(5);
    let fetch = place.run("fetch platform").success();
    fetch.reports("1 locked reference of 127.0.0.1:");
    answers(StatusCode::SERVICE_UNAVAILABLE);
    let warning = "warning: not compared with upstream: 1 locked reference of 127.0.0.1:";
    let check = ["lock", "platform", "--check"];
    let check = place.run(&check).success();
    insta::assert_snapshot!(check.stdout, @"
    not compared: docker.io/library/nginx:1.29
    bundles/platform.lock.yaml: the others are as upstream has them
    ");
    check.reports(warning);
    let fetch = place.run("fetch platform").success();
    fetch.reports(warning);
    let only = ["lock", "platform", "--update", "node-exporter"];
    let only = place.run(&only).success();
    only.does_not_report("not compared");
    place.write(&format!("- {address}/a/new:1\n"));
    let locked = place.run("lock platform").success();
    locked.reports(warning);
    assert_eq!(place.lock().artifacts.len(), 4);
    // What is to move is needed.
    place.run("lock platform --update nginx").exits_with(5);
    place.sandbox.write(
        "bundles/platform.set.yaml",
        &format!("images: [nginx:1.29]\nregistries: {{ docker.io: {{ mirror: '{address}' }} }}\n"),
    );
    place.run("lock platform").success();
    place.run("lock platform --check").exits_with(5);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_platforms_that_are_listed_are_carried() {
    let place = Place::new().await;
    let three = ["linux/amd64", "linux/arm64/v8", "linux/s390x"];
    let whole = place.upstream.image("a/one", "1", &three, 500, "1");
    let address = place.upstream.address.clone();
    place.write(&format!(
        "- {{ reference: '{address}/a/one:1', platforms: [linux/arm64], as: some/one }}\n\
         - {{ reference: '{address}/a/one:1', platforms: [linux/s390x, linux/amd64], as: 'some/two:both' }}\n\
         - {{ reference: '{address}/a/one@{whole}', as: some/all }}\n"
    ));
    place.run("lock platform").success();
    place.run("fetch platform").success();
    place.everything_is_there();
    let lock = place.lock();
    let platforms = |place: &str| -> Vec<String> {
        let artifact = lock
            .artifacts
            .iter()
            .find(|one| one.reference() == place)
            .unwrap();
        artifact
            .manifests
            .iter()
            .filter_map(|one| one.platform.clone())
            .collect()
    };
    assert_eq!(platforms("some/one:1"), ["linux/arm64/v8"]);
    assert_eq!(platforms("some/two:both"), ["linux/amd64", "linux/s390x"]);
    let by_digest = format!("some/all:{}", whole.replace(':', "-"));
    assert_eq!(platforms(&by_digest), three);
    // A reduced index is made again from the whole one.
    std::fs::remove_dir_all(place.path("bundles/store")).unwrap();
    place.run("fetch platform").success();
    place.everything_is_there();

    place.write(&format!(
        "- {{ reference: '{address}/a/one:1', platforms: [linux/ppc64le] }}\n"
    ));
    let run = place.run("lock platform").exits_with(3);
    run.reports("has no linux/ppc64le, only: linux/amd64, linux/arm64/v8, linux/s390x");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_brings_each_blob_once_and_nothing_to_do_costs_a_request_an_artifact() {
    let place = Place::new().await;
    place.run("lock platform").success();
    // Manifests and charts are in the store since they were locked.
    let asked = place.upstream.asked().into_iter();
    assert_eq!(asked.filter(|one| one.contains("/blobs/")).count(), 2);
    place.run("fetch platform").success();
    place.everything_is_there();
    let asked = place.upstream.asked();
    let blobs: Vec<&String> = asked.iter().filter(|one| one.contains("/blobs/")).collect();
    let unique: BTreeSet<_> = blobs.iter().collect();
    assert_eq!(blobs.len(), unique.len(), "{blobs:?}");
    let again = place.run("fetch platform").success();
    insta::assert_snapshot!(again.stdout, @"the set platform is fetched: 0 new blobs, 0 B");
    assert_eq!(place.upstream.count() - asked.len(), 3);
    // Inside the gap, where upstream cannot be asked, everything is there as well.
    let offline = ["fetch", "platform", "--offline"];
    place.run(&offline).success();
    assert_eq!(place.upstream.count() - asked.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_fetched_from_the_mirrors_of_its_own_file() {
    let place = Place::new().await;
    place.sandbox.write(
        "bundles/zeta.set.yaml",
        "images: [busybox:1]\nregistries: { docker.io: { mirror: '127.0.0.1:1' } }\n",
    );
    place.run("lock platform").success();
    place.run("fetch platform").success();
    place.everything_is_there();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_moved_after_it_was_locked_is_named_and_the_digest_is_fetched() {
    let place = Place::new().await;
    place.run("lock platform").success();
    place
        .upstream
        .image("library/nginx", "1.29", BOTH, 3000, "2");
    let run = place.run("fetch platform").exits_with(2);
    run.reports("the set platform is fetched as it was locked; moved upstream: docker.io/library/nginx:1.29");
    place.everything_is_there();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_was_removed_upstream_is_named_and_the_lock_stays() {
    let place = Place::new().await;
    place.run("lock platform").success();
    place.run("fetch platform").success();
    place.upstream.instead(|asked| {
        (asked.path.ends_with("/library/nginx/manifests/1.29"))
            .then(|| StatusCode::NOT_FOUND.into_response())
    });
    let locked = place.lock();
    let nginx = locked.artifacts.iter().find(|one| one.tag == "1.29");
    let removed = format!(
        "removed upstream: docker.io/library/nginx:1.29 (locked as {})",
        nginx.unwrap().digest
    );
    for (arguments, code) in [
        (&["lock", "platform"][..], 0),
        (&["lock", "platform", "--check"], 2),
        (&["fetch", "platform"], 2),
    ] {
        let run = place.run(arguments).exits_with(code);
        let text = run.whole();
        assert!(text.contains(&removed), "{text}");
        text.lacks("--update");
    }
    let run = place.run("fetch platform").exits_with(2);
    let hint =
        "keep the lock, or remove docker.io/library/nginx:1.29 from bundles/platform.set.yaml";
    run.reports(hint);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_are_new_changed_or_removed_have_a_line_each() {
    let place = Place::new().await;
    let address = place.upstream.address.clone();
    place.write("- { reference: 'quay.io/org/a:1', as: one }\n- quay.io/org/gone:1\n");
    let set = place.read("bundles/platform.set.yaml");
    let mirrors = format!("{set}  quay.io: {{ mirror: '{address}' }}\n");
    place.sandbox.write("bundles/platform.set.yaml", &mirrors);
    place.upstream.image("org/a", "1", BOTH, 500, "1");
    place.upstream.image("org/gone", "1", BOTH, 500, "2");
    place.run("lock platform").success();
    let edited = mirrors
        .replace("as: one", "as: two")
        .replace("org/gone:1", "org/new:1");
    place.sandbox.write("bundles/platform.set.yaml", &edited);
    let run = place.run("lock platform --check").exits_with(2);
    insta::assert_snapshot!(run.stdout, @"
    quay.io/org/new:1 is not locked
    the entry of quay.io/org/a:1 was changed after it was locked
    the entry of quay.io/org/gone:1 was removed from the set after it was locked
    `cargo xtask lock platform` updates the lock
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_with_the_comment_of_an_earlier_version_is_not_changed() {
    let place = Place::new().await;
    place.run("lock platform").success();
    let text = place.read("bundles/platform.lock.yaml");
    let (_, body) = text.split_once('\n').unwrap();
    let earlier = format!("# Written by an earlier version.\n{body}");
    place.sandbox.write("bundles/platform.lock.yaml", &earlier);
    let run = place.run("lock platform").success();
    assert!(run.stdout.starts_with("unchanged: "), "{}", run.stdout);
    // Receipts name a lock by the digest of its text.
    assert_eq!(place.read("bundles/platform.lock.yaml"), earlier);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_only_another_lock_has_is_removed_from_the_store() {
    let place = Place::new().await;
    let set = place.read("bundles/platform.set.yaml");
    let moved = set.replace(
        "- nginx:1.29",
        "- { reference: 'nginx:1.29', as: tools/nginx }",
    );
    place.sandbox.write("bundles/tools.set.yaml", &moved);
    for set in ["platform", "tools"] {
        place.run(&["lock", set]).success();
        place.run(&["fetch", set]).success();
    }
    let stored = place.run("store").success();
    assert!(
        stored.stdout.starts_with("RELEASE OR SET"),
        "{}",
        stored.stdout
    );
    place.remove("bundles/tools.lock.yaml");
    let run = place.run("store gc").success();
    insta::assert_snapshot!(run.stdout, @"1 name removed; all blobs belong to other locks");
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_in_a_set_are_named() {
    let place = Place::new().await;
    let address = place.upstream.address.clone();
    let refused = |more: &str, code: i32, words: &str| {
        place.write(more);
        let run = place.run("lock platform").exits_with(code);
        run.reports(words);
        assert!(!place.path("bundles/platform.lock.yaml").exists());
    };
    refused(
        "- quay.io/library/nginx:1.29\n",
        3,
        "would both become library/nginx:1.29 in your registry",
    );
    refused("- 'a b'\n", 3, "`a b` is not a reference");
    // One run names all of them.
    let several = "- 'a b'\n- { reference: nginx:2, platforms: [amd64] }\n";
    refused(
        several,
        3,
        "bundles/platform.set.yaml: 2 entries are wrong\n  bundles/platform.set.yaml: `a b` is not a reference",
    );
    refused(
        several,
        3,
        "\n  bundles/platform.set.yaml: `amd64` is not a platform",
    );
    refused(
        &format!("- {address}/charts/monitoring:1.0.0\n"),
        3,
        "charts/monitoring:1.0.0 is listed twice",
    );
    refused(
        &format!("- {{ reference: '{address}/charts/monitoring:1.0.0', as: x }}\n"),
        3,
        "is listed under `images`, but is a chart",
    );
    refused(&format!("- {address}/no/such:1\n"), 5, "cannot read ");
    place.write("");
    place.run("lock platform").success();
    // The lock must be of what is listed.
    place.write(&format!("- {address}/charts/other:1\n"));
    let run = place.run("fetch platform").exits_with(3);
    run.reports("charts/other:1 is not locked");
    let run = place.run("push platform").exits_with(64);
    run.reports("`platform` is a set; name an environment that lists it");
    place.sandbox.write(
        "environments/site/environment.yaml",
        "release: v4.1.5\nregistry:\n  address: registry.site.example.com\nsets: [platform]\n",
    );
    for (arguments, words) in [
        (
            &["lock", "site"][..],
            "`site` is an environment with v4.1.5; name the release",
        ),
        (
            &["fetch", "platform", "--check"],
            "`cargo xtask fetch site --check`",
        ),
        (
            &["lock", "v4.1.5", "--check"],
            "`cargo xtask fetch v4.1.5 --check`",
        ),
    ] {
        let run = place.run(arguments).exits_with(64);
        run.reports(words);
    }
    let run = place.run("lock v4.1.5 --update nginx").exits_with(64);
    run.reports("`--update` is for sets, and `v4.1.5` is not a set");
    let run = place.run("lock platform --url https://a").exits_with(64);
    run.reports("`--url` is for bundles, and `platform` is a set");
}

#[test]
fn what_airlock_keeps_in_the_registry_is_not_a_place_for_a_set() {
    let sandbox = Sandbox::new(AIRLOCK);
    sandbox.write(
        "bundles/platform.set.yaml",
        "images: [{ reference: 'nginx:1', as: 'airlock/state:qa' }]\n",
    );
    insta::assert_snapshot!(sandbox.run("lock platform").whole(), @"
    exit code: 3
    --- stdout
    --- stderr
    error: bundles/platform.set.yaml: docker.io/library/nginx:1 would become airlock/state:qa in your registry, and airlock/ is reserved for Airlock
    hint: give it a different place with `as:`
    ");
    for places in [
        format!("images: ['quay.io/{}/a:1']\n", registry::probe::FOLDER),
        "charts: ['quay.io/airlock/state:lab']\n".to_owned(),
    ] {
        sandbox.write("bundles/platform.set.yaml", &places);
        let run = sandbox.run("fetch platform").exits_with(3);
        run.reports("is reserved");
    }
    sandbox.write(
        "bundles/platform.set.yaml",
        "images: ['quay.io/airlocks/state:1']\n",
    );
    let run = sandbox.run("fetch platform").exits_with(3);
    run.reports("is not locked");
}

#[test]
fn invalid_credentials_and_mirrors_are_refused_when_the_file_is_read() {
    let sandbox = Sandbox::new(AIRLOCK);
    let mut all = String::new();
    for text in [
        "images: ['bob:secret@quay.io/a:1']\n",
        "images:\n- nginx:1\n- 'bob:secret@quay.io:5000'\n",
        "images:\n- reference: 'https://bob:secret@quay.io/a:1'\n",
        "images:\n- { reference: nginx:1, as: 'bob:secret@quay.io/a:1' }\n",
        "charts:\n- 'oci://bob:secret@quay.io/a:1'\n",
        "images: [nginx:1]\nregistries:\n  docker.io: { mirror: 'bob:secret@quay.io:5000' }\n",
        "images: [nginx:1]\nregistries:\n  docker.io: { mirror: 'https://bob:secret@quay.io' }\n",
        "images: [nginx:1]\nregistries:\n  'bob:secret@docker.io': { ca: a.pem }\n",
        "images: [nginx:1]\nregistries:\n  docker.io: { mirror: 'https://quay.io' }\n",
        "images: [nginx:1]\nregistries:\n  docker.io: { mirror: 'quay.io/Hub?a=b' }\n",
        "images: [nginx:1]\nregistries:\n  docker.io: { mirror: 'quay.io:port' }\n",
        "images: [nginx:1]\nregistries:\n  docker.io/library: { mirror: quay.io }\n",
    ] {
        sandbox.write("bundles/platform.set.yaml", text);
        let run = sandbox.run("lock platform").exits_with(3);
        run.does_not_mention("secret");
        all.push_str(&run.stderr);
    }
    insta::assert_snapshot!(all, @"
    error: bundles/platform.set.yaml:1:10: the set is not valid
      because: images[0]: after `@` only a digest is allowed; credentials come from the files of Podman, Skopeo or Docker
    error: bundles/platform.set.yaml:3:3: the set is not valid
      because: images[1]: after `@` only a digest is allowed; credentials come from the files of Podman, Skopeo or Docker
    error: bundles/platform.set.yaml:2:3: the set is not valid
      because: images[0]: after `@` only a digest is allowed; credentials come from the files of Podman, Skopeo or Docker
    error: bundles/platform.set.yaml:2:3: the set is not valid
      because: images[0]: after `@` only a digest is allowed; credentials come from the files of Podman, Skopeo or Docker
    error: bundles/platform.set.yaml:2:3: the set is not valid
      because: charts[0]: after `@` only a digest is allowed; credentials come from the files of Podman, Skopeo or Docker
    error: bundles/platform.set.yaml:3:14: the set is not valid
      because: registries.docker.io: a registry is `host[:port]`; credentials come from the files of Podman, Skopeo or Docker
    error: bundles/platform.set.yaml:3:14: the set is not valid
      because: registries.docker.io: a registry is `host[:port]`; credentials come from the files of Podman, Skopeo or Docker
    error: bundles/platform.set.yaml:3:3: the set is not valid
      because: registries: a registry is `host[:port]`; credentials come from the files of Podman, Skopeo or Docker
    error: bundles/platform.set.yaml:3:14: the set is not valid
      because: registries.docker.io: `https://quay.io` has a scheme; a registry is `host[:port]`
    error: bundles/platform.set.yaml:3:14: the set is not valid
      because: registries.docker.io: `Hub?a=b` is not a repository name: only lower-case letters, digits, `.`, `_`, `-` and `/` are allowed
    error: bundles/platform.set.yaml:3:14: the set is not valid
      because: registries.docker.io: `quay.io:port` is not `host[:port]`
    error: bundles/platform.set.yaml:3:3: the set is not valid
      because: registries: `docker.io/library` is not `host[:port]`
    ");
    let digest = format!("sha256:{}", "0".repeat(64));
    sandbox.write(
        "bundles/platform.set.yaml",
        &format!("images: ['nginx@{digest}']\nregistries: {{ docker.io: {{ mirror: 'quay.io:443/hub/' }} }}\n"),
    );
    let run = sandbox.run("fetch platform").exits_with(3);
    run.reports("is not locked");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offline_run_asks_no_upstream() {
    let place = Place::new().await;
    place.run("lock platform").success();
    let before = place.upstream.count();
    for arguments in [
        &["lock", "platform", "--check", "--offline"],
        &["fetch", "platform", "--offline", "-v"],
    ] {
        let run = place.run(arguments).exits_with(1);
        run.reports("offline");
        // Only the host: the registry is asked by plain HTTP here.
        run.does_not_report("https://");
    }
    assert_eq!(place.upstream.count(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_that_charts_name_and_no_lock_has_are_listed() {
    let place = Place::new().await;
    // Many charts have their own version as the tag.
    let values = format!(
        "image: {{ repository: nginx, tag: '1.29' }}\nsidecar: {{ image: 'quay.io/org/sidecar:v2' }}\n\
         agent: {{ image: {{ repository: quay.io/org/agent, tag: '' }} }}\n\
         exporter: {{ image: {{ repository: '{}/prometheus/node-exporter', tag: '' }} }}\n",
        place.upstream.address
    );
    let metadata = "{ name: monitoring, version: 1.0.0, appVersion: '7.1' }";
    let members = [("Chart.yaml", metadata), ("values.yaml", &values)];
    let members =
        members.map(|(name, text)| bundles::Member::new(&format!("chart/{name}"), text.as_bytes()));
    let packed = bundles::gzip(&bundles::tar(&members));
    place
        .upstream
        .chart_of("charts/monitoring", "1.0.0", packed);
    let locked = place.run("lock platform").success();
    let lock = place.read("bundles/platform.lock.yaml");
    let blobs = || {
        let asked = place.upstream.asked();
        asked.into_iter().filter(|one| one.contains("/blobs/"))
    };
    assert_eq!(blobs().count(), 2, "config and layer of the chart");
    let fetched = place.run("fetch platform").success();
    let (count, unique) = (blobs().count(), blobs().collect::<BTreeSet<_>>().len());
    assert_eq!(count, unique, "the chart was read twice");
    for run in [locked, fetched] {
        run.prints(
            "warning: the chart charts/monitoring:1.0.0 names quay.io/org/agent:7.1, which is in no lock\n\
             warning: the chart charts/monitoring:1.0.0 names quay.io/org/sidecar:v2, which is in no lock\n\
             hint: list an image in a set if the cluster needs it\n"
        );
        run.does_not_print("nginx");
        run.does_not_print("exporter");
    }
    // The file of another set counts, also before it is locked.
    let other = "bundles/other.set.yaml";
    (place.sandbox).write(
        other,
        "images: ['quay.io/org/sidecar:v2', 'quay.io/org/agent:7.1']\n",
    );
    let again = place.run("lock platform").success();
    again.does_not_mention("in no lock");
    assert_eq!(place.read("bundles/platform.lock.yaml"), lock);
    let inspected = place.run("inspect platform").success();
    inspected.prints("library/nginx:1.29");
    inspected.prints("\nset platform\n3 artifacts of ");
    let listed = place.run("list").success();
    listed.prints("platform");
    let stored = place.run("store").success();
    stored.prints("platform");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chart_that_cannot_be_read_when_it_is_locked_is_named_and_locked() {
    let place = Place::new().await;
    let not_searched = "not searched for images that no lock has: charts/monitoring:1.0.0";
    let large = vec![0; 17 << 20];
    (place.upstream).chart_of("charts/monitoring", "1.0.0", large);
    let run = place.run("lock platform").success();
    run.reports(&format!("{not_searched}\n"));
    let asked = place.upstream.asked().join("\n");
    asked.lacks("/blobs/");

    place.upstream.chart("charts/monitoring", "1.0.0");
    let refuse = |what: &'static str, status: StatusCode| {
        place.upstream.instead(move |asked| {
            let answer = (status, [("retry-after", "7200")]);
            (asked.path.contains(what)).then(|| answer.into_response())
        });
    };
    let reads = || {
        let asked = place.upstream.asked().into_iter();
        asked.filter(|one| one.contains("/blobs/")).count()
    };
    refuse("/blobs/", StatusCode::NOT_FOUND);
    let replace = ["lock", "platform", "--replace"];
    let run = place.run(&replace).success();
    run.reports(&format!("{not_searched}: cannot read sha256:"));
    assert_eq!(place.lock().artifacts.len(), 3);
    // A registry that could not be compared is not asked again.
    std::fs::remove_dir_all(place.path("bundles/store")).unwrap();
    refuse("/charts/", StatusCode::SERVICE_UNAVAILABLE);
    let before = reads();
    let run = place.run("lock platform").success();
    run.reports(&format!("{not_searched}\n"));
    assert_eq!(reads(), before);
}

#[test]
fn a_password_that_is_typed_without_a_scheme_is_not_repeated() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    sandbox.write("list", "bob:planted-55@quay.io/x:1\n");
    let place = "bob:planted-55@127.0.0.1:1/up";
    for command in [
        format!("lock v4.1.8 --from {place} --images list"),
        "lock v4.1.8 --from 127.0.0.1:1/up --images list".to_owned(),
        format!("fetch {place}"),
        format!("lock {place}"),
        format!("inspect {place}"),
        format!("releases {place}"),
        format!("new site --release {place}"),
    ] {
        let run = sandbox.run(&command);
        assert_ne!(run.code, Some(0), "{}", run.whole());
        run.does_not_mention("planted-55");
    }
}
