//! Looks up tags with one request per artifact, as a node does first.

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

/// How long a registry may take to answer before the operator sees what is waited for.
const LONG_WAIT: Duration = Duration::from_secs(3);

/// How long after that the operator sees it again.
const WAIT_AGAIN: Duration = Duration::from_secs(60);

/// For how long a registry may take nothing and answer nothing before that is reported: it may be
/// hashing a large blob.
const LONG_SILENCE: Duration = Duration::from_secs(10);

/// How many requests are in flight while the registry is only asked. The limiter allows fewer to a
/// registry that refuses some.
pub(crate) const QUESTIONS_AT_ONCE: usize = 32;

/// What one artifact needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Planned {
    /// The registry serves it, with the right digest, without credentials.
    Confirmed,
    /// The registry has it and does not serve it without credentials.
    Unconfirmed,
    /// The registry does not have the tag.
    Missing,
    /// The registry has something else under the tag.
    Different,
}

impl Planned {
    /// Returns whether the artifact has to be pushed.
    pub fn is_to_be_pushed(self) -> bool {
        matches!(self, Self::Missing | Self::Different)
    }
}

/// What a registry has under a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What is under it.
    pub held: TagContent,
    /// Whether nodes are let see it.
    pub is_open: bool,
}

/// A tag to be looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tag<'a> {
    /// Its repository, without the project.
    pub(crate) repository: &'a str,
    pub(crate) name: &'a str,
    /// What it is expected to be, which says who pulls it.
    pub(crate) kind: Kind,
}

/// What is under a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagContent {
    /// Nothing, or nothing that the account may see.
    Nothing,
    /// Something whose digest the registry does not report.
    Untold,
    /// The manifest with this digest.
    Manifest(Digest),
}

/// What a look found.
#[derive(Debug)]
pub(crate) struct Looked {
    /// What is under each tag, in the order in which they were named.
    pub(crate) seen: Vec<Seen>,
    /// Why nodes may not be able to pull.
    pub(crate) shut: Option<PullRefusal>,
}

/// A pull that the registry refused with the credentials of nodes, or without any.
#[derive(Debug, Clone)]
pub struct PullRefusal {
    repository: String,
    refusal: registry::Refusal,
    /// Whether it is about nodes. Some registries refuse every request for content that they do not
    /// have.
    is_certain: bool,
}

impl From<Vec<Seen>> for Looked {
    fn from(seen: Vec<Seen>) -> Self {
        Self { seen, shut: None }
    }
}

impl Seen {
    const REFUSED: Self = Self {
        held: TagContent::Nothing,
        is_open: false,
    };

    /// Returns what is there, in a word.
    pub(crate) fn found(&self) -> String {
        match &self.held {
            TagContent::Nothing => "nothing".to_owned(),
            TagContent::Untold => "untold".to_owned(),
            TagContent::Manifest(digest) => digest.to_string(),
        }
    }

    /// Returns what that means for what is to be there.
    pub fn planned(&self, wanted: &Digest) -> Planned {
        match &self.held {
            TagContent::Nothing => Planned::Missing,
            TagContent::Manifest(found) if found == wanted && self.is_open => Planned::Confirmed,
            TagContent::Manifest(found) if found == wanted => Planned::Unconfirmed,
            TagContent::Untold | TagContent::Manifest(_) => Planned::Different,
        }
    }
}

