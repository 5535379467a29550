//! Executes the plan of a push: chooses the next request and decides what a failure ends.
//!
//! 1. The tags are looked up, unless the caller has done so.
//! 2. Blobs are sent, small ones concurrently with large ones.
//! 3. When the blobs of an artifact exist and the bundle may be tagged, the image manifests of an
//!    index are put concurrently, then the index under the tag.
//!
//! Everything runs in the caller's future. Dropping it stops everything.

use std::collections::{BTreeSet, VecDeque};
use std::future::pending;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use oci_spec::image::Digest;
use tokio::sync::mpsc::UnboundedReceiver;
use tracing::{Instrument as _, Span, debug_span};

use crate::ensure::{BlobOutcome, UploadContext};
use crate::limiter::{Limiter, Permit, Priority};
use crate::plan::{Need, Transfer, plan};
use crate::queues::{FULL_SHARE, Queues};
use crate::{
    Arrival, Artifact, Blob, BlobSource, Error, Event, Observer, PushReport, Pushed, Registry,
    Tally,
};

/// How many blobs must be left to send for the trials of single POSTs and self-mounts to pay.
const MIN_BLOBS_FOR_TRIALS: usize = 4;

/// How many consecutive transient errors, each after all attempts, mean that the registry is down.
const MAX_FAILURES: u32 = 3;

pub(crate) struct Executor<'a> {
    registry: &'a Registry,
    artifacts: &'a [Artifact],
    source: &'a dyn BlobSource,
    observer: &'a dyn Observer,
    states: Vec<State>,
    /// Numbers of the artifacts whose tags are still to be looked up.
    tag_lookups: VecDeque<usize>,
    /// Number of lookups without a response. The plan is made when there are none.
    pending_lookups: usize,
    queues: Queues<'a>,
    /// Reports what the source can open. `None` if it can open everything, or the push is stopping.
    arrivals: Option<UnboundedReceiver<Arrival>>,
    /// Whether the source can open everything, so manifests may be put.
    bundle_present: bool,
    /// Whether tags wait for the last blob, because some content was not verified in this run.
    tags_last: bool,
    /// Whether content of the source is damaged or cannot be read.
    damaged: bool,
    /// Number of blobs in progress.
    blobs_in_progress: usize,
    /// Image manifests to be put before the tagged one: number of the artifact, index in its
    /// manifests. Their blobs exist.
    manifests: VecDeque<(usize, usize)>,
    /// Numbers of the artifacts that lack only the tag, or an index and the tag.
    complete: VecDeque<usize>,
    /// Whether this push looks each tag up, before and after.
    looks_up_tags: bool,
    /// Whether the registry has accepted this account or refused a single repository. Until then,
    /// one request is sent at a time.
    has_responded: bool,
    trial: Trial,
    failures: u32,
    /// The error that ends the push.
    fatal_error: Option<Arc<Error>>,
    report: PushReport,
}

/// Who looks up the tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tags {
    /// The push: before, because a tag that is right needs nothing else, and after, as
    /// confirmation.
    LookedUpByPush,
    /// The caller, before and after.
    LookedUpByCaller,
}

/// The first small blob is sent alone. It tests whether the registry accepts a blob in one POST.
enum Trial {
    Due,
    Running,
    Over,
}

/// The state of an artifact.
enum State {
    Pending {
        /// Number of blobs, and after them of image manifests, that are missing before the tag.
        missing: usize,
        pushed: Pushed,
    },
    Done(Result<Pushed, Arc<Error>>),
}

enum Work<'a> {
    LookUpTag(usize),
    EnsureBlob(Transfer<'a>, Need<'a>, Priority),
    PutManifest(usize, usize),
    TagArtifact(usize),
}

enum Done<'a> {
    TagLookedUp(usize, Result<Option<Digest>, Error>),
    BlobEnsured(Transfer<'a>, Need<'a>, Priority, Result<BlobOutcome, Error>),
    ManifestPut(usize, Result<(), Error>),
    ArtifactTagged(usize, Result<(), Error>),
}

