//! Words the mistakes in a set's file in the terms of its author: keys and lists.

/// A mistake in a set's file. Its position is in the error around it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Mistake(String);

impl From<serde_yaml::Error> for Mistake {
    fn from(error: serde_yaml::Error) -> Self {
        let text = error.to_string();
        let place = error.location().map(|place| {
            let (line, column) = (place.line(), place.column());
            format!(" at line {line} column {column}")
        });
        let text = place.and_then(|place| text.strip_suffix(&place));
        let text = text.map_or_else(|| error.to_string(), str::to_owned);
        Self(unknown_key(&text).unwrap_or_else(|| {
            text.replace("expected a sequence", "expected a list")
                .replace("expected u8", "expected a number from 0 to 255")
        }))
    }
}

/// Returns the message for an unknown key; `None` for other mistakes.
fn unknown_key(text: &str) -> Option<String> {
    let (before, rest) = text.split_once("unknown field `")?;
    let (key, expected) = rest.split_once("`, expected ")?;
    let known = expected.split('`').skip(1).step_by(2);
    let distance = |known: &str| strsim::damerau_levenshtein(&key.to_lowercase(), known);
    let nearest = known.min_by_key(|known| distance(known))?;
    // Like for keys of environments: a third of the letters may differ.
    let is_near = distance(nearest) <= key.len().max(nearest.len()) / 3;
    Some(match is_near {
        true => format!("{before}unknown key `{key}`; did you mean `{nearest}`?"),
        false => format!("{before}unknown key `{key}`, expected {expected}"),
    })
}

#[cfg(test)]
mod tests {
    use crate::set::Set;

    #[test]
    fn mistakes_name_keys_and_lists() {
        for (text, expected) in [
            (
                "signatures: true\nimages:\n- x\nchart: []\n",
                "unknown key `chart`; did you mean `charts`?",
            ),
            (
                "images:\n- { reference: x, platform: [linux/amd64] }\n",
                "images[0]: unknown key `platform`; did you mean `platforms`?",
            ),
            (
                "bundles: [{ url: 'https://h.example/b.tar.gz', name: x }]\n",
                "bundles[0]: unknown key `name`, expected one of `url`, `sha256`, `key`, `signature`, `as`, `strip`",
            ),
            (
                "images: nginx\n",
                "images: invalid type: string \"nginx\", expected a list",
            ),
        ] {
            let error = Set::parse(text, "x.set.yaml".into()).unwrap_err();
            let source = std::error::Error::source(&error).unwrap();
            assert_eq!(source.to_string(), expected);
        }
    }
}
