//! The summary of a plan, which `plan` and `deploy` print as text or JSON.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::Serialize;

use super::{Plan, Planned};
use crate::cluster::executor::{Action, ClusterPlan};
use crate::config::render;
use crate::transfer::program;
use crate::{Context, Error, Kind, Workspace, chain};

/// The summary of a plan. xtask prints it as text or JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// The environment's name.
    pub environment: String,
    /// The release, `v4.1.5`.
    pub release: String,
    /// SHA-256 of the lock.
    pub lock: String,
    /// How the release's artifacts get into the store.
    pub bundle: BundleSummary,
    /// Downloads for the sets; `None` if the environment has no sets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sets: Option<SetsSummary>,
    /// The registry and project.
    pub registry: String,
    /// Number of artifacts in the lock.
    pub artifacts: usize,
    /// The artifacts that the registry does not have, `repository:tag`.
    pub missing: Vec<String>,
    /// The artifacts whose tag has different content in the registry.
    pub different: Vec<String>,
    /// The artifacts that nodes cannot pull without credentials.
    pub unconfirmed: Vec<String>,
    /// Maximum number of bytes to be sent.
    pub bytes_to_send: u64,
    /// The rendered configuration's file, relative to the workspace.
    pub config: Utf8PathBuf,
    /// The change of that file as a unified diff; empty if it does not change.
    pub config_diff: String,
    /// Unified diff from the configuration that was applied last to the rendered one. Empty if the
    /// file contains the applied configuration, or if that is unknown.
    pub applied_diff: String,
    /// The addresses of hosts that the configuration no longer has.
    pub removed_hosts: Vec<String>,
    /// The commands of mkectl.
    pub mkectl: MkectlSummary,
    /// Why the receipt is rewritten although mkectl does not run; `None` if it is not, or if mkectl
    /// runs.
    pub receipt_reason: Option<&'static str>,
    /// The unmet requirement because of which `deploy` would refuse.
    pub requirement_problem: Option<String>,
    /// The deploy from elsewhere, unknown to this checkout, because of which `deploy` would refuse.
    pub shared_problem: Option<String>,
    /// Problems that options of the command line override.
    pub set_aside: Vec<String>,
    /// Artifacts that mkectl lists and the lock lacks, because of which `deploy` would refuse.
    pub unlocked: Vec<String>,
    /// Warnings for the operator, a sentence fragment each.
    pub warnings: Vec<String>,
    /// Whether `deploy` would change nothing.
    pub nothing_to_do: bool,
}

/// How the release's artifacts get into the store.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BundleSummary {
    /// `nothing`, `confirm`, `read`, `make` or `download`; `fetch` if the release comes from a
    /// registry.
    pub action: &'static str,
    /// The bundle's file, or the registry that is fetched from.
    pub file: String,
    /// Bytes of the bundle, or bytes to be fetched.
    pub size: u64,
}

/// Downloads for the sets of an environment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SetsSummary {
    /// SHA-256 of each set's lock, by the set's name.
    pub locks: BTreeMap<String, String>,
    /// Number of blobs to be fetched from upstream.
    pub blobs_to_fetch: usize,
    /// Total size of these blobs.
    pub bytes_to_fetch: u64,
}

/// The commands of mkectl in a plan.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MkectlSummary {
    /// `none`, `apply`, `upgrade` or `migrate`.
    pub action: &'static str,
    /// The release that is upgraded from, `v4.1.2`.
    pub from: Option<String>,
    /// Why mkectl is run; `None` if it is not.
    pub reason: Option<&'static str>,
    /// The commands in their order; empty if there is a problem.
    pub commands: Vec<CommandSummary>,
    /// Why the commands cannot be run, so `deploy` would refuse.
    pub problem: Option<String>,
}

/// One command of mkectl.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CommandSummary {
    /// `backup`, `upgrade`, `apply`, or `confirm` for the question that follows an upgrade.
    pub step: String,
    /// The command line for a shell, with secrets masked.
    pub command: String,
}

impl MkectlSummary {
    pub(super) fn of(plan: &ClusterPlan, workspace: &Workspace) -> Self {
        let commands = plan.printed().map(|(step, command)| CommandSummary {
            step: step.to_string(),
            command: workspace.shown_command(&command),
        });
        Self {
            action: plan.action.name(),
            from: plan.from.as_ref().map(|from| format!("v{from}")),
            reason: plan.reason,
            commands: commands.collect(),
            problem: plan.problem().map(|error| chain(error)),
        }
    }
}

