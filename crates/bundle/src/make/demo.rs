//! The demonstration release: a dozen artifacts with the names and the variety of a real bundle, in
//! a few megabytes.
//!
//! Names and versions are those known of MKE 4k 4.1.5 and its neighbours (MATRIX, LAB, LAB2,
//! REMOTE). The contents are noise.

use super::{ArtifactRecipe, ContentsRecipe, LayerRecipe, Recipe};

const AMD64: &[&str] = &["linux/amd64"];
const BOTH: &[&str] = &["linux/amd64", "linux/arm64"];

/// Returns the recipe of the demonstration bundle of `release`, such as 4.1.5-demo.
pub fn demo(release: &semver::Version) -> Recipe {
    // Two base layers that images share. Shared blobs are pushed once.
    let base = layer("distroless-base", 300_000, true);
    let calico = layer("calico-base", 200_000, true);
    let on = |base: &LayerRecipe, name: &str, size| vec![base.clone(), layer(name, size, false)];
    let artifacts = vec![
        image(
            "calico/apiserver",
            "v3.30.2",
            BOTH,
            on(&calico, "calico-apiserver", 190_000),
        ),
        image(
            "calico/node",
            "v3.30.2",
            BOTH,
            on(&calico, "calico-node", 300_000),
        ),
        image("dexidp/dex", "v2.42.0", AMD64, on(&base, "dex", 150_000)),
        image(
            "dex-http-server",
            "v0.7.0",
            AMD64,
            on(&base, "dex-http-server", 64_000),
        ),
        image(
            "envoyproxy/envoy",
            "distroless-v1.37.3",
            BOTH,
            on(&base, "envoy", 280_000),
        ),
        image(
            "k0sproject/coredns",
            "1.12.1",
            BOTH,
            on(&base, "coredns", 120_000),
        ),
        image(
            "k0sproject/pause",
            "3.10",
            BOTH,
            vec![layer("pause", 8_000, false)],
        ),
        image(
            "mke-dashboard",
            "v1.6.2",
            AMD64,
            on(&base, "mke-dashboard", 210_000),
        ),
        image(
            "mke-operator",
            "v1.6.3",
            AMD64,
            on(&base, "mke-operator", 230_000),
        ),
        image(
            "nfd/node-feature-discovery",
            "v0.17.2",
            AMD64,
            on(&base, "node-feature-discovery", 90_000),
        ),
        chart(
            "charts/k0rdent-enterprise",
            "k0rdent-enterprise",
            "1.2.3",
            "Cluster management",
        ),
        chart(
            "dex-http-server-chart",
            "dex-http-server-chart",
            "0.3.0",
            "Local users",
        ),
        chart("mirrored-chart-dex", "dex", "v0.23.0", "OpenID Connect"),
        chart(
            "mke-operator-chart",
            "mke-operator",
            "3.17.2",
            "The operator of the release",
        ),
    ];
    Recipe {
        directory: "bundles".to_owned(),
        level: 0,
        matrix: Some(matrix(release)),
        artifacts,
    }
}

fn layer(name: &str, size: usize, same_on_every_platform: bool) -> LayerRecipe {
    LayerRecipe {
        name: name.to_owned(),
        size,
        same_on_every_platform,
    }
}

fn image(
    repository: &str,
    tag: &str,
    platforms: &[&str],
    layers: Vec<LayerRecipe>,
) -> ArtifactRecipe {
    ArtifactRecipe {
        repository: repository.to_owned(),
        tag: tag.to_owned(),
        contents: ContentsRecipe::Image {
            platforms: platforms.iter().map(|&name| name.to_owned()).collect(),
            layers,
        },
    }
}

fn chart(repository: &str, name: &str, version: &str, description: &str) -> ArtifactRecipe {
    ArtifactRecipe {
        repository: repository.to_owned(),
        // Helm writes `_` for `+`, which no tag may have.
        tag: version.replace('+', "_"),
        contents: ContentsRecipe::Chart {
            name: name.to_owned(),
            version: version.to_owned(),
            description: description.to_owned(),
        },
    }
}

/// Returns the matrix in the form of the vendor's schema, with one release. A version has no
/// character that JSON escapes.
fn matrix(release: &semver::Version) -> String {
    format!(
        r#"[
  {{
    "mkeReleaseVersion": "v{release}",
    "isLatest": true,
    "k0rdentVersion": "1.2.3",
    "mkeOperatorImageVersion": "v1.6.3",
    "mkeOperatorChartVersion": "3.17.2",
    "k0sVersion": "v1.32.11+k0s.0",
    "network": {{ "calico": {{ "oss": {{ "version": "v3.30.200" }} }} }},
    "minimumMkectlVersion": "v{release}"
  }}
]
"#
    )
}
