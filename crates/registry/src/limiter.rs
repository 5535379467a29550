//! Adapts concurrency to a registry, separately for latency and bandwidth.
//!
//! Work that carries little waits for latency, so many pieces of it run concurrently, in places of
//! their own. Large blobs wait for bandwidth, so few suffice.
//!
//! All requests together stay below a ceiling. Congestion halves it: 429, 5xx, resets, lost
//! sessions. Requests that were in flight at that moment fail together, so only those that began
//! after the last cut can cut again. A registry that becomes much slower lowers it by a quarter.
//! The ceiling grows back to just below what was refused, and is tested beyond that only rarely. A
//! pause that the registry ordered holds for every request.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, sleep_until};

use crate::recorded::lock;

/// The most concurrent pieces of work that carry little.
const SMALL: usize = 24;

/// The most concurrent uploads that take bandwidth. [`Queues`](crate::queues::Queues) bounds their
/// bytes as well.
const LARGE: usize = 24;

/// How long work is counted before the ceiling is adapted.
const PERIOD: Duration = Duration::from_millis(250);

/// How many periods without congestion pass before the ceiling is tested beyond what was refused.
const REST_BELOW_REFUSED: u32 = 20;

/// So many requests in flight are not taken for too many before they were refused.
const FEW: usize = 8;

/// The lowest ceiling that a slow registry gets.
const LEAST: usize = 4;

/// How many periods fill buffers before the rate is that of the registry.
const FILLING: u32 = 8;

/// After how many slow periods in a row a registry has become slow.
const SLOW: u32 = 4;

/// What a permit is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    /// A few requests that carry little: questions, mounts, small blobs, manifests, tags.
    Small,
    /// An upload that takes bandwidth.
    Large,
}

/// A handle's view of the limits of a registry.
#[derive(Debug)]
pub(crate) struct Limiter {
    shared: Arc<Shared>,
    /// The most pieces of work that the operator allows.
    jobs: usize,
    bucket: Option<Bucket>,
}

/// What all handles of a registry share.
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
    wanted: bool,
    /// Since when no work has been in progress.
    idle_since: Option<Instant>,
    paused_until: Option<Instant>,
    since: Instant,
    /// When the last bytes were sent, or work ended.
    moved: Instant,
}

/// One kind of work.
#[derive(Debug, Default)]
struct Pool {
    busy: usize,
    /// What got done in this period: bytes, or pieces of work.
    done: u64,
    /// What gets done each second as a rule, and how many places are busy then.
    usual: (f64, f64),
    /// How many periods have been judged.
    judged: u32,
    /// How many periods in a row less than a third of the usual got done.
    slow: u32,
}

/// A limit for requests in flight, whatever they carry.
#[derive(Debug)]
struct Ceiling {
    limit: usize,
    in_flight: usize,
    /// Counts the cuts.
    generation: u64,
    /// How many requests in flight were too many.
    refused: Option<usize>,
    rest: u32,
}

/// Permission to work. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    limiter: &'a Limiter,
    priority: Priority,
}

/// A request in flight.
#[derive(Debug)]
pub(crate) struct InFlight<'a> {
    limiter: &'a Limiter,
    generation: u64,
}

/// Lets this many bytes a second pass.
#[derive(Debug)]
struct Bucket {
    rate: u64,
    /// When the next byte may pass.
    next: Mutex<Instant>,
}

impl Limiter {
    /// Returns a limiter of at most `jobs` concurrent pieces of work, and `max_rate` bytes a
    /// second.
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

