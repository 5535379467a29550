//! Compares a plan with the files again, immediately before mkectl changes the cluster. A push may
//! take hours, and files may have changed meanwhile.

use super::saved::listed;
use super::{Plan, PlanChange};
use crate::config::render;
use crate::workspace::{Output, read_if_exists};
use crate::{Context, Error, locked, plan, sha256};

/// A plan that no longer matches the files.
#[derive(Debug, thiserror::Error)]
#[error("{environment} changed after its plan was computed: {}", moved.iter().map(|moved| format!("{}: {}", moved.subject, moved.what)).collect::<Vec<_>>().join("; "))]
pub struct Outdated {
    /// The environment's name.
    pub environment: String,
    /// Everything that changed.
    pub moved: Vec<PlanChange>,
}

/// Compares the inputs of the plan with the files. The plan of a rehearsal is made from copies and
/// is not compared.
///
/// # Errors
/// [`plan::Error::Outdated`] if a file changed, or a file cannot be read.
pub(crate) fn recheck(context: &Context<'_>, plan: &Plan) -> Result<(), Error> {
    let workspace = context.workspace;
    let name = &plan.environment.name;
    if plan.output.receipt != Output::below(&workspace.environment(name)).receipt {
        return Ok(());
    }
    let mut environment = workspace.load(name)?;
    let release = mke::Release::of(&environment.release)?;
    let locked = locked::of(workspace, &environment)?;
    let text = render::render(workspace, &mut environment, &release)?.text;
    let none = || "none".to_owned();
    let digest = |text: Option<&String>| text.map_or_else(none, |text| sha256(text.as_bytes()));
    let written = read_if_exists(&plan.output.config)?;
    // The deploy itself has written the rendered configuration: that is not a change.
    let written = match written.as_deref() == Some(plan.config.text.as_str()) {
        true => plan.config.committed.clone(),
        false => written,
    };
    let receipt = read_if_exists(&plan.output.receipt)?;
    let moved: Vec<PlanChange> = [
        (
            "release",
            format!("v{}", plan.environment.release),
            format!("v{}", environment.release),
        ),
        ("lock", plan.lock_digest.clone(), locked.digest),
        ("sets", listed(&plan.sets), listed(&locked.sets)),
        (
            "config",
            plan.config.digest.clone(),
            sha256(text.as_bytes()),
        ),
        (
            "mke4.yaml",
            digest(plan.config.committed.as_ref()),
            digest(written.as_ref()),
        ),
        (
            "receipt",
            plan.receipt_sha256.clone().unwrap_or_else(none),
            digest(receipt.as_ref()),
        ),
    ]
    .into_iter()
    .filter_map(|(subject, old, new)| PlanChange::between(subject, &old, &new))
    .collect();
    match moved.is_empty() {
        true => Ok(()),
        false => Err(plan::Error::Outdated(Outdated {
            environment: name.clone(),
            moved,
        })
        .into()),
    }
}
