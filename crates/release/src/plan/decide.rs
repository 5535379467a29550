//! Decides whether mkectl runs, why, and with which commands.

use environment::Environment;
use semver::Version;

use super::Purpose;
use crate::cluster::executor::{Action, ClusterPlan};
use crate::cluster::existing::{self, ExpectedCluster, Word};
use crate::cluster::in_progress::UnderWay;
use crate::cluster::{migrate, upgrade};
use crate::config::render::Config;
use crate::event::Step;
use crate::locked::Locked;
use crate::receipt::{Applied, Receipt};
use crate::shared_state::Standing;
use crate::transfer::program::{self, Program};
use crate::warnings::Warnings;
use crate::workspace::{Output, read_if_there};
use crate::{Context, Error, kubeconfig, plan, sha256};

/// Why mkectl runs in a migration.
const MIGRATES: &str = "`migrate` always runs mkectl";

/// Why mkectl runs again after a run that was killed.
const UNKNOWN_END: &str = "the result of the last deploy is unknown";

/// What it depends on.
pub(super) struct Question<'a> {
    pub(super) environment: &'a Environment,
    pub(super) release: &'a mke::Release,
    pub(super) locked: &'a Locked,
    /// The configuration as it is to be.
    pub(super) config: &'a Config,
    pub(super) output: &'a Output,
    pub(super) receipt: Option<&'a Receipt>,
    pub(super) under_way: Option<&'a UnderWay>,
    pub(super) shared: &'a Standing,
    pub(super) purpose: Purpose,
}

impl Question<'_> {
    fn applied(&self) -> Option<&Applied> {
        self.receipt.and_then(|receipt| receipt.applied.as_ref())
    }

    fn wanted(&self) -> String {
        format!("v{}", self.environment.release)
    }

    /// Why mkectl has to be run, if it has to.
    fn reason(&self) -> Option<&'static str> {
        match (self.purpose, self.applied()) {
            (Purpose::Push, _) => None,
            (Purpose::Apply, _) => Some("`apply` always runs mkectl"),
            (Purpose::Migrate, _) => Some(MIGRATES),
            (Purpose::Deploy, None) => Some("no receipt records a successful deploy"),
            (Purpose::Deploy, Some(_)) if self.failed_at(Step::Upgrade) => {
                Some("the last upgrade failed")
            }
            (Purpose::Deploy, Some(applied)) if applied.release != self.wanted() => {
                Some("the environment names a later release")
            }
            (Purpose::Deploy, Some(applied)) if !self.config.is(&applied.config) => {
                Some("the configuration changed")
            }
            (Purpose::Deploy, Some(_)) if self.under_way.is_some() => Some(UNKNOWN_END),
            // The cluster may be half-way to what the files said then, whatever they say now.
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

    /// Returns the release that the cluster may run according to the registry, although the receipt
    /// does not record it.
    fn other_release(&self) -> Option<String> {
        let state = self.shared.state()?;
        let is_other = self.shared.is_ahead_of_receipt() && state.release != self.wanted();
        is_other.then(|| state.release.clone())
    }

    /// Returns whether this was what failed in the last deploy.
    fn failed_at(&self, step: Step) -> bool {
        self.receipt
            .and_then(|receipt| receipt.failed.as_ref())
            .is_some_and(|failed| failed.step == step.to_string())
    }
}

