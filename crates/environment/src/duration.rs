//! Durations with one unit, as operators write them.

use std::time::Duration;

/// Parses a number of seconds, minutes, hours or days, such as `90m`. The number is at least 1.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, seconds) = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)]
        .into_iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))?;
    // Rust's parser also accepts `+5`.
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u32 = number
        .parse()
        .ok()
        .filter(|number| is_number && *number > 0)?;
    Some(Duration::from_secs(u64::from(number) * seconds))
}
