//! Stores the measured capabilities of a registry for the next push.
//!
//! A push that finds the profile outdated uses the defaults and deletes it. An old profile is
//! ignored.

use std::fs;
use std::io;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

/// Version of the file format.
const VERSION: u32 = 1;

/// Maximum age of a profile in seconds: 30 days. Registries and the proxies before them are
/// updated.
const MAX_AGE: i64 = 30 * 24 * 60 * 60;

/// Measured capabilities of a registry. Each push finds out those that are `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Profile {
    /// The product, guessed from response headers: `Harbor`. `None` if they do not name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// Largest request body in bytes that was accepted, when twice as much was refused. `None` if
    /// nothing was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub largest_request: Option<u64>,
    /// Whether a blob may be sent in several requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunks: Option<bool>,
    /// Whether a blob can be mounted from a different repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mounts: Option<bool>,
    /// Whether manifests can be removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletes: Option<bool>,
}

/// Profiles in a folder, one small JSON file per registry.
#[derive(Debug, Clone)]
pub struct ProfileFolder {
    folder: Utf8PathBuf,
    address: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Entry {
    version: u32,
    registry: String,
    /// Unix time in seconds.
    measured: i64,
    profile: Profile,
}

impl ProfileFolder {
    /// Returns the store of the profile of the registry at `address` in `folder`. The folder is
    /// created when needed, and several registries may share it.
    pub fn new(folder: impl Into<Utf8PathBuf>, address: &str) -> Self {
        Self {
            folder: folder.into(),
            address: address.to_owned(),
        }
    }

    /// Returns the stored profile and the Unix time of its measurement. `None` without a valid
    /// profile of this registry, or if it is too old at `now`.
    pub fn load(&self, now: i64) -> Option<(Profile, i64)> {
        let text = files::read_text(self.path()).ok()?;
        let entry: Entry = serde_json::from_str(&text).ok()?;
        let is_valid = entry.version == VERSION
            && entry.registry == self.address
            && (0..MAX_AGE).contains(&now.checked_sub(entry.measured)?);
        is_valid.then_some((entry.profile, entry.measured))
    }

    /// Stores a profile, measured at Unix time `now`, in place of an older one.
    ///
    /// # Errors
    ///
    /// The file cannot be written. The next push then works without a profile.
    pub fn store(&self, profile: &Profile, now: i64) -> io::Result<()> {
        let entry = Entry {
            version: VERSION,
            registry: self.address.clone(),
            measured: now,
            profile: profile.clone(),
        };
        fs::create_dir_all(&self.folder)?;
        let text = serde_json::to_string_pretty(&entry)? + "\n";
        files::write(&self.path(), text, files::Access::All)
    }

    /// Deletes the profile, because a push found it outdated.
    pub fn forget(&self) {
        // A missing file is fine; nothing else depends on the deletion.
        let _ = fs::remove_file(self.path());
    }

    fn path(&self) -> Utf8PathBuf {
        // Colons and brackets of an address (`[fd00::1]:5000`) are not portable in file names.
        let name = self.address.replace([':', '[', ']'], "_");
        self.folder.join(format!("{name}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_holds_for_its_registry_and_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().join("registries")).unwrap();
        let kept = ProfileFolder::new(&path, "registry.example.com:5000");
        let profile = Profile {
            product: Some("Harbor".to_owned()),
            largest_request: Some(1 << 20),
            mounts: Some(false),
            ..Profile::default()
        };
        assert_eq!(kept.load(1000), None);
        kept.store(&profile, 1000).unwrap();
        assert_eq!(kept.load(1000), Some((profile.clone(), 1000)));
        assert_eq!(kept.load(1000 + MAX_AGE - 1), Some((profile, 1000)));
        assert_eq!(kept.load(1000 + MAX_AGE), None);
        assert_eq!(kept.load(999), None);
        // The same file by name.
        assert_eq!(
            ProfileFolder::new(&path, "registry.example.com_5000").load(1000),
            None
        );
        std::fs::write(kept.path(), "{").unwrap();
        assert_eq!(kept.load(1000), None);
        kept.forget();
        kept.forget();
        assert!(!kept.path().exists());
    }
}
