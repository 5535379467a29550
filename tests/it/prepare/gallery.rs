//! The gallery: environments of every kind. Each is rendered and compared with a snapshot. Some
//! express a configuration that others have published, and are compared with it.

use serde_yaml::Value;
use support::Sandbox;
use support::sandbox::repository;

use crate::AIRLOCK;

/// The environments that express a published configuration, each with the published file.
const PUBLISHED: &[(&str, &str)] = &[
    ("published-4-1-0-conformance", "v4.1.0-conformance.yaml"),
    ("published-4-1-0-kairos", "v4.1.0-kairos.yaml"),
    ("published-4-1-3-bastion", "v4.1.3-openstack-bastion.yaml"),
    ("published-4-2-0-conformance", "v4.2.0-conformance.yaml"),
];

#[test]
fn every_environment_of_the_gallery_has_a_snapshot() {
    let names = names();
    assert!(names.len() >= 16, "{names:?}");
    let sandbox = sandbox(&names);
    for name in names {
        let run = sandbox.run(&["render", &name]).success();
        let text = sandbox.read(&format!("environments/{name}/mke4.yaml"));
        let said = sandbox.redact(&run.stderr);
        insta::with_settings!({ omit_expression => true }, {
            insta::assert_snapshot!(name.as_str(), format!("{said}---\n{text}"));
        });
    }
}

#[test]
fn published_configurations_are_rendered_with_the_same_values() {
    for (name, file) in PUBLISHED {
        let sandbox = sandbox(&[(*name).to_owned()]);
        sandbox.run(&["render", name]).success();
        let mut rendered = yaml(&sandbox.read(&format!("environments/{name}/mke4.yaml")));
        let path = repository().join("tests/gallery/published").join(file);
        let mut published = yaml(&std::fs::read_to_string(path).unwrap());
        // The serializer of the published file writes an unset time as null.
        let metadata = published["metadata"].as_mapping_mut().unwrap();
        let time = metadata.remove("creationTimestamp");
        assert!(time.is_none_or(|time| time.is_null()));
        // Airlock adds the settings of an air gap.
        assert_eq!(rendered["spec"]["airgap"]["enabled"], true);
        for document in [&mut rendered, &mut published] {
            let spec = document["spec"].as_mapping_mut().unwrap();
            for key in ["airgap", "registries"] {
                let _ = spec.remove(key);
            }
        }
        // An environment has the release in a different place, and the delta form of 4.2.0 lacks
        // it.
        let version = rendered["spec"].as_mapping_mut().unwrap().remove("version");
        if let Some(published) = published["spec"]
            .as_mapping_mut()
            .unwrap()
            .remove("version")
        {
            assert_eq!(version, Some(published));
        }
        assert_eq!(rendered, published, "{name}");
    }
}

fn names() -> Vec<String> {
    let folder = repository().join("tests/gallery");
    let mut names: Vec<String> = folder
        .read_dir_utf8()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_owned())
        .filter(|name| name != "published")
        .collect();
    names.sort();
    names
}

/// Returns a workspace with these environments.
fn sandbox(names: &[String]) -> Sandbox {
    let sandbox = Sandbox::new(AIRLOCK);
    for name in names {
        let folder = repository().join("tests/gallery").join(name);
        for entry in folder.read_dir_utf8().unwrap() {
            let entry = entry.unwrap();
            let text = std::fs::read_to_string(entry.path()).unwrap();
            sandbox.write(&format!("environments/{name}/{}", entry.file_name()), &text);
        }
    }
    sandbox
}

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{error} in\n{text}"))
}
