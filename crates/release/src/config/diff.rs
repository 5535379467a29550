//! Compares an environment with its committed and applied configuration, two environments, two
//! releases or sets, or a lock with the committed one. Writes nothing.

use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use environment::Environment;
use environment::yaml::{self, Mapping, Node, Source};
pub use mke::{Area, Change};
use serde::Serialize;

use crate::config::check;
use crate::receipt::Receipt;
use crate::workspace::{Output, read_if_exists};
use crate::{Error, Workspace, sha256};

mod releases;

pub use releases::{Changed, Entry, Fact, Releases, Update, releases, sets, since};

/// An environment's rendered configuration, compared with the committed and the applied one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Drift {
    /// Name of the environment.
    pub environment: String,
    /// Path of the committed file, relative to the workspace.
    pub path: Utf8PathBuf,
    /// State of the committed file.
    pub committed: State,
    /// Changes from the committed to the rendered configuration, ignoring formatting.
    pub changes: Vec<Change>,
    /// The last deploy in the receipt; `None` if nothing was applied yet.
    pub applied: Option<LastDeploy>,
}

/// The state of a committed file, compared with the rendered configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The file has the same bytes.
    Same,
    /// The file has the same values, with a different formatting or order.
    SameValues,
    /// The file has different values.
    Different,
    /// The file does not exist.
    Missing,
}

/// The last deploy according to the receipt.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LastDeploy {
    /// The applied configuration, recognised by the digest in the receipt.
    pub config: AppliedConfig,
    /// Time of the deploy, in UTC.
    pub when: String,
    /// Other differences to the applied state: release, registry, lock.
    pub changes: Vec<Update>,
    /// Step at which a later deploy failed. The cluster may be in an intermediate state.
    pub failed_later: Option<String>,
}

/// The configuration that was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AppliedConfig {
    /// The configuration that is rendered now.
    Rendered,
    /// The committed configuration, which differs from the rendered one.
    Committed,
    /// A configuration that differs from both.
    Another,
}

impl Drift {
    /// Returns whether committing or deploying would change anything.
    pub fn differs(&self) -> bool {
        self.committed != State::Same
            || self.applied.as_ref().is_none_or(|last| {
                last.config != AppliedConfig::Rendered || !last.changes.is_empty()
            })
    }
}

/// The rendered configurations of two environments.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct EnvironmentDiff {
    /// Name of the first environment.
    pub old: String,
    /// Name of the second environment.
    pub new: String,
    /// Changes from the first to the second, ignoring formatting. Keys that are not for MKE come
    /// last.
    pub changes: Vec<Change>,
}

/// Compares the rendered configuration of an environment with the committed and the applied one.
///
/// # Errors
/// The environment is not valid, or the committed file or the receipt cannot be read.
pub fn environment(workspace: &Workspace, name: &str) -> Result<Drift, Error> {
    let mut environment = workspace.load(name)?;
    let text = check::rendered(workspace, &mut environment)?.text;
    let output = Output::below(&workspace.environment(name));
    let path = workspace.shown(&output.config).to_owned();
    let committed = read_if_exists(&output.config)?;
    let changes = match &committed {
        Some(committed) => mke::compare(&parse(&path, committed)?, &parse(&path, &text)?),
        None => Vec::new(),
    };
    let state = match &committed {
        None => State::Missing,
        Some(committed) if *committed == text => State::Same,
        Some(_) if changes.is_empty() => State::SameValues,
        Some(_) => State::Different,
    };
    let receipt = Receipt::read(&output.receipt)?;
    Ok(Drift {
        applied: receipt
            .map(|receipt| {
                last(
                    workspace,
                    &environment,
                    receipt,
                    &text,
                    committed.as_deref(),
                )
            })
            .transpose()?
            .flatten(),
        environment: environment.name,
        path,
        committed: state,
        changes,
    })
}

/// Compares the rendered configurations of two environments.
///
/// # Errors
/// An environment is not valid.
pub fn environments(workspace: &Workspace, old: &str, new: &str) -> Result<EnvironmentDiff, Error> {
    let load = |name: &str| -> Result<(Node, Node), Error> {
        let mut environment = workspace.load(name)?;
        let text = check::rendered(workspace, &mut environment)?.text;
        let path = workspace.environment(name).join("mke4.yaml");
        Ok((
            parse(workspace.shown(&path), &text)?,
            outside_config(&environment),
        ))
    };
    let (one, outside_one) = load(old)?;
    let (other, outside_other) = load(new)?;
    let mut changes = mke::compare(&one, &other);
    changes.extend(mke::compare(&outside_one, &outside_other));
    Ok(EnvironmentDiff {
        old: old.to_owned(),
        new: new.to_owned(),
        changes,
    })
}

fn last(
    workspace: &Workspace,
    environment: &Environment,
    receipt: Receipt,
    rendered: &str,
    committed: Option<&str>,
) -> Result<Option<LastDeploy>, Error> {
    let Some(applied) = receipt.applied else {
        return Ok(None);
    };
    let is_applied = |text: &str| sha256(text.as_bytes()) == applied.config;
    let config = if is_applied(rendered) {
        AppliedConfig::Rendered
    } else if committed.is_some_and(is_applied) {
        AppliedConfig::Committed
    } else {
        AppliedConfig::Another
    };
    let release = format!("v{}", environment.release);
    let lock = workspace.lock(&release, crate::workspace::DEFAULT_ARCH);
    let mut changes = vec![
        Update::new("release", applied.release, release),
        Update::new(
            "registry",
            applied.registry,
            environment.registry.image_url(),
        ),
    ];
    if let Some(lock) = read_if_exists(&lock)? {
        changes.push(Update::new("lock", applied.lock, sha256(lock.as_bytes())));
    }
    changes.retain(|change| change.old != change.new);
    Ok(Some(LastDeploy {
        config,
        when: applied.ended,
        changes,
        failed_later: receipt.failed.map(|failed| failed.step),
    }))
}

/// Returns the keys of `environment.yaml` that do not become part of `mke4.yaml`.
fn outside_config(environment: &Environment) -> Node {
    let mut keys = Mapping::new();
    for (key, value) in environment
        .merged
        .as_mapping()
        .into_iter()
        .flat_map(Mapping::iter)
    {
        if !matches!(
            key.text(),
            Some("release" | "registry" | "config" | "inventory")
        ) {
            keys.insert(key.clone(), value.clone());
        }
    }
    let credentials = environment
        .merged
        .get("registry")
        .and_then(|registry| registry.get("push-credentials"));
    if let Some(credentials) = credentials {
        let credentials = Node::mapping([("push-credentials", credentials.clone())]);
        keys.insert(Node::string("registry"), credentials);
    }
    Node {
        value: yaml::Value::Mapping(keys),
        ..environment.merged.clone()
    }
}

fn parse(path: &Utf8Path, text: &str) -> Result<Node, Error> {
    yaml::parse(Arc::new(Source {
        path: path.to_owned(),
        text: text.to_owned(),
    }))
    .map_err(Error::from)
}
