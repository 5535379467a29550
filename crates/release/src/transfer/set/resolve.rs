//! Resolves references: reads their manifests, with the digests and sizes of their blobs. Manifests
//! are stored immediately, because some registries count requests for them.

use std::collections::{HashMap, HashSet};

use bundle::set::{Entry, Reference, is_platform_of};
use bundle::{
    Artifact, Child, Content, Described, Kind, LARGEST_BLOB, LARGEST_MANIFEST, Manifest, Source,
    Store,
};
use oci_spec::image::{Digest, MediaType};

use super::keep::{Memory, digest_of, keep};
use super::upstream::Repository;
use crate::Context;
use crate::set::{Error, SIGNATURE_TAGS};

/// Maximum number of references that are resolved concurrently.
pub(super) const ENTRIES_AT_ONCE: usize = 8;

/// Maximum depth of indexes in indexes.
const MAX_DEPTH: usize = 4;

/// Resolves an entry of a set that is in a registry. `asked` is the tag or digest to request.
///
/// # Errors
/// The registry does not serve it, or its content is not supported.
pub(super) async fn resolve(
    context: &Context<'_>,
    repository: &Repository<'_>,
    reference: &Reference,
    asked: &str,
    entry: &Entry,
    store: &Store,
) -> Result<Artifact, crate::Error> {
    let mut walk = Walk::new(context, repository, reference, store);
    let (described, bytes, digest) = walk.read(asked, None).await?;
    let root = root_of(&described, &bytes, &digest);
    let (root, described, is_whole) = match entry.platforms.is_empty() {
        true => (root, described, true),
        false => {
            walk.reduce(root, described, &bytes, &entry.platforms)
                .await?
        }
    };
    let is_artifact = matches!(
        described.content,
        Content::Index {
            is_artifact: true,
            ..
        }
    );
    walk.add(root.clone(), described, 0).await?;
    let has = |kind: Kind| walk.kinds.contains(&kind);
    let kind = Kind::of(has(Kind::Image) && !is_artifact, has(Kind::Chart));
    Ok(Artifact {
        repository: entry.repository.clone(),
        tag: entry.tag.clone(),
        kind,
        archive: String::new(),
        source: Some(Source {
            reference: walk.reference,
            url: None,
            platforms: entry.platforms.clone(),
            signatures: entry.signatures,
            subject: None,
            full_index: (!is_whole).then_some(digest),
            alias: false,
        }),
        digest: root.digest,
        media_type: root.media_type,
        size: root.size,
        manifests: walk.manifests,
    })
}

/// Resolves the signatures and attestations of an artifact: the referrers of its manifests, and the
/// tags that cosign names after their digests.
///
/// # Errors
/// The registry cannot be used, or a signature is not supported.
pub(super) async fn resolve_signatures(
    context: &Context<'_>,
    repository: &Repository<'_>,
    reference: &Reference,
    artifact: &Artifact,
    store: &Store,
) -> Result<Vec<Artifact>, crate::Error> {
    let mut found = Vec::new();
    for subject in artifact.manifests.iter().map(|one| &one.digest) {
        let tag = subject.to_string().replace(':', "-");
        for suffix in SIGNATURE_TAGS {
            let tag = format!("{tag}{suffix}");
            let at = Reference {
                tag: Some(tag.clone()),
                digest: None,
                ..reference.clone()
            };
            let mut walk = Walk::new(context, repository, &at, store);
            let listed = match suffix {
                "" => referrers(repository, subject, &|_| true).await?,
                _ => None,
            };
            let read = match listed {
                Some(Referrers::Listed(bytes)) => walk.store_index(bytes)?,
                Some(Referrers::None) => continue,
                None => match walk.read(&tag, None).await {
                    Err(crate::Error::Set(Error::Registry {
                        source: registry::Error::NotFound { .. },
                        ..
                    })) => continue,
                    read => read?,
                },
            };
            let (described, bytes, digest) = read;
            if tag == artifact.tag {
                return Err(
                    walk.shape("its tag is that of its signatures: give it another with `as:`")
                );
            }
            let root = root_of(&described, &bytes, &digest);
            walk.add(root.clone(), described, 0).await?;
            found.push(Artifact {
                repository: artifact.repository.clone(),
                tag,
                kind: Kind::Artifact,
                archive: String::new(),
                source: Some(Source {
                    reference: walk.reference,
                    url: None,
                    platforms: Vec::new(),
                    signatures: false,
                    subject: Some(subject.clone()),
                    full_index: None,
                    alias: false,
                }),
                digest: root.digest,
                media_type: root.media_type,
                size: root.size,
                manifests: walk.manifests,
            });
        }
    }
    Ok(found)
}