impl Summary {
    /// Moves the problems that the command line overrides to `set_aside`: the conflict with another
    /// deploy if it `takes_over`, and the unmet requirement if it has a `reason`.
    pub fn with_overrides(mut self, takes_over: bool, reason: Option<&str>) -> Self {
        let shared = self.shared_problem.take_if(|_| takes_over);
        let required = self.requirement_problem.take_if(|_| reason.is_some());
        self.set_aside.extend(shared.into_iter().chain(required));
        self
    }
}

impl Plan {
    /// Returns the kind of the failure with which `deploy` would refuse this plan, if any.
    /// `takes_over` and `reason` override problems as in [`Summary::with_overrides`].
    pub fn refusal(
        &self,
        context: &Context<'_>,
        takes_over: bool,
        reason: Option<&str>,
    ) -> Option<Kind> {
        let lacks = !self.unlocked.is_empty();
        let unmet = self.unmet.is_some() && !self.is_empty() && reason.is_none();
        let conflict = self.shared.conflict().filter(|_| !takes_over);
        // In the order in which `deploy` reports them.
        conflict
            .map(crate::shared_state::Conflict::kind)
            .or(unmet.then_some(Kind::NotAllowed))
            .or(self.problem(context).map(Error::kind))
            .or(lacks.then_some(Kind::Workspace))
    }

    /// Returns why the commands of mkectl cannot be run, if so. A missing mkectl that `deploy`
    /// downloads is not a problem.
    pub fn problem(&self, context: &Context<'_>) -> Option<&Error> {
        self.cluster.problem().filter(|problem| {
            !program::can_be_provided(context, &self.environment, &self.lock, problem)
        })
    }

    /// Returns the plan's summary. Paths are relative to the workspace.
    pub fn summary(&self, workspace: &Workspace) -> Summary {
        let names = |wanted: Planned| -> Vec<String> {
            self.artifacts_where(|planned| planned == wanted)
                .map(bundle::Artifact::reference)
                .collect()
        };
        let missing = names(Planned::Missing);
        let different = names(Planned::Different);
        // An upgrade needs the bundle for its release matrix.
        let needs_bundle =
            !(missing.is_empty() && different.is_empty()) || self.cluster.action == Action::Upgrade;
        let config = workspace.shown(&self.output.config).to_owned();
        Summary {
            environment: self.environment.name.clone(),
            release: format!("v{}", self.environment.release),
            lock: self.lock_digest.clone(),
            bundle: match &self.lock.from {
                Some(from) if self.to_fetch.blobs > self.to_fetch_of_sets.blobs => BundleSummary {
                    action: "fetch",
                    file: from.clone(),
                    size: self.to_fetch.bytes - self.to_fetch_of_sets.bytes,
                },
                _ => BundleSummary {
                    action: match (needs_bundle, self.blobs_in_registry) {
                        (false, _) => "nothing",
                        (true, Some(_)) => "confirm",
                        (true, None) => self.bundle.action(),
                    },
                    file: self.lock.bundle.file.clone(),
                    size: self.lock.bundle.size,
                },
            },
            sets: (!self.sets.is_empty()).then(|| SetsSummary {
                locks: self.sets.clone(),
                blobs_to_fetch: self.to_fetch_of_sets.blobs,
                bytes_to_fetch: self.to_fetch_of_sets.bytes,
            }),
            registry: self.environment.registry.image_url(),
            artifacts: self.lock.artifacts.len(),
            missing,
            different,
            unconfirmed: names(Planned::Unconfirmed),
            bytes_to_send: self.bytes_to_send(),
            applied_diff: match &self.config.applied {
                Some(applied) if self.config.applied != self.config.committed => {
                    render::diff(&config, Some(applied), &self.config.text)
                }
                _ => String::new(),
            },
            removed_hosts: self.config.removed_hosts(),
            config_diff: render::diff(&config, self.config.committed.as_deref(), &self.config.text),
            config,
            mkectl: MkectlSummary::of(&self.cluster, workspace),
            // A run of mkectl always writes a receipt.
            receipt_reason: match self.cluster.is_needed() {
                true => None,
                false if self.is_receipt_stale() => Some("the receipt records a different lock"),
                false => (self.records_failure())
                    .then_some("the receipt records that the last deploy failed"),
            },
            requirement_problem: self
                .unmet
                .as_ref()
                .filter(|_| !self.is_empty())
                .map(ToString::to_string),
            shared_problem: self.shared.conflict().map(ToString::to_string),
            set_aside: Vec::new(),
            unlocked: self.unlocked.clone(),
            warnings: self.warnings.all(),
            nothing_to_do: self.is_empty(),
        }
    }
}