impl<'a> Executor<'a> {
    pub(crate) fn new(
        registry: &'a Registry,
        artifacts: &'a [Artifact],
        source: &'a dyn BlobSource,
        arrivals: Option<UnboundedReceiver<Arrival>>,
        tags: Tags,
        observer: &'a dyn Observer,
    ) -> Self {
        let looks_up_tags = tags == Tags::LookedUpByPush;
        let mut names = BTreeSet::new();
        let states: Vec<State> = artifacts
            .iter()
            .map(|artifact| match check_and_begin(artifact, &mut names) {
                Ok(pushed) => State::Pending { missing: 0, pushed },
                Err(error) => State::Done(Err(Arc::new(error))),
            })
            .collect();
        let tag_lookups: VecDeque<usize> = (0..artifacts.len())
            .filter(|number| looks_up_tags && states[*number].is_pending())
            .collect();
        let mut executor = Self {
            registry,
            artifacts,
            source,
            observer,
            states,
            pending_lookups: tag_lookups.len(),
            tag_lookups,
            queues: Queues::new(&registry.inner.recorded, arrivals.is_some()),
            bundle_present: arrivals.is_none(),
            tags_last: false,
            damaged: false,
            blobs_in_progress: 0,
            arrivals,
            manifests: VecDeque::new(),
            complete: VecDeque::new(),
            looks_up_tags,
            has_responded: !looks_up_tags,
            trial: Trial::Due,
            failures: 0,
            fatal_error: None,
            report: PushReport::default(),
        };
        if executor.pending_lookups == 0 {
            executor.make_plan();
        }
        executor
    }

    /// Executes the plan until it is complete, stopped or failed.
    pub(crate) async fn run(mut self) -> PushReport {
        let limiter: &'a Limiter = self.registry.transport().limiter();
        let stop = &self.registry.transport().settings().stop;
        let mut running: FuturesUnordered<BoxFuture<'a, Done<'a>>> = FuturesUnordered::new();
        loop {
            let freed = limiter.freed();
            let stopping = stop.is_requested();
            // The first response shows whether the registry can be reached and which login it
            // requires.
            while !stopping && (self.has_responded || running.is_empty()) {
                let Some((permit, work)) = self.next(limiter) else {
                    break;
                };
                let working = self.perform(work);
                let working = working.inspect(move |_| drop(permit));
                running.push(working.boxed());
            }
            if running.is_empty() && (stopping || !self.states.iter().any(State::is_pending)) {
                return self.conclude(Error::Stopped);
            }
            if running.is_empty() && self.tags_last && self.damaged && self.queues.is_empty() {
                return self.conclude(Error::Withheld);
            }
            tokio::select! {
                Some(done) = running.next() => self.on_done(done),
                arrival = next_arrival(&mut self.arrivals), if !self.bundle_present => match arrival {
                    Some(Arrival::BlobReady(digest)) => self.queues.arrived(digest),
                    Some(arrival @ (Arrival::BundlePresent | Arrival::BundleVerified)) => {
                        self.bundle_present = true;
                        self.tags_last = arrival == Arrival::BundlePresent;
                        self.queues.all_arrived();
                    }
                    // The same stop may have ended the source first.
                    None if stop.is_requested() => self.arrivals = None,
                    None => return self.conclude(Error::SourceEnded),
                },
                () = freed => {}
                () = stop.requested(), if !stopping => {}
            }
            if let Some(error) = self.fatal_error.take() {
                return self.conclude(error);
            }
        }
    }

    /// Returns the most urgent work that the limiter has room for. Small requests do not wait for
    /// large uploads.
    fn next(&mut self, limiter: &'a Limiter) -> Option<(Permit<'a>, Work<'a>)> {
        let states = &self.states;
        // Blobs that only failed artifacts need are not sent.
        let is_needed = |need: &Need<'_>| need.artifacts.iter().any(|n| states[*n].is_pending());
        self.queues.retain(is_needed);
        let tags = self.may_set_tags() && !self.complete.is_empty();
        let may_put = self.bundle_present && (!self.manifests.is_empty() || tags);
        let sends_blob = self.queues.has_small() && !matches!(self.trial, Trial::Running);
        if (may_put || sends_blob || !self.tag_lookups.is_empty())
            && let Some(permit) = limiter.try_permit(Priority::Small)
        {
            return Some((permit, self.next_small()?));
        }
        let min_size = match self.trial {
            // Only a blob that is worth a full share of the line starts before the trial is over.
            Trial::Running => FULL_SHARE,
            Trial::Due if self.queues.has_small() => FULL_SHARE,
            Trial::Due | Trial::Over => 0,
        };
        if !self.queues.has_large(min_size) {
            return None;
        }
        let permit = limiter.try_permit(Priority::Large)?;
        let (transfer, need) = self.queues.next_large()?;
        self.blobs_in_progress += 1;
        Some((permit, Work::EnsureBlob(transfer, need, Priority::Large)))
    }

