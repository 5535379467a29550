//! The committed lock of a release.

use camino::Utf8PathBuf;
use semver::Version;

use crate::{Workspace, sha256, workspace};

/// A committed lock and its path.
#[derive(Debug)]
pub struct Locked {
    /// Its file.
    pub path: Utf8PathBuf,
    /// SHA-256 of the file.
    pub digest: String,
    /// What it says.
    pub lock: bundle::Lock,
}

/// Reads the lock of a release.
///
/// # Errors
/// The release is not locked, or the lock cannot be read.
pub fn read(workspace: &Workspace, release: &Version) -> Result<Locked, crate::Error> {
    let release = format!("v{release}");
    let path = workspace.lock(&release, crate::workspace::DEFAULT_ARCH);
    let text =
        crate::workspace::read_if_there(&path)?.ok_or_else(|| workspace::Error::NotLocked {
            path: workspace.shown(&path).to_owned(),
            release,
        })?;
    let lock = bundle::Lock::parse(&text, workspace.shown(&path))?;
    Ok(Locked {
        digest: sha256(text.as_bytes()),
        lock,
        path,
    })
}