/// Returns a manifest as an index would list it.
fn root_of(described: &Described, bytes: &[u8], digest: &Digest) -> Child {
    Child {
        digest: digest.clone(),
        media_type: described.media_type.clone(),
        size: bytes.len() as u64,
        platform: None,
        attests: None,
    }
}

/// Response of a referrers API.
pub(super) enum Referrers {
    /// The manifest has no referrers.
    None,
    /// An index of the referrers.
    Listed(Vec<u8>),
}

/// Returns those referrers of a manifest that `keep` accepts by digest. Returns `None` if the
/// registry has no referrers API. Then a tag named after the digest may list them.
pub(super) async fn referrers(
    repository: &Repository<'_>,
    subject: &Digest,
    keep: &(dyn Fn(&str) -> bool + Sync),
) -> Result<Option<Referrers>, crate::Error> {
    let pages = repository.registry.referrers(&repository.path, subject);
    let Some(pages) = (repository.awaited(pages).await)
        .map_err(|source| repository.failed(Some(subject.as_ref()), source))?
    else {
        return Ok(None);
    };
    let index = bundle::referrers_index(&pages, keep);
    let index = index.map_err(|source| Error::Content {
        reference: format!("what refers to {subject}"),
        source,
    })?;
    Ok(Some(index.map_or(Referrers::None, Referrers::Listed)))
}

/// Checks that all artifacts list a blob with the same size.
///
/// # Errors
/// [`Error::Shape`] if two sizes differ.
pub(super) fn one_size(artifacts: &[Artifact]) -> Result<(), crate::Error> {
    let mut sizes: HashMap<&Digest, (u64, &Artifact)> = HashMap::new();
    for artifact in artifacts {
        for (digest, size) in artifact.blobs() {
            let (first, other) = *sizes.entry(digest).or_insert((size, artifact));
            if first != size {
                let name = |one: &Artifact| match &one.source {
                    Some(source) => source.reference.clone(),
                    None => one.reference(),
                };
                return Err(Error::Shape {
                    reference: format!("{} and {}", name(other), name(artifact)),
                    rule: "they list one blob with different sizes",
                }
                .into());
            }
        }
    }
    Ok(())
}

/// A walk over the manifests of an artifact, from its root. Children are added before their
/// parents.
struct Walk<'a> {
    context: &'a Context<'a>,
    repository: &'a Repository<'a>,
    reference: String,
    store: &'a Store,
    manifests: Vec<Manifest>,
    done: HashSet<String>,
    kinds: Vec<Kind>,
    /// Sizes of the blobs, by digest.
    sizes: HashMap<String, u64>,
    /// Sum of all listed sizes. A blob counts each time that it is listed.
    total: u64,
}

type Read = (Described, Vec<u8>, Digest);

impl<'a> Walk<'a> {
    fn new(
        context: &'a Context<'a>,
        repository: &'a Repository<'a>,
        reference: &Reference,
        store: &'a Store,
    ) -> Self {
        Self {
            context,
            repository,
            reference: reference.to_string(),
            store,
            manifests: Vec::new(),
            done: HashSet::new(),
            kinds: Vec::new(),
            sizes: HashMap::new(),
            total: 0,
        }
    }

