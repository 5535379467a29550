//! The snapshot of a registry: which artifacts of the locks it has, in a file that is carried over
//! the air gap.
//!
//! A plan is made from the file when the registry cannot be reached. The deploy that executes such
//! a plan reads the registry itself.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use environment::Environment;
use oci_spec::image::Digest;
use serde::{Deserialize, Serialize};

use crate::transfer::look::{self, Seen, TagContent};
use crate::workspace::{FileKind, write_named};
use crate::{Context, Workspace, sha256};

mod error;

pub use error::Error;

/// What a registry has, as the file lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    expecting = "keys and values",
    rename_all = "kebab-case",
    deny_unknown_fields
)]
pub struct Snapshot {
    /// The version of this file's format.
    pub version: u32,
    /// The environment.
    pub environment: String,
    /// Its registry and project.
    pub registry: String,
    /// When it was taken, in UTC; only what a site returns says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<String>,
    /// The commit that the site is at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The SHA-256 of what the site has beside the blobs of tags that are what a lock names: blobs
    /// in its store or registry, and downloads of mkectl.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<String>,
    /// The SHA-256 of blobs of such tags that the registry has lost, and the store lacks too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<String>,
    /// Every tag that a lock names, by repository and tag.
    pub tags: Vec<Tag>,
}

/// A tag in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Tag {
    /// Repository and tag, `calico/node:v3.30.2`.
    pub artifact: String,
    /// What the registry has: `nothing`, a digest, or `untold` if the registry reports no digest.
    pub found: String,
    /// Whether nodes are refused it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused_to_nodes: bool,
}

/// A snapshot that was read, and the digest of its file.
#[derive(Debug)]
pub struct Read {
    /// What it says.
    pub snapshot: Snapshot,
    /// SHA-256 of the file.
    pub digest: String,
}

impl Snapshot {
    /// The format that this version reads and writes.
    pub const VERSION: u32 = 1;

    /// Reads a snapshot.
    ///
    /// # Errors
    /// The file cannot be read, or is not a snapshot of this format.
    pub fn read(path: &Utf8Path) -> Result<Read, crate::Error> {
        let text = files::read_text(path).map_err(|source| crate::Error::read(path, source))?;
        let wrong = |source| {
            crate::Error::Snapshot(Error::File {
                path: path.to_owned(),
                source,
            })
        };
        let snapshot: Self = redaction::yaml::read(&text).map_err(wrong)?;
        if snapshot.version != Self::VERSION {
            return Err(Error::Version {
                path: path.to_owned(),
                version: snapshot.version,
            }
            .into());
        }
        Ok(Read {
            snapshot,
            digest: sha256(text.as_bytes()),
        })
    }

    /// Checks that the snapshot is of an environment's registry, whose address may have changed
    /// since.
    ///
    /// # Errors
    /// It is of a different one.
    pub(crate) fn check_registry(&self, environment: &Environment) -> Result<(), Error> {
        let wanted = environment.registry.image_url();
        match self.registry == wanted {
            true => Ok(()),
            false => Err(Error::OtherRegistry {
                environment: environment.name.clone(),
                found: self.registry.clone(),
                wanted,
            }),
        }
    }

    /// Writes the snapshot.
    ///
    /// # Errors
    /// The path leads to a different kind of file, or the file cannot be written.
    pub fn write(&self, workspace: &Workspace, path: &Utf8Path) -> Result<(), crate::Error> {
        write_named(workspace, path, FileKind::Snapshot, &self.text(path)?)
    }

    /// Returns the text of the file.
    ///
    /// # Errors
    /// YAML cannot express it.
    pub(crate) fn text(&self, path: &Utf8Path) -> Result<String, crate::Error> {
        let yaml = redaction::yaml::write(self, &[]).map_err(|source| Error::File {
            path: path.to_owned(),
            source,
        })?;
        Ok(match self.taken {
            None => format!(
                "# Artifacts of the locks that {} has. Written by `snapshot {} --out FILE`.\n{yaml}",
                self.registry, self.environment
            ),
            Some(_) => format!(
                "# What the site of {} has. Written by `pack --return`; the next `pack` reads it. Commit it.\n{yaml}",
                self.environment
            ),
        })
    }

    /// Returns the SHA-256 of the blobs of all tags that are what a lock names.
    ///
    /// # Errors
    /// A lock cannot be read.
    pub(crate) fn tagged_blobs(
        &self,
        workspace: &Workspace,
    ) -> Result<BTreeSet<String>, crate::Error> {
        let tags: BTreeMap<&str, &str> = self
            .tags
            .iter()
            .map(|tag| (tag.artifact.as_str(), tag.found.as_str()))
            .collect();
        let mut blobs = BTreeSet::new();
        for path in workspace.locks()? {
            for artifact in bundle::Lock::read(&path)?.artifacts {
                if tags.get(artifact.reference().as_str()) == Some(&artifact.digest.as_ref()) {
                    let digests = artifact.blobs().map(|(digest, _)| digest.digest());
                    blobs.extend(digests.map(str::to_owned));
                }
            }
        }
        Ok(blobs)
    }

    /// Returns what the registry has under each tag of a lock, in its order, and how many of them
    /// were not checked: the lock was not here when the snapshot was taken. Those are taken for
    /// missing.
    pub(crate) fn seen(&self, lock: &bundle::Lock) -> (Vec<Seen>, usize) {
        let tags: BTreeMap<&str, &Tag> = self
            .tags
            .iter()
            .map(|tag| (tag.artifact.as_str(), tag))
            .collect();
        let mut unknown = 0;
        let seen = lock.artifacts.iter().map(|artifact| {
            let tag = tags.get(artifact.reference().as_str());
            unknown += usize::from(tag.is_none());
            Seen {
                held: match tag.map_or("nothing", |tag| &tag.found) {
                    "nothing" => TagContent::Nothing,
                    digest => digest
                        .parse::<Digest>()
                        .map_or(TagContent::Untold, TagContent::Manifest),
                },
                is_open: tag.is_none_or(|tag| !tag.refused_to_nodes),
            }
        });
        let seen = seen.collect();
        (seen, unknown)
    }
}

/// Looks at every tag that a committed lock names in an environment's registry.
///
/// # Errors
/// A lock cannot be read, or the registry cannot be asked.
pub async fn take(
    context: &Context<'_>,
    environment: &Environment,
) -> Result<Snapshot, crate::Error> {
    let mut tags = BTreeMap::new();
    for path in context.workspace.locks()? {
        let lock = bundle::Lock::read(&path)?;
        for artifact in lock.artifacts {
            tags.insert((artifact.repository, artifact.tag), artifact.kind);
        }
    }
    let asked: Vec<look::Tag<'_>> = tags
        .iter()
        .map(|((repository, name), kind)| look::Tag {
            repository,
            name,
            kind: *kind,
        })
        .collect();
    let seen = look::look(context, environment, &asked).await?.seen;
    Ok(Snapshot {
        version: Snapshot::VERSION,
        environment: environment.name.clone(),
        registry: environment.registry.image_url(),
        taken: None,
        commit: None,
        blobs: Vec::new(),
        lost: Vec::new(),
        tags: asked
            .iter()
            .zip(&seen)
            .map(|(tag, seen)| Tag {
                artifact: format!("{}:{}", tag.repository, tag.name),
                found: seen.found(),
                refused_to_nodes: !seen.is_open,
            })
            .collect(),
    })
}
