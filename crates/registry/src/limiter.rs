//! Limits concurrency and transfer rate, and adapts the concurrency to the registry.
//!
//! Small requests wait for latency, so many run concurrently, with permits of their own. Large
//! uploads wait for bandwidth, so few suffice.
//!
//! All requests together stay below a ceiling:
//!
//! - Congestion halves it: 429, 5xx, resets, lost sessions. Requests in flight at that moment fail
//!   together, so only a request that began after the last cut can cut again.
//! - A registry that becomes much slower lowers it by a quarter.
//! - It grows back to just below the number that was too many, and exceeds that only rarely, as a
//!   test.
//!
//! A pause that the registry ordered holds for every request.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, sleep_until};

use crate::recorded::lock;

/// Maximum number of concurrent small transfers.
const SMALL: usize = 24;

/// Maximum number of concurrent large uploads. [`Queues`](crate::queues::Queues) limits their bytes
/// as well.
const LARGE: usize = 24;

/// How often the ceiling is adapted.
const PERIOD: Duration = Duration::from_millis(250);

/// How many periods without congestion pass before the ceiling exceeds the number that was too
/// many, as a test.
const PERIODS_UNTIL_TEST: u32 = 20;

/// Minimum number of requests that counts as too many. Fewer requests in flight are not taken for
/// the cause of congestion.
const MIN_REFUSED: usize = 8;

/// Lowest ceiling because of a slow registry.
const MIN_CEILING: usize = 4;

/// How many periods fill buffers on the way. The rate is that of the registry only afterwards.
const WARM_UP: u32 = 8;

/// How many consecutive slow periods make a registry slow.
const SLOW: u32 = 4;

/// What a permit is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    /// Lookups, mounts, small blobs, manifests and tags.
    Small,
    /// An upload that takes bandwidth.
    Large,
}

/// The limits of one client of a registry.
#[derive(Debug)]
pub(crate) struct Limiter {
    shared: Arc<Shared>,
    /// Maximum number of concurrent transfers, set by the operator.
    jobs: usize,
    bucket: Option<Bucket>,
}

/// Limits that all clients of a registry share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug)]
struct State {
    small: Pool,
    large: Pool,
    ceiling: Ceiling,
    /// Whether work had to wait for the ceiling in this period.
    was_limited: bool,
    /// Since when no work has been in progress.
    idle_since: Option<Instant>,
    paused_until: Option<Instant>,
    period_start: Instant,
    /// When bytes were last sent or work last ended.
    last_progress: Instant,
}

/// Statistics of one priority.
#[derive(Debug, Default)]
struct Pool {
    busy: usize,
    /// What was completed in this period: bytes of large uploads, number of small transfers.
    done: u64,
    /// Moving averages: completed per second, and number of transfers in progress.
    baseline: (f64, f64),
    /// Number of periods so far.
    periods: u32,
    /// Number of consecutive periods with less than a third of the baseline.
    slow: u32,
}

/// A limit on requests in flight of both priorities.
#[derive(Debug)]
struct Ceiling {
    limit: usize,
    in_flight: usize,
    /// Number of cuts so far.
    generation: u64,
    /// Number of requests in flight that caused congestion.
    too_many: Option<usize>,
    periods_until_test: u32,
}

/// A permit to transfer. Dropping it returns it.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    limiter: &'a Limiter,
    priority: Priority,
}

/// A request in flight. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct InFlight<'a> {
    limiter: &'a Limiter,
    generation: u64,
}

/// Limits the transfer rate to `rate` bytes per second.
#[derive(Debug)]
struct Bucket {
    rate: u64,
    /// When the next byte may pass.
    next: Mutex<Instant>,
}

impl Limiter {
    /// Returns a limiter of at most `jobs` concurrent transfers and `max_rate` bytes per second.
    pub(crate) fn new(shared: Arc<Shared>, jobs: Option<usize>, max_rate: Option<u64>) -> Self {
        Self {
            shared,
            jobs: jobs.unwrap_or(usize::MAX).max(1),
            bucket: max_rate.map(|rate| Bucket {
                rate: rate.max(1),
                next: Mutex::new(Instant::now()),
            }),
        }
    }

