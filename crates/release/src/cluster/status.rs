//! Reports on one cluster, from its receipt and its answers.

use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use environment::Environment;
use environment::yaml::{self, Node, Source};
use serde::Serialize;

use super::{Cluster, Note};
use crate::cluster::existing;
use crate::cluster::in_progress::UnderWay;
use crate::config::render;
use crate::{Context, Error, chain, sha256};

/// What is known about one cluster.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// The environment.
    pub environment: String,
    /// What the cluster runs, by the receipt; none if nothing was deployed.
    pub release: Option<String>,
    /// When that was deployed, in UTC; none if that is unknown, because the receipt was rebuilt.
    pub since: Option<String>,
    /// When the receipt was rebuilt, in UTC, if it was.
    pub rebuilt: Option<String>,
    /// Whether the configuration that was applied is the one that is rendered now.
    pub is_rendered: Option<bool>,
    /// What the last deploy failed at, if it failed.
    pub failed: Option<String>,
    /// What was under way when Airlock was killed, or still is.
    pub under_way: Option<String>,
    /// The mkectl that is taken, by its version.
    pub mkectl: String,
    /// What the cluster itself says; none if it cannot be asked.
    pub cluster: Option<ReportedCluster>,
    /// Why it cannot be asked.
    pub unreached: Option<String>,
    /// Its backups that are here, the oldest first, relative to the workspace.
    pub backups: Vec<Utf8PathBuf>,
}

/// What a cluster says of itself, by `mkectl config get`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReportedCluster {
    /// The release in its configuration, `v4.1.5`.
    pub release: Option<String>,
    /// How many machines are in its configuration.
    pub hosts: usize,
    /// In how many values it differs from what is rendered; `diff --live` shows them.
    pub differences: usize,
}

/// Returns what is known about a cluster. A cluster that cannot be read is not an error.
///
/// # Errors
/// The environment or its receipt is wrong, it is a rehearsal, or there is no fitting mkectl.
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
        under_way: UnderWay::read(&cluster.output)?.map(|note| note.message()),
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
    let live = parse("mkectl config get", live)?;
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
        differences: mke::compare(&live, &parse("mke4.yaml", rendered)?).len(),
    })
}

pub(super) fn parse(name: &str, text: &str) -> Result<Node, Error> {
    yaml::parse(Arc::new(Source {
        path: name.into(),
        text: text.to_owned(),
    }))
    .map_err(Error::from)
}

/// Returns the archives that have a note.
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
