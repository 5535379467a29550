//! The default configuration of the release's mkectl: `lock` records it, `render` overrides it with
//! the environment, and `diff` compares the result with a cluster.

use support::bundles::{self, LOCK};
use support::{Lab, Sandbox};

use crate::{AIRLOCK, FAKE_MKECTL};

const INIT: &str = "bundles/v4.1.5.init.yaml";

const ENVIRONMENT: &str = "\
release: v4.1.5
registry: { address: registry.example.com, project: mke }
config:
  apiServer: { externalAddress: mke.lab.example.com }
  tracking: { enabled: false }
  network: { nodePortRange: 30000-31000 }
  hosts:
    - role: single
      ssh: { address: 192.0.2.10, user: ubuntu, port: 22, keyPath: ~/.ssh/id_ed25519 }
";

/// Returns a workspace that was locked on a machine with the release's mkectl.
fn locked() -> Sandbox {
    let sandbox = Sandbox::new(AIRLOCK);
    sandbox.install(FAKE_MKECTL, "mkectl");
    sandbox.write("environments/lab/environment.yaml", ENVIRONMENT);
    bundles::make_locked(&sandbox, &bundles::tiny());
    sandbox
}

#[test]
fn lock_keeps_what_mkectl_would_configure_and_rendering_puts_the_environment_over_it() {
    let sandbox = locked();
    assert!(sandbox.read(INIT).starts_with("apiVersion:"));
    assert!(sandbox.read(LOCK).contains("\ninit: "));
    insta::assert_snapshot!(sandbox.run("render lab").whole(), @"
    exit code: 0
    --- stdout
    wrote environments/lab/mke4.yaml
    --- stderr
    warning: environments/lab/environment.yaml:5:24: `tracking.enabled: false` has no effect without a licence: MKE tries to send telemetry to the vendor; write `license: { token: { $env: NAME } }` below `config`, or `accept: [telemetry]`
    warning: environments/lab/environment.yaml:6:29: `network.nodePortRange` does not contain 33000, the default of `gatewayMKEIngress.nodePorts.http`; write `gatewayMKEIngress.nodePorts.http` too, from 30000 to 31000
    warning: environments/lab/environment.yaml:6:29: `network.nodePortRange` does not contain 33001, the default of `gatewayMKEIngress.nodePorts.https`; write `gatewayMKEIngress.nodePorts.https` too, from 30000 to 31000
    warning: environments/lab/environment.yaml:8:13: `hosts[].role` is `single`, but the release notes of v4.1.1 say that MKE recognizes only `controller+worker` and `worker`; write `controller+worker`, also for the only node of a cluster
    ");
    // The range of node ports is of the environment and the addresses of services are of mkectl.
    // The placeholder hosts of mkectl are not rendered.
    insta::assert_snapshot!(sandbox.read("environments/lab/mke4.yaml"));
    // On a machine without mkectl the lock stays as it is.
    std::fs::remove_file(sandbox.bin().join("mkectl")).unwrap();
    let before = (sandbox.read(LOCK), sandbox.read(INIT));
    bundles::make_locked(&sandbox, &bundles::tiny());
    assert_eq!((sandbox.read(LOCK), sandbox.read(INIT)), before);
}

#[test]
fn defaults_that_are_not_the_locked_ones_are_refused() {
    let sandbox = locked();
    sandbox.edit(INIT, "10.96.0.0/16", "10.96.0.0/12");
    insta::assert_snapshot!(sandbox.run("render lab").exits_with(3).whole(), @"
    exit code: 3
    --- stdout
    --- stderr
    error: `bundles/v4.1.5.init.yaml` differs from the lock of v4.1.5
    hint: restore the committed file, or lock again on a machine that has mkectl v4.1.5: `cargo xtask lock v4.1.5 --replace`
    ");
    sandbox.run("check lab").exits_with(3);
    let preflight = sandbox.run("preflight lab").exits_with(3).whole();
    let said = "`bundles/v4.1.5.init.yaml` differs from the lock of v4.1.5";
    assert!(preflight.contains(said), "{preflight}");
    sandbox.remove(INIT);
    insta::assert_snapshot!(sandbox.run("render lab").exits_with(3).stderr, @"
    error: `bundles/v4.1.5.init.yaml` is missing: the lock of v4.1.5 names it, but it was not committed
    hint: commit it where the release was locked: `git add bundles/v4.1.5.init.yaml`; or put mkectl v4.1.5 on PATH and run `cargo xtask fetch v4.1.5`, which writes it
    ");
}

#[test]
fn defaults_that_are_not_recorded_are_warned_of() {
    let sandbox = locked();
    let warning = "warning: no mkectl v4.2.0 on PATH: its defaults are not recorded";
    let bundle = "bundles/mke_bundle_v4.1.5_amd64.tar.gz";
    let lock = format!("lock v4.2.0 --force-release --bundle {bundle}");
    sandbox.run(&lock).success().reports(warning);
}

#[test]
fn fetch_brings_back_what_the_lock_names() {
    let sandbox = locked();
    let text = sandbox.read(INIT);
    sandbox.remove(INIT);
    bundles::forget_mkectl(&sandbox);
    sandbox.run("fetch v4.1.5").success();
    assert_eq!(sandbox.read(INIT), text);
}

#[test]
fn two_releases_are_compared_in_what_their_mkectl_configure() {
    let sandbox = locked();
    let (lock, init) = (sandbox.read(LOCK), sandbox.read(INIT));
    let older = init
        .replace("v4.1.5", "v4.1.2")
        .replace("10.96.0.0/16", "10.96.0.0/12");
    sandbox.write("bundles/v4.1.2.init.yaml", &older);
    sandbox.write(
        "bundles/v4.1.2-amd64.lock.yaml",
        &lock
            .replace("v4.1.5", "v4.1.2")
            .replace(&bundles::sha256(&init), &bundles::sha256(&older)),
    );
    for arguments in ["diff v4.1.2 v4.1.5", "diff v4.1.2 v4.1.5 --markdown"] {
        let text = sandbox.run(arguments).success().stdout;
        let (_, defaults) = text.split_once("configures by default").unwrap();
        assert!(defaults.contains("spec.network.serviceCIDR"), "{text}");
        assert!(!defaults.contains("version"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_compared_with_what_is_rendered() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    for arguments in ["diff lab --live", "receipt rebuild lab"] {
        let run = lab.run(arguments);
        let hint = "hint: set `kubeconfig` in environment.yaml, or KUBECONFIG\n";
        run.reports(hint);
    }
    // mkectl finds the cluster by the kubeconfig in its own folder.
    let kubeconfig = lab.home().join(".mke/mke.kubeconf");
    std::fs::create_dir_all(kubeconfig.parent().unwrap()).unwrap();
    std::fs::write(kubeconfig, "apiVersion: v1\n").unwrap();
    let live = lab.run("mkectl lab -- config get").success().stdout;
    let file = lab.home().join("live.yaml");
    std::fs::write(&file, live.replace("1.2.3.4", "192.0.2.10")).unwrap();
    lab.variable("FAKE_MKECTL_CONFIG", file.as_str());
    insta::assert_snapshot!(lab.run("diff lab --live").whole(), @"
    exit code: 0
    --- stdout
    from the cluster of lab to what is rendered

    registry
      ~ spec.airgap.enabled: false → true
      ~ spec.registries.chartRegistry.url: oci://registry.mirantis.com/mke → oci://127.0.0.1:[PORT]/mke
      ~ spec.registries.imageRegistry.url: registry.mirantis.com/mke → 127.0.0.1:[PORT]/mke

    API server
      + spec.apiServer: { externalAddress: mke.lab.example.com }

    hosts
      ~ spec.hosts[192.0.2.10].ssh.keyPath: path/to/key → ~/.ssh/id_ed25519
      ~ spec.hosts[192.0.2.10].ssh.user: root → ubuntu

    network
      - spec.network: { nodePortRange: 32768-35535, serviceCIDR: 10.96.0.0/16 }

    the rest
      - metadata.creationTimestamp: null
      + spec.tracking: { enabled: false }
    --- stderr
    ");
    lab.run("diff lab --live --detailed-exitcode").exits_with(2);
    lab.run("diff lab lab --live").exits_with(64);
    lab.edit_environment("release:", "rehearsal: true\nrelease:");
    let run = lab.run("diff lab --live").exits_with(3);
    run.reports("is a rehearsal and has no cluster");
}