    /// Returns a permit if one is free.
    pub(crate) fn try_permit(&self, priority: Priority) -> Option<Permit<'_>> {
        let mut state = lock(&self.shared.state);
        let entered = state.enter(priority, self.jobs, Instant::now());
        // Created only if a permit is free, because dropping a `Permit` returns it.
        entered.then(|| Permit {
            limiter: self,
            priority,
        })
    }

    /// Returns a future that completes when a permit may be free. Call it before
    /// [`Limiter::try_permit`], so no notification is missed.
    pub(crate) fn freed(&self) -> Notified<'_> {
        self.shared.freed.notified()
    }

    /// Waits until a request may be sent.
    pub(crate) async fn request(&self) -> InFlight<'_> {
        loop {
            let freed = self.freed();
            if let Some(generation) = lock(&self.shared.state).begin_request(Instant::now()) {
                return InFlight {
                    limiter: self,
                    generation,
                };
            }
            freed.await;
        }
    }

    /// Pauses all requests for the duration `order`, which the registry ordered.
    pub(crate) fn pause_requests(&self, order: Duration) {
        let mut state = lock(&self.shared.state);
        let until = Instant::now() + order;
        state.paused_until = state.paused_until.max(Some(until));
    }

    /// Waits until the pause is over, if there is one.
    pub(crate) async fn wait_for_pause(&self) {
        loop {
            let until = lock(&self.shared.state).paused_until;
            match until {
                Some(until) if until > Instant::now() => sleep_until(until).await,
                _ => return,
            }
        }
    }

    /// Counts bytes that were sent.
    pub(crate) fn sent(&self, bytes: u64) {
        let mut state = lock(&self.shared.state);
        state.large.done += bytes;
        let now = Instant::now();
        state.last_progress = now;
        if state.adapt(now) {
            self.shared.freed.notify_waiters();
        }
    }

    /// Returns how long nothing was sent and no work ended, if requests are in flight and not
    /// paused.
    pub(crate) fn silence(&self) -> Option<Duration> {
        let state = lock(&self.shared.state);
        let now = Instant::now();
        let waits = state.paused_until.is_some_and(|until| until > now);
        (state.ceiling.in_flight > 0 && !waits).then(|| now.duration_since(state.last_progress))
    }

    /// Waits until nothing was sent and no work ended for `time`, counted from the call.
    pub(crate) async fn wait_until_idle(&self, time: Duration) {
        let mut last = Instant::now();
        loop {
            sleep_until(last + time).await;
            let last_progress = lock(&self.shared.state).last_progress;
            if last_progress <= last {
                return;
            }
            last = last_progress;
        }
    }

    /// Returns how many bytes are sent in one piece, at most `most`.
    pub(crate) fn chunk_size(&self, most: usize) -> usize {
        match &self.bucket {
            None => most,
            // About eight pieces per second, so a slow line sees no bursts.
            Some(bucket) => (bucket.rate / 8).clamp(1024, most as u64) as usize,
        }
    }

    /// Waits until the rate allows this many bytes.
    pub(crate) async fn throttle(&self, bytes: usize) {
        if let Some(bucket) = &self.bucket {
            let turn = bucket.turn(bytes as u64, Instant::now());
            sleep_until(turn).await;
        }
    }

    /// Returns how many requests may be in flight.
    #[cfg(test)]
    pub(crate) fn ceiling(&self) -> usize {
        lock(&self.shared.state).ceiling.limit
    }
}

impl InFlight<'_> {
    /// Reports that the request met congestion.
    pub(crate) fn on_congestion(&self) {
        lock(&self.limiter.shared.state)
            .ceiling
            .cut(self.generation);
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            small: Pool::default(),
            large: Pool::default(),
            ceiling: Ceiling::default(),
            was_limited: false,
            idle_since: None,
            paused_until: None,
            period_start: Instant::now(),
            last_progress: Instant::now(),
        }
    }
}

