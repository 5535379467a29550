//! Uploads one blob: opens a session, sends the bytes, and requires the registry's confirmation.

use reqwest::header::HeaderValue;
use reqwest::{Method, StatusCode};
use tracing::Instrument as _;
use url::Url;

use crate::blob::{mismatch, response_digest};
use crate::body::Upload;
use crate::parts::{UploadSession, smaller_part};
use crate::response::Response;
use crate::retry::{Again, Attempts, Failure};
use crate::session_store::StoredSession;
use crate::stream::refuses_streams;
use crate::transport::{Access, Content, Request, TAKEN};
use crate::{Blob, BlobSource, Error, Event, Observer, Registry};

/// How many streams may be lost with all that they carried before a blob is sent with its length: a
/// proxy that breaks what it does not understand looks like a bad line.
const MOST_LOST_STREAMS: u32 = 2;

/// The largest blob that is sent by the request that opens a session, in bytes: what already exists
/// may be sent again.
pub(crate) const SINGLE: u64 = 256 * 1024;

/// The largest blob that is sent to find out whether a registry takes it by the request that opens
/// a session, in bytes.
const TRIAL: u64 = 32 * 1024;

impl Registry {
    /// Uploads a blob that the repository lacks, and returns when the registry has confirmed its
    /// digest.
    ///
    /// A `session` that is open already, by a mount that was not granted, is used first.
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
        if let Some(kept) = stored.load()
            && let Some(url) = self.endpoint().resolve(&self.endpoint().url("/v2/"), &kept)
            && let Some(cut) = self
                .query_session(repository, url, blob.size, observer)
                .await
        {
            // The rest of a large blob is too much to find out whether anything is taken.
            if let Some(unused) = self.check_write_access(repository, observer).await? {
                self.cancel_session(repository, unused.url, observer).await;
            }
            session = Some(cut);
        }
        let mut attempts = Attempts::new(settings, observer);
        let mut lost = 0;
        loop {
            let had_progress = session.as_ref().is_some_and(|session| session.offset > 0);
            observer.event(Event::BlobStarted {
                repository,
                digest: &blob.digest,
                size: blob.size,
            });
            let stream = large && recorded.streams() && lost < MOST_LOST_STREAMS;
            let guessed = recorded.limit_is_from_profile() && blob.size > recorded.request_limit();
            let sending = self.upload_once(&upload, &mut session, stream, stored, observer);
            let outcome = sending.instrument(attempts.span()).await;
            let cut = session.take();
            let failure = match outcome {
                Ok(()) => {
                    stored.forget();
                    return Ok(());
                }
                Err(failure) => failure,
            };
            match &failure.error {
                Error::TooLarge { size, .. } => {
                    let min_chunk = cut.as_ref().map_or(0, |cut| cut.min_chunk);
                    let part = smaller_part(*size).map(|part| part.max(min_chunk));
                    if let Some(part) = part.filter(|part| part < size) {
                        recorded.note_lower_limit();
                        recorded.lower_request_limit(part);
                        self.give_up(repository, cut, observer).await;
                        continue;
                    }
                }
                // Parts that only a profile asked for are not taken any more; without it the blob
                // would have gone whole.
                Error::Rejected { .. } | Error::NotFound { .. } | Error::Protocol { .. }
                    if guessed && !had_progress && !opens_session(&failure.error) =>
                {
                    recorded.discard_profile_limit();
                    self.give_up(repository, cut, observer).await;
                    continue;
                }
                // What the session holds is worth nothing.
                Error::SourceContent { .. } => stored.forget(),
                error => {
                    let offset = cut.as_ref().map_or(0, |cut| cut.offset);
                    if stream && refuses_streams(error, offset) {
                        recorded.streams_are_refused();
                        self.give_up(repository, cut, observer).await;
                        continue;
                    }
                }
            }
            // Parts that do not add up would not do so the next time.
            let odd = matches!(
                failure.error,
                Error::Rejected { .. } | Error::Protocol { .. }
            );
            let failure = match had_progress && odd {
                // A registry that takes no more to what was cut may take the whole.
                true => Failure::passing(failure.error),
                false => failure,
            };
            let is_gone = is_gone(&failure.error);
            // What the session store holds is for the next run.
            let is_kept =
                stored.sessions.is_some() && !matches!(failure.error, Error::SourceContent { .. });
            if let Err(error) = attempts.pause(failure).await {
                if !is_kept && !is_gone && !matches!(error, Error::Stopped) {
                    self.give_up(repository, cut, observer).await;
                }
                return Err(error);
            }
            // The answer may be all that was lost.
            if self.holds(repository, blob, observer).await? {
                stored.forget();
                return Ok(());
            }
            if let Some(cut) = cut {
                if large && !odd {
                    let url = cut.url.clone();
                    session = self
                        .query_session(repository, url, blob.size, observer)
                        .await;
                }
                if session.is_none() && !is_gone {
                    self.give_up(repository, Some(cut), observer).await;
                }
            }
            lost += u32::from(stream && session.is_none());
        }
    }

    /// Uploads a blob in one session, which is left in `session` with the position to resume at if
    /// it was cut.
    ///
    /// One request opens it, and carries a small blob if the registry takes that. Otherwise a small
    /// blob goes in one more, with its length. A large one goes as a `stream`, or where that is
    /// refused in the one request as well, and in parts where a registry has said that this many
    /// bytes are too many for one request.
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
        // It would take long, and nothing short of the whole is of use.
        tokio::select! {
            outcome = sending => outcome,
            () = self.transport().settings().stop.requested() => Err(Failure::last(Error::Stopped)),
        }
    }

    /// Opens a session, or returns none if the request for it has carried the blob.
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
                // What refuses the trial may be anything between here and the registry.
                Err(failure) if !is_taken && self.is_about_request(&failure.error) => {}
                Err(failure) => return Err(failure),
            }
        }
        self.open_session(upload.repository, observer)
            .await
            .map(Some)
    }

    /// Sends a blob by the request that opens a session. Returns the session if the registry has
    /// ignored the blob.
    async fn single_post(
        &self,
        upload: &Upload<'_>,
        observer: &dyn Observer,
    ) -> Result<Option<UploadSession>, Failure> {
        let path = format!("/v2/{}/blobs/uploads/", upload.repository);
        let mut url = self.endpoint().url(&path);
        let digest = upload.blob.digest.as_ref();
        url.query_pairs_mut().append_pair("digest", digest);
        let media_type = HeaderValue::from_static("application/octet-stream");
        let request = Request::new(Method::POST, url, upload.repository)
            .access(Access::Push)
            .content(Content::Upload(upload), media_type)
            .expect_status(&TAKEN)
            .commits_upload();
        let response = self.transport().exchange(&request, observer).await?;
        if response.status() == StatusCode::ACCEPTED {
            return UploadSession::by(self, &response).map(Some);
        }
        confirmed(self, upload, &response, observer).await?;
        Ok(None)
    }

    /// Returns whether an error says nothing about the blob's source or the account, so the request
    /// may be at fault.
    fn is_about_request(&self, error: &Error) -> bool {
        let is_source = matches!(
            error,
            Error::Stopped | Error::Source { .. } | Error::SourceContent { .. }
        );
        !is_source && self.transport().write_refusal().is_none()
    }

    /// Gives a session back that nothing is sent to any more.
    async fn give_up(
        &self,
        repository: &str,
        session: Option<UploadSession>,
        observer: &dyn Observer,
    ) {
        if let Some(session) = session {
            self.cancel_session(repository, session.url, observer).await;
        }
    }

    /// Closes a session that holds the whole blob.
    pub(crate) async fn close_session(
        &self,
        upload: &Upload<'_>,
        session: &UploadSession,
        observer: &dyn Observer,
    ) -> Result<(), Failure> {
        self.close_with(upload, session, Content::Nothing, observer)
            .await
    }

    /// Closes a session with what it lacks.
    async fn close_with(
        &self,
        upload: &Upload<'_>,
        session: &UploadSession,
        content: Content<'_>,
        observer: &dyn Observer,
    ) -> Result<(), Failure> {
        let mut url = session.url.clone();
        let digest = upload.blob.digest.as_ref();
        // What the session put into its URL stays: registries keep their state there.
        url.query_pairs_mut().append_pair("digest", digest);
        let mut request = Request::new(Method::PUT, url, upload.repository)
            .access(Access::Push)
            .expect_status(&TAKEN)
            .map_failure(|failure| starts_over(session_lost(failure)))
            .commits_upload();
        if !matches!(content, Content::Nothing) {
            let media_type = HeaderValue::from_static("application/octet-stream");
            request = request.content(content, media_type);
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
        let transport = self.transport();
        let path = format!("/v2/{repository}/blobs/uploads/");
        let request = Request::new(Method::POST, transport.endpoint().url(&path), repository)
            .access(Access::Push)
            .expect_status(&[StatusCode::ACCEPTED]);
        let response = transport.exchange(&request, observer).await?;
        UploadSession::by(self, &response)
    }
}

