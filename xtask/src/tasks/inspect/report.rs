//! `report`: writes an HTML page about environments.

use std::process::ExitCode;

use indicatif::DecimalBytes;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, UndefinedBehavior, context};
use release::report::page::{self, Page, Section};
use serde::Serialize;
use serde_json::json;

use crate::app::App;
use crate::cli::ReportArgs;
use crate::failure::Failure;
use crate::interrupt::until_interrupted;

/// Name of the template. minijinja escapes all values because it ends with `.html`.
const TEMPLATE: &str = "page.html";

/// Maximum number of deploys in the list for all environments.
const LATEST: usize = 10;

pub(crate) fn run(app: &App<'_>, arguments: &ReportArgs) -> Result<ExitCode, Failure> {
    let named = arguments.environment.as_deref();
    let names = super::existing_or_all(app, named)?;
    let page = until_interrupted(app, async {
        Ok(page::gather(&app.context(), &names).await)
    })?;
    let mut value = json!(page);
    for (index, section) in page.environments.iter().enumerate() {
        value["environments"][index]["status"] = super::status::value(&section.status);
    }
    let html = html(&page, &value, named).map_err(Failure::Report)?;
    // Masked like the text of every file.
    let html = redaction::yaml::free_text(&html);
    let Some(path) = &arguments.out else {
        app.ui.document(&html, &value)?;
        return Ok(ExitCode::SUCCESS);
    };
    page::write(&app.workspace, path, &html)?;
    let shown = app.workspace.shown(path);
    let count = super::count(names.len(), "environment");
    let text = format!("wrote {shown}: {count}\n");
    app.ui
        .result(&text, &json!({ "file": shown, "environments": names }))?;
    Ok(ExitCode::SUCCESS)
}

/// Numbers of environments by state.
#[derive(Debug, Default, Serialize)]
struct Figures {
    good: usize,
    warn: usize,
    bad: usize,
    idle: usize,
}

impl Figures {
    fn add(mut self, section: &Section) -> Self {
        let status = &section.status;
        let deployed = status.deployed.as_ref();
        let failed = deployed.is_some_and(|deployed| deployed.failed_at.is_some());
        let state = match deployed {
            _ if status.release.is_none() || failed => &mut self.bad,
            None => &mut self.idle,
            Some(_) if status.drift.is_empty() => &mut self.good,
            Some(_) => &mut self.warn,
        };
        *state += 1;
        self
    }
}

fn html(
    page: &Page,
    value: &serde_json::Value,
    named: Option<&str>,
) -> Result<String, minijinja::Error> {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    templates.add_filter("bytes", |bytes: u64| DecimalBytes(bytes).to_string());
    templates.add_filter("count", |count: usize, what: &str| {
        environment::count(count, what)
    });
    templates.add_filter("date", date);
    templates.add_filter("largest", largest);
    templates.add_filter("reference", |name: &str| -> Vec<String> {
        let (repository, tag) = name.rsplit_once(':').unwrap_or((name, ""));
        vec![repository.to_owned(), tag.to_owned()]
    });
    templates.add_template(TEMPLATE, include_str!("report/page.html"))?;
    let figures = page
        .environments
        .iter()
        .fold(Figures::default(), Figures::add);
    templates.get_template(TEMPLATE)?.render(context! {
        page => Serde(value),
        named,
        latest => Serde(latest(page)),
        figures => Serde(figures),
        command => format!("report {}", named.unwrap_or("--all")),
        style => include_str!("report/page.css"),
        version => env!("AIRLOCK_VERSION"),
    })
}

/// A deploy in the list for all environments.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Latest<'a> {
    environment: &'a str,
    release: &'a str,
    ended: &'a str,
    failed_at: Option<&'a str>,
    bytes_sent: Option<u64>,
    operator: Option<&'a str>,
}

/// Returns the latest deploys of all environments, newest first.
fn latest(page: &Page) -> Vec<Latest<'_>> {
    let sections = page.environments.iter();
    let mut all: Vec<Latest<'_>> = sections
        .flat_map(|section| {
            section.timeline.iter().map(|deploy| Latest {
                environment: &section.status.environment,
                release: &deploy.release,
                ended: &deploy.ended,
                failed_at: deploy.failed_at.as_deref(),
                bytes_sent: deploy.bytes_sent,
                operator: deploy.operator.as_deref(),
            })
        })
        .collect();
    all.sort_by(|one, other| other.ended.cmp(one.ended));
    all.truncate(LATEST);
    all
}

/// Shortens a time such as `2026-01-02T03:04:05Z` to `2026-01-02 03:04`. Other text stays
/// unchanged.
fn date(time: &str) -> String {
    match (time.get(..10), time.get(11..16)) {
        (Some(day), Some(minute)) => format!("{day} {minute}"),
        _ => time.to_owned(),
    }
}

/// Returns the largest `bytes` of rows; 0 without rows.
fn largest(rows: Vec<Value>) -> u64 {
    let bytes = rows.iter().filter_map(|row| row.get_attr("bytes").ok());
    let bytes = bytes.filter_map(|bytes| u64::try_from(bytes).ok());
    bytes.max().unwrap_or(0)
}
