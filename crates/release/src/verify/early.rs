//! Looks at each artifact as a node does as soon as it is tagged, during the push.
//!
//! Only what is right then is remembered. Everything else is examined again after the push, and that reports what is wrong.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use futures_util::future::LocalBoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio::sync::mpsc::UnboundedReceiver;

use super::examine::examine;
use super::nodes::NodeRegistries;
use super::{Depth, ExpectedContent};
use crate::proof::Proven;
use crate::transfer::look::QUESTIONS_AT_ONCE;
use crate::transfer::push::Watch;
use crate::{Context, Error};

/// How many artifacts are looked at in full at a time. Each has several questions, and the push needs requests, too.
const FULL_AT_ONCE: usize = 2;

/// What was right in the registry during a push of this lock to this environment.
#[derive(Debug)]
pub struct EarlyLook<'a> {
    /// None if nodes pull from a different registry, or it is not known from where.
    nodes: Option<NodeRegistries>,
    /// By repository, with the project, and by tag.
    artifacts: HashMap<(String, String), &'a bundle::Artifact>,
    depth: Depth,
    proven: Proven,
    /// The references of what was right.
    right: Mutex<BTreeSet<String>>,
}

impl<'a> EarlyLook<'a> {
    /// Returns a look that has seen nothing yet: a push of what is expected is to be [watched](crate::transfer::push::Delivery::watched) by it.
    pub fn new(context: &Context<'_>, expected: &ExpectedContent<'a>, depth: Depth) -> Self {
        let &ExpectedContent {
            environment,
            lock,
            config,
            file,
            ..
        } = expected;
        let nodes = NodeRegistries::of(context, environment, config, file).ok();
        let artifacts = lock.artifacts.iter().map(|artifact| {
            let repository = environment.registry.repository(&artifact.repository);
            ((repository, artifact.tag.clone()), artifact)
        });
        Self {
            nodes: nodes.filter(|nodes| nodes.require_own(environment).is_ok()),
            artifacts: artifacts.collect(),
            depth,
            proven: Proven::new(lock, Some(&environment.name)),
            right: Mutex::default(),
        }
    }

    /// Looks at what is under a tag, and remembers it if it is right.
    async fn look_at(&self, context: &Context<'_>, tag: (String, String)) {
        let (Some(nodes), Some(artifact)) = (&self.nodes, self.artifacts.get(&tag)) else {
            return;
        };
        let examined = examine(nodes, &[(artifact, self.depth)], context.reporter).await;
        if examined.is_ok_and(|examined| examined.findings.is_empty()) {
            let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
            right.insert(artifact.reference());
        }
    }

    /// Compares it with what it is used for.
    ///
    /// # Errors
    /// It is of a different lock or environment.
    pub(super) fn require(&self, expected: &ExpectedContent<'_>) -> Result<(), Error> {
        let wanted = Proven::new(expected.lock, Some(&expected.environment.name));
        self.proven.require("EarlyLook", &wanted)
    }

    /// Returns whether an artifact was right to this depth when it was tagged.
    pub(super) fn was_right(&self, artifact: &bundle::Artifact, depth: Depth) -> bool {
        let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        self.depth == depth && right.contains(&artifact.reference())
    }
}

impl Watch for EarlyLook<'_> {
    fn look<'s>(
        &'s self,
        context: &'s Context<'_>,
        tagged: UnboundedReceiver<(String, String)>,
    ) -> LocalBoxFuture<'s, ()> {
        let at_once = match self.depth {
            Depth::Tag => QUESTIONS_AT_ONCE,
            Depth::Full | Depth::Bytes => FULL_AT_ONCE,
        };
        let tagged = stream::unfold(tagged, |mut tagged| async {
            Some((tagged.recv().await?, tagged))
        });
        tagged
            .for_each_concurrent(at_once, |tag| self.look_at(context, tag))
            .boxed_local()
    }
}
