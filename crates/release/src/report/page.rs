//! Gathers the data of a page about environments from the other reports, the plan and receipts.
//!
//! A registry that does not answer, a shallow clone or a plan that cannot be computed is not an
//! error: the page shows it.

use std::collections::BTreeSet;
use std::time::Duration;

use camino::Utf8Path;
use environment::Environment;
use futures_util::StreamExt as _;
use semver::Version;
use serde::Serialize;
use tokio::time::timeout;

use crate::config::diff::{self, Releases};
use crate::plan::{self, Purpose, RegistryState, Summary};
use crate::receipt::{Applied, Receipt};
use crate::report::inspect::{self, Inspection};
use crate::report::list::{SetRow, set_row};
use crate::report::status::{self, Status};
use crate::transfer::fetch;
use crate::workspace::{FileKind, Output, write_named};
use crate::{Context, Error, Workspace, chain, locked, receipt, rehearse};

/// Time limit for the plan of one environment.
const PLAN_TIMEOUT: Duration = Duration::from_secs(60);

/// Maximum number of plans that are computed concurrently.
const CONCURRENT_PLANS: usize = 4;

/// Maximum number of deploys in a timeline.
const MOST_DEPLOYS: usize = 30;

/// The data of a page.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Page {
    /// Time of the report, in UTC.
    pub written: String,
    /// The environments.
    pub environments: Vec<Section>,
}

/// The data of one environment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Section {
    /// The required, deployed and served state, and the differences.
    pub status: Status,
    /// Whether changes must be confirmed by the environment's name.
    pub protected: bool,
    /// The last successful deploy, as the receipt records it.
    pub applied: Option<Applied>,
    /// The recorded deploys, newest first.
    pub timeline: Vec<Deploy>,
    /// Why the timeline may be incomplete.
    pub timeline_note: Option<String>,
    /// What deploy would do; `None` if no plan could be computed.
    pub plan: Option<Summary>,
    /// Whether the plan assumes an empty registry, because it did not answer.
    pub is_assumed: bool,
    /// Why no plan could be computed.
    pub plan_problem: Option<String>,
    /// Differences from the deployed release to the required one, if both are locked.
    pub change: Option<Releases>,
    /// Contents of the required release, if it is locked.
    pub contents: Option<Inspection>,
    /// The sets of the environment.
    pub sets: Vec<SetRow>,
}

/// A deploy that a receipt records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Deploy {
    /// Time of its end, in UTC.
    pub ended: String,
    /// Time of its beginning, in UTC.
    pub began: Option<String>,
    /// The release, `v4.1.5`.
    pub release: String,
    /// The step at which it failed; `None` if it succeeded.
    pub failed_at: Option<String>,
    /// The error with its causes.
    pub error: Option<String>,
    /// Bytes sent to the registry.
    pub bytes_sent: Option<u64>,
    /// The operator, if that is recorded.
    pub operator: Option<String>,
    /// Git revision of the workspace.
    pub revision: Option<String>,
}

/// Gathers the data of environments.
pub async fn gather(context: &Context<'_>, names: &[String]) -> Page {
    let all = status::status(context, names, false).await;
    let sections = futures_util::stream::iter(all)
        .map(|status| section(context, status))
        .buffered(CONCURRENT_PLANS)
        .collect()
        .await;
    Page {
        written: receipt::now(context),
        environments: sections,
    }
}

/// Writes the page to a path that the operator typed.
///
/// # Errors
/// The path leads to a different kind of file, or the file cannot be written.
pub fn write(workspace: &Workspace, path: &Utf8Path, html: &str) -> Result<(), Error> {
    write_named(workspace, path, FileKind::Report, html)
}