/// Decides what mkectl is to be run for. `warnings` gets what people should know of it.
///
/// # Errors
/// The vendor supports no way from the release that the cluster runs to the one that is wanted, or
/// the receipt and the cluster contradict each other.
pub(super) fn decide(
    context: &Context<'_>,
    question: &Question<'_>,
    warnings: &mut Warnings,
) -> Result<ClusterPlan, Error> {
    let Some(reason) = question.reason() else {
        return Ok(ClusterPlan::nothing());
    };
    let Question {
        environment,
        locked,
        ..
    } = question;
    if question.purpose == Purpose::Migrate {
        return migration(context, question, warnings);
    }
    if let (None, Some(mke3)) = (question.applied(), &environment.mke3) {
        return Err(plan::Error::StillMke3 {
            environment: environment.name.clone(),
            version: mke3.version.to_string(),
        }
        .into());
    }
    let address = mke::external_address(environment);
    if question.applied().is_none()
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
    if question.applied().is_some() {
        kubeconfig::require(context, environment)
            .map_err(|error| Error::Kubeconfig(Box::new(error)))?;
    }
    let mut known = ExpectedCluster {
        environment,
        rendered: &question.config.text,
        applied: question.applied(),
        under_way: question.under_way,
        upgrade_failed: question.failed_at(Step::Upgrade),
        kubeconfig: None,
    };
    let told = question.applied().map(|applied| applied.release.clone());
    if let Some(told) = told.filter(|told| *told != question.wanted()) {
        let (from, way) = way(question, &told)?;
        // A cluster that did not answer is a problem of the steps already.
        let (plan, seen) = upgrade(context, question, reason, from.clone(), &way, warnings);
        let word = seen.map_or(Word::NotAsked, Word::Told);
        let current = existing::release(&known, &word, warnings)?;
        if current.is_none_or(|current| current == from) {
            return Ok(plan);
        }
    } else {
        let mut program = program::for_apply(context, environment, &locked.lock, &locked.path);
        let is_new = question.applied().is_none();
        let asked = match &program {
            Ok(program) => existing::ask(context, environment, program, is_new),
            Err(_) => existing::Asked::default(),
        };
        if let (false, Some(recorded)) = (is_new, question.other_release())
            && let Word::Silent(source) = asked.word
        {
            return Err(Error::Existing(existing::Error::Unconfirmed {
                environment: environment.name.clone(),
                recorded,
                source: Box::new(source),
            }));
        }
        known.kubeconfig = asked.kubeconfig;
        let current = existing::release(&known, &asked.word, warnings)?;
        let exists = current.is_some();
        if let (true, Ok(program)) = (is_new, &mut program) {
            // A cluster is made without a kubeconfig.
            let kubeconfig = known.kubeconfig.filter(|_| exists);
            program.mkectl.kubeconfig = kubeconfig.and_then(|kubeconfig| kubeconfig.flag());
        }
        if let Some(current) = current.filter(|current| *current != environment.release) {
            let (from, way) = way(question, &format!("v{current}"))?;
            let reason = "the cluster runs an earlier release";
            return Ok(upgrade(context, question, reason, from, &way, warnings).0);
        }
        if exists {
            // A cluster that was not asked has what was rendered last.
            let file = read_if_there(&question.output.config)?;
            let applied = question.applied().map(|applied| applied.config.as_str());
            let last =
                (file.as_deref()).filter(|text| applied == Some(sha256(text.as_bytes()).as_str()));
            if let (Some(live), Some(last)) = (&asked.text, last) {
                let notice = existing::overwrite_notice(&environment.name, live, last)?;
                warnings.of_plan.extend(notice);
            }
            let before = asked.text.or(file);
            let notice =
                before.map(|before| existing::kubelet_notice(&before, &question.config.text));
            warnings.of_plan.extend(notice.transpose()?.flatten());
        }
        return Ok(apply(question, reason, program, warnings));
    }
    let program = program::for_apply(context, environment, &locked.lock, &locked.path);
    Ok(apply(question, UNKNOWN_END, program, warnings))
}

/// Returns how the configuration is applied.
fn apply(
    question: &Question<'_>,
    reason: &'static str,
    program: Result<Program, Error>,
    warnings: &mut Warnings,
) -> ClusterPlan {
    let environment = question.environment;
    let steps = program.and_then(|program| {
        program.require_pull_flags(environment, &mut warnings.of_plan)?;
        Ok(crate::cluster::apply::steps(
            environment,
            question.output,
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

/// Returns how an MKE 3 cluster is upgraded.
fn migration(
    context: &Context<'_>,
    question: &Question<'_>,
    warnings: &mut Warnings,
) -> Result<ClusterPlan, Error> {
    let Question {
        environment,
        locked,
        ..
    } = question;
    if let Some(applied) = question.applied() {
        return Err(plan::Error::AlreadyMigrated {
            environment: environment.name.clone(),
            applied: applied.release.clone(),
        }
        .into());
    }
    let from = migrate::of(environment)?.version.clone();
    let lock = (&*locked.lock, locked.path.as_path());
    let prepared = migrate::prepare(
        context,
        environment,
        question.release,
        lock,
        question.output,
    );
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

/// Returns how the cluster is upgraded, and what it said of itself, if it was asked.
fn upgrade(
    context: &Context<'_>,
    question: &Question<'_>,
    reason: &'static str,
    from: Version,
    way: &mke::Upgrade,
    warnings: &mut Warnings,
) -> (ClusterPlan, Option<mke::ClusterConfig>) {
    let lock = (&*question.locked.lock, question.locked.path.as_path());
    let prepared = upgrade::prepare(
        context,
        question.environment,
        lock,
        &from,
        way,
        question.output,
        question.applied(),
    );
    warnings.of_plan.extend(way.warnings.iter().cloned());
    let notices = upgrade::notices(question.environment, lock.0, &from, way);
    warnings.of_plan.extend(notices);
    let mut seen = None;
    let steps = prepared.map(|prepared| {
        seen = prepared.seen;
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
    (plan, seen)
}

/// Returns what is known of the way from the release that a cluster runs, which is another command
/// of mkectl than apply.
fn way(question: &Question<'_>, runs: &str) -> Result<(Version, mke::Upgrade), Error> {
    let changed = |refusal| {
        Error::Plan(plan::Error::ReleaseChanged {
            environment: question.environment.name.clone(),
            applied: runs.to_owned(),
            wanted: question.wanted(),
            refusal,
        })
    };
    let from: Option<Version> = (runs.strip_prefix('v')).and_then(|version| version.parse().ok());
    // `apply` is mkectl's command of this name alone.
    let (Some(from), Purpose::Deploy) = (from, question.purpose) else {
        return Err(changed(None));
    };
    match question.release.upgrade_from(&from) {
        Ok(way) => Ok((from, way)),
        Err(refusal) => Err(changed(Some(Box::new(refusal)))),
    }
}
