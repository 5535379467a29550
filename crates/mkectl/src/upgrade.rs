//! The commands around an upgrade: a backup by the old program, the upgrade by the new one, and the way back.
//!
//! Their flags changed with nearly every release, so that each is chosen by what the program's own help lists.

use camino::Utf8Path;
use semver::Version;

use crate::{Command, Help, Mkectl};

/// What an upgrade of MKE 4 to another release of it is given.
#[derive(Debug, Clone, Copy)]
pub struct Upgrade<'a> {
    /// The release to come to, which is the program's own.
    pub release: &'a Version,
    /// The vendor's release matrix, unmodified, which an upgrade without internet needs (OFF-411).
    pub release_matrix: Option<&'a Utf8Path>,
    /// Where to keep the backup that it makes first: an etcd snapshot up to 4.1.2, an archive from 4.2.0 on.
    pub backup: Option<&'a Utf8Path>,
    /// Where to write the configuration that came of it.
    pub config_out: Option<&'a Utf8Path>,
    /// The node ports of the gateway, which some ways ask for (UPG-415).
    pub gateway_node_ports: Option<NodePorts>,
}

/// The ports at which the gateway is reached on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodePorts {
    /// For HTTP.
    pub http: u16,
    /// For HTTPS.
    pub https: u16,
}

impl Mkectl {
    /// Builds `mkectl upgrade`. `help` is the answer to [`Mkectl::help`] for `upgrade`; what it does not list is left out.
    ///
    /// `config` is the file of the cluster's configuration. No page gives it with this command, and `--file` is a flag of every
    /// command: without it mkectl would look for `mke4.yaml` wherever the operator stands.
    pub fn upgrade(&self, config: &Utf8Path, upgrade: &Upgrade<'_>, help: &Help) -> Command {
        let release = format!("v{}", upgrade.release);
        let ports = (upgrade.gateway_node_ports)
            .map(|ports| (ports.http.to_string(), ports.https.to_string()));
        // The flag was renamed, and between the names there was none (UPG-412, UPG-415).
        let backup = match help.lists("--backup-path") {
            true => "--backup-path",
            false => "--etcd-snapshot-path",
        };
        let flags = [
            ("--file", Some(config.as_str())),
            ("--upgrade-version", Some(release.as_str())),
            (backup, upgrade.backup.map(Utf8Path::as_str)),
            (
                "--release-matrix",
                upgrade.release_matrix.map(Utf8Path::as_str),
            ),
            ("--config-out", upgrade.config_out.map(Utf8Path::as_str)),
            (
                GATEWAY_PORTS[0],
                ports.as_ref().map(|(http, _)| http.as_str()),
            ),
            (
                GATEWAY_PORTS[1],
                ports.as_ref().map(|(_, https)| https.as_str()),
            ),
        ];
        let mut words = vec!["upgrade"];
        for (flag, value) in flags {
            if let Some(value) = value.filter(|_| help.lists(flag)) {
                let flag = if flag == "--file" { "-f" } else { flag };
                words.extend([flag, value]);
            }
        }
        words.extend(help.plain());
        self.command(words)
    }

    /// Builds the command that writes a backup to the archive `name`, where the program runs. `root` is the answer to
    /// [`Mkectl::help`] without words: releases up to 4.1.1 call it `etcd backup`.
    ///
    /// Only the very build that wrote an archive can restore it.
    pub fn backup(&self, config: &Utf8Path, name: &str, root: &Help) -> Command {
        let mut words = of_etcd(root);
        words.extend(["backup", "-f", config.as_str(), "--name", name]);
        words.extend(root.plain());
        self.command(words)
    }

    /// Builds the command that restores the archive `name`. `hosts` is the file of the one host to begin with, which
    /// `mkectl restore` wants and `etcd restore` does not know. `root` is the answer to [`Mkectl::help`] without words.
    pub fn restore(&self, config: &Utf8Path, hosts: &Utf8Path, name: &str, root: &Help) -> Command {
        let mut words = of_etcd(root);
        let wants_hosts = words.is_empty();
        words.extend(["restore", "-f", config.as_str(), "--name", name]);
        if wants_hosts {
            words.extend(["--hosts-path", hosts.as_str()]);
        }
        words.extend(root.plain());
        self.command(words)
    }
}

/// The flags that say where the gateway is reached on nodes (UPG-415, LB-420).
pub const GATEWAY_PORTS: [&str; 2] = ["--gateway-http-node-port", "--gateway-https-node-port"];

fn of_etcd(root: &Help) -> Vec<&str> {
    match root.has_command("etcd") {
        true => vec!["etcd"],
        false => Vec::new(),
    }
}
