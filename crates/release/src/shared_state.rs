//! The shared state of an environment: a small artifact in its registry that records the deploy that changed the cluster last,
//! and whether it ended.
//!
//! A receipt reaches other checkouts only when it is committed and pulled. A deploy from a checkout that lacks it is found out here,
//! before mkectl runs. The artifact names no operator and no host, since nodes may read it. A registry that refuses it costs a warning.
//!
//! A plain registry has no transactions. So a deploy looks at the tag immediately before it writes, waits, and looks again: of two that
//! began at the same time, the one that finds the other's mark stops.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use environment::Environment;
use oci_spec::image::{Digest, ImageManifest, MediaType};
use serde::{Deserialize, Serialize};

use crate::environment_lock;
use crate::event::Event;
use crate::receipt::{self, Receipt};
use crate::transfer::connect;
use crate::workspace::{Output, read_if_there, write_whole};
use crate::{Context, Credentials, Error, Kind, RegistryError, chain, sha256};

/// The media type of the state, and the type of the artifact that carries it.
pub const MEDIA_TYPE: &str = "application/vnd.airlock.state.v1+json";

/// The repository, without the project. The tag is the environment's name.
const REPOSITORY: &str = "airlock/state";

/// The largest state that is read, in bytes.
const LARGEST: u64 = 64 << 10;

/// How long a deploy that has written its mark waits for the mark of a deploy that began at the same time, at least.
const SETTLE: Duration = Duration::from_millis(300);

/// How many times as long as its own mark took a deploy waits for that of another, which may take longer.
const PATIENCE: u32 = 5;

/// What the artifact holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct State {
    /// Whether the deploy ended.
    pub phase: Phase,
    /// A random name of the deploy, which its receipt repeats.
    pub run: String,
    /// The release that it deploys, `v4.1.5`.
    pub release: String,
    /// SHA-256 of the lock's file.
    pub lock: String,
    /// SHA-256 of the last receipt; none before the first one and after a reset.
    pub receipt: Option<String>,
    /// When this was written, in UTC.
    pub time: String,
}

/// How far a deploy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// mkectl is about to run, or runs.
    Began,
    /// The receipt is written.
    Ended,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Began => "began",
            Self::Ended => "ended",
        })
    }
}

/// Why a deploy from this checkout must not begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Another deploy has begun.
    #[error(
        "a deploy of {release} to {environment} began at {time} from a different checkout and has not ended"
    )]
    Unfinished {
        /// The environment.
        environment: String,
        /// The release that it deploys.
        release: String,
        /// When it began.
        time: String,
    },
    /// A command is at work in this checkout.
    #[error("{environment} is in use by {holder}")]
    InUse {
        /// The environment.
        environment: String,
        /// The command, its process and its time.
        holder: String,
    },
    /// This checkout lacks the last receipt.
    #[error("the registry records that {deployed} at {time}, but {here}")]
    Differs {
        /// The environment.
        environment: String,
        /// What was done.
        deployed: String,
        /// When it ended.
        time: String,
        /// What this checkout has.
        here: String,
    },
    /// The artifact cannot be parsed.
    #[error("the shared state of {environment} in {reference} is not valid: {fault}")]
    Invalid {
        /// The environment.
        environment: String,
        /// The repository and tag.
        reference: String,
        /// What is wrong with it.
        fault: StateFault,
    },
    /// Another deploy began between the plan and mkectl.
    #[error("a different deploy of {environment} began while this one was running")]
    Overtaken {
        /// The environment.
        environment: String,
    },
}

/// What is wrong with a shared state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateFault {
    /// Its manifest or its blob cannot be parsed, in the words of the parser.
    #[error("{0}")]
    Unreadable(String),
    /// It is an artifact of another kind.
    #[error("its media type is `{}`, not `{MEDIA_TYPE}`", .0.escape_debug())]
    MediaType(String),
    /// It is larger than a state can be.
    #[error("it is too large")]
    TooLarge,
    /// The registry has its manifest alone.
    #[error("its blob is missing")]
    BlobMissing,
    /// The value of this key is wrong.
    #[error("`{0}` is not valid")]
    Key(&'static str),
}

