//! A plan as a file, which is reviewed, signed and taken across the air gap. A deploy executes
//! exactly this plan, or refuses it.
//!
//! The file has the digest of each input, and everything that a deploy will do. The same inputs
//! make the same bytes. The file contains no secrets.
//!
//! An interrupted deploy may be repeated with the same file. Its own effects do not count as
//! changes: pushed artifacts, the written configuration, and a receipt that records its failure.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use redaction::yaml::free_text;
use serde::{Deserialize, Serialize};

use super::{Plan, Planned};
use crate::config::render;
use crate::receipt;
use crate::transfer::program::Program;
use crate::workspace::{FileKind, write_named};
use crate::{Error, Workspace, chain, plan, sha256};

/// The contents of a plan's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Saved {
    /// Version of the file format.
    pub version: u32,
    /// The environment's name.
    pub environment: String,
    /// The release, `v4.1.5`.
    pub release: String,
    /// SHA-256 of the lock.
    pub lock: String,
    /// SHA-256 of each set's lock, by the set's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sets: BTreeMap<String, String>,
    /// The receipt; `None` if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<SavedReceipt>,
    /// SHA-256 of the registry snapshot that the plan was made from; `inventory` in earlier plans.
    #[serde(default, alias = "inventory", skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// The state of the registry, and the push.
    pub registry: SavedRegistry,
    /// The configuration, and its change.
    pub config: SavedConfig,
    /// The commands of mkectl.
    pub mkectl: SavedMkectl,
    /// Warnings for reviewers. They are not compared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The receipt that a plan was computed from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SavedReceipt {
    /// SHA-256 of its file.
    pub sha256: String,
    /// SHA-256 of its `applied`, the last successful deploy; `None` if it records none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<String>,
}

/// The state of a registry, and the push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SavedRegistry {
    /// The registry and project.
    pub url: String,
    /// SHA-256 of the digests found under all tags of the lock.
    pub state: String,
    /// Number of artifacts in the lock.
    pub artifacts: usize,
    /// The artifacts that are to be pushed. The registry has all others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub push: Vec<SavedArtifact>,
    /// The artifacts that the registry has and refuses to nodes, `repository:tag`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused_to_nodes: Vec<String>,
    /// Maximum number of bytes to be sent.
    pub bytes_at_most: u64,
}

/// An artifact that is to be pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SavedArtifact {
    /// Repository and tag, `calico/node:v3.30.2`.
    pub artifact: String,
    /// Digest of its manifest, `sha256:<hex>`.
    pub digest: String,
    /// Content of the tag before the push: `nothing`, a digest, or `untold` if the registry reports
    /// no digest.
    pub found: String,
}

/// The rendered configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SavedConfig {
    /// Path of its file, relative to the workspace.
    pub path: String,
    /// SHA-256 of the rendered text.
    pub sha256: String,
    /// The change of the file as a unified diff; empty if it does not change.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub change: String,
}

/// The commands of mkectl.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SavedMkectl {
    /// `none`, `apply` or `upgrade`.
    pub action: String,
    /// The release that is upgraded from, `v4.1.2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Why mkectl is run, for readers. It is not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The mkectl binaries that are run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<receipt::RecordedProgram>,
    /// The commands in their order. Programs have no folder, since that differs between machines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
}

/// A difference between a plan and the present state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlanChange {
    /// What changed: `lock`, `config`, `mkectl`, `registry` and others.
    pub subject: &'static str,
    /// The change, as in `was v4.1.2 and is v4.1.5`.
    pub what: String,
}

impl Saved {
    /// The format that this version reads and writes.
    pub const VERSION: u32 = 1;

    /// Returns the contents of a plan's file.
    pub fn of(plan: &Plan, workspace: &Workspace) -> Self {
        let path = workspace.shown(&plan.output.config);
        Self {
            version: Self::VERSION,
            environment: plan.environment.name.clone(),
            release: format!("v{}", plan.environment.release),
            lock: plan.lock_digest.clone(),
            sets: plan.sets.clone(),
            receipt: plan.receipt_sha256.clone().map(|sha256| SavedReceipt {
                sha256,
                applied: applied_digest(plan),
            }),
            snapshot: plan.snapshot.clone(),
            registry: registry(plan),
            config: SavedConfig {
                path: path.to_string(),
                sha256: plan.config.digest.clone(),
                change: free_text(&render::diff(
                    path,
                    plan.config.committed.as_deref(),
                    &plan.config.text,
                )),
            },
            mkectl: mkectl(plan, workspace),
            warnings: plan
                .warnings
                .of_plan
                .iter()
                .map(|text| free_text(text))
                .collect(),
        }
    }

