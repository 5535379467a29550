//! The reference page of `environment.yaml`: `docs/environment.md`.

use super::{KEYS, Key, Kind, Rule};

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
            "accept" => format!("list of {}", quoted(rules)),
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
        let path = match path {
            "" => name.clone(),
            path => format!("{path}.{name}"),
        };
        rows(key, &path, row);
    }
    if let Some(item) = &key.item {
        rows(item, &format!("{path}[]"), row);
    }
}

/// Returns names in code style, separated by commas.
fn quoted(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// Returns the allowed values of a key, in words.
fn value(key: &Key, rule: &Rule) -> String {
    let values: Vec<&str> = rule.current_values().collect();
    let what = rule.kind.name();
    let what = ["a ", "an ", "the "]
        .iter()
        .find_map(|article| what.strip_prefix(article));
    let mut what = match (values.is_empty(), rule.min, rule.max) {
        (false, ..) => quoted(&values),
        (true, Some(min), Some(max)) => format!("integer from {min} to {max}"),
        (true, Some(min), None) if rule.kind == Kind::Integer => format!("integer from {min}"),
        _ => what.unwrap_or(rule.kind.name()).to_owned(),
    };
    if let Some(example) = rule.kind.example().filter(|_| values.is_empty()) {
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
