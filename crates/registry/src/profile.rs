//! The measurements of a registry, kept for the next push.
//!
//! A push that finds the profile outdated uses the defaults and deletes it. An old profile is
//! ignored.

use std::fs;
use std::io;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

/// The version of the files' format.
const VERSION: u32 = 1;

/// How long a profile holds, in seconds: 30 days. Registries are updated, and so are proxies before
/// them.
const HOLDS: i64 = 30 * 24 * 60 * 60;

/// What a registry was seen to do. What was not seen is `None`, and is found out by each push.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Profile {
    /// Which product it may be, by its headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// The most that one request was seen to carry, in bytes, where twice as much was refused.
    /// `None` if nothing was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub largest_request: Option<u64>,
    /// Whether a blob may come in several requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunks: Option<bool>,
    /// Whether a blob is taken over from another repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mounts: Option<bool>,
    /// Whether manifests can be removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletes: Option<bool>,
}

/// Profiles in a folder, a small file a registry.
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
    /// In seconds since 1970.
    measured: i64,
    profile: Profile,
}

impl ProfileFolder {
    /// Keeps the profile of the registry at `address` in `folder`, which is made when it is needed.
    /// Registries may share a folder.
    pub fn new(folder: impl Into<Utf8PathBuf>, address: &str) -> Self {
        Self {
            folder: folder.into(),
            address: address.to_owned(),
        }
    }

    /// Returns what was kept, and when it was measured, in seconds since 1970. What cannot be read,
    /// is of a different registry, is old or of the future, is nothing.
    pub fn load(&self, now: i64) -> Option<(Profile, i64)> {
        let text = files::read_text(self.path()).ok()?;
        let entry: Entry = serde_json::from_str(&text).ok()?;
        let holds = entry.version == VERSION
            && entry.registry == self.address
            && (0..HOLDS).contains(&now.checked_sub(entry.measured)?);
        holds.then_some((entry.profile, entry.measured))
    }

    /// Keeps a profile in place of any other one. `now` is in seconds since 1970.
    ///
    /// # Errors
    ///
    /// The file cannot be written. Nothing depends on it.
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

    /// Forgets the profile, which a push has found wrong.
    pub fn forget(&self) {
        // One that is gone already is forgotten.
        let _ = fs::remove_file(self.path());
    }

    fn path(&self) -> Utf8PathBuf {
        // An address is a host and a port: of what it may be written with, the colons and brackets
        // are no good in names of files.
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
        assert_eq!(kept.load(1000 + HOLDS - 1), Some((profile, 1000)));
        assert_eq!(kept.load(1000 + HOLDS), None);
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
