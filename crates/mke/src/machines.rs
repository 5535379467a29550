//! The machines of a rendered `mke4.yaml`, and the other files of hosts that mkectl needs.
//!
//! An upgrade from MKE 3 reads a flat list without roles, since it finds the roles by itself
//! (UPGRADE-CLI, DOCS-SRC). A restore reads the one host to begin with: its role is
//! `controller+worker`, and it keeps its `installFlags`, a custom kubelet profile for example
//! (RESTORE-CLI).

use serde::{Deserialize, Serialize};
use serde_yaml::Value;

/// A host of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// What it is in the cluster: `controller+worker`, `worker` or `single`.
    pub role: String,
    /// How it is reached.
    pub ssh: Ssh,
    /// Its address among the nodes.
    pub private_address: Option<String>,
    /// The interface of that address.
    pub private_interface: Option<String>,
    /// More flags for the installation of k0s on it.
    #[serde(default)]
    pub install_flags: Vec<String>,
}

/// How a machine is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ssh {
    /// Its address.
    pub address: String,
    /// The port of its SSH server.
    #[serde(default = "ssh_port")]
    pub port: u16,
    /// The user.
    pub user: String,
    /// The private key, as the environment writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_path: Option<String>,
    /// The machine that leads there, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bastion: Option<Value>,
}

impl Machine {
    /// Returns whether it runs the control plane.
    pub fn is_controller(&self) -> bool {
        crate::hosts::is_controller(&self.role)
    }
}

/// Returns the machines of a rendered `mke4.yaml`.
///
/// # Errors
///
/// It is none, or a host in it is not as [`render`](crate::render()) leaves it: what serde says of
/// it.
pub fn machines(text: &str) -> Result<Vec<Machine>, serde_yaml::Error> {
    #[derive(Deserialize)]
    struct Document {
        spec: Spec,
    }
    #[derive(Deserialize)]
    struct Spec {
        #[serde(default)]
        hosts: Vec<Machine>,
    }
    Ok(serde_yaml::from_str::<Document>(text)?.spec.hosts)
}

/// Returns the file of hosts that an upgrade from MKE 3 reads. `with_private` says whether the
/// release knows private addresses and interfaces there, which 4.2 does (UPGRADE-CLI).
///
/// # Errors
///
/// What serde says when it cannot write YAML.
pub fn migration_hosts(
    machines: &[Machine],
    with_private: bool,
) -> Result<String, serde_yaml::Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Flat<'a> {
        address: &'a str,
        port: u16,
        user: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        key_path: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        private_address: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        private_interface: Option<&'a str>,
    }
    let flat = machines.iter().map(|machine| Flat {
        address: &machine.ssh.address,
        port: machine.ssh.port,
        user: &machine.ssh.user,
        key_path: machine.ssh.key_path.as_deref(),
        private_address: (machine.private_address.as_deref()).filter(|_| with_private),
        // It takes one of the two.
        private_interface: (machine.private_interface.as_deref())
            .filter(|_| with_private && machine.private_address.is_none()),
    });
    hosts(flat.collect())
}

/// Returns the file of the one host that a restore begins with.
///
/// # Errors
///
/// What serde says when it cannot write YAML.
pub fn restore_hosts(machine: &Machine) -> Result<String, serde_yaml::Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct One<'a> {
        role: &'static str,
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        install_flags: &'a [String],
        ssh: &'a Ssh,
    }
    hosts(vec![One {
        role: "controller+worker",
        install_flags: &machine.install_flags,
        ssh: &machine.ssh,
    }])
}

fn hosts<T: Serialize>(hosts: Vec<T>) -> Result<String, serde_yaml::Error> {
    #[derive(Serialize)]
    struct Hosts<T> {
        hosts: Vec<T>,
    }
    serde_yaml::to_string(&Hosts { hosts })
}

fn ssh_port() -> u16 {
    22
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "apiVersion: mke.mirantis.com/v1alpha1
spec:
  hosts:
    - role: controller+worker
      ssh: { address: 10.0.0.1, user: mke, port: 2222, keyPath: ~/.ssh/mke }
      privateAddress: 192.168.0.1
      privateInterface: eth1
      noTaints: true
      installFlags: [--profile=custom]
    - role: worker
      ssh: { address: 10.0.0.2, user: root, bastion: { address: 10.9.9.9, user: jump } }
      privateInterface: eth1
";

    #[test]
    fn an_upgrade_from_mke_3_reads_a_flat_list() {
        let machines = machines(CONFIG).unwrap();
        assert!(machines[0].is_controller() && !machines[1].is_controller());
        insta::assert_snapshot!(migration_hosts(&machines, false).unwrap(), @"
        hosts:
        - address: 10.0.0.1
          port: 2222
          user: mke
          keyPath: ~/.ssh/mke
        - address: 10.0.0.2
          port: 22
          user: root
        ");
        insta::assert_snapshot!(migration_hosts(&machines, true).unwrap(), @"
        hosts:
        - address: 10.0.0.1
          port: 2222
          user: mke
          keyPath: ~/.ssh/mke
          privateAddress: 192.168.0.1
        - address: 10.0.0.2
          port: 22
          user: root
          privateInterface: eth1
        ");
    }

    #[test]
    fn a_restore_reads_one_host_with_its_role() {
        let machines = machines(CONFIG).unwrap();
        insta::assert_snapshot!(restore_hosts(&machines[0]).unwrap(), @"
        hosts:
        - role: controller+worker
          installFlags:
          - --profile=custom
          ssh:
            address: 10.0.0.1
            port: 2222
            user: mke
            keyPath: ~/.ssh/mke
        ");
    }

    #[test]
    fn what_is_not_a_configuration_has_no_machines() {
        assert!(machines("spec: {}").unwrap().is_empty());
        assert!(machines("hosts: []").is_err());
        assert!(machines("spec: { hosts: [{ role: worker }] }").is_err());
    }
}
