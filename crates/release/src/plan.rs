//! The plan: everything that `deploy` will do, computed before anything changes. The steps execute
//! the plan and decide nothing.
//!
//! Tags are read as a node reads them, without credentials. Content under a correct tag is not
//! read, so a deploy that changes nothing costs one request per artifact.

use std::collections::BTreeMap;

use environment::Environment;
use oci_spec::image::Digest;

use crate::cluster::executor::{Action, ClusterPlan, Target};
use crate::cluster::in_progress::{self, RunNote};
use crate::cluster::{migrate, run};
use crate::config::applied;
use crate::config::render::{self, Config};
use crate::receipt::{Applied, Receipt};
use crate::requires::{self, Unmet};
use crate::shared_state::{self, StateCheck};
use crate::transfer::look::{self, Planned};
use crate::transfer::push::Delivery;
use crate::transfer::{connect, fetch, present, program, set};
use crate::warnings::Warnings;
use crate::workspace::Output;
use crate::{Context, chain, locked, sha256, verify};

mod decide;
pub mod snapshot;
mod summary;
mod saved;
mod permit;
mod recheck;

mod error;

pub use error::Error;
pub use permit::{Permit, allow_push, permit};
pub use recheck::Outdated;
pub(crate) use recheck::recheck;
pub(crate) use saved::digest;
pub use saved::{PlanChange, Saved, SavedFile, save};
pub use summary::{BundleSummary, CommandSummary, MkectlSummary, Summary};

/// Everything that `deploy` will do. Its fields are private, because a [`Permit`] and the proofs of
/// later steps are derived from it:
///
/// ```compile_fail,E0616
/// # fn forge(mut plan: release::Plan) {
/// plan.unlocked = Vec::new();
/// # }
/// ```
#[derive(Debug)]
pub struct Plan {
    pub(crate) environment: Environment,
    pub(crate) release: mke::Release,
    /// The artifacts of the release and of its sets.
    pub(crate) lock: std::sync::Arc<bundle::Lock>,
    /// SHA-256 of the lock's file.
    pub(crate) lock_digest: String,
    /// SHA-256 of each set's lock, by the set's name.
    pub(crate) sets: BTreeMap<String, String>,
    pub(crate) bundle: fetch::Source,
    /// Number of blobs that the store lacks and the registry has. `None` if the bundle is needed
    /// anyway.
    pub(crate) blobs_in_registry: Option<usize>,
    /// Blobs to be fetched from upstream: neither the store nor the registry has them.
    pub(crate) to_fetch: set::pull::Fetched,
    /// The part of `to_fetch` that belongs to sets.
    pub(crate) to_fetch_of_sets: set::pull::Fetched,
    /// Content under the tag of each artifact, in the order of the lock.
    pub(crate) seen: Vec<look::Seen>,
    /// The refusal of a pull with the credentials of nodes, if there was one.
    pub(crate) pull_refusal: Option<look::PullRefusal>,
    /// State of each artifact, in the order of the lock.
    pub(crate) artifacts: Vec<Planned>,
    pub(crate) config: Config,
    pub(crate) cluster: ClusterPlan,
    pub(crate) output: Output,
    /// SHA-256 of the registry snapshot that was read instead of the registry.
    pub(crate) snapshot: Option<String>,
    /// SHA-256 of the saved plan that this plan was found equal to.
    pub(crate) saved_as: Option<String>,
    pub(crate) receipt: Option<Receipt>,
    /// SHA-256 of the receipt's file.
    pub(crate) receipt_sha256: Option<String>,
    /// The state in the registry that operators share, compared with the receipt.
    pub(crate) shared: StateCheck,
    /// The requirement on another environment that is not met.
    pub(crate) unmet: Option<Unmet>,
    /// Artifacts that mkectl lists and the lock lacks, unless the environment accepts that.
    /// `deploy` refuses a plan with any.
    pub(crate) unlocked: Vec<String>,
    pub(crate) warnings: Warnings,
}

impl Plan {
    /// Returns the environment that is deployed.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Returns the number of artifacts in the lock.
    pub fn artifacts(&self) -> usize {
        self.artifacts.len()
    }

    /// Returns the steps for the cluster.
    pub fn cluster(&self) -> &ClusterPlan {
        &self.cluster
    }

    /// Returns the state in the registry that operators share, compared with the receipt.
    pub fn shared(&self) -> &StateCheck {
        &self.shared
    }

