//! Parses YAML from third parties, such as indexes and charts, within limits. serde_yaml keeps
//! every value in memory, and its time grows with the square of the depth.

use saphyr_parser::{Event, Parser};
use serde::de::{DeserializeOwned, Error as _};

/// Maximum depth.
const DEEPEST: usize = 100;

/// Maximum number of values.
const MOST: usize = 2_500_000;

/// Parses YAML within the limits.
///
/// # Errors
/// [`serde_yaml::Error`] if the text exceeds a limit, or does not have the type `T`.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_yaml::Error> {
    check(bytes)
        .map_err(serde_yaml::Error::custom)
        .and_then(|()| serde_yaml::from_slice(bytes))
}

/// Parses the events of a text, and stops at the first that exceeds a limit.
fn check(bytes: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let mut depth = 0_usize;
    for (number, event) in Parser::new_from_str(text).enumerate() {
        match event.map_err(|error| error.to_string())?.0 {
            Event::SequenceStart(..) | Event::MappingStart(..) => depth += 1,
            Event::SequenceEnd | Event::MappingEnd => depth -= 1,
            _ => {}
        }
        if depth > DEEPEST {
            return Err("it is nested too deeply".to_owned());
        }
        if number > MOST {
            return Err("it has too many values".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_yaml::Value;

    use super::*;

    #[test]
    fn texts_that_would_take_minutes_or_gigabytes_are_refused_early() {
        let began = Instant::now();
        for text in [
            "a: ".to_owned() + &"[".repeat(200_000),
            // Brackets in quotes close nothing.
            "a: ".to_owned() + &"[']',".repeat(200_000),
            "- ".repeat(5_000),
            "? ".repeat(5_000),
        ] {
            let error = parse::<Value>(text.as_bytes()).unwrap_err().to_string();
            // The parser has a limit of its own for brackets without a line break.
            let is_named =
                error == "it is nested too deeply" || error.starts_with("recursion limit");
            assert!(is_named, "{error}");
        }
        let many = format!("a: [{}1]", "1,".repeat(MOST));
        let error = parse::<Value>(many.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "it has too many values");
        assert!(began.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn brackets_and_hyphens_in_texts_nest_nothing() {
        let text = format!(
            "changes: \"{}\"\nnotes: a {}\nliteral: |\n{}",
            "- kind: added\\n".repeat(500),
            "[ - ".repeat(500),
            "  [ {\n".repeat(500)
        );
        parse::<Value>(text.as_bytes()).unwrap();
    }
}
