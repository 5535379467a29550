//! Stores upload sessions for a later run to resume.
//!
//! A stored session is only a hint: the registry reports its position, and the digest covers the
//! whole blob. If it cannot be read or written, the upload starts over; this is not an error.

use std::fmt::Debug;
use std::fs;
use std::io;

use camino::Utf8PathBuf;
use oci_spec::image::Digest;
use serde::{Deserialize, Serialize};
use url::Url;

/// Stores upload sessions of large blobs.
pub trait SessionStore: Debug + Send + Sync {
    /// Returns the URL of the session that was last stored for a blob of a repository.
    fn load(&self, repository: &str, digest: &Digest) -> Option<String>;

    /// Stores the URL of a session, in place of an older one for the same blob and repository. It
    /// must be on disk when this returns.
    ///
    /// Called after each request with the newest URL: distribution encodes the position in it, and
    /// drops a session that is requested by an older URL.
    fn store(&self, repository: &str, digest: &Digest, url: &str);

    /// Removes the session of a blob of a repository.
    fn remove(&self, repository: &str, digest: &Digest);
}

/// The stored session of one blob of a repository. Does nothing without a session store.
#[derive(Clone, Copy)]
pub(crate) struct StoredSession<'a> {
    pub(crate) sessions: Option<&'a dyn SessionStore>,
    pub(crate) repository: &'a str,
    pub(crate) digest: &'a Digest,
}

impl StoredSession<'_> {
    pub(crate) fn load(self) -> Option<String> {
        self.sessions?.load(self.repository, self.digest)
    }

    pub(crate) fn store(self, session: &Url) {
        if let Some(sessions) = self.sessions {
            sessions.store(self.repository, self.digest, session.as_str());
        }
    }

    pub(crate) fn forget(self) {
        if let Some(sessions) = self.sessions {
            sessions.remove(self.repository, self.digest);
        }
    }
}

/// Sessions in a folder, one small file each. A URL may contain a token that allows writes, so only
/// the owner can read the files.
#[derive(Debug)]
pub struct SessionFolder {
    folder: Utf8PathBuf,
    address: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Entry {
    version: u32,
    registry: String,
    repository: String,
    digest: String,
    session: String,
}

/// Version of the file format.
const VERSION: u32 = 1;

impl SessionFolder {
    /// Returns the store of the sessions of the registry at `address` in `folder`. The folder is
    /// created when needed, and several registries may share it.
    pub fn new(folder: impl Into<Utf8PathBuf>, address: &str) -> Self {
        Self {
            folder: folder.into(),
            address: address.to_owned(),
        }
    }

    fn path(&self, repository: &str, digest: &Digest) -> Utf8PathBuf {
        let key = format!("{}/{repository}@{digest}", self.address);
        let name = crate::digest::sha256(key.as_bytes()).replace("sha256:", "");
        self.folder.join(format!("{name}.json"))
    }

    fn write(&self, repository: &str, digest: &Digest, url: &str) -> io::Result<()> {
        let entry = Entry {
            version: VERSION,
            registry: self.address.clone(),
            repository: repository.to_owned(),
            digest: digest.to_string(),
            session: url.to_owned(),
        };
        fs::create_dir_all(&self.folder)?;
        let path = self.path(repository, digest);
        files::write(&path, serde_json::to_string(&entry)?, files::Access::Owner)?;
        files::sync_folder(&self.folder)
    }
}

impl SessionStore for SessionFolder {
    fn load(&self, repository: &str, digest: &Digest) -> Option<String> {
        let text = files::read_text(self.path(repository, digest)).ok()?;
        let entry: Entry = serde_json::from_str(&text).ok()?;
        let same = entry.version == VERSION
            && entry.registry == self.address
            && entry.repository == repository
            && entry.digest == digest.as_ref();
        same.then_some(entry.session)
    }

    fn store(&self, repository: &str, digest: &Digest, url: &str) {
        let _ = self.write(repository, digest, url);
    }

    fn remove(&self, repository: &str, digest: &Digest) {
        let _ = fs::remove_file(self.path(repository, digest));
    }
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;
    use crate::digest::sha256;

    #[test]
    fn sessions_are_stored_by_registry_repository_and_digest() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("sessions");
        let digest: Digest = sha256(b"layer").parse().unwrap();
        let here = SessionFolder::new(&path, "registry.example.com");
        let there = SessionFolder::new(&path, "other.example.com");
        assert_eq!(here.load("mke/a", &digest), None);
        here.store("mke/a", &digest, "https://registry.example.com/1");
        here.store("mke/a", &digest, "https://registry.example.com/2");
        let found = SessionFolder::new(&path, "registry.example.com").load("mke/a", &digest);
        assert_eq!(found.as_deref(), Some("https://registry.example.com/2"));
        assert_eq!(here.load("mke/b", &digest), None);
        assert_eq!(there.load("mke/a", &digest), None);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
        here.remove("mke/a", &digest);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_or_unwritable_folder_is_not_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let digest: Digest = sha256(b"layer").parse().unwrap();
        let nowhere = SessionFolder::new(Utf8Path::from_path(file.path()).unwrap(), "a");
        nowhere.store("mke/a", &digest, "https://a/1");
        assert_eq!(nowhere.load("mke/a", &digest), None);
        nowhere.remove("mke/a", &digest);

        let folder = tempfile::tempdir().unwrap();
        let sessions = SessionFolder::new(Utf8Path::from_path(folder.path()).unwrap(), "a");
        fs::write(sessions.path("mke/a", &digest), "{").unwrap();
        assert_eq!(sessions.load("mke/a", &digest), None);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_reads_a_session() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let sessions = SessionFolder::new(Utf8Path::from_path(folder.path()).unwrap(), "a");
        let digest: Digest = sha256(b"layer").parse().unwrap();
        sessions.store("mke/a", &digest, "https://a/1");
        let kept = fs::metadata(sessions.path("mke/a", &digest)).unwrap();
        assert_eq!(kept.permissions().mode() & 0o777, 0o600);
    }
}
