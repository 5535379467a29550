//! `migrate`: pushes a release, then upgrades an MKE 3 cluster to it.

use std::os::unix::fs::PermissionsExt as _;

use support::{Lab, Text as _, bundles};

use crate::{AIRLOCK, FAKE_MKECTL};

const USER: &str = "planted-admin-12ab";
const PASSWORD: &str = "planted-mke3-password-9f";
const MKE3: &str = "mke3: { version: 3.8.2, credentials: { env: LAB_MKE3 } }\n";

/// Makes a lab for a release whose machines are still an MKE 3 cluster.
async fn lab_of(release: &str, mke3: &str) -> Lab {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.variable("LAB_MKE3_USERNAME", USER)
        .variable("LAB_MKE3_PASSWORD", PASSWORD)
        .variable("FAKE_MKECTL_VERSION", release);
    lab.write_environment(mke3);
    if release != "v4.1.5" {
        let bundle = lab.path(&format!("bundles/mke_bundle_{release}_amd64.tar.gz"));
        bundles::make(&bundles::small(), &bundle);
        lab.lock_as(release, &bundle);
        lab.edit_environment("release: v4.1.5", &format!("release: {release}"));
    }
    lab.edit_environment(
        "config:\n",
        "config:\n  gatewayMKEIngress: { nodePorts: { http: 33000, https: 33001 } }\n",
    );
    lab
}