    /// Returns the most urgent small request.
    fn next_small(&mut self) -> Option<Work<'a>> {
        if let Some(number) = self.tag_lookups.pop_front() {
            return Some(Work::LookUpTag(number));
        }
        if self.bundle_present {
            if let Some((number, index)) = self.manifests.pop_front() {
                return Some(Work::PutManifest(number, index));
            }
            if self.may_set_tags()
                && let Some(number) = self.complete.pop_front()
            {
                return Some(Work::TagArtifact(number));
            }
        }
        if matches!(self.trial, Trial::Due) {
            self.trial = match self.queues.unsent() >= MIN_BLOBS_FOR_TRIALS {
                true => Trial::Running,
                false => Trial::Over,
            };
        }
        let (transfer, need) = self.queues.next_small()?;
        self.blobs_in_progress += 1;
        Some(Work::EnsureBlob(transfer, need, Priority::Small))
    }

    /// Returns whether tags may be set now.
    fn may_set_tags(&self) -> bool {
        !self.tags_last || !self.damaged && self.blobs_in_progress == 0 && self.queues.is_empty()
    }

    fn perform(&self, work: Work<'a>) -> impl Future<Output = Done<'a>> + Send + 'a {
        let (registry, source, observer) = (self.registry, self.source, self.observer);
        let artifacts = self.artifacts;
        let context = UploadContext {
            source,
            observer,
            runs_trials: self.queues.unsent() >= MIN_BLOBS_FOR_TRIALS,
        };
        let span = self.span(&work);
        let looks_up_tags = self.looks_up_tags;
        let working = async move {
            match work {
                Work::LookUpTag(number) => {
                    let Artifact {
                        repository, tag, ..
                    } = &artifacts[number];
                    let response = registry.tag_digest(repository, tag, observer).await;
                    Done::TagLookedUp(number, response)
                }
                Work::EnsureBlob(transfer, need, priority) => {
                    let ensuring = registry.ensure_blob(need.repository, transfer.blob, context);
                    let outcome = ensuring.await;
                    Done::BlobEnsured(transfer, need, priority, outcome)
                }
                Work::PutManifest(number, index) => {
                    let artifact = &artifacts[number];
                    let range = index..index + 1;
                    let outcome = registry.put_and_repair(artifact, range, context).await;
                    Done::ManifestPut(number, outcome)
                }
                Work::TagArtifact(number) => {
                    let artifact = &artifacts[number];
                    let first = artifact.leaves();
                    let range = first..artifact.manifests.len();
                    let mut outcome = registry.put_and_repair(artifact, range, context).await;
                    if outcome.is_ok() {
                        outcome = registry.confirm(artifact, looks_up_tags, observer).await;
                    }
                    Done::ArtifactTagged(number, outcome)
                }
            }
        };
        working.instrument(span)
    }

    /// Returns the log span of `work`: its artifact and blob.
    fn span(&self, work: &Work<'_>) -> Span {
        let (number, blob) = match work {
            Work::LookUpTag(number) | Work::PutManifest(number, _) | Work::TagArtifact(number) => {
                (Some(number), None)
            }
            Work::EnsureBlob(transfer, need, _) => (need.artifacts.first(), Some(transfer.blob)),
        };
        let artifact = number.map(|number| &self.artifacts[*number]);
        let artifact = artifact.map(|one| format!("{}:{}", one.repository, one.tag));
        let blob = blob.map(|blob| blob.digest.to_string());
        debug_span!("artifact", reference = artifact, blob)
    }

    fn on_done(&mut self, done: Done<'a>) {
        match done {
            Done::TagLookedUp(number, response) => {
                match response {
                    Ok(found) => self.on_tag_digest(number, found),
                    // Some registries respond 403 for a tag that does not exist. If the account may
                    // indeed not read, the first upload gets the same error.
                    Err(Error::Forbidden { .. }) => self.on_tag_digest(number, None),
                    Err(error) => {
                        let error = self.classify_error(error);
                        self.fail(number, &error);
                    }
                }
                self.pending_lookups -= 1;
                if self.pending_lookups == 0 {
                    self.make_plan();
                }
            }
            Done::ManifestPut(number, Ok(())) => {
                self.succeeded();
                self.on_manifest_put(number);
            }
            Done::ManifestPut(number, Err(error)) => {
                let error = self.classify_error(error);
                self.fail(number, &error);
            }
            Done::BlobEnsured(transfer, need, priority, Ok(outcome)) => {
                self.blob_ended(transfer.blob, priority);
                self.succeeded();
                self.on_blob_ensured(transfer, need, outcome);
            }
            Done::BlobEnsured(mut transfer, need, priority, Err(error)) => {
                self.blob_ended(transfer.blob, priority);
                // Content that is damaged is damaged for every repository.
                let is_damaged = matches!(error, Error::SourceContent { .. });
                self.damaged |= is_damaged || matches!(error, Error::Source { .. });
                let error = self.classify_error(error);
                let rest = transfer.needs.iter().filter(|_| is_damaged);
                let failed: Vec<usize> = rest
                    .chain([&need])
                    .flat_map(|need| need.artifacts.iter().copied())
                    .collect();
                for number in failed {
                    self.fail(number, &error);
                }
                if is_damaged {
                    transfer.needs.clear();
                }
                self.queues.push(transfer);
            }
            Done::ArtifactTagged(number, Ok(())) => {
                self.succeeded();
                let sent = self.artifacts[number].manifests.len() as u64;
                self.report.manifests += sent;
                if let State::Pending { pushed, .. } = &mut self.states[number] {
                    pushed.manifests = sent;
                    self.states[number] = State::Done(Ok(pushed.clone()));
                }
            }
            Done::ArtifactTagged(number, Err(error)) => {
                let error = self.classify_error(error);
                self.fail(number, &error);
            }
        }
    }

    fn blob_ended(&mut self, blob: &Blob, priority: Priority) {
        self.blobs_in_progress -= 1;
        match priority {
            Priority::Small => self.trial = Trial::Over,
            Priority::Large => self.queues.large_is_done(blob),
        }
    }

    /// Records the digest that a tag has before the push. An artifact whose tag is right is
    /// complete.
    fn on_tag_digest(&mut self, number: usize, found: Option<Digest>) {
        self.succeeded();
        let artifact = &self.artifacts[number];
        let State::Pending { pushed, .. } = &mut self.states[number] else {
            return;
        };
        if found.as_ref() != Some(&pushed.digest) {
            pushed.replaced = found;
            return;
        }
        for blob in artifact.blobs_by_size() {
            pushed.present.add(blob.size);
            self.report.present.add(blob.size);
            // The registry accepts no manifest without its blobs, so other repositories can mount
            // them from here.
            self.registry
                .inner
                .recorded
                .note_held(&artifact.repository, &blob.digest);
        }
        self.observer.event(Event::ArtifactPresent {
            repository: &artifact.repository,
            tag: &artifact.tag,
            digest: &pushed.digest,
        });
        self.states[number] = State::Done(Ok(pushed.clone()));
    }

    fn make_plan(&mut self) {
        let mut wanted = Vec::new();
        for (number, artifact) in self.artifacts.iter().enumerate() {
            if let State::Pending { missing, .. } = &mut self.states[number] {
                *missing = artifact.blobs_by_size().len();
                wanted.push((number, artifact));
                if *missing == 0 {
                    self.on_blobs_complete(number);
                }
            }
        }
        for transfer in plan(&wanted) {
            self.queues.push(transfer);
        }
    }

    fn on_blob_ensured(&mut self, transfer: Transfer<'a>, need: Need<'a>, outcome: BlobOutcome) {
        let size = transfer.blob.size;
        let PushReport {
            present,
            mounted,
            uploaded,
            ..
        } = &mut self.report;
        outcome.tally(present, mounted, uploaded).add(size);
        for (index, number) in need.artifacts.into_iter().enumerate() {
            if let State::Pending { missing, pushed } = &mut self.states[number] {
                // The first artifact caused the transfer. For the others the blob was already
                // present.
                let seen = if index == 0 {
                    outcome
                } else {
                    BlobOutcome::Present
                };
                let Pushed {
                    present,
                    mounted,
                    uploaded,
                    ..
                } = pushed;
                seen.tally(present, mounted, uploaded).add(size);
                *missing -= 1;
                if *missing == 0 {
                    self.on_blobs_complete(number);
                }
            }
        }
        self.queues.push(transfer);
    }

    /// Queues the manifests of an artifact whose blobs exist.
    fn on_blobs_complete(&mut self, number: usize) {
        let first = self.artifacts[number].leaves();
        if let State::Pending { missing, .. } = &mut self.states[number] {
            *missing = first;
            match first {
                0 => self.complete.push_back(number),
                _ => (self.manifests).extend((0..first).map(|index| (number, index))),
            }
        }
    }

    /// Counts an image manifest. The last one makes the artifact ready for its tag.
    fn on_manifest_put(&mut self, number: usize) {
        if let State::Pending { missing, .. } = &mut self.states[number] {
            *missing -= 1;
            if *missing == 0 {
                self.complete.push_back(number);
            }
        }
    }

    fn fail(&mut self, number: usize, error: &Arc<Error>) {
        let state = &mut self.states[number];
        if state.is_pending() {
            *state = State::Done(Err(Arc::clone(error)));
        }
    }

    fn succeeded(&mut self) {
        self.has_responded = true;
        self.failures = 0;
    }

    /// Decides whether an error ends the push or only the artifact. Sets `fatal_error` if it ends
    /// the push.
    fn classify_error(&mut self, error: Error) -> Arc<Error> {
        let passing = matches!(
            error,
            Error::Unavailable { .. }
                | Error::TimedOut { .. }
                | Error::Stalled { .. }
                | Error::ConnectionLost { .. }
                | Error::RateLimited { .. }
        );
        // A response that refuses one repository still shows that the registry responds.
        let refused = !passing && error.response().is_some();
        self.failures += u32::from(passing);
        let gone = self.failures >= MAX_FAILURES;
        // Requests that waited for the first write get the same error.
        let refused_all = self.registry.refuses_writes();
        let ends = gone || refused_all.is_some() || is_fatal(&error, self.has_responded);
        self.has_responded |= refused && !ends;
        let error = Arc::new(refused_all.unwrap_or(error));
        if ends {
            self.fatal_error = Some(Arc::clone(&error));
        }
        error
    }

    /// Returns the report. Unfinished artifacts get `error`.
    fn conclude(mut self, error: impl Into<Arc<Error>>) -> PushReport {
        let error = error.into();
        for number in 0..self.states.len() {
            self.fail(number, &error);
        }
        let outcomes = self.states.into_iter().map(|state| match state {
            State::Done(outcome) => outcome,
            State::Pending { .. } => unreachable!("every artifact has an end by now"),
        });
        self.report.artifacts = outcomes.collect();
        let stopped = |error: &Arc<Error>| matches!(**error, Error::Stopped);
        let mut errors = self
            .report
            .artifacts
            .iter()
            .filter_map(|o| o.as_ref().err());
        self.report.stopped = errors.any(stopped);
        self.report
    }
}

