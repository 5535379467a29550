//! `deploy` upgrades a cluster: which commands of which mkectl run, which problems prevent the
//! upgrade, and which files it leaves.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use support::bundles::{self, Member};
use support::wire::Wire;
use support::{Lab, Server, Text as _};

use crate::deploy::deploy::{Running, assert_ended};
use crate::deploy::mkectl::platform;
use crate::{AIRLOCK, FAKE_MKECTL};

const RELEASES: [&str; 8] = [
    "v4.1.0", "v4.1.1", "v4.1.2", "v4.1.3", "v4.1.4", "v4.1.5", "v4.2.0", "v4.2.1",
];

const RECEIPT: &str = "environments/lab/receipt.yaml";

/// The node ports that an upgrade from v4.1.2 requires.
const PORTS: &str = "  gatewayMKEIngress: { nodePorts: { http: 33010, https: 33011 } }\n";

/// A cluster of one release, and an environment that names a later release. Every bundle is in the
/// store.
struct UpgradeLab {
    lab: Lab,
}

support::used_as!(UpgradeLab, lab: Lab);

impl UpgradeLab {
    /// Makes the lab. PATH has only the mkectl of the later release.
    async fn new(from: &str, to: &str) -> Self {
        let mut lab = Lab::without_mkectl(AIRLOCK).await;
        let cluster = lab.home().join("cluster.yaml");
        lab.variable("FAKE_MKECTL_CLUSTER", cluster.as_str());
        lab.edit_environment("config:\n", &format!("config:\n{PORTS}"));
        let lab = Self { lab };
        lab.lock(from);
        lab.lock(to);
        lab.set_release(from);
        lab.install_mkectl(from);
        lab.run("deploy lab").success();
        lab.set_release(to);
        lab.install_mkectl(to);
        lab
    }

    /// Locks a release without a mkectl. All releases have the same bundle.
    fn lock(&self, release: &str) {
        let bundle = self.path("bundles/mke_bundle_v4.1.5_amd64.tar.gz");
        if !self.lock_path(release).exists() {
            self.lock_as(release, &bundle);
        }
        self.edit_lock(release, |lock| {
            lock.mkectl.clear();
            lock.forced_release.clear();
        });
    }

    fn lock_path(&self, release: &str) -> Utf8PathBuf {
        let file = format!("bundles/{release}-amd64.lock.yaml");
        self.path(&file)
    }

    fn edit_lock(&self, release: &str, edit: impl FnOnce(&mut bundle::Lock)) {
        let path = self.lock_path(release);
        let mut lock = bundle::Lock::read(&path).unwrap();
        edit(&mut lock);
        std::fs::write(path, lock.to_yaml()).unwrap();
    }

    /// Locks the mkectl of a release, with its download at `url`.
    fn lock_mkectl(&self, release: &str, url: String, download: &[u8]) {
        use sha2::Digest as _;
        self.edit_lock(release, |lock| {
            lock.mkectl = vec![bundle::LockedMkectl {
                platform: platform(),
                url,
                sha256: hex::encode(sha2::Sha256::digest(download)),
                trusted_on_first_use: false,
            }];
        });
    }

    /// Locks the mkectl of a release, and writes it where `fetch` keeps it.
    fn fetch_mkectl(&self, release: &str) {
        let download = download(release);
        self.lock_mkectl(release, "http://127.0.0.1:1/mkectl".to_owned(), &download);
        let folder = format!("bundles/mkectl/{release}/{}", platform());
        let folder = self.path(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("mkectl.tar.gz"), download).unwrap();
        write_script(&folder.join("mkectl"), release);
    }

    /// Removes every build of a release's mkectl that a deploy kept.
    fn remove_kept_mkectl(&self, release: &str) {
        let folder = self.path("bundles/mkectl");
        for entry in folder.read_dir_utf8().unwrap() {
            let entry = entry.unwrap();
            if entry.file_name().starts_with(&format!("{release}-")) {
                std::fs::remove_dir_all(entry.path()).unwrap();
            }
        }
    }

    /// Sets the release of the environment.
    fn set_release(&self, release: &str) {
        let path = "environments/lab/environment.yaml";
        let text = self.read(path);
        let line = text.lines().find(|line| line.starts_with("release: "));
        let text = text.replace(line.unwrap(), &format!("release: {release}"));
        self.write(path, &text);
    }

    /// Puts the mkectl of a release on PATH.
    fn install_mkectl(&self, release: &str) {
        write_script(&self.bin().join("mkectl"), release);
    }

    /// Edits the live configuration of the cluster.
    fn edit_cluster(&self, edit: impl FnOnce(String) -> String) {
        let path = self.home().join("cluster.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(path, edit(text)).unwrap();
    }

    /// Writes a kubeconfig at the default path of mkectl.
    fn write_kubeconfig(&self) {
        let folder = self.home().join(".mke");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("mke.kubeconf"), "apiVersion: v1\n").unwrap();
    }

    /// Returns the commands of mkectl since the first installation, each with the release of the
    /// mkectl. `version` and `--help` are left out.
    fn commands(&self) -> Vec<String> {
        let calls = self.calls();
        let begun = calls
            .iter()
            .position(|call| {
                let is_dry = call.arguments.iter().any(|word| word == "--dry-run");
                call.arguments[0] == "apply" && call.file.is_some() && !is_dry
            })
            .map_or(0, |at| at + 1);
        calls[begun..]
            .iter()
            .filter(|call| !call.arguments.iter().any(|word| word == "--help"))
            .filter(|call| call.arguments != ["version"])
            .map(|call| {
                let release = &call.environment["FAKE_MKECTL_VERSION"];
                let arguments = self.redact(&call.arguments.join(" "));
                format!("{release}: {}", arguments.replace("[WORKSPACE]/", ""))
            })
            .collect()
    }

    /// Checks that mkectl got no command that changes a cluster.
    #[track_caller]
    fn assert_untouched(&self) {
        for command in self.commands() {
            command.has(": config get");
        }
    }

    fn backups(&self) -> Vec<String> {
        let folder = self.path("environments/lab/backups");
        let mut names: Vec<String> = folder
            .read_dir_utf8()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_owned())
            .collect();
        names.sort();
        names
    }
}

/// Replaces the hash in the folder of a kept mkectl, which differs from machine to machine.
fn without_hash(text: &str) -> String {
    let mut parts = text.split("bundles/mkectl/v4.1.1-");
    let mut whole = parts.next().unwrap().to_owned();
    for part in parts {
        whole.push_str("bundles/mkectl/v4.1.1-[SHA-256]");
        whole.push_str(&part[12..]);
    }
    whole
}

/// Returns a mkectl of a release.
fn script(release: &str) -> String {
    format!("#!/bin/sh\nFAKE_MKECTL_VERSION={release} exec {FAKE_MKECTL} \"$@\"\n")
}

pub(crate) fn write_script(path: &Utf8Path, release: &str) {
    support::sandbox::write_program(path, script(release));
}

