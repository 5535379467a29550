//! Sends the registry what it lacks of a verified bundle.
//!
//! The only place where a blob of the store and a blob of the registry are seen together.

use std::collections::BTreeMap;
use std::sync::Arc;

use environment::Environment;

use crate::event::{Event, Step};
use crate::observe::PushObserver;
use crate::plan::Plan;
use crate::verify::VerifiedBundle;
use crate::{Context, Credentials, Error};

/// What was sent. It says nothing yet about what the registry serves: see [`crate::verify::registry`].
#[derive(Debug, Default)]
pub struct Sent {
    /// Artifacts that were pushed.
    pub artifacts: usize,
    /// Bytes that went to the registry.
    pub uploaded_bytes: u64,
    /// Blobs that went to the registry.
    pub uploaded_blobs: u64,
    /// Blobs that the registry took over from another of its repositories.
    pub mounted_blobs: u64,
    /// Blobs that their repositories turned out to have.
    pub present_blobs: u64,
}

/// Pushes the artifacts that the plan names, as one transfer.
///
/// An artifact that fails does not stop the others, unless the registry cannot be used at all.
///
/// # Errors
/// The registry cannot be used at all, or some artifacts could not be pushed.
pub async fn push(
    context: &Context<'_>,
    plan: &Plan,
    bundle: &VerifiedBundle,
) -> Result<Sent, Error> {
    let to_be_pushed: Vec<&bundle::Artifact> = plan.to_be_pushed().collect();
    if to_be_pushed.is_empty() {
        return Ok(Sent::default());
    }
    let address = &plan.environment.registry.address;
    let sessions = registry::SessionFolder::new(context.workspace.sessions(), address);
    let registry = connect_remembering(
        &plan.environment,
        context.credentials(&plan.environment)?,
        Some(Arc::new(sessions)),
    )?;
    registry.ping().await.map_err(|source| Error::Registry {
        address: address.clone(),
        source,
    })?;
    context.reporter.report(Event::Started {
        step: Step::Push,
        what: format!(
            "{} artifacts to {}",
            to_be_pushed.len(),
            plan.environment.registry.image_url()
        ),
        bytes: Some(unique_bytes(to_be_pushed.iter().copied())),
    });
    let source = StoreSource(bundle.store.clone());
    let observer = PushObserver::new(context.reporter);
    let targets: Vec<registry::Artifact> = to_be_pushed
        .iter()
        .map(|artifact| target(&plan.environment, artifact))
        .collect();
    let report = registry.push_all(&targets, &source, &observer).await;
    let mut sent = Sent {
        artifacts: 0,
        uploaded_bytes: report.uploaded.bytes,
        uploaded_blobs: report.uploaded.blobs,
        mounted_blobs: report.mounted.blobs,
        present_blobs: report.present.blobs,
    };
    let mut failed = Vec::new();
    for (artifact, outcome) in to_be_pushed.iter().zip(report.artifacts) {
        match outcome {
            Ok(_) => sent.artifacts += 1,
            Err(error) => failed.push((artifact.reference(), error)),
        }
    }
    if !failed.is_empty() {
        return Err(Error::Push {
            address: address.clone(),
            total: to_be_pushed.len(),
            failed,
        });
    }
    context.reporter.report(Event::Finished {
        step: Step::Push,
        what: format!(
            "{} artifacts pushed: {} blobs sent, {} mounted or there already",
            sent.artifacts,
            sent.uploaded_blobs,
            sent.mounted_blobs + sent.present_blobs
        ),
    });
    Ok(sent)
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
    environment: &Environment,
    credentials: Credentials,
) -> Result<registry::Registry, Error> {
    connect_remembering(environment, credentials, None)
}

/// Makes a client that goes on with uploads which an earlier run left.
fn connect_remembering(
    environment: &Environment,
    credentials: Credentials,
    sessions: Option<Arc<dyn registry::Sessions>>,
) -> Result<registry::Registry, Error> {
    let target = &environment.registry;
    let ca = target.ca.as_ref().map(|ca| ca.pem.as_str());
    registry::Endpoint::new(&target.address, ca)
        .and_then(|endpoint| {
            let settings = registry::Settings::default();
            registry::Registry::with_sessions(endpoint, credentials, settings, sessions)
        })
        .map_err(|source| Error::Registry {
            address: target.address.clone(),
            source,
        })
}

/// Says what the registry is to hold for an artifact of the lock.
pub(crate) fn target(environment: &Environment, artifact: &bundle::Artifact) -> registry::Artifact {
    let blob = |blob: &bundle::Blob| registry::Blob {
        digest: blob.digest.clone(),
        size: blob.size,
    };
    registry::Artifact {
        repository: environment.registry.repository(&artifact.repository),
        tag: artifact.tag.clone(),
        manifests: artifact
            .manifests
            .iter()
            .map(|manifest| registry::Manifest {
                digest: manifest.digest.clone(),
                media_type: manifest.media_type.clone(),
                size: manifest.size,
                blobs: manifest.blobs.iter().map(blob).collect(),
            })
            .collect(),
    }
}

struct StoreSource(Arc<bundle::Store>);

impl registry::BlobSource for StoreSource {
    fn open(&self, digest: &oci_spec::image::Digest) -> std::io::Result<std::fs::File> {
        self.0.open_blob(digest).map_err(std::io::Error::other)
    }
}
