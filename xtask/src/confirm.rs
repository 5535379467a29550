//! The question for an environment's name, before a protected one is changed, or the cluster of any is taken down.

use std::io::{BufRead as _, IsTerminal as _};

use environment::Environment;
use release::Plan;

use crate::failure::Failure;
use crate::ui::edge;

/// Returns when the environment may be changed: it is not protected, or its name was given or is typed now.
///
/// # Errors
/// A different name was given, or a terminal is missing.
pub(crate) fn confirm(environment: &Environment, given: Option<&str>) -> Result<(), Failure> {
    let question = format!(
        "{} is protected. Type its name to continue: ",
        environment.name
    );
    confirm_by(environment, &question, given)
}

/// Does the same for a plan, whose upgrade may reboot every node.
///
/// # Errors
/// A different name was given, or a terminal is missing.
pub(crate) fn confirm_plan(plan: &Plan, given: Option<&str>) -> Result<(), Failure> {
    let environment = &plan.environment;
    if !plan.cluster.is_upgrade() {
        return confirm(environment, given);
    }
    let question = format!(
        "{} is protected. A failed upgrade is rolled back without another question, and reboots every node.\nType its name to upgrade: ",
        environment.name
    );
    confirm_by(environment, &question, given)
}

fn confirm_by(
    environment: &Environment,
    question: &str,
    given: Option<&str>,
) -> Result<(), Failure> {
    match environment.protected {
        true => ask(environment, question, given),
        false => Ok(()),
    }
}

/// Returns whether a deploy continues after one that began elsewhere: `given` says so, or its environment's name is typed now. Without a
/// terminal, nothing is asked.
///
/// # Errors
/// Another name was typed.
pub(crate) fn take_over(plan: &Plan, given: bool) -> Result<bool, Failure> {
    let conflict = plan.shared.conflict();
    let asks = conflict.filter(|conflict| conflict.may_be_running());
    match asks {
        Some(conflict) if !given && std::io::stdin().is_terminal() => {
            let name = &plan.environment.name;
            let question =
                format!("{conflict}.\nIf it was interrupted, type {name} to take over: ");
            ask(&plan.environment, &question, None)?;
            Ok(true)
        }
        _ => Ok(given),
    }
}

/// Returns when the environment's name was given or is typed now, whether it is protected or not.
///
/// # Errors
/// A different name was given, or a terminal is missing.
pub(crate) fn ask(
    environment: &Environment,
    question: &str,
    given: Option<&str>,
) -> Result<(), Failure> {
    let name = &environment.name;
    let declined = |why: String| {
        Err(Failure::Declined {
            environment: name.clone(),
            why,
        })
    };
    if let Some(given) = given {
        if given == name {
            return Ok(());
        }
        return declined(format!("--confirm says `{given}`"));
    }
    if !std::io::stdin().is_terminal() {
        return declined("a terminal is required to confirm".to_owned());
    }
    edge::err(&format!("\n{question}"));
    let mut answer = String::new();
    if std::io::stdin().lock().read_line(&mut answer).is_err() {
        return declined("nothing could be read from the terminal".to_owned());
    }
    match answer.trim() {
        answer if answer == name => Ok(()),
        "" => declined("nothing was typed".to_owned()),
        answer => declined(format!("`{answer}` was typed")),
    }
}
