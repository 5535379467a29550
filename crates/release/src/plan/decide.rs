//! Whether mkectl is to be run, for what, and by which commands.

use environment::Environment;
use semver::Version;
use serde::Serialize;

use super::Purpose;
use crate::event::Step;
use crate::existing::{self, Known, Word};
use crate::fetch::Locked;
use crate::migrate;
use crate::program::{self, Program};
use crate::receipt::{Applied, Receipt};
use crate::under_way::UnderWay;
use crate::upgrade::{self, Commands};
use crate::warnings::Warnings;
use crate::workspace::{Output, read_if_there};
use crate::{Context, Error, Workspace, chain, kubeconfig};

/// What mkectl is to be run for, and how.
///
/// A plan can be made without a mkectl that would do, or without what an upgrade needs besides; deploy cannot go on.
#[derive(Debug)]
pub enum MkectlPlan {
    /// For nothing: the cluster has this configuration already.
    NotNeeded,
    /// The configuration is applied: to a new cluster, or to one of the same release.
    Apply {
        /// Why.
        reason: &'static str,
        /// The program, or why there is none that would do.
        program: Result<Program, Error>,
    },
    /// The cluster is upgraded.
    Upgrade {
        /// Why.
        reason: &'static str,
        /// The release that is there.
        from: Version,
        /// What is known of the way from there.
        way: mke::Upgrade,
        /// The commands, or what is missing for them.
        commands: Result<Box<Commands>, Error>,
    },
    /// An MKE 3 cluster is upgraded.
    Migrate {
        /// The version that is there.
        from: Version,
        /// The commands, or what is missing for them.
        commands: Result<Box<migrate::Commands>, Error>,
    },
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
    /// Every command in its order; none where there is a problem.
    pub commands: Vec<CommandSummary>,
    /// What is missing, so that deploy would refuse.
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

impl MkectlPlan {
    /// Says whether mkectl is to be run.
    pub fn is_needed(&self) -> bool {
        !matches!(self, Self::NotNeeded)
    }

    /// Returns the programs that are run, with the releases that they are of and the SHA-256 of their files, and the commands in
    /// their order; nothing where something is missing for them.
    pub(super) fn programs_and_commands(
        &self,
        release: &Version,
        output: &Output,
    ) -> (Vec<(Version, Option<String>)>, Vec<programs::Command>) {
        let of = |release: &Version, program: &Program| (release.clone(), program.mkectl.sha256());
        match self {
            Self::Apply {
                program: Ok(program),
                ..
            } => (
                vec![of(release, program)],
                vec![program.apply(&output.config)],
            ),
            Self::Upgrade {
                from,
                commands: Ok(commands),
                ..
            } => {
                let (old, new) = commands.programs();
                let programs = old.map(|old| of(from, old)).into_iter();
                let commands = commands.in_order().into_iter();
                (
                    programs.chain([of(release, new)]).collect(),
                    commands.map(|(_, command)| command).collect(),
                )
            }
            Self::Migrate {
                commands: Ok(commands),
                ..
            } => {
                let ordered = commands.in_order().into_iter();
                (
                    vec![of(release, commands.program())],
                    ordered.map(|(_, command)| command).collect(),
                )
            }
            Self::NotNeeded | Self::Apply { .. } | Self::Upgrade { .. } | Self::Migrate { .. } => {
                (Vec::new(), Vec::new())
            }
        }
    }

    /// Returns the mkectl of the release that is wanted, if it is to be run and is there.
    pub(crate) fn program(&self) -> Option<&Program> {
        match self {
            Self::Apply {
                program: Ok(program),
                ..
            } => Some(program),
            Self::Upgrade {
                commands: Ok(commands),
                ..
            } => Some(commands.program()),
            _ => None,
        }
    }

    /// Returns the operator's reason for an upgrade without a backup that could be restored, if this is one.
    pub(crate) fn without_backup(&self) -> Option<String> {
        match self {
            Self::Upgrade {
                commands: Ok(commands),
                ..
            } => commands.without_backup.clone(),
            _ => None,
        }
    }

