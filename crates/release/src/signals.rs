//! Passes a signal to a running mkectl or to the pushes in progress.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use programs::Signal;

/// Passes signals to what is running.
#[derive(Debug, Default)]
pub struct Signals(Mutex<Running>);

#[derive(Debug, Default)]
struct Running {
    mkectl: Option<Sender<Signal>>,
    /// How many pushes there are.
    pushes: usize,
    /// How many watches there are.
    watches: usize,
    /// What all of them listen to, and those that are still to begin.
    stop: registry::Stop,
}

/// What becomes of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// A running mkectl gets it, and is waited for.
    ToMkectl,
    /// Pushes finish what is in flight, so the next run resumes there.
    ToPushes,
    /// A watch of a registry ends.
    ToWatch,
    /// Everything in progress may be abandoned at any time.
    ToNobody,
}

impl Signals {
    /// Passes a signal on. A push that is already stopping ignores further ones.
    pub fn deliver(&self, signal: Signal) -> Delivered {
        let under_way = self.lock();
        if let Some(mkectl) = &under_way.mkectl
            && mkectl.send(signal).is_ok()
        {
            return Delivered::ToMkectl;
        }
        if under_way.watches > 0 && !under_way.stop.is_requested() {
            under_way.stop.request();
            return Delivered::ToWatch;
        }
        drop(under_way);
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

    /// Asks the pushes that are under way to stop, and those that are still to begin. Returns false
    /// where none is under way, or all have been asked before.
    pub fn stop_pushes(&self) -> bool {
        let under_way = self.lock();
        let asks = under_way.pushes > 0 && !under_way.stop.is_requested();
        under_way.stop.request();
        asks
    }

    /// Returns what every push listens to.
    pub(crate) fn stop(&self) -> registry::Stop {
        self.lock().stop.clone()
    }

    /// Takes note of a push that listens, until the answer is dropped.
    pub(crate) fn push_begins(&self) -> Pushing<'_> {
        self.lock().pushes += 1;
        Pushing(self)
    }

    /// Takes note of a watch that ends when it is asked to stop, until the answer is dropped.
    pub(crate) fn watch_begins(&self) -> Watching<'_> {
        self.lock().watches += 1;
        Watching(self)
    }

    /// Returns where a mkectl that is about to run gets its signals.
    pub(crate) fn for_mkectl(&self) -> Receiver<Signal> {
        let (sender, receiver) = channel();
        self.lock().mkectl = Some(sender);
        receiver
    }

    /// Takes note that it has ended.
    pub(crate) fn mkectl_ended(&self) {
        self.lock().mkectl = None;
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A push that is under way.
#[derive(Debug)]
pub(crate) struct Pushing<'a>(&'a Signals);

impl Drop for Pushing<'_> {
    fn drop(&mut self) {
        self.0.lock().pushes -= 1;
    }
}

/// A watch that is under way.
#[derive(Debug)]
pub(crate) struct Watching<'a>(&'a Signals);

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.0.lock().watches -= 1;
    }
}