impl Conflict {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Unfinished { .. }
            | Self::InUse { .. }
            | Self::Differs { .. }
            | Self::Invalid { .. }
            | Self::Overtaken { .. } => Kind::NotAllowed,
        }
    }
}

impl Conflict {
    /// Returns whether a deploy may still be running elsewhere, so the operator has to decide.
    pub fn may_be_running(&self) -> bool {
        matches!(self, Self::Unfinished { .. })
    }
}

/// What was found in the registry when a plan was computed, and what it means for this checkout.
#[derive(Debug)]
pub struct Standing {
    held: Held,
    conflict: Option<Conflict>,
    /// What the operator should know.
    pub(crate) warning: Option<String>,
}

#[derive(Debug)]
enum Held {
    /// The registry was not asked.
    Unasked,
    /// The registry does not serve it to this operator.
    Refused,
    Nothing,
    Found {
        digest: Digest,
        state: Result<State, StateFault>,
    },
}

impl Standing {
    /// Returns the standing of a plan that touches no cluster which operators share.
    pub(crate) fn unasked() -> Self {
        Self {
            held: Held::Unasked,
            conflict: None,
            warning: None,
        }
    }

    /// Returns why a deploy must not begin, if there is a reason.
    pub fn conflict(&self) -> Option<&Conflict> {
        self.conflict.as_ref()
    }

    /// Returns whether the receipt of this checkout may not be that of the last deploy.
    pub(crate) fn is_ahead_of_receipt(&self) -> bool {
        let conflict = self.conflict.as_ref();
        conflict.is_some_and(|conflict| !matches!(conflict, Conflict::InUse { .. }))
    }

    /// Returns the run that the registry names.
    pub(crate) fn run(&self) -> Option<&str> {
        Some(self.state()?.run.as_str())
    }

    /// Returns what the registry holds, if it is valid.
    pub(crate) fn state(&self) -> Option<&State> {
        match &self.held {
            Held::Found { state, .. } => state.as_ref().ok(),
            _ => None,
        }
    }

    /// Refuses a deploy that would not see what another one did.
    ///
    /// # Errors
    /// There is a conflict, and the operator has not said to take over.
    pub fn allow(&self, take_over: bool) -> Result<(), Error> {
        match &self.conflict {
            Some(conflict) if !take_over => Err(Error::SharedState(conflict.clone())),
            _ => Ok(()),
        }
    }
}

/// Reads the state of an environment and compares it with the receipt of this checkout. A registry that cannot be asked is a warning.
pub(crate) async fn read(
    context: &Context<'_>,
    environment: &Environment,
    output: &Output,
    receipt: Option<&Receipt>,
) -> Standing {
    let name = &environment.name;
    let found = match look(context, environment).await {
        Ok(found) => found,
        Err(error) => {
            return Standing {
                held: Held::Refused,
                conflict: None,
                warning: Some(format!(
                    "cannot read the shared state of {name}, so deploys from different checkouts are not noticed: {}",
                    chain(&error)
                )),
            };
        }
    };
    let Some((digest, state)) = found else {
        return Standing {
            held: Held::Nothing,
            conflict: None,
            warning: None,
        };
    };
    let own = own_run(output);
    let conflict = conflict(environment, output, receipt, &state);
    Standing {
        warning: match &state {
            Ok(state)
                if conflict.is_none() && is_own_and_unfinished(state, receipt, own.as_deref()) =>
            {
                Some(format!(
                    "the deploy of {} that began at {} from this checkout was interrupted; this one takes over",
                    state.release, state.time
                ))
            }
            _ => None,
        },
        conflict,
        held: Held::Found { digest, state },
    }
}

