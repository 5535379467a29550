//! Pushes a release to registries.

use std::collections::BTreeMap;
use std::sync::Arc;

use environment::Environment;
use futures_util::future::join_all;
use registry::Arrival;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::event::{Event, Step};
use crate::observe::PushObserver;
use crate::transfer::connect::{self, StoreSource, connect_to_push, target, unique_bytes};
use crate::transfer::look::{PullRefusal, ping, report_silence};
use crate::transfer::mount_candidates;
use crate::transfer::present::RegistryContent;
use crate::{Context, receipt};

mod error;

pub use error::Error;

/// What one registry is to get of a lock.
#[derive(Debug, Clone)]
pub struct Delivery<'a> {
    /// The environment whose registry it is.
    pub environment: &'a Environment,
    /// What it lacks.
    pub artifacts: Vec<&'a bundle::Artifact>,
    /// What it was found to have under the right tags. Its blobs are mounted from there.
    pub present: Vec<&'a bundle::Artifact>,
    /// Why nodes may not be able to pull, if they were refused something.
    pub shut: Option<&'a PullRefusal>,
}

impl Delivery<'_> {
    /// Returns the bytes that are to be sent at most.
    fn bytes(&self) -> u64 {
        unique_bytes(self.artifacts.iter().copied())
    }
}

/// What was sent. It says nothing yet about what the registry serves: see
/// [`crate::verify::registry`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Artifacts that were pushed.
    pub artifacts: usize,
    /// Bytes that went to the registry.
    pub uploaded_bytes: u64,
    /// Blobs that went to the registry.
    pub uploaded_blobs: u64,
    /// Blobs that the registry took over from another of its repositories.
    pub mounted_blobs: u64,
    /// Their bytes.
    pub mounted_bytes: u64,
    /// Blobs that their repositories turned out to have.
    pub present_blobs: u64,
    /// Their bytes.
    pub present_bytes: u64,
}

impl Sent {
    /// Adds what an attempt before this one sent, which this one found in the registry.
    pub(crate) fn add(&mut self, before: &Self) {
        let (blobs, bytes) = (
            before.uploaded_blobs + before.mounted_blobs,
            before.uploaded_bytes + before.mounted_bytes,
        );
        self.uploaded_blobs += before.uploaded_blobs;
        self.uploaded_bytes += before.uploaded_bytes;
        self.mounted_blobs += before.mounted_blobs;
        self.mounted_bytes += before.mounted_bytes;
        self.present_blobs = self.present_blobs.saturating_sub(blobs);
        self.present_bytes = self.present_bytes.saturating_sub(bytes);
    }
}

impl From<&Sent> for receipt::Pushed {
    fn from(sent: &Sent) -> Self {
        let amount = |blobs, bytes| receipt::Amount { blobs, bytes };
        Self {
            artifacts: sent.artifacts,
            sent: amount(sent.uploaded_blobs, sent.uploaded_bytes),
            mounted: amount(sent.mounted_blobs, sent.mounted_bytes),
            present: amount(sent.present_blobs, sent.present_bytes),
        }
    }
}

/// Reports that a push is about to begin.
pub(crate) fn report_start(context: &Context<'_>, deliveries: &[Delivery<'_>]) {
    if deliveries.is_empty() {
        return;
    }
    let registries: Vec<String> = deliveries
        .iter()
        .map(|one| one.environment.registry.image_url())
        .collect();
    let artifacts: usize = deliveries.iter().map(|one| one.artifacts.len()).sum();
    context.reporter.report(Event::Started {
        step: Step::Push,
        what: format!(
            "{} to {}",
            environment::count(artifacts, "artifact"),
            registries.join(" and ")
        ),
        bytes: Some(deliveries.iter().map(Delivery::bytes).sum()),
    });
}

/// Pushes each delivery, each as one transfer, as the blobs come into the store. One that fails
/// stops no other.
///
/// Registries are pushed to at the same time, but for deliveries to the same one, which go one
/// after the other. `held` is what each registry was found to have of what the store lacks; nothing
/// if the store has everything.
pub(crate) async fn push(
    context: &Context<'_>,
    deliveries: &[Delivery<'_>],
    store: &bundle::Store,
    arrivals: Vec<UnboundedReceiver<Arrival>>,
    held: &[RegistryContent],
) -> Vec<Result<Sent, crate::Error>> {
    let source = StoreSource(store.clone());
    let mut turns: BTreeMap<&str, Vec<Turn<'_>>> = BTreeMap::new();
    for ((place, delivery), arrivals) in deliveries.iter().enumerate().zip(arrivals) {
        let turn = Turn {
            place,
            delivery,
            arrivals,
            held: held.get(place),
        };
        let address = delivery.environment.registry.address.as_str();
        turns.entry(address).or_default().push(turn);
    }
    let pushing = turns.into_values().map(|turns| async {
        let mut outcomes = Vec::new();
        for turn in turns {
            let place = turn.place;
            outcomes.push((place, push_one(context, &source, turn).await));
        }
        outcomes
    });
    let mut outcomes: Vec<_> = join_all(pushing).await.into_iter().flatten().collect();
    outcomes.sort_by_key(|(place, _)| *place);
    let outcomes: Vec<Result<Sent, crate::Error>> =
        outcomes.into_iter().map(|(_, outcome)| outcome).collect();
    if !outcomes.is_empty() && outcomes.iter().all(Result::is_ok) {
        let counted = |number: u64, thing: &str| {
            environment::count(usize::try_from(number).unwrap_or(usize::MAX), thing)
        };
        let sum = |number: fn(&Sent) -> u64| outcomes.iter().flatten().map(number).sum::<u64>();
        context.reporter.report(Event::Finished {
            step: Step::Push,
            what: format!(
                "{} pushed: {} sent, {} mounted or already present",
                counted(sum(|sent| sent.artifacts as u64), "artifact"),
                counted(sum(|sent| sent.uploaded_blobs), "blob"),
                sum(|sent| sent.mounted_blobs + sent.present_blobs),
            ),
        });
    }
    outcomes
}

/// A delivery that waits until its registry has been pushed to for those before it.
struct Turn<'a> {
    place: usize,
    delivery: &'a Delivery<'a>,
    arrivals: UnboundedReceiver<Arrival>,
    held: Option<&'a RegistryContent>,
}

