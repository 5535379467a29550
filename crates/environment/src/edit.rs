//! Changes the release in the text of an `environment.yaml`. All other bytes of the file stay the
//! same.

use std::sync::Arc;

use semver::Version;

use crate::problem::Problem;
use crate::yaml::{self, Source, Value};

/// Returns the text of an `environment.yaml` with a different release. If the file inherits its
/// release, a line is added.
///
/// # Errors
///
/// Returns a problem if the notation of the file does not allow the change.
pub fn with_release(source: &Arc<Source>, release: &Version) -> Result<String, Problem> {
    let document = yaml::parse(Arc::clone(source))?;
    let text = &source.text;
    let new = format!("v{release}");
    let edited = match document.as_mapping().and_then(|keys| keys.pair("release")) {
        // Other aliases may use the text of an alias too. The empty text fails the check below.
        Some((key, value)) if value.span.start < key.span.end && !value.span.is_empty() => {
            String::new()
        }
        Some((_, value)) if !value.span.is_empty() => {
            // Keep the quotes, and the comment after the value.
            let written = &text[value.span.clone()];
            let old = value.text().filter(|old| !old.is_empty());
            let place = match old.and_then(|old| Some((old, written.find(old)?))) {
                Some((old, at)) => value.span.start + at..value.span.start + at + old.len(),
                None => value.span.clone(),
            };
            [&text[..place.start], &new, &text[place.end..]].concat()
        }
        // `release:` without a value.
        Some((key, _)) => match text[key.span.end..].find(':') {
            Some(colon) => {
                let at = key.span.end + colon + 1;
                [&text[..at], " ", &new, &text[at..]].concat()
            }
            None => text.clone(),
        },
        None => with_release_line(text, &document.value, &new),
    };
    let is_changed = yaml::parse(Arc::new(Source {
        path: source.path.clone(),
        text: edited.clone(),
    }))
    .is_ok_and(|edited| edited.get("release").and_then(yaml::Node::text) == Some(&new));
    if is_changed {
        return Ok(edited);
    }
    let place = document.get("release").unwrap_or(&document);
    Err(
        Problem::at(place, "the release cannot be changed automatically here")
            .with_help(format!("write `release: {new}` yourself")),
    )
}

/// Returns a text with a new line for the release: after `inherit`, or else before the first key.
fn with_release_line(text: &str, document: &Value, release: &str) -> String {
    let line = format!("release: {release}\n");
    let Value::Mapping(keys) = document else {
        return [text, &line].concat();
    };
    let after = keys.pair("inherit").map(|(_, value)| value.span.end);
    let before = keys.iter().next().map(|(key, _)| key.span.start);
    match (after, before) {
        (Some(end), _) => match text[end..].find('\n') {
            Some(newline) => {
                let at = end + newline + 1;
                [&text[..at], &line, &text[at..]].concat()
            }
            None => [text, "\n", &line].concat(),
        },
        (None, Some(start)) => [&text[..start], &line, &text[start..]].concat(),
        (None, None) => [text, &line].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str) -> Result<String, String> {
        let source = Arc::new(Source {
            path: "environments/prod/environment.yaml".into(),
            text: text.to_owned(),
        });
        with_release(&source, &Version::new(4, 1, 5)).map_err(|problem| problem.to_string())
    }

    #[test]
    fn only_the_release_changes() {
        for (before, after) in [
            (
                "# a\n\nrelease:   v4.1.3   # why\nregistry: {}\n",
                "# a\n\nrelease:   v4.1.5   # why\nregistry: {}\n",
            ),
            (
                "registry:\n  release: v4.1.3\nrelease: \"v4.1.3\"",
                "registry:\n  release: v4.1.3\nrelease: \"v4.1.5\"",
            ),
            (
                "{ release: 'v4.1.3', inherit: a }\r\n",
                "{ release: 'v4.1.5', inherit: a }\r\n",
            ),
            ("release: ~ # removed\n", "release: v4.1.5 # removed\n"),
            (
                "release:\nprotected: true\n",
                "release: v4.1.5\nprotected: true\n",
            ),
        ] {
            assert_eq!(edited(before).as_deref(), Ok(after));
        }
    }

    #[test]
    fn a_line_is_added_for_an_inherited_release() {
        for (before, after) in [
            (
                "# Production.\ninherit: ../base.yaml # all\nprotected: true\n",
                "# Production.\ninherit: ../base.yaml # all\nrelease: v4.1.5\nprotected: true\n",
            ),
            (
                "inherit: ../base.yaml",
                "inherit: ../base.yaml\nrelease: v4.1.5\n",
            ),
            (
                "# Production.\n---\nprotected: true\ninherit: ../base.yaml\n",
                "# Production.\n---\nprotected: true\ninherit: ../base.yaml\nrelease: v4.1.5\n",
            ),
            (
                "# a\nprotected: true\n",
                "# a\nrelease: v4.1.5\nprotected: true\n",
            ),
            ("# nothing yet\n", "# nothing yet\nrelease: v4.1.5\n"),
            ("", "release: v4.1.5\n"),
        ] {
            assert_eq!(edited(before).as_deref(), Ok(after), "{before:?}");
        }
    }

    #[test]
    fn a_notation_that_cannot_be_edited_is_refused() {
        for text in [
            "{ inherit: ../base.yaml }\n",
            "registry: { project: &name v4.1.3 }\nrelease: *name\n",
        ] {
            let error = edited(text).unwrap_err();
            assert!(
                error.ends_with("the release cannot be changed automatically here; write `release: v4.1.5` yourself"),
                "{error}"
            );
        }
    }
}