    /// Returns the content that nodes must be able to pull after the push.
    pub fn expected(&self) -> verify::ExpectedContent<'_> {
        verify::ExpectedContent {
            environment: &self.environment,
            lock: &self.lock,
            planned: &self.artifacts,
            config: &self.config.text,
            file: &self.output.config,
        }
    }

    /// Returns the last deploy that succeeded, according to the receipt.
    pub(crate) fn applied(&self) -> Option<&Applied> {
        self.receipt.as_ref()?.applied.as_ref()
    }

    /// Returns the cluster, and the configuration that it gets.
    pub(crate) fn target(&self) -> Target<'_> {
        Target {
            environment: &self.environment,
            release: &self.release,
            lock: &self.lock,
            config: &self.config,
            output: &self.output,
            applied: self.applied(),
        }
    }

    /// Returns the input of a push to the environment's registry.
    pub fn delivery(&self) -> Delivery<'_> {
        Delivery {
            environment: &self.environment,
            artifacts: self.to_be_pushed().collect(),
            present: self
                .artifacts_where(|planned| !planned.is_to_be_pushed())
                .collect(),
            pull_refusal: self.pull_refusal.as_ref(),
        }
    }

    /// Returns whether `deploy` would change nothing.
    pub fn is_empty(&self) -> bool {
        self.artifacts
            .iter()
            .all(|planned| *planned == Planned::Confirmed)
            && !self.config.is_stale()
            && !self.is_receipt_stale()
            && !self.cluster.is_needed()
    }

    /// Returns the paths that a deploy writes, to be checked before it starts.
    pub(crate) fn files_to_write(&self) -> Vec<camino::Utf8PathBuf> {
        if self.is_empty() {
            return Vec::new();
        }
        let output = &self.output;
        let mut files = vec![output.receipt.clone()];
        if self.config.is_stale() {
            files.push(output.config.clone());
        }
        if self.cluster.is_needed() {
            files.push(in_progress::path(output));
        }
        if self.cluster.action == Action::Upgrade {
            let named = self.environment.operation.backups.as_ref();
            files.push(named.unwrap_or(&output.backups).join("backup"));
        }
        files
    }

    /// Returns whether the receipt records different locks. If so, a deploy confirms the artifacts
    /// of the current locks and records these.
    fn is_receipt_stale(&self) -> bool {
        self.applied()
            .is_some_and(|applied| applied.lock != self.lock_digest || applied.sets != self.sets)
    }

    /// Returns whether the receipt records that the last deploy failed.
    pub(crate) fn records_failure(&self) -> bool {
        (self.receipt.as_ref()).is_some_and(|receipt| receipt.failed.is_some())
    }

    /// Returns the warning about tags of the registry that a push moves.
    pub fn moved_tags(&self) -> Option<String> {
        moved_tags(&self.lock, &self.artifacts)
    }

    /// Returns whether any artifact is to be pushed.
    pub fn pushes(&self) -> bool {
        self.to_be_pushed().next().is_some()
    }

    /// Returns the artifacts that are to be pushed.
    pub fn to_be_pushed(&self) -> impl Iterator<Item = &bundle::Artifact> {
        self.artifacts_where(Planned::is_to_be_pushed)
    }

    fn artifacts_where(
        &self,
        matches: impl Fn(Planned) -> bool,
    ) -> impl Iterator<Item = &bundle::Artifact> {
        let all = self.lock.artifacts.iter().zip(&self.artifacts);
        all.filter(move |(_, planned)| matches(**planned))
            .map(|(artifact, _)| artifact)
    }

    /// Returns the maximum number of bytes to be sent: the size of all blobs of the artifacts to be
    /// pushed, each blob counted once. Blobs that the registry already has are not sent.
    pub fn bytes_to_send(&self) -> u64 {
        connect::unique_bytes(self.to_be_pushed())
    }
}

/// Returns the artifacts of a lock that belong to its sets and not to its release.
fn of_sets(lock: &bundle::Lock) -> bundle::Lock {
    let is_of_release = |one: &&bundle::Artifact| {
        let from = lock.from.iter();
        let names: Vec<String> = from
            .map(|from| format!("{from}/{}", one.reference()))
            .collect();
        let source = one.source.as_ref();
        source.is_none_or(|source| names.contains(&source.reference))
    };
    let artifacts = lock.artifacts.iter().filter(|one| !is_of_release(one));
    bundle::Lock::of_set("", lock.bundles.clone(), artifacts.cloned().collect())
}

