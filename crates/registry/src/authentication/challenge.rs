//! Parses the challenges of a 401 response (`WWW-Authenticate`).
//!
//! Registries write them in many ways, so parsing is lenient. One rule is strict: credentials are
//! sent over TLS, or not at all.

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use url::Url;

use crate::retry::Failure;
use crate::{Endpoint, Error, RequestInfo};

/// A challenge that Airlock supports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer {
        realm: Url,
        service: Option<String>,
        /// The scope that the registry named. It is requested in addition to ours, since some
        /// registries have scopes of their own.
        scope: Option<String>,
    },
}

/// Returns the preferred challenge of a 401: a token before a password, because a password would be
/// sent with each request.
///
/// # Errors
///
/// [`Error::UntrustedRealm`] if the only token server must not receive credentials.
pub(super) fn read_challenge(
    headers: &HeaderMap,
    endpoint: &Endpoint,
    at: &RequestInfo,
) -> Result<Option<Challenge>, Failure> {
    let mut basic = None;
    let mut untrusted = None;
    for challenge in challenges(headers) {
        if challenge.scheme.eq_ignore_ascii_case("basic") {
            basic = Some(Challenge::Basic);
        }
        if challenge.scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = challenge.parameter("realm")
        {
            match trusted_realm(&realm, endpoint) {
                Some(realm) => {
                    return Ok(Some(Challenge::Bearer {
                        realm,
                        service: challenge.parameter("service"),
                        scope: challenge.parameter("scope"),
                    }));
                }
                None => untrusted = Some(realm),
            }
        }
    }
    match (basic, untrusted) {
        (None, Some(realm)) => Err(Failure::permanent(Error::UntrustedRealm {
            at: Box::new(at.clone()),
            realm,
        })),
        (basic, _) => Ok(basic),
    }
}

/// Returns the token server's URL if credentials may be sent there: over TLS, or to this machine
/// for a registry on this machine.
fn trusted_realm(realm: &str, endpoint: &Endpoint) -> Option<Url> {
    // A realm must be absolute. `resolve` corrects the scheme behind a proxy.
    let named = Url::parse(realm).ok()?;
    let mut url = endpoint.resolve(&endpoint.url("/v2/"), realm)?;
    // A realm with the right scheme has the right port too, so the registry's port must not replace
    // a missing one.
    if url.scheme() == named.scheme() {
        url.set_port(named.port()).ok()?;
    }
    Some(url)
}