    /// Returns the text of the file, as YAML below a comment. Errors name `path`.
    ///
    /// # Errors
    /// [`plan::Error::File`] if YAML cannot express the contents.
    pub fn text(&self, path: &Utf8Path) -> Result<String, Error> {
        let yaml = redaction::yaml::write(self, &[]).map_err(|source| plan::Error::File {
            path: path.to_owned(),
            source,
        })?;
        let name = &self.environment;
        Ok(format!(
            "# What `deploy {name} --plan FILE` will do, and nothing else. It is refused if anything has changed since.\n{yaml}"
        ))
    }
}

/// Writes a plan to a file, and returns the file's SHA-256.
///
/// # Errors
/// - [`plan::Error::Incomplete`] if the commands of mkectl are unknown.
/// - The path leads to a different kind of file, or the file cannot be written.
pub fn save(plan: &mut Plan, workspace: &Workspace, path: &Utf8Path) -> Result<String, Error> {
    require_steps(plan)?;
    let text = Saved::of(plan, workspace).text(path)?;
    write_named(workspace, path, FileKind::Plan, &text)?;
    Ok(sha256(text.as_bytes()))
}

/// Refuses a plan whose steps for the cluster are unknown. The problem moves from the plan into the
/// error.
fn require_steps(plan: &mut Plan) -> Result<(), Error> {
    let steps = std::mem::replace(&mut plan.cluster.steps, Ok(Vec::new()));
    plan.cluster.steps = Ok(steps.map_err(|source| plan::Error::Incomplete {
        environment: plan.environment.name.clone(),
        source: Box::new(source),
    })?);
    Ok(())
}

/// Returns the digest that receipts record of a plan: that of its file. The file need not exist.
///
/// # Errors
/// YAML cannot express the plan.
pub(crate) fn digest(plan: &Plan, workspace: &Workspace) -> Result<String, Error> {
    if let Some(digest) = &plan.saved_as {
        return Ok(digest.clone());
    }
    let text = Saved::of(plan, workspace).text("plan".into())?;
    Ok(sha256(text.as_bytes()))
}

/// A saved plan that [`SavedFile::read`] returns, with its path and digest.
#[derive(Debug)]
pub struct SavedFile {
    path: Utf8PathBuf,
    digest: String,
    saved: Saved,
}

impl SavedFile {
    /// Reads a saved plan of an environment.
    ///
    /// # Errors
    /// - The file cannot be read.
    /// - [`plan::Error::File`] or [`plan::Error::Version`] if it is not a plan of this format.
    /// - [`plan::Error::OtherEnvironment`] if it is for a different environment.
    pub fn read(path: &Utf8Path, environment: &str) -> Result<Self, Error> {
        let text = files::read_text(path).map_err(|source| Error::read(path, source))?;
        let saved = parse(&text, path)?;
        if saved.environment != environment {
            return Err(plan::Error::OtherEnvironment {
                path: path.to_owned(),
                planned: saved.environment,
                environment: environment.to_owned(),
            }
            .into());
        }
        Ok(Self {
            path: path.to_owned(),
            digest: sha256(text.as_bytes()),
            saved,
        })
    }

    /// Compares a plan that was just computed with this file. If they are equal, the plan's receipt
    /// will name the file.
    ///
    /// # Errors
    /// - [`plan::Error::Applied`] if the receipt records that this file was applied.
    /// - [`plan::Error::Incomplete`] if the commands of mkectl are unknown.
    /// - [`plan::Error::Moved`] with every change since the file was written.
    pub fn bind(&self, plan: &mut Plan, workspace: &Workspace) -> Result<(), Error> {
        // Checked first: after a deploy of this file, most of its contents differ.
        if let Some(applied) = plan.applied()
            && applied.plan.as_deref() == Some(&self.digest)
        {
            return Err(plan::Error::Applied {
                environment: plan.environment.name.clone(),
                path: self.path.clone(),
                ended: applied.ended.clone(),
            }
            .into());
        }
        require_steps(plan)?;
        let now = Saved::of(plan, workspace);
        let moved = moved(&self.saved, &now, plan, &self.digest);
        if !moved.is_empty() {
            return Err(plan::Error::Moved {
                environment: plan.environment.name.clone(),
                path: self.path.clone(),
                moved,
            }
            .into());
        }
        plan.saved_as = Some(self.digest.clone());
        Ok(())
    }
}