fn download(release: &str) -> Vec<u8> {
    bundles::pack(&[Member::new("mkectl", script(release))])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_receipt_does_not_need_the_mkectl_that_installed_the_cluster_on_path() {
    let lab = UpgradeLab::new("v4.1.1", "v4.1.2").await;
    let receipt = lab.path("environments/lab/receipt.yaml");
    let rebuild = "receipt rebuild lab --confirm lab";
    // PATH has the mkectl of v4.1.2.
    for release in ["v4.1.2", "v4.1.1"] {
        std::fs::remove_file(&receipt).unwrap();
        lab.set_release(release);
        lab.run(rebuild).success();
        let is_known = lab.receipt().contains("sha256");
        assert_eq!(is_known, release == "v4.1.1", "{}", lab.receipt());
        lab.set_release("v4.1.2");
        lab.run("plan lab").success();
    }
    // Two builds of v4.1.1 are kept, and either may have installed the cluster.
    std::fs::remove_file(&receipt).unwrap();
    lab.run(rebuild).success();
    let text = format!("{}# another build\n", script("v4.1.1"));
    use sha2::Digest as _;
    let hash = hex::encode(sha2::Sha256::digest(&text));
    let folder = format!("bundles/mkectl/v4.1.1-{}/{}", &hash[..12], platform());
    let folder = lab.path(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let other = folder.join("mkectl");
    write_script(&other, "v4.1.1");
    std::fs::write(&other, text).unwrap();
    lab.run("plan lab")
        .exits_with(6)
        .prints("requires mkectl v4.1.1, which was not found");
    // A kept build that was changed does not count.
    write_script(&other, "v4.1.1");
    lab.run("plan lab").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn status_reports_whether_the_vendor_supports_the_upgrade() {
    let lab = UpgradeLab::new("v4.1.1", "v4.1.5").await;
    let mut all = String::new();
    for release in ["v4.1.5", "v4.1.4", "v4.1.3"] {
        lab.lock(release);
        lab.set_release(release);
        let run = lab.run("status lab --format json").success();
        let value = run.json();
        let drift = value["result"]["environments"][0]["drift"]
            .as_array()
            .unwrap();
        for drift in drift {
            let text = |key: &str| drift[key].as_str().unwrap();
            if text("what").starts_with("it runs") {
                all.push_str(&format!("{}\n  {}\n", text("what"), text("fix")));
            }
        }
    }
    insta::assert_snapshot!(all, @"
    it runs v4.1.1, but its files require v4.1.5; the vendor supports that upgrade
      cargo xtask deploy lab
    it runs v4.1.1, but its files require v4.1.4; it is unverified whether the vendor supports the upgrade from v4.1.1 to v4.1.4: its list of sources is unknown
      cargo xtask deploy lab
    it runs v4.1.1, but its files require v4.1.3, and deploy refuses that upgrade: v4.1.3 is not an upgrade target: Mirantis supports only fresh installations of it, because of issues with the Envoy gateway and with offline environments (https://docs.mirantis.com/mke4/4.1.3/getting-started/offline-installation/)
      cargo xtask releases v4.1.3
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_release_is_an_upgrade_that_the_plan_shows_first() {
    let lab = UpgradeLab::new("v4.1.1", "v4.1.2").await;
    insta::assert_snapshot!(without_hash(&lab.run("plan lab").success().whole()), @"
    exit code: 0
    --- stdout
    Plan for lab: v4.1.2 to 127.0.0.1:[PORT]/mke
    warning: if the upgrade fails, mkectl rolls back without asking: it resets and reboots every controller, then every worker, and interrupts all workloads
      bundle    not needed
      registry  14 artifacts already present
      config    write environments/lab/mke4.yaml
      mkectl    upgrade from v4.1.1
                1. cd [WORKSPACE]/environments/lab/backups && [WORKSPACE]/bundles/mkectl/v4.1.1-[SHA-256]/linux-x86_64/mkectl etcd backup -f [WORKSPACE]/environments/lab/backups/v4.1.1-to-v4.1.2_mke4.yaml --name v4.1.1-to-v4.1.2_by-v4.1.1.tar
                2. [SANDBOX]/bin/mkectl upgrade -f environments/lab/backups/v4.1.1-to-v4.1.2_mke4.yaml --upgrade-version v4.1.2 --release-matrix bundles/mkectl/v4.1.2/release-matrix.json
                3. [SANDBOX]/bin/mkectl config get
                because the environment names a later release

    --- a/environments/lab/mke4.yaml
    +++ b/environments/lab/mke4.yaml
    @@ -5,7 +5,7 @@
       name: mke
       namespace: mke
     spec:
    -  version: v4.1.1
    +  version: v4.1.2
       airgap:
         enabled: true
       registries:
    --- stderr
    ");
    lab.assert_untouched();
    insta::assert_snapshot!(
        "deploy",
        without_hash(&lab.run("deploy lab").success().whole())
    );
    insta::assert_snapshot!("receipt", lab.receipt());
    let sandbox = &lab.sandbox;
    // The earlier configuration is kept for a restore. The release matrix is that of the bundle.
    let before = sandbox.read("environments/lab/backups/v4.1.1-to-v4.1.2_mke4.yaml");
    before.has("version: v4.1.1\n");
    let lock = bundle::Lock::read(&lab.lock_path("v4.1.2")).unwrap();
    let matrix = std::fs::read(sandbox.path("bundles/mkectl/v4.1.2/release-matrix.json")).unwrap();
    use sha2::Digest as _;
    assert_eq!(
        hex::encode(sha2::Sha256::digest(matrix)),
        lock.release_matrix.unwrap().sha256
    );
    // The values that the upgrade added can be adopted. The rendered configuration is applied, so
    // the next deploy has nothing to do.
    let adopted = sandbox.path("environments/lab/mke4.adopted.yaml");
    let mode = std::fs::metadata(&adopted).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(
        std::fs::read_to_string(adopted)
            .unwrap()
            .contains("  upgraded: true\n")
    );
    let calls = lab.calls().len();
    let again = lab.run("deploy lab").success();
    assert_eq!(again.stdout, "lab: nothing to do\n");
    assert_eq!(
        lab.calls().len(),
        calls,
        "mkectl ran although nothing changed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_upgrade_runs_the_commands_that_the_vendor_documents() {
    let mut all = String::new();
    for (from, to) in [
        ("v4.1.1", "v4.1.2"),
        ("v4.1.2", "v4.1.5"),
        ("v4.1.5", "v4.2.0"),
        ("v4.2.0", "v4.2.1"),
    ] {
        let lab = UpgradeLab::new(from, to).await;
        // The earlier mkectl is not on PATH. Airlock kept it when it installed the cluster.
        lab.run("deploy lab").success();
        writeln!(all, "{from} to {to}").unwrap();
        for command in lab.commands() {
            writeln!(all, "  {command}").unwrap();
        }
        writeln!(all, "  leaves {}", lab.backups().join(", ")).unwrap();
        let receipt = lab.receipt();
        receipt.has(&format!("  release: {to}\n"));
        receipt.lacks("failed:");
    }
    insta::assert_snapshot!("commands", all);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_pair_of_releases_has_its_commands_or_a_reason() {
    let lab = UpgradeLab::new("v4.1.1", "v4.1.2").await;
    std::fs::remove_file(lab.bin().join("mkectl")).unwrap();
    for release in RELEASES {
        lab.lock(release);
        lab.fetch_mkectl(release);
    }
    let receipt = lab.read(RECEIPT);
    let cluster = lab.home().join("cluster.yaml");
    let mut upgraded = 0;
    let mut all = String::new();
    for to in RELEASES {
        lab.set_release(to);
        lab.remove(RECEIPT);
        write!(all, "{}", described("new", to, &plan(&lab))).unwrap();
        for from in RELEASES {
            lab.write(
                RECEIPT,
                &receipt.replace("release: v4.1.1", &format!("release: {from}")),
            );
            lab.edit_cluster(|text| {
                let line = text.lines().find(|line| line.starts_with("  version: "));
                let line = line.unwrap().to_owned();
                text.replace(&line, &format!("  version: {from}"))
            });
            let plan = plan(&lab);
            write!(all, "{}", described(from, to, &plan)).unwrap();
            // Case 1.2: the commands of every pair name only files that exist. The fake mkectl
            // checks this.
            let mkectl = &plan["result"]["mkectl"];
            if mkectl["action"] == "upgrade" && mkectl["problem"].is_null() {
                let kept = std::fs::read_to_string(&cluster).unwrap();
                // The registry still records the deploy of the previous pair.
                lab.run("deploy lab --take-over").success();
                std::fs::write(&cluster, kept).unwrap();
                upgraded += 1;
            }
        }
    }
    assert_eq!(upgraded, 18);
    insta::assert_snapshot!("matrix", all);
}

/// Returns a plan as JSON.
fn plan(lab: &UpgradeLab) -> serde_json::Value {
    let run = lab.run("plan lab --format json");
    let text = lab.redact(&run.stdout);
    serde_json::from_str(&text).unwrap()
}

/// Returns the commands of a plan, or the reason that it has none.
fn described(from: &str, to: &str, plan: &serde_json::Value) -> String {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let mut described = format!("{from} to {to}\n");
    if let Some(error) = plan.get("error") {
        let reason = text(&error["causes"][0]);
        writeln!(described, "  refused: {reason}").unwrap();
        return described;
    }
    let mkectl = &plan["result"]["mkectl"];
    // Case 1.1: the mkectl of v4.1.0 writes no archive, so an upgrade from v4.1.0 requires a
    // reason.
    if mkectl["action"] == "upgrade" && from == "v4.1.0" {
        let problem = text(&mkectl["problem"]);
        assert_eq!(
            problem,
            "mkectl v4.1.0 cannot write a backup archive to a local file"
        );
        writeln!(described, "  refused: {problem}").unwrap();
        return described;
    }
    assert_eq!(mkectl["problem"], serde_json::Value::Null, "{mkectl}");
    for command in mkectl["commands"].as_array().unwrap() {
        let mut command = text(&command["command"]).replace("[WORKSPACE]/", "");
        for release in RELEASES {
            let program = format!("bundles/mkectl/{release}/{}/mkectl ", platform());
            command = command.replace(&program, &format!("mkectl-{release} "));
        }
        let command = command
            .replace("environments/lab/backups", "backups")
            .replace("environments/lab/mke4.yaml", "mke4.yaml");
        writeln!(described, "  {command}").unwrap();
    }
    described
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_upgrade_is_reported_and_retried() {
    let mut lab = UpgradeLab::new("v4.1.1", "v4.1.2").await;
    lab.variable("FAKE_MKECTL_AT", "upgrade")
        .variable("FAKE_MKECTL_EXIT", "3");
    let run = lab.run("deploy lab").exits_with(7);
    run.reports("rollback is complete")
        .reports("error: `mkectl upgrade` exited with code 3");
    let receipt = lab.receipt();
    receipt.has("  error: '`mkectl upgrade` exited with code 3'\n");
    receipt
        .has("  release: v4.1.1\n")
        .has("failed:\n  release: v4.1.2\n")
        .has("  step: upgrade\n");
    // After a failure the cluster may report either release. The upgrade is retried in both cases,
    // because mkectl reported the failure.
    for version in ["v4.1.1", "v4.1.2"] {
        lab.edit_cluster(|text| {
            text.replace("  version: v4.1.1", &format!("  version: {version}"))
        });
        let plan = lab.run("plan lab").success();
        plan.prints("upgrade from v4.1.1")
            .prints("because the last upgrade failed");
    }
    lab.edit_cluster(|text| text.replace("  version: v4.1.2", "  version: v4.1.1"));
    lab.variable("FAKE_MKECTL_EXIT", "0");
    lab.run("deploy lab").success();
    assert!(lab.receipt().contains("  release: v4.1.2\n"));
    // The files of the first attempt are kept.
    assert_eq!(
        lab.backups(),
        [
            "v4.1.1-to-v4.1.2-2_by-v4.1.1.tar",
            "v4.1.1-to-v4.1.2-2_by-v4.1.1.tar.yaml",
            "v4.1.1-to-v4.1.2-2_mke4.yaml",
            "v4.1.1-to-v4.1.2_by-v4.1.1.tar",
            "v4.1.1-to-v4.1.2_by-v4.1.1.tar.yaml",
            "v4.1.1-to-v4.1.2_mke4.yaml"
        ]
    );
}

/// Even if mkectl reports success, the release that the cluster reports decides.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_leaves_the_cluster_as_it_was_is_a_failure() {
    let mut lab = UpgradeLab::new("v4.1.5", "v4.2.0").await;
    lab.variable("FAKE_MKECTL_UPGRADE", "none");
    let run = lab.run("deploy lab").exits_with(7);
    run.reports(
        "error: `mkectl upgrade` exited with code 0, but according to `mkectl config get` the cluster runs v4.1.5 at mke.lab.example.com \
         and pulls from 127.0.0.1:[PORT]/mke, not v4.2.0 from 127.0.0.1:[PORT]/mke\n\
         hint: its output is in environments/lab/logs/[TIME]-upgrade.log\n",
    )
    .does_not_report("v4.1.5 became v4.2.0");
    let receipt = lab.receipt();
    receipt
        .has("  release: v4.1.5\n")
        .has("failed:\n  release: v4.2.0\n")
        .has("  step: upgrade\n");
    let note = "environments/lab/logs/under-way.yaml";
    assert!(!lab.path(note).exists());
    lab.variable("FAKE_MKECTL_UPGRADE", "");
    lab.run("deploy lab").success();
    lab.receipt().has("  release: v4.2.0\n").lacks("failed:");
}

/// A different checkout upgraded the cluster, and this checkout lacks the receipt.
#[tokio::test(flavor = "multi_thread")]
async fn a_take_over_asks_the_cluster_before_it_writes_a_receipt() {
    let lab = UpgradeLab::new("v4.1.5", "v4.2.0").await;
    let before = lab.read(RECEIPT);
    let cluster = lab.home().join("cluster.yaml");
    let installed = std::fs::read_to_string(&cluster).unwrap();
    lab.run("deploy lab").success();
    lab.write(RECEIPT, &before);
    lab.set_release("v4.1.5");
    lab.install_mkectl("v4.1.5");
    lab.run("render lab").success();
    lab.run("deploy lab").exits_with(8).reports("git pull");
    let take_over = "deploy lab --take-over";
    let run = lab.run(take_over).exits_with(3);
    run.reports("but the cluster that mkectl reaches runs v4.2.0");
    std::fs::remove_file(&cluster).unwrap();
    let run = lab.run(take_over).exits_with(6);
    run.reports(
        "error: the registry records a deploy of v4.2.0 to lab, and the cluster does not return its configuration\n",
    );
    assert_eq!(lab.read(RECEIPT), before);
    // The cluster was restored meanwhile.
    std::fs::write(&cluster, installed).unwrap();
    let run = lab.run(take_over).success();
    run.reports("because the registry records a deploy that the receipt does not");
    assert_eq!(lab.applies().len(), 2);
    lab.run("deploy lab").success().prints("nothing to do");
}

/// The receipt keeps the earlier failure, so it has to name the run that the registry records.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_backup_after_a_failed_upgrade_does_not_stop_the_next_deploy() {
    let mut lab = UpgradeLab::new("v4.1.5", "v4.2.0").await;
    lab.variable("FAKE_MKECTL_AT", "upgrade")
        .variable("FAKE_MKECTL_EXIT", "3");
    lab.run("deploy lab").exits_with(7);
    lab.variable("FAKE_MKECTL_EXIT", "0")
        .variable("FAKE_MKECTL_BACKUP", "empty");
    lab.run("deploy lab")
        .exits_with(7)
        .reports("receipt.yaml keeps the earlier failure at upgrade");
    lab.receipt().has("  step: upgrade\n");
    lab.variable("FAKE_MKECTL_BACKUP", "");
    lab.run("deploy lab").success();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rollback_of_mkectl_the_earlier_release_can_be_applied_again() {
    let mut lab = UpgradeLab::new("v4.1.1", "v4.1.2").await;
    lab.write_kubeconfig();
    lab.variable("FAKE_MKECTL_AT", "upgrade")
        .variable("FAKE_MKECTL_EXIT", "3");
    lab.run("deploy lab").exits_with(7);
    lab.variable("FAKE_MKECTL_EXIT", "0");
    lab.set_release("v4.1.1");
    lab.install_mkectl("v4.1.1");
    lab.edit_cluster(|text| text.replace("version: v4.1.1", "version: v4.1.2"));
    let run = lab.run("deploy lab").exits_with(3);
    run.reports("the receipt of lab records v4.1.1 from 127.0.0.1:[PORT]/mke, but the cluster that mkectl reaches runs v4.1.2");
    lab.edit_cluster(|text| text.replace("version: v4.1.2", "version: v4.1.1"));
    lab.run("deploy lab").success();
    assert_eq!(lab.applies().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_reaches_the_upgrade_and_a_kill_leaves_a_note() {
    let mut lab = UpgradeLab::new("v4.1.1", "v4.1.2").await;
    lab.variable("FAKE_MKECTL_AT", "upgrade")
        .variable("FAKE_MKECTL_HANG", "yes");
    let mut running = Running::start(&lab, "deploy lab");
    running.wait_for("waiting for nodes");
    let note = lab.read("environments/lab/logs/under-way.yaml");
    assert!(
        note.starts_with("command: upgrade\nrelease: v4.1.2\n"),
        "{note}"
    );
    running.interrupt();
    let run = running.end().exits_with(130);
    assert_eq!(
        run.stderr.matches("received SIGINT").count(),
        1,
        "{}",
        run.stderr
    );
    assert_ended(&lab);
    assert!(lab.receipt().contains("  step: upgrade\n"));

    // The files as they are if Airlock was killed, and mkectl ended later.
    let receipt = lab.read(RECEIPT);
    let (applied, _) = receipt.split_once("failed:\n").unwrap();
    lab.write(RECEIPT, applied);
    let note: String = note
        .lines()
        .filter(|line| !line.starts_with("process: "))
        .map(|line| format!("{line}\n"))
        .collect();
    lab.write("environments/lab/logs/under-way.yaml", &note);
    let plan = lab.run("plan lab").success();
    plan.prints("upgrade from v4.1.1");
    lab.edit_cluster(|text| text.replace("version: v4.1.1", "version: v4.1.2"));
    let plan = lab.run("plan lab").success();
    plan.prints("the upgrade to v4.1.2 was interrupted, but the cluster of lab runs it")
        .prints("mkectl apply -f");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_prerequisites_are_reported_before_anything_is_changed() {
    let lab = UpgradeLab::new("v4.1.2", "v4.2.1").await;
    let refused = |code: i32, text: &str| {
        let run = lab.run("deploy lab").exits_with(code);
        assert!(run.stderr.contains(text), "{text}\n{}", run.whole());
        let plan = lab.run("plan lab");
        assert!(plan.whole().contains(text), "{text}\n{}", plan.whole());
        lab.assert_untouched();
    };
    // The mkectl that writes the backup is missing.
    lab.remove_kept_mkectl("v4.1.2");
    refused(
        6,
        "the backup before the upgrade requires mkectl v4.1.2, which was not found",
    );
    lab.fetch_mkectl("v4.1.2");
    // That mkectl was changed.
    let program = format!("bundles/mkectl/v4.1.2/{}/mkectl", platform());
    let program = lab.path(&program);
    std::fs::write(&program, format!("{}#", script("v4.1.2"))).unwrap();
    refused(6, "it was changed");
    write_script(&program, "v4.1.2");
    // The cluster does not respond.
    let cluster = lab.home().join("cluster.yaml");
    let kept = std::fs::read_to_string(&cluster).unwrap();
    std::fs::remove_file(&cluster).unwrap();
    refused(6, "the cluster of lab does not return its configuration");
    std::fs::write(&cluster, &kept).unwrap();
    // The bundle has no release matrix.
    lab.edit_lock("v4.2.1", |lock| lock.release_matrix = None);
    refused(3, "the bundle of v4.2.1 has none");
    lab.write("environments/lab/matrix.json", "[]\n");
    lab.edit_environment("release:", "release-matrix: matrix.json\nrelease:");
    // The environment lacks the node ports.
    lab.edit_environment(PORTS, "");
    refused(3, "this upgrade requires the gateway's node ports");
    let check = lab.run("check lab").exits_with(3);
    check.reports("the gateway's node ports");
    lab.edit_environment("config:\n", &format!("config:\n{PORTS}"));
    // The cluster pulls from a different registry.
    lab.edit_cluster(|text| text.replace("/mke", "/other"));
    refused(
        3,
        "the receipt of lab records v4.1.2 from 127.0.0.1:[PORT]/mke",
    );
    // mkectl reaches a different cluster.
    std::fs::write(
        &cluster,
        kept.replace("192.0.2.10", "192.0.2.99")
            .replace("mke.lab.example.com", "other.example.com"),
    )
    .unwrap();
    refused(3, "runs v4.1.2 at other.example.com");
    // The cluster runs a different release.
    std::fs::write(&cluster, kept.replace("version: v4.1.2", "version: v4.1.5")).unwrap();
    refused(3, "runs v4.1.5 at mke.lab.example.com");

    std::fs::write(&cluster, kept).unwrap();
    lab.run("deploy lab").success();
    let upgrade = lab
        .commands()
        .into_iter()
        .find(|one| one.contains(": upgrade "));
    assert!(
        upgrade
            .as_ref()
            .is_some_and(|one| one.contains("--release-matrix environments/lab/matrix.json")),
        "{upgrade:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_receipt_the_plan_uses_what_the_cluster_reports() {
    let lab = UpgradeLab::new("v4.1.1", "v4.1.2").await;
    lab.remove(RECEIPT);
    // Without a kubeconfig the plan is a first installation. It is refused, because the registry
    // records the earlier deploy.
    let plan = lab.run("plan lab").exits_with(8);
    plan.prints("mkectl apply -f");
    assert!(lab.commands().is_empty());

    lab.write_kubeconfig();
    let plan = lab.run("plan lab").exits_with(8);
    plan.prints("no receipt records the cluster of lab, but it responds: it runs v4.1.1")
        .prints("upgrade from v4.1.1");
    // Case 1.4: a cluster with a different registry or different machines is not that of this
    // environment.
    lab.edit_environment("project: mke", "project: other");
    let run = lab.run("deploy lab").exits_with(3);
    run.reports("`mkectl config get` reached the cluster at mke.lab.example.com by [SANDBOX]/home/.mke/mke.kubeconf, which is not this \
             environment's").reports("pulls from 127.0.0.1:[PORT]/other").reports("hint: if the file belongs to another environment, move it").does_not_report("receipt.yaml");
    lab.edit_environment("project: other", "project: mke");
    lab.edit_cluster(|text| text.replace("192.0.2.10", "192.0.2.99"));
    let run = lab.run("deploy lab").exits_with(3);
    run.reports("reached the cluster at 192.0.2.99");
    lab.edit_cluster(|text| text.replace("mke.lab.example.com", "other.example.com"));
    let run = lab.run("deploy lab").exits_with(3);
    run.reports("reached the cluster at other.example.com");
    lab.assert_untouched();

    // A cluster that does not respond does not prevent a first installation.
    std::fs::remove_file(lab.home().join("cluster.yaml")).unwrap();
    let plan = lab.run("plan lab").exits_with(8);
    plan.prints("this counts as a first installation")
        .prints("mkectl apply -f");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_the_upgrade_did_not_apply_are_applied_by_the_next_deploy() {
    let lab = UpgradeLab::new("v4.1.1", "v4.1.2").await;
    lab.edit_environment("config:\n", "config:\n  kubelet: { maxPods: 250 }\n");
    lab.init_git();
    lab.commit("first");
    let run = lab.run("deploy lab").success();
    run.reports("differs from what is rendered, in 2 places");
    let plan = lab.run("plan lab").success();
    plan.prints("mkectl apply -f")
        .prints("because the configuration changed")
        .prints("\n+    maxPods: 250\n")
        .does_not_print("-  version: v4.1.1");
    lab.run("deploy lab").success();
    assert_eq!(
        lab.run("deploy lab").success().stdout,
        "lab: nothing to do\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_fetches_the_mkectl_that_it_lacks() {
    let lab = UpgradeLab::new("v4.2.0", "v4.2.1").await;
    std::fs::remove_file(lab.bin().join("mkectl")).unwrap();
    let server = Server::start(|asked| {
        use axum::response::IntoResponse as _;
        let release = asked.path.trim_start_matches('/').to_owned();
        download(&release).into_response()
    })
    .await;
    lab.remove_kept_mkectl("v4.2.0");
    // The download fails, so the error names the missing mkectl.
    lab.lock_mkectl(
        "v4.2.1",
        "http://127.0.0.1:1/mkectl".to_owned(),
        &download("v4.2.1"),
    );
    let run = lab.run("deploy lab").exits_with(6);
    run.reports("mkectl v4.2.1 is not here and could not be brought");
    // A download that differs from the lock is refused.
    lab.lock_mkectl("v4.2.1", server.url("v4.2.0"), &download("v4.2.1"));
    lab.run("deploy lab").exits_with(4);
    lab.assert_untouched();

    for release in ["v4.2.0", "v4.2.1"] {
        lab.lock_mkectl(release, server.url(release), &download(release));
    }
    // `fetch` downloads both, too.
    lab.run("fetch lab").success();
    for release in ["v4.2.0", "v4.2.1"] {
        let folder = lab.path(&format!("bundles/mkectl/{release}/{}", platform()));
        assert!(folder.join("mkectl").exists(), "{folder}");
        std::fs::remove_dir_all(folder).unwrap();
    }
    lab.run("deploy lab").success();
    insta::assert_debug_snapshot!("fetched", lab.commands());
    // The deploy downloaded both again.
    for release in ["v4.2.0", "v4.2.1"] {
        let program = format!("bundles/mkectl/{release}/{}/mkectl", platform());
        assert!(lab.path(&program).exists(), "{program}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_names_the_release_of_the_cluster_beside_the_required_one() {
    let lab = UpgradeLab::new("v4.1.5", "v4.2.0").await;
    let run = lab.run("verify lab").success();
    assert!(
        run.stdout.ends_with(
            "14 artifacts of v4.2.0 to nodes; according to the receipt, the cluster runs v4.1.5\n"
        ),
        "{}",
        run.whole()
    );
    let run = lab.run("verify lab --format json");
    let value = run.json();
    assert_eq!(value["result"]["release"], "v4.2.0");
    assert_eq!(value["result"]["deployed"], "v4.1.5");
    lab.run("deploy lab").success();
    let run = lab.run("verify lab").success();
    run.does_not_print("v4.1.5");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mkectl_without_pull_credentials_stops_a_deploy_unless_the_environment_accepts_it() {
    let mut lab = UpgradeLab::new("v4.1.2", "v4.1.5").await;
    lab.remove(RECEIPT);
    lab.edit_environment(
        "  push-credentials:",
        "  pull-credentials: { env: LAB_PULL }\n  push-credentials:",
    );
    lab.edit_environment(
        "config:\n",
        "facts: { anonymous-pull: optional }\nconfig:\n  registries:\n    imageRegistry: { credentialsSecretName: pull }\n    \
         chartRegistry: { credentialsSecretName: pull }\n",
    );
    lab.variable("LAB_PULL_USERNAME", "puller")
        .variable("LAB_PULL_PASSWORD", "planted-pull-password-c2d8");
    let lacks = "mkectl lists no --chart-registry-username and no --image-registry-username: nodes get no pull credentials from it";
    let take_over = "deploy lab --take-over";
    // The registry has the shared state of the removed receipt, so the plan is refused.
    let plan = lab.run("plan lab").exits_with(8);
    plan.prints(lacks);
    let run = lab.run(take_over).exits_with(6);
    run.reports(lacks).reports("`accept: [pull-secret]`");
    lab.assert_untouched();

    lab.edit_environment("[telemetry]", "[telemetry, pull-secret]");
    let plan = lab.run("plan lab --out lab.plan.yaml").exits_with(8);
    let accepted = format!("{lacks}, which the environment accepts");
    plan.prints(&accepted);
    let saved = lab.read("lab.plan.yaml");
    saved.has("which the environment accepts");
    lab.run(take_over).success();
    assert_eq!(lab.applies().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn mkectl_gets_the_pull_credentials_and_no_output_has_them() {
    const USER: &str = "planted-puller-3e9b";
    const PASSWORD: &str = "planted-pull-password-c2d8";
    let mut lab = UpgradeLab::new("v4.2.0", "v4.2.1").await;
    let sandbox = &mut lab.sandbox;
    sandbox.remove(RECEIPT);
    lab.edit_environment(
        "  push-credentials:",
        "  pull-credentials: { env: LAB_PULL }\n  push-credentials:",
    );
    lab.edit_environment(
        "config:\n",
        "config:\n  registries:\n    imageRegistry: { credentialsSecretName: pull }\n    \
         chartRegistry: { credentialsSecretName: pull }\n",
    );
    // The plan reads the registry with the pull credentials, as a node does.
    let run = lab.run("plan lab").exits_with(3);
    run.reports("the variables LAB_PULL_USERNAME and LAB_PULL_PASSWORD are not set");
    lab.variable("LAB_PULL_USERNAME", USER)
        .variable("LAB_PULL_PASSWORD", PASSWORD)
        .variable("FAKE_MKECTL_LEAK", "MKE_IMAGE_REGISTRY_PASSWORD");
    let plan = lab.run("plan lab").exits_with(8);
    let command = format!(
        "MKE_CHART_REGISTRY_PASSWORD=*** MKE_IMAGE_REGISTRY_PASSWORD=*** [SANDBOX]/bin/mkectl apply -f environments/lab/mke4.yaml \
         --no-color --no-pretty-print --chart-registry-username {USER} --image-registry-username {USER}\n"
    );
    plan.prints(&command);
    // The error has the command that failed, without secrets.
    lab.variable("FAKE_MKECTL_EXIT", "3");
    let failed = lab.run("deploy lab --take-over --format json");
    let last = failed.json();
    let reported = last["error"]["mkectl-command"].as_str().unwrap();
    assert_eq!(format!("{reported}\n"), command);
    failed.does_not_mention(PASSWORD);
    lab.variable("FAKE_MKECTL_EXIT", "0");
    let deploy = lab.run("deploy lab").success();
    deploy.reports("WRN connecting with ***");
    let applied = lab.applies().pop().unwrap();
    for variable in ["MKE_CHART_REGISTRY_PASSWORD", "MKE_IMAGE_REGISTRY_PASSWORD"] {
        assert_eq!(applied.environment[variable], PASSWORD);
    }
    assert!(!applied.environment.contains_key("LAB_PULL_PASSWORD"));
    assert!(!applied.arguments.concat().contains(PASSWORD));
    for run in [&plan, &deploy] {
        run.does_not_mention(PASSWORD);
    }
    for (path, content) in lab.files() {
        let content = String::from_utf8_lossy(&content);
        let is_record = path.as_str().ends_with("mkectl-calls");
        assert!(is_record || !content.contains(PASSWORD), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_registry_is_pulled_from_with_its_own_secret() {
    const PASSWORD: &str = "planted-pull-password-c2d8";
    let mut lab = UpgradeLab::new("v4.2.0", "v4.2.1").await;
    let wire = Wire::before(&lab.registry.address).await;
    wire.require_credentials("/mirrored-chart-");
    lab.remove(RECEIPT);
    lab.edit_environment(&lab.registry.address, &wire.address);
    lab.edit_environment(
        "  push-credentials:",
        "  pull-credentials: { env: LAB_PULL }\n  push-credentials:",
    );
    lab.edit_environment(
        "config:\n",
        "config:\n  registries:\n    imageRegistry: { credentialsSecretName: pull }\n",
    );
    lab.variable("LAB_PULL_USERNAME", "puller")
        .variable("LAB_PULL_PASSWORD", PASSWORD);
    // Charts are pulled without credentials, but the registry requires credentials for them.
    lab.run("push lab").exits_with(5);
    let plan = lab.run("plan lab").exits_with(8);
    plan.prints("--image-registry-username puller")
        .does_not_print("--chart-registry-username");
    let private = "the registry refuses nodes without credentials";
    plan.prints(private);
    lab.edit_environment("    imageRegistry:", "    chartRegistry:");
    let plan = lab.run("plan lab").exits_with(8);
    plan.does_not_print(private);
    lab.run("deploy lab --take-over").success();
    let applied = lab.applies().pop().unwrap();
    assert_eq!(applied.environment["MKE_CHART_REGISTRY_PASSWORD"], PASSWORD);
    assert!(
        !applied
            .environment
            .contains_key("MKE_IMAGE_REGISTRY_PASSWORD")
    );
}

// Case 1.4: mkectl gets the kubeconfig as a flag, and only for a cluster that exists.
#[tokio::test(flavor = "multi_thread")]
async fn mkectl_does_not_get_the_variable_kubeconfig() {
    let mut lab = UpgradeLab::new("v4.1.5", "v4.2.0").await;
    let home = lab.home();
    let (mine, other) = (home.join("mine.kubeconf"), home.join("other.kubeconf"));
    std::fs::write(&mine, format!("# cluster: {home}/cluster.yaml\n")).unwrap();
    std::fs::write(&other, format!("# cluster: {home}/other.yaml\n")).unwrap();
    let text = std::fs::read_to_string(home.join("cluster.yaml")).unwrap();
    let text = text
        .replace("mke.lab.example.com", "other.example.com")
        .replace("192.0.2.10", "192.0.2.99");
    std::fs::write(home.join("other.yaml"), &text).unwrap();

    lab.variable("KUBECONFIG", other.as_str());
    let run = lab.run("deploy lab").exits_with(3);
    run.reports("hint: unset KUBECONFIG");
    lab.variable("KUBECONFIG", "/nowhere/mke.kubeconf");
    let run = lab.run("deploy lab").exits_with(3);
    run.reports(
        "/nowhere/mke.kubeconf does not exist, but KUBECONFIG names it as the kubeconfig of lab\n\
         hint: write it with `cargo xtask cluster kubeconfig lab --output /nowhere/mke.kubeconf`, ",
    );
    run.reports("`cargo xtask cluster kubeconfig lab --output /nowhere/mke.kubeconf`");
    lab.assert_untouched();
    lab.edit_environment(
        "release:",
        "kubeconfig: ../../../home/mine.kubeconf\nrelease:",
    );
    let run = lab.run("deploy lab").success();
    run.reports("--kubeconfig ");
    for call in lab
        .calls()
        .iter()
        .filter(|call| call.arguments.contains(&"--name".to_owned()))
    {
        assert!(
            !call.environment.contains_key("KUBECONFIG"),
            "{:?}",
            call.arguments
        );
    }
    let commands = lab.commands();
    for command in [": backup ", ": upgrade ", ": config get"] {
        let found = commands.iter().rfind(|one| one.contains(command)).unwrap();
        found.has("--kubeconfig ");
    }

    // A first installation does not use KUBECONFIG, and is refused while that leads to a different
    // cluster.
    lab.remove(RECEIPT);
    lab.edit_environment("kubeconfig: ../../../home/mine.kubeconf\n", "");
    lab.variable("KUBECONFIG", other.as_str());
    let run = lab.run("deploy lab").exits_with(3);
    run.reports("error: `mkectl config get` reached the cluster at other.example.com by [SANDBOX]/home/other.kubeconf, which is not this \
             environment's").reports("hint: unset KUBECONFIG, or name the kubeconfig of this environment as `kubeconfig:`");
    std::fs::remove_file(home.join("cluster.yaml")).unwrap();
    lab.variable("KUBECONFIG", "");
    lab.run("deploy lab --take-over").success();
    let apply = lab.applies().pop().unwrap();
    assert!(
        !apply.arguments.contains(&"--kubeconfig".to_owned())
            && !apply.environment.contains_key("KUBECONFIG")
    );
    assert_eq!(
        std::fs::read_to_string(home.join("other.yaml")).unwrap(),
        text
    );
}

/// Returns whether `mkectl upgrade` was run.
fn was_upgraded(lab: &UpgradeLab) -> bool {
    lab.commands().iter().any(|one| one.contains(": upgrade "))
}

// Cases 1.1 and 1.2: the mkectl of the earlier release writes the archive.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_without_a_complete_backup_is_not_started() {
    let mut lab = UpgradeLab::new("v4.1.3", "v4.1.5").await;
    lab.edit_environment("release:", "apply-timeout: 2s\nrelease:");
    for (backup, problem) in [
        (
            "none",
            "mkectl reported success, but the backup `environments/lab/backups/v4.1.3-to-v4.1.5_by-v4.1.3.tar` does not exist",
        ),
        ("empty", "_by-v4.1.3.tar` is empty"),
        ("garbage", "_by-v4.1.3.tar` is not a complete tar archive"),
        ("cut", "_by-v4.1.3.tar` is not a complete tar archive"),
        // If the link stayed, every later command would be refused.
        ("link", "_by-v4.1.3.tar` is not a regular file"),
        ("fail", "`mkectl backup` exited with code 1"),
        (
            "hang",
            "`mkectl backup` took longer than 2 s and exited with code 130",
        ),
    ] {
        lab.variable("FAKE_MKECTL_BACKUP", backup);
        let run = lab.run("deploy lab").exits_with(7);
        assert!(run.stderr.contains(problem), "{backup}: {}", run.stderr);
        assert!(
            run.stderr
                .contains("`cargo xtask deploy lab --without-backup REASON`"),
            "{backup}: {}",
            run.stderr
        );
        assert!(!was_upgraded(&lab), "{backup}: {:?}", lab.commands());
        // The names of incomplete archives end with `.failed`.
        let left: Vec<String> = (lab.backups().into_iter())
            .filter(|name| name.contains(".tar") && name != "elsewhere.tar")
            .collect();
        assert!(
            left.iter().all(|name| name.ends_with(".tar.failed")),
            "{backup}: {left:?}"
        );
        let has_file = !["none", "hang", "link"].contains(&backup);
        assert_eq!(
            run.stderr.contains("cannot be restored: renamed to"),
            has_file,
            "{}",
            run.stderr
        );
        let receipt = lab.receipt();
        receipt.has("  release: v4.1.3\n").has("  step: backup\n");
    }
    lab.variable("FAKE_MKECTL_BACKUP", "");
    lab.run("deploy lab").success();
    assert!(was_upgraded(&lab));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_without_a_backup_requires_a_reason_that_plan_and_receipt_record() {
    let lab = UpgradeLab::new("v4.1.0", "v4.1.1").await;
    let run = lab.run("deploy lab").exits_with(6);
    run.reports("mkectl v4.1.0 cannot write a backup archive to a local file");
    lab.assert_untouched();
    let run = |command: &str, reason: &str| lab.run(&[command, "lab", "--without-backup", reason]);
    let reason = "Velero has it as nightly-7";
    run("plan", reason)
        .success()
        .prints("so there is no archive to restore: Velero has it as nightly-7")
        .does_not_print("mkectl backup")
        .does_not_print(" --name ");
    run("deploy", reason).success();
    let receipt = lab.receipt();
    receipt
        .has("  release: v4.1.1\n")
        .has("  without-backup: Velero has it as nightly-7\n");
    run("deploy", " ").exits_with(64);
}

// items 19 and 20
#[tokio::test(flavor = "multi_thread")]
async fn the_plan_of_an_upgrade_names_the_vendors_preparations_and_the_effect_of_a_failure() {
    let lab = UpgradeLab::new("v4.1.5", "v4.2.0").await;
    let plan = lab.run("plan lab").success();
    plan.prints(
        "rolls back without asking: it resets and reboots every controller, then every worker",
    )
    .prints("but the lock has no chart of that name");
    let rename = |tag: &str| {
        lab.edit_lock("v4.2.0", |lock| {
            let mut charts = lock
                .artifacts
                .iter_mut()
                .filter(|one| one.kind == bundle::Kind::Chart);
            let chart = charts.next().unwrap();
            chart.repository = "kube-prometheus-stack".to_owned();
            chart.tag = tag.to_owned();
            chart.archive = format!("bundles/charts/kube-prometheus-stack@{tag}.tar");
            lock.artifacts.sort_by_key(|one| one.reference());
        });
        lab.run("plan lab").success().stdout
    };
    let plan = rename("79.5.0");
    plan.has("but the lock has kube-prometheus-stack:79.5.0 instead");
    let plan = rename("86.2.3");
    plan.has("`helm pull oci://127.0.0.1:[PORT]/mke/kube-prometheus-stack --version 86.2.3 --untar`, then `kubectl apply --server-side -f \
             kube-prometheus-stack/charts/crds/crds/`");
    let lab = UpgradeLab::new("v4.1.1", "v4.1.2").await;
    assert!(!lab.run("plan lab").stdout.contains("kube-prometheus-stack"));
}

// Item 30: k0s reads kubelet settings when it starts.
#[tokio::test(flavor = "multi_thread")]
async fn changed_kubelet_settings_require_a_restart_of_k0s() {
    let lab = UpgradeLab::new("v4.1.1", "v4.1.1").await;
    lab.edit_environment("config:\n", "config:\n  kubelet: { maxPods: 250 }\n");
    let notice = "the kubelet settings change: after the deploy, restart k0s on every node";
    let is_noted = |lab: &UpgradeLab| lab.run("plan lab").success().stdout.contains(notice);
    assert!(is_noted(&lab), "compared with the last rendered file");
    lab.write_kubeconfig();
    lab.run("render lab").success();
    assert!(is_noted(&lab), "compared with the live configuration");
    lab.run("deploy lab").success();
    assert!(!is_noted(&lab));
}

// item 28
#[tokio::test(flavor = "multi_thread")]
async fn an_unrecognised_password_can_be_reset_if_mkectl_has_a_command_for_it() {
    for (release, has_command) in [("v4.1.5", false), ("v4.2.0", true)] {
        let mut lab = UpgradeLab::new(release, release).await;
        lab.variable("FAKE_MKECTL_PASSWORD", "unknown");
        lab.edit_environment(
            "tracking: { enabled: false }",
            "tracking: { enabled: true }",
        );
        let run = lab.run("deploy lab").success();
        run.reports("in an unknown format: look for it in the log");
        assert_eq!(
            run.stderr
                .contains("`mkectl reset-password --user admin --password-stdin`"),
            has_command,
            "{}",
            run.stderr
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_upgrades_at_the_same_time_one_succeeds_and_its_receipt_stays() {
    let lab = UpgradeLab::new("v4.2.0", "v4.2.1").await;
    let first = Running::start(&lab, "deploy lab --max-rate 80MB");
    let second = Running::start(&lab, "deploy lab --max-rate 8MB");
    let runs = [first.end(), second.end()];
    let mut codes = runs.iter().map(|run| run.code).collect::<Vec<_>>();
    codes.sort();
    assert_eq!(
        codes,
        [Some(0), Some(8)],
        "{}\n{}",
        runs[0].whole(),
        runs[1].whole()
    );
    let receipt = lab.receipt();
    receipt.has("  release: v4.2.1\n");
    receipt.lacks("failed:");
    let plan = lab.run("plan lab").success();
    plan.does_not_print("upgrade from");
}

/// This happens with a receipt from a different branch.
#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_names_a_later_release_than_the_cluster_runs_stops_a_deploy() {
    let lab = UpgradeLab::new("v4.1.4", "v4.1.5").await;
    lab.edit(RECEIPT, "release: v4.1.4", "release: v4.1.5");
    let run = lab.run("deploy lab").exits_with(3);
    run.reports("v4.1.5").reports("v4.1.4");
    lab.assert_untouched();
}

/// Airlock replaces the note by a rename, so an incomplete note was written by something else.
#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_note_of_a_run_of_mkectl_stops_a_deploy() {
    let lab = UpgradeLab::new("v4.1.4", "v4.1.5").await;
    let note = "environments/lab/logs/under-way.yaml";
    for text in ["", "command: upgr", "release: 4.1.5\nlog: x\n"] {
        lab.write(note, text);
        for command in ["plan lab", "deploy lab"] {
            let run = lab.run(command).exits_with(3);
            run.reports(note);
        }
        assert_eq!(lab.read(note), text);
    }
    insta::assert_snapshot!(lab.run("deploy lab").whole(), @"
    exit code: 3
    --- stdout
    --- stderr
    error: `[WORKSPACE]/environments/lab/logs/under-way.yaml` is not a valid note, so it is unknown how the last run of mkectl ended
      because: missing field `began`
    hint: check with `pgrep -a mkectl` that none is running, read the newest log in [WORKSPACE]/environments/lab/logs, then delete [WORKSPACE]/environments/lab/logs/under-way.yaml
    hint: then run mkectl again: `cargo xtask apply lab`
    ");
    let run = lab.run("status --format json");
    run.prints("under-way.yaml");
    lab.assert_untouched();
}

/// PATH has the mkectl of the later release. Airlock kept the mkectl of the cluster's release.
#[tokio::test(flavor = "multi_thread")]
async fn every_command_uses_the_mkectl_that_was_kept() {
    let lab = UpgradeLab::new("v4.1.4", "v4.1.5").await;
    let program =
        |lab: &UpgradeLab| lab.calls().pop().unwrap().environment["FAKE_MKECTL_VERSION"].clone();
    for arguments in [
        "cluster status lab",
        "cluster backup lab",
        "mkectl lab -- config get",
        "diff lab --live",
    ] {
        lab.run(arguments).success();
        assert_eq!(program(&lab), "v4.1.4", "{arguments:?}");
    }
    // The environment names the release of the cluster again, but PATH still has the later mkectl.
    lab.set_release("v4.1.4");
    for arguments in ["diff lab --live", "apply lab"] {
        lab.run(arguments).success();
        assert_eq!(program(&lab), "v4.1.4", "{arguments:?}");
    }
    lab.remove_kept_mkectl("v4.1.4");
    lab.run("diff lab --live").exits_with(6);
}

const BY_PLAN: &str = "deploy lab --plan saved.yaml";

/// Saves the plan of an upgrade. The fake's variables affect `mkectl upgrade` only.
async fn with_saved_plan() -> UpgradeLab {
    let mut lab = UpgradeLab::new("v4.1.3", "v4.1.5").await;
    lab.fetch_mkectl("v4.1.3");
    lab.run("plan lab --out saved.yaml").success();
    lab.variable("FAKE_MKECTL_AT", "upgrade");
    lab
}

/// The failed attempt keeps its files, so the files of the next one have a number in their names.
#[tokio::test(flavor = "multi_thread")]
async fn a_saved_plan_is_executed_again_after_its_upgrade_failed() {
    let mut lab = with_saved_plan().await;
    lab.variable("FAKE_MKECTL_EXIT", "1");
    lab.run(BY_PLAN).exits_with(7);
    lab.variable("FAKE_MKECTL_EXIT", "0");
    lab.run(BY_PLAN).success();
    let names = lab.backups();
    assert!(
        names
            .iter()
            .any(|name| name == "v4.1.3-to-v4.1.5-2_by-v4.1.3.tar"),
        "{names:?}"
    );
}

/// A deploy that is killed leaves no receipt of its failure, but the same files.
#[tokio::test(flavor = "multi_thread")]
async fn a_saved_plan_is_executed_again_after_its_upgrade_was_killed() {
    let mut lab = with_saved_plan().await;
    lab.variable("FAKE_MKECTL_HANG", "yes");
    let mut running = Running::start(&lab, BY_PLAN);
    running.wait_for("waiting for nodes");
    running.kill();
    assert_eq!(running.end().code, None);
    lab.variable("FAKE_MKECTL_HANG", "no");
    lab.run(BY_PLAN).success();
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_made_on_the_cluster_are_reported_before_they_are_overwritten() {
    let lab = UpgradeLab::new("v4.1.5", "v4.1.5").await;
    lab.write_kubeconfig();
    let notice =
        "differs from the configuration that was applied last in 1 value, which mkectl overwrites";
    lab.edit_environment(
        "config:\n",
        "config:\n  dns: { lameduck: { enabled: true } }\n",
    );
    lab.run("plan lab").success().does_not_mention(notice);
    lab.edit_cluster(|text| text.replace("enabled: false", "enabled: true"));
    lab.run("plan lab").success().prints(notice);
}
