//! `receipt.yaml`: records the last successful deploy and the last failure, with the bytes sent,
//! the revision and the operator.

use support::faulty::{FaultyRegistry, quirks};
use support::{Lab, Text as _, bundles};

use crate::{AIRLOCK, FAKE_MKECTL};

#[tokio::test(flavor = "multi_thread")]
async fn the_receipt_of_a_failed_deploy_records_the_step_and_what_was_sent() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let quirks = quirks!(refuses: &["application/vnd.cncf.helm.config.v1+json"]);
    let registry = FaultyRegistry::start(quirks, &[], 1).await;
    lab.edit_environment(&lab.registry.address, &registry.address);
    lab.run("deploy lab").exits_with(9);
    let receipt = lab.receipt();
    receipt.has("\n  step: push\n");
    receipt.lacks("applied:");
    let lock = bundles::lock_of(&lab.sandbox);
    let images = lock
        .artifacts
        .iter()
        .filter(|artifact| artifact.kind == bundle::Kind::Image)
        .count();
    receipt.has(&format!("  pushed:\n    artifacts: {images}\n"));
    let written = release::receipt::Receipt::parse(
        &lab.read("environments/lab/receipt.yaml"),
        "receipt.yaml".into(),
    );
    let failed = written.unwrap().failed.unwrap();
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(
        lab.read("bundles/v4.1.5-amd64.lock.yaml"),
    ));
    assert_eq!(failed.lock.as_ref(), Some(&digest));
    assert!(failed.pushed.unwrap().sent.bytes > 1_000_000);
    assert!(failed.began.unwrap() <= failed.ended);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_without_changes_and_a_failed_apply_keep_the_recorded_deploy() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.run("deploy lab").success();
    let path = "environments/lab/receipt.yaml";
    let first = lab.read(path);
    // The registry lacks the shared state, as after a repair.
    let (client, repository) = (lab.registry.client(), "mke/airlock/state");
    let state = client.head_manifest(repository, "lab").await.unwrap();
    let state = state.unwrap().digest.unwrap();
    client.remove_manifest(repository, &state).await.unwrap();
    let run = lab.run("deploy lab").success();
    assert_eq!(run.stdout, "lab: nothing to do\n");
    assert_eq!(
        lab.read(path),
        first,
        "the receipt was written although nothing changed"
    );

    lab.variable("FAKE_MKECTL_EXIT", "1");
    lab.run("apply lab").exits_with(7);
    let receipt = lab.read(path);
    let applied = |text: &str| {
        let receipt = release::receipt::Receipt::parse(text, "receipt.yaml".into());
        receipt.unwrap().applied
    };
    assert_eq!(applied(&receipt), applied(&first));
    receipt.has("\nfailed:\n");
    lab.edit_environment("project: mke", "project: other");
    assert_eq!(lab.run("plan lab").code, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_records_the_revision_and_the_operator() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.install_system("git");
    lab.variable("USER", "planted-login")
        .variable("GIT_DIR", "/nowhere");
    // Outside of a git repository, the deploy succeeds and records no revision.
    lab.run("deploy lab").success();
    let receipt = lab.receipt();
    assert!(
        receipt.ends_with("  by:\n    airlock: [VERSION]\n"),
        "{receipt}"
    );

    lab.write(".gitignore", "/bundles/\nlogs/\nadmin-password\nbackups/\n");
    lab.git("init --quiet");
    lab.git(&["config", "user.name", "Jane Doe"]);
    lab.git("config user.email jane@example.com");
    lab.git("add environments");
    lab.git("commit --quiet --message=first");
    let revision = lab.git("rev-parse HEAD");
    lab.run("apply lab").success();
    let receipt = lab.receipt();
    let expected = format!(
        "  by:\n    airlock: [VERSION]\n    revision: {}\n    clean: false\n",
        revision.trim()
    );
    assert!(receipt.ends_with(&expected), "{receipt}");

    // A changed receipt alone does not make the working tree dirty.
    lab.edit_environment("release:", "record-operator: true\nrelease:");
    lab.git("add .gitignore environments");
    lab.git("reset --quiet -- environments/lab/receipt.yaml");
    lab.git("commit --quiet --message=second");
    lab.run("apply lab").success();
    let receipt = lab.receipt();
    receipt.has("    clean: true\n");
    assert!(
        receipt.ends_with(
            "    operator:\n      git: Jane Doe <jane@example.com>\n      login: planted-login\n"
        ),
        "{receipt}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_operator_causes_a_warning() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.write_environment("record-operator: true\n");
    let run = lab.run("deploy lab").success();
    let warning =
        "warning: the environment has `record-operator`, but git's user.name and USER are not set";
    run.reports(warning);
    assert!(lab.receipt().ends_with("    operator: {}\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_receipt_is_rebuilt_from_the_cluster_and_the_registry() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let cluster = lab.home().join("cluster.yaml");
    lab.variable("FAKE_MKECTL_CLUSTER", cluster.as_str());
    lab.run("deploy lab").success();
    let path = "environments/lab/receipt.yaml";
    let file = lab.path(path);
    let before = lab.read(path);
    let applies = lab.applies().len();
    // The receipt is missing, damaged, or that of an earlier deploy.
    for lost in [
        None,
        Some("version: 2\napplied: [\n".to_owned()),
        Some(
            before
                .replace("artifacts: 14", "artifacts: 13")
                .replace("run: ", "run: 0"),
        ),
    ] {
        match &lost {
            None => std::fs::remove_file(&file).unwrap(),
            Some(text) => lab.write(path, text),
        }
        let run = lab.run("receipt rebuild lab").exits_with(8);
        assert!(
            run.stderr.contains("+  release: v4.1.5\n")
                || run.stderr.contains("   release: v4.1.5\n"),
            "{}",
            run.stderr
        );
        assert_eq!(
            std::fs::read_to_string(&file).ok(),
            lost,
            "the receipt was written without confirmation"
        );
        let run = lab.run("receipt rebuild lab --confirm lab").success();
        assert_eq!(
            run.stdout,
            "lab: wrote environments/lab/receipt.yaml; commit it\n"
        );
        insta::allow_duplicates! {
            insta::assert_snapshot!("rebuilt", lab.receipt());
        }
        // A rebuilt receipt does not have the time of the deploy.
        let run = lab.run("cluster status lab").success();
        assert_eq!(
            run.stdout.lines().next().unwrap(),
            "lab: runs v4.1.5, according to its receipt, which was rebuilt at [TIME]"
        );
        let run = lab.run("deploy lab").success();
        assert_eq!(run.stdout, "lab: nothing to do\n", "{}", run.stderr);
    }
    assert_eq!(lab.applies().len(), applies, "mkectl ran");

    // If the cluster differs from the rendered file, the receipt is rebuilt with a warning.
    let other = std::fs::read_to_string(&cluster).unwrap();
    std::fs::write(&cluster, other.replace("~/.ssh/", "~/.ssh9/")).unwrap();
    lab.run("receipt rebuild lab --confirm lab")
        .success()
        .reports("warning: the cluster does not have everything that is rendered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_receipt_keeps_what_the_cluster_cannot_change() {
    let (lab, _) = deployed("config:\n  network: { serviceCIDR: 10.200.0.0/16 }\n").await;
    let path = "environments/lab/receipt.yaml";
    let rebuild = "receipt rebuild lab --confirm lab";
    let change = "was installed with `network.serviceCIDR`: 10.200.0.0/16, but the environment has 10.201.0.0/16";
    lab.remove(path);
    lab.run(rebuild).success();
    let receipt = lab.receipt();
    receipt.has("  kept:\n    network.serviceCIDR: 10.200.0.0/16\n");
    let run = lab.run("deploy lab").success();
    assert_eq!(run.stdout, "lab: nothing to do\n", "{}", run.stderr);
    lab.edit_environment("10.200.0.0/16", "10.201.0.0/16");
    let run = lab.run("deploy lab").exits_with(3);
    run.reports(change);

    // The rebuilt receipt has the values of the cluster, even if the environment was changed
    // before.
    lab.remove(path);
    lab.run(rebuild).success();
    let run = lab.run("deploy lab").exits_with(3);
    run.reports(change);
    assert_eq!(lab.applies().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_not_rebuilt_from_a_different_cluster() {
    let (lab, cluster) = deployed("config:\n").await;
    let path = "environments/lab/receipt.yaml";
    let receipt = lab.read(path);
    let live = std::fs::read_to_string(&cluster).unwrap();
    let refused = |address: &str, expected: &str| {
        let before = std::fs::read_to_string(lab.path(path)).ok();
        let run = lab.run("receipt rebuild lab --confirm lab").exits_with(3);
        let reached = format!(
            "`mkectl config get` reached the cluster at {address} by [SANDBOX]/home/.mke/mke.kubeconf, which is not this environment's"
        );
        run.reports(&reached).reports(expected);
        let after = std::fs::read_to_string(lab.path(path)).ok();
        assert_eq!(after, before, "the receipt was written");
    };
    let (mke, other_mke) = ("mke.lab.example.com", "mke9.lab.example.com");
    let rendered = "lab is at mke.lab.example.com and pulls from 127.0.0.1:[PORT]/mke";
    // The address or the registry differs, and in one case the machines too.
    for (is_lost, (from, to, address)) in [
        (true, (mke, other_mke, other_mke)),
        (true, ("/mke\n", "/other\n", mke)),
        (true, ("lab.", "prod.", "mke.prod.example.com")),
        (false, (mke, other_mke, other_mke)),
    ] {
        match is_lost {
            true => drop(std::fs::remove_file(lab.path(path))),
            false => lab.write(path, &receipt),
        }
        let other = live.replace(from, to);
        assert_ne!(other, live, "{from}");
        let other = match address {
            "mke.prod.example.com" => other.replace("192.0.2.10", "192.0.2.99"),
            _ => other,
        };
        std::fs::write(&cluster, other).unwrap();
        refused(address, rendered);
    }
    // The environment agrees with the cluster, but the receipt does not.
    std::fs::write(&cluster, &live).unwrap();
    lab.write(path, &receipt.replace(mke, other_mke));
    refused(
        mke,
        "lab is at mke9.lab.example.com and pulls from 127.0.0.1:[PORT]/mke",
    );
    lab.write(path, &receipt.replace("/mke\n", "/other\n"));
    refused(
        mke,
        "lab is at mke.lab.example.com and pulls from 127.0.0.1:[PORT]/other",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hint_about_a_cluster_that_does_not_respond_is_not_about_mkectl() {
    let (lab, _) = deployed("config:\n").await;
    let refuses = "case \"$*\" in 'config get'*) echo connection refused; exit 1;; esac";
    let script = format!("#!/bin/sh\n{refuses}\nexec {FAKE_MKECTL} \"$@\"\n");
    lab.install_script("mkectl", script);
    // Without a receipt, no kept build of mkectl is used.
    lab.remove("environments/lab/receipt.yaml");
    let run = lab.run("receipt rebuild lab --confirm lab").exits_with(6);
    run.reports("connection refused")
        .reports("hint: check that the cluster is up");
    run.does_not_report("mkectl of MKE 4");
}

/// Returns a lab after its deploy, with `config` instead of the line `config:`, and the path of the
/// live configuration.
async fn deployed(config: &str) -> (Lab, camino::Utf8PathBuf) {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.edit_environment("config:\n", config);
    let cluster = lab.home().join("cluster.yaml");
    lab.variable("FAKE_MKECTL_CLUSTER", cluster.as_str());
    lab.run("deploy lab").success();
    (lab, cluster)
}
