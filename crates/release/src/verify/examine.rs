//! Requests every tag, manifest and blob of a lock from a registry, each once, and returns the
//! differences.

use std::collections::BTreeSet;

use bundle::{Artifact, Blob, Kind, Manifest};
use futures_util::{StreamExt as _, TryStreamExt as _};
use oci_spec::image::Digest;

use super::Depth;
use super::finding::{Finding, FindingKind};
use super::nodes::{NodeRegistries, Reader};
use crate::Error;
use crate::event::{Event, Reporter, Step};
use crate::transfer::look::MAX_CONCURRENT_LOOKUPS;

/// Maximum number of blobs that are read concurrently. Each holds one chunk in memory.
const READS_AT_ONCE: usize = 6;

/// Largest blob in bytes that is read even if larger ones are only looked up. Configs are smaller,
/// and the storage that serves them also serves the layers.
const SMALL_BLOB: u64 = 64 << 10;

/// Maximum number of attempts to read a blob.
const READ_ATTEMPTS: u32 = 3;

/// Result of an examination.
#[derive(Debug, Default)]
pub(crate) struct Examined {
    /// Differences, in the order of the lock, without duplicates.
    pub(crate) findings: Vec<Finding>,
    /// Number of requested manifests.
    pub(crate) manifests: usize,
    /// Number of requested blobs. A blob counts once for each repository.
    pub(crate) blobs: usize,
    /// Number of bytes that were read and hashed.
    pub(crate) read_bytes: u64,
}

/// One piece of content to request.
#[derive(Clone, Copy)]
struct Request<'a> {
    artifact: &'a Artifact,
    reader: &'a Reader,
    content: Content<'a>,
    /// Whether the content is read and hashed, and not only looked up.
    reads: bool,
}

#[derive(Clone, Copy)]
enum Content<'a> {
    Tag,
    Manifest(&'a Manifest),
    Blob(&'a Blob),
}

/// Examines artifacts, each to its depth.
///
/// A blob that several repositories share is looked up in each, but read only in the first one:
/// registries store the bytes once.
///
/// # Errors
/// A registry cannot be used or refuses nodes.
pub(crate) async fn examine(
    nodes: &NodeRegistries,
    artifacts: &[(&Artifact, Depth)],
    reporter: &dyn Reporter,
) -> Result<Examined, Error> {
    let requests = requests(nodes, artifacts);
    let mut examined = Examined::default();
    for request in &requests {
        match request.content {
            Content::Tag => {}
            Content::Manifest(_) => examined.manifests += 1,
            Content::Blob(_) => examined.blobs += 1,
        }
        if request.reads {
            examined.read_bytes += request.size();
        }
    }
    let findings: Vec<Option<Finding>> = futures_util::stream::iter(&requests)
        .map(|request| request.check())
        .buffered(MAX_CONCURRENT_LOOKUPS)
        .try_collect()
        .await?;
    let mut findings: Vec<(usize, Finding)> = findings
        .into_iter()
        .enumerate()
        .filter_map(|(index, finding)| finding.map(|finding| (index, finding)))
        .collect();
    let wrong: BTreeSet<usize> = findings.iter().map(|(index, _)| *index).collect();
    let to_read = requests
        .iter()
        .enumerate()
        .filter(|(index, request)| request.reads && !wrong.contains(index));
    // The futures are collected first. With a closure in the stream, the future of this function
    // would not be `Send`.
    let reads: Vec<_> = to_read
        .map(|(index, request)| async move {
            let finding = request.read(Some(reporter)).await?;
            Ok::<_, Error>(finding.map(|finding| (index, finding)))
        })
        .collect();
    let mut reads = futures_util::stream::iter(reads).buffer_unordered(READS_AT_ONCE);
    while let Some(finding) = reads.try_next().await? {
        findings.extend(finding);
    }
    findings.sort_by_key(|(index, _)| *index);
    let mut found: Vec<Finding> = findings.iter().map(|(_, one)| one.clone()).collect();
    for (index, finding) in &findings {
        for shared in requests[*index].shared(finding, artifacts) {
            if !found.contains(&shared) {
                found.push(shared);
            }
        }
    }
    examined.findings = without_repetition(found.into_iter());
    Ok(examined)
}

/// Drops a missing manifest if its tag is missing or moved, too: restoring the tag restores the
/// manifest.
fn without_repetition(findings: impl Iterator<Item = Finding>) -> Vec<Finding> {
    let mut kept: Vec<Finding> = Vec::new();
    for finding in findings {
        let is_known = finding.kind == FindingKind::MissingManifest
            && kept.iter().any(|tag| {
                tag.kind.is_of_tag()
                    && tag.artifact == finding.artifact
                    && tag.digest == finding.digest
            });
        if !is_known {
            kept.push(finding);
        }
    }
    kept
}

/// Returns the number of bytes that an examination of these artifacts reads.
pub(crate) fn bytes_to_read(nodes: &NodeRegistries, artifacts: &[(&Artifact, Depth)]) -> u64 {
    let requests = requests(nodes, artifacts);
    let reads = requests.iter().filter(|request| request.reads);
    reads.map(Request::size).sum()
}

fn requests<'a>(
    nodes: &'a NodeRegistries,
    artifacts: &[(&'a Artifact, Depth)],
) -> Vec<Request<'a>> {
    let mut requests = Vec::new();
    let mut requested = BTreeSet::new();
    let mut read = BTreeSet::new();
    for &(artifact, depth) in artifacts {
        let reader = nodes.of_kind(artifact.kind);
        let mut add = |content: Content<'a>, reads| {
            requests.push(Request {
                artifact,
                reader,
                content,
                reads,
            });
        };
        add(Content::Tag, false);
        if depth == Depth::Tag {
            continue;
        }
        let address = reader.pulls.address();
        let mut is_new = |digest: &'a Digest| {
            requested.insert((&reader.pulls.url, &artifact.repository, digest.as_ref()))
        };
        let mut is_to_be_read =
            |digest: &'a Digest| depth == Depth::Bytes && read.insert((address, digest.as_ref()));
        for manifest in &artifact.manifests {
            if is_new(&manifest.digest) {
                let reads = is_to_be_read(&manifest.digest);
                add(Content::Manifest(manifest), reads);
            }
            for blob in &manifest.blobs {
                if is_new(&blob.digest) {
                    let reads = is_to_be_read(&blob.digest);
                    add(Content::Blob(blob), reads);
                }
            }
        }
    }
    requests
}

