//! Decides whether a request is retried, and when.
//!
//! [`classify`](crate::classify) decides which errors are transient; this module only counts and
//! waits.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::{Error, Event, Observer, Settings};

/// An attempt that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Why.
    pub(crate) error: Error,
    /// Whether another attempt could go better.
    pub(crate) again: Again,
}

/// Whether another attempt could go better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// No: it would fail in the same way.
    Never,
    /// Yes, after a pause, which the registry may have named.
    After(Option<Duration>),
}

impl Failure {
    pub(crate) fn error(&self) -> &(dyn std::error::Error + 'static) {
        &self.error
    }

    pub(crate) fn last(error: Error) -> Self {
        Self {
            error,
            again: Again::Never,
        }
    }

    pub(crate) fn passing(error: Error) -> Self {
        Self {
            error,
            again: Again::After(None),
        }
    }
}

/// Why the last request failed that is made again, for a report while a registry is waited for.
/// Every clone is the same.
#[derive(Debug, Clone, Default)]
pub struct Trouble(Arc<Mutex<Option<(Instant, &'static str)>>>);

impl Trouble {
    /// Notes an error if it says that the registry was not reached.
    fn note(&self, error: &Error) {
        let why = match error {
            Error::ConnectionRefused { .. } => Some("connection refused"),
            Error::NameNotResolved { .. } => Some("the host name cannot be resolved"),
            _ => None,
        };
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = why.map(|why| (Instant::now(), why));
    }

    /// Returns why the registry was not reached, if that was found within `time`.
    pub fn within(&self, time: Duration) -> Option<&'static str> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.filter(|(when, _)| when.elapsed() <= time)
            .map(|(_, why)| why)
    }
}

/// The attempts at one piece of work.
pub(crate) struct Attempts<'a> {
    settings: &'a Settings,
    observer: &'a dyn Observer,
    most: u32,
    failed: u32,
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(settings: &'a Settings, observer: &'a dyn Observer) -> Self {
        Self {
            settings,
            observer,
            most: settings.attempts.max(1),
            failed: 0,
        }
    }

    /// Allows no more than `most` attempts, for requests that the operator is waiting for.
    pub(crate) fn at_most(mut self, most: u32) -> Self {
        self.most = self.most.min(most);
        self
    }

    /// Returns the span of the next attempt, for the log.
    pub(crate) fn span(&self) -> tracing::Span {
        tracing::debug_span!("attempt", n = self.failed + 1)
    }

    /// Waits before the next attempt, or returns the error if there is to be none. No pause is
    /// waited out once the end was asked for.
    pub(crate) async fn pause(&mut self, failure: Failure) -> Result<(), Error> {
        let pause = self.decide(failure)?;
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.settings.stop.requested() => Err(Error::Stopped),
        }
    }

    /// Returns how long to wait before the next attempt, or the error if there is to be none.
    fn decide(&mut self, failure: Failure) -> Result<Duration, Error> {
        self.failed += 1;
        let Again::After(ordered) = failure.again else {
            return Err(failure.error);
        };
        if self.failed >= self.most {
            return Err(failure.error);
        }
        let ordered = ordered.unwrap_or_default();
        if ordered > self.settings.longest_wait {
            return Err(failure.error);
        }
        // What a registry orders is a minimum: some always say a second, whatever the trouble is.
        // All requests were told at the same time, hence the jitter on top.
        let (first, longest) = (self.settings.first_pause, self.settings.longest_pause);
        let own = requests::back_off(first, longest, self.failed);
        let pause = ordered.max(own / 2) + jitter(own / 2);
        if self.settings.stop.is_requested() {
            return Err(Error::Stopped);
        }
        let (attempt, ms) = (self.failed + 1, pause.as_millis() as u64);
        tracing::debug!(
            attempt,
            ms,
            error = requests::chain(&failure.error),
            "pause"
        );
        self.settings.trouble.note(&failure.error);
        self.observer.event(Event::Retrying {
            error: &failure.error,
            attempt: self.failed + 1,
            attempts: self.most,
            pause,
        });
        Ok(pause)
    }
}

/// Returns a random part of `most`. The hasher's keys are the standard library's only source of
/// randomness, and this needs no better one.
fn jitter(most: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    let share = (random % 1000) as u32;
    most * share / 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Place;

    fn failure(again: Again) -> Failure {
        let url = url::Url::parse("https://registry.example.com/v2/").unwrap();
        Failure {
            error: Error::ConnectionRefused {
                at: Box::new(Place::new("GET", &url, "")),
            },
            again,
        }
    }

    /// Their own pauses are 1, 2, 4, 5 and 5 seconds at most.
    fn six_attempts() -> Settings {
        Settings {
            attempts: 6,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(5),
            ..Settings::default()
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_end_with_the_attempts() {
        let settings = six_attempts();
        let mut attempts = Attempts::new(&settings, &());
        for most in [1, 2, 4, 5, 5].map(Duration::from_secs) {
            let pause = attempts.decide(failure(Again::After(None))).unwrap();
            assert!(pause >= most / 2 && pause <= most, "{pause:?} of {most:?}");
        }
        attempts.decide(failure(Again::After(None))).unwrap_err();
    }

    #[test]
    fn pauses_differ_so_that_not_everybody_comes_back_at_once() {
        let settings = Settings::default();
        let pauses: std::collections::HashSet<Duration> = (0..20)
            .map(|_| {
                let mut attempts = Attempts::new(&settings, &());
                attempts.decide(failure(Again::After(None))).unwrap()
            })
            .collect();
        assert!(pauses.len() > 1);
    }

    #[test]
    fn an_ordered_pause_is_kept_and_an_endless_one_refused() {
        let settings = Settings {
            longest_wait: Duration::from_secs(60),
            ..Settings::default()
        };
        let mut attempts = Attempts::new(&settings, &());
        let ordered = Again::After(Some(Duration::from_secs(60)));
        let pause = attempts.decide(failure(ordered)).unwrap();
        assert!(pause >= Duration::from_secs(60), "{pause:?}");
        let endless = Again::After(Some(Duration::from_secs(61)));
        attempts.decide(failure(endless)).unwrap_err();
    }

    #[test]
    fn a_short_order_does_not_use_the_attempts_up_in_no_time() {
        let settings = six_attempts();
        let mut attempts = Attempts::new(&settings, &());
        for own in [1, 2, 4, 5, 5].map(Duration::from_secs) {
            let again = Again::After(Some(Duration::ZERO));
            let pause = attempts.decide(failure(again)).unwrap();
            assert!(pause >= own / 2 && pause <= own, "{pause:?} of {own:?}");
        }
    }

    #[test]
    fn what_cannot_pass_is_not_tried_again() {
        let settings = Settings::default();
        let mut attempts = Attempts::new(&settings, &());
        attempts.decide(failure(Again::Never)).unwrap_err();
        let mut brief = Attempts::new(&settings, &()).at_most(2);
        brief.decide(failure(Again::After(None))).unwrap();
        brief.decide(failure(Again::After(None))).unwrap_err();
    }
}
