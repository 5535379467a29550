//! Facts of a release in `facts`.

use super::*;

#[test]
fn facts_are_inherited_and_null_removes_one() {
    let workspace = Workspace::new(&[
        (
            BASE,
            "facts: { private-ca: supported, anonymous-pull: optional, external-address: required }\n",
        ),
        (
            PROD,
            &format!(
                "inherit: ../base.yaml\nfacts: {{ anonymous-pull: required, private-ca: null }}\n{GOOD}"
            ),
        ),
    ]);
    assert_eq!(
        workspace.loaded().facts,
        Facts {
            private_ca: None,
            anonymous_pull: Some(true),
            external_address: Some(true),
        }
    );
    let without = Workspace::new(&[(PROD, GOOD)]);
    assert_eq!(without.loaded().facts, Facts::default());
}

#[test]
fn wrong_facts_are_reported_at_their_place() {
    insta::assert_snapshot!(wrong(&format!("{GOOD}facts:\n  private-ca: yes\n  anonymous-pull: optionnal\n  bundle-url: x\n  external-address: [required]\n")), @r"
    environments/prod/environment.yaml:4:15: `facts.private-ca` is `yes`, not `supported` or `unsupported`
    environments/prod/environment.yaml:5:19: `facts.anonymous-pull` is `optionnal`, not `required` or `optional`; did you mean `optional`?
    environments/prod/environment.yaml:6:3: unknown key `bundle-url` in `facts`; the keys are `private-ca`, `anonymous-pull`, `external-address`
    environments/prod/environment.yaml:7:21: `facts.external-address` is a list, not `required` or `optional`
    ");
    insta::assert_snapshot!(wrong(&format!("{GOOD}facts: supported\n")), @"environments/prod/environment.yaml:3:8: `facts` is a single value, not a mapping; write what you know better than the table of releases, such as `facts: { private-ca: supported }`");
    insta::assert_snapshot!(wrong(&format!("{GOOD}private-ca: supported\n")), @"environments/prod/environment.yaml:3:1: unknown key `private-ca`; `private-ca` belongs below `facts`");
}
