//! Lists the contents of a bundle or a set, from its lock or from the file itself.

use camino::Utf8Path;
use serde::Serialize;
use std::collections::BTreeMap;

use crate::event::{Event, Step};
use crate::observe::BundleObserver;
use crate::{Context, Error};

/// The contents of a bundle or a set.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Inspection {
    /// Name of the set; `None` for a bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// Registry that the release was locked from, if not from its bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// File name of the bundle; `None` for a set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,
    /// Size of the bundle in bytes; `None` for a set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// SHA-256 of the bundle, 64 hexadecimal digits; `None` for a set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The bundles of a set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bundles: Vec<bundle::SetBundle>,
    /// Contradictions to the lock's release that `lock --force-release` accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forced_release: Vec<String>,
    /// The artifacts, sorted by name.
    pub artifacts: Vec<Row>,
    /// Bytes of all artifacts, each blob counted once.
    pub unique_bytes: u64,
    /// Bytes of all artifacts, shared blobs counted for each: what the vendor's procedure
    /// transfers.
    pub total_bytes: u64,
}

/// One artifact.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Row {
    /// `repository:tag`.
    pub name: String,
    /// `image`, `chart` or `artifact`.
    pub kind: String,
    /// Platforms of an image, such as `linux/amd64`.
    pub platforms: Vec<String>,
    /// Bytes of the artifact, each blob counted once.
    pub bytes: u64,
    /// Bytes of its blobs that other artifacts have, too.
    pub shared_bytes: u64,
    /// Number of layers that are in neither the bundle nor a registry.
    pub external_layers: usize,
    /// Digest of the index or of the only manifest, `sha256:<hex>`.
    pub digest: String,
    /// Archive in the bundle of the release or set; empty if the artifact has a different source.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub archive: String,
    /// Upstream reference, or the URL of a set's bundle; `None` for an artifact of the release's
    /// bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// Returns the contents of a lock.
pub fn of_lock(lock: &bundle::Lock) -> Inspection {
    let mut holders: BTreeMap<&str, (u64, usize)> = BTreeMap::new();
    for artifact in &lock.artifacts {
        for (digest, size) in blobs(artifact) {
            holders.entry(digest).or_insert((size, 0)).1 += 1;
        }
    }
    let artifacts: Vec<Row> = lock
        .artifacts
        .iter()
        .map(|artifact| {
            let blobs = blobs(artifact);
            let mut platforms: Vec<String> = artifact
                .manifests
                .iter()
                .filter_map(|manifest| manifest.platform.clone())
                .collect();
            platforms.sort();
            platforms.dedup();
            Row {
                name: artifact.reference(),
                kind: artifact.kind.to_string(),
                platforms,
                bytes: blobs.values().sum(),
                shared_bytes: blobs
                    .iter()
                    .filter(|(digest, _)| holders.get(*digest).is_some_and(|(_, count)| *count > 1))
                    .map(|(_, size)| size)
                    .sum(),
                external_layers: artifact.external().len(),
                digest: artifact.digest.to_string(),
                archive: artifact.archive.clone(),
                source: (artifact.source.as_ref()).map(|source| source.reference.clone()),
            }
        })
        .collect();
    let has_bundle = lock.set.is_none() && lock.from.is_none();
    let bundle = has_bundle.then_some(&lock.bundle);
    Inspection {
        set: lock.set.clone(),
        from: lock.from.clone(),
        bundle: bundle.map(|bundle| bundle.file.clone()),
        size: bundle.map(|bundle| bundle.size),
        sha256: bundle.map(|bundle| bundle.sha256.clone()),
        bundles: lock.bundles.clone(),
        forced_release: lock.forced_release.clone(),
        unique_bytes: holders.values().map(|(size, _)| size).sum(),
        total_bytes: artifacts.iter().map(|row| row.bytes).sum(),
        artifacts,
    }
}

/// Reads a bundle's file and returns its contents. Nothing is written.
///
/// # Errors
/// The file cannot be read, or is not a bundle.
pub async fn of_file(context: &Context<'_>, path: &Utf8Path) -> Result<Inspection, Error> {
    let file = files::open(path).map_err(|source| Error::read(path, source))?;
    context.reporter.report(Event::Started {
        step: Step::Verify,
        what: path.to_string(),
        bytes: file.metadata().ok().map(|metadata| metadata.len()),
    });
    let observer = BundleObserver::new(context, Step::Verify);
    let mut sink = bundle::Inspection;
    let contents = tokio::task::block_in_place(|| bundle::read(file, &mut sink, None, &observer))
        .map_err(|source| Error::bundle(context.workspace, path, source))?;
    crate::transfer::read::warn_of_unused(context, &contents);
    let name = path.file_name().unwrap_or(path.as_str());
    // The release is not part of the result.
    let unknown = semver::Version::new(0, 0, 0);
    let lock = bundle::Lock::from_contents(&unknown, "", name, "", Vec::new(), contents);
    context.reporter.report(Event::Finished {
        step: Step::Verify,
        what: format!(
            "{}, all blobs match their digests",
            environment::count(lock.artifacts.len(), "artifact")
        ),
    });
    Ok(of_lock(&lock))
}

fn blobs(artifact: &bundle::Artifact) -> BTreeMap<&str, u64> {
    artifact
        .blobs()
        .map(|(digest, size)| (digest.as_ref(), size))
        .collect()
}