/// Returns the warning about tags that have different content in the registry.
fn moved_tags(lock: &bundle::Lock, planned: &[Planned]) -> Option<String> {
    let all = lock.artifacts.iter().zip(planned);
    let moves = all.filter(|(_, planned)| **planned == Planned::Different);
    let moves: Vec<String> = moves.map(|(artifact, _)| artifact.reference()).collect();
    (!moves.is_empty()).then(|| {
        format!(
            "the registry has different content under {}, which the push moves: {}",
            environment::count(moves.len(), "tag"),
            redaction::line(&moves.join(", "), 200)
        )
    })
}

/// Checks that plans for the same registry agree on the content of each tag. Otherwise one push
/// would undo the other.
///
/// # Errors
/// [`Error::Contradicting`] if they do not agree.
pub fn require_agreement(plans: &[Plan]) -> Result<(), crate::Error> {
    let mut named: BTreeMap<String, (&Plan, &Digest)> = BTreeMap::new();
    for plan in plans {
        let url = plan.environment.registry.image_url();
        for artifact in &plan.lock.artifacts {
            let reference = format!("{url}/{}", artifact.reference());
            let (first, digest) = named
                .entry(reference.clone())
                .or_insert((plan, &artifact.digest));
            if **digest != artifact.digest {
                return Err(Error::Contradicting {
                    one: first.environment.name.clone(),
                    other: plan.environment.name.clone(),
                    reference,
                }
                .into());
            }
        }
    }
    Ok(())
}

/// The command that a plan is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// `deploy`: the registry and the cluster.
    Deploy,
    /// `push`: the registry alone, possibly with a release that the cluster is upgraded to later.
    Push,
    /// `apply`: mkectl alone, even if the configuration is unchanged.
    Apply,
    /// `migrate`: the registry, and a cluster that still runs MKE 3.
    Migrate,
}

/// Computes the plan of a loaded environment.
///
/// A missing mkectl is not an error: the plan contains it as a problem of its steps.
///
/// # Errors
/// - The release is unknown or not locked.
/// - The configuration cannot be rendered.
/// - The registry cannot be read.
/// - The receipt contradicts the files or the cluster, as [`Error::ReleaseChanged`] does.
pub async fn plan(
    context: &Context<'_>,
    environment: Environment,
    output: Output,
    purpose: Purpose,
) -> Result<Plan, crate::Error> {
    with_state(context, environment, output, purpose, RegistryState::Live).await
}

/// The source of the registry's state.
#[derive(Debug, Clone, Copy)]
pub enum RegistryState<'a> {
    /// The registry itself.
    Live,
    /// A snapshot of the registry that was taken earlier.
    Snapshot(&'a snapshot::Read),
    /// None: the registry is taken for an empty one.
    Assumed,
}

/// Computes the plan of a loaded environment, optionally from a snapshot of its registry.
///
/// # Errors
/// The errors of [`plan`], and [`snapshot::Error::OtherRegistry`].
pub async fn with_state(
    context: &Context<'_>,
    environment: Environment,
    output: Output,
    purpose: Purpose,
    state: RegistryState<'_>,
) -> Result<Plan, crate::Error> {
    let locked = locked::of(context.workspace, &environment)?;
    of_locked(context, environment, locked, output, purpose, state).await
}

/// Computes a plan for immediate execution. If the plan needs a mkectl that is missing and that a
/// lock lists, that mkectl is downloaded first, because the plan's commands depend on its help.
///
/// # Errors
/// The errors of [`plan`], or the downloaded mkectl is not the locked one.
pub async fn prepare(
    context: &Context<'_>,
    environment: Environment,
    output: Output,
    purpose: Purpose,
) -> Result<Plan, crate::Error> {
    let mut computed = plan(context, environment.clone(), output.clone(), purpose).await?;
    // An upgrade needs two: the new release's mkectl, and that of the release before it.
    for _ in 0..2 {
        let Some(problem) = computed.cluster.problem() else {
            break;
        };
        if !program::provide(context, &computed.environment, &computed.lock, problem).await? {
            break;
        }
        computed = plan(context, environment.clone(), output.clone(), purpose).await?;
    }
    Ok(computed)
}

