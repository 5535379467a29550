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

| key | value | meaning |
|---|---|---|
";

const CONFIG: &str = "
## Keys below config

Keys below `config` arrive in `mke4.yaml` as they are written. Airlock checks the keys in this table. It passes any other key
on, with a warning. `[]` stands for each item of a list.

| key | value | default | releases |
|---|---|---|---|
";

/// Returns the page, in Markdown. `config` has what is known of the keys below `config`.
pub fn reference(config: &Key) -> String {
    let mut page = INTRODUCTION.to_owned();
    rows(&KEYS, "", &mut |path, key, rule| {
        let about = rule.about.as_deref().unwrap_or_default();
        let name = match rule.required {
            true => format!("**`{path}`**"),
            false => format!("`{path}`"),
        };
        page += &format!("| {name} | {} | {about} |\n", value(key, rule));
    });
    page += CONFIG;
    rows(config, "", &mut |path, key, rule| {
        let default = rule.default.as_ref();
        let default = default.map_or_else(String::new, |default| format!("`{default}`"));
        let releases = match (&rule.since, &rule.until) {
            (None, None) => String::new(),
            (Some(since), None) => format!("from v{since}"),
            (None, Some(until)) => format!("up to v{until}"),
            (Some(since), Some(until)) => format!("v{since} to v{until}"),
        };
        page += &format!(
            "| `{path}` | {} | {default} | {releases} |\n",
            value(key, rule)
        );
    });
    page
}

/// Calls `row` with each key that has a rule, in the order of the table, with its path.
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

/// Returns what a value may be.
fn value(key: &Key, rule: &Rule) -> String {
    let values = rule.values.iter().filter(|value| !value.is_empty());
    let values: Vec<String> = values.map(|value| format!("`{value}`")).collect();
    let what = rule.kind.what();
    let what = ["a ", "an ", "the "]
        .iter()
        .find_map(|article| what.strip_prefix(article));
    let mut what = match (values.is_empty(), rule.min, rule.max) {
        (false, ..) => values.join(", "),
        (true, Some(min), Some(max)) => format!("whole number from {min} to {max}"),
        (true, Some(min), None) if rule.kind == Kind::Integer => format!("whole number from {min}"),
        _ => what.unwrap_or(rule.kind.what()).to_owned(),
    };
    if rule.kind != Kind::Map && !key.fields.is_empty() {
        what += ", or mapping";
    }
    if rule.is_secret && rule.certainty.is_some() {
        what += "; a secret";
    }
    what
}
