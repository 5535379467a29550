//! Sends a blob in several requests with a length each, if one request may not contain it.
//!
//! Only the registry knows the position of a session: it is asked after a cut, and each response
//! reports it. The digest at the end covers the whole. A wrong offset is detected, and the blob
//! starts over.

use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
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

/// What is sent at a time where one request may not carry a blob; a proxy's usual limits are 100
/// MB, 10 MB and 1 MB.
const PARTS: [u64; 4] = [64 << 20, 8 << 20, 900 * 1024, 256 * 1024];

/// A session, and how much the registry holds of it in bytes.
#[derive(Debug, Clone)]
pub(crate) struct UploadSession {
    pub(crate) url: Url,
    pub(crate) offset: u64,
    /// The least that the registry requires in each part but the last.
    pub(crate) min_chunk: u64,
}

impl UploadSession {
    /// Reads what an answer says of the session that it opens.
    pub(crate) fn by(registry: &Registry, response: &Response) -> Result<Self, Failure> {
        Ok(Self {
            url: session_url(registry, response)?,
            offset: 0,
            min_chunk: chunk_min_length(response.headers()),
        })
    }
}

/// Returns the largest part that is smaller than what was too much, if there is one.
pub(crate) fn smaller_part(too_much: u64) -> Option<u64> {
    PARTS.into_iter().find(|part| *part < too_much)
}

/// Returns the request that adds to a session what `upload` names.
pub(crate) fn patch_request<'a>(session: &UploadSession, upload: &'a Upload<'a>) -> Request<'a> {
    Request::new(Method::PATCH, session.url.clone(), upload.repository)
        .access(Access::Push)
        .content(
            Content::Upload(upload),
            HeaderValue::from_static("application/octet-stream"),
        )
        .expect_status(&[
            StatusCode::ACCEPTED,
            StatusCode::CREATED,
            StatusCode::NO_CONTENT,
        ])
        .map_failure(session_lost)
}

impl Registry {
    /// Sends what a session lacks, `part` bytes at a time, and closes it. `session` follows the
    /// registry, and so does the stored session, so both show at any time where the upload would
    /// resume.
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
                return Err(Failure::last(Error::Stopped));
            }
            let end = session.offset.saturating_add(part).min(size);
            let range = format!("{}-{}", session.offset, end - 1);
            let piece = Upload {
                range: session.offset..end,
                ..*upload
            };
            let request = patch_request(session, &piece).header(
                CONTENT_RANGE,
                HeaderValue::from_str(&range)
                    .unwrap_or_else(|_| unreachable!("numbers are always a header's value")),
            );
            let response = transport.exchange(&request, observer).await?;
            self.advance_session(session, &response, end, stored)?;
        }
        self.close_session(upload, session, observer).await
    }

    /// Follows a session after it took what ended at `end`, by the registry's own word.
    pub(crate) fn advance_session(
        &self,
        session: &mut UploadSession,
        response: &Response,
        end: u64,
        stored: StoredSession<'_>,
    ) -> Result<(), Failure> {
        let held = held_after(response.headers(), end);
        let nothing = held <= session.offset && end > session.offset;
        // Without a new Location, the upload continues at the old one.
        if let Ok(url) = session_url(self, response)
            && url != session.url
        {
            stored.store(&url);
            session.url = url;
        }
        if nothing {
            let (from, to) = (session.offset, end - 1);
            let violation = Violation::NothingTaken { from, to };
            return Err(Failure::passing(Error::protocol(
                response.place(),
                violation,
            )));
        }
        session.offset = held;
        Ok(())
    }

    /// Asks how far a session came that was cut. `None` says that the blob, of `size` bytes, starts
    /// over.
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
        // What holds more than the blob is another one's.
        let offset = last.checked_add(1).filter(|offset| *offset <= size)?;
        Some(UploadSession {
            url: session_url(self, &response).unwrap_or(url),
            offset,
            min_chunk: chunk_min_length(response.headers()),
        })
    }
}

/// Returns the least that a registry requires in each part.
pub(crate) fn chunk_min_length(headers: &HeaderMap) -> u64 {
    let value = headers
        .get("oci-chunk-min-length")
        .and_then(|value| value.to_str().ok());
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// Returns how much a session holds after a part that ended at `end` was accepted.
fn held_after(headers: &HeaderMap, end: u64) -> u64 {
    match last_byte(headers) {
        // Some registries name the length instead of the last byte.
        Some(last) if last < end => last + 1,
        _ => end,
    }
}

/// Reads `Range: 0-499`, which some registries write as `bytes=0-499`.
fn last_byte(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(RANGE)?.to_str().ok()?;
    let range = value.trim().trim_start_matches("bytes=");
    range.split_once('-')?.1.parse().ok()
}

#[cfg(test)]
mod tests;
