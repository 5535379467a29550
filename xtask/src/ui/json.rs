//! The JSON format: one object per line on standard output. The last one is the result or the
//! error.

use release::cluster::run;
use release::event::Event;
use release::transfer::push;
use release::{plan, prune, set, verify};
use serde::Serialize;
use serde_json::{Value, json};

use crate::advice;
use crate::failure::Failure;
use crate::ui::edge;

/// Writes JSON objects.
pub(super) struct Json;

/// Returns an object with one key.
pub(super) fn object(key: &str, value: &impl Serialize) -> Value {
    json!({ key: value })
}

impl Json {
    pub(super) fn report(&self, event: &Event<'_>) {
        let event = match event {
            Event::Started { step, what, bytes } => {
                json!({"kind": "started", "step": step.to_string(), "what": what, "bytes": bytes})
            }
            // One line for each piece of a transfer would be too many.
            Event::Advanced { .. } | Event::Skipped { .. } => return,
            Event::Item { step, item } => {
                json!({"kind": "at", "step": step.to_string(), "item": item})
            }
            Event::Finished { step, what } => {
                json!({"kind": "finished", "step": step.to_string(), "what": what})
            }
            Event::Retried { step, why } => {
                json!({"kind": "retried", "step": step.to_string(), "why": why})
            }
            Event::Mkectl(line) => json!({"kind": "mkectl", "line": line}),
            Event::MkectlResult(line) => json!({"kind": "mkectl-result", "line": line}),
            Event::Revealed(line) => {
                let event = json!({"kind": "mkectl-result", "line": line});
                let _ = edge::reveal_json(&object("event", &event));
                return;
            }
            Event::Warning(text) => json!({"kind": "warning", "text": text}),
            Event::Remediable(fault) => json!({"kind": "warning", "text": advice::warning(fault)}),
        };
        self.emit("event", &event);
    }

    pub(super) fn failure(&self, failure: &Failure, code: u8) {
        if edge::json(object("error", &described(failure, code))).is_err() {
            edge::err(&format!("error: {failure}\n"));
        }
    }

    pub(super) fn emit(&self, key: &str, value: &impl Serialize) {
        // If standard output is closed, the work continues; writing the result then fails.
        let _ = edge::json(object(key, value));
    }
}

/// Returns a failure with its causes, hints, details and exit code.
pub(crate) fn described(failure: &Failure, code: u8) -> Value {
    let mut error = describe(failure);
    error["exit-code"] = json!(code);
    error
}

fn describe(failure: &Failure) -> Value {
    let mut causes = Vec::new();
    let mut source = std::error::Error::source(failure);
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    let mut error = json!({
        "message": failure.to_string(),
        "causes": causes,
        "hints": failure.hints(),
    });
    match failure {
        Failure::Release(release) => add_details(&mut error, release),
        Failure::Interrupted(failure) => return describe(failure),
        Failure::Wrong { wrong, .. } => {
            error["environments"] = wrong
                .iter()
                .map(|(environment, wrong)| {
                    let mut error = json!({
                        "environment": environment,
                        "message": wrong.to_string(),
                    });
                    add_details(&mut error, wrong);
                    error
                })
                .collect();
        }
        Failure::Several { failed, .. } => {
            error["environments"] = failed
                .iter()
                .map(|(environment, failure)| {
                    let mut error = describe(failure);
                    error["environment"] = json!(environment);
                    error["exit-code"] = json!(failure.exit_code());
                    error
                })
                .collect();
        }
        _ => {}
    }
    error
}

fn add_details(object: &mut Value, error: &release::Error) {
    if let Some(problems) = error.problems() {
        object["problems"] = problems.0.iter().map(problem).collect();
    }
    match error {
        release::Error::Run(run::Error::Failed {
            command, exit, log, ..
        })
        | release::Error::Run(run::Error::Interrupted {
            command, exit, log, ..
        }) => {
            object["mkectl-command"] = json!(command);
            object["mkectl-exit-code"] = json!(exit.code());
            object["log"] = json!(log);
        }
        release::Error::Run(run::Error::Contradicted { log, .. }) => object["log"] = json!(log),
        release::Error::Push(push::Error::Failed { failed, .. })
        | release::Error::Push(push::Error::Stopped { failed, .. }) => {
            object["failed"] = failed_artifacts(failed);
        }
        release::Error::Set(error @ set::Error::Invalid(_)) => {
            object["wrong"] = json!(crate::failure::set::entry_errors(error));
        }
        release::Error::Plan(plan::Error::Moved { moved, .. }) => object["moved"] = json!(moved),
        release::Error::Prune(prune::Error::NotRemoved { failed, .. }) => {
            object["failed"] = failed_artifacts(failed);
        }
        release::Error::Prune(prune::Error::Refused { moved, .. }) => {
            object["moved"] = moved.iter().map(ToString::to_string).collect();
        }
        release::Error::Verify(verify::Error::NotConfirmed { findings, .. })
        | release::Error::Verify(verify::Error::NotRepaired { findings, .. }) => {
            let wrong: Vec<String> = findings.iter().map(ToString::to_string).collect();
            object["wrong"] = json!(wrong);
            object["findings"] = json!(findings);
        }
        _ => {}
    }
}

fn failed_artifacts<E: std::error::Error>(failed: &[(String, E)]) -> Value {
    let failed = failed.iter();
    failed
        .map(|(artifact, cause)| json!({"artifact": artifact, "error": release::chain(cause)}))
        .collect()
}

fn problem(problem: &environment::Problem) -> Value {
    json!({
        "file": problem.source.path,
        "line": problem.line(),
        "column": problem.column(),
        "rule": problem.rule,
        "help": problem.help,
        "warning": problem.is_warning,
    })
}
