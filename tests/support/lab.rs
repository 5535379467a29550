//! A workspace whose environment is deployed to a registry of the test by a fake mkectl.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;

use crate::{Sandbox, TestRegistry, bundles};

/// The user that the environment's variables name.
pub const USER: &str = "planted-user-7f3a";
/// The password that the environment's variables hold.
pub const PASSWORD: &str = "planted-password-91c4";

/// A workspace with one environment, `lab`: release v4.1.5, locked from a small bundle that is in
/// the store, a registry on loopback, push credentials in variables, and `fake-mkectl` on the PATH
/// as `mkectl`.
pub struct Lab {
    /// The workspace.
    pub sandbox: Sandbox,
    /// The registry that the environment names.
    pub registry: TestRegistry,
}

/// A call of mkectl, as `fake-mkectl` recorded it.
#[derive(Debug)]
pub struct Call {
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment.
    pub environment: BTreeMap<String, String>,
    /// The text of its standard input.
    pub stdin: String,
    /// The text of the file that `--file` named.
    pub file: Option<String>,
    /// The text of the file that `--hosts-path` named.
    pub hosts: Option<String>,
    /// Its process id.
    pub process: i32,
}

impl Lab {
    /// Makes a lab with an empty registry and without a receipt.
    pub async fn new(program: &str, fake_mkectl: &str) -> Self {
        let lab = Self::without_mkectl(program).await;
        lab.sandbox.install(fake_mkectl, "mkectl");
        lab
    }

    /// Makes a lab without mkectl on its PATH.
    pub async fn without_mkectl(program: &str) -> Self {
        let mut sandbox = Sandbox::new(program);
        sandbox.write_ssh_key("id_ed25519");
        let registry = TestRegistry::embedded().await;
        let bundle = sandbox.path("bundles/mke_bundle_v4.1.5_amd64.tar.gz");
        bundles::make(&bundles::small(), &bundle);
        sandbox
            .run(&["lock", "v4.1.5", "--bundle", bundle.as_str()])
            .success();
        sandbox
            .variable("FAKE_MKECTL_RECORD", record(&sandbox).as_str())
            .variable("LAB_REGISTRY_USERNAME", USER)
            .variable("LAB_REGISTRY_PASSWORD", PASSWORD);
        let lab = Self { sandbox, registry };
        lab.write_environment("");
        lab
    }

    /// Writes the environment's file, with more keys at its top.
    pub fn write_environment(&self, more: &str) {
        self.sandbox.write(
            "environments/lab/environment.yaml",
            &format!(
                "{more}\
release: v4.1.5
registry:
  address: {}
  project: mke
  push-credentials: {{ env: LAB_REGISTRY }}
config:
  apiServer: {{ externalAddress: mke.lab.example.com }}
  hosts:
    - role: controller+worker
      ssh: {{ address: 192.0.2.10, user: ubuntu, port: 22, keyPath: ~/.ssh/id_ed25519 }}
  tracking: {{ enabled: false }}
accept: [telemetry]
",
                self.registry.address
            ),
        );
    }

    /// Replaces text in the environment's file.
    #[track_caller]
    pub fn edit_environment(&self, from: &str, to: &str) {
        self.edit("environments/lab/environment.yaml", from, to);
    }

    /// Returns the calls of mkectl so far.
    pub fn calls(&self) -> Vec<Call> {
        let text = std::fs::read_to_string(record(&self.sandbox)).unwrap_or_default();
        text.lines().map(call).collect()
    }

    /// Returns the calls of `mkectl apply` that change a cluster: neither `--help` nor `--dry-run`.
    pub fn applies(&self) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| call.arguments.first().is_some_and(|word| word == "apply"));
        calls.retain(|call| {
            let mut words = call.arguments.iter();
            !words.any(|word| word == "--help" || word == "--dry-run")
        });
        calls
    }

    /// Returns the repositories of the registry.
    pub async fn repositories(&self) -> Vec<String> {
        // This fails if another test of the process has installed the provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = format!("http://{}/v2/_catalog?n=1000", self.registry.address);
        let answer = reqwest::get(url).await.expect("the registry's catalog");
        let text = answer.text().await.expect("the registry's catalog");
        let catalog: serde_json::Value = serde_json::from_str(&text).expect("a catalog");
        serde_json::from_value(catalog["repositories"].clone()).expect("names")
    }

    /// Reads the receipt, with the values that differ from run to run replaced.
    pub fn receipt(&self) -> String {
        self.sandbox.receipt("lab")
    }
}

crate::used_as!(Lab, sandbox: Sandbox);

fn record(sandbox: &Sandbox) -> Utf8PathBuf {
    sandbox.home().join("mkectl-calls")
}

fn call(line: &str) -> Call {
    let value: serde_json::Value = serde_json::from_str(line).expect("a line of the record");
    let take = |key: &str| value[key].clone();
    Call {
        arguments: serde_json::from_value(take("arguments")).expect("arguments"),
        environment: serde_json::from_value(take("environment")).expect("an environment"),
        stdin: serde_json::from_value(take("stdin")).expect("standard input"),
        file: serde_json::from_value(take("file")).expect("a file"),
        hosts: serde_json::from_value(take("hosts")).expect("a file"),
        process: serde_json::from_value(take("process")).expect("a process id"),
    }
}
