//! What a registry confirmed or refused in this run, shared by all pushes of a client.
//!
//! A blob is recorded for one repository, never for others.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oci_spec::image::Digest;

use crate::Profile;

/// How many refused mounts end the attempts to mount, if the registry has never granted one.
const MOST_REFUSALS: u32 = 3;

#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// Repositories that have a blob, as the registry confirmed.
    held: Mutex<HashMap<Digest, BTreeSet<String>>>,
    /// One lock per blob and repository in progress, so no two uploads send the same bytes to the
    /// same repository.
    uploads_in_progress: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>,
    /// A repository that may have a blob, according to the caller.
    mount_candidates: Mutex<HashMap<Digest, String>>,
    /// Repositories that may have a blob from an earlier push, according to the caller.
    expected: Mutex<HashMap<Digest, BTreeSet<String>>>,
    candidates_refused: AtomicU32,
    expected_refused: AtomicU32,
    mounts_granted: AtomicBool,
    mounts_refused: AtomicU32,
    /// Whether the trial of self-mounts has begun.
    self_mounts_tried: AtomicBool,
    /// Whether a mount from a repository to itself shows if the blob exists.
    self_mounts_work: AtomicBool,
    /// Whether the next small blob is sent in the request that opens a session, as a trial.
    single_post_trial_due: AtomicBool,
    single_post_trial_scheduled: AtomicBool,
    /// Whether the registry accepts a blob in the request that opens a session.
    single_posts_accepted: AtomicBool,
    /// Maximum size of a request body in bytes; 0 if no limit is known.
    request_limit: AtomicU64,
    /// Whether the registry refused a body without a length.
    streams_refused: AtomicBool,
    /// Whether the limit comes from a profile and was not confirmed in this run.
    limit_from_profile: AtomicBool,
    /// Whether a push found the profile outdated.
    profile_is_wrong: AtomicBool,
}

pub(crate) type Key = (String, Digest);

/// A repository that a blob may be mounted from, according to the caller.
pub(crate) struct Candidate {
    pub(crate) from: String,
    /// Whether it comes from [`Recorded::expect`], not from [`Recorded::add_mount_candidate`].
    is_expected: bool,
}

