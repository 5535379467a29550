//! `status`: the required, the deployed and the present state of all environments, and what fixes
//! each difference.

use std::time::{Duration, Instant};

use support::wire::Wire;
use support::{Lab, Sandbox, bundles};

use crate::{AIRLOCK, FAKE_MKECTL};

#[test]
fn environments_that_were_never_deployed_list_what_is_missing() {
    let sandbox = Sandbox::with_examples(AIRLOCK);
    let free = support::sandbox::free_port();
    for environment in ["prod", "staging"] {
        let path = format!("environments/{environment}/environment.yaml");
        let text = sandbox.read(&path);
        let local = text.replace(&format!("registry.{environment}.example.com"), "127.0.0.1");
        let local = local.replace("127.0.0.1\n", &format!("127.0.0.1:{free}\n"));
        sandbox.write(&path, &local);
    }
    let before = sandbox.state();
    insta::assert_snapshot!(sandbox.run("status").whole(), @"
    exit code: 0
    --- stdout
    ENVIRONMENT  WANTED       DEPLOYED  REGISTRY  DIFFERENCES
    demo         v4.1.5-demo  -         0 of 14             3
    prod         v4.1.5       -         -                   2
    staging      v4.1.5       -         -                   2

    demo: environments/demo/mke4.yaml differs from what is rendered
        cargo xtask render demo
    demo: nothing was deployed yet
    demo: the registry lacks 14 of 14 artifacts
        cargo xtask deploy demo
    prod: v4.1.5 is not locked
        with internet: `cargo xtask lock v4.1.5`, and commit it; without: unpack a medium that has the lock
    prod: environments/prod/mke4.yaml differs from what is rendered
        cargo xtask render prod
    staging: v4.1.5 is not locked
        with internet: `cargo xtask lock v4.1.5`, and commit it; without: unpack a medium that has the lock
    staging: environments/staging/mke4.yaml differs from what is rendered
        cargo xtask render staging
    --- stderr
    ");
    assert_eq!(sandbox.changes_since(&before), [""; 0]);
    sandbox.run("status --detailed-exitcode").exits_with(2);
    sandbox.run("status nowhere").exits_with(3);
}

#[test]
fn if_the_address_of_the_embedded_registry_is_in_use_the_hint_is_to_wait() {
    let sandbox = Sandbox::shipped(AIRLOCK);
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let path = "environments/demo/environment.yaml";
    let text = sandbox.read(path);
    let line = text.lines().find(|line| line.contains(" address: "));
    sandbox.write(
        path,
        &text.replace(line.unwrap(), &format!("  address: {address}")),
    );
    let run = sandbox.run("status demo").success();
    let drift = run.stdout.split("cannot be started at").nth(1).unwrap();
    let fix = drift.lines().nth(1).unwrap().trim();
    assert!(fix.starts_with("wait for another command"), "{fix}");
    let run = sandbox.run("preflight demo").exits_with(5);
    assert!(
        run.stderr.ends_with(&format!("hint: {fix}\n")),
        "{}",
        run.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_refuses_nodes_is_reported() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let wire = Wire::before(&lab.registry.address).await;
    lab.edit_environment(&lab.registry.address, &wire.address);
    wire.require_credentials("/manifests/");
    let run = lab.run("status lab").success();
    let why = "lab: nodes may not pull: the registry refuses them without credentials\n    cargo xtask preflight lab\n";
    run.prints(why);
    run.does_not_print("14 of 14");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployed_environment_has_no_drift_and_takes_one_request_per_artifact() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let wire = Wire::before(&lab.registry.address).await;
    lab.edit_environment(&lab.registry.address, &wire.address);
    lab.run("deploy lab").success();
    let _ = wire.take();
    let run = lab.run("status --detailed-exitcode");
    insta::assert_snapshot!(run.whole(), @r"
    exit code: 0
    --- stdout
    ENVIRONMENT  WANTED  DEPLOYED                     REGISTRY  SHARED STATE                          DIFFERENCES
    lab          v4.1.5  v4.1.5 [TIME]  14 of 14  v4.1.5 deployed [TIME]         none
    --- stderr
    ");
    // The other requests are the ping of the registry, and two for the shared state.
    let seen = wire.take();
    assert_eq!(
        seen.len(),
        bundles::lock_of(&lab.sandbox).artifacts.len() + 3
    );
    assert!(
        seen.iter().all(|request| {
            request.starts_with("HEAD")
                || request == "GET /v2/"
                || request.starts_with("GET /v2/mke/airlock/state/")
        }),
        "{seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn both_records_of_a_deploy_agree_on_how_it_ended() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let row = |lab: &Lab| {
        let run = lab.run("status lab").success();
        let row = run.stdout.lines().nth(1).unwrap();
        let cells = row
            .split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty());
        let cells: Vec<_> = cells.map(str::to_owned).collect();
        (cells[2].clone(), cells[4].clone())
    };
    lab.variable("FAKE_MKECTL_EXIT", "1");
    lab.run("deploy lab").exits_with(7);
    let (deployed, shared) = row(&lab);
    assert_eq!(deployed, "nothing; the last deploy failed at apply, [TIME]");
    assert_eq!(shared, "a deploy of v4.1.5 failed [TIME]");

    // The shared state does not record how the deploy ended. Its receipt does, but this checkout
    // has a different receipt.
    let receipt = lab.read("environments/lab/receipt.yaml");
    lab.write(
        "environments/lab/receipt.yaml",
        &format!("{receipt}# another\n"),
    );
    assert_eq!(row(&lab).1, "a deploy of v4.1.5 ended [TIME]");
    lab.write("environments/lab/receipt.yaml", &receipt);

    lab.variable("FAKE_MKECTL_EXIT", "0");
    lab.run("deploy lab").success();
    assert_eq!(row(&lab).1, "v4.1.5 deployed [TIME]");
    lab.run("cluster reset lab --confirm lab").success();
    assert_eq!(row(&lab).1, "reset [TIME]");
}

#[expect(
    clippy::disallowed_methods,
    reason = "a process that simulates a running mkectl"
)]
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_state_is_not_reported_as_never_deployed() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.write("environments/lab/receipt.yaml", "garbage\n");
    let run = lab.run("status lab").success();
    run.does_not_print("deploy lab");
    run.prints("git checkout HEAD -- ");

    lab.remove("environments/lab/receipt.yaml");
    // Airlock starts every mkectl in a session of its own.
    let mut running = std::process::Command::new("setsid")
        .args(["sleep", "60"])
        .spawn()
        .unwrap();
    lab.write(
        "environments/lab/logs/under-way.yaml",
        &format!(
            "command: apply\nrelease: v4.1.5\nlog: x.log\nbegan: now\nprocess: {}\n",
            running.id()
        ),
    );
    let run = lab.run("status lab").success();
    running.kill().unwrap();
    running.wait().unwrap();
    run.does_not_print("deploy lab");
    run.prints("tail -f x.log");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_difference_has_its_command() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    let only = |lab: &Lab, arguments: &[&str]| {
        let arguments = [&["status", "lab", "--format", "json"], arguments].concat();
        let run = lab.run(&arguments).success();
        let value = run.json();
        let drift = value["result"]["environments"][0]["drift"].clone();
        let drift: Vec<String> = drift
            .as_array()
            .unwrap()
            .iter()
            .map(|drift| {
                let text = |key: &str| drift[key].as_str().unwrap().to_owned();
                format!("{} | {}", text("what"), text("fix"))
            })
            .collect();
        lab.redact(&drift.join("\n"))
    };
    assert_eq!(only(&lab, &[]), "");

    let config = lab.read("environments/lab/mke4.yaml");
    let live = lab.home().join("live.yaml");
    lab.variable("FAKE_MKECTL_CONFIG", live.as_str());
    std::fs::write(&live, config.replace("user: ubuntu", "user: root")).unwrap();
    assert_eq!(
        only(&lab, &["--live"]),
        "the cluster differs from what is rendered in 1 value, which `diff --live` lists | cargo xtask apply lab"
    );
    std::fs::write(&live, config.replace("version: v4.1.5", "version: v4.2.0")).unwrap();
    assert_eq!(
        only(&lab, &["--live"]),
        "its receipt records v4.1.5, but the cluster reports v4.2.0 | git pull"
    );
    lab.variable("FAKE_MKECTL_CONFIG", "/nowhere/live.yaml");

    lab.write(
        "environments/lab/mke4.yaml",
        &format!("{config}# by hand\n"),
    );
    assert_eq!(
        only(&lab, &[]),
        "environments/lab/mke4.yaml differs from what is rendered | cargo xtask render lab"
    );
    std::fs::write(lab.path("environments/lab/mke4.yaml"), b"\xff").unwrap();
    assert!(
        only(&lab, &[]).ends_with(" contains an invalid byte | ls -l environments/lab/mke4.yaml")
    );
    lab.write("environments/lab/mke4.yaml", &config);

    lab.edit_environment("mke.lab.example.com", "mke2.lab.example.com");
    assert_eq!(
        only(&lab, &[]),
        "environments/lab/mke4.yaml differs from what is rendered | cargo xtask render lab\n\
         the configuration changed since [TIME] | cargo xtask deploy lab"
    );
    lab.edit_environment("mke2.lab.example.com", "mke.lab.example.com");

    let lock = lab.read("bundles/v4.1.5-amd64.lock.yaml");
    lab.write(
        "bundles/v4.1.5-amd64.lock.yaml",
        &format!("{lock}# another\n"),
    );
    assert_eq!(
        only(&lab, &[]),
        "it was deployed from a different lock | cargo xtask deploy lab"
    );
    lab.write("bundles/v4.1.5-amd64.lock.yaml", &lock);

    lab.variable("FAKE_MKECTL_EXIT", "1");
    lab.run("apply lab").exits_with(7);
    assert_eq!(
        only(&lab, &[]),
        "the last deploy, of v4.1.5, failed at apply | cargo xtask deploy lab"
    );
    lab.variable("FAKE_MKECTL_EXIT", "0");
    lab.run("deploy lab").success();

    lab.edit_environment("release: v4.1.5", "relaese: v4.1.5");
    assert_eq!(
        only(&lab, &[]),
        "its files have 1 problem | cargo xtask check lab"
    );
    lab.edit_environment("relaese: v4.1.5", "release: v4.1.5");
    lab.write("environments/lab/receipt.yaml", "version: 2\nsigned: yes\n");
    assert!(
        only(&lab, &[]).contains("is not a receipt: unknown field `signed`"),
        "{}",
        only(&lab, &[])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn environments_with_the_same_registry_share_its_requests() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let wire = Wire::before(&lab.registry.address).await;
    lab.edit_environment(&lab.registry.address, &wire.address);
    let text = lab.read("environments/lab/environment.yaml");
    for number in 1..30 {
        let path = format!("environments/lab-{number}/environment.yaml");
        lab.write(&path, &text);
    }
    let run = lab.run("status").success();
    let answers = run.stdout.lines().filter(|line| line.contains("0 of 14"));
    assert_eq!(answers.count(), 30, "{}", run.stdout);
    // The ping of the registry, the tags of the lock, and the shared state of each environment.
    let artifacts = bundles::lock_of(&lab.sandbox).artifacts.len();
    let seen = wire.take();
    assert_eq!(seen.len(), 1 + artifacts + 30, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_does_not_answer_is_one_line_and_does_not_block_the_others() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    // These servers accept connections and do not respond.
    let silent = [(); 6].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let gone = format!("127.0.0.1:{}", support::sandbox::free_port());
    let text = lab.read("environments/lab/environment.yaml");
    let environment = |name: &str, address: &str| {
        lab.write(
            &format!("environments/{name}/environment.yaml"),
            &text.replace(&lab.registry.address, address),
        );
    };
    environment("gone", &gone);
    environment("gone-too", &gone);
    environment("nameless", "registry.invalid");
    for (number, listener) in silent.iter().enumerate() {
        let address = listener.local_addr().unwrap().to_string();
        environment(&format!("silent-{number}"), &address);
    }
    let began = Instant::now();
    let run = lab.run("status").success();
    // All registries share one deadline of 20 s. On a busy machine the other steps take longer.
    let took = began.elapsed();
    assert!(took < Duration::from_secs(100), "{took:?}");
    let line = |name: &str| {
        let mut lines = run.stdout.lines();
        lines
            .find(|line| line.starts_with(name))
            .unwrap()
            .to_owned()
    };
    assert!(line("lab ").contains("14 of 14"), "{}", run.stdout);
    assert!(line("gone ").contains("no answer"), "{}", run.stdout);
    assert!(line("silent-5 ").contains("no answer"), "{}", run.stdout);
    assert_eq!(
        run.stdout.matches("cargo xtask preflight ").count(),
        9,
        "{}",
        run.stdout
    );
    let mut lines = run.stdout.lines();
    let nameless = "GET https://registry.invalid/v2/: the host name cannot be resolved: ";
    assert!(
        lines.any(|line| line.starts_with("nameless: ") && line.contains(nameless)),
        "{}",
        run.stdout
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receipt_of_a_newer_version_is_not_replaced() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.write("environments/lab/receipt.yaml", "version: 99\n");
    lab.run("status lab")
        .success()
        .prints("use the version of Airlock that wrote it, or a newer one")
        .does_not_print("git checkout");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_lock_of_a_set_is_the_one_to_restore() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.write(
        "bundles/platform.set.yaml",
        "images: ['docker.io/library/pause:3.10']\n",
    );
    lab.write("bundles/platform.lock.yaml", "artifacts: [\n");
    lab.write_environment("sets: [platform]\n");
    let run = lab.run("status lab");
    let all = run.whole();
    assert!(
        all.contains("git checkout HEAD -- bundles/platform.lock.yaml"),
        "{all}"
    );
}