/// Computes the plan of an environment from the given lock, such as the small one of a rehearsal.
pub(crate) async fn of_locked(
    context: &Context<'_>,
    mut environment: Environment,
    locked: locked::Locked,
    output: Output,
    purpose: Purpose,
    state: RegistryState<'_>,
) -> Result<Plan, crate::Error> {
    let release = context.workspace.release(&environment.release)?;
    environment
        .check_dates((context.tool.now)().as_second())
        .map_err(|problems| crate::Error::Environment(environment::Error::Wrong(problems)))?;
    crate::config::check::committed_secret(
        context.workspace,
        &environment,
        &context.tool.variables,
    )?;
    let rendered = render::render(context.workspace, &mut environment, &release)?;
    let mut config = Config {
        digest: sha256(rendered.text.as_bytes()),
        committed: crate::workspace::read_if_exists(&output.config)?,
        text: rendered.text,
        applied: None,
    };
    let receipt_text = crate::workspace::read_if_exists(&output.receipt)?;
    let receipt = receipt_text
        .as_deref()
        .map(|text| Receipt::parse(text, &output.receipt))
        .transpose()?;
    let applied = (receipt.as_ref()).and_then(|receipt| receipt.applied.as_ref());
    if let Some(applied) = applied {
        crate::config::check::write_once(&environment, applied)?;
    }
    config.applied = applied.and_then(|applied| {
        let here = [Some(config.text.as_str()), config.committed.as_deref()];
        applied::text(context, &here, &output, &applied.config, &applied.release)
    });
    let under_way = RunNote::read(&output)?;
    let mut warnings = Warnings {
        of_plan: rendered.warnings,
        of_run: under_way.iter().map(RunNote::message).collect(),
    };
    if purpose == Purpose::Migrate {
        migrate::of(&environment)?;
    }
    let looked = match state {
        RegistryState::Live => {
            look::look(context, &environment, &look::tags_of(&locked.lock)).await?
        }
        RegistryState::Snapshot(read) => {
            seen_in_snapshot(read, &environment, &locked.lock, &mut warnings.of_plan)?.into()
        }
        RegistryState::Assumed => vec![look::Seen::NOTHING; locked.lock.artifacts.len()].into(),
    };
    let seen = looked.seen;
    let is_shared =
        output.receipt == Output::below(&context.workspace.environment(&environment.name)).receipt;
    let artifacts: Vec<Planned> = (locked.lock.artifacts.iter().zip(&seen))
        .map(|(artifact, seen)| seen.planned(&artifact.digest))
        .collect();
    // Adding tags to a registry does not affect a cluster. Moving tags does.
    let touches_cluster = purpose != Purpose::Push || artifacts.contains(&Planned::Different);
    let shared = match state {
        RegistryState::Live if is_shared && touches_cluster => {
            shared_state::read(context, &environment, &output, receipt.as_ref()).await
        }
        _ => StateCheck::skipped(),
    };
    let inputs = decide::Inputs {
        environment: &environment,
        release: &release,
        locked: &locked,
        config: &config,
        output: &output,
        receipt: receipt.as_ref(),
        under_way: under_way.as_ref(),
        shared: &shared,
        purpose,
    };
    let mut cluster = match decide::decide(context, &inputs, &mut warnings) {
        // The registry records a deploy that the receipt does not. Unless the operator takes over,
        // that conflict is reported instead.
        Err(error @ crate::Error::Existing(_)) if shared.is_ahead_of_receipt() => ClusterPlan {
            action: Action::Apply,
            steps: Err(error),
            ..ClusterPlan::nothing()
        },
        decided => decided?,
    };
    if cluster.is_needed() {
        let free = run::require_no_running_mkectl(context, &output);
        cluster.steps = free.and(cluster.steps);
    }
    let program = cluster.program();
    let unlocked = verify::unlocked(context, &environment, &locked.lock, program, &mut warnings)?;
    let unlocked = match state {
        RegistryState::Live if !unlocked.is_empty() => {
            verify::unserved(context, &environment, unlocked, &mut warnings).await?
        }
        RegistryState::Snapshot(_) if !unlocked.is_empty() => {
            warnings.of_run.push(format!(
                "the snapshot does not list {} that mkectl requires and the lock lacks: `plan` without `--snapshot` asks the registry",
                environment::count(unlocked.len(), "artifact")
            ));
            unlocked
        }
        _ => unlocked,
    };
    warnings.of_run.extend(shared.warning.clone());
    if is_shared && !environment.rehearsal {
        warnings
            .of_run
            .extend(crate::warnings::uncommitted_locks(context, &locked));
    }
    let unmet = match touches_cluster {
        true => requires::unmet(
            context.workspace,
            &environment,
            &locked,
            (context.tool.now)(),
        )?,
        false => None,
    };
    if purpose == Purpose::Apply {
        require_artifacts(&environment, &locked.lock, &artifacts)?;
    }
    let bundle = fetch::source(context.workspace, &locked.lock)?;
    // Called only for its errors: it refuses a bundle in `bundles/` that is not the locked one.
    for of_set in locked.lock.set_bundles() {
        fetch::source(context.workspace, &of_set)?;
    }
    let pushed = (locked.lock.artifacts.iter().zip(&artifacts))
        .filter_map(|(artifact, planned)| planned.is_to_be_pushed().then_some(artifact));
    let delivery = Delivery {
        environment: &environment,
        artifacts: pushed.collect(),
        present: Vec::new(),
        pull_refusal: None,
    };
    let blobs_in_registry = match state {
        RegistryState::Live => match present::survey(context, &locked.lock, &delivery).await {
            Ok(held) => held,
            Err(error @ crate::Error::Fetch(_)) => {
                warnings
                    .of_run
                    .push(format!("deploy would fail: {}", chain(&error)));
                None
            }
            Err(error) => return Err(error),
        },
        RegistryState::Snapshot(_) | RegistryState::Assumed => None,
    };
    let pushes = !delivery.artifacts.is_empty();
    let (to_fetch, to_fetch_of_sets) = match blobs_in_registry {
        // An offline run does not fetch sets.
        None if pushes && (!context.offline || locked.lock.from.is_some()) => {
            let store = fetch::open_store(context.workspace)?;
            if !context.offline {
                set::pull::require_access(context, &locked.lock, &store)?;
            }
            let amount = |lock| set::pull::amount(context.workspace, lock, &store);
            (amount(&locked.lock), amount(&of_sets(&locked.lock)))
        }
        _ => Default::default(),
    };
    warnings
        .of_plan
        .extend(moved_tags(&locked.lock, &artifacts));
    warnings
        .of_plan
        .extend(crate::warnings::external_layers(&locked.lock));
    if let Some(from) = &locked.lock.from {
        warnings.of_plan.push(format!(
            "{} is locked from {from}, not from the vendor's bundle",
            locked.lock.release
        ));
    }
    if !locked.lock.forced_release.is_empty() {
        warnings.of_plan.push(format!(
            "{} was locked with --force-release, although {}",
            context.workspace.shown(&locked.path),
            locked.lock.forced_release.join("; ")
        ));
    }
    Ok(Plan {
        cluster,
        environment,
        release,
        lock: locked.lock,
        lock_digest: locked.digest,
        sets: locked.sets,
        bundle,
        blobs_in_registry,
        to_fetch,
        to_fetch_of_sets,
        seen,
        pull_refusal: looked.pull_refusal,
        artifacts,
        config,
        output,
        receipt,
        receipt_sha256: receipt_text.map(|text| sha256(text.as_bytes())),
        shared,
        snapshot: match state {
            RegistryState::Live | RegistryState::Assumed => None,
            RegistryState::Snapshot(read) => Some(read.digest.clone()),
        },
        saved_as: None,
        unmet,
        unlocked,
        warnings,
    })
}

