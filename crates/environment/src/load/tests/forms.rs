//! References and patches below `config`, in whole environments.

use super::{GOOD, PROD, Workspace, wrong};
use crate::{Reference, references, yaml::emit};

const BASE: &str = "\
release: v4.1.5
registry: { address: registry.example.com }
config:
  license: { token: { $env: LICENSE } }
  secret: { $file: secrets/one }
  hosts:
    - { role: worker, ssh: { address: a, user: root }, hostname: one }
    - { role: worker, ssh: { address: b, user: root } }
";

fn config(child: &str) -> String {
    let workspace = Workspace::new(&[
        ("environments/base.yaml", BASE),
        (PROD, &format!("inherit: ../base.yaml\nconfig:\n{child}")),
    ]);
    emit(&workspace.loaded().config)
}

#[test]
fn only_a_list_with_merge_is_merged() {
    let child = r"
  hosts:
    $by: ssh.address
    $merge:
      - { role: controller+worker, ssh: { address: b }, noTaints: true }
      - { ssh: { address: a, user: null, port: 22 } }
      - { role: worker, ssh: { address: c } }
  others: { $merge: [{ name: x, gone: null }], $by: name }
";
    insta::assert_snapshot!(config(child), @r#"
    license:
      token:
        $env: LICENSE
    secret:
      $file: secrets/one
    hosts:
      - role: worker
        ssh:
          address: a
          port: 22
        hostname: one
      - role: controller+worker
        ssh:
          address: b
          user: root
        noTaints: true
      - role: worker
        ssh:
          address: c
    others:
      - name: x
        gone: null
    "#);
    let replaced = config("  hosts: [{ role: single }]\n");
    assert!(
        replaced.ends_with("hosts:\n  - role: single\n"),
        "{replaced}"
    );
}

#[test]
fn a_reference_replaces_the_parents_and_is_relative_to_its_file() {
    let child = "  license: { token: { $file: token } }\n  secret: { $env: SECRET }\n";
    let text = config(child);
    assert!(
        text.starts_with("license:\n  token:\n    $file: token\nsecret:\n  $env: SECRET\n"),
        "{text}"
    );
    let workspace = Workspace::new(&[
        ("environments/base.yaml", BASE),
        (
            PROD,
            "inherit: ../base.yaml\nconfig: { own: [{ $file: own }, { $file: /abs }] }\n",
        ),
    ]);
    let file = |path: &str| Reference::File(path.into());
    assert_eq!(
        references(&workspace.loaded().config),
        [
            Reference::Variable("LICENSE".to_owned()),
            file("environments/secrets/one"),
            file("environments/prod/own"),
            file("/abs"),
        ]
    );
}

#[test]
fn an_incomplete_form_is_reported_at_its_place() {
    let text = "\
config:
  a: { $env: NAME, other: 1 }
  b: { $env: planted-secret }
  c: { $file: }
  d: { $merge: [] }
  e: { $merge: {}, $by: name }
  f: { $merge: [{ a: 1 }], $by: name }
  g: { $evn: NAME }
  h: { $ref: '#/definitions/x' }
";
    let found = wrong(&format!("{GOOD}{text}"));
    insta::assert_snapshot!(found, @r#"
    environments/prod/environment.yaml:4:8: `$env` cannot be combined with other keys; a reference is the whole value: write `{ $env: NAME }` or `{ $file: path }`
    environments/prod/environment.yaml:5:14: this is not the name of an environment variable; write capital letters, digits and underscores
    environments/prod/environment.yaml:6:13: `$file` has no path; write its path, relative to this file
    environments/prod/environment.yaml:7:8: `$merge` is incomplete; write `{ $merge: [...], $by: ssh.address }`: a list, and the key that identifies its items
    environments/prod/environment.yaml:8:8: `$merge` is incomplete; write `{ $merge: [...], $by: ssh.address }`: a list, and the key that identifies its items
    environments/prod/environment.yaml:8:20: `$by` is incomplete; write `{ $merge: [...], $by: ssh.address }`: a list, and the key that identifies its items
    environments/prod/environment.yaml:9:17: this item has no `name`, the key to merge by; add it, or name a different key in `$by`
    environments/prod/environment.yaml:10:8: unknown form `$evn`; did you mean `$env`?
    "#);
    let problems = Workspace::new(&[(PROD, &format!("{GOOD}{text}"))]).problems();
    for problem in &problems.0 {
        assert!(!problem.source.text.contains("planted-secret"));
    }
}
