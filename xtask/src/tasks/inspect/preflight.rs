//! `preflight`: finds what would stop an installation, and shows a fix for each problem.

mod fix;
mod nodes;

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::process::ExitCode;

use environment::Environment;
use release::Kind;
use release::preflight::{Check, Fault, Group, Report, Verdict};
use serde_json::{Value, json};

use crate::app::App;
use crate::cli::PreflightArgs;
use crate::failure::{Failure, code};
use crate::interrupt::until_interrupted;
use crate::ui::Columns;
use fix::{Fix, fix};

/// Widths of the columns.
const VERDICT: usize = 8;
const NAME: usize = 17;

pub(crate) fn run(app: &App<'_>, arguments: &PreflightArgs) -> Result<ExitCode, Failure> {
    let (name, asks_nodes) = (&arguments.environment, arguments.nodes);
    let environment = app.environment(name)?;
    let tag = tag();
    app.ui.note(&format!(
        "{name}: trying {} with a probe tagged {tag}{}; this takes up to a minute",
        environment.registry.image_url(),
        if asks_nodes {
            ", and checking all nodes over SSH"
        } else {
            ""
        }
    ));
    let report = until_interrupted(app, async {
        let _registry = release::rehearse::serve_for_reading(&app.workspace, &environment).await?;
        Ok(release::preflight::preflight(&app.context(), &environment, &tag, asks_nodes).await?)
    })?;
    let fixes = fixes(&report, &environment);
    app.ui
        .result(&text(&report, &fixes), &value(&report, &fixes))?;
    Ok(ExitCode::from(exit_code(&report)))
}

/// Returns the result of a preflight without nodes as JSON, for `support`.
pub(in crate::tasks) async fn json_without_nodes(
    app: &App<'_>,
    environment: &Environment,
) -> Result<Value, Failure> {
    let report = release::preflight::preflight(&app.context(), environment, &tag(), false).await?;
    Ok(value(&report, &fixes(&report, environment)))
}

fn fixes(report: &Report, environment: &Environment) -> Vec<Option<Fix>> {
    let fixes = report.checks.iter();
    fixes
        .map(|check| check.fault.map(|fault| fix(fault, check, environment)))
        .collect()
}

/// Returns a tag that differs in each run: the hashers of the standard library have random seeds.
fn tag() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

/// Returns the exit code of the first problem, else 0. A check without a fault is one of the
/// registry.
fn exit_code(report: &Report) -> u8 {
    let first = report.problems().next();
    first.map_or(0, |problem| {
        code(problem.fault.map_or(Kind::Registry, Fault::kind))
    })
}

fn text(report: &Report, fixes: &[Option<Fix>]) -> String {
    let columns = Columns::of_results();
    let mut text = String::new();
    let mut group = None;
    let mut checks = report.checks.iter().zip(fixes).peekable();
    while let Some((check, fix)) = checks.next() {
        if group != Some(check.group) {
            if group.is_some() {
                text.push('\n');
            }
            group = Some(check.group);
            text.push_str(&format!("{}\n", check.group));
            if check.group == Group::Nodes {
                text.push_str(
                    &report
                        .nodes
                        .as_ref()
                        .map(nodes::table_of)
                        .unwrap_or_default(),
                );
            }
        }
        // Checks that were skipped for the same reason share a line, so the reason is easy to find.
        let mut names = vec![check.name];
        while check.verdict == Verdict::Skipped
            && let Some((next, _)) =
                checks.next_if(|(next, _)| next.verdict == check.verdict && next.text == check.text)
        {
            names.push(next.name);
        }
        let name = match names.as_slice() {
            [_, _, _, ..] => format!("{} and {} more", check.name, names.len() - 1),
            names => names.join(", "),
        };
        let lead = format!("  {:VERDICT$} {name:NAME$} ", verdict(check.verdict));
        text.push_str(&format!("{}\n", columns.hanging(&lead, &check.text)));
        let Some(fix) = fix else { continue };
        let lead = format!("  {:VERDICT$} {:NAME$} fix: ", "", "");
        text.push_str(&format!("{}\n", columns.hanging(&lead, &fix.text)));
        if let Some(command) = &fix.command {
            text.push_str(&format!("  {:VERDICT$} {:NAME$} $ {command}\n", "", ""));
        }
    }
    text.push_str(&format!("\n{}: {}\n", report.environment, summary(report)));
    if let Some(nodes) = &report.nodes {
        text.push_str(&nodes::summary(nodes, &report.environment));
    }
    text
}

fn summary(report: &Report) -> String {
    let problems = super::count(report.count(Verdict::Problem), "problem");
    let warnings = super::count(report.count(Verdict::Warning), "warning");
    match (
        report.count(Verdict::Problem),
        report.count(Verdict::Warning),
    ) {
        (0, 0) => format!("preflight passed: {} is ready to install", report.release),
        (0, _) => format!(
            "preflight passed: {} is ready to install; {warnings}",
            report.release
        ),
        _ => format!("{problems}, {warnings}"),
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Warning => "warning",
        Verdict::Problem => "PROBLEM",
        Verdict::Skipped => "skipped",
    }
}

fn value(report: &Report, fixes: &[Option<Fix>]) -> Value {
    let checks: Vec<Value> = report
        .checks
        .iter()
        .zip(fixes)
        .map(|(check, fix)| entry(check, fix.as_ref()))
        .collect();
    json!({
        "environment": report.environment,
        "release": report.release,
        "registry": report.registry,
        "problems": report.count(Verdict::Problem),
        "warnings": report.count(Verdict::Warning),
        "checks": checks,
        "nodes": report.nodes.as_ref().map(nodes::value),
    })
}

fn entry(check: &Check, fix: Option<&Fix>) -> Value {
    json!({
        "group": check.group,
        "name": check.name,
        "verdict": check.verdict,
        "fault": check.fault,
        "text": check.text,
        "nodes": check.shared.nodes,
        "fix": fix.map(|fix| &fix.text),
        // The earlier name of `fix`, which scripts may still read.
        "cure": fix.map(|fix| &fix.text),
        "command": fix.and_then(|fix| fix.command.as_ref()),
    })
}
