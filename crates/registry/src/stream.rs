//! Uploads a large blob as a stream: one request without a length that can end after any byte, as
//! `docker push` sends it.
//!
//! distribution 2 loses the session of an aborted request, but not of one that ends regularly.
//! Without a length, a request can end after any byte, so a stopped push leaves sessions that the
//! next run resumes. No `Content-Range` is sent: the registry appends the bytes, and the digest at
//! the end covers the whole blob.

use crate::body::{StreamBody, Upload};
use crate::parts::{UploadSession, patch_request};
use crate::retry::Failure;
use crate::session_store::StoredSession;
use crate::{Error, Observer, Registry};

impl Registry {
    /// Sends the rest of a blob in one request, and closes the session. `session` and the stored
    /// session are updated by the response.
    ///
    /// After a stop the body ends early, the response is awaited, and the error is
    /// [`Error::Stopped`].
    pub(crate) async fn send_stream(
        &self,
        upload: &Upload<'_>,
        session: &mut UploadSession,
        stored: StoredSession<'_>,
        observer: &dyn Observer,
    ) -> Result<(), Failure> {
        let stop = &self.transport().settings().stop;
        let size = upload.blob.size;
        // Repeats only if the registry accepted fewer bytes than it was sent.
        while session.offset < size {
            if stop.is_requested() {
                return Err(Failure::permanent(Error::Stopped));
            }
            let prefix_hash = upload.hash(session.offset, stop).await?;
            let stream_body = StreamBody::new(prefix_hash, session.min_chunk);
            let rest = Upload {
                range: session.offset..size,
                stream_body: Some(&stream_body),
                ..*upload
            };
            let request = patch_request(session, &rest);
            let response = self.transport().exchange(&request, observer).await?;
            let end = session.offset + stream_body.sent();
            self.advance_session(session, &response, end, stored)?;
        }
        self.close_session(upload, session, observer).await
    }
}

/// Returns whether the registry refuses a body without a length: 411 by the standard, other
/// statuses by servers that do not support such bodies.
pub(crate) fn refuses_streams(error: &Error, offset: u64) -> bool {
    if error.place().is_none_or(|place| place.method != "PATCH") {
        return false;
    }
    let Error::Rejected { response, .. } = error else {
        return false;
    };
    let about_session = response
        .code
        .as_deref()
        .is_some_and(|code| code.starts_with("BLOB_UPLOAD_"));
    match response.status {
        400 | 405 | 411 | 415 | 501 => !about_session,
        // In a session that already has bytes, 416 is about the position.
        416 => offset == 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
