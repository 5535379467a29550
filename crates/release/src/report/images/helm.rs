//! Values for Helm that make a chart use the images of an environment's registry.

use bundle::set::Reference;
use bundle::{Artifact, ChartValues, ImagePlace, Kind};
use environment::Environment;

use super::{Images, images};
use crate::transfer::fetch::open_store;
use crate::{Workspace, locked};

/// Maximum size of a chart, in bytes.
const LARGEST_CHART: u64 = 64 << 20;

/// Why values for a chart cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name matches no chart, or several.
    #[error("`{name}` names {} of {environment}", if matching.is_empty() { "no chart" } else { "several charts" })]
    Name {
        /// Name of the environment.
        environment: String,
        /// The name that was given.
        name: String,
        /// The charts that the name matches, `repository:tag`.
        matching: Vec<String>,
        /// All charts of the environment, `repository:tag`.
        known: Vec<String>,
    },
    /// The store lacks the chart.
    #[error("bundles/store lacks the chart {chart}")]
    Unfetched {
        /// Name of the environment.
        environment: String,
        /// The chart, `repository:tag`.
        chart: String,
    },
    /// No layer of the artifact is a readable chart.
    #[error("{chart} has no content that Helm reads as a chart")]
    Unreadable {
        /// The chart, `repository:tag`.
        chart: String,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> crate::Kind {
        match self {
            Self::Name { .. } => crate::Kind::Usage,
            Self::Unfetched { .. } | Self::Unreadable { .. } => crate::Kind::Content,
        }
    }
}

/// Returns a values file for a chart of an environment. `name` is the chart's path in the registry
/// or its last part, with or without the tag.
///
/// # Errors
/// - [`Error::Name`] if `name` matches no chart, or several
/// - [`Error::Unfetched`] if the store lacks the chart
/// - [`Error::Unreadable`] if the chart cannot be read
/// - a lock is missing
pub fn helm(
    workspace: &Workspace,
    environment: &Environment,
    name: &str,
) -> Result<String, crate::Error> {
    let images = images(workspace, environment)?;
    let lock = locked::of(workspace, environment)?.lock;
    let charts = lock.artifacts.iter().filter(|one| one.kind == Kind::Chart);
    let charts: Vec<&Artifact> = charts.collect();
    let is_exact = |one: &&Artifact| one.repository == name || one.reference() == name;
    let is_named = |one: &&Artifact| {
        let whole = [one.repository.clone(), one.reference()];
        let mut ends = whole.iter().filter_map(|whole| whole.rsplit('/').next());
        ends.any(|end| end == name)
    };
    // A full path wins, even if it is also the last part of a different chart's path.
    let exact: Vec<&Artifact> = charts.iter().copied().filter(is_exact).collect();
    let matching = match exact.is_empty() {
        true => charts.iter().copied().filter(is_named).collect(),
        false => exact,
    };
    let &[chart] = matching.as_slice() else {
        let names = |charts: &[&Artifact]| charts.iter().map(|one| one.reference()).collect();
        return Err(Error::Name {
            environment: images.environment,
            name: name.to_owned(),
            matching: names(&matching),
            known: names(&charts),
        }
        .into());
    };
    let values = read(workspace, environment, chart, &|reference, version| {
        images.place(reference, version)
    })?;
    Ok(images.file(chart, &values))
}

fn read(
    workspace: &Workspace,
    environment: &Environment,
    chart: &Artifact,
    place: &dyn Fn(&Reference, &str) -> Option<ImagePlace>,
) -> Result<ChartValues, crate::Error> {
    let store = open_store(workspace)?;
    // The first blob is the config. One layer is the chart; its provenance file may be another.
    let manifests = chart.manifests.iter();
    let layers: Vec<_> = manifests.flat_map(|one| one.blobs.iter().skip(1)).collect();
    if layers.iter().any(|one| !store.has(&one.digest, one.size)) {
        return Err(Error::Unfetched {
            environment: environment.name.clone(),
            chart: chart.reference(),
        }
        .into());
    }
    for layer in layers {
        let bytes = store
            .read(&layer.digest, LARGEST_CHART)
            .map_err(|source| crate::Error::store(workspace, source))?;
        if let Some(values) = bundle::chart_values(bytes.as_slice(), place) {
            return Ok(values);
        }
    }
    Err(Error::Unreadable {
        chart: chart.reference(),
    }
    .into())
}

impl Images {
    /// Returns the place of an image. An image without a tag is the one with `version` as its tag,
    /// else the only one in the locks.
    fn place(&self, requested: &Reference, version: &str) -> Option<ImagePlace> {
        let from = |one: &&super::Mirrored| {
            one.from == (requested.host.clone(), requested.repository.clone())
        };
        let candidates: Vec<&super::Mirrored> = self.pulled().filter(from).collect();
        let of_tag = |tag: &str| {
            let mut candidates = candidates.iter().copied();
            candidates.find(|one| one.tag.as_deref() == Some(tag))
        };
        let own_version = || of_tag(version).or_else(|| of_tag(&format!("v{version}")));
        let (found, has_tag) = match (&requested.tag, &requested.digest) {
            (tag, Some(digest)) => {
                let mut candidates = candidates.iter().copied();
                let found = candidates.find(|one| {
                    one.digest == *digest || one.upstream_digest.as_ref() == Some(digest)
                });
                (
                    found,
                    tag.is_none() || found.is_some_and(|one| one.tag == *tag),
                )
            }
            (Some(tag), None) => (of_tag(tag), true),
            (None, None) => match (own_version(), candidates.as_slice()) {
                (Some(found), _) => (Some(found), true),
                (None, [only]) => (Some(*only), false),
                (None, _) => (None, false),
            },
        };
        let found = found?;
        let (_, tag) = found.mirrored.rsplit_once(':')?;
        let is_same = has_tag && found.new_tag.is_none();
        let repository = found.to.strip_prefix(&self.address)?;
        Some(ImagePlace {
            registry: self.address.clone(),
            repository: repository.trim_start_matches('/').to_owned(),
            tag: (!is_same).then(|| tag.to_owned()),
            digest: (requested
                .digest
                .as_ref()
                .is_some_and(|requested| *requested != found.digest))
            .then(|| found.digest.clone()),
        })
    }

    /// Returns the values file, with the command to install and warnings in comments.
    fn file(&self, chart: &Artifact, values: &ChartValues) -> String {
        let url = format!("oci://{}/{}", self.registry, chart.repository);
        let version = chart.tag.replace('_', "+");
        let mut text = format!("# helm install NAME {url} --version {version} --values FILE\n");
        // Text of the chart must stay in its line.
        let line = |text: &str| redaction::line(text, 300);
        for (path, image) in &values.missing {
            text.push_str(&format!(
                "# in no lock: {} is {}\n",
                line(path),
                line(image)
            ));
        }
        for image in &values.fixed {
            text.push_str(&format!(
                "# cannot be set by values: a template names {}\n",
                line(image)
            ));
        }
        if values.is_cut {
            text.push_str("# not complete: parts of the chart cannot be read\n");
        }
        text.push_str(match values.text.as_str() {
            "" => "# no image of the chart's values is in a lock\n{}\n",
            text => text,
        });
        text
    }
}
