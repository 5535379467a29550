//! Authenticates requests with tokens or a password. Credentials are sent only to the registry and
//! to the token server that it names over TLS.
//!
//! Nothing is sent before the first challenge. The challenge is remembered: later requests carry
//! the credentials from the start, so a large upload is not sent twice. A token is fetched once for
//! all requests that wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use secrecy::ExposeSecret;
use serde::Deserialize;
use tokio::time::Instant;

use crate::account::{Account, Refusal};
use crate::recorded::lock;
use crate::response::read_body;
use crate::retry::{Attempts, Failure};
use crate::transport::shown_location;
use crate::violation::Violation;
use crate::{
    Credentials, Endpoint, Error, ErrorResponse, Observer, RequestInfo, Settings, classify,
    identify,
};

mod challenge;

pub(crate) use challenge::says_insufficient_scope;
use challenge::{Challenge, read_challenge, scopes_asked, unsupported_schemes};

/// The rights that a token is requested for, as in the token protocol:
/// `repository:mke/calico/node:pull,push`. Empty for requests about the registry as a whole.
pub(crate) type Scopes = Vec<String>;

/// Lifetime of a token without `expires_in`, by the token protocol.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);

/// Maximum size of a token server's response in bytes.
const LARGEST_TOKEN: usize = 256 * 1024;

/// The value of an `Authorization` header.
#[derive(Debug, Clone)]
pub(crate) struct Authorization {
    pub(crate) header: HeaderValue,
    /// Number of the token; `None` for a password.
    serial: Option<u64>,
    /// Whether the token was fetched for this request.
    is_fresh: bool,
}

impl Authorization {
    /// Returns whether this is a password.
    pub(crate) fn is_password(&self) -> bool {
        self.serial.is_none()
    }

    /// Returns whether a new token would be refused too: this one was just fetched, and it has all
    /// rights that the 401 with these `headers` asks for.
    pub(crate) fn would_be_refused_again(&self, headers: &HeaderMap, scopes: &Scopes) -> bool {
        self.is_fresh
            && scopes_asked(headers)
                .iter()
                .all(|asked| includes_scope(scopes, asked))
    }
}

#[derive(Debug)]
pub(crate) struct Authentication {
    credentials: Credentials,
    account: Arc<Account>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    challenge: Option<Challenge>,
    /// The scope that the registry named for a request, by the scopes that we requested.
    registry_scopes: HashMap<Scopes, String>,
    tokens: HashMap<Scopes, Token>,
    /// One lock per scope, held while its token is fetched.
    fetches: HashMap<Scopes, Arc<tokio::sync::Mutex<()>>>,
    serial: u64,
}

#[derive(Debug)]
struct Token {
    header: HeaderValue,
    serial: u64,
    /// When the token is replaced: before it expires, so it does not expire in transit.
    until: Instant,
}

/// Response of a token server.
#[derive(Deserialize)]
struct TokenResponse {
    token: Option<String>,
    access_token: Option<String>,
    /// Lifetime in seconds. A number by the specification; some servers send other types.
    #[serde(default)]
    expires_in: serde_json::Value,
}

/// What fetching a token requires.
pub(crate) struct TokenClient<'a> {
    pub(crate) client: &'a reqwest::Client,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) settings: &'a Settings,
    pub(crate) observer: &'a dyn Observer,
}

impl Authentication {
    pub(crate) fn new(credentials: Credentials, account: Arc<Account>) -> Self {
        credentials.remember();
        Self {
            credentials,
            account,
            state: Mutex::default(),
        }
    }

    /// Returns the authorization that a request carries from the start, according to the last
    /// challenge.
    pub(crate) async fn initial_authorization(
        &self,
        scopes: &Scopes,
        token_client: &TokenClient<'_>,
    ) -> Result<Option<Authorization>, Failure> {
        let challenge = self.state().challenge.clone();
        match challenge {
            None => Ok(None),
            Some(Challenge::Basic) => Ok(self.password()),
            // The scope of the last challenge was for a different request.
            Some(Challenge::Bearer { realm, service, .. }) => {
                let challenge = Challenge::Bearer {
                    realm,
                    service,
                    scope: self.state().registry_scopes.get(scopes).cloned(),
                };
                self.token(&challenge, scopes, None, token_client)
                    .await
                    .map(Some)
            }
        }
    }

