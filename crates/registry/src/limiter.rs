//! Adapts concurrency to a registry: more while throughput grows, less as soon as the registry fails.
//!
//! The limit starts low. While work waits for it, it is raised by one and stays so only if more got done in the same time.
//! Trouble halves it: 429, 5xx, resets, sessions that were lost. What was in progress at that moment fails together; only
//! what began after the last cut can cut again. A pause that the registry ordered holds for every request.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, sleep_until};

use crate::known::lock;

/// Where every registry starts.
const FIRST_LIMIT: usize = 3;

/// How many questions may be under way for each upload that may: they carry nothing.
const QUESTIONS: usize = 4;

/// How long work is counted before the limit is thought about.
const PERIOD: Duration = Duration::from_millis(250);

/// What a finished piece of work counts beside its bytes: a request takes about as long as so many of them.
const REQUEST: u64 = 128 * 1024;

/// How many periods pass before a limit that did not help is tried again.
const REST: u32 = 4;

/// How many periods pass after trouble before the limit is raised again.
const REST_AFTER_TROUBLE: u32 = 20;

/// What a permit is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    /// A request that asks.
    Question,
    /// A request or two that carry little.
    Small,
    /// An upload that takes its time. One permit is always left to the others.
    Large,
}

#[derive(Debug)]
pub(crate) struct Limiter {
    state: Mutex<State>,
    freed: Notify,
    bucket: Option<Bucket>,
}

#[derive(Debug)]
struct State {
    most: usize,
    limit: usize,
    busy: usize,
    busy_large: usize,
    /// Since when nothing has been under way.
    idle_since: Option<Instant>,
    /// Counts the cuts.
    generation: u64,
    paused_until: Option<Instant>,
    /// Whether work had to wait for the limit in this period.
    wanted: bool,
    since: Instant,
    done: u64,
    /// What got done each second before the limit was raised, if it was raised at the end of the last period.
    before: Option<f64>,
    rest: u32,
}

/// Leave to work. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    limiter: &'a Limiter,
    priority: Priority,
}

/// Lets so many bytes a second pass.
#[derive(Debug)]
struct Bucket {
    rate: u64,
    /// When the next byte may pass.
    next: Mutex<Instant>,
}

impl Limiter {
    /// Returns a limiter of `most` concurrent pieces of work, and `max_rate` bytes a second.
    pub(crate) fn new(most: usize, max_rate: Option<u64>) -> Self {
        let most = most.max(1);
        Self {
            state: Mutex::new(State {
                most,
                limit: most.min(FIRST_LIMIT),
                busy: 0,
                busy_large: 0,
                idle_since: None,
                generation: 0,
                paused_until: None,
                wanted: false,
                since: Instant::now(),
                done: 0,
                before: None,
                rest: 0,
            }),
            freed: Notify::new(),
            bucket: max_rate.map(|rate| Bucket {
                rate: rate.max(1),
                next: Mutex::new(Instant::now()),
            }),
        }
    }

    /// Returns leave to work, if there is any left.
    pub(crate) fn try_permit(&self, priority: Priority) -> Option<Permit<'_>> {
        let entered = lock(&self.state).enter(priority, Instant::now());
        // Made only if there is leave: a permit gives it back when it is dropped.
        entered.then(|| Permit {
            limiter: self,
            priority,
        })
    }

    /// Returns what becomes ready when a permit may be free. To be made before [`Limiter::try_permit`] is called, so that nothing is missed.
    pub(crate) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// Returns what [`Limiter::on_congestion`] is to be told about work that begins now.
    pub(crate) fn generation(&self) -> u64 {
        lock(&self.state).generation
    }

    /// Takes note of trouble with work that began in `generation`.
    pub(crate) fn on_congestion(&self, generation: u64) {
        lock(&self.state).cut(generation);
    }

    /// Holds every request back for so long.
    pub(crate) fn hold_back(&self, order: Duration) {
        let mut state = lock(&self.state);
        let until = Instant::now() + order;
        state.paused_until = state.paused_until.max(Some(until));
    }

    /// Waits until requests may be made.
    pub(crate) async fn gate(&self) {
        loop {
            let until = lock(&self.state).paused_until;
            match until {
                Some(until) if until > Instant::now() => sleep_until(until).await,
                _ => return,
            }
        }
    }

    /// Takes note of bytes that were sent.
    pub(crate) fn sent(&self, bytes: u64) {
        if lock(&self.state).work(bytes, Instant::now()) {
            self.freed.notify_waiters();
        }
    }

    /// Returns how much should be sent at a time, `most` at most.
    pub(crate) fn piece(&self, most: usize) -> usize {
        match &self.bucket {
            None => most,
            // About eight pieces a second, so that a slow line is not used in bursts.
            Some(bucket) => (bucket.rate / 8).clamp(1024, most as u64) as usize,
        }
    }

    /// Waits until so many bytes may be sent.
    pub(crate) async fn allow(&self, bytes: usize) {
        if let Some(bucket) = &self.bucket {
            let turn = bucket.turn(bytes as u64, Instant::now());
            sleep_until(turn).await;
        }
    }

    #[cfg(test)]
    pub(crate) fn limit(&self) -> usize {
        lock(&self.state).limit
    }
}