/// Looks at a tag of each of these in the registry as a node would, one request each. What a node
/// is refused is looked at once more with push credentials, so the plan can tell a private artifact
/// from a missing one.
///
/// # Errors
/// The registry cannot be reached, does not accept the push credentials, or answers nonsense.
pub(crate) async fn look(
    context: &Context<'_>,
    environment: &Environment,
    tags: &[Tag<'_>],
) -> Result<Looked, Error> {
    let Looked { seen, mut shut } = as_node(context, environment, tags).await?;
    if seen.iter().all(|seen| seen.is_open) {
        return Ok(Looked { seen, shut });
    }
    let credentials = context.credentials(environment)?;
    let pusher = Registries::one(connect(context, environment, credentials)?);
    // Some registries forbid looking at what is missing yet; if it is meant, the push gets it
    // again. Credentials that are not accepted, or are wanted and not there, are the user's affair
    // now and not after the bundle was read.
    let seen_by_pusher = look_at_tags(&pusher, environment, tags, |_, error| match error {
        registry::Error::Forbidden { .. } => Ok(Seen::REFUSED),
        error => Err(error),
    })
    .await?;
    if let Some(shut) = &mut shut {
        let mut both = seen.iter().zip(&seen_by_pusher);
        shut.is_certain |=
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
    Ok(Looked { seen, shut })
}

/// Refuses to push what nodes could not pull. If their refusal may only mean that nothing exists
/// yet, something is pushed first: an empty blob.
///
/// # Errors
/// Nodes are refused, or the account may not write.
pub(crate) async fn require_open(
    context: &Context<'_>,
    environment: &Environment,
    shut: Option<&PullRefusal>,
) -> Result<(), Error> {
    let Some(shut) = shut else {
        return Ok(());
    };
    let refused = |source| {
        Error::Connect(connect::Error::PullRefused {
            address: environment.registry.address.clone(),
            repository: shut.repository.clone(),
            source,
        })
    };
    if shut.is_certain {
        return Err(refused(shut.refusal.error()));
    }
    let pusher = connect_to_push(context, environment)?;
    let put = pusher.put_empty_blob(&shut.repository).await;
    let digest = put.map_err(|source| unusable(environment, source))?;
    let nodes = Registries::as_node(context, environment)?;
    match nodes.images.find_blob(&shut.repository, &digest).await {
        Err(error) if is_refusal(&error) => Err(refused(error)),
        // A registry may serve no blob that nothing refers to.
        _ => Ok(()),
    }
}

/// Looks at a tag of each of these as a node does, and no further, in a registry that has answered
/// before.
///
/// # Errors
/// The registry cannot be reached, refuses the login of nodes, or answers nonsense.
pub(crate) async fn look_as_node(
    context: &Context<'_>,
    environment: &Environment,
    tags: &[Tag<'_>],
) -> Result<Vec<Seen>, Error> {
    let nodes = Registries::as_node(context, environment)?;
    let looked = tags_as_node(&nodes, environment, tags).await?;
    match looked.shut.map(|shut| shut.refusal.error()) {
        Some(error) if error.refuses_login() => Err(unusable(environment, error)),
        _ => Ok(looked.seen),
    }
}

async fn as_node(
    context: &Context<'_>,
    environment: &Environment,
    tags: &[Tag<'_>],
) -> Result<Looked, Error> {
    let nodes = Registries::as_node(context, environment)?;
    knock(context, &nodes.images, environment).await?;
    tags_as_node(&nodes, environment, tags).await
}

async fn tags_as_node(
    nodes: &Registries,
    environment: &Environment,
    tags: &[Tag<'_>],
) -> Result<Looked, Error> {
    let shut = Mutex::new(None);
    let seen = look_at_tags(nodes, environment, tags, |repository, error| {
        if !is_refusal(&error) {
            return Err(error);
        }
        let is_certain = matches!(error, registry::Error::Unauthorized { is_login: true, .. });
        let mut shut = shut.lock().unwrap_or_else(PoisonError::into_inner);
        // The same one is named whichever answer comes first.
        let counts_more = |kept: &PullRefusal| match is_certain == kept.is_certain {
            true => *repository < *kept.repository,
            false => is_certain,
        };
        if shut.as_ref().is_none_or(counts_more) {
            *shut = registry::Refusal::of(&error).map(|refusal| PullRefusal {
                repository: repository.to_owned(),
                refusal,
                is_certain,
            });
        }
        Ok(Seen::REFUSED)
    })
    .await?;
    let shut = shut.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Looked { seen, shut })
}

/// Asks for each tag; `refused` says what an error means for the artifact, if it is not one of the
/// registry as a whole.
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
                    .map_or(TagContent::Untold, TagContent::Manifest),
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
        .buffered(QUESTIONS_AT_ONCE)
        .try_collect()
        .await
}

/// Returns the tags that a lock names, as they are asked for.
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

/// The environment's registry, as those see it who pull images, and those who pull charts.
struct Registries {
    images: registry::Registry,
    charts: registry::Registry,
}

impl Registries {
    /// Returns it as a client sees it that pulls both.
    fn one(registry: registry::Registry) -> Self {
        Self {
            images: registry.clone(),
            charts: registry,
        }
    }

    /// Returns it as the cluster sees it: without credentials, unless the configuration names a
    /// secret to pull with, for each by itself.
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

/// Waits for an answer. `report` gets the seconds after a few of them, and then every minute.
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

/// Reports that a registry is slow to answer, or why it was not reached meanwhile.
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

/// Reports a registry that is silent while it is used, the first time after [`LONG_SILENCE`].
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

/// Asks a registry whether it is one, and reports a wait for its answer.
///
/// # Errors
/// It does not answer, or not as a registry.
pub(crate) async fn ping(
    context: &Context<'_>,
    registry: &registry::Registry,
    address: &str,
) -> Result<(), registry::Error> {
    let report = |seconds| report_wait(context, registry, address, seconds);
    awaited(registry.ping(), report).await
}

/// Checks that the registry responds before anything else is requested: while a request for an
/// artifact is tried again and again over a minute, a wrong address or certificate should be
/// reported immediately.
pub(crate) async fn knock(
    context: &Context<'_>,
    node: &registry::Registry,
    environment: &Environment,
) -> Result<(), Error> {
    match ping(context, node, &environment.registry.address).await {
        Err(error) if !is_refusal(&error) => Err(unusable(environment, error)),
        _ => Ok(()),
    }
}

/// Returns the credentials that nodes have: none, or those of their secret. What is in that secret
/// the environment may say; else the push credentials replace it.
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
