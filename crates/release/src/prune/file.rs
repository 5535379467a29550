//! The plan of a removal, as a file. Only a reviewed file is executed.

use super::error::Moved;
use crate::{Error, prune};
use camino::Utf8Path;
use serde::{Deserialize, Serialize};

/// What is to be removed from a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    expecting = "keys and values",
    rename_all = "kebab-case",
    deny_unknown_fields
)]
pub struct PrunePlan {
    /// The version of this file's format.
    pub version: u32,
    /// The environment whose registry it is.
    pub environment: String,
    /// The registry and project.
    pub registry: String,
    /// When it was computed, in UTC.
    pub made: String,
    /// Whether it also covers what receipts record as already present, not pushed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub also_found: bool,
    /// What it was computed from.
    pub computed_from: ComputedFrom,
    /// How many bytes the registry's garbage collection then frees at most. Others may use the same
    /// blobs.
    pub frees_at_most: u64,
    /// What is to be removed, each manifest with all its tags.
    pub remove: Vec<Remove>,
    /// Tags of earlier releases that stay, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stays: Vec<Stays>,
    /// What could not be found out. It can only be that less is removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What a plan was computed from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ComputedFrom {
    /// The commit that was checked out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// SHA-256 of the environment's receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
    /// How many different receipts of the environment are known, now and in git's history.
    pub receipts: usize,
    /// The locks whose artifacts all stay.
    pub kept: Vec<KeptLock>,
}

/// A lock whose artifacts all stay.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KeptLock {
    /// Its release.
    pub release: String,
    /// SHA-256 of its file.
    pub lock: String,
    /// Who needs it.
    pub needed_by: String,
    /// Why it does: `wanted`, `running`, `previous`, `failed`, `recorded` in the registry. Earlier
    /// plans do not have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<String>,
}

/// A manifest to be removed, and with it all tags that point at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Remove {
    /// Its repository, project included.
    pub repository: String,
    /// Its digest.
    pub digest: String,
    /// All tags that point at it.
    pub tags: Vec<String>,
    /// The manifests that it lists and that nothing else needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<String>,
    /// The releases whose locks name it.
    pub releases: Vec<String>,
}

/// A tag of an earlier release that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Stays {
    /// Its repository, project included.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// Why it stays.
    pub why: String,
}

impl PrunePlan {
    /// The format that this version reads and writes.
    pub const VERSION: u32 = 1;

    /// Returns how many tags are to be removed.
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
                moved: vec![Moved::Version(plan.version)],
            }
            .into());
        }
        Ok(plan)
    }
}
