//! A plan as a file: reviewed, signed, carried across the gap, and executed exactly or refused.
//!
//! It names everything that it was computed from by digest, and everything that a deploy will do.
//! The same input makes the same bytes, and nothing in it is secret: the secrets that mkectl gets
//! are in no plan.
//!
//! What a deploy of this plan has already done does not count as a change: pushed artifacts, the
//! written configuration, and a receipt that records its failure.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use redaction::yaml::free_text;
use serde::{Deserialize, Serialize};

use super::{Plan, Planned};
use crate::config::render;
use crate::receipt;
use crate::transfer::program::Program;
use crate::workspace::{FileKind, read_if_there, write_named};
use crate::{Error, Workspace, chain, plan, sha256};

/// The contents of a plan's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Saved {
    /// The version of this file's format.
    pub version: u32,
    /// The environment.
    pub environment: String,
    /// The release, `v4.1.5`.
    pub release: String,
    /// SHA-256 of the lock.
    pub lock: String,
    /// The sets that are carried with the release, with the SHA-256 of their locks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sets: BTreeMap<String, String>,
    /// The receipt; none if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<SavedReceipt>,
    /// SHA-256 of the registry snapshot that the plan was made from; `inventory` in earlier plans.
    #[serde(default, alias = "inventory", skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// What the registry is to get.
    pub registry: SavedRegistry,
    /// The configuration.
    pub config: SavedConfig,
    /// What mkectl is run for.
    pub mkectl: SavedMkectl,
    /// What people should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The receipt that a plan was computed from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SavedReceipt {
    /// SHA-256 of its file.
    pub sha256: String,
    /// SHA-256 of what it records of the last success; none if it records none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<String>,
}

/// What a registry is to get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SavedRegistry {
    /// The registry and project.
    pub url: String,
    /// SHA-256 of what it was seen to have under every tag of the lock.
    pub state: String,
    /// How many artifacts the lock names.
    pub artifacts: usize,
    /// The artifacts that are to be pushed. The others are there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub push: Vec<SavedArtifact>,
    /// The artifacts that are there and that nodes are refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused_to_nodes: Vec<String>,
    /// Bytes to be sent at most.
    pub bytes_at_most: u64,
}

/// An artifact that is to be pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SavedArtifact {
    /// Its repository and tag.
    pub artifact: String,
    /// Its digest.
    pub digest: String,
    /// What the registry has now: `nothing`, a digest, or `untold`.
    pub found: String,
}

/// The configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SavedConfig {
    /// Its file, relative to the workspace.
    pub path: String,
    /// Its SHA-256, as it is to be.
    pub sha256: String,
    /// How the file changes, as a unified diff; none if it does not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub change: String,
}

/// What mkectl is run for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SavedMkectl {
    /// `none`, `apply` or `upgrade`.
    pub action: String,
    /// The release that is upgraded from, `v4.1.2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The programs that are run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<receipt::RecordedProgram>,
    /// The commands, in their order, whatever folder the program is in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
}

/// Something that is not any more as it was when a plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlanChange {
    /// What it is: `lock`, `config`, `mkectl`, `registry` and others.
    pub subject: &'static str,
    /// What happened to it, in a sentence without its end.
    pub what: String,
}

impl Saved {
    /// The format that this version reads and writes.
    pub const VERSION: u32 = 1;

