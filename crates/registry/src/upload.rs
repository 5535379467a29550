//! Uploads one blob: opens a session, sends the bytes, and waits for the registry's confirmation.

use reqwest::{Method, StatusCode};
use tracing::Instrument as _;
use url::Url;

use crate::blob::{mismatch, response_digest};
use crate::body::Upload;
use crate::parts::{UploadSession, smaller_part};
use crate::response::Response;
use crate::retry::{Attempts, Failure};
use crate::session_store::StoredSession;
use crate::stream::refuses_streams;
use crate::transport::{Access, Content, Request, TAKEN};
use crate::{Blob, BlobSource, Error, Event, Observer, Registry};

/// How many streams may be lost completely before a blob is sent with its length. A proxy that does
/// not support such bodies looks like a bad connection.
const MOST_LOST_STREAMS: u32 = 2;

/// Maximum size in bytes of a blob that is sent in the request that opens a session. The blob may
/// exist already, so these bytes may be wasted.
pub(crate) const SINGLE: u64 = 256 * 1024;

/// Maximum size in bytes of the blob that tests whether the registry accepts such a request.
const TRIAL: u64 = 32 * 1024;

impl Registry {
    /// Uploads a blob that the repository lacks. Returns once the registry has confirmed its
    /// digest.
    ///
    /// `session` is a session that is already open, after a mount that was not granted. It is used
    /// first.
    pub(crate) async fn upload(
        &self,
        repository: &str,
        blob: &Blob,
        source: &dyn BlobSource,
        mut session: Option<UploadSession>,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        let upload = Upload {
            repository,
            blob,
            source,
            range: 0..blob.size,
            stream_body: None,
        };
        let settings = self.transport().settings();
        let recorded = &self.inner.recorded;
        let large = blob.size >= settings.resume_from;
        let stored = StoredSession {
            sessions: settings.sessions.as_deref().filter(|_| large),
            repository,
            digest: &blob.digest,
        };
        if large && settings.stop.is_requested() {
            return Err(Error::Stopped);
        }
        if let Some(stored_url) = stored.load()
            && let Some(url) = self
                .endpoint()
                .resolve(&self.endpoint().url("/v2/"), &stored_url)
            && let Some(interrupted) = self
                .query_session(repository, url, blob.size, observer)
                .await
        {
            // The rest of a large blob is too much to send before it is known whether the account
            // may write.
            let unused = self.check_write_access(repository, observer).await?;
            self.cancel_if_open(repository, unused, observer).await;
            session = Some(interrupted);
        }
        let mut attempts = Attempts::new(settings, observer);
        let mut lost_streams = 0;
        loop {
            let had_progress = session.as_ref().is_some_and(|session| session.offset > 0);
            observer.event(Event::BlobStarted {
                repository,
                digest: &blob.digest,
                size: blob.size,
            });
            let stream = large && recorded.streams() && lost_streams < MOST_LOST_STREAMS;
            let guessed = recorded.limit_is_from_profile() && blob.size > recorded.request_limit();
            let sending = self.upload_once(&upload, &mut session, stream, stored, observer);
            let outcome = sending.instrument(attempts.span()).await;
            let interrupted = session.take();
            let failure = match outcome {
                Ok(()) => {
                    stored.forget();
                    return Ok(());
                }
                Err(failure) => failure,
            };
            match &failure.error {
                Error::TooLarge { size, .. } => {
                    let min_chunk = interrupted.as_ref().map_or(0, |session| session.min_chunk);
                    let part = smaller_part(*size).map(|part| part.max(min_chunk));
                    if let Some(part) = part.filter(|part| part < size) {
                        recorded.lower_request_limit(part);
                        self.cancel_if_open(repository, interrupted, observer).await;
                        continue;
                    }
                }
                // The registry refuses the parts that only a profile caused. Without the profile
                // the blob would have been sent in one request.
                Error::Rejected { .. } | Error::NotFound { .. } | Error::Protocol { .. }
                    if guessed && !had_progress && !opens_session(&failure.error) =>
                {
                    recorded.discard_profile_limit();
                    self.cancel_if_open(repository, interrupted, observer).await;
                    continue;
                }
                // The session has damaged bytes.
                Error::SourceContent { .. } => stored.forget(),
                error => {
                    let offset = interrupted.as_ref().map_or(0, |session| session.offset);
                    if stream && refuses_streams(error, offset) {
                        recorded.streams_are_refused();
                        self.cancel_if_open(repository, interrupted, observer).await;
                        continue;
                    }
                }
            }
            // Parts with inconsistent positions would be so again.
            let is_inconsistent = matches!(
                failure.error,
                Error::Rejected { .. } | Error::Protocol { .. }
            );
            // A registry that accepts no more parts may accept the blob from its beginning.
            let failure = failure.or_transient(had_progress && is_inconsistent);
            let is_gone = is_gone(&failure.error);
            // A stored session is for the next run.
            let is_kept =
                stored.sessions.is_some() && !matches!(failure.error, Error::SourceContent { .. });
            if let Err(error) = attempts.pause(failure).await {
                if !is_kept && !is_gone && !matches!(error, Error::Stopped) {
                    self.cancel_if_open(repository, interrupted, observer).await;
                }
                return Err(error);
            }
            // Only the response may have been lost.
            if self.holds(repository, blob, observer).await? {
                stored.forget();
                return Ok(());
            }
            if let Some(interrupted) = interrupted {
                if large && !is_inconsistent {
                    let url = interrupted.url.clone();
                    session = self
                        .query_session(repository, url, blob.size, observer)
                        .await;
                }
                if session.is_none() && !is_gone {
                    self.cancel_if_open(repository, Some(interrupted), observer)
                        .await;
                }
            }
            lost_streams += u32::from(stream && session.is_none());
        }
    }

