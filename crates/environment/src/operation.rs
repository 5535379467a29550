//! How `mkectl` is run for an environment: how long it may take, and who gets the password that it
//! generates.

use std::time::Duration;

use camino::Utf8PathBuf;

use crate::keys::Key;
use crate::problem::Problem;
use crate::read::{Read, Reader, field, keyed};
use crate::yaml::Node;

keyed! {
    /// How `mkectl` is run.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    pub struct Operation {
        /// Who gets the administrator's password, which mkectl prints once; a file of the tool's
        /// choice where nothing is said.
        pub admin_password: Option<AdminPassword>,
        /// How long `mkectl apply` may take, and a backup or an upgrade in its place; as long as it
        /// likes where nothing is said.
        pub apply_timeout: Option<Duration>,
        /// The folder that the backups before upgrades go to; one of the tool's choice where
        /// nothing is said.
        pub backups: Option<Utf8PathBuf>,
        /// The vendor's release matrix, for a release whose bundle has none. Whether it exists has
        /// not been checked.
        pub release_matrix: Option<Utf8PathBuf>,
        /// The kubeconfig of the environment's cluster. The file may not exist yet.
        pub kubeconfig: Option<Utf8PathBuf>,
    }
}

/// Who gets the administrator's password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminPassword {
    /// A file, which only its owner may read.
    File(Utf8PathBuf),
    /// The operator at the terminal, after a question. It is in a file until the operator confirms
    /// to have it.
    Ask,
    /// A program and its arguments. It reads the password from its standard input.
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
            (Some(_), None) => field("file", key, Some(node), reader).map(AdminPassword::File),
            (None, Some(_)) => {
                field("command", key, Some(node), reader).map(AdminPassword::Command)
            }
            (None, None) => node.text().map(|_| AdminPassword::Ask),
        }
    }
}

#[cfg(test)]
mod tests;
