//! Maps upstream references, as charts and manifests write them, to references in an environment's
//! registry.

use std::collections::{BTreeMap, BTreeSet};

use bundle::set::{DOCKER_HUB, Reference};
use bundle::{Artifact, Kind};
use environment::Environment;
use serde::Serialize;

use crate::{Error, Workspace, locked};

mod helm;

pub use helm::{Error as HelmError, helm};

/// The vendor's registry.
const VENDOR: &str = "registry.mirantis.com";

/// Path of the releases' artifacts in the vendor's registry.
const VENDOR_PATH: &str = "mke";

/// The artifacts of an environment, with their upstream and mirrored references.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Images {
    /// Name of the environment.
    pub environment: String,
    /// The release, `v4.1.5`.
    pub release: String,
    /// Registry and project, `HOST[:PORT]/PROJECT`.
    pub registry: String,
    /// The artifacts, sorted by upstream reference.
    pub artifacts: Vec<Mirrored>,
    #[serde(skip)]
    address: String,
    #[serde(skip)]
    has_ca: bool,
    #[serde(skip)]
    is_loopback: bool,
}

/// An artifact, upstream and in the environment's registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Mirrored {
    /// The upstream reference, with its host; for files, the URL.
    pub upstream: String,
    /// The reference in the environment's registry, by tag.
    pub mirrored: String,
    /// Digest in the environment's registry, `sha256:<hex>`.
    pub digest: String,
    /// `image`, `chart` or `artifact`.
    pub kind: String,
    /// URL of the download; `None` if the artifact comes from a registry.
    #[serde(skip)]
    download: Option<String>,
    /// Whether it is a signature or an attestation.
    #[serde(skip)]
    is_signature: bool,
    /// Upstream host and repository.
    #[serde(skip)]
    from: (String, String),
    /// Registry and repository of the environment, without the tag.
    #[serde(skip)]
    to: String,
    /// The upstream tag; `None` for a reference by digest alone.
    #[serde(skip)]
    tag: Option<String>,
    /// The tag in the environment's registry, if it differs from the upstream tag.
    #[serde(skip)]
    new_tag: Option<String>,
    /// The upstream digest, if only some platforms are mirrored, so the digests differ.
    #[serde(skip)]
    upstream_digest: Option<String>,
    /// Whether it is a second reference to an artifact. Consumers use the first.
    #[serde(skip)]
    is_alias: bool,
    #[serde(skip)]
    purl: String,
}

/// Returns the artifacts of an environment's release and sets.
///
/// # Errors
/// A lock is missing or cannot be read.
pub fn images(workspace: &Workspace, environment: &Environment) -> Result<Images, Error> {
    let lock = locked::of(workspace, environment)?.lock;
    let registry = &environment.registry;
    let mut artifacts: Vec<Mirrored> = Vec::with_capacity(lock.artifacts.len());
    for artifact in &lock.artifacts {
        // A release that was locked from a mirror keeps the vendor's references, which charts use.
        let of_release =
            (lock.from.as_ref()).map(|from| format!("{from}/{}", artifact.reference()));
        let origin = artifact.source.as_ref();
        let source = origin.filter(|source| Some(&source.reference) != of_release.as_ref());
        let parsed = match source {
            Some(source) if source.url.is_none() && artifact.archive.is_empty() => {
                Reference::parse(&source.reference).ok()
            }
            _ => None,
        };
        // The upstream references of artifacts in bundles of sets are unknown.
        let of_bundle = source.filter(|_| !artifact.archive.is_empty());
        let download = (artifact.download().map(|(url, _)| url.to_owned())).or_else(|| {
            of_bundle.map(|source| format!("{}#{}", source.reference, artifact.archive))
        });
        let (host, repository, tag, upstream) = match parsed {
            Some(reference) => {
                let upstream = reference.to_string();
                (
                    reference.host,
                    reference.repository,
                    reference.tag,
                    upstream,
                )
            }
            None if download.is_some() => {
                let reference = source.map(|source| source.reference.clone());
                let upstream = of_bundle.and(download.clone()).or(reference);
                let (repository, tag) = (artifact.repository.clone(), artifact.tag.clone());
                (
                    String::new(),
                    repository,
                    Some(tag),
                    upstream.unwrap_or_default(),
                )
            }
            None => {
                let repository = format!("{VENDOR_PATH}/{}", artifact.repository);
                let upstream = format!("{VENDOR}/{repository}:{}", artifact.tag);
                let tag = Some(artifact.tag.clone());
                (VENDOR.to_owned(), repository, tag, upstream)
            }
        };
        let is_renamed = tag.as_ref().is_some_and(|tag| *tag != artifact.tag);
        let to = format!("{}/{}", registry.image_url(), artifact.repository);
        let from = (host, repository);
        artifacts.push(Mirrored {
            purl: purl(artifact, download.as_deref(), &from, tag.as_deref()),
            upstream,
            mirrored: format!("{to}:{}", artifact.tag),
            digest: artifact.digest.to_string(),
            kind: artifact.kind.to_string(),
            download,
            is_signature: origin.is_some_and(|origin| origin.subject.is_some()),
            from,
            to,
            tag,
            new_tag: is_renamed.then(|| artifact.tag.clone()),
            upstream_digest: (origin.and_then(|origin| origin.full_index.as_ref()))
                .map(ToString::to_string),
            is_alias: origin.is_some_and(|origin| origin.alias),
        });
    }
    artifacts.sort();
    Ok(Images {
        environment: environment.name.clone(),
        release: format!("v{}", environment.release),
        registry: registry.image_url(),
        artifacts,
        address: registry.address.clone(),
        has_ca: registry.ca.is_some(),
        is_loopback: registry.is_loopback(),
    })
}

