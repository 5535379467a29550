//! Comparisons for a terminal: a sign, the path, the old and the new value. Signs have the meaning
//! of colours, too.

use console::style;
use indicatif::DecimalBytes;
use release::config::diff::{Change, Drift, EnvironmentDiff, Releases, State};

use super::{applied, area, artifact_counts, committed, to_send};
use crate::tasks::short_digest;

/// Maximum number of characters of a value. JSON has the whole value.
const WIDTH: usize = 100;

pub(super) fn drift(drift: &Drift) -> String {
    let mut text = format!("{}\n", committed(drift));
    if drift.committed == State::Different {
        changes(&mut text, &drift.changes);
    }
    text.push('\n');
    for line in applied(drift) {
        text.push_str(&format!("{line}\n"));
    }
    text
}

pub(super) fn pair(pair: &EnvironmentDiff) -> String {
    if pair.changes.is_empty() {
        return format!("{} and {} have the same values\n", pair.old, pair.new);
    }
    let mut text = format!("from {} to {}\n", pair.old, pair.new);
    changes(&mut text, &pair.changes);
    text
}

pub(super) fn releases(releases: &Releases) -> String {
    let mut text = format!("from {} to {}\n", releases.old, releases.new);
    text.push_str(&format!(
        "{}\n{}\n",
        artifact_counts(releases),
        to_send(releases)
    ));
    let mut rows: Vec<(char, String, String, u64)> = Vec::new();
    for (sign, entries) in [('+', &releases.added), ('-', &releases.removed)] {
        for entry in entries {
            let (name, tag) = (entry.repository.clone(), entry.tag.clone());
            rows.push((sign, name, tag, entry.bytes));
        }
    }
    for changed in &releases.changed {
        let tags = match changed.old == changed.new {
            true => format!(
                "{}, {} → {}",
                changed.new,
                short_digest(&changed.old_digest),
                short_digest(&changed.new_digest)
            ),
            false => format!("{} → {}", changed.old, changed.new),
        };
        rows.push(('~', changed.repository.clone(), tags, changed.bytes));
    }
    if !rows.is_empty() {
        text.push('\n');
    }
    let wide = |column: fn(&(char, String, String, u64)) -> &str| {
        rows.iter().map(|row| column(row).chars().count()).max()
    };
    let repository = wide(|row| &row.1).unwrap_or(0);
    let tags = wide(|row| &row.2).unwrap_or(0);
    for (sign, name, tag, bytes) in &rows {
        let line = match sign {
            '-' => format!("  {sign} {name:<repository$}  {tag}"),
            _ => format!(
                "  {sign} {name:<repository$}  {tag:<tags$}  {}",
                DecimalBytes(*bytes)
            ),
        };
        text.push_str(&format!("{}\n", coloured(*sign, &line)));
    }
    if !releases.facts.is_empty() {
        text.push_str("\nrecorded facts of the releases\n");
    }
    for fact in &releases.facts {
        let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        text.push_str(&format!(
            "  ~ {}: {} → {}\n",
            fact.subject,
            side(&fact.old),
            side(&fact.new)
        ));
    }
    if !releases.defaults.is_empty() {
        text.push_str("\nwhat mkectl configures by default\n");
        changes(&mut text, &releases.defaults);
    }
    text
}

pub(in crate::tasks) fn changes(text: &mut String, changes: &[Change]) {
    let mut last = None;
    for change in changes {
        if last != Some(change.area) {
            text.push_str(&format!("\n{}\n", style(area(change.area)).bold()));
            last = Some(change.area);
        }
        let (sign, values) = match (&change.old, &change.new) {
            (Some(old), Some(new)) => ('~', format!("{} → {}", cut(old), cut(new))),
            (Some(old), None) => ('-', cut(old)),
            (None, new) => ('+', cut(new.as_deref().unwrap_or_default())),
        };
        let line = format!("  {sign} {}: {values}", change.path);
        text.push_str(&format!("{}\n", coloured(sign, &line)));
    }
}

fn cut(value: &str) -> String {
    // Masked before it is cut, because the masker does not recognise a part of a secret.
    let value = redaction::run().mask(value);
    match value.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.into_owned(),
    }
}

fn coloured(sign: char, line: &str) -> String {
    match sign {
        '+' => style(line).green(),
        '-' => style(line).red(),
        _ => style(line).yellow(),
    }
    .to_string()
}
