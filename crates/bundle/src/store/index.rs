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

/// Checks that `directory` is a store, or is empty or missing.
pub(super) fn check_layout(directory: &Utf8Path) -> Result<(), StoreError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Layout {
        image_layout_version: String,
    }
    let not_a_store = || StoreError::NotAStore {
        path: directory.to_owned(),
    };
    let path = directory.join("oci-layout");
    match files::read(&path) {
        Ok(text) => {
            let layout: Layout = serde_json::from_slice(&text)
                .map_err(|source| StoreError::Json { path, source })?;
            match layout.image_layout_version.as_str() {
                "1.0.0" => Ok(()),
                _ => Err(not_a_store()),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::read_dir(directory) {
            // A process that was killed during the first write leaves these folders.
            Ok(files) => {
                let ours = ["blobs", "incoming"];
                let foreign = files
                    .flatten()
                    .any(|file| !ours.iter().any(|name| file.file_name() == *name));
                // Another process may have created the store since the first check.
                match foreign {
                    true if path.exists() => check_layout(directory),
                    true => Err(not_a_store()),
                    false => Ok(()),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(io_error("read", directory, source)),
        },
        Err(source) => Err(io_error("read", &path, source)),
    }
}

/// Writes `oci-layout` if it is missing.
pub(super) fn write_layout(directory: &Utf8Path) -> Result<(), StoreError> {
    let path = directory.join("oci-layout");
    if path.exists() {
        return Ok(());
    }
    replace(directory, &path, LAYOUT.as_bytes())
}

/// Returns the entries, sorted by name. A store without `index.json` has none.
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
        Ok(text) => serde_json::from_slice::<Index>(&text)
            .map(|index| index.manifests)
            .map_err(|source| StoreError::Json { path, source }),
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
