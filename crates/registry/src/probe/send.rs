//! Pushes a probe: blobs in one and two requests, a mount, and manifests of each kind.

use bytes::Bytes;
use oci_spec::image::Digest;
use reqwest::{Method, StatusCode};
use url::Url;

use super::finding::{Aspect, Fault, Findings};
use super::remove::Leftovers;
use super::{FOLDER, Probe, limit};
use crate::parts::UploadSession;
use crate::response::Response;
use crate::transport::{Access, Content, Request, TAKEN};
use crate::{Blob, Credentials, Error, Manifest, Profile, Registry};

/// A probe in progress.
pub(super) struct ProbeRun<'a> {
    pub(super) probe: &'a Probe<'a>,
    pub(super) registry: &'a Registry,
    pub(super) findings: &'a mut Findings,
    pub(super) leftovers: &'a mut Leftovers,
    pub(super) profile: &'a mut Profile,
    pub(super) repository: String,
}

/// Pushes everything and reads it back. `leftovers` gets what is to be removed.
pub(super) async fn send(
    probe: &Probe<'_>,
    registry: &Registry,
    findings: &mut Findings,
    leftovers: &mut Leftovers,
    profile: &mut Profile,
) {
    let mut run = ProbeRun {
        probe,
        registry,
        findings,
        leftovers,
        profile,
        repository: below(probe.project, &format!("{FOLDER}/a/b/c")),
    };
    if !run.login().await {
        return;
    }
    let Some(session) = run.path().await else {
        return;
    };
    if !run.blobs(session).await {
        return;
    }
    let chunks = run.findings.is_ok(Aspect::Chunks);
    run.mount().await;
    run.manifests().await;
    limit::limit(&mut run, chunks).await;
}

/// Returns a path below a project, which may be empty.
fn below(project: &str, name: &str) -> String {
    match project.is_empty() {
        true => name.to_owned(),
        false => format!("{project}/{name}"),
    }
}

