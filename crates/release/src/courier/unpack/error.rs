//! Why a medium is not unpacked, or only in part.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use medium::{Content, Fault, Medium, Piece};
use programs::Absent;

use crate::Kind;
use crate::courier::kind_of;

/// Why a medium is not unpacked, or only in part.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The medium cannot be used.
    #[error(transparent)]
    Medium(#[from] medium::Error),
    /// Some pieces cannot be used. Everything else was, unless the history that makes a workspace is among them.
    #[error(
        "{} of pack {} cannot be used; {}",
        environment::count(pieces.len(), "piece"),
        &pack[..12],
        if *is_first { "nothing was unpacked" } else { "the other pieces are unpacked" }
    )]
    Damaged {
        /// The pack.
        pack: String,
        /// The pieces, the ones of missing volumes included.
        pieces: Vec<(Piece, Fault)>,
        /// The volumes of which nothing was found.
        missing_volumes: Vec<u32>,
        /// The volumes whose folder this user must not read.
        unreadable_volumes: Vec<u32>,
        /// What makes a replacement, on the other side.
        replacement: String,
        /// Whether no workspace existed and none was made, because its history is damaged.
        is_first: bool,
    },
    /// The key is not the one that the operator named.
    #[error("the medium is signed by {found}, not by {given}")]
    Fingerprint {
        /// The fingerprint that was named.
        given: String,
        /// The one of the key.
        found: String,
    },
    /// The operator did not confirm the key.
    #[error("the key {fingerprint} was not confirmed: {why}")]
    Declined {
        /// Its fingerprint.
        fingerprint: String,
        /// Why not.
        why: String,
    },
    /// The list of keys is not valid.
    #[error("{} is not valid", crate::courier::SIGNERS)]
    Signers {
        /// Why not.
        source: medium::SignatureError,
    },
    /// The folder for the workspace has something else.
    #[error("`{folder}` is neither a workspace nor empty")]
    NotEmpty {
        /// The folder.
        folder: Utf8PathBuf,
    },
    /// The folder for the workspace is on the medium.
    #[error("`{folder}` is on the medium itself")]
    Inside {
        /// The folder.
        folder: Utf8PathBuf,
    },
    /// No workspace exists, and the medium does not bring one.
    #[error("no workspace exists at `{folder}`, and the medium does not bring the repository")]
    NoRepository {
        /// Where it would be.
        folder: Utf8PathBuf,
    },
    /// Git is missing, or refuses.
    #[error("the workspace's repository cannot be brought up to date")]
    Git {
        /// Why not.
        source: Absent,
    },
    /// A different branch is checked out.
    #[error("the medium brings branch `{branch}`, but {found} is checked out in the workspace")]
    Branch {
        /// The branch that it brings.
        branch: String,
        /// What is checked out.
        found: String,
    },
    /// The medium builds on a commit that the workspace lacks.
    #[error("the medium builds on commit {commit}, which the workspace lacks")]
    Lacks {
        /// The commit.
        commit: String,
    },
    /// The git bundle does not have the commit that the manifest names.
    #[error("the git bundle on the medium has commit {found}, but the manifest names {commit}")]
    OtherCommit {
        /// The commit of the manifest.
        commit: String,
        /// The commit of the bundle.
        found: String,
    },
    /// The history on the medium is not a continuation of what a medium brought before.
    #[error(
        "the medium rewrites history: its commit {commit} does not build on {earlier}, which an earlier medium brought"
    )]
    Rewritten {
        /// The commit.
        commit: String,
        /// The one before.
        earlier: String,
    },
    /// The workspace has commits that the medium does not know.
    #[error(
        "the workspace is at commit {head}, on which the medium's commit {commit} does not build"
    )]
    Diverged {
        /// The commit of the medium.
        commit: String,
        /// The commit of the workspace.
        head: String,
    },
    /// Files with local changes would be overwritten.
    #[error("local changes would be overwritten: {}", files.join(", "))]
    LocalChanges {
        /// The files, relative to the repository.
        files: Vec<String>,
    },
    /// A file was changed on both sides.
    #[error("commit {commit} of the other side cannot be merged: {} changed here too", files.join(", "))]
    Conflict {
        /// The commit.
        commit: String,
        /// The files, relative to the repository.
        files: Vec<String>,
    },
    /// A locked download of mkectl cannot be used.
    #[error("mkectl {release} on the medium cannot be used")]
    Mkectl {
        /// The release.
        release: String,
        /// Why not.
        source: bundle::ProgramError,
    },
}

impl From<medium::Error> for crate::Error {
    fn from(source: medium::Error) -> Self {
        Error::from(source).into()
    }
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Medium(error) => kind_of(error),
            Self::Damaged { .. } | Self::OtherCommit { .. } | Self::Mkectl { .. } => Kind::Content,
            Self::Fingerprint { .. } | Self::Declined { .. } => Kind::NotAllowed,
            Self::Rewritten { .. }
            | Self::Diverged { .. }
            | Self::Conflict { .. }
            | Self::LocalChanges { .. }
            | Self::Branch { .. } => Kind::NotAllowed,
            Self::Signers { .. } | Self::NotEmpty { .. } | Self::Lacks { .. } => Kind::Workspace,
            Self::NoRepository { .. } => Kind::Workspace,
            Self::Inside { .. } => Kind::Usage,
            Self::Git { .. } => Kind::Machine,
        }
    }
}

/// The pieces that could not be used so far, by name.
#[derive(Debug, Default)]
pub struct Damaged(BTreeMap<String, (Piece, Fault)>);

impl Damaged {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns what was made of a content. If one of its pieces is damaged, nothing was made, and all that are damaged are noted.
    pub(super) fn unless_piece<T>(
        &mut self,
        medium: &Medium,
        content: &Content,
        made: Result<T, crate::Error>,
    ) -> Result<Option<T>, crate::Error> {
        match made {
            Ok(made) => Ok(Some(made)),
            Err(crate::Error::Unpack(Error::Medium(medium::Error::Piece { .. }))) => {
                self.note(medium, content);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Notes all pieces of a content that are damaged.
    pub(super) fn note(&mut self, medium: &Medium, content: &Content) {
        for piece in &content.pieces {
            let read = medium.copy_piece(piece, &mut std::io::sink(), &|_| true);
            if let Err(medium::Error::Piece { fault, .. }) = read {
                self.0.insert(piece.sha256.clone(), (piece.clone(), fault));
            }
        }
    }

    /// Notes all pieces of the medium that are damaged.
    pub(super) fn examine(&mut self, medium: &Medium) {
        for content in &medium.manifest().contents {
            self.note(medium, content);
        }
    }

    /// Returns the error that names them, and what makes a replacement.
    pub(super) fn error(self, medium: &Medium, is_first: bool) -> crate::Error {
        /// How much of a name tells pieces apart.
        const DIGITS: usize = 12;
        let names: Vec<&str> = self.0.keys().map(|name| &name[..DIGITS]).collect();
        let environments = medium.manifest().serves.environments.join(" ");
        Error::Damaged {
            pack: medium.pack().to_owned(),
            replacement: format!("pack {environments} --only {} --out DIR", names.join(",")),
            missing_volumes: medium.missing_volumes(),
            unreadable_volumes: medium.unreadable_volumes(),
            is_first,
            pieces: self.0.into_values().collect(),
        }
        .into()
    }
}
