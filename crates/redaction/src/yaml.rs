//! Reads and writes Airlock's own YAML files. Written files have no secrets and no control
//! characters, and files with control characters are refused.

use std::borrow::Cow;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Serialize};
use serde_yaml::{Error, Value};

use crate::escape::is_hidden_in_lines;
use crate::{escape_lines, has_hidden_characters, is_hidden, run};

/// Reads one of Airlock's YAML files.
///
/// # Errors
/// The text does not fit `T`, or a value has a control or invisible character other than line ends
/// and tabs.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    read_without(text, &is_hidden_in_lines).map_err(without_values)
}

/// Returns an error without the quoted value: the operator may have named a different file, with a
/// secret.
pub fn without_values(error: Error) -> Error {
    let said = error.to_string();
    let quotes = ["invalid type: ", "invalid value: ", "unknown variant "];
    let begin = quotes.iter().filter_map(|kind| said.find(kind)).min();
    let shortened = begin.and_then(|begin| {
        let quoted = begin + said[begin..].find(['"', '`'])?;
        let (_, expected) = said[quoted..].rsplit_once(", expected ")?;
        Some(format!(
            "{}, expected {expected}",
            said[..quoted].trim_end()
        ))
    });
    shortened.map_or(error, Error::custom)
}

/// Returns the place of the first marker of an unresolved merge conflict, in bytes, and its line.
pub fn conflict(text: &str) -> Option<(usize, &str)> {
    let mut start = 0;
    text.split_inclusive('\n').find_map(|line| {
        let found = (start, line.trim_end());
        start += line.len();
        let is_marker = ["<<<<<<< ", ">>>>>>> "]
            .iter()
            .any(|marker| line.starts_with(marker));
        is_marker.then_some(found)
    })
}

/// Reads one of Airlock's YAML files whose values have one line each.
///
/// # Errors
/// The text does not fit `T`, or a value has a control or invisible character.
pub fn read_lines<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    read_without(text, &is_hidden)
}

/// Returns the text of one of Airlock's YAML files. Control and invisible characters are escaped in
/// all values. Secrets are masked below the keys in `free`, which contain foreign text. Names and
/// digests are not masked, because they are compared later.
///
/// # Errors
/// YAML cannot express the value.
pub fn write(value: &impl Serialize, free: &[&str]) -> Result<String, Error> {
    let mut value = serde_yaml::to_value(value)?;
    clean(&mut value, false, free);
    serde_yaml::to_string(&value)
}

/// Returns foreign text as a file may contain it: masked and escaped.
pub fn free_text(text: &str) -> String {
    escape_lines(&run().mask(text)).into_owned()
}

fn read_without<T: DeserializeOwned>(
    text: &str,
    is_refused: &dyn Fn(char) -> bool,
) -> Result<T, Error> {
    if may_have_more(text) {
        refuse(
            &Value::deserialize(serde_yaml::Deserializer::from_str(text))?,
            is_refused,
        )?;
    }
    serde_yaml::from_str(text)
}

/// Returns whether a value may have hidden characters. Only escapes and blocks of several lines can
/// add characters that the text itself does not have.
fn may_have_more(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.any(|byte| matches!(byte, b'\\' | b'|' | b'>')) || has_hidden_characters(text)
}

fn refuse(value: &Value, is_refused: &dyn Fn(char) -> bool) -> Result<(), Error> {
    match value {
        Value::String(text) => match text.chars().find(|character| is_refused(*character)) {
            Some(character) => Err(Error::custom(format!(
                "`{}` contains the character U+{:04X}, a control character or an invisible one",
                crate::escape(text),
                u32::from(character)
            ))),
            None => Ok(()),
        },
        Value::Sequence(items) => items.iter().try_for_each(|item| refuse(item, is_refused)),
        Value::Mapping(pairs) => pairs.iter().try_for_each(|(key, value)| {
            refuse(key, is_refused)?;
            refuse(value, is_refused)
        }),
        Value::Tagged(tagged) => refuse(&tagged.value, is_refused),
        _ => Ok(()),
    }
}

fn clean(value: &mut Value, is_free: bool, free: &[&str]) {
    match value {
        Value::String(text) => {
            let shown = match is_free {
                true => Cow::Owned(free_text(text)),
                false => escape_lines(text),
            };
            if let Cow::Owned(shown) = shown {
                *text = shown;
            }
        }
        Value::Sequence(items) => items.iter_mut().for_each(|item| clean(item, is_free, free)),
        Value::Mapping(pairs) => {
            for (key, value) in pairs.iter_mut() {
                let is_free = is_free || key.as_str().is_some_and(|key| free.contains(&key));
                clean(value, is_free, free);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Texts = BTreeMap<String, String>;

    #[test]
    fn hidden_characters_are_refused_in_any_encoding() {
        for text in [
            "a: \"b\\x1b[31m\"\n",
            "a: \"b\\e[31m\"\n",
            "a: b\u{202e}c\n",
            "\"a\\u202e\": b\n",
            "a: \"b\\rc\"\n",
            "a: \"\\U000E0041\"\n",
        ] {
            let refused = read::<Texts>(text).unwrap_err().to_string();
            assert!(
                refused.contains("a control character or an invisible one"),
                "{refused}"
            );
            assert!(!refused.chars().any(is_hidden), "{refused}");
            assert!(read_lines::<Texts>(text).is_err());
        }
        // The YAML parser itself refuses these.
        assert!(read::<Texts>("a: b\u{9b}c\n").is_err());
        for text in ["a: \"b\\nc\"\n", "a: |\n  b\n  c\n"] {
            assert!(read::<Texts>(text).is_ok());
            assert!(read_lines::<Texts>(text).is_err());
        }
        for text in [
            "a: C:\\x1b\n",
            "a: b\r\n",
            "a: \"é\\u00e9\"\n",
            "a: '\\u{1b}'\n",
        ] {
            assert!(read_lines::<Texts>(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn written_text_is_masked_and_escaped() {
        run().add("swordfish-in-yaml");
        let texts = Texts::from([
            (
                "error".to_owned(),
                "denied: swordfish-in-yaml\n\u{1b}[2J".to_owned(),
            ),
            ("name".to_owned(), "swordfish-in-yaml\u{202e}".to_owned()),
        ]);
        let text = write(&texts, &["error"]).unwrap();
        let read: Texts = read(&text).unwrap();
        assert_eq!(read["error"], "denied: ***\n\\u{1b}[2J");
        assert_eq!(read["name"], "swordfish-in-yaml\\u{202e}");
    }

    #[test]
    fn values_of_a_file_are_not_quoted() {
        #[derive(Debug, serde::Deserialize)]
        struct Form {
            #[expect(dead_code, reason = "it is not read")]
            version: u32,
        }
        for (text, said) in [
            (
                "hunter2, expected\n",
                "invalid type: string, expected struct Form",
            ),
            (
                "version: 'hunter2'\n",
                "version: invalid type: string, expected u32 at line 1 column 10",
            ),
            ("[hunter2]\n", "invalid type: sequence, expected"),
            ("{}\n", "missing field `version`"),
        ] {
            let error = super::read::<Form>(text).unwrap_err().to_string();
            assert!(
                error.contains(said) && !error.contains("hunter2"),
                "{error}"
            );
        }
    }
}