/// Returns the state of a registry according to its snapshot.
fn seen_in_snapshot(
    read: &snapshot::Read,
    environment: &Environment,
    lock: &bundle::Lock,
    warnings: &mut Vec<String>,
) -> Result<Vec<look::Seen>, crate::Error> {
    read.snapshot.check_registry(environment)?;
    let (seen, unknown) = read.snapshot.seen(lock);
    if unknown > 0 {
        warnings.push(format!(
            "the snapshot does not list {unknown} of {}, because it was taken without this lock; they count as missing",
            environment::count(seen.len(), "artifact")
        ));
    }
    Ok(seen)
}

/// Refuses `apply` if the registry lacks artifacts: it pushes nothing, so the installation would
/// fail half-way.
fn require_artifacts(
    environment: &Environment,
    lock: &bundle::Lock,
    artifacts: &[Planned],
) -> Result<(), crate::Error> {
    let findings: Vec<verify::Finding> = lock
        .artifacts
        .iter()
        .zip(artifacts)
        .filter_map(|(artifact, planned)| match planned {
            Planned::Missing => Some((verify::FindingKind::MissingTag, artifact)),
            Planned::Different => Some((verify::FindingKind::MovedTag, artifact)),
            Planned::Confirmed | Planned::Unconfirmed => None,
        })
        .map(|(kind, artifact)| verify::Finding {
            kind,
            artifact: artifact.reference(),
            repository: environment.registry.repository(&artifact.repository),
            digest: artifact.digest.to_string(),
            size: artifact.size,
            found: None,
        })
        .collect();
    if findings.is_empty() {
        return Ok(());
    }
    Err(verify::Error::NotConfirmed {
        environment: environment.name.clone(),
        address: environment.registry.image_url(),
        findings,
    }
    .into())
}
