//! `prune`: plans the removal of tags that no release needs; `prune --plan` executes a reviewed plan.

use std::collections::BTreeSet;
use std::process::ExitCode;

use camino::Utf8Path;
use indicatif::DecimalBytes;
use release::prune::{KeptLock, PrunePlan, Scope};
use release::workspace::{FileKind, check_named};
use serde_json::json;

use crate::app::App;
use crate::cli::PruneArgs;
use crate::confirm::confirm;
use crate::failure::Failure;
use crate::interrupt::until_interrupted;
use crate::ui::table;

/// How many tags that stay are named one by one; the rest is counted.
const STAYS: usize = 10;

/// What removing does not do.
const SECOND_STEP: &str = "\
The bytes are freed by the registry's own garbage collection, which is the second step:
  registry:2  registry garbage-collect /etc/docker/registry/config.yml   (stop pushes first)
  Harbor      Administration > Clean Up > Garbage Collection
";

pub(crate) fn run(app: &App<'_>, arguments: &PruneArgs) -> Result<ExitCode, Failure> {
    match &arguments.plan {
        Some(path) => remove(app, arguments, path),
        None => plan(app, arguments),
    }
}

fn plan(app: &App<'_>, arguments: &PruneArgs) -> Result<ExitCode, Failure> {
    let environment = app.environment(&arguments.environment)?;
    if let Some(path) = &arguments.out {
        check_named(&app.workspace, path, FileKind::PrunePlan)?;
    }
    let scope = match arguments.also_found {
        true => Scope::Found,
        false => Scope::Pushed,
    };
    let plan = until_interrupted(app, async {
        let _registry = release::rehearse::serve_for_reading(&app.workspace, &environment).await?;
        Ok(release::prune::plan(&app.context(), &environment, scope).await?)
    })?;
    if let Some(path) = &arguments.out
        && !plan.remove.is_empty()
    {
        release::prune::write(&plan, &app.workspace, path)?;
    }
    app.ui
        .result(&text(&plan, arguments.out.as_deref()), &plan)?;
    Ok(ExitCode::SUCCESS)
}

fn remove(app: &App<'_>, arguments: &PruneArgs, path: &Utf8Path) -> Result<ExitCode, Failure> {
    let name = &arguments.environment;
    let (environment, _lock) = app.lock_environment(name, "prune")?;
    let plan = release::prune::read(path)?;
    let pruned = until_interrupted(app, async {
        let _registry = release::rehearse::serve(&app.workspace, &environment).await?;
        release::prune::prune(&app.context(), &environment, &plan, path, || {
            confirm(&environment, arguments.confirm.as_deref())
        })
        .await
    })?;
    let mut text = format!(
        "{name}: {} removed with {}",
        super::count(pruned.tags, "tag"),
        super::count(pruned.manifests, "manifest"),
    );
    if pruned.gone_before > 0 {
        text.push_str(&format!(", {} gone already", pruned.gone_before));
    }
    text.push('\n');
    if pruned.manifests > 0 {
        text.push_str(SECOND_STEP);
    }
    app.ui.result(
        &text,
        &json!({
            "environment": name,
            "registry": plan.registry,
            "tags": pruned.tags,
            "manifests": pruned.manifests,
            "gone-before": pruned.gone_before,
            "frees-at-most": plan.frees_at_most,
        }),
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Returns which environment needs a release, and why.
fn needed_by(kept: &KeptLock) -> String {
    let name = &kept.needed_by;
    let why: Vec<String> = (kept.why.iter())
        .map(|why| match why.as_str() {
            "wanted" => format!("required by {name}"),
            "running" => format!("running in {name}"),
            "previous" => format!("previously deployed to {name}"),
            "failed" => format!("last deploy to {name} failed"),
            other => format!("{other}: {name}"),
        })
        .collect();
    match why.is_empty() {
        true => format!("needed by {name}"),
        false => why.join(", "),
    }
}

fn text(plan: &PrunePlan, out: Option<&Utf8Path>) -> String {
    let name = &plan.environment;
    let kept = plan.computed_from.kept.iter();
    // A release may have been locked more than once.
    let kept: BTreeSet<String> = kept
        .map(|kept| format!("kept: {}: {}\n", kept.release, needed_by(kept)))
        .collect();
    let mut text: String = kept.into_iter().collect();
    for note in &plan.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    let rows: Vec<Vec<String>> = plan
        .remove
        .iter()
        .map(|removal| {
            vec![
                removal.repository.clone(),
                removal.tags.join(", "),
                removal.releases.join(", "),
                removal.digest.chars().take(19).collect(),
            ]
        })
        .collect();
    if !rows.is_empty() {
        text.push_str(&table(&["repository", "tags", "of", "digest"], &[], rows));
    }
    for stays in plan.stays.iter().take(STAYS) {
        text.push_str(&format!(
            "stays: {}:{}: {}\n",
            stays.repository, stays.tag, stays.why
        ));
    }
    if plan.stays.len() > STAYS {
        text.push_str(&format!("stays: {} more\n", plan.stays.len() - STAYS));
    }
    if plan.remove.is_empty() {
        text.push_str(&format!("{name}: nothing to remove in {}\n", plan.registry));
        if let Some(out) = out {
            text.push_str(&format!("the plan is empty; {out} is not written\n"));
        }
        return text;
    }
    text.push_str(&format!(
        "{name}: {} would be removed from {}, which frees at most {}. Nothing was removed.\n",
        super::count(plan.tags(), "tag"),
        plan.registry,
        DecimalBytes(plan.frees_at_most),
    ));
    match out {
        Some(out) => text.push_str(&format!(
            "Review {out}, then run `cargo xtask prune {name} --plan {out}`: it removes exactly that, or refuses.\n"
        )),
        None => text.push_str(&format!(
            "To remove them, save the plan with `cargo xtask prune {name} --out FILE`, review it, and run `cargo xtask prune {name} --plan FILE`.\n"
        )),
    }
    text
}
