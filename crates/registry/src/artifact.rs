//! Describes artifacts to push by digests and sizes. [`BlobSource`] supplies their bytes from the
//! caller's store.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::sync::LazyLock;

use oci_spec::image::{Digest, MediaType};
use regex_lite::Regex;

use crate::Error;
use crate::digest::{check_digest, parse_digest};

/// An image, a chart or a different artifact, with all manifests and blobs that it refers to.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// Repository path including the project: `mke/calico/node`.
    pub repository: String,
    /// Tag to be set on the last manifest.
    pub tag: String,
    /// Each manifest once: children before the indexes that list them, the tagged one last.
    pub manifests: Vec<Manifest>,
}

/// A manifest or an index. [`BlobSource`] supplies its bytes.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Digest of the manifest, `sha256:<hex>`.
    pub digest: Digest,
    /// Media type that is sent to the registry as `Content-Type`.
    pub media_type: MediaType,
    /// Size in bytes.
    pub size: u64,
    /// The configuration and layers that the manifest refers to in its repository. Empty for an
    /// index.
    pub blobs: Vec<Blob>,
}

/// A configuration, a layer or other content that manifests refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Digest of the blob, `sha256:<hex>`.
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
}

/// Opens the files of blobs and manifests.
///
/// The same blob may be opened several times: an interrupted upload starts over with a new file.
pub trait BlobSource: Send + Sync {
    /// Opens the file with the content of `digest`, positioned at its start. The content is hashed
    /// while it is sent, unless [`BlobSource::is_checked`] returns true.
    ///
    /// # Errors
    ///
    /// The error of the file system, which becomes [`Error::Source`].
    fn open(&self, digest: &Digest) -> io::Result<File>;

    /// Returns whether `file`, opened by [`BlobSource::open`], was compared with its digest in this
    /// run and has not changed since. Such a file is not hashed again before it is sent. The
    /// registry compares the digest in any case.
    fn is_checked(&self, _digest: &Digest, _file: &File) -> bool {
        false
    }
}

impl Artifact {
    /// Returns `repository:tag`.
    pub fn name(&self) -> String {
        format!("{}:{}", self.repository, self.tag)
    }

    /// Returns the manifest that the tag is set on.
    pub(crate) fn root(&self) -> Result<&Manifest, Error> {
        self.manifests.last().ok_or_else(|| Error::Artifact {
            name: self.name(),
            rule: "has no manifest".to_owned(),
        })
    }

    /// Returns how many of the first manifests can be put in any order: image manifests before the
    /// tagged one.
    pub(crate) fn leaves(&self) -> usize {
        let (_, before) = self.manifests.split_last().unzip();
        let before: &[Manifest] = before.unwrap_or_default();
        before
            .iter()
            .take_while(|manifest| !manifest.blobs.is_empty())
            .count()
    }

    /// Returns each blob once, the largest first.
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

    /// Checks names, digests and sizes.
    ///
    /// # Errors
    ///
    /// [`Error::Name`], [`Error::DigestAlgorithm`] or [`Error::Artifact`].
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

/// Grammars of a repository and of a tag, verbatim from the OCI distribution specification
/// ("Pulling manifests").
///
/// oci-client's parser is not used: it compiles its regular expression with all of Unicode at each
/// start, which took a third of the processor time of a run with nothing to do.
static REPOSITORY: LazyLock<Regex> = LazyLock::new(|| {
    grammar(r"^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$")
});
static TAG: LazyLock<Regex> = LazyLock::new(|| grammar(r"^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$"));

/// Maximum length of a repository in bytes. The specification says that some clients have this
/// limit; oci-client is one of them.
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

/// Checks a tag or a digest. Returns the digest if `reference` is one.
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
            // Without a registry before it, the parser would take the first part of a name for one.
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
    fn only_sha256_digests_are_accepted() {
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
    fn blobs_are_listed_once_and_the_largest_first() {
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
