//! The handle of a registry. It is cheap to clone and shares connections, tokens and limits.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;

use crate::recorded::Recorded;
use crate::retry::Trouble;
use crate::transport::{Request, Transport};
use crate::{Accounts, Credentials, Endpoint, Error, Profile, SessionStore, Stop};

/// A registry that can be pushed to and read from.
///
/// Clones share everything: the connection pool, the tokens, the limiter of its requests, and what
/// is known to be there.
#[derive(Debug, Clone)]
pub struct Registry {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) transport: Transport,
    pub(crate) recorded: Recorded,
    pub(crate) sessions: Option<Arc<dyn SessionStore>>,
}

/// How patient and how busy a [`Registry`] is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How often a piece of work is begun before its error is final.
    pub attempts: u32,
    /// The pause before the second attempt; it doubles with each further one.
    pub first_pause: Duration,
    /// The longest pause of our own choice.
    pub longest_pause: Duration,
    /// The longest pause that a registry may order by `Retry-After`; a longer one is an error.
    pub longest_wait: Duration,
    /// How long a connection may take to be made, TLS included.
    pub connect_timeout: Duration,
    /// How long the answer to a request without a large body may take.
    pub answer_timeout: Duration,
    /// How long an upload or a download may stall before it is aborted.
    pub stall_timeout: Duration,
    /// How long the answer may take after the last byte of an upload: registries hash and move the
    /// blob then.
    pub finish_timeout: Duration,
    /// The most pieces of work in progress, over all pushes by this handle: what operators set as
    /// `--jobs`. With 1, one request follows the other; 0 means the same.
    ///
    /// Without it, there are 24 places for large blobs and 24 for what carries little, and fewer
    /// while the registry refuses or is slow.
    pub uploads_at_once: Option<usize>,
    /// How many bytes of blobs are sent each second at most, over all pushes to this registry
    /// together: what operators set as `--max-rate`. `None` sets no bound.
    ///
    /// The bytes are spread over the second, so a line that is shared is not used in bursts. What
    /// is sent again counts again; manifests, headers and TLS do not count. A registry that is
    /// waited for because of it is not taken for a slow one.
    pub max_rate: Option<u64>,
    /// The size in bytes from which an upload that was cut is worth resuming. Such a blob is sent
    /// as a stream that may end anywhere.
    pub resume_from: u64,
    /// What ends the pushes to this registry calmly. Several registries may share one.
    pub stop: Stop,
    /// How long requests in progress may stall after that before they are abandoned.
    pub stop_timeout: Duration,
    /// What was measured of the registry before. A push begins with it, and drops it if it is
    /// wrong.
    pub profile: Profile,
    /// What registries said of accounts before. Handles of one run share it, so a wrong password is
    /// shown once.
    pub accounts: Accounts,
    /// Why the last request failed that is made again.
    pub trouble: Trouble,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            attempts: 6,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(20),
            longest_wait: Duration::from_secs(300),
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(60),
            finish_timeout: Duration::from_secs(600),
            uploads_at_once: None,
            max_rate: None,
            resume_from: 16 << 20,
            stop: Stop::default(),
            stop_timeout: Duration::from_secs(5),
            profile: Profile::default(),
            accounts: Accounts::default(),
            trouble: Trouble::default(),
        }
    }
}

impl Registry {
    /// Returns a handle for the registry at `endpoint`. No request is made.
    ///
    /// # Errors
    ///
    /// [`Error::Client`] if no HTTP client can be set up on this machine.
    pub fn new(endpoint: Endpoint, credentials: Credentials) -> Result<Self, Error> {
        Self::with_settings(endpoint, credentials, Settings::default())
    }

    /// Returns a handle like [`Registry::new`], with other settings than the default ones.
    ///
    /// # Errors
    ///
    /// [`Error::Client`] if no HTTP client can be set up on this machine.
    pub fn with_settings(
        endpoint: Endpoint,
        credentials: Credentials,
        settings: Settings,
    ) -> Result<Self, Error> {
        Self::with_sessions(endpoint, credentials, settings, None)
    }

