//! Spans of time, as people write them.

use std::time::Duration;

/// Reads a span of time: a number of seconds, minutes, hours or days, such as `90m`.
pub fn span(text: &str) -> Option<Duration> {
    let (number, seconds) = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)]
        .into_iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))?;
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u32 = number
        .parse()
        .ok()
        .filter(|number| is_number && *number > 0)?;
    Some(Duration::from_secs(u64::from(number) * seconds))
}