impl State {
    fn is_pending(&self) -> bool {
        matches!(self, Self::Pending { .. })
    }
}

async fn next_arrival(arrivals: &mut Option<UnboundedReceiver<Arrival>>) -> Option<Arrival> {
    match arrivals {
        Some(arrivals) => arrivals.recv().await,
        None => pending().await,
    }
}

impl BlobOutcome {
    /// Returns the tally that counts this outcome.
    fn tally<'t>(
        self,
        present: &'t mut Tally,
        mounted: &'t mut Tally,
        uploaded: &'t mut Tally,
    ) -> &'t mut Tally {
        match self {
            Self::Present => present,
            Self::Mounted => mounted,
            Self::Uploaded => uploaded,
        }
    }
}

fn check_and_begin<'a>(
    artifact: &'a Artifact,
    names: &mut BTreeSet<(&'a str, &'a str)>,
) -> Result<Pushed, Error> {
    artifact.check()?;
    if !names.insert((&artifact.repository, &artifact.tag)) {
        return Err(Error::Artifact {
            name: artifact.name(),
            rule: "is given twice".to_owned(),
        });
    }
    Ok(Pushed {
        digest: artifact.root()?.digest.clone(),
        replaced: None,
        uploaded: Tally::default(),
        mounted: Tally::default(),
        present: Tally::default(),
        manifests: 0,
    })
}

/// Returns whether a registry refuses a manifest for a reason that may be a missing blob.
pub(crate) fn may_miss_blobs(error: &Error) -> bool {
    match error {
        Error::NotFound { at, .. } => at.method == "PUT",
        Error::Rejected { at, response } => {
            at.method == "PUT" && ![405, 409, 412, 415].contains(&response.status)
        }
        _ => false,
    }
}

/// Returns whether the registry names a missing blob as the reason.
pub(crate) fn reports_missing_blobs(error: &Error) -> bool {
    let code = error
        .response()
        .and_then(|response| response.code.as_deref());
    matches!(code, Some("MANIFEST_BLOB_UNKNOWN" | "BLOB_UNKNOWN"))
}

/// Returns whether every other artifact would fail with this error too. Trying them would only take
/// time, or lock an account.
fn is_fatal(error: &Error, has_responded: bool) -> bool {
    match error {
        error if error.is_about_reaching() || error.is_about_tls() => true,
        Error::UntrustedRealm { .. } | Error::Location { .. } => true,
        // After the registry has accepted the credentials once, the error is about one repository.
        Error::Unauthorized { .. } | Error::NotARegistry { .. } => !has_responded,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
