//! What is pushed, described by digests alone, and where its bytes come from.
//!
//! The caller knows archives and stores; this crate knows digests and sizes. The two meet in
//! [`BlobSource`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::sync::LazyLock;

use oci_spec::image::{Digest, MediaType};
use regex_lite::Regex;

use crate::Error;
use crate::digest::{check_digest, parse_digest};

/// An image, a chart or any other artifact, complete with everything that it refers to.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// The whole repository path, project included: `mke/calico/node`.
    pub repository: String,
    /// The tag that is to point at the last of the manifests.
    pub tag: String,
    /// Every manifest once, children before the indexes that list them, the one that is tagged
    /// last.
    pub manifests: Vec<Manifest>,
}

/// One manifest or index; its bytes come from the [`BlobSource`].
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The digest of the manifest's bytes.
    pub digest: Digest,
    /// The media type that the registry receives.
    pub media_type: MediaType,
    /// Its length in bytes.
    pub size: u64,
    /// What it refers to in the same repository, other manifests left out: the configuration and
    /// the layers; nothing for an index.
    pub blobs: Vec<Blob>,
}

/// One blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// The digest of the blob's bytes.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// Where the bytes of blobs and manifests are read from.
///
/// A blob may be opened more than once, since an upload that was cut starts over from a fresh file.
pub trait BlobSource: Send + Sync {
    /// Opens the file whose content is `digest`, at its beginning. The content is checked while it
    /// is sent, unless [`BlobSource::is_checked`] says that it was.
    ///
    /// # Errors
    ///
    /// Whatever the file system says; it is reported as [`Error::Source`] with the digest.
    fn open(&self, digest: &Digest) -> io::Result<File>;

    /// Returns whether this file, which [`BlobSource::open`] returned, was compared with its digest
    /// in this run and nothing has changed it since. Then it is not hashed once more; the registry
    /// compares what it gets in any case.
    fn is_checked(&self, _digest: &Digest, _file: &File) -> bool {
        false
    }
}

impl Artifact {
    /// Returns `repository:tag`, as people write it.
    pub fn name(&self) -> String {
        format!("{}:{}", self.repository, self.tag)
    }

    /// Returns the manifest that the tag is to point at.
    pub(crate) fn root(&self) -> Result<&Manifest, Error> {
        self.manifests.last().ok_or_else(|| Error::Artifact {
            name: self.name(),
            rule: "has no manifest".to_owned(),
        })
    }

    /// Returns how many manifests, from the first, list no others and are not the last: their order
    /// does not matter.
    pub(crate) fn leaves(&self) -> usize {
        let (_, before) = self.manifests.split_last().unzip();
        let before: &[Manifest] = before.unwrap_or_default();
        before
            .iter()
            .take_while(|manifest| !manifest.blobs.is_empty())
            .count()
    }

    /// Returns each blob once, the largest first, since a large blob that is begun last is waited
    /// for alone.
    pub(crate) fn blobs_by_size(&self) -> Vec<&Blob> {
        let mut seen = BTreeSet::new();
        let mut blobs: Vec<&Blob> = self
            .manifests
            .iter()
            .flat_map(|manifest| &manifest.blobs)
            .filter(|blob| seen.insert(blob.digest.as_ref()))
            .collect();
        blobs.sort_by(|a, b| (b.size, a.digest.as_ref()).cmp(&(a.size, b.digest.as_ref())));
        blobs
    }

    /// Checks everything that can be checked without a request.
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_repository(&self.repository)?;
        check_tag(&self.tag)?;
        self.root()?;
        let mut sizes = BTreeMap::new();
        let mut manifests = BTreeSet::new();
        for manifest in &self.manifests {
            check_digest(&manifest.digest)?;
            if !manifests.insert(manifest.digest.as_ref()) {
                return Err(self.wrong(format!("lists manifest {} twice", manifest.digest)));
            }
            for blob in &manifest.blobs {
                check_digest(&blob.digest)?;
                let size = *sizes.entry(blob.digest.as_ref()).or_insert(blob.size);
                if size != blob.size {
                    return Err(self.wrong(format!("gives blob {} two sizes", blob.digest)));
                }
            }
        }
        Ok(())
    }

    fn wrong(&self, rule: String) -> Error {
        Error::Artifact {
            name: self.name(),
            rule,
        }
    }
}

/// The grammars of a repository and of a tag, word for word as the OCI distribution specification
/// has them ("Pulling manifests").
///
/// The parser of oci-client is not used for them: its regular expression is compiled with all of
/// Unicode at each start, which was a third of the processor time of a run with nothing to do.
static REPOSITORY: LazyLock<Regex> = LazyLock::new(|| {
    grammar(r"^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$")
});
static TAG: LazyLock<Regex> = LazyLock::new(|| grammar(r"^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$"));

/// The specification mentions clients that limit names to this many bytes; oci-client, which plays
/// the nodes, is one of them.
const LONGEST_REPOSITORY: usize = 255;

