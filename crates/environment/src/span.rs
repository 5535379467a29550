//! Spans of time, as people write them.

use std::time::Duration;

use crate::problem::Problem;
use crate::yaml::Node;

/// Reads a span of time: a number of seconds, minutes, hours or days, such as `90m`.
pub(crate) fn span(node: &Node, name: &str) -> Result<Duration, Problem> {
    let wrong = || {
        Problem::at(node, format!("`{name}` is not a span of time"))
            .with_help("write it like `90m`: a number from 1 on, and `s`, `m`, `h` or `d`")
    };
    let text = node.text().ok_or_else(wrong)?;
    let (number, seconds) = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)]
        .into_iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))
        .ok_or_else(wrong)?;
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    let number: u32 = number
        .parse()
        .ok()
        .filter(|number| is_number && *number > 0)
        .ok_or_else(wrong)?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}
