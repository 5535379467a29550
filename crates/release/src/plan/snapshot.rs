//! The registry snapshot: a file that lists which artifacts of the locks a registry has.
//!
//! It is taken across the air gap, and a plan is computed from it where the registry cannot be
//! reached. The deploy of such a plan reads the registry itself.

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

/// The contents of a registry snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    expecting = "keys and values",
    rename_all = "kebab-case",
    deny_unknown_fields
)]
pub struct Snapshot {
    /// Version of the file format.
    pub version: u32,
    /// The environment's name.
    pub environment: String,
    /// The environment's registry and project.
    pub registry: String,
    /// When the site wrote it, in UTC. Only `pack --return` sets this and the next three fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<String>,
    /// The commit that the site has checked out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// SHA-256 of other content that the site has: blobs in its store or registry that no locked
    /// tag needs, and downloads of mkectl.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<String>,
    /// SHA-256 of blobs of locked tags that neither the registry nor the store has any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<String>,
    /// Every tag of the locks, in the order of repository and tag.
    pub tags: Vec<Tag>,
}

/// A tag in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Tag {
    /// Repository and tag, `calico/node:v3.30.2`.
    pub artifact: String,
    /// Its content: `nothing`, a digest, or `untold` if the registry reports no digest.
    pub found: String,
    /// Whether the registry refuses it to nodes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused_to_nodes: bool,
}

/// A snapshot that was read, and the digest of its file.
#[derive(Debug)]
pub struct Read {
    /// The contents of the file.
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
    /// The file cannot be read, or [`Error::File`] or [`Error::Version`] if it is not a snapshot of
    /// this format.
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

    /// Checks that the snapshot is of the environment's registry: its address may have changed
    /// since.
    ///
    /// # Errors
    /// [`Error::OtherRegistry`] if it is of a different registry.
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

    /// Writes the snapshot to a new file, or over an earlier snapshot.
    ///
    /// # Errors
    /// `path` has a different kind of file, or cannot be written.
    pub fn write(&self, workspace: &Workspace, path: &Utf8Path) -> Result<(), crate::Error> {
        write_named(workspace, path, FileKind::Snapshot, &self.text(path)?)
    }

    /// Returns the text of the file, as YAML below a comment. Errors name `path`.
    ///
    /// # Errors
    /// [`Error::File`] if YAML cannot express the contents.
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

    /// Returns the SHA-256 of all blobs of tags that have the content of a lock.
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

    /// Returns the content of each tag of a lock, in its order, and the number of tags that the
    /// snapshot does not list. It was taken without this lock; these tags count as missing.
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
                        .map_or(TagContent::UnknownDigest, TagContent::Manifest),
                },
                is_open: tag.is_none_or(|tag| !tag.refused_to_nodes),
            }
        });
        let seen = seen.collect();
        (seen, unknown)
    }
}

/// Takes a snapshot of an environment's registry: looks up every tag of the workspace's locks.
///
/// # Errors
/// A lock or the registry cannot be read.
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
