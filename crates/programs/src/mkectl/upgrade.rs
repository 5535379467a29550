//! The commands around an upgrade: a backup by the old program, the upgrade by the new one, and the
//! way back.
//!
//! Their flags changed with nearly every release; each is chosen by what the program's own help
//! lists.

use camino::Utf8Path;
use semver::Version;

use super::{Help, Mkectl};
use crate::{Command, Error};

/// What an upgrade of MKE 4 to another release of it is given.
#[derive(Debug, Clone, Copy)]
pub struct Upgrade<'a> {
    /// The release to come to, which is the program's own.
    pub release: &'a Version,
    /// The vendor's release matrix, unmodified, which an upgrade without internet needs (DOCS-SRC).
    pub release_matrix: Option<&'a Utf8Path>,
    /// The ports of the gateway, which some sources require (UPG-415).
    pub gateway_ports: Option<GatewayPorts>,
}

/// The ports at which the gateway is reached on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodePorts {
    /// For HTTP.
    pub http: u16,
    /// For HTTPS.
    pub https: u16,
}

/// The ports that an upgrade between releases of MKE 4k takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatewayPorts {
    /// Those on every node.
    pub node: NodePorts,
    /// The one at which clients reach the gateway and the UI from outside: that of the external
    /// address.
    pub listener: u16,
}

/// How a program writes and restores archives of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Archives {
    /// By `mkectl etcd backup` and `etcd restore`, up to 4.1.2 (BACKUP-ETCD).
    Etcd,
    /// By `mkectl backup` and `restore`.
    Cluster,
}

impl Mkectl {
    /// Returns how the program writes archives to a local file; none if its help lists no such
    /// command. The `backup` of 4.1.0 has subcommands and keeps its backups in object storage
    /// (DOCS-SRC).
    ///
    /// # Errors
    ///
    /// What starting a program can end in.
    pub fn archives(&self) -> Result<Option<Archives>, Error> {
        let root = self.help(&[])?;
        if root.has_command("etcd") && self.help(&["etcd"])?.has_command("backup") {
            return Ok(Some(Archives::Etcd));
        }
        let is_one = root.has_command("backup") && !self.help(&["backup"])?.has_command("create");
        Ok(is_one.then_some(Archives::Cluster))
    }

    /// Builds `mkectl upgrade`. `help` is the answer to [`Mkectl::help`] for `upgrade`; what it
    /// does not list is left out.
    ///
    /// `config` is the file of the cluster's configuration. No page shows it with this command, but
    /// `--file` is a flag of every command: without it mkectl would look for `mke4.yaml` in the
    /// current folder.
    ///
    /// `--backup-path` and `--etcd-snapshot-path` are never passed. They name an existing backup to
    /// roll back to; without them mkectl makes one itself (CLI-420, UPG-412).
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

    /// Builds the command that writes a backup to the archive `name`, where the program runs.
    /// `root` is the answer to [`Mkectl::help`] without words.
    ///
    /// Only the very build that wrote an archive can restore it. It has the cluster's secrets, so
    /// only its owner may read it.
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

    /// Builds the command that restores the archive `name`. `hosts` is the file of the one host to
    /// begin with, which `mkectl restore` requires and `etcd restore` does not know. `root` is the
    /// answer to [`Mkectl::help`] without words.
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

/// The flags that say where the gateway is reached on nodes (UPG-415, LB-420).
pub const GATEWAY_PORTS: [&str; 2] = ["--gateway-http-node-port", "--gateway-https-node-port"];

/// The flag for the port of the gateway's listener, from 4.1.5 on and for these upgrades only
/// (ENH-415).
pub const GATEWAY_LISTENER_PORT: &str = "--gateway-listener-port";
