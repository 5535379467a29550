//! A look at tags: a request an artifact, through a node's eyes first.

use environment::Environment;
use futures_util::{StreamExt as _, TryStreamExt as _};
use oci_spec::image::Digest;

use super::{QUESTIONS_AT_ONCE, as_node, is_refusal, knock, unusable};
use crate::plan::Planned;
use crate::push::connect;
use crate::{Context, Error};

/// What a registry has under a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What is there.
    pub held: Held,
    /// Whether nodes are let see it.
    pub is_open: bool,
}

/// What is under a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// Nothing, or nothing that anybody who was asked may see.
    Nothing,
    /// Something whose digest the registry does not tell.
    Untold,
    /// The manifest with this digest.
    Manifest(Digest),
}

impl Seen {
    const REFUSED: Self = Self {
        held: Held::Nothing,
        is_open: false,
    };

    /// Says what that means for what is to be there.
    pub fn planned(&self, wanted: &Digest) -> Planned {
        match &self.held {
            Held::Nothing => Planned::Missing,
            Held::Manifest(found) if found == wanted && self.is_open => Planned::Confirmed,
            Held::Manifest(found) if found == wanted => Planned::Unconfirmed,
            Held::Untold | Held::Manifest(_) => Planned::Different,
        }
    }
}

/// Looks at a tag of each of these in the registry as a node would, one request each. What a node is refused is looked at once
/// more with push credentials, so that the plan can tell a private artifact from a missing one.
///
/// # Errors
/// The registry cannot be reached, does not accept the push credentials, or answers nonsense.
pub(crate) async fn look(
    context: &Context<'_>,
    environment: &Environment,
    tags: &[(&str, &str)],
) -> Result<Vec<Seen>, Error> {
    let seen = look_as_node(context, environment, tags).await?;
    if seen.iter().all(|seen| seen.is_open) {
        return Ok(seen);
    }
    let pusher = connect(environment, context.credentials(environment)?)?;
    // Some registries forbid looking at what is not there yet; if it is meant, the push hears it again. Credentials that
    // are not accepted, or are wanted and not there, are the user's affair now and not after the bundle was read.
    let seen_by_pusher = look_at_tags(&pusher, environment, tags, |error| match error {
        registry::Error::Forbidden { .. } => Ok(Seen::REFUSED),
        error => Err(error),
    })
    .await?;
    Ok(seen
        .into_iter()
        .zip(seen_by_pusher)
        .map(|(by_node, by_pusher)| match by_node.is_open {
            true => by_node,
            false => Seen {
                is_open: false,
                ..by_pusher
            },
        })
        .collect())
}

/// Looks at a tag of each of these as a node does, and no further.
///
/// # Errors
/// The registry cannot be reached, or answers nonsense.
pub(crate) async fn look_as_node(
    context: &Context<'_>,
    environment: &Environment,
    tags: &[(&str, &str)],
) -> Result<Vec<Seen>, Error> {
    let node = as_node(context, environment)?;
    knock(&node, environment).await?;
    look_at_tags(&node, environment, tags, |error| {
        is_refusal(&error).then_some(Seen::REFUSED).ok_or(error)
    })
    .await
}

/// Asks for each tag; `refused` says what an error means for the artifact, if it is not one of the registry as a whole.
async fn look_at_tags(
    registry: &registry::Registry,
    environment: &Environment,
    tags: &[(&str, &str)],
    refused: impl Fn(registry::Error) -> Result<Seen, registry::Error> + Copy,
) -> Result<Vec<Seen>, Error> {
    futures_util::stream::iter(tags)
        .map(|(repository, tag)| async move {
            let repository = environment.registry.repository(repository);
            let held = match registry.head_manifest(&repository, tag).await {
                Ok(Some(found)) => found.digest.map_or(Held::Untold, Held::Manifest),
                Ok(None) => Held::Nothing,
                Err(error) => {
                    return refused(error).map_err(|source| unusable(environment, source));
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
pub(crate) fn tags_of(lock: &bundle::Lock) -> Vec<(&str, &str)> {
    let artifacts = lock.artifacts.iter();
    artifacts
        .map(|artifact| (artifact.repository.as_str(), artifact.tag.as_str()))
        .collect()
}
