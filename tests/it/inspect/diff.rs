//! `diff`: compares an environment with its committed and applied files, two environments, or two
//! releases.

use support::bundles::{self, FILE};
use support::{Lab, Run, Sandbox};

use crate::{AIRLOCK, FAKE_MKECTL};

fn json(run: Run) -> serde_json::Value {
    let run = run.success();
    assert_eq!(run.stderr, "");
    let value = run.json();
    value["result"].clone()
}

/// Makes the shipped workspace with changes in every part of `prod`.
fn changed() -> Sandbox {
    let sandbox = Sandbox::with_examples(AIRLOCK);
    let path = "environments/prod/environment.yaml";
    let text = sandbox
        .read(path)
        .replace("project: mke", "project: platform/mke")
        .replace("storageQuota: 8GB", "storageQuota: 16GB")
        .replace("10.10.0.22", "10.10.0.23")
        .replace(
            "    - role: worker\n      ssh: { address: 10.10.0.21, user: mke",
            "    - role: worker\n      ssh: { address: 10.10.0.21, user: admin",
        )
        .replace("    serviceCIDR: 10.96.0.0/16\n", "")
        .replace("externalAddress: mke.prod", "externalAddress: api.prod");
    sandbox.write(path, &text);
    sandbox
}

#[test]
fn differences_from_the_committed_file_are_shown_by_value() {
    let sandbox = changed();
    let before = sandbox.state();
    insta::assert_snapshot!(sandbox.run("diff prod").whole(), @"
    exit code: 0
    --- stdout
    environments/prod/mke4.yaml differs from what is rendered

    registry
      ~ spec.registries.imageRegistry.url: registry.prod.example.com:5000/mke → registry.prod.example.com:5000/platform/mke
      ~ spec.registries.chartRegistry.url: oci://registry.prod.example.com:5000/mke → oci://registry.prod.example.com:5000/platform/mke

    API server
      ~ spec.apiServer.externalAddress: mke.prod.example.com → api.prod.example.com

    hosts
      ~ spec.hosts[10.10.0.21].ssh.user: mke → admin
      - spec.hosts[10.10.0.22]: { role: worker, ssh: { address: 10.10.0.22, user: mke, port: 22, keyPath: ~/.ssh/mke-prod } }
      + spec.hosts[10.10.0.23]: { role: worker, ssh: { address: 10.10.0.23, user: mke, port: 22, keyPath: ~/.ssh/mke-prod } }

    network
      - spec.network.serviceCIDR: 10.96.0.0/16

    the rest
      ~ spec.etcd.storageQuota: 8GB → 16GB

    nothing was applied yet
    --- stderr
    ");
    insta::assert_snapshot!(sandbox.run("diff prod --markdown").whole(), @"
    exit code: 0
    --- stdout
    ### prod

    environments/prod/mke4.yaml differs from what is rendered.

    | | where | old | new |
    |---|---|---|---|
    | registry | `spec.registries.imageRegistry.url` | `registry.prod.example.com:5000/mke` | `registry.prod.example.com:5000/platform/mke` |
    |  | `spec.registries.chartRegistry.url` | `oci://registry.prod.example.com:5000/mke` | `oci://registry.prod.example.com:5000/platform/mke` |
    | API server | `spec.apiServer.externalAddress` | `mke.prod.example.com` | `api.prod.example.com` |
    | hosts | `spec.hosts[10.10.0.21].ssh.user` | `mke` | `admin` |
    |  | `spec.hosts[10.10.0.22]` | `{ role: worker, ssh: { address: 10.10.0.22, user: mke, port: 22, keyPath: ~/.ssh/mke-prod } }` |  |
    |  | `spec.hosts[10.10.0.23]` |  | `{ role: worker, ssh: { address: 10.10.0.23, user: mke, port: 22, keyPath: ~/.ssh/mke-prod } }` |
    | network | `spec.network.serviceCIDR` | `10.96.0.0/16` |  |
    | the rest | `spec.etcd.storageQuota` | `8GB` | `16GB` |

    - nothing was applied yet
    --- stderr
    ");
    let result = json(sandbox.run("diff prod --format json"));
    assert_eq!(result["committed"], "different");
    assert_eq!(result["applied"], serde_json::Value::Null);
    let areas: Vec<&str> = result["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["area"].as_str().unwrap())
        .collect();
    assert_eq!(
        areas,
        [
            "registry",
            "registry",
            "api-server",
            "hosts",
            "hosts",
            "hosts",
            "network",
            "other"
        ]
    );
    assert_eq!(sandbox.changes_since(&before), [""; 0]);
}

#[test]
fn a_file_with_the_same_values_is_distinguished_from_one_that_differs() {
    let sandbox = Sandbox::with_examples(AIRLOCK);
    let path = "environments/staging/mke4.yaml";
    let text = sandbox.read(path);
    sandbox.write(path, &format!("{text}# by hand\n"));
    insta::assert_snapshot!(sandbox.run("diff staging").whole(), @r#"
    exit code: 0
    --- stdout
    environments/staging/mke4.yaml has the same values as what is rendered, written differently

    nothing was applied yet
    --- stderr
    "#);
    sandbox.remove(path);
    insta::assert_snapshot!(sandbox.run("diff staging").whole(), @r#"
    exit code: 0
    --- stdout
    environments/staging/mke4.yaml does not exist yet; `render` writes it

    nothing was applied yet
    --- stderr
    "#);
    sandbox.write(path, "a: 1\na: 2\n");
    insta::assert_snapshot!(sandbox.run("diff staging").whole(), @r"
    exit code: 3
    --- stdout
    --- stderr
    error: duplicate key `a`
     --> environments/staging/mke4.yaml:2:1
      |
    2 | a: 2
      | ^
      |
      = help: keep one; the first is in line 1

    1 problem
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receipt_records_what_was_applied() {
    let mut lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    let detailed = "diff lab --detailed-exitcode";
    lab.run(detailed).exits_with(2);
    lab.run("deploy lab").success();
    insta::assert_snapshot!(lab.run(detailed).whole(), @r#"
    exit code: 0
    --- stdout
    environments/lab/mke4.yaml is up to date

    what is rendered was applied at [TIME]
    --- stderr
    "#);

    lab.edit_environment("user: ubuntu", "user: admin");
    let committed = lab.run(detailed).exits_with(2);
    insta::assert_snapshot!(committed.whole(), @r#"
    exit code: 2
    --- stdout
    environments/lab/mke4.yaml differs from what is rendered

    hosts
      ~ spec.hosts[192.0.2.10].ssh.user: ubuntu → admin

    environments/lab/mke4.yaml was applied at [TIME] as it is now; the differences are not applied yet
    --- stderr
    "#);

    lab.run("render lab").success();
    let another = lab.run(detailed).exits_with(2);
    insta::assert_snapshot!(another.whole(), @r#"
    exit code: 2
    --- stdout
    environments/lab/mke4.yaml is up to date

    a different configuration was applied at [TIME]; the receipt records only its digest, but the git history of environments/lab/mke4.yaml has its text
    --- stderr
    "#);

    lab.variable("FAKE_MKECTL_EXIT", "1");
    lab.run("deploy lab").exits_with(7);
    let result = json(lab.run("diff lab --format json"));
    assert_eq!(result["applied"]["config"], "another");
    assert_eq!(result["applied"]["failed-later"], "apply");

    lab.edit_environment("v4.1.5", "v4.1.6");
    let result = json(lab.run("diff lab --format json"));
    assert_eq!(result["applied"]["changes"][0]["subject"], "release");
    assert_eq!(result["applied"]["changes"][0]["old"], "v4.1.5");
    assert_eq!(result["applied"]["changes"][0]["new"], "v4.1.6");
}

#[test]
fn two_environments_are_compared_by_value() {
    let sandbox = Sandbox::with_examples(AIRLOCK);
    insta::assert_snapshot!("environments", sandbox.run("diff staging prod").whole());
    insta::assert_snapshot!(sandbox.run("diff staging prod --markdown").whole(), @"
    exit code: 0
    --- stdout
    ### staging → prod

    | | where | old | new |
    |---|---|---|---|
    | registry | `spec.registries.imageRegistry.url` | `registry.staging.example.com/platform/mke` | `registry.prod.example.com:5000/mke` |
    |  | `spec.registries.imageRegistry.caData` |  | `(12 lines)` |
    |  | `spec.registries.chartRegistry.url` | `oci://registry.staging.example.com/platform/mke` | `oci://registry.prod.example.com:5000/mke` |
    |  | `spec.registries.chartRegistry.caData` |  | `(12 lines)` |
    | API server | `spec.apiServer.externalAddress` | `mke.staging.example.com` | `mke.prod.example.com` |
    |  | `spec.apiServer.sans` |  | `[mke.prod.example.com]` |
    |  | `spec.apiServer.audit` |  | `{ enabled: true, level: Metadata }` |
    | hosts | `spec.hosts[10.20.0.11]` | `{ role: controller+worker, ssh: { address: 10.20.0.11, user: ubuntu, port: 22, keyPath: ~/.ssh/mke-staging } }` |  |
    |  | `spec.hosts[10.20.0.21]` | `{ role: worker, ssh: { address: 10.20.0.21, user: ubuntu, port: 22, keyPath: ~/.ssh/mke-staging } }` |  |
    |  | `spec.hosts[10.10.0.11]` |  | `{ role: controller+worker, ssh: { address: 10.10.0.11, user: mke, port: 22, keyPath: ~/.ssh/mke-prod } }` |
    |  | `spec.hosts[10.10.0.12]` |  | `{ role: controller+worker, ssh: { address: 10.10.0.12, user: mke, port: 22, keyPath: ~/.ssh/mke-prod } }` |
    |  | `spec.hosts[10.10.0.13]` |  | `{ role: controller+worker, ssh: { address: 10.10.0.13, user: mke, port: 22, keyPath: ~/.ssh/mke-prod } }` |
    |  | `spec.hosts[10.10.0.21]` |  | `{ role: worker, ssh: { address: 10.10.0.21, user: mke, port: 22, keyPath: ~/.ssh/mke-prod } }` |
    |  | `spec.hosts[10.10.0.22]` |  | `{ role: worker, ssh: { address: 10.10.0.22, user: mke, port: 22, keyPath: ~/.ssh/mke-prod } }` |
    | network | `spec.network` |  | `{ serviceCIDR: 10.96.0.0/16, nodePortRange: 32768-35535 }` |
    | the rest | `spec.etcd` |  | `{ storageQuota: 8GB }` |
    |  | `registry.push-credentials.env` | `STAGING_REGISTRY` | `PROD_REGISTRY` |
    |  | `protected` |  | `true` |
    --- stderr
    ");
    let same = sandbox.run("diff prod prod --detailed-exitcode").success();
    assert_eq!(same.stdout, "prod and prod have the same values\n");
    sandbox
        .run("diff staging prod --detailed-exitcode")
        .exits_with(2);
}

#[test]
fn secrets_are_in_no_form_of_a_diff() {
    let sandbox = Sandbox::with_examples(AIRLOCK);
    let path = "environments/prod/environment.yaml";
    let text = sandbox.read(path);
    sandbox.write(
        path,
        &format!("{text}  authentication:\n    oidc:\n      clientSecret: planted-secret-1\n"),
    );
    for arguments in [
        "diff prod",
        "diff staging prod",
        "diff staging prod --markdown",
        "diff prod --format json",
    ] {
        let run = sandbox.run(arguments).success();
        run.prints("(not shown)");
        run.does_not_mention("planted-secret-1");
    }
}

/// Locks the tiny bundle as v4.1.3. Locks a bundle with an added, a removed, a changed and an
/// unchanged artifact as v4.1.5.
fn lock_two(sandbox: &Sandbox) {
    let mut recipe = bundles::tiny();
    let lock = |recipe: &bundle::make::Recipe, release: &str| {
        let name = FILE.replace("v4.1.5", release);
        let file = sandbox.path(&format!("bundles/{name}"));
        bundles::make(recipe, &file);
        sandbox.lock_as(release, &file);
    };
    recipe.artifacts.push(bundles::image(
        "old/agent",
        "v1",
        &["linux/amd64"],
        &[("base", 900), ("agent", 400)],
    ));
    lock(&recipe, "v4.1.3");
    recipe.artifacts.pop();
    // A new version that shares a layer with the old one, and new content under an old tag.
    recipe.artifacts[0] = bundles::image(
        "calico/node",
        "v3.30.3",
        &["linux/amd64", "linux/arm64"],
        &[("base", 900), ("node-2", 1_700)],
    );
    recipe.artifacts[1] = bundles::image(
        "pause",
        "3.10",
        &["linux/amd64"],
        &[("base", 900), ("pause-2", 800)],
    );
    // This image shares a layer with another new image. The layer must be counted once.
    recipe.artifacts.push(bundles::image(
        "new/agent",
        "v2",
        &["linux/amd64"],
        &[("base", 900), ("pause-2", 800)],
    ));
    lock(&recipe, "v4.1.5");
}

#[test]
fn two_releases_are_compared_by_their_locks() {
    let sandbox = Sandbox::new(AIRLOCK);
    lock_two(&sandbox);
    insta::assert_snapshot!(sandbox.run("diff v4.1.3 v4.1.5").whole(), @"
    exit code: 0
    --- stdout
    from v4.1.3 to v4.1.5
    1 artifact added, 1 removed, 2 changed, 1 the same
    to send to a registry that has v4.1.3: 6 blobs of 10.47 kB and manifests of 2.16 kB; all of v4.1.5 is 19.85 kB

      + new/agent    v2                                               3.37 kB
      - old/agent    v1
      ~ calico/node  v3.30.2 → v3.30.3                                9.27 kB
      ~ pause        3.10, sha256:3ec34db4bc5a → sha256:5f3d3ab6f5d5  3.37 kB

    recorded facts of the releases
      ~ from MKE 3: nothing → >=3.7.15, <3.9.0; the gateway's node ports are required
      ~ gateway ports: nothing → required in an upgrade from v4.1.2: --gateway-http-node-port, --gateway-https-node-port, --gateway-listener-port
      ~ known issue: fresh installations only: the vendor does not support it as the target of an upgrade, and names offline environments among the reasons; upgrade an existing cluster to v4.1.5 instead; it supports v4.1.0 to v4.1.3 as sources; its mkectl may look for images and charts of nested names below the project path twice, such as mke/mke/calico/apiserver; if it does, push again from a second environment that inherits from this one and has the project twice, such as mke/mke; or install v4.1.5 → nothing
      ~ rollback backup: nothing → automatic, before the upgrade; `mkectl restore` cannot read it
      ~ upgrade from: none: Mirantis supports only fresh installations of it, because of issues with the Envoy gateway and with offline environments → v4.1.0, v4.1.1, v4.1.2, v4.1.3
    --- stderr
    ");
    insta::assert_snapshot!(sandbox.run("diff v4.1.3 v4.1.5 --markdown").whole(), @"
    exit code: 0
    --- stdout
    ### v4.1.3 → v4.1.5

    1 artifact added, 1 removed, 2 changed, 1 the same; to send to a registry that has v4.1.3: 6 blobs of 10.47 kB and manifests of 2.16 kB; all of v4.1.5 is 19.85 kB.

    | artifact | old | new | size | to send |
    |---|---|---|---:|---:|
    | `new/agent` |  | `v2@sha256:5f3d3ab6f5d5` | 5.95 kB | 3.37 kB |
    | `old/agent` | `v1@sha256:34af0895e339` |  | 5.44 kB |  |
    | `calico/node` | `v3.30.2@sha256:db9b9b098bbe` | `v3.30.3@sha256:69bd700098c1` | 11.85 kB | 9.27 kB |
    | `pause` | `3.10@sha256:3ec34db4bc5a` | `3.10@sha256:5f3d3ab6f5d5` | 5.95 kB | 3.37 kB |

    | recorded fact | old | new |
    |---|---|---|
    | from MKE 3 |  | `>=3.7.15, <3.9.0; the gateway's node ports are required` |
    | gateway ports |  | `required in an upgrade from v4.1.2: --gateway-http-node-port, --gateway-https-node-port, --gateway-listener-port` |
    | known issue | `fresh installations only: the vendor does not support it as the target of an upgrade, and names offline environments among the reasons; upgrade an existing cluster to v4.1.5 instead; it supports v4.1.0 to v4.1.3 as sources; its mkectl may look for images and charts of nested names below the project path twice, such as mke/mke/calico/apiserver; if it does, push again from a second environment that inherits from this one and has the project twice, such as mke/mke; or install v4.1.5` |  |
    | rollback backup |  | `` automatic, before the upgrade; `mkectl restore` cannot read it `` |
    | upgrade from | `none: Mirantis supports only fresh installations of it, because of issues with the Envoy gateway and with offline environments` | `v4.1.0, v4.1.1, v4.1.2, v4.1.3` |
    --- stderr
    ");
    sandbox
        .run("diff v4.1.3 v4.1.5 --detailed-exitcode")
        .exits_with(2);
    sandbox
        .run("diff v4.1.5 v4.1.5 --detailed-exitcode")
        .success()
        .prints("0 artifacts added");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_of_a_diff_are_those_that_a_push_sends() {
    let lab = Lab::new(AIRLOCK, FAKE_MKECTL).await;
    lab.write(bundles::LOCK, "");
    lab.remove(bundles::LOCK);
    bundles::forget_store(&lab.sandbox);
    lock_two(&lab.sandbox);
    lab.edit_environment("v4.1.5", "v4.1.3");
    let push = || json_of_last_line(&lab.run("push lab --format json").success());
    let first = push();
    assert_ne!(first["sent-bytes"], 0);
    let diff = json(lab.run("diff v4.1.3 v4.1.5 --format json"));
    lab.edit_environment("v4.1.3", "v4.1.5");
    let second = push();
    assert_ne!(second["sent-bytes"], 0);
    assert_eq!(second["sent-bytes"], diff["blob-bytes"]);
    assert_ne!(second["sent-bytes"], first["sent-bytes"]);
}

fn json_of_last_line(run: &Run) -> serde_json::Value {
    let value = run.json();
    value["result"].clone()
}

#[test]
fn only_two_environments_releases_or_sets_are_compared() {
    let sandbox = Sandbox::with_examples(AIRLOCK);
    insta::assert_snapshot!(sandbox.run("diff prod v4.1.5").whole(), @r#"
    exit code: 64
    --- stdout
    --- stderr
    error: `prod` and `v4.1.5` cannot be compared: name two environments, two releases or two sets
    "#);
    insta::assert_snapshot!(sandbox.run("diff v4.1.5").whole(), @"
    exit code: 64
    --- stdout
    --- stderr
    error: name a second release to compare v4.1.5 with
    hint: `cargo xtask diff v4.1.5 OTHER` compares two; with `--since REVISION` its lock is compared with a committed one; `cargo xtask releases v4.1.5` shows the facts of one
    ");
    insta::assert_snapshot!(sandbox.run("diff v4.1.3 v4.1.5").whole(), @"
    exit code: 3
    --- stdout
    --- stderr
    error: release v4.1.3 is not locked: `bundles/v4.1.3-amd64.lock.yaml` does not exist
    hint: with internet: `cargo xtask lock v4.1.3`, and commit it; without: unpack a medium that has the lock
    ");
    sandbox
        .run("diff prod --markdown --format json")
        .exits_with(64);
}
