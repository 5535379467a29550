//! The manifest: a signed, readable list of everything that a medium contains.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::layout::{PROGRAM, START, is_sha256};
use crate::piece::{LARGEST_PIECE, sha256};
use crate::{Contradiction, Error};

/// The list of everything that a medium contains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format, [`Manifest::FORMAT`].
    pub format: u32,
    /// Version of the program that wrote the manifest.
    pub airlock: String,
    /// The environments and locks that the medium was packed for.
    pub serves: Served,
    /// The commits and blobs that the other side is assumed to have.
    #[serde(default, skip_serializing_if = "Assumed::is_empty")]
    pub assumes: Assumed,
    /// The files beside the manifest: `START.txt` and the program.
    pub files: Vec<RootFile>,
    /// The volumes in order, numbered from 1.
    pub volumes: Vec<Volume>,
    /// The files that the pieces make up.
    pub contents: Vec<Content>,
}

/// The environments and locks that a medium was packed for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Served {
    /// Names of the environments.
    pub environments: Vec<String>,
    /// Locks of the environments.
    pub locks: Vec<ServedLock>,
}

/// A lock whose artifacts are on the medium, unless the other side is assumed to have them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ServedLock {
    /// Path in the workspace, such as `bundles/v4.1.5-amd64.lock.yaml`.
    pub path: String,
    /// SHA-256 of the lock's text.
    pub sha256: String,
}

/// The commits and blobs that the other side is assumed to have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Assumed {
    /// Sources of these assumptions, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<String>,
    /// Commits that the git bundle builds on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commits: Vec<String>,
    /// Blobs of the locks that are not on the medium.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<AssumedBlob>,
}

/// A blob that the other side is assumed to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AssumedBlob {
    /// SHA-256 of the blob.
    pub sha256: String,
    /// Size in bytes.
    pub size: u64,
}

/// A file beside the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RootFile {
    /// File name.
    pub name: String,
    /// SHA-256 of the content.
    pub sha256: String,
    /// Size in bytes.
    pub size: u64,
}

/// A volume: the pieces that fit on one disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Volume {
    /// Number of the volume, from 1.
    pub number: u32,
    /// Number of its pieces.
    pub pieces: u64,
    /// Total size of its pieces in bytes.
    pub size: u64,
}

/// A file that consists of pieces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Content {
    /// Kind of the file.
    pub what: What,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Size in bytes.
    pub size: u64,
    /// The pieces, in order.
    pub pieces: Vec<Piece>,
}

/// The kind of a content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum What {
    /// The history of the workspace, as a git bundle.
    Repository {
        /// Branch, such as `main`.
        branch: String,
        /// Full id of the branch's last commit.
        commit: String,
    },
    /// The program for one platform.
    Program {
        /// Platform, such as `linux-x86_64`.
        platform: String,
    },
    /// An archive of mkectl, as downloaded.
    Mkectl {
        /// Release, such as `v4.1.5`.
        release: String,
        /// Platform, such as `linux-x86_64`.
        platform: String,
        /// File name of the download.
        file: String,
    },
    /// The sources of all dependencies, as a tar of the folder `vendor`.
    Sources {
        /// SHA-256 of the `Cargo.lock` that lists them.
        cargo_lock: String,
    },
    /// A blob of a lock: a manifest, a config, a layer or a release matrix.
    Blob {},
    /// Commits of a site that the other side lacks, as a git bundle. `unpack` merges them.
    Commits {
        /// Branch, such as `main`.
        branch: String,
        /// Full id of the last commit.
        commit: String,
    },
    /// An uncommitted receipt of an environment.
    Receipt {
        /// Name of the environment.
        environment: String,
    },
    /// A registry snapshot of an environment's site.
    Snapshot {
        /// Name of the environment.
        environment: String,
    },
    /// A log of an environment, with secrets masked.
    Log {
        /// Name of the environment.
        environment: String,
        /// File name of the log.
        file: String,
    },
}

/// A part of a content, of at most 1 GiB. Several contents may share a piece.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Piece {
    /// SHA-256 of the piece, which is its file name.
    pub sha256: String,
    /// Size in bytes.
    pub size: u64,
    /// Number of its volume.
    pub volume: u32,
}

impl Assumed {
    /// Returns whether nothing is assumed.
    pub fn is_empty(&self) -> bool {
        self.because.is_empty() && self.commits.is_empty() && self.blobs.is_empty()
    }
}

impl RootFile {
    /// Returns the entry of a file with these bytes.
    pub fn of(name: &str, bytes: &[u8]) -> Self {
        Self {
            name: name.to_owned(),
            sha256: sha256(bytes),
            size: bytes.len() as u64,
        }
    }
}

impl Manifest {
    /// The version of the format that this program reads and writes.
    pub const FORMAT: u32 = 1;

