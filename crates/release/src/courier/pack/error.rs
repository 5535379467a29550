//! Errors of packing a medium.

use camino::Utf8PathBuf;

use crate::Kind;
use crate::courier::kind_of;

/// A medium cannot be packed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Git has no answer, or the workspace is not a repository.
    #[error("the history of the workspace cannot be packed")]
    Git {
        /// Error of git.
        source: programs::Absent,
    },
    /// The workspace is not the root of its repository.
    #[error(
        "the workspace `{workspace}` is not the root of its repository, which is `{repository}`"
    )]
    Subfolder {
        /// Path of the workspace.
        workspace: Utf8PathBuf,
        /// Root of the repository.
        repository: Utf8PathBuf,
    },
    /// Files that the other side needs are not committed.
    #[error("a medium carries committed files only, and {} not committed: {}", environment::count_with_verb(files.len(), "file"), files.join(", "))]
    Uncommitted {
        /// Paths relative to the repository's root.
        files: Vec<String>,
    },
    /// The repository has no commit.
    #[error("the repository of the workspace has no commit")]
    NoCommit,
    /// A different process packs a medium.
    #[error("a different command uses `{folder}`")]
    InUse {
        /// Folder of the temporary files.
        folder: Utf8PathBuf,
    },
    /// The repository is a shallow clone.
    #[error(
        "the repository of the workspace is a shallow clone, which the other side cannot clone"
    )]
    ShallowClone,
    /// A file for `--have` is neither a registry snapshot nor a manifest.
    #[error("`{path}` is not a registry snapshot and not the manifest of a medium")]
    Have {
        /// Path of the file.
        path: Utf8PathBuf,
        /// Error of parsing it as a manifest.
        source: medium::Error,
    },
    /// A file for `--have` describes only environments that are not packed.
    #[error("`{path}` is of {}, which {} not packed", of.join(", "), if of.len() == 1 { "is" } else { "are" })]
    OtherEnvironment {
        /// Path of the file.
        path: Utf8PathBuf,
        /// Environments in the file.
        of: Vec<String>,
    },
    /// A piece for `--only` is not in this pack.
    #[error("this pack has no piece `{piece}`")]
    UnknownPiece {
        /// Beginning of the piece's name.
        piece: String,
    },
    /// The named key does not exist.
    #[error("cannot read the key `{key}`: it does not exist")]
    NoKey {
        /// Path of the key.
        key: Utf8PathBuf,
    },
    /// A named file is not valid for its option.
    #[error("`{path}` is not {expected}")]
    Named {
        /// Path of the file.
        path: Utf8PathBuf,
        /// What the option expects, with an article.
        expected: &'static str,
    },
    /// The manifest cannot be signed.
    #[error("the manifest cannot be signed with `{key}`")]
    Sign {
        /// Path of the key.
        key: Utf8PathBuf,
        /// Error of `ssh-keygen`.
        source: programs::Error,
    },
    /// The new signature is not valid, or the list of keys is not valid.
    #[error("the signature by `{key}` cannot be verified")]
    Signature {
        /// Path of the key.
        key: Utf8PathBuf,
        /// Error of the verification.
        source: medium::SignatureError,
    },
    /// The program cannot be built for old systems.
    #[error("the portable program cannot be built")]
    Portable {
        /// Error of the build.
        source: programs::Error,
    },
    /// The sources of the dependencies cannot be collected.
    #[error("the sources of the dependencies cannot be collected")]
    Vendor {
        /// Error of `cargo vendor`.
        source: programs::Error,
    },
    /// The site has nothing to return.
    #[error("nothing to return: no receipt, log or commit is new, and no registry was read")]
    NothingToReturn,
    /// A content of the medium has a secret.
    #[error("{} would be in {part} on the medium; nothing was written", variable.as_ref().map_or_else(|| "a secret".to_owned(), |name| format!("a secret, the value of {name},")))]
    Secret {
        /// Name of the content. Of a commit, also file and line.
        part: String,
        /// Name of the variable whose value is the secret; `None` if the secret is in no variable.
        variable: Option<String>,
    },
    /// The output folder belongs to the workspace.
    #[error("`{folder}` belongs to the workspace, and a medium is a folder of its own")]
    Folder {
        /// Path of the folder.
        folder: Utf8PathBuf,
    },
    /// The output folder has too little space.
    #[error("{} are free in `{folder}`, but {} must still be written", bytesize::ByteSize(*free).display().si(), bytesize::ByteSize(*needed).display().si())]
    NoRoom {
        /// Path of the folder.
        folder: Utf8PathBuf,
        /// Free bytes.
        free: u64,
        /// Required bytes.
        needed: u64,
    },
    /// The medium cannot be written.
    #[error("cannot write the medium")]
    Medium {
        /// Error of the medium.
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
            | Self::ShallowClone
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
