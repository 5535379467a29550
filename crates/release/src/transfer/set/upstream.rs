//! Upstream registries and web servers of sets: their addresses, mirrors, certificates and
//! credentials.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use bundle::HelmIndex;
use bundle::set::{DOCKER_HUB, Reference, Upstream};
use bytes::Bytes;
use camino::{Utf8Path, Utf8PathBuf};
use registry::probe::Fault;
use registry::{BlobTarget, Credentials, Endpoint, Observer, Registry};
use tokio::sync::OnceCell;
use url::Url;

use crate::Context;
use crate::event::Event;
use crate::set::{Error, Loaded};
use crate::transfer::fetch::{self, DownloadSource};
use crate::transfer::look;

/// Address of Docker Hub's registry.
const DOCKER_HUB_ADDRESS: &str = "registry-1.docker.io";

/// Clients for upstream registries, one for each host and account.
pub(super) struct Upstreams<'a> {
    context: &'a Context<'a>,
    /// Path of the set's file, relative to the workspace.
    path: Utf8PathBuf,
    known: BTreeMap<String, Upstream>,
    clients: Mutex<BTreeMap<(String, Option<String>), Registry>>,
    /// Indexes of classic Helm repositories, by URL. Each is downloaded once.
    indexes: Mutex<BTreeMap<Url, Arc<OnceCell<Arc<HelmIndex>>>>>,
    /// Slow registries that were reported, with the seconds waited.
    reported: Mutex<BTreeSet<(String, u64)>>,
    /// Whether the command can do without responses. Each request is made at most twice then, and a
    /// refusal is only a warning.
    pub(super) is_optional: bool,
    /// Locked references that were not compared.
    unreached: Mutex<Vec<Unreached>>,
}

/// A locked reference whose registry was not reached.
struct Unreached {
    host: String,
    reference: String,
    error: crate::Error,
}

/// A repository in a registry or its mirror.
pub(super) struct Repository<'u> {
    upstreams: &'u Upstreams<'u>,
    pub(super) registry: Registry,
    /// Path of the repository in the registry or its mirror.
    pub(super) path: String,
    /// Upstream reference, for messages.
    reference: String,
}

/// A file of a web server or its mirror.
pub(super) struct WebFile<'u> {
    upstreams: &'u Upstreams<'u>,
    registry: Registry,
    /// URL on the server or its mirror.
    url: Url,
    /// Upstream URL, for messages.
    shown: String,
}

impl<'a> Upstreams<'a> {
    /// Prepares requests to the upstream registries of a set, with the settings in the set's file.
    /// Makes no request.
    pub(super) fn new(context: &'a Context<'a>, loaded: &Loaded) -> Self {
        Self {
            path: loaded.path.clone(),
            known: loaded.set.registries.clone(),
            ..Self::of_release(context)
        }
    }

    /// Prepares requests to registries without settings.
    pub(super) fn of_release(context: &'a Context<'a>) -> Self {
        Self {
            context,
            path: Utf8PathBuf::new(),
            known: BTreeMap::new(),
            clients: Mutex::default(),
            indexes: Mutex::default(),
            reported: Mutex::default(),
            is_optional: false,
            unreached: Mutex::default(),
        }
    }

    /// Returns `None` for a locked reference whose registry was not reached, and records that
    /// reference.
    pub(super) fn if_reached<T>(
        &self,
        reference: String,
        found: Result<Option<T>, crate::Error>,
    ) -> Result<Option<T>, crate::Error> {
        let error = match found {
            Err(error) => error,
            found => return found,
        };
        let Some(host) = self.unreached_by(&error) else {
            return Err(error);
        };
        let mut all = (self.unreached.lock()).unwrap_or_else(PoisonError::into_inner);
        all.push(Unreached {
            host,
            reference,
            error,
        });
        Ok(None)
    }

    /// Returns the host of an error that means that the registry was not reached. With
    /// `is_optional`, other failed requests count, too.
    fn unreached_by(&self, error: &crate::Error) -> Option<String> {
        let crate::Error::Set(
            Error::Registry { host, source, .. } | Error::Download { host, source, .. },
        ) = error
        else {
            return None;
        };
        let is_unreached = match Fault::of(source) {
            Fault::NotReached
            | Fault::NameNotResolved
            | Fault::Proxy
            | Fault::Slow
            | Fault::Unavailable
            | Fault::RateLimited => true,
            _ => self.is_optional && !matches!(source, registry::Error::Stopped),
        };
        is_unreached.then(|| host.clone())
    }

    /// Warns of the registries that were not reached. Returns the references that were not
    /// compared.
    ///
    /// # Errors
    /// The last error, if none of the `asked` references was compared.
    pub(super) fn uncompared(&self, asked: usize) -> Result<Vec<String>, crate::Error> {
        let mut all = (self.unreached.lock()).unwrap_or_else(PoisonError::into_inner);
        let mut all = std::mem::take(&mut *all);
        if all.len() == asked
            && let Some(last) = all.pop()
        {
            return Err(last.error);
        }
        let mut hosts: BTreeMap<&str, Vec<&Unreached>> = BTreeMap::new();
        for one in &all {
            hosts.entry(&one.host).or_default().push(one);
        }
        for (host, of_host) in hosts {
            let count = environment::count(of_host.len(), "locked reference");
            self.context.reporter.report(Event::Warning(format!(
                "not compared with upstream: {count} of {host}: {}",
                crate::chain(&of_host[0].error)
            )));
        }
        Ok(all.into_iter().map(|one| one.reference).collect())
    }

