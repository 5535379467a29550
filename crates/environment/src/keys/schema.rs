//! The JSON Schema of `environment.yaml`, for editors: they complete and complain with it before
//! the tool does.
//!
//! It is one for all releases, since an editor knows none: a key of some release is a key. It says
//! less than the tool checks, and nothing that the tool would not say too. What is unknown below
//! `config` is let through.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Certainty, KEYS, Key, Kind, Rule};

/// Returns the schema of `environment.yaml`, as indented JSON whose keys are sorted.
///
/// `config` has what is known of the keys below `config`; `rules` are the names that `accept` may
/// have.
pub fn schema(config: &Key, rules: &[&str]) -> String {
    let mut schema = own(&KEYS);
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!(
        "An environment of Airlock: environments/<name>/environment.yaml, or a file that one inherits from"
    );
    let keys = &mut schema["properties"];
    keys["accept"]["items"]["enum"] = json!(rules);
    let about = keys["config"]["description"].take();
    keys["config"] = of(config);
    keys["config"]["description"] = about;
    schema["$defs"] = json!({
        "reference": {
            "description": "Taken from the environment or from a file when mkectl runs; never written down.",
            "type": "object",
            "additionalProperties": false,
            "minProperties": 1,
            "maxProperties": 1,
            "properties": {
                "$env": { "type": "string", "pattern": "^[A-Z_][A-Z0-9_]*$" },
                "$file": { "type": "string", "minLength": 1 },
            },
        },
        "merged": {
            "description": "A list that is merged into the inherited one.",
            "type": "object",
            "additionalProperties": false,
            "required": ["$merge", "$by"],
            "properties": {
                "$merge": { "type": "array" },
                "$by": { "description": "The key that identifies items.", "type": "string" },
            },
        },
    });
    format!("{:#}\n", sorted(schema))
}

/// Returns the schema of a key of our own: no other key may be below it, and no reference.
pub(super) fn own(key: &Key) -> Value {
    let mut schema = match &key.rule {
        Some(rule) if key.fields.is_empty() => of_value(rule),
        rule => {
            let fields = key.fields.iter();
            let fields: Map<_, _> = fields.map(|(name, key)| (name.clone(), own(key))).collect();
            let object = json!({
                "type": ["object", "null"],
                "additionalProperties": false,
                "properties": fields,
            });
            match rule {
                Some(rule) if rule.kind != Kind::Map => {
                    json!({ "anyOf": [of_value(rule), object] })
                }
                _ => object,
            }
        }
    };
    if let Some(about) = key.rule.as_ref().and_then(|rule| rule.about.as_ref()) {
        schema["description"] = json!(about);
    }
    schema
}

/// Returns the schema of a key of the cluster's configuration.
fn of(key: &Key) -> Value {
    let mut schema = match (&key.item, key.fields.is_empty(), &key.rule) {
        (Some(item), ..) => json!({
            "anyOf": [
                { "type": ["array", "null"], "items": of(item) },
                { "$ref": "#/$defs/merged" },
            ],
        }),
        (None, false, _) => {
            let fields = key.fields.iter();
            let fields: Map<_, _> = fields.map(|(name, key)| (name.clone(), of(key))).collect();
            json!({ "type": ["object", "null"], "properties": fields })
        }
        (None, true, Some(rule)) => of_value(rule),
        (None, true, None) => json!({}),
    };
    if let Some(rule) = &key.rule {
        let sources = rule.sources.join(", ");
        let certainty = rule.certainty.map(Certainty::name).unwrap_or_default();
        schema["$comment"] = json!(format!("{certainty}: {sources}"));
        let about = about(rule);
        if !about.is_empty() {
            schema["description"] = json!(about);
        }
    }
    schema
}

