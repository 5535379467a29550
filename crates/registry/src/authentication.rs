//! Authentication: tokens, and the rule that credentials go only to servers that the registry named
//! over TLS.
//!
//! Nothing is sent before the registry asks. What it asked for is kept: later requests carry it
//! from the start and a large upload is not sent twice. A token is fetched once for all requests
//! that wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use secrecy::ExposeSecret;
use serde::Deserialize;
use tokio::time::Instant;

use crate::account::{Account, Refusal};
use crate::response::read_body;
use crate::retry::{Attempts, Failure};
use crate::transport::shown_location;
use crate::violation::Violation;
use crate::{Answer, Credentials, Endpoint, Error, Observer, Place, Settings, classify, identify};

mod challenge;

pub(crate) use challenge::says_insufficient_scope;
use challenge::{Challenge, read_challenge, scopes_asked, unsupported_schemes};

/// What a token is asked for, in the words of the token protocol:
/// `repository:mke/calico/node:pull,push`. Empty for requests about the registry as a whole.
pub(crate) type Scopes = Vec<String>;

/// The lifetime of a token whose server reports none, by the token protocol.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);

/// The largest answer of a token server that is read, in bytes.
const LARGEST_TOKEN: usize = 256 * 1024;

/// An `Authorization` header, and the token it came from, if it came from one.
#[derive(Debug, Clone)]
pub(crate) struct Authorization {
    pub(crate) header: HeaderValue,
    serial: Option<u64>,
    /// Whether it is a token that was fetched for this request.
    is_fresh: bool,
}

impl Authorization {
    /// Returns whether it is the password itself.
    pub(crate) fn is_password(&self) -> bool {
        self.serial.is_none()
    }

    /// Returns whether another token would be refused like this one, by the challenge of the 401
    /// that refused it: it was fetched a moment ago, for everything that is asked for.
    pub(crate) fn is_useless(&self, headers: &HeaderMap, scopes: &Scopes) -> bool {
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
    learnt: Mutex<Learnt>,
}

#[derive(Debug, Default)]
struct Learnt {
    challenge: Option<Challenge>,
    /// The scopes that the registry named itself, by what was asked for.
    named: HashMap<Scopes, String>,
    tokens: HashMap<Scopes, Token>,
    /// One lock for each scope, held while its token is fetched.
    fetching: HashMap<Scopes, Arc<tokio::sync::Mutex<()>>>,
    serial: u64,
}

#[derive(Debug)]
struct Token {
    header: HeaderValue,
    serial: u64,
    /// When it is no longer used: earlier than it expires, so it does not expire on the way.
    until: Instant,
}

/// The answer of a token server; what else it says is of no use here.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    /// A number of seconds by the specification; some servers send other things.
    #[serde(default)]
    expires_in: serde_json::Value,
}

