//! Tests of whole environments in temporary folders: loaded values, and problems.

use std::fs;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;
use crate::environment::{CertificateAuthority, CredentialSource, Facts};
use crate::yaml::{emit, emit_with_origins};

pub(crate) const CERTIFICATE: &str = include_str!("../certificate/example.pem");

/// A temporary workspace.
pub(crate) struct Workspace(TempDir);

impl Workspace {
    pub(crate) fn new(files: &[(&str, &str)]) -> Workspace {
        let workspace = Workspace(tempfile::tempdir().unwrap());
        for (path, text) in files {
            workspace.write(path, text.as_bytes());
        }
        workspace
    }

    pub(crate) fn root(&self) -> &Utf8Path {
        Utf8Path::from_path(self.0.path()).unwrap()
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn load(&self) -> Result<Environment, Error> {
        load(self.root(), "prod")
    }

    #[track_caller]
    pub(crate) fn loaded(&self) -> Environment {
        self.load().unwrap_or_else(|error| panic!("{error}"))
    }

    #[track_caller]
    pub(crate) fn problems(&self) -> Problems {
        match self.load() {
            Err(Error::Wrong(problems)) => problems,
            other => panic!("{other:?}"),
        }
    }
}

mod dates;
mod facts;
mod forms;
mod listing;
mod mke3;

pub(crate) const PROD: &str = "environments/prod/environment.yaml";
const BASE: &str = "environments/base.yaml";
pub(crate) const GOOD: &str = "release: v4.1.5\nregistry: { address: registry.example.com }\n";

/// Returns the problems with an `environment.yaml`.
#[track_caller]
fn wrong(text: &str) -> String {
    Workspace::new(&[(PROD, text)]).problems().to_string()
}

/// Returns the problems with lines below `registry`, in an otherwise valid environment.
#[track_caller]
fn wrong_registry(lines: &str) -> String {
    wrong(&format!(
        "release: v4.1.5\nregistry:\n  address: registry.example.com\n{lines}"
    ))
}

#[test]
fn a_small_environment_has_defaults() {
    let workspace = Workspace::new(&[(PROD, GOOD)]);
    let environment = workspace.loaded();
    assert_eq!(environment.name, "prod");
    assert_eq!(
        environment.directory,
        workspace.root().join("environments/prod")
    );
    assert_eq!(environment.release, semver::Version::new(4, 1, 5));
    assert_eq!(environment.registry.image_url(), "registry.example.com");
    assert_eq!(environment.registry.ca, None);
    assert_eq!(environment.registry.push_credentials, None);
    assert!(!environment.protected);
    assert!(!environment.rehearsal);
    assert_eq!(environment.mkectl, None);
    assert_eq!(emit(&environment.config), "{}\n");
    assert_eq!(environment.files.len(), 1);
    assert_eq!(environment.files[0].path, PROD);
}

#[test]
fn a_full_environment_is_read() {
    let workspace = Workspace::new(&[
        (
            BASE,
            "release: v4.1.0\nmkectl: ../tools/mkectl\nregistry: { ca: ca.pem, project: a }\n\
             config:\n  tracking: { enabled: false }\n  gone: 1\n  hosts: [1, 2]\n",
        ),
        (
            PROD,
            "inherit: ../base.yaml\nrelease: v4.1.5-demo\nprotected: true\nrehearsal: true\n\
             registry:\n  address: 127.0.0.1:5443\n  project: platform/mke\n  push-credentials: { env: PROD }\n\
             config:\n  hosts:\n    - mode: 0755\n  gone: null\n  on: yes\n",
        ),
        ("environments/ca.pem", CERTIFICATE),
    ]);
    let environment = workspace.loaded();
    assert_eq!(environment.release.to_string(), "4.1.5-demo");
    assert!(environment.protected && environment.rehearsal);
    // A path is relative to the file that contains it, not to the child.
    assert_eq!(
        environment.mkectl,
        Some(workspace.root().join("tools/mkectl"))
    );
    assert_eq!(
        environment.registry,
        Registry {
            address: "127.0.0.1:5443".to_owned(),
            project: "platform/mke".to_owned(),
            ca: Some(CertificateAuthority {
                warning: None,
                path: workspace.root().join("environments/ca.pem"),
                pem: CERTIFICATE.to_owned(),
                validity: vec![crate::Validity {
                    from: 1_795_377_604,
                    until: 4_948_977_604,
                }],
            }),
            push_credentials: Some(CredentialSource::Environment("PROD".to_owned())),
            pull_credentials: None,
        }
    );
    assert_eq!(
        emit(&environment.config),
        "tracking:\n  enabled: false\nhosts:\n  - mode: 0755\non: yes\n"
    );
    let paths: Vec<_> = environment
        .files
        .iter()
        .map(|file| file.path.as_str())
        .collect();
    assert_eq!(paths, [PROD, BASE]);
    insta::assert_snapshot!(emit_with_origins(&environment.merged), @"
    release: v4.1.5-demo # environments/prod/environment.yaml:2
    mkectl: ../tools/mkectl # environments/base.yaml:2
    registry:
      ca: ca.pem # environments/base.yaml:3
      project: platform/mke # environments/prod/environment.yaml:7
      address: 127.0.0.1:5443 # environments/prod/environment.yaml:6
      push-credentials:
        env: PROD # environments/prod/environment.yaml:8
    config:
      tracking:
        enabled: false # environments/base.yaml:5
      hosts:
        - mode: 0755 # environments/prod/environment.yaml:11
      on: yes # environments/prod/environment.yaml:13
    protected: true # environments/prod/environment.yaml:3
    rehearsal: true # environments/prod/environment.yaml:4
    ");
}

#[test]
fn a_boolean_may_be_capitalised_or_tagged() {
    for value in ["true", "True", "!!bool true"] {
        let workspace = Workspace::new(&[(PROD, &format!("{GOOD}protected: {value}\n"))]);
        assert!(workspace.loaded().protected, "{value}");
    }
}

#[test]
fn a_chain_of_three_files_is_merged() {
    let workspace = Workspace::new(&[
        (
            "environments/a.yaml",
            "release: v4.1.0\nprotected: true\nconfig: { a: 1, b: 1, c: 1, d: 1 }\n",
        ),
        (BASE, "inherit: a.yaml\nconfig: { b: 2, c: 2, d: null }\n"),
        (
            PROD,
            &format!("inherit: ../base.yaml\nprotected: null\n{GOOD}config: {{ c: 3, d: 3 }}\n"),
        ),
    ]);
    let environment = workspace.loaded();
    assert_eq!(emit(&environment.config), "a: 1\nb: 2\nc: 3\nd: 3\n");
    assert!(!environment.protected);
    assert_eq!(environment.files.len(), 3);
}

#[test]
fn an_empty_parent_is_allowed() {
    let child = format!("inherit: ../base.yaml\n{GOOD}");
    let workspace = Workspace::new(&[(BASE, "# later\n"), (PROD, &child)]);
    assert_eq!(workspace.loaded().files.len(), 2);
}

#[test]
fn invalid_environment_names_are_distinguished() {
    let workspace = Workspace::new(&[
        (PROD, GOOD),
        ("environments/staging/environment.yaml", GOOD),
    ]);
    let unknown = |name: &str| match load(workspace.root(), name) {
        Err(Error::Unknown { nearest, known, .. }) => {
            assert_eq!(known, ["prod", "staging"]);
            nearest
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(unknown("stagin").as_deref(), Some("staging"));
    assert_eq!(unknown("lab"), None);
    for name in ["../prod", "Prod", ""] {
        assert!(
            matches!(load(workspace.root(), name), Err(Error::Name { .. })),
            "{name}"
        );
    }
}

#[test]
fn files_that_are_not_utf8_are_reported() {
    let refusal = |workspace: &Workspace, file: &str| match workspace.load() {
        Err(Error::Read { path, source }) if path.ends_with(file) => files::Refusal::of(&source),
        other => panic!("{other:?}"),
    };
    let workspace = Workspace::new(&[]);
    workspace.write(PROD, b"# one\nrelease: \xff\n");
    let in_line = |line| Some(files::Refusal::NotUtf8 { line });
    assert_eq!(refusal(&workspace, PROD), in_line(2));
    let child = format!("inherit: ../base.yaml\n{GOOD}");
    let workspace = Workspace::new(&[(PROD, &child)]);
    workspace.write(BASE, b"\xff");
    assert_eq!(refusal(&workspace, BASE), in_line(1));
}

#[test]
fn a_named_pipe_instead_of_a_file_is_reported() {
    let pipe = |workspace: &Workspace, path: &str| {
        rustix::fs::mknodat(
            rustix::fs::CWD,
            workspace.root().join(path).as_std_path(),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
    };
    let child = format!("inherit: ../pipe.yaml\ninventory: hosts.csv\n{GOOD}");
    let workspace = Workspace::new(&[(PROD, &child)]);
    pipe(&workspace, "environments/pipe.yaml");
    pipe(&workspace, "environments/prod/hosts.csv");
    insta::assert_snapshot!(workspace.problems(), @r"
    environments/prod/environment.yaml:1:10: cannot read `../pipe.yaml`: it is a named pipe, not a regular file
    environments/prod/environment.yaml:2:12: cannot read `environments/prod/hosts.csv`: it is a named pipe, not a regular file
    ");
    let ca = GOOD.replace("registry: {", "registry: { ca: ca.pem, ");
    let workspace = Workspace::new(&[(PROD, &ca)]);
    pipe(&workspace, "environments/prod/ca.pem");
    insta::assert_snapshot!(workspace.problems(), @"environments/prod/environment.yaml:2:17: cannot read `ca.pem`: it is a named pipe, not a regular file; write the path of a PEM file");
    let workspace = Workspace::new(&[]);
    std::fs::create_dir_all(workspace.root().join(PROD).parent().unwrap()).unwrap();
    pipe(&workspace, PROD);
    assert!(matches!(workspace.load(), Err(Error::Read { path, source })
            if path.ends_with(PROD) && source.to_string().contains("a named pipe")),);
}

#[test]
fn an_unreadable_file_is_not_reported_as_missing() {
    let workspace = Workspace::new(&[(PROD, &format!("inherit: ../base.yaml\n{GOOD}"))]);
    symlink("base.yaml", workspace.root().join(BASE)).unwrap();
    assert!(matches!(workspace.load(), Err(Error::Read { path, .. }) if path.ends_with(BASE)));
}

#[test]
fn a_byte_order_mark_is_not_part_of_the_text() {
    let workspace = Workspace::new(&[(PROD, &format!("\u{feff}{GOOD}"))]);
    assert_eq!(workspace.loaded().files[0].text, GOOD);
}

#[test]
fn every_problem_is_reported_in_the_order_of_the_files() {
    let workspace = Workspace::new(&[
        (
            BASE,
            "relase: v4.1.0\nregistry:\n  address: https://registry.example.com/mke\n  ca: none.pem\nmkectl: [a]\n",
        ),
        (
            PROD,
            "config: []\nregistry:\n  project: /mke/\n  adress: x\nrehearsal: yes\ninherit: ../base.yaml\nprotected: maybe\n",
        ),
    ]);
    let problems = workspace.problems();
    insta::assert_snapshot!(problems, @"
    environments/prod/environment.yaml:1:9: `config` is a list, not a mapping
    environments/prod/environment.yaml:3:12: the project `/mke/` has a leading, trailing or doubled slash; write `mke`
    environments/prod/environment.yaml:4:3: unknown key `adress` in `registry`; did you mean `address`?
    environments/prod/environment.yaml:5:12: `rehearsal` is `yes`, which some YAML readers take for a boolean and others for a string; write `true`
    environments/prod/environment.yaml:7:12: `protected` is `maybe`, not a boolean; write `true` or `false`
    environments/base.yaml:1:1: unknown key `relase`; did you mean `release`?
    environments/base.yaml:3:12: the address `https://registry.example.com/mke` has a scheme; write `registry.example.com`, and `mke` as `project`
    environments/base.yaml:4:7: the file `none.pem` does not exist; the path is relative to `environments`, the folder of this file
    environments/base.yaml:5:9: `mkectl` is a list, not a path
    ");
    assert_eq!(problems.0[0].excerpt(), "config: []");
}

#[test]
fn a_mistake_in_a_parent_is_found_even_if_a_child_overrides_it() {
    let workspace = Workspace::new(&[
        (BASE, "release: 4.1.5\nprotected: 'true'\n"),
        (
            PROD,
            &format!("inherit: ../base.yaml\nprotected: true\n{GOOD}"),
        ),
    ]);
    insta::assert_snapshot!(workspace.problems(), @"
    environments/base.yaml:1:10: `4.1.5` is not a release; write `v4.1.5`
    environments/base.yaml:2:12: `protected` is a string, not a boolean; write `true` without quotes
    ");
}

#[test]
fn wrong_keys() {
    insta::assert_snapshot!(wrong(&format!("{GOOD}realese: v4.1.5\n")), @"environments/prod/environment.yaml:3:1: unknown key `realese`; did you mean `release`?");
    insta::assert_snapshot!(wrong(&format!("{GOOD}hosts: []\n")), @"environments/prod/environment.yaml:3:1: unknown key `hosts`; the keys are `inherit`, `release`, `registry`, `sets`, `protected`, `rehearsal`, `mkectl`, `admin-password`, `apply-timeout`, `backups`, `release-matrix`, `kubeconfig`, `mke3`, `requires`, `record-operator`, `accept`, `facts`, `inventory`, `config`; settings of the cluster belong below `config`");
    insta::assert_snapshot!(wrong(&format!("{GOOD}address: registry\n")), @"environments/prod/environment.yaml:3:1: unknown key `address`; `address` belongs below `registry`");
    insta::assert_snapshot!(wrong(&format!("{GOOD}Protected: true\n")), @"environments/prod/environment.yaml:3:1: unknown key `Protected`; did you mean `protected`?");
    insta::assert_snapshot!(wrong(&format!("{GOOD}release: v4.1.4\n")), @"environments/prod/environment.yaml:3:1: duplicate key `release`; keep one; the first is in line 1");
    insta::assert_snapshot!(wrong(&format!("{GOOD}[a, b]: 1\n")), @"environments/prod/environment.yaml:3:1: a key must be a single value, but this is a list");
    insta::assert_snapshot!(wrong_registry("  url: registry\n"), @"environments/prod/environment.yaml:4:3: unknown key `url` in `registry`; the keys are `address`, `project`, `ca`, `push-credentials`, `pull-credentials`");
    insta::assert_snapshot!(wrong_registry("  push_credentials: { env: A }\n"), @"environments/prod/environment.yaml:4:3: unknown key `push_credentials` in `registry`; did you mean `push-credentials`?");
    insta::assert_snapshot!(wrong_registry("  protected: true\n"), @"environments/prod/environment.yaml:4:3: unknown key `protected` in `registry`; `protected` belongs at the top level");
    insta::assert_snapshot!(wrong_registry("  push-credentials: { env: A, name: b }\n"), @"environments/prod/environment.yaml:4:31: unknown key `name` in `registry.push-credentials`; the only key is `env`");
}

#[test]
fn missing_keys() {
    insta::assert_snapshot!(wrong(""), @"
    environments/prod/environment.yaml:1:1: `release` is missing; write the release to install, such as `release: v4.1.5`
    environments/prod/environment.yaml:1:1: `registry.address` is missing; write the registry's `host:port`
    ");
    insta::assert_snapshot!(wrong("registry: { address: null, project: mke }\n"), @"
    environments/prod/environment.yaml:1:1: `release` is missing; write the release to install, such as `release: v4.1.5`
    environments/prod/environment.yaml:1:1: `registry.address` is missing; write the registry's `host:port`
    ");
    insta::assert_snapshot!(wrong_registry("  push-credentials: {}\n"), @"environments/prod/environment.yaml:4:3: `registry.push-credentials.env` is missing; files contain the names of secrets, not secrets: write `{ env: NAME }` for the variables NAME_USERNAME and NAME_PASSWORD");
    insta::assert_snapshot!(wrong_registry("  push-credentials: { env: ~ }\n"), @"environments/prod/environment.yaml:4:3: `registry.push-credentials.env` is missing; files contain the names of secrets, not secrets: write `{ env: NAME }` for the variables NAME_USERNAME and NAME_PASSWORD");
    // A key is not reported as missing if a parent, which may set it, cannot be read.
    insta::assert_snapshot!(wrong("inherit: ../none.yaml\n"), @"environments/prod/environment.yaml:1:10: the file `environments/none.yaml` does not exist; the path is relative to `environments/prod`, the folder of this file");
}

#[test]
fn wrong_kinds() {
    insta::assert_snapshot!(wrong("- a\n"), @"environments/prod/environment.yaml:1:1: the document is a list, not a mapping");
    insta::assert_snapshot!(wrong("just text\n"), @"environments/prod/environment.yaml:1:1: the document is a single value, not a mapping");
    insta::assert_snapshot!(wrong("release: [v4.1.5]\nregistry: registry.example.com\n"), @"
    environments/prod/environment.yaml:1:10: `release` is a list, not a release; write the release to install, such as `release: v4.1.5`
    environments/prod/environment.yaml:2:11: `registry` is a single value, not a mapping; write `address` and its other keys below it
    ");
    insta::assert_snapshot!(wrong(&format!("{GOOD}config: text\n")), @"environments/prod/environment.yaml:3:9: `config` is a single value, not a mapping");
    insta::assert_snapshot!(wrong(&format!("{GOOD}mkectl: ''\n")), @"environments/prod/environment.yaml:3:9: `mkectl` is empty; write a path, or remove the key");
    insta::assert_snapshot!(wrong_registry("  project: { a: b }\n"), @"environments/prod/environment.yaml:4:12: `registry.project` is a mapping, not a repository path");
}

#[test]
fn wrong_values() {
    insta::assert_snapshot!(wrong("release: 4.10\nregistry: { address: Registry.example.com:99999 }\n"), @"
    environments/prod/environment.yaml:1:10: `4.10` is not a release; write `v` and three numbers, such as `v4.1.5`
    environments/prod/environment.yaml:2:22: the host `Registry.example.com` has upper-case letters; write `registry.example.com`
    ");
    insta::assert_snapshot!(wrong(&format!("{GOOD}protected: yes\n")), @"environments/prod/environment.yaml:3:12: `protected` is `yes`, which some YAML readers take for a boolean and others for a string; write `true`");
    insta::assert_snapshot!(wrong(&format!("{GOOD}protected: \"false\"\n")), @"environments/prod/environment.yaml:3:12: `protected` is a string, not a boolean; write `false` without quotes");
    insta::assert_snapshot!(wrong(&format!("{GOOD}protected: !!str true\n")), @"environments/prod/environment.yaml:3:12: `protected` is a string, not a boolean; write `true` without quotes");
    insta::assert_snapshot!(wrong(&format!("{GOOD}protected: {{}}\n")), @"environments/prod/environment.yaml:3:12: `protected` is a mapping, not a boolean; write `true` or `false`");
    insta::assert_snapshot!(wrong_registry("  project: platform//mke\n"), @"environments/prod/environment.yaml:4:12: the project `platform//mke` has a leading, trailing or doubled slash; write `platform/mke`");
    insta::assert_snapshot!(wrong(&format!("{GOOD}rehearsal: true\n")), @"environments/prod/environment.yaml:2:22: a rehearsal's registry runs on this machine, but `registry.example.com` is another one; write an address such as `127.0.0.1:5443`, or remove `rehearsal: true`");
    insta::assert_snapshot!(wrong("release: v4.1.5\nrehearsal: true\nregistry: { address: localhost }\n"), @"environments/prod/environment.yaml:3:22: a rehearsal's registry needs a port, but `localhost` names none; write an address such as `127.0.0.1:5443`, or remove `rehearsal: true`");
    insta::assert_snapshot!(wrong("release: v4.1.5\nregistry: { address: [\n"), @"environments/prod/environment.yaml:2:22: this `[` is not closed; write `]` after the last value");
}

#[test]
fn wrong_parents() {
    insta::assert_snapshot!(wrong(&format!("{GOOD}inherit: /etc/base.yaml\n")), @"environments/prod/environment.yaml:3:10: the path `/etc/base.yaml` is absolute; write it relative to this file, such as `../base.yaml`");
    insta::assert_snapshot!(wrong(&format!("{GOOD}inherit: ../../../base.yaml\n")), @"environments/prod/environment.yaml:3:10: `../../../base.yaml` is outside the workspace");
    insta::assert_snapshot!(wrong(&format!("{GOOD}inherit: [../base.yaml, ../more.yaml]\n")), @"environments/prod/environment.yaml:3:10: `inherit` is a list, not a path");
    insta::assert_snapshot!(wrong(&format!("{GOOD}inherit: ../base\n")), @"environments/prod/environment.yaml:3:10: `../base` is not the path of a YAML file");
    insta::assert_snapshot!(wrong(&format!("{GOOD}inherit: ../bsae.yaml\n")), @"environments/prod/environment.yaml:3:10: the file `environments/bsae.yaml` does not exist; the path is relative to `environments/prod`, the folder of this file");
    insta::assert_snapshot!(wrong(&format!("{GOOD}inherit: environment.yaml\n")), @"environments/prod/environment.yaml:3:10: `environment.yaml` inherits from this file: the files form a cycle");

    let child = format!("inherit: ../base.yaml\n{GOOD}");
    let looped = Workspace::new(&[(PROD, &child), (BASE, "inherit: prod/environment.yaml\n")]);
    insta::assert_snapshot!(looped.problems(), @"environments/base.yaml:1:10: `prod/environment.yaml` inherits from this file: the files form a cycle");

    let broken = Workspace::new(&[(PROD, &child), (BASE, "a: b: c\n")]);
    insta::assert_snapshot!(broken.problems(), @"environments/base.yaml:1:4: this text contains a colon and a space; put quotes around it");

    let folder = Workspace::new(&[(PROD, &child), ("environments/base.yaml/x", "")]);
    insta::assert_snapshot!(folder.problems(), @"environments/prod/environment.yaml:1:10: cannot read `../base.yaml`: it is a folder, not a regular file");

    let outside = Workspace::new(&[("base.yaml", "")]);
    let linked = Workspace::new(&[(PROD, &child)]);
    symlink(outside.root().join("base.yaml"), linked.root().join(BASE)).unwrap();
    insta::assert_snapshot!(linked.problems(), @"environments/prod/environment.yaml:1:10: `../base.yaml` is a symbolic link to a file outside the workspace");
}

#[test]
fn a_link_within_the_workspace_is_followed() {
    let child = format!("inherit: ../base.yaml\n{GOOD}");
    let workspace = Workspace::new(&[(PROD, &child), ("shared.yaml", "protected: true\n")]);
    symlink("../shared.yaml", workspace.root().join(BASE)).unwrap();
    assert!(workspace.loaded().protected);
}

#[test]
fn wrong_authorities() {
    let text = "release: v4.1.5\nregistry: { address: registry.example.com, ca: ca.pem }\n";
    let with_ca = |bytes: &[u8]| {
        let workspace = Workspace::new(&[(PROD, text)]);
        workspace.write("environments/prod/ca.pem", bytes);
        workspace.problems()
    };
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    insta::assert_snapshot!(wrong(text), @"environments/prod/environment.yaml:2:48: the file `ca.pem` does not exist; the path is relative to `environments/prod`, the folder of this file");
    insta::assert_snapshot!(with_ca(b""), @"environments/prod/environment.yaml:2:48: `ca.pem` contains no PEM certificate; a PEM certificate begins with `-----BEGIN CERTIFICATE-----`");
    insta::assert_snapshot!(with_ca(b"\x30\x82\x01\xff"), @"environments/prod/environment.yaml:2:48: `ca.pem` is not a PEM file; convert it: `openssl x509 -inform der -in FILE -out FILE.pem`");
    insta::assert_snapshot!(with_ca(b"\xff\xfe-\0-\0"), @"environments/prod/environment.yaml:2:48: `ca.pem` is not a PEM file; save it as UTF-8 or ASCII, not as UTF-16");
    insta::assert_snapshot!(with_ca(CERTIFICATE.replace("MII", "AAA").as_bytes()), @"environments/prod/environment.yaml:2:48: certificate 1 in `ca.pem` is not an X.509 certificate; copy the file again from its source");
    insta::assert_snapshot!(with_ca(CERTIFICATE.replace("MII", "*").as_bytes()), @"environments/prod/environment.yaml:2:48: `ca.pem` is not valid PEM; copy the file again from its source");
    insta::assert_snapshot!(with_ca(format!("{CERTIFICATE}{key}").as_bytes()), @"environments/prod/environment.yaml:2:48: `ca.pem` contains a private key; every node gets this file: keep only the certificates in it");
    let folder = Workspace::new(&[(PROD, text), ("environments/prod/ca.pem/x", "")]);
    insta::assert_snapshot!(folder.problems(), @"environments/prod/environment.yaml:2:48: cannot read `ca.pem`: it is a folder, not a regular file; write the path of a PEM file");
}

#[test]
fn secrets_are_refused_and_not_repeated() {
    const SECRET: &str = "hünter2-é😀";
    let cases = [
        format!("{GOOD}password: {SECRET}\n"),
        format!("{GOOD}registryToken: {{ a: [{SECRET}] }}\n"),
        format!("{GOOD}registri: {{ basic: {{ password: {SECRET} }} }}\n"),
        format!(
            "release: v4.1.5\nregistry: {{ address: a.b, credentials: {{ a: {SECRET} }}, projekt: a }}\n"
        ),
        format!(
            "release: v4.1.5\nregistry: {{ address: 'admin:{SECRET}@registry.example.com', projekt: a }}\n"
        ),
        format!(
            "release: v4.1.5\nregistry: {{ password: {SECRET}, address: registry.example.com, projekt: a }}\n"
        ),
        format!(
            "release: v4.1.5\nregistry: {{ address: a.b, push-credentials: {{ env: {SECRET} }}, projekt: a }}\n"
        ),
        format!(
            "release: v4.1.5\nregistry: {{ address: a.b, push-credentials: {SECRET}, projekt: a }}\n"
        ),
        format!(
            "release: v4.1.5\nregistry: {{ address: a.b, push-credentials: [a, {SECRET}], projekt: a }}\n"
        ),
        format!(
            "release: v4.1.5\nregistry: {{ address: a.b, push-credentials: {{ username: {SECRET}, password: {SECRET} }}, projekt: a }}\n"
        ),
        format!(
            "release: v4.1.5\nregistry:\n  address: a.b\n  push-credentials:\n    env: |\n      {SECRET}\n      {SECRET}\n  projekt: a\n"
        ),
    ];
    let mut out = String::new();
    for text in cases {
        let problems = Workspace::new(&[(PROD, &text)]).problems();
        out.push_str(&format!("{problems}\n\n"));
        for problem in &problems.0 {
            assert!(!format!("{problem:?}").contains(SECRET), "{problem:?}");
            assert!(!problem.excerpt().contains(SECRET));
            assert_eq!(problem.source.text.len(), text.len());
        }
        // The key after the secret keeps its place.
        if let Some(problem) = problems
            .0
            .iter()
            .find(|problem| problem.rule.contains("projekt"))
        {
            let (before, _) = text.split_once("projekt").unwrap();
            let column = before.lines().last().unwrap().chars().count() + 1;
            assert_eq!(problem.column(), column);
            assert_eq!(&problem.source.text[problem.span.clone()], "projekt");
        }
    }
    insta::assert_snapshot!(out, @"
    environments/prod/environment.yaml:3:1: `password` does not belong in a file; files contain the names of secrets, not secrets: write `push-credentials: { env: NAME }` below `registry`

    environments/prod/environment.yaml:3:1: `registryToken` does not belong in a file; files contain the names of secrets, not secrets: write `push-credentials: { env: NAME }` below `registry`

    environments/prod/environment.yaml:3:1: unknown key `registri`; did you mean `registry`?

    environments/prod/environment.yaml:2:27: unknown key `credentials` in `registry`; did you mean `push-credentials`?
    environments/prod/environment.yaml:2:59: unknown key `projekt` in `registry`; did you mean `project`?

    environments/prod/environment.yaml:2:22: an address cannot contain a user or password; write `host` or `host:port`, and name the credentials in `push-credentials`
    environments/prod/environment.yaml:2:63: unknown key `projekt` in `registry`; did you mean `project`?

    environments/prod/environment.yaml:2:13: `password` does not belong in a file; files contain the names of secrets, not secrets: write `push-credentials: { env: NAME }` below `registry`
    environments/prod/environment.yaml:2:66: unknown key `projekt` in `registry`; did you mean `project`?

    environments/prod/environment.yaml:2:52: this is not an environment variable name; files contain the names of secrets, not secrets: write `{ env: NAME }` for the variables NAME_USERNAME and NAME_PASSWORD, in capital letters, digits and underscores
    environments/prod/environment.yaml:2:66: unknown key `projekt` in `registry`; did you mean `project`?

    environments/prod/environment.yaml:2:45: `registry.push-credentials` is a single value, not a mapping; files contain the names of secrets, not secrets: write `{ env: NAME }` for the variables NAME_USERNAME and NAME_PASSWORD
    environments/prod/environment.yaml:2:57: unknown key `projekt` in `registry`; did you mean `project`?

    environments/prod/environment.yaml:2:45: `registry.push-credentials` is a list, not a mapping; files contain the names of secrets, not secrets: write `{ env: NAME }` for the variables NAME_USERNAME and NAME_PASSWORD
    environments/prod/environment.yaml:2:62: unknown key `projekt` in `registry`; did you mean `project`?

    environments/prod/environment.yaml:2:47: `username` does not belong in a file; files contain the names of secrets, not secrets: write `push-credentials: { env: NAME }` below `registry`
    environments/prod/environment.yaml:2:69: `password` does not belong in a file; files contain the names of secrets, not secrets: write `push-credentials: { env: NAME }` below `registry`
    environments/prod/environment.yaml:2:93: unknown key `projekt` in `registry`; did you mean `project`?

    environments/prod/environment.yaml:6:7: this is not an environment variable name; files contain the names of secrets, not secrets: write `{ env: NAME }` for the variables NAME_USERNAME and NAME_PASSWORD, in capital letters, digits and underscores
    environments/prod/environment.yaml:8:3: unknown key `projekt` in `registry`; did you mean `project`?
    ");
}

#[test]
fn an_environment_with_unreadable_files_is_listed() {
    let workspace = Workspace::new(&[
        ("environments/base.yaml", ""),
        ("environments/facts/v4.1.5.yaml", ""),
        ("environments/receipt-alone/receipt.yaml", ""),
    ]);
    let folder = workspace.root().join("environments");
    symlink("/nowhere", folder.join("unmounted")).unwrap();
    fs::create_dir(folder.join("linked")).unwrap();
    symlink("/nowhere", folder.join("linked/environment.yaml")).unwrap();
    let found = names(workspace.root()).unwrap();
    assert_eq!(found, ["linked", "receipt-alone", "unmounted"]);
    for name in found {
        let error = load(workspace.root(), &name).unwrap_err();
        assert!(!matches!(error, Error::Unknown { .. }), "{error}");
        assert!(error.to_string().contains(&name), "{error}");
    }
}
