//! Tests that made bundles are real, and equal on every machine.

use std::collections::HashSet;

use super::*;
use crate::testing::{gunzip, make, small_recipe, untar};
use crate::{Contents, Inspection, Kind, Silent};

fn demonstration() -> (Vec<u8>, Contents) {
    let bundle = make(&demo(&semver::Version::parse("4.1.5-demo").unwrap()));
    let contents = crate::read(bundle.as_slice(), &mut Inspection, None, &Silent).unwrap();
    (bundle, contents)
}

#[test]
fn the_demonstration_is_the_same_on_every_machine() {
    let (bundle, contents) = demonstration();
    assert_eq!(contents.size, bundle.len() as u64);
    // A change of this hash changes the lock in each workspace that has the demo.
    insta::assert_snapshot!(format!("{} {}", contents.size, contents.sha256), @"5228962 582a29318a41a06bd24549c801cdafde08564f049d71b81addb5e304632ed74b");
}

#[test]
fn the_demonstration_has_the_variety_of_a_real_bundle() {
    let (_, contents) = demonstration();
    assert!(
        (2_000_000..6_000_000).contains(&contents.size),
        "{}",
        contents.size
    );
    let of_kind = |kind| {
        let artifacts = contents.artifacts.iter();
        artifacts.filter(|artifact| artifact.kind == kind).count()
    };
    assert!(of_kind(Kind::Image) >= 8 && of_kind(Kind::Chart) >= 3);
    let platforms = |count| {
        contents.artifacts.iter().any(|artifact| {
            let known = artifact.manifests.iter();
            known.filter(|manifest| manifest.platform.is_some()).count() == count
        })
    };
    assert!(platforms(1) && platforms(2));
    assert!(
        contents
            .artifacts
            .iter()
            .any(|artifact| artifact.repository.contains('/'))
    );
    // Images share layers.
    let blobs: Vec<&str> = contents
        .artifacts
        .iter()
        .flat_map(|artifact| &artifact.manifests)
        .flat_map(|manifest| &manifest.blobs)
        .map(|blob| blob.digest.as_ref())
        .collect();
    let unique: HashSet<&&str> = blobs.iter().collect();
    assert!(unique.len() < blobs.len());
    assert!(contents.release_matrix.is_some());
}

/// Returns the blobs of an archive of the small bundle with their media types.
fn blobs(archive: usize) -> Vec<(String, Vec<u8>)> {
    let files = untar(&untar(&gunzip(&make(&small_recipe())))[archive].bytes);
    let blob = |digest: &str| {
        let path = format!("blobs/{}", digest.replace(':', "/"));
        let file = files.iter().find(|file| file.path == path).unwrap();
        file.bytes.clone()
    };
    let mut found = Vec::new();
    for file in &files {
        let Ok(document) = serde_json::from_slice::<serde_json::Value>(&file.bytes) else {
            continue;
        };
        let layers = document["layers"].as_array().into_iter().flatten();
        let config = document.get("layers").and(document.get("config"));
        for descriptor in config.into_iter().chain(layers) {
            found.push((
                descriptor["mediaType"].as_str().unwrap().to_owned(),
                blob(descriptor["digest"].as_str().unwrap()),
            ));
        }
    }
    found
}

#[test]
fn layers_are_tars_and_their_diff_ids_are_right() {
    let blobs = blobs(2);
    let [(config_type, config), layers @ ..] = blobs.as_slice() else {
        panic!("no config");
    };
    assert_eq!(config_type, "application/vnd.oci.image.config.v1+json");
    let config: serde_json::Value = serde_json::from_slice(config).unwrap();
    let diff_ids: Vec<String> = layers
        .iter()
        .map(|(_, layer)| {
            let tar = gunzip(layer);
            assert_eq!(untar(&tar)[0].bytes.len(), 700);
            digest::digest_of(&tar).to_string()
        })
        .collect();
    assert_eq!(config["rootfs"]["diff_ids"], serde_json::json!(diff_ids));
    assert_eq!(diff_ids.len(), 2);
}

#[test]
fn charts_are_what_helm_reads() {
    let blobs = blobs(3);
    let types: Vec<&str> = blobs
        .iter()
        .map(|(media_type, _)| media_type.as_str())
        .collect();
    assert_eq!(
        types,
        [
            "application/vnd.cncf.helm.config.v1+json",
            "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
        ]
    );
    let files = untar(&gunzip(&blobs[1].1));
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "dex/Chart.yaml",
            "dex/values.yaml",
            "dex/templates/configmap.yaml"
        ]
    );
    // Chart.yaml and the config are the same metadata.
    let chart: serde_json::Value = serde_yaml::from_slice(&files[0].bytes).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&blobs[0].1).unwrap();
    assert_eq!(chart, config);
    assert_eq!(chart["version"], "0.3.0");
}

#[test]
fn refuses_invalid_names_and_platforms() {
    let mut recipe = small_recipe();
    recipe.artifacts[1].tag = "a b".to_owned();
    let result = write(&recipe, &mut Vec::new());
    assert!(matches!(result, Err(MakeError::Name(_))));
    for platforms in [vec![], vec!["linux".to_owned()], vec!["linux/".to_owned()]] {
        let mut recipe = small_recipe();
        recipe.artifacts[1].contents = ContentsRecipe::Image {
            platforms,
            layers: Vec::new(),
        };
        let result = write(&recipe, &mut Vec::new());
        assert!(
            matches!(result, Err(MakeError::Platform { reference }) if reference == "pause:v1.0")
        );
    }
}