/// Compares what the registry says that it took.
async fn confirmed(
    registry: &Registry,
    upload: &Upload<'_>,
    response: &Response,
    observer: &dyn Observer,
) -> Result<(), Failure> {
    let digest = &upload.blob.digest;
    match response_digest(response.headers()) {
        // 202 says that the registry is not done yet.
        Some(found) if found == digest.as_ref() && response.status() != StatusCode::ACCEPTED => {
            Ok(())
        }
        Some(found) if found != digest.as_ref() => {
            Err(Failure::last(mismatch(response, digest, found)))
        }
        _ => {
            let held = registry
                .holds(upload.repository, upload.blob, observer)
                .await;
            match held.map_err(Failure::last)? {
                true => Ok(()),
                false => Err(Failure::passing(mismatch(response, digest, "nothing"))),
            }
        }
    }
}

/// Returns whether an error says that the session no longer exists.
fn is_gone(error: &Error) -> bool {
    let code = error.answer().and_then(|answer| answer.code.as_deref());
    matches!(error, Error::NotFound { .. }) || code == Some("BLOB_UPLOAD_UNKNOWN")
}

/// Returns whether an error is about the request that opens a session, which is the same however
/// the bytes are sent.
fn opens_session(error: &Error) -> bool {
    error.place().is_some_and(|place| place.method == "POST")
}