impl State {
    fn enter(&mut self, priority: Priority, jobs: usize, now: Instant) -> bool {
        let most = jobs.min(self.ceiling.limit);
        let busy = self.small.busy + self.large.busy;
        let (pool, full) = match priority {
            Priority::Small => {
                let full = busy >= most || self.small.busy >= SMALL;
                (&mut self.small, full)
            }
            Priority::Large => {
                // Some permits are reserved for small transfers.
                let most = most.saturating_sub((most / 4).max(1)).clamp(1, LARGE);
                let full = self.large.busy >= most || busy >= jobs;
                (&mut self.large, full)
            }
        };
        self.was_limited |= full;
        if full {
            return false;
        }
        pool.busy += 1;
        // Time in which no blob had arrived says nothing about the registry.
        if let Some(idle) = self.idle_since.take() {
            self.period_start += now.duration_since(idle);
        }
        true
    }

    /// Counts a request and returns the generation of the ceiling, if there is room. Time without a
    /// request in flight is not silence.
    fn begin_request(&mut self, now: Instant) -> Option<u64> {
        if self.ceiling.in_flight == 0 {
            self.last_progress = now;
        }
        self.ceiling.enter()
    }

    fn leave(&mut self, priority: Priority, now: Instant) {
        self.last_progress = now;
        match priority {
            Priority::Small => {
                self.small.busy -= 1;
                self.small.done += 1;
            }
            Priority::Large => self.large.busy -= 1,
        }
        self.adapt(now);
        if self.small.busy + self.large.busy == 0 {
            self.idle_since = Some(now);
        }
    }

    /// Adapts the ceiling at the end of a period. Returns whether a period ended, so permits may be
    /// free.
    fn adapt(&mut self, now: Instant) -> bool {
        let elapsed = now.duration_since(self.period_start);
        if elapsed < PERIOD {
            return false;
        }
        let was_limited = std::mem::take(&mut self.was_limited);
        let is_slow = [&mut self.small, &mut self.large].map(|pool| pool.is_slow(elapsed));
        match is_slow.contains(&true) {
            true => self.ceiling.lower(),
            false => self.ceiling.adapt(was_limited),
        }
        self.period_start = now;
        true
    }
}

impl Pool {
    /// Ends a period, and returns whether the registry has become slow.
    fn is_slow(&mut self, elapsed: Duration) -> bool {
        let rate = std::mem::take(&mut self.done) as f64 / elapsed.as_secs_f64();
        let busy = self.busy as f64;
        if self.busy == 0 {
            return false;
        }
        self.periods += 1;
        // The first bytes fill buffers on the way and say little about the registry.
        if self.periods <= WARM_UP {
            self.baseline = (rate, busy);
            return false;
        }
        // With fewer transfers in progress, less is completed.
        let is_slow_period = rate < self.baseline.0 / 3.0 && busy >= self.baseline.1 * 0.75;
        self.slow = if is_slow_period { self.slow + 1 } else { 0 };
        let nearer = |baseline: f64, now: f64| baseline + (now - baseline) / 8.0;
        self.baseline = (nearer(self.baseline.0, rate), nearer(self.baseline.1, busy));
        if self.slow < SLOW {
            return false;
        }
        self.baseline = (rate, busy);
        self.slow = 0;
        true
    }
}

impl Default for Ceiling {
    fn default() -> Self {
        Self {
            limit: Self::MOST,
            in_flight: 0,
            generation: 0,
            too_many: None,
            periods_until_test: 0,
        }
    }
}

impl Ceiling {
    const MOST: usize = SMALL + LARGE;

    fn enter(&mut self) -> Option<u64> {
        (self.in_flight < self.limit).then(|| {
            self.in_flight += 1;
            self.generation
        })
    }

    /// Halves the limit, unless the request began before the last cut.
    fn cut(&mut self, generation: u64) {
        if generation != self.generation {
            return;
        }
        self.generation += 1;
        // A request that fails alone says little about the number that would be too many.
        let too_many = self.limit.min(self.in_flight.max(MIN_REFUSED));
        self.too_many = Some(too_many);
        self.limit = (too_many / 2).max(1);
        self.periods_until_test = PERIODS_UNTIL_TEST;
    }

    /// Lowers the limit by a quarter, because the registry has become slow.
    fn lower(&mut self) {
        let busy = self.limit.min(self.in_flight.max(MIN_REFUSED));
        self.limit = (busy * 3 / 4).max(MIN_CEILING);
    }