    /// Returns whether a cluster is upgraded, from MKE 3 or a release of MKE 4.
    pub fn is_upgrade(&self) -> bool {
        matches!(self, Self::Upgrade { .. } | Self::Migrate { .. })
    }

    /// Returns what is missing, so that deploy would refuse.
    pub(crate) fn problem(&self) -> Option<&Error> {
        match self {
            Self::NotNeeded => None,
            Self::Apply { program, .. } => program.as_ref().err(),
            Self::Upgrade { commands, .. } => commands.as_ref().err(),
            Self::Migrate { commands, .. } => commands.as_ref().err(),
        }
    }

    /// Returns it as it is printed.
    pub(super) fn summary(&self, workspace: &Workspace, output: &Output) -> MkectlSummary {
        let shown = |(step, command): (Step, programs::Command)| CommandSummary {
            step: step.to_string(),
            command: workspace.shown_command(&command),
        };
        let of = |commands: Result<Vec<(Step, programs::Command)>, &Error>| match commands {
            Ok(commands) => (commands.into_iter().map(shown).collect(), None),
            Err(error) => (Vec::new(), Some(chain(error))),
        };
        match self {
            Self::NotNeeded => MkectlSummary {
                action: "none",
                from: None,
                reason: None,
                commands: Vec::new(),
                problem: None,
            },
            Self::Apply { reason, program } => {
                let command =
                    |program: &Program| vec![(Step::Apply, program.apply(&output.config))];
                let (commands, problem) = of(program.as_ref().map(command));
                MkectlSummary {
                    action: "apply",
                    from: None,
                    reason: Some(reason),
                    commands,
                    problem,
                }
            }
            Self::Upgrade {
                reason,
                from,
                commands,
                ..
            } => {
                let (commands, problem) = of(commands.as_ref().map(|commands| commands.in_order()));
                MkectlSummary {
                    action: "upgrade",
                    from: Some(format!("v{from}")),
                    reason: Some(reason),
                    commands,
                    problem,
                }
            }
            Self::Migrate { from, commands } => {
                let (commands, problem) = of(commands.as_ref().map(|commands| commands.in_order()));
                MkectlSummary {
                    action: "migrate",
                    from: Some(format!("v{from}")),
                    reason: Some("it was asked for"),
                    commands,
                    problem,
                }
            }
        }
    }
}

/// What it depends on.
pub(super) struct Question<'a> {
    pub(super) environment: &'a Environment,
    pub(super) release: &'a mke::Release,
    pub(super) locked: &'a Locked,
    /// SHA-256 of the configuration as it is to be.
    pub(super) config: &'a str,
    /// Its text.
    pub(super) rendered: &'a str,
    pub(super) output: &'a Output,
    pub(super) receipt: Option<&'a Receipt>,
    pub(super) under_way: Option<&'a UnderWay>,
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
            (Purpose::Apply | Purpose::Migrate, _) => Some("it was asked for"),
            (Purpose::Deploy, None) => Some("no receipt tells of a successful deploy"),
            (Purpose::Deploy, Some(_)) if self.failed_at(Step::Upgrade) => {
                Some("the last upgrade failed")
            }
            (Purpose::Deploy, Some(applied)) if applied.release != self.wanted() => {
                Some("the environment names a later release")
            }
            (Purpose::Deploy, Some(applied)) if applied.config != self.config => {
                Some("the configuration changed")
            }
            (Purpose::Deploy, Some(_)) if self.under_way.is_some() => {
                Some("nobody knows how the last one ended")
            }
            // The cluster may be half-way to what the files said then, whatever they say now.
            (Purpose::Deploy, Some(_))
                if self.failed_at(Step::Apply) || self.failed_at(Step::Cluster) =>
            {
                Some("the last one failed")
            }
            (Purpose::Deploy, Some(_)) => None,
        }
    }

    /// Says whether this was what failed in the last deploy.
    fn failed_at(&self, step: Step) -> bool {
        self.receipt
            .and_then(|receipt| receipt.failed.as_ref())
            .is_some_and(|failed| failed.step == step.to_string())
    }
}