    /// Waits for a response. Reports a long wait, once for all requests to the registry.
    async fn awaited<T>(&self, registry: &Registry, answer: impl Future<Output = T>) -> T {
        look::awaited(answer, |seconds| {
            let address = registry.endpoint().address().to_owned();
            let mut reported = (self.reported.lock()).unwrap_or_else(PoisonError::into_inner);
            if reported.insert((address.clone(), seconds)) {
                look::report_wait(self.context, registry, &address, seconds);
            }
        })
        .await
    }

    /// Returns a file, on its server or the mirror.
    ///
    /// # Errors
    /// As for [`Self::repository`].
    pub(super) fn file(&self, url: &Url) -> Result<WebFile<'_>, crate::Error> {
        let shown = bundle::shown_url(url.as_str());
        fetch::refuse_offline(self.context, url.as_str(), Utf8Path::new(&shown))?;
        let host = url.host_str().unwrap_or_default();
        let host = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let path = url.path().trim_start_matches('/');
        let (asked, path) = self.mirrored(&host, path);
        let registry = self.client(asked, &path, &shown)?;
        let url = match asked == host {
            true => url.clone(),
            false => registry.endpoint().web_url(&path),
        };
        Ok(WebFile {
            upstreams: self,
            registry,
            url,
            shown,
        })
    }

    /// Returns the index of a classic Helm repository. The URL must end with a slash.
    ///
    /// # Errors
    /// The repository cannot be used, or has no valid index.
    pub(super) async fn index(&self, repository: &Url) -> Result<Arc<HelmIndex>, crate::Error> {
        let cell = {
            let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(indexes.entry(repository.clone()).or_default())
        };
        let reading = async {
            let Ok(url) = repository.join("index.yaml") else {
                unreachable!("a file below a URL has a URL");
            };
            let file = self.file(&url)?;
            let bytes = file.read(bundle::LARGEST_CHART_FILE).await?;
            let index = HelmIndex::parse(&bytes).map_err(|source| Error::Chart {
                reference: repository.to_string(),
                source,
            })?;
            Ok(Arc::new(index))
        };
        cell.get_or_try_init(|| reading).await.cloned()
    }

    /// Returns the repository of a reference, in its registry or the mirror.
    ///
    /// # Errors
    /// [`fetch::Error::Offline`] in an offline run; also if the address, CA or credentials of the
    /// registry cannot be used.
    pub(super) fn repository(&self, reference: &Reference) -> Result<Repository<'_>, crate::Error> {
        let shown = reference.to_string();
        if self.context.offline {
            return Err(fetch::Error::Offline {
                what: shown.into(),
                url: reference.host.clone(),
            }
            .into());
        }
        let (host, path) = self.mirrored(&reference.host, &reference.repository);
        Ok(Repository {
            upstreams: self,
            registry: self.client(host, &path, &shown)?,
            path,
            reference: shown,
        })
    }

    /// Returns the host and path to request: those of the mirror, if the set names one.
    fn mirrored<'h>(&'h self, host: &'h str, path: &str) -> (&'h str, String) {
        let mirror = self.known.get(host);
        let mirror = mirror.and_then(|upstream| upstream.mirror.as_deref());
        match mirror.map(|mirror| mirror.split_once('/').unwrap_or((mirror, ""))) {
            None => (host, path.to_owned()),
            Some((mirror, below)) => match below.trim_matches('/') {
                "" => (mirror, path.to_owned()),
                below => (mirror, format!("{below}/{path}")),
            },
        }
    }

    /// Returns the credentials for a path on a host.
    fn credentials(&self, host: &str, path: &str) -> Result<Credentials, crate::Error> {
        let provider = self.context.credential_provider;
        let credentials = provider.upstream_credentials(host, path);
        let credentials = credentials.map_err(|source| Error::Credentials {
            host: host.to_owned(),
            source,
        })?;
        credentials.remember();
        Ok(credentials)
    }

    /// Returns the client for a path on a host. `shown` is the reference for errors.
    fn client(&self, host: &str, path: &str, shown: &str) -> Result<Registry, crate::Error> {
        let credentials = self.credentials(host, path)?;
        let account = match &credentials {
            Credentials::Anonymous => None,
            Credentials::Basic { username, .. } => Some(username.clone()),
        };
        let key = (host.to_owned(), account);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        match clients.get(&key) {
            Some(registry) => Ok(registry.clone()),
            None => {
                let registry = self.connect(host, credentials, shown)?;
                clients.insert(key, registry.clone());
                Ok(registry)
            }
        }
    }

    /// Reads the private CA of a host, if the set names one. It must be valid now.
    fn authority(&self, host: &str) -> Result<Option<String>, crate::Error> {
        let Some(ca) = self.known.get(host).and_then(|known| known.ca.as_ref()) else {
            return Ok(None);
        };
        let workspace = self.context.workspace;
        let path = workspace.bundles().join(ca);
        let now = (self.context.tool.now)().as_second();
        let (name, shown) = (host.rsplit_once(':'), workspace.shown(&path));
        let name = name.map_or(host, |(name, _)| name).trim_matches(['[', ']']);
        let read = environment::read_authority(&path, shown, name, now);
        let read = read.map_err(|rule| Error::Ca {
            set: self.path.clone(),
            host: host.to_owned(),
            rule,
        })?;
        Ok(Some(read))
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
        let ca = self.authority(host)?;
        let mut settings = registry::Settings {
            stop: self.context.tool.signals.stop(),
            accounts: self.context.accounts.clone(),
            ..registry::Settings::default()
        };
        if self.is_optional {
            settings.attempts = 2;
        }
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

/// Returns a reference for messages, with the mirror that serves it, if there is one.
fn served(reference: &str, registry: &Registry) -> String {
    let address = registry.endpoint().address();
    let path = reference
        .rsplit_once("://")
        .map_or(reference, |(_, path)| path);
    match path.strip_prefix(address) {
        Some(path) if path.starts_with('/') => reference.to_owned(),
        _ => format!("{reference} from {address}"),
    }
}

impl Repository<'_> {
    /// Waits for a response, and reports a long wait.
    pub(super) async fn awaited<T>(&self, answer: impl Future<Output = T>) -> T {
        self.upstreams.awaited(&self.registry, answer).await
    }

    /// Returns the reference for messages, with the mirror that serves it, if there is one.
    pub(super) fn served(&self) -> String {
        served(&self.reference, &self.registry)
    }

    /// Returns the error for a failed request. `what` is a digest below the reference, or `None`
    /// for the reference itself.
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

    /// Returns the current digest of a tag; `None` if it is gone.
    ///
    /// # Errors
    /// The registry cannot be used.
    pub(super) async fn digest(&self, asked: &str) -> Result<Option<String>, crate::Error> {
        let found = self.registry.head_manifest(&self.path, asked);
        match (self.awaited(found).await).map_err(|source| self.failed(None, source))? {
            None => Ok(None),
            Some(found) => match found.digest {
                Some(digest) => Ok(Some(digest.to_string())),
                None => {
                    let fetched = self.registry.get_manifest(&self.path, asked);
                    let fetched = (self.awaited(fetched).await)
                        .map_err(|source| self.failed(None, source))?;
                    Ok(Some(fetched.digest.to_string()))
                }
            },
        }
    }
}

