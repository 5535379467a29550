//! The manifest: everything that a medium contains, as a file that people can read and a signature
//! covers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::layout::{PROGRAM, START, is_sha256};
use crate::piece::{LARGEST_PIECE, sha256};
use crate::{Contradiction, Error};

/// Everything that a medium contains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Manifest {
    /// The version of this format.
    pub format: u32,
    /// The version of the program that wrote it.
    pub airlock: String,
    /// What it was made for.
    pub serves: Served,
    /// What the other side is assumed to have.
    #[serde(default, skip_serializing_if = "Assumed::is_empty")]
    pub assumes: Assumed,
    /// The files beside the manifest.
    pub files: Vec<RootFile>,
    /// The volumes, from number 1.
    pub volumes: Vec<Volume>,
    /// What the pieces make up.
    pub contents: Vec<Content>,
}

/// What a medium was made for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Served {
    /// The environments.
    pub environments: Vec<String>,
    /// Their locks.
    pub locks: Vec<ServedLock>,
}

/// A lock whose artifacts a medium brings, as far as the other side lacks them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ServedLock {
    /// Its path in the workspace, `bundles/v4.1.5-amd64.lock.yaml`.
    pub path: String,
    /// The SHA-256 of its text.
    pub sha256: String,
}

/// What the other side is assumed to have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Assumed {
    /// Where that is known from, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<String>,
    /// The commits that the git bundle builds on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commits: Vec<String>,
    /// The blobs of the locks that are not on the medium.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<AssumedBlob>,
}

/// A blob that the other side is assumed to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AssumedBlob {
    /// Its SHA-256.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A file beside the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RootFile {
    /// Its name.
    pub name: String,
    /// Its SHA-256.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Volume {
    /// Its number, from 1.
    pub number: u32,
    /// How many pieces it has.
    pub pieces: u64,
    /// The size of its pieces in bytes.
    pub size: u64,
}

/// A file that pieces make up, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Content {
    /// What it is.
    pub what: What,
    /// Its SHA-256.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its pieces, in order.
    pub pieces: Vec<Piece>,
}

/// What a content is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum What {
    /// The history of the workspace, as a git bundle.
    Repository {
        /// The branch, `main`.
        branch: String,
        /// The commit that it brings.
        commit: String,
    },
    /// The program for a platform, `linux-x86_64`.
    Program {
        /// The platform.
        platform: String,
    },
    /// An archive of mkectl, as it was downloaded.
    Mkectl {
        /// The release, `v4.1.5`.
        release: String,
        /// The platform, `linux-x86_64`.
        platform: String,
        /// The name of the download.
        file: String,
    },
    /// The sources of all dependencies, as a tar of the folder `vendor`.
    Sources {
        /// The SHA-256 of the `Cargo.lock` that they belong to.
        cargo_lock: String,
    },
    /// A blob of a lock: a manifest, a config, a layer or a release matrix.
    Blob {},
    /// The commits of a site that the other side lacks, as a git bundle. They are merged.
    Commits {
        /// The branch, `main`.
        branch: String,
        /// The last commit.
        commit: String,
    },
    /// The receipt of an environment that is not committed.
    Receipt {
        /// The environment.
        environment: String,
    },
    /// What the site of an environment has: a registry snapshot.
    Snapshot {
        /// The environment.
        environment: String,
    },
    /// A log of an environment, with secrets masked.
    Log {
        /// The environment.
        environment: String,
        /// Its file name.
        file: String,
    },
}

/// A part of a content, of at most 1 GiB. The same piece may be a part of several contents.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Piece {
    /// Its SHA-256, which is its name.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
    /// The number of its volume.
    pub volume: u32,
}

impl Assumed {
    /// Returns whether nothing is assumed.
    pub fn is_empty(&self) -> bool {
        self.because.is_empty() && self.commits.is_empty() && self.blobs.is_empty()
    }
}

impl RootFile {
    /// Describes a file by its bytes.
    pub fn of(name: &str, bytes: &[u8]) -> Self {
        Self {
            name: name.to_owned(),
            sha256: sha256(bytes),
            size: bytes.len() as u64,
        }
    }
}

impl Manifest {
    /// The format that this version reads and writes.
    pub const FORMAT: u32 = 1;

    /// Reads a manifest.
    ///
    /// # Errors
    /// It is not a manifest of this format, or contradicts itself.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        /// Read first: a manifest of a later format must not be called malformed.
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

    /// Returns the bytes of the file. The same manifest has the same bytes everywhere.
    ///
    /// # Errors
    /// YAML cannot express it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let yaml =
            redaction::yaml::write(self, &[]).map_err(|source| Error::Manifest { source })?;
        Ok(format!(
            "# What this medium contains. Written by `airlock pack`; a change breaks its signature.\n{yaml}"
        )
        .into_bytes())
    }

    /// Returns the pieces, each once, in the order in which contents first need them.
    pub fn pieces(&self) -> Vec<&Piece> {
        let mut seen = BTreeSet::new();
        self.contents
            .iter()
            .flat_map(|content| &content.pieces)
            .filter(|piece| seen.insert(&piece.sha256))
            .collect()
    }

    /// Returns the size of all pieces in bytes.
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
        // Pieces and blobs are named by these.
        let mut all = locks.chain(assumed).chain(files).chain(hashes);
        if let Some(hash) = all.find(|hash| !is_sha256(hash)) {
            return wrong(Contradiction::Hash(hash.clone()));
        }
        // The names are paths beside the manifest.
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
