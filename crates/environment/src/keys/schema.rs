//! The JSON Schema of `environment.yaml`: editors complete keys and report mistakes with it.
//!
//! An editor does not know the release, so the schema contains the keys of all releases. The schema
//! reports only mistakes that Airlock reports too, and allows unknown keys below `config`.

use serde_json::{Map, Value, json};

use super::{Certainty, KEYS, Key, Kind, Rule};

/// Returns the schema of `environment.yaml`, as indented JSON with sorted keys.
///
/// `config` is the table of keys below `config`; `rules` are the names that `accept` may contain.
pub fn schema(config: &Key, rules: &[&str]) -> String {
    let mut schema = environment_key(&KEYS);
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!(
        "An environment of Airlock: environments/<name>/environment.yaml, or a file that one inherits from"
    );
    let keys = &mut schema["properties"];
    keys["accept"]["items"]["enum"] = json!(rules);
    let about = keys["config"]["description"].take();
    keys["config"] = config_key(config);
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
    schema.sort_all_objects();
    format!("{schema:#}\n")
}

/// Returns the schema of a key of `environment.yaml` outside `config`. Unknown keys below it and
/// references are not allowed.
pub(super) fn environment_key(key: &Key) -> Value {
    let mut schema = match &key.rule {
        Some(rule) if key.fields.is_empty() => value(rule),
        rule => {
            let fields = key.fields.iter();
            let fields: Map<_, _> = fields
                .map(|(name, key)| (name.clone(), environment_key(key)))
                .collect();
            let object = json!({
                "type": ["object", "null"],
                "additionalProperties": false,
                "properties": fields,
            });
            match rule {
                Some(rule) if rule.kind != Kind::Map => {
                    json!({ "anyOf": [value(rule), object] })
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

/// Returns the schema of a key below `config`.
fn config_key(key: &Key) -> Value {
    let mut schema = match (&key.item, key.fields.is_empty(), &key.rule) {
        (Some(item), ..) => json!({
            "anyOf": [
                { "type": ["array", "null"], "items": config_key(item) },
                { "$ref": "#/$defs/merged" },
            ],
        }),
        (None, false, _) => {
            let fields = key.fields.iter();
            let fields: Map<_, _> = fields
                .map(|(name, key)| (name.clone(), config_key(key)))
                .collect();
            json!({ "type": ["object", "null"], "properties": fields })
        }
        (None, true, Some(rule)) => value(rule),
        (None, true, None) => json!({}),
    };
    if let Some(rule) = &key.rule {
        let sources = rule.sources.join(", ");
        let certainty = rule.certainty.map(Certainty::name).unwrap_or_default();
        schema["$comment"] = json!(format!("{certainty}: {sources}"));
        let description = description(rule);
        if !description.is_empty() {
            schema["description"] = json!(description);
        }
    }
    schema
}

/// Returns the schema of a single value or a list. A reference is allowed for types of keys below
/// `config`.
fn value(rule: &Rule) -> Value {
    let mut schema = match rule.kind {
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
                { "type": ["array", "null"], "items": or_reference(json!({ "type": "string" })) },
                { "$ref": "#/$defs/merged" },
            ],
        }),
        Kind::Quantity | Kind::Size => {
            or_reference(json!({ "type": ["string", "number", "null"], "pattern": "^[0-9]" }))
        }
        Kind::PortRange => or_reference(pattern("^[0-9]+-[0-9]+$")),
        Kind::Cidr | Kind::Interface => or_reference(pattern("/[0-9]+$")),
        Kind::K0sFolder => or_reference(pattern("^/.*/k0s$")),
        Kind::Any => json!({}),
        Kind::Host | Kind::Address => or_reference(pattern("^[^/@ ]+$")),
        Kind::Url => or_reference(pattern("://")),
        Kind::Pem => or_reference(pattern("-----BEGIN ")),
        Kind::Text if !rule.values.is_empty() => {
            let empty = rule.values.iter().filter(|value| value.is_empty());
            let values = rule.current_values().chain(empty.map(String::as_str));
            or_reference(json!({ "enum": values.collect::<Vec<_>>() }))
        }
        Kind::Text | Kind::Duration => or_reference(json!({ "type": ["string", "null"] })),
        Kind::Path | Kind::Project | Kind::Mke3Version | Kind::EnvironmentName => {
            json!({ "type": ["string", "null"] })
        }
        Kind::Release => pattern(r"^v[0-9]+\.[0-9]+\.[0-9]+"),
        Kind::RegistryAddress => pattern("^[^/@A-Z]+$"),
        Kind::Variable => pattern("^[A-Z_][A-Z0-9_]*$"),
        Kind::OneUnitDuration => pattern("^[0-9]*[1-9][0-9]*[smhd]$"),
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
        schema["default"] = match rule.kind {
            Kind::Boolean | Kind::Integer | Kind::Port => {
                serde_json::from_str(default).unwrap_or_default()
            }
            _ => json!(default),
        };
    }
    schema
}

/// Returns the schema of a string that matches a regular expression.
fn pattern(pattern: &str) -> Value {
    json!({ "type": ["string", "null"], "pattern": pattern })
}

/// Returns a schema that also accepts a reference.
fn or_reference(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "$ref": "#/$defs/reference" }] })
}

/// Returns the releases that have a key below `config`, and how to write a secret.
fn description(rule: &Rule) -> String {
    let mut sentences = Vec::new();
    if let Some(since) = &rule.since {
        sentences.push(format!("From v{since} on."));
    }
    if let Some(until) = &rule.until {
        sentences.push(format!("Up to v{until}."));
    }
    if rule.is_secret {
        sentences.push("A secret: write { $env: NAME } or { $file: path }.".to_owned());
    }
    sentences.join(" ")
}
