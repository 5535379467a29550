//! The receipt: what the last deploy did to an environment, committed beside it.
//!
//! The next plan reads it: an applied configuration is not applied again, the registry of a running
//! cluster cannot be changed, and a different release is an upgrade. Git has its history.

use std::collections::BTreeMap;

use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use crate::Context;
use crate::workspace::{read_if_there, write_whole};

mod by;
mod error;

pub use by::{By, Operator};
pub use error::Error;

/// The keys whose text others wrote: programs, registries, operators.
const FREE: &[&str] = &["error", "missing", "operator", "reason", "without-backup"];

/// What `receipt.yaml` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Receipt {
    /// The version of this file's format.
    pub version: u32,
    /// The name of the last run that touched the cluster, as the registry knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The last deploy that succeeded. It stays when a later one fails: this is what the cluster
    /// runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Applied>,
    /// The last deploy, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Failed>,
}

/// A deploy that succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Applied {
    /// The release, `v4.1.5`.
    #[serde(deserialize_with = "release")]
    pub release: String,
    /// The registry and project that the cluster pulls from.
    pub registry: String,
    /// Where clients find the cluster, if that was configured; it cannot be cleared any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_address: Option<String>,
    /// The values of the other keys that a cluster keeps permanently, by path. Earlier receipts do
    /// not have them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<BTreeMap<String, String>>,
    /// SHA-256 of the lock file.
    pub lock: String,
    /// The sets that were carried with the release, with the SHA-256 of their locks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sets: BTreeMap<String, String>,
    /// SHA-256 of the rendered `mke4.yaml`.
    pub config: String,
    /// SHA-256 of the plan that was executed, as `plan --out` writes it. A rebuilt receipt has
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// The mkectl that applied it.
    pub mkectl: RecordedProgram,
    /// How many artifacts of the lock were confirmed in the registry: all of them.
    pub artifacts: usize,
    /// What was done for that.
    pub pushed: Pushed,
    /// When it began, in UTC. A rebuilt receipt has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<String>,
    /// When it ended, in UTC.
    pub ended: String,
    /// By what it was done, and by whom.
    pub by: By,
    /// The condition that was set aside for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overridden: Option<Overridden>,
    /// Why the cluster was upgraded without a backup that could be restored, in the operator's
    /// words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_backup: Option<String>,
    /// Whether the receipt was rebuilt from the cluster and the registry. Then what was pushed, and
    /// when, is not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rebuilt: bool,
}

/// A deploy that failed, or a command on the cluster, of which less is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Failed {
    /// The release that was to be deployed.
    #[serde(deserialize_with = "release")]
    pub release: String,
    /// The registry and project that it was to go to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// SHA-256 of the lock file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<String>,
    /// The sets that were to be carried, with the SHA-256 of their locks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sets: BTreeMap<String, String>,
    /// SHA-256 of the rendered `mke4.yaml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// SHA-256 of the plan that was executed, as `plan --out` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// The step that failed, by the name of its command.
    pub step: String,
    /// What went wrong, with its causes.
    pub error: String,
    /// mkectl's own exit code, where mkectl failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mkectl_exit_code: Option<i32>,
    /// What had been pushed until then. None if that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed: Option<Pushed>,
    /// When it began, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<String>,
    /// When it ended, in UTC.
    pub ended: String,
    /// By what it was done, and by whom.
    pub by: By,
    /// The condition that was set aside for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overridden: Option<Overridden>,
    /// Why the cluster was upgraded without a backup that could be restored, in the operator's
    /// words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_backup: Option<String>,
}

/// A program that was run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RecordedProgram {
    /// The version that it gave of itself.
    pub version: String,
    /// SHA-256 of its file. A rehearsal's stand-in is this tool, and has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// What was done so that a registry holds everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Pushed {
    /// How many artifacts the registry did not have under their tags, and has since.
    pub artifacts: usize,
    /// The blobs that were sent.
    pub sent: Amount,
    /// The blobs that the registry took over from another of its repositories.
    pub mounted: Amount,
    /// The blobs of these artifacts that it turned out to have.
    pub present: Amount,
}

/// So many blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Amount {
    /// How many.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A condition that was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Overridden {
    /// What was missing, in words.
    pub missing: String,
    /// Why that was accepted, in the words of the operator.
    pub reason: String,
}

impl Receipt {
    /// The format that this version reads and writes.
    pub const VERSION: u32 = 2;

    /// Reads a receipt, or answers `None` if nothing was deployed yet.
    ///
    /// # Errors
    /// The file cannot be read, is not a receipt, or is of a later format.
    pub fn read(path: &Utf8Path) -> Result<Option<Self>, crate::Error> {
        read_if_there(path)?
            .map(|text| Self::parse(&text, path))
            .transpose()
    }

    /// Reads the text of a receipt, which may be of another time; `path` is where it is, or was.
    ///
    /// # Errors
    /// It is not a receipt, or is of a later format.
    pub fn parse(text: &str, path: &Utf8Path) -> Result<Self, crate::Error> {
        let wrong = |source| {
            crate::Error::Receipt(Error::File {
                path: path.to_owned(),
                source,
            })
        };
        /// All that receipts of every version have.
        #[derive(Deserialize)]
        #[serde(expecting = "keys and values, `version` among them")]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = redaction::yaml::read(text).map_err(wrong)?;
        match version {
            Self::VERSION => redaction::yaml::read(text).map_err(wrong),
            version => Err(Error::Version {
                path: path.to_owned(),
                version,
            }
            .into()),
        }
    }

    /// Writes the receipt.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Utf8Path) -> Result<(), crate::Error> {
        write_whole(path, &self.text(path)?)
    }

    /// Returns the text of the file.
    ///
    /// # Errors
    /// It cannot be written as YAML.
    pub(crate) fn text(&self, path: &Utf8Path) -> Result<String, crate::Error> {
        let yaml = redaction::yaml::write(self, FREE).map_err(|source| Error::File {
            path: path.to_owned(),
            source,
        })?;
        let is_rebuilt =
            (self.applied.as_ref()).is_some_and(|applied| applied.rebuilt && self.failed.is_none());
        let first = match is_rebuilt {
            true => "`receipt rebuild`: what cluster and registry reported",
            false => "`deploy`: what the last one did",
        };
        Ok(format!("# Written by {first}. Commit it.\n{yaml}"))
    }
}

/// Reads the name of a release. What is none would be taken for a release that differs, and so for
/// an upgrade.
fn release<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    let version = name.strip_prefix('v').map(semver::Version::parse);
    match version {
        Some(Ok(_)) => Ok(name),
        _ => Err(serde::de::Error::custom(format!(
            "`{name}` is not a release; expected a version such as v4.1.5"
        ))),
    }
}

/// Returns the present time as receipts write it.
pub(crate) fn now(context: &Context<'_>) -> String {
    (context.tool.now)()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

#[cfg(test)]
mod tests;
