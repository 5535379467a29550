//! The registries that nodes pull from: through the URLs in `mke4.yaml`, with the pull credentials
//! of nodes.
//!
//! Images and charts may come from different registries. Either may differ from the environment's
//! registry, if `mke4.yaml` was written for a different one. The file decides, because mkectl gets
//! it.

use bundle::Kind;
use camino::{Utf8Path, Utf8PathBuf};
use environment::Environment;
use futures_util::future::join_all;

use super::examine::{Examined, examine};
use crate::transfer::connect;
use crate::transfer::look::{credentials, is_refusal, ping, report_silence};
use crate::verify::{Depth, Finding, FindingKind};
use crate::{Context, Error, verify};

/// The registries that nodes pull from.
#[derive(Debug)]
pub(crate) struct NodeRegistries {
    images: Reader,
    charts: Reader,
    /// Path of `mke4.yaml`, relative to the workspace.
    file: Utf8PathBuf,
}

/// A registry, and the project in it.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) registry: registry::Registry,
    pub(crate) pulls: mke::PullRegistry,
}

impl NodeRegistries {
    /// Reads the registries from `text`, the content of `file`. Makes no request.
    ///
    /// # Errors
    /// [`verify::Error::NoPulls`] if the text names no registries, or [`connect::Error`] if the
    /// credentials of nodes are not available.
    pub(crate) fn of(
        context: &Context<'_>,
        environment: &Environment,
        text: &str,
        file: &Utf8Path,
    ) -> Result<Self, Error> {
        let file = context.workspace.shown(file).to_owned();
        let pulls = mke::pull_registries(text).map_err(|wrong| verify::Error::NoPulls {
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

    /// Returns the registry that nodes pull artifacts of this kind from.
    pub(crate) fn of_kind(&self, kind: Kind) -> &Reader {
        match kind {
            Kind::Chart => &self.charts,
            Kind::Image | Kind::Artifact => &self.images,
        }
    }

    /// Returns the URLs for images and for charts, without scheme.
    pub(crate) fn urls(&self) -> (&str, &str) {
        (&self.images.pulls.url, &self.charts.pulls.url)
    }

    /// Checks that the file names the environment's registry, the only one that is pushed to.
    ///
    /// # Errors
    /// [`verify::Error::PullsElsewhere`] if it names a different one.
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

    /// Checks that a tag that is missing for nodes is also missing with push credentials. Some
    /// registries respond 404 instead of requesting credentials.
    ///
    /// # Errors
    /// [`connect::Error::PullRefused`] if the registry serves the tag with push credentials.
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
        // Without a challenge, the client would send no credentials.
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

    /// Returns each registry once.
    fn readers(&self) -> Vec<&Reader> {
        let mut readers = vec![&self.images];
        if self.charts.pulls.address() != self.images.pulls.address() {
            readers.push(&self.charts);
        }
        readers
    }

    /// Examines artifacts, and checks that missing tags are not only hidden from nodes.
    ///
    /// # Errors
    /// A registry cannot be used or refuses nodes.
    pub(crate) async fn examine(
        &self,
        context: &Context<'_>,
        environment: &Environment,
        artifacts: &[(&bundle::Artifact, Depth)],
    ) -> Result<Examined, Error> {
        let examined = self.examine_once(context, artifacts).await?;
        self.require_visible(context, environment, artifacts, &examined.findings)
            .await?;
        Ok(examined)
    }

    /// Examines artifacts, and reports a registry that is silent meanwhile.
    pub(crate) async fn examine_once(
        &self,
        context: &Context<'_>,
        artifacts: &[(&bundle::Artifact, Depth)],
    ) -> Result<Examined, Error> {
        let readers = self.readers().into_iter();
        let silences =
            readers.map(|reader| report_silence(context, &reader.registry, reader.pulls.address()));
        tokio::select! {
            examined = examine(self, artifacts, context.reporter) => examined,
            _ = join_all(silences) => unreachable!("silence is watched without end"),
        }
    }

    /// Pings the registries. Later requests are repeated for up to a minute, while a ping reports a
    /// wrong address or certificate immediately.
    pub(crate) async fn ping(&self, context: &Context<'_>) -> Result<(), Error> {
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

    /// Returns the error for a failed request: nodes are refused, or the registry cannot be used.
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
    pulls: mke::PullRegistry,
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
