//! Reads and writes shared states in a registry.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use environment::Environment;
use oci_spec::image::Digest;

use super::state::{State, StateArtifact, StateFault, parse, state_blob};
use crate::transfer::connect;
use crate::transfer::look::unusable;
use crate::{Context, Credentials, Error, RegistryError, chain};

/// The repository without the project. The tag is the environment's name.
const REPOSITORY: &str = "airlock/state";

/// Returns the repository and tag of the state of the environment `name`, in the registry of
/// `environment`.
pub(crate) fn reference(environment: &Environment, name: &str) -> String {
    format!("{}/{REPOSITORY}:{name}", environment.registry.image_url())
}

/// Reads the state of an environment, without credentials if the registry allows that. Returns
/// `None` if the registry has no state.
pub(super) async fn look(
    context: &Context<'_>,
    environment: &Environment,
) -> Result<Option<(Digest, Result<State, StateFault>)>, Error> {
    let failed = |source| unusable(environment, source);
    let anonymous = Client::of(context, environment, Credentials::Anonymous)?;
    match anonymous.get().await {
        Err(RegistryError::Unauthorized { .. } | RegistryError::Forbidden { .. }) => {
            let client = Client::of(context, environment, context.credentials(environment)?)?;
            client.get().await.map_err(failed)
        }
        found => found.map_err(failed),
    }
}

/// Returns every state in the registry and project of an environment, by the name of its
/// environment. These environments may be in different workspaces.
///
/// # Errors
/// The registry fails, or does not list tags.
pub(crate) async fn all(
    context: &Context<'_>,
    environment: &Environment,
) -> Result<BTreeMap<String, Result<State, StateFault>>, Error> {
    let mut all = BTreeMap::new();
    if environment.rehearsal {
        // A rehearsal has a registry of its own, and no cluster.
        return Ok(all);
    }
    let failed = |source| unusable(environment, source);
    let mut client = Client::of(context, environment, context.credentials(environment)?)?;
    let tags = client.registry.tags(&client.repository).await;
    for tag in tags.map_err(failed)? {
        client.tag = tag;
        if let Some((_, state)) = client.get().await.map_err(failed)? {
            all.insert(client.tag.clone(), state);
        }
    }
    Ok(all)
}

/// The state of one environment in its registry.
#[derive(Debug)]
pub(super) struct Client {
    registry: registry::Registry,
    repository: String,
    tag: String,
}

/// Why a state was not written.
pub(super) enum PutError {
    /// The registry failed, or refused the state.
    Refused(String),
    /// The tag points at an unexpected digest: another deploy wrote a state.
    Overtaken,
}

impl From<RegistryError> for PutError {
    fn from(error: RegistryError) -> Self {
        Self::Refused(chain(&error))
    }
}

/// Returns `None` for content that the registry does not have.
fn found<T>(response: Result<T, RegistryError>) -> Result<Option<T>, RegistryError> {
    match response {
        Err(RegistryError::NotFound { .. }) => Ok(None),
        response => response.map(Some),
    }
}

impl Client {
    pub(super) fn of(
        context: &Context<'_>,
        environment: &Environment,
        credentials: Credentials,
    ) -> Result<Self, Error> {
        let settings = registry::Settings {
            attempts: 2,
            accounts: context.accounts.clone(),
            ..registry::Settings::default()
        };
        let endpoint = connect::endpoint(context, environment)?;
        let registry = registry::Registry::with_settings(endpoint, credentials, settings);
        Ok(Self {
            registry: registry.map_err(|source| unusable(environment, source))?,
            repository: environment.registry.repository(REPOSITORY),
            tag: environment.name.clone(),
        })
    }

    async fn get(&self) -> Result<Option<(Digest, Result<State, StateFault>)>, RegistryError> {
        let manifest = self.registry.get_manifest(&self.repository, &self.tag);
        let Some(fetched) = found(manifest.await)? else {
            return Ok(None);
        };
        let (blob, size) = match state_blob(&fetched.bytes) {
            Ok(blob) => blob,
            Err(fault) => return Ok(Some((fetched.digest, Err(fault)))),
        };
        let reader = self.registry.get_blob(&self.repository, &blob, size);
        let Some(mut reader) = found(reader.await)? else {
            return Ok(Some((fetched.digest, Err(StateFault::BlobMissing))));
        };
        let mut bytes = Vec::new();
        while let Some(chunk) = reader.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some((fetched.digest, parse(&bytes))))
    }

    pub(super) async fn digest(&self) -> Result<Option<Digest>, RegistryError> {
        let manifest = self.registry.get_manifest(&self.repository, &self.tag);
        Ok(found(manifest.await)?.map(|fetched| fetched.digest))
    }

    /// Replaces the state with digest `expected` by a new one. Returns the digest of the new state,
    /// and the time between reading and writing the tag.
    pub(super) async fn put(
        &self,
        state: &State,
        expected: Option<&Digest>,
    ) -> Result<(Digest, Duration), PutError> {
        let written =
            StateArtifact::of(state).map_err(|error| PutError::Refused(error.to_string()))?;
        self.registry
            .restore_blob(&self.repository, &written.blob(), &[], &written, &())
            .await?;
        let started = Instant::now();
        if self.digest().await?.as_ref() != expected {
            return Err(PutError::Overtaken);
        }
        self.registry
            .restore_manifest(
                &self.repository,
                &self.tag,
                &written.manifest,
                &written,
                &(),
            )
            .await?;
        Ok((written.manifest.digest, started.elapsed()))
    }
}
