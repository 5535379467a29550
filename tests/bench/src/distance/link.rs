//! One direction of the line that all connections share: first come, first served, at a fixed rate.

use std::time::{Duration, Instant};

use super::Distance;

/// The payload of a packet, in bytes.
pub(super) const SEGMENT: u32 = 1_448;

/// The least that the queue before the line holds, in bytes.
const LEAST_QUEUE: u64 = 256 * 1024;

pub(super) struct Link {
    distance: Distance,
    /// How long the last of a full queue waits: one round trip, as routers are built.
    queue: Duration,
    /// When the line has sent all that it was given.
    free: Instant,
    random: u64,
}

/// What became of bytes that were given to the line.
pub(super) struct Sent {
    pub(super) arrives: Instant,
    /// Whether the queue was full, or a packet was lost: the sender has to slow down.
    pub(super) congested: bool,
}

impl Link {
    pub(super) fn new(distance: Distance, now: Instant) -> Self {
        let least = distance.floor(LEAST_QUEUE).unwrap_or(0.0);
        Self {
            distance,
            queue: distance.rtt.max(Duration::from_secs_f64(least)),
            free: now,
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// Sends this many bytes. A lost packet is sent again and arrives one round trip later.
    pub(super) fn send(&mut self, bytes: u32, now: Instant) -> Sent {
        let begins = self.free.max(now);
        let takes = self.distance.floor(bytes.into()).unwrap_or(0.0);
        self.free = begins + Duration::from_secs_f64(takes);
        let mut arrives = self.free + self.distance.rtt / 2;
        let packets = f64::from(bytes.div_ceil(SEGMENT));
        let lost = self.random() > (1.0 - self.distance.loss / 100.0).powf(packets);
        if lost {
            arrives += self.distance.rtt;
        }
        Sent {
            arrives,
            congested: lost || begins - now > self.queue,
        }
    }

    /// Returns the next number of a fixed sequence, between 0 and 1: each run loses the same
    /// packets.
    fn random(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        f64::from((self.random >> 32) as u32) / f64::from(u32::MAX)
    }
}
