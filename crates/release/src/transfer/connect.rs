//! Creates clients for an environment's registry, and converts locked artifacts to the types of the
//! `registry` crate.

use std::collections::BTreeMap;
use std::sync::Arc;

use environment::Environment;

use crate::{Context, Credentials};

mod error;

pub use error::Error;

/// Limits for uploads to a registry, set by the operator.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Maximum number of concurrent uploads. `None` is adaptive.
    pub jobs: Option<usize>,
    /// Maximum rate in bytes per second, over all uploads to one registry.
    pub max_rate: Option<u64>,
}

impl Limits {
    fn settings(self) -> registry::Settings {
        let usual = registry::Settings::default();
        registry::Settings {
            uploads_at_once: self.jobs,
            max_rate: self.max_rate.or(usual.max_rate),
            ..usual
        }
    }
}

/// Creates a client that only reads.
pub(crate) fn connect(
    context: &Context<'_>,
    environment: &Environment,
    credentials: Credentials,
) -> Result<registry::Registry, crate::Error> {
    let settings = registry::Settings {
        accounts: context.accounts.clone(),
        ..registry::Settings::default()
    };
    connect_with(context, environment, credentials, settings)
}

/// Creates a client for pushes: with push credentials and the operator's limits. It resumes upload
/// sessions, and stops on request.
pub(crate) fn connect_to_push(
    context: &Context<'_>,
    environment: &Environment,
) -> Result<registry::Registry, crate::Error> {
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
            sessions: Some(Arc::new(sessions)),
            ..context.limits.settings()
        },
    )
}

/// Makes a client with these settings.
fn connect_with(
    context: &Context<'_>,
    environment: &Environment,
    credentials: Credentials,
    settings: registry::Settings,
) -> Result<registry::Registry, crate::Error> {
    let endpoint = endpoint(context, environment)?;
    registry::Registry::with_settings(endpoint, credentials, settings).map_err(|source| {
        crate::Error::Connect(Error::Registry {
            address: environment.registry.address.clone(),
            source,
        })
    })
}

/// Returns the address of an environment's registry, with its CA and the proxies to use.
pub(crate) fn endpoint(
    context: &Context<'_>,
    environment: &Environment,
) -> Result<registry::Endpoint, crate::Error> {
    let target = &environment.registry;
    let ca = target.ca.as_ref().map(|ca| ca.pem.as_str());
    let endpoint = registry::Endpoint::new(&target.address, ca);
    let endpoint = endpoint.map_err(|source| Error::Registry {
        address: target.address.clone(),
        source,
    })?;
    Ok(endpoint.through(context.proxies()))
}

/// Returns an artifact of the lock as the registry must have it.
pub(crate) fn target(environment: &Environment, artifact: &bundle::Artifact) -> registry::Artifact {
    registry::Artifact {
        repository: environment.registry.repository(&artifact.repository),
        tag: artifact.tag.clone(),
        manifests: manifests(artifact),
    }
}

/// Converts the manifests of an artifact.
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

/// Returns the size of artifacts in bytes, each manifest and blob counted once.
pub(crate) fn unique_bytes<'a>(artifacts: impl Iterator<Item = &'a bundle::Artifact>) -> u64 {
    let sizes: BTreeMap<&str, u64> = artifacts
        .flat_map(bundle::Artifact::blobs)
        .map(|(digest, size)| (digest.as_ref(), size))
        .collect();
    sizes.values().sum()
}

/// Lets the registry client read blobs from the store.
pub(crate) struct StoreSource(pub(crate) bundle::Store);

impl registry::BlobSource for StoreSource {
    fn open(&self, digest: &oci_spec::image::Digest) -> std::io::Result<std::fs::File> {
        self.0.open_blob(digest).map_err(std::io::Error::other)
    }

    fn is_checked(&self, digest: &oci_spec::image::Digest, file: &std::fs::File) -> bool {
        self.0.is_checked(digest, file)
    }
}
