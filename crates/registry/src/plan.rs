//! Plans a push: each blob is sent once, and mounted in the other repositories that need it.
//!
//! The plan is made from digests and names alone, before a byte is sent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{Artifact, Blob};

/// A blob, and the repositories that need it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Transfer<'a> {
    pub(crate) blob: &'a Blob,
    /// In order: the first repository receives the bytes, the others mount the blob from it.
    pub(crate) needs: VecDeque<Need<'a>>,
}

/// A repository that needs a blob.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Need<'a> {
    pub(crate) repository: &'a str,
    /// Numbers of the artifacts that wait for it.
    pub(crate) artifacts: Vec<usize>,
}

/// Plans the transfer of numbered artifacts. The largest blob is first, because at the end the push
/// would wait for it alone.
///
/// A blob's bytes go to the repository that shares most blobs with others. So few repositories are
/// mounted from, which saves tokens: some registries require one for each pair of repositories.
pub(crate) fn plan<'a>(artifacts: &[(usize, &'a Artifact)]) -> Vec<Transfer<'a>> {
    let mut blobs: BTreeMap<&str, (&Blob, BTreeMap<&str, Vec<usize>>)> = BTreeMap::new();
    for (number, artifact) in artifacts {
        for blob in artifact.blobs_by_size() {
            let (_, needs) = blobs
                .entry(blob.digest.as_ref())
                .or_insert_with(|| (blob, BTreeMap::new()));
            needs
                .entry(artifact.repository.as_str())
                .or_default()
                .push(*number);
        }
    }
    let ranks = rank_repositories(blobs.values().map(|(_, needs)| needs.keys().copied()));
    let mut transfers: Vec<Transfer<'a>> = blobs
        .into_values()
        .map(|(blob, needs)| {
            let mut needs: Vec<Need<'a>> = needs
                .into_iter()
                .map(|(repository, artifacts)| Need {
                    repository,
                    artifacts,
                })
                .collect();
            needs.sort_by_key(|need| ranks.get(need.repository).copied());
            Transfer {
                blob,
                needs: needs.into(),
            }
        })
        .collect();
    transfers.sort_by(|a, b| {
        (b.blob.size, a.blob.digest.as_ref()).cmp(&(a.blob.size, b.blob.digest.as_ref()))
    });
    transfers
}

/// Ranks repositories greedily: each next one shares most of the blobs that no repository before it
/// has.
fn rank_repositories<'a, B>(blobs: impl Iterator<Item = B>) -> BTreeMap<&'a str, usize>
where
    B: Iterator<Item = &'a str>,
{
    let blobs: Vec<BTreeSet<&str>> = blobs.map(Iterator::collect).collect();
    let all_repositories: BTreeSet<&str> = blobs.iter().flatten().copied().collect();
    let mut uncovered: Vec<&BTreeSet<&str>> = blobs.iter().filter(|b| b.len() > 1).collect();
    let mut ranks = BTreeMap::new();
    while !uncovered.is_empty() {
        let mut shares: BTreeMap<&str, usize> = BTreeMap::new();
        for repository in uncovered.iter().copied().flatten() {
            *shares.entry(repository).or_default() += 1;
        }
        // Ties go to the first by name, so the plan is always the same.
        let best = shares.iter().rev().max_by_key(|(_, shared)| **shared);
        let Some((&best, _)) = best else { break };
        ranks.insert(best, ranks.len());
        uncovered.retain(|blob| !blob.contains(best));
    }
    for repository in all_repositories {
        let last = ranks.len();
        ranks.entry(repository).or_insert(last);
    }
    ranks
}

#[cfg(test)]
mod tests {
    use oci_spec::image::MediaType;

    use super::*;
    use crate::Manifest;
    use crate::digest::sha256;

    fn blob(name: &str, size: u64) -> Blob {
        Blob {
            digest: sha256(name.as_bytes()).parse().unwrap(),
            size,
        }
    }

    fn artifact(repository: &str, tag: &str, blobs: &[(&str, u64)]) -> Artifact {
        Artifact {
            repository: repository.to_owned(),
            tag: tag.to_owned(),
            manifests: vec![Manifest {
                digest: sha256(repository.as_bytes()).parse().unwrap(),
                media_type: MediaType::ImageManifest,
                size: 2,
                blobs: blobs.iter().map(|(name, size)| blob(name, *size)).collect(),
            }],
        }
    }

    /// A blob's size, and the repositories that need it with the numbers of their artifacts.
    type Planned = (u64, Vec<(String, Vec<usize>)>);

    fn planned(artifacts: &[Artifact]) -> Vec<Planned> {
        let numbered: Vec<(usize, &Artifact)> = artifacts.iter().enumerate().collect();
        plan(&numbered)
            .into_iter()
            .map(|transfer| {
                let needs = transfer.needs.into_iter();
                let needs = needs.map(|need| (need.repository.to_owned(), need.artifacts));
                (transfer.blob.size, needs.collect())
            })
            .collect()
    }

    #[test]
    fn each_blob_is_planned_once_and_the_largest_first() {
        let artifacts = [
            artifact("a", "v1", &[("small", 1), ("large", 30)]),
            artifact("a", "v2", &[("middle", 20), ("large", 30)]),
        ];
        let alone = |numbers: &[usize]| vec![("a".to_owned(), numbers.to_vec())];
        assert_eq!(
            planned(&artifacts),
            [(30, alone(&[0, 1])), (20, alone(&[1])), (1, alone(&[0]))]
        );
    }

    #[test]
    fn few_repositories_are_mounted_from() {
        // `z` shares something with all others, so it always leads.
        let artifacts = [
            artifact("a", "v1", &[("one", 1)]),
            artifact("b", "v1", &[("two", 2)]),
            artifact("c", "v1", &[("three", 3), ("four", 4)]),
            artifact("d", "v1", &[("four", 4)]),
            artifact("z", "v1", &[("one", 1), ("two", 2), ("three", 3)]),
        ];
        let first: Vec<(u64, String)> = planned(&artifacts)
            .into_iter()
            .map(|(size, needs)| (size, needs[0].0.clone()))
            .collect();
        let expected = [(4, "c"), (3, "z"), (2, "z"), (1, "z")];
        assert_eq!(first, expected.map(|(size, name)| (size, name.to_owned())));
    }
}
