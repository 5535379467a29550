//! Limits the messages about retried requests: if a registry is down, every request is retried.

use std::time::Instant;

use super::LINE_EVERY;

/// Maximum number of retried requests that are reported within [`LINE_EVERY`].
const RETRIES: usize = 3;

/// Counts retried requests.
#[derive(Default)]
pub(super) struct Retries {
    since: Option<Instant>,
    reported: usize,
    unreported: usize,
}

impl Retries {
    /// Counts a retried request. If it is to be reported, returns the number of unreported ones
    /// before.
    pub(super) fn add(&mut self) -> Option<usize> {
        if self.since.is_none_or(|since| since.elapsed() > LINE_EVERY) {
            self.since = Some(Instant::now());
            self.reported = 0;
        }
        if self.reported == RETRIES {
            self.unreported += 1;
            return None;
        }
        self.reported += 1;
        Some(self.take_unreported())
    }

    /// Returns the number of unreported requests and resets it.
    pub(super) fn take_unreported(&mut self) -> usize {
        std::mem::take(&mut self.unreported)
    }
}

/// Returns ` (and N more)`, or nothing for 0.
pub(super) fn more(count: usize) -> String {
    match count {
        0 => String::new(),
        count => format!(" (and {count} more)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_retried_requests_only_some_are_reported() {
        let mut retries = Retries::default();
        let reported: Vec<_> = (0..10).filter_map(|_| retries.add()).collect();
        assert_eq!(reported, [0, 0, 0]);
        assert_eq!(retries.take_unreported(), 7);
        assert_eq!(retries.take_unreported(), 0);
        retries.unreported = 4;
        retries.since = Instant::now().checked_sub(LINE_EVERY * 2);
        assert_eq!(retries.add(), Some(4), "the next line reports them");
    }
}
