//! Prompts before changes: `y` approves a plan. The environment's name confirms changes of a
//! protected environment, and the end of any cluster.

use std::io::IsTerminal as _;

use environment::Environment;
use release::Plan;

use crate::cli::ApprovalArgs;
use crate::consent::{ask_for, read_line};
use crate::failure::Failure;
use crate::ui::edge;

/// Confirms changes of an environment. A protected one needs its name, in `given` or typed now.
///
/// # Errors
/// The name is a different one, or it is not given and a terminal is missing.
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

/// Approves a plan: by `--yes` or the operator's answer; for a protected environment, by its name.
///
/// A saved plan needs no approval, because it was reviewed before. A rehearsal needs none, because
/// it reaches no cluster.
///
/// # Errors
/// The operator declined, the name is a different one, or approval needs a terminal.
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
        let mut answer = ask(environment, &question, given.confirm.as_deref());
        if let Err(Failure::Declined { has_yes, .. }) = &mut answer {
            *has_yes = true;
        }
        return answer;
    }
    if given.yes || is_saved || environment.rehearsal {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::NoApproval(name.clone()));
    }
    edge::err(&format!("\n{danger}Execute this plan on {name}? [y/N] "));
    let answer = read_line().unwrap_or_default();
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::NotApproved(name.clone())),
    }
}

/// Returns whether a deploy takes over from an interrupted one in a different checkout: if `given`,
/// or if the operator types the environment's name. Without a terminal, returns `given`.
///
/// # Errors
/// The operator typed a different name.
pub(crate) fn take_over(plan: &Plan, given: bool) -> Result<bool, Failure> {
    let conflict = plan.shared().conflict();
    match conflict.filter(|conflict| conflict.may_be_running()) {
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

/// Requires the environment's name, in `given` or typed now, even if it is not protected.
///
/// # Errors
/// The name is a different one, or it is not given and a terminal is missing.
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
        None => {
            let answer = ask_for(&format!("\n{question}"), name, &|| false);
            answer.map_err(|why| Failure::Declined {
                environment: name.clone(),
                why,
                has_yes: false,
            })
        }
    }
}
