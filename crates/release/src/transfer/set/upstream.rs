//! The registries that sets come from: their addresses, mirrors, certificates and credentials.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bundle::set::{DOCKER_HUB, Reference, Upstream};
use camino::Utf8Path;
use registry::{Credentials, Endpoint, Registry};

use crate::Context;
use crate::set::Error;
use crate::transfer::fetch;

/// Where Docker Hub has its registry.
const DOCKER_HUB_ADDRESS: &str = "registry-1.docker.io";

/// The clients of a run, one for each registry and account.
pub(super) struct Upstreams<'a> {
    context: &'a Context<'a>,
    known: BTreeMap<String, Upstream>,
    clients: Mutex<BTreeMap<(String, Option<String>), Registry>>,
}

/// A repository in a registry, as it is asked for.
#[derive(Clone)]
pub(super) struct Repository {
    pub(super) registry: Registry,
    /// Its path, with that of a mirror.
    pub(super) path: String,
    /// The reference that it is asked for.
    reference: String,
}

impl<'a> Upstreams<'a> {
    /// Prepares requests to the registries of a set, which may describe them. No request is made.
    pub(super) fn new(context: &'a Context<'a>, set: &bundle::set::Set) -> Self {
        Self {
            context,
            known: set.registries.clone(),
            clients: Mutex::default(),
        }
    }

    /// Returns where a reference is asked for.
    ///
    /// # Errors
    /// The run is offline, or the registry's address, CA or credentials cannot be used.
    pub(super) fn repository(&self, reference: &Reference) -> Result<Repository, crate::Error> {
        let shown = reference.to_string();
        let url = format!("https://{}/v2/", reference.host);
        fetch::refuse_offline(self.context, &url, Utf8Path::new(&shown))?;
        let mirror = self.known.get(&reference.host);
        let mirror = mirror.and_then(|upstream| upstream.mirror.as_deref());
        let (host, path) = match mirror {
            None => (reference.host.as_str(), reference.repository.clone()),
            Some(mirror) => match mirror.split_once('/') {
                Some((host, path)) => {
                    let path = path.trim_matches('/');
                    (host, format!("{path}/{}", reference.repository))
                }
                None => (mirror, reference.repository.clone()),
            },
        };
        let provider = self.context.credential_provider;
        let credentials = provider.upstream_credentials(host, &path);
        let credentials = credentials.map_err(|source| Error::Credentials {
            host: host.to_owned(),
            source,
        })?;
        credentials.remember();
        let account = match &credentials {
            Credentials::Anonymous => None,
            Credentials::Basic { username, .. } => Some(username.clone()),
        };
        let key = (host.to_owned(), account);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let registry = match clients.get(&key) {
            Some(registry) => registry.clone(),
            None => {
                let registry = self.connect(host, credentials, &shown)?;
                clients.insert(key, registry.clone());
                registry
            }
        };
        Ok(Repository {
            registry,
            path,
            reference: shown,
        })
    }

    fn connect(
        &self,
        host: &str,
        credentials: Credentials,
        reference: &str,
    ) -> Result<Registry, crate::Error> {
        let address = match host {
            DOCKER_HUB => DOCKER_HUB_ADDRESS,
            host => host,
        };
        let ca = match self.known.get(host).and_then(|known| known.ca.as_ref()) {
            None => None,
            Some(ca) => {
                let workspace = self.context.workspace;
                let path = workspace.bundles().join(ca);
                let text = files::read_text(&path).map_err(|source| Error::Ca {
                    host: host.to_owned(),
                    path: workspace.shown(&path).to_owned(),
                    source,
                })?;
                Some(text)
            }
        };
        let settings = registry::Settings {
            stop: self.context.tool.signals.stop(),
            accounts: self.context.accounts.clone(),
            ..registry::Settings::default()
        };
        let failed = |source| Error::Registry {
            reference: reference.to_owned(),
            host: host.to_owned(),
            source,
        };
        let endpoint = Endpoint::new(address, ca.as_deref()).map_err(failed)?;
        let endpoint = endpoint.through(self.context.proxies());
        Ok(Registry::with_settings(endpoint, credentials, settings).map_err(failed)?)
    }
}

impl Repository {
    /// Returns the error for a request that failed. `what` is a digest below the reference, or nothing for itself.
    pub(super) fn failed(&self, what: Option<&str>, source: registry::Error) -> crate::Error {
        let reference = match what {
            Some(digest) => format!("{digest} of {}", self.reference),
            None => self.reference.clone(),
        };
        Error::Registry {
            reference,
            host: self.registry.endpoint().address().to_owned(),
            source,
        }
        .into()
    }

    /// Returns what the reference points to now; nothing if it is gone.
    ///
    /// # Errors
    /// The registry cannot be asked.
    pub(super) async fn digest(&self, asked: &str) -> Result<Option<String>, crate::Error> {
        let found = self.registry.head_manifest(&self.path, asked).await;
        match found.map_err(|source| self.failed(None, source))? {
            None => Ok(None),
            Some(found) => match found.digest {
                Some(digest) => Ok(Some(digest.to_string())),
                None => {
                    let fetched = self.registry.get_manifest(&self.path, asked).await;
                    let fetched = fetched.map_err(|source| self.failed(None, source))?;
                    Ok(Some(fetched.digest.to_string()))
                }
            },
        }
    }
}
