//! `push`: pushes missing artifacts to the registries of environments.

use std::process::ExitCode;

use indicatif::DecimalBytes;
use release::event::Event;
use release::plan::{Plan, Purpose};
use release::transfer::push::Sent;
use release::workspace::Output;
use serde_json::{Value, json};

use crate::app::App;
use crate::cli::PushArgs;
use crate::confirm::confirm;
use crate::failure::Failure;
use crate::interrupt::until_interrupted;
use crate::until::Until;

pub(crate) fn run(app: &App<'_>, arguments: &PushArgs) -> Result<ExitCode, Failure> {
    let now = (app.tool.now)().to_zoned(jiff::tz::TimeZone::system());
    if let Some(until @ Until::Moment(moment)) = arguments.until
        && until.from(&now).is_zero()
    {
        return Err(Failure::PastUntil(moment));
    }
    let mut environments = Vec::new();
    let mut locks = Vec::new();
    for (place, name) in arguments.environments.iter().enumerate() {
        if !arguments.environments[..place].contains(name) {
            let (environment, lock) = app.lock_environment(name, "push")?;
            environments.push(environment);
            locks.push(lock);
        }
    }
    until_interrupted(app, async {
        if let Some(until) = arguments.until {
            let wait = until.from(&(app.tool.now)().to_zoned(jiff::tz::TimeZone::system()));
            let signals = app.tool.signals.clone();
            tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                signals.stop_pushes();
            });
        }
        let context = app.context();
        let mut registries = Vec::new();
        let mut plans = Vec::new();
        for environment in environments {
            registries.push(release::rehearse::serve(&app.workspace, &environment).await?);
            let output = Output::below(&app.workspace.environment(&environment.name));
            plans.push(release::plan::plan(&context, environment, output, Purpose::Push).await?);
        }
        release::plan::require_agreement(&plans)?;
        for plan in &plans {
            if let Some(warning) = plan.moved_tags() {
                let text = format!("{}: {warning}", plan.environment().name);
                context.reporter.report(Event::Warning(text));
            }
            release::plan::allow_push(plan)?;
            if plan.pushes() {
                confirm(plan.environment(), confirmation(arguments, plan))?;
            }
        }
        let mut done = Vec::new();
        let mut failed = Vec::new();
        let outcomes = release::deploy::push(&context, &plans).await?;
        for (plan, outcome) in plans.iter().zip(outcomes) {
            match outcome {
                Ok(sent) => done.push((plan, sent)),
                Err(error) => failed.push((plan.environment().name.clone(), error.into())),
            }
        }
        report(app, plans.len(), &done)?;
        Failure::of_several(failed, plans.len())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the value of `--confirm` for the environment of a plan, else the first one.
fn confirmation<'a>(arguments: &'a PushArgs, plan: &Plan) -> Option<&'a str> {
    let given = &arguments.confirm;
    let matching = given.iter().find(|name| **name == plan.environment().name);
    matching.or(given.first()).map(String::as_str)
}

fn report(app: &App<'_>, requested: usize, done: &[(&Plan, Sent)]) -> Result<(), Failure> {
    if done.is_empty() {
        return Ok(());
    }
    let text: String = done
        .iter()
        .map(|(plan, sent)| {
            format!(
                "{}: {} in {}, {} pushed, {} sent\n",
                plan.environment().name,
                super::count(plan.artifacts(), "artifact"),
                plan.environment().registry.image_url(),
                sent.artifacts,
                DecimalBytes(sent.uploaded_bytes),
            )
        })
        .collect();
    let mut values: Vec<Value> = done
        .iter()
        .map(|(plan, sent)| {
            json!({
                "environment": plan.environment().name,
                "artifacts": plan.artifacts(),
                "pushed": sent.artifacts,
                "sent-bytes": sent.uploaded_bytes,
            })
        })
        .collect();
    // For one environment, the result is one object.
    match (requested, values.pop()) {
        (1, Some(value)) => app.ui.result(&text, &value),
        (_, last) => {
            values.extend(last);
            app.ui.result(&text, &json!({ "environments": values }))
        }
    }
}
