//! The MKE 3 cluster to migrate, in `mke3`.

use super::*;

fn loaded(mke3: &str) -> Result<Environment, Error> {
    Workspace::new(&[(PROD, &format!("{GOOD}{mke3}"))]).load()
}

#[test]
fn an_mke_3_cluster_is_read() {
    assert_eq!(loaded("").unwrap().mke3, None);
    let read =
        loaded("mke3: { version: v3.8.2, credentials: { env: PROD_MKE3 }, config: ucp.toml }\n");
    let read = read.unwrap().mke3.unwrap();
    assert_eq!(read.version, semver::Version::new(3, 8, 2));
    assert_eq!(
        read.credentials,
        CredentialSource::Environment("PROD_MKE3".to_owned())
    );
    assert!(read.config.unwrap().ends_with("environments/prod/ucp.toml"));
}

#[test]
fn an_mke_3_cluster_is_checked() {
    let wrong = |mke3: &str| match loaded(mke3) {
        Err(Error::Wrong(problems)) => problems.to_string(),
        other => panic!("{other:?}"),
    };
    for (written, expected) in [
        ("mke3: { version: 3.8.2 }", "`mke3.credentials` is missing"),
        (
            "mke3: { credentials: { env: A } }",
            "`mke3.version` is missing",
        ),
        (
            "mke3: { version: 4.1.0, credentials: { env: A } }",
            "`4.1.0` is not an MKE 3 version",
        ),
        (
            "mke3: { version: 3.8, credentials: { env: A } }",
            "`3.8` is not an MKE 3 version",
        ),
        (
            "mke3: { version: 3.8.2, credentials: { env: hunter2 } }",
            "this is not an environment variable name",
        ),
        (
            "mke3: { version: 3.8.2, credentials: swordfish }",
            "`mke3.credentials` is a single value",
        ),
        ("mke3: { verion: 3.8.2 }", "unknown key `verion` in `mke3`"),
        ("mke3: 3.8.2", "`mke3` is a single value, not a mapping"),
    ] {
        let problems = wrong(written);
        assert!(problems.contains(expected), "{problems}");
        assert!(
            !problems.contains("hunter2") && !problems.contains("swordfish"),
            "{problems}"
        );
    }
}