impl Request<'_> {
    fn repository(&self) -> String {
        self.reader.pulls.repository(&self.artifact.repository)
    }

    fn expected(&self) -> (&Digest, u64) {
        match self.content {
            Content::Tag => (&self.artifact.digest, self.artifact.size),
            Content::Manifest(manifest) => (&manifest.digest, manifest.size),
            Content::Blob(blob) => (&blob.digest, blob.size),
        }
    }

    fn size(&self) -> u64 {
        self.expected().1
    }

    fn finding(&self, kind: FindingKind, found: Option<String>) -> Finding {
        let (digest, size) = self.expected();
        Finding {
            kind,
            artifact: self.artifact.reference(),
            repository: self.repository(),
            digest: digest.to_string(),
            size,
            found,
        }
    }

    /// Returns a finding for each other artifact that shares damaged content. Registries store the
    /// content once, and only the first artifact's was read.
    fn shared(&self, finding: &Finding, artifacts: &[(&Artifact, Depth)]) -> Vec<Finding> {
        let has = |artifact: &Artifact| {
            artifact.manifests.iter().any(|manifest| {
                manifest.digest.as_ref() == finding.digest
                    || (manifest.blobs.iter()).any(|blob| blob.digest.as_ref() == finding.digest)
            })
        };
        let is_other = |artifact: &Artifact| {
            artifact.reference() != finding.artifact
                && (artifact.kind == Kind::Chart) == (self.artifact.kind == Kind::Chart)
        };
        let others = artifacts.iter().map(|(artifact, _)| *artifact);
        others
            .filter(|one| finding.kind.is_damage() && is_other(one) && has(one))
            .map(|one| Finding {
                artifact: one.reference(),
                repository: self.reader.pulls.repository(&one.repository),
                ..finding.clone()
            })
            .collect()
    }

    fn missing(&self) -> Finding {
        let kind = match self.content {
            Content::Tag => FindingKind::MissingTag,
            Content::Manifest(manifest) if manifest.digest == self.artifact.digest => {
                FindingKind::MissingManifest
            }
            Content::Manifest(_) => FindingKind::MissingChild,
            Content::Blob(_) => FindingKind::MissingBlob,
        };
        self.finding(kind, None)
    }

    /// Requests the content and compares digest and size. Manifests and small blobs are read, as
    /// nodes read them: some registries answer `HEAD` from a database, and `GET` from a storage
    /// that lacks the content.
    async fn check(&self) -> Result<Option<Finding>, Error> {
        let repository = self.repository();
        let registry = &self.reader.registry;
        let failed = |source| self.reader.failed(&repository, source);
        let (digest, size) = match self.content {
            Content::Tag => {
                let found = registry.get_manifest(&repository, &self.artifact.tag).await;
                return match found {
                    Ok(found) if found.digest == self.artifact.digest => Ok(None),
                    Ok(found) => {
                        let found = Some(found.digest.to_string());
                        Ok(Some(self.finding(FindingKind::MovedTag, found)))
                    }
                    Err(error) => self.judge(error).map(Some),
                };
            }
            // It is read later, with the blobs.
            Content::Manifest(_) if self.reads => return Ok(None),
            Content::Manifest(manifest) => {
                let read = registry.get_manifest(&repository, manifest.digest.as_ref());
                return match read.await {
                    Ok(_) => Ok(None),
                    Err(error) => self.judge(error).map(Some),
                };
            }
            Content::Blob(blob) if blob.size <= SMALL_BLOB && !self.reads => {
                return self.read(None).await;
            }
            Content::Blob(blob) => {
                let found = registry.find_blob(&repository, &blob.digest);
                match found.await.map_err(failed)? {
                    Some(found) => (found.digest, found.size),
                    None => return Ok(Some(self.missing())),
                }
            }
        };
        let (expected, expected_size) = self.expected();
        if let Some(other) = digest.filter(|digest| digest != expected) {
            return Ok(Some(
                self.finding(FindingKind::WrongDigest, Some(other.to_string())),
            ));
        }
        if let Some(other) = size.filter(|size| *size != expected_size) {
            return Ok(Some(
                self.finding(FindingKind::WrongSize, Some(other.to_string())),
            ));
        }
        Ok(None)
    }

    /// Returns the finding that a failed read means.
    fn judge(&self, error: registry::Error) -> Result<Finding, Error> {
        match error {
            registry::Error::DigestMismatch { found, .. } => {
                Ok(self.finding(FindingKind::WrongDigest, Some(found)))
            }
            registry::Error::NotFound { .. } => Ok(self.missing()),
            error => Err(self.reader.failed(&self.repository(), error)),
        }
    }

    /// Reads and hashes the content, and reports progress. An interrupted read is started again.
    async fn read(&self, reporter: Option<&dyn Reporter>) -> Result<Option<Finding>, Error> {
        let mut reported = 0;
        let mut attempt = 1;
        loop {
            match self.read_once(reporter, &mut reported).await {
                Ok(()) => return Ok(None),
                Err(error) if attempt < READ_ATTEMPTS && is_temporary(&error) => {
                    attempt += 1;
                    if let Some(reporter) = reporter {
                        reporter.report(Event::Retried {
                            step: Step::Confirm,
                            why: error.to_string(),
                        });
                    }
                }
                Err(error) => return self.judge(error).map(Some),
            }
        }
    }

    async fn read_once(
        &self,
        reporter: Option<&dyn Reporter>,
        reported: &mut u64,
    ) -> Result<(), registry::Error> {
        let repository = self.repository();
        let registry = &self.reader.registry;
        let mut advance_to = |place: u64| {
            let bytes = place.saturating_sub(*reported);
            if bytes > 0
                && let Some(reporter) = reporter
            {
                *reported = place;
                reporter.report(Event::Advanced {
                    step: Step::Confirm,
                    bytes,
                });
            }
        };
        match self.content {
            Content::Tag => {}
            Content::Manifest(manifest) => {
                let fetched = registry.get_manifest(&repository, manifest.digest.as_ref());
                advance_to(fetched.await?.bytes.len() as u64);
            }
            Content::Blob(blob) => {
                let reading = registry.get_blob(&repository, &blob.digest, blob.size);
                let mut content = reading.await?;
                let mut place = 0;
                while let Some(bytes) = content.next().await? {
                    place += bytes.len() as u64;
                    advance_to(place);
                }
            }
        }
        Ok(())
    }
}

/// Returns whether a read that failed with this error may succeed when repeated.
fn is_temporary(error: &registry::Error) -> bool {
    matches!(
        error,
        registry::Error::ConnectionLost { .. }
            | registry::Error::Stalled { .. }
            | registry::Error::TimedOut { .. }
    )
}
