//! Generates the JSON Schema and the reference page of `environment.yaml`, with the known keys
//! below `config`.

use crate::keys::KEYS;
use crate::notes::RULES;

/// Returns the JSON Schema as indented JSON. The text is always the same.
pub fn schema() -> String {
    environment::keys::schema(&KEYS, &RULES.map(|(_, name)| name))
}

/// Returns the reference page in Markdown.
pub fn reference() -> String {
    let rules = RULES.map(|(_, name)| name);
    environment::keys::reference_page(&KEYS, &rules, &["version", "airgap.enabled"])
}

#[cfg(test)]
mod tests;