impl WebFile<'_> {
    /// Returns the error for a failed request.
    pub(super) fn failed(&self, source: registry::Error) -> crate::Error {
        Error::Download {
            url: self.shown.clone(),
            host: self.registry.endpoint().address().to_owned(),
            source,
        }
        .into()
    }

    /// Returns the URL for messages, with the mirror that serves it, if there is one.
    pub(super) fn served(&self) -> String {
        served(&self.shown, &self.registry)
    }

    /// Returns the source for a download, with CA and credentials.
    ///
    /// # Errors
    /// The CA or credentials of the server cannot be used.
    pub(super) fn place(&self) -> Result<DownloadSource, crate::Error> {
        let host = self.registry.endpoint().address();
        let path = self.url.path().trim_start_matches('/');
        let account = match self.upstreams.credentials(host, path)? {
            Credentials::Anonymous => None,
            Credentials::Basic { username, password } => Some((username, password)),
        };
        Ok(DownloadSource {
            url: self.url.to_string(),
            server: bundle::Server {
                authority: self.upstreams.authority(host)?,
                account,
            },
        })
    }

    /// Downloads the file into memory, at most `limit` bytes.
    ///
    /// # Errors
    /// The file is larger, or the server does not serve it.
    pub(super) async fn read(&self, limit: u64) -> Result<Bytes, crate::Error> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let read = self.registry.get_file(&self.url, limit);
        let read = self.upstreams.awaited(&self.registry, read).await;
        read.map_err(|source| self.failed(source))
    }

    /// Returns the size in bytes, if the server reports it.
    ///
    /// # Errors
    /// The server does not serve the file.
    pub(super) async fn size(&self) -> Result<Option<u64>, crate::Error> {
        let size = self.registry.file_size(&self.url);
        let size = self.upstreams.awaited(&self.registry, size).await;
        size.map_err(|source| self.failed(source))
    }

    /// Downloads the file as a blob into `target`.
    ///
    /// # Errors
    /// The server does not serve content with this digest.
    pub(super) async fn pull(
        &self,
        blob: &registry::Blob,
        target: &mut dyn BlobTarget,
        observer: &dyn Observer,
    ) -> Result<(), registry::Error> {
        self.registry
            .pull_file(&self.url, blob, target, observer)
            .await
    }
}