    /// Makes one attempt at an upload in one session. After an interruption `session` contains the
    /// session with its position.
    ///
    /// - A new session is opened by one request. That request carries a small blob if the registry
    ///   accepts it.
    /// - Otherwise a small blob is sent in a second request, with its length.
    /// - A large blob is sent as a stream, or with its length if `stream` is not set.
    /// - If the registry limits the size of a request, the blob is sent in parts.
    async fn upload_once(
        &self,
        upload: &Upload<'_>,
        session: &mut Option<UploadSession>,
        stream: bool,
        stored: StoredSession<'_>,
        observer: &dyn Observer,
    ) -> Result<(), Failure> {
        let opened = match session.take() {
            Some(opened) => opened,
            None => match self.open_or_send(upload, observer).await? {
                Some(opened) => opened,
                None => return Ok(()),
            },
        };
        let opened = session.insert(opened);
        stored.store(&opened.url);
        if opened.offset > 0 {
            observer.event(Event::BlobResumed {
                repository: upload.repository,
                digest: &upload.blob.digest,
                held: opened.offset,
            });
        }
        let request_limit = self.inner.recorded.request_limit();
        if upload.blob.size - opened.offset > request_limit || (opened.offset > 0 && !stream) {
            return self
                .send_parts(upload, opened, request_limit, stored, observer)
                .await;
        }
        if stream {
            return self.send_stream(upload, opened, stored, observer).await;
        }
        let sending = self.close_with(upload, opened, Content::Upload(upload), observer);
        if upload.blob.size < self.transport().settings().resume_from {
            return sending.await;
        }
        // This request takes long, and an incomplete one is of no use.
        tokio::select! {
            outcome = sending => outcome,
            () = self.transport().settings().stop.requested() => Err(Failure::permanent(Error::Stopped)),
        }
    }

    /// Opens a session. Returns `None` if the request for it already carried the blob.
    async fn open_or_send(
        &self,
        upload: &Upload<'_>,
        observer: &dyn Observer,
    ) -> Result<Option<UploadSession>, Failure> {
        let recorded = &self.inner.recorded;
        let size = upload.blob.size;
        let is_taken = recorded.accepts_single_posts();
        let is_small = size <= SINGLE && size <= recorded.request_limit();
        if is_small && (is_taken || size <= TRIAL && recorded.begin_single_post_trial()) {
            match self.single_post(upload, observer).await {
                Ok(session) => {
                    recorded.record_single_post(session.is_none());
                    return Ok(session);
                }
                // A proxy may have refused the trial.
                Err(failure) if !is_taken && self.is_about_request(&failure.error) => {}
                Err(failure) => return Err(failure),
            }
        }
        self.open_session(upload.repository, observer)
            .await
            .map(Some)
    }

    /// Sends a blob in the request that opens a session. Returns the session if the registry
    /// ignored the blob.
    async fn single_post(
        &self,
        upload: &Upload<'_>,
        observer: &dyn Observer,
    ) -> Result<Option<UploadSession>, Failure> {
        let mut url = self.endpoint().uploads_url(upload.repository);
        let digest = upload.blob.digest.as_ref();
        url.query_pairs_mut().append_pair("digest", digest);
        let request = Request::new(Method::POST, url, upload.repository)
            .access(Access::Push)
            .octets(Content::Upload(upload))
            .expect_status(&TAKEN)
            .commits_upload();
        let response = self.transport().exchange(&request, observer).await?;
        if response.status() == StatusCode::ACCEPTED {
            return UploadSession::from_response(self, &response).map(Some);
        }
        confirmed(self, upload, &response, observer).await?;
        Ok(None)
    }

    /// Returns whether the form of the request may have caused an error: neither the blob's source
    /// nor the account did.
    fn is_about_request(&self, error: &Error) -> bool {
        let is_source = matches!(
            error,
            Error::Stopped | Error::Source { .. } | Error::SourceContent { .. }
        );
        !is_source && self.transport().writes.refusal().is_none()
    }

