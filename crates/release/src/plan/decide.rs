//! Decides whether mkectl runs, why, and with which commands.

use environment::Environment;
use semver::Version;

use super::Purpose;
use crate::cluster::executor::{Action, ClusterPlan};
use crate::cluster::existing::{self, ExpectedCluster, Response};
use crate::cluster::in_progress::RunNote;
use crate::cluster::{migrate, upgrade};
use crate::config::render::Config;
use crate::event::Step;
use crate::locked::Locked;
use crate::receipt::{Applied, Receipt};
use crate::shared_state::StateCheck;
use crate::transfer::program::{self, Program};
use crate::warnings::Warnings;
use crate::workspace::{Output, read_if_exists};
use crate::{Context, Error, kubeconfig, plan, sha256};

/// Why mkectl runs in a migration.
const MIGRATES: &str = "`migrate` always runs mkectl";

/// Why mkectl runs again after a run that was killed.
const UNKNOWN_END: &str = "the result of the last deploy is unknown";

/// The inputs of the decision.
pub(super) struct Inputs<'a> {
    pub(super) environment: &'a Environment,
    pub(super) release: &'a mke::Release,
    pub(super) locked: &'a Locked,
    /// The rendered configuration.
    pub(super) config: &'a Config,
    pub(super) output: &'a Output,
    pub(super) receipt: Option<&'a Receipt>,
    pub(super) under_way: Option<&'a RunNote>,
    pub(super) shared: &'a StateCheck,
    pub(super) purpose: Purpose,
}

impl Inputs<'_> {
    fn applied(&self) -> Option<&Applied> {
        self.receipt.and_then(|receipt| receipt.applied.as_ref())
    }

    fn wanted_release(&self) -> String {
        format!("v{}", self.environment.release)
    }

    /// Returns why mkectl has to be run; `None` if it does not.
    fn reason(&self) -> Option<&'static str> {
        match (self.purpose, self.applied()) {
            (Purpose::Push, _) => None,
            (Purpose::Apply, _) => Some("`apply` always runs mkectl"),
            (Purpose::Migrate, _) => Some(MIGRATES),
            (Purpose::Deploy, None) => Some("no receipt records a successful deploy"),
            (Purpose::Deploy, Some(_)) if self.failed_at(Step::Upgrade) => {
                Some("the last upgrade failed")
            }
            (Purpose::Deploy, Some(applied)) if applied.release != self.wanted_release() => {
                Some("the environment names a later release")
            }
            (Purpose::Deploy, Some(applied)) if !self.config.is(&applied.config) => {
                Some("the configuration changed")
            }
            (Purpose::Deploy, Some(_)) if self.under_way.is_some() => Some(UNKNOWN_END),
            // The cluster may have a part of the configuration whose deploy failed, so it is not
            // enough that the files are as they were applied before.
            (Purpose::Deploy, Some(_)) if self.failed_at(Step::Apply) => {
                Some("the last deploy failed")
            }
            (Purpose::Deploy, Some(_)) if self.failed_at(Step::Cluster) => {
                Some("the last command for the cluster failed")
            }
            (Purpose::Deploy, Some(_)) if self.shared.is_ahead_of_receipt() => {
                Some("the registry records a deploy that the receipt does not")
            }
            (Purpose::Deploy, Some(_)) => None,
        }
    }

    /// Returns the release that the registry records for the cluster, if the receipt lacks that
    /// deploy and the environment names a different release.
    fn other_release(&self) -> Option<String> {
        let state = self.shared.state()?;
        let is_other = self.shared.is_ahead_of_receipt() && state.release != self.wanted_release();
        is_other.then(|| state.release.clone())
    }

    /// Returns whether the last deploy failed in this step.
    fn failed_at(&self, step: Step) -> bool {
        self.receipt
            .and_then(|receipt| receipt.failed.as_ref())
            .is_some_and(|failed| failed.step == step.to_string())
    }
}

