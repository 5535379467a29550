//! What a registry confirmed in this run, shared by all pushes to it.
//!
//! A blob is recorded for one repository, never for others.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oci_spec::image::Digest;

use crate::Profile;

/// How many mounts a registry may refuse before it is no longer asked, if it has never granted one.
const MOST_REFUSALS: u32 = 3;

#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// The repositories that hold a blob by the registry's own word.
    held: Mutex<HashMap<Digest, BTreeSet<String>>>,
    /// One lock for each blob of a repository in progress, so no two uploads send the same bytes
    /// there.
    worked_on: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>,
    /// Where else a blob may be, according to the caller.
    mount_candidates: Mutex<HashMap<Digest, String>>,
    /// The repositories that may hold a blob from an earlier push, according to the caller.
    expected: Mutex<HashMap<Digest, BTreeSet<String>>>,
    candidates_refused: AtomicU32,
    expected_refused: AtomicU32,
    mounts_granted: AtomicBool,
    mounts_refused: AtomicU32,
    /// Whether a task has begun to find out what the next field says.
    self_mounts_tried: AtomicBool,
    /// Whether a mount from a repository to itself shows if the blob exists.
    self_mounts_answer: AtomicBool,
    /// Whether a blob is to be sent by the request that opens a session, to see what comes of it.
    single_post_is_due: AtomicBool,
    single_post_was_due: AtomicBool,
    /// Whether such a request is taken.
    single_posts_taken: AtomicBool,
    /// The most that one request may carry, in bytes, where the registry has refused more;
    /// otherwise 0.
    at_once: AtomicU64,
    /// Whether a body without a length was refused.
    streams_refused: AtomicBool,
    /// Whether what one request may carry is from a profile, and not from this run.
    at_once_is_a_guess: AtomicBool,
    /// Whether a profile was found wrong.
    profile_is_wrong: AtomicBool,
}

pub(crate) type Key = (String, Digest);

/// A repository that a blob may be mounted from, according to the caller.
pub(crate) struct Candidate {
    pub(crate) from: String,
    /// Whether only an earlier push may have left it there.
    is_expected: bool,
}

