//! The request to stop a push, made once and seen by all its tasks.

use tokio_util::sync::CancellationToken;

/// Ends pushes calmly: nothing new is begun, and what is under way is brought to a point from which another run goes on.
///
/// Clones are one and the same wish, so that whoever hears of a signal can tell every registry that is pushed to. It cannot be taken back.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    token: CancellationToken,
}

impl Stop {
    /// Asks everybody who has a clone to come to an end.
    pub fn request(&self) {
        self.token.cancel();
    }

    /// Tells whether the end was asked for.
    pub fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until the end is asked for, which may be never.
    pub async fn requested(&self) {
        self.token.cancelled().await;
    }
}
