//! Runs mkectl's own checks of the machines and the ports between them.

use camino::Utf8PathBuf;
use environment::Environment;
use programs::Check;
use serde::Serialize;

use super::Cluster;
use crate::cluster::run;
use crate::{Context, Error};

/// What the checks came to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Checked {
    /// The environment.
    pub environment: String,
    /// The version of mkectl, `v4.2.0`.
    pub mkectl: String,
    /// Each check, in the order in which they ran.
    pub checks: Vec<Outcome>,
    /// The failure of the first check that failed.
    #[serde(skip)]
    pub failure: Option<Error>,
}

/// What one check came to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outcome {
    /// What it is called: `check hosts`.
    pub command: String,
    /// Whether this mkectl has it.
    pub is_known: bool,
    /// mkectl's exit code; `None` if it did not run, or a signal ended it.
    pub exit_code: Option<i32>,
    /// The log, relative to the workspace.
    pub log: Option<Utf8PathBuf>,
}

/// Runs `mkectl check hosts` and `check ports`, each where mkectl's help lists it, the second also
/// where the first finds something wrong. `typed` is given to both.
///
/// # Errors
/// A suitable mkectl is missing, has no checks, or cannot be run. That a check fails is part of the
/// answer.
pub fn check(
    context: &Context<'_>,
    environment: Environment,
    typed: &[String],
) -> Result<Checked, Error> {
    let cluster = Cluster::real(context, environment)?;
    let mut checked = Checked {
        environment: cluster.environment.name.clone(),
        mkectl: cluster.release(),
        checks: Vec::new(),
        failure: None,
    };
    let has_checks = cluster.help(&[])?.has_command("check");
    for check in Check::ALL {
        let mut outcome = Outcome {
            command: format!("check {}", check.word()),
            is_known: has_checks && cluster.help(&["check"])?.has_command(check.word()),
            exit_code: None,
            log: None,
        };
        if outcome.is_known {
            let help = cluster.help(&["check", check.word()])?;
            let name = format!("check-{}", check.word());
            let ran = cluster.run(context, &name, false, |config| {
                cluster.mkectl().check(check, config, &help).typed(typed)
            });
            match ran {
                Ok(ran) => {
                    outcome.exit_code = Some(0);
                    outcome.log = Some(ran.log);
                }
                Err(error) => {
                    let Error::Run(run::Error::Failed { exit, log, .. }) = &error else {
                        return Err(error);
                    };
                    outcome.exit_code = exit.code();
                    outcome.log = Some(log.clone());
                    checked.failure = checked.failure.or(Some(error));
                }
            }
        }
        checked.checks.push(outcome);
    }
    if !checked.checks.iter().any(|check| check.is_known) {
        return Err(super::Error::NoChecks {
            environment: checked.environment,
            mkectl: checked.mkectl,
        }
        .into());
    }
    Ok(checked)
}
