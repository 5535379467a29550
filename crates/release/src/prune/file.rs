//! The plan of a removal as a file, which is reviewed and then executed.

use super::error::OutdatedReason;
use crate::{Error, prune};
use camino::Utf8Path;
use serde::{Deserialize, Serialize};

/// The contents of a prune plan's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    expecting = "keys and values",
    rename_all = "kebab-case",
    deny_unknown_fields
)]
pub struct PrunePlan {
    /// Version of the file format.
    pub version: u32,
    /// The environment's name.
    pub environment: String,
    /// The registry and project.
    pub registry: String,
    /// Time of the computation, in UTC.
    pub made: String,
    /// Whether the plan has [`Scope::Found`](super::Scope::Found).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub also_found: bool,
    /// The inputs of the plan.
    pub computed_from: ComputedFrom,
    /// Maximum number of bytes that the registry's garbage collection frees. It is fewer if other
    /// repositories have the same blobs.
    pub frees_at_most: u64,
    /// The manifests to be removed, each with all its tags.
    pub remove: Vec<Remove>,
    /// Tags of earlier releases that stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stays: Vec<Stays>,
    /// Facts that are unknown, because of which more tags stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The inputs of a prune plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ComputedFrom {
    /// The commit that is checked out; `None` without git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// SHA-256 of the environment's receipt; `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
    /// Number of different receipts of the environment, now and in git's history.
    pub receipts: usize,
    /// Locks whose artifacts all stay.
    pub kept: Vec<KeptLock>,
}

/// A lock whose artifacts all stay, and the environment that needs it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KeptLock {
    /// Its release, `v4.1.5`, or the name of its set.
    pub release: String,
    /// SHA-256 of its file.
    pub lock: String,
    /// The environment that needs it.
    pub needed_by: String,
    /// Reasons: `wanted`, `running`, `previous`, `failed`, or `recorded` for one in the registry's
    /// shared state. Empty in plans of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<String>,
}

/// A manifest to be removed, with all tags that point at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Remove {
    /// Its repository, including the project.
    pub repository: String,
    /// Its digest, `sha256:<hex>`.
    pub digest: String,
    /// All tags that point at it.
    pub tags: Vec<String>,
    /// Digests of manifests that it lists, and that nothing else needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<String>,
    /// Releases and sets whose locks name it.
    pub releases: Vec<String>,
}

/// A tag of an earlier release that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Stays {
    /// Its repository, including the project.
    pub repository: String,
    /// The tag, `v3.30.2`.
    pub tag: String,
    /// The reason, a sentence fragment.
    pub why: String,
}

impl PrunePlan {
    /// The format that this version reads and writes.
    pub const VERSION: u32 = 1;

    /// Returns the number of tags to be removed.
    pub fn tags(&self) -> usize {
        self.remove.iter().map(|removal| removal.tags.len()).sum()
    }

    pub(super) fn to_yaml(&self, path: &Utf8Path) -> Result<String, Error> {
        let yaml = redaction::yaml::write(self, &[]).map_err(|source| prune::Error::File {
            path: path.to_owned(),
            source,
        })?;
        Ok(format!(
            "# What `prune {environment}` would remove from the registry. Nothing has been removed yet.\n\
             # After a review, `prune {environment} --plan FILE` removes exactly this, or refuses.\n{yaml}",
            environment = self.environment
        ))
    }

    pub(super) fn parse(text: &str, path: &Utf8Path) -> Result<Self, Error> {
        let plan: Self = redaction::yaml::read(text).map_err(|source| prune::Error::File {
            path: path.to_owned(),
            source,
        })?;
        if plan.version != Self::VERSION {
            return Err(prune::Error::Refused {
                environment: plan.environment,
                path: path.to_owned(),
                moved: vec![OutdatedReason::Version(plan.version)],
            }
            .into());
        }
        Ok(plan)
    }
}