/// Checks a repository path by the grammar of the OCI distribution specification.
pub(crate) fn check_repository(repository: &str) -> Result<(), Error> {
    if repository.len() <= LONGEST_REPOSITORY && REPOSITORY.is_match(repository) {
        return Ok(());
    }
    Err(Error::Name {
        kind: "repository",
        name: repository.to_owned(),
    })
}

/// Checks a tag by the grammar of the OCI distribution specification.
pub(crate) fn check_tag(tag: &str) -> Result<(), Error> {
    if TAG.is_match(tag) {
        return Ok(());
    }
    Err(Error::Name {
        kind: "tag",
        name: tag.to_owned(),
    })
}

fn grammar(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap_or_else(|error| unreachable!("a constant pattern: {error}"))
}

/// Checks a tag or a digest, whichever `reference` is.
pub(crate) fn check_reference(reference: &str) -> Result<Option<Digest>, Error> {
    if reference.contains(':') {
        parse_digest(reference).map(Some)
    } else {
        check_tag(reference)?;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use oci_client::Reference;

    use super::*;

    fn digest(fill: char) -> Digest {
        format!("sha256:{}", String::from(fill).repeat(64))
            .parse()
            .unwrap()
    }

    fn blob(fill: char, size: u64) -> Blob {
        Blob {
            digest: digest(fill),
            size,
        }
    }

    fn manifest(fill: char, blobs: Vec<Blob>) -> Manifest {
        Manifest {
            digest: digest(fill),
            media_type: MediaType::ImageManifest,
            size: 2,
            blobs,
        }
    }

    fn artifact(manifests: Vec<Manifest>) -> Artifact {
        Artifact {
            repository: "mke/calico/node".to_owned(),
            tag: "v3.30.2".to_owned(),
            manifests,
        }
    }

    #[test]
    fn names_are_checked_by_the_grammar() {
        for (repository, good) in [
            ("mke/calico/node", true),
            ("node", true),
            ("a/b/c/d/e", true),
            ("a__b/c-d.e", true),
            ("", false),
            ("/a", false),
            ("a/", false),
            ("a//b", false),
            ("A/b", false),
            ("a/../b", false),
            ("a/b:c", false),
            ("a/b@sha256:00", false),
            ("a b", false),
            ("a\n", false),
            ("a--b/c", true),
            ("a___b", false),
            ("a-", false),
        ] {
            assert_eq!(check_repository(repository).is_ok(), good, "{repository}");
            // The parser guesses registries out of short names; with a registry in front there is
            // nothing to guess.
            let parsed = format!("registry.invalid/{repository}").parse::<Reference>();
            let same = parsed.is_ok_and(|reference| reference.repository() == repository);
            assert_eq!(same, good, "oci-client differs over {repository}");
        }
        for (tag, good) in [
            ("v3.30.2", true),
            ("_a", true),
            ("v1-2_3", true),
            ("", false),
            (".a", false),
            ("a/b", false),
            ("a:b", false),
            ("a@b", false),
            ("a?b", false),
            ("a\n", false),
        ] {
            assert_eq!(check_tag(tag).is_ok(), good, "{tag}");
            let parsed = format!("registry.invalid/repository:{tag}").parse::<Reference>();
            let same = parsed.is_ok_and(|reference| reference.tag() == Some(tag));
            assert_eq!(same, good, "oci-client differs over {tag}");
        }
    }

    #[test]
    fn other_digests_than_sha256_are_refused_by_name() {
        let sha512 = format!("sha512:{}", "a".repeat(128));
        let error = check_reference(&sha512).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("digest `{sha512}` is not a sha256 digest")
        );
        assert!(check_reference("sha256:short").is_err());
        assert_eq!(check_reference("v1").unwrap(), None);
        assert_eq!(
            check_reference(digest('a').as_ref()).unwrap(),
            Some(digest('a'))
        );
    }

    #[test]
    fn blobs_come_once_each_and_the_largest_first() {
        let artifact = artifact(vec![
            manifest('1', vec![blob('a', 1), blob('b', 30)]),
            manifest('2', vec![blob('c', 20), blob('b', 30), blob('d', 20)]),
        ]);
        let order: Vec<u64> = artifact.blobs_by_size().iter().map(|b| b.size).collect();
        assert_eq!(order, [30, 20, 20, 1]);
    }

    #[test]
    fn an_artifact_that_contradicts_itself_is_refused() {
        for (manifests, rule) in [
            (vec![], "has no manifest"),
            (vec![manifest('1', vec![]), manifest('1', vec![])], "twice"),
            (
                vec![manifest('1', vec![blob('a', 1), blob('a', 2)])],
                "two sizes",
            ),
        ] {
            let error = artifact(manifests).check().unwrap_err();
            assert!(error.to_string().contains(rule), "{error}");
        }
        artifact(vec![manifest('1', vec![blob('a', 1), blob('a', 1)])])
            .check()
            .unwrap();
    }
}
