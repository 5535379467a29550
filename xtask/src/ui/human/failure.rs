//! The text of failures: what failed, why, and hints.

use std::sync::Arc;

use console::style;
use release::cluster::run;
use release::transfer::{lock, push};
use release::{plan, prune, verify};

use crate::failure::Failure;
use crate::ui::edge::{message, word};
use crate::ui::{findings, plan as plans, problems};

/// Number of mkectl's last lines that an error repeats. The log has all of them.
const LAST_LINES: usize = 5;

/// Maximum number of names in a list: of invalid environments, or of artifacts that failed for one
/// reason.
const NAMES: usize = 10;

/// Returns a failure with its causes and hints.
pub(super) fn text(failure: &Failure, coloured: bool) -> String {
    let mut text = match failure {
        Failure::Release(error) if error.problems().is_some() => {
            let found = error.problems().into_iter().flat_map(|found| &found.0);
            problems::render(found, coloured)
        }
        Failure::Wrong { wrong: found, .. } => wrong(failure, found, coloured),
        failure => chain(failure),
    };
    for hint in failure.hints() {
        text.push_str(&format!(
            "{} {}\n",
            style("hint:").for_stderr().cyan().bold(),
            message(hint)
        ));
    }
    text
}

/// Returns the problems of several environments. A problem in an inherited file is shown once.
fn wrong(failure: &Failure, wrong: &[(String, release::Error)], coloured: bool) -> String {
    let mut text = String::new();
    let mut found: Vec<&environment::Problem> = Vec::new();
    for (environment, error) in wrong {
        match error.problems() {
            Some(problems) => found.extend(&problems.0),
            None => text.push_str(&format!(
                "{} {}: {}\n",
                style("error:").for_stderr().red().bold(),
                word(environment),
                message(release::chain(error))
            )),
        }
    }
    // Duplicates are not adjacent, because the problems are in the order of the environments.
    let mut seen: Vec<&environment::Problem> = Vec::new();
    for problem in found {
        if !seen.contains(&problem) {
            seen.push(problem);
        }
    }
    if !seen.is_empty() {
        text.push_str(problems::render(seen, coloured).trim_end());
        text.push_str("; ");
    }
    let names: Vec<&str> = wrong.iter().map(|(name, _)| name.as_str()).collect();
    text.push_str(&format!("{failure}: {}\n", first_names(&names)));
    text
}

/// Returns the error with its causes, its lists of details, and the last lines of mkectl.
fn chain(failure: &Failure) -> String {
    if let Failure::Interrupted(failure) = failure {
        return chain(failure);
    }
    if let Failure::Several { failed, .. } = failure {
        let mut text = String::new();
        for (environment, failure) in failed {
            text.push_str(&format!(
                "{} {}",
                style(word(environment)).for_stderr().bold(),
                chain(failure)
            ));
        }
        return text;
    }
    let error = style("error:").for_stderr().red().bold();
    let mut text = format!("{error} {}\n", message(failure));
    let mut source = std::error::Error::source(failure);
    while let Some(cause) = source {
        text.push_str(&format!("  because: {}\n", message(cause)));
        source = cause.source();
    }
    let Failure::Release(error) = failure else {
        return text;
    };
    match error {
        release::Error::Push(push::Error::Failed { failed, .. })
        | release::Error::Push(push::Error::Stopped { failed, .. }) => {
            text.push_str(&by_cause(failed));
        }
        release::Error::Verify(verify::Error::NotConfirmed { findings, .. })
        | release::Error::Verify(verify::Error::NotRepaired { findings, .. }) => {
            text.push_str(&findings::lines(findings));
        }
        release::Error::Plan(plan::Error::Moved { moved, .. }) => {
            for moved in moved {
                text.push_str(&format!("  {}: {}\n", moved.subject, message(&moved.what)));
            }
        }
        release::Error::Prune(prune::Error::NotRemoved { failed, .. }) => {
            for (name, why) in failed {
                text.push_str(&format!("  {name}: {}\n", message(release::chain(why))));
            }
        }
        release::Error::Lock(lock::Error::Differs { changes, diff, .. }) => match diff {
            Some(diff) => text.push_str(&plans::coloured(diff)),
            None => text.push_str(&lock_changes(changes)),
        },
        release::Error::Set(error) => {
            for wrong in crate::failure::set::entry_errors(error) {
                text.push_str(&format!("  {}\n", message(wrong)));
            }
        }
        release::Error::Unpack(error) => text.push_str(&crate::failure::unpack::pieces(error)),
        release::Error::Run(run::Error::Failed { last_lines, .. }) => {
            for line in last_lines.iter().rev().take(LAST_LINES).rev() {
                text.push_str(&format!("  mkectl | {line}\n"));
            }
        }
        _ => {}
    }
    text
}

/// Returns the failed artifacts by cause: if a registry is down, all have the same.
fn by_cause(failed: &[(String, Arc<release::RegistryError>)]) -> String {
    let mut causes: Vec<(String, Vec<&str>)> = Vec::new();
    for (artifact, cause) in failed {
        let cause = message(release::chain(cause));
        match causes.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, artifacts)) => artifacts.push(artifact),
            None => causes.push((cause, vec![artifact])),
        }
    }
    let mut text = String::new();
    for (cause, artifacts) in causes {
        if let [artifact] = artifacts[..] {
            text.push_str(&format!("  {artifact}: {cause}\n"));
            continue;
        }
        text.push_str(&format!(
            "  {} artifacts: {cause}\n    {}\n",
            artifacts.len(),
            first_names(&artifacts)
        ));
    }
    text
}

/// Returns the differences of two locks, one line for each kind.
pub(crate) fn lock_changes(changes: &release::transfer::lock::Changes) -> String {
    let mut text = String::new();
    for (key, old, new) in &changes.keys {
        text.push_str(&format!("  {key}: {old} -> {new}\n"));
    }
    for (what, names) in [
        ("added", &changes.added),
        ("removed", &changes.removed),
        ("changed", &changes.changed),
    ] {
        if !names.is_empty() {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let count = environment::count(names.len(), "artifact");
            text.push_str(&format!("  {what}: {count}: {}\n", first_names(&names)));
        }
    }
    text
}

/// Returns the first ten names, and the number of the others.
pub(crate) fn first_names(names: &[&str]) -> String {
    let shown = names.len().min(NAMES);
    let text = names[..shown].join(", ");
    match names.len() - shown {
        0 => text,
        rest => format!("{text} and {rest} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_with_one_reason_are_reported_together() {
        let stopped = Arc::new(release::RegistryError::Stopped);
        let many: Vec<_> = (0..12)
            .map(|n| (format!("image:{n}"), Arc::clone(&stopped)))
            .collect();
        let text = by_cause(&many);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.starts_with("  12 artifacts: "), "{text}");
        assert!(text.ends_with("image:9 and 2 more\n"), "{text}");
        assert!(by_cause(&many[..1]).starts_with("  image:0: "));
    }
}
