//! Requests every tag, manifest and blob of a lock from a registry, each once, and reports the
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
use crate::transfer::look::QUESTIONS_AT_ONCE;

/// How many blobs are read at a time. Each holds one piece of a blob in memory.
const READS_AT_ONCE: usize = 6;

/// The largest blob that is read where a large one is only looked up, in bytes. Configurations are
/// smaller: what they are served by, serves the layers, too.
const SMALL_BLOB: u64 = 64 << 10;

/// How often a read that broke off is begun.
const READ_ATTEMPTS: u32 = 3;

/// What was asked, and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Examined {
    /// What is wrong, in the order of the lock, each once.
    pub(crate) findings: Vec<Finding>,
    /// Manifests that were asked for.
    pub(crate) manifests: usize,
    /// Blobs that were asked for, each repository's counted by itself.
    pub(crate) blobs: usize,
    /// Bytes that were read and hashed.
    pub(crate) read_bytes: u64,
}

/// One thing that is asked.
#[derive(Clone, Copy)]
struct Question<'a> {
    artifact: &'a Artifact,
    reader: &'a Reader,
    of: Of<'a>,
    /// Whether the content is read and hashed, where it would otherwise only be asked for.
    reads: bool,
}

#[derive(Clone, Copy)]
enum Of<'a> {
    Tag,
    Manifest(&'a Manifest),
    Blob(&'a Blob),
}

/// Looks at artifacts, each to its depth.
///
/// A blob that several repositories share is asked for in each, and read in the first: registries
/// keep the bytes once.
///
/// # Errors
/// A registry cannot be used, or refuses what nodes do.
pub(crate) async fn examine(
    nodes: &NodeRegistries,
    artifacts: &[(&Artifact, Depth)],
    reporter: &dyn Reporter,
) -> Result<Examined, Error> {
    let questions = questions(nodes, artifacts);
    let mut examined = Examined::default();
    for question in &questions {
        match question.of {
            Of::Tag => {}
            Of::Manifest(_) => examined.manifests += 1,
            Of::Blob(_) => examined.blobs += 1,
        }
        if question.reads {
            examined.read_bytes += question.size();
        }
    }
    let answers: Vec<Option<Finding>> = futures_util::stream::iter(&questions)
        .map(|question| question.ask())
        .buffered(QUESTIONS_AT_ONCE)
        .try_collect()
        .await?;
    let mut answers: Vec<(usize, Finding)> = answers
        .into_iter()
        .enumerate()
        .filter_map(|(place, answer)| answer.map(|finding| (place, finding)))
        .collect();
    let wrong: BTreeSet<usize> = answers.iter().map(|(place, _)| *place).collect();
    let to_read = questions
        .iter()
        .enumerate()
        .filter(|(place, question)| question.reads && !wrong.contains(place));
    // Made before any of them runs: a closure inside of the stream would keep callers from spawning
    // the look.
    let reads: Vec<_> = to_read
        .map(|(place, question)| async move {
            let finding = question.read(Some(reporter)).await?;
            Ok::<_, Error>(finding.map(|finding| (place, finding)))
        })
        .collect();
    let mut reads = futures_util::stream::iter(reads).buffer_unordered(READS_AT_ONCE);
    while let Some(answer) = reads.try_next().await? {
        answers.extend(answer);
    }
    answers.sort_by_key(|(place, _)| *place);
    let mut found: Vec<Finding> = answers.iter().map(|(_, one)| one.clone()).collect();
    for (place, finding) in &answers {
        for shared in questions[*place].shared(finding, artifacts) {
            if !found.contains(&shared) {
                found.push(shared);
            }
        }
    }
    examined.findings = without_repetition(found.into_iter());
    Ok(examined)
}

/// Leaves out that a manifest is missing where its tag is wrong, too: restoring the tag restores
/// the manifest.
fn without_repetition(findings: impl Iterator<Item = Finding>) -> Vec<Finding> {
    let mut kept: Vec<Finding> = Vec::new();
    for finding in findings {
        let is_told = finding.kind == FindingKind::MissingManifest
            && kept.iter().any(|tag| {
                tag.kind.is_of_tag()
                    && tag.artifact == finding.artifact
                    && tag.digest == finding.digest
            });
        if !is_told {
            kept.push(finding);
        }
    }
    kept
}

/// Returns the bytes that a look at these artifacts reads.
pub(crate) fn bytes_to_read(nodes: &NodeRegistries, artifacts: &[(&Artifact, Depth)]) -> u64 {
    let questions = questions(nodes, artifacts);
    let reads = questions.iter().filter(|question| question.reads);
    reads.map(Question::size).sum()
}

fn questions<'a>(
    nodes: &'a NodeRegistries,
    artifacts: &[(&'a Artifact, Depth)],
) -> Vec<Question<'a>> {
    let mut questions = Vec::new();
    let mut asked = BTreeSet::new();
    let mut read = BTreeSet::new();
    for &(artifact, depth) in artifacts {
        let reader = nodes.of_kind(artifact.kind);
        let mut ask = |of: Of<'a>, reads| {
            questions.push(Question {
                artifact,
                reader,
                of,
                reads,
            });
        };
        ask(Of::Tag, false);
        if depth == Depth::Tag {
            continue;
        }
        let address = reader.pulls.address();
        let mut is_new = |digest: &'a Digest| {
            asked.insert((&reader.pulls.url, &artifact.repository, digest.as_ref()))
        };
        let mut is_to_be_read =
            |digest: &'a Digest| depth == Depth::Bytes && read.insert((address, digest.as_ref()));
        for manifest in &artifact.manifests {
            if is_new(&manifest.digest) {
                let reads = is_to_be_read(&manifest.digest);
                ask(Of::Manifest(manifest), reads);
            }
            for blob in &manifest.blobs {
                if is_new(&blob.digest) {
                    let reads = is_to_be_read(&blob.digest);
                    ask(Of::Blob(blob), reads);
                }
            }
        }
    }
    questions
}

