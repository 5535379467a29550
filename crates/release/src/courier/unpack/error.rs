//! Why a medium is not unpacked, or only in part.

use camino::Utf8PathBuf;
use medium::{Fault, Piece};
use programs::Absent;

use crate::Kind;
use crate::cluster::consent::Refused;
use crate::courier::kind_of;

/// Why a medium is not unpacked, or only in part.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The medium cannot be used.
    #[error(transparent)]
    Medium(#[from] medium::Error),
    /// Some pieces cannot be used. Everything else was, unless the history that makes a workspace
    /// is among them.
    #[error(
        "{} of pack {} cannot be used; {}",
        environment::count(pieces.len(), "piece"),
        &pack[..12],
        if *is_first { "nothing was unpacked" } else { "the other pieces are unpacked or kept" }
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
        why: Refused,
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
    /// The disk of the new workspace is too small.
    #[error("{} are free in `{folder}`, but {} must still be written", bytesize::ByteSize(*free).display().si(), bytesize::ByteSize(*needed).display().si())]
    NoRoom {
        /// The folder.
        folder: Utf8PathBuf,
        /// How many bytes are free.
        free: u64,
        /// How many bytes are needed.
        needed: u64,
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
            Self::Git { .. } | Self::NoRoom { .. } => Kind::Machine,
        }
    }
}
