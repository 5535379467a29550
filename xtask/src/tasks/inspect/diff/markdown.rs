//! Comparisons as Markdown, for a comment on a pull request.

use indicatif::DecimalBytes;
use release::config::diff::{Change, Drift, EnvironmentDiff, Releases, State};

use super::{applied, area, artifact_counts, committed, to_send};
use crate::tasks::short_digest;

pub(super) fn drift(drift: &Drift) -> String {
    let mut text = format!("### {}\n\n{}.\n", drift.environment, committed(drift));
    if drift.committed == State::Different {
        changes(&mut text, &drift.changes);
    }
    text.push('\n');
    for line in applied(drift) {
        text.push_str(&format!("- {line}\n"));
    }
    text
}

pub(super) fn pair(pair: &EnvironmentDiff) -> String {
    let mut text = format!("### {} → {}\n", pair.old, pair.new);
    if pair.changes.is_empty() {
        text.push_str("\nThe same values.\n");
    } else {
        changes(&mut text, &pair.changes);
    }
    text
}

pub(super) fn releases(releases: &Releases) -> String {
    let mut text = format!(
        "### {} → {}\n\n{}; {}.\n",
        releases.old,
        releases.new,
        artifact_counts(releases),
        to_send(releases)
    );
    if releases.differs() {
        text.push_str("\n| artifact | old | new | size | to send |\n|---|---|---|---:|---:|\n");
    }
    let at = |tag: &str, digest: &str| code(&format!("{tag}@{}", short_digest(digest)));
    let mut row = |repository: &str, old: String, new: String, size: u64, bytes: Option<u64>| {
        let bytes = bytes.map_or_else(String::new, |bytes| DecimalBytes(bytes).to_string());
        text.push_str(&format!(
            "| {} | {old} | {new} | {} | {bytes} |\n",
            code(repository),
            DecimalBytes(size)
        ));
    };
    for one in &releases.added {
        let new = at(&one.tag, &one.digest);
        row(
            &one.repository,
            String::new(),
            new,
            one.size,
            Some(one.bytes),
        );
    }
    for one in &releases.removed {
        let old = at(&one.tag, &one.digest);
        row(&one.repository, old, String::new(), one.size, None);
    }
    for one in &releases.changed {
        let (old, new) = (at(&one.old, &one.old_digest), at(&one.new, &one.new_digest));
        row(&one.repository, old, new, one.size, Some(one.bytes));
    }
    if !releases.facts.is_empty() {
        text.push_str("\n| recorded fact | old | new |\n|---|---|---|\n");
    }
    for fact in &releases.facts {
        let side = |value: &Option<String>| code(value.as_deref().unwrap_or_default());
        text.push_str(&format!(
            "| {} | {} | {} |\n",
            fact.subject,
            side(&fact.old),
            side(&fact.new)
        ));
    }
    if !releases.defaults.is_empty() {
        text.push_str("\nWhat mkectl configures by default:\n");
        changes(&mut text, &releases.defaults);
    }
    text
}

fn changes(text: &mut String, changes: &[Change]) {
    text.push_str("\n| | where | old | new |\n|---|---|---|---|\n");
    let mut last = None;
    for change in changes {
        let title = match last == Some(change.area) {
            true => "",
            false => area(change.area),
        };
        last = Some(change.area);
        let side = |value: &Option<String>| code(value.as_deref().unwrap_or_default());
        text.push_str(&format!(
            "| {title} | {} | {} | {} |\n",
            code(&change.path),
            side(&change.old),
            side(&change.new)
        ));
    }
}

/// Returns text as a code span for a cell of a table, with `|` and line ends replaced.
pub(in crate::tasks) fn code(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let longest = text
        .split(|character| character != '`')
        .map(str::len)
        .max()
        .unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let text = text.replace('|', "\\|").replace('\n', " ");
    match longest {
        0 => format!("{fence}{text}{fence}"),
        // Spaces separate backticks at the ends of the text from the fence.
        _ => format!("{fence} {text} {fence}"),
    }
}