/// Returns what a state means for a checkout with this receipt, if it forbids to change what the environment's cluster needs.
pub(crate) fn conflict(
    environment: &Environment,
    output: &Output,
    receipt: Option<&Receipt>,
    state: &Result<State, StateFault>,
) -> Option<Conflict> {
    // The registry of a rehearsal is in this checkout, and it has no cluster.
    if environment.rehearsal {
        return None;
    }
    if let Some(holder) = environment_lock::other_holder(output) {
        return Some(Conflict::InUse {
            environment: environment.name.clone(),
            holder: holder.named(),
        });
    }
    match state {
        Ok(state) => judge(
            &environment.name,
            state,
            receipt,
            own_run(output).as_deref(),
        ),
        Err(fault) => Some(Conflict::Invalid {
            environment: environment.name.clone(),
            reference: reference(environment, &environment.name),
            fault: fault.clone(),
        }),
    }
}

/// Returns every state below the project of an environment's registry, by the name of its environment, which may be of a
/// different workspace.
///
/// # Errors
/// The registry cannot be asked, or does not list the tags.
pub(crate) async fn all(
    context: &Context<'_>,
    environment: &Environment,
) -> Result<BTreeMap<String, Result<State, StateFault>>, Error> {
    let mut all = BTreeMap::new();
    if environment.rehearsal {
        // Its registry has no other environments, and it has no cluster.
        return Ok(all);
    }
    let failed = |source| {
        Error::Connect(connect::Error::Registry {
            address: environment.registry.address.clone(),
            source,
        })
    };
    let mut client = Client::of(context, environment, context.credentials(environment)?)?;
    let tags = client.registry.tags(&client.repository).await;
    for tag in tags.map_err(failed)? {
        client.tag = tag;
        if let Some((_, state)) = client.get().await.map_err(failed)? {
            all.insert(client.tag.clone(), state);
        }
    }
    Ok(all)
}

/// Returns what a state means for a checkout with this receipt, whose own interrupted run has this name.
fn judge(
    environment: &str,
    state: &State,
    receipt: Option<&Receipt>,
    own: Option<&str>,
) -> Option<Conflict> {
    let is_known = receipt.is_some_and(|receipt| receipt.run.as_ref() == Some(&state.run));
    let both_reset = receipt.is_none() && state.receipt.is_none() && state.phase == Phase::Ended;
    if is_known || both_reset || is_own_and_unfinished(state, receipt, own) {
        return None;
    }
    Some(match state.phase {
        Phase::Began => Conflict::Unfinished {
            environment: environment.to_owned(),
            release: state.release.clone(),
            time: state.time.clone(),
        },
        Phase::Ended => Conflict::Differs {
            environment: environment.to_owned(),
            deployed: match &state.receipt {
                Some(_) => format!("a deploy of {} to {environment} ended", state.release),
                None => format!("the cluster of {environment} was reset"),
            },
            time: state.time.clone(),
            here: match receipt.map(|receipt| receipt.applied.as_ref()) {
                Some(Some(applied)) => format!(
                    "the receipt in this checkout records {} of {}",
                    applied.release, applied.ended
                ),
                Some(None) => "the receipt in this checkout records no success".to_owned(),
                None => "this checkout has no receipt".to_owned(),
            },
        },
    })
}

fn is_own_and_unfinished(state: &State, receipt: Option<&Receipt>, own: Option<&str>) -> bool {
    state.phase == Phase::Began
        && own == Some(state.run.as_str())
        && receipt.is_none_or(|receipt| receipt.run.as_ref() != Some(&state.run))
}

/// A deploy that has begun: its mark in the registry, if the registry took it.
#[derive(Debug)]
pub(crate) struct Mark {
    recorded: Option<(Client, Digest, State)>,
}

impl Mark {
    /// Returns the run, if the registry knows it.
    pub(crate) fn run(&self) -> Option<String> {
        self.recorded
            .as_ref()
            .map(|(_, _, state)| state.run.clone())
    }
}

/// What a deploy is about.
pub(crate) struct Subject<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) output: &'a Output,
    /// The release that the cluster is to run, `v4.1.5`.
    pub(crate) release: String,
    /// SHA-256 of the lock's file.
    pub(crate) lock: String,
}

