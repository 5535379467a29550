//! Sends the registry what it lacks of a verified bundle.
//!
//! The only place where a blob of the store and a blob of the registry are seen together.

use std::collections::BTreeMap;
use std::sync::Arc;

use environment::Environment;
use futures_util::future::join_all;
use registry::Arrival;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::event::{Event, Step};
use crate::observe::PushObserver;
use crate::plan::Plan;
use crate::{Context, Credentials, Error, neighbours};

/// How much a registry is asked for at most, where somebody has an opinion.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// The most uploads at once. Without it, as many as the registry gets faster by, up to a bound.
    pub jobs: Option<usize>,
    /// The most bytes a second, over all uploads to one registry.
    pub max_rate: Option<u64>,
}

impl Limits {
    fn settings(self) -> registry::Settings {
        let usual = registry::Settings::default();
        registry::Settings {
            uploads_at_once: self.jobs.unwrap_or(usual.uploads_at_once),
            max_rate: self.max_rate.or(usual.max_rate),
            ..usual
        }
    }
}

/// What was sent. It says nothing yet about what the registry serves: see [`crate::verify::registry`].
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

/// Says that a push is about to begin.
pub(crate) fn report_start(context: &Context<'_>, plans: &[&Plan]) {
    if plans.is_empty() {
        return;
    }
    let registries: Vec<String> = plans
        .iter()
        .map(|plan| plan.environment.registry.image_url())
        .collect();
    let artifacts: usize = plans.iter().map(|plan| plan.to_be_pushed().count()).sum();
    context.reporter.report(Event::Started {
        step: Step::Push,
        what: format!(
            "{} to {}",
            environment::count(artifacts, "artifact"),
            registries.join(" and ")
        ),
        bytes: Some(plans.iter().map(|plan| plan.bytes_to_send()).sum()),
    });
}

/// Pushes what each plan names, each as one transfer, as the blobs come into the store. One that fails stops no other.
///
/// Registries are pushed to at the same time, but for plans of the same one, which go one after the other.
pub(crate) async fn push(
    context: &Context<'_>,
    plans: &[&Plan],
    store: &bundle::Store,
    arrivals: Vec<UnboundedReceiver<Arrival>>,
) -> Vec<Result<Sent, Error>> {
    let source = StoreSource(store.clone());
    let mut turns: BTreeMap<&str, Vec<Turn<'_>>> = BTreeMap::new();
    for ((place, plan), arrivals) in plans.iter().enumerate().zip(arrivals) {
        let turn = Turn {
            place,
            plan,
            arrivals,
        };
        let address = plan.environment.registry.address.as_str();
        turns.entry(address).or_default().push(turn);
    }
    let pushing = turns.into_values().map(|turns| async {
        let mut outcomes = Vec::new();
        for turn in turns {
            let outcome = push_one(context, turn.plan, &source, turn.arrivals).await;
            outcomes.push((turn.place, outcome));
        }
        outcomes
    });
    let mut outcomes: Vec<_> = join_all(pushing).await.into_iter().flatten().collect();
    outcomes.sort_by_key(|(place, _)| *place);
    let outcomes: Vec<Result<Sent, Error>> =
        outcomes.into_iter().map(|(_, outcome)| outcome).collect();
    if !outcomes.is_empty() && outcomes.iter().all(Result::is_ok) {
        let counted = |number: u64, thing: &str| {
            environment::count(usize::try_from(number).unwrap_or(usize::MAX), thing)
        };
        let sum = |number: fn(&Sent) -> u64| outcomes.iter().flatten().map(number).sum::<u64>();
        context.reporter.report(Event::Finished {
            step: Step::Push,
            what: format!(
                "{} pushed: {} sent, {} mounted or there already",
                counted(sum(|sent| sent.artifacts as u64), "artifact"),
                counted(sum(|sent| sent.uploaded_blobs), "blob"),
                sum(|sent| sent.mounted_blobs + sent.present_blobs),
            ),
        });
    }
    outcomes
}

/// A plan that waits until its registry has been pushed to for those before it.
struct Turn<'a> {
    place: usize,
    plan: &'a Plan,
    arrivals: UnboundedReceiver<Arrival>,
}

