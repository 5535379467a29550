//! Decides what may be removed, as a pure function of files, history and registry. In doubt, a tag
//! stays.
//!
//! Manifests are removed by digest, because most registries support nothing else. That removes
//! every tag that points at the manifest. Therefore a digest is proposed only if no kept lock names
//! it, and no remaining tag leads to it. That includes tags that Airlock did not push.

use std::collections::{BTreeMap, BTreeSet};

use bundle::{Artifact, Lock};

use super::file::{Remove, Stays};

/// Content that must stay, for all environments that share the registry.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    /// Tags, each after its repository, which includes the project.
    pub(crate) tags: BTreeSet<(String, String)>,
    /// Digests of all manifests and blobs of kept locks.
    pub(crate) digests: BTreeSet<String>,
}

/// A lock that is not kept, and that a receipt of this environment names.
#[derive(Debug, Clone)]
pub(crate) struct PastLock {
    pub(crate) lock: Lock,
    /// Whether a receipt records a push of this lock, and not only that its artifacts were present.
    pub(crate) was_pushed: bool,
}

/// The content of a repository, by tag.
pub(crate) type Holding = BTreeMap<String, TagTarget>;

/// The manifest that a tag points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TagTarget {
    pub(crate) digest: String,
    /// Digests that the manifest lists, if it is an index.
    pub(crate) children: BTreeSet<String>,
}

/// A manifest to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Removal {
    /// Its repository, including the project.
    pub(crate) repository: String,
    pub(crate) digest: String,
    /// All tags that point at it.
    pub(crate) tags: BTreeSet<String>,
    /// Manifests that it lists, and that nothing else needs.
    pub(crate) children: BTreeSet<String>,
    /// Releases and sets whose locks name it.
    pub(crate) releases: BTreeSet<String>,
}

/// The manifests that may be removed, and the candidates that stay.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub(crate) remove: Vec<Removal>,
    pub(crate) stay: Vec<Stays>,
}

/// An artifact of a past lock that no kept lock names.
#[derive(Debug, Clone)]
pub(crate) struct Candidate<'a> {
    artifact: &'a Artifact,
    releases: BTreeSet<String>,
    was_pushed: bool,
}

/// Candidates by repository and by tag. Several locks may name different digests under one tag.
pub(crate) type Candidates<'a> = BTreeMap<String, BTreeMap<&'a str, Vec<Candidate<'a>>>>;

impl Retained {
    /// Keeps the tags and digests of a lock in an environment's registry.
    pub(crate) fn keep(&mut self, registry: &environment::Registry, lock: &Lock) {
        for artifact in &lock.artifacts {
            let repository = registry.repository(&artifact.repository);
            self.tags.insert((repository, artifact.tag.clone()));
            let digests = artifact.blobs().map(|(digest, _)| digest.to_string());
            self.digests.extend(digests);
            self.digests.insert(artifact.digest.to_string());
        }
    }

    /// Keeps the tags of references to the vendor's registry, at their place in an environment's
    /// registry.
    pub(crate) fn keep_tags(&mut self, registry: &environment::Registry, references: &[String]) {
        for reference in references {
            let name = mke::vendor_name(reference).unwrap_or(reference);
            if let Some((repository, tag)) = name.rsplit_once(':') {
                // Helm replaces `+` in a chart's version, which a tag cannot contain.
                let tag = tag.replace('+', "_");
                self.tags.insert((registry.repository(repository), tag));
            }
        }
    }
}

/// Returns the artifacts of past locks whose tags no kept lock names.
pub(crate) fn candidates<'a>(
    kept: &Retained,
    past: &'a [PastLock],
    registry: &environment::Registry,
) -> Candidates<'a> {
    let mut candidates: Candidates<'a> = BTreeMap::new();
    for PastLock { lock, was_pushed } in past {
        for artifact in &lock.artifacts {
            let repository = registry.repository(&artifact.repository);
            if kept
                .tags
                .contains(&(repository.clone(), artifact.tag.clone()))
            {
                continue;
            }
            let tags = candidates.entry(repository).or_default();
            let of_tag = tags.entry(&artifact.tag).or_default();
            match of_tag
                .iter_mut()
                .find(|known| known.artifact.digest == artifact.digest)
            {
                Some(known) => {
                    known.releases.insert(lock.name().to_owned());
                    known.was_pushed |= was_pushed;
                }
                None => of_tag.push(Candidate {
                    artifact,
                    releases: BTreeSet::from([lock.name().to_owned()]),
                    was_pushed: *was_pushed,
                }),
            }
        }
    }
    candidates
}

/// Returns what may be removed. `holdings` has the content of each repository, or why it is
/// unknown.
pub(crate) fn propose(
    kept: &Retained,
    candidates: &Candidates<'_>,
    holdings: &BTreeMap<String, Result<Holding, String>>,
) -> Proposal {
    let mut proposal = Proposal::default();
    for (repository, tags) in candidates {
        match holdings.get(repository) {
            Some(Ok(holding)) => of_repository(kept, repository, tags, holding, &mut proposal),
            Some(Err(why)) => {
                proposal.stay.extend(tags.keys().map(|tag| Stays {
                    repository: repository.clone(),
                    tag: (*tag).to_owned(),
                    why: why.clone(),
                }));
            }
            None => {}
        }
    }
    proposal
}