/// Returns the steps for the cluster, and adds warnings about them to `warnings`. A problem of a
/// step, such as a missing mkectl, is part of the result.
///
/// # Errors
/// - [`plan::Error::ReleaseChanged`] if the vendor supports no upgrade between the two releases.
/// - [`plan::Error::StillMke3`], [`plan::Error::AlreadyMigrated`] and [`plan::Error::OneCluster`]
///   if the command does not fit the cluster.
/// - [`existing::Error`] if the receipt and the cluster contradict each other.
pub(super) fn decide(
    context: &Context<'_>,
    inputs: &Inputs<'_>,
    warnings: &mut Warnings,
) -> Result<ClusterPlan, Error> {
    let Some(reason) = inputs.reason() else {
        return Ok(ClusterPlan::nothing());
    };
    let Inputs {
        environment,
        locked,
        ..
    } = inputs;
    if inputs.purpose == Purpose::Migrate {
        return migration(context, inputs, warnings);
    }
    if let (None, Some(mke3)) = (inputs.applied(), &environment.mke3) {
        return Err(plan::Error::StillMke3 {
            environment: environment.name.clone(),
            version: mke3.version.to_string(),
        }
        .into());
    }
    let address = mke::external_address(environment);
    if inputs.applied().is_none()
        && !environment.rehearsal
        && let Some(other) =
            existing::deployed_by_other(context.workspace, &environment.name, address.as_deref())
    {
        return Err(plan::Error::OneCluster {
            environment: environment.name.clone(),
            other,
            address: address.unwrap_or_default(),
        }
        .into());
    }
    if inputs.applied().is_some() {
        kubeconfig::require(context, environment)?;
    }
    let mut expected = ExpectedCluster {
        environment,
        rendered: &inputs.config.text,
        applied: inputs.applied(),
        under_way: inputs.under_way,
        upgrade_failed: inputs.failed_at(Step::Upgrade),
        kubeconfig: None,
    };
    let recorded = inputs.applied().map(|applied| applied.release.clone());
    if let Some(recorded) = recorded.filter(|recorded| *recorded != inputs.wanted_release()) {
        let (from, path) = upgrade_path(inputs, &recorded)?;
        // If the cluster did not answer, the steps contain that as their problem.
        let (plan, live) = upgrade(context, inputs, reason, from.clone(), &path, warnings);
        let response = live.map_or(Response::NotAsked, Response::Config);
        let current = existing::release(&expected, &response, warnings)?;
        if current.is_none_or(|current| current == from) {
            return Ok(plan);
        }
    } else {
        let mut program = program::for_apply(context, environment, &locked.lock, &locked.path);
        let is_new = inputs.applied().is_none();
        let asked = match &program {
            Ok(program) => existing::ask(context, environment, program, is_new),
            Err(_) => existing::Asked::default(),
        };
        if let (false, Some(recorded)) = (is_new, inputs.other_release())
            && let Response::Silent(source) = asked.response
        {
            return Err(Error::Existing(existing::Error::Unconfirmed {
                environment: environment.name.clone(),
                recorded,
                source: Box::new(source),
            }));
        }
        expected.kubeconfig = asked.kubeconfig;
        let current = existing::release(&expected, &asked.response, warnings)?;
        let exists = current.is_some();
        if let (true, Ok(program)) = (is_new, &mut program) {
            // mkectl installs a new cluster without a kubeconfig.
            let kubeconfig = expected.kubeconfig.filter(|_| exists);
            program.mkectl.kubeconfig = kubeconfig.and_then(|kubeconfig| kubeconfig.flag());
        }
        if let Some(current) = current.filter(|current| *current != environment.release) {
            let (from, path) = upgrade_path(inputs, &format!("v{current}"))?;
            let reason = "the cluster runs an earlier release";
            return Ok(upgrade(context, inputs, reason, from, &path, warnings).0);
        }
        if exists {
            // A cluster that was not asked is assumed to have the configuration rendered last.
            let file = read_if_exists(&inputs.output.config)?;
            let applied = inputs.applied().map(|applied| applied.config.as_str());
            let last =
                (file.as_deref()).filter(|text| applied == Some(sha256(text.as_bytes()).as_str()));
            if let (Some(live), Some(last)) = (&asked.text, last) {
                let notice = existing::overwrite_notice(&environment.name, live, last)?;
                warnings.of_plan.extend(notice);
            }
            let before = asked.text.or(file);
            let notice =
                before.map(|before| existing::kubelet_notice(&before, &inputs.config.text));
            warnings.of_plan.extend(notice.transpose()?.flatten());
        }
        return Ok(apply(inputs, reason, program, warnings));
    }
    let program = program::for_apply(context, environment, &locked.lock, &locked.path);
    Ok(apply(inputs, UNKNOWN_END, program, warnings))
}

