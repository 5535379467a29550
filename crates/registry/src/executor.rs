//! The loop that executes a plan: it decides what is done next, and what a failure means.
//!
//! First the tags are looked up, unless the caller has done so. Then blobs are sent, small ones
//! beside large ones. An artifact is finished when its blobs are in the registry and the whole
//! bundle is verified: first the manifests of an index, concurrently, then the tag. Everything runs
//! in the future of the caller: dropping it stops everything.

use std::collections::{BTreeSet, VecDeque};
use std::future::pending;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use oci_spec::image::Digest;
use tokio::sync::mpsc::UnboundedReceiver;
use tracing::{Instrument as _, Span, debug_span};

use crate::ensure::{Outcome, Supply};
use crate::limiter::{Limiter, Permit, Priority};
use crate::plan::{Need, Transfer, plan};
use crate::queues::{Queues, WHOLE};
use crate::{
    Arrival, Artifact, Blob, BlobSource, Error, Event, Observer, PushReport, Pushed, Registry,
    Tally,
};

/// How many blobs have to be left for it to pay to find out how this registry is asked best.
const WORTH_FINDING_OUT: usize = 4;

/// How many errors that may pass, one after the other and each after all of its attempts, say that
/// the registry is gone.
const MOST_FAILURES: u32 = 3;

pub(crate) struct Executor<'a> {
    registry: &'a Registry,
    artifacts: &'a [Artifact],
    source: &'a dyn BlobSource,
    observer: &'a dyn Observer,
    states: Vec<State>,
    /// Tags that are still to be asked for.
    questions: VecDeque<usize>,
    /// How many answers are missing before a plan can be made.
    unanswered: usize,
    queues: Queues<'a>,
    /// Reports what the source can open, unless that was everything from the start.
    arrivals: Option<UnboundedReceiver<Arrival>>,
    /// Whether everything has arrived and is right, so manifests may be put.
    whole: bool,
    /// Whether tags wait for the last blob, since some content was not compared with its digest in
    /// this run.
    tags_last: bool,
    /// Whether the source had something else than a digest names, or could not be read.
    damaged: bool,
    /// How many blobs are on their way.
    bringing: usize,
    /// Manifests of artifacts whose blobs are there, by artifact and place, that go before the tag.
    manifests: VecDeque<(usize, usize)>,
    /// Artifacts of which nothing is missing but the tag.
    complete: VecDeque<usize>,
    /// Whether this push asks for each tag, before and after.
    asks: bool,
    /// Whether the registry has answered this account at all.
    accepted: bool,
    trial: Trial,
    failures: u32,
    /// Why everything ends before it is done.
    ended: Option<Arc<Error>>,
    report: PushReport,
}

/// Who asks for tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tags {
    /// The push: before, since a tag that is right needs nothing, and after, as its proof.
    Asked,
    /// The caller, before and after.
    AskedByCaller,
}

/// The first small blob goes alone, and finds out in how few requests this registry takes blobs.
enum Trial {
    Due,
    Running,
    Over,
}

/// How far an artifact is.
enum State {
    Begun {
        /// Blobs, and after them manifests, that the tag waits for.
        missing: usize,
        pushed: Pushed,
    },
    Done(Result<Pushed, Arc<Error>>),
}

enum Work<'a> {
    Ask(usize),
    Bring(Transfer<'a>, Need<'a>, Priority),
    Put(usize, usize),
    Finish(usize),
}

