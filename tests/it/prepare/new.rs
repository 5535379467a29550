//! `new`: it writes an environment.yaml that is valid without changes.

use support::terminal::show;
use support::{Sandbox, Text as _};

use crate::AIRLOCK;

#[test]
fn a_new_environment_is_valid_as_it_is() {
    for sandbox in [Sandbox::new(AIRLOCK), Sandbox::shipped(AIRLOCK)] {
        let run = sandbox.run("new lab");
        insta::allow_duplicates! {
            insta::assert_snapshot!(run.whole(), @r#"
            exit code: 0
            --- stdout
            wrote environments/lab/environment.yaml for v4.2.0: fill in the registry and the hosts, then `cargo xtask check lab` and `cargo xtask render lab`
            v4.2.0 is not locked yet: `cargo xtask lock v4.2.0`
            --- stderr
            "#);
        }
        let shown = sandbox.run("show lab").success();
        shown.prints("registry.lab.example.com:5000");
        sandbox.run("render lab").success();
        sandbox.run("render lab --check").success();
        let listed = sandbox.run("list").success();
        listed.prints("never deployed");
    }
}

#[test]
fn it_is_commented_and_inherits_where_there_is_something_to_inherit() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    sandbox.run("new lab").success();
    insta::assert_snapshot!(
        "new_inheriting",
        sandbox.read("environments/lab/environment.yaml")
    );
    let sandbox = Sandbox::new(AIRLOCK);
    sandbox.run("new lab").success();
    assert!(
        !sandbox
            .read("environments/lab/environment.yaml")
            .contains("\ninherit:")
    );
}

#[test]
fn it_has_the_newest_release_that_is_locked() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    for release in ["v4.1.3", "v4.1.5", "v4.1.5-rc.1"] {
        sandbox.write(&format!("bundles/{release}-amd64.lock.yaml"), "");
    }
    sandbox.run("new lab").success();
    let written = sandbox.read("environments/lab/environment.yaml");
    written.has("\nrelease: v4.1.5\n");
}