async fn push_one(
    context: &Context<'_>,
    source: &StoreSource,
    turn: Turn<'_>,
) -> Result<Sent, crate::Error> {
    let Turn {
        delivery,
        arrivals,
        held,
        ..
    } = turn;
    let environment = delivery.environment;
    let to_be_pushed = &delivery.artifacts;
    let address = &environment.registry.address;
    let registry = connect_to_push(context, environment)?;
    let answer = ping(context, &registry, address).await;
    answer.map_err(|source| connect::Error::Registry {
        address: address.clone(),
        source,
    })?;
    for (repository, digest) in mount_candidates::of(context, environment, to_be_pushed) {
        registry.add_mount_candidate(&repository, &digest);
    }
    for (repository, digest) in mount_candidates::expected(context, environment, to_be_pushed) {
        registry.expect(&repository, &digest);
    }
    for artifact in &delivery.present {
        let repository = environment.registry.repository(&artifact.repository);
        for (digest, _) in artifact.blobs() {
            registry.note_held(&repository, digest);
        }
    }
    for (repository, digest) in held.into_iter().flat_map(RegistryContent::blobs) {
        registry.note_held(repository, &digest);
    }
    let _pushing = context.tool.signals.push_begins();
    let observer = PushObserver::new(context.reporter);
    let targets: Vec<registry::Artifact> = to_be_pushed
        .iter()
        .map(|artifact| target(environment, artifact))
        .collect();
    let report = tokio::select! {
        report = registry.push_streamed(&targets, source, arrivals, &observer) => report,
        () = report_silence(context, &registry, address) => unreachable!("it watches without end"),
    };
    if let Some(source) = registry.refuses_writes() {
        return Err(connect::Error::Registry {
            address: address.clone(),
            source,
        }
        .into());
    }
    if registry.profile_is_wrong() {
        context.workspace.profiles(address).forget();
    }
    let mut sent = Sent {
        artifacts: 0,
        uploaded_bytes: report.uploaded.bytes,
        uploaded_blobs: report.uploaded.blobs,
        mounted_blobs: report.mounted.blobs,
        mounted_bytes: report.mounted.bytes,
        present_blobs: report.present.blobs,
        present_bytes: report.present.bytes,
    };
    let mut failed = Vec::new();
    for (artifact, outcome) in to_be_pushed.iter().zip(report.artifacts) {
        match outcome {
            Ok(_) => sent.artifacts += 1,
            Err(error) => failed.push((artifact.reference(), error)),
        }
    }
    tell_of_external(context, to_be_pushed, &failed);
    if report.stopped {
        let left = failed.len();
        failed.retain(|(_, error)| !matches!(**error, registry::Error::Stopped));
        return Err(Error::Stopped {
            address: address.clone(),
            total: to_be_pushed.len(),
            left,
            sent,
            failed,
        }
        .into());
    }
    if !failed.is_empty() {
        return Err(Error::Failed {
            address: address.clone(),
            total: to_be_pushed.len(),
            sent,
            failed,
        }
        .into());
    }
    Ok(sent)
}

/// Explains why a registry may refuse a manifest with external layers.
fn tell_of_external(
    context: &Context<'_>,
    pushed: &[&bundle::Artifact],
    failed: &[(String, Arc<registry::Error>)],
) {
    for artifact in pushed {
        let name = artifact.reference();
        let refusal = failed.iter().find(|(failed, _)| *failed == name);
        let is_refused = refusal.is_some_and(|(_, error)| error.is_refused_manifest());
        if is_refused && !artifact.external().is_empty() {
            context.reporter.report(Event::Warning(format!(
                "{name} has external layers, which its manifest names by URL: the registry must be configured to accept such manifests; \
                 for distribution, set validation.manifests.urls.allow"
            )));
        }
    }
}
