//! The client that reads states from a registry, and writes them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use environment::Environment;
use oci_spec::image::Digest;

use super::state::{State, StateFault, Written, parse, state_blob};
use crate::transfer::connect;
use crate::{Context, Credentials, Error, RegistryError, chain};

/// The repository, without the project. The tag is the environment's name.
const REPOSITORY: &str = "airlock/state";

/// Returns the repository and tag of the state of the environment `name`, in the registry of
/// `environment`.
pub(crate) fn reference(environment: &Environment, name: &str) -> String {
    format!("{}/{REPOSITORY}:{name}", environment.registry.image_url())
}

/// Returns what the registry holds, with and without credentials; none if it holds nothing.
pub(super) async fn look(
    context: &Context<'_>,
    environment: &Environment,
) -> Result<Option<(Digest, Result<State, StateFault>)>, Error> {
    let failed = |source| {
        Error::Connect(connect::Error::Registry {
            address: environment.registry.address.clone(),
            source,
        })
    };
    let anonymous = Client::of(context, environment, Credentials::Anonymous)?;
    match anonymous.get().await {
        Err(RegistryError::Unauthorized { .. } | RegistryError::Forbidden { .. }) => {
            let client = Client::of(context, environment, context.credentials(environment)?)?;
            client.get().await.map_err(failed)
        }
        found => found.map_err(failed),
    }
}

/// Returns every state below the project of an environment's registry, by the name of its
/// environment, which may be of a different workspace.
///
/// # Errors
/// The registry cannot be asked, or does not list the tags.
pub(crate) async fn all(
    context: &Context<'_>,
    environment: &Environment,
) -> Result<BTreeMap<String, Result<State, StateFault>>, Error> {
    let mut all = BTreeMap::new();
    if environment.rehearsal {
        // Its registry has no other environments, and it has no cluster.
        return Ok(all);
    }
    let failed = |source| {
        Error::Connect(connect::Error::Registry {
            address: environment.registry.address.clone(),
            source,
        })
    };
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
pub(super) enum Put {
    Refused(String),
    /// The tag does not point at what it pointed at before.
    Overtaken,
}

impl From<RegistryError> for Put {
    fn from(error: RegistryError) -> Self {
        Self::Refused(chain(&error))
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
            registry: registry.map_err(|source| connect::Error::Registry {
                address: environment.registry.address.clone(),
                source,
            })?,
            repository: environment.registry.repository(REPOSITORY),
            tag: environment.name.clone(),
        })
    }

    async fn get(&self) -> Result<Option<(Digest, Result<State, StateFault>)>, RegistryError> {
        let fetched = match self
            .registry
            .get_manifest(&self.repository, &self.tag)
            .await
        {
            Ok(fetched) => fetched,
            Err(RegistryError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let (blob, size) = match state_blob(&fetched.bytes) {
            Ok(blob) => blob,
            Err(fault) => return Ok(Some((fetched.digest, Err(fault)))),
        };
        let mut reader = match self.registry.get_blob(&self.repository, &blob, size).await {
            Ok(reader) => reader,
            Err(RegistryError::NotFound { .. }) => {
                return Ok(Some((fetched.digest, Err(StateFault::BlobMissing))));
            }
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        while let Some(chunk) = reader.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some((fetched.digest, parse(&bytes))))
    }

    pub(super) async fn digest(&self) -> Result<Option<Digest>, RegistryError> {
        let found = self.registry.get_manifest(&self.repository, &self.tag);
        match found.await {
            Ok(fetched) => Ok(Some(fetched.digest)),
            Err(RegistryError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a state in the place of the one with this digest. Returns the digest of the new one,
    /// and the time from looking at the tag to its being written.
    pub(super) async fn put(
        &self,
        state: &State,
        expected: Option<&Digest>,
    ) -> Result<(Digest, Duration), Put> {
        let written = Written::of(state).map_err(|error| Put::Refused(error.to_string()))?;
        self.registry
            .restore_blob(&self.repository, &written.blob(), &[], &written, &())
            .await?;
        let looked = Instant::now();
        if self.digest().await?.as_ref() != expected {
            return Err(Put::Overtaken);
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
        Ok((written.manifest.digest, looked.elapsed()))
    }
}
