//! The plan: everything that `deploy` would do, computed first. The steps execute it and decide
//! nothing.
//!
//! The registry is read as a node reads it, without credentials. What is right is not read again: a
//! deploy that changes nothing costs one request per artifact.

use std::collections::BTreeMap;

use environment::Environment;
use oci_spec::image::Digest;

use crate::cluster::executor::{Action, ClusterPlan, Target};
use crate::cluster::in_progress::{self, UnderWay};
use crate::cluster::{migrate, run};
use crate::config::applied;
use crate::config::render::{self, Config};
use crate::receipt::{Applied, Receipt};
use crate::requires::{self, Unmet};
use crate::shared_state::{self, Standing};
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

/// What `deploy` will do. It is not changed after it was made, since a [`Permit`] and proofs come
/// from it:
///
/// ```compile_fail,E0616
/// # fn forge(mut plan: release::Plan) {
/// plan.unlocked = Vec::new();
/// # }
/// ```
#[derive(Debug)]
pub struct Plan {
    /// Where to.
    pub(crate) environment: Environment,
    /// What is known of the release.
    pub(crate) release: mke::Release,
    /// What is carried.
    pub(crate) lock: std::sync::Arc<bundle::Lock>,
    /// SHA-256 of the lock's file.
    pub(crate) lock_digest: String,
    /// The sets that are carried with the release, with the SHA-256 of their locks.
    pub(crate) sets: std::collections::BTreeMap<String, String>,
    /// Where the bundle's bytes come from.
    pub(crate) bundle: fetch::Source,
    /// How many blobs the registry has of what the store lacks, if the bundle is not needed because
    /// of them.
    pub(crate) held: Option<usize>,
    /// What has to be fetched from upstream, because neither the store nor the registry has it.
    pub(crate) to_fetch: set::pull::Fetched,
    /// What of that is of sets.
    pub(crate) to_fetch_of_sets: set::pull::Fetched,
    /// What the registry has under the tag of each artifact of the lock, in its order.
    pub(crate) seen: Vec<look::Seen>,
    /// Why nodes may not be able to pull, if they were refused something.
    pub(crate) shut: Option<look::PullRefusal>,
    /// What each of them needs.
    pub(crate) artifacts: Vec<Planned>,
    /// The configuration, as it is to be.
    pub(crate) config: Config,
    /// How mkectl is to be run.
    pub(crate) cluster: ClusterPlan,
    /// Where results are written.
    pub(crate) output: Output,
    /// SHA-256 of the registry snapshot that the plan was made from.
    pub(crate) snapshot: Option<String>,
    /// SHA-256 of the saved plan that this one was compared with.
    pub(crate) saved_as: Option<String>,
    /// What the last deploy did.
    pub(crate) receipt: Option<Receipt>,
    /// SHA-256 of the receipt's file.
    pub(crate) receipt_sha256: Option<String>,
    /// What operators share of the environment, compared with the receipt.
    pub(crate) shared: Standing,
    /// What the environment requires of another one and is missing there.
    pub(crate) unmet: Option<Unmet>,
    /// What the mkectl that is to be run lists and the lock lacks, unless the environment accepts
    /// that. Deploy would refuse.
    pub(crate) unlocked: Vec<String>,
    /// What the operator should know before continuing.
    pub(crate) warnings: Warnings,
}

impl Plan {
    /// Returns where to.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Returns how many artifacts the lock names.
    pub fn artifacts(&self) -> usize {
        self.artifacts.len()
    }

    /// Returns how mkectl is to be run.
    pub fn cluster(&self) -> &ClusterPlan {
        &self.cluster
    }

    /// Returns what operators share of the environment, compared with the receipt.
    pub fn shared(&self) -> &Standing {
        &self.shared
    }

    /// Returns what nodes are to get.
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

    /// Returns the cluster, and what it is to become.
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

