//! Who is there: challenges, tokens, and the rule that credentials go to nobody who was not named by the registry over TLS.
//!
//! Nothing is sent before the registry asks. What it asked for is remembered, so that later requests carry it from the start
//! and a large upload is not sent twice. A token is fetched once for everybody who waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_auth::{ChallengeParser, ChallengeRef};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use secrecy::ExposeSecret;
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use crate::response::read_body;
use crate::retry::Failure;
use crate::{Answer, Credentials, Endpoint, Error, Place, Settings, classify};

/// What a token is asked for, in the words of the token protocol: `repository:mke/calico/node:pull,push`.
/// Empty for requests about the registry as a whole.
pub(crate) type Scopes = Vec<String>;

/// The life of a token whose server does not tell it, by the token protocol.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);

/// The largest answer of a token server that is read, in bytes.
const LARGEST_TOKEN: usize = 256 * 1024;

/// An `Authorization` header, and the token it came from, if it came from one.
#[derive(Debug, Clone)]
pub(crate) struct Authorization {
    pub(crate) header: HeaderValue,
    serial: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Authentication {
    credentials: Credentials,
    learnt: Mutex<Learnt>,
}

#[derive(Debug, Default)]
struct Learnt {
    demand: Option<Demand>,
    tokens: HashMap<Scopes, Token>,
    /// One lock for each scope, held while its token is fetched.
    fetching: HashMap<Scopes, Arc<tokio::sync::Mutex<()>>>,
    serial: u64,
}

/// What the registry asks its callers for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Demand {
    Basic,
    Bearer {
        realm: Url,
        service: Option<String>,
        /// The scope that the registry named itself; kept beside ours, since some registries have scopes of their own.
        scope: Option<String>,
    },
}

#[derive(Debug)]
struct Token {
    header: HeaderValue,
    serial: u64,
    /// When it is no longer used: earlier than it expires, so that it does not expire on the way.
    until: Instant,
}

/// The answer of a token server; what else it says is of no use here.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// What a token is fetched with.
pub(crate) struct Asker<'a> {
    pub(crate) client: &'a reqwest::Client,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) settings: &'a Settings,
}