    /// Cancels a session, if there is one.
    pub(crate) async fn cancel_if_open(
        &self,
        repository: &str,
        session: Option<UploadSession>,
        observer: &dyn Observer,
    ) {
        if let Some(session) = session {
            self.cancel_session(repository, session.url, observer).await;
        }
    }

    /// Closes a session that has the whole blob.
    pub(crate) async fn close_session(
        &self,
        upload: &Upload<'_>,
        session: &UploadSession,
        observer: &dyn Observer,
    ) -> Result<(), Failure> {
        self.close_with(upload, session, Content::Nothing, observer)
            .await
    }

    /// Closes a session with a request that carries the rest of the blob.
    async fn close_with(
        &self,
        upload: &Upload<'_>,
        session: &UploadSession,
        content: Content<'_>,
        observer: &dyn Observer,
    ) -> Result<(), Failure> {
        let mut url = session.url.clone();
        let digest = upload.blob.digest.as_ref();
        // The query of the session's URL is kept: registries store their state in it.
        url.query_pairs_mut().append_pair("digest", digest);
        let mut request = Request::new(Method::PUT, url, upload.repository)
            .access(Access::Push)
            .expect_status(&TAKEN)
            .map_failure(|failure| starts_over(session_lost(failure)))
            .commits_upload();
        if !matches!(content, Content::Nothing) {
            request = request.octets(content);
        }
        let response = self.transport().exchange(&request, observer).await?;
        confirmed(self, upload, &response, observer).await
    }

    /// Opens an upload session.
    pub(crate) async fn open_session(
        &self,
        repository: &str,
        observer: &dyn Observer,
    ) -> Result<UploadSession, Failure> {
        let request = self.open_request(repository);
        let response = self.transport().exchange(&request, observer).await?;
        UploadSession::from_response(self, &response)
    }

    /// Returns the request that opens an upload session.
    pub(crate) fn open_request<'a>(&self, repository: &'a str) -> Request<'a> {
        Request::new(
            Method::POST,
            self.endpoint().uploads_url(repository),
            repository,
        )
        .access(Access::Push)
        .expect_status(&[StatusCode::ACCEPTED])
    }
}

/// Compares the digest that the registry confirms. Without one, the blob is looked up.
async fn confirmed(
    registry: &Registry,
    upload: &Upload<'_>,
    response: &Response,
    observer: &dyn Observer,
) -> Result<(), Failure> {
    let digest = &upload.blob.digest;
    match response_digest(response.headers()) {
        // 202 means that the registry has not finished.
        Some(found) if found == digest.as_ref() && response.status() != StatusCode::ACCEPTED => {
            Ok(())
        }
        Some(found) if found != digest.as_ref() => {
            Err(Failure::permanent(mismatch(response, digest, found)))
        }
        _ => {
            let held = registry
                .holds(upload.repository, upload.blob, observer)
                .await;
            match held.map_err(Failure::permanent)? {
                true => Ok(()),
                false => Err(Failure::transient(mismatch(response, digest, "nothing"))),
            }
        }
    }
}

/// Returns whether the session no longer exists.
fn is_gone(error: &Error) -> bool {
    let code = error
        .response()
        .and_then(|response| response.code.as_deref());
    matches!(error, Error::NotFound { .. }) || code == Some("BLOB_UPLOAD_UNKNOWN")
}

/// Returns whether the request that opens a session failed. It is the same for all forms of
/// sending.
fn opens_session(error: &Error) -> bool {
    error.place().is_some_and(|place| place.method == "POST")
}

/// Returns the URL of a session from the `Location` of a response.
pub(crate) fn session_url(registry: &Registry, session: &Response) -> Result<Url, Failure> {
    let at = session.place().clone();
    registry
        .transport()
        .location(at, session.url(), session.headers())
}

/// Makes the loss of a session transient. Replicas that do not share their sessions lose them.
pub(crate) fn session_lost(failure: Failure) -> Failure {
    let is_lost = match &failure.error {
        Error::NotFound { .. } => true,
        // Distribution 3 responds 416 to an outdated position.
        Error::Rejected { response, .. } => {
            let code = response.code.as_deref();
            matches!(code, Some("BLOB_UPLOAD_UNKNOWN" | "BLOB_UPLOAD_INVALID"))
                || response.status == StatusCode::RANGE_NOT_SATISFIABLE
        }
        _ => false,
    };
    failure.or_transient(is_lost)
}

/// Makes the refusal of a digest transient. The digest is right, since the body is compared with it
/// before the last byte is sent. So the session had different bytes, or a concurrent push wrote to
/// it.
fn starts_over(failure: Failure) -> Failure {
    let is_wrong = matches!(&failure.error, Error::Rejected { response, .. }
            if response.code.as_deref() == Some("DIGEST_INVALID"));
    failure.or_transient(is_wrong)
}

#[cfg(test)]
mod tests;
