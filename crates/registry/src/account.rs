//! Records whether an account may log in and write in this run.
//!
//! Many requests with a wrong password lock an account, and a registry that refuses one write
//! usually refuses all of them. So the first request with a password and the first write are sent
//! alone. If one is refused, the requests that wait for it fail with the same error and are not
//! sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::clients::Clients;
use crate::recorded::lock;
use crate::{Credentials, Endpoint, Error, ErrorResponse, RequestInfo, limiter};

/// How many 401 responses end a login that was accepted before. Some registries respond 401 instead
/// of 403.
const MOST_REFUSALS: u32 = 3;

/// How long a refused login is remembered. A command that watches a registry for days must notice a
/// corrected password. Accounts are commonly locked by five wrong passwords within 15 minutes.
const REFUSAL_LIFETIME: Duration = Duration::from_secs(600);

/// Accounts of this run, with their accepted and refused logins. Cheap to clone; clones share one
/// state.
///
/// Clients that share it do not repeat a login that was refused to one of them.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    accounts: Arc<Mutex<HashMap<Key, Arc<Account>>>>,
    /// HTTP clients, shared by all registries with the same certificates and proxies.
    pub(crate) clients: Arc<Clients>,
    /// Limits by registry address, since they do not depend on the account.
    limits: Arc<Mutex<HashMap<String, Arc<limiter::Shared>>>>,
}

/// A registry's address, and the hash of the credentials if there are any.
type Key = (String, Option<[u8; 32]>);

/// An account at one registry.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// Whether the password is accepted.
    pub(crate) login: Gate,
    writes: Mutex<Writes>,
}

/// What the registry responded to the first writes of all clients.
#[derive(Debug, Default)]
struct Writes {
    accepted: bool,
    refused: Option<Refusal>,
}

/// A question that the first response decides. Other requests wait for it.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Undecided,
    Passed {
        refusals: u32,
    },
    Refused {
        refusal: Box<Refusal>,
        since: Instant,
    },
}

/// A refusal by the registry or its token server, from which the same error can be made repeatedly.
#[derive(Debug, Clone)]
pub struct Refusal {
    kind: Kind,
    at: RequestInfo,
    response: ErrorResponse,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Unauthorized { is_login: bool },
    Forbidden,
    Rejected,
}

impl Accounts {
    pub(crate) fn of(&self, endpoint: &Endpoint, credentials: &Credentials) -> Arc<Account> {
        let key = (endpoint.address().to_owned(), credentials_hash(credentials));
        Arc::clone(lock(&self.accounts).entry(key).or_default())
    }

    /// Returns the limits that all clients of a registry share.
    pub(crate) fn limits(&self, endpoint: &Endpoint) -> Arc<limiter::Shared> {
        let address = endpoint.address().to_owned();
        Arc::clone(lock(&self.limits).entry(address).or_default())
    }
}

impl Account {
    /// Records that a write was accepted.
    pub(crate) fn may_write(&self) {
        lock(&self.writes).accepted = true;
    }

    /// Records that the first write of a client was refused. It applies to other clients only if no
    /// write of the account was accepted in this registry.
    pub(crate) fn may_not_write(&self, refusal: &Refusal) {
        let mut writes = lock(&self.writes);
        if !writes.accepted {
            writes.refused = Some(refusal.clone());
        }
    }

    /// Discards the refusal, because it was not about the account.
    pub(crate) fn forget_refused_write(&self) {
        lock(&self.writes).refused = None;
    }

    /// Returns the refusal if the account may write nowhere in this registry.
    pub(crate) fn write_refusal(&self) -> Option<Refusal> {
        lock(&self.writes).refused.clone()
    }
}

