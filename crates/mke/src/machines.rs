//! The machines of a rendered `mke4.yaml`, and the files of hosts that mkectl reads.
//!
//! An upgrade from MKE 3 reads a flat list without roles, because mkectl detects the roles
//! (UPGRADE-CLI, DOCS-SRC). A restore reads one host with the role `controller+worker` and its
//! `installFlags`, such as a custom kubelet profile (RESTORE-CLI).

use serde::{Deserialize, Serialize};
use serde_yaml::Value;

/// A host of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// The role: `controller+worker`, `worker` or `single`.
    pub role: String,
    /// The SSH connection.
    pub ssh: Ssh,
    /// The address for traffic between nodes.
    pub private_address: Option<String>,
    /// The interface for traffic between nodes.
    pub private_interface: Option<String>,
    /// Additional flags for the installation of k0s.
    #[serde(default)]
    pub install_flags: Vec<String>,
}

/// The SSH connection to a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ssh {
    /// The address of the SSH server.
    pub address: String,
    /// The port of the SSH server.
    #[serde(default = "ssh_port")]
    pub port: u16,
    /// The user.
    pub user: String,
    /// The path of the private key, as in the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_path: Option<String>,
    /// The jump host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bastion: Option<Value>,
}

impl Machine {
    /// Returns whether the machine runs the control plane.
    pub fn is_controller(&self) -> bool {
        crate::hosts::is_controller(&self.role)
    }
}

/// Returns the machines of a rendered `mke4.yaml`.
///
/// # Errors
///
/// The text is not an `mke4.yaml`, or a host is not as [`render`](crate::render()) writes it.
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

/// Returns the file of hosts for an upgrade from MKE 3. `with_private` is true for a release that
/// reads private addresses and interfaces from it, as 4.2 does (UPGRADE-CLI).
///
/// # Errors
///
/// The YAML cannot be serialized.
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
        // mkectl accepts only one of the two.
        private_interface: (machine.private_interface.as_deref())
            .filter(|_| with_private && machine.private_address.is_none()),
    });
    hosts(flat.collect())
}

/// Returns the file of hosts for a restore, which has one host.
///
/// # Errors
///
/// The YAML cannot be serialized.
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
    fn a_restore_reads_one_host_as_controller() {
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
    fn documents_without_spec_or_with_incomplete_hosts_are_refused() {
        assert!(machines("spec: {}").unwrap().is_empty());
        assert!(machines("hosts: []").is_err());
        assert!(machines("spec: { hosts: [{ role: worker }] }").is_err());
    }
}