    /// Returns what the registry is to get.
    pub fn delivery(&self) -> Delivery<'_> {
        Delivery {
            environment: &self.environment,
            artifacts: self.to_be_pushed().collect(),
            present: (self.lock.artifacts.iter().zip(&self.artifacts))
                .filter(|(_, planned)| !planned.is_to_be_pushed())
                .map(|(artifact, _)| artifact)
                .collect(),
            shut: self.shut.as_ref(),
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

    /// Returns the files that a deploy writes.
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

    /// Returns whether the receipt records a different lock than the current one: then a deploy
    /// confirms the current one and records it.
    pub fn is_receipt_stale(&self) -> bool {
        self.applied()
            .is_some_and(|applied| applied.lock != self.lock_digest || applied.sets != self.sets)
    }

    /// Returns whether the receipt records that the last deploy failed.
    pub(crate) fn records_failure(&self) -> bool {
        (self.receipt.as_ref()).is_some_and(|receipt| receipt.failed.is_some())
    }

    /// Returns the warning for the tags of the registry that a push moves.
    pub fn moved_tags(&self) -> Option<String> {
        moved_tags(&self.lock, &self.artifacts)
    }

    /// Returns whether anything is to be pushed.
    pub fn pushes(&self) -> bool {
        self.artifacts
            .iter()
            .any(|planned| planned.is_to_be_pushed())
    }

    /// Returns the artifacts that are to be pushed.
    pub fn to_be_pushed(&self) -> impl Iterator<Item = &bundle::Artifact> {
        self.lock
            .artifacts
            .iter()
            .zip(&self.artifacts)
            .filter(|(_, planned)| planned.is_to_be_pushed())
            .map(|(artifact, _)| artifact)
    }

    /// Returns the bytes that are to be sent at most: what the missing artifacts consist of, each
    /// blob counted once. What the registry turns out to have of them is not sent.
    pub fn bytes_to_send(&self) -> u64 {
        connect::unique_bytes(self.to_be_pushed())
    }
}

/// Returns the part of a lock that is not of its release.
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

/// Returns the warning for the tags that the registry has, and that a push moves.
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

/// Checks that plans for the same registry agree on what is under each tag.
///
/// # Errors
/// They do not: one of two pushes would undo what the other did.
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

/// What a plan is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The whole way.
    Deploy,
    /// The registry alone. It may get a release that the cluster is to be upgraded to.
    Push,
    /// mkectl alone, also where the configuration was applied before.
    Apply,
    /// The whole way, to a cluster that is of MKE 3 still.
    Migrate,
}

/// Computes the plan of a loaded environment.
///
/// # Errors
/// The release is unknown or not locked, the configuration cannot be rendered, the registry cannot
/// be asked, or the receipt forbids what the files require. A missing mkectl is part of the plan,
/// not an error.
pub async fn plan(
    context: &Context<'_>,
    environment: Environment,
    output: Output,
    purpose: Purpose,
) -> Result<Plan, crate::Error> {
    with_state(context, environment, output, purpose, RegistryState::Live).await
}

/// Where a plan reads the state of the registry.
#[derive(Debug, Clone, Copy)]
pub enum RegistryState<'a> {
    /// The registry is asked.
    Live,
    /// A snapshot that was taken earlier is read instead.
    Snapshot(&'a snapshot::Read),
}

/// Computes the plan of a loaded environment, whose registry need not be asked.
///
/// # Errors
/// What [`plan`] returns, or the snapshot is of a different registry.
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

/// Computes the plan that is about to be executed. A missing mkectl that a lock lists is downloaded
/// first, so every command is in it. Nothing else is downloaded, and nothing if mkectl is not
/// needed.
///
/// # Errors
/// What [`plan`] returns, or the mkectl that came is not the one that was locked.
pub async fn prepare(
    context: &Context<'_>,
    environment: Environment,
    output: Output,
    purpose: Purpose,
) -> Result<Plan, crate::Error> {
    let mut made = plan(context, environment.clone(), output.clone(), purpose).await?;
    // The one of the release, and the one before it.
    for _ in 0..2 {
        let Some(problem) = made.cluster.problem() else {
            break;
        };
        if !program::provide(context, &made.environment, &made.lock, problem).await? {
            break;
        }
        made = plan(context, environment.clone(), output.clone(), purpose).await?;
    }
    Ok(made)
}

