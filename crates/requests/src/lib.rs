//! Decides what a failed HTTP request means and when it is repeated.
//!
//! Downloads and registry clients have error types of their own. Both need the same answers, which
//! are here:
//!
//! - the cause of a failure;
//! - whether a status is transient;
//! - how long to wait before the next attempt;
//! - a URL without its secrets;
//! - the log entry of a request.
//!
//! This crate must not know registries, bundles or the clock.

mod cause;
mod traced;

use std::error::Error;
use std::io;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use url::Url;

pub use cause::Cause;
pub use traced::traced;

/// Returns whether a request that got this status may succeed later: 408, 425, 429 and 5xx, except
/// 501 and 505.
pub fn is_transient(status: StatusCode) -> bool {
    match status {
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => false,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => true,
        status => status.is_server_error(),
    }
}

/// Returns the pause after `failures` consecutive failures: `first`, doubled with each further
/// failure, at most `longest`.
pub fn back_off(first: Duration, longest: Duration, failures: u32) -> Duration {
    let exponent = failures.saturating_sub(1).min(16);
    first.saturating_mul(1 << exponent).min(longest)
}

/// Returns the pause that a response asks for, by `Retry-After` (seconds or a date) or by a rate
/// limit's reset time.
///
/// A date is compared with the response's own `Date`, because clocks differ in places without a
/// network. A date in the past means no pause.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let Some(text) = headers.get(RETRY_AFTER) else {
        return until_reset(headers);
    };
    let text = text.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    let now = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    Some(until.duration_since(now).unwrap_or_default())
}

/// Returns the time until a rate limit resets. Docker Hub and others name its Unix time in
/// `x-retry-after` or `x-ratelimit-reset`; some name the seconds until then.
fn until_reset(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    let reset = number("x-retry-after").or_else(|| number("x-ratelimit-reset"))?;
    let now = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    let now = now.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    // A value below a year is a number of seconds from now.
    const A_YEAR: u64 = 366 * 24 * 3600;
    Some(Duration::from_secs(match reset < A_YEAR {
        true => reset,
        false => reset.saturating_sub(now),
    }))
}

/// Returns the quota in the headers `ratelimit-limit` and `ratelimit-remaining`, as text: `100 in 6
/// h, 0 left`.
pub fn quota(headers: &HeaderMap) -> Option<String> {
    let read = |name: &str| {
        let text = headers.get(name)?.to_str().ok()?;
        let (count, window) = text.split_once(";w=").unwrap_or((text, ""));
        Some((
            count.trim().parse::<u64>().ok()?,
            window.trim().parse::<u64>().ok(),
        ))
    };
    let (limit, window) = read("ratelimit-limit")?;
    let mut text = limit.to_string();
    if let Some(window) = window {
        text.push_str(&format!(" in {}", rounded(Duration::from_secs(window))));
    }
    if let Some((remaining, _)) = read("ratelimit-remaining") {
        text.push_str(&format!(", {remaining} left"));
    }
    Some(text)
}

/// Returns a duration in its largest whole unit, rounded up: `6 h`, `15 min`, `40 s`.
pub fn rounded(span: Duration) -> String {
    match span.as_secs() {
        seconds if seconds >= 3600 => format!("{} h", seconds.div_ceil(3600)),
        seconds if seconds >= 60 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{seconds} s"),
    }
}

/// Text shown instead of a URL in which secrets cannot be located.
pub const UNREADABLE: &str = "a URL that is not valid";

/// Returns a URL that may be shown and stored: without credentials, query and fragment, which may
/// contain secrets.
pub fn shown(url: &Url) -> String {
    // `user:password@host` without a scheme is valid: its scheme is the user.
    if url.cannot_be_a_base() && url.path().contains('@') {
        return UNREADABLE.to_owned();
    }
    let mut shown = url.clone();
    // These fail only for URLs without a host, which have no credentials.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    shown.into()
}

/// Finds the error of type `E` among `error` and its causes.
pub fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// Iterates over an error and its causes, the outermost first.
///
/// An [`io::Error`] that wraps an error skips it in `source()` and returns that error's source.
/// This iterator includes the wrapped error.
pub fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        let wrapped = error.downcast_ref().and_then(io::Error::get_ref);
        match wrapped {
            Some(wrapped) => Some(wrapped as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

/// Returns an error and all its causes in one line, joined by `: `.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let seconds = |failures| {
            back_off(Duration::from_secs(1), Duration::from_secs(30), failures).as_secs()
        };
        assert_eq!([1, 2, 3, 5, 6, 50].map(seconds), [1, 2, 4, 16, 30, 30]);
    }

    #[test]
    fn transient_statuses_are_distinguished_from_final_ones() {
        for (status, expected) in [
            (400, false),
            (403, false),
            (404, false),
            (408, true),
            (425, true),
            (429, true),
            (500, true),
            (501, false),
            (502, true),
            (505, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(is_transient(status), expected, "{status}");
        }
    }

    #[test]
    fn reads_both_forms_of_retry_after() {
        const NOW: &str = "Sun, 22 Nov 2026 10:00:00 GMT";
        let wait = |date: Option<&str>, asked: &str| {
            let date = date.map(|date| (DATE, date.parse().unwrap()));
            let asked = (RETRY_AFTER, asked.parse().unwrap());
            retry_after(&date.into_iter().chain([asked]).collect())
        };
        for (date, asked, expected) in [
            (None, "7", Some(7)),
            (None, "99999999999", Some(99_999_999_999)),
            (Some(NOW), "Sun, 22 Nov 2026 15:00:00 GMT", Some(18_000)),
            (Some(NOW), "Sun, 22 Nov 2026 10:00:09 GMT", Some(9)),
            (Some(NOW), "Sun, 22 Nov 2026 09:00:00 GMT", Some(0)),
            (None, "Sun, 22 Nov 2026 10:00:09 GMT", None),
            (None, "soon", None),
        ] {
            let expected = expected.map(Duration::from_secs);
            assert_eq!(wait(date, asked), expected, "{asked}");
        }
    }

    #[test]
    fn limits_are_read_as_docker_hub_writes_them() {
        let headers = |pairs: &[(&'static str, &str)]| -> HeaderMap {
            let pairs = pairs.iter();
            let pairs = pairs.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            pairs.collect()
        };
        let hub = headers(&[
            ("ratelimit-limit", "100;w=21600"),
            ("ratelimit-remaining", "0;w=21600"),
            ("date", "Sun, 22 Nov 2026 10:00:00 GMT"),
            ("x-retry-after", "1795342200"),
        ]);
        assert_eq!(quota(&hub).as_deref(), Some("100 in 6 h, 0 left"));
        assert_eq!(retry_after(&hub), Some(Duration::from_secs(600)));
        assert_eq!(quota(&headers(&[])), None);
    }

    #[test]
    fn urls_are_shown_without_secrets() {
        for (url, expected) in [
            (
                "https://user:secret@host.example:8443/a/b?token=secret#x",
                "https://host.example:8443/a/b",
            ),
            ("user:secret@host.example/x", UNREADABLE),
        ] {
            assert_eq!(shown(&Url::parse(url).unwrap()), expected);
        }
    }

    #[test]
    fn a_wrapped_error_is_found_below_an_io_error() {
        let inner = rustls::Error::HandshakeNotComplete;
        let error = io::Error::other(io::Error::other(inner.clone()));
        assert_eq!(find::<rustls::Error>(&error), Some(&inner));
        assert!(find::<rustls::Error>(&io::Error::other("plain")).is_none());
    }
}
