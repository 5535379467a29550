//! Tests of the schema and the reference page, and of the files that they are committed in.

use boon::{Compiler, Draft, Schemas};
use camino::{Utf8Path, Utf8PathBuf};

use super::*;

fn environments() -> Utf8PathBuf {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../../environments")
}

/// Returns the errors of a text according to the schema.
fn schema_errors(text: &str) -> Option<String> {
    let mut compiler = Compiler::new();
    compiler.set_default_draft(Draft::V7);
    compiler
        .add_resource("schema.json", serde_json::from_str(&schema()).unwrap())
        .unwrap();
    let mut schemas = Schemas::new();
    let index = compiler.compile("schema.json", &mut schemas).unwrap();
    let value: serde_json::Value = serde_yaml::from_str(text).unwrap();
    let result = schemas.validate(&value, index);
    result.err().map(|error| error.to_string())
}

#[test]
fn the_committed_schema_is_up_to_date() {
    let path = environments().join("environment.schema.json");
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == schema(),
        "{path} is stale: cargo run -p mke --example schema > environments/environment.schema.json"
    );
}

#[test]
fn the_committed_page_is_up_to_date() {
    let path = environments().join("../docs/environment.md");
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == reference(),
        "{path} is stale: cargo run -p mke --example reference > docs/environment.md"
    );
}

#[test]
fn each_environment_of_this_repository_names_the_schema_and_is_valid() {
    let mut files = vec![environments().join("base.yaml")];
    let gallery = environments().join("../tests/gallery");
    for folder in [environments(), environments().join("examples"), gallery] {
        for entry in folder.read_dir_utf8().unwrap() {
            let file = entry.unwrap().path().join("environment.yaml");
            if file.is_file() {
                files.push(file);
            }
        }
    }
    assert!(files.len() >= 20);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(
            text.starts_with("# yaml-language-server: $schema="),
            "{file}"
        );
        assert_eq!(schema_errors(&text), None, "{file}");
    }
    let version = semver::Version::new(4, 1, 5);
    assert_eq!(
        schema_errors(&environment::scaffold("lab", &version, true, |_| None).unwrap()),
        None
    );
}

#[test]
fn the_schema_accepts_valid_files_and_refuses_others() {
    for valid in [
        "",
        "config: { kubelet: null, aFeatureOfTomorrow: { a: 1 } }",
        "config: { license: { token: { $env: LICENSE } } }",
        "config: { hosts: { $merge: [], $by: ssh.address } }",
        "inventory: { file: hosts.csv, defaults: { port: 22 } }\naccept: [ssh-agent]",
        "config: { network: { kubeProxy: { mode: ipvs } } }",
    ] {
        assert_eq!(schema_errors(valid), None, "{valid}");
    }
    for invalid in [
        "realese: v4.1.5",
        "release: 4.1.5",
        "registry: { adress: a }",
        "registry: { address: 'https://a' }",
        "protected: 'yes'",
        "accept: [everything]",
        "config: { kubelet: { maxPods: many } }",
        "config: { kubelet: { maxPods: 0 } }",
        "config: { network: { kubeProxy: { mode: ebpf } } }",
        "config: { hosts: [{ role: manager }] }",
        "config: { hosts: [{ ssh: { port: 70000 } }] }",
        "config: { apiServer: { sans: a } }",
        "config: { license: { token: { $evn: LICENSE } } }",
    ] {
        assert!(schema_errors(invalid).is_some(), "{invalid}");
    }
}