impl Question<'_> {
    fn repository(&self) -> String {
        self.reader.pulls.repository(&self.artifact.repository)
    }

    fn expected(&self) -> (&Digest, u64) {
        match self.of {
            Of::Tag => (&self.artifact.digest, self.artifact.size),
            Of::Manifest(manifest) => (&manifest.digest, manifest.size),
            Of::Blob(blob) => (&blob.digest, blob.size),
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

    /// Returns the finding for the other artifacts that share damaged content: a registry keeps it
    /// once, and the first of them was read.
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
        let kind = match self.of {
            Of::Tag => FindingKind::MissingTag,
            Of::Manifest(manifest) if manifest.digest == self.artifact.digest => {
                FindingKind::MissingManifest
            }
            Of::Manifest(_) => FindingKind::MissingChild,
            Of::Blob(_) => FindingKind::MissingBlob,
        };
        self.finding(kind, None)
    }

    /// Asks for it, and compares what the answer says. Manifests and small blobs are read, as nodes
    /// read them: some registries answer `HEAD` from a database and `GET` from a storage that lacks
    /// it.
    async fn ask(&self) -> Result<Option<Finding>, Error> {
        let repository = self.repository();
        let registry = &self.reader.registry;
        let failed = |source| self.reader.failed(&repository, source);
        let (digest, size) = match self.of {
            Of::Tag => {
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
            // It is read with the blobs.
            Of::Manifest(_) if self.reads => return Ok(None),
            Of::Manifest(manifest) => {
                let read = registry.get_manifest(&repository, manifest.digest.as_ref());
                return match read.await {
                    Ok(_) => Ok(None),
                    Err(error) => self.judge(error).map(Some),
                };
            }
            Of::Blob(blob) if blob.size <= SMALL_BLOB && !self.reads => {
                return self.read(None).await;
            }
            Of::Blob(blob) => {
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

    /// Returns what is wrong if reading it failed so.
    fn judge(&self, error: registry::Error) -> Result<Finding, Error> {
        match error {
            registry::Error::DigestMismatch { found, .. } => {
                Ok(self.finding(FindingKind::WrongDigest, Some(found)))
            }
            registry::Error::NotFound { .. } => Ok(self.missing()),
            error => Err(self.reader.failed(&self.repository(), error)),
        }
    }

    /// Reads and hashes all of it, and reports progress. A read that breaks off is started again.
    async fn read(&self, reporter: Option<&dyn Reporter>) -> Result<Option<Finding>, Error> {
        let mut told = 0;
        let mut attempt = 1;
        loop {
            match self.read_once(reporter, &mut told).await {
                Ok(()) => return Ok(None),
                Err(error) if attempt < READ_ATTEMPTS && may_pass(&error) => {
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
        told: &mut u64,
    ) -> Result<(), registry::Error> {
        let repository = self.repository();
        let registry = &self.reader.registry;
        let mut went_to = |place: u64| {
            let bytes = place.saturating_sub(*told);
            if bytes > 0
                && let Some(reporter) = reporter
            {
                *told = place;
                reporter.report(Event::Advanced {
                    step: Step::Confirm,
                    bytes,
                });
            }
        };
        match self.of {
            Of::Tag => {}
            Of::Manifest(manifest) => {
                let fetched = registry.get_manifest(&repository, manifest.digest.as_ref());
                went_to(fetched.await?.bytes.len() as u64);
            }
            Of::Blob(blob) => {
                let reading = registry.get_blob(&repository, &blob.digest, blob.size);
                let mut content = reading.await?;
                let mut place = 0;
                while let Some(bytes) = content.next().await? {
                    place += bytes.len() as u64;
                    went_to(place);
                }
            }
        }
        Ok(())
    }
}

/// Returns whether a read that ended so may go better the next time.
fn may_pass(error: &registry::Error) -> bool {
    matches!(
        error,
        registry::Error::ConnectionLost { .. }
            | registry::Error::Stalled { .. }
            | registry::Error::TimedOut { .. }
    )
}