/// Reads the position of an upload.
pub(crate) fn session_url(registry: &Registry, session: &Response) -> Result<Url, Failure> {
    let at = session.place().clone();
    registry
        .transport()
        .location(at, session.url(), session.headers())
}

/// Lets a session that the registry lost begin again: replicas that do not share their sessions
/// answer like that.
pub(crate) fn session_lost(failure: Failure) -> Failure {
    let lost = match &failure.error {
        Error::NotFound { .. } => true,
        // Distribution 3 answers 416 to a place that is not the newest.
        Error::Rejected { answer, .. } => {
            let code = answer.code.as_deref();
            matches!(code, Some("BLOB_UPLOAD_UNKNOWN" | "BLOB_UPLOAD_INVALID"))
                || answer.status == StatusCode::RANGE_NOT_SATISFIABLE
        }
        _ => false,
    };
    match lost {
        true => Failure {
            again: Again::After(None),
            ..failure
        },
        false => failure,
    }
}

/// Lets a blob start over in a new session of which the registry says that it has a different
/// digest. The digest is right, since it was compared before the last byte left: the session held
/// something else, or another push wrote to it.
fn starts_over(failure: Failure) -> Failure {
    match &failure.error {
        Error::Rejected { answer, .. } if answer.code.as_deref() == Some("DIGEST_INVALID") => {
            Failure {
                again: Again::After(None),
                ..failure
            }
        }
        _ => failure,
    }
}

#[cfg(test)]
mod tests;
