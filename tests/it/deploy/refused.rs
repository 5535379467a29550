//! Registries that refuse: a run sends one rejected write and one wrong password, however many
//! artifacts and environments it has.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use support::faulty::{Fault, FaultyRegistry, Kind, PASSWORD, Quirks, Rule, USER, always, quirks};
use support::server::{Asked, Server};
use support::{Sandbox, TestRegistry, Text as _, bundles};

use crate::{AIRLOCK, FAKE_MKECTL};

/// Makes a workspace with more than sixty artifacts and credentials with this password.
fn workspace(password: &str) -> Sandbox {
    let mut sandbox = Sandbox::new(AIRLOCK);
    let mut recipe = bundles::tiny();
    recipe.artifacts.extend((0..60).map(|number| {
        let name = format!("image-{number}");
        let layers = [("shared", 20_000), (name.as_str(), 100)];
        bundles::image(&name, "v1", &["linux/amd64"], &layers)
    }));
    bundles::make_locked(&sandbox, &recipe);
    sandbox.install(FAKE_MKECTL, "mkectl");
    sandbox
        .variable("FAULTY_USERNAME", USER)
        .variable("FAULTY_PASSWORD", password);
    sandbox
}

/// Writes the environments `lab` and `prod` with this registry and these lines of `config:`.
fn describe(sandbox: &Sandbox, address: &str, config: &str) {
    for (name, project) in [("lab", "mke/four"), ("prod", "other")] {
        let text =
            TestRegistry::description(address, false, "  push-credentials: { env: FAULTY }\n");
        let text = text
            .replace("mke/four", project)
            .replace(
                "accept: [telemetry]",
                "accept: [telemetry, incomplete-lock]",
            )
            .replace("config:\n", &format!("config:\n{config}"));
        sandbox.write(&format!("environments/{name}/environment.yaml"), &text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_refuses_writes_gets_one_write_from_each_command() {
    let open = quirks!(open_for_reading: true);
    let wrong_password = quirks!(..open.clone(); requires_password: true);
    let no_tokens = quirks!(..open; token_life: Some(u32::MAX), no_tokens_for_writing: true);
    let deny = |status, code| {
        let fault = Fault::Answer { status, code };
        vec![always(&[Kind::OpenUpload, Kind::Mount], fault)]
    };
    for (quirks, rules, password, writes, passwords) in [
        (wrong_password, vec![], "not-the-password-5b2e", 1, 1),
        (no_tokens, vec![], PASSWORD, 0, 0),
        (Quirks::default(), deny(403, "DENIED"), PASSWORD, 1, 0),
        (Quirks::default(), deny(405, "UNSUPPORTED"), PASSWORD, 1, 0),
    ] {
        let sandbox = workspace(password);
        for command in ["push lab", "push lab prod", "deploy lab", "preflight lab"] {
            let registry = FaultyRegistry::start(quirks.clone(), &rules, 1).await;
            describe(&sandbox, &registry.address, "");
            let run = sandbox.run(command).exits_with(5);
            let whole = run.whole();
            assert_eq!(registry.refused_writes(), writes, "{command:?}: {whole}");
            assert_eq!(
                registry.wrong_passwords(),
                passwords,
                "{command:?}: {whole}"
            );
            assert!(registry.is_empty(), "{command:?}: {whole}");
            if command != "preflight lab" {
                // After the plan, standard error has one message.
                let message = run.stderr.lines();
                let message = message.skip_while(|line| !line.contains("error: "));
                assert!((1..8).contains(&message.count()), "{whole}");
                run.reports("hint: ");
            }
        }
    }
}

// Preflight tests the login with a write, because this registry serves reads without a login.
#[tokio::test(flavor = "multi_thread")]
async fn preflight_finds_a_wrong_password_where_reading_requires_none() {
    let quirks = quirks!(requires_password: true, open_for_reading: true);
    let registry = FaultyRegistry::start(quirks, &[], 1).await;
    let sandbox = workspace("not-the-password-5b2e");
    describe(&sandbox, &registry.address, "");
    let run = sandbox.run("preflight lab").exits_with(5);
    let login = run.stdout.lines().find(|line| line.contains("login"));
    let login = login.unwrap_or_default();
    assert!(login.contains("401"), "{}", run.whole());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_distinguishes_a_wrong_password_from_a_missing_one() {
    let requires_password = quirks!(requires_password: true);
    let mut all = String::new();
    let registry = FaultyRegistry::start(requires_password, &[], 1).await;
    let sandbox = workspace("not-the-password-5b2e");
    describe(&sandbox, &registry.address, "");
    let name = "environments/lab/environment.yaml";
    let text = sandbox.read(name);
    let without = text.replace("  push-credentials: { env: FAULTY }\n", "");
    for text in [&text, &without] {
        sandbox.write(name, text);
        let run = sandbox.run("push lab").exits_with(5);
        all.push_str(&run.stderr);
    }
    all.lacks("not-the-password");
    // It differs from run to run which of the concurrent requests fails first.
    let path = regex_lite::Regex::new("mke/four/[^:]+:").unwrap();
    let all = path.replace_all(&all, "mke/four/[NAME]:");
    insta::assert_snapshot!(all, @"
    error: registry 127.0.0.1:[PORT] cannot be used
      because: HEAD http://127.0.0.1:[PORT]/v2/mke/four/[NAME]: the user `courier` was rejected: 401 Unauthorized
    hint: check user and password: the variables that registry.push-credentials names, or `skopeo login`, `docker login`, `podman login`
    error: registry 127.0.0.1:[PORT] cannot be used
      because: HEAD http://127.0.0.1:[PORT]/v2/mke/four/[NAME]: no credentials were sent: 401 Unauthorized (a user name and a password are required)
    hint: configure a login: name variables in `registry.push-credentials` and set them, or use `skopeo login`, `docker login` or `podman login`
    ");
}

// A quota or an immutable tag concerns one artifact, not the registry.
#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_that_is_refused_for_its_content_stops_no_other() {
    let immutable = "hint: allow this tag to be overwritten";
    for (status, message, hint) in [
        (412, "configured as immutable, cannot be updated", immutable),
        (403, "tag is immutable", immutable),
        (400, "ImageTagAlreadyExistsException", immutable),
        (409, "conflict", "hint: check the registry's log"),
        (451, "sanctioned", "hint: a policy of the registry"),
        (
            411,
            "length",
            "hint: let the proxy before the registry pass",
        ),
        (
            403,
            "will exceed the configured upper limit of 10.0 MiB",
            "hint: raise the project's quota",
        ),
    ] {
        let rule = Rule {
            deeper_than: 3,
            ..always(&[Kind::PutManifest], Fault::Denied { status, message })
        };
        let registry = FaultyRegistry::start(Quirks::default(), &[rule], 1).await;
        let sandbox = workspace(PASSWORD);
        describe(&sandbox, &registry.address, "");
        let run = sandbox.run("push lab").exits_with(9);
        run.reports("calico/node");
        run.reports(hint);
        run.reports("hint: then run it again: pushed artifacts stay");
        assert!(registry.tag("mke/four/image-7", "v1").is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_sends_a_wrong_password_once() {
    let tokens = quirks!(token_life: Some(u32::MAX));
    let password = quirks!(requires_password: true);
    let secret = "  registries:\n    imageRegistry: { credentialsSecretName: pull }\n    chartRegistry: { credentialsSecretName: pull }\n";
    for quirks in [tokens, password] {
        let registry = FaultyRegistry::start(quirks, &[], 1).await;
        let sandbox = workspace("not-the-password-5b2e");
        describe(&sandbox, &registry.address, secret);
        sandbox.run("render lab").success();
        for command in [
            "status lab",
            "report lab",
            "plan lab",
            "verify lab",
            "verify lab --full",
            "snapshot lab --out snapshot.yaml",
            "push lab",
            "deploy lab",
            "preflight lab",
        ] {
            let before = registry.wrong_passwords();
            let run = sandbox.run(command);
            let sent = registry.wrong_passwords() - before;
            assert_eq!(sent, 1, "{command:?}: {}", run.whole());
            if command.starts_with("status") || command.starts_with("verify") {
                let whole = run.whole();
                whole.has(&format!("`{USER}` was rejected"));
                whole.lacks("without credentials");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_progress_is_one_line_every_ten_seconds() {
    let registry = FaultyRegistry::start(Quirks::default(), &[], 1).await;
    let sandbox = Sandbox::new(AIRLOCK);
    let mut recipe = bundles::tiny();
    let large = bundles::image("large", "1", &["linux/amd64"], &[("large", 1_300_000)]);
    recipe.artifacts.push(large);
    bundles::make_locked(&sandbox, &recipe);
    describe(&sandbox, &registry.address, "");
    let text = sandbox.read("environments/lab/environment.yaml");
    let text = text.replace("  push-credentials: { env: FAULTY }\n", "");
    sandbox.write("environments/lab/environment.yaml", &text);
    let run = sandbox.run("push lab --max-rate 100kB").success();
    let lines: Vec<&str> = run
        .stderr
        .lines()
        .filter(|line| line.contains(" left"))
        .collect();
    let [line] = lines[..] else {
        panic!("{}", run.whole());
    };
    assert!(
        line.contains(" kB of ") || line.contains(" MB of "),
        "{line}"
    );
    line.has(" kB/s, ");
    run.does_not_report(" 0s left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_registry_is_named_while_a_push_waits_for_it() {
    let server = Server::start(|_: &Asked| {
        std::thread::sleep(Duration::from_secs(4));
        StatusCode::NOT_FOUND.into_response()
    })
    .await;
    let sandbox = workspace(PASSWORD);
    describe(&sandbox, &server.address, "");
    let run = sandbox.run("push lab").exits_with(5);
    run.reports("has not answered for 3 s; still waiting");
}

#[tokio::test(flavor = "multi_thread")]
async fn anonymous_pulls_are_tested_before_anything_is_sent() {
    // A registry without tokens for anonymous clients is private. A registry that answers 403 for
    // missing content is not.
    let private = quirks!(token_life: Some(u32::MAX));
    let reticent = quirks!(unknown: 403);
    let sandbox = workspace(PASSWORD);
    for command in ["push", "deploy"] {
        let registry = FaultyRegistry::start(private.clone(), &[], 1).await;
        describe(&sandbox, &registry.address, "");
        let run = sandbox.run(&[command, "lab"]).exits_with(5);
        run.reports("without credentials");
        assert!(registry.is_empty());
    }
    let registry = FaultyRegistry::start(reticent, &[], 1).await;
    describe(&sandbox, &registry.address, "");
    sandbox.run("push lab").success();
}
