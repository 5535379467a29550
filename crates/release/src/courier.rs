//! Carries a workspace and releases across the air gap on a medium.

pub mod pack;
pub mod unpack;

use crate::Kind;

pub use programs::Absent as GitError;

pub use medium::{Error as MediumError, Fault, SignatureError};

/// Where the keys are listed that may sign media, as `ssh-keygen -Y verify` reads them, below the workspace.
pub const SIGNERS: &str = "environments/allowed_signers";

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
        NotFound { .. } | NoFolder { .. } | File { .. } | OtherPack { .. } | SmallVolume { .. } => {
            Kind::Usage
        }
        Signature(_) => Kind::NotAllowed,
        Stopped => Kind::Interrupted,
    }
}
