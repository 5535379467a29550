//! Carries a workspace and releases across the air gap on a medium.

pub mod pack;
pub mod unpack;

pub use medium::{Error as MediumError, Fault, SignatureError};

/// Where the keys are listed that may sign media, as `ssh-keygen -Y verify` reads them, below the workspace.
pub const SIGNERS: &str = "environments/allowed_signers";
