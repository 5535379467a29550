//! The two documents of the layout: `oci-layout`, and `index.json` with the artifacts by name.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};

use camino::Utf8Path;
use oci_spec::image::{Digest, MediaType};
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::error::io_error;
use crate::digest;
use crate::document::OCI_INDEX;
use crate::lock::Artifact;

const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// An artifact in the store's `index.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Name, `<repository>:<tag>`.
    pub reference: String,
    /// Digest of the root manifest.
    pub digest: Digest,
    /// Media type of the root manifest.
    pub media_type: MediaType,
    /// Size of the root manifest in bytes.
    pub size: u64,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u8,
    media_type: String,
    manifests: Vec<Entry>,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    media_type: MediaType,
    #[serde(deserialize_with = "digest::deserialize")]
    digest: Digest,
    size: u64,
    annotations: Annotations,
}

/// The annotation that names a manifest in a layout (OCI image specification, annotations).
#[derive(Clone, Deserialize, Serialize)]
struct Annotations {
    #[serde(rename = "org.opencontainers.image.ref.name")]
    name: String,
}

impl Entry {
    fn listed(&self) -> Listed {
        Listed {
            reference: self.annotations.name.clone(),
            digest: self.digest.clone(),
            media_type: self.media_type.clone(),
            size: self.size,
        }
    }
}

/// Files and folders of a store. A process that was killed during the first write, or a power
/// failure, leaves some of them without a valid `oci-layout`.
const OURS: [&str; 6] = [
    "blobs",
    "incoming",
    "index.json",
    "index.lock",
    "oci-layout",
    "partial",
];

/// Checks that `directory` is a store, or is empty or missing. A store whose `oci-layout` is
/// missing or damaged is accepted: the next write restores the file.
pub(super) fn check_layout(directory: &Utf8Path) -> Result<(), StoreError> {
    let not_a_store = || StoreError::NotAStore {
        path: directory.to_owned(),
    };
    let is_valid = || match layout_version(directory)?.as_deref() {
        Some("1.0.0") => Ok(true),
        Some(_) => Err(not_a_store()),
        None => Ok(false),
    };
    if is_valid()? {
        return Ok(());
    }
    match fs::read_dir(directory) {
        Ok(files) => {
            let foreign = files
                .flatten()
                .any(|file| !OURS.iter().any(|name| file.file_name() == *name));
            // Another process may have created the store since the first check.
            match foreign && !is_valid()? {
                true => Err(not_a_store()),
                false => Ok(()),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(io_error("read", directory, source)),
    }
}

/// Returns the version in `oci-layout`. `None` if the file is missing or damaged.
fn layout_version(directory: &Utf8Path) -> Result<Option<String>, StoreError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Layout {
        image_layout_version: String,
    }
    let path = directory.join("oci-layout");
    match files::read(&path) {
        Ok(text) => {
            let layout = serde_json::from_slice(&text).ok();
            Ok(layout.map(|layout: Layout| layout.image_layout_version))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io_error("read", &path, source)),
    }
}

/// Writes `oci-layout` if it is missing or damaged.
pub(super) fn write_layout(directory: &Utf8Path) -> Result<(), StoreError> {
    match layout_version(directory)? {
        Some(_) => Ok(()),
        None => replace(directory, &directory.join("oci-layout"), LAYOUT.as_bytes()),
    }
}

/// Returns the entries, sorted by name. A store whose `index.json` is missing or damaged has none:
/// artifacts are listed again when their lock is used.
pub(super) fn read(directory: &Utf8Path) -> Result<Vec<Listed>, StoreError> {
    let entries = read_entries(directory)?;
    Ok(entries.iter().map(Entry::listed).collect())
}

/// Adds `artifacts`, replacing entries of the same name.
pub(super) fn add(directory: &Utf8Path, artifacts: &[&Artifact]) -> Result<(), StoreError> {
    change(directory, &|entries| {
        let added = artifacts.iter().map(|artifact| {
            let name = artifact.reference();
            let entry = Entry {
                media_type: artifact.media_type.clone(),
                digest: artifact.digest.clone(),
                size: artifact.size,
                annotations: Annotations { name: name.clone() },
            };
            (name, entry)
        });
        let before = std::mem::take(entries).into_iter();
        let before = before.map(|entry| (entry.annotations.name.clone(), entry));
        let by_name: BTreeMap<String, Entry> = before.chain(added).collect();
        entries.extend(by_name.into_values());
    })
}

/// Keeps the entries that `keep` accepts.
pub(super) fn retain(
    directory: &Utf8Path,
    keep: &dyn Fn(&Listed) -> bool,
) -> Result<(), StoreError> {
    change(directory, &|entries| {
        entries.retain(|entry| keep(&entry.listed()));
    })
}

/// Changes the entries under a lock.
fn change(directory: &Utf8Path, change: &dyn Fn(&mut Vec<Entry>)) -> Result<(), StoreError> {
    // `index.json` itself is replaced, so the lock is on a different file.
    let lock_path = directory.join("index.lock");
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(|source| io_error("create", &lock_path, source))?;
    lock.lock()
        .map_err(|source| io_error("lock", &lock_path, source))?;
    let mut entries = read_entries(directory)?;
    change(&mut entries);
    let index = Index {
        schema_version: 2,
        media_type: OCI_INDEX.to_owned(),
        manifests: entries,
    };
    let text = serde_json::to_vec_pretty(&index).expect("an index holds nothing JSON cannot say");
    replace(directory, &directory.join("index.json"), &text)
}

fn read_entries(directory: &Utf8Path) -> Result<Vec<Entry>, StoreError> {
    let path = directory.join("index.json");
    match files::read(&path) {
        Ok(text) => {
            let index = serde_json::from_slice::<Index>(&text);
            Ok(index.map_or_else(|_| Vec::new(), |index| index.manifests))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(io_error("read", &path, source)),
    }
}

/// Replaces a file atomically.
fn replace(directory: &Utf8Path, path: &Utf8Path, text: &[u8]) -> Result<(), StoreError> {
    let write = || -> io::Result<()> {
        let mut file = files::temporary_in(&directory.join("incoming"))?;
        file.write_all(text)?;
        files::persist(file, path, files::Access::All)
    };
    write().map_err(|source| io_error("write", path, source))
}
