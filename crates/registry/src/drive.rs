//! What is done next, and what comes of a failure: the loop that carries a plan out.
//!
//! First the tags are asked for, then blobs move, and an artifact is finished as soon as nothing is missing any more. Everything
//! runs in the one future of the caller, so that dropping it stops everything.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use oci_spec::image::Digest;

use crate::ensure::{Errand, Outcome};
use crate::pace::{Lane, Pace, Slot};
use crate::plan::{Need, Transfer, plan};
use crate::{Artifact, BlobSource, Error, Event, Observer, PushReport, Pushed, Registry, Tally};

/// The largest blob that may take the slot that is kept for small ones, in bytes.
const SMALL: u64 = 1024 * 1024;

/// How many blobs have to be left for it to pay to find out how this registry is asked best.
const WORTH_FINDING_OUT: usize = 4;

/// How many errors that may pass, one after the other and each after all of its attempts, say that the registry is gone.
const MOST_FAILURES: u32 = 3;

pub(crate) struct Drive<'a> {
    registry: &'a Registry,
    artifacts: &'a [Artifact],
    source: &'a dyn BlobSource,
    observer: &'a dyn Observer,
    states: Vec<State>,
    /// Tags that are still to be asked for.
    questions: VecDeque<usize>,
    /// How many answers are missing before a plan can be made.
    unanswered: usize,
    large: VecDeque<Transfer<'a>>,
    small: VecDeque<Transfer<'a>>,
    /// Blobs that other repositories have. They cost little, and artifacts wait for them.
    mounts: VecDeque<Transfer<'a>>,
    /// Artifacts of which nothing is missing but their manifests.
    complete: VecDeque<usize>,
    /// Whether the registry has answered this account at all.
    accepted: bool,
    failures: u32,
    stopped: Option<Arc<Error>>,
    report: PushReport,
}

/// How far an artifact is.
enum State {
    Begun { missing: usize, pushed: Pushed },
    Done(Result<Pushed, Arc<Error>>),
}

enum Work<'a> {
    Ask(usize),
    Bring(Transfer<'a>, Need<'a>),
    Finish(usize),
}

enum Done<'a> {
    Asked(usize, Result<Option<Digest>, Error>),
    Brought(Transfer<'a>, Need<'a>, Result<Outcome, Error>),
    Finished(usize, Result<(), Error>),
}

impl<'a> Drive<'a> {
    pub(crate) fn new(
        registry: &'a Registry,
        artifacts: &'a [Artifact],
        source: &'a dyn BlobSource,
        observer: &'a dyn Observer,
    ) -> Self {
        let mut names = BTreeSet::new();
        let states: Vec<State> = artifacts
            .iter()
            .map(|artifact| match begin(artifact, &mut names) {
                Ok(pushed) => State::Begun { missing: 0, pushed },
                Err(error) => State::Done(Err(Arc::new(error))),
            })
            .collect();
        let questions: VecDeque<usize> = (0..artifacts.len())
            .filter(|number| matches!(states[*number], State::Begun { .. }))
            .collect();
        Self {
            registry,
            artifacts,
            source,
            observer,
            states,
            unanswered: questions.len(),
            questions,
            large: VecDeque::new(),
            small: VecDeque::new(),
            mounts: VecDeque::new(),
            complete: VecDeque::new(),
            accepted: false,
            failures: 0,
            stopped: None,
            report: PushReport {
                artifacts: Vec::new(),
                uploaded: Tally::default(),
                mounted: Tally::default(),
                present: Tally::default(),
                manifests: 0,
            },
        }
    }

    /// Carries everything out and returns what came of it.
    pub(crate) async fn run(mut self) -> PushReport {
        let pace: &'a Pace = self.registry.transport().pace();
        let mut running: FuturesUnordered<BoxFuture<'a, Done<'a>>> = FuturesUnordered::new();
        loop {
            let freed = pace.freed();
            // The first answer tells whether this registry can be talked to at all, and what it asks its callers for.
            while self.accepted || running.is_empty() {
                let Some((slot, work)) = self.next(pace) else {
                    break;
                };
                let working = self.perform(work);
                let working = working.inspect(move |_| drop(slot));
                running.push(working.boxed());
            }
            if running.is_empty() && !self.waits() {
                return self.conclude();
            }
            let done = tokio::select! {
                Some(done) = running.next() => done,
                () = freed => continue,
            };
            self.settle(done);
            if self.stopped.is_some() {
                return self.conclude();
            }
        }
    }

    /// Returns the work that is most urgent of what there is room for.
    fn next(&mut self, pace: &'a Pace) -> Option<(Slot<'a>, Work<'a>)> {
        if !self.questions.is_empty() {
            let slot = pace.try_slot(Lane::Question)?;
            return Some((slot, Work::Ask(self.questions.pop_front()?)));
        }
        if !self.complete.is_empty() {
            let slot = pace.try_slot(Lane::Small)?;
            return Some((slot, Work::Finish(self.complete.pop_front()?)));
        }
        let states = &self.states;
        for (queue, lane) in [
            (&mut self.mounts, Lane::Small),
            (&mut self.large, Lane::Large),
            (&mut self.small, Lane::Small),
        ] {
            // What only artifacts wait for that failed in the meantime is not brought any more.
            while let Some(transfer) = queue.front_mut() {
                let wanted = |need: &Need<'_>| need.artifacts.iter().any(|n| states[*n].is_begun());
                transfer.needs.retain(wanted);
                if !transfer.needs.is_empty() {
                    break;
                }
                queue.pop_front();
            }
            if queue.is_empty() {
                continue;
            }
            // Where there is no room for what is large, there may be some for what is small.
            let Some(slot) = pace.try_slot(lane) else {
                continue;
            };
            let mut transfer = queue.pop_front()?;
            let need = transfer.needs.pop_front()?;
            return Some((slot, Work::Bring(transfer, need)));
        }
        None
    }

