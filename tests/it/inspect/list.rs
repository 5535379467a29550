//! `list`: environments and locked releases, each with its state.

use support::{Lab, Sandbox};

use crate::{AIRLOCK, FAKE_MKECTL};

#[test]
fn a_fresh_checkout_is_listed() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    insta::assert_snapshot!(sandbox.run("list").whole(), @r#"
    exit code: 0
    --- stdout
    ENVIRONMENT  RELEASE      REGISTRY             PROTECTED  STATE
    demo         v4.1.5-demo  127.0.0.1:[PORT]/mke  no         never deployed

    RELEASE      ARCH   ARTIFACTS   BUNDLE  STATE
    v4.1.5-demo  amd64         14  5.23 MB  made when needed
    --- stderr
    "#);
}

#[test]
fn an_empty_workspace_gets_the_first_command() {
    let sandbox = Sandbox::new(AIRLOCK);
    insta::assert_snapshot!(sandbox.run("list").whole(), @r#"
    exit code: 0
    --- stdout
    No environment exists yet. Create one with `cargo xtask new NAME`.

    No release is locked. Lock one with `cargo xtask lock v4.1.5`.
    --- stderr
    "#);
}

#[test]
fn an_invalid_environment_does_not_hide_the_others() {
    let sandbox = Sandbox::with_examples(AIRLOCK);
    sandbox.write(
        "environments/staging/environment.yaml",
        "release: 4.1.5\nprotectd: true\n",
    );
    sandbox.write(
        "environments/Bad Name/environment.yaml",
        "release: v4.1.5\n",
    );
    sandbox.write(
        "environments/prod/receipt.yaml",
        "version: 2\nsigned: yes\n",
    );
    insta::assert_snapshot!(sandbox.run("list").whole(), @r#"
    exit code: 0
    --- stdout
    ENVIRONMENT  RELEASE      REGISTRY                            PROTECTED  STATE
    Bad Name                                                      no         invalid name
    demo         v4.1.5-demo  127.0.0.1:[PORT]/mke                 no         never deployed
    prod         v4.1.5       registry.prod.example.com:5000/mke  yes        its receipt cannot be read
    staging                                                       no         wrong: 3 problems

    RELEASE      ARCH   ARTIFACTS   BUNDLE  STATE
    v4.1.5-demo  amd64         14  5.23 MB  made when needed
    --- stderr
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_the_last_deploy_is_listed() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let states = |lab: &Lab| {
        let run = lab.run("list --format json").success();
        assert_eq!(run.stderr, "");
        let value = run.json();
        let environment = &value["result"]["environments"][0];
        assert_eq!(environment["name"], "lab");
        assert_eq!(environment["release"], "v4.1.5");
        assert_eq!(environment["protected"], false);
        let release = &value["result"]["releases"][0];
        assert_eq!(release["arch"], "amd64");
        assert_eq!(release["artifacts"], 14);
        let state = |row: &serde_json::Value| row["state"].as_str().unwrap().to_owned();
        (state(environment), state(release))
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(states(&lab), pair("never deployed", "in the store"));
    std::fs::remove_dir_all(lab.path("bundles/store")).unwrap();
    assert_eq!(
        states(&lab),
        pair("never deployed", "bundle is in bundles/")
    );
    let bundle = lab.path("bundles/mke_bundle_v4.1.5_amd64.tar.gz");
    lab.run("deploy lab").success();
    assert_eq!(states(&lab), pair("v4.1.5 deployed [TIME]", "in the store"));

    std::fs::remove_dir_all(lab.path("bundles/store")).unwrap();
    std::fs::remove_file(&bundle).unwrap();
    lab.variable("FAKE_MKECTL_EXIT", "1");
    lab.run("apply lab").exits_with(7);
    assert_eq!(
        states(&lab),
        pair("v4.1.5 failed at apply [TIME]", "not fetched")
    );
    std::fs::write(&bundle, "cut").unwrap();
    assert_eq!(states(&lab).1, "bundle has a different size");
}

#[test]
fn an_unreadable_lock_and_names_that_are_not_text_do_not_hide_the_others() {
    use std::os::unix::ffi::OsStrExt as _;

    let sandbox = Sandbox::with_examples(AIRLOCK);
    sandbox.write("bundles/v4.1.3-amd64.lock.yaml", "version: 1\n");
    for below in ["environments", "bundles"] {
        let name = std::ffi::OsStr::from_bytes(b"b\xffd.lock.yaml");
        std::fs::create_dir(sandbox.path(below).as_std_path().join(name)).unwrap();
    }
    let run = sandbox.run("list").success();
    run.prints("\nstaging ");
    let releases = run.stdout.split("\n\n").nth(1).unwrap();
    insta::assert_snapshot!(releases, @r"
    RELEASE      ARCH   ARTIFACTS   BUNDLE  STATE
    v4.1.3       amd64          0      0 B  its lock cannot be read
    v4.1.5-demo  amd64         14  5.23 MB  made when needed
    ");
}
