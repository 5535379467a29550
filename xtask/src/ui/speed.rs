//! The present rate of a step, and the time that it still needs.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use indicatif::DecimalBytes;

/// Time over which the rate is measured.
const WINDOW: Duration = Duration::from_secs(15);

/// Minimum time between samples.
const SAMPLE: Duration = Duration::from_millis(250);

/// Time before the remaining time is estimated: the first bytes are not representative.
const WARM_UP: Duration = Duration::from_secs(2);

/// Measures the rate of transferred bytes. Bytes that need no transfer are not counted.
#[derive(Debug)]
pub(super) struct Speed {
    began: Instant,
    moved: u64,
    /// Total of transferred bytes at certain times, oldest first.
    samples: VecDeque<(Instant, u64)>,
}

impl Speed {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            moved: 0,
            samples: VecDeque::from([(now, 0)]),
        }
    }

    /// Returns the total of transferred bytes.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    pub(super) fn add(&mut self, bytes: u64, now: Instant) {
        self.forget_before(now);
        self.moved += bytes;
        let newest = self.samples.back().map(|(time, _)| *time);
        if newest.is_none_or(|newest| now.duration_since(newest) >= SAMPLE) {
            self.samples.push_back((now, self.moved));
        }
    }

    /// Returns the rate and the time for the `remaining` bytes: `1.20 MB/s, 40s left`.
    ///
    /// Without remaining bytes it is `finishing`, because the registry still confirms the upload.
    pub(super) fn words(&mut self, remaining: Option<u64>, now: Instant) -> String {
        self.forget_before(now);
        let rate = self.per_second(now);
        let words = format!("{}/s", DecimalBytes(rate));
        match remaining {
            None => words,
            Some(0) => format!("{words}, finishing"),
            Some(_) if rate == 0 => format!("{words}, waiting"),
            Some(_) if now.duration_since(self.began) < WARM_UP => words,
            Some(bytes) => format!("{words}, {} left", time(bytes.div_ceil(rate))),
        }
    }

    fn per_second(&self, now: Instant) -> u64 {
        let Some((since, before)) = self.samples.front() else {
            return 0;
        };
        let millis = now.duration_since(*since).as_millis().max(1);
        let rate = u128::from(self.moved - before) * 1000 / millis;
        u64::try_from(rate).unwrap_or(u64::MAX)
    }

    /// Removes samples from before the window, except the newest of them.
    fn forget_before(&mut self, now: Instant) {
        while let Some((second, _)) = self.samples.get(1)
            && now.duration_since(*second) >= WINDOW
        {
            self.samples.pop_front();
        }
    }
}

/// Returns a time in one unit: seconds, minutes or hours.
fn time(seconds: u64) -> String {
    match seconds {
        0..100 => format!("{seconds}s"),
        100..6_000 => format!("{}m", seconds.div_ceil(60)),
        _ => format!("{}h", seconds.div_ceil(3_600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(began: Instant, seconds: u64) -> Instant {
        began + Duration::from_secs(seconds)
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds_and_the_end_is_not_promised() {
        let began = Instant::now();
        let mut speed = Speed::new(began);
        for second in 1..=60 {
            speed.add(1_000_000, after(began, second));
        }
        let now = after(began, 60);
        assert_eq!(speed.words(Some(30_000_000), now), "1.00 MB/s, 30s left");
        // It slows down to a tenth.
        for second in 61..=90 {
            speed.add(100_000, after(began, second));
        }
        let now = after(began, 90);
        assert_eq!(speed.words(Some(30_000_000), now), "100.00 kB/s, 5m left");
        assert_eq!(speed.words(Some(1), now), "100.00 kB/s, 1s left");
        assert_eq!(speed.words(Some(0), now), "100.00 kB/s, finishing");
        assert_eq!(speed.words(None, now), "100.00 kB/s");
        // It stalls.
        let now = after(began, 200);
        assert_eq!(speed.words(Some(7), now), "0 B/s, waiting");
        assert_eq!(speed.moved(), 63_000_000);
    }

    #[test]
    fn the_first_seconds_promise_nothing() {
        let began = Instant::now();
        let mut speed = Speed::new(began);
        speed.add(1_000, after(began, 1));
        let words =
            |speed: &mut Speed, seconds| speed.words(Some(3_000_000), after(began, seconds));
        assert_eq!(words(&mut speed, 1), "1.00 kB/s");
        assert_eq!(words(&mut speed, 2), "500 B/s, 2h left");
    }

    #[test]
    fn times_are_short() {
        for (seconds, text) in [
            (1, "1s"),
            (99, "99s"),
            (100, "2m"),
            (3_601, "61m"),
            (7_300, "3h"),
        ] {
            assert_eq!(time(seconds), text);
        }
    }
}
