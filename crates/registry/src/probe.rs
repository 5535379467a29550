//! Tests what an installation will need of a registry.
//!
//! Everything is tried that can be, whatever failed before; each [`Aspect`] gets one [`Finding`].
//! What is put into the registry for that is put into repositories of its own and removed again.
//! `xtask` adds the fix for each [`Fault`].
//!
//! ```text
//! reach        the name, the connection, the API, the clock, who is let in
//!   certificate  the chain as a node sees it
//!   product      which registry it may be, by its headers
//! send         a probe into a deep repository: uploads in both ways, a mount, manifests of each kind
//!   read_back    the same as those see it who pull: by HEAD, where its blobs come from, whole as a node
//!   limit        how much one request may carry
//! remove       all of it again
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

/// How long everything but the removal may take.
const TIME_LIMIT: Duration = Duration::from_secs(42);

/// How long the removal may take.
const REMOVAL_TIME_LIMIT: Duration = Duration::from_secs(12);

/// The folder below the project that probes go to.
pub const FOLDER: &str = "airlock-preflight";

/// What is to be tried, and with what.
pub struct Probe<'a> {
    /// The registry.
    pub endpoint: &'a Endpoint,
    /// Who pushes.
    pub credentials: Credentials,
    /// The path below which everything will lie; empty where there is none.
    pub project: &'a str,
    /// The tag of the probe; another one for each run, since several may be under way.
    pub tag: &'a str,
    /// An index of several platforms, its images before it.
    pub index: &'a [Manifest],
    /// A Helm chart.
    pub chart: &'a [Manifest],
    /// An artifact that is neither an image nor a chart.
    pub artifact: &'a [Manifest],
    /// The bytes of all manifests and blobs of these, by digest.
    pub bytes: &'a HashMap<String, Bytes>,
    /// The largest blob that will be pushed, in bytes, where that is known.
    pub largest_blob: Option<u64>,
    /// The most that is sent in one request to find out how much it may carry, in bytes.
    pub most_in_a_request: usize,
    /// With what nodes pull.
    pub pull: Pull,
    /// What registries said of accounts before in this run.
    pub accounts: Accounts,
    /// `caData` is given to the cluster, whose chart client then trusts no other host.
    pub has_ca_data: bool,
    /// What ends it early. What was pushed is removed then, too.
    pub stop: Stop,
    /// The present time, in seconds since 1970.
    pub now: &'a (dyn Fn() -> i64 + Sync),
}

/// With what nodes pull.
pub enum Pull {
    /// Without credentials: anonymous pulls are allowed.
    Anonymously,
    /// With a secret. Where nothing is known of it, the push credentials replace it.
    WithSecret(Option<Credentials>),
}

/// What came of it all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// A finding for each aspect, in their order.
    pub findings: Vec<Finding>,
    /// What was measured that a push can begin with.
    pub profile: Profile,
}

/// Tries everything, within a minute.
///
/// # Errors
///
/// [`Error::Client`] if no HTTP client can be set up on this machine; [`Error::Stopped`] if it was
/// asked to stop.
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

/// Makes a client that soon gives up.
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
