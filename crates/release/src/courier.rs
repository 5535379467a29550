//! Carries workspaces and releases across the air gap on media.

pub mod pack;
pub mod unpack;

use std::fs::{File, TryLockError};

use camino::{Utf8Path, Utf8PathBuf};

use crate::{Kind, Workspace, disk};

pub use programs::Absent as GitError;

pub use medium::{Error as MediumError, Fault, SignatureError};

/// Path of the list of keys that may sign media, below the workspace. Its format is that of
/// `ssh-keygen -Y verify`.
pub const SIGNERS: &str = "environments/allowed_signers";

/// Name of the locked file in a folder of temporary files.
const LOCK: &str = "lock";

/// Locks a folder of temporary files, which is created if it does not exist. The lock ends when the
/// file is dropped.
///
/// # Errors
/// The error that `in_use` makes if a different process has the lock, or the folder cannot be
/// created.
fn lock_folder(
    workspace: &Workspace,
    folder: &Utf8Path,
    in_use: impl FnOnce(Utf8PathBuf) -> crate::Error,
) -> Result<File, crate::Error> {
    let shown = workspace.shown(folder).to_owned();
    let make = |source| crate::Error::io("make", &shown, source);
    crate::links::refuse_one(workspace, folder)?;
    std::fs::create_dir_all(folder).map_err(make)?;
    let lock = folder.join(LOCK);
    crate::links::refuse_one(workspace, &lock)?;
    let lock = File::create(lock).map_err(make)?;
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => Err(in_use(shown)),
        _ => Ok(lock),
    }
}

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
