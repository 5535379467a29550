//! A plan as Markdown, for a comment on a pull request.

use indicatif::DecimalBytes;
use release::plan::Summary;

use crate::tasks::inspect::diff::code;

pub(super) fn plan(plan: &Summary) -> String {
    let mut text = format!(
        "### Plan for {}: {} to {}\n",
        plan.environment,
        plan.release,
        code(&plan.registry)
    );
    if !plan.warnings.is_empty() {
        text.push('\n');
    }
    for warning in &plan.warnings {
        text.push_str(&format!("- **warning:** {warning}\n"));
    }
    let artifacts = environment::count(plan.artifacts, "artifact");
    if plan.nothing_to_do {
        text.push_str(&format!(
            "\nNothing to do: {artifacts} are in the registry, `mke4.yaml` is applied.\n"
        ));
        return text;
    }
    if let Some(problem) = &plan.shared_problem {
        text.push_str(&format!("\n**Refused:** {problem}.\n"));
    }
    if let Some(problem) = &plan.requirement_problem {
        text.push_str(&format!("\n**Refused until then:** {problem}.\n"));
    }
    let rows = [
        ("missing", &plan.missing),
        ("different content", &plan.different),
        ("present, but refused to nodes", &plan.unconfirmed),
    ];
    text.push_str(&match plan.missing.len() + plan.different.len() {
        0 => format!("\nThe registry has all of {artifacts}.\n"),
        to_push => format!(
            "\nPush {to_push} of {artifacts}, {} at most.\n",
            DecimalBytes(plan.bytes_to_send)
        ),
    });
    if rows.iter().any(|(_, names)| !names.is_empty()) {
        text.push_str("\n| artifact | in the registry |\n|---|---|\n");
    }
    for (state, names) in rows {
        for name in names {
            text.push_str(&format!("| {} | {state} |\n", code(name)));
        }
    }
    match plan.config_diff.as_str() {
        "" => text.push_str(&format!("\n{} is unchanged.\n", code(plan.config.as_str()))),
        diff => text.push_str(&format!("\n```diff\n{diff}```\n")),
    }
    if !plan.applied_diff.is_empty() {
        let config = code(plan.config.as_str());
        text.push_str(&format!(
            "\nFrom the applied configuration to {config}:\n\n```diff\n{}```\n",
            plan.applied_diff
        ));
    }
    for host in &plan.removed_hosts {
        text.push_str(&format!("\n**Removed host:** {}\n", code(host)));
    }
    let mkectl = &plan.mkectl;
    match (&mkectl.problem, mkectl.reason) {
        (Some(problem), _) => text.push_str(&format!("\nmkectl cannot be run: {problem}\n")),
        (None, None) => text.push_str("\nmkectl is not needed.\n"),
        (None, Some(reason)) => {
            let what = match &mkectl.from {
                Some(from) => format!("an upgrade from {from}"),
                None => mkectl.action.to_owned(),
            };
            text.push_str(&format!(
                "\nmkectl is run for {what}, because {reason}:\n\n"
            ));
            for (number, command) in mkectl.commands.iter().enumerate() {
                text.push_str(&format!("{}. {}\n", number + 1, code(&command.command)));
            }
        }
    }
    if let Some(reason) = plan.receipt_reason {
        text.push_str(&format!("\nThe receipt is written, because {reason}.\n"));
    }
    text
}
