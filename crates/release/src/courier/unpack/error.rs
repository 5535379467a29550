//! Errors of unpacking a medium, completely or in part.

use camino::Utf8PathBuf;
use medium::{Fault, Piece};
use programs::Absent;

use crate::Kind;
use crate::cluster::consent::Refused;
use crate::courier::kind_of;

/// A medium is not unpacked, or only in part.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The medium is not valid, not trusted or not readable.
    #[error(transparent)]
    Medium(#[from] medium::Error),
    /// Some pieces are damaged. All other contents were imported, unless the history of a new
    /// workspace is damaged.
    #[error(
        "{} of pack {} cannot be used; {}",
        environment::count(pieces.len(), "piece"),
        &pack[..12],
        if *is_first { "nothing was unpacked" } else { "the other pieces are unpacked or kept" }
    )]
    Damaged {
        /// Name of the pack.
        pack: String,
        /// The damaged pieces, including those of missing volumes.
        pieces: Vec<(Piece, Fault)>,
        /// Numbers of the volumes that were not found.
        missing_volumes: Vec<u32>,
        /// Numbers of the volumes whose folder this user may not read.
        unreadable_volumes: Vec<u32>,
        /// Command that packs a replacement on the other side.
        replacement: String,
        /// Whether no workspace exists and none was created, because the history is damaged.
        is_first: bool,
    },
    /// The key has a different fingerprint than the operator named.
    #[error("the medium is signed by {found}, not by {given}")]
    Fingerprint {
        /// Fingerprint that the operator named.
        given: String,
        /// Fingerprint of the key.
        found: String,
    },
    /// The operator did not confirm the key.
    #[error("the key {fingerprint} was not confirmed: {why}")]
    Declined {
        /// Fingerprint of the key.
        fingerprint: String,
        /// Reason of the refusal.
        why: Refused,
    },
    /// The list of permitted keys is not valid.
    #[error("{} is not valid", crate::courier::SIGNERS)]
    Signers {
        /// What is not valid.
        source: medium::SignatureError,
    },
    /// A different process unpacks into the workspace.
    #[error("a different command uses `{folder}`")]
    InUse {
        /// Folder of the temporary files.
        folder: Utf8PathBuf,
    },
    /// The folder for the new workspace has other files.
    #[error("`{folder}` is neither a workspace nor empty")]
    NotEmpty {
        /// Path of the folder.
        folder: Utf8PathBuf,
    },
    /// The folder for the workspace is on the medium.
    #[error("`{folder}` is on the medium itself")]
    Inside {
        /// Path of the folder.
        folder: Utf8PathBuf,
    },
    /// The disk of the new workspace is too small.
    #[error("{} are free in `{folder}`, but {} must still be written", bytesize::ByteSize(*free).display().si(), bytesize::ByteSize(*needed).display().si())]
    NoRoom {
        /// Path of the folder.
        folder: Utf8PathBuf,
        /// Free bytes.
        free: u64,
        /// Required bytes.
        needed: u64,
    },
    /// No workspace exists, and the medium has no history to create one.
    #[error("no workspace exists at `{folder}`, and the medium does not bring the repository")]
    NoRepository {
        /// Path of the folder.
        folder: Utf8PathBuf,
    },
    /// Git is missing or failed.
    #[error("the workspace's repository cannot be brought up to date")]
    Git {
        /// Error of git.
        source: Absent,
    },
    /// The workspace is on a different branch than the medium.
    #[error("the medium brings branch `{branch}`, but {found} is checked out in the workspace")]
    Branch {
        /// Branch on the medium.
        branch: String,
        /// What is checked out, for the message.
        found: String,
        /// Whether the workspace's repository has the branch of the medium.
        exists: bool,
    },
    /// The medium builds on a commit that the workspace lacks.
    #[error("the medium builds on commit {commit}, which the workspace lacks")]
    Lacks {
        /// Abbreviated commit id.
        commit: String,
    },
    /// The git bundle does not have the commit that the manifest names.
    #[error("the git bundle on the medium has commit {found}, but the manifest names {commit}")]
    OtherCommit {
        /// Abbreviated commit id in the manifest.
        commit: String,
        /// Abbreviated commit id in the bundle.
        found: String,
    },
    /// The history on the medium does not contain the commit that an earlier medium brought.
    #[error(
        "the medium rewrites history: its commit {commit} does not build on {earlier}, which an earlier medium brought"
    )]
    Rewritten {
        /// Abbreviated id of the medium's commit.
        commit: String,
        /// Abbreviated id of the earlier commit.
        earlier: String,
    },
    /// The history on the medium does not contain the workspace's commit.
    #[error(
        "the workspace is at commit {head}, on which the medium's commit {commit} does not build"
    )]
    Diverged {
        /// Abbreviated id of the medium's commit.
        commit: String,
        /// Abbreviated id of the workspace's commit.
        head: String,
    },
    /// Files with local changes would be overwritten.
    #[error("local changes would be overwritten: {}", files.join(", "))]
    LocalChanges {
        /// Paths relative to the repository's root.
        files: Vec<String>,
    },
    /// A file was changed on both sides.
    #[error("commit {commit} of the other side cannot be merged: {} changed here too", files.join(", "))]
    Conflict {
        /// Abbreviated commit id.
        commit: String,
        /// Paths relative to the repository's root.
        files: Vec<String>,
    },
    /// A locked download of mkectl is not valid.
    #[error("mkectl {release} on the medium cannot be used")]
    Mkectl {
        /// The release, such as `v4.1.5`.
        release: String,
        /// What is not valid.
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
            Self::Fingerprint { .. } | Self::Declined { .. } | Self::InUse { .. } => {
                Kind::NotAllowed
            }
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