    /// Returns the authorization for the next attempt, after a 401 to a request that carried
    /// `refused`. `first_login` is held until it is known whether the password is accepted.
    ///
    /// # Errors
    ///
    /// [`Error::Unauthorized`] if there is nothing else to send; [`Error::UnsupportedLogin`] if no
    /// scheme is supported; otherwise the error of the token server.
    pub(crate) async fn answer_challenge(
        &self,
        headers: &HeaderMap,
        refused: Option<&Authorization>,
        scopes: &Scopes,
        at: RequestInfo,
        token_client: &TokenClient<'_>,
        first_login: Option<tokio::sync::MutexGuard<'_, ()>>,
    ) -> Result<Authorization, Failure> {
        let challenge = read_challenge(headers, token_client.endpoint, &at)?;
        let unauthorized = |message: &str, is_login: bool| {
            Failure::permanent(Error::Unauthorized {
                at: Box::new(at.clone()),
                response: Box::new(ErrorResponse {
                    status: 401,
                    code: None,
                    message: Some(message.to_owned()),
                }),
                is_login,
            })
        };
        match challenge {
            None => Err(match unsupported_schemes(headers) {
                schemes if schemes.is_empty() => {
                    unauthorized("the registry does not say how to authenticate", false)
                }
                schemes => Failure::permanent(Error::UnsupportedLogin {
                    at: Box::new(at.clone()),
                    schemes: schemes.join(" or "),
                }),
            }),
            Some(Challenge::Basic) => {
                self.state().challenge = Some(Challenge::Basic);
                let basic = self
                    .password()
                    .ok_or_else(|| unauthorized("a user name and a password are required", true))?;
                if refused.is_some_and(|refused| refused.header == basic.header) {
                    let failure = unauthorized("the user name or the password is wrong", true);
                    let failure = self.with_user(failure);
                    self.record_refusal(&failure.error);
                    return Err(failure);
                }
                Ok(basic)
            }
            Some(challenge @ Challenge::Bearer { .. }) => {
                drop(first_login);
                {
                    let mut state = self.state();
                    state.challenge = Some(challenge.clone());
                    if let Challenge::Bearer {
                        scope: Some(scope), ..
                    } = &challenge
                    {
                        state.registry_scopes.insert(scopes.clone(), scope.clone());
                    }
                }
                let refused = refused.and_then(|refused| refused.serial);
                self.token(&challenge, scopes, refused, token_client).await
            }
        }
    }

    /// Returns the authorization with the password, if there is one.
    pub(crate) fn password(&self) -> Option<Authorization> {
        let header = basic_header(&self.credentials)?;
        Some(Authorization {
            header,
            serial: None,
            is_fresh: false,
        })
    }

    /// Returns the password after a 403 without a challenge. Later requests carry it from the
    /// start.
    pub(crate) fn password_without_challenge(&self) -> Option<Authorization> {
        let password = self.password()?;
        self.state().challenge = Some(Challenge::Basic);
        Some(password)
    }

    /// Adds the user to a failure of a request that carried the credentials.
    pub(crate) fn with_user(&self, failure: Failure) -> Failure {
        Failure {
            error: failure.error.sent_by(&self.credentials),
            ..failure
        }
    }

    /// Records a refused login, so the password is not sent again.
    pub(crate) fn record_refusal(&self, error: &Error) {
        let shown = matches!(self.credentials, Credentials::Basic { .. });
        if let Error::Unauthorized { is_login: true, .. } = error
            && let Some(refusal) = Refusal::of(error).filter(|_| shown)
        {
            self.account.login.refuse(refusal);
        }
    }

    /// Returns a valid token other than `refused`, remembered or fetched. Concurrent callers wait
    /// while it is fetched.
    async fn token(
        &self,
        challenge: &Challenge,
        scopes: &Scopes,
        refused: Option<u64>,
        token_client: &TokenClient<'_>,
    ) -> Result<Authorization, Failure> {
        let fetch = Arc::clone(self.state().fetches.entry(scopes.clone()).or_default());
        let _guard = fetch.lock().await;
        if let Some(token) = self.state().tokens.get(scopes)
            && Some(token.serial) != refused
            && Instant::now() < token.until
        {
            return Ok(Authorization {
                header: token.header.clone(),
                serial: Some(token.serial),
                is_fresh: false,
            });
        }
        let (header, lifetime) = self
            .fetch_as_account(challenge, scopes, token_client)
            .await?;
        let mut state = self.state();
        state.serial += 1;
        let serial = state.serial;
        state.tokens.insert(
            scopes.clone(),
            Token {
                header: header.clone(),
                serial,
                until: Instant::now() + lifetime * 4 / 5,
            },
        );
        Ok(Authorization {
            header,
            serial: Some(serial),
            is_fresh: true,
        })
    }

    /// Fetches a token, with the password if there is one.
    async fn fetch_as_account(
        &self,
        challenge: &Challenge,
        scopes: &Scopes,
        token_client: &TokenClient<'_>,
    ) -> Result<(HeaderValue, Duration), Failure> {
        if matches!(self.credentials, Credentials::Anonymous) {
            return self
                .fetch_with_backoff(challenge, scopes, token_client)
                .await;
        }
        let login = &self.account.login;
        let first_login = login.enter().await.map_err(Failure::permanent)?;
        let fetched = self
            .fetch_with_backoff(challenge, scopes, token_client)
            .await;
        let mut fetched = fetched.map_err(|failure| self.with_user(failure));
        match &mut fetched {
            Ok(_) => login.pass(),
            Err(failure) => {
                // After the password was accepted once, only 401 is about it; other statuses are
                // about the scope.
                if let Error::Unauthorized {
                    response, is_login, ..
                } = &mut failure.error
                {
                    *is_login = first_login.is_some() || response.status == 401;
                }
                self.record_refusal(&failure.error);
            }
        }
        fetched
    }

