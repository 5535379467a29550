//! Asks all tasks of a push to stop.

use tokio_util::sync::CancellationToken;

/// Ends pushes early: no new work begins, and work in progress ends at a point from which the next
/// run resumes.
///
/// Clones share one state, so a signal handler can stop every push. A stop cannot be revoked.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    token: CancellationToken,
}

impl Stop {
    /// Stops everything that holds a clone.
    pub fn request(&self) {
        self.token.cancel();
    }

    /// Returns whether a stop was requested.
    pub fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until a stop is requested.
    pub async fn requested(&self) {
        self.token.cancelled().await;
    }
}
