//! Receives the bytes of an upload as they arrive, until a fault or the client interrupts it.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;

use super::content::{refusal, text};
use super::target::Target;
use super::{Fault, Inner, Kind};
use crate::listener::Breaker;

impl Inner {
    /// Receives the bytes of an upload, and answers the request.
    pub(super) async fn upload(
        &self,
        target: &Target,
        headers: &HeaderMap,
        body: Body,
        fault: Option<Fault>,
        breaker: &Breaker,
    ) -> Response {
        let session = &target.subject;
        let length: u64 = text(headers, "content-length").parse().unwrap_or(0);
        if self.quirks.body_limit.is_some_and(|limit| length > limit) {
            self.content().too_large += 1;
            return self
                .drained(target, body, refusal(413, "SIZE_INVALID"))
                .await;
        }
        let refused = self.content().refuse(&self.quirks, target, headers);
        if let Some(refused) = refused {
            return self.drained(target, body, refused).await;
        }
        // If `taking` is dropped before all bytes were received, the client or a fault has
        // interrupted the upload.
        let mut taking = Taking {
            inner: self,
            session,
            whole: false,
        };
        let mut body = body.into_data_stream();
        let most = match fault {
            Some(Fault::Reset { after } | Fault::Stall { after }) => after,
            _ => u64::MAX,
        };
        let rate = match fault {
            Some(Fault::Slow { rate }) => Some(rate),
            _ => self.quirks.rate,
        };
        let mut taken = 0;
        while taken < most
            && let Some(piece) = body.next().await
        {
            let Ok(piece) = piece else {
                return StatusCode::BAD_REQUEST.into_response();
            };
            let piece = piece.slice(
                ..piece
                    .len()
                    .min(usize::try_from(most - taken).unwrap_or(usize::MAX)),
            );
            self.wait(piece.len(), rate).await;
            taken += piece.len() as u64;
            self.content().take(session, &piece, true);
            // A body without `Content-Length` is counted as it arrives.
            if self.quirks.body_limit.is_some_and(|limit| taken > limit) {
                self.content().take_back(session, taken);
                self.content().too_large += 1;
                taking.whole = true;
                let rest = Body::from_stream(body);
                return self
                    .drained(target, rest, refusal(413, "SIZE_INVALID"))
                    .await;
            }
        }
        match fault {
            Some(Fault::Reset { .. }) => {
                breaker.break_off();
                return StatusCode::OK.into_response();
            }
            Some(Fault::Stall { .. }) => return std::future::pending().await,
            _ => taking.whole = true,
        }
        let mut content = self.content();
        match target.kind {
            Kind::EndUpload => content.end(&self.quirks, session, &target.parameter("digest")),
            _ => content.part(&self.quirks, session),
        }
    }
}

/// An upload in progress. Unless it is complete, dropping it may discard the session.
struct Taking<'a> {
    inner: &'a Inner,
    session: &'a str,
    whole: bool,
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        if !self.whole && !self.inner.quirks.keeps_cut_sessions {
            self.inner.content().lose(self.session);
        }
    }
}