/// Returns the arguments of each `mkectl upgrade`, redacted.
fn upgrades(lab: &Lab) -> Vec<String> {
    let calls = lab.calls().into_iter();
    let upgrades = calls.filter(|call| call.arguments[0] == "upgrade");
    upgrades
        .map(|call| lab.redact(&call.arguments.join(" ")))
        .filter(|arguments| !arguments.ends_with("--help"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_in_the_registry_before_the_cluster_is_touched() {
    let lab = lab_of("v4.1.5", MKE3).await;
    insta::assert_snapshot!("plan", lab.run("migrate lab --dry-run").whole());
    assert!(lab.repositories().await.is_empty());
    // The number of blobs that are mounted instead of sent differs from run to run. The blobs are
    // pushed here, so the snapshot below has none.
    lab.run("push lab").success();
    let allowed = "migrate lab --allow-visible-secrets";
    insta::assert_snapshot!("migrated", lab.run(allowed).success().whole());
    insta::assert_snapshot!("receipt", lab.receipt());
    let call = lab
        .calls()
        .into_iter()
        .rfind(|call| call.hosts.is_some())
        .unwrap();
    insta::assert_snapshot!(call.hosts.unwrap(), @"
    hosts:
    - address: 192.0.2.10
      port: 22
      user: ubuntu
      keyPath: ~/.ssh/id_ed25519
    ");
    // The configuration that mkectl wrote for the cluster is next to the environment, to be
    // adopted.
    let adopted = lab.read("environments/lab/mke4.adopted.yaml");
    assert!(
        adopted.starts_with("apiVersion: mke.mirantis.com/v1alpha1\n"),
        "{adopted}"
    );
    // A migrated cluster is not migrated again.
    let run = lab.run(allowed).exits_with(3);
    run.reports("the cluster of lab already runs v4.1.5");
    for (path, content) in lab.files() {
        let is_meant = path.as_str().ends_with("mkectl-calls");
        let text = String::from_utf8_lossy(&content);
        assert!(is_meant || !text.contains(PASSWORD), "{path}");
    }
    for call in lab.calls() {
        let shown: Vec<&String> = (call.arguments.iter())
            .filter(|argument| argument.contains(PASSWORD))
            .collect();
        assert!(
            shown.is_empty() || shown == [&format!("--mke3-admin-password={PASSWORD}")],
            "{shown:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mkectl_of_each_release_gets_the_flags_that_its_help_lists() {
    let mut all = String::new();
    for (release, version) in [
        ("v4.1.0", "3.7.15"),
        ("v4.1.1", "3.8.0"),
        ("v4.1.5", "3.8.2"),
        ("v4.2.0", "3.9.0"),
        ("v4.2.1", "3.9.1"),
    ] {
        let lab = lab_of(release, &MKE3.replace("3.8.2", version)).await;
        lab.run("migrate lab --allow-visible-secrets").success();
        // 14 repositories of artifacts, and one of the shared state.
        assert_eq!(lab.repositories().await.len(), 15);
        for arguments in upgrades(&lab) {
            all.push_str(&format!(
                "{release}\n  {}\n",
                arguments.replace(PASSWORD, "[PASSWORD]")
            ));
        }
    }
    insta::assert_snapshot!(all, @"
    v4.1.0
      upgrade --hosts-path [WORKSPACE]/environments/lab/logs/mke3-hosts.yaml --mke3-admin-username planted-admin-12ab --external-address mke.lab.example.com --config-out [WORKSPACE]/environments/lab/logs/mke3-migrated/mke4.yaml --image-registry 127.0.0.1:[PORT]/mke --chart-registry oci://127.0.0.1:[PORT]/mke --mke3-airgapped=true --mke3-admin-password=[PASSWORD]
    v4.1.1
      upgrade --hosts-path [WORKSPACE]/environments/lab/logs/mke3-hosts.yaml --mke3-admin-username planted-admin-12ab --external-address mke.lab.example.com --config-out [WORKSPACE]/environments/lab/logs/mke3-migrated/mke4.yaml --image-registry 127.0.0.1:[PORT]/mke --chart-registry oci://127.0.0.1:[PORT]/mke --mke3-airgapped=true --mke3-admin-password=[PASSWORD]
    v4.1.5
      upgrade --hosts-path [WORKSPACE]/environments/lab/logs/mke3-hosts.yaml --mke3-admin-username planted-admin-12ab --external-address mke.lab.example.com --config-out [WORKSPACE]/environments/lab/logs/mke3-migrated/mke4.yaml --image-registry 127.0.0.1:[PORT]/mke --chart-registry oci://127.0.0.1:[PORT]/mke --gateway-http-node-port 33000 --gateway-https-node-port 33001 --mke3-airgapped=true --no-color --no-pretty-print --mke3-admin-password=[PASSWORD]
    v4.2.0
      upgrade --hosts-path [WORKSPACE]/environments/lab/logs/mke3-hosts.yaml --mke3-admin-username planted-admin-12ab --external-address mke.lab.example.com --config-out [WORKSPACE]/environments/lab/logs/mke3-migrated/mke4.yaml --image-registry 127.0.0.1:[PORT]/mke --chart-registry oci://127.0.0.1:[PORT]/mke --gateway-http-node-port 33000 --gateway-https-node-port 33001 --mke3-airgapped=true --no-color --no-pretty-print --mke3-admin-password=[PASSWORD]
    v4.2.1
      upgrade --hosts-path [WORKSPACE]/environments/lab/logs/mke3-hosts.yaml --mke3-admin-username planted-admin-12ab --external-address mke.lab.example.com --config-out [WORKSPACE]/environments/lab/logs/mke3-migrated/mke4.yaml --image-registry 127.0.0.1:[PORT]/mke --chart-registry oci://127.0.0.1:[PORT]/mke --gateway-http-node-port 33000 --gateway-https-node-port 33001 --mke3-airgapped=true --no-color --no-pretty-print --mke3-admin-password=[PASSWORD]
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_obstacle_is_reported_before_anything_is_pushed() {
    let lab = lab_of("v4.1.5", MKE3).await;
    let refused = |code: i32, expected: &str| {
        let run = lab.run("migrate lab").exits_with(code);
        run.reports(expected);
        // The plan reports the same. A dry run needs no consent, so it does not report a missing
        // one.
        let code = if code == 8 { 0 } else { code };
        let run = lab.run("migrate lab --dry-run").exits_with(code);
        assert!(
            run.whole().contains(expected) || code == 0,
            "{}",
            run.whole()
        );
    };
    // The command lacks `--allow-visible-secrets`.
    refused(
        8,
        "--mke3-admin-password would be visible in the process list",
    );
    let leftover = lab.home().join(".mke/mke.kubeconf");
    std::fs::create_dir_all(leftover.parent().unwrap()).unwrap();
    std::fs::write(&leftover, "").unwrap();
    refused(
        3,
        "home/.mke/mke.kubeconf` is left from a different cluster or an earlier attempt",
    );
    std::fs::remove_file(&leftover).unwrap();
    lab.edit_environment("version: 3.8.2", "version: 3.7.14");
    refused(
        3,
        "MKE 3.7.14 cannot be upgraded to v4.1.5; supported source versions: >=3.7.15, <3.9.0",
    );
    lab.edit_environment("version: 3.7.14", "version: 3.9.0");
    refused(3, "MKE 3.9.0 cannot be upgraded to v4.1.5");
    lab.edit_environment("version: 3.9.0", "version: 3.8.2");
    lab.edit_environment("http: 33000, ", "");
    refused(3, "`config.gatewayMKEIngress.nodePorts` does not set both");
    lab.edit_environment("{ https: 33001 }", "{ http: 33000, https: 33001 }");
    lab.edit_environment("env: LAB_MKE3", "env: NOBODYS");
    refused(3, "no credentials for the MKE 3 cluster of lab");
    lab.edit_environment("env: NOBODYS", "env: LAB_MKE3");
    // Item 31: settings that the vendor excludes for every version.
    lab.edit_environment("env: LAB_MKE3 }", "env: LAB_MKE3 }, config: ucp.toml");
    refused(3, "`mke3.config` names a file that does not exist");
    let run = lab.run("check lab").success();
    run.reports(
        "`mke3.config` names environments/lab/ucp.toml, which does not exist on this machine",
    );
    lab.write("environments/lab/ucp.toml", "[auth]\nkey = planted\n");
    refused(
        3,
        "`mke3.config` names a file whose line 2 is not valid TOML",
    );
    for (setting, problem) in [
        ("calico_kdd = false", "Calico uses the etcdv3 datastore"),
        ("calico_ebpf_enabled = true", "Calico's eBPF data plane"),
        (
            "kube_proxy_mode = \"ipvs\"",
            "only clusters with the proxier iptables",
        ),
    ] {
        lab.write(
            "environments/lab/ucp.toml",
            &format!("[cluster_config]\n  {setting}\n"),
        );
        refused(3, problem);
        lab.run("check lab").exits_with(3).reports(problem);
    }
    lab.edit_environment(", config: ucp.toml", "");
    let hosts = "  hosts:\n    - { role: controller+worker, ssh: { address: 192.0.2.11, user: ubuntu, port: 22, keyPath: ~/.ssh/id_ed25519 } }\n";
    lab.edit_environment("  hosts:\n", hosts);
    lab.edit_environment(
        "accept: [telemetry]",
        "accept: [telemetry, even-controllers]",
    );
    refused(3, "MKE 3 has 2 managers: an even number is not supported");
    lab.edit_environment(hosts, "  hosts:\n");
    // `deploy` and `apply` do not install on machines of an MKE 3 cluster.
    for command in ["deploy", "apply"] {
        let run = lab.run(&[command, "lab"]).exits_with(3);
        run.reports("the machines of lab are an MKE 3.8.2 cluster")
            .reports("cargo xtask migrate lab");
    }
    assert!(lab.repositories().await.is_empty());
    assert!(upgrades(&lab).is_empty() && lab.applies().is_empty());
    lab.write_environment("");
    let run = lab.run("migrate lab").exits_with(3);
    run.reports("has no `mke3` section");
}

#[tokio::test(flavor = "multi_thread")]
async fn obstacles_in_the_files_are_found_by_check_and_preflight() {
    let lab = lab_of("v4.1.5", MKE3).await;
    lab.run("check lab").success();
    lab.edit_environment("version: 3.8.2", "version: 3.7.14");
    let version = "MKE 3.7.14 cannot be upgraded to v4.1.5";
    lab.run("check lab").exits_with(3).reports(version);
    lab.run("preflight lab").exits_with(3).prints(version);
    lab.edit_environment("version: 3.7.14", "version: 3.8.2");
    lab.edit_environment("http: 33000, ", "");
    let ports = "`config.gatewayMKEIngress.nodePorts` does not set both";
    lab.run("check lab").exits_with(3).reports(ports);
    lab.run("preflight lab").exits_with(3).prints(ports);
    lab.edit_environment("{ https: 33001 }", "{ http: 33000, https: 33001 }");
    lab.edit_environment("env: LAB_MKE3 }", "env: LAB_MKE3 }, config: ucp.toml");
    lab.run("preflight lab")
        .exits_with(3)
        .prints("`mke3.config` names a file that does not exist");
    // After the migration, these checks no longer apply.
    lab.edit_environment(", config: ucp.toml", "");
    lab.run("migrate lab --allow-visible-secrets").success();
    lab.edit_environment("version: 3.8.2", "version: 3.7.14");
    lab.run("check lab").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_check_of_mke_3_stops_the_migration() {
    let mke3 = "mke3: { version: 3.8.2, credentials: { env: LAB_MKE3 }, config: ucp.toml }\n";
    let mut lab = lab_of("v4.1.5", mke3).await;
    lab.write("environments/lab/ucp.toml", "[scheduling_configuration]\n");
    lab.variable("FAKE_MKECTL_EXIT", "6");
    // An earlier run was killed. The failing check does not show how that run ended, so its note
    // stays.
    let note = "environments/lab/logs/under-way.yaml";
    lab.write(
        note,
        "command: migrate\nrelease: v4.1.5\nlog: environments/lab/logs/x-migrate.log\nbegan: 2026-01-02T03:04:05Z\n",
    );
    lab.run("migrate lab --allow-visible-secrets")
        .exits_with(7)
        .reports("FTL check mke3 failed");
    assert!(upgrades(&lab).is_empty());
    assert!(lab.receipt().contains("step: migrate"), "{}", lab.receipt());
    assert!(lab.path(note).exists());
    lab.variable("FAKE_MKECTL_EXIT", "0");
    lab.run("migrate lab --allow-visible-secrets")
        .success()
        .reports("/environments/lab/ucp.toml --output=.");
    assert_eq!(upgrades(&lab).len(), 1);
    assert!(!lab.path(note).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_migration_is_reported_with_its_rollback_and_retried() {
    let mut lab = lab_of("v4.1.5", MKE3).await;
    lab.variable("FAKE_MKECTL_EXIT", "1");
    let run = lab.run("migrate lab --allow-visible-secrets").exits_with(7);
    run.reports("rollback is complete");
    run.reports("error: `mkectl upgrade` exited with code 1");
    // `deploy` is still refused, and `status` does not recommend it.
    lab.run("deploy lab").exits_with(3);
    let status = lab.run("status lab").success();
    status.prints("cargo xtask migrate lab");
    status.does_not_mention("cargo xtask deploy lab");
    lab.variable("FAKE_MKECTL_EXIT", "0");
    lab.run("migrate lab --allow-visible-secrets").success();
    assert!(!lab.receipt().contains("failed:"), "{}", lab.receipt());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mkectl_without_flags_for_pull_credentials_migrates_nothing() {
    let mut lab = lab_of("v4.1.5", MKE3).await;
    lab.edit_environment(
        "  push-credentials:",
        "  pull-credentials: { env: LAB_PULL }\n  push-credentials:",
    );
    lab.edit_environment(
        "config:\n",
        "config:\n  registries: { imageRegistry: { credentialsSecretName: pull } }\n",
    );
    lab.variable("LAB_PULL_USERNAME", "puller")
        .variable("LAB_PULL_PASSWORD", "planted-pull-password-c2d8");
    let run = lab.run("migrate lab --allow-visible-secrets").exits_with(6);
    run.reports("lists no --image-registry-username: nodes get no pull credentials from it");
    assert_eq!(upgrades(&lab), [""; 0]);
    assert!(lab.repositories().await.is_empty(), "nothing is sent");
}

/// Airlock checks the configuration that mkectl leaves, even if mkectl reports success.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_leaves_a_different_cluster_is_a_failure() {
    let mut lab = lab_of("v4.1.5", MKE3).await;
    let left = lab.home().join("left.yaml");
    lab.variable("FAKE_MKECTL_MIGRATED", left.as_str());
    let whole = |release: &str, registry: &str| {
        format!(
            "spec:\n  registries: {{ imageRegistry: {{ url: {registry} }} }}\n  version: {release}\n"
        )
    };
    let registry = format!("{}/mke", lab.registry.address);
    for (text, found) in [
        (String::new(), "runs an unknown release"),
        (
            "spec: [\n".to_owned(),
            "has a configuration that is not valid",
        ),
        (
            whole("v4.1.0", &registry),
            "runs v4.1.0 and pulls from 127.0.0.1:[PORT]/mke",
        ),
        (
            whole("v4.1.5", "registry.example.com/mke"),
            "runs v4.1.5 and pulls from registry.example.com/mke",
        ),
    ] {
        std::fs::write(&left, text).unwrap();
        let run = lab.run("migrate lab --allow-visible-secrets").exits_with(7);
        run.reports(&format!(
            "error: `mkectl upgrade` exited with code 0, but according to environments/lab/logs/mke3-migrated/mke4.yaml the cluster \
             {found}, not v4.1.5 from 127.0.0.1:[PORT]/mke\n"
        ))
        .does_not_report("MKE 3 became");
        lab.receipt().has("  step: migrate\n").lacks("applied:");
        // The file stays. It has secrets, so other users may not read its folder.
        let folder = lab.path("environments/lab/logs/mke3-migrated");
        assert!(folder.join("mke4.yaml").exists());
        let mode = std::fs::metadata(folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let note = "environments/lab/logs/under-way.yaml";
        assert!(!lab.path(note).exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receipt_of_a_migration_has_the_networks_that_the_cluster_keeps() {
    let mut lab = lab_of("v4.1.5", MKE3).await;
    let left = lab.home().join("left.yaml");
    let network = "  network:\n    serviceCIDR: 10.200.0.0/16\n    providers:\n      \
                   - { provider: calico, enabled: true, extraConfig: { cidrV4: 10.210.0.0/16 } }\n";
    let registry = format!("{}/mke", lab.registry.address);
    let text = format!(
        "spec:\n{network}  registries: {{ imageRegistry: {{ url: {registry} }} }}\n  version: v4.1.5\n"
    );
    std::fs::write(&left, text).unwrap();
    lab.variable("FAKE_MKECTL_MIGRATED", left.as_str());
    lab.run("migrate lab --allow-visible-secrets").success();
    lab.receipt()
        .has("    network.serviceCIDR: 10.200.0.0/16\n")
        .has("cidrV4: 10.210.0.0/16\n");
    let check = lab.run("check lab").exits_with(3);
    check.mentions(
        "installed with `network.serviceCIDR`: 10.200.0.0/16, but the environment has 10.96.0.0/16",
    );
    lab.edit_environment("config:\n", &format!("config:\n{network}"));
    lab.run("check lab").success();
    // A rehearsal tests the configuration of MKE 4.
    lab.run("rehearse lab").success();
}
