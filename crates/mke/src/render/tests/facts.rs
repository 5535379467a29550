//! Tests of an environment's `facts`, which override the table.

use environment::Facts;

use super::*;

#[test]
fn facts_of_an_environment_override_the_table_without_a_warning() {
    let credentials =
        format!("{HOSTS}registries: {{imageRegistry: {{credentialsSecretName: pull}}}}\n");
    let warnings = |version, urls, config: &str, facts| {
        let mut environment = environment(config);
        environment.facts = facts;
        render(&environment, urls, &release(version)).map(|rendered| rendered.warnings)
    };
    let ca = |known| Facts {
        private_ca: Some(known),
        ..Facts::default()
    };
    let pull = |known| Facts {
        anonymous_pull: Some(known),
        ..Facts::default()
    };
    let address = |known| Facts {
        external_address: Some(known),
        ..Facts::default()
    };
    let nothing = Ok(Vec::<String>::new());
    let one = |warning: &str| Ok(vec![warning.to_owned()]);

    assert_eq!(warnings("4.1.0", WITH_CA, HOSTS, ca(true)), nothing);
    assert_eq!(
        warnings("4.1.0", WITH_CA, HOSTS, ca(false)),
        one("v4.1.0 does not support a registry with a certificate from a private CA")
    );
    assert_eq!(warnings("4.1.5", URLS, &credentials, pull(false)), nothing);
    assert_eq!(
        warnings("4.1.5", URLS, &credentials, pull(true)),
        one(
            "`credentialsSecretName` is set, but v4.1.5 is expected to pull without credentials only"
        )
    );
    let with_address = format!("{HOSTS}apiServer: {{externalAddress: mke.example.com}}\n");
    // Item 12: it is inferred that 4.2.0 pulls only without credentials, so `facts` can override
    // it.
    let pulls_with_secret =
        format!("{with_address}registries: {{imageRegistry: {{credentialsSecretName: pull}}}}\n");
    let without_facts = warnings("4.2.0", URLS, &pulls_with_secret, Facts::default()).unwrap();
    assert!(
        without_facts[0].contains("`facts: { anonymous-pull: optional }`"),
        "{without_facts:?}"
    );
    for known in [true, false] {
        assert_eq!(warnings("4.2.0", URLS, &with_address, pull(known)), nothing);
    }

    assert_eq!(warnings("4.1.5", URLS, HOSTS, address(false)), nothing);
    let problem = |facts, version| {
        warnings(version, URLS, HOSTS, facts)
            .unwrap_err()
            .to_string()
    };
    assert!(!problem(address(true), "4.1.5").contains("facts"));
    assert!(!problem(Facts::default(), "4.2.0").contains("facts"));
    assert!(problem(Facts::default(), "4.2.1").contains("`facts: { external-address: optional }`"));
    assert!(warnings("4.2.1", URLS, HOSTS, address(false)).is_ok());
}
