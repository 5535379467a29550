//! The way of one blob into a repository: a session, one request with all of its bytes, and the registry's word that it has them.

use oci_spec::image::Digest;
use reqwest::header::HeaderValue;
use reqwest::{Method, StatusCode};
use url::Url;

use crate::blob::{answered_digest, mismatch};
use crate::body::Upload;
use crate::parts::{Opened, least_part, smaller_part};
use crate::retry::{Again, Attempts, Failure};
use crate::transport::{Access, Call, Content, Response};
use crate::{Blob, BlobSource, Error, Event, Observer, Registry, Sessions};

impl Registry {
    /// Uploads a blob that the repository lacks, and returns when the registry has confirmed its digest.
    ///
    /// A `session` that is open already, by a mount that was not granted, is used first.
    pub(crate) async fn upload(
        &self,
        repository: &str,
        blob: &Blob,
        source: &dyn BlobSource,
        session: Option<Url>,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        let upload = Upload {
            repository,
            blob,
            source,
            range: 0..blob.size,
        };
        let digest = &blob.digest;
        let settings = self.transport().settings();
        let large = blob.size >= settings.resume_from;
        let sessions = self.inner.sessions.as_deref().filter(|_| large);
        let mut session = session.map(|url| Opened {
            url,
            offset: 0,
            least: 0,
        });
        if let Some(kept) = sessions.and_then(|sessions| sessions.load(repository, digest))
            && let Some(url) = self.endpoint().resolve(&self.endpoint().url("/v2/"), &kept)
            && let Some(cut) = self.ask_session(repository, url, observer).await
            && cut.offset <= blob.size
        {
            session = Some(cut);
        }
        let mut attempts = Attempts::new(settings, observer);
        loop {
            let went_on = session.as_ref().is_some_and(|session| session.offset > 0);
            observer.event(Event::BlobStarted {
                repository,
                digest: &blob.digest,
                size: blob.size,
            });
            let outcome = self.upload_once(&upload, &mut session, observer).await;
            let cut = session.take();
            let failure = match outcome {
                Ok(()) => {
                    forget(sessions, repository, digest);
                    return Ok(());
                }
                Err(failure) => failure,
            };
            if let Error::TooLarge { size, .. } = failure.error {
                let least = cut.as_ref().map_or(0, |cut| cut.least);
                let part = smaller_part(size).map(|part| part.max(least));
                if let Some(part) = part.filter(|part| *part < size) {
                    self.inner.known.may_send_at_once(part);
                    continue;
                }
            }
            // Parts that do not add up would not do so the next time.
            let odd = matches!(
                failure.error,
                Error::Rejected { .. } | Error::Protocol { .. }
            );
            let failure = match went_on && odd {
                // A registry that takes no more to what was cut may take the whole.
                true => Failure::passing(failure.error),
                false => failure,
            };
            attempts.pause(failure).await?;
            // The answer may be all that was lost.
            if self.holds(repository, blob, observer).await? {
                forget(sessions, repository, digest);
                return Ok(());
            }
            if let Some(Opened { url, .. }) = cut.filter(|_| large && !odd) {
                session = self.ask_session(repository, url, observer).await;
            }
        }
    }

    /// Uploads a blob in one session, which is left in `session` with where it would go on if it was cut.
    ///
    /// One request opens it and one carries all of the bytes, as long as the registry takes so many at once. Not several, where that
    /// is not needed: distribution 2 gives up a session of which any request was cut, so pieces would gain nothing there.
    async fn upload_once(
        &self,
        upload: &Upload<'_>,
        session: &mut Option<Opened>,
        observer: &dyn Observer,
    ) -> Result<(), Failure> {
        let transport = self.transport();
        let repository = upload.repository;
        let digest = &upload.blob.digest;
        let opened = match session.take() {
            Some(opened) => opened,
            None => self.open_session(repository, observer).await?,
        };
        let opened = session.insert(opened);
        if upload.blob.size >= transport.settings().resume_from
            && let Some(sessions) = &self.inner.sessions
        {
            sessions.store(repository, digest, opened.url.as_str());
        }
        let at_once = self.inner.known.at_once();
        if opened.offset > 0 || upload.blob.size > at_once {
            return self.send_parts(upload, opened, at_once, observer).await;
        }
        let mut url = opened.url.clone();
        // What the session put into its URL stays: registries keep their state there.
        url.query_pairs_mut().append_pair("digest", digest.as_ref());
        let call = Call::new(Method::PUT, url, repository)
            .access(Access::Push)
            .content(
                Content::Upload(upload),
                HeaderValue::from_static("application/octet-stream"),
            )
            .wants(&[StatusCode::CREATED, StatusCode::NO_CONTENT]);
        let answer = transport
            .exchange(&call, observer)
            .await
            .map_err(session_lost)?;
        confirmed(self, upload, &answer, observer).await
    }

    /// Opens an upload session.
    async fn open_session(
        &self,
        repository: &str,
        observer: &dyn Observer,
    ) -> Result<Opened, Failure> {
        let transport = self.transport();
        let path = format!("/v2/{repository}/blobs/uploads/");
        let call = Call::new(Method::POST, transport.endpoint().url(&path), repository)
            .access(Access::Push)
            .wants(&[StatusCode::ACCEPTED]);
        let answer = transport.exchange(&call, observer).await?;
        Ok(Opened {
            url: session_url(self, &answer)?,
            offset: 0,
            least: least_part(answer.headers()),
        })
    }
}

/// Compares what the registry says that it took.
pub(crate) async fn confirmed(
    registry: &Registry,
    upload: &Upload<'_>,
    answer: &Response,
    observer: &dyn Observer,
) -> Result<(), Failure> {
    let digest = &upload.blob.digest;
    match answered_digest(answer.headers()) {
        Some(found) if found == digest.as_ref() => Ok(()),
        Some(found) => Err(Failure::last(mismatch(answer, digest, found))),
        None => {
            let held = registry
                .holds(upload.repository, upload.blob, observer)
                .await;
            match held.map_err(Failure::last)? {
                true => Ok(()),
                false => Err(Failure::passing(mismatch(answer, digest, "nothing"))),
            }
        }
    }
}

fn forget(sessions: Option<&dyn Sessions>, repository: &str, digest: &Digest) {
    if let Some(sessions) = sessions {
        sessions.remove(repository, digest);
    }
}

/// Reads where an upload goes on.
pub(crate) fn session_url(registry: &Registry, session: &Response) -> Result<Url, Failure> {
    let at = session.place().clone();
    registry
        .transport()
        .location(at, session.url(), session.headers())
}

/// Lets a session that the registry lost begin again: replicas that do not share their sessions answer like that.
pub(crate) fn session_lost(failure: Failure) -> Failure {
    let lost = match &failure.error {
        Error::NotFound { .. } => true,
        Error::Rejected { answer, .. } => matches!(
            answer.code.as_deref(),
            Some("BLOB_UPLOAD_UNKNOWN" | "BLOB_UPLOAD_INVALID")
        ),
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

#[cfg(test)]
mod tests;
