//! Reads the release of a `mkectl`. Each build serves one release of MKE and must not be used with
//! a different one.

use semver::Version;

use super::Mkectl;
use crate::Error;

impl Mkectl {
    /// Returns the version from `mkectl version`. The time limit is 30 seconds.
    ///
    /// # Errors
    ///
    /// [`Error::NoVersion`] if the output contains none, and the errors of a query.
    pub fn version(&self) -> Result<Version, Error> {
        let answer = self.ask(&["version"])?;
        find_version(&answer).ok_or_else(|| Error::NoVersion {
            command: self.command(["version"]).display().to_string(),
            output: answer,
        })
    }
}

/// Returns the first version with a leading `v` in a text such as `Version: v4.1.5`, or in JSON.
fn find_version(text: &str) -> Option<Version> {
    let is_of_word =
        |character: char| character.is_ascii_alphanumeric() || ".-_+".contains(character);
    text.split(|character| !is_of_word(character))
        .filter_map(|word| word.strip_prefix('v'))
        // A sentence may end after the version.
        .filter_map(|word| Version::parse(word.trim_end_matches('.')).ok())
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_as_every_release_prints_them() {
        for (text, expected) in [
            ("Version: v4.1.0\n", Some("4.1.0")),
            ("Version: v4.1.5-demo", Some("4.1.5-demo")),
            (
                "Version: v4.2.1-rc.3\nCommit: 0a1b2c3\n",
                Some("4.2.1-rc.3"),
            ),
            (r#"{"version":"v4.2.0","commit":"abc"}"#, Some("4.2.0")),
            ("2026-01-01T10:00:00Z INF mkectl v4.1.3.", Some("4.1.3")),
            ("\u{1b}[32mINF\u{1b}[0m Version: v4.1.3\n", Some("4.1.3")),
            ("mkectl v4 and v4.1, then v4.1.5", Some("4.1.5")),
            ("go1.24.1 dev4.1.5 4.1.5", None),
            ("", None),
        ] {
            assert_eq!(
                find_version(text)
                    .map(|version| version.to_string())
                    .as_deref(),
                expected,
                "{text:?}"
            );
        }
    }
}
