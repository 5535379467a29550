//! The client of a registry, and its settings.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;

use crate::recorded::Recorded;
use crate::retry::Trouble;
use crate::transport::{Request, Transport};
use crate::{Accounts, Credentials, Endpoint, Error, Profile, SessionStore, Stop};

/// A client that pushes to a registry and reads from it.
///
/// Cheap to clone. Clones share connections, tokens, the limiter of requests, and the record of
/// what the registry confirmed.
#[derive(Debug, Clone)]
pub struct Registry {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) transport: Transport,
    pub(crate) recorded: Recorded,
}

/// Timeouts, limits and shared state of a [`Registry`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// Maximum number of attempts at a request, or at an upload of several requests.
    pub attempts: u32,
    /// Pause before the second attempt. It doubles with each further one.
    pub first_pause: Duration,
    /// Maximum of that doubling. A `Retry-After` may order a longer pause.
    pub longest_pause: Duration,
    /// Maximum pause that a `Retry-After` may order. A longer order makes the error final.
    pub longest_wait: Duration,
    /// Timeout of establishing a connection, including TLS.
    pub connect_timeout: Duration,
    /// Timeout of the response to a request without a large body.
    pub answer_timeout: Duration,
    /// How long an upload or a download may transfer no byte before it is aborted.
    pub stall_timeout: Duration,
    /// Timeout of the response after the last byte of an upload. Registries hash and move the blob
    /// in this time.
    pub finish_timeout: Duration,
    /// Maximum number of concurrent transfers of this client: `--jobs`. 0 counts as 1, which sends
    /// one request at a time.
    ///
    /// `None` allows 24 uploads of large blobs beside 24 small requests, and fewer while the
    /// registry refuses requests or is slow.
    pub uploads_at_once: Option<usize>,
    /// Maximum upload rate in bytes per second, over all pushes of this client: `--max-rate`.
    /// `None` sets no limit.
    ///
    /// The bytes are spread over each second, so a shared line sees no bursts. Bytes that are sent
    /// again count again; manifests, headers and TLS do not count. Waiting for this limit does not
    /// count as a slow registry.
    pub max_rate: Option<u64>,
    /// Minimum size in bytes of a blob whose upload is resumed after an interruption. Such a blob
    /// is sent as a stream without a length.
    pub resume_from: u64,
    /// Ends pushes of this client early. Several clients may share one.
    pub stop: Stop,
    /// How long requests in progress may transfer nothing after a stop before they are aborted.
    pub stop_timeout: Duration,
    /// Capabilities measured in an earlier run. A push begins with them and drops those that turn
    /// out wrong.
    pub profile: Profile,
    /// Accepted and refused logins, connections and limits. Clients that share it do not repeat a
    /// login that was refused to one of them.
    pub accounts: Accounts,
    /// The reason why the registry cannot be reached, while a request waits for its next attempt.
    pub trouble: Trouble,
    /// Records upload sessions of large blobs, so the next run resumes them. Without it, an
    /// interrupted upload starts over in the next run.
    pub sessions: Option<Arc<dyn SessionStore>>,
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
            sessions: None,
        }
    }
}

impl Registry {
    /// Returns a client of the registry at `endpoint` with the default settings. Sends no request.
    ///
    /// # Errors
    ///
    /// [`Error::Client`] if no HTTP client can be built on this machine.
    pub fn new(endpoint: Endpoint, credentials: Credentials) -> Result<Self, Error> {
        Self::with_settings(endpoint, credentials, Settings::default())
    }

    /// Returns a client of the registry at `endpoint`. Sends no request.
    ///
    /// # Errors
    ///
    /// [`Error::Client`] if no HTTP client can be built on this machine.
    pub fn with_settings(
        endpoint: Endpoint,
        credentials: Credentials,
        settings: Settings,
    ) -> Result<Self, Error> {
        let recorded = Recorded::from_profile(&settings.profile);
        Ok(Self {
            inner: Arc::new(Inner {
                transport: Transport::new(endpoint, credentials, settings)?,
                recorded,
            }),
        })
    }

    /// Returns whether a push found [`Settings::profile`] outdated. The caller then deletes it.
    pub fn profile_is_wrong(&self) -> bool {
        self.inner.recorded.profile_is_wrong()
    }

    /// Returns the refusal of this client's first write, if it was about the account. No further
    /// write is sent then.
    pub fn refuses_writes(&self) -> Option<Error> {
        let refusal = self.transport().writes.refusal();
        refusal.map(|refusal| refusal.error())
    }

    /// Returns the registry's address, scheme and certificates.
    pub fn endpoint(&self) -> &Endpoint {
        self.transport().endpoint()
    }

    /// Returns how long the registry has neither taken bytes nor completed a request, if requests
    /// are in flight.
    pub fn silence(&self) -> Option<Duration> {
        self.transport().limiter().silence()
    }

    /// Returns why the registry cannot be reached, if a request failed for that reason within
    /// `time` and will be repeated.
    pub fn trouble(&self, time: Duration) -> Option<&'static str> {
        self.transport().settings().trouble.within(time)
    }

    /// Checks that the endpoint is a registry and accepts the credentials, with at most two
    /// attempts.
    ///
    /// A registry that allows anonymous reads does not check credentials here. A wrong password may
    /// still be rejected at the first write.
    ///
    /// # Errors
    ///
    /// [`Error::NotARegistry`] if a different server responds; otherwise the error of the request.
    pub async fn ping(&self) -> Result<(), Error> {
        let transport = self.transport();
        let request = Request::new(Method::GET, transport.endpoint().url("/v2/"), "").briefly();
        match transport.send(&request, &()).await {
            Ok(_) => Ok(()),
            Err(Error::NotFound { at, response }) => Err(Error::NotARegistry {
                at,
                found: format!("its answer is {response}"),
            }),
            Err(Error::Rejected { at, response }) if response.status < 400 => {
                Err(Error::NotARegistry {
                    at,
                    found: format!("it sends its callers elsewhere with {response}"),
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
    async fn ping_accepts_a_registry() {
        let fake = Fake::start(|_| StatusCode::OK.into_response()).await;
        fake.registry().ping().await.unwrap();
        assert_eq!(fake.requests(), ["GET /v2/"]);
    }

    #[tokio::test]
    async fn ping_rejects_other_servers() {
        for (response, found) in [
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
            let response = std::sync::Mutex::new(Some(response));
            let fake = Fake::start(move |_| response.lock().unwrap().take().unwrap()).await;
            let error = fake.registry().ping().await.unwrap_err();
            assert!(matches!(error, Error::NotARegistry { .. }), "{error:?}");
            assert!(error.to_string().contains(found), "{error}");
        }
    }

    #[tokio::test]
    async fn ping_fails_soon_if_the_registry_is_down() {
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