impl Gate {
    /// Waits until the question is decided. The first caller gets a guard and decides it; later
    /// callers get `None`.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub(crate) async fn enter(&self) -> Result<Option<tokio::sync::MutexGuard<'_, ()>>, Error> {
        if self.is_passed()? {
            return Ok(None);
        }
        let alone = self.turn.lock().await;
        Ok((!self.is_passed()?).then_some(alone))
    }

    /// Returns whether the question was decided positively.
    fn is_passed(&self) -> Result<bool, Error> {
        match &*lock(&self.state) {
            State::Passed { .. } => Ok(true),
            State::Refused { refusal, since } if since.elapsed() < REFUSAL_LIFETIME => {
                Err(refusal.error())
            }
            State::Undecided | State::Refused { .. } => Ok(false),
        }
    }

    /// Returns whether the question was decided.
    pub(crate) fn is_decided(&self) -> bool {
        self.is_passed().unwrap_or(true)
    }

    /// Returns the refusal, if there is one.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match &*lock(&self.state) {
            State::Refused { refusal, .. } => Some(Refusal::clone(refusal)),
            State::Undecided | State::Passed { .. } => None,
        }
    }

    pub(crate) fn pass(&self) {
        let mut state = lock(&self.state);
        if !matches!(*state, State::Passed { .. }) {
            *state = State::Passed { refusals: 0 };
        }
    }

    /// Records a refusal. After a positive decision it takes several refusals to revoke it.
    pub(crate) fn refuse(&self, refusal: Refusal) {
        let mut state = lock(&self.state);
        if let State::Passed { refusals } = &mut *state {
            *refusals += 1;
            if *refusals < MOST_REFUSALS {
                return;
            }
        }
        *state = State::Refused {
            refusal: Box::new(refusal),
            since: Instant::now(),
        };
    }

    /// Makes the question undecided again.
    pub(crate) fn reopen(&self) {
        *lock(&self.state) = State::Undecided;
    }
}

impl Refusal {
    /// Returns the refusal in `error`, or `None` if it is a different error.
    pub fn of(error: &Error) -> Option<Self> {
        let kind = match error {
            Error::Unauthorized { is_login, .. } => Kind::Unauthorized {
                is_login: *is_login,
            },
            Error::Forbidden { .. } => Kind::Forbidden,
            Error::Rejected { .. } => Kind::Rejected,
            _ => return None,
        };
        Some(Self {
            kind,
            at: error.place()?.clone(),
            response: error.response()?.clone(),
        })
    }

    /// Returns the refusal as an error.
    pub fn error(&self) -> Error {
        let (at, response) = (Box::new(self.at.clone()), Box::new(self.response.clone()));
        match self.kind {
            Kind::Unauthorized { is_login } => Error::Unauthorized {
                at,
                response,
                is_login,
            },
            Kind::Forbidden => Error::Forbidden { at, response },
            Kind::Rejected => Error::Rejected { at, response },
        }
    }
}

/// Returns whether a refused write is about the account, not about its content.
///
/// - 401 always is.
/// - 403 is, unless the response mentions a quota, an immutable tag or manifest, or a rule on
///   content. Harbor responds 412 for those as well.
/// - 405 to the request that opens an upload means that the registry is read-only.
pub(crate) fn refuses_account(error: &Error) -> bool {
    match error {
        Error::Unauthorized { .. } => true,
        Error::Forbidden { response, .. } => !is_about_content(response),
        Error::Rejected { at, response } => at.method == "POST" && response.status == 405,
        _ => false,
    }
}

/// Returns whether a response is about the content, in the wording of Harbor, Quay, GitLab,
/// Artifactory, Nexus and cloud registries.
fn is_about_content(response: &ErrorResponse) -> bool {
    const WORDS: [&str; 10] = [
        "quota",
        "exceed",
        "immutable",
        "overwrit",
        "redeploy",
        "already exist",
        "retention",
        "vulnerab",
        "too large",
        "signature",
    ];
    let said = |text: &Option<String>| text.as_deref().unwrap_or_default().to_lowercase();
    let text = said(&response.code) + " " + &said(&response.message);
    WORDS.iter().any(|word| text.contains(word))
}

fn credentials_hash(credentials: &Credentials) -> Option<[u8; 32]> {
    let Credentials::Basic { username, password } = credentials else {
        return None;
    };
    let mut hasher = Sha256::new();
    hasher.update(username.len().to_le_bytes());
    hasher.update(username);
    hasher.update(secrecy::ExposeSecret::expose_secret(password));
    Some(hasher.finalize().into())
}

#[cfg(test)]
mod tests;
