//! The JSON Schema of `environment.yaml`, with the known keys below `config`.
//!
//! It is one for all releases, since an editor knows none: a key of some release is a key. What is unknown is let through.

use serde_json::{Map, Value, json};

use crate::keys::{KEYS, Key, Rule};
use crate::kind::Kind;
use crate::notes::RULES;

/// Returns the schema of `environment.yaml`, as indented JSON that is the same at any time.
pub fn schema() -> String {
    let mut config = of(&KEYS);
    config["description"] = json!("The cluster: the keys of spec in mke4.yaml.");
    let text = environment::schema(config);
    // The names of the rules are known here.
    let mut schema: Value = serde_json::from_str(&text).unwrap_or_default();
    schema["properties"]["accept"]["items"]["enum"] = json!(RULES.map(|(_, name)| name));
    format!("{schema:#}\n")
}

fn of(key: &Key) -> Value {
    let mut schema = match (&key.item, key.fields.is_empty(), &key.rule) {
        (Some(item), ..) => json!({
            "anyOf": [
                { "type": ["array", "null"], "items": of(item) },
                { "$ref": "#/$defs/merged" },
            ],
        }),
        (None, false, _) => {
            let fields: Map<String, Value> = key
                .fields
                .iter()
                .map(|(name, key)| (name.clone(), of(key)))
                .collect();
            json!({ "type": ["object", "null"], "properties": fields })
        }
        (None, true, Some(rule)) => of_value(rule),
        (None, true, None) => json!({}),
    };
    if let Some(rule) = &key.rule {
        let (certainty, sources) = (rule.certainty.name(), rule.sources.join(", "));
        schema["$comment"] = json!(format!("{certainty}: {sources}"));
        let about = about(rule);
        if !about.is_empty() {
            schema["description"] = json!(about);
        }
    }
    schema
}

fn of_value(rule: &Rule) -> Value {
    let mut value = match rule.kind {
        Kind::Boolean => json!({ "type": ["boolean", "null"] }),
        Kind::Integer => {
            let mut number = json!({ "type": ["integer", "null"] });
            if let Some(least) = rule.range.0 {
                number["minimum"] = json!(least);
            }
            if let Some(most) = rule.range.1 {
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
        Kind::Text if !rule.values.is_empty() => text(json!({ "enum": rule.values })),
        Kind::Text | Kind::Duration => text(json!({ "type": ["string", "null"] })),
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

/// What a text may be, or the reference that stands for it.
fn text(text: Value) -> Value {
    json!({ "anyOf": [text, { "$ref": "#/$defs/reference" }] })
}

fn about(rule: &Rule) -> String {
    let (since, until) = &rule.releases;
    let mut about = Vec::new();
    if crate::releases()
        .first()
        .is_some_and(|first| first.version() < since)
    {
        about.push(format!("From v{since} on."));
    }
    if let Some(until) = until {
        about.push(format!("Up to v{until}."));
    }
    if rule.is_secret {
        about.push("A secret: write { $env: NAME } or { $file: path }.".to_owned());
    }
    about.join(" ")
}

#[cfg(test)]
mod tests;