/// Returns the version of a tag. In tags of charts, Helm writes `+` as `_`.
fn version(kind: &str, tag: &str) -> String {
    match kind {
        "chart" => tag.replace('_', "+"),
        _ => tag.to_owned(),
    }
}

/// Returns the package URL (purl) of the upstream artifact.
fn purl(
    artifact: &Artifact,
    download: Option<&str>,
    (host, repository): &(String, String),
    tag: Option<&str>,
) -> String {
    let name = repository.rsplit('/').next().unwrap_or(repository);
    if let Some(url) = download {
        let layer = artifact.download().map(|(_, layer)| layer.digest.as_ref());
        let checksum = layer.map(|digest| format!("checksum={}&", encoded(digest)));
        return format!(
            "pkg:generic/{name}@{}?{}download_url={}",
            encoded(&version(
                &artifact.kind.to_string(),
                tag.unwrap_or_default()
            )),
            checksum.unwrap_or_default(),
            encoded(url)
        );
    }
    // If only some platforms are mirrored, Airlock made the index: the upstream digest is `whole`.
    let whole = artifact
        .source
        .as_ref()
        .and_then(|one| one.full_index.as_ref());
    let whole = whole.filter(|_| artifact.manifests.len() > 1);
    format!(
        "pkg:oci/{name}@{}?repository_url={}{}",
        encoded(whole.unwrap_or(&artifact.digest).as_ref()),
        format!("{host}/{repository}").replace(':', "%3A"),
        tag.map_or_else(String::new, |tag| format!("&tag={tag}"))
    )
}

impl Images {
    /// Returns the artifacts that nodes pull: no charts, files, signatures and second references.
    fn pulled(&self) -> impl Iterator<Item = &Mirrored> {
        let chart = Kind::Chart.to_string();
        let is_pulled = move |one: &&Mirrored| {
            one.kind != chart && one.download.is_none() && !one.is_signature && !one.is_alias
        };
        self.artifacts.iter().filter(is_pulled)
    }

    /// Returns the repositories in the environment's registry, by upstream host and repository.
    fn repositories(&self) -> BTreeMap<&(String, String), BTreeSet<&str>> {
        let mut repositories: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
        for one in self.pulled() {
            repositories.entry(&one.from).or_default().insert(&one.to);
        }
        repositories
    }

    /// Returns the `images:` of a kustomization.
    ///
    /// - Images of Docker Hub are also listed by their short names.
    /// - An entry applies to all tags of a name. Artifacts of a name that need different changes
    ///   are listed in comments.
    pub fn kustomize(&self) -> String {
        let mut names: BTreeMap<_, Vec<&Mirrored>> = BTreeMap::new();
        for one in self.pulled() {
            names.entry(&one.from).or_default().push(one);
        }
        let mut text = "images:\n".to_owned();
        for ((host, repository), artifacts) in names {
            let changes: BTreeSet<_> = (artifacts.iter())
                .map(|one| (&one.to, &one.new_tag))
                .collect();
            let mut changes = changes.into_iter();
            let (Some((place, new_tag)), None) = (changes.next(), changes.next()) else {
                for one in artifacts {
                    text.push_str(&format!(
                        "# not expressible: {} is {}\n",
                        one.upstream, one.mirrored
                    ));
                }
                continue;
            };
            let mut names = vec![format!("{host}/{repository}")];
            if host == DOCKER_HUB {
                names.push(repository.clone());
                names.extend(repository.strip_prefix("library/").map(str::to_owned));
            }
            for name in names {
                text.push_str(&format!("- name: {name}\n  newName: {place}\n"));
                if let Some(tag) = new_tag {
                    text.push_str(&format!("  newTag: \"{tag}\"\n"));
                }
            }
        }
        text
    }

