//! Tests of `lock`: a file and a server give the same lock, and a damaged or different bundle is
//! refused.

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _};
use bundle::Lock;
use bundle::make::Recipe;
use support::bundles::{self, FILE, LOCK, Member};
use support::{Arguments, Run, Sandbox, Server, Text as _};

use crate::AIRLOCK;

mod registry;

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_the_same_from_a_file_from_a_server_and_on_repetition() {
    let bundle = bundles::bytes(&bundles::tiny());
    let server = Server::of(bundle.clone()).await;
    let url = server.url("mirror/bundle.tar.gz");

    let downloading = Sandbox::new(AIRLOCK);
    let run = downloading.run(&["lock", "v4.1.5", "--url", &url]);
    insta::assert_snapshot!(run.whole(), @"
    exit code: 0
    --- stdout
    wrote bundles/v4.1.5-amd64.lock.yaml: 3 artifacts, SHA-256 d28b2690a00ab3287975c52da33cad8d1a8ed4d14f3d5f841eaac55fe0157cd3
    not compared with a checksum; `--checksum FILE` compares it
    --- stderr
        fetch http://127.0.0.1:[PORT]/mirror/bundle.tar.gz
        fetch done: downloaded bundles/mke_bundle_v4.1.5_amd64.tar.gz
       verify bundles/mke_bundle_v4.1.5_amd64.tar.gz
       verify done: 3 artifacts locked
    ");
    let lock = downloading.read(LOCK);
    assert_eq!(
        std::fs::read(downloading.path(&format!("bundles/{FILE}"))).unwrap(),
        bundle
    );

    let carrying = Sandbox::new(AIRLOCK);
    let file = carrying.path("anything.tar.gz");
    std::fs::write(&file, &bundle).unwrap();
    carrying
        .run(&["lock", "v4.1.5", "--bundle", file.as_str(), "--url", &url])
        .success();
    assert_eq!(carrying.read(LOCK), lock);
    assert_eq!(
        server.asked().len(),
        1,
        "a file was given, and yet asked for"
    );

    let run = downloading.run(&["lock", "v4.1.5", "--url", &url]);
    insta::assert_snapshot!(run.whole(), @"
    exit code: 0
    --- stdout
    unchanged: bundles/v4.1.5-amd64.lock.yaml: 3 artifacts, SHA-256 d28b2690a00ab3287975c52da33cad8d1a8ed4d14f3d5f841eaac55fe0157cd3
    not compared with a checksum; `--checksum FILE` compares it
    --- stderr
    warning: the bundle is read from bundles/mke_bundle_v4.1.5_amd64.tar.gz; the lock records http://127.0.0.1:[PORT]/mirror/bundle.tar.gz, which was not contacted
       verify bundles/mke_bundle_v4.1.5_amd64.tar.gz
       verify done: 3 artifacts locked
    ");
    assert_eq!(downloading.read(LOCK), lock);
    assert_eq!(server.asked().len(), 1, "the bundle was here already");
}

#[test]
fn a_lock_says_everything_about_a_bundle() {
    let sandbox = Sandbox::new(AIRLOCK);
    bundles::make_locked(&sandbox, &bundles::tiny());
    insta::assert_snapshot!(sandbox.read(LOCK));
}

#[test]
fn the_result_is_one_object_for_machines() {
    let sandbox = Sandbox::new(AIRLOCK);
    let run = lock(
        &sandbox,
        &bundles::bytes(&bundles::tiny()),
        &["--format", "json"],
    );
    insta::assert_snapshot!(run.whole(), @r#"
    exit code: 0
    --- stdout
    {"event":{"bytes":47639,"kind":"started","step":"verify","what":"bundle.tar.gz"}}
    {"event":{"item":"bundles/images/calico&node@v3.30.2.tar","kind":"at","step":"verify"}}
    {"event":{"item":"bundles/images/pause@3.10.tar","kind":"at","step":"verify"}}
    {"event":{"item":"bundles/charts/charts&dex@0.23.0.tar","kind":"at","step":"verify"}}
    {"event":{"kind":"finished","step":"verify","what":"3 artifacts locked"}}
    {"result":{"artifacts":3,"checksum":"not compared with a checksum; `--checksum FILE` compares it","from":null,"init":null,"kept":"bundles/mke_bundle_v4.1.5_amd64.tar.gz","path":"bundles/v4.1.5-amd64.lock.yaml","sha256":"d28b2690a00ab3287975c52da33cad8d1a8ed4d14f3d5f841eaac55fe0157cd3","written":true}}
    --- stderr
    "#);
}

#[test]
fn a_committed_lock_is_replaced_only_when_asked() {
    let sandbox = Sandbox::new(AIRLOCK);
    lock(&sandbox, &bundles::bytes(&bundles::tiny()), &[]).success();
    let committed = sandbox.read(LOCK);
    let mut recipe = bundles::tiny();
    recipe.artifacts[1].tag = "3.11".to_owned();
    let other = bundles::bytes(&recipe);
    insta::assert_snapshot!(lock(&sandbox, &other, &[]).whole(), @"
    exit code: 4
    --- stdout
    --- stderr
       verify bundle.tar.gz
    error: `bundles/v4.1.5-amd64.lock.yaml` locks a different bundle
      bundle.sha256: d28b2690a00ab3287975c52da33cad8d1a8ed4d14f3d5f841eaac55fe0157cd3 -> d1be97d28793409519dd106c0b6ea730890f6f33de517af615468502f60e5eef
      added: 1 artifact: pause:3.11
      removed: 1 artifact: pause:3.10
    hint: keep the committed lock, which was reviewed, unless the vendor confirms that the bundle was replaced; `--diff` shows all lines, `--replace` writes the new lock
    ");
    assert_eq!(sandbox.read(LOCK), committed);
    lock(&sandbox, &other, "--replace").success();
    assert!(sandbox.read(LOCK).contains("3.11"));
}

#[test]
fn a_lock_that_differs_beside_the_bundle_does_not_blame_the_bundle() {
    let sandbox = Sandbox::new(AIRLOCK);
    let bundle = bundles::bytes(&bundles::tiny());
    lock(&sandbox, &bundle, "--url https://one.example/b").success();
    insta::assert_snapshot!(lock(&sandbox, &bundle, "--url https://two.example/b").whole(), @"
    exit code: 3
    --- stdout
    --- stderr
    warning: the bundle is read from bundle.tar.gz; the lock records https://two.example/b, which was not contacted
       verify bundle.tar.gz
    error: `bundles/v4.1.5-amd64.lock.yaml` locks the same bundle, but differs in other keys
      bundle.url: https://one.example/b -> https://two.example/b
    hint: check the URL and the mkectl on PATH; `--diff` shows all lines, `--replace` writes the new lock
    ");
}

#[test]
fn a_bundle_that_cannot_be_read_or_kept_is_not_to_be_thrown_away() {
    let sandbox = Sandbox::new(AIRLOCK);
    let folder = sandbox.path("bundles");
    let run = sandbox.run(&["lock", "v4.1.5", "--bundle", folder.as_str()]);
    insta::assert_snapshot!(run.whole(), @"
    exit code: 3
    --- stdout
    --- stderr
       verify bundles
    error: cannot read `[WORKSPACE]/bundles`
      because: it is a folder, not a regular file
    ");

    // The store cannot be created, because a file has its path.
    let blobs = sandbox.path("bundles/store/blobs/sha256");
    std::fs::create_dir_all(blobs.parent().unwrap()).unwrap();
    std::fs::write(
        sandbox.path("bundles/store/oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
    std::fs::write(&blobs, "").unwrap();
    let run = lock(&sandbox, &bundles::bytes(&bundles::tiny()), &[]);
    run.does_not_report("delete");
    run.exits_with(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_compared_with_the_checksum_at_a_mirror() {
    let bundle = bundles::bytes(&bundles::tiny());
    let right = bundles::sha256(&bundle);
    let wrong = "0".repeat(64);
    let served = bundle.clone();
    let server = Server::start(move |asked| match asked.path.as_str() {
        "/right" => format!("{right}  {FILE}\n").into_response(),
        "/wrong" => format!("{wrong}  {FILE}\n").into_response(),
        "/page" => Html("<html>log in</html>").into_response(),
        "/bundle" => support::server::part_of(&served.clone().into(), asked),
        _ => StatusCode::NOT_FOUND.into_response(),
    })
    .await;
    let checked = |path: &str| {
        let sandbox = Sandbox::new(AIRLOCK);
        let run = lock(&sandbox, &bundle, &["--checksum-url", &server.url(path)]);
        assert_eq!(sandbox.path(LOCK).exists(), run.code == Some(0), "{path}");
        run.whole()
    };
    insta::assert_snapshot!(checked("right"), @"
    exit code: 0
    --- stdout
    wrote bundles/v4.1.5-amd64.lock.yaml: 3 artifacts, SHA-256 d28b2690a00ab3287975c52da33cad8d1a8ed4d14f3d5f841eaac55fe0157cd3
    SHA-256 confirmed by http://127.0.0.1:[PORT]/right
    the bundle is linked to bundles/mke_bundle_v4.1.5_amd64.tar.gz
    --- stderr
       verify bundle.tar.gz
       verify done: 3 artifacts locked
    ");
    insta::assert_snapshot!(checked("wrong"), @"
    exit code: 4
    --- stdout
    --- stderr
       verify bundle.tar.gz
    error: `bundle.tar.gz` has SHA-256 d28b2690a00ab3287975c52da33cad8d1a8ed4d14f3d5f841eaac55fe0157cd3, and http://127.0.0.1:[PORT]/wrong says 0000000000000000000000000000000000000000000000000000000000000000
    hint: replace bundle.tar.gz by a new download; if the checksum still differs, ask the vendor
    ");
    insta::assert_snapshot!(checked("page"), @"
    exit code: 4
    --- stdout
    --- stderr
       verify bundle.tar.gz
    error: cannot compare the bundle with its checksum
      because: http://127.0.0.1:[PORT]/page is an HTML page, not a checksum file
    hint: no lock was written: check the checksum's file or URL, or compare the bundle by other means and lock it with `--bundle FILE`
    ");
    insta::assert_snapshot!(checked("missing"), @"
    exit code: 1
    --- stdout
    --- stderr
       verify bundle.tar.gz
    error: cannot compare the bundle with its checksum
      because: http://127.0.0.1:[PORT]/missing was not found (status 404)
    hint: no lock was written: check the checksum's file or URL, or compare the bundle by other means and lock it with `--bundle FILE`
    ");

    let sandbox = Sandbox::new(AIRLOCK);
    let (url, checksum) = (server.url("bundle"), server.url("wrong"));
    let arguments = ["lock", "v4.1.5", "--url", &url, "--checksum-url", &checksum];
    sandbox.run(&arguments).exits_with(4);
    assert!(!sandbox.path(LOCK).exists());
}

#[test]
fn releases_are_taken_as_they_are_known() {
    let sandbox = Sandbox::new(AIRLOCK);
    let file = sandbox.path("bundle.tar.gz");
    bundles::make(&bundles::tiny(), &file);
    let locked = |release: &str| {
        sandbox
            .run(&["lock", release, "--bundle", file.as_str()])
            .whole()
    };
    insta::assert_snapshot!(locked("v4.0.0"), @"
    exit code: 3
    --- stdout
    --- stderr
    error: v4.0.0 has no documented offline installation; the first release with one is v4.1.0
    ");
    insta::assert_snapshot!(locked("v4.9.0"), @"
    exit code: 0
    --- stdout
    wrote bundles/v4.9.0-amd64.lock.yaml: 3 artifacts, SHA-256 d28b2690a00ab3287975c52da33cad8d1a8ed4d14f3d5f841eaac55fe0157cd3
    not compared with a checksum; `--checksum FILE` compares it
    the bundle is linked to bundles/mke_bundle_v4.9.0_amd64.tar.gz
    --- stderr
    warning: v4.9.0 is unknown to this version of Airlock; the names and rules of v4.2.1 are used
       verify bundle.tar.gz
       verify done: 3 artifacts locked
    ");
    insta::assert_snapshot!(locked("4.1.5"), @"
    exit code: 64
    --- stdout
    --- stderr
    error: `4.1.5` is not a release; expected a version such as v4.1.5
    hint: did you mean `v4.1.5`?
    ");
}

#[test]
fn a_bundle_that_is_wrong_inside_is_refused_by_the_archives_name() {
    let pause = |members: &mut Vec<Member>| {
        members
            .iter()
            .position(|member| member.path.contains("pause"))
            .unwrap()
    };
    let refused = |name: &str, change: &dyn Fn(&mut Vec<Member>)| {
        let mut members = bundles::unpack(&bundles::bytes(&bundles::tiny()));
        change(&mut members);
        assert_refused(name, &bundles::pack(&members));
    };
    refused("no_archive", &|members| {
        members.retain(|member| !member.path.ends_with(".tar"));
    });
    refused("two_archives_of_one_name", &|members| {
        let place = pause(members);
        let twin = Member::new("bundles/more/pause@3.10.tar", members[place].bytes.clone());
        members.push(twin);
    });
    refused("a_name_without_a_tag", &|members| {
        let place = pause(members);
        members[place].path = "bundles/images/pause.tar".to_owned();
    });
    refused("a_missing_layer", &|members| {
        let place = pause(members);
        let mut archive = bundles::untar(&members[place].bytes);
        // The largest of the blobs is the layer that all images share.
        let largest = archive.iter().map(|blob| blob.bytes.len()).max();
        let layer = archive
            .iter()
            .position(|blob| Some(blob.bytes.len()) == largest);
        archive.remove(layer.unwrap());
        members[place].bytes = bundles::tar(&archive);
    });
    refused("a_wrong_blob", &|members| {
        let place = pause(members);
        let mut archive = bundles::untar(&members[place].bytes);
        let blob = archive
            .iter_mut()
            .find(|blob| blob.path.contains("blobs/sha256/"));
        blob.unwrap().bytes[0] ^= 1;
        members[place].bytes = bundles::tar(&archive);
    });
    refused("an_archive_that_is_compressed", &|members| {
        let place = pause(members);
        members[place].bytes = bundles::gzip(&members[place].bytes);
    });
    refused("an_archive_that_is_named_as_compressed", &|members| {
        let place = pause(members);
        members[place].bytes = bundles::gzip(&members[place].bytes);
        members[place].path.push_str(".gz");
    });
    refused("an_archive_of_docker_save", &|members| {
        let place = pause(members);
        members[place].bytes = bundles::tar(&[Member::new("manifest.json", "[]")]);
    });
    refused("an_archive_that_is_cut", &|members| {
        let place = pause(members);
        let half = members[place].bytes.len() / 2;
        members[place].bytes.truncate(half);
    });
}

#[test]
fn what_is_not_a_bundle_is_refused() {
    let whole = bundles::bytes(&bundles::tiny());
    assert_refused("nothing", b"");
    assert_refused("a_page", b"<!DOCTYPE html><title>Log in</title>");
    assert_refused(
        "an_unpacked_bundle",
        &bundles::tar(&bundles::unpack(&whole)),
    );
    assert_refused("half_a_bundle", &whole[..whole.len() / 2]);
    assert_refused("a_bundle_and_more", &[&whole[..], b"more"].concat());
    let sandbox = Sandbox::new(AIRLOCK);
    let run = sandbox.run("lock v4.1.5 --bundle nowhere.tar.gz");
    insta::assert_snapshot!(run.whole(), @"
    exit code: 3
    --- stdout
    --- stderr
       verify nowhere.tar.gz
    error: cannot read `nowhere.tar.gz`
      because: No such file or directory (os error 2)
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_a_url_is_not_committed() {
    let server = Server::of(bundles::bytes(&bundles::tiny())).await;
    let url = server
        .url("bundle.tar.gz")
        .replace("http://", "http://courier:correct-horse@");
    let sandbox = Sandbox::new(AIRLOCK);
    let run = sandbox.run(&["lock", "v4.1.5", "--url", &url]);
    insta::assert_snapshot!(run.whole(), @"
    exit code: 64
    --- stdout
    --- stderr
    error: the URL http://127.0.0.1:[PORT]/bundle.tar.gz carries credentials, which must not be in a lock: it is committed
    hint: download the bundle by other means, then give the file with `--bundle FILE` and the URL without credentials
    ");
    run.does_not_mention("correct-horse");
    assert!(!sandbox.path(LOCK).exists());
    assert_eq!(server.asked().len(), 0);
}

#[test]
fn an_unreadable_lock_is_not_written() {
    let sandbox = Sandbox::new(AIRLOCK);
    let bundle = bundles::bytes(&bundles::tiny());
    let run = lock(&sandbox, &bundle, "--url packages.example.com/bundle");
    insta::assert_snapshot!(run.whole(), @"
    exit code: 64
    --- stdout
    --- stderr
    error: cannot download from `packages.example.com/bundle`: expected http:// or https://
    ");
    assert!(!sandbox.path(LOCK).exists());
}

#[test]
fn a_mirror_keeps_to_its_own_architecture() {
    let sandbox = Sandbox::new(AIRLOCK);
    let recipe = bundles::of(vec![bundles::image(
        "calico/node",
        "v3.30.2",
        &["linux/arm64"],
        &[("node", 1_500)],
    )]);
    lock(&sandbox, &bundles::bytes(&recipe), &["--arch", "arm64"]).success();
    let text = sandbox.read("bundles/v4.1.5-arm64.lock.yaml");
    text.has("file: mke_bundle_v4.1.5_arm64.tar.gz");
    assert!(!sandbox.path(LOCK).exists());
    // Each alias of an architecture is replaced by the name that the vendor uses.
    lock(&sandbox, &bundles::bytes(&recipe), &["--arch", "aarch64"]).success();
    assert!(!sandbox.path("bundles/v4.1.5-aarch64.lock.yaml").exists());
    let run = lock(&sandbox, &bundles::bytes(&recipe), &["--arch", "ARM"]).exits_with(64);
    run.reports("write amd64 or arm64");
}

#[test]
fn a_bundle_of_another_release_or_architecture_is_refused() {
    let sandbox = Sandbox::new(AIRLOCK);
    let bundle = sandbox.path("mke_bundle_v4.2.0_amd64.tar.gz");
    bundles::make(&bundles::tiny(), &bundle);
    let named = ["lock", "v4.1.4", "--bundle", bundle.as_str()];
    insta::assert_snapshot!(sandbox.run(&named).whole(), @"
    exit code: 4
    --- stdout
    --- stderr
    error: this bundle is not v4.1.4 for amd64: the name `mke_bundle_v4.2.0_amd64.tar.gz` belongs to v4.2.0
    hint: lock it as the release that it contains; to insist on this one, add `--force-release`
    ");
    // The content shows the release: the matrix and the operator are those of v4.1.5.
    let bundle = sandbox.path("bundle.tar.gz");
    bundles::make(&bundles::small(), &bundle);
    let inside = ["lock", "v4.1.4", "--bundle", bundle.as_str()];
    insta::assert_snapshot!(sandbox.run(&inside).whole(), @"
    exit code: 4
    --- stdout
    --- stderr
       verify bundle.tar.gz
    error: this bundle is not v4.1.4 for amd64: its release matrix lists v4.1.5, not v4.1.4; it contains mke-operator:v1.6.3, but v4.1.4 has v1.6.1; it contains mke-operator-chart:3.17.2, but v4.1.4 has 3.17.1
    hint: lock it as the release that it contains; to insist on this one, add `--force-release`
    ");
    let without_matrix = Recipe {
        matrix: None,
        ..bundles::small()
    };
    bundles::make(&without_matrix, &bundle);
    let run = sandbox.run(&inside).exits_with(4);
    run.reports("mke-operator:v1.6.3, but v4.1.4 has v1.6.1");
    let arm = format!("lock v4.1.5 --bundle {bundle} --arch arm64");
    let run = sandbox.run(&arm).exits_with(4);
    run.reports(" of its images are for amd64, ");
    assert!(!sandbox.path("bundles/v4.1.4-amd64.lock.yaml").exists());
    assert!(!sandbox.path("bundles/v4.1.5-arm64.lock.yaml").exists());
    // `--force-release` overrides the check.
    sandbox
        .run(&[&inside[..], &["--force-release"]].concat())
        .success()
        .reports("warning: this bundle is not v4.1.4");
    // The URL also shows the release, before any request.
    let run =
        sandbox.run("lock v4.1.4 --url http://127.0.0.1:9/x/mke_bundle_v4.2.0_amd64.tar.gz?sig=1");
    assert!(
        run.exits_with(4)
            .stderr
            .contains("the name `mke_bundle_v4.2.0_amd64.tar.gz` belongs to v4.2.0")
    );
}

#[test]
fn what_was_forced_is_in_the_lock_and_shown() {
    let sandbox = Sandbox::new(AIRLOCK);
    let bundle = sandbox.path("bundle.tar.gz");
    bundles::make(&bundles::small(), &bundle);
    sandbox.lock_as("v4.1.4", &bundle);
    let text = sandbox.read("bundles/v4.1.4-amd64.lock.yaml");
    text.has("forced-release:\n- its release matrix lists v4.1.5, not v4.1.4\n");
    let run = sandbox.run("inspect v4.1.4").success();
    run.prints("locked with --force-release, although its release matrix lists v4.1.5");
    sandbox
        .run("inspect v4.1.4 --format json")
        .success()
        .prints("forced-release");
    // Without force, the lock has no such key.
    sandbox.lock_as("v4.1.5", &bundle);
    assert!(!sandbox.read(LOCK).contains("forced"));
}

#[test]
fn everything_named_is_checked_before_the_bundle_is_read() {
    let sandbox = Sandbox::new(AIRLOCK);
    // If `lock` read this file, the exit code would be 4.
    let bundle = sandbox.path("bundle.tar.gz");
    std::fs::write(&bundle, "not a bundle").unwrap();
    let url = "https://host/sum";
    let offline = format!("--offline --checksum-url {url}");
    let mkectl = "--mkectl-url https://user:planted@host/{system}/{machine}";
    for (more, code, text) in [
        ("--checksum missing.sha256", 3, "missing.sha256"),
        ("--checksum-url file:///missing.sha256", 3, "missing.sha256"),
        ("--checksum-url ftp://host/sum", 64, "ftp"),
        (&offline, 1, url),
        (mkectl, 64, "credentials"),
    ] {
        let lock = format!("lock v4.1.5 --bundle {bundle} {more}");
        let run = sandbox.run(&lock).exits_with(code);
        run.reports(text);
        run.does_not_mention("planted");
        assert!(!sandbox.path("bundles/store").exists(), "{more:?}");
    }
}

#[test]
fn a_bundle_in_hand_is_taken_before_a_url_and_named() {
    let sandbox = Sandbox::new(AIRLOCK);
    let bundle = sandbox.path(&format!("bundles/{FILE}"));
    bundles::make(&bundles::small(), &bundle);
    let url = format!("https://mirror.invalid/{FILE}");
    let warning = format!(
        "warning: the bundle is read from bundles/{FILE}; the lock records {url}, which was not contacted"
    );
    for more in [&[][..], &["--bundle", bundle.as_str()]] {
        let run = sandbox.run(&[&["lock", "v4.1.5", "--url", &url], more].concat());
        assert!(run.success().stderr.contains(&warning), "{more:?}");
    }
}

#[test]
fn a_release_matrix_that_an_upgrade_cannot_use_is_reported() {
    let sandbox = Sandbox::new(AIRLOCK);
    let bundle = sandbox.path("bundle.tar.gz");
    for (matrix, expected) in [
        (None, Some("the bundle has no release matrix")),
        (Some("{\"releases\": 1}"), Some("is not a list of releases")),
        (Some("[]\n"), None),
    ] {
        let recipe = Recipe {
            matrix: matrix.map(str::to_owned),
            ..bundles::small()
        };
        bundles::make(&recipe, &bundle);
        let lock = ["lock", "v4.1.5", "--bundle", bundle.as_str(), "--replace"];
        let run = sandbox.run(&lock).success();
        match expected {
            Some(expected) => assert!(run.stderr.contains(expected), "{}", run.whole()),
            None => assert!(!run.stderr.contains("matrix"), "{}", run.whole()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_presigned_query_is_used_and_never_stored_or_printed() {
    let bundle = bundles::bytes(&bundles::tiny());
    let server = Server::of(bundle.clone()).await;
    let sandbox = Sandbox::new(AIRLOCK);
    let url = format!("{}?X-Amz-Signature=hunter2#hunter2", server.url(FILE));
    let runs = [
        sandbox.run(&["lock", "v4.1.5", "--url", &url]).success(),
        sandbox.run("inspect v4.1.5").success(),
        // A lock of an earlier version is shown without it, too.
        {
            let text = sandbox.read(LOCK);
            let text = text.replace(&format!("/{FILE}\n"), &format!("/{FILE}?sig=hunter2\n"));
            assert!(text.contains("hunter2"));
            sandbox.write(LOCK, &text);
            let url = server.url("elsewhere");
            sandbox
                .run(&["lock", "v4.1.5", "--url", &url, "--diff"])
                .exits_with(3)
        },
        // An argument that is not a URL, and a user name in the place of a scheme.
        sandbox.run("lock v4.1.3 --url https://a:hunter2@host:99999/?hunter2"),
        sandbox.run("lock v4.1.3 --url user:hunter2@host/x --bundle bundles/x"),
        sandbox.run("lock v4.1.5 --replace --checksum-url http://127.0.0.1:9/x?hunter2"),
        sandbox.run("lock v4.1.5 --replace --checksum-url user:hunter2@host"),
    ];
    for run in runs {
        run.does_not_mention("hunter2");
    }
    bundles::forget_store(&sandbox);
    let _ = std::fs::remove_file(sandbox.path(LOCK));
    sandbox.run(&["lock", "v4.1.5", "--url", &url]).success();
    for (path, bytes) in sandbox.files() {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("hunter2"), "{path}");
    }
    assert!(
        sandbox
            .read(LOCK)
            .contains(&format!("url: {}\n", server.url(FILE)))
    );
}

#[test]
fn what_differs_from_a_committed_lock_is_a_summary() {
    let sandbox = Sandbox::new(AIRLOCK);
    lock(&sandbox, &bundles::bytes(&bundles::small()), &[]).success();
    let other = bundles::bytes(&Recipe {
        matrix: None,
        ..bundles::tiny()
    });
    let run = lock(&sandbox, &other, &[]).exits_with(4);
    insta::assert_snapshot!(run.whole(), @"
    exit code: 4
    --- stdout
    --- stderr
       verify bundle.tar.gz
    warning: the bundle has no release matrix; an upgrade to v4.1.5 may require the vendor's: name the file as `release-matrix:` in environment.yaml
    error: `bundles/v4.1.5-amd64.lock.yaml` locks a different bundle
      bundle.sha256: 8d95e01c4e32b7bd4e1084f2bb357b0e204b86b5a788e2e593263bd9320e414e -> cbe23aa81655bb904814feedcd17130de35824a9cb38e4e7dee5a943bb776695
      bundle.size: 5228962 -> 46615
      release-matrix: 3090934f7937e50a9176398ed73f3552df7e3bf785fa832e545b8a213990c8cd -> none
      added: 2 artifacts: charts/dex:0.23.0, pause:3.10
      removed: 13 artifacts: calico/apiserver:v3.30.2, charts/k0rdent-enterprise:1.2.3, dex-http-server-chart:0.3.0, dex-http-server:v0.7.0, dexidp/dex:v2.42.0, envoyproxy/envoy:distroless-v1.37.3, k0sproject/coredns:1.12.1, k0sproject/pause:3.10, mirrored-chart-dex:v0.23.0, mke-dashboard:v1.6.2 and 3 more
      changed: 1 artifact: calico/node:v3.30.2
    hint: keep the committed lock, which was reviewed, unless the vendor confirms that the bundle was replaced; `--diff` shows all lines, `--replace` writes the new lock
    ");
    let all = lock(&sandbox, &other, "--diff").exits_with(4);
    assert!(all.stderr.lines().count() > 200, "{}", all.stderr);
    let run = lock(&sandbox, &other, "--replace").success();
    run.prints("  removed: ");
}

#[test]
fn a_bundle_in_hand_is_compared_with_a_checksum_in_hand() {
    let bundle = bundles::bytes(&bundles::tiny());
    let right = bundles::sha256(&bundle);
    let wrong = "0".repeat(64);
    let sandbox = Sandbox::new(AIRLOCK);
    let file = sandbox.path("bundle.tar.gz");
    sandbox.write(
        "sums.txt",
        &format!("{wrong}  other.tar.gz\n{right} *bundle.tar.gz\n"),
    );
    sandbox.write("wrong.txt", &format!("{wrong}\n"));
    let sums = format!("file://{}", sandbox.path("sums.txt"));
    let upper = right.to_uppercase();
    for arguments in [
        ["--checksum", &right],
        ["--checksum", &upper],
        ["--checksum", "sums.txt"],
        ["--checksum-url", &sums],
    ] {
        let run = lock(&sandbox, &bundle, &arguments).success();
        run.prints("SHA-256 confirmed by ");
        sandbox.remove(LOCK);
    }
    for (arguments, code) in [
        (["--checksum", &wrong], 4),
        (["--checksum", "wrong.txt"], 4),
        (["--checksum", "missing.txt"], 3),
        (["--checksum", "bundle.tar.gz"], 4),
    ] {
        lock(&sandbox, &bundle, &arguments).exits_with(code);
        assert!(!sandbox.path(LOCK).exists());
    }
    // A `file:` URL is the bundle itself; the vendor's URL is locked, since a path means nothing
    // elsewhere.
    let url = format!("file://{file}");
    sandbox
        .run(&["lock", "v4.1.5", "--url", &url, "--checksum", &right])
        .success();
    assert!(!sandbox.read(LOCK).contains("file:/"));
}

#[test]
fn a_bundle_from_elsewhere_is_in_bundles_afterwards() {
    let sandbox = Sandbox::new(AIRLOCK);
    let bundle = bundles::bytes(&bundles::tiny());
    let run = lock(&sandbox, &bundle, &[]).success();
    run.prints(&format!("the bundle is linked to bundles/{FILE}\n"));
    let kept = sandbox.path(&format!("bundles/{FILE}"));
    assert_eq!(std::fs::read(&kept).unwrap(), bundle);
    sandbox.run("fetch v4.1.5 --check").success();
    // A different file in bundles/ is named and stays.
    std::fs::remove_file(&kept).unwrap();
    std::fs::write(&kept, "different").unwrap();
    let run = lock(&sandbox, &bundle, &[]).success();
    run.reports(&format!(
        "warning: bundles/{FILE} exists and is not the locked bundle"
    ));
    assert_eq!(std::fs::read(&kept).unwrap(), b"different");
}

#[test]
fn a_checksum_may_have_its_prefix_and_one_with_63_digits_is_not_a_file() {
    let bundle = bundles::bytes(&bundles::tiny());
    let sandbox = Sandbox::new(AIRLOCK);
    let digits = bundles::sha256(&bundle);
    let prefixed = format!("sha256:{digits}");
    let run = lock(&sandbox, &bundle, &["--checksum", &prefixed]).success();
    run.prints("SHA-256 confirmed by --checksum");
    for wrong in [&digits[1..], &prefixed[..70]] {
        let run = lock(&sandbox, &bundle, &["--checksum", wrong]).exits_with(64);
        run.reports(&format!(
            "`{wrong}` is not a SHA-256, which has 64 hexadecimal digits"
        ));
    }
}

#[test]
fn files_that_may_be_meant_as_archives_are_named() {
    let mut members = bundles::unpack(&bundles::bytes(&bundles::tiny()));
    members.push(Member::new("bundles/images/p@1.TAR", "x"));
    members.push(Member::new("bundles/images/q@1.tar ", "x"));
    members.push(Member::new("bundles/README.txt", "x"));
    members.push(Member::new("bundles/images/dir@1.tar/x", "x"));
    members.push(Member::new("bundles/a/release-matrix.json", "[]"));
    members.push(Member::new("bundles/b/release-matrix.json", "[]"));
    let sandbox = Sandbox::new(AIRLOCK);
    let run = lock(&sandbox, &bundles::pack(&members), &[]).success();
    for name in ["bundles/images/p@1.TAR", "bundles/images/q@1.tar "] {
        let warning = format!("warning: `{name}` in the bundle is not used: ");
        run.reports(&warning);
    }
    run.does_not_report("README");
    run.reports("warning: `bundles/images/dir@1.tar/` in the bundle is not used: it is a folder, not an archive\n");
    run.reports("`bundles/b/release-matrix.json` in the bundle is not used: the release matrix is `bundles/a/release-matrix.json`");
}

#[test]
fn a_bundle_made_of_other_things_than_images_and_charts_keeps_its_kinds() {
    let recipe = Recipe {
        directory: "bundle".to_owned(),
        level: 6,
        matrix: None,
        ..bundles::tiny()
    };
    let sandbox = Sandbox::new(AIRLOCK);
    bundles::make_locked(&sandbox, &recipe);
    let lock = bundles::lock_of(&sandbox);
    let kinds: Vec<String> = lock
        .artifacts
        .iter()
        .map(|artifact| format!("{} {}", artifact.kind, artifact.reference()))
        .collect();
    assert_eq!(
        kinds,
        [
            "image calico/node:v3.30.2",
            "chart charts/dex:0.23.0",
            "image pause:3.10"
        ]
    );
    assert_eq!(lock.release_matrix, None);
}

/// Checks that a bundle is refused with code 4 and a message, and that no lock is written.
#[track_caller]
fn assert_refused(name: &str, bundle: &[u8]) {
    let sandbox = Sandbox::new(AIRLOCK);
    let run = lock(&sandbox, bundle, &[]);
    assert_eq!(run.code, Some(4), "{name}: {}", run.whole());
    assert!(!sandbox.path(LOCK).exists(), "{name}");
    insta::assert_snapshot!(name, run.whole());
}

/// Locks these bytes as v4.1.5.
#[must_use]
fn lock(sandbox: &Sandbox, bundle: &[u8], more: impl Arguments) -> Run {
    let file = sandbox.path("bundle.tar.gz");
    std::fs::write(&file, bundle).unwrap();
    let mut arguments = vec!["lock", "v4.1.5", "--bundle", file.as_str()];
    arguments.extend(more.words());
    sandbox.run(&arguments)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mkectl_without_a_published_hash_is_trusted_once() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/linux/x86_64" | "/darwin/arm64" => {
            let program = bundles::Member::new("mkectl", asked.path.clone());
            bundles::pack(&[program]).into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    })
    .await;
    let sandbox = Sandbox::new(AIRLOCK);
    let bundle = sandbox.path("bundles/mke_bundle_v4.2.1_amd64.tar.gz");
    bundles::make(&bundles::tiny(), &bundle);
    let url = server.url("{system}/{machine}");
    let lock = format!("lock v4.2.1 --bundle {bundle} --mkectl-url {url}");
    let run = sandbox.run(&lock).success();
    run.reports(
        "warning: the hash of mkectl v4.2.1 for linux-x86_64 is not published: the file from ",
    )
    .reports("warning: mkectl v4.2.1 for darwin-x86_64 is not locked: ");
    let path = sandbox.path("bundles/v4.2.1-amd64.lock.yaml");
    let locked = Lock::read(&path).unwrap().mkectl;
    let platforms: Vec<&str> = locked.iter().map(|one| one.platform.as_str()).collect();
    assert_eq!(platforms, ["darwin-arm64", "linux-x86_64"]);
    assert!(locked.iter().all(|one| one.trusted_on_first_use));
    // Only the download for this machine is kept; the others are only hashed.
    let this = crate::deploy::mkectl::platform();
    for one in &locked {
        let folder = sandbox.path(&format!("bundles/mkectl/v4.2.1/{}", one.platform));
        assert_eq!(folder.exists(), one.platform == this, "{folder}");
    }
    // It is trusted once: locking again keeps the hashes, and downloads only what was missing.
    let asked = server.asked().len();
    let again = sandbox.run(&lock).success();
    assert!(again.stdout.starts_with("unchanged:"), "{}", again.whole());
    let new: Vec<String> = server.asked()[asked..]
        .iter()
        .map(|one| one.path.clone())
        .collect();
    assert_eq!(new, ["/darwin/x86_64"]);
    // Without a URL of the vendor or a mirror, `lock` sends no request and keeps the locked hashes.
    sandbox
        .run(&format!("lock v4.1.5 --bundle {bundle} --force-release"))
        .success()
        .does_not_report("mkectl");
}

/// Returns a bundle whose image `mke-dashboard` names one more layer, by a URL alone.
fn with_external_layer() -> Vec<u8> {
    let digest = |bytes: &[u8]| bundles::sha256(bytes);
    let mut members = bundles::unpack(&bundles::bytes(&bundles::small()));
    let image = members
        .iter_mut()
        .find(|member| member.path.contains("mke-dashboard@"));
    let image = image.unwrap();
    let mut archive = bundles::untar(&image.bytes);
    let place = |archive: &[Member], path: &str| {
        archive
            .iter()
            .position(|member| member.path == path)
            .unwrap()
    };
    let index = place(&archive, "index.json");
    let mut json: serde_json::Value = serde_json::from_slice(&archive[index].bytes).unwrap();
    let root = &mut json["manifests"][0];
    let old = root["digest"]
        .as_str()
        .unwrap()
        .replace("sha256:", "blobs/sha256/");
    let at = place(&archive, &old);
    let mut manifest: serde_json::Value = serde_json::from_slice(&archive[at].bytes).unwrap();
    manifest["layers"]
        .as_array_mut()
        .unwrap()
        .push(serde_json::json!({
            "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "digest": format!("sha256:{}", digest(b"windows")),
            "size": 7,
            "urls": ["https://mcr.example.com/windows"],
        }));
    let bytes = manifest.to_string().into_bytes();
    root["digest"] = format!("sha256:{}", digest(&bytes)).into();
    root["size"] = bytes.len().into();
    archive[at] = Member::new(&format!("blobs/sha256/{}", digest(&bytes)), bytes);
    archive[index].bytes = json.to_string().into_bytes();
    image.bytes = bundles::tar(&archive);
    bundles::pack(&members)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_layer_is_locked_shown_and_not_pushed() {
    let lab = support::Lab::new(AIRLOCK, crate::FAKE_MKECTL).await;
    let sandbox = &lab.sandbox;
    let file = sandbox.path(&format!("bundles/{FILE}"));
    std::fs::write(&file, with_external_layer()).unwrap();
    sandbox
        .run(&["lock", "v4.1.5", "--bundle", file.as_str(), "--replace"])
        .success()
        .reports("warning: mke-dashboard:v1.6.2: 1 layer is external");
    assert!(
        sandbox.read(LOCK).contains("external:"),
        "{}",
        sandbox.read(LOCK)
    );
    let run = sandbox.run("inspect v4.1.5").success();
    run.prints("mke-dashboard:v1.6.2: 1 external layer");
    let run = sandbox.run("plan lab").success();
    run.mentions("external layers are not pushed");
    // The registry of a rehearsal takes the manifest.
    let run = sandbox.run("rehearse lab").success();
    run.reports("INF Pulled 14 artifacts");
    // A registry that refuses the manifest is explained.
    let quirks = support::faulty::quirks!(refuses: &["application/vnd.oci.image.config.v1+json"]);
    let registry = support::faulty::FaultyRegistry::start(quirks, &[], 0).await;
    support::TestRegistry::describe_at(&registry.address, None, sandbox, "");
    let run = sandbox.run("push lab").exits_with(9);
    run.reports("set validation.manifests.urls.allow");
    // A registry that accepts the manifest gets all other content.
    let registry =
        support::faulty::FaultyRegistry::start(support::faulty::Quirks::default(), &[], 0).await;
    support::TestRegistry::describe_at(&registry.address, None, sandbox, "");
    sandbox.run("push lab").success();
}

// A lock that was renamed would install the other release.
#[test]
fn a_lock_under_the_name_of_another_release_is_refused() {
    let sandbox = Sandbox::new(AIRLOCK);
    bundles::make_locked(&sandbox, &bundles::tiny());
    let renamed = sandbox.path("bundles/v4.1.4-amd64.lock.yaml");
    std::fs::rename(sandbox.path(LOCK), renamed).unwrap();
    let run = sandbox.run("inspect v4.1.4").exits_with(3);
    run.reports("it is the lock of v4.1.5 for amd64, but its file name differs");
}
