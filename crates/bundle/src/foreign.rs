//! Limits for YAML that others write: indexes and charts. The parser keeps every value in memory and takes time by the square of the depth.

/// The deepest nesting. Real charts have less than 20 levels.
const DEEPEST: usize = 100;

/// The largest number of values, roughly.
const MOST: usize = 2_500_000;

/// Parses YAML, unless it is nested too deeply or has too many values.
///
/// # Errors
/// It is outside of the limits, or not what is expected.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_yaml::Error> {
    match check(bytes) {
        Ok(()) => serde_yaml::from_slice(bytes),
        Err(why) => Err(<serde_yaml::Error as serde::de::Error>::custom(why)),
    }
}

/// Counts brackets and separators. Those in quoted texts count as well: the limits are far from what real files have.
fn check(bytes: &[u8]) -> Result<(), &'static str> {
    let (mut depth, mut values) = (0_usize, 0_usize);
    // How many sequences begin in one line: `- - - 1`.
    let mut dashes = 0_usize;
    let mut before = b'\n';
    for &byte in bytes {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'\n' => dashes = 0,
            b' ' if before == b'-' || before == b'?' => dashes += 1,
            _ => {}
        }
        if b"[{,\n".contains(&byte) || (byte == b' ' && before == b':') {
            values += 1;
        }
        if depth.max(dashes) > DEEPEST {
            return Err("it is nested too deeply");
        }
        before = byte;
    }
    match values > MOST {
        true => Err("it has too many values"),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_yaml::Value;

    use super::*;

    #[test]
    fn what_would_take_minutes_or_gigabytes_is_refused_at_once() {
        for text in [
            "a: ".to_owned() + &"[".repeat(200_000),
            "- ".repeat(5_000),
            "? ".repeat(5_000),
        ] {
            let error = parse::<Value>(text.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), "it is nested too deeply");
        }
        let many = format!("a: [{}1]", "1,".repeat(MOST));
        let error = parse::<Value>(many.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "it has too many values");
        let fine = "a: [1, {b: '[', c: -1}]\nd:\n- - 1\n";
        assert!(parse::<Value>(fine.as_bytes()).is_ok());
    }
}