/// Writes into the registry that a deploy begins. To be called immediately before the cluster is touched.
///
/// # Errors
/// Another deploy has begun since the plan was computed, or the run cannot be noted in this checkout.
pub(crate) async fn begin(
    context: &Context<'_>,
    subject: &Subject<'_>,
    standing: &Standing,
) -> Result<Mark, Error> {
    let expected = match &standing.held {
        Held::Unasked | Held::Refused => return Ok(Mark { recorded: None }),
        Held::Nothing => None,
        Held::Found { digest, .. } => Some(digest),
    };
    let Subject {
        environment,
        output,
        ..
    } = subject;
    let receipt = read_if_there(&output.receipt)?;
    let state = State {
        phase: Phase::Began,
        run: new_run(context),
        release: subject.release.clone(),
        lock: subject.lock.clone(),
        receipt: receipt.map(|text| sha256(text.as_bytes())),
        time: receipt::now(context),
    };
    write_own_run(output, &state.run)?;
    let client = context.credentials(environment);
    let written = match client.and_then(|credentials| Client::of(context, environment, credentials))
    {
        Ok(client) => client
            .put(&state, expected)
            .await
            .map(|(digest, took)| (client, digest, took)),
        Err(error) => Err(Put::Refused(chain(&error))),
    };
    match written {
        Ok((client, digest, took)) => {
            if !environment.rehearsal {
                tokio::time::sleep(SETTLE.max(took * PATIENCE)).await;
            }
            match client.digest().await {
                Ok(Some(now)) if now != digest => {
                    remove_own_run(output)?;
                    Err(overtaken(environment))
                }
                // A registry that does not answer now has answered a moment ago.
                _ => Ok(Mark {
                    recorded: Some((client, digest, state)),
                }),
            }
        }
        Err(Put::Overtaken) => {
            remove_own_run(output)?;
            Err(overtaken(environment))
        }
        Err(Put::Refused(why)) => {
            context.reporter.report(Event::Warning(format!(
                "cannot write {}, so deploys from different checkouts are not noticed: {why}",
                reference(environment, &environment.name)
            )));
            remove_own_run(output)?;
            Ok(Mark { recorded: None })
        }
    }
}

/// Writes into the registry that a deploy ended: its receipt, or none after a reset, is on the disk. Returns a warning if the
/// registry does not take it.
pub(crate) async fn end(
    context: &Context<'_>,
    subject: &Subject<'_>,
    mark: Mark,
) -> Result<(), Error> {
    let Some((client, expected, began)) = mark.recorded else {
        return Ok(());
    };
    let Subject {
        environment,
        output,
        ..
    } = subject;
    let receipt = read_if_there(&output.receipt)?;
    let state = State {
        phase: Phase::Ended,
        receipt: receipt.map(|text| sha256(text.as_bytes())),
        time: receipt::now(context),
        ..began
    };
    let warning = match client.put(&state, Some(&expected)).await {
        Ok(_) => None,
        Err(Put::Overtaken) => Some(format!(
            "a different deploy took over {} while this one was running; compare the receipts",
            environment.name
        )),
        Err(Put::Refused(why)) => Some(format!(
            "cannot write to {} that the deploy ended; commit the receipt before {} is deployed from a different checkout: {why}",
            reference(environment, &environment.name),
            environment.name
        )),
    };
    if let Some(warning) = warning {
        context.reporter.report(Event::Warning(warning));
    }
    remove_own_run(output)
}

fn overtaken(environment: &Environment) -> Error {
    Error::SharedState(Conflict::Overtaken {
        environment: environment.name.clone(),
    })
}

/// Returns the repository and tag of the state of the environment `name`, in the registry of `environment`.
pub(crate) fn reference(environment: &Environment, name: &str) -> String {
    format!("{}/{REPOSITORY}:{name}", environment.registry.image_url())
}

