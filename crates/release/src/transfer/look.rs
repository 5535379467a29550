//! Looks up tags as a node does, with one request per artifact.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bundle::Kind;
use environment::Environment;
use futures_util::{StreamExt as _, TryStreamExt as _};
use oci_spec::image::Digest;
use serde::Serialize;

use crate::event::Event;
use crate::transfer::connect::{self, connect, connect_to_push};
use crate::{Context, Credentials, Error};

/// How long to wait for a response before the operator is told about the wait.
const LONG_WAIT: Duration = Duration::from_secs(3);

/// Interval of further reports of the same wait.
const WAIT_AGAIN: Duration = Duration::from_secs(60);

/// How long a registry may neither accept nor send bytes before that is reported. It may be hashing
/// a large blob.
const LONG_SILENCE: Duration = Duration::from_secs(10);

/// Maximum number of concurrent lookups. The limiter allows fewer for a registry that refuses some.
pub(crate) const MAX_CONCURRENT_LOOKUPS: usize = 32;

/// State of an artifact in the registry, and so what a push has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Planned {
    /// The registry serves the correct digest to nodes.
    Confirmed,
    /// The registry has the correct digest, but refuses nodes.
    Unconfirmed,
    /// The registry lacks the tag.
    Missing,
    /// The tag refers to different content.
    Different,
}

impl Planned {
    /// Returns whether the artifact has to be pushed.
    pub fn is_to_be_pushed(self) -> bool {
        matches!(self, Self::Missing | Self::Different)
    }
}

/// What a registry has under a tag, and whether nodes see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Content of the tag.
    pub held: TagContent,
    /// Whether the registry lets nodes look the tag up.
    pub is_open: bool,
}

/// A tag to look up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tag<'a> {
    /// Repository, without the project.
    pub(crate) repository: &'a str,
    pub(crate) name: &'a str,
    /// Expected kind. Images and charts may be pulled with different credentials.
    pub(crate) kind: Kind,
}

/// Content of a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagContent {
    /// None, or none that the account may see.
    Nothing,
    /// Content whose digest the registry does not report.
    UnknownDigest,
    /// A manifest with this digest.
    Manifest(Digest),
}

/// Result of looking up tags.
#[derive(Debug)]
pub(crate) struct Looked {
    /// State of each tag, in the order of the request.
    pub(crate) seen: Vec<Seen>,
    /// A refusal that may mean that nodes cannot pull.
    pub(crate) pull_refusal: Option<PullRefusal>,
}

/// A pull that the registry refused with the credentials of nodes, or without any.
#[derive(Debug, Clone)]
pub struct PullRefusal {
    repository: String,
    refusal: registry::Refusal,
    /// Whether the refusal concerns nodes for certain. Some registries refuse every request for
    /// content that they lack.
    is_certain: bool,
}

impl From<Vec<Seen>> for Looked {
    fn from(seen: Vec<Seen>) -> Self {
        Self {
            seen,
            pull_refusal: None,
        }
    }
}

impl Seen {
    /// A tag that an open registry lacks.
    pub(crate) const NOTHING: Self = Self {
        held: TagContent::Nothing,
        is_open: true,
    };

    const REFUSED: Self = Self {
        held: TagContent::Nothing,
        is_open: false,
    };

    /// Returns the content in a word, as saved plans record it.
    pub(crate) fn found(&self) -> String {
        match &self.held {
            TagContent::Nothing => "nothing".to_owned(),
            TagContent::UnknownDigest => "untold".to_owned(),
            TagContent::Manifest(digest) => digest.to_string(),
        }
    }

    /// Returns the state of the tag, if it should refer to `wanted`.
    pub fn planned(&self, wanted: &Digest) -> Planned {
        match &self.held {
            TagContent::Nothing => Planned::Missing,
            TagContent::Manifest(found) if found == wanted && self.is_open => Planned::Confirmed,
            TagContent::Manifest(found) if found == wanted => Planned::Unconfirmed,
            TagContent::UnknownDigest | TagContent::Manifest(_) => Planned::Different,
        }
    }
}