fn parse(text: &str, path: &Utf8Path) -> Result<Saved, Error> {
    let wrong = |source| {
        Error::Plan(plan::Error::File {
            path: path.to_owned(),
            source,
        })
    };
    /// The field that plans of every version have.
    #[derive(Deserialize)]
    #[serde(expecting = "keys and values, `version` among them")]
    struct Versioned {
        version: u32,
    }
    let Versioned { version } = redaction::yaml::read(text).map_err(wrong)?;
    if version != Saved::VERSION {
        return Err(plan::Error::Version {
            path: path.to_owned(),
            version,
        }
        .into());
    }
    redaction::yaml::read(text).map_err(wrong)
}

/// Returns the differences that a deploy of the same file, with this digest, did not make itself.
fn moved(saved: &Saved, now: &Saved, plan: &Plan, digest: &str) -> Vec<PlanChange> {
    let (old_sets, new_sets) = (listed(&saved.sets), listed(&now.sets));
    let mut moved: Vec<PlanChange> = [
        ("sets", &old_sets, &new_sets),
        ("release", &saved.release, &now.release),
        ("lock", &saved.lock, &now.lock),
        ("config", &saved.config.path, &now.config.path),
        ("config", &saved.config.sha256, &now.config.sha256),
        ("registry", &saved.registry.url, &now.registry.url),
        ("mkectl", &saved.mkectl.action, &now.mkectl.action),
    ]
    .into_iter()
    .filter_map(|(subject, old, new)| PlanChange::between(subject, old, new))
    .collect();
    if saved.config.sha256 == now.config.sha256
        && saved.config.change != now.config.change
        && plan.config.is_stale()
    {
        let what = format!("{} was changed by something else", now.config.path);
        moved.push(PlanChange {
            subject: "config",
            what,
        });
    }
    if saved.receipt != now.receipt && !is_own_failure(saved, plan, digest) {
        let digest = |receipt: &Option<SavedReceipt>| match receipt {
            Some(receipt) => receipt.sha256.clone(),
            None => "none".to_owned(),
        };
        let (old, new) = (digest(&saved.receipt), digest(&now.receipt));
        moved.push(PlanChange {
            subject: "receipt",
            what: format!("was {old} and is {new}"),
        });
    }
    if saved.mkectl.action == now.mkectl.action {
        let programs = |mkectl: &SavedMkectl| {
            let programs = mkectl.programs.iter();
            let programs = programs.map(|program| match &program.sha256 {
                Some(sha256) => format!("{} {sha256}", program.version),
                None => program.version.clone(),
            });
            programs.collect::<Vec<_>>().join(", ")
        };
        // A failed or killed attempt leaves its backup files, so the next ones get other numbers.
        let commands = |mkectl: &SavedMkectl| {
            let commands = mkectl.commands.iter();
            let commands = commands.map(|command| unnumbered(command, &saved.release));
            commands.collect::<Vec<_>>().join("; ")
        };
        for (old, new) in [
            (programs(&saved.mkectl), programs(&now.mkectl)),
            (commands(&saved.mkectl), commands(&now.mkectl)),
        ] {
            moved.extend(PlanChange::between("mkectl", &old, &new));
        }
    }
    // Artifacts of different locks cannot be compared.
    if saved.lock == now.lock && saved.sets == now.sets && saved.registry.url == now.registry.url {
        moved.extend(moved_in_registry(&saved.registry, plan));
    }
    moved
}

/// Returns sets with the digests of their locks in one line: `calico abc..., metallb def...`.
pub(super) fn listed(sets: &BTreeMap<String, String>) -> String {
    let sets = sets.iter().map(|(name, digest)| format!("{name} {digest}"));
    match sets.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "none".to_owned(),
        listed => listed,
    }
}

impl PlanChange {
    /// Returns the change from `old` to `new`; `None` if they are equal.
    pub(super) fn between(subject: &'static str, old: &str, new: &str) -> Option<Self> {
        (old != new).then(|| Self {
            subject,
            what: format!("was {old} and is {new}"),
        })
    }
}