    /// Reads a manifest by tag or digest, from the store if it has it, otherwise from the registry.
    async fn read(
        &self,
        asked: &str,
        media_type: Option<&MediaType>,
    ) -> Result<Read, crate::Error> {
        let kept = bundle::sha256_digest(asked).ok();
        let kept = kept.and_then(|digest| {
            let bytes = self.store.read(&digest, LARGEST_MANIFEST).ok()?;
            Some((bytes, digest))
        });
        let said = media_type.map(ToString::to_string);
        let (bytes, digest, said) = match kept {
            Some((bytes, digest)) => (bytes, digest, said),
            None => {
                let fetched = self
                    .repository
                    .registry
                    .get_manifest(&self.repository.path, asked);
                let below = asked.starts_with("sha256:").then_some(asked);
                let fetched = (self.repository.awaited(fetched).await)
                    .map_err(|source| self.repository.failed(below, source))?;
                let said = said.or(fetched.media_type.map(|one| one.to_string()));
                (fetched.bytes.to_vec(), fetched.digest, said)
            }
        };
        let described = bundle::describe(&bytes, said.as_deref());
        let described = described.map_err(|source| self.content(source))?;
        keep(self.context, self.store, &digest, &bytes)?;
        Ok((described, bytes, digest))
    }

    /// Reads a manifest that an index lists, and compares it with its descriptor.
    async fn read_child(&self, child: &Child) -> Result<Described, crate::Error> {
        if child.size > LARGEST_MANIFEST {
            return Err(self.shape("a manifest of it is larger than 4 MiB"));
        }
        let read = self.read(child.digest.as_ref(), Some(&child.media_type));
        let (described, bytes, _) = read.await?;
        if bytes.len() as u64 != child.size {
            return Err(self.shape("an index names a wrong size"));
        }
        if described.media_type != child.media_type {
            return Err(self.shape("an index names a wrong media type"));
        }
        Ok(described)
    }

    /// Stores an index that was made here.
    fn store_index(&self, bytes: Vec<u8>) -> Result<Read, crate::Error> {
        let described = bundle::describe(&bytes, None).map_err(|source| self.content(source))?;
        let digest = digest_of(&bytes);
        keep(self.context, self.store, &digest, &bytes)?;
        Ok((described, bytes, digest))
    }

    /// Reduces an artifact to some platforms. The new root is the manifest of the only image, or a
    /// reduced index, which is stored. The flag is true if the root did not change.
    async fn reduce(
        &self,
        root: Child,
        described: Described,
        bytes: &[u8],
        platforms: &[String],
    ) -> Result<(Child, Described, bool), crate::Error> {
        let children = match &described.content {
            Content::Index { children, .. } => children.clone(),
            Content::Manifest { .. } => {
                let platform = self.platform(&described.content).await?;
                self.require(platforms, platform.iter().map(String::as_str))?;
                return Ok((root, described, true));
            }
        };
        let known = children
            .iter()
            .filter_map(|child| child.platform.as_deref());
        self.require(platforms, known)?;
        let is_chosen = |child: &&Child| {
            let is_asked =
                |platform: &String| platforms.iter().any(|one| is_platform_of(one, platform));
            child.platform.as_ref().is_some_and(is_asked)
        };
        let chosen: Vec<&Child> = children.iter().filter(is_chosen).collect();
        if let [only] = chosen.as_slice() {
            let described = self.read_child(only).await?;
            return Ok(((*only).clone(), described, false));
        }
        let digests: HashSet<&str> = chosen.iter().map(|child| child.digest.as_ref()).collect();
        let attestations = children.iter().filter(|child| {
            let attested = child.attests.as_deref();
            attested.is_some_and(|digest| digests.contains(digest))
        });
        let kept: HashSet<&str> = (digests.iter().copied())
            .chain(attestations.map(|child| child.digest.as_ref()))
            .collect();
        if kept.len() == children.len() {
            return Ok((root, described, true));
        }
        let reduced = bundle::reduce(bytes, &|digest| kept.contains(digest));
        let content = |source| self.content(source);
        let reduced = reduced.map_err(content)?;
        let digest = digest_of(&reduced);
        keep(self.context, self.store, &digest, &reduced)?;
        let media_type = root.media_type.to_string();
        let described = bundle::describe(&reduced, Some(&media_type)).map_err(content)?;
        let child = Child {
            digest,
            size: reduced.len() as u64,
            ..root
        };
        Ok((child, described, false))
    }

