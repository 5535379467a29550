//! Removes what the probe pushed, and reports what remains.

use std::collections::BTreeSet;

use oci_spec::image::Digest;
use url::Url;

use super::finding::{Aspect, Fault, Findings};
use crate::remove::removal;
use crate::{Error, Registry};

/// What is to be removed. Each entry is made before the content exists, since a response may be
/// lost.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    /// Repository of the open upload session.
    pub(super) repository: String,
    /// The upload session that is neither closed nor cancelled.
    pub(super) session: Option<Url>,
    manifests: Vec<(String, Digest)>,
    tags: Vec<(String, String)>,
    blobs: BTreeSet<(String, String)>,
}

impl Leftovers {
    pub(super) fn manifest(&mut self, repository: &str, digest: &Digest, tag: Option<&str>) {
        self.manifests.push((repository.to_owned(), digest.clone()));
        if let Some(tag) = tag {
            self.tags.push((repository.to_owned(), tag.to_owned()));
        }
    }

    pub(super) fn blob(&mut self, repository: &str, digest: &Digest) {
        self.blobs
            .insert((repository.to_owned(), digest.to_string()));
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.session.is_none() && self.manifests.is_empty() && self.blobs.is_empty()
    }

    /// Returns the pushed tags as `repository:tag`.
    pub(super) fn names(&self) -> Vec<String> {
        let names = self.tags.iter();
        names
            .map(|(repository, tag)| format!("{repository}:{tag}"))
            .collect()
    }

    /// Cancels the open session. A refusal is not reported, since registries expire sessions.
    pub(super) async fn cancel(&mut self, registry: &Registry) {
        if let Some(url) = self.session.take() {
            let _ = delete(registry, &self.repository, url).await;
        }
    }
}

/// Removes everything, an index before the images that it lists.
pub(super) async fn remove(registry: &Registry, leftovers: &Leftovers, findings: &mut Findings) {
    if let Some(url) = &leftovers.session {
        let _ = delete(registry, &leftovers.repository, url.clone()).await;
    }
    let mut refused = false;
    for (repository, digest) in leftovers.manifests.iter().rev() {
        let url = registry
            .endpoint()
            .manifest_url(repository, digest.as_ref());
        refused |= delete(registry, repository, url).await.is_err();
    }
    let mut remaining = Vec::new();
    for (repository, tag) in &leftovers.tags {
        if !is_gone(registry, repository, tag, refused).await {
            remaining.push(repository.as_str());
        }
    }
    let mut blobs = 0;
    for (repository, digest) in &leftovers.blobs {
        let url = registry
            .endpoint()
            .url(&format!("/v2/{repository}/blobs/{digest}"));
        blobs += usize::from(delete(registry, repository, url).await.is_err());
    }
    let aspect = Aspect::Delete;
    if !remaining.is_empty() {
        let tags = match remaining.len() {
            1 => "1 tag".to_owned(),
            tags => format!("{tags} tags"),
        };
        remaining.dedup();
        let text = format!(
            "the registry did not delete {tags} of the probe in {}",
            remaining.join(", ")
        );
        findings.warn(aspect, Fault::NoDelete, text);
    } else if blobs > 0 {
        let text = format!(
            "the probe was removed; blobs that nothing names are left to its garbage collection: {blobs}"
        );
        findings.fine(aspect, text);
    } else {
        findings.fine(aspect, "the probe was removed");
    }
}

/// Returns whether a tag was removed with its manifest. If not, removes the tag itself.
async fn is_gone(registry: &Registry, repository: &str, tag: &str, refused: bool) -> bool {
    let there = || registry.head_manifest(repository, tag);
    match there().await {
        Ok(None) => return true,
        // If the lookup fails, the response to the removal counts.
        Err(_) => return !refused,
        Ok(Some(_)) => {}
    }
    let url = registry.endpoint().manifest_url(repository, tag);
    delete(registry, repository, url).await.is_ok() && matches!(there().await, Ok(None))
}

async fn delete(registry: &Registry, repository: &str, url: Url) -> Result<(), Error> {
    // The operator is waiting.
    let request = removal(url, repository).briefly();
    registry.transport().send(&request, &()).await.map(drop)
}
