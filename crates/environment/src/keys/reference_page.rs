//! The reference page of `environment.yaml`: `docs/environment.md`.

use super::{KEYS, Key, Kind, Rule, join};
use crate::problem::quoted_list;

const INTRODUCTION: &str = "\
<!-- Made from the tables of keys: cargo run -p mke --example reference > docs/environment.md -->
# Keys of environment.yaml

This page lists every key, for readers who write an environment. [Environments](../environments/README.md) explains how to
use them.

- A key is in `environments/<name>/environment.yaml`, or in a file that this one inherits from.
- `a.b` is the key `b` below `a`. A key with keys below it takes a mapping of them.
- Bold keys are required. Below an optional key, they are required with it.
- A path is relative to the file that names it. A list is written `[a, b]`, or one item per line after `- `.
- A duration has one unit: `90s`, `90m`, `24h` or `7d`. Below `config` it may have several: `1m30s`.
- A boolean that is not set is `false`.

| key | value | meaning |
|---|---|---|
";

const CONFIG: &str = "
## Keys below config

Keys below `config` arrive in `mke4.yaml` as they are written. Airlock checks the keys in this table. It passes any other key
on, with a warning. `[]` stands for each item of a list. Leave out the keys that Airlock sets: a contradicting value is an error.
An empty cell under `default` means that none is documented, under `releases` that every release has the key.

| key | value | default | releases |
|---|---|---|---|
";

/// Returns the page, in Markdown.
///
/// `config` is the table of keys below `config`; `rules` are the names that `accept` may contain;
/// `managed` are the paths below `config` that Airlock sets.
pub fn reference_page(config: &Key, rules: &[&str], managed: &[&str]) -> String {
    let mut page = INTRODUCTION.to_owned();
    rows(&KEYS, "", &mut |path, key, rule| {
        let about = rule.about.as_deref().unwrap_or_default();
        let name = match rule.required {
            true => format!("**`{path}`**"),
            false => format!("`{path}`"),
        };
        let value = match path {
            "accept" => format!("list of {}", quoted_list(rules.iter().copied(), ", ")),
            _ => value(key, rule),
        };
        page += &format!("| {name} | {value} | {about} |\n");
    });
    page += CONFIG;
    rows(config, "", &mut |path, key, rule| {
        let is_managed = managed.contains(&path);
        let default = rule.default.as_ref().filter(|_| !is_managed);
        let default = default.map_or_else(String::new, |default| format!("`{default}`"));
        let releases = match (&rule.since, &rule.until) {
            (None, None) => String::new(),
            (Some(since), None) => format!("from v{since}"),
            (None, Some(until)) => format!("up to v{until}"),
            (Some(since), Some(until)) => format!("v{since} to v{until}"),
        };
        let value = match is_managed {
            true => "set by Airlock".to_owned(),
            false => value(key, rule),
        };
        page += &format!("| `{path}` | {value} | {default} | {releases} |\n");
    });
    page
}

/// Calls `row` for each key that has a rule, with its path, in the order of the table.
fn rows(key: &Key, path: &str, row: &mut dyn FnMut(&str, &Key, &Rule)) {
    if let Some(rule) = &key.rule {
        row(path, key, rule);
    }
    for (name, key) in &key.fields {
        rows(key, &join(path, name), row);
    }
    if let Some(item) = &key.item {
        rows(item, &format!("{path}[]"), row);
    }
}

/// Returns the allowed values of a key, in words.
fn value(key: &Key, rule: &Rule) -> String {
    let mut values = rule.current_values().peekable();
    let has_values = values.peek().is_some();
    let what = rule.kind.name();
    let what = ["a ", "an ", "the "]
        .iter()
        .find_map(|article| what.strip_prefix(article));
    let mut what = match (has_values, rule.min, rule.max) {
        (true, ..) => quoted_list(values, ", "),
        (false, Some(min), Some(max)) => format!("integer from {min} to {max}"),
        (false, Some(min), None) if rule.kind == Kind::Integer => format!("integer from {min}"),
        _ => what.unwrap_or(rule.kind.name()).to_owned(),
    };
    if let Some(example) = rule.kind.example().filter(|_| !has_values) {
        what += &format!(", such as `{example}`");
    }
    if rule.kind != Kind::Map && !key.fields.is_empty() {
        what += ", or a mapping";
    }
    if rule.is_secret && rule.certainty.is_some() {
        what += "; a secret";
    }
    what
}
