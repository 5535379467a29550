//! Why a medium is not packed.

use camino::Utf8PathBuf;

use crate::Kind;
use crate::courier::kind_of;

/// Why a medium is not packed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Git has no answer, or the workspace is not a repository.
    #[error("the history of the workspace cannot be packed")]
    Git {
        /// Why not.
        source: programs::Absent,
    },
    /// The workspace is in a repository that has more than the workspace.
    #[error(
        "the workspace `{workspace}` is not the root of its repository, which is `{repository}`"
    )]
    Subfolder {
        /// The workspace.
        workspace: Utf8PathBuf,
        /// The root of the repository.
        repository: Utf8PathBuf,
    },
    /// Files that the other side needs are not committed.
    #[error("a medium carries committed files only, and {} not committed: {}", environment::count_are(files.len(), "file"), files.join(", "))]
    Uncommitted {
        /// The files.
        files: Vec<String>,
    },
    /// Nothing was committed yet.
    #[error("the repository of the workspace has no commit")]
    NoCommit,
    /// A different command packs.
    #[error("a different command uses `{folder}`")]
    InUse {
        /// The folder of temporary files.
        folder: Utf8PathBuf,
    },
    /// The repository is a shallow clone.
    #[error(
        "the repository of the workspace is a shallow clone, which the other side cannot clone"
    )]
    Cut,
    /// A file that lists what the other side has cannot be understood.
    #[error("`{path}` is not a registry snapshot and not the manifest of a medium")]
    Have {
        /// The file.
        path: Utf8PathBuf,
        /// What the manifest's reader says.
        source: medium::Error,
    },
    /// A file lists what an environment has that is not packed.
    #[error("`{path}` is of {}, which {} not packed", of.join(", "), if of.len() == 1 { "is" } else { "are" })]
    OtherEnvironment {
        /// The file.
        path: Utf8PathBuf,
        /// The environments that it is of.
        of: Vec<String>,
    },
    /// A piece is not in this pack.
    #[error("this pack has no piece `{piece}`")]
    UnknownPiece {
        /// The beginning of its name.
        piece: String,
    },
    /// The key that was named does not exist.
    #[error("cannot read the key `{key}`: it does not exist")]
    NoKey {
        /// The key.
        key: Utf8PathBuf,
    },
    /// A file that was named is not what its option expects.
    #[error("`{path}` is not {expected}")]
    Named {
        /// The file.
        path: Utf8PathBuf,
        /// What the option expects.
        expected: &'static str,
    },
    /// The manifest cannot be signed.
    #[error("the manifest cannot be signed with `{key}`")]
    Sign {
        /// The key.
        key: Utf8PathBuf,
        /// Why not.
        source: programs::Error,
    },
    /// The signature that was made is not accepted.
    #[error("the signature by `{key}` cannot be verified")]
    Signature {
        /// The key.
        key: Utf8PathBuf,
        /// Why not.
        source: medium::SignatureError,
    },
    /// The program cannot be built for old systems.
    #[error("the portable program cannot be built")]
    Portable {
        /// Why not.
        source: programs::Error,
    },
    /// The sources of the dependencies cannot be collected.
    #[error("the sources of the dependencies cannot be collected")]
    Vendor {
        /// Why not.
        source: programs::Error,
    },
    /// The site has nothing to return.
    #[error("nothing to return: no receipt, log or commit is new, and no registry was read")]
    NothingToReturn,
    /// Something that would be on the medium has a secret.
    #[error("a secret would be in {part} on the medium; nothing was written")]
    Secret {
        /// What has it.
        part: String,
    },
    /// The folder has files of the workspace.
    #[error("`{folder}` belongs to the workspace, and a medium is a folder of its own")]
    Folder {
        /// The folder.
        folder: Utf8PathBuf,
    },
    /// The medium has too little space.
    #[error("{} are free in `{folder}`, but {} must still be written", bytesize::ByteSize(*free).display().si(), bytesize::ByteSize(*needed).display().si())]
    NoRoom {
        /// The folder.
        folder: Utf8PathBuf,
        /// How many bytes are free.
        free: u64,
        /// How many are needed.
        needed: u64,
    },
    /// The medium cannot be written.
    #[error("cannot write the medium")]
    Medium {
        /// Why not.
        source: medium::Error,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Git { .. }
            | Self::Subfolder { .. }
            | Self::Uncommitted { .. }
            | Self::NoCommit
            | Self::Cut
            | Self::NothingToReturn
            | Self::Have { .. }
            | Self::NoKey { .. }
            | Self::OtherEnvironment { .. } => Kind::Workspace,
            Self::UnknownPiece { .. } | Self::Folder { .. } | Self::Named { .. } => Kind::Usage,
            Self::Secret { .. } | Self::InUse { .. } => Kind::NotAllowed,
            Self::Medium { source } => kind_of(source),
            Self::Sign { .. }
            | Self::Signature { .. }
            | Self::Portable { .. }
            | Self::Vendor { .. }
            | Self::NoRoom { .. } => Kind::Machine,
        }
    }
}