/// Decides what mkectl is to be run for. `warnings` gets what people should know of it.
///
/// # Errors
/// The vendor supports no way from the release that the cluster runs to the one that is wanted, or the receipt and the cluster
/// contradict each other.
pub(super) fn decide(
    context: &Context<'_>,
    question: &Question<'_>,
    warnings: &mut Warnings,
) -> Result<MkectlPlan, Error> {
    let Some(reason) = question.reason() else {
        return Ok(MkectlPlan::NotNeeded);
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
        return Err(Error::StillMke3 {
            environment: environment.name.clone(),
            version: mke3.version.to_string(),
        });
    }
    if question.applied().is_some() {
        kubeconfig::require(context, environment)
            .map_err(|error| Error::Kubeconfig(Box::new(error)))?;
    }
    let mut known = Known {
        environment,
        rendered: question.rendered,
        applied: question.applied(),
        under_way: question.under_way,
        upgrade_failed: question.failed_at(Step::Upgrade),
        kubeconfig: None,
    };
    let told = question.applied().map(|applied| applied.release.clone());
    if let Some(told) = told.filter(|told| *told != question.wanted()) {
        let (from, way) = way(question, &told)?;
        let plan = upgrade(context, question, reason, from.clone(), way, warnings);
        // A cluster that did not answer is a problem of the commands already.
        let seen = match &plan {
            MkectlPlan::Upgrade {
                commands: Ok(commands),
                ..
            } => commands.seen.clone(),
            _ => None,
        };
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
            return Ok(upgrade(context, question, reason, from, way, warnings));
        }
        if exists {
            // A cluster that was not asked has what was rendered last.
            let before = match asked.text {
                Some(text) => Some(text),
                None => read_if_there(&question.output.config)?,
            };
            let notice = before.map(|before| existing::kubelet_notice(&before, question.rendered));
            warnings.of_plan.extend(notice.transpose()?.flatten());
        }
        return Ok(MkectlPlan::Apply { reason, program });
    }
    Ok(MkectlPlan::Apply {
        reason: "nobody knows how the last one ended",
        program: program::for_apply(context, environment, &locked.lock, &locked.path),
    })
}

/// Returns how an MKE 3 cluster is upgraded.
fn migration(
    context: &Context<'_>,
    question: &Question<'_>,
    warnings: &mut Warnings,
) -> Result<MkectlPlan, Error> {
    let Question {
        environment,
        locked,
        ..
    } = question;
    if let Some(applied) = question.applied() {
        return Err(Error::AlreadyMigrated {
            environment: environment.name.clone(),
            applied: applied.release.clone(),
        });
    }
    let from = migrate::of(environment)?.version.clone();
    let lock = (&locked.lock, locked.path.as_path());
    let commands = migrate::commands(
        context,
        environment,
        question.release,
        lock,
        question.output,
    );
    if let Ok(commands) = &commands {
        warnings.of_plan.extend(commands.warnings.iter().cloned());
    }
    Ok(MkectlPlan::Migrate {
        from,
        commands: commands.map(Box::new),
    })
}

fn upgrade(
    context: &Context<'_>,
    question: &Question<'_>,
    reason: &'static str,
    from: Version,
    way: mke::Upgrade,
    warnings: &mut Warnings,
) -> MkectlPlan {
    let lock = (&question.locked.lock, question.locked.path.as_path());
    let commands = upgrade::commands(
        context,
        question.environment,
        lock,
        &from,
        &way,
        question.output,
        question.applied(),
    );
    warnings.of_plan.extend(way.warnings.iter().cloned());
    let notices = upgrade::notices(question.environment, lock.0, &from, &way);
    warnings.of_plan.extend(notices);
    if let Ok(commands) = &commands {
        warnings.of_plan.extend(commands.warnings.iter().cloned());
    }
    MkectlPlan::Upgrade {
        reason,
        from,
        way,
        commands: commands.map(Box::new),
    }
}

/// Returns what is known of the way from the release that a cluster runs, which is another command of mkectl than apply.
fn way(question: &Question<'_>, runs: &str) -> Result<(Version, mke::Upgrade), Error> {
    let changed = |refusal| Error::ReleaseChanged {
        environment: question.environment.name.clone(),
        applied: runs.to_owned(),
        wanted: question.wanted(),
        refusal,
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
