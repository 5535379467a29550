//! The text of a plan.

use console::style;
use environment::count;
use indicatif::DecimalBytes;
use release::plan::{MkectlSummary, Summary};

/// Maximum number of names in a short plan; the rest is counted.
const NAMES: usize = 20;

/// Length of a plan's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// The first names, and no diff of a new file.
    Short,
    /// Every name and the whole diff.
    Full,
}

/// Returns the plan as text.
pub(super) fn text(plan: &Summary, detail: Detail) -> String {
    let mut text = format!(
        "Plan for {}: {} to {}\n",
        plan.environment, plan.release, plan.registry
    );
    for warning in &plan.warnings {
        text.push_str(&format!(
            "{} {warning}\n",
            style("warning:").yellow().bold()
        ));
    }
    if plan.nothing_to_do {
        overrides(&mut text, plan);
        text.push_str(&format!(
            "Nothing to do: {} are in the registry, mke4.yaml is applied.\n",
            artifacts(plan.artifacts)
        ));
        return text;
    }
    let to_push = plan.missing.len() + plan.different.len();
    let bundle = match plan.bundle.action {
        "nothing" if to_push > 0 => "already in the store".to_owned(),
        "nothing" => "not needed".to_owned(),
        "confirm" => "not needed: the registry has what the store lacks".to_owned(),
        action => format!(
            "{action} {} ({})",
            plan.bundle.file,
            DecimalBytes(plan.bundle.size)
        ),
    };
    field(&mut text, "bundle", &bundle);
    if let Some(sets) = &plan.sets {
        let names: Vec<&str> = sets.locks.keys().map(String::as_str).collect();
        let from = match sets.blobs_to_fetch {
            0 => String::new(),
            blobs => format!(
                ": fetch {} from upstream ({})",
                count(blobs, "blob"),
                DecimalBytes(sets.bytes_to_fetch)
            ),
        };
        field(&mut text, "sets", &format!("{}{from}", names.join(", ")));
    }
    let registry = if to_push == 0 {
        format!("{} already present", artifacts(plan.artifacts))
    } else {
        format!(
            "push {to_push} of {}, {} at most",
            artifacts(plan.artifacts),
            DecimalBytes(plan.bytes_to_send)
        )
    };
    field(&mut text, "registry", &registry);
    names(&mut text, plan, "+", &plan.missing, detail);
    names(&mut text, plan, "~", &plan.different, detail);
    if !plan.unconfirmed.is_empty() {
        text.push_str("            the registry refuses nodes without credentials:\n");
        names(&mut text, plan, "!", &plan.unconfirmed, detail);
    }
    let config = if plan.config_diff.is_empty() {
        "unchanged"
    } else {
        "write"
    };
    field(&mut text, "config", &format!("{config} {}", plan.config));
    if !plan.removed_hosts.is_empty() {
        let hosts = format!("remove {}", plan.removed_hosts.join(", "));
        field(&mut text, "hosts", &hosts);
    }
    mkectl(&mut text, &plan.mkectl);
    if let Some(reason) = plan.receipt_reason {
        field(&mut text, "receipt", &format!("write, because {reason}"));
    }
    if !plan.unlocked.is_empty() {
        let lacking = plan.unlocked.join(", ");
        field(
            &mut text,
            "refused",
            &format!("the lock lacks what mkectl lists: {lacking}"),
        );
    }
    overrides(&mut text, plan);
    if let Some(problem) = &plan.requirement_problem {
        field(&mut text, "refused", problem);
    }
    // The short text omits the diff of a new file, which has all of its lines.
    let is_new = plan.config_diff.starts_with("--- /dev/null");
    if !plan.config_diff.is_empty() && (detail == Detail::Full || !is_new) {
        text.push('\n');
        text.push_str(&coloured(&plan.config_diff));
    }
    if !plan.applied_diff.is_empty() {
        text.push_str(&format!(
            "\nFrom the applied configuration to {}:\n",
            plan.config
        ));
        text.push_str(&coloured(&plan.applied_diff));
    }
    text
}

/// Adds the problems that options override, and a conflict with a different checkout.
fn overrides(text: &mut String, plan: &Summary) {
    for problem in &plan.set_aside {
        field(text, "set aside", problem);
    }
    if let Some(problem) = &plan.shared_problem {
        field(text, "refused", problem);
    }
}

/// Adds the commands of mkectl in their order, and the reason for them.
fn mkectl(text: &mut String, mkectl: &MkectlSummary) {
    let Some(reason) = mkectl.reason else {
        return field(text, "mkectl", "not needed");
    };
    if let Some(from) = &mkectl.from {
        field(text, "mkectl", &format!("upgrade from {from}"));
    }
    if let Some(problem) = &mkectl.problem {
        let name = mkectl.from.as_ref().map_or("mkectl", |_| "");
        return field(text, name, &format!("cannot be run: {problem}"));
    }
    match mkectl.commands.as_slice() {
        [only] if mkectl.from.is_none() => field(text, "mkectl", &only.command),
        commands => {
            for (number, command) in commands.iter().enumerate() {
                text.push_str(&format!(
                    "            {}. {}\n",
                    number + 1,
                    command.command
                ));
            }
        }
    }
    text.push_str(&format!("            because {reason}\n"));
}

/// Colours the lines of a unified diff. The signs stay, because colour must not be the only carrier
/// of meaning.
pub(crate) fn coloured(diff: &str) -> String {
    let mut text = String::with_capacity(diff.len());
    for line in diff.lines() {
        let line = if line.starts_with("+++") || line.starts_with("---") {
            style(line).bold()
        } else if line.starts_with('+') {
            style(line).green()
        } else if line.starts_with('-') {
            style(line).red()
        } else if line.starts_with("@@") {
            style(line).cyan()
        } else {
            style(line)
        };
        text.push_str(&format!("{line}\n"));
    }
    text
}

fn field(text: &mut String, name: &str, value: &str) {
    text.push_str(&format!("  {name:<9} {value}\n"));
}

fn names(text: &mut String, plan: &Summary, sign: &str, names: &[String], detail: Detail) {
    let shown = if detail == Detail::Full {
        names.len()
    } else {
        NAMES
    };
    for name in names.iter().take(shown) {
        text.push_str(&format!("            {sign} {name}\n"));
    }
    if names.len() > shown {
        text.push_str(&format!(
            "            {sign} and {} more; `cargo xtask plan {}` lists all\n",
            names.len() - shown,
            plan.environment
        ));
    }
}

fn artifacts(count: usize) -> String {
    environment::count(count, "artifact")
}