impl ProbeRun<'_> {
    /// Opens an upload in a shallow repository and cancels it. A registry that accepts any write
    /// from this account accepts this one.
    ///
    /// If it is refused, nothing else is written: several wrong passwords lock an account.
    async fn login(&mut self) -> bool {
        let shallow = below(self.probe.project, FOLDER);
        let refused = self.open_in(&shallow).await.err();
        self.leftovers.cancel(self.registry).await;
        if let Some(error @ Error::Unauthorized { .. }) = &refused {
            let text = requests::chain(error);
            self.findings
                .wrong(Aspect::Login, Fault::of_login(error), text);
            return false;
        }
        let text = match &self.probe.credentials {
            Credentials::Anonymous => "no credentials are required".to_owned(),
            Credentials::Basic { username, .. } => format!("{username} is logged in"),
        };
        self.findings.fine(Aspect::Login, text);
        if let Some(error) = refused {
            self.findings.failed(Aspect::Path, &error);
            return false;
        }
        true
    }

    /// Opens an upload in a deep repository. If that is refused, tries a shallow one, to find out
    /// whether the depth is the reason.
    async fn path(&mut self) -> Option<UploadSession> {
        let refused = match self.open().await {
            Ok(session) => {
                let text = format!("{} is accepted", self.repository);
                self.findings.fine(Aspect::Path, text);
                return Some(session);
            }
            Err(error) => error,
        };
        // Without a response the error is not about the path.
        if refused.response().is_none() {
            self.findings.failed(Aspect::Path, &refused);
            return None;
        }
        let shallow = below(self.probe.project, FOLDER);
        match self.open_in(&shallow).await {
            Ok(session) => {
                let text = format!(
                    "{shallow} is taken; deeper ones are not: {}",
                    requests::chain(&refused)
                );
                self.findings.wrong(Aspect::Path, Fault::DeepPath, text);
                self.repository = shallow;
                Some(session)
            }
            Err(_) => {
                self.findings.failed(Aspect::Path, &refused);
                None
            }
        }
    }

    /// Uploads all blobs, the first in one request and the second in two. Manifests need them.
    async fn blobs(&mut self, session: UploadSession) -> bool {
        let blobs = self.all_blobs();
        let Some((first, rest)) = blobs.split_first() else {
            return false;
        };
        if let Err(error) = self
            .finish(session.url, &first.digest, self.bytes(&first.digest))
            .await
        {
            self.findings.failed(Aspect::Upload, &error);
            return false;
        }
        let mut chunked = false;
        for blob in rest {
            if !chunked {
                chunked = true;
                if self.chunks(blob).await {
                    continue;
                }
            }
            let sent = match self.open().await {
                Ok(session) => {
                    let bytes = self.bytes(&blob.digest);
                    self.finish(session.url, &blob.digest, bytes).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = sent {
                self.findings.failed(Aspect::Upload, &error);
                return false;
            }
        }
        self.findings
            .fine(Aspect::Upload, "blobs are accepted in one request each");
        true
    }

    /// Tests the upload of a blob in two parts.
    async fn chunks(&mut self, blob: &Blob) -> bool {
        let sent = self.in_two(blob).await;
        match &sent {
            Ok(true) => self
                .findings
                .fine(Aspect::Chunks, "blobs are accepted in several requests"),
            Ok(false) => self.findings.fine(
                Aspect::Chunks,
                "blobs are accepted in several requests, in larger parts than the probe has",
            ),
            Err(error) => {
                self.leftovers.cancel(self.registry).await;
                self.findings
                    .warn(Aspect::Chunks, Fault::NoChunks, requests::chain(error));
            }
        }
        sent.is_ok()
    }

    /// Uploads a blob in two parts. Returns false if the registry requires larger parts and got
    /// one.
    async fn in_two(&mut self, blob: &Blob) -> Result<bool, Error> {
        let bytes = self.bytes(&blob.digest);
        let half = bytes.len() / 2;
        let session = self.open().await?;
        let fits = session.min_chunk <= half as u64;
        let parts = match fits {
            true => vec![0..half, half..bytes.len()],
            false => vec![0..bytes.len(); 1],
        };
        let mut url = session.url;
        for part in parts {
            let from = part.start;
            url = self.part(url, from, bytes.slice(part)).await?;
        }
        self.finish(url, &blob.digest, Bytes::new()).await?;
        Ok(fits)
    }

    /// Tests a mount into a different repository.
    async fn mount(&mut self) {
        let Some(blob) = self.all_blobs().into_iter().next() else {
            return;
        };
        let other = below(self.probe.project, &format!("{FOLDER}-mount"));
        let request = self
            .registry
            .mount_request(&other, &blob.digest, &self.repository);
        match self.registry.transport().send(&request, &()).await {
            Ok(response) if response.status() == StatusCode::CREATED => {
                self.leftovers.blob(&other, &blob.digest);
                let text = "blobs can be mounted from a different repository";
                self.findings.fine(Aspect::Mount, text);
            }
            Ok(response) => {
                self.leftovers.session = self.session(&response).ok().map(|session| session.url);
                self.leftovers.cancel(self.registry).await;
                let text = "a mount is answered by an upload";
                self.findings.warn(Aspect::Mount, Fault::NoMount, text);
            }
            Err(error) => {
                self.findings
                    .warn(Aspect::Mount, Fault::NoMount, requests::chain(&error))
            }
        }
    }

    /// Puts manifests of each kind, looks them up and reads them back.
    async fn manifests(&mut self) {
        let probe = self.probe;
        let mut tags = Vec::new();
        if let Some((index, images)) = probe.index.split_last() {
            let mut image_tag = None;
            for image in images {
                // The first image gets a tag, the others are put under their digests.
                let (reference, is_tag) = match image_tag {
                    None => (format!("{}-image", probe.tag), true),
                    Some(_) => (image.digest.to_string(), false),
                };
                if let Err(error) = self.put(&reference, image, is_tag).await {
                    self.refused(Aspect::Image, &error);
                    break;
                }
                image_tag = image_tag.or(Some(reference));
            }
            if !self.findings.has(Aspect::Image) {
                self.findings
                    .fine(Aspect::Image, "images are accepted, by tag and by digest");
                match self.put(probe.tag, index, true).await {
                    Ok(()) => {
                        let text = format!("an index of {} platforms is accepted", images.len());
                        self.findings.fine(Aspect::Index, text);
                        tags.push((probe.tag.to_owned(), index.digest.clone()));
                    }
                    Err(error) => self.refused(Aspect::Index, &error),
                }
            }
            if let (Some(tag), Some(image)) = (image_tag, images.first()) {
                tags.push((tag, image.digest.clone()));
            }
        }
        for (aspect, manifests, what) in [
            (Aspect::Chart, probe.chart, "Helm charts"),
            (Aspect::Artifact, probe.artifact, "other OCI artifacts"),
        ] {
            let Some(manifest) = manifests.last() else {
                continue;
            };
            let tag = format!("{}-{}", probe.tag, aspect.name());
            match self.put(&tag, manifest, true).await {
                Ok(()) => {
                    self.findings.fine(aspect, format!("{what} are accepted"));
                    tags.push((tag, manifest.digest.clone()));
                }
                Err(error) => self.refused(aspect, &error),
            }
        }
        self.head(&tags).await;
        self.storage().await;
        self.pull(&tags).await;
    }

    fn refused(&mut self, aspect: Aspect, error: &Error) {
        let fault = match Fault::of(error) {
            fault @ (Fault::Quota
            | Fault::DiskFull
            | Fault::Unavailable
            | Fault::RateLimited
            | Fault::Slow) => fault,
            _ => Fault::ManifestRefused,
        };
        self.findings.wrong(aspect, fault, requests::chain(error));
    }

    async fn put(
        &mut self,
        reference: &str,
        manifest: &Manifest,
        is_tag: bool,
    ) -> Result<(), Error> {
        let bytes = self.bytes(&manifest.digest);
        // Recorded before it exists, since the response may be lost.
        let tag = is_tag.then_some(reference);
        self.leftovers
            .manifest(&self.repository, &manifest.digest, tag);
        self.registry
            .put_manifest(&self.repository, reference, manifest, bytes, &())
            .await
    }

    /// Opens an upload session. [`Leftovers::cancel`] cancels it unless it is closed.
    pub(super) async fn open(&mut self) -> Result<UploadSession, Error> {
        let repository = self.repository.clone();
        self.open_in(&repository).await
    }

    async fn open_in(&mut self, repository: &str) -> Result<UploadSession, Error> {
        let request = self.registry.open_request(repository);
        let response = self.registry.transport().send(&request, &()).await?;
        let session = self.session(&response)?;
        self.leftovers.repository = repository.to_owned();
        self.leftovers.session = Some(session.url.clone());
        Ok(session)
    }

    fn session(&self, response: &Response) -> Result<UploadSession, Error> {
        Ok(UploadSession::from_response(self.registry, response)?)
    }

    /// Sends a part of a blob, and returns the URL for the next one.
    pub(super) async fn part(&mut self, url: Url, from: usize, bytes: Bytes) -> Result<Url, Error> {
        let end = from + bytes.len();
        let request = Request::new(Method::PATCH, url, &self.repository)
            .access(Access::Push)
            .content_range(from as u64, end as u64)
            .octets(Content::Bytes(bytes))
            .expect_status(&[
                StatusCode::ACCEPTED,
                StatusCode::CREATED,
                StatusCode::NO_CONTENT,
            ]);
        let response = self.registry.transport().exchange(&request, &()).await?;
        let next = self.session(&response)?.url;
        self.leftovers.session = Some(next.clone());
        Ok(next)
    }

    /// Closes an upload with these bytes.
    pub(super) async fn finish(
        &mut self,
        mut url: Url,
        digest: &Digest,
        bytes: Bytes,
    ) -> Result<(), Error> {
        url.query_pairs_mut().append_pair("digest", digest.as_ref());
        self.leftovers.blob(&self.repository, digest);
        let request = Request::new(Method::PUT, url, &self.repository)
            .access(Access::Push)
            .octets(Content::Bytes(bytes))
            .expect_status(&TAKEN);
        self.registry.transport().exchange(&request, &()).await?;
        self.leftovers.session = None;
        Ok(())
    }

    /// Returns each blob of the probe once, in the order of the manifests.
    pub(super) fn all_blobs(&self) -> Vec<Blob> {
        let mut blobs: Vec<Blob> = Vec::new();
        let probe = self.probe;
        let manifests = probe.index.iter().chain(probe.chart).chain(probe.artifact);
        for blob in manifests.flat_map(|manifest| &manifest.blobs) {
            if !blobs.contains(blob) {
                blobs.push(blob.clone());
            }
        }
        blobs
    }

    fn bytes(&self, digest: &Digest) -> Bytes {
        let bytes = self.probe.bytes.get(digest.as_ref());
        bytes.cloned().unwrap_or_default()
    }
}
