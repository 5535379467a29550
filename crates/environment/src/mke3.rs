//! The MKE 3 cluster that becomes this one, by `migrate`: what is there, and who may change it.

use camino::Utf8PathBuf;
use semver::Version;

use crate::check;
use crate::environment::CredentialSource;
use crate::problem::{Problem, quote};
use crate::yaml::Node;

/// The key.
pub(crate) const MKE3: &str = "mke3";

/// The keys below it.
pub(crate) const KEYS: &[&str] = &["version", "credentials", "config"];

/// What to write under it.
const HELP: &str = "write `{ version: 3.8.2, credentials: { env: NAME } }`, for an administrator in the variables NAME_USERNAME and \
    NAME_PASSWORD";

/// An MKE 3 cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mke3 {
    /// Its version.
    pub version: Version,
    /// Where the credentials of its administrator are.
    pub credentials: CredentialSource,
    /// Its configuration, as MKE 3 gives it out: a TOML file. Whether it is there has not been checked.
    pub config: Option<Utf8PathBuf>,
}

/// Checks the version.
pub(crate) fn version(node: &Node) -> Result<Version, Problem> {
    let text = node.text().unwrap_or_default();
    let version = Version::parse(text.strip_prefix('v').unwrap_or(text)).ok();
    version.filter(|version| version.major == 3).ok_or_else(|| {
        let rule = format!("{} is no version of MKE 3", quote(text));
        Problem::at(node, rule).with_help("write all three numbers, such as `3.8.2`")
    })
}

/// Reads `mke3` of the merged document, where `path` finds the file that a value means.
pub(crate) fn read(
    node: &Node,
    path: impl Fn(&Node, &str) -> Utf8PathBuf,
) -> Result<Option<Mke3>, Problem> {
    let missing = |key: &str| {
        let rule = format!("`{MKE3}.{key}` is missing");
        Problem::at(node, rule).with_help(HELP)
    };
    let written = node
        .get("version")
        .filter(|node| !node.is_null())
        .ok_or_else(|| missing("version"))?;
    let credentials = node
        .get("credentials")
        .filter(|node| !node.is_null())
        .ok_or_else(|| missing("credentials"))?;
    // What is wrong with either has been noted, file by file.
    let (Ok(version), Some(name)) = (version(written), check::credentials(credentials)) else {
        return Ok(None);
    };
    Ok(Some(Mke3 {
        version,
        credentials: CredentialSource::Environment(name.to_owned()),
        config: node
            .get("config")
            .and_then(|node| Some(path(node, node.text()?))),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Environment, Error};

    fn loaded(mke3: &str) -> Result<Environment, Error> {
        let folder = tempfile::tempdir().unwrap();
        let prod = folder.path().join("environments/prod");
        std::fs::create_dir_all(&prod).unwrap();
        let text =
            format!("release: v4.1.5\nregistry: {{ address: registry.example.com }}\n{mke3}");
        std::fs::write(prod.join("environment.yaml"), text).unwrap();
        let root = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        crate::load(&root, "prod")
    }

    #[test]
    fn an_mke_3_cluster_is_read() {
        assert_eq!(loaded("").unwrap().mke3, None);
        let read = loaded(
            "mke3: { version: v3.8.2, credentials: { env: PROD_MKE3 }, config: ucp.toml }\n",
        );
        let read = read.unwrap().mke3.unwrap();
        assert_eq!(read.version, Version::new(3, 8, 2));
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
                "`4.1.0` is no version of MKE 3",
            ),
            (
                "mke3: { version: 3.8, credentials: { env: A } }",
                "`3.8` is no version of MKE 3",
            ),
            (
                "mke3: { version: 3.8.2, credentials: { env: hunter2 } }",
                "this is not the name of an environment variable",
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
}