impl State {
    fn enter(&mut self, priority: Priority, now: Instant) -> bool {
        let limit = match priority {
            Priority::Question => (self.limit * QUESTIONS).min(self.most),
            Priority::Small | Priority::Large => self.limit,
        };
        if self.busy >= limit {
            self.wanted = true;
            return false;
        }
        if priority == Priority::Large {
            if self.busy_large >= (limit - 1).max(1) {
                self.wanted = true;
                return false;
            }
            self.busy_large += 1;
        }
        self.busy += 1;
        // Time in which there was nothing to do, since nothing had arrived, says nothing of the registry.
        if let Some(idle) = self.idle_since.take() {
            self.since += now.duration_since(idle);
        }
        true
    }

    fn leave(&mut self, priority: Priority, now: Instant) {
        self.busy -= 1;
        if self.busy == 0 {
            self.idle_since = Some(now);
        }
        if priority == Priority::Large {
            self.busy_large -= 1;
        }
    }

    /// Counts work, and returns whether the limit was raised.
    fn work(&mut self, units: u64, now: Instant) -> bool {
        self.done += units;
        let elapsed = now.duration_since(self.since);
        if elapsed < PERIOD {
            return false;
        }
        let rate = self.done as f64 / elapsed.as_secs_f64();
        let before = self.limit;
        match self.before.take() {
            Some(slower) if rate > slower * 1.03 => self.raise(rate),
            // There was too little to do to tell whether more helps.
            Some(slower) if !self.wanted => self.before = Some(slower),
            Some(_) => {
                self.limit = (self.limit - 1).max(1);
                self.rest = REST;
            }
            None if self.rest > 0 => self.rest -= 1,
            None => self.raise(rate),
        }
        self.since = now;
        self.done = 0;
        self.wanted = false;
        self.limit > before
    }

    fn raise(&mut self, rate: f64) {
        if self.wanted && self.limit < self.most {
            self.limit += 1;
            self.before = Some(rate);
        }
    }

    fn cut(&mut self, generation: u64) {
        if generation != self.generation {
            return;
        }
        self.generation += 1;
        self.limit = (self.limit / 2).max(1);
        self.before = None;
        self.rest = REST_AFTER_TROUBLE;
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.limiter.state);
        let now = Instant::now();
        state.work(REQUEST, now);
        state.leave(self.priority, now);
        drop(state);
        self.limiter.freed.notify_waiters();
    }
}

impl Bucket {
    /// Returns when so many bytes may be sent, after everybody who asked before.
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

    /// Plays `seconds` of work that always waits for the limit, at a rate that depends on it.
    fn play(state: &mut State, seconds: u64, rate: impl Fn(usize) -> f64) {
        for _ in 0..seconds * 4 {
            state.wanted = true;
            let done = rate(state.limit) * PERIOD.as_secs_f64();
            let now = state.since + PERIOD;
            state.work(done as u64, now);
        }
    }

    fn state(most: usize) -> State {
        let Limiter { state, .. } = Limiter::new(most, None);
        state.into_inner().unwrap()
    }

    #[test]
    fn the_limit_grows_while_more_gets_done_and_no_further() {
        let mut state = state(32);
        assert_eq!(state.limit, 3);
        play(&mut state, 10, |limit| limit.min(8) as f64 * 1e7);
        assert!((8..=9).contains(&state.limit), "{}", state.limit);
        // Where nothing is gained it stays low.
        let mut state = super::tests::state(32);
        play(&mut state, 10, |_| 1e7);
        assert!((3..=4).contains(&state.limit), "{}", state.limit);
    }

    #[test]
    fn the_limit_does_not_pass_the_one_that_was_set() {
        let mut state = state(5);
        play(&mut state, 10, |limit| limit as f64 * 1e7);
        assert_eq!(state.limit, 5);
        assert_eq!(super::tests::state(1).limit, 1);
    }

