//! How much one connection may have on its way: slow start, then CUBIC (RFC 9438), as Linux sends.

use std::time::{Duration, Instant};

use super::link::SEGMENT;

/// What a connection begins with, in bytes: ten packets.
const INITIAL: f64 = 10.0 * SEGMENT as f64;

/// The most that a receiver takes, in bytes: what a receive buffer of 6 MiB, Linux's default,
/// offers.
const MOST: f64 = 3.0 * 1024.0 * 1024.0;

/// What remains of the window after congestion.
const CUT: f64 = 0.7;

/// How fast the window grows again, in packets per cubic second.
const GROWTH: f64 = 0.4;

/// The least time after which a sender takes its knowledge of the line as out of date.
const LEAST_TIMEOUT: Duration = Duration::from_millis(200);

pub(super) struct Window {
    rtt: Duration,
    size: f64,
    /// Below this the window doubles with each round trip.
    threshold: f64,
    /// When the window was cut, and what it was before.
    cut: Option<(Instant, f64)>,
    /// When the connection was last in use.
    used: Instant,
}

impl Window {
    pub(super) fn new(rtt: Duration, now: Instant) -> Self {
        Self {
            rtt,
            size: INITIAL,
            threshold: f64::INFINITY,
            cut: None,
            used: now,
        }
    }

    /// Returns how many bytes may be on their way.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "positive and below MOST"
    )]
    pub(super) fn size(&self) -> u32 {
        self.size as u32
    }

    /// Notes that something is sent. After a pause the window is halved for each timeout that has
    /// passed.
    pub(super) fn sends(&mut self, now: Instant) {
        let timeout = self.rtt + LEAST_TIMEOUT;
        while now.saturating_duration_since(self.used) > timeout && self.size > INITIAL {
            self.size = (self.size / 2.0).max(INITIAL);
            self.used += timeout;
        }
        self.used = now;
    }

    /// Notes that this many bytes have arrived, and whether the window was what kept the sender
    /// back.
    pub(super) fn acknowledge(&mut self, bytes: u32, was_full: bool, now: Instant) {
        self.used = now;
        if !was_full {
            return;
        }
        let bytes = f64::from(bytes);
        if self.size < self.threshold {
            self.size += bytes;
        } else {
            // As Reno would, where that is faster.
            self.size += 0.53 * f64::from(SEGMENT) * bytes / self.size;
        }
        if let Some((when, before)) = self.cut {
            let packets = before / f64::from(SEGMENT);
            let back = (packets * (1.0 - CUT) / GROWTH).cbrt();
            let passed = now.saturating_duration_since(when).as_secs_f64();
            let target = GROWTH * (passed - back).powi(3) + packets;
            self.size = self.size.max(target * f64::from(SEGMENT));
        }
        self.size = self.size.min(MOST);
    }

    /// Cuts the window, once in a round trip.
    pub(super) fn congest(&mut self, now: Instant) {
        if let Some((when, _)) = self.cut
            && now.saturating_duration_since(when) < self.rtt
        {
            return;
        }
        self.cut = Some((now, self.size));
        self.size = (self.size * CUT).max(2.0 * f64::from(SEGMENT));
        self.threshold = self.size;
    }
}