    fn require<'p>(
        &self,
        platforms: &[String],
        known: impl Iterator<Item = &'p str>,
    ) -> Result<(), crate::Error> {
        let known: Vec<&str> = known.collect();
        let missing = platforms
            .iter()
            .find(|one| !known.iter().any(|platform| is_platform_of(one, platform)));
        match missing {
            None => Ok(()),
            Some(platform) => Err(Error::Platform {
                reference: self.reference.clone(),
                platform: platform.clone(),
                known: known.into_iter().map(str::to_owned).collect(),
            }
            .into()),
        }
    }

    /// Returns the platform of an image without an index, from its config.
    async fn platform(&self, content: &Content) -> Result<Option<String>, crate::Error> {
        let Content::Manifest {
            kind: Kind::Image,
            blobs,
            ..
        } = content
        else {
            return Ok(None);
        };
        let Some(config) = blobs
            .first()
            .filter(|config| config.size <= LARGEST_MANIFEST)
        else {
            return Ok(None);
        };
        let bytes = match self.store.read(&config.digest, LARGEST_MANIFEST) {
            Ok(bytes) => bytes,
            Err(_) => {
                let mut target = Memory::default();
                let blob = registry::Blob {
                    digest: config.digest.clone(),
                    size: config.size,
                };
                let (registry, path) = (&self.repository.registry, &self.repository.path);
                let pulled = registry.pull_blob(path, &blob, &mut target, &());
                let failed = |source| self.repository.failed(Some(config.digest.as_ref()), source);
                (self.repository.awaited(pulled).await).map_err(failed)?;
                keep(self.context, self.store, &config.digest, &target.0)?;
                target.0
            }
        };
        Ok(bundle::platform_of_config(&bytes))
    }

    /// Adds a manifest, after its children.
    async fn add(
        &mut self,
        child: Child,
        described: Described,
        depth: usize,
    ) -> Result<(), crate::Error> {
        if !self.done.insert(child.digest.to_string()) {
            return Ok(());
        }
        let manifest = |platform, blobs, external| Manifest {
            digest: child.digest.clone(),
            media_type: child.media_type.clone(),
            size: child.size,
            platform,
            blobs,
            external,
        };
        let platform = match (&child.platform, depth) {
            (None, 0) => self.platform(&described.content).await?,
            (platform, _) => platform.clone(),
        };
        let added = match described.content {
            Content::Index { children, .. } => {
                if depth >= MAX_DEPTH {
                    return Err(self.shape("its indexes are nested too deeply"));
                }
                for child in children {
                    let described = self.read_child(&child).await?;
                    Box::pin(self.add(child, described, depth + 1)).await?;
                }
                manifest(None, Vec::new(), Vec::new())
            }
            Content::Manifest {
                kind,
                blobs,
                external,
            } => {
                self.kinds.push(kind);
                manifest(platform, blobs, external)
            }
        };
        for blob in &added.blobs {
            let first = *self
                .sizes
                .entry(blob.digest.to_string())
                .or_insert(blob.size);
            if first != blob.size {
                return Err(self.shape("its manifests list one blob with different sizes"));
            }
            // Cannot overflow: each size and the earlier sum are at most the limit.
            self.total += blob.size;
            if self.total > LARGEST_BLOB {
                return Err(self.shape("its blobs have more than 1 PiB"));
            }
        }
        self.manifests.push(added);
        Ok(())
    }

    fn content(&self, source: bundle::DescribeError) -> crate::Error {
        Error::Content {
            reference: self.repository.served(),
            source,
        }
        .into()
    }

    fn shape(&self, rule: &'static str) -> crate::Error {
        Error::Shape {
            reference: self.repository.served(),
            rule,
        }
        .into()
    }
}
