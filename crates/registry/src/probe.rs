//! Tests what an installation requires of a registry.
//!
//! Each [`Aspect`] gets one [`Finding`]. A failed test does not keep independent tests from
//! running. Content is pushed to repositories of its own and removed afterwards. `xtask` adds the
//! fix for each [`Fault`].
//!
//! ```text
//! reach        name, connection, API, clock, login
//!   certificate  the certificate chain as a node sees it
//!   product      guesses the product from headers
//! send         pushes a probe into a deep repository: blobs, a mount, manifests of each kind
//!   read_back    reads it as nodes do: by HEAD, with redirects of blobs, completely
//!   limit        how large one request may be
//! remove       removes the probe
//! ```

mod certificate;
mod finding;
mod limit;
mod product;
mod reach;
mod read_back;
mod remove;
mod send;

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout, timeout_at};

pub use finding::{Aspect, Fault, Finding, Verdict};

use crate::{Accounts, Credentials, Endpoint, Error, Manifest, Profile, Registry, Settings, Stop};
use finding::Findings;
use remove::Leftovers;

/// Maximum duration of everything but the removal.
const TIME_LIMIT: Duration = Duration::from_secs(42);

/// Maximum duration of the removal.
const REMOVAL_TIME_LIMIT: Duration = Duration::from_secs(12);

/// Path below the project that probes are pushed to.
pub const FOLDER: &str = "airlock-preflight";

/// The registry to test, the content to push, and limits.
pub struct Probe<'a> {
    /// The registry to test.
    pub endpoint: &'a Endpoint,
    /// Credentials of the push.
    pub credentials: Credentials,
    /// Path below which the probe is pushed. May be empty.
    pub project: &'a str,
    /// Tag of the probe, different for each run, since several may run concurrently.
    pub tag: &'a str,
    /// An index of several platforms, after its images.
    pub index: &'a [Manifest],
    /// A Helm chart.
    pub chart: &'a [Manifest],
    /// An artifact that is neither an image nor a chart.
    pub artifact: &'a [Manifest],
    /// Content of all manifests and blobs, by digest.
    pub bytes: &'a HashMap<String, Bytes>,
    /// Size of the largest blob that will be pushed in bytes, if known.
    pub largest_blob: Option<u64>,
    /// Maximum size in bytes of the request that tests the body limit.
    pub most_in_a_request: usize,
    /// How nodes authenticate.
    pub pull: Pull,
    /// Accepted and refused logins of this run.
    pub accounts: Accounts,
    /// Whether the cluster gets `caData`. Its chart client then trusts no other CA.
    pub has_ca_data: bool,
    /// Ends the probe early. What was pushed is removed anyway.
    pub stop: Stop,
    /// Returns the Unix time in seconds.
    pub now: &'a (dyn Fn() -> i64 + Sync),
}

/// How nodes authenticate.
pub enum Pull {
    /// Without credentials.
    Anonymously,
    /// With a pull secret. If its credentials are not known here, the push credentials are used.
    WithSecret(Option<Credentials>),
}

/// The outcome of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// One finding per aspect, in the order of [`Aspect::ALL`].
    pub findings: Vec<Finding>,
    /// Capabilities for the next push.
    pub profile: Profile,
}

/// Runs all tests, within a minute.
///
/// # Errors
///
/// [`Error::Client`] if no HTTP client can be built on this machine; [`Error::Stopped`] after a
/// stop.
pub async fn probe(probe: &Probe<'_>) -> Result<Probed, Error> {
    let registry = client(probe, probe.credentials.clone())?;
    let mut findings = Findings::default();
    let mut leftovers = Leftovers::default();
    let mut profile = Profile::default();
    let deadline = Instant::now() + TIME_LIMIT;
    let everything = async {
        if reach::reach(probe, &registry, &mut findings, &mut profile).await {
            send::send(
                probe,
                &registry,
                &mut findings,
                &mut leftovers,
                &mut profile,
            )
            .await;
        }
    };
    let (stopped, in_time) = tokio::select! {
        outcome = timeout_at(deadline, everything) => (false, outcome.is_ok()),
        () = probe.stop.requested() => (true, true),
    };
    if !in_time {
        findings.out_of_time(TIME_LIMIT);
    }
    if !leftovers.is_nothing() {
        let removing = remove::remove(&registry, &leftovers, &mut findings);
        if timeout(REMOVAL_TIME_LIMIT, removing).await.is_err() {
            let stays = leftovers.names().join(", ");
            let text = format!(
                "not done within {} s; this may stay: {stays}",
                REMOVAL_TIME_LIMIT.as_secs()
            );
            findings.warn(Aspect::Delete, Fault::NoDelete, text);
        }
    }
    match stopped {
        true => Err(Error::Stopped),
        false => {
            let is_ok = |aspect| findings.has(aspect).then(|| findings.is_ok(aspect));
            profile.chunks = is_ok(Aspect::Chunks);
            profile.mounts = is_ok(Aspect::Mount);
            profile.deletes = is_ok(Aspect::Delete);
            Ok(Probed {
                findings: findings.complete(),
                profile,
            })
        }
    }
}

/// Returns a client with short timeouts and few attempts.
fn client(probe: &Probe<'_>, credentials: Credentials) -> Result<Registry, Error> {
    let settings = Settings {
        attempts: 2,
        first_pause: Duration::from_millis(200),
        longest_wait: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
        answer_timeout: Duration::from_secs(10),
        stall_timeout: Duration::from_secs(10),
        finish_timeout: Duration::from_secs(10),
        accounts: probe.accounts.clone(),
        ..Settings::default()
    };
    Registry::with_settings(probe.endpoint.clone(), credentials, settings)
}

impl std::fmt::Debug for Probe<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe")
            .field("endpoint", &self.endpoint)
            .field("project", &self.project)
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
