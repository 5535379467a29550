//! Sends a large blob as one stream that may end anywhere: a request without a length, as
//! `docker push` sends it.
//!
//! distribution 2 loses the session of a request that is cut, but not of one that ends regularly,
//! and without a length a request can end after any byte. A push that is asked to stop therefore
//! leaves sessions that the next run resumes. No `Content-Range` is sent: the registry appends the
//! bytes to the session, and the digest at the end covers the whole.

use crate::body::{StreamBody, Upload};
use crate::parts::{UploadSession, patch_request};
use crate::retry::Failure;
use crate::session_store::StoredSession;
use crate::{Error, Observer, Registry};

impl Registry {
    /// Sends what a session lacks in one request, and closes it. `session` follows the registry,
    /// and so does the stored session.
    ///
    /// If the end is asked for, the body ends where it is, the registry's answer is heard, and the
    /// error is [`Error::Stopped`].
    pub(crate) async fn send_stream(
        &self,
        upload: &Upload<'_>,
        session: &mut UploadSession,
        stored: StoredSession<'_>,
        observer: &dyn Observer,
    ) -> Result<(), Failure> {
        let stop = &self.transport().settings().stop;
        let size = upload.blob.size;
        // More than once only where a registry takes less than it was sent.
        while session.offset < size {
            if stop.is_requested() {
                return Err(Failure::last(Error::Stopped));
            }
            let hashed = upload.hash(session.offset, stop).await?;
            let stream_body = StreamBody::new(hashed, session.min_chunk);
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

/// Returns whether an answer says that a body must have a length: 411 by the standard, other codes
/// by servers that do not support such bodies.
pub(crate) fn refuses_streams(error: &Error, offset: u64) -> bool {
    if error.place().is_none_or(|place| place.method != "PATCH") {
        return false;
    }
    let Error::Rejected { answer, .. } = error else {
        return false;
    };
    let about_session = answer
        .code
        .as_deref()
        .is_some_and(|code| code.starts_with("BLOB_UPLOAD_"));
    match answer.status {
        400 | 405 | 411 | 415 | 501 => !about_session,
        // Where there is something already, it is about that.
        416 => offset == 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
