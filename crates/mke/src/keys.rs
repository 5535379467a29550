//! The known keys of `MkeConfig.spec`, as a tree made from the table in `keys.yaml`.

use std::sync::LazyLock;

use environment::keys::{Key, Table};

/// The keys below `spec`.
pub(crate) static KEYS: LazyLock<Key> = LazyLock::new(|| {
    let table = Table::read(include_str!("keys.yaml"));
    table
        .expect("keys.yaml is part of the program and read by its tests")
        .tree()
});

/// Returns the default of the key at a path.
pub(crate) fn default_of(path: &str) -> Option<&'static str> {
    KEYS.at(path)?.rule.as_ref()?.default.as_deref()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn each_default_is_valid_for_its_key() {
        fn walk(path: &str, key: &Key) {
            if let Some(rule) = &key.rule {
                assert!(
                    rule.until.is_none() || rule.since <= rule.until,
                    "{path}: no release has it"
                );
                assert!(!rule.sources.is_empty(), "{path}");
                if let Some(default) = &rule.default {
                    let node =
                        environment::yaml::parse(std::sync::Arc::new(environment::yaml::Source {
                            path: "keys.yaml".into(),
                            text: default.clone(),
                        }))
                        .unwrap();
                    assert_eq!(
                        environment::keys::config_value_fault(rule, &node),
                        None,
                        "{path}"
                    );
                }
            }
            for (name, key) in &key.fields {
                walk(&format!("{path}.{name}"), key);
            }
            if let Some(item) = &key.item {
                walk(&format!("{path}[]"), item);
            }
        }
        walk("", &KEYS);
        assert!(KEYS.fields.len() > 20);
        assert_eq!(default_of("network.serviceCIDR"), Some("10.96.0.0/16"));
        assert_eq!(default_of("hosts[].ssh.port"), Some("22"));
        assert_eq!(default_of("hosts[].ssh.prot"), None);
    }

    /// Items 16 and 17: each fact has a certainty and a source with an address, and a documented
    /// fact has a source of the vendor.
    #[test]
    fn every_key_has_a_certainty_and_sources_that_fit_it() {
        fn walk(path: &str, key: &Key, known: &BTreeMap<String, String>) -> usize {
            let mut count = 0;
            if let Some(rule) = &key.rule {
                let certainty = rule.certainty.unwrap_or_else(|| panic!("{path}"));
                let cautions = rule.cautions.iter();
                let facts = cautions.map(|caution| (&caution.source, caution.certainty));
                for (sources, certainty) in facts.chain([(&rule.sources, certainty)]) {
                    crate::table::tests::assert_sourced(path, sources, certainty, known);
                    count += 1;
                }
            }
            let fields = key.fields.iter();
            let fields = fields.map(|(name, key)| walk(&format!("{path}.{name}"), key, known));
            count += fields.sum::<usize>();
            count
                + key
                    .item
                    .iter()
                    .map(|item| walk(path, item, known))
                    .sum::<usize>()
        }
        let sources = Table::read(include_str!("keys.yaml")).unwrap().sources;
        let count = walk("", &KEYS, &sources);
        assert!(count > 250, "{count}");
    }
}