async fn push_one(
    context: &Context<'_>,
    plan: &Plan,
    source: &StoreSource,
    arrivals: UnboundedReceiver<Arrival>,
) -> Result<Sent, Error> {
    let to_be_pushed: Vec<&bundle::Artifact> = plan.to_be_pushed().collect();
    let address = &plan.environment.registry.address;
    let registry = connect_to_push(context, &plan.environment)?;
    registry.ping().await.map_err(|source| Error::Registry {
        address: address.clone(),
        source,
    })?;
    for (repository, digest) in neighbours::offers(context, plan) {
        registry.offer(&repository, &digest);
    }
    let _pushing = context.tool.signals.push_begins();
    let observer = PushObserver::new(context.reporter);
    let targets: Vec<registry::Artifact> = to_be_pushed
        .iter()
        .map(|artifact| target(&plan.environment, artifact))
        .collect();
    let report = registry
        .push_as_they_come(&targets, source, arrivals, &observer)
        .await;
    if let Some(source) = registry.refuses_writes() {
        return Err(Error::Registry {
            address: address.clone(),
            source,
        });
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
    tell_of_external(context, &to_be_pushed, &failed);
    if report.stopped {
        let left = failed.len();
        failed.retain(|(_, error)| !matches!(**error, registry::Error::Stopped));
        return Err(Error::Stopped {
            address: address.clone(),
            total: to_be_pushed.len(),
            left,
            sent,
            failed,
        });
    }
    if !failed.is_empty() {
        return Err(Error::Push {
            address: address.clone(),
            total: to_be_pushed.len(),
            sent,
            failed,
        });
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

/// Returns the bytes of some artifacts, each manifest and blob counted once.
pub(crate) fn unique_bytes<'a>(artifacts: impl Iterator<Item = &'a bundle::Artifact>) -> u64 {
    let sizes: BTreeMap<&str, u64> = artifacts
        .flat_map(bundle::Artifact::blobs)
        .map(|(digest, size)| (digest.as_ref(), size))
        .collect();
    sizes.values().sum()
}

/// Makes a client for an environment's registry.
pub(crate) fn connect(
    context: &Context<'_>,
    environment: &Environment,
    credentials: Credentials,
) -> Result<registry::Registry, Error> {
    let settings = registry::Settings {
        accounts: context.accounts.clone(),
        ..registry::Settings::default()
    };
    connect_with(context, environment, credentials, settings, None)
}

/// Makes a client that may push: with credentials for that, at the pace that was asked for, going on with cut uploads, until it is
/// asked to stop.
pub(crate) fn connect_to_push(
    context: &Context<'_>,
    environment: &Environment,
) -> Result<registry::Registry, Error> {
    let address = &environment.registry.address;
    let kept = context.workspace.profiles(address);
    let profile = kept.load((context.tool.now)().as_second());
    let sessions = registry::SessionFolder::new(context.workspace.sessions(), address);
    connect_with(
        context,
        environment,
        context.credentials(environment)?,
        registry::Settings {
            stop: context.tool.signals.stop(),
            accounts: context.accounts.clone(),
            profile: profile.map(|(profile, _)| profile).unwrap_or_default(),
            ..context.limits.settings()
        },
        Some(Arc::new(sessions)),
    )
}

/// Makes a client with other settings, that goes on with uploads which an earlier run left.
fn connect_with(
    context: &Context<'_>,
    environment: &Environment,
    credentials: Credentials,
    settings: registry::Settings,
    sessions: Option<Arc<dyn registry::Sessions>>,
) -> Result<registry::Registry, Error> {
    registry::Registry::with_sessions(
        endpoint(context, environment)?,
        credentials,
        settings,
        sessions,
    )
    .map_err(|source| Error::Registry {
        address: environment.registry.address.clone(),
        source,
    })
}

/// Returns where an environment's registry is, whose certificate it may have, and the proxies on the way.
pub(crate) fn endpoint(
    context: &Context<'_>,
    environment: &Environment,
) -> Result<registry::Endpoint, Error> {
    let target = &environment.registry;
    let ca = target.ca.as_ref().map(|ca| ca.pem.as_str());
    let endpoint = registry::Endpoint::new(&target.address, ca);
    let endpoint = endpoint.map_err(|source| Error::Registry {
        address: target.address.clone(),
        source,
    })?;
    Ok(endpoint.through(context.proxies()))
}

/// Says what the registry is to hold for an artifact of the lock.
pub(crate) fn target(environment: &Environment, artifact: &bundle::Artifact) -> registry::Artifact {
    registry::Artifact {
        repository: environment.registry.repository(&artifact.repository),
        tag: artifact.tag.clone(),
        manifests: manifests(artifact),
    }
}

/// Returns what an artifact of a bundle consists of, as registries are told.
pub(crate) fn manifests(artifact: &bundle::Artifact) -> Vec<registry::Manifest> {
    let blob = |blob: &bundle::Blob| registry::Blob {
        digest: blob.digest.clone(),
        size: blob.size,
    };
    let manifest = |manifest: &bundle::Manifest| registry::Manifest {
        digest: manifest.digest.clone(),
        media_type: manifest.media_type.clone(),
        size: manifest.size,
        blobs: manifest.blobs.iter().map(blob).collect(),
    };
    artifact.manifests.iter().map(manifest).collect()
}

/// The store, as registries read from it.
pub(crate) struct StoreSource(pub(crate) bundle::Store);

impl registry::BlobSource for StoreSource {
    fn open(&self, digest: &oci_spec::image::Digest) -> std::io::Result<std::fs::File> {
        self.0.open_blob(digest).map_err(std::io::Error::other)
    }

    fn is_checked(&self, digest: &oci_spec::image::Digest, file: &std::fs::File) -> bool {
        self.0.is_checked(digest, file)
    }
}
