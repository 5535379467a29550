//! Finds credentials for a registry: in the variables that the environment names, else where Docker and Podman
//! keep them.

#![expect(
    clippy::disallowed_methods,
    reason = "secrets are in the environment, and files are found by it"
)]

use std::io::BufReader;
use std::path::PathBuf;

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use environment::{CredentialSource, Environment};
use release::{Credentials, Keeper};
use secrecy::SecretString;

/// Reads secrets from the process's environment and the user's credential files.
pub(crate) struct EnvironmentKeeper;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the variable {0} is not set")]
    NotSet(String),
    #[error("the variables {0} and {1} are not set")]
    NoneSet(String, String),
    #[error("cannot read {path}", path = path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path}: {why}", path = path.display())]
    File { path: PathBuf, why: &'static str },
    #[error("the credential helper {helper} failed")]
    Helper { helper: String },
    #[error("{path} holds an identity token for this registry, which is not supported: log in with user and password", path = path.display())]
    IdentityToken { path: PathBuf },
}

impl Keeper for EnvironmentKeeper {
    fn credentials(
        &self,
        environment: &Environment,
    ) -> Result<Credentials, Box<dyn std::error::Error + Send + Sync>> {
        if environment.rehearsal {
            return Ok(Credentials::Anonymous);
        }
        match &environment.registry.push_credentials {
            Some(source) => Ok(named(source)?),
            None => Ok(from_files(&environment.registry.address)?),
        }
    }

    fn pull_credentials(
        &self,
        environment: &Environment,
    ) -> Result<Option<Credentials>, Box<dyn std::error::Error + Send + Sync>> {
        match &environment.registry.pull_credentials {
            Some(source) if !environment.rehearsal => Ok(Some(named(source)?)),
            _ => Ok(None),
        }
    }

    fn mke3_credentials(
        &self,
        environment: &Environment,
    ) -> Result<Option<Credentials>, Box<dyn std::error::Error + Send + Sync>> {
        match &environment.mke3 {
            Some(mke3) => Ok(Some(named(&mke3.credentials)?)),
            None => Ok(None),
        }
    }
}

fn named(CredentialSource::Environment(prefix): &CredentialSource) -> Result<Credentials, Error> {
    let username = variable(&format!("{prefix}_USERNAME"));
    let password = variable(&format!("{prefix}_PASSWORD"));
    match (username, password) {
        (Err(Error::NotSet(username)), Err(Error::NotSet(password))) => {
            Err(Error::NoneSet(username, password))
        }
        (username, password) => Ok(Credentials::Basic {
            username: username?,
            password: SecretString::from(password?),
        }),
    }
}

fn variable(name: &str) -> Result<String, Error> {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => Ok(value),
        _ => Err(Error::NotSet(name.to_owned())),
    }
}

fn from_files(address: &str) -> Result<Credentials, Error> {
    for path in files() {
        let file = match files::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(source) => return Err(Error::Read { path, source }),
        };
        // The error's own text may hold what a helper printed, so it is never shown.
        match get_credential_from_reader(BufReader::new(file), address) {
            Ok(DockerCredential::UsernamePassword(username, password)) => {
                return Ok(Credentials::Basic {
                    username,
                    password: SecretString::from(password),
                });
            }
            Ok(DockerCredential::IdentityToken(_)) => return Err(Error::IdentityToken { path }),
            Err(CredentialRetrievalError::NoCredentialConfigured) => {}
            Err(CredentialRetrievalError::HelperFailure { helper, stdout, .. }) => {
                // This is how helpers say that they know nothing of this registry.
                if !stdout.contains("credentials not found") {
                    return Err(Error::Helper { helper });
                }
            }
            Err(CredentialRetrievalError::HelperCommunicationError) => {
                return Err(Error::File {
                    path,
                    why: "its credential helper cannot be run",
                });
            }
            Err(CredentialRetrievalError::MalformedHelperResponse) => {
                return Err(Error::File {
                    path,
                    why: "its credential helper answers nonsense",
                });
            }
            Err(CredentialRetrievalError::CredentialMismatchError) => {
                return Err(Error::File {
                    path,
                    why: "`auth` and `username`/`password` contradict each other",
                });
            }
            Err(_) => {
                return Err(Error::File {
                    path,
                    why: "it is no credential file",
                });
            }
        }
    }
    Ok(Credentials::Anonymous)
}

/// Returns where Podman, Skopeo and Docker keep credentials, in the order in which containers-auth.json(5) looks.
fn files() -> Vec<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let home = folder("HOME");
    let below_home = |path: &str| home.as_ref().map(|home| home.join(path));
    [
        folder("REGISTRY_AUTH_FILE"),
        folder("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json")),
        folder("XDG_CONFIG_HOME")
            .map(|folder| folder.join("containers/auth.json"))
            .or_else(|| below_home(".config/containers/auth.json")),
        folder("DOCKER_CONFIG")
            .map(|folder| folder.join("config.json"))
            .or_else(|| below_home(".docker/config.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}