impl Recorded {
    /// Returns a record that begins with a profile. Capabilities that the registry lacked then are
    /// not tried.
    pub(crate) fn from_profile(profile: &Profile) -> Self {
        let recorded = Self::default();
        if profile.mounts == Some(false) {
            recorded.mounts_refused.store(MOST_REFUSALS, Relaxed);
            recorded.self_mounts_tried.store(true, Relaxed);
        }
        match (profile.chunks, profile.largest_request) {
            (Some(false), _) => recorded.streams_are_refused(),
            (_, Some(most)) if most > 0 => {
                recorded.lower_request_limit(most);
                recorded.limit_from_profile.store(true, Relaxed);
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

    pub(crate) fn note_held(&self, repository: &str, digest: &Digest) {
        lock(&self.held)
            .entry(digest.clone())
            .or_default()
            .insert(repository.to_owned());
        // Later callers find the blob noted, so the lock is no longer needed.
        lock(&self.uploads_in_progress).remove(&(repository.to_owned(), digest.clone()));
    }

    /// Removes a blob from the record, because the registry contradicted itself.
    pub(crate) fn forget(&self, repository: &str, digest: &Digest) {
        if let Some(by) = lock(&self.held).get_mut(digest) {
            by.remove(repository);
        }
    }

    pub(crate) fn blob_lock(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Arc<tokio::sync::Mutex<()>> {
        let key = (repository.to_owned(), digest.clone());
        Arc::clone(lock(&self.uploads_in_progress).entry(key).or_default())
    }

    /// Returns a repository that is confirmed to have the blob and can be mounted from.
    pub(crate) fn mountable_from(&self, repository: &str, digest: &Digest) -> Option<String> {
        if !self.may_mount() {
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

    /// Returns a repository that may have the blob, according to the caller. Candidates of
    /// [`Recorded::add_mount_candidate`] come first: they are of a different project, and this
    /// project may be new.
    pub(crate) fn mount_candidate(&self, repository: &str, digest: &Digest) -> Option<Candidate> {
        let is_worth_asking = |refused: &AtomicU32| refused.load(Relaxed) < MOST_REFUSALS;
        if !self.may_mount() {
            return None;
        }
        if is_worth_asking(&self.candidates_refused)
            && let Some(other) = lock(&self.mount_candidates).get(digest)
            && other != repository
        {
            return Some(Candidate {
                from: other.clone(),
                is_expected: false,
            });
        }
        let expected = lock(&self.expected);
        // A blob that may be in this repository is looked up, not mounted.
        let by = (expected.get(digest)).filter(|by| !by.contains(repository));
        let from = by
            .filter(|_| is_worth_asking(&self.expected_refused))?
            .first()?;
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

    /// Returns whether an earlier push may have left a blob in a repository.
    pub(crate) fn is_expected(&self, repository: &str, digest: &Digest) -> bool {
        let expected = lock(&self.expected);
        (expected.get(digest)).is_some_and(|by| by.contains(repository))
    }

    /// Records that a candidate did not have the blob. This says nothing about confirmed
    /// repositories or the other kind of candidates.
    pub(crate) fn candidate_refused(&self, candidate: &Candidate) {
        let refused = match candidate.is_expected {
            true => &self.expected_refused,
            false => &self.candidates_refused,
        };
        refused.fetch_add(1, Relaxed);
    }

    /// Returns whether mounts are still worth a request.
    pub(crate) fn may_mount(&self) -> bool {
        self.mounts_granted.load(Relaxed) || self.mounts_refused.load(Relaxed) < MOST_REFUSALS
    }

    pub(crate) fn record_mount(&self, granted: bool) {
        if granted {
            self.mounts_granted.store(true, Relaxed);
        } else {
            self.mounts_refused.fetch_add(1, Relaxed);
        }
    }

    /// Returns whether a mount from a repository to itself shows if a blob exists.
    pub(crate) fn self_mounts_work(&self) -> bool {
        self.self_mounts_work.load(Relaxed)
    }

    /// Returns true to the first caller, which runs the trial of self-mounts.
    pub(crate) fn begin_self_mount_trial(&self) -> bool {
        !self.self_mounts_tried.swap(true, Relaxed)
    }

    pub(crate) fn trust_self_mounts(&self) {
        self.self_mounts_work.store(true, Relaxed);
    }

    /// Returns whether the registry accepts a blob in the request that opens a session.
    pub(crate) fn accepts_single_posts(&self) -> bool {
        self.single_posts_accepted.load(Relaxed)
    }

    /// Makes the next small blob the trial of single POSTs, at most once per client.
    pub(crate) fn schedule_single_post_trial(&self) {
        if !self.single_post_trial_scheduled.swap(true, Relaxed) {
            self.single_post_trial_due.store(true, Relaxed);
        }
    }

    /// Cancels the trial, so blobs are always looked up.
    pub(crate) fn cancel_single_post_trial(&self) {
        self.single_post_trial_due.store(false, Relaxed);
    }

    /// Returns true to one caller, which runs the scheduled trial.
    pub(crate) fn begin_single_post_trial(&self) -> bool {
        self.single_post_trial_due.swap(false, Relaxed)
    }

    pub(crate) fn record_single_post(&self, taken: bool) {
        self.single_posts_accepted.store(taken, Relaxed);
    }

    /// Returns the maximum size of a request body in bytes, `u64::MAX` if no limit is known.
    pub(crate) fn request_limit(&self) -> u64 {
        match self.request_limit.load(Relaxed) {
            0 => u64::MAX,
            most => most,
        }
    }

    /// Records that a request body may have at most `most` bytes. A profile that allows more is
    /// wrong.
    pub(crate) fn lower_request_limit(&self, most: u64) {
        if self.limit_is_from_profile() {
            self.profile_is_wrong.store(true, Relaxed);
        }
        let most = most.min(self.request_limit());
        self.request_limit.store(most, Relaxed);
    }

    /// Returns whether the request limit comes from a profile and was not confirmed in this run.
    pub(crate) fn limit_is_from_profile(&self) -> bool {
        self.limit_from_profile.load(Relaxed)
    }

    /// Removes a request limit that only the profile names, because the registry refused the parts
    /// that it caused.
    pub(crate) fn discard_profile_limit(&self) {
        self.profile_is_wrong.store(true, Relaxed);
        if self.limit_from_profile.swap(false, Relaxed) {
            self.request_limit.store(0, Relaxed);
        }
    }

    /// Returns whether a push found the profile outdated.
    pub(crate) fn profile_is_wrong(&self) -> bool {
        self.profile_is_wrong.load(Relaxed)
    }

    /// Returns whether a body may be sent without its length.
    pub(crate) fn streams(&self) -> bool {
        !self.streams_refused.load(Relaxed)
    }

    /// Records that every body needs a length.
    pub(crate) fn streams_are_refused(&self) {
        self.streams_refused.store(true, Relaxed);
    }

    /// Ends the use of self-mounts. Each blob is then looked up by `HEAD`.
    pub(crate) fn distrust_self_mounts(&self) {
        self.self_mounts_work.store(false, Relaxed);
    }
}

/// Locks a mutex. A poisoned one is used anyway: no code changes data under these locks in a way
/// that a panic could leave incomplete.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
