//! Who gets a signal that reaches the program: a running mkectl, or the pushes that are under way, or nobody.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use mkectl::Signal;

/// Where the program leaves signals for what is under way.
#[derive(Debug, Default)]
pub struct Signals(Mutex<UnderWay>);

#[derive(Debug, Default)]
struct UnderWay {
    mkectl: Option<Sender<Signal>>,
    /// The pushes, with numbers of their own, and the number of the next one.
    pushes: Vec<(u64, registry::Stop)>,
    next: u64,
    /// Whether pushes were asked to stop, so that none begins any more.
    stopping: bool,
}

/// What becomes of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// A running mkectl gets it, and is waited for.
    ToMkectl,
    /// Pushes finish what is in flight, so that the next run goes on from there.
    ToPushes,
    /// Nobody wants it: everything that is under way may be left at any instant.
    ToNobody,
}

impl Signals {
    /// Hands a signal to whom it concerns. A push that is stopping already does not want another one.
    pub fn deliver(&self, signal: Signal) -> Delivered {
        let under_way = self.lock();
        if let Some(mkectl) = &under_way.mkectl
            && mkectl.send(signal).is_ok()
        {
            return Delivered::ToMkectl;
        }
        drop(under_way);
        if self.stop_pushes() {
            Delivered::ToPushes
        } else {
            Delivered::ToNobody
        }
    }

    /// Asks the pushes that are under way to stop, and those that are still to begin. Returns false where none is under way, or all
    /// have been asked before.
    pub fn stop_pushes(&self) -> bool {
        let mut under_way = self.lock();
        under_way.stopping = true;
        let mut asked = false;
        for (_, stop) in &under_way.pushes {
            if !stop.is_requested() {
                stop.request();
                asked = true;
            }
        }
        asked
    }

    /// Takes note of a push that can be stopped, until the answer is dropped.
    pub(crate) fn stops(&self, stop: registry::Stop) -> Pushing<'_> {
        let mut under_way = self.lock();
        if under_way.stopping {
            stop.request();
        }
        let number = under_way.next;
        under_way.next += 1;
        under_way.pushes.push((number, stop));
        Pushing {
            signals: self,
            number,
        }
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

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A push that is under way.
#[derive(Debug)]
pub(crate) struct Pushing<'a> {
    signals: &'a Signals,
    number: u64,
}

impl Drop for Pushing<'_> {
    fn drop(&mut self) {
        let mut under_way = self.signals.lock();
        under_way
            .pushes
            .retain(|(number, _)| *number != self.number);
    }
}