/// Returns the children of a removed manifest that may be removed too. They exist if a run was
/// interrupted between the manifest and its children.
///
/// A past lock must name a child below that manifest, and no remaining tag may need it.
pub(crate) fn orphaned_children(
    kept: &Retained,
    past: &[PastLock],
    registry: &environment::Registry,
    gone: &Remove,
    holding: &Holding,
) -> Vec<String> {
    let names = |artifact: &Artifact, child: &str| {
        registry.repository(&artifact.repository) == gone.repository
            && artifact.digest.as_ref() == gone.digest
            && (artifact.manifests.iter()).any(|manifest| manifest.digest.as_ref() == child)
    };
    let may_follow = |child: &&String| {
        let mut put = past.iter().filter(|past| past.was_pushed);
        let is_named = put.any(|past| {
            let mut artifacts = past.lock.artifacts.iter();
            artifacts.any(|artifact| names(artifact, child))
        });
        let mut held = holding.values();
        is_named
            && !kept.digests.contains(*child)
            && !held.any(|held| held.digest == **child || held.children.contains(*child))
    };
    gone.children.iter().filter(may_follow).cloned().collect()
}

/// Returns a tag that leads to this digest, and that is not removed.
fn remaining_tag<'h>(
    holding: &'h Holding,
    removed_tags: &BTreeSet<String>,
    digest: &str,
) -> Option<&'h str> {
    holding
        .iter()
        .filter(|(tag, _)| !removed_tags.contains(*tag))
        .find(|(_, held)| held.digest == digest || held.children.contains(digest))
        .map(|(tag, _)| tag.as_str())
}

fn of_repository(
    kept: &Retained,
    repository: &str,
    tags: &BTreeMap<&str, Vec<Candidate<'_>>>,
    holding: &Holding,
    proposal: &mut Proposal,
) {
    let mut going: BTreeMap<&str, Removal> = BTreeMap::new();
    let mut staying: BTreeMap<String, String> = BTreeMap::new();
    for (tag, candidates) in tags {
        // The registry no longer has the tag.
        let Some(held) = holding.get(*tag) else {
            continue;
        };
        let candidate = candidates
            .iter()
            .find(|candidate| candidate.artifact.digest.as_ref() == held.digest);
        let why = match candidate {
            None => "it points to different content than a receipt's lock records",
            Some(_) if kept.digests.contains(&held.digest) => {
                "a lock that is kept names the same manifest"
            }
            Some(candidate) if !candidate.was_pushed => {
                "receipts record that it was there, not that it was pushed"
            }
            Some(candidate) => {
                let manifests = candidate.artifact.manifests.iter();
                let children = manifests
                    .map(|manifest| manifest.digest.to_string())
                    .filter(|digest| *digest != held.digest && !kept.digests.contains(digest));
                let removal = going.entry(&held.digest).or_insert_with(|| Removal {
                    repository: repository.to_owned(),
                    digest: held.digest.clone(),
                    tags: BTreeSet::new(),
                    children: BTreeSet::new(),
                    releases: BTreeSet::new(),
                });
                removal.tags.insert((*tag).to_owned());
                removal.children.extend(children);
                removal.releases.extend(candidate.releases.iter().cloned());
                continue;
            }
        };
        staying.insert((*tag).to_owned(), why.to_owned());
    }
    // A tag that stays keeps its manifest and children, and so other tags that point at them.
    // Repeat until nothing changes.
    let removed_tags = going
        .values()
        .flat_map(|removal| removal.tags.iter().cloned());
    let mut removed_tags: BTreeSet<String> = removed_tags.collect();
    while let Some((digest, by)) = going
        .keys()
        .find_map(|digest| Some((*digest, remaining_tag(holding, &removed_tags, digest)?)))
    {
        let Some(removal) = going.remove(digest) else {
            break;
        };
        removed_tags.retain(|tag| !removal.tags.contains(tag));
        let why = format!("the tag {by} points to the same manifest");
        staying.extend(removal.tags.into_iter().map(|tag| (tag, why.clone())));
    }
    // A manifest that is removed by its own tags is not also listed as a child.
    let roots: BTreeSet<&str> = going.keys().copied().collect();
    for mut removal in going.into_values() {
        removal.children.retain(|child| {
            !roots.contains(child.as_str())
                && remaining_tag(holding, &removed_tags, child).is_none()
        });
        proposal.remove.push(removal);
    }
    proposal
        .stay
        .extend(staying.into_iter().map(|(tag, why)| Stays {
            repository: repository.to_owned(),
            tag,
            why,
        }));
}

#[cfg(test)]
mod tests;