/// Returns the schema of a single value or a list, where references may replace texts.
fn of_value(rule: &Rule) -> Value {
    let mut value = match rule.kind {
        Kind::Boolean => json!({ "type": ["boolean", "null"] }),
        Kind::Integer => {
            let mut number = json!({ "type": ["integer", "null"] });
            if let Some(least) = rule.min {
                number["minimum"] = json!(least);
            }
            if let Some(most) = rule.max {
                number["maximum"] = json!(most);
            }
            number
        }
        Kind::Port => json!({ "type": ["integer", "null"], "minimum": 1, "maximum": 65535 }),
        Kind::Map => json!({ "type": ["object", "null"] }),
        Kind::List => {
            json!({ "anyOf": [{ "type": ["array", "null"] }, { "$ref": "#/$defs/merged" }] })
        }
        Kind::Texts => json!({
            "anyOf": [
                { "type": ["array", "null"], "items": text(json!({ "type": "string" })) },
                { "$ref": "#/$defs/merged" },
            ],
        }),
        Kind::Quantity | Kind::Size => {
            text(json!({ "type": ["string", "number", "null"], "pattern": "^[0-9]" }))
        }
        Kind::PortRange => {
            text(json!({ "type": ["string", "null"], "pattern": "^[0-9]+-[0-9]+$" }))
        }
        Kind::Cidr => text(json!({ "type": ["string", "null"], "pattern": "/[0-9]+$" })),
        Kind::Interface => text(json!({ "type": ["string", "null"], "pattern": "/[0-9]+$" })),
        Kind::K0sFolder => text(json!({ "type": ["string", "null"], "pattern": "^/.*/k0s$" })),
        Kind::Any => json!({}),
        Kind::Host | Kind::Address => {
            text(json!({ "type": ["string", "null"], "pattern": "^[^/@ ]+$" }))
        }
        Kind::Url => text(json!({ "type": ["string", "null"], "pattern": "://" })),
        Kind::Pem => text(json!({ "type": ["string", "null"], "pattern": "-----BEGIN " })),
        Kind::Text if !rule.values.is_empty() => {
            let empty = rule.values.iter().filter(|value| value.is_empty());
            let values = rule.current_values().chain(empty.map(String::as_str));
            text(json!({ "enum": values.collect::<Vec<_>>() }))
        }
        Kind::Text | Kind::Duration => text(json!({ "type": ["string", "null"] })),
        Kind::Path | Kind::Project | Kind::Mke3Version | Kind::EnvironmentName => {
            json!({ "type": ["string", "null"] })
        }
        Kind::Release => pattern(r"^v[0-9]+\.[0-9]+\.[0-9]+"),
        Kind::RegistryAddress => pattern("^[^/@A-Z]+$"),
        Kind::Variable => pattern("^[A-Z_][A-Z0-9_]*$"),
        Kind::Span => pattern("^[0-9]*[1-9][0-9]*[smhd]$"),
        Kind::Word => {
            let words = rule.values.iter().map(|word| json!(word));
            json!({ "enum": words.chain([Value::Null]).collect::<Vec<_>>() })
        }
        Kind::Words => {
            let mut list = json!({ "type": ["array", "null"], "items": { "type": "string" } });
            if let Some(least) = rule.min {
                list["minItems"] = json!(least);
            }
            list
        }
    };
    if let Some(default) = &rule.default {
        value["default"] = match rule.kind {
            Kind::Boolean | Kind::Integer | Kind::Port => {
                serde_json::from_str(default).unwrap_or_default()
            }
            _ => json!(default),
        };
    }
    value
}

/// Returns the schema of a text of a form.
fn pattern(pattern: &str) -> Value {
    json!({ "type": ["string", "null"], "pattern": pattern })
}

/// Returns the schema of a text, or of the reference that represents it.
fn text(text: Value) -> Value {
    json!({ "anyOf": [text, { "$ref": "#/$defs/reference" }] })
}

fn about(rule: &Rule) -> String {
    let mut about = Vec::new();
    if let Some(since) = &rule.since {
        about.push(format!("From v{since} on."));
    }
    if let Some(until) = &rule.until {
        about.push(format!("Up to v{until}."));
    }
    if rule.is_secret {
        about.push("A secret: write { $env: NAME } or { $file: path }.".to_owned());
    }
    about.join(" ")
}

/// Sorts keys, whatever order the JSON library has been built to keep.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(keys) => {
            let keys: BTreeMap<String, Value> = keys
                .into_iter()
                .map(|(key, value)| (key, sorted(value)))
                .collect();
            keys.into_iter().collect::<serde_json::Map<_, _>>().into()
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        value => value,
    }
}