    /// Fetches a token, and repeats that while the server responds 429. These attempts do not count
    /// as attempts of the request that needs the token.
    async fn fetch_with_backoff(
        &self,
        challenge: &Challenge,
        scopes: &Scopes,
        token_client: &TokenClient<'_>,
    ) -> Result<(HeaderValue, Duration), Failure> {
        let mut attempts = Attempts::new(token_client.settings, token_client.observer);
        loop {
            match self.fetch(challenge, scopes, token_client).await {
                Err(failure) if matches!(failure.error, Error::RateLimited { .. }) => {
                    attempts.pause(failure).await.map_err(Failure::permanent)?;
                }
                fetched => return fetched,
            }
        }
    }

    async fn fetch(
        &self,
        challenge: &Challenge,
        scopes: &Scopes,
        token_client: &TokenClient<'_>,
    ) -> Result<(HeaderValue, Duration), Failure> {
        let Challenge::Bearer {
            realm,
            service,
            scope,
        } = challenge
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
            let named = named.filter(|one| !scopes.iter().any(|ours| ours == one));
            for scope in scopes.iter().map(String::as_str).chain(named) {
                query.append_pair("scope", scope);
            }
            if let Credentials::Basic { username, .. } = &self.credentials {
                query.append_pair("account", username);
            }
        }
        let place = RequestInfo::new("GET", &url, "")
            .for_token()
            .through(token_client.endpoint.proxies(), &url)?;
        let mut request = token_client
            .client
            .get(url.clone())
            .timeout(token_client.settings.answer_timeout);
        if let Some(header) = basic_header(&self.credentials) {
            request = request.header(AUTHORIZATION, header);
        }
        let sending = request.send();
        let response = match requests::traced(&Method::GET, &url, 0, |error| error, sending).await {
            Ok(response) => response,
            Err(error) => {
                let (proxies, patience) = (
                    token_client.endpoint.proxies(),
                    token_client.settings.answer_timeout,
                );
                return Err(identify::failure(error, place, &url, proxies, patience).await);
            }
        };
        let status = response.status();
        let headers = response.headers().clone();
        let body = read_body(response, LARGEST_TOKEN, token_client.settings)
            .await
            .map_err(|fault| fault.failure(&place))?;
        let violated = |violation| Failure::permanent(Error::protocol(&place, violation));
        if status.is_redirection()
            && let Some(to) = headers.get(LOCATION)
        {
            let to = shown_location(&String::from_utf8_lossy(to.as_bytes()));
            return Err(violated(Violation::TokenRedirect { to }));
        }
        if !status.is_success() {
            return Err(match classify::status(status, &headers, &body, place, 0) {
                // For a wrong password token servers respond 403, some 400.
                Failure {
                    error:
                        Error::Unauthorized { at, response, .. }
                        | Error::Forbidden { at, response }
                        | Error::Rejected { at, response },
                    again,
                } => Failure {
                    error: Error::Unauthorized {
                        at,
                        response,
                        is_login: true,
                    },
                    again,
                },
                failure => failure,
            });
        }
        let response: TokenResponse =
            serde_json::from_slice(&body).map_err(|_| violated(Violation::UnreadableToken))?;
        let token = response
            .token
            .filter(|token| !token.is_empty())
            .or(response.access_token.filter(|token| !token.is_empty()))
            .ok_or_else(|| violated(Violation::NoToken))?;
        let lifetime = token_lifetime(&response.expires_in);
        redaction::run().add_token(&token, lifetime);
        let header =
            secret_header(&format!("Bearer {token}")).ok_or_else(|| violated(Violation::Token))?;
        Ok((header, lifetime))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Returns whether `scopes` include every right of `asked`, for example
/// `repository:mke/calico/node:push,pull`.
fn includes_scope(scopes: &Scopes, asked: &str) -> bool {
    let split = |scope: &str| -> Option<(String, Vec<String>)> {
        let (resource, actions) = scope.rsplit_once(':')?;
        Some((
            resource.to_owned(),
            actions.split(',').map(str::to_owned).collect(),
        ))
    };
    let Some((resource, actions)) = split(asked) else {
        return false;
    };
    let ours: Vec<String> = (scopes.iter().filter_map(|scope| split(scope)))
        .filter(|(ours, _)| *ours == resource)
        .flat_map(|(_, actions)| actions)
        .collect();
    actions.iter().all(|action| ours.contains(action))
}

/// Returns the lifetime of a token with this `expires_in`, or the default if it is not a sensible
/// number of seconds.
fn token_lifetime(expires_in: &serde_json::Value) -> Duration {
    const DAY: f64 = 24.0 * 3600.0;
    let seconds = match expires_in {
        serde_json::Value::String(text) => text.trim().parse().ok(),
        number => number.as_f64(),
    };
    match seconds {
        // Some servers send 0 because they do not know the lifetime.
        Some(seconds) if (0.0..=10_000.0 * DAY).contains(&seconds) => {
            Duration::from_secs_f64(seconds.clamp(30.0, DAY))
        }
        _ => DEFAULT_LIFETIME,
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

#[cfg(test)]
mod tests;
