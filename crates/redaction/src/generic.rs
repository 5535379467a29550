//! Recognises secrets by their context, such as tokens and passwords in URLs.

use std::ops::Range;

/// Minimum characters of a token after `Bearer`. In prose, shorter words follow it.
const SHORTEST_TOKEN: usize = 20;

/// Parameters of URLs whose values authorise a request.
const PARAMETERS: &[&str] = &[
    "access_token",
    "awsaccesskeyid",
    "client_secret",
    "id_token",
    "password",
    "refresh_token",
    "sig",
    "signature",
    "token",
    "x-amz-credential",
    "x-amz-security-token",
    "x-amz-signature",
    "x-goog-credential",
    "x-goog-signature",
];

/// Returns the ranges of such secrets.
pub(crate) fn find(text: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for place in 0..text.len() {
        let rest = &text[place..];
        let range = match rest[0] {
            b'B' | b'b' => token(rest),
            b':' => userinfo(rest),
            b'?' | b'&' => parameter(rest),
            b'e' if place == 0 || !is_token(text[place - 1]) => web_token(rest),
            _ => None,
        };
        found.extend(range.map(|range| place + range.start..place + range.end));
    }
    found
}

/// Returns the password and the query values of a URL.
pub(crate) fn secrets_of_url(url: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (_, rest) = url.split_once("://").unwrap_or(("", url));
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = before.split('/').next().unwrap_or_default();
    if let Some((userinfo, _)) = authority.rsplit_once('@') {
        let password = userinfo
            .split_once(':')
            .map_or(userinfo, |(_, password)| password);
        found.push(password);
    }
    // A password with an unencoded `/`, `?` or `#` ends at the last `@`. This may mask too much.
    if let Some((userinfo, _)) = rest.rsplit_once('@')
        && let Some((_, password)) = userinfo.split_once(':')
        && !found.contains(&password)
    {
        found.push(password);
    }
    let query = query.split('#').next().unwrap_or_default();
    let values = query.split('&').filter_map(|pair| pair.split_once('='));
    // Short values are flags and numbers, which are common words.
    found.extend(
        values
            .map(|(_, value)| value)
            .filter(|value| value.len() >= 16),
    );
    let decoded: Vec<String> = found.iter().map(|value| percent_decoded(value)).collect();
    found
        .into_iter()
        .map(str::to_owned)
        .chain(decoded)
        .collect()
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut place = 0;
    while place < bytes.len() {
        let digits = text.get(place + 1..place + 3);
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (bytes[place], code) {
            (b'%', Some(code)) => {
                decoded.push(code);
                place += 3;
            }
            (byte, _) => {
                decoded.push(byte);
                place += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Returns the range of the token in `Bearer TOKEN` or `Basic TOKEN`.
fn token(text: &[u8]) -> Option<Range<usize>> {
    let scheme = ["bearer ", "basic "].iter().find(|scheme| {
        let begin = text.get(..scheme.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(scheme.as_bytes()))
    })?;
    let rest = &text[scheme.len()..];
    let is_part = |byte: &&u8| is_token(**byte) || !byte.is_ascii();
    let length = rest.iter().take_while(is_part).count();
    let padded = length
        + rest[length..]
            .iter()
            .take_while(|byte| **byte == b'=')
            .count();
    let is_long = match *scheme {
        "basic " => {
            length >= 8 && padded % 4 == 0 && rest[..length].iter().any(u8::is_ascii_uppercase)
        }
        _ => length >= SHORTEST_TOKEN,
    };
    is_long.then_some(scheme.len()..scheme.len() + padded)
}

/// Returns the range of the password in `://user:password@`.
fn userinfo(text: &[u8]) -> Option<Range<usize>> {
    let authority = text.strip_prefix(b"://")?;
    let is_end = |byte: &u8| b"/?#\"'<>\\ ".contains(byte) || byte.is_ascii_control();
    let length = authority.iter().position(is_end).unwrap_or(authority.len());
    let at = authority[..length].iter().rposition(|byte| *byte == b'@')?;
    let colon = authority[..at].iter().position(|byte| *byte == b':')?;
    // Our own hints write `:PASSWORD`.
    let is_placeholder = authority[..at].ends_with(b":PASSWORD");
    (colon + 1 < at && !is_placeholder).then_some(3 + colon + 1..3 + at)
}

/// Returns the range of the value of one of [`PARAMETERS`].
fn parameter(text: &[u8]) -> Option<Range<usize>> {
    let rest = &text[1..];
    let rest = rest.strip_prefix(b"amp;").unwrap_or(rest);
    let begin = text.len() - rest.len();
    let equals = rest.iter().take(32).position(|byte| *byte == b'=')?;
    let name = std::str::from_utf8(&rest[..equals])
        .ok()?
        .to_ascii_lowercase();
    if !PARAMETERS.contains(&name.as_str()) {
        return None;
    }
    let value = &rest[equals + 1..];
    let is_end =
        |byte: &u8| b"&\"'<>`\\ ,;)".contains(byte) || byte.is_ascii_control() || !byte.is_ascii();
    let length = value.iter().position(is_end).unwrap_or(value.len());
    let begin = begin + equals + 1;
    (length > 0).then_some(begin..begin + length)
}

/// Returns the range of a JSON Web Token: three base64 parts, of which two are JSON objects.
fn web_token(text: &[u8]) -> Option<Range<usize>> {
    if !text.starts_with(b"eyJ") {
        return None;
    }
    let length = text.iter().take_while(|byte| is_token(**byte)).count();
    let mut parts = text[..length].splitn(3, |byte| *byte == b'.');
    let _header = parts.next()?;
    let is_object = parts.next()?.starts_with(b"eyJ");
    (is_object && parts.next().is_some()).then_some(0..length)
}

/// Returns whether a byte may be part of a token (RFC 6750).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte)
}