/// Returns what the registry holds, with and without credentials; none if it holds nothing.
async fn look(
    context: &Context<'_>,
    environment: &Environment,
) -> Result<Option<(Digest, Result<State, StateFault>)>, Error> {
    let failed = |source| {
        Error::Connect(connect::Error::Registry {
            address: environment.registry.address.clone(),
            source,
        })
    };
    let anonymous = Client::of(context, environment, Credentials::Anonymous)?;
    match anonymous.get().await {
        Err(RegistryError::Unauthorized { .. } | RegistryError::Forbidden { .. }) => {
            let client = Client::of(context, environment, context.credentials(environment)?)?;
            client.get().await.map_err(failed)
        }
        found => found.map_err(failed),
    }
}

/// The state of one environment in its registry.
#[derive(Debug)]
struct Client {
    registry: registry::Registry,
    repository: String,
    tag: String,
}

/// Why a state was not written.
enum Put {
    Refused(String),
    /// The tag does not point at what it pointed at before.
    Overtaken,
}

impl From<RegistryError> for Put {
    fn from(error: RegistryError) -> Self {
        Self::Refused(chain(&error))
    }
}

impl Client {
    fn of(
        context: &Context<'_>,
        environment: &Environment,
        credentials: Credentials,
    ) -> Result<Self, Error> {
        let settings = registry::Settings {
            attempts: 2,
            accounts: context.accounts.clone(),
            ..registry::Settings::default()
        };
        let endpoint = connect::endpoint(context, environment)?;
        let registry = registry::Registry::with_settings(endpoint, credentials, settings);
        Ok(Self {
            registry: registry.map_err(|source| connect::Error::Registry {
                address: environment.registry.address.clone(),
                source,
            })?,
            repository: environment.registry.repository(REPOSITORY),
            tag: environment.name.clone(),
        })
    }