    /// Returns a handle like [`Registry::with_settings`] that remembers uploads of large blobs in
    /// `sessions`, so that another run resumes those that were cut, if the registry kept them.
    ///
    /// # Errors
    ///
    /// [`Error::Client`] if no HTTP client can be set up on this machine.
    pub fn with_sessions(
        endpoint: Endpoint,
        credentials: Credentials,
        settings: Settings,
        sessions: Option<Arc<dyn SessionStore>>,
    ) -> Result<Self, Error> {
        let recorded = Recorded::expecting(&settings.profile);
        Ok(Self {
            inner: Arc::new(Inner {
                transport: Transport::new(endpoint, credentials, settings)?,
                recorded,
                sessions,
            }),
        })
    }

    /// Returns whether pushes found [`Settings::profile`] wrong, so it is better forgotten.
    pub fn profile_is_wrong(&self) -> bool {
        self.inner.recorded.profile_is_wrong()
    }

    /// Returns why the registry takes nothing from this account, if its first write was refused.
    pub fn refuses_writes(&self) -> Option<Error> {
        let refusal = self.inner.transport.write_refusal();
        refusal.map(|refusal| refusal.error())
    }

    /// Returns where the registry is.
    pub fn endpoint(&self) -> &Endpoint {
        self.inner.transport.endpoint()
    }

    /// Returns for how long the registry has taken no bytes and answered no piece of work, although
    /// requests are in flight.
    pub fn silence(&self) -> Option<Duration> {
        self.transport().limiter().silence()
    }

    /// Returns why the registry was not reached, if a request failed for that within `time` and is
    /// made again.
    pub fn trouble(&self, time: Duration) -> Option<&'static str> {
        self.inner.transport.settings().trouble.within(time)
    }

    /// Asks the registry whether it is one, and whether it accepts the credentials where it
    /// requires any.
    ///
    /// Tried twice at most: the operator is waiting. A registry that allows anonymous reads does
    /// not look at credentials here, so a wrong password may still show at the first push.
    ///
    /// # Errors
    ///
    /// [`Error::NotARegistry`] if something else answers there; otherwise why the request failed.
    pub async fn ping(&self) -> Result<(), Error> {
        let transport = &self.inner.transport;
        let call = Request::new(Method::GET, transport.endpoint().url("/v2/"), "").briefly();
        match transport.send(&call, &()).await {
            Ok(_) => Ok(()),
            Err(Error::NotFound { at, answer }) => Err(Error::NotARegistry {
                at,
                found: format!("its answer is {answer}"),
            }),
            Err(Error::Rejected { at, answer }) if answer.status < 400 => {
                Err(Error::NotARegistry {
                    at,
                    found: format!("it sends its callers elsewhere with {answer}"),
                })
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.inner.transport
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::response::{Html, IntoResponse};

    use super::*;
    use crate::fake::{self, Fake};

    #[tokio::test]
    async fn ping_knows_a_registry_when_it_sees_one() {
        let fake = Fake::start(|_| StatusCode::OK.into_response()).await;
        fake.registry().ping().await.unwrap();
        assert_eq!(fake.requests(), ["GET /v2/"]);
    }

    #[tokio::test]
    async fn ping_knows_what_is_not_a_registry() {
        for (answer, found) in [
            (StatusCode::NOT_FOUND.into_response(), "404 Not Found"),
            (Html("<h1>Welcome</h1>").into_response(), "an HTML page"),
            (
                (
                    StatusCode::FOUND,
                    [("location", "https://example.com/login")],
                )
                    .into_response(),
                "302 Found",
            ),
        ] {
            let answer = std::sync::Mutex::new(Some(answer));
            let fake = Fake::start(move |_| answer.lock().unwrap().take().unwrap()).await;
            let error = fake.registry().ping().await.unwrap_err();
            assert!(matches!(error, Error::NotARegistry { .. }), "{error:?}");
            assert!(error.to_string().contains(found), "{error}");
        }
    }

    #[tokio::test]
    async fn ping_does_not_wait_long_for_a_registry_that_is_down() {
        let endpoint = Endpoint::new(&fake::free_address().await, None).unwrap();
        let registry =
            Registry::with_settings(endpoint, Credentials::Anonymous, fake::hasty()).unwrap();
        let error = registry.ping().await.unwrap_err();
        assert!(
            matches!(error, Error::ConnectionRefused { .. }),
            "{error:?}"
        );
    }
}
