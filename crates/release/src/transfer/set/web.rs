//! Content that is in no registry: charts of classic Helm repositories, and files by URL. Each
//! becomes the OCI artifact that `helm push` or `oras push` makes of it. So the store, the push and
//! the proofs need no special case.

use bundle::set::{Entry, Origin, file_name, url_fault};
use bundle::{
    Artifact, Blob, Content, HelmError, Kind, LARGEST_CHART_FILE, Manifest, Source, Store, Wrapped,
    WrappedChart, wrap_chart, wrap_file,
};
use bytes::Bytes;
use oci_spec::image::Digest;
use url::Url;

use super::keep::{digest_of, keep};
use super::upstream::Upstreams;
use crate::Context;
use crate::set::Error;

/// Media type of the created manifests. Helm does not write it into them.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A version of a chart, from the index of its repository.
struct Chart<'a> {
    upstreams: &'a Upstreams<'a>,
    reference: String,
    name: &'a str,
    version: &'a str,
    url: Url,
    digest: Option<String>,
}

/// Resolves a file. The set lists its digest, so only its size is requested.
///
/// # Errors
/// The server does not serve the file, or it has a different digest.
pub(super) async fn resolve_file(
    context: &Context<'_>,
    upstreams: &Upstreams<'_>,
    (url, digest): (&Url, &Digest),
    entry: &Entry,
    store: &Store,
) -> Result<Artifact, crate::Error> {
    let file = upstreams.file(url)?;
    let size = match file.size().await? {
        Some(size) => size,
        None => {
            let bytes = file.read(LARGEST_CHART_FILE).await?;
            if digest_of(&bytes) != *digest {
                let rule = "its SHA-256 differs from that of the set";
                return Err(shape(&entry.origin.to_string(), rule));
            }
            keep(context, store, digest, &bytes)?;
            bytes.len() as u64
        }
    };
    if let Some(rule) = bundle::size_fault(digest, size) {
        return Err(Error::Content {
            reference: file.served(),
            source: bundle::DescribeError::Size {
                digest: digest.clone(),
                size,
                rule,
            },
        }
        .into());
    }
    let digest = digest.clone();
    let Wrapped { config, manifest } = wrap_file(file_name(url), &Blob { digest, size });
    for bytes in [&config, &manifest] {
        keep(context, store, &digest_of(bytes), bytes)?;
    }
    Ok(artifact(entry, Kind::Artifact, url.clone(), &manifest))
}

/// Resolves a chart of a classic Helm repository, and writes it to the store.
///
/// # Errors
/// The repository does not have the chart, or serves a different one than its index lists.
pub(super) async fn resolve_chart(
    context: &Context<'_>,
    upstreams: &Upstreams<'_>,
    entry: &Entry,
    store: &Store,
) -> Result<Artifact, crate::Error> {
    let chart = Chart::find(upstreams, &entry.origin).await?;
    let bytes = chart.read().await?;
    let WrappedChart {
        name,
        version,
        wrapped: Wrapped { config, manifest },
    } = wrap_chart(&bytes).map_err(|source| failed(&chart.reference, source))?;
    if (name.as_str(), version.as_str()) != (chart.name, chart.version) {
        return Err(shape(
            &chart.reference,
            "its Chart.yaml has a different name or version",
        ));
    }
    for bytes in [&config[..], &bytes, &manifest] {
        keep(context, store, &digest_of(bytes), bytes)?;
    }
    Ok(artifact(entry, Kind::Chart, chart.url, &manifest))
}

/// Returns the artifact with this single manifest.
fn artifact(entry: &Entry, kind: Kind, url: Url, manifest: &[u8]) -> Artifact {
    let Ok(described) = bundle::describe(manifest, Some(MANIFEST)) else {
        unreachable!("created manifests are valid");
    };
    let Content::Manifest { blobs, .. } = described.content else {
        unreachable!("created manifests are manifests");
    };
    let manifest = Manifest {
        digest: digest_of(manifest),
        media_type: described.media_type,
        size: manifest.len() as u64,
        platform: None,
        blobs,
        external: Vec::new(),
    };
    Artifact {
        repository: entry.repository.clone(),
        tag: entry.tag.clone(),
        kind,
        archive: String::new(),
        source: Some(Source {
            reference: entry.origin.to_string(),
            url: Some(url.into()),
            platforms: Vec::new(),
            signatures: false,
            subject: None,
            full_index: None,
            alias: false,
        }),
        digest: manifest.digest.clone(),
        media_type: manifest.media_type.clone(),
        size: manifest.size,
        manifests: vec![manifest],
    }
}

