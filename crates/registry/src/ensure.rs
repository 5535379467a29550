//! Ensures that a repository has a blob, with as few requests as the registry allows. The blob is
//! found, mounted or uploaded.
//!
//! - `HEAD` looks the blob up. This works with every registry.
//! - A self-mount, from the repository to itself, looks the blob up and opens an upload session in
//!   one request: 201 means that the blob exists, 202 that it does not. One trial with a blob that
//!   the registry has just confirmed shows whether the registry supports it.
//! - A small blob is sent without a lookup if the registry accepts it in the request that opens a
//!   session.

use std::time::Duration;

use oci_spec::image::Digest;
use reqwest::{Method, StatusCode};
use url::Url;

use crate::parts::UploadSession;
use crate::transport::{Access, Request, TAKEN};
use crate::upload::SINGLE;
use crate::{Artifact, Blob, BlobSource, Error, Event, Observer, Registry};

/// Timeout of cancelling an upload session.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// How a repository got a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobOutcome {
    /// The repository already had it.
    Present,
    /// It was mounted from a different repository of the registry.
    Mounted,
    /// It was uploaded.
    Uploaded,
}

/// The source and the observer of an upload.
#[derive(Clone, Copy)]
pub(crate) struct UploadContext<'a> {
    pub(crate) source: &'a dyn BlobSource,
    pub(crate) observer: &'a dyn Observer,
    /// Whether enough blobs are left for the trials of single POSTs and self-mounts to pay.
    pub(crate) runs_trials: bool,
}

/// The response to a mount request.
enum MountOutcome {
    /// The repository has the blob now.
    Mounted,
    /// The repository lacks the blob. It can be uploaded in this session.
    Session(UploadSession),
    /// The repository lacks the blob, and no session was opened.
    Refused,
}

impl Registry {
    /// Ensures that a repository has a blob. Concurrent calls for the same blob and repository wait
    /// for the first.
    pub(crate) async fn ensure_blob(
        &self,
        repository: &str,
        blob: &Blob,
        context: UploadContext<'_>,
    ) -> Result<BlobOutcome, Error> {
        let Blob { digest, size } = blob;
        let (digest, size) = (digest, *size);
        let recorded = &self.inner.recorded;
        let blob_lock = recorded.blob_lock(repository, digest);
        let _guard = blob_lock.lock().await;
        if context.runs_trials {
            recorded.schedule_single_post_trial();
        }
        let outcome = if recorded.holds(repository, digest) {
            BlobOutcome::Present
        } else {
            self.mount_or_upload(repository, blob, context).await?
        };
        recorded.note_held(repository, digest);
        if context.runs_trials && outcome == BlobOutcome::Present {
            // An earlier push left blobs here. A blob that is sent without a lookup might already
            // exist.
            recorded.cancel_single_post_trial();
        }
        context.observer.event(match outcome {
            BlobOutcome::Present => Event::BlobPresent {
                repository,
                digest,
                size,
            },
            BlobOutcome::Mounted => Event::BlobMounted {
                repository,
                digest,
                size,
            },
            BlobOutcome::Uploaded => Event::BlobUploaded {
                repository,
                digest,
                size,
            },
        });
        if outcome == BlobOutcome::Uploaded
            && context.runs_trials
            && recorded.begin_self_mount_trial()
        {
            self.try_self_mount(repository, digest, context.observer)
                .await;
        }
        Ok(outcome)
    }

    /// Uploads the blobs that the registry reported as present but does not serve. Each blob is
    /// read. Returns how many were uploaded.
    pub(crate) async fn reupload_missing(
        &self,
        artifact: &Artifact,
        context: UploadContext<'_>,
    ) -> Result<usize, Error> {
        let UploadContext {
            source, observer, ..
        } = context;
        let repository = &artifact.repository;
        let recorded = &self.inner.recorded;
        recorded.distrust_self_mounts();
        let mut sent = 0;
        for blob in artifact.blobs_by_size() {
            let blob_lock = recorded.blob_lock(repository, &blob.digest);
            let _guard = blob_lock.lock().await;
            let is_served = match self.serves(repository, blob, observer).await {
                Ok(is_served) => is_served,
                // The host that serves the blobs may not be reachable from here.
                Err(_) => self.holds(repository, blob, observer).await?,
            };
            if !is_served {
                recorded.forget(repository, &blob.digest);
                self.upload(repository, blob, source, None, observer)
                    .await?;
                sent += 1;
            }
            recorded.note_held(repository, &blob.digest);
        }
        Ok(sent)
    }

