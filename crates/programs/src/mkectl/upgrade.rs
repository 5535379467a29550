//! The commands around an upgrade: backup by the old program, upgrade by the new one, restore.
//!
//! Their flags changed with nearly every release, so each is passed only if the program's help
//! lists it.

use camino::Utf8Path;
use semver::Version;

use super::{Help, Mkectl};
use crate::{Command, Error};

/// The parameters of an upgrade between releases of MKE 4.
#[derive(Debug, Clone, Copy)]
pub struct Upgrade<'a> {
    /// The new release, which is that of the program.
    pub release: &'a Version,
    /// Path of the vendor's release matrix, unmodified. An upgrade without internet requires it
    /// (DOCS-SRC).
    pub release_matrix: Option<&'a Utf8Path>,
    /// Ports of the gateway, which some source releases require (UPG-415).
    pub gateway_ports: Option<GatewayPorts>,
}

/// Ports of the gateway on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodePorts {
    /// Port for HTTP.
    pub http: u16,
    /// Port for HTTPS.
    pub https: u16,
}

/// Ports that an upgrade between releases of MKE 4k requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatewayPorts {
    /// Ports on every node.
    pub node: NodePorts,
    /// Port of the external address, where clients reach the gateway and the UI.
    pub listener: u16,
}

/// The commands by which a program writes and restores archives of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Archives {
    /// `mkectl etcd backup` and `etcd restore`, up to 4.1.2 (BACKUP-ETCD).
    Etcd,
    /// `mkectl backup` and `restore`.
    Cluster,
}

impl Mkectl {
    /// Returns how the program writes archives to a local file, or `None` if it cannot. The
    /// `backup` of 4.1.0 has subcommands and writes to object storage (DOCS-SRC).
    ///
    /// # Errors
    ///
    /// The errors of a query.
    pub fn archives(&self) -> Result<Option<Archives>, Error> {
        let root = self.help(&[])?;
        if root.has_command("etcd") && self.help(&["etcd"])?.has_command("backup") {
            return Ok(Some(Archives::Etcd));
        }
        let is_local = root.has_command("backup") && !self.help(&["backup"])?.has_command("create");
        Ok(is_local.then_some(Archives::Cluster))
    }

    /// Builds `mkectl upgrade`. `help` is the page of [`Mkectl::help`] for `upgrade`; flags that it
    /// does not list are left out.
    ///
    /// `config` is the file of the cluster's configuration. No vendor page shows it with this
    /// command, but `--file` is a flag of every command. Without it mkectl would read `mke4.yaml`
    /// in the working directory.
    ///
    /// `--backup-path` and `--etcd-snapshot-path` are never passed. They name an existing backup
    /// for a rollback; without them mkectl makes one itself (CLI-420, UPG-412).
    pub fn upgrade(&self, config: &Utf8Path, upgrade: &Upgrade<'_>, help: &Help) -> Command {
        let release = format!("v{}", upgrade.release);
        let ports = upgrade.gateway_ports.map(|ports| {
            [ports.node.http, ports.node.https, ports.listener].map(|port| port.to_string())
        });
        let port = |place: usize| ports.as_ref().map(|ports| ports[place].as_str());
        let flags = [
            ("--file", Some(config.as_str())),
            ("--upgrade-version", Some(release.as_str())),
            (
                "--release-matrix",
                upgrade.release_matrix.map(Utf8Path::as_str),
            ),
            (GATEWAY_PORTS[0], port(0)),
            (GATEWAY_PORTS[1], port(1)),
            (GATEWAY_LISTENER_PORT, port(2)),
        ];
        let mut words = vec!["upgrade"];
        for (flag, value) in flags {
            if let Some(value) = value.filter(|_| help.lists(flag)) {
                let flag = if flag == "--file" { "-f" } else { flag };
                words.extend([flag, value]);
            }
        }
        words.extend(help.plain());
        self.for_cluster(words)
    }

    /// Builds the command that writes a backup to the archive `name` in the working directory.
    /// `root` is the page of [`Mkectl::help`] for the program itself.
    ///
    /// Only the build that wrote an archive can restore it. The archive contains the cluster's
    /// secrets, so only its owner may read it.
    pub fn backup(
        &self,
        config: &Utf8Path,
        name: &str,
        archives: Archives,
        root: &Help,
    ) -> Command {
        let mut words = archives.words("backup");
        words.extend(["-f", config.as_str(), "--name", name]);
        words.extend(root.plain());
        self.for_cluster(words).private()
    }

    /// Builds the command that restores the archive `name`. `hosts` is a file with the first host,
    /// which `mkectl restore` requires and `etcd restore` does not accept. `root` is the page of
    /// [`Mkectl::help`] for the program itself.
    pub fn restore(
        &self,
        config: &Utf8Path,
        hosts: &Utf8Path,
        name: &str,
        archives: Archives,
        root: &Help,
    ) -> Command {
        let mut words = archives.words("restore");
        words.extend(["-f", config.as_str(), "--name", name]);
        if archives == Archives::Cluster {
            words.extend(["--hosts-path", hosts.as_str()]);
        }
        words.extend(root.plain());
        self.for_cluster(words)
    }
}

impl Archives {
    /// Returns the words of a command about archives.
    fn words(self, command: &str) -> Vec<&str> {
        match self {
            Self::Etcd => vec!["etcd", command],
            Self::Cluster => vec![command],
        }
    }
}

/// The flags of the gateway's ports on nodes (UPG-415, LB-420).
pub const GATEWAY_PORTS: [&str; 2] = ["--gateway-http-node-port", "--gateway-https-node-port"];

/// The flag of the gateway's listener port. Only upgrades from 4.1.5 on accept it (ENH-415).
pub const GATEWAY_LISTENER_PORT: &str = "--gateway-listener-port";
