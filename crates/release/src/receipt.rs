//! The receipt of the last deploy, which is committed beside the environment's files.
//!
//! The next plan reads it, to decide what changed since: an applied configuration is not applied
//! again, a different release is an upgrade, and a different registry is refused. Earlier receipts
//! are in git's history.

use std::collections::BTreeMap;

use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use crate::Context;
use crate::workspace::{read_if_exists, write_atomically};

mod provenance;
mod error;

pub use error::Error;
pub use provenance::{Operator, Provenance};

/// Keys with free text of programs, registries and operators, in which secrets are masked.
const FREE_TEXT_KEYS: &[&str] = &["error", "missing", "operator", "reason", "without-backup"];

/// The contents of `receipt.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Receipt {
    /// Version of the file format.
    pub version: u32,
    /// Name of the run that changed the cluster last, as in the shared state in the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The last successful deploy, which a later failure does not replace: this is what the cluster
    /// runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Applied>,
    /// The last deploy, if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Failed>,
}

/// A successful deploy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Applied {
    /// The release, `v4.1.5`.
    #[serde(deserialize_with = "release")]
    pub release: String,
    /// The registry and project that the cluster pulls from.
    pub registry: String,
    /// The address for the cluster's clients; `None` if it was not configured. It cannot be removed
    /// later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_address: Option<String>,
    /// The other values that a cluster keeps for its life, by path, such as
    /// `network.serviceCIDR`. `None` in receipts of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<BTreeMap<String, String>>,
    /// SHA-256 of the lock file.
    pub lock: String,
    /// SHA-256 of each set's lock, by the set's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sets: BTreeMap<String, String>,
    /// SHA-256 of the rendered `mke4.yaml` that was applied; empty if that is unknown, or if the
    /// cluster has only a part of it.
    pub config: String,
    /// SHA-256 of the plan that was executed, as `plan --out` writes it. `None` in a rebuilt
    /// receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// The mkectl that changed the cluster last.
    pub mkectl: RecordedProgram,
    /// Number of artifacts in the lock. All were confirmed in the registry.
    pub artifacts: usize,
    /// The push of this deploy.
    pub pushed: Pushed,
    /// Start of the deploy, in UTC. `None` in a rebuilt receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<String>,
    /// End of the deploy, in UTC.
    pub ended: String,
    /// Program, revision and operator.
    pub by: Provenance,
    /// The unmet requirement that the operator overrode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overridden: Option<Overridden>,
    /// The operator's reason for an upgrade without a backup that could be restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_backup: Option<String>,
    /// Whether the receipt was rebuilt from the cluster and the registry. If so, `pushed` is empty,
    /// and `ended` is the time of the rebuild.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rebuilt: bool,
}

/// A deploy that failed, or a different command that changes the cluster. Fields that are `None` or
/// empty are unknown for the latter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Failed {
    /// The release that was to be deployed.
    #[serde(deserialize_with = "release")]
    pub release: String,
    /// The registry and project of the push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<String>,
    /// SHA-256 of the lock file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<String>,
    /// SHA-256 of each set's lock, by the set's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sets: BTreeMap<String, String>,
    /// SHA-256 of the rendered `mke4.yaml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// SHA-256 of the plan that was executed, as `plan --out` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// The step that failed, such as `push` or `upgrade`.
    pub step: String,
    /// The error and its causes.
    pub error: String,
    /// mkectl's exit code; `None` if mkectl did not run, or a signal ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mkectl_exit_code: Option<i32>,
    /// The push until the failure; `None` if that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed: Option<Pushed>,
    /// Start of the deploy, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<String>,
    /// End of the deploy, in UTC.
    pub ended: String,
    /// Program, revision and operator.
    pub by: Provenance,
    /// The unmet requirement that the operator overrode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overridden: Option<Overridden>,
    /// The operator's reason for an upgrade without a backup that could be restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_backup: Option<String>,
}

/// A program that was run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RecordedProgram {
    /// The version that it reports, `v4.1.5`.
    pub version: String,
    /// SHA-256 of its file; `None` for the stand-in of a rehearsal, which is Airlock itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// The amounts of a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Pushed {
    /// Number of artifacts that were pushed.
    pub artifacts: usize,
    /// Blobs that were sent.
    pub sent: Amount,
    /// Blobs that the registry mounted from another of its repositories.
    pub mounted: Amount,
    /// Blobs of these artifacts that the registry already had.
    pub present: Amount,
}

/// A number of blobs, and their total size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Amount {
    /// Number of blobs.
    pub blobs: u64,
    /// Total size in bytes.
    pub bytes: u64,
}

/// A requirement that was overridden.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Overridden {
    /// The unmet requirement as a sentence fragment: `staging has no receipt of a deploy`.
    pub missing: String,
    /// The operator's reason.
    pub reason: String,
}

impl Receipt {
    /// The format that this version reads and writes.
    pub const VERSION: u32 = 2;

    /// Reads a receipt. Returns `None` if the file does not exist: nothing was deployed yet.
    ///
    /// # Errors
    /// The file cannot be read, and the errors of [`Receipt::parse`].
    pub fn read(path: &Utf8Path) -> Result<Option<Self>, crate::Error> {
        read_if_exists(path)?
            .map(|text| Self::parse(&text, path))
            .transpose()
    }

    /// Parses the text of a receipt, which may be from git's history. Errors name `path`.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Conflict`] or [`Error::Version`] if it is not a receipt of this format.
    pub fn parse(text: &str, path: &Utf8Path) -> Result<Self, crate::Error> {
        if redaction::yaml::conflict(text).is_some() {
            let path = path.to_owned();
            return Err(Error::Conflict { path }.into());
        }
        let wrong = |source| {
            crate::Error::Receipt(Error::File {
                path: path.to_owned(),
                source,
            })
        };
        /// The field that receipts of every version have.
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
        write_atomically(path, &self.text(path)?)
    }

    /// Returns the text of the file, as YAML below a comment. Errors name `path`.
    ///
    /// # Errors
    /// [`Error::File`] if YAML cannot express the receipt.
    pub(crate) fn text(&self, path: &Utf8Path) -> Result<String, crate::Error> {
        let yaml = redaction::yaml::write(self, FREE_TEXT_KEYS).map_err(|source| Error::File {
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

/// Deserializes the name of a release. An invalid one is refused here: it would differ from the
/// environment's release, and so look like an upgrade.
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

/// Returns the present time in the form of receipts, `2026-01-02T03:04:05Z`.
pub(crate) fn now(context: &Context<'_>) -> String {
    (context.tool.now)()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

#[cfg(test)]
mod tests;