    /// Parses and checks a manifest.
    ///
    /// # Errors
    /// [`Error::Format`], [`Error::Manifest`], or [`Error::Contradiction`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        /// Parsed first, so a manifest of a later format is not reported as malformed.
        #[derive(Deserialize)]
        #[serde(expecting = "keys and values, `format` among them")]
        struct Formatted {
            format: u32,
        }
        let malformed = |source| Error::Manifest {
            source: redaction::yaml::without_values(source),
        };
        let text =
            std::str::from_utf8(bytes).map_err(|_| Error::Contradiction(Contradiction::Text))?;
        let formatted: Formatted = redaction::yaml::read_lines(text).map_err(malformed)?;
        if formatted.format != Self::FORMAT {
            return Err(Error::Format {
                found: formatted.format,
            });
        }
        let manifest: Self = redaction::yaml::read_lines(text).map_err(malformed)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Returns the bytes of the file, which are the same on every machine.
    ///
    /// # Errors
    /// [`Error::Manifest`] if YAML cannot express a value.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let yaml =
            redaction::yaml::write(self, &[]).map_err(|source| Error::Manifest { source })?;
        Ok(format!(
            "# What this medium contains. Written by `airlock pack`; a change breaks its signature.\n{yaml}"
        )
        .into_bytes())
    }

    /// Returns each piece once, in the order in which contents need them.
    pub fn pieces(&self) -> Vec<&Piece> {
        let mut seen = BTreeSet::new();
        self.contents
            .iter()
            .flat_map(|content| &content.pieces)
            .filter(|piece| seen.insert(&piece.sha256))
            .collect()
    }

    /// Returns the total size of all pieces in bytes.
    pub fn size(&self) -> u64 {
        self.volumes.iter().map(|volume| volume.size).sum()
    }

    /// Returns the blob with this SHA-256.
    pub fn blob(&self, sha256: &str) -> Option<&Content> {
        let mut blobs = self.contents.iter();
        blobs.find(|content| content.what == What::Blob {} && content.sha256 == sha256)
    }

    fn check(&self) -> Result<(), Error> {
        let wrong = |how| Err(Error::Contradiction(how));
        let locks = self.serves.locks.iter().map(|lock| &lock.sha256);
        let assumed = self.assumes.blobs.iter().map(|blob| &blob.sha256);
        let files = self.files.iter().map(|file| &file.sha256);
        let contents = self.contents.iter();
        let hashes = contents.flat_map(|content| {
            std::iter::once(&content.sha256).chain(content.pieces.iter().map(|piece| &piece.sha256))
        });
        // Hashes become file names.
        let mut all = locks.chain(assumed).chain(files).chain(hashes);
        if let Some(hash) = all.find(|hash| !is_sha256(hash)) {
            return wrong(Contradiction::Hash(hash.clone()));
        }
        // The names become paths beside the manifest.
        let names = [START, PROGRAM];
        if let Some(file) = self
            .files
            .iter()
            .find(|file| !names.contains(&file.name.as_str()))
        {
            return wrong(Contradiction::File(file.name.clone()));
        }
        let mut pieces: BTreeMap<&str, &Piece> = BTreeMap::new();
        for content in &self.contents {
            let sum = content
                .pieces
                .iter()
                .try_fold(0_u64, |sum, piece| sum.checked_add(piece.size));
            if sum != Some(content.size) {
                return wrong(Contradiction::Size(content.sha256.clone()));
            }
            if let [piece] = &content.pieces[..]
                && piece.sha256 != content.sha256
            {
                return wrong(Contradiction::OnlyPiece(content.sha256.clone()));
            }
            for piece in &content.pieces {
                if piece.size > LARGEST_PIECE {
                    return wrong(Contradiction::LargePiece(piece.sha256.clone()));
                }
                if *pieces.entry(&piece.sha256).or_insert(piece) != piece {
                    return wrong(Contradiction::Piece(piece.sha256.clone()));
                }
            }
        }
        for (index, volume) in self.volumes.iter().enumerate() {
            let of_volume = || {
                pieces
                    .values()
                    .filter(|piece| piece.volume == volume.number)
            };
            let (count, size) = of_volume().fold((0, 0), |(count, size), piece| {
                (count + 1, piece.size.saturating_add(size))
            });
            if volume.number as usize != index + 1 || (volume.pieces, volume.size) != (count, size)
            {
                return wrong(Contradiction::Volume(volume.number));
            }
        }
        match pieces
            .values()
            .find(|piece| piece.volume == 0 || piece.volume as usize > self.volumes.len())
        {
            Some(piece) => wrong(Contradiction::NoVolume(piece.sha256.clone())),
            None => Ok(()),
        }
    }
}
