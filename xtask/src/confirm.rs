//! Approval: of a plan by `y`, and by its name before a protected environment is changed or any
//! cluster is taken down.

use std::io::IsTerminal as _;

use environment::Environment;
use release::Plan;

use crate::cli::ApprovalArgs;
use crate::consent::{line, typed};
use crate::failure::Failure;
use crate::ui::edge;

/// Returns when the environment may be changed: it is not protected, or its name was given or is
/// typed now.
///
/// # Errors
/// A different name was given, or a terminal is missing.
pub(crate) fn confirm(environment: &Environment, given: Option<&str>) -> Result<(), Failure> {
    let question = format!(
        "{} is protected. Type its name to continue: ",
        environment.name
    );
    match environment.protected {
        true => ask(environment, &question, given),
        false => Ok(()),
    }
}

/// Returns when a plan may be executed: `--yes` or the answer approves it, or the protected
/// environment's name confirms it. A saved plan was reviewed before, and a rehearsal reaches no
/// cluster: neither asks.
///
/// # Errors
/// The plan was declined, a different name was given, or a terminal is missing.
pub(crate) fn approve(plan: &Plan, given: &ApprovalArgs, is_saved: bool) -> Result<(), Failure> {
    let environment = plan.environment();
    let name = &environment.name;
    let (danger, verb) = match plan.cluster().is_upgrade() {
        true => (
            "A failed upgrade is rolled back without another question, and reboots every node.\n",
            "upgrade",
        ),
        false => ("", "continue"),
    };
    if environment.protected || given.confirm.is_some() {
        let yes = match given.yes {
            true => "`--yes` approves plans of unprotected environments only. ",
            false => "",
        };
        let question = format!("{name} is protected. {yes}{danger}Type its name to {verb}: ");
        let mut asked = ask(environment, &question, given.confirm.as_deref());
        if let Err(Failure::Declined { has_yes, .. }) = &mut asked {
            *has_yes = true;
        }
        return asked;
    }
    if given.yes || is_saved || environment.rehearsal {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::NoApproval(name.clone()));
    }
    edge::err(&format!("\n{danger}Execute this plan on {name}? [y/N] "));
    let answer = line().unwrap_or_default();
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::NotApproved(name.clone())),
    }
}

/// Returns whether a deploy continues after one that began elsewhere: `given` says so, or its
/// environment's name is typed now. Without a terminal, nothing is asked.
///
/// # Errors
/// Another name was typed.
pub(crate) fn take_over(plan: &Plan, given: bool) -> Result<bool, Failure> {
    let conflict = plan.shared().conflict();
    let asks = conflict.filter(|conflict| conflict.may_be_running());
    match asks {
        Some(conflict) if !given && std::io::stdin().is_terminal() => {
            let name = &plan.environment().name;
            let question =
                format!("{conflict}.\nIf it was interrupted, type {name} to take over: ");
            ask(plan.environment(), &question, None)?;
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
    match given {
        Some(given) if given == name => Ok(()),
        Some(given) => Err(Failure::WrongName {
            environment: name.clone(),
            given: given.to_owned(),
        }),
        None => typed(&format!("\n{question}"), name, &|| false).map_err(|why| Failure::Declined {
            environment: name.clone(),
            why,
            has_yes: false,
        }),
    }
}