/// Returns the steps that apply the configuration.
fn apply(
    inputs: &Inputs<'_>,
    reason: &'static str,
    program: Result<Program, Error>,
    warnings: &mut Warnings,
) -> ClusterPlan {
    let environment = inputs.environment;
    let steps = program.and_then(|program| {
        program.require_pull_flags(environment, &mut warnings.of_plan)?;
        Ok(crate::cluster::apply::steps(
            environment,
            inputs.output,
            program,
        ))
    });
    ClusterPlan {
        action: Action::Apply,
        from: None,
        reason: Some(reason),
        without_backup: None,
        steps,
    }
}

/// Returns the steps that upgrade an MKE 3 cluster.
fn migration(
    context: &Context<'_>,
    inputs: &Inputs<'_>,
    warnings: &mut Warnings,
) -> Result<ClusterPlan, Error> {
    let Inputs {
        environment,
        locked,
        ..
    } = inputs;
    if let Some(applied) = inputs.applied() {
        return Err(plan::Error::AlreadyMigrated {
            environment: environment.name.clone(),
            applied: applied.release.clone(),
        }
        .into());
    }
    let from = migrate::of(environment)?.version.clone();
    let lock = (&*locked.lock, locked.path.as_path());
    let prepared = migrate::prepare(context, environment, inputs.release, lock, inputs.output);
    let steps = prepared.map(|prepared| {
        warnings.of_plan.extend(prepared.warnings);
        prepared.steps
    });
    Ok(ClusterPlan {
        action: Action::Migrate,
        from: Some(from),
        reason: Some(MIGRATES),
        without_backup: None,
        steps,
    })
}

/// Returns the steps that upgrade the cluster, and its live configuration if it was asked.
fn upgrade(
    context: &Context<'_>,
    inputs: &Inputs<'_>,
    reason: &'static str,
    from: Version,
    path: &mke::Upgrade,
    warnings: &mut Warnings,
) -> (ClusterPlan, Option<mke::ClusterConfig>) {
    let lock = (&*inputs.locked.lock, inputs.locked.path.as_path());
    let prepared = upgrade::prepare(
        context,
        inputs.environment,
        lock,
        &from,
        path,
        inputs.output,
        inputs.applied(),
    );
    warnings.of_plan.extend(path.warnings.iter().cloned());
    let notices = upgrade::notices(inputs.environment, lock.0, &from, path);
    warnings.of_plan.extend(notices);
    let mut live = None;
    let steps = prepared.map(|prepared| {
        live = prepared.live;
        warnings.of_plan.extend(prepared.warnings);
        prepared.steps
    });
    let plan = ClusterPlan {
        action: Action::Upgrade,
        from: Some(from),
        reason: Some(reason),
        without_backup: context.without_backup.map(str::to_owned),
        steps,
    };
    (plan, live)
}

/// Returns the release that a cluster runs, `v4.1.2`, as a version, with the facts of the upgrade
/// from it.
fn upgrade_path(inputs: &Inputs<'_>, runs: &str) -> Result<(Version, mke::Upgrade), Error> {
    let changed = |refusal| {
        Error::Plan(plan::Error::ReleaseChanged {
            environment: inputs.environment.name.clone(),
            applied: runs.to_owned(),
            wanted: inputs.wanted_release(),
            refusal,
        })
    };
    let from: Option<Version> = (runs.strip_prefix('v')).and_then(|version| version.parse().ok());
    // Only `deploy` upgrades. `apply` runs `mkectl apply` and nothing else.
    let (Some(from), Purpose::Deploy) = (from, inputs.purpose) else {
        return Err(changed(None));
    };
    match inputs.release.upgrade_from(&from) {
        Ok(path) => Ok((from, path)),
        Err(refusal) => Err(changed(Some(Box::new(refusal)))),
    }
}
