//! Forwards signals to a running mkectl or to pushes in progress.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use programs::Signal;

/// Forwards signals to the commands that run.
#[derive(Debug, Default)]
pub struct Signals(Mutex<Running>);

#[derive(Debug, Default)]
struct Running {
    mkectl: Option<Sender<Signal>>,
    /// Number of pushes in progress.
    pushes: usize,
    /// Number of watches in progress.
    watches: usize,
    /// Stops all current and later pushes and watches.
    stop: registry::Stop,
}

/// The receiver of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// A running mkectl received it. The command waits for mkectl to end.
    ToMkectl,
    /// Pushes finish uploads in progress, and the next run resumes there.
    ToPushes,
    /// A watch of a registry ends.
    ToWatch,
    /// No receiver. The process may exit immediately.
    ToNobody,
}

impl Signals {
    /// Forwards a signal. Pushes that are already stopping ignore it.
    pub fn deliver(&self, signal: Signal) -> Delivered {
        let running = self.lock();
        if let Some(mkectl) = &running.mkectl
            && mkectl.send(signal).is_ok()
        {
            return Delivered::ToMkectl;
        }
        if running.watches > 0 && !running.stop.is_requested() {
            running.stop.request();
            return Delivered::ToWatch;
        }
        drop(running);
        if self.stop_pushes() {
            Delivered::ToPushes
        } else {
            Delivered::ToNobody
        }
    }

    /// Returns whether mkectl is running.
    pub fn runs_mkectl(&self) -> bool {
        self.lock().mkectl.is_some()
    }

    /// Asks current and later pushes to stop. Returns false if no push is in progress, or all were
    /// asked before.
    pub fn stop_pushes(&self) -> bool {
        let running = self.lock();
        let is_first = running.pushes > 0 && !running.stop.is_requested();
        running.stop.request();
        is_first
    }

    /// Returns the stop that every push and watch observes.
    pub(crate) fn stop(&self) -> registry::Stop {
        self.lock().stop.clone()
    }

    /// Counts a push until the result is dropped.
    pub(crate) fn push_begins(&self) -> Pushing<'_> {
        self.lock().pushes += 1;
        Pushing(self)
    }

    /// Counts a watch until the result is dropped.
    pub(crate) fn watch_begins(&self) -> Watching<'_> {
        self.lock().watches += 1;
        Watching(self)
    }

    /// Returns the receiver for a mkectl that starts now.
    pub(crate) fn for_mkectl(&self) -> Receiver<Signal> {
        let (sender, receiver) = channel();
        self.lock().mkectl = Some(sender);
        receiver
    }

    /// Stops forwarding signals to mkectl.
    pub(crate) fn mkectl_ended(&self) {
        self.lock().mkectl = None;
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A push in progress.
#[derive(Debug)]
pub(crate) struct Pushing<'a>(&'a Signals);

impl Drop for Pushing<'_> {
    fn drop(&mut self) {
        self.0.lock().pushes -= 1;
    }
}

/// A watch in progress.
#[derive(Debug)]
pub(crate) struct Watching<'a>(&'a Signals);

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.0.lock().watches -= 1;
    }
}
