//! Processes many items, such as environments, on several threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, available_parallelism, scope};

/// Stack size of a thread in bytes. It equals that of the main thread on Linux, since parsed files
/// may nest as deep as that allows.
const STACK: usize = 8 << 20;

/// Calls `work` for each item and returns the results in the order of the items. Runs one thread
/// per processor, so memory holds that many unfinished results for any number of items.
pub fn map<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    map_in(available_parallelism().map_or(1, usize::from), items, work)
}

/// Like [`map`], with at most `threads` threads.
pub(crate) fn map_in<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let take = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(place) else {
                return done;
            };
            done.push((place, work(item)));
        }
    };
    let mut done = scope(|scope| {
        // If a thread cannot be started, the others do its work. The current thread is one of them.
        let start = |_| Builder::new().stack_size(STACK).spawn_scoped(scope, take);
        let others: Vec<_> = (1..threads.min(items.len()))
            .filter_map(|number| start(number).ok())
            .collect();
        let mut done = take();
        for other in others {
            match other.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn results_are_in_order_and_no_more_threads_than_allowed_work() {
        let items: Vec<usize> = (0..100).collect();
        let (working, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let doubled = map_in(3, &items, |item| {
            let now = 1 + working.fetch_add(1, Ordering::SeqCst);
            most.fetch_max(now, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(1));
            working.fetch_sub(1, Ordering::SeqCst);
            item * 2
        });
        let expected: Vec<usize> = items.iter().map(|item| item * 2).collect();
        assert_eq!(doubled, expected);
        let most = most.load(Ordering::SeqCst);
        assert!((2..=3).contains(&most), "{most}");
    }
}
