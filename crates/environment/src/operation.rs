//! The settings for running `mkectl`: time limits, files, and the destination of the administrator
//! password.

use std::time::Duration;

use camino::Utf8PathBuf;

use crate::keys::Key;
use crate::problem::Problem;
use crate::read::{Read, Reader, keyed, read_field};
use crate::yaml::Node;

keyed! {
    /// The settings for running `mkectl`.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    pub struct Operation {
        /// The destination of the administrator password, which mkectl prints once. `None` means
        /// Airlock's default file.
        pub admin_password: Option<AdminPassword>,
        /// The time limit of each mkectl run that installs, upgrades, migrates or backs up. `None`
        /// means no limit, and one hour for a backup.
        pub apply_timeout: Option<Duration>,
        /// The folder for backups before upgrades. `None` means Airlock's default folder.
        pub backups: Option<Utf8PathBuf>,
        /// The vendor's release matrix, for a release whose bundle has none. Whether the file
        /// exists has not been checked.
        pub release_matrix: Option<Utf8PathBuf>,
        /// The kubeconfig of the cluster. The file may not exist yet.
        pub kubeconfig: Option<Utf8PathBuf>,
    }
}

/// The destination of the administrator password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminPassword {
    /// A file that only its owner can read.
    File(Utf8PathBuf),
    /// The terminal, after a prompt. A file contains the password until the operator confirms
    /// receipt.
    Ask,
    /// A program and its arguments. The program reads the password from standard input.
    Command(Vec<String>),
}

impl Read for AdminPassword {
    fn read(key: &Key, node: Option<&Node>, reader: &mut Reader<'_>) -> Option<AdminPassword> {
        let node = node?;
        match (node.get("file"), node.get("command")) {
            (Some(_), Some(_)) => {
                let rule = "`admin-password` names a file and a command";
                let help = "keep one of them; `null` removes an inherited key";
                reader.findings.add(Problem::at(node, rule).with_help(help));
                None
            }
            (Some(_), None) => read_field("file", key, Some(node), reader).map(AdminPassword::File),
            (None, Some(_)) => {
                read_field("command", key, Some(node), reader).map(AdminPassword::Command)
            }
            (None, None) => node.text().map(|_| AdminPassword::Ask),
        }
    }
}

#[cfg(test)]
mod tests;
