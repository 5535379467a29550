//! Records whether an account may log in and write in this run.
//!
//! Many requests with a wrong password lock the account, and a registry that refuses one write
//! usually refuses them all. The first request with a password and the first write are therefore
//! sent alone. If one is refused, the requests that wait for it fail with the same error and are
//! not sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::clients::Clients;
use crate::recorded::lock;
use crate::{Answer, Credentials, Endpoint, Error, Place, limiter};

/// How many 401s end the login of an account that was let in before. Some registries say 401 for
/// what they forbid.
const MOST_REFUSALS: u32 = 3;

/// How long a refusal holds: a command that watches a registry for days must notice that the
/// password was corrected. Accounts are commonly locked by five wrong passwords within a quarter of
/// an hour.
const REMEMBERED: Duration = Duration::from_secs(600);

/// The accounts that a run logs in with, and what registries said of them. Cheap to clone; every
/// clone is the same.
///
/// Handles that share it do not repeat a login that one of them was refused.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    accounts: Arc<Mutex<HashMap<Key, Arc<Account>>>>,
    /// The connections, which handles of all registries share if they trust the same authorities.
    pub(crate) clients: Arc<Clients>,
    /// By address: what a registry bears does not depend on who asks.
    limits: Arc<Mutex<HashMap<String, Arc<limiter::Shared>>>>,
}

/// A registry's address, and the hash of the credentials, if there are any.
type Key = (String, Option<[u8; 32]>);

/// An account at one registry.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// Whether its password is accepted.
    pub(crate) login: Gate,
    writes: Mutex<Writes>,
}

/// What a registry said to the writes of an account, over all handles.
#[derive(Debug, Default)]
struct Writes {
    accepted: bool,
    refused: Option<Refusal>,
}

/// A question that the first answer decides.
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
        refusal: Refusal,
        since: Instant,
    },
}

/// An error that says no, as often as it is needed.
#[derive(Debug, Clone)]
pub struct Refusal {
    kind: Kind,
    at: Place,
    answer: Answer,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Unauthorized { is_login: bool },
    Forbidden,
    Rejected,
}

impl Accounts {
    pub(crate) fn of(&self, endpoint: &Endpoint, credentials: &Credentials) -> Arc<Account> {
        let key = (endpoint.address().to_owned(), hash(credentials));
        Arc::clone(lock(&self.accounts).entry(key).or_default())
    }

    /// Returns the limits that all handles of a registry share.
    pub(crate) fn limits(&self, endpoint: &Endpoint) -> Arc<limiter::Shared> {
        let address = endpoint.address().to_owned();
        Arc::clone(lock(&self.limits).entry(address).or_default())
    }
}

impl Account {
    /// Takes note that a write was accepted.
    pub(crate) fn may_write(&self) {
        lock(&self.writes).accepted = true;
    }

    /// Takes note that the first write of a handle was refused. An account that was allowed to
    /// write elsewhere in this registry keeps its other handles.
    pub(crate) fn may_not_write(&self, refusal: &Refusal) {
        let mut writes = lock(&self.writes);
        if !writes.accepted {
            writes.refused = Some(refusal.clone());
        }
    }

    /// Takes note that what looked like a refusal was none.
    pub(crate) fn forget_refused_write(&self) {
        lock(&self.writes).refused = None;
    }

    /// Returns why the account may not write anywhere in this registry, if that was found.
    pub(crate) fn write_refusal(&self) -> Option<Refusal> {
        lock(&self.writes).refused.clone()
    }
}

impl Gate {
    /// Returns when the answer is known, or with a guard for the one request that finds it out.
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

    /// Returns whether there is a good answer.
    fn is_passed(&self) -> Result<bool, Error> {
        match &*lock(&self.state) {
            State::Passed { .. } => Ok(true),
            State::Refused { refusal, since } if since.elapsed() < REMEMBERED => {
                Err(refusal.error())
            }
            State::Undecided | State::Refused { .. } => Ok(false),
        }
    }

    /// Returns whether there is an answer.
    pub(crate) fn is_decided(&self) -> bool {
        self.is_passed().unwrap_or(true)
    }

    /// Returns the refusal, if there is one.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match &*lock(&self.state) {
            State::Refused { refusal, .. } => Some(refusal.clone()),
            State::Undecided | State::Passed { .. } => None,
        }
    }

    pub(crate) fn pass(&self) {
        let mut state = lock(&self.state);
        if !matches!(*state, State::Passed { .. }) {
            *state = State::Passed { refusals: 0 };
        }
    }

    /// Takes note of a refusal: the first one decides, unless there was a good answer before.
    pub(crate) fn refuse(&self, refusal: Refusal) {
        let mut state = lock(&self.state);
        if let State::Passed { refusals } = &mut *state {
            *refusals += 1;
            if *refusals < MOST_REFUSALS {
                return;
            }
        }
        *state = State::Refused {
            refusal,
            since: Instant::now(),
        };
    }

    /// Takes note that there is no answer yet.
    pub(crate) fn reopen(&self) {
        *lock(&self.state) = State::Undecided;
    }
}

impl Refusal {
    /// Returns what an error refuses, if it is an answer of the registry or its token server.
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
            answer: error.answer()?.clone(),
        })
    }

    /// Returns the error.
    pub fn error(&self) -> Error {
        let (at, answer) = (Box::new(self.at.clone()), Box::new(self.answer.clone()));
        match self.kind {
            Kind::Unauthorized { is_login } => Error::Unauthorized {
                at,
                answer,
                is_login,
            },
            Kind::Forbidden => Error::Forbidden { at, answer },
            Kind::Rejected => Error::Rejected { at, answer },
        }
    }
}

/// Returns whether an error that refuses a write is about the account and not about what was to be
/// written.
///
/// 401 always is. 403 is, unless the response mentions a quota, an immutable tag or manifest, or a
/// rule for content; Harbor says 412 for those as well. 405 to the request that opens an upload is
/// a registry that is read-only.
pub(crate) fn refuses_account(error: &Error) -> bool {
    match error {
        Error::Unauthorized { .. } => true,
        Error::Forbidden { answer, .. } => !is_about_content(answer),
        Error::Rejected { at, answer } => at.method == "POST" && answer.status == 405,
        _ => false,
    }
}

/// Returns whether an answer speaks of what was sent, in the words of Harbor, Quay, GitLab,
/// Artifactory, Nexus and cloud registries.
fn is_about_content(answer: &Answer) -> bool {
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
    let text = said(&answer.code) + " " + &said(&answer.message);
    WORDS.iter().any(|word| text.contains(word))
}

fn hash(credentials: &Credentials) -> Option<[u8; 32]> {
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
