//! The committed lock of a release.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

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
    pub lock: Arc<bundle::Lock>,
}

/// The locks that were parsed in this run, by path and SHA-256. Many environments have one release, and parsing its lock takes longer
/// than all else that is read for an environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parsed(Arc<Mutex<ByFile>>);

type ByFile = HashMap<(Utf8PathBuf, String), Arc<bundle::Lock>>;

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
    let digest = sha256(text.as_bytes());
    // Held while a lock is parsed, so it is parsed once.
    let mut parsed = (workspace.parsed.0.lock()).unwrap_or_else(PoisonError::into_inner);
    let key = (path.clone(), digest.clone());
    let lock = match parsed.get(&key) {
        Some(lock) => Arc::clone(lock),
        None => {
            let lock = Arc::new(bundle::Lock::parse(&text, workspace.shown(&path))?);
            parsed.insert(key, Arc::clone(&lock));
            lock
        }
    };
    Ok(Locked { path, digest, lock })
}
