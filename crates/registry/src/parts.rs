//! Uploads a blob in several requests with a length each, if it is too large for one.
//!
//! Only the registry knows the position of a session: it is queried after an interruption, and each
//! response reports it. The digest at the end covers the whole blob. A wrong position is detected,
//! and the blob starts over.

use reqwest::header::{HeaderMap, RANGE};
use reqwest::{Method, StatusCode};
use url::Url;

use crate::body::Upload;
use crate::response::Response;
use crate::retry::Failure;
use crate::session_store::StoredSession;
use crate::transport::{Access, Content, Request};
use crate::upload::{session_lost, session_url};
use crate::violation::Violation;
use crate::{Error, Observer, Registry};

/// Sizes of parts in bytes, below the usual limits of proxies: 100 MB, 10 MB and 1 MB.
const PARTS: [u64; 4] = [64 << 20, 8 << 20, 900 * 1024, 256 * 1024];

/// An upload session, and how many bytes the registry has of it.
#[derive(Debug, Clone)]
pub(crate) struct UploadSession {
    pub(crate) url: Url,
    pub(crate) offset: u64,
    /// Minimum size in bytes of each part but the last.
    pub(crate) min_chunk: u64,
}

impl UploadSession {
    /// Returns the new session that a response names.
    pub(crate) fn from_response(registry: &Registry, response: &Response) -> Result<Self, Failure> {
        Ok(Self {
            url: session_url(registry, response)?,
            offset: 0,
            min_chunk: chunk_min_length(response.headers()),
        })
    }
}

/// Returns the largest part below `too_much` bytes, if there is one.
pub(crate) fn smaller_part(too_much: u64) -> Option<u64> {
    PARTS.into_iter().find(|part| *part < too_much)
}

/// Returns the request that appends the bytes of `upload` to a session.
pub(crate) fn patch_request<'a>(session: &UploadSession, upload: &'a Upload<'a>) -> Request<'a> {
    Request::new(Method::PATCH, session.url.clone(), upload.repository)
        .access(Access::Push)
        .octets(Content::Upload(upload))
        .expect_status(&[
            StatusCode::ACCEPTED,
            StatusCode::CREATED,
            StatusCode::NO_CONTENT,
        ])
        .map_failure(session_lost)
}

impl Registry {
    /// Sends the rest of a blob, `part` bytes per request, and closes the session.
    ///
    /// `session` and the stored session are updated after each part, so both show where the upload
    /// would resume.
    pub(crate) async fn send_parts(
        &self,
        upload: &Upload<'_>,
        session: &mut UploadSession,
        part: u64,
        stored: StoredSession<'_>,
        observer: &dyn Observer,
    ) -> Result<(), Failure> {
        let transport = self.transport();
        let stop = &transport.settings().stop;
        let size = upload.blob.size;
        upload.check_content(stop).await?;
        let part = part.max(session.min_chunk).max(1);
        while session.offset < size {
            if stop.is_requested() {
                return Err(Failure::permanent(Error::Stopped));
            }
            let end = session.offset.saturating_add(part).min(size);
            let piece = Upload {
                range: session.offset..end,
                ..*upload
            };
            let request = patch_request(session, &piece).content_range(session.offset, end);
            let response = transport.exchange(&request, observer).await?;
            self.advance_session(session, &response, end, stored)?;
        }
        self.close_session(upload, session, observer).await
    }

    /// Updates a session after the registry accepted the bytes before `end`, by its response.
    pub(crate) fn advance_session(
        &self,
        session: &mut UploadSession,
        response: &Response,
        end: u64,
        stored: StoredSession<'_>,
    ) -> Result<(), Failure> {
        let accepted_bytes = bytes_after(response.headers(), end);
        let nothing_accepted = accepted_bytes <= session.offset && end > session.offset;
        // Without a new `Location`, the upload continues at the old one.
        if let Ok(url) = session_url(self, response)
            && url != session.url
        {
            stored.store(&url);
            session.url = url;
        }
        if nothing_accepted {
            let (from, to) = (session.offset, end - 1);
            let violation = Violation::NothingTaken { from, to };
            return Err(Failure::transient(Error::protocol(
                response.place(),
                violation,
            )));
        }
        session.offset = accepted_bytes;
        Ok(())
    }

    /// Queries the position of an interrupted session. Returns `None` if the blob, of `size` bytes,
    /// must start over.
    pub(crate) async fn query_session(
        &self,
        repository: &str,
        url: Url,
        size: u64,
        observer: &dyn Observer,
    ) -> Option<UploadSession> {
        let request = Request::new(Method::GET, url.clone(), repository)
            .access(Access::Push)
            .expect_status(&[StatusCode::NO_CONTENT, StatusCode::OK, StatusCode::ACCEPTED])
            .briefly();
        let response = self.transport().send(&request, observer).await.ok()?;
        let last = last_byte(response.headers()).filter(|last| *last > 0)?;
        // A session with more bytes than the blob belongs to a different blob.
        let offset = last.checked_add(1).filter(|offset| *offset <= size)?;
        Some(UploadSession {
            url: session_url(self, &response).unwrap_or(url),
            offset,
            min_chunk: chunk_min_length(response.headers()),
        })
    }
}

/// Returns the minimum size in bytes that the registry requires of each part but the last.
pub(crate) fn chunk_min_length(headers: &HeaderMap) -> u64 {
    let value = headers
        .get("oci-chunk-min-length")
        .and_then(|value| value.to_str().ok());
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// Returns how many bytes a session has after a part that ended at `end`.
fn bytes_after(headers: &HeaderMap, end: u64) -> u64 {
    match last_byte(headers) {
        // Some registries return the length instead of the last byte.
        Some(last) if last < end => last + 1,
        _ => end,
    }
}

/// Parses `Range: 0-499`, which some registries write as `bytes=0-499`. Returns the second number.
fn last_byte(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(RANGE)?.to_str().ok()?;
    let range = value.trim().trim_start_matches("bytes=");
    range.split_once('-')?.1.parse().ok()
}

#[cfg(test)]
mod tests;
