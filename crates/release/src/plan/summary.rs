//! The plan as it is printed: what it comes to, for people and for machines.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::Serialize;

use super::{Plan, Planned};
use crate::cluster::executor::{Action, ClusterPlan};
use crate::config::render;
use crate::transfer::program;
use crate::{Context, Error, Kind, Workspace, chain};

/// The plan, as it is printed: for people by xtask, for machines as JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// The environment's name.
    pub environment: String,
    /// The release, `v4.1.5`.
    pub release: String,
    /// SHA-256 of the lock.
    pub lock: String,
    /// What has to be done to have the bundle here.
    pub bundle: BundleSummary,
    /// What has to be done for the sets; none if the environment has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sets: Option<SetsSummary>,
    /// The registry and project.
    pub registry: String,
    /// How many artifacts the lock names.
    pub artifacts: usize,
    /// The artifacts that the registry does not have, `repository:tag`.
    pub missing: Vec<String>,
    /// The artifacts whose tag holds something else in the registry.
    pub different: Vec<String>,
    /// The artifacts that nodes cannot pull without credentials.
    pub unconfirmed: Vec<String>,
    /// Bytes to be sent at most.
    pub bytes_to_send: u64,
    /// The rendered configuration's file, relative to the workspace.
    pub config: Utf8PathBuf,
    /// How that file changes, as a unified diff; empty when it does not.
    pub config_diff: String,
    /// How the configuration changes against what was applied, as a unified diff; empty if that is
    /// what the file contains, or not known.
    pub applied_diff: String,
    /// The addresses of the hosts that the configuration no longer has.
    pub removed_hosts: Vec<String>,
    /// What mkectl is run for, and every command of it.
    pub mkectl: MkectlSummary,
    /// Why the receipt is written although nothing else is to be done for it; `None` if it needs no
    /// reason.
    pub receipt_reason: Option<&'static str>,
    /// What the environment requires and is missing, so deploy would refuse.
    pub requirement_problem: Option<String>,
    /// What a different deploy did that this checkout does not know, so deploy would refuse.
    pub shared_problem: Option<String>,
    /// What would stop the deploy and was set aside on the command line.
    pub set_aside: Vec<String>,
    /// What mkectl lists and the lock lacks, so deploy would refuse.
    pub unlocked: Vec<String>,
    /// What people should know.
    pub warnings: Vec<String>,
    /// Whether nothing is to be done.
    pub nothing_to_do: bool,
}

/// What has to be done to have the bundle here.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct BundleSummary {
    /// `nothing`, `confirm`, `read`, `make` or `download`; `fetch` if the release comes from a
    /// registry.
    pub action: &'static str,
    /// The bundle's file, or that registry.
    pub file: String,
    /// Its size in bytes, or what is to be fetched.
    pub size: u64,
}

/// What has to be done for the sets of an environment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SetsSummary {
    /// Their names, with the SHA-256 of their locks.
    pub locks: BTreeMap<String, String>,
    /// How many blobs have to be fetched from upstream.
    pub blobs_to_fetch: usize,
    /// Their bytes.
    pub bytes_to_fetch: u64,
}

/// What mkectl is to be run for, as it is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MkectlSummary {
    /// `none`, `apply`, `upgrade` or `migrate`.
    pub action: &'static str,
    /// The release that is upgraded from, `v4.1.2`.
    pub from: Option<String>,
    /// Why mkectl is run.
    pub reason: Option<&'static str>,
    /// Every command in its order; none if there is a problem.
    pub commands: Vec<CommandSummary>,
    /// What is missing, so deploy would refuse.
    pub problem: Option<String>,
}

/// One command of mkectl, as it is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CommandSummary {
    /// `backup`, `upgrade`, `apply`, or `confirm` for the question that follows an upgrade.
    pub step: String,
    /// The command as one would type it, with secrets masked.
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
    /// Returns the summary for a command that takes over from a different deploy, or has a reason
    /// to do without what is required.
    pub fn with_overrides(mut self, takes_over: bool, reason: Option<&str>) -> Self {
        let shared = self.shared_problem.take_if(|_| takes_over);
        let required = self.requirement_problem.take_if(|_| reason.is_some());
        self.set_aside.extend(shared.into_iter().chain(required));
        self
    }
}

impl Plan {
    /// Returns the kind of the failure with which `deploy` would refuse this plan, if it would. A
    /// command line may set aside what a different deploy did, or have a `reason` to do without
    /// what is required.
    pub fn refusal(
        &self,
        context: &Context<'_>,
        takes_over: bool,
        reason: Option<&str>,
    ) -> Option<Kind> {
        let lacks = !self.unlocked.is_empty();
        let unmet = self.unmet.is_some() && !self.is_empty() && reason.is_none();
        let conflict = self.shared.conflict().filter(|_| !takes_over);
        // In the order in which `deploy` finds them.
        conflict
            .map(crate::shared_state::Conflict::kind)
            .or(unmet.then_some(Kind::NotAllowed))
            .or(self.problem(context).map(Error::kind))
            .or(lacks.then_some(Kind::Workspace))
    }

    /// Returns why mkectl cannot be run, if that is so. A missing mkectl that `deploy` downloads is
    /// not a reason.
    pub fn problem(&self, context: &Context<'_>) -> Option<&Error> {
        self.cluster.problem().filter(|problem| {
            !program::can_be_provided(context, &self.environment, &self.lock, problem)
        })
    }

    /// Returns the plan as it is printed.
    pub fn summary(&self, workspace: &Workspace) -> Summary {
        let names = |wanted: Planned| -> Vec<String> {
            self.lock
                .artifacts
                .iter()
                .zip(&self.artifacts)
                .filter(|(_, planned)| **planned == wanted)
                .map(|(artifact, _)| artifact.reference())
                .collect()
        };
        let missing = names(Planned::Missing);
        let different = names(Planned::Different);
        // An upgrade requires the release matrix, too.
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
                    action: match (needs_bundle, self.held) {
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
                applied if *applied == self.config.committed => String::new(),
                None => String::new(),
                Some(applied) => render::diff(&config, Some(applied), &self.config.text),
            },
            removed_hosts: self.config.removed_hosts(),
            config_diff: render::diff(&config, self.config.committed.as_deref(), &self.config.text),
            config,
            mkectl: MkectlSummary::of(&self.cluster, workspace),
            // Where mkectl runs, there is one anyway.
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