    /// Returns permission to work, if there is room.
    pub(crate) fn try_permit(&self, priority: Priority) -> Option<Permit<'_>> {
        let mut state = lock(&self.shared.state);
        let entered = state.enter(priority, self.jobs, Instant::now());
        // Made only if there is room: a permit gives its place back when it is dropped.
        entered.then(|| Permit {
            limiter: self,
            priority,
        })
    }

    /// Returns what becomes ready when a permit may be free. To be made before
    /// [`Limiter::try_permit`] is called, so nothing is missed.
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

    /// Holds every request back for so long.
    pub(crate) fn pause_requests(&self, order: Duration) {
        let mut state = lock(&self.shared.state);
        let until = Instant::now() + order;
        state.paused_until = state.paused_until.max(Some(until));
    }

    /// Waits until requests may be made.
    pub(crate) async fn wait_for_pause(&self) {
        loop {
            let until = lock(&self.shared.state).paused_until;
            match until {
                Some(until) if until > Instant::now() => sleep_until(until).await,
                _ => return,
            }
        }
    }

    /// Takes note of bytes that were sent.
    pub(crate) fn sent(&self, bytes: u64) {
        let mut state = lock(&self.shared.state);
        state.large.done += bytes;
        let now = Instant::now();
        state.moved = now;
        if state.adapt(now) {
            self.shared.freed.notify_waiters();
        }
    }

    /// Returns for how long nothing was sent and no work ended, if requests are in flight and none
    /// of them is to wait.
    pub(crate) fn silence(&self) -> Option<Duration> {
        let state = lock(&self.shared.state);
        let now = Instant::now();
        let waits = state.paused_until.is_some_and(|until| until > now);
        (state.ceiling.in_flight > 0 && !waits).then(|| now.duration_since(state.moved))
    }

    /// Waits until nothing was sent and no work ended for so long, counted from now.
    pub(crate) async fn wait_until_idle(&self, time: Duration) {
        let mut last = Instant::now();
        loop {
            sleep_until(last + time).await;
            let moved = lock(&self.shared.state).moved;
            if moved <= last {
                return;
            }
            last = moved;
        }
    }

    /// Returns how much should be sent at a time, `most` at most.
    pub(crate) fn chunk_size(&self, most: usize) -> usize {
        match &self.bucket {
            None => most,
            // About eight pieces a second, so a slow line is not used in bursts.
            Some(bucket) => (bucket.rate / 8).clamp(1024, most as u64) as usize,
        }
    }

    /// Waits until this many bytes may be sent.
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
    /// Takes note that the request met congestion.
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
            wanted: false,
            idle_since: None,
            paused_until: None,
            since: Instant::now(),
            moved: Instant::now(),
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
                // Some places are always left to what is small.
                let most = most.saturating_sub((most / 4).max(1)).clamp(1, LARGE);
                let full = self.large.busy >= most || busy >= jobs;
                (&mut self.large, full)
            }
        };
        self.wanted |= full;
        if full {
            return false;
        }
        pool.busy += 1;
        // Time in which nothing had arrived says nothing about the registry.
        if let Some(idle) = self.idle_since.take() {
            self.since += now.duration_since(idle);
        }
        true
    }

    /// Lets a request begin, if there is room. Time without any says nothing about the registry's
    /// silence.
    fn begin_request(&mut self, now: Instant) -> Option<u64> {
        if self.ceiling.in_flight == 0 {
            self.moved = now;
        }
        self.ceiling.enter()
    }

    fn leave(&mut self, priority: Priority, now: Instant) {
        self.moved = now;
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

    /// Adapts the ceiling at the end of a period, and returns whether it may have been raised.
    fn adapt(&mut self, now: Instant) -> bool {
        let elapsed = now.duration_since(self.since);
        if elapsed < PERIOD {
            return false;
        }
        let wanted = std::mem::take(&mut self.wanted);
        let is_slow = [&mut self.small, &mut self.large].map(|pool| pool.is_slow(elapsed));
        match is_slow.contains(&true) {
            true => self.ceiling.lower(),
            false => self.ceiling.adapt(wanted),
        }
        self.since = now;
        true
    }
}

