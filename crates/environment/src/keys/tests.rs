//! Tests of the tables of keys, and of the fields for the keys of `environment.yaml`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::findings::Findings;
use crate::read::{Read as _, Reader, keyed};
use crate::yaml::{self, Source};
use crate::{Environment, Facts, Mke3, Operation, Registry};

#[test]
fn a_key_with_a_dot_is_in_quotes_in_a_path() {
    assert_eq!(parts("a.b[].c"), [("a", false), ("b", true), ("c", false)]);
    assert_eq!(
        parts(r#"a."b.c".d"#),
        [("a", false), ("b.c", false), ("d", false)]
    );
    assert_eq!(parts(r#"a[]."b.c""#), [("a", true), ("b.c", false)]);
    assert_eq!(parts(""), []);
}

keyed! {
    /// A section with one key, added as CONTRIBUTING.md says.
    #[derive(Debug, PartialEq, Eq)]
    #[expect(unreachable_pub, reason = "it is used in this file alone")]
    pub struct Recipe {
        /// How long a change may take.
        pub maintenance_window: Option<Duration>,
    }
}

/// CONTRIBUTING.md, "Add a key": one row and one field are enough.
#[test]
fn a_key_is_checked_read_and_described_by_its_row_and_its_field() {
    let row =
        "{ key: maintenance-window, type: one-unit-duration, about: How long a change may take. }";
    let table = Table::read(&format!("groups: [{{ about: an example, keys: [{row}] }}]"));
    let keys = table.unwrap().tree();
    let key = keys.field("maintenance-window").unwrap();
    let document = |text: &str| {
        let path = "environment.yaml".into();
        let text = text.to_owned();
        yaml::parse(Arc::new(Source { path, text })).unwrap()
    };
    let fault = |text: &str| {
        let document = document(text);
        let node = document.get("maintenance-window").unwrap();
        kind::environment_value_fault(key, "maintenance-window", node).map(|fault| fault.rule)
    };
    assert_eq!(fault("maintenance-window: 2h"), None);
    assert_eq!(
        fault("maintenance-window: soon").as_deref(),
        Some("`maintenance-window` is not a duration")
    );
    let merged = document("maintenance-window: 2h");
    let mut reader = Reader {
        root: "/".into(),
        name: "prod",
        merged: &merged,
        findings: &mut Findings::default(),
    };
    let read = Recipe::read(&keys, Some(&merged), &mut reader).unwrap();
    assert_eq!(Recipe::FIELDS, ["maintenance_window"]);
    let two_hours = Some(Duration::from_secs(7200));
    assert_eq!(
        read,
        Recipe {
            maintenance_window: two_hours
        }
    );
    assert_eq!(
        schema::environment_key(key)["description"],
        "How long a change may take."
    );
}

/// CONTRIBUTING.md, "Add a key": a forgotten row or field fails here.
#[test]
fn every_key_of_the_environment_has_a_row_and_a_field() {
    // Keys without a field: the modules `inherit` and `inventory` read them.
    const WITHOUT_FIELD: [&str; 2] = ["inherit", "inventory"];
    let names = |fields: &[&[&str]]| -> BTreeSet<String> {
        let fields = fields.concat().into_iter();
        fields.map(|field| field.replace('_', "-")).collect()
    };
    let mut document = names(&[Environment::FIELDS, Operation::FIELDS, &WITHOUT_FIELD]);
    assert!(
        document.remove("operation"),
        "`operation` is not a key; its fields are"
    );
    for (section, fields) in [
        ("", document),
        ("registry", names(&[Registry::FIELDS])),
        ("facts", names(&[Facts::FIELDS])),
        ("mke3", names(&[Mke3::FIELDS])),
    ] {
        let key = KEYS.at(section).unwrap();
        let rows: BTreeSet<String> = key.names().map(str::to_owned).collect();
        assert_eq!(rows, fields, "rows and fields of `{section}`");
    }
}

#[test]
fn every_key_of_the_environment_has_a_description() {
    fn walk(path: &str, key: &Key) {
        for (name, key) in &key.fields {
            let rule = key
                .rule
                .as_ref()
                .unwrap_or_else(|| panic!("{path}.{name} has no row"));
            assert!(rule.about.is_some(), "{path}.{name}");
            assert_eq!(
                rule.kind == Kind::Word,
                !rule.values.is_empty(),
                "{path}.{name}"
            );
            walk(&format!("{path}.{name}"), key);
        }
    }
    walk("", &KEYS);
}
