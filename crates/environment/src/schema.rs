//! The JSON Schema of `environment.yaml`, for editors: they complete and complain with it before the tool does.
//!
//! It says less than the tool checks, and nothing that the tool would not say too.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Returns the schema of `environment.yaml`, with what is known of the keys below `config`, as indented JSON whose keys
/// are sorted.
///
/// `config` may refer to `#/$defs/reference` and `#/$defs/merged`.
pub fn schema(config: Value) -> String {
    let text = |about: &str| json!({ "description": about, "type": ["string", "null"] });
    let flag = |about: &str| json!({ "description": about, "type": ["boolean", "null"] });
    let word = |about: &str, words: [&str; 2]| json!({ "description": about, "enum": [words[0], words[1], null] });
    let object = |about: &str, properties: Value| {
        json!({
            "description": about,
            "type": ["object", "null"],
            "additionalProperties": false,
            "properties": properties,
        })
    };
    let credentials = json!({
        "env": {
            "description": "NAME, for the variables NAME_USERNAME and NAME_PASSWORD.",
            "type": ["string", "null"],
            "pattern": "^[A-Z_][A-Z0-9_]*$",
        },
    });
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "An environment of Airlock: environments/<name>/environment.yaml, or a file that one inherits from",
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": {
            "inherit": text("The file that this one inherits from, relative to this file. Maps merge, lists and values \
                replace, null removes."),
            "release": {
                "description": "The release that the environment is to run, such as v4.1.5.",
                "type": ["string", "null"],
                "pattern": "^v[0-9]+\\.[0-9]+\\.[0-9]+",
            },
            "registry": object("The registry that the nodes pull from. Once the cluster runs, it cannot be changed.", json!({
                "address": {
                    "description": "host[:port], without a scheme.",
                    "type": ["string", "null"],
                    "pattern": "^[^/@A-Z]+$",
                },
                "project": text("The path below the address, if there is one; without slashes around it."),
                "ca": text("A PEM file with the certificate of the registry's authority, if it is a private one."),
                "push-credentials": object("Where the credentials for pushing are.", credentials.clone()),
                "pull-credentials": object("Where the credentials are that nodes pull with, which mkectl is given.", credentials.clone()),
            })),
            "protected": flag("Whether deploy asks for the environment's name before it changes anything."),
            "rehearsal": flag("Whether the registry is embedded and mkectl is rehearsed."),
            "mkectl": text("The mkectl to use instead of the one on the PATH."),
            "admin-password": {
                "description": "Who gets the administrator's password, which mkectl prints once: a file, a program, or by `ask` whoever sits at the terminal.",
                "anyOf": [
                    { "enum": ["ask"] },
                    object("A file or a program: one of the two.", json!({
                        "file": text("A file that only its owner may read, relative to this one."),
                        "command": {
                            "description": "A program and its arguments. It reads the password from its standard input.",
                            "type": ["array", "null"],
                            "minItems": 1,
                            "items": { "type": "string" },
                        },
                    })),
                ],
            },
            "apply-timeout": {
                "description": "How long mkectl apply may take, such as 90m: s, m, h or d.",
                "type": ["string", "null"],
                "pattern": "^[0-9]*[1-9][0-9]*[smhd]$",
            },
            "mke3": object("The MKE 3 cluster that `migrate` upgrades to this one.", json!({
                "version": text("Its version, such as 3.8.2."),
                "credentials": object("Where the credentials of its administrator are.", credentials),
                "config": text("Its configuration, a TOML file, for mkectl's check before; relative to this file."),
            })),
            "backups": text("The folder that the backups before upgrades go to, relative to this file."),
            "release-matrix": text("The vendor's release matrix, unmodified, for a release whose bundle has none; relative to this file."),
            "kubeconfig": text("The kubeconfig of the cluster, relative to this file; otherwise what KUBECONFIG names, or ~/.mke/mke.kubeconf."),
            "requires": {
                "description": "The environment to which the same lock must have been deployed with success before.",
                "anyOf": [
                    { "type": ["string", "null"] },
                    object("The environment, and how long ago that must have been at least.", json!({
                        "environment": text("Its name."),
                        "minimum-age": {
                            "description": "Such as 24h: s, m, h or d.",
                            "type": ["string", "null"],
                            "pattern": "^[0-9]*[1-9][0-9]*[smhd]$",
                        },
                    })),
                ],
            },
            "record-operator": flag("Whether receipts say who deployed, by git's settings and the login."),
            "accept": {
                "description": "The rules that are not for this environment.",
                "type": ["array", "null"],
                "items": { "type": "string" },
            },
            "facts": object("What you know better of the release than Airlock's table of releases.", json!({
                "private-ca": word("Whether nodes trust a registry with a private authority.", ["supported", "unsupported"]),
                "anonymous-pull": word("Whether nodes pull without credentials only.", ["required", "optional"]),
                "external-address": word("Whether config.apiServer.externalAddress must be set.", ["required", "optional"]),
            })),
            "inventory": {
                "description": "A file of machines, as CSV or YAML: address, role, user, zone and more.",
                "anyOf": [
                    { "type": ["string", "null"] },
                    object("The file, and values for the columns that it leaves out.", json!({
                        "file": text("The file, relative to this one."),
                        "defaults": { "type": ["object", "null"] },
                    })),
                ],
            },
            "config": config,
        },
        "$defs": {
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
                    "$by": { "description": "The key that tells items apart.", "type": "string" },
                },
            },
        },
    });
    format!("{:#}\n", sorted(schema))
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