    async fn mount_or_upload(
        &self,
        repository: &str,
        blob: &Blob,
        context: UploadContext<'_>,
    ) -> Result<BlobOutcome, Error> {
        let UploadContext {
            source, observer, ..
        } = context;
        let recorded = &self.inner.recorded;
        let mut session = None;
        let mut looked_up = false;
        let confirmed = recorded.mountable_from(repository, &blob.digest);
        let candidate = match confirmed {
            Some(_) => None,
            None => recorded.mount_candidate(repository, &blob.digest),
        };
        let candidate_repository = candidate.as_ref().map(|candidate| candidate.from.clone());
        if let Some(from) = confirmed.or(candidate_repository) {
            // A refused mount may be about the other repository. This checks the account first.
            session = self.check_write_access(repository, observer).await?;
            match self
                .mount(repository, &blob.digest, &from, observer)
                .await?
            {
                MountOutcome::Mounted => {
                    recorded.record_mount(true);
                    self.cancel_if_open(repository, session, observer).await;
                    return Ok(BlobOutcome::Mounted);
                }
                MountOutcome::Session(opened) => {
                    let unused = session.replace(opened);
                    self.cancel_if_open(repository, unused, observer).await;
                }
                MountOutcome::Refused => {}
            }
            match candidate {
                Some(candidate) => recorded.candidate_refused(&candidate),
                None => recorded.record_mount(false),
            }
        } else if recorded.accepts_single_posts()
            && blob.size <= SINGLE
            && !recorded.is_held(&blob.digest)
            && !recorded.is_expected(repository, &blob.digest)
        {
            // Sending it takes as many requests as looking it up. A blob that a different
            // repository has may exist here too, so it is looked up.
            looked_up = true;
        } else if recorded.self_mounts_work() {
            match self
                .mount(repository, &blob.digest, repository, observer)
                .await?
            {
                MountOutcome::Mounted => return Ok(BlobOutcome::Present),
                MountOutcome::Session(opened) => {
                    session = Some(opened);
                    looked_up = true;
                }
                MountOutcome::Refused => {}
            }
        }
        // A refused mount says nothing about this repository, which may have the blob from an
        // earlier run.
        if !looked_up && self.holds(repository, blob, observer).await? {
            self.cancel_if_open(repository, session, observer).await;
            return Ok(BlobOutcome::Present);
        }
        self.upload(repository, blob, source, session, observer)
            .await?;
        Ok(BlobOutcome::Uploaded)
    }

    /// Returns the request to mount a blob from repository `from`.
    pub(crate) fn mount_request<'a>(
        &self,
        repository: &'a str,
        digest: &Digest,
        from: &str,
    ) -> Request<'a> {
        let mut url = self.endpoint().uploads_url(repository);
        url.query_pairs_mut()
            .append_pair("mount", digest.as_ref())
            .append_pair("from", from);
        Request::new(Method::POST, url, repository)
            .access(Access::Push)
            .and_pull_from(from)
            .expect_status(&[StatusCode::CREATED, StatusCode::ACCEPTED])
    }

    /// Requests a mount of a blob from repository `from`, which may be `repository` itself to look
    /// the blob up.
    ///
    /// `from` is always sent, since some registries reject a mount without it.
    async fn mount(
        &self,
        repository: &str,
        digest: &Digest,
        from: &str,
        observer: &dyn Observer,
    ) -> Result<MountOutcome, Error> {
        let request = self.mount_request(repository, digest, from);
        let response = match self.transport().send(&request, observer).await {
            Ok(response) => response,
            // The account may not read `from`, or the registry does not support mounts. The error
            // of a plain upload explains more.
            Err(
                Error::Unauthorized { .. }
                | Error::Forbidden { .. }
                | Error::NotFound { .. }
                | Error::Rejected { .. },
            ) => return Ok(MountOutcome::Refused),
            Err(error) => return Err(error),
        };
        if response.status() == StatusCode::CREATED {
            let confirmed = crate::blob::response_digest(response.headers());
            return Ok(match confirmed {
                Some(found) if found != digest.as_ref() => MountOutcome::Refused,
                _ => MountOutcome::Mounted,
            });
        }
        match UploadSession::from_response(self, &response) {
            Ok(opened) => Ok(MountOutcome::Session(opened)),
            Err(_) => Ok(MountOutcome::Refused),
        }
    }

    /// Tests with an existing blob whether a self-mount finds it.
    async fn try_self_mount(&self, repository: &str, digest: &Digest, observer: &dyn Observer) {
        match self.mount(repository, digest, repository, observer).await {
            Ok(MountOutcome::Mounted) => self.inner.recorded.trust_self_mounts(),
            Ok(MountOutcome::Session(session)) => {
                self.cancel_session(repository, session.url, observer).await;
            }
            // Blobs are then looked up by `HEAD`, which works everywhere.
            Ok(MountOutcome::Refused) | Err(_) => {}
        }
    }

    /// Opens an upload session if no write of this client has been decided yet. A registry that
    /// refuses the account says so to this small request.
    ///
    /// Errors that are transient or about this repository are ignored: the next request gets them
    /// again.
    ///
    /// # Errors
    ///
    /// The refusal, if the account may not write.
    pub(crate) async fn check_write_access(
        &self,
        repository: &str,
        observer: &dyn Observer,
    ) -> Result<Option<UploadSession>, Error> {
        if self.transport().writes.is_decided() {
            return Ok(None);
        }
        match self.open_session(repository, observer).await {
            Ok(session) => Ok(Some(session)),
            Err(failure) if self.transport().writes.refusal().is_some() => Err(failure.error),
            Err(_) => Ok(None),
        }
    }

    /// Cancels an upload session that is not needed. If the registry does not support that, the
    /// session expires.
    pub(crate) async fn cancel_session(
        &self,
        repository: &str,
        session: Url,
        observer: &dyn Observer,
    ) {
        let request = Request::new(Method::DELETE, session, repository)
            .access(Access::Push)
            .expect_status(&TAKEN);
        let cancelling = self.transport().exchange(&request, observer);
        let _ = tokio::time::timeout(CANCEL_TIMEOUT, cancelling).await;
    }
}
