//! Summarizes the differences between two locks. Two releases may differ in thousands of digests.

use std::collections::BTreeMap;

use bundle::{Artifact, Lock};

/// Differences between a committed lock and a new one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Artifacts that only the new lock has, as `repository:tag`.
    pub added: Vec<String>,
    /// Artifacts that only the committed lock has.
    pub removed: Vec<String>,
    /// Artifacts with different content.
    pub changed: Vec<String>,
    /// Other differences: key in the lock, old value, new value.
    pub keys: Vec<(&'static str, String, String)>,
}

impl Changes {
    pub(super) fn between(old: &Lock, new: &Lock) -> Self {
        let (before, after) = (by_reference(old), by_reference(new));
        let only = |one: &BTreeMap<String, &Artifact>, other: &BTreeMap<String, &Artifact>| {
            let names = one.keys().filter(|name| !other.contains_key(*name));
            names.cloned().collect()
        };
        let changed = before
            .iter()
            .filter(|(name, artifact)| after.get(*name).is_some_and(|new| new != *artifact));
        let matrix = |lock: &Lock| {
            let file = lock.release_matrix.as_ref();
            file.map_or("none".to_owned(), |file| file.sha256.clone())
        };
        let mkectl = |lock: &Lock| {
            let all = lock.mkectl.iter();
            let all: Vec<String> = all
                .map(|one| format!("{} {} {}", one.platform, one.sha256, one.url))
                .collect();
            all.join(", ")
        };
        let init = |lock: &Lock| lock.init.clone().unwrap_or("none".to_owned());
        let keys = [
            (
                "bundle.sha256",
                old.bundle.sha256.clone(),
                new.bundle.sha256.clone(),
            ),
            (
                "bundle.size",
                old.bundle.size.to_string(),
                new.bundle.size.to_string(),
            ),
            ("bundle.url", old.bundle.url.clone(), new.bundle.url.clone()),
            (
                "bundle.file",
                old.bundle.file.clone(),
                new.bundle.file.clone(),
            ),
            ("release-matrix", matrix(old), matrix(new)),
            ("mkectl", mkectl(old), mkectl(new)),
            ("init", init(old), init(new)),
        ];
        Self {
            added: only(&after, &before),
            removed: only(&before, &after),
            changed: changed.map(|(name, _)| name.clone()).collect(),
            keys: keys
                .into_iter()
                .filter(|(_, old, new)| old != new)
                .collect(),
        }
    }
}

fn by_reference(lock: &Lock) -> BTreeMap<String, &Artifact> {
    let artifacts = lock.artifacts.iter();
    artifacts
        .map(|artifact| (artifact.reference(), artifact))
        .collect()
}
