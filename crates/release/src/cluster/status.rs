//! Reports the status of one cluster, from its receipt and its live configuration.

use camino::{Utf8Path, Utf8PathBuf};
use environment::Environment;
use environment::yaml::Node;
use serde::Serialize;

use super::{Cluster, Note};
use crate::cluster::existing;
use crate::cluster::in_progress::RunNote;
use crate::config::render;
use crate::{Context, Error, chain, sha256};

/// The status of one cluster.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// The environment's name.
    pub environment: String,
    /// The release in the receipt, `v4.1.5`; `None` if nothing was deployed.
    pub release: Option<String>,
    /// End of the last successful deploy, in UTC; `None` if there was none, or the receipt was
    /// rebuilt.
    pub since: Option<String>,
    /// Time when the receipt was rebuilt, in UTC; `None` if it was not.
    pub rebuilt: Option<String>,
    /// Whether the applied configuration is the rendered one; `None` if nothing was deployed.
    pub is_rendered: Option<bool>,
    /// Step and error of the last deploy, if it failed.
    pub failed: Option<String>,
    /// A sentence about a mkectl that is running, or whose result is unknown.
    pub under_way: Option<String>,
    /// The release of the mkectl that is used, `v4.1.5`.
    pub mkectl: String,
    /// The answer of the cluster; `None` if it does not answer.
    pub cluster: Option<ReportedCluster>,
    /// Why the cluster does not answer.
    pub unreached: Option<String>,
    /// Backups in the environment's folder, relative to the workspace, the oldest first.
    pub backups: Vec<Utf8PathBuf>,
}

/// A cluster according to `mkectl config get`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReportedCluster {
    /// The release in its configuration, `v4.1.5`.
    pub release: Option<String>,
    /// Number of machines in its configuration.
    pub hosts: usize,
    /// Number of values that differ from the rendered configuration; `diff --live` lists them.
    pub differences: usize,
}

/// Returns the status of a cluster. A cluster that does not answer is part of the status, and not
/// an error.
///
/// # Errors
/// - The environment or its receipt is not valid.
/// - The environment is a rehearsal.
/// - A suitable mkectl is missing.
pub fn status(context: &Context<'_>, environment: Environment) -> Result<Status, Error> {
    let mut cluster = Cluster::real(context, environment)?;
    let rendered = render::render(context.workspace, &mut cluster.environment, &cluster.facts)?;
    let receipt = cluster.receipt.as_ref();
    let applied = receipt.and_then(|receipt| receipt.applied.as_ref());
    let when = |rebuilt| {
        let applied = applied.filter(|applied| applied.rebuilt == rebuilt);
        applied.map(|applied| applied.ended.clone())
    };
    let asked = cluster
        .program
        .config_get()
        .and_then(|live| reported(context, &cluster.environment, &live, &rendered.text));
    Ok(Status {
        environment: cluster.environment.name.clone(),
        release: applied.map(|applied| applied.release.clone()),
        since: when(false),
        rebuilt: when(true),
        is_rendered: applied.map(|applied| applied.config == sha256(rendered.text.as_bytes())),
        failed: receipt
            .and_then(|receipt| receipt.failed.as_ref())
            .map(|failed| format!("{}: {}", failed.step, failed.error)),
        under_way: RunNote::read(&cluster.output)?.map(|note| note.message()),
        mkectl: cluster.release(),
        unreached: asked.as_ref().err().map(|error| chain(error)),
        cluster: asked.ok(),
        backups: backups(context, cluster.backups())?,
    })
}

fn reported(
    context: &Context<'_>,
    environment: &Environment,
    live: &str,
    rendered: &str,
) -> Result<ReportedCluster, Error> {
    let live = existing::parse("mkectl config get".into(), live)?;
    let live_config = mke::ClusterConfig::of(&live);
    existing::refuse_foreign(context, environment, &live_config, rendered)?;
    let spec = live.get("spec");
    Ok(ReportedCluster {
        release: spec
            .and_then(|spec| spec.get("version"))
            .and_then(Node::text)
            .map(str::to_owned),
        hosts: spec
            .and_then(|spec| spec.get("hosts"))
            .and_then(Node::as_sequence)
            .map_or(0, <[Node]>::len),
        differences: mke::compare(&live, &existing::parse("mke4.yaml".into(), rendered)?).len(),
    })
}

/// Returns the archives in a folder that have a note, the oldest first, relative to the workspace.
fn backups(context: &Context<'_>, folder: &Utf8Path) -> Result<Vec<Utf8PathBuf>, Error> {
    let failed = |source| Error::io("list", folder, source);
    let listing = match folder.read_dir_utf8() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing.map_err(failed)?,
    };
    let mut archives = Vec::new();
    for entry in listing {
        let path = entry.map_err(failed)?.into_path();
        if Note::path(&path).exists() {
            let written = std::fs::metadata(&path).and_then(|it| it.modified());
            let shown = context.workspace.shown(&path).to_owned();
            archives.push((written.map_err(failed)?, shown));
        }
    }
    archives.sort();
    Ok(archives.into_iter().map(|(_, path)| path).collect())
}
