//! Runs mkectl's own checks of the machines and the ports between them.

use camino::Utf8PathBuf;
use environment::Environment;
use programs::Check;
use serde::Serialize;

use super::Cluster;
use crate::cluster::run;
use crate::{Context, Error};

/// The results of mkectl's checks.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Checked {
    /// The environment's name.
    pub environment: String,
    /// The release of mkectl, `v4.2.0`.
    pub mkectl: String,
    /// The checks, in the order in which they ran.
    pub checks: Vec<Outcome>,
    /// The error of the first check that failed.
    #[serde(skip)]
    pub failure: Option<Error>,
}

/// The result of one check.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outcome {
    /// The command without the program, `check hosts`.
    pub command: String,
    /// Whether this mkectl has it.
    pub is_known: bool,
    /// mkectl's exit code; `None` if it did not run, or a signal ended it.
    pub exit_code: Option<i32>,
    /// The log of mkectl's output, relative to the workspace; `None` if it did not run.
    pub log: Option<Utf8PathBuf>,
}

/// Runs `mkectl check hosts` and `mkectl check ports`, if mkectl's help lists them. Runs both even
/// if the first fails. `typed` are additional arguments for each. A failed check is part of the
/// result.
///
/// # Errors
/// - A suitable mkectl is missing, or cannot be run.
/// - [`NoChecks`](super::Error::NoChecks) if it has neither check.
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