    /// Returns a CycloneDX 1.6 document of all artifacts. It has no time and no serial number, so
    /// the same locks give the same document.
    pub fn cyclone_dx(&self) -> String {
        let components = self.artifacts.iter().map(|one| {
            let (host, repository) = &one.from;
            let name = match &one.download {
                Some(_) => one.upstream.clone(),
                None => format!("{host}/{repository}"),
            };
            serde_json::json!({
                "type": match one.kind.as_str() {
                    "image" => "container",
                    "chart" => "application",
                    _ => "file",
                },
                "bom-ref": one.mirrored,
                "name": name,
                "version": version(&one.kind, one.tag.as_deref().unwrap_or(&one.digest)),
                "hashes": [{ "alg": "SHA-256", "content": one.digest.trim_start_matches("sha256:") }],
                "purl": one.purl,
                "properties": [
                    { "name": "airlock:kind", "value": one.kind },
                    { "name": "airlock:mirrored", "value": format!("{}@{}", one.mirrored, one.digest) },
                ],
            })
        });
        let document = serde_json::json!({
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": { "component": { "type": "platform", "name": self.environment, "version": self.release } },
            "components": components.collect::<Vec<_>>(),
        });
        format!("{document:#}\n")
    }

    /// Returns an `ImageDigestMirrorSet` of OpenShift.
    pub fn digest_mirrors(&self) -> String {
        let mut text = format!(
            "apiVersion: config.openshift.io/v1\nkind: ImageDigestMirrorSet\nmetadata:\n  name: airlock-{}\nspec:\n  imageDigestMirrors:\n",
            self.environment
        );
        for (from, places) in self.repositories() {
            let (host, repository) = from;
            let of_source = |one: &&Mirrored| one.upstream_digest.is_some() && one.from == *from;
            for one in self.pulled().filter(of_source) {
                text.push_str(&format!(
                    "  # only some platforms of {} are carried, so its digest differs: {}@{}\n",
                    one.upstream, one.mirrored, one.digest
                ));
            }
            text.push_str(&format!("  - source: {host}/{repository}\n    mirrors:\n"));
            for place in places {
                text.push_str(&format!("    - {place}\n"));
            }
        }
        text
    }

    /// Returns a `hosts.toml` of containerd for each upstream host, each after a comment with its
    /// path. containerd cannot change paths and tags, so artifacts with a different path or tag are
    /// listed in comments.
    pub fn containerd(&self) -> String {
        let mut hosts: BTreeMap<&str, Vec<&Mirrored>> = BTreeMap::new();
        for one in self.pulled() {
            hosts.entry(&one.from.0).or_default().push(one);
        }
        let scheme = match self.is_loopback && !self.has_ca {
            true => "http",
            false => "https",
        };
        let mut text = String::new();
        for (host, artifacts) in hosts {
            let server = match host {
                DOCKER_HUB => "registry-1.docker.io",
                host => host,
            };
            // The mirror's path before the upstream path, if path and tag are kept.
            let prefix = |one: &Mirrored| match one.new_tag {
                None => {
                    let before = one.to.strip_suffix(&one.from.1)?;
                    Some(before.strip_suffix('/')?.to_owned())
                }
                Some(_) => None,
            };
            let mut prefixes: BTreeMap<String, usize> = BTreeMap::new();
            for prefix in artifacts.iter().filter_map(|one| prefix(one)) {
                *prefixes.entry(prefix).or_default() += 1;
            }
            let common = prefixes.into_iter().max_by_key(|(_, count)| *count);
            let common = common.map(|(prefix, _)| prefix);
            // An image with a different path may collide: at its upstream path, the registry may
            // have a different image.
            let wrong = common.as_ref().and_then(|prefix| {
                artifacts.iter().find_map(|one| {
                    let tag = one.tag.as_ref()?;
                    let mirrored = format!("{prefix}/{}:{tag}", one.from.1);
                    let is_other = |other: &&Mirrored| {
                        other.mirrored == mirrored && other.digest != one.digest
                    };
                    Some((one, self.artifacts.iter().find(is_other)?))
                })
            });
            let common = common.filter(|_| wrong.is_none());
            let moved = artifacts
                .iter()
                .filter(|one| prefix(one) != common || common.is_none());
            let moved: Vec<&&Mirrored> = moved.collect();
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&format!("# /etc/containerd/certs.d/{host}/hosts.toml\n"));
            if let Some((one, other)) = wrong {
                text.push_str(&format!(
                    "# None is possible: {} would be {}, which is {}.\n",
                    one.upstream, other.mirrored, other.upstream
                ));
            }
            if !moved.is_empty() {
                text.push_str(
                    "# A hosts.toml cannot change paths or tags. Change these in the manifests:\n",
                );
            }
            for one in &moved {
                text.push_str(&format!("#   {} -> {}\n", one.upstream, one.mirrored));
            }
            let Some(common) = common else { continue };
            let path = common.strip_prefix(&self.address).unwrap_or_default();
            let path = format!("/v2{path}");
            text.push_str(&format!(
                "server = \"https://{server}\"\n\n[host.\"{scheme}://{}{path}\"]\n  capabilities = [\"pull\", \"resolve\"]\n  override_path = true\n",
                self.address
            ));
            if self.has_ca {
                text.push_str(&format!(
                    "  ca = \"/etc/containerd/certs.d/{}/ca.crt\"\n",
                    self.address
                ));
            }
        }
        text
    }
}

/// Percent-encodes a part of a purl.
fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