/// Looks tags up as a node does, with one request each. Tags that nodes are refused are looked up
/// again with push credentials, so the plan can distinguish private from missing artifacts.
///
/// # Errors
/// The registry cannot be reached, rejects the push credentials, or sends invalid responses.
pub(crate) async fn look(
    context: &Context<'_>,
    environment: &Environment,
    tags: &[Tag<'_>],
) -> Result<Looked, Error> {
    let nodes = Registries::as_node(context, environment)?;
    require_reachable(context, &nodes.images, environment).await?;
    let Looked {
        seen,
        mut pull_refusal,
    } = tags_as_node(&nodes, environment, tags).await?;
    if seen.iter().all(|seen| seen.is_open) {
        return Ok(Looked { seen, pull_refusal });
    }
    let credentials = context.credentials(environment)?;
    let pusher = Registries::one(connect(context, environment, credentials)?);
    // Some registries forbid looking up missing content. If it means more, the push gets the same
    // error. Missing or rejected credentials are an error now, before the bundle is read.
    let seen_by_pusher = look_at_tags(&pusher, environment, tags, |_, error| match error {
        registry::Error::Forbidden { .. } => Ok(Seen::REFUSED),
        error => Err(error),
    })
    .await?;
    if let Some(pull_refusal) = &mut pull_refusal {
        let mut both = seen.iter().zip(&seen_by_pusher);
        pull_refusal.is_certain |=
            both.any(|(node, pusher)| !node.is_open && pusher.held != TagContent::Nothing);
    }
    let seen = seen
        .into_iter()
        .zip(seen_by_pusher)
        .map(|(by_node, by_pusher)| match by_node.is_open {
            true => by_node,
            false => Seen {
                is_open: false,
                ..by_pusher
            },
        })
        .collect();
    Ok(Looked { seen, pull_refusal })
}

/// Refuses a push if nodes could not pull its content. If their refusal may only mean that the
/// repository is empty, an empty blob is pushed first and looked up as a node.
///
/// # Errors
/// [`connect::Error::PullRefused`] if nodes are refused, or [`connect::Error::Registry`] if the
/// account may not write.
pub(crate) async fn require_open(
    context: &Context<'_>,
    environment: &Environment,
    pull_refusal: Option<&PullRefusal>,
) -> Result<(), Error> {
    let Some(pull_refusal) = pull_refusal else {
        return Ok(());
    };
    let refused = |source| {
        Error::Connect(connect::Error::PullRefused {
            address: environment.registry.address.clone(),
            repository: pull_refusal.repository.clone(),
            source,
        })
    };
    if pull_refusal.is_certain {
        return Err(refused(pull_refusal.refusal.error()));
    }
    let pusher = connect_to_push(context, environment)?;
    let put = pusher.put_empty_blob(&pull_refusal.repository).await;
    let digest = put.map_err(|source| unusable(environment, source))?;
    let nodes = Registries::as_node(context, environment)?;
    match nodes
        .images
        .find_blob(&pull_refusal.repository, &digest)
        .await
    {
        Err(error) if is_refusal(&error) => Err(refused(error)),
        // A registry may not serve an unreferenced blob.
        _ => Ok(()),
    }
}

/// Looks tags up as a node does, without push credentials and without a ping.
///
/// # Errors
/// The registry cannot be reached, refuses the login of nodes, or sends invalid responses.
pub(crate) async fn look_as_node(
    context: &Context<'_>,
    environment: &Environment,
    tags: &[Tag<'_>],
) -> Result<Vec<Seen>, Error> {
    let nodes = Registries::as_node(context, environment)?;
    let looked = tags_as_node(&nodes, environment, tags).await?;
    match looked
        .pull_refusal
        .map(|pull_refusal| pull_refusal.refusal.error())
    {
        Some(error) if error.refuses_login() => Err(unusable(environment, error)),
        _ => Ok(looked.seen),
    }
}

async fn tags_as_node(
    nodes: &Registries,
    environment: &Environment,
    tags: &[Tag<'_>],
) -> Result<Looked, Error> {
    let pull_refusal = Mutex::new(None);
    let seen = look_at_tags(nodes, environment, tags, |repository, error| {
        if !is_refusal(&error) {
            return Err(error);
        }
        let is_certain = matches!(error, registry::Error::Unauthorized { is_login: true, .. });
        let mut pull_refusal = pull_refusal.lock().unwrap_or_else(PoisonError::into_inner);
        // The choice does not depend on the order of responses.
        let counts_more = |kept: &PullRefusal| match is_certain == kept.is_certain {
            true => *repository < *kept.repository,
            false => is_certain,
        };
        if pull_refusal.as_ref().is_none_or(counts_more) {
            *pull_refusal = registry::Refusal::of(&error).map(|refusal| PullRefusal {
                repository: repository.to_owned(),
                refusal,
                is_certain,
            });
        }
        Ok(Seen::REFUSED)
    })
    .await?;
    let pull_refusal = pull_refusal
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    Ok(Looked { seen, pull_refusal })
}

/// Requests each tag. `refused` decides what an error of one tag means.
async fn look_at_tags(
    registries: &Registries,
    environment: &Environment,
    tags: &[Tag<'_>],
    refused: impl Fn(&str, registry::Error) -> Result<Seen, registry::Error> + Copy,
) -> Result<Vec<Seen>, Error> {
    futures_util::stream::iter(tags)
        .map(|tag| async move {
            let registry = registries.of_kind(tag.kind);
            let repository = environment.registry.repository(tag.repository);
            let held = match registry.head_manifest(&repository, tag.name).await {
                Ok(Some(found)) => found
                    .digest
                    .map_or(TagContent::UnknownDigest, TagContent::Manifest),
                Ok(None) => TagContent::Nothing,
                Err(error) => {
                    return refused(&repository, error)
                        .map_err(|source| unusable(environment, source));
                }
            };
            Ok(Seen {
                held,
                is_open: true,
            })
        })
        .buffered(MAX_CONCURRENT_LOOKUPS)
        .try_collect()
        .await
}

/// Returns the tags of a lock.
pub(crate) fn tags_of(lock: &bundle::Lock) -> Vec<Tag<'_>> {
    let artifacts = lock.artifacts.iter();
    artifacts
        .map(|artifact| Tag {
            repository: &artifact.repository,
            name: &artifact.tag,
            kind: artifact.kind,
        })
        .collect()
}

/// Clients for the environment's registry: one for images, one for charts.
struct Registries {
    images: registry::Registry,
    charts: registry::Registry,
}

impl Registries {
    /// Uses one client for both.
    fn one(registry: registry::Registry) -> Self {
        Self {
            images: registry.clone(),
            charts: registry,
        }
    }

    /// Creates clients as nodes have them: without credentials, unless the configuration names a
    /// pull secret. Images and charts may have different ones.
    fn as_node(context: &Context<'_>, environment: &Environment) -> Result<Self, Error> {
        let secrets = mke::PullSecrets::of(environment);
        let client = |with_secret| {
            connect(
                context,
                environment,
                credentials(context, environment, with_secret)?,
            )
        };
        let images = client(secrets.images)?;
        if secrets.images == secrets.charts {
            return Ok(Self::one(images));
        }
        Ok(Self {
            images,
            charts: client(secrets.charts)?,
        })
    }

    fn of_kind(&self, kind: Kind) -> &registry::Registry {
        match kind {
            Kind::Chart => &self.charts,
            Kind::Image | Kind::Artifact => &self.images,
        }
    }
}

/// Waits for a future. Calls `report` with the seconds waited after [`LONG_WAIT`], and then every
/// [`WAIT_AGAIN`].
pub(crate) async fn awaited<T>(answer: impl Future<Output = T>, report: impl Fn(u64)) -> T {
    let mut answer = std::pin::pin!(answer);
    let (mut waited, mut next) = (Duration::ZERO, LONG_WAIT);
    loop {
        match tokio::time::timeout(next, &mut answer).await {
            Ok(answer) => return answer,
            Err(_) => {
                waited += next;
                report(waited.as_secs());
                next = WAIT_AGAIN;
            }
        }
    }
}

/// Reports that a registry is slow to respond, or why connections to it fail.
pub(crate) fn report_wait(
    context: &Context<'_>,
    registry: &registry::Registry,
    address: &str,
    seconds: u64,
) {
    let why = registry.trouble(Duration::from_secs(seconds));
    let text = match why {
        Some(why) => format!("registry {address}: {why}; trying again"),
        None => format!("registry {address} has not answered for {seconds} s; still waiting"),
    };
    context.reporter.report(Event::Warning(text));
}

/// Reports a registry that is silent while it is used, first after [`LONG_SILENCE`]. Never returns.
pub(crate) async fn report_silence(
    context: &Context<'_>,
    registry: &registry::Registry,
    address: &str,
) {
    let mut next = LONG_SILENCE;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        match registry.silence() {
            Some(silence) if silence >= next => {
                report_wait(context, registry, address, silence.as_secs());
                next = silence + WAIT_AGAIN;
            }
            Some(silence) if silence >= LONG_SILENCE => {}
            _ => next = LONG_SILENCE,
        }
    }
}

/// Pings a registry, and reports a long wait.
///
/// # Errors
/// It does not respond, or not as a registry.
pub(crate) async fn ping(
    context: &Context<'_>,
    registry: &registry::Registry,
    address: &str,
) -> Result<(), registry::Error> {
    let report = |seconds| report_wait(context, registry, address, seconds);
    awaited(registry.ping(), report).await
}

/// Pings the environment's registry before other requests. Those are repeated for up to a minute,
/// while a ping reports a wrong address or certificate immediately.
pub(crate) async fn require_reachable(
    context: &Context<'_>,
    node: &registry::Registry,
    environment: &Environment,
) -> Result<(), Error> {
    match ping(context, node, &environment.registry.address).await {
        Err(error) if !is_refusal(&error) => Err(unusable(environment, error)),
        _ => Ok(()),
    }
}

/// Returns the credentials of nodes: none, or those of the pull secret.
pub(crate) fn credentials(
    context: &Context<'_>,
    environment: &Environment,
    with_secret: bool,
) -> Result<Credentials, Error> {
    if with_secret {
        context.pull_credentials(environment)
    } else {
        Ok(Credentials::Anonymous)
    }
}

pub(crate) fn is_refusal(error: &registry::Error) -> bool {
    matches!(
        error,
        registry::Error::Unauthorized { .. } | registry::Error::Forbidden { .. }
    )
}

pub(crate) fn unusable(environment: &Environment, source: registry::Error) -> Error {
    Error::Connect(connect::Error::Registry {
        address: environment.registry.address.clone(),
        source,
    })
}
