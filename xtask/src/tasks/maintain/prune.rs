//! `prune`: plans the removal of tags that no release needs; `prune --plan` executes a reviewed
//! plan.

use std::collections::BTreeMap;
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

/// Maximum number of kept tags that are listed; the rest is counted.
const STAYS: usize = 10;

/// How to free the space after a removal.
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
    if let Some(path) = &arguments.out {
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
    let mut text = match plan.remove.is_empty() {
        true => format!("{name}: nothing to remove in {}", plan.registry),
        false => format!(
            "{name}: {} removed with {}",
            super::count(pruned.tags, "tag"),
            super::count(pruned.manifests, "manifest"),
        ),
    };
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

/// Returns the reason why an environment needs a release.
fn reason(why: &str, name: &str) -> String {
    match why {
        "wanted" => format!("required by {name}"),
        "running" => format!("running in {name}"),
        "previous" => format!("previously deployed to {name}"),
        "failed" => format!("last deploy to {name} failed"),
        "recorded" => format!("the registry records a deploy to {name}"),
        other => format!("{other}: {name}"),
    }
}

/// Returns a line for each release or set that an environment needs, with all reasons: there may be
/// several locks of it.
fn kept(kept: &[KeptLock]) -> String {
    let mut all: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for kept in kept {
        let reasons = all.entry((&kept.release, &kept.needed_by)).or_default();
        for why in &kept.why {
            if !reasons.contains(&why.as_str()) {
                reasons.push(why);
            }
        }
    }
    let line = |((release, name), mut reasons): ((&str, &str), Vec<&str>)| {
        reasons.sort_by_key(|why| {
            ["wanted", "running", "previous"]
                .iter()
                .position(|one| one == why)
                .unwrap_or(3)
        });
        let reasons: Vec<String> = reasons.iter().map(|why| reason(why, name)).collect();
        match reasons.is_empty() {
            true => format!("kept: {release}: needed by {name}\n"),
            false => format!("kept: {release}: {}\n", reasons.join(", ")),
        }
    };
    all.into_iter().map(line).collect()
}

fn text(plan: &PrunePlan, out: Option<&Utf8Path>) -> String {
    let name = &plan.environment;
    let mut text = kept(&plan.computed_from.kept);
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
                crate::tasks::short_digest(&removal.digest),
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
            text.push_str(&format!("the plan in {out} is empty\n"));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_reasons_of_a_set_are_in_one_line() {
        let locks = [("b", "running"), ("c", "previous"), ("a", "wanted")];
        let locks = locks.map(|(lock, why)| KeptLock {
            release: "platform".to_owned(),
            lock: lock.to_owned(),
            needed_by: "lab".to_owned(),
            why: vec![why.to_owned()],
        });
        assert_eq!(
            kept(&locks),
            "kept: platform: required by lab, running in lab, previously deployed to lab\n"
        );
    }
}