#[test]
fn an_existing_environment_is_not_changed() {
    let sandbox = Sandbox::with_examples(AIRLOCK);
    let before = sandbox.state();
    insta::assert_snapshot!(sandbox.run("new prod").whole(), @"
    exit code: 3
    --- stdout
    --- stderr
    error: `environments/prod/environment.yaml` already exists
    hint: edit `environments/prod/environment.yaml`, or choose a different name
    ");
    assert_eq!(sandbox.changes_since(&before), [""; 0]);
}

#[test]
fn invalid_names_are_refused_and_leave_no_files() {
    let sandbox = Sandbox::new(AIRLOCK);
    let mut all = String::new();
    for name in [
        "Prod",
        "../lab",
        "a b",
        "-lab-",
        "lab_1",
        "",
        ".",
        "ö",
        &"a".repeat(64),
    ] {
        let run = sandbox.run(&["new", "--", name]).exits_with(3);
        assert_eq!(run.stdout, "");
        all.push_str(&run.stderr);
    }
    insta::assert_snapshot!(all, @r#"
    error: `Prod` is not a valid name of an environment: only lower-case letters, digits and hyphens are allowed
    hint: did you mean `prod`?
    error: `../lab` is not a valid name of an environment: only lower-case letters, digits and hyphens are allowed
    hint: did you mean `lab`?
    error: `a b` is not a valid name of an environment: only lower-case letters, digits and hyphens are allowed
    error: `-lab-` is not a valid name of an environment: it begins or ends with a hyphen
    error: `lab_1` is not a valid name of an environment: only lower-case letters, digits and hyphens are allowed
    error: `` is not a valid name of an environment: it is empty
    error: `.` is not a valid name of an environment: only lower-case letters, digits and hyphens are allowed
    error: `ö` is not a valid name of an environment: only lower-case letters, digits and hyphens are allowed
    error: `aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa` is not a valid name of an environment: it has more than 63 characters
    "#);
    let left: Vec<_> = sandbox
        .path("environments")
        .read_dir_utf8()
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn names_of_sets_and_of_other_folders_are_refused() {
    let sandbox = Sandbox::new(AIRLOCK);
    sandbox.write("bundles/platform.set.yaml", "images: [nginx:1]\n");
    let before = sandbox.state();
    let mut all = String::new();
    all.push_str(&sandbox.run("new platform").exits_with(64).stderr);
    for name in ["facts", "ci", "examples"] {
        all.push_str(&sandbox.run(&["new", name]).exits_with(3).stderr);
    }
    insta::assert_snapshot!(all, @"
    error: `platform` is the name of a set; an environment needs a different one
    hint: choose a different name
    error: `facts` is not a valid name of an environment: its folder is reserved for other files
    error: `ci` is not a valid name of an environment: its folder is reserved for other files
    error: `examples` is not a valid name of an environment: its folder is reserved for other files
    ");
    assert_eq!(sandbox.changes_since(&before), [""; 0]);
}

#[test]
fn the_release_can_be_named() {
    let sandbox = Sandbox::new(AIRLOCK);
    sandbox.run("new lab --release v4.1.1").success();
    assert!(
        sandbox
            .read("environments/lab/environment.yaml")
            .contains("\nrelease: v4.1.1\n")
    );
    insta::assert_snapshot!(sandbox.run("new old --release v4.0.0").whole(), @r#"
    exit code: 3
    --- stdout
    --- stderr
    error: v4.0.0 has no documented offline installation; the first release with one is v4.1.0
    "#);
    for (arguments, expected) in [
        (&["new", "demo"][..], (64, "reserved for the demo")),
        (
            &["new", "lab", "--release", "v9.9.9"],
            (3, "neither known to Airlock nor locked"),
        ),
    ] {
        let (code, expected) = expected;
        let run = sandbox.run(arguments).exits_with(code);
        run.reports(expected);
    }
    insta::assert_snapshot!(sandbox.run("new older --release 4.1.5").whole(), @r#"
    exit code: 64
    --- stdout
    --- stderr
    error: `4.1.5` is not a release; expected a version such as v4.1.5
    hint: did you mean `v4.1.5`?
    "#);
    assert!(!sandbox.path("environments/old").exists());
    assert!(!sandbox.path("environments/older").exists());
}

#[test]
fn machines_get_the_path() {
    let sandbox = Sandbox::new(AIRLOCK);
    let run = sandbox.run("new lab --format json").success();
    assert_eq!(
        run.stdout,
        "{\"result\":{\"path\":\"environments/lab/environment.yaml\",\"release\":\"v4.2.0\"}}\n"
    );
    assert_eq!(run.stderr, "");
    let run = sandbox.run("new lab --format json").exits_with(3);
    insta::assert_snapshot!(run.stdout, @r#"{"error":{"causes":[],"exit-code":3,"hints":["edit `environments/lab/environment.yaml`, or choose a different name"],"message":"`environments/lab/environment.yaml` already exists"}}"#);
}

#[test]
fn on_a_terminal_new_asks_for_missing_values() {
    let sandbox = Sandbox::new(AIRLOCK);
    // The release by default, an address that is refused, one that is not, and so on.
    let typed = "\nhttps://harbor.lan\nharbor.lan:8443\n\n10.0.0.5\nnode-1.lan\n\n";
    let shown = show(sandbox.command("new lab"), typed);
    assert_eq!(shown.code, Some(0), "{}", shown.text);
    let lines = shown.lines().join("\n");
    for text in [
        "not locked yet: v4.1.0, v4.1.1, ",
        "release",
        "registry address",
        "project in the registry",
        "external address of the API server",
        "address of the first controller",
        "SSH user",
        "wrote environments/lab/environment.yaml",
    ] {
        assert!(lines.contains(text), "{text}: {lines}");
    }
    let written = sandbox.read("environments/lab/environment.yaml");
    for text in [
        "release: v4.2.0\n",
        "  address: harbor.lan:8443\n",
        "  project: mke\n",
        "externalAddress: 10.0.0.5\n",
        "        address: node-1.lan\n        user: ubuntu\n",
    ] {
        assert!(written.contains(text), "{text}: {written}");
    }
    sandbox.run("check lab").success();

    // Locked releases are listed separately.
    sandbox.write("bundles/v4.1.3-amd64.lock.yaml", "");
    let shown = show(sandbox.command("new site"), "\n\n\n\n\n\n");
    let lines = shown.lines().join("\n");
    lines.has("locked: v4.1.3\n");
    lines.has("not locked yet: v4.1.0, v4.1.1, v4.1.2, v4.1.4");

    // An invalid option is refused before the first question.
    let shown = show(sandbox.command("new lab"), "");
    assert_eq!(shown.code, Some(3), "{}", shown.text);
    assert!(!shown.text.contains("registry address"), "{}", shown.text);
}

#[test]
fn options_and_json_output_suppress_the_questions() {
    let sandbox = Sandbox::new(AIRLOCK);
    let written = |name: &str| {
        let text = sandbox.read(&format!("environments/{name}/environment.yaml"));
        text.replace(name, "NAME")
            .replace(&name.to_uppercase(), "NAME")
    };
    for (name, arguments) in [
        ("site1", vec!["new", "site1", "--defaults"]),
        ("site2", vec!["new", "site2", "--format", "json"]),
        ("site3", vec!["new", "site3", "--release", "v4.2.0"]),
    ] {
        let shown = show(sandbox.command(&arguments), "");
        assert_eq!(shown.code, Some(0), "{}", shown.text);
        assert_eq!(written(name), written("site1"));
    }
    let new = "new site4 --registry harbor.lan --project teams/mke --host 10.0.0.9 --user core \
               --external-address 10.0.0.5";
    let run = sandbox.run(new).success();
    run.prints("for v4.2.0: add further hosts, then");
    let run = sandbox.run("new site5 --host 300.1.1.1").exits_with(3);
    assert_eq!(
        run.stderr,
        "error: not a valid address of the first controller: `300.1.1.1`, which is neither a host name nor an IPv4 address; write a host name, or an IPv4 address such as `10.0.0.5`\n"
    );
    let written = written("site4");
    written.has("  address: harbor.lan\n  # The path");
    written.has("        address: 10.0.0.9\n        user: core\n");
    insta::assert_snapshot!(sandbox.run("new site5 --registry https://harbor.lan").whole(), @"
    exit code: 3
    --- stdout
    --- stderr
    error: not a valid registry address: `https://harbor.lan` has a scheme; write `harbor.lan`
    ");
    assert!(!sandbox.path("environments/site5").exists());
}

#[test]
fn what_new_writes_is_what_check_reads() {
    let sandbox = Sandbox::new(AIRLOCK);
    for (name, option, value) in [
        ("v6", "--registry", "[fd00::5]:5602"),
        ("user", "--user", "yes"),
        ("api", "--external-address", "[fd00::9]"),
        ("api6", "--external-address", "fd00::9"),
        ("port", "--external-address", "mke.example.com:6443"),
    ] {
        sandbox.run(&["new", name, option, value]).success();
        sandbox.run(&["check", name]).success();
    }
}
