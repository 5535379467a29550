//! Carries workspaces and releases across the air gap on media.

pub mod pack;
pub mod unpack;

use crate::{Kind, Workspace, disk};

pub use programs::Absent as GitError;

pub use medium::{Error as MediumError, Fault, SignatureError};

/// Path of the list of keys that may sign media, below the workspace. Its format is that of
/// `ssh-keygen -Y verify`.
pub const SIGNERS: &str = "environments/allowed_signers";

/// Returns an error with its path relative to the workspace.
fn shown(workspace: &Workspace, mut error: crate::Error) -> crate::Error {
    let path = match &mut error {
        crate::Error::Disk(disk::Error::Read { path, .. } | disk::Error::Io { path, .. }) => path,
        crate::Error::Disk(disk::Error::Full(full)) => &mut full.path,
        crate::Error::Pack(pack::Error::Medium { source })
        | crate::Error::Unpack(unpack::Error::Medium(source)) => match source {
            MediumError::Io { path, .. } | MediumError::Changed { path, .. } => path,
            _ => return error,
        },
        _ => return error,
    };
    if path != workspace.root() {
        *path = workspace.shown(path).to_owned();
    }
    error
}

/// Returns the kind of an error of a medium.
fn kind_of(error: &medium::Error) -> Kind {
    use medium::Error::{
        Changed, Contradiction, File, Foreign, Format, Io, Manifest, NoFolder, NoManifest,
        NoMedium, NotFound, Occupied, OtherPack, Piece, Signature, SmallVolume, Stopped, Stream,
    };
    match error {
        Io { .. } | Stream { .. } | Occupied { .. } | Foreign { .. } => Kind::Machine,
        NoMedium | Manifest { .. } | Format { .. } | Contradiction { .. } => Kind::Content,
        NoManifest { .. } | Changed { .. } | Piece { .. } => Kind::Content,
        NoFolder { .. } => Kind::Workspace,
        NotFound { .. } | File { .. } | OtherPack { .. } | SmallVolume { .. } => Kind::Usage,
        Signature(_) => Kind::NotAllowed,
        Stopped => Kind::Interrupted,
    }
}