    /// Returns a plan as its file says it.
    ///
    /// # Errors
    /// The receipt cannot be read.
    pub fn of(plan: &Plan, workspace: &Workspace) -> Result<Self, Error> {
        let path = workspace.shown(&plan.output.config);
        let text = read_if_there(&plan.output.receipt)?;
        Ok(Self {
            version: Self::VERSION,
            environment: plan.environment.name.clone(),
            release: format!("v{}", plan.environment.release),
            lock: plan.lock_digest.clone(),
            sets: plan.sets.clone(),
            receipt: text.map(|text| SavedReceipt {
                sha256: sha256(text.as_bytes()),
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
        })
    }

    /// Returns the text of the file.
    ///
    /// # Errors
    /// It cannot be written as YAML.
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
/// Something is missing for the cluster's part, the path leads to a different kind of file, or the
/// file cannot be written.
pub fn save(plan: &mut Plan, workspace: &Workspace, path: &Utf8Path) -> Result<String, Error> {
    require_steps(plan)?;
    let text = Saved::of(plan, workspace)?.text(path)?;
    write_named(workspace, path, FileKind::Plan, &text)?;
    Ok(sha256(text.as_bytes()))
}

/// Refuses a plan whose commands are unknown, since something is missing for them. It takes that
/// problem.
fn require_steps(plan: &mut Plan) -> Result<(), Error> {
    let steps = std::mem::replace(&mut plan.cluster.steps, Ok(Vec::new()));
    plan.cluster.steps = Ok(steps.map_err(|source| plan::Error::Incomplete {
        environment: plan.environment.name.clone(),
        source: Box::new(source),
    })?);
    Ok(())
}

/// Returns the digest that receipts record of a plan: that of its file, whether the file exists or
/// would only have been written.
///
/// # Errors
/// What [`Saved::of`] returns.
pub(crate) fn digest(plan: &Plan, workspace: &Workspace) -> Result<String, Error> {
    if let Some(digest) = &plan.saved_as {
        return Ok(digest.clone());
    }
    let text = Saved::of(plan, workspace)?.text("plan".into())?;
    Ok(sha256(text.as_bytes()))
}

/// A saved plan that was read from a file.
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
    /// The file cannot be read, is not a plan, or is that of a different environment.
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

    /// Compares a plan that was computed now with this one, and binds it to this file.
    ///
    /// # Errors
    /// The plan was applied before, or something changed since the file was written: each change is
    /// named.
    pub fn bind(&self, plan: &mut Plan, workspace: &Workspace) -> Result<(), Error> {
        // Everything that differs is what came of it, or came after it.
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
        let now = Saved::of(plan, workspace)?;
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
    /// The fields that plans of every version have.
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

/// Returns everything that is not as the file says, and that a deploy by this file did not do
/// itself.
fn moved(saved: &Saved, now: &Saved, plan: &Plan, digest: &str) -> Vec<PlanChange> {
    let mut moved = Vec::new();
    let (old_sets, new_sets) = (listed(&saved.sets), listed(&now.sets));
    for (subject, old, new) in [
        ("sets", &old_sets, &new_sets),
        ("release", &saved.release, &now.release),
        ("lock", &saved.lock, &now.lock),
        ("config", &saved.config.path, &now.config.path),
        ("config", &saved.config.sha256, &now.config.sha256),
        ("registry", &saved.registry.url, &now.registry.url),
        ("mkectl", &saved.mkectl.action, &now.mkectl.action),
    ] {
        if old != new {
            moved.push(PlanChange::new(subject, old, new));
        }
    }
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
        let side = |receipt: &Option<SavedReceipt>| {
            let receipt = receipt.as_ref();
            receipt.map_or_else(|| "none".to_owned(), |receipt| receipt.sha256.clone())
        };
        moved.push(PlanChange::new(
            "receipt",
            &side(&saved.receipt),
            &side(&now.receipt),
        ));
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
        // An attempt that failed or was killed left its files, so the next names are numbered.
        let commands = |mkectl: &SavedMkectl| {
            let commands = mkectl.commands.iter();
            let commands = commands.map(|command| unnumbered(command, &saved.release));
            commands.collect::<Vec<_>>().join("; ")
        };
        for (old, new) in [
            (programs(&saved.mkectl), programs(&now.mkectl)),
            (commands(&saved.mkectl), commands(&now.mkectl)),
        ] {
            if old != new {
                moved.push(PlanChange::new("mkectl", &old, &new));
            }
        }
    }
    // Another lock names other artifacts, so nothing could be compared.
    if saved.lock == now.lock && saved.sets == now.sets && saved.registry.url == now.registry.url {
        moved.extend(moved_in_registry(&saved.registry, plan));
    }
    moved
}

/// Returns sets with the digests of their locks, in one line.
pub(super) fn listed(sets: &BTreeMap<String, String>) -> String {
    let sets = sets.iter().map(|(name, digest)| format!("{name} {digest}"));
    match sets.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "none".to_owned(),
        listed => listed,
    }
}

impl PlanChange {
    pub(super) fn new(subject: &'static str, old: &str, new: &str) -> Self {
        Self {
            subject,
            what: format!("was {old} and is {new}"),
        }
    }
}

/// Returns whether a receipt records the failure of a deploy by this very plan, and nothing else
/// that is new.
fn is_own_failure(saved: &Saved, plan: &Plan, digest: &str) -> bool {
    let failed = plan
        .receipt
        .as_ref()
        .and_then(|receipt| receipt.failed.as_ref());
    let applied = saved
        .receipt
        .as_ref()
        .and_then(|receipt| receipt.applied.as_ref());
    failed.is_some_and(|failed| failed.plan.as_deref() == Some(digest))
        && applied_digest(plan).as_ref() == applied
}

/// Returns a command of an upgrade to `release` without the numbers in the names of its files, such
/// as that in `v4.1.1-to-v4.1.2-2_mke4.yaml`.
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

/// Returns the artifacts that the registry has not as the plan found them, nor as the plan makes
/// them.
fn moved_in_registry(saved: &SavedRegistry, plan: &Plan) -> Vec<PlanChange> {
    let mut moved = Vec::new();
    for ((artifact, seen), planned) in plan
        .lock
        .artifacts
        .iter()
        .zip(&plan.seen)
        .zip(&plan.artifacts)
    {
        if !planned.is_to_be_pushed() {
            let is_refused = *planned == Planned::Unconfirmed;
            let was_refused = saved.refused_to_nodes.contains(&artifact.reference());
            let was_to_be_pushed =
                (saved.push.iter()).any(|push| push.artifact == artifact.reference());
            if is_refused != was_refused && !was_to_be_pushed {
                let what = match is_refused {
                    true => format!("{} is not served to nodes any more", artifact.reference()),
                    false => format!("{} is now served to nodes", artifact.reference()),
                };
                moved.push(PlanChange {
                    subject: "registry",
                    what,
                });
            }
            continue;
        }
        let name = artifact.reference();
        let now = seen.found();
        let before = saved.push.iter().find(|push| push.artifact == name);
        let before = before.map_or_else(|| artifact.digest.to_string(), |push| push.found.clone());
        if before != now {
            moved.push(PlanChange {
                subject: "registry",
                what: format!("{name} was {before} and is {now}"),
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
        refused_to_nodes: all()
            .filter(|(_, planned)| **planned == Planned::Unconfirmed)
            .map(|((artifact, _), _)| artifact.reference())
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

/// Returns the SHA-256 of what a receipt says of the last success.
fn applied_digest(plan: &Plan) -> Option<String> {
    let text = serde_yaml::to_string(plan.applied()?).unwrap_or_else(|error| chain(&error));
    Some(sha256(text.as_bytes()))
}
