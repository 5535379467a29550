//! Carries a workspace and releases across the air gap on a medium.

pub mod pack;
pub mod unpack;

use crate::{Kind, Workspace, disk};

pub use programs::Absent as GitError;

pub use medium::{Error as MediumError, Fault, SignatureError};

/// Where the keys are listed that may sign media, as `ssh-keygen -Y verify` reads them, below the
/// workspace.
pub const SIGNERS: &str = "environments/allowed_signers";

/// Returns an error whose path is relative to the workspace, as messages name files of it.
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

/// Returns the kind of a failure to read or write a medium.
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