enum Done<'a> {
    Asked(usize, Result<Option<Digest>, Error>),
    Brought(Transfer<'a>, Need<'a>, Priority, Result<Outcome, Error>),
    Put(usize, Result<(), Error>),
    Finished(usize, Result<(), Error>),
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
        let asks = tags == Tags::Asked;
        let mut names = BTreeSet::new();
        let states: Vec<State> = artifacts
            .iter()
            .map(|artifact| match begin(artifact, &mut names) {
                Ok(pushed) => State::Begun { missing: 0, pushed },
                Err(error) => State::Done(Err(Arc::new(error))),
            })
            .collect();
        let questions: VecDeque<usize> = (0..artifacts.len())
            .filter(|number| asks && states[*number].is_begun())
            .collect();
        let mut executor = Self {
            registry,
            artifacts,
            source,
            observer,
            states,
            unanswered: questions.len(),
            questions,
            queues: Queues::new(&registry.inner.recorded, arrivals.is_some()),
            whole: arrivals.is_none(),
            tags_last: false,
            damaged: false,
            bringing: 0,
            arrivals,
            manifests: VecDeque::new(),
            complete: VecDeque::new(),
            asks,
            accepted: !asks,
            trial: Trial::Due,
            failures: 0,
            ended: None,
            report: PushReport {
                artifacts: Vec::new(),
                uploaded: Tally::default(),
                mounted: Tally::default(),
                present: Tally::default(),
                manifests: 0,
                stopped: false,
            },
        };
        if executor.unanswered == 0 {
            executor.make_plan();
        }
        executor
    }

    /// Carries everything out, or as much as is done when the end is asked for, and returns what
    /// came of it.
    pub(crate) async fn run(mut self) -> PushReport {
        let limiter: &'a Limiter = self.registry.transport().limiter();
        let stop = &self.registry.transport().settings().stop;
        let mut running: FuturesUnordered<BoxFuture<'a, Done<'a>>> = FuturesUnordered::new();
        loop {
            let freed = limiter.freed();
            let stopping = stop.is_requested();
            // The first response shows whether this registry is reachable, and which login it
            // requires.
            while !stopping && (self.accepted || running.is_empty()) {
                let Some((permit, work)) = self.next(limiter) else {
                    break;
                };
                let working = self.perform(work);
                let working = working.inspect(move |_| drop(permit));
                running.push(working.boxed());
            }
            if running.is_empty() && (stopping || !self.states.iter().any(State::is_begun)) {
                return self.conclude(Error::Stopped);
            }
            if running.is_empty() && self.tags_last && self.damaged && self.queues.is_empty() {
                return self.conclude(Error::Withheld);
            }
            tokio::select! {
                Some(done) = running.next() => self.on_done(done),
                arrival = next_arrival(&mut self.arrivals), if !self.whole => match arrival {
                    Some(Arrival::BlobReady(digest)) => self.queues.arrived(digest),
                    Some(arrival @ (Arrival::BundlePresent | Arrival::BundleVerified)) => {
                        self.whole = true;
                        self.tags_last = arrival == Arrival::BundlePresent;
                        self.queues.all_arrived();
                    }
                    // The source may have received the same request first.
                    None if stop.is_requested() => self.arrivals = None,
                    None => return self.conclude(Error::SourceEnded),
                },
                () = freed => {}
                () = stop.requested(), if !stopping => {}
            }
            if let Some(error) = self.ended.take() {
                return self.conclude(error);
            }
        }
    }

    /// Returns the work that is most urgent of what there is room for: what is small does not wait
    /// for what is large.
    fn next(&mut self, limiter: &'a Limiter) -> Option<(Permit<'a>, Work<'a>)> {
        let states = &self.states;
        // Blobs that only failed artifacts wait for are not sent any more.
        let wants = |need: &Need<'_>| need.artifacts.iter().any(|n| states[*n].is_begun());
        self.queues.retain(wants);
        let tags = self.may_tag() && !self.complete.is_empty();
        let finishes = self.whole && (!self.manifests.is_empty() || tags);
        let brings = self.queues.has_small() && !matches!(self.trial, Trial::Running);
        if (finishes || brings || !self.questions.is_empty())
            && let Some(permit) = limiter.try_permit(Priority::Small)
        {
            return Some((permit, self.next_small()?));
        }
        let least = match self.trial {
            // Only what takes the line for long does not wait for the trial.
            Trial::Running => WHOLE,
            Trial::Due if self.queues.has_small() => WHOLE,
            Trial::Due | Trial::Over => 0,
        };
        if !self.queues.has_large(least) {
            return None;
        }
        let permit = limiter.try_permit(Priority::Large)?;
        let (transfer, need) = self.queues.next_large()?;
        self.bringing += 1;
        Some((permit, Work::Bring(transfer, need, Priority::Large)))
    }

    /// Returns the most urgent work that carries little.
    fn next_small(&mut self) -> Option<Work<'a>> {
        if let Some(number) = self.questions.pop_front() {
            return Some(Work::Ask(number));
        }
        if self.whole {
            if let Some((number, place)) = self.manifests.pop_front() {
                return Some(Work::Put(number, place));
            }
            if self.may_tag()
                && let Some(number) = self.complete.pop_front()
            {
                return Some(Work::Finish(number));
            }
        }
        if matches!(self.trial, Trial::Due) {
            self.trial = match self.queues.unsent() >= WORTH_FINDING_OUT {
                true => Trial::Running,
                false => Trial::Over,
            };
        }
        let (transfer, need) = self.queues.next_small()?;
        self.bringing += 1;
        Some(Work::Bring(transfer, need, Priority::Small))
    }

    /// Returns whether an artifact may be tagged at this moment.
    fn may_tag(&self) -> bool {
        !self.tags_last || !self.damaged && self.bringing == 0 && self.queues.is_empty()
    }

    fn perform(&self, work: Work<'a>) -> impl Future<Output = Done<'a>> + Send + 'a {
        let (registry, source, observer) = (self.registry, self.source, self.observer);
        let artifacts = self.artifacts;
        let supply = Supply {
            source,
            observer,
            find_out: self.queues.unsent() >= WORTH_FINDING_OUT,
        };
        let span = self.span(&work);
        let asks = self.asks;
        let working = async move {
            match work {
                Work::Ask(number) => {
                    let Artifact {
                        repository, tag, ..
                    } = &artifacts[number];
                    let answer = registry.tag_digest(repository, tag, observer).await;
                    Done::Asked(number, answer)
                }
                Work::Bring(transfer, need, priority) => {
                    let bringing = registry.ensure_blob(need.repository, transfer.blob, supply);
                    let outcome = bringing.await;
                    Done::Brought(transfer, need, priority, outcome)
                }
                Work::Put(number, place) => {
                    let artifact = &artifacts[number];
                    let range = place..place + 1;
                    Done::Put(number, registry.put_surely(artifact, range, supply).await)
                }
                Work::Finish(number) => {
                    let artifact = &artifacts[number];
                    let first = artifact.leaves();
                    let range = first..artifact.manifests.len();
                    let mut outcome = registry.put_surely(artifact, range, supply).await;
                    if outcome.is_ok() {
                        outcome = registry.confirm(artifact, asks, observer).await;
                    }
                    Done::Finished(number, outcome)
                }
            }
        };
        working.instrument(span)
    }

    /// Returns the span of some work, for the log: the artifact, and the blob that it is about.
    fn span(&self, work: &Work<'_>) -> Span {
        let (number, blob) = match work {
            Work::Ask(number) | Work::Put(number, _) | Work::Finish(number) => (Some(number), None),
            Work::Bring(transfer, need, _) => (need.artifacts.first(), Some(transfer.blob)),
        };
        let artifact = number.map(|number| &self.artifacts[*number]);
        let artifact = artifact.map(|one| format!("{}:{}", one.repository, one.tag));
        let blob = blob.map(|blob| blob.digest.to_string());
        debug_span!("artifact", reference = artifact, blob)
    }

    fn on_done(&mut self, done: Done<'a>) {
        match done {
            Done::Asked(number, answer) => {
                match answer {
                    Ok(found) => self.answered(number, found),
                    // Some registries answer so for what does not exist yet; if it is meant, the
                    // first upload gets it again.
                    Err(Error::Forbidden { .. }) => self.answered(number, None),
                    Err(error) => {
                        let error = self.judge(error);
                        self.fail(number, &error);
                    }
                }
                self.unanswered -= 1;
                if self.unanswered == 0 {
                    self.make_plan();
                }
            }
            Done::Put(number, Ok(())) => {
                self.succeeded();
                self.has_one_more(number);
            }
            Done::Put(number, Err(error)) => {
                let error = self.judge(error);
                self.fail(number, &error);
            }
            Done::Brought(transfer, need, priority, Ok(outcome)) => {
                self.bring_ended(transfer.blob, priority);
                self.succeeded();
                self.brought(transfer, need, outcome);
            }
            Done::Brought(mut transfer, need, priority, Err(error)) => {
                self.bring_ended(transfer.blob, priority);
                // What is wrong with the file is wrong wherever it goes.
                let everywhere = matches!(error, Error::SourceContent { .. });
                self.damaged |= everywhere || matches!(error, Error::Source { .. });
                let error = self.judge(error);
                let rest = transfer.needs.iter().filter(|_| everywhere);
                let failed: Vec<usize> = rest
                    .chain([&need])
                    .flat_map(|need| need.artifacts.iter().copied())
                    .collect();
                for number in failed {
                    self.fail(number, &error);
                }
                if everywhere {
                    transfer.needs.clear();
                }
                self.queues.push(transfer);
            }
            Done::Finished(number, Ok(())) => {
                self.succeeded();
                let sent = self.artifacts[number].manifests.len() as u64;
                self.report.manifests += sent;
                if let State::Begun { pushed, .. } = &mut self.states[number] {
                    pushed.manifests = sent;
                    self.states[number] = State::Done(Ok(pushed.clone()));
                }
            }
            Done::Finished(number, Err(error)) => {
                let error = self.judge(error);
                self.fail(number, &error);
            }
        }
    }

    fn bring_ended(&mut self, blob: &Blob, priority: Priority) {
        self.bringing -= 1;
        match priority {
            Priority::Small => self.trial = Trial::Over,
            Priority::Large => self.queues.large_is_done(blob),
        }
    }

    /// Takes note of what a tag points at before the push.
    fn answered(&mut self, number: usize, found: Option<Digest>) {
        self.succeeded();
        let artifact = &self.artifacts[number];
        let State::Begun { pushed, .. } = &mut self.states[number] else {
            return;
        };
        if found.as_ref() != Some(&pushed.digest) {
            pushed.replaced = found;
            return;
        }
        for blob in artifact.blobs_by_size() {
            pushed.present.add(blob.size);
            self.report.present.add(blob.size);
            // The registry took no manifest without its blobs, so others can mount them from here.
            self.registry
                .inner
                .recorded
                .note(&artifact.repository, &blob.digest);
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
            if let State::Begun { missing, .. } = &mut self.states[number] {
                *missing = artifact.blobs_by_size().len();
                wanted.push((number, artifact));
                if *missing == 0 {
                    self.has_blobs(number);
                }
            }
        }
        for transfer in plan(&wanted) {
            self.queues.push(transfer);
        }
    }

    fn brought(&mut self, transfer: Transfer<'a>, need: Need<'a>, outcome: Outcome) {
        let size = transfer.blob.size;
        let tally = |to: &mut dyn Tallies, outcome: Outcome| to.tally(outcome).add(size);
        tally(&mut self.report, outcome);
        for (place, number) in need.artifacts.into_iter().enumerate() {
            if let State::Begun { missing, pushed } = &mut self.states[number] {
                // One of them has paid for it; the others found it there.
                let seen = if place == 0 {
                    outcome
                } else {
                    Outcome::Present
                };
                tally(pushed, seen);
                *missing -= 1;
                if *missing == 0 {
                    self.has_blobs(number);
                }
            }
        }
        self.queues.push(transfer);
    }

    /// Takes note that an artifact's blobs are there: its manifests are next.
    fn has_blobs(&mut self, number: usize) {
        let first = self.artifacts[number].leaves();
        if let State::Begun { missing, .. } = &mut self.states[number] {
            *missing = first;
            match first {
                0 => self.complete.push_back(number),
                _ => (self.manifests).extend((0..first).map(|place| (number, place))),
            }
        }
    }

    /// Takes note that one of the manifests before the tag is there.
    fn has_one_more(&mut self, number: usize) {
        if let State::Begun { missing, .. } = &mut self.states[number] {
            *missing -= 1;
            if *missing == 0 {
                self.complete.push_back(number);
            }
        }
    }

    fn fail(&mut self, number: usize, error: &Arc<Error>) {
        let state = &mut self.states[number];
        if state.is_begun() {
            *state = State::Done(Err(Arc::clone(error)));
        }
    }

    fn succeeded(&mut self) {
        self.accepted = true;
        self.failures = 0;
    }

    /// Decides whether an error is about one artifact or ends everything.
    fn judge(&mut self, error: Error) -> Arc<Error> {
        let passing = matches!(
            error,
            Error::Unavailable { .. }
                | Error::TimedOut { .. }
                | Error::Stalled { .. }
                | Error::ConnectionLost { .. }
                | Error::RateLimited { .. }
        );
        // An answer that refuses one repository says at least that the registry answers.
        let refused = !passing && error.answer().is_some();
        self.failures += u32::from(passing);
        let gone = self.failures >= MOST_FAILURES;
        // Those that waited for the first write have the same error.
        let refused_all = self.registry.refuses_writes();
        let ends = gone || refused_all.is_some() || ends_everything(&error, self.accepted);
        self.accepted |= refused && !ends;
        let error = Arc::new(refused_all.unwrap_or(error));
        if ends {
            self.ended = Some(Arc::clone(&error));
        }
        error
    }

    /// Reports, and gives `error` to every artifact that is not done.
    fn conclude(mut self, error: impl Into<Arc<Error>>) -> PushReport {
        let error = error.into();
        for number in 0..self.states.len() {
            self.fail(number, &error);
        }
        let outcomes = self.states.into_iter().map(|state| match state {
            State::Done(outcome) => outcome,
            State::Begun { .. } => unreachable!("every artifact has an end by now"),
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
    fn is_begun(&self) -> bool {
        matches!(self, Self::Begun { .. })
    }
}

async fn next_arrival(arrivals: &mut Option<UnboundedReceiver<Arrival>>) -> Option<Arrival> {
    match arrivals {
        Some(arrivals) => arrivals.recv().await,
        None => pending().await,
    }
}

/// What counts blobs by how they came.
trait Tallies {
    fn tally(&mut self, outcome: Outcome) -> &mut Tally;
}

impl Tallies for PushReport {
    fn tally(&mut self, outcome: Outcome) -> &mut Tally {
        match outcome {
            Outcome::Present => &mut self.present,
            Outcome::Mounted => &mut self.mounted,
            Outcome::Uploaded => &mut self.uploaded,
        }
    }
}

impl Tallies for Pushed {
    fn tally(&mut self, outcome: Outcome) -> &mut Tally {
        match outcome {
            Outcome::Present => &mut self.present,
            Outcome::Mounted => &mut self.mounted,
            Outcome::Uploaded => &mut self.uploaded,
        }
    }
}

fn begin<'a>(
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

/// Returns whether a registry refuses a manifest in a way that may be about what it refers to.
pub(crate) fn makes_doubt(error: &Error) -> bool {
    match error {
        Error::NotFound { at, .. } => at.method == "PUT",
        Error::Rejected { at, answer } => {
            at.method == "PUT" && ![405, 409, 412, 415].contains(&answer.status)
        }
        _ => false,
    }
}

/// Returns whether the registry denies having what it said it has.
pub(crate) fn misses_blobs(error: &Error) -> bool {
    let code = error.answer().and_then(|answer| answer.code.as_deref());
    matches!(code, Some("MANIFEST_BLOB_UNKNOWN" | "BLOB_UNKNOWN"))
}

/// Returns whether an error would meet every other artifact as well, so trying them would only take
/// time, or lock an account.
fn ends_everything(error: &Error, accepted: bool) -> bool {
    match error {
        error if error.is_about_reaching() || error.is_about_tls() => true,
        Error::UntrustedRealm { .. } | Error::Location { .. } => true,
        // Once it took the credentials for something, it is about a repository.
        Error::Unauthorized { .. } | Error::NotARegistry { .. } => !accepted,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