async fn section(context: &Context<'_>, status: Status) -> Section {
    let workspace = context.workspace;
    let output = Output::below(&workspace.environment(&status.environment));
    let (timeline, timeline_note) = timeline(context, &output.receipt);
    let applied = Receipt::read(&output.receipt).ok().flatten();
    let mut section = Section {
        protected: false,
        applied: applied.and_then(|receipt| receipt.applied),
        timeline,
        timeline_note,
        plan: None,
        is_assumed: false,
        plan_problem: None,
        change: None,
        contents: None,
        sets: Vec::new(),
        status,
    };
    // Problems of the files are in the status.
    let Ok(environment) = workspace.load(&section.status.environment) else {
        return section;
    };
    section.protected = environment.protected;
    if let Ok(locked) = locked::read(workspace, &environment.release) {
        section.contents = Some(inspect::of_lock(&locked.lock));
    }
    if let Ok(store) = fetch::open_store(workspace) {
        let names = environment.set_names().into_iter();
        section.sets = names.map(|name| set_row(workspace, &store, name)).collect();
    }
    section.change = section.applied.as_ref().and_then(|applied| {
        let old: Version = applied.release.strip_prefix('v')?.parse().ok()?;
        let differs = old != environment.release;
        differs.then(|| diff::releases(workspace, &old, &environment.release).ok())?
    });
    let answers = section.status.registry.as_ref();
    section.is_assumed = answers.is_none_or(|registry| registry.served.is_none());
    let planned = planned(context, environment, output, section.is_assumed);
    match timeout(PLAN_TIMEOUT, planned).await {
        Ok(Ok(summary)) => section.plan = Some(summary),
        Ok(Err(error)) => section.plan_problem = Some(chain(&error)),
        Err(_) => {
            let seconds = PLAN_TIMEOUT.as_secs();
            section.plan_problem = Some(format!("no plan was made within {seconds} s"));
        }
    }
    section
}

/// Computes the plan of a deploy, with an empty registry if `is_assumed`.
async fn planned(
    context: &Context<'_>,
    environment: Environment,
    output: Output,
    is_assumed: bool,
) -> Result<Summary, Error> {
    let (state, _registry) = match is_assumed {
        true => (RegistryState::Assumed, None),
        false => {
            let served = rehearse::serve_for_reading(context.workspace, &environment).await?;
            (RegistryState::Live, served)
        }
    };
    let plan = plan::with_state(context, environment, output, Purpose::Deploy, state).await?;
    Ok(plan.summary(context.workspace))
}

/// Returns the deploys that the receipt and its git history record, newest first, and the reason
/// why deploys may be missing.
fn timeline(context: &Context<'_>, path: &Utf8Path) -> (Vec<Deploy>, Option<String>) {
    let mut texts: Vec<String> = files::read_text(path).into_iter().collect();
    let git = programs::Git::of(context.workspace.root(), &context.tool.variables);
    let history = git.and_then(|git| {
        let past = git.history(context.workspace.shown(path))?;
        Ok((past, git.is_shallow()?))
    });
    let note = match history {
        Ok((past, is_cut)) => {
            texts.extend(past.into_iter().map(|past| past.text));
            is_cut.then(|| "the git clone is shallow".to_owned())
        }
        Err(absent) => Some(chain(&absent)),
    };
    let receipts = texts
        .iter()
        .filter_map(|text| Receipt::parse(text, path).ok());
    let mut deploys: Vec<Deploy> = receipts.flat_map(deploys).collect();
    deploys.sort_by(|one, other| other.ended.cmp(&one.ended));
    let mut known = BTreeSet::new();
    deploys.retain(|one| known.insert((one.ended.clone(), one.failed_at.clone())));
    deploys.truncate(MOST_DEPLOYS);
    (deploys, note)
}

/// Returns the deploys that one receipt records.
fn deploys(receipt: Receipt) -> impl Iterator<Item = Deploy> {
    let operator = |by: &receipt::Provenance| {
        let operator = by.operator.as_ref()?;
        operator.git.clone().or_else(|| operator.login.clone())
    };
    let applied = receipt.applied.map(|applied| Deploy {
        operator: operator(&applied.by),
        ended: applied.ended,
        began: applied.began,
        release: applied.release,
        failed_at: None,
        error: None,
        bytes_sent: Some(applied.pushed.sent.bytes).filter(|_| !applied.rebuilt),
        revision: applied.by.revision,
    });
    let failed = receipt.failed.map(|failed| Deploy {
        operator: operator(&failed.by),
        ended: failed.ended,
        began: failed.began,
        release: failed.release,
        failed_at: Some(failed.step),
        error: Some(failed.error),
        bytes_sent: failed.pushed.map(|pushed| pushed.sent.bytes),
        revision: failed.by.revision,
    });
    failed.into_iter().chain(applied)
}
