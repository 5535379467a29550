//! Compares: an environment with what is committed and applied, two environments, two releases or
//! sets, a lock with the committed one. Nothing is written.

use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use environment::Environment;
use environment::yaml::{self, Mapping, Node, Source};
pub use mke::{Area, Change};
use serde::Serialize;

use crate::config::check;
use crate::receipt::Receipt;
use crate::workspace::{Output, read_if_there};
use crate::{Error, Workspace, sha256};

mod releases;

pub use releases::{Changed, Entry, Fact, Releases, Update, releases, sets, since};

/// An environment's rendered configuration, compared with the committed and the applied one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Drift {
    /// The environment.
    pub environment: String,
    /// The committed file, relative to the workspace.
    pub path: Utf8PathBuf,
    /// How the committed file compares with what is rendered.
    pub committed: State,
    /// What differs from the committed to the rendered configuration, by meaning.
    pub changes: Vec<Change>,
    /// What the receipt records; none if nothing was applied yet.
    pub applied: Option<Last>,
}

/// How a committed file compares with what is rendered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// They are the same to the byte.
    Same,
    /// They have the same values, in other words or in another order.
    SameValues,
    /// They differ.
    Different,
    /// There is none.
    Missing,
}

/// What was applied last.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Last {
    /// Which configuration that was. The receipt knows it by its digest.
    pub config: Which,
    /// When, in UTC.
    pub when: String,
    /// What else differs from what was applied: release, registry, lock.
    pub changes: Vec<Update>,
    /// The step at which a later deploy failed, if one did: the cluster may be half-way.
    pub failed_later: Option<String>,
}

/// Which configuration was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// What is rendered now.
    Rendered,
    /// What is committed, and it is not what is rendered now.
    Committed,
    /// Neither of these.
    Another,
}

impl Drift {
    /// Returns whether committing or deploying would change anything.
    pub fn differs(&self) -> bool {
        self.committed != State::Same
            || self
                .applied
                .as_ref()
                .is_none_or(|last| last.config != Which::Rendered || !last.changes.is_empty())
    }
}

/// The rendered configurations of two environments.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pair {
    /// The one.
    pub old: String,
    /// The other.
    pub new: String,
    /// What differs from the one to the other, by meaning; what is not for MKE comes last.
    pub changes: Vec<Change>,
}

/// Compares what is rendered from an environment's files with what is committed, and with what was
/// applied.
///
/// # Errors
/// The environment is wrong, or the committed file or the receipt cannot be read.
pub fn environment(workspace: &Workspace, name: &str) -> Result<Drift, Error> {
    let mut environment = workspace.load(name)?;
    let text = check::rendered(workspace, &mut environment)?.text;
    let output = Output::below(&workspace.environment(name));
    let path = workspace.shown(&output.config).to_owned();
    let committed = read_if_there(&output.config)?;
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

/// Compares what is rendered from the files of two environments.
///
/// # Errors
/// One of them is wrong.
pub fn environments(workspace: &Workspace, old: &str, new: &str) -> Result<Pair, Error> {
    let load = |name: &str| -> Result<(Node, Node), Error> {
        let mut environment = workspace.load(name)?;
        let text = check::rendered(workspace, &mut environment)?.text;
        let path = workspace.environment(name).join("mke4.yaml");
        Ok((parse(workspace.shown(&path), &text)?, around(&environment)))
    };
    let (one, around_one) = load(old)?;
    let (other, around_other) = load(new)?;
    let mut changes = mke::compare(&one, &other);
    changes.extend(mke::compare(&around_one, &around_other));
    Ok(Pair {
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
) -> Result<Option<Last>, Error> {
    let Some(applied) = receipt.applied else {
        return Ok(None);
    };
    let is_applied = |text: &str| sha256(text.as_bytes()) == applied.config;
    let config = if is_applied(rendered) {
        Which::Rendered
    } else if committed.is_some_and(is_applied) {
        Which::Committed
    } else {
        Which::Another
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
    if let Some(lock) = read_if_there(&lock)? {
        changes.push(Update::new("lock", applied.lock, sha256(lock.as_bytes())));
    }
    changes.retain(|change| change.old != change.new);
    Ok(Some(Last {
        config,
        when: applied.ended,
        changes,
        failed_later: receipt.failed.map(|failed| failed.step),
    }))
}

/// Returns what an environment says of itself that is not in its `mke4.yaml`.
fn around(environment: &Environment) -> Node {
    let mut around = Mapping::new();
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
            around.insert(key.clone(), value.clone());
        }
    }
    let credentials = environment
        .merged
        .get("registry")
        .and_then(|registry| registry.get("push-credentials"));
    if let Some(credentials) = credentials {
        let credentials = Node::mapping([("push-credentials", credentials.clone())]);
        around.insert(Node::string("registry"), credentials);
    }
    Node {
        value: yaml::Value::Mapping(around),
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