    fn adapt(&mut self, was_limited: bool) {
        if !was_limited || self.limit >= Self::MOST {
            return;
        }
        match self.too_many {
            Some(too_many) if self.limit + 1 >= too_many => {
                self.periods_until_test = self.periods_until_test.saturating_sub(1);
                if self.periods_until_test == 0 {
                    self.too_many = Some(too_many + (too_many / 4).max(1));
                    self.periods_until_test = PERIODS_UNTIL_TEST;
                }
            }
            _ => self.limit += 1,
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let shared = &self.limiter.shared;
        lock(&shared.state).leave(self.priority, Instant::now());
        shared.freed.notify_waiters();
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let shared = &self.limiter.shared;
        let mut state = lock(&shared.state);
        let was_full = state.ceiling.in_flight >= state.ceiling.limit;
        state.ceiling.in_flight -= 1;
        drop(state);
        if was_full {
            shared.freed.notify_waiters();
        }
    }
}

impl Bucket {
    /// Returns when this many bytes may be sent, after all earlier calls.
    fn turn(&self, bytes: u64, now: Instant) -> Instant {
        let mut next = lock(&self.next);
        let turn = (*next).max(now);
        *next = turn + Duration::from_secs_f64(bytes as f64 / self.rate as f64);
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays `seconds` of six uploads at a rate, while more work waits.
    fn play(state: &mut State, seconds: u64, rate: f64) {
        for _ in 0..seconds * 4 {
            state.was_limited = true;
            state.large.busy = 6;
            state.large.done = (rate * PERIOD.as_secs_f64()) as u64;
            let now = state.period_start + PERIOD;
            state.adapt(now);
        }
    }

    fn limiter(jobs: Option<usize>, max_rate: Option<u64>) -> Limiter {
        Limiter::new(Arc::default(), jobs, max_rate)
    }

    fn permits(limiter: &Limiter, priority: Priority) -> Vec<Permit<'_>> {
        std::iter::from_fn(|| limiter.try_permit(priority)).collect()
    }

    #[test]
    fn a_slow_registry_lowers_the_ceiling_which_recovers_later() {
        let mut state = State::default();
        // A burst fills buffers and is not the usual rate.
        play(&mut state, 1, 1e9);
        play(&mut state, 3, 1e8);
        assert_eq!(state.ceiling.limit, Ceiling::MOST);
        play(&mut state, 1, 1e7);
        assert_eq!(state.ceiling.limit, MIN_REFUSED * 3 / 4);
        // It is not slower than before any more.
        play(&mut state, 20, 1e7);
        assert_eq!(state.ceiling.limit, Ceiling::MOST);
    }

    #[test]
    fn few_transfers_or_late_blobs_do_not_count_as_a_slow_registry() {
        let mut state = State::default();
        play(&mut state, 10, 1e8);
        for _ in 0..20 {
            state.large.busy = 1;
            state.large.done = 2_000_000;
            let now = state.period_start + PERIOD;
            state.adapt(now);
        }
        assert_eq!(state.ceiling.limit, Ceiling::MOST);
        // A minute in which nothing arrives, and then as much each period as before.
        let mut now = state.period_start;
        state.large.busy = 0;
        for _ in 0..20 {
            state.small.busy = 1;
            state.leave(Priority::Small, now);
            now += Duration::from_secs(60);
            assert!(state.enter(Priority::Small, usize::MAX, now));
            assert!(now.duration_since(state.period_start) < PERIOD);
            now += PERIOD;
            state.large.busy = 1;
            state.large.done = 4_000_000;
            state.adapt(now);
            state.large.busy = 0;
        }
        assert_eq!(state.ceiling.limit, Ceiling::MOST);
    }

    #[test]
    fn small_transfers_have_permits_of_their_own() {
        let limiter = limiter(None, None);
        let large = permits(&limiter, Priority::Large);
        assert_eq!(large.len(), LARGE);
        let small = permits(&limiter, Priority::Small);
        assert_eq!(small.len(), SMALL);
        drop(large);
        assert!(limiter.try_permit(Priority::Small).is_none());
        assert_eq!(permits(&limiter, Priority::Large).len(), LARGE);
    }

