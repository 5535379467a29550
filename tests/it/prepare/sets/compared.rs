//! `diff` of sets: two of them, and a lock against what was committed.

use super::{BOTH, Place};

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_compared_with_the_committed_one() {
    let place = Place::new().await;
    let (sandbox, upstream) = (&place.sandbox, &place.upstream);
    sandbox.init_git();
    upstream.image("org/old", "1", BOTH, 900, "1");
    let address = &upstream.address;
    place.write(&format!("- {address}/org/old:1\n"));
    sandbox.run("lock platform").success();
    let nothing = sandbox.run("diff platform").success();
    assert!(
        nothing.stdout.starts_with(
            "from nothing (platform is not yet committed) to platform\n4 artifacts added"
        ),
        "before the first commit: {}",
        nothing.stdout
    );
    let sent = "to send to an empty registry: ";
    nothing.prints(sent);
    sandbox.commit("Lock platform");
    let same = ["diff", "platform", "--detailed-exitcode"];
    sandbox.run(&same).success();

    // One image is new, one is dropped, one moved under its tag, and one has a new tag.
    upstream.image("org/new", "1", BOTH, 700, "1");
    upstream.image("library/nginx", "1.29", BOTH, 3000, "2");
    upstream.image("prometheus/node-exporter", "v1.10", BOTH, 2000, "1");
    place.write(&format!("- {address}/org/new:1\n"));
    let set = sandbox.read("bundles/platform.set.yaml");
    sandbox.write(
        "bundles/platform.set.yaml",
        &set.replace("node-exporter:v1.9", "node-exporter:v1.10"),
    );
    sandbox.run("lock platform --update nginx").success();
    let run = sandbox.run(&same).exits_with(2);
    insta::assert_snapshot!(run.stdout, @"
    from platform of HEAD to platform
    1 artifact added, 1 removed, 2 changed, 1 the same
    to send to a registry that has platform of HEAD: 8 blobs of 11.24 kB and manifests of 3.23 kB; all of platform is 23.19 kB

      + org/new                   1                                                3.71 kB
      - org/old                   1
      ~ library/nginx             1.29, sha256:05138b6f49df → sha256:f7dbf20bd94c  10.76 kB
      ~ prometheus/node-exporter  v1.9 → v1.10                                     0 B
    ");
    let markdown = sandbox.run("diff platform --markdown").success();
    insta::assert_snapshot!(markdown.stdout, @"
    ### platform of HEAD → platform

    1 artifact added, 1 removed, 2 changed, 1 the same; to send to a registry that has platform of HEAD: 8 blobs of 11.24 kB and manifests of 3.23 kB; all of platform is 23.19 kB.

    | artifact | old | new | size | to send |
    |---|---|---|---:|---:|
    | `org/new` |  | `1@sha256:b1af03506b7c` | 3.86 kB | 3.71 kB |
    | `org/old` | `1@sha256:5bb8295f34f3` |  | 4.46 kB |  |
    | `library/nginx` | `1.29@sha256:05138b6f49df` | `1.29@sha256:f7dbf20bd94c` | 10.76 kB | 10.76 kB |
    | `prometheus/node-exporter` | `v1.9@sha256:314f0eb18794` | `v1.10@sha256:314f0eb18794` | 7.76 kB | 0 B |
    ");
    let bytes = sandbox.run("diff platform --format json").success();
    let bytes = bytes.json();
    let moved = &bytes["result"]["changed"][0];
    assert_eq!(moved["new-digest"].as_str().unwrap().len(), 71, "{moved}");
    assert_ne!(moved["new-digest"], moved["old-digest"]);

    // The bytes are those that a fetch brings.
    sandbox.git("stash --quiet");
    sandbox.run("fetch platform").exits_with(2);
    sandbox.git("stash pop --quiet");
    let fetched = sandbox.run("fetch platform").success();
    let blobs = &bytes["result"]["blobs"];
    let expected = format!("the set platform is fetched: {blobs} new blobs, ");
    assert!(fetched.stdout.starts_with(&expected), "{}", fetched.stdout);

    sandbox.commit("Update platform");
    sandbox.run(&same).success();
    let since = ["diff", "platform", "--since", "HEAD~1"];
    assert_eq!(
        sandbox.run(&since).success().stdout,
        run.stdout.replace("of HEAD", "of HEAD~1")
    );
    let wrong = sandbox.run("diff platform --since no/such");
    insta::assert_snapshot!(wrong.exits_with(3).stderr, @"
    error: cannot compare `bundles/platform.lock.yaml` with no/such
      because: `no/such` is not a commit of the repository
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sets_are_compared_and_nothing_else_with_them() {
    let place = Place::new().await;
    let sandbox = &place.sandbox;
    let set = sandbox.read("bundles/platform.set.yaml");
    sandbox.write(
        "bundles/smaller.set.yaml",
        &set.replace("- nginx:1.29\n", ""),
    );
    sandbox.run("lock platform").success();
    sandbox.run("lock smaller").success();
    let run = sandbox.run("diff platform smaller").success();
    insta::assert_snapshot!(run.stdout, @"
    from platform to smaller
    0 artifacts added, 1 removed, 0 changed, 2 the same
    to send to a registry that has platform: 0 blobs of 0 B and manifests of 0 B; all of smaller is 8.72 kB

      - library/nginx  1.29
    ");
    let refused = |arguments: &[&str]| sandbox.run(arguments).exits_with(64).stderr;
    insta::assert_snapshot!(refused(&["diff", "platform", "v4.1.5"]), @"error: `platform` and `v4.1.5` cannot be compared: name two environments, two releases or two sets");
    for arguments in [["diff", "platform", "nope"], ["diff", "nope", "platform"]] {
        insta::allow_duplicates! {
            insta::assert_snapshot!(sandbox.run(&arguments).exits_with(3).stderr, @"
            error: `nope` is neither an environment, a locked release nor a set
            hint: `cargo xtask list` shows all of them
            ");
        }
    }
    insta::assert_snapshot!(refused(&["diff", "platform", "--live"]), @"error: `--live` is for an environment, and `platform` is not one");
    insta::assert_snapshot!(refused(&["diff", "demo", "--since", "HEAD"]), @"error: `--since` is for a release or a set, and `demo` is not one");
}