    #[test]
    fn the_limit_does_not_grow_while_nobody_wants_it() {
        let mut state = state(32);
        for _ in 0..40 {
            let now = state.since + PERIOD;
            state.work(10_000_000, now);
        }
        assert_eq!(state.limit, 3);
    }

    #[test]
    fn waiting_for_work_does_not_make_a_registry_slow() {
        let mut state = state(32);
        play(&mut state, 10, |limit| limit.min(8) as f64 * 1e7);
        let grown = state.limit;
        let rest = state.rest;
        // A minute in which nothing arrives, and then as much each period as before.
        let mut now = state.since;
        for _ in 0..20 {
            state.busy = 1;
            state.leave(Priority::Small, now);
            now += Duration::from_secs(60);
            assert!(state.enter(Priority::Small, now));
            assert!(now.duration_since(state.since) < PERIOD);
            now += PERIOD;
            state.wanted = true;
            state.work((grown as f64 * 1e7 * PERIOD.as_secs_f64()) as u64, now);
        }
        assert!(state.limit >= grown, "{} of {grown}", state.limit);
        assert!(state.rest <= rest.max(REST));
    }

    #[test]
    fn a_limit_that_nobody_needed_is_not_judged() {
        let mut state = state(32);
        state.wanted = true;
        state.work(10_000_000, state.since + PERIOD);
        assert_eq!(state.limit, 4);
        // The source is slow now: less gets done, and nothing waits.
        for _ in 0..10 {
            state.work(10, state.since + PERIOD);
        }
        assert_eq!(state.limit, 4);
        // Once work waits again, the limit has to prove itself.
        state.wanted = true;
        state.work(10, state.since + PERIOD);
        assert_eq!(state.limit, 3);
    }

    #[test]
    fn one_event_cuts_once() {
        let mut state = state(32);
        play(&mut state, 10, |limit| limit as f64 * 1e7);
        let grown = state.limit;
        assert!(grown >= 16, "{grown}");
        // Everything that was under way fails at the same time.
        let generation = state.generation;
        for _ in 0..grown {
            state.cut(generation);
        }
        assert_eq!(state.limit, grown / 2);
        state.cut(state.generation);
        assert_eq!(state.limit, grown / 4);
        for _ in 0..10 {
            state.cut(state.generation);
        }
        assert_eq!(state.limit, 1);
        // It recovers.
        play(&mut state, 20, |limit| limit as f64 * 1e7);
        assert!(state.limit >= 8, "{}", state.limit);
    }

    #[test]
    fn one_permit_is_kept_for_what_is_small() {
        let limiter = Limiter::new(3, None);
        let large: Vec<_> = std::iter::from_fn(|| limiter.try_permit(Priority::Large)).collect();
        assert_eq!(large.len(), 2);
        let small = limiter.try_permit(Priority::Small);
        assert!(small.is_some());
        assert!(limiter.try_permit(Priority::Small).is_none());
        drop(small);
        assert!(limiter.try_permit(Priority::Small).is_some());
        // With a single permit there is nothing to keep.
        let limiter = Limiter::new(1, None);
        assert!(limiter.try_permit(Priority::Large).is_some());
    }

    #[test]
    fn questions_go_before_the_limit_and_not_before_the_one_that_was_set() {
        for (most, questions) in [(1, 1), (8, 8), (100, 12)] {
            let limiter = Limiter::new(most, None);
            let asked: Vec<_> =
                std::iter::from_fn(|| limiter.try_permit(Priority::Question)).collect();
            assert_eq!(asked.len(), questions);
        }
    }

    #[tokio::test]
    async fn bytes_pass_at_their_rate_and_share_it() {
        let limiter = Limiter::new(4, Some(1_000_000));
        assert_eq!(limiter.piece(512 * 1024), 125_000);
        let begun = Instant::now();
        futures_util::future::join(limiter.allow(125_000), limiter.allow(125_000)).await;
        limiter.allow(1).await;
        assert!(begun.elapsed() >= Duration::from_millis(250));
    }

    #[tokio::test]
    async fn an_ordered_pause_holds_for_everybody() {
        let limiter = Limiter::new(4, None);
        limiter.hold_back(Duration::from_millis(200));
        limiter.hold_back(Duration::from_millis(20));
        let begun = Instant::now();
        futures_util::future::join(limiter.gate(), limiter.gate()).await;
        assert!(begun.elapsed() >= Duration::from_millis(200));
    }
}
