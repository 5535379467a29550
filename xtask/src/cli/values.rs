//! Parsers of option values, with the message for a value that is not valid.

use bytesize::ByteSize;
use camino::Utf8PathBuf;
use release::courier::pack::HISTORY;

/// Parses a reason, which must not be empty.
pub(super) fn reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("give a reason".to_owned()),
        reason => Ok(reason.to_owned()),
    }
}

/// Parses the path of an output file. `-` is refused: results go to standard output by default.
pub(super) fn file(text: &str) -> Result<Utf8PathBuf, String> {
    match text {
        "-" => Err("it names no file; write `./-` for a file of that name".to_owned()),
        path => Ok(path.into()),
    }
}

/// Parses an architecture, by any of its names.
pub(super) fn arch(text: &str) -> Result<String, String> {
    release::architecture(text)
        .map(str::to_owned)
        .ok_or_else(|| "write amd64 or arm64".to_owned())
}

/// Parses a rate such as `20MB`, in bytes per second.
pub(super) fn rate(text: &str) -> Result<u64, String> {
    let text = text.strip_suffix("/s").unwrap_or(text);
    if text.parse::<f64>().is_ok_and(|number| number > 0.0) {
        return Err(format!(
            "it has no unit: write {text}MB for {text} megabytes a second"
        ));
    }
    match text.parse::<ByteSize>() {
        Ok(size) if size.as_u64() > 0 => Ok(size.as_u64()),
        Ok(_) => Err("nothing would ever be sent".to_owned()),
        Err(_) => Err("write a number of bytes such as 800kB, 20MB or 16MiB".to_owned()),
    }
}

/// Parses the size of a volume, in bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    match text.parse::<ByteSize>() {
        Ok(size) if size.as_u64() > 0 && !text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(size.as_u64())
        }
        _ => Err("a size is written like 700MB or 4GiB".to_owned()),
    }
}

/// Parses the fingerprint of a key, as `ssh-keygen -l` prints it.
pub(super) fn fingerprint(text: &str) -> Result<String, String> {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    match text.strip_prefix("SHA256:") {
        Some(hash) if hash.len() == 43 && hash.bytes().all(is_base64) => Ok(text.to_owned()),
        _ => Err("it is not a fingerprint: write `SHA256:` and 43 characters".to_owned()),
    }
}

/// Parses the name of a piece, of which 8 to 64 digits are given, or `history`.
pub(super) fn piece(text: &str) -> Result<String, String> {
    if text == HISTORY {
        return Ok(text.to_owned());
    }
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match is_hex && (8..=64).contains(&text.len()) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err("a piece is named by at least 8 hexadecimal digits; `history` names those of the history".to_owned()),
    }
}

/// Parses an interval such as `5m`, in the form that environments use.
pub(super) fn interval(text: &str) -> Result<std::time::Duration, String> {
    environment::parse_duration(text).ok_or_else(|| {
        "write an interval such as 30s, 5m or 1h; the environment goes before `--watch`".to_owned()
    })
}
