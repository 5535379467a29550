//! Rebuilds a lost or overwritten receipt from the live configuration and the registry.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use environment::Environment;
use environment::yaml::Node;

use super::{Cluster, refuse_a_rehearsal};
use crate::cluster::existing;
use crate::config::render;
use crate::receipt::{self, Applied, Provenance, Pushed, Receipt};
use crate::shared_state::{self, StateCheck, Subject};
use crate::transfer::look;
use crate::workspace::{Output, read_if_exists};
use crate::{Context, Error, locked, sha256};

/// A rebuilt receipt that is not written yet.
pub struct Rebuilt {
    cluster: Cluster,
    state_check: StateCheck,
    receipt: Receipt,
    /// The release that the cluster runs, `v4.1.5`.
    release: String,
    /// SHA-256 of that release's lock.
    lock: String,
    /// The present text of the receipt's file.
    before: Option<String>,
    /// Warnings for the operator, a sentence fragment each.
    pub warnings: Vec<String>,
}

/// Computes the receipt of an environment again. Writes nothing. It is unknown when the deploy
/// began, and what it pushed.
///
/// # Errors
/// - The environment is a rehearsal.
/// - A suitable mkectl is missing.
/// - The cluster does not answer, or is a different one.
/// - The cluster's release is not locked.
/// - The registry cannot be read.
/// - Unless `take_over`: a deploy from a different checkout may be running.
pub async fn rebuild(
    context: &Context<'_>,
    environment: Environment,
    take_over: bool,
) -> Result<Rebuilt, Error> {
    refuse_a_rehearsal(&environment)?;
    let name = environment.name.clone();
    let output = Output::below(&context.workspace.environment(&name));
    let state_check = shared_state::read(context, &environment, &output, None).await;
    if state_check
        .conflict()
        .is_some_and(|conflict| conflict.may_be_running())
    {
        state_check.allow(take_over)?;
    }
    let mut cluster = Cluster::new(context, environment, output, None)?;
    let (live, live_config) =
        tokio::task::block_in_place(|| existing::live_config(&cluster.program))?;
    let rendered =
        render::render(context.workspace, &mut cluster.environment, &cluster.facts)?.text;
    let before = Receipt::read(&cluster.output.receipt).ok().flatten();
    existing::refuse_different(
        context,
        &cluster.environment,
        &live_config,
        &existing::cluster_config(&rendered)?,
        before.and_then(|receipt| receipt.applied).as_ref(),
    )?;
    let mut warnings: Vec<String> = state_check.warning.iter().cloned().collect();
    let release = live_config.version.clone().unwrap_or_else(|| {
        warnings.push(format!(
            "the cluster does not report its release; {} is taken from the environment",
            cluster.release()
        ));
        cluster.environment.release.clone()
    });
    let mut locked = locked::of_release(context.workspace, &cluster.environment, &release)?;
    let tags = look::tags_of(&locked.lock);
    let held = look::look(context, &cluster.environment, &tags).await?.seen;
    let held: BTreeSet<String> = (locked.lock.artifacts.iter().zip(&held))
        .filter(|(artifact, seen)| !seen.planned(&artifact.digest).is_to_be_pushed())
        .map(|(artifact, _)| artifact.reference())
        .collect();
    let artifacts = held.len();
    if artifacts < tags.len() {
        warnings.push(format!(
            "the registry holds {artifacts} of {} artifacts of {}",
            tags.len(),
            locked.lock.release
        ));
    }
    // The cluster does not report its sets. A set counts as deployed if the registry has all of it.
    for name in locked.sets.keys().cloned().collect::<Vec<_>>() {
        let (_, set) = locked::of_set(context.workspace, &name)?;
        let mut artifacts = set.lock.artifacts.iter();
        if !artifacts.all(|artifact| held.contains(&artifact.reference())) {
            locked.sets.remove(&name);
            warnings.push(format!(
                "the receipt does not record {name}, since the registry does not hold all of it as it is locked"
            ));
        }
    }
    let recorded = state_check.state();
    if recorded
        .is_some_and(|state| state.release == locked.lock.release && state.lock != locked.digest)
    {
        warnings.push(format!(
            "the last deploy used a different lock than {}",
            context.workspace.shown(&locked.path)
        ));
    }
    let is_current = release == cluster.environment.release;
    let live = existing::parse("mkectl config get".into(), &live)?;
    let mut kept = live.get("spec").map(mke::write_once_values_of);
    // Without a digest, the next deploy applies the configuration: the one of an earlier release is
    // unknown, and one that the cluster has only in part must be applied again.
    let config = match is_current && has_all_of(&cluster, context, &live)? {
        true => {
            // Rendered values take precedence: they have references instead of secrets.
            if let Some(kept) = &mut kept {
                kept.extend(mke::write_once_values(&cluster.environment));
            }
            sha256(rendered.as_bytes())
        }
        false => {
            warnings.push(
                "the cluster does not have everything that is rendered, so the next deploy runs mkectl"
                    .to_owned(),
            );
            String::new()
        }
    };
    let applied = Applied {
        release: locked.lock.release.clone(),
        registry: (live_config.registry.clone())
            .unwrap_or_else(|| cluster.environment.registry.image_url()),
        external_address: live_config.external_address.clone(),
        kept,
        lock: locked.digest,
        sets: locked.sets,
        config,
        plan: None,
        mkectl: receipt::RecordedProgram {
            version: locked.lock.release.clone(),
            sha256: is_current.then(|| cluster.mkectl().sha256()).flatten(),
        },
        artifacts,
        pushed: Pushed::from(&crate::transfer::push::Sent::default()),
        began: None,
        ended: receipt::now(context),
        by: Provenance::of(context, &cluster.environment),
        overridden: None,
        without_backup: None,
        rebuilt: true,
    };
    Ok(Rebuilt {
        release: applied.release.clone(),
        lock: applied.lock.clone(),
        receipt: Receipt {
            version: Receipt::VERSION,
            run: None,
            applied: Some(applied),
            failed: None,
        },
        before: read_if_exists(&cluster.output.receipt)?,
        cluster,
        state_check,
        warnings,
    })
}