/// Returns the current digest and URL of a chart in its repository; `None` if that version is gone.
///
/// # Errors
/// The repository cannot be used.
pub(super) async fn current(
    upstreams: &Upstreams<'_>,
    origin: &Origin,
) -> Result<Option<(String, Url)>, crate::Error> {
    let chart = match Chart::find(upstreams, origin).await {
        Err(crate::Error::Set(Error::Chart {
            source: HelmError::NoChart { .. } | HelmError::NoVersion { .. },
            ..
        })) => return Ok(None),
        chart => chart?,
    };
    let digest = match &chart.digest {
        Some(digest) => digest.clone(),
        None => digest_of(&chart.read().await?).to_string(),
    };
    Ok(Some((digest, chart.url)))
}

/// Creates the config or the manifest of an artifact again, from its layer in the store.
///
/// # Errors
/// The layer cannot be read, or the result has a different digest than the locked one.
pub(super) fn derived(
    context: &Context<'_>,
    artifact: &Artifact,
    digest: &Digest,
    store: &Store,
) -> Result<Vec<u8>, crate::Error> {
    let (Some(source), Some((url, layer))) = (&artifact.source, artifact.download()) else {
        unreachable!("only downloads have a layer to derive from");
    };
    let Wrapped { config, manifest } = match (artifact.kind, Url::parse(url)) {
        (Kind::Artifact, Ok(url)) => wrap_file(file_name(&url), layer),
        _ => {
            let bytes = store.read(&layer.digest, LARGEST_CHART_FILE);
            let bytes = bytes.map_err(|source| crate::Error::store(context.workspace, source))?;
            let chart = wrap_chart(&bytes).map_err(|error| failed(&source.reference, error))?;
            chart.wrapped
        }
    };
    let derived = [config, manifest].into_iter();
    let mut derived = derived.filter(|bytes| digest_of(bytes) == *digest);
    derived.next().ok_or_else(|| {
        shape(
            &source.reference,
            "it does not give the manifest that was locked",
        )
    })
}

impl<'a> Chart<'a> {
    /// Finds a chart in the index of its repository.
    async fn find(upstreams: &'a Upstreams<'a>, origin: &'a Origin) -> Result<Self, crate::Error> {
        let Origin::HelmRepository {
            repository,
            name,
            version,
        } = origin
        else {
            unreachable!("references are resolved by their registries");
        };
        let reference = origin.to_string();
        let wrong = |rule| shape(&reference, rule);
        let Ok(base) = Url::parse(&format!("{repository}/")) else {
            unreachable!("the URL was checked when the set was read");
        };
        let index = upstreams.index(&base).await?;
        let found = index.find(name, version);
        let found = found.map_err(|source| failed(&reference, source))?;
        let url = found.url().and_then(|url| base.join(url).ok());
        let url = url.ok_or_else(|| wrong("its index.yaml lists no valid URL"))?;
        if url.scheme() == "oci" {
            return Err(wrong(
                "its index.yaml refers to a registry: list it by its `oci://` reference",
            ));
        }
        if url_fault(&url).is_some() {
            return Err(wrong(
                "its index.yaml lists a URL without TLS, with credentials or with a query",
            ));
        }
        Ok(Self {
            upstreams,
            name,
            version,
            url,
            digest: found.digest(),
            reference,
        })
    }

    /// Downloads the packed chart, and compares its digest with the index.
    async fn read(&self) -> Result<Bytes, crate::Error> {
        let file = self.upstreams.file(&self.url)?;
        let bytes = file.read(LARGEST_CHART_FILE).await?;
        let found = digest_of(&bytes).to_string();
        match self.digest.as_ref().is_none_or(|digest| *digest == found) {
            true => Ok(bytes),
            false => Err(shape(
                &self.reference,
                "its index.yaml lists a different digest than the repository serves",
            )),
        }
    }
}

fn failed(reference: &str, source: HelmError) -> crate::Error {
    Error::Chart {
        reference: reference.to_owned(),
        source,
    }
    .into()
}

fn shape(reference: &str, rule: &'static str) -> crate::Error {
    Error::Shape {
        reference: reference.to_owned(),
        rule,
    }
    .into()
}
