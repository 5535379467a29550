//! What a registry asks its callers for, read from the challenges of a 401.
//!
//! Registries write them in many ways, and name token servers that are not what they seem. So they are read leniently, but for one rule:
//! credentials go by TLS, or do not leave this machine.

use http_auth::{ChallengeParser, ChallengeRef};
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use url::Url;

use crate::retry::Failure;
use crate::{Endpoint, Error, Place};

/// What the registry asks its callers for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Demand {
    Basic,
    Bearer {
        realm: Url,
        service: Option<String>,
        /// The scope that the registry named itself; kept beside ours, since some registries have scopes of their own.
        scope: Option<String>,
    },
}

/// Reads the challenges of a 401; of several, the token is preferred, since it does not send the password along with each request.
pub(super) fn read_demand(
    headers: &HeaderMap,
    endpoint: &Endpoint,
    at: &Place,
) -> Result<Option<Demand>, Failure> {
    let mut basic = None;
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let Ok(value) = value.to_str() else { continue };
        for challenge in ChallengeParser::new(value) {
            let Ok(challenge) = challenge else { break };
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Demand::Basic);
            }
            if challenge.scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = parameter(&challenge, "realm")
            {
                let trusted = trusted_realm(&realm, endpoint).ok_or_else(|| {
                    Failure::last(Error::UntrustedRealm {
                        at: Box::new(at.clone()),
                        realm: realm.clone(),
                    })
                })?;
                return Ok(Some(Demand::Bearer {
                    realm: trusted,
                    service: parameter(&challenge, "service"),
                    scope: parameter(&challenge, "scope"),
                }));
            }
        }
    }
    Ok(basic)
}

/// Returns the token server's URL if credentials may be sent there: by TLS, or to this machine for a registry on this machine.
fn trusted_realm(realm: &str, endpoint: &Endpoint) -> Option<Url> {
    // A realm has to be absolute; the registry's own URL only helps to read it.
    let named = Url::parse(realm).ok()?;
    let mut url = endpoint.resolve(&endpoint.url("/v2/"), realm)?;
    // Who names the scheme rightly knows the port, too: it is the registry's only if that is said.
    if url.scheme() == named.scheme() {
        url.set_port(named.port()).ok()?;
    }
    Some(url)
}

/// Returns the scopes that a 401 asks for.
pub(super) fn scopes_asked(headers: &HeaderMap) -> Vec<String> {
    let mut asked = Vec::new();
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let Ok(value) = value.to_str() else { continue };
        for challenge in ChallengeParser::new(value).map_while(Result::ok) {
            let scope = parameter(&challenge, "scope").unwrap_or_default();
            asked.extend(scope.split_whitespace().map(str::to_owned));
        }
    }
    asked
}

/// Tells whether a 401 says that the token is good and does not reach for this request: the account may not do it.
pub(crate) fn says_insufficient_scope(headers: &HeaderMap) -> bool {
    headers.get_all(WWW_AUTHENTICATE).iter().any(|value| {
        value.to_str().is_ok_and(|value| {
            ChallengeParser::new(value)
                .map_while(Result::ok)
                .any(|challenge| {
                    parameter(&challenge, "error").as_deref() == Some("insufficient_scope")
                })
        })
    })
}

fn parameter(challenge: &ChallengeRef<'_>, name: &str) -> Option<String> {
    challenge
        .params
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.to_unescaped())
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_they_come() {
        let endpoint = Endpoint::new("registry.example.com:5000", None).unwrap();
        let at = Place::new("GET", &endpoint.url("/v2/"), "");
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Demand::Bearer {
                realm: Url::parse(realm).unwrap(),
                service: service.map(str::to_owned),
                scope: None,
            })
        };
        for (values, demand) in [
            (vec![], None),
            (vec!["Negotiate"], None),
            (vec!["basic realm=x"], Some(Demand::Basic)),
            (vec!["Basic"], Some(Demand::Basic)),
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
            // GitLab's registry has a port of its own, and its tokens come from the usual one of the same host.
            (
                vec!["Bearer realm=\"https://registry.example.com/jwt/auth\""],
                bearer("https://registry.example.com/jwt/auth", None),
            ),
        ] {
            let mut headers = HeaderMap::new();
            for value in &values {
                headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
            }
            let found = read_demand(&headers, &endpoint, &at).unwrap();
            assert_eq!(found, demand, "{values:?}");
        }
    }
}