/// Returns the schemes of a 401 that Airlock does not support: `Negotiate`, `NTLM`.
pub(super) fn unsupported_schemes(headers: &HeaderMap) -> Vec<String> {
    let schemes = challenges(headers).into_iter().map(|one| one.scheme);
    let is_known =
        |scheme: &str| ["basic", "bearer"].contains(&scheme.to_ascii_lowercase().as_str());
    let mut schemes: Vec<String> = schemes
        .filter(|scheme| {
            !is_known(scheme)
                && scheme
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
        .collect();
    schemes.dedup();
    schemes
}

/// Returns the scopes that a 401 asks for.
pub(super) fn scopes_asked(headers: &HeaderMap) -> Vec<String> {
    let scopes = challenges(headers).into_iter();
    let scopes = scopes.filter_map(|challenge| challenge.parameter("scope"));
    let words =
        |scope: String| -> Vec<String> { scope.split_whitespace().map(str::to_owned).collect() };
    scopes.flat_map(words).collect()
}

/// Returns whether a 401 accepts the token but not its rights: the account may not do this.
pub(crate) fn says_insufficient_scope(headers: &HeaderMap) -> bool {
    challenges(headers)
        .iter()
        .any(|challenge| challenge.parameter("error").as_deref() == Some("insufficient_scope"))
}

/// A challenge: its scheme, and the parameters that could be parsed.
struct RawChallenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl RawChallenge {
    fn parameter(&self, name: &str) -> Option<String> {
        let mut named = (self.parameters.iter()).filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let (_, value) = named.next()?;
        Some(value.clone()).filter(|value| !value.is_empty())
    }
}

/// Parses all challenges of all headers. Libraries for this grammar reject a header for one
/// character, such as a `/` in an unquoted realm.
fn challenges(headers: &HeaderMap) -> Vec<RawChallenge> {
    let mut challenges: Vec<RawChallenge> = Vec::new();
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let begin = challenges.len();
        for part in parts(&String::from_utf8_lossy(value.as_bytes())) {
            let (word, rest) = part.split_once(char::is_whitespace).unwrap_or((part, ""));
            let rest = rest.trim_start();
            // `realm = "x"` continues a challenge, and `Basic realm="x"` begins one.
            let parameter = match word.contains('=') || rest.starts_with('=') {
                true => part,
                false => {
                    challenges.push(RawChallenge {
                        scheme: word.to_owned(),
                        parameters: Vec::new(),
                    });
                    rest
                }
            };
            if let (Some((name, value)), Some(challenge)) =
                (parameter.split_once('='), challenges[begin..].last_mut())
            {
                let parameter = (name.trim().to_owned(), unquoted(value.trim()));
                challenge.parameters.push(parameter);
            }
        }
    }
    challenges
}

/// Splits a header at the commas outside quotes.
fn parts(text: &str) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    let is_end = |c: char| {
        if c == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && c == '\\' && !escaped;
        c == ',' && !quoted
    };
    let trimmed = text.split(is_end).map(str::trim);
    trimmed.filter(|part| !part.is_empty()).collect()
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"') else {
        return value.to_owned();
    };
    let mut text = String::new();
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => break,
            '\\' => text.extend(characters.next()),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_parsed_leniently() {
        let endpoint = Endpoint::new("registry.example.com:5000", None).unwrap();
        let at = RequestInfo::new("GET", &endpoint.url("/v2/"), "");
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer {
                realm: Url::parse(realm).unwrap(),
                service: service.map(str::to_owned),
                scope: None,
            })
        };
        for (values, challenge) in [
            (vec![], None),
            (vec!["Negotiate"], None),
            (vec!["basic realm=x"], Some(Challenge::Basic)),
            (vec!["Basic"], Some(Challenge::Basic)),
            (
                vec!["Basic realm=\"x\", Bearer realm=\"https://t.example.com/\",service=s"],
                bearer("https://t.example.com/", Some("s")),
            ),
            (
                vec!["Basic realm=x", "BEARER REALM=\"https://t.example.com/\""],
                bearer("https://t.example.com/", None),
            ),
            // A registry behind a proxy that ends TLS names itself as it sees itself.
            (
                vec!["Bearer realm=\"http://registry.example.com/service/token\""],
                bearer("https://registry.example.com:5000/service/token", None),
            ),
            // GitLab's registry has a port of its own, and its tokens come from the usual one of
            // the same host.
            (
                vec!["Bearer realm=\"https://registry.example.com/jwt/auth\""],
                bearer("https://registry.example.com/jwt/auth", None),
            ),
            (vec!["Basic realm=/"], Some(Challenge::Basic)),
            (
                vec!["Basic realm=Sonatype Nexus Repository"],
                Some(Challenge::Basic),
            ),
            (vec!["Basic realm=\"Köln\""], Some(Challenge::Basic)),
            (vec!["Basic realm=\"unfinished"], Some(Challenge::Basic)),
            (vec!["BASIC,"], Some(Challenge::Basic)),
            (
                vec![", ,Basic realm = \"x, y\" , charset=\"UTF-8\""],
                Some(Challenge::Basic),
            ),
            (vec!["Negotiate, Basic realm=a/b"], Some(Challenge::Basic)),
            (vec!["NTLM TlRMTVNTUAAB=", "Basic"], Some(Challenge::Basic)),
            (vec!["Bearer", "Basic realm=x"], Some(Challenge::Basic)),
            (
                vec![
                    "Bearer realm=\"http://elsewhere.example.com/\"",
                    "Basic realm=x",
                ],
                Some(Challenge::Basic),
            ),
            (
                vec!["Basic realm=/, Bearer realm=https://t.example.com/token?a=b,service=a b"],
                bearer("https://t.example.com/token?a=b", Some("a b")),
            ),
            (
                vec!["Bearer realm = \"https://t.example.com/\", service = \"a \\\"b\\\", c\""],
                bearer("https://t.example.com/", Some("a \"b\", c")),
            ),
            (
                vec!["Bearer service=\"é\",realm=\"https://t.example.com/\",,error=x/y"],
                bearer("https://t.example.com/", Some("é")),
            ),
            (vec!["realm=\"x\""], None),
            (vec!["\"", "=", "Basics realm=x"], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in &values {
                let value = reqwest::header::HeaderValue::from_bytes(value.as_bytes()).unwrap();
                headers.append(WWW_AUTHENTICATE, value);
            }
            let found = read_challenge(&headers, &endpoint, &at).unwrap();
            assert_eq!(found, challenge, "{values:?}");
        }
    }
}
