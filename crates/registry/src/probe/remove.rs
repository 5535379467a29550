//! Removes what the probe put into the registry, and says what stays.

use std::collections::BTreeSet;

use oci_spec::image::Digest;
use url::Url;

use super::finding::{Aspect, Fault, Findings};
use crate::remove::removal;
use crate::{Error, Registry};

/// What is to be removed, noted before it is made.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    /// The repository of the open session.
    pub(super) repository: String,
    /// The upload that is neither finished nor cancelled.
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

    /// Returns the names of what was put, `repository:tag`.
    pub(super) fn names(&self) -> Vec<String> {
        let names = self.tags.iter();
        names
            .map(|(repository, tag)| format!("{repository}:{tag}"))
            .collect()
    }

    /// Cancels the open session. Registries forget sessions by themselves as well, so a refusal is
    /// not reported.
    pub(super) async fn cancel(&mut self, registry: &Registry) {
        if let Some(url) = self.session.take() {
            let _ = delete(registry, &self.repository, url).await;
        }
    }
}

/// Removes everything, the index before what it names.
pub(super) async fn remove(registry: &Registry, leftovers: &Leftovers, findings: &mut Findings) {
    if let Some(url) = &leftovers.session {
        let _ = delete(registry, &leftovers.repository, url.clone()).await;
    }
    let mut refused = false;
    for (repository, digest) in leftovers.manifests.iter().rev() {
        let path = format!("/v2/{repository}/manifests/{digest}");
        let url = registry.endpoint().url(&path);
        refused |= delete(registry, repository, url).await.is_err();
    }
    let mut stays = Vec::new();
    for (repository, tag) in &leftovers.tags {
        if !is_gone(registry, repository, tag, refused).await {
            stays.push(repository.as_str());
        }
    }
    let mut blobs = 0;
    for (repository, digest) in &leftovers.blobs {
        let path = format!("/v2/{repository}/blobs/{digest}");
        let url = registry.endpoint().url(&path);
        blobs += usize::from(delete(registry, repository, url).await.is_err());
    }
    let aspect = Aspect::Delete;
    if !stays.is_empty() {
        let tags = match stays.len() {
            1 => "1 tag".to_owned(),
            tags => format!("{tags} tags"),
        };
        stays.dedup();
        let text = format!(
            "the registry did not delete {tags} of the probe in {}",
            stays.join(", ")
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

/// Returns whether a tag went with its manifest, and removes it by itself where it did not.
async fn is_gone(registry: &Registry, repository: &str, tag: &str, refused: bool) -> bool {
    let there = || registry.head_manifest(repository, tag);
    match there().await {
        Ok(None) => return true,
        // One that cannot be asked is believed.
        Err(_) => return !refused,
        Ok(Some(_)) => {}
    }
    let url = registry
        .endpoint()
        .url(&format!("/v2/{repository}/manifests/{tag}"));
    delete(registry, repository, url).await.is_ok() && matches!(there().await, Ok(None))
}

async fn delete(registry: &Registry, repository: &str, url: Url) -> Result<(), Error> {
    // Somebody waits for the rest of the preflight.
    let request = removal(url, repository).briefly();
    registry.transport().send(&request, &()).await.map(drop)
}