    #[test]
    fn jobs_limit_both_priorities_and_reserve_a_permit_for_small_transfers() {
        for (jobs, large, small) in [(1, 1, 0), (2, 1, 1), (3, 2, 1), (8, 6, 2)] {
            let limiter = limiter(Some(jobs), None);
            let all_large = permits(&limiter, Priority::Large);
            assert_eq!(all_large.len(), large, "{jobs} jobs");
            assert_eq!(
                permits(&limiter, Priority::Small).len(),
                small,
                "{jobs} jobs"
            );
            drop(all_large);
            assert_eq!(permits(&limiter, Priority::Small).len(), jobs);
        }
    }

    /// A registry that refuses what is beyond `bears` requests at a time, for `periods`. Returns
    /// how many were refused.
    fn overload(ceiling: &mut Ceiling, bears: usize, periods: usize) -> usize {
        let mut refused = 0;
        for _ in 0..periods {
            let generation = ceiling.generation;
            ceiling.in_flight = ceiling.limit;
            let too_many = ceiling.limit.saturating_sub(bears);
            for _ in 0..too_many {
                ceiling.cut(generation);
            }
            refused += too_many;
            ceiling.adapt(true);
        }
        refused
    }

    #[test]
    fn one_event_cuts_once_and_the_ceiling_stays_below_congestion() {
        let mut ceiling = Ceiling {
            in_flight: 40,
            ..Ceiling::default()
        };
        let generation = ceiling.generation;
        for _ in 0..40 {
            ceiling.cut(generation);
        }
        assert_eq!(ceiling.limit, 20);
        let mut ceiling = Ceiling::default();
        overload(&mut ceiling, 8, 8);
        // In a minute, a few requests find out that it is still the same.
        let refused = overload(&mut ceiling, 8, 240);
        assert!(refused <= 24, "{refused}");
        assert!((4..=10).contains(&ceiling.limit), "{}", ceiling.limit);
        // It recovers when the registry does.
        overload(&mut ceiling, usize::MAX, 240);
        assert!(ceiling.limit >= 30, "{}", ceiling.limit);
    }

    #[tokio::test]
    async fn requests_wait_below_the_ceiling() {
        let limiter = limiter(None, None);
        let mut all: Vec<_> = Vec::new();
        for _ in 0..16 {
            all.push(limiter.request().await);
        }
        for request in &all {
            request.on_congestion();
        }
        assert_eq!(limiter.ceiling(), 8);
        all.truncate(8);
        let waits = tokio::time::timeout(Duration::from_millis(50), limiter.request());
        waits.await.unwrap_err();
        all.pop();
        limiter.request().await;
    }

    #[tokio::test]
    async fn only_time_with_requests_in_flight_is_silence() {
        const TIME: Duration = Duration::from_millis(200);
        let limiter = limiter(None, None);
        tokio::time::sleep(TIME).await;
        assert_eq!(limiter.silence(), None);
        let _first = limiter.request().await;
        assert!(limiter.silence() < Some(TIME));
        tokio::time::sleep(TIME).await;
        let _second = limiter.request().await;
        assert!(limiter.silence() >= Some(TIME));
        limiter.sent(1);
        assert!(limiter.silence() < Some(TIME));
        limiter.pause_requests(TIME);
        assert_eq!(limiter.silence(), None);
    }

    #[tokio::test]
    async fn transfers_share_the_maximum_rate() {
        let limiter = limiter(None, Some(1_000_000));
        assert_eq!(limiter.chunk_size(512 * 1024), 125_000);
        let begun = Instant::now();
        futures_util::future::join(limiter.throttle(125_000), limiter.throttle(125_000)).await;
        limiter.throttle(1).await;
        assert!(begun.elapsed() >= Duration::from_millis(250));
    }

    #[tokio::test]
    async fn an_ordered_pause_holds_for_every_request() {
        let limiter = limiter(None, None);
        limiter.pause_requests(Duration::from_millis(200));
        limiter.pause_requests(Duration::from_millis(20));
        let begun = Instant::now();
        futures_util::future::join(limiter.wait_for_pause(), limiter.wait_for_pause()).await;
        assert!(begun.elapsed() >= Duration::from_millis(200));
    }
}
