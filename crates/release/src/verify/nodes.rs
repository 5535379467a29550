//! The registries as nodes see them: by the URLs in `mke4.yaml`, and with the credentials that
//! nodes have.
//!
//! Images and charts may come from different registries, and both from another one than the
//! environment names, where the file was written for that. What nodes do is in the file.

use bundle::Kind;
use camino::{Utf8Path, Utf8PathBuf};
use environment::Environment;
use futures_util::future::join_all;

use crate::transfer::connect;
use crate::transfer::look::{credentials, is_refusal, ping, report_silence};
use crate::verify::{Depth, Finding, FindingKind};
use crate::{Context, Error, verify};

/// What nodes pull from.
#[derive(Debug)]
pub(crate) struct NodeRegistries {
    images: Reader,
    charts: Reader,
    /// The file that says so, as people are shown it.
    file: Utf8PathBuf,
}

/// One registry, and where in it the project is.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) registry: registry::Registry,
    pub(crate) pulls: mke::PulledRegistry,
}

impl NodeRegistries {
    /// Reads where nodes pull from out of `text`, which is that of `file`. No request is made.
    ///
    /// # Errors
    /// The text names no registries, or the credentials of nodes are not available.
    pub(crate) fn of(
        context: &Context<'_>,
        environment: &Environment,
        text: &str,
        file: &Utf8Path,
    ) -> Result<Self, Error> {
        let file = context.workspace.shown(file).to_owned();
        let pulls = mke::pulls(text).map_err(|wrong| verify::Error::NoPulls {
            path: file.clone(),
            wrong,
        })?;
        let images = reader(context, environment, pulls.images)?;
        let is_one = images.pulls.address() == pulls.charts.address()
            && images.pulls.ca_pem == pulls.charts.ca_pem
            && images.pulls.secret.is_some() == pulls.charts.secret.is_some();
        let charts = if is_one {
            Reader {
                registry: images.registry.clone(),
                pulls: pulls.charts,
            }
        } else {
            reader(context, environment, pulls.charts)?
        };
        Ok(Self {
            images,
            charts,
            file,
        })
    }

    /// Returns where nodes get artifacts of a kind from.
    pub(crate) fn of_kind(&self, kind: Kind) -> &Reader {
        match kind {
            Kind::Chart => &self.charts,
            Kind::Image | Kind::Artifact => &self.images,
        }
    }

    /// Returns where nodes get images from, and where charts from.
    pub(crate) fn urls(&self) -> (&str, &str) {
        (&self.images.pulls.url, &self.charts.pulls.url)
    }

    /// Returns how the file differs from the environment's own registry, the only one that is
    /// pushed to.
    ///
    /// # Errors
    /// It names another one.
    pub(crate) fn require_own(&self, environment: &Environment) -> Result<(), Error> {
        let own = environment.registry.image_url();
        let (images, charts) = self.urls();
        match [images, charts].into_iter().find(|url| *url != own) {
            None => Ok(()),
            Some(other) => Err(verify::Error::PullsElsewhere {
                path: self.file.clone(),
                environment: environment.name.clone(),
                url: other.to_owned(),
                registry: own,
            }
            .into()),
        }
    }

    /// Checks that what is missing for nodes is missing for pushes, too: some registries answer 404
    /// where credentials are required.
    ///
    /// # Errors
    /// The registry serves a missing tag with the credentials of pushes.
    pub(crate) async fn require_visible(
        &self,
        context: &Context<'_>,
        environment: &Environment,
        artifacts: &[(&bundle::Artifact, Depth)],
        findings: &[Finding],
    ) -> Result<(), Error> {
        let is_missing = |artifact: &bundle::Artifact| {
            findings.iter().any(|finding| {
                finding.kind == FindingKind::MissingTag && finding.artifact == artifact.reference()
            })
        };
        let mut artifacts = artifacts.iter().map(|(artifact, _)| *artifact);
        let Some(hidden) = artifacts.find(|artifact| is_missing(artifact)) else {
            return Ok(());
        };
        let reader = self.of_kind(hidden.kind);
        let is_own = reader.pulls.url == environment.registry.image_url();
        let credentials = match context.credentials(environment) {
            Ok(credentials) if is_own && reader.pulls.secret.is_none() => credentials,
            _ => return Ok(()),
        };
        if matches!(credentials, registry::Credentials::Anonymous) {
            return Ok(());
        }
        let repository = reader.pulls.repository(&hidden.repository);
        let pusher = connect::connect(context, environment, credentials)?;
        // Without its challenge, no credentials would be sent.
        let _ = pusher.ping().await;
        if pusher.get_manifest(&repository, &hidden.tag).await.is_err() {
            return Ok(());
        }
        match reader.registry.get_manifest(&repository, &hidden.tag).await {
            Ok(_) => Ok(()),
            Err(source) => Err(Error::Connect(connect::Error::PullRefused {
                address: reader.pulls.address().to_owned(),
                repository,
                source,
            })),
        }
    }

    /// Returns the registries, each once.
    fn readers(&self) -> Vec<&Reader> {
        let mut readers = vec![&self.images];
        if self.charts.pulls.address() != self.images.pulls.address() {
            readers.push(&self.charts);
        }
        readers
    }

    /// Waits for what is looked at, and reports a registry that is silent meanwhile.
    pub(crate) async fn watched<T>(
        &self,
        context: &Context<'_>,
        looking: impl Future<Output = T>,
    ) -> T {
        let readers = self.readers().into_iter();
        let silences =
            readers.map(|reader| report_silence(context, &reader.registry, reader.pulls.address()));
        tokio::select! {
            looked = looking => looked,
            _ = join_all(silences) => unreachable!("they are watched without end"),
        }
    }

    /// Asks whether the registries are there before anything is asked of them: while a request for
    /// an artifact is tried again and again over a minute, a wrong address or certificate should be
    /// reported immediately.
    pub(crate) async fn knock(&self, context: &Context<'_>) -> Result<(), Error> {
        for reader in self.readers() {
            match ping(context, &reader.registry, reader.pulls.address()).await {
                Err(error) if !is_refusal(&error) => return Err(reader.unusable(error)),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Reader {
    pub(crate) fn unusable(&self, source: registry::Error) -> Error {
        Error::Connect(connect::Error::Registry {
            address: self.pulls.address().to_owned(),
            source,
        })
    }

    /// Returns what a failed look means: nodes are refused, or the registry cannot be used.
    pub(crate) fn failed(&self, repository: &str, source: registry::Error) -> Error {
        if is_refusal(&source) {
            return Error::Connect(connect::Error::PullRefused {
                address: self.pulls.address().to_owned(),
                repository: repository.to_owned(),
                source,
            });
        }
        self.unusable(source)
    }
}

fn reader(
    context: &Context<'_>,
    environment: &Environment,
    pulls: mke::PulledRegistry,
) -> Result<Reader, Error> {
    let failed = |source| {
        Error::Connect(connect::Error::Registry {
            address: pulls.address().to_owned(),
            source,
        })
    };
    let endpoint =
        registry::Endpoint::new(pulls.address(), pulls.ca_pem.as_deref()).map_err(failed)?;
    let endpoint = endpoint.through(context.proxies());
    let credentials = credentials(context, environment, pulls.secret.is_some())?;
    let settings = registry::Settings {
        accounts: context.accounts.clone(),
        ..registry::Settings::default()
    };
    Ok(Reader {
        registry: registry::Registry::with_settings(endpoint, credentials, settings)
            .map_err(failed)?,
        pulls,
    })
}
