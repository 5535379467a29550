//! The request to stop a push, shared by all its tasks.

use tokio_util::sync::CancellationToken;

/// Ends pushes calmly: nothing new is begun, and work in progress ends at a point from which
/// another run resumes.
///
/// Clones share one state, so a signal handler can stop every push. It cannot be undone.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    token: CancellationToken,
}

impl Stop {
    /// Asks every holder of a clone to stop.
    pub fn request(&self) {
        self.token.cancel();
    }

    /// Returns whether the end was asked for.
    pub fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until the end is asked for, which may be never.
    pub async fn requested(&self) {
        self.token.cancelled().await;
    }
}