/// Computes the plan of an environment with a lock that need not be its release's own.
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
        committed: crate::workspace::read_if_there(&output.config)?,
        text: rendered.text,
        applied: None,
    };
    let receipt_text = crate::workspace::read_if_there(&output.receipt)?;
    let receipt = receipt_text
        .as_deref()
        .map(|text| Receipt::parse(text, &output.receipt))
        .transpose()?;
    let applied = receipt
        .as_ref()
        .and_then(|receipt| receipt.applied.as_ref());
    if let Some(applied) = applied {
        crate::config::check::write_once(&environment, applied)?;
    }
    config.applied = applied.and_then(|applied| {
        let here = [Some(config.text.as_str()), config.committed.as_deref()];
        applied::text(context, &here, &output, &applied.config, &applied.release)
    });
    let under_way = UnderWay::read(&output)?;
    let mut warnings = Warnings {
        of_plan: rendered.warnings,
        of_here: under_way.iter().map(UnderWay::message).collect(),
    };
    if purpose == Purpose::Migrate {
        migrate::of(&environment)?;
    }
    let looked = match state {
        RegistryState::Live => {
            look::look(context, &environment, &look::tags_of(&locked.lock)).await?
        }
        RegistryState::Snapshot(read) => {
            taken_from(read, &environment, &locked.lock, &mut warnings.of_plan)?.into()
        }
    };
    let seen = looked.seen;
    let is_shared =
        output.receipt == Output::below(&context.workspace.environment(&environment.name)).receipt;
    let artifacts = planned(&locked.lock, &seen);
    // What only adds to a registry touches no cluster.
    let touches_cluster = purpose != Purpose::Push || artifacts.contains(&Planned::Different);
    let shared = match state {
        RegistryState::Live if is_shared && touches_cluster => {
            shared_state::read(context, &environment, &output, receipt.as_ref()).await
        }
        _ => Standing::unasked(),
    };
    let question = decide::Question {
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
    let mut cluster = match decide::decide(context, &question, &mut warnings) {
        // Unless the operator takes over, the other deploy is what matters.
        Err(error @ crate::Error::Existing(_)) if shared.is_ahead_of_receipt() => ClusterPlan {
            action: Action::Apply,
            steps: Err(error),
            ..ClusterPlan::nothing()
        },
        decided => decided?,
    };
    if cluster.is_needed() {
        let free = run::refuse_a_second_one(context, &output);
        cluster.steps = free.and(cluster.steps);
    }
    let program = cluster.program();
    let unlocked = verify::unlocked(context, &environment, &locked.lock, program, &mut warnings)?;
    let unlocked = match state {
        RegistryState::Live if !unlocked.is_empty() => {
            verify::unserved(context, &environment, unlocked, &mut warnings).await?
        }
        RegistryState::Snapshot(_) if !unlocked.is_empty() => {
            warnings.of_here.push(format!(
                "the snapshot does not list {} that mkectl requires and the lock lacks: `plan` without `--snapshot` asks the registry",
                environment::count(unlocked.len(), "artifact")
            ));
            unlocked
        }
        _ => unlocked,
    };
    warnings.of_here.extend(shared.warning.clone());
    if is_shared && !environment.rehearsal {
        warnings
            .of_here
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
        refuse_what_the_registry_lacks(&environment, &locked.lock, &artifacts)?;
    }
    let bundle = fetch::source(context.workspace, &locked.lock)?;
    // A set's bundle in `bundles/` that is not the locked one is reported now, too.
    for of_set in locked.lock.set_bundles() {
        fetch::source(context.workspace, &of_set)?;
    }
    let to_be_pushed = |planned: &Planned| planned.is_to_be_pushed();
    let pushed = (locked.lock.artifacts.iter().zip(&artifacts))
        .filter_map(|(artifact, planned)| to_be_pushed(planned).then_some(artifact));
    let delivery = Delivery {
        environment: &environment,
        artifacts: pushed.collect(),
        present: Vec::new(),
        shut: None,
    };
    let held = match state {
        RegistryState::Live => match present::survey(context, &locked.lock, &delivery).await {
            Ok(held) => held,
            Err(error @ crate::Error::Fetch(_)) => {
                warnings
                    .of_here
                    .push(format!("deploy would fail: {}", chain(&error)));
                None
            }
            Err(error) => return Err(error),
        },
        RegistryState::Snapshot(_) => None,
    };
    let pushes = artifacts.iter().any(|planned| planned.is_to_be_pushed());
    let (to_fetch, to_fetch_of_sets) = match held {
        // An offline run fetches nothing of sets.
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
        held,
        to_fetch,
        to_fetch_of_sets,
        seen,
        shut: looked.shut,
        artifacts,
        config,
        output,
        receipt,
        receipt_sha256: receipt_text.map(|text| sha256(text.as_bytes())),
        shared,
        snapshot: match state {
            RegistryState::Live => None,
            RegistryState::Snapshot(read) => Some(read.digest.clone()),
        },
        saved_as: None,
        unmet,
        unlocked,
        warnings,
    })
}

/// Takes what a registry has from its snapshot.
fn taken_from(
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

/// Returns what each artifact of a lock needs, by what the registry has.
fn planned(lock: &bundle::Lock, seen: &[look::Seen]) -> Vec<Planned> {
    let artifacts = lock.artifacts.iter().zip(seen);
    artifacts
        .map(|(artifact, seen)| seen.planned(&artifact.digest))
        .collect()
}

/// mkectl alone sends nothing, so whatever the registry lacks now it would lack half-way through an
/// installation.
fn refuse_what_the_registry_lacks(
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