    /// Tells whether there is work that waits for room.
    fn waits(&self) -> bool {
        !(self.questions.is_empty()
            && self.complete.is_empty()
            && self.mounts.is_empty()
            && self.large.is_empty()
            && self.small.is_empty())
    }

    fn perform(&self, work: Work<'a>) -> impl Future<Output = Done<'a>> + Send + 'a {
        let (registry, source, observer) = (self.registry, self.source, self.observer);
        let artifacts = self.artifacts;
        let errand = Errand {
            source,
            observer,
            find_out: self.large.len() + self.small.len() >= WORTH_FINDING_OUT,
        };
        async move {
            match work {
                Work::Ask(number) => {
                    let Artifact {
                        repository, tag, ..
                    } = &artifacts[number];
                    let answer = registry.tag_digest(repository, tag, observer).await;
                    Done::Asked(number, answer)
                }
                Work::Bring(transfer, need) => {
                    let bringing = registry.ensure_blob(need.repository, transfer.blob, errand);
                    let outcome = bringing.await;
                    Done::Brought(transfer, need, outcome)
                }
                Work::Finish(number) => {
                    let artifact = &artifacts[number];
                    let mut outcome = registry.finish(artifact, source, observer).await;
                    if outcome.as_ref().is_err_and(misses_blobs) {
                        outcome = match registry.bring_surely(artifact, errand).await {
                            Ok(()) => registry.finish(artifact, source, observer).await,
                            Err(error) => Err(error),
                        };
                    }
                    Done::Finished(number, outcome)
                }
            }
        }
    }

    fn settle(&mut self, done: Done<'a>) {
        match done {
            Done::Asked(number, answer) => {
                match answer {
                    Ok(found) => self.answered(number, found),
                    // Some registries answer so for what is not there yet; if it is meant, the first upload hears it again.
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
            Done::Brought(transfer, need, Ok(outcome)) => {
                self.succeeded();
                self.brought(transfer, need, outcome);
            }
            Done::Brought(mut transfer, need, Err(error)) => {
                // What is wrong with the file is wrong wherever it goes.
                let everywhere = matches!(error, Error::SourceContent { .. });
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
                self.queue(transfer);
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
                .known
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
                    self.complete.push_back(number);
                }
            }
        }
        for transfer in plan(&wanted) {
            self.queue(transfer);
        }
    }

    /// Lets a transfer wait for its turn.
    fn queue(&mut self, mut transfer: Transfer<'a>) {
        let known = &self.registry.inner.known;
        let blob = transfer.blob;
        if known.mounts() && known.is_held(&blob.digest) {
            // Nobody has to wait for the others any more.
            self.mounts.extend(transfer.needs.drain(..).map(|need| {
                let needs = VecDeque::from([need]);
                Transfer { blob, needs }
            }));
            return;
        }
        if transfer.needs.is_empty() {
            return;
        }
        let queue = if blob.size > SMALL {
            &mut self.large
        } else {
            &mut self.small
        };
        // The largest first, and what others wait for before what is as large.
        let place = queue.partition_point(|other| other.blob.size > blob.size);
        queue.insert(place, transfer);
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
                    self.complete.push_back(number);
                }
            }
        }
        self.queue(transfer);
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
        let ends = gone || ends_everything(&error, self.accepted);
        self.accepted |= refused && !ends;
        let error = Arc::new(error);
        if ends {
            self.stopped = Some(Arc::clone(&error));
        }
        error
    }

    fn conclude(mut self) -> PushReport {
        if let Some(error) = self.stopped.take() {
            for number in 0..self.states.len() {
                self.fail(number, &error);
            }
        }
        let outcomes = self.states.into_iter().map(|state| match state {
            State::Done(outcome) => outcome,
            State::Begun { .. } => unreachable!("every artifact ends before the work does"),
        });
        self.report.artifacts = outcomes.collect();
        self.report
    }
}

impl State {
    fn is_begun(&self) -> bool {
        matches!(self, Self::Begun { .. })
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

/// Tells whether the registry denies to hold what it said it held.
fn misses_blobs(error: &Error) -> bool {
    let code = error.answer().and_then(|answer| answer.code.as_deref());
    matches!(code, Some("MANIFEST_BLOB_UNKNOWN" | "BLOB_UNKNOWN"))
}

/// Tells whether an error would meet every other artifact as well, so that trying them would only take time, or lock an account.
fn ends_everything(error: &Error, accepted: bool) -> bool {
    match error {
        Error::ConnectionRefused { .. }
        | Error::NameNotResolved { .. }
        | Error::UnknownAuthority { .. }
        | Error::WrongHostName { .. }
        | Error::CertificateExpired { .. }
        | Error::CertificateNotYetValid { .. }
        | Error::Tls { .. }
        | Error::PlainHttpServer { .. }
        | Error::HttpsServer { .. }
        | Error::UntrustedRealm { .. } => true,
        // Once it took the credentials for something, it is about a repository.
        Error::Unauthorized { .. } | Error::NotARegistry { .. } => !accepted,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