    async fn get(&self) -> Result<Option<(Digest, Result<State, StateFault>)>, RegistryError> {
        let fetched = match self
            .registry
            .get_manifest(&self.repository, &self.tag)
            .await
        {
            Ok(fetched) => fetched,
            Err(RegistryError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let (blob, size) = match state_blob(&fetched.bytes) {
            Ok(blob) => blob,
            Err(fault) => return Ok(Some((fetched.digest, Err(fault)))),
        };
        let mut reader = match self.registry.get_blob(&self.repository, &blob, size).await {
            Ok(reader) => reader,
            Err(RegistryError::NotFound { .. }) => {
                return Ok(Some((fetched.digest, Err(StateFault::BlobMissing))));
            }
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        while let Some(chunk) = reader.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some((fetched.digest, parse(&bytes))))
    }

    async fn digest(&self) -> Result<Option<Digest>, RegistryError> {
        let found = self.registry.get_manifest(&self.repository, &self.tag);
        match found.await {
            Ok(fetched) => Ok(Some(fetched.digest)),
            Err(RegistryError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a state in the place of the one with this digest. Returns the digest of the new one, and the time from looking at the
    /// tag to its being written.
    async fn put(
        &self,
        state: &State,
        expected: Option<&Digest>,
    ) -> Result<(Digest, Duration), Put> {
        let written = Written::of(state).map_err(|error| Put::Refused(error.to_string()))?;
        self.registry
            .restore_blob(&self.repository, &written.blob(), &[], &written, &())
            .await?;
        let looked = Instant::now();
        if self.digest().await?.as_ref() != expected {
            return Err(Put::Overtaken);
        }
        self.registry
            .restore_manifest(
                &self.repository,
                &self.tag,
                &written.manifest,
                &written,
                &(),
            )
            .await?;
        Ok((written.manifest.digest, looked.elapsed()))
    }
}

/// A state as it is sent: a manifest with one blob.
struct Written {
    manifest: registry::Manifest,
    manifest_bytes: Vec<u8>,
    blob_bytes: Vec<u8>,
}

impl Written {
    fn of(state: &State) -> io::Result<Self> {
        let blob_bytes = serde_json::to_vec(state)?;
        let blob = digest_of(&blob_bytes)?;
        let descriptor = serde_json::json!({
            "mediaType": MEDIA_TYPE,
            "digest": blob.as_ref(),
            "size": blob_bytes.len(),
        });
        // The configuration as well as the layer, since some registries refuse a manifest without one of them.
        let manifest_bytes = serde_json::to_vec(&serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MediaType::ImageManifest.as_ref(),
            "artifactType": MEDIA_TYPE,
            "config": descriptor,
            "layers": [descriptor],
        }))?;
        Ok(Self {
            manifest: registry::Manifest {
                digest: digest_of(&manifest_bytes)?,
                media_type: MediaType::ImageManifest,
                size: manifest_bytes.len() as u64,
                blobs: vec![registry::Blob {
                    digest: blob,
                    size: blob_bytes.len() as u64,
                }],
            },
            manifest_bytes,
            blob_bytes,
        })
    }

    fn blob(&self) -> registry::Blob {
        self.manifest.blobs[0].clone()
    }
}

impl registry::BlobSource for Written {
    fn open(&self, digest: &Digest) -> io::Result<File> {
        let bytes = match *digest == self.manifest.digest {
            true => &self.manifest_bytes,
            false => &self.blob_bytes,
        };
        let mut file = tempfile::tempfile()?;
        file.write_all(bytes)?;
        file.rewind()?;
        Ok(file)
    }
}

fn digest_of(bytes: &[u8]) -> io::Result<Digest> {
    let digest = format!("sha256:{}", sha256(bytes));
    digest.parse().map_err(io::Error::other)
}

/// Returns the blob of a manifest that carries a state, and its size in bytes.
fn state_blob(manifest: &[u8]) -> Result<(Digest, u64), StateFault> {
    let manifest = ImageManifest::from_reader(manifest)
        .map_err(|error| StateFault::Unreadable(error.to_string()))?;
    let config = manifest.config();
    match config.media_type().as_ref() {
        MEDIA_TYPE if config.size() > LARGEST => Err(StateFault::TooLarge),
        MEDIA_TYPE => Ok((config.digest().clone(), config.size())),
        other => Err(StateFault::MediaType(other.to_owned())),
    }
}

fn parse(bytes: &[u8]) -> Result<State, StateFault> {
    let state: State =
        serde_json::from_slice(bytes).map_err(|error| StateFault::Unreadable(error.to_string()))?;
    let is_hash = |text: &String| {
        text.len() == 64
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let release = state.release.strip_prefix('v').map(semver::Version::parse);
    let wrong = [
        ("release", matches!(release, Some(Ok(_)))),
        ("run", is_hash(&state.run)),
        ("lock", is_hash(&state.lock)),
        ("receipt", state.receipt.as_ref().is_none_or(is_hash)),
        ("time", state.time.parse::<jiff::Timestamp>().is_ok()),
    ];
    match wrong.iter().find(|(_, is_right)| !is_right) {
        Some((key, _)) => Err(StateFault::Key(key)),
        None => Ok(state),
    }
}

/// Returns a name that no other run has.
pub(crate) fn new_run(context: &Context<'_>) -> String {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    let random: Vec<u64> = (0..4)
        .map(|_| RandomState::new().build_hasher().finish())
        .collect();
    let now = (context.tool.now)();
    sha256(format!("{now} {} {random:?}", std::process::id()).as_bytes())
}

/// The run of this checkout that has written its mark and not yet its receipt.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct OwnRun {
    run: String,
}

fn own_run_path(output: &Output) -> Utf8PathBuf {
    output.logs.join("unfinished-run.yaml")
}

/// A file that cannot be parsed was cut by a crash, and names no run.
fn own_run(output: &Output) -> Option<String> {
    let text = read_if_there(&own_run_path(output)).ok()??;
    let own: OwnRun = serde_yaml::from_str(&text).ok()?;
    Some(own.run)
}

fn write_own_run(output: &Output, run: &str) -> Result<(), Error> {
    write_whole(&own_run_path(output), &format!("run: {run}\n"))
}

fn remove_own_run(output: &Output) -> Result<(), Error> {
    let path = own_run_path(output);
    match std::fs::remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", &path, source))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(phase: Phase, run: char) -> State {
        State {
            phase,
            run: run.to_string().repeat(64),
            release: "v4.2.0".to_owned(),
            lock: "1".repeat(64),
            receipt: Some("2".repeat(64)),
            time: "2026-01-02T03:04:05Z".to_owned(),
        }
    }

    fn receipt(run: Option<char>) -> Receipt {
        Receipt {
            version: Receipt::VERSION,
            run: run.map(|run| run.to_string().repeat(64)),
            applied: None,
            failed: None,
        }
    }

    #[test]
    fn a_checkout_with_the_last_receipt_may_deploy_and_no_other() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let unfinished = Some("unfinished");
        let differs = Some("differs");
        for (phase, in_git, own, expected) in [
            // Began, and its receipt is here: only the end of it was not written.
            (Phase::Began, Some(receipt(Some('a'))), None, None),
            (Phase::Began, Some(receipt(Some('b'))), None, unfinished),
            (Phase::Began, Some(receipt(None)), None, unfinished),
            (Phase::Began, None, None, unfinished),
            // A deploy of this checkout was killed.
            (Phase::Began, Some(receipt(Some('b'))), Some(&a), None),
            (Phase::Began, None, Some(&a), None),
            (Phase::Began, None, Some(&b), unfinished),
            (Phase::Ended, Some(receipt(Some('a'))), None, None),
            (Phase::Ended, Some(receipt(Some('b'))), None, differs),
            (Phase::Ended, Some(receipt(None)), None, differs),
            (Phase::Ended, None, None, differs),
            (Phase::Ended, None, Some(&b), differs),
        ] {
            let found = judge(
                "lab",
                &state(phase, 'a'),
                in_git.as_ref(),
                own.map(String::as_str),
            );
            let kind = found.as_ref().map(|conflict| match conflict {
                Conflict::Unfinished { .. } => "unfinished",
                Conflict::Differs { .. } => "differs",
                _ => "another",
            });
            assert_eq!(kind, expected, "{phase:?} {in_git:?} {own:?}");
        }
    }

    #[test]
    fn after_a_reset_only_a_checkout_without_a_receipt_may_deploy() {
        let reset = State {
            receipt: None,
            ..state(Phase::Ended, 'a')
        };
        assert_eq!(judge("lab", &reset, None, None), None);
        let found = judge("lab", &reset, Some(&receipt(Some('b'))), None).unwrap();
        assert_eq!(
            found.to_string(),
            "the registry records that the cluster of lab was reset at 2026-01-02T03:04:05Z, but the receipt in this checkout records no success"
        );
    }

    #[test]
    fn what_is_sent_is_read_back_and_names_no_operator() {
        let sent = state(Phase::Ended, 'a');
        let written = Written::of(&sent).unwrap();
        assert_eq!(
            state_blob(&written.manifest_bytes),
            Ok((written.blob().digest, written.blob().size))
        );
        assert_eq!(parse(&written.blob_bytes), Ok(sent));
        let keys: serde_json::Value = serde_json::from_slice(&written.blob_bytes).unwrap();
        let keys: Vec<&String> = keys.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["lock", "phase", "receipt", "release", "run", "time"]);
    }

    #[test]
    fn what_others_put_there_is_not_believed() {
        let right = serde_json::to_value(state(Phase::Ended, 'a')).unwrap();
        for (key, value) in [
            ("release", "4.2.0"),
            ("release", "v4\u{1b}[31m"),
            ("run", "A"),
            ("lock", ""),
            ("receipt", "x"),
            ("time", "yesterday"),
            ("phase", "lost"),
            ("operator", "me"),
        ] {
            let mut wrong = right.clone();
            wrong[key] = value.into();
            assert!(
                parse(wrong.to_string().as_bytes()).is_err(),
                "{key} {value}"
            );
        }
        assert!(state_blob(b"{}").is_err());
    }
}