/// What a token is fetched with.
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
            learnt: Mutex::default(),
        }
    }

    /// Returns what to send with a request from the start, by what the registry asked for before.
    pub(crate) async fn known(
        &self,
        scopes: &Scopes,
        token_client: &TokenClient<'_>,
    ) -> Result<Option<Authorization>, Failure> {
        let challenge = self.learnt().challenge.clone();
        match challenge {
            None => Ok(None),
            Some(Challenge::Basic) => Ok(self.password()),
            // The scope of the last challenge was for another request.
            Some(Challenge::Bearer { realm, service, .. }) => {
                let challenge = Challenge::Bearer {
                    realm,
                    service,
                    scope: self.learnt().named.get(scopes).cloned(),
                };
                self.token(&challenge, scopes, None, token_client)
                    .await
                    .map(Some)
            }
        }
    }

    /// Returns what to send after the registry answered 401 to a request that carried `refused`.
    /// `alone` is held while it is not known whether the password is accepted.
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
        token_client: &TokenClient<'_>,
        alone: Option<tokio::sync::MutexGuard<'_, ()>>,
    ) -> Result<Authorization, Failure> {
        let challenge = read_challenge(headers, token_client.endpoint, &at)?;
        let unauthorized = |message: &str, is_login: bool| {
            Failure::last(Error::Unauthorized {
                at: Box::new(at.clone()),
                answer: Box::new(Answer {
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
                schemes => Failure::last(Error::UnsupportedLogin {
                    at: Box::new(at.clone()),
                    schemes: schemes.join(" or "),
                }),
            }),
            Some(Challenge::Basic) => {
                self.learnt().challenge = Some(Challenge::Basic);
                let basic = self
                    .password()
                    .ok_or_else(|| unauthorized("a user name and a password are required", true))?;
                if refused.is_some_and(|refused| refused.header == basic.header) {
                    let failure = unauthorized("the user name or the password is wrong", true);
                    let failure = self.sent(failure);
                    self.record_refusal(&failure.error);
                    return Err(failure);
                }
                Ok(basic)
            }
            Some(challenge @ Challenge::Bearer { .. }) => {
                drop(alone);
                {
                    let mut learnt = self.learnt();
                    learnt.challenge = Some(challenge.clone());
                    if let Challenge::Bearer {
                        scope: Some(scope), ..
                    } = &challenge
                    {
                        learnt.named.insert(scopes.clone(), scope.clone());
                    }
                }
                let refused = refused.and_then(|refused| refused.serial);
                self.token(&challenge, scopes, refused, token_client).await
            }
        }
    }

    /// Returns the password as it is sent to the registry itself, if there is one.
    pub(crate) fn password(&self) -> Option<Authorization> {
        let header = basic_header(&self.credentials)?;
        Some(Authorization {
            header,
            serial: None,
            is_fresh: false,
        })
    }

    /// Returns the password after a 403 without a challenge, and shows it from the start from now
    /// on.
    pub(crate) fn password_without_challenge(&self) -> Option<Authorization> {
        let password = self.password()?;
        self.learnt().challenge = Some(Challenge::Basic);
        Some(password)
    }

    /// Records in a failure that the credentials were sent.
    pub(crate) fn sent(&self, failure: Failure) -> Failure {
        Failure {
            error: failure.error.sent_by(&self.credentials),
            ..failure
        }
    }

    /// Takes note of a login that was refused, so the password is not shown again.
    pub(crate) fn record_refusal(&self, error: &Error) {
        let shown = matches!(self.credentials, Credentials::Basic { .. });
        if let Error::Unauthorized { is_login: true, .. } = error
            && let Some(refusal) = Refusal::of(error).filter(|_| shown)
        {
            self.account.login.refuse(refusal);
        }
    }

    /// Returns a token that is not `refused`, from memory or from the server. Concurrent callers
    /// wait while it is fetched.
    async fn token(
        &self,
        challenge: &Challenge,
        scopes: &Scopes,
        refused: Option<u64>,
        token_client: &TokenClient<'_>,
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
                is_fresh: false,
            });
        }
        let (header, token_lifetime) = self
            .fetch_token_as_account(challenge, scopes, token_client)
            .await?;
        let mut learnt = self.learnt();
        learnt.serial += 1;
        let serial = learnt.serial;
        learnt.tokens.insert(
            scopes.clone(),
            Token {
                header: header.clone(),
                serial,
                until: Instant::now() + token_lifetime * 4 / 5,
            },
        );
        Ok(Authorization {
            header,
            serial: Some(serial),
            is_fresh: true,
        })
    }

    /// Fetches a token, for which the token server is shown the password, if there is one.
    async fn fetch_token_as_account(
        &self,
        challenge: &Challenge,
        scopes: &Scopes,
        token_client: &TokenClient<'_>,
    ) -> Result<(HeaderValue, Duration), Failure> {
        if matches!(self.credentials, Credentials::Anonymous) {
            return self
                .fetch_token_with_backoff(challenge, scopes, token_client)
                .await;
        }
        let login = &self.account.login;
        let alone = login.enter().await.map_err(Failure::last)?;
        let fetched = self
            .fetch_token_with_backoff(challenge, scopes, token_client)
            .await;
        let mut fetched = fetched.map_err(|failure| self.sent(failure));
        match &mut fetched {
            Ok(_) => login.pass(),
            Err(failure) => {
                // Once the password was accepted, only 401 is about it; the others are about the
                // scope.
                if let Error::Unauthorized {
                    answer, is_login, ..
                } = &mut failure.error
                {
                    *is_login = alone.is_some() || answer.status == 401;
                }
                self.record_refusal(&failure.error);
            }
        }
        fetched
    }

    /// Fetches a token as often as a busy server says that it is too often. Those are not attempts
    /// of the request that needs the token.
    async fn fetch_token_with_backoff(
        &self,
        challenge: &Challenge,
        scopes: &Scopes,
        token_client: &TokenClient<'_>,
    ) -> Result<(HeaderValue, Duration), Failure> {
        let mut attempts = Attempts::new(token_client.settings, token_client.observer);
        loop {
            match self.fetch(challenge, scopes, token_client).await {
                Err(failure) if matches!(failure.error, Error::RateLimited { .. }) => {
                    attempts.pause(failure).await.map_err(Failure::last)?;
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
            let named = named.filter(|named| !scopes.iter().any(|ours| ours == named));
            for scope in scopes.iter().map(String::as_str).chain(named) {
                query.append_pair("scope", scope);
            }
            if let Credentials::Basic { username, .. } = &self.credentials {
                query.append_pair("account", username);
            }
        }
        let place = Place::new("GET", &url, "").through(token_client.endpoint.proxies(), &url)?;
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
        let wrong = |violation| Failure::last(Error::protocol(&place, violation));
        if status.is_redirection()
            && let Some(to) = headers.get(LOCATION)
        {
            let to = shown_location(&String::from_utf8_lossy(to.as_bytes()));
            return Err(wrong(Violation::TokenRedirect { to }));
        }
        if !status.is_success() {
            return Err(match classify::status(status, &headers, &body, place, 0) {
                // A token server says 403, and some say 400, for a password that is wrong.
                Failure {
                    error:
                        Error::Unauthorized { at, answer, .. }
                        | Error::Forbidden { at, answer }
                        | Error::Rejected { at, answer },
                    again,
                } => Failure {
                    error: Error::Unauthorized {
                        at,
                        answer,
                        is_login: true,
                    },
                    again,
                },
                failure => failure,
            });
        }
        let answer: TokenAnswer =
            serde_json::from_slice(&body).map_err(|_| wrong(Violation::UnreadableToken))?;
        let token = answer
            .token
            .filter(|token| !token.is_empty())
            .or(answer.access_token.filter(|token| !token.is_empty()))
            .ok_or_else(|| wrong(Violation::NoToken))?;
        let token_lifetime = token_lifetime(&answer.expires_in);
        redaction::run().add_token(&token, token_lifetime);
        let header =
            secret_header(&format!("Bearer {token}")).ok_or_else(|| wrong(Violation::Token))?;
        Ok((header, token_lifetime))
    }

    fn learnt(&self) -> MutexGuard<'_, Learnt> {
        // Nothing that is done under this lock can leave it half-changed.
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether a token for `scopes` holds every right of `asked`:
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

/// Returns how long a token lives whose server says `expires_in`. The default holds for what is not
/// a sensible number of seconds.
fn token_lifetime(expires_in: &serde_json::Value) -> Duration {
    const DAY: f64 = 24.0 * 3600.0;
    let seconds = match expires_in {
        serde_json::Value::String(text) => text.trim().parse().ok(),
        number => number.as_f64(),
    };
    match seconds {
        // Some servers answer 0 and mean that they do not know.
        Some(seconds) if (0.0..=10_000.0 * DAY).contains(&seconds) => {
            Duration::from_secs_f64(seconds.clamp(30.0, DAY))
        }
        _ => DEFAULT_LIFE,
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