impl Authentication {
    pub(crate) fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            learnt: Mutex::default(),
        }
    }

    /// Returns what to send with a request from the start, by what the registry asked for before.
    pub(crate) async fn known(
        &self,
        scopes: &Scopes,
        asker: &Asker<'_>,
    ) -> Result<Option<Authorization>, Failure> {
        let demand = self.learnt().demand.clone();
        match demand {
            None => Ok(None),
            Some(Demand::Basic) => Ok(self.basic()),
            // The scope of the remembered challenge was for another request; this one names its own.
            Some(Demand::Bearer { realm, service, .. }) => {
                let demand = Demand::Bearer {
                    realm,
                    service,
                    scope: None,
                };
                self.token(&demand, scopes, None, asker).await.map(Some)
            }
        }
    }

    /// Returns what to send after the registry answered 401 to a request that carried `refused`.
    ///
    /// # Errors
    ///
    /// [`Error::Unauthorized`] if there is nothing better to send than what was refused.
    pub(crate) async fn answer(
        &self,
        headers: &HeaderMap,
        refused: Option<&Authorization>,
        scopes: &Scopes,
        at: Place,
        asker: &Asker<'_>,
    ) -> Result<Authorization, Failure> {
        let demand = read_demand(headers, asker.endpoint, &at)?;
        let unauthorized = |message: &str| {
            Failure::last(Error::Unauthorized {
                at: Box::new(at.clone()),
                answer: Box::new(Answer {
                    status: 401,
                    code: None,
                    message: Some(message.to_owned()),
                }),
            })
        };
        match demand {
            None => Err(unauthorized(
                "the registry does not say how to authenticate",
            )),
            Some(Demand::Basic) => {
                self.learnt().demand = Some(Demand::Basic);
                let basic = self
                    .basic()
                    .ok_or_else(|| unauthorized("a user name and a password are wanted"))?;
                if refused.is_some_and(|refused| refused.header == basic.header) {
                    return Err(unauthorized("the user name or the password is wrong"));
                }
                Ok(basic)
            }
            Some(demand @ Demand::Bearer { .. }) => {
                self.learnt().demand = Some(demand.clone());
                let refused = refused.and_then(|refused| refused.serial);
                self.token(&demand, scopes, refused, asker).await
            }
        }
    }

    fn basic(&self) -> Option<Authorization> {
        let header = basic_header(&self.credentials)?;
        Some(Authorization {
            header,
            serial: None,
        })
    }

    /// Returns a token that is not `refused`, from memory or from the server. Whoever comes while it is fetched waits for it.
    async fn token(
        &self,
        demand: &Demand,
        scopes: &Scopes,
        refused: Option<u64>,
        asker: &Asker<'_>,
    ) -> Result<Authorization, Failure> {
        let fetching = Arc::clone(self.learnt().fetching.entry(scopes.clone()).or_default());
        let _only_one = fetching.lock().await;
        if let Some(token) = self.learnt().tokens.get(scopes)
            && Some(token.serial) != refused
            && Instant::now() < token.until
        {
            return Ok(Authorization {
                header: token.header.clone(),
                serial: Some(token.serial),
            });
        }
        let (header, life) = self.fetch(demand, scopes, asker).await?;
        let mut learnt = self.learnt();
        learnt.serial += 1;
        let serial = learnt.serial;
        learnt.tokens.insert(
            scopes.clone(),
            Token {
                header: header.clone(),
                serial,
                until: Instant::now() + life * 4 / 5,
            },
        );
        Ok(Authorization {
            header,
            serial: Some(serial),
        })
    }

    async fn fetch(
        &self,
        demand: &Demand,
        scopes: &Scopes,
        asker: &Asker<'_>,
    ) -> Result<(HeaderValue, Duration), Failure> {
        let Demand::Bearer {
            realm,
            service,
            scope,
        } = demand
        else {
            unreachable!("tokens are fetched for bearer challenges only");
        };
        let mut url = realm.clone();
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = service {
                query.append_pair("service", service);
            }
            let named = scope.iter().flat_map(|scope| scope.split(' '));
            let named = named.filter(|named| !scopes.iter().any(|ours| ours == named));
            for scope in scopes.iter().map(String::as_str).chain(named) {
                query.append_pair("scope", scope);
            }
            if let Credentials::Basic { username, .. } = &self.credentials {
                query.append_pair("account", username);
            }
        }
        let place = Place::new("GET", &url, "");
        let mut request = asker.client.get(url).timeout(asker.settings.answer_timeout);
        if let Some(header) = basic_header(&self.credentials) {
            request = request.header(AUTHORIZATION, header);
        }
        let response = request.send().await.map_err(|error| {
            classify::connection(error, place.clone(), asker.settings.answer_timeout)
        })?;
        let status = response.status();
        let headers = response.headers().clone();
        let body = read_body(response, LARGEST_TOKEN, asker.settings)
            .await
            .map_err(|fault| fault.failure(&place))?;
        if !status.is_success() {
            return Err(match classify::status(status, &headers, &body, place, 0) {
                // A token server says 403, and some say 400, for a password that is wrong.
                Failure {
                    error: Error::Forbidden { at, answer } | Error::Rejected { at, answer },
                    again,
                } => Failure {
                    error: Error::Unauthorized { at, answer },
                    again,
                },
                failure => failure,
            });
        }
        let unreadable = |problem: &str| {
            Failure::last(Error::Protocol {
                at: Box::new(place.clone()),
                problem: problem.to_owned(),
            })
        };
        let answer: TokenAnswer = serde_json::from_slice(&body)
            .map_err(|_| unreadable("of the token server cannot be read"))?;
        let token = answer
            .token
            .or(answer.access_token)
            .ok_or_else(|| unreadable("of the token server holds no token"))?;
        let header = secret_header(&format!("Bearer {token}"))
            .ok_or_else(|| unreadable("of the token server holds a token with line breaks"))?;
        let life = answer.expires_in.map_or(DEFAULT_LIFE, |seconds| {
            // Some servers answer 0 and mean that they do not know.
            Duration::from_secs(seconds.clamp(30, 24 * 3600))
        });
        Ok((header, life))
    }

    fn learnt(&self) -> MutexGuard<'_, Learnt> {
        // Nothing that is done under this lock can leave it half-changed.
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn basic_header(credentials: &Credentials) -> Option<HeaderValue> {
    let Credentials::Basic { username, password } = credentials else {
        return None;
    };
    let pair = format!("{username}:{}", password.expose_secret());
    secret_header(&format!("Basic {}", BASE64_STANDARD.encode(pair)))
}

fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// Reads the challenges of a 401; of several, the token is preferred, since it does not send the password along with each request.
fn read_demand(
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

fn parameter(challenge: &ChallengeRef<'_>, name: &str) -> Option<String> {
    challenge
        .params
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.to_unescaped())
        .filter(|value| !value.is_empty())
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::http::StatusCode;
    use axum::response::{IntoResponse, Response};
    use secrecy::SecretString;

    use super::*;
    use crate::Registry;
    use crate::fake::{Blobs, Fake, Seen, image, index};

    const REPOSITORY: &str = "mke/calico/node";

    fn deployer() -> Credentials {
        Credentials::Basic {
            username: "deployer".to_owned(),
            password: SecretString::from("open sesame"),
        }
    }

    fn basic() -> String {
        format!("Basic {}", BASE64_STANDARD.encode("deployer:open sesame"))
    }

    fn challenge(challenge: &str) -> Response {
        (StatusCode::UNAUTHORIZED, [("www-authenticate", challenge)]).into_response()
    }

    /// A registry that wants a name and a password.
    async fn basic_registry() -> Fake {
        Fake::over_registry(|seen| {
            (seen.header("authorization") != Some(&basic()))
                .then(|| challenge("Basic realm=\"registry\""))
        })
        .await
    }

    /// A token server that answers by number: the token says whose and which it is.
    async fn token_server(expires_in: u64) -> Fake {
        let issued = AtomicUsize::new(0);
        Fake::start(move |seen| {
            let who = match seen.header("authorization") {
                Some(header) if header == basic() => "deployer",
                Some(_) => return StatusCode::UNAUTHORIZED.into_response(),
                None => "nobody",
            };
            let number = issued.fetch_add(1, Ordering::SeqCst) + 1;
            format!(r#"{{"token":"{who}-{number}","expires_in":{expires_in},"extra":1}}"#)
                .into_response()
        })
        .await
    }

    /// A registry that wants tokens from `server`; `accepts` decides about the token of a request.
    async fn token_registry(
        server: &Fake,
        accepts: impl Fn(&Seen, &str) -> bool + Send + Sync + 'static,
    ) -> Fake {
        let realm = format!("http://{}/token", server.address);
        Fake::over_registry(move |seen| {
            let token = seen
                .header("authorization")
                .and_then(|h| h.strip_prefix("Bearer "));
            if token.is_some_and(|token| accepts(seen, token)) {
                return None;
            }
            Some(challenge(&format!(
                "Bearer realm=\"{realm}\",service=\"registry\",scope=\"repository:x:pull\""
            )))
        })
        .await
    }

    async fn push(registry: &Registry) -> Result<crate::Pushed, Error> {
        let blobs = Blobs::new();
        let artifact = index(&blobs, REPOSITORY, "v1");
        registry.push(&artifact, &blobs, &()).await
    }

    #[tokio::test]
    async fn a_password_is_shown_when_it_is_asked_for_and_from_then_on() {
        let fake = basic_registry().await;
        push(&fake.registry_as(deployer())).await.unwrap();
        let shown = fake.seen(|seen| seen.header("authorization").map(str::to_owned));
        assert_eq!(shown[0], None);
        assert!(
            shown[1..]
                .iter()
                .all(|shown| shown.as_deref() == Some(&basic()))
        );
    }

    #[tokio::test]
    async fn a_wrong_password_ends_it() {
        let fake = Fake::start(|_| challenge("Basic realm=\"registry\"")).await;
        let registry = fake.registry_as(deployer());
        let error = registry.ping().await.unwrap_err();
        assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
        assert_eq!(fake.requests().len(), 2);
        // And it is not tried over and over by the rest of the push.
        push(&registry).await.unwrap_err();
        assert_eq!(fake.requests().len(), 3);
        let said = format!("{error} {error:?} {registry:?}");
        assert!(
            !said.contains("sesame") && !said.contains(&basic()),
            "{said}"
        );
    }

    #[tokio::test]
    async fn without_credentials_a_registry_that_wants_some_is_named() {
        let fake = basic_registry().await;
        let error = push(&fake.registry()).await.unwrap_err();
        assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
        assert!(
            error
                .to_string()
                .contains("a user name and a password are wanted")
        );
        assert_eq!(fake.requests().len(), 1);
    }

    #[tokio::test]
    async fn a_401_that_demands_nothing_is_named() {
        let fake = Fake::start(|_| StatusCode::UNAUTHORIZED.into_response()).await;
        let error = fake.registry_as(deployer()).ping().await.unwrap_err();
        assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
        assert_eq!(fake.requests().len(), 1);
    }

    #[tokio::test]
    async fn one_token_for_reading_and_one_for_writing_serve_a_whole_push() {
        let server = token_server(300).await;
        let fake = token_registry(&server, |_, token| token.starts_with("deployer-")).await;
        push(&fake.registry_as(deployer())).await.unwrap();
        let queries = server.seen(|seen| seen.query.clone());
        assert_eq!(
            queries,
            [
                "service=registry&scope=repository%3Amke%2Fcalico%2Fnode%3Apull\
                 &scope=repository%3Ax%3Apull&account=deployer",
                "service=registry&scope=repository%3Amke%2Fcalico%2Fnode%3Apull%2Cpush\
                 &account=deployer",
            ]
        );
        // The first request was challenged; none of the later ones was.
        let bare = fake.seen(|seen| seen.header("authorization").is_none());
        assert_eq!(bare.iter().filter(|bare| **bare).count(), 1);
    }

    #[tokio::test]
    async fn a_token_is_fetched_once_for_everybody_who_waits() {
        let server = token_server(300).await;
        let fake = token_registry(&server, |_, _| true).await;
        let registry = fake.registry();
        let asks = (0..16).map(|_| registry.head_manifest(REPOSITORY, "v1"));
        futures_util::future::try_join_all(asks).await.unwrap();
        assert_eq!(server.requests().len(), 1);
        assert!(server.seen(|seen| seen.header("authorization").is_none())[0]);
    }

    #[tokio::test]
    async fn a_token_that_ends_in_the_middle_is_replaced_and_the_upload_sent_again() {
        let server = token_server(300).await;
        let fake = token_registry(&server, |seen, token| {
            // The second token, the one for writing, is refused when the first blob comes.
            !(seen.is("PUT", "/blobs/uploads/") && token.ends_with("-2"))
        })
        .await;
        let blobs = Blobs::new();
        let artifact = image(&blobs, REPOSITORY, "v1", &[]);
        let registry = fake.registry_as(deployer());
        registry.push(&artifact, &blobs, &()).await.unwrap();
        assert_eq!(server.requests().len(), 3);
        assert_eq!(fake.count("PUT", "/blobs/uploads/"), 2);
        assert_eq!(fake.count("POST", "/blobs/uploads/"), 1);
        let config = &artifact.manifests[0].blobs[0].digest;
        assert_eq!(blobs.opened(config), 2);
    }

    #[tokio::test]
    async fn a_token_server_that_refuses_the_password_is_named() {
        for status in [400, 401, 403] {
            let status = StatusCode::from_u16(status).unwrap();
            let server = Fake::start(move |_| (status, "incorrect password").into_response()).await;
            let fake = token_registry(&server, |_, _| true).await;
            let error = push(&fake.registry_as(deployer())).await.unwrap_err();
            assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.contains(&server.address.to_string()), "{text}");
            assert!(text.contains("incorrect password"), "{text}");
            assert!(!text.contains("account="), "{text}");
        }
    }

    #[tokio::test]
    async fn a_token_server_in_trouble_is_asked_again() {
        let failed = AtomicUsize::new(0);
        let server = Fake::start(move |_| match failed.fetch_add(1, Ordering::SeqCst) {
            0 => StatusCode::BAD_GATEWAY.into_response(),
            _ => r#"{"access_token":"good"}"#.into_response(),
        })
        .await;
        let fake = token_registry(&server, |_, token| token == "good").await;
        fake.registry().ping().await.unwrap();
        assert_eq!(server.requests().len(), 2);
    }

    #[tokio::test]
    async fn answers_without_a_token_are_named_and_not_shown() {
        for answer in ["<html>", "{}", r#"{"token":5}"#, r#"{"token":"a\nb"}"#] {
            let server = Fake::start(move |_| answer.into_response()).await;
            let fake = token_registry(&server, |_, _| true).await;
            let error = fake.registry().ping().await.unwrap_err();
            assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
        }
    }

    #[tokio::test]
    async fn a_good_token_that_does_not_reach_is_a_matter_of_rights() {
        let server = token_server(300).await;
        let realm = format!("http://{}/token", server.address);
        let fake = Fake::start(move |_| {
            challenge(&format!(
                "Bearer realm=\"{realm}\",service=\"registry\",error=\"insufficient_scope\""
            ))
        })
        .await;
        let error = push(&fake.registry_as(deployer())).await.unwrap_err();
        assert!(matches!(error, Error::Forbidden { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn credentials_do_not_go_to_a_token_server_without_tls() {
        let fake = Fake::start(|_| challenge("Bearer realm=\"http://token.example.com/t\"")).await;
        let error = fake.registry_as(deployer()).ping().await.unwrap_err();
        assert!(matches!(error, Error::UntrustedRealm { .. }), "{error:?}");
        assert!(error.to_string().contains("http://token.example.com/t"));
    }

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