impl Recorded {
    /// Begins with what was measured some time ago: of what was refused then, nothing is asked.
    pub(crate) fn expecting(profile: &Profile) -> Self {
        let recorded = Self::default();
        if profile.mounts == Some(false) {
            recorded
                .mounts_refused
                .store(MOST_REFUSALS, Ordering::Relaxed);
            recorded.self_mounts_tried.store(true, Ordering::Relaxed);
        }
        match (profile.chunks, profile.largest_request) {
            (Some(false), _) => recorded.streams_are_refused(),
            (_, Some(most)) if most > 0 => {
                recorded.may_send_at_once(most);
                recorded.at_once_is_a_guess.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
        recorded
    }

    pub(crate) fn holds(&self, repository: &str, digest: &Digest) -> bool {
        let held = lock(&self.held);
        held.get(digest).is_some_and(|by| by.contains(repository))
    }

    /// Returns whether any repository holds the blob.
    pub(crate) fn is_held(&self, digest: &Digest) -> bool {
        lock(&self.held)
            .get(digest)
            .is_some_and(|by| !by.is_empty())
    }

    pub(crate) fn note(&self, repository: &str, digest: &Digest) {
        lock(&self.held)
            .entry(digest.clone())
            .or_default()
            .insert(repository.to_owned());
        // Later callers find the blob noted, so the lock is no longer needed.
        lock(&self.worked_on).remove(&(repository.to_owned(), digest.clone()));
    }

    /// Forgets that a repository holds a blob, after the registry contradicted itself.
    pub(crate) fn forget(&self, repository: &str, digest: &Digest) {
        if let Some(by) = lock(&self.held).get_mut(digest) {
            by.remove(repository);
        }
    }

    pub(crate) fn turn(&self, repository: &str, digest: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        let key = (repository.to_owned(), digest.clone());
        Arc::clone(lock(&self.worked_on).entry(key).or_default())
    }

    /// Returns a repository that the blob may be mounted from.
    pub(crate) fn mountable_from(&self, repository: &str, digest: &Digest) -> Option<String> {
        if !self.mounts() {
            return None;
        }
        let held = lock(&self.held);
        held.get(digest)?
            .iter()
            .find(|other| *other != repository)
            .cloned()
    }

    pub(crate) fn add_mount_candidate(&self, repository: &str, digest: &Digest) {
        lock(&self.mount_candidates).insert(digest.clone(), repository.to_owned());
    }

    /// Returns a repository that the blob may be mounted from, if what the caller said is true.
    /// What a different project should hold comes first: a project may be new, whatever an earlier
    /// push may have left in it.
    pub(crate) fn mount_candidate(&self, repository: &str, digest: &Digest) -> Option<Candidate> {
        let is_worth = |refused: &AtomicU32| refused.load(Ordering::Relaxed) < MOST_REFUSALS;
        if !self.mounts() {
            return None;
        }
        if is_worth(&self.candidates_refused)
            && let Some(other) = lock(&self.mount_candidates).get(digest)
            && other != repository
        {
            return Some(Candidate {
                from: other.clone(),
                is_expected: false,
            });
        }
        let expected = lock(&self.expected);
        // What may be here is asked for here.
        let by = (expected.get(digest)).filter(|by| !by.contains(repository));
        let from = by.filter(|_| is_worth(&self.expected_refused))?.first()?;
        Some(Candidate {
            from: from.clone(),
            is_expected: true,
        })
    }

    pub(crate) fn expect(&self, repository: &str, digest: &Digest) {
        let mut expected = lock(&self.expected);
        let by = expected.entry(digest.clone()).or_default();
        by.insert(repository.to_owned());
    }

    /// Returns whether a repository may hold a blob from an earlier push.
    pub(crate) fn is_expected(&self, repository: &str, digest: &Digest) -> bool {
        let expected = lock(&self.expected);
        (expected.get(digest)).is_some_and(|by| by.contains(repository))
    }

    /// Takes note that a registry did not have a mount candidate. It says nothing of what the
    /// registry itself confirmed, nor of those of the other kind.
    pub(crate) fn candidate_refused(&self, candidate: &Candidate) {
        let refused = match candidate.is_expected {
            true => &self.expected_refused,
            false => &self.candidates_refused,
        };
        refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns whether mounts are still worth asking for.
    pub(crate) fn mounts(&self) -> bool {
        self.mounts_granted.load(Ordering::Relaxed)
            || self.mounts_refused.load(Ordering::Relaxed) < MOST_REFUSALS
    }

    pub(crate) fn mount_answered(&self, granted: bool) {
        if granted {
            self.mounts_granted.store(true, Ordering::Relaxed);
        } else {
            self.mounts_refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns whether a mount from a repository to itself shows if a blob exists.
    pub(crate) fn self_mounts_answer(&self) -> bool {
        self.self_mounts_answer.load(Ordering::Relaxed)
    }

    /// Lets only the first caller find out what self-mounts report.
    pub(crate) fn may_try_self_mounts(&self) -> bool {
        !self.self_mounts_tried.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn self_mounts_are_good(&self) {
        self.self_mounts_answer.store(true, Ordering::Relaxed);
    }

    /// Returns whether a blob may be sent by the request that opens a session.
    pub(crate) fn takes_single_posts(&self) -> bool {
        self.single_posts_taken.load(Ordering::Relaxed)
    }

    /// Has the next small blob find out whether that is so, unless one did before.
    pub(crate) fn try_single_post(&self) {
        if !self.single_post_was_due.swap(true, Ordering::Relaxed) {
            self.single_post_is_due.store(true, Ordering::Relaxed);
        }
    }

    /// Leaves it unknown.
    pub(crate) fn forgo_single_posts(&self) {
        self.single_post_is_due.store(false, Ordering::Relaxed);
    }

    /// Lets one caller find it out.
    pub(crate) fn may_try_single_post(&self) -> bool {
        self.single_post_is_due.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn single_post_answered(&self, taken: bool) {
        self.single_posts_taken.store(taken, Ordering::Relaxed);
    }

    /// Returns how many bytes one request may carry.
    pub(crate) fn at_once(&self) -> u64 {
        match self.at_once.load(Ordering::Relaxed) {
            0 => u64::MAX,
            most => most,
        }
    }

    /// Takes note that one request may not carry more than this many bytes.
    pub(crate) fn may_send_at_once(&self, most: u64) {
        let most = most.min(self.at_once());
        self.at_once.store(most, Ordering::Relaxed);
    }

    /// Returns whether what one request may carry is from a profile alone.
    pub(crate) fn guesses_at_once(&self) -> bool {
        self.at_once_is_a_guess.load(Ordering::Relaxed)
    }

    /// Goes back to what a push does that knows of no limit, after parts were refused that only a
    /// profile asked for.
    pub(crate) fn guess_was_wrong(&self) {
        self.profile_is_wrong.store(true, Ordering::Relaxed);
        if self.at_once_is_a_guess.swap(false, Ordering::Relaxed) {
            self.at_once.store(0, Ordering::Relaxed);
        }
    }

    /// Takes note that less may be sent at once than a profile says.
    pub(crate) fn limit_is_lower(&self) {
        if self.guesses_at_once() {
            self.profile_is_wrong.store(true, Ordering::Relaxed);
        }
    }

    /// Returns whether a profile was found wrong.
    pub(crate) fn profile_is_wrong(&self) -> bool {
        self.profile_is_wrong.load(Ordering::Relaxed)
    }

    /// Returns whether a body may be sent without its length.
    pub(crate) fn streams(&self) -> bool {
        !self.streams_refused.load(Ordering::Relaxed)
    }

    /// Records that every body must have a length.
    pub(crate) fn streams_are_refused(&self) {
        self.streams_refused.store(true, Ordering::Relaxed);
    }

    /// Goes back to asking about each blob by itself.
    pub(crate) fn self_mounts_lied(&self) {
        self.self_mounts_answer.store(false, Ordering::Relaxed);
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is done under these locks can leave them half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
