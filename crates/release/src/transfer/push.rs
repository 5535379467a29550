//! Pushes a release to registries.

use std::collections::BTreeMap;
use std::sync::Arc;

use environment::Environment;
use futures_util::future::join_all;
use registry::Arrival;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::event::{Event, Step};
use crate::observe::PushObserver;
use crate::transfer::connect::{StoreSource, connect_to_push, target, unique_bytes};
use crate::transfer::look::{PullRefusal, ping, report_silence, unusable};
use crate::transfer::mount_candidates;
use crate::transfer::present::RegistryContent;
use crate::{Context, receipt};

mod error;

pub use error::Error;

/// What one registry lacks of a lock.
#[derive(Debug, Clone)]
pub struct Delivery<'a> {
    /// Environment of the registry.
    pub environment: &'a Environment,
    /// Artifacts to push.
    pub artifacts: Vec<&'a bundle::Artifact>,
    /// Artifacts that the registry has under the correct tags. Their blobs can be mounted.
    pub present: Vec<&'a bundle::Artifact>,
    /// A refusal by the registry that may mean that nodes cannot pull.
    pub pull_refusal: Option<&'a PullRefusal>,
}

impl Delivery<'_> {
    /// Returns the maximum number of bytes to send.
    fn bytes(&self) -> u64 {
        unique_bytes(self.artifacts.iter().copied())
    }
}

/// Counts of a push. They do not prove what the registry serves: see [`crate::verify::registry`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Number of pushed artifacts.
    pub artifacts: usize,
    /// Number of uploaded bytes.
    pub uploaded_bytes: u64,
    /// Number of uploaded blobs.
    pub uploaded_blobs: u64,
    /// Number of blobs that the registry mounted from a different repository.
    pub mounted_blobs: u64,
    /// Bytes of the mounted blobs.
    pub mounted_bytes: u64,
    /// Number of blobs that their repositories already had.
    pub present_blobs: u64,
    /// Bytes of those blobs.
    pub present_bytes: u64,
}

impl Sent {
    /// Adds the counts of an earlier attempt. The later attempt counted its blobs as present.
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

/// Reports the start of a push.
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

/// Pushes each delivery while blobs arrive in the store. A delivery that fails does not stop the
/// others.
///
/// Registries are pushed to concurrently, but several deliveries to the same registry go one after
/// the other. `held` is what each registry has of the blobs that the store lacks; it is empty if
/// the store has everything.
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

/// A delivery in the queue of its registry.
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
    let pong = ping(context, &registry, address).await;
    pong.map_err(|source| unusable(environment, source))?;
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
        return Err(unusable(environment, source));
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
    warn_of_external_layers(context, to_be_pushed, &failed);
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

/// Warns why a registry refused manifests with external layers.
fn warn_of_external_layers(
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
