//! Refuses JSON whose keys parsers interpret differently.
//!
//! Registries and container runtimes are written in Go. Go matches `Layers` to `layers`, and uses
//! the last of two equal keys. Other parsers do neither. A manifest that uses this has two meanings
//! under one digest.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// Keys of manifests, indexes, descriptors and layout files that the OCI specifications define.
const KNOWN: [&str; 20] = [
    "annotations",
    "architecture",
    "artifactType",
    "blobs",
    "config",
    "data",
    "digest",
    "imageLayoutVersion",
    "layers",
    "manifests",
    "mediaType",
    "os",
    "os.features",
    "os.version",
    "platform",
    "schemaVersion",
    "size",
    "subject",
    "urls",
    "variant",
];

/// Checks the keys of a document at every depth.
///
/// # Errors
/// [`serde_json::Error`] if a key occurs twice in an object, or differs from a known key only in
/// case.
pub(crate) fn check(text: &[u8]) -> Result<(), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    Keys::Structure.deserialize(&mut deserializer)?;
    deserializer.end()
}

/// Interpretation of an object's keys in Go.
#[derive(Clone, Copy)]
enum Keys {
    /// Fields of a structure, matched regardless of case.
    Structure,
    /// Keys of a map, kept as they are.
    Map,
}

impl Keys {
    fn check(self, key: &str) -> Result<(), String> {
        if matches!(self, Self::Map) || KNOWN.contains(&key) {
            return Ok(());
        }
        let folded = folded(key);
        match KNOWN.iter().find(|known| known.to_lowercase() == folded) {
            Some(known) => Err(format!(
                "the key `{}` differs from `{known}` only in case: some readers take it for `{known}`, others ignore it",
                key.escape_debug()
            )),
            None => Ok(()),
        }
    }
}

/// Returns `key` folded like in Go's `encoding/json`. Two letters outside of ASCII fold into ASCII.
fn folded(key: &str) -> String {
    key.replace('\u{17f}', "s")
        .replace('\u{212a}', "k")
        .to_lowercase()
}

impl<'de> DeserializeSeed<'de> for Keys {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Keys {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            self.check(&key).map_err(A::Error::custom)?;
            let inside = match key.as_str() {
                "annotations" => Self::Map,
                _ => self,
            };
            if seen.contains(&key) {
                let key = key.escape_debug();
                return Err(A::Error::custom(format_args!(
                    "the key `{key}` occurs twice"
                )));
            }
            seen.insert(key);
            map.next_value_seed(inside)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_parsers_interpret_differently_are_refused() {
        for (text, expected) in [
            (
                r#"{"layers":[],"Layers":[]}"#,
                "`Layers` differs from `layers`",
            ),
            (r#"{"CONFIG":{}}"#, "`CONFIG` differs from `config`"),
            (r#"{"layer\u017f":[]}"#, "differs from `layers`"),
            (
                r#"{"layers":[{"Digest":"x"}]}"#,
                "`Digest` differs from `digest`",
            ),
            (
                r#"{"manifests":[{"platform":{"OS":"x"}}]}"#,
                "`OS` differs from `os`",
            ),
            (r#"{"size":1,"size":2}"#, "`size` occurs twice"),
            (r#"{"x":{"y":1,"y":2}}"#, "`y` occurs twice"),
            (r#"{"annotations":{"a":"1","a":"2"}}"#, "`a` occurs twice"),
        ] {
            let error = check(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn other_keys_are_allowed() {
        for text in [
            r#"{"schemaVersion":2,"layers":[{"size":1,"urls":["x"]}],"zz":0,"ZZ":1.5}"#,
            r#"{"annotations":{"Size":"1","size":"2"},"x":null,"y":true,"z":-1}"#,
        ] {
            check(text.as_bytes()).unwrap();
        }
    }
}