impl Pool {
    /// Judges a period, and returns whether the registry has become slow.
    fn is_slow(&mut self, elapsed: Duration) -> bool {
        let rate = std::mem::take(&mut self.done) as f64 / elapsed.as_secs_f64();
        let busy = self.busy as f64;
        if self.busy == 0 {
            return false;
        }
        self.judged += 1;
        // What is sent first fills the buffers on the way, and says little about the registry.
        if self.judged <= FILLING {
            self.usual = (rate, busy);
            return false;
        }
        // Where less is in progress, less gets done.
        let is_less = rate < self.usual.0 / 3.0 && busy >= self.usual.1 * 0.75;
        self.slow = if is_less { self.slow + 1 } else { 0 };
        let nearer = |usual: f64, now: f64| usual + (now - usual) / 8.0;
        self.usual = (nearer(self.usual.0, rate), nearer(self.usual.1, busy));
        if self.slow < SLOW {
            return false;
        }
        self.usual = (rate, busy);
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
            refused: None,
            rest: 0,
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
    fn cut(&mut self, generation: u64) -> bool {
        if generation != self.generation {
            return false;
        }
        self.generation += 1;
        // A request that fails alone says little about how many would be too many.
        let refused = self.limit.min(self.in_flight.max(FEW));
        self.refused = Some(refused);
        self.limit = (refused / 2).max(1);
        self.rest = REST_BELOW_REFUSED;
        true
    }

    /// Lowers the limit for a registry that has become slow.
    fn lower(&mut self) {
        let busy = self.limit.min(self.in_flight.max(FEW));
        self.limit = (busy * 3 / 4).max(LEAST);
    }

    fn adapt(&mut self, wanted: bool) {
        if !wanted || self.limit >= Self::MOST {
            return;
        }
        match self.refused {
            Some(refused) if self.limit + 1 >= refused => {
                self.rest = self.rest.saturating_sub(1);
                if self.rest == 0 {
                    self.refused = Some(refused + (refused / 4).max(1));
                    self.rest = REST_BELOW_REFUSED;
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
    /// Returns when this many bytes may be sent, after everything that was asked for before.
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
            state.wanted = true;
            state.large.busy = 6;
            state.large.done = (rate * PERIOD.as_secs_f64()) as u64;
            let now = state.since + PERIOD;
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
    fn a_registry_that_becomes_slow_gets_less_and_what_it_bears_later() {
        let mut state = State::default();
        // A burst fills buffers and is not the usual rate.
        play(&mut state, 1, 1e9);
        play(&mut state, 3, 1e8);
        assert_eq!(state.ceiling.limit, Ceiling::MOST);
        play(&mut state, 1, 1e7);
        assert_eq!(state.ceiling.limit, FEW * 3 / 4);
        // It is not slower than before any more.
        play(&mut state, 20, 1e7);
        assert_eq!(state.ceiling.limit, Ceiling::MOST);
    }

    #[test]
    fn what_is_little_in_progress_or_has_not_arrived_does_not_make_a_registry_slow() {
        let mut state = State::default();
        play(&mut state, 10, 1e8);
        for _ in 0..20 {
            state.large.busy = 1;
            state.large.done = 2_000_000;
            let now = state.since + PERIOD;
            state.adapt(now);
        }
        assert_eq!(state.ceiling.limit, Ceiling::MOST);
        // A minute in which nothing arrives, and then as much each period as before.
        let mut now = state.since;
        state.large.busy = 0;
        for _ in 0..20 {
            state.small.busy = 1;
            state.leave(Priority::Small, now);
            now += Duration::from_secs(60);
            assert!(state.enter(Priority::Small, usize::MAX, now));
            assert!(now.duration_since(state.since) < PERIOD);
            now += PERIOD;
            state.large.busy = 1;
            state.large.done = 4_000_000;
            state.adapt(now);
            state.large.busy = 0;
        }
        assert_eq!(state.ceiling.limit, Ceiling::MOST);
    }

    #[test]
    fn small_work_has_places_beside_large_blobs() {
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
    fn jobs_bound_both_together_and_one_is_kept_for_what_is_small() {
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
    fn one_event_cuts_once_and_the_ceiling_stays_below_what_was_refused() {
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
    async fn bytes_pass_at_their_rate_and_share_it() {
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