/// Returns whether the receipt differs from the saved one only by the failure of a deploy of the
/// same file, with this digest.
fn is_own_failure(saved: &Saved, plan: &Plan, digest: &str) -> bool {
    let receipt = plan.receipt.as_ref();
    let failed = receipt.and_then(|receipt| receipt.failed.as_ref());
    let applied = saved.receipt.as_ref();
    failed.is_some_and(|failed| failed.plan.as_deref() == Some(digest))
        && applied_digest(plan) == applied.and_then(|receipt| receipt.applied.clone())
}

/// Returns a command of an upgrade to `release` without the numbers in file names: the `-2` of
/// `v4.1.1-to-v4.1.2-2_mke4.yaml`.
fn unnumbered(command: &str, release: &str) -> String {
    let stem = format!("-to-{release}");
    let mut parts = command.split(&stem);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str(&stem);
        let rest = part.strip_prefix('-');
        let rest = rest.map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
        text.push_str(rest.filter(|rest| rest.starts_with('_')).unwrap_or(part));
    }
    text
}

/// Returns the artifacts whose tags have neither the saved content nor the content that the plan
/// pushes, and those that the registry serves to nodes differently.
fn moved_in_registry(saved: &SavedRegistry, plan: &Plan) -> Vec<PlanChange> {
    let mut moved = Vec::new();
    let mut push = |what| {
        moved.push(PlanChange {
            subject: "registry",
            what,
        });
    };
    for ((artifact, seen), planned) in plan
        .lock
        .artifacts
        .iter()
        .zip(&plan.seen)
        .zip(&plan.artifacts)
    {
        let name = artifact.reference();
        let to_be_pushed = saved.push.iter().find(|push| push.artifact == name);
        if planned.is_to_be_pushed() {
            let now = seen.found();
            let before = match to_be_pushed {
                Some(push) => push.found.clone(),
                None => artifact.digest.to_string(),
            };
            if before != now {
                push(format!("{name} was {before} and is {now}"));
            }
            continue;
        }
        let is_refused = *planned == Planned::Unconfirmed;
        let was_refused = saved.refused_to_nodes.contains(&name);
        if is_refused != was_refused && to_be_pushed.is_none() {
            push(match is_refused {
                true => format!("{name} is not served to nodes any more"),
                false => format!("{name} is now served to nodes"),
            });
        }
    }
    moved
}

fn registry(plan: &Plan) -> SavedRegistry {
    let all = || {
        plan.lock
            .artifacts
            .iter()
            .zip(&plan.seen)
            .zip(&plan.artifacts)
    };
    let mut state = String::new();
    for ((artifact, seen), _) in all() {
        let (name, found) = (artifact.reference(), seen.found());
        state.push_str(&format!("{name} {found} {}\n", seen.is_open));
    }
    SavedRegistry {
        url: plan.environment.registry.image_url(),
        state: sha256(state.as_bytes()),
        artifacts: plan.lock.artifacts.len(),
        push: all()
            .filter(|(_, planned)| planned.is_to_be_pushed())
            .map(|((artifact, seen), _)| SavedArtifact {
                artifact: artifact.reference(),
                digest: artifact.digest.to_string(),
                found: seen.found(),
            })
            .collect(),
        refused_to_nodes: plan
            .artifacts_where(|planned| planned == Planned::Unconfirmed)
            .map(bundle::Artifact::reference)
            .collect(),
        bytes_at_most: plan.bytes_to_send(),
    }
}

fn mkectl(plan: &Plan, workspace: &Workspace) -> SavedMkectl {
    let cluster = &plan.cluster;
    let commands = cluster.printed().map(|(_, command)| {
        // The program's path differs between machines; its digest identifies it.
        let program = command.program.file_name().unwrap_or("mkectl").into();
        let command = programs::Command { program, ..command };
        workspace.shown_command(&command.without_kubeconfig())
    });
    let programs = cluster.programs().into_iter();
    SavedMkectl {
        action: cluster.action.name().to_owned(),
        from: cluster.from.as_ref().map(|from| format!("v{from}")),
        reason: cluster.reason.map(str::to_owned),
        programs: programs.map(Program::record).collect(),
        commands: commands.collect(),
    }
}

/// Returns the SHA-256 of the receipt's `applied`, the last successful deploy.
fn applied_digest(plan: &Plan) -> Option<String> {
    let text = serde_yaml::to_string(plan.applied()?).unwrap_or_else(|error| chain(&error));
    Some(sha256(text.as_bytes()))
}
