//! Plans the steps that apply the rendered configuration, with the mkectl of its release.

use environment::Environment;

use crate::cluster::executor::{ClusterStep, Command, Task};
use crate::event::Step;
use crate::transfer::program::Program;
use crate::workspace::Output;

const DRY_RUN: &str = "--dry-run";

/// Returns `mkectl apply`, preceded by a dry run if mkectl's help lists that flag.
pub(crate) fn steps(
    environment: &Environment,
    output: &Output,
    program: Program,
) -> Vec<ClusterStep> {
    let apply = (program.apply(&output.config)).within(environment.operation.apply_timeout);
    let simulates = !environment.rehearsal && program.help.lists(DRY_RUN);
    let simulation = simulates.then(|| {
        let mut command = apply.clone().argument(DRY_RUN);
        command.name = format!("{} {DRY_RUN}", command.name);
        Command {
            program: program.clone(),
            name: "apply-dry-run",
            command,
            reads_config: true,
            is_printed: false,
            effect: None,
        }
    });
    let apply = Command {
        program,
        name: "apply",
        command: apply,
        reads_config: true,
        is_printed: true,
        effect: Some("applied".to_owned()),
    };
    (simulation.into_iter().chain([apply]))
        .map(|command| ClusterStep {
            step: Step::Apply,
            task: Task::Run(Box::new(command)),
        })
        .collect()
}