/// Returns whether the live configuration has every rendered value, with references replaced by
/// their values.
fn has_all_of(cluster: &Cluster, context: &Context<'_>, live: &Node) -> Result<bool, Error> {
    let config = cluster.config(context)?;
    let text = files::read_text(config.path()).map_err(|source| Error::read(config.path(), source));
    let text = config.remove_after(text)?;
    let changes = mke::compare(live, &existing::parse("mke4.yaml".into(), &text)?);
    Ok(changes.iter().all(|change| change.new.is_none()))
}

impl Rebuilt {
    /// Returns the environment, with the release that its files name.
    pub fn environment(&self) -> &Environment {
        &self.cluster.environment
    }

    /// Returns the change of the receipt's file as a unified diff.
    ///
    /// # Errors
    /// YAML cannot express the receipt.
    pub fn diff(&self, context: &Context<'_>) -> Result<String, Error> {
        let path = &self.cluster.output.receipt;
        let text = self.receipt.text(path)?;
        let shown = context.workspace.shown(path);
        Ok(render::diff(shown, self.before.as_deref(), &text))
    }

    /// Writes the receipt, and records it in the registry. Returns the path of its file, relative
    /// to the workspace.
    ///
    /// # Errors
    /// A deploy began after the receipt was computed, or the file cannot be written.
    pub async fn write(mut self, context: &Context<'_>) -> Result<Utf8PathBuf, Error> {
        let subject = Subject {
            environment: &self.cluster.environment,
            output: &self.cluster.output,
            release: self.release.clone(),
            lock: self.lock.clone(),
        };
        let mark = shared_state::begin(context, &subject, &self.state_check).await?;
        let before = self.state_check.run().map(str::to_owned);
        self.receipt.run = mark.run().or(before);
        let path: &Utf8Path = &self.cluster.output.receipt;
        self.receipt.write(path)?;
        shared_state::end(context, &subject, mark).await?;
        Ok(context.workspace.shown(path).to_owned())
    }
}
