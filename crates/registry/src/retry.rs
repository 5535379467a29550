//! Counts attempts and pauses between them. [`classify`](crate::classify) decides which errors are
//! transient.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::recorded::lock;
use crate::{Error, Event, Observer, Settings};

/// A failed attempt.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) again: Again,
}

/// Whether another attempt may succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// It would fail in the same way.
    Never,
    /// It may succeed, after at least the pause that the registry ordered.
    After(Option<Duration>),
}

impl Failure {
    pub(crate) fn error(&self) -> &(dyn std::error::Error + 'static) {
        &self.error
    }

    pub(crate) fn permanent(error: Error) -> Self {
        Self {
            error,
            again: Again::Never,
        }
    }

    pub(crate) fn transient(error: Error) -> Self {
        Self {
            error,
            again: Again::After(None),
        }
    }

    /// Returns the failure as a transient one if `is_transient` is set, otherwise unchanged.
    pub(crate) fn or_transient(self, is_transient: bool) -> Self {
        match is_transient {
            true => Self::transient(self.error),
            false => self,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// The reason why a registry cannot be reached, while a request waits for its next attempt. Clones
/// share one state.
#[derive(Debug, Clone, Default)]
pub struct Trouble(Arc<Mutex<Option<(Instant, &'static str)>>>);

impl Trouble {
    /// Records the reason if `error` means that the registry was not reached, and clears it
    /// otherwise.
    fn note(&self, error: &Error) {
        let why = match error {
            Error::ConnectionRefused { .. } => Some("connection refused"),
            Error::NameNotResolved { .. } => Some("the host name cannot be resolved"),
            _ => None,
        };
        *lock(&self.0) = why.map(|why| (Instant::now(), why));
    }

    /// Returns the reason, if a request failed for it within the last `time`.
    pub fn within(&self, time: Duration) -> Option<&'static str> {
        lock(&self.0)
            .filter(|(when, _)| when.elapsed() <= time)
            .map(|(_, why)| why)
    }
}

/// Counts the attempts at one request or operation.
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

    /// Lowers the maximum number of attempts to `most`.
    pub(crate) fn at_most(mut self, most: u32) -> Self {
        self.most = self.most.min(most);
        self
    }

    /// Returns the log span of the next attempt.
    pub(crate) fn span(&self) -> tracing::Span {
        tracing::debug_span!("attempt", n = self.failed + 1)
    }

    /// Pauses before the next attempt. A stop ends the pause.
    ///
    /// # Errors
    ///
    /// The error of `failure` if it is final or no attempts are left; [`Error::Stopped`] after a
    /// stop.
    pub(crate) async fn pause(&mut self, failure: Failure) -> Result<(), Error> {
        let pause = self.decide(failure)?;
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = self.settings.stop.requested() => Err(Error::Stopped),
        }
    }

    /// Returns the pause before the next attempt.
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
        // An ordered pause is a minimum: some registries always order one second, whatever the
        // reason. All requests received the order at the same time, hence the jitter on top.
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

/// Returns a random duration below `most`. The keys of `RandomState` are random enough for this,
/// and std has no other source.
fn jitter(most: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    let share = (random % 1000) as u32;
    most * share / 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RequestInfo;

    fn failure(again: Again) -> Failure {
        let url = url::Url::parse("https://registry.example.com/v2/").unwrap();
        Failure {
            error: Error::ConnectionRefused {
                at: Box::new(RequestInfo::new("GET", &url, "")),
            },
            again,
        }
    }

    /// Pauses without an order are at most 1, 2, 4, 5 and 5 seconds.
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
    fn pauses_have_jitter() {
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
    fn an_ordered_pause_is_kept_unless_it_is_too_long() {
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
    fn a_short_order_does_not_shorten_the_pauses() {
        let settings = six_attempts();
        let mut attempts = Attempts::new(&settings, &());
        for own in [1, 2, 4, 5, 5].map(Duration::from_secs) {
            let again = Again::After(Some(Duration::ZERO));
            let pause = attempts.decide(failure(again)).unwrap();
            assert!(pause >= own / 2 && pause <= own, "{pause:?} of {own:?}");
        }
    }

    #[test]
    fn final_errors_and_brief_requests_are_not_repeated() {
        let settings = Settings::default();
        let mut attempts = Attempts::new(&settings, &());
        attempts.decide(failure(Again::Never)).unwrap_err();
        let mut brief = Attempts::new(&settings, &()).at_most(2);
        brief.decide(failure(Again::After(None))).unwrap();
        brief.decide(failure(Again::After(None))).unwrap_err();
    }
}
