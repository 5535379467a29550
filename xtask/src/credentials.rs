//! Finds credentials for a registry: in the variables that the environment names, else in the files
//! of Docker, Podman and Skopeo.

#![expect(
    clippy::disallowed_methods,
    reason = "secrets and the paths of files are in variables"
)]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use environment::{CredentialSource, Environment};
use release::credential_files::{self, CredentialFileError, Wanted};
use release::event::{Event, Reporter};
use release::{CredentialProvider, Credentials, Variables};
use secrecy::SecretString;

/// Reads secrets from the process's environment and the user's credential files.
pub(crate) struct EnvironmentCredentials<'a> {
    reporter: &'a dyn Reporter,
    variables: Variables,
    /// Credentials from files and helpers, by address and project. Cached, because a helper may
    /// take seconds or ask the operator.
    found: Mutex<HashMap<(String, String), Credentials>>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the variable {0} is not set")]
    NotSet(String),
    #[error("the variable {0} is empty")]
    Empty(String),
    #[error("the variable {0} has several lines")]
    SeveralLines(String),
    #[error("the variable {0} is not UTF-8 text")]
    NotText(String),
    #[error("the variable {name} {rule}")]
    Hidden { name: String, rule: String },
    #[error("the variables {0} and {1} are not set")]
    NoneSet(String, String),
}

impl<'a> EnvironmentCredentials<'a> {
    /// Creates a provider that runs helpers with `variables` and reports their errors as warnings.
    pub(crate) fn new(reporter: &'a dyn Reporter, variables: Variables) -> Self {
        Self {
            reporter,
            variables,
            found: Mutex::default(),
        }
    }

    fn file_credentials(&self, wanted: Wanted<'_>) -> Result<Credentials, CredentialFileError> {
        let key = (wanted.address.to_owned(), wanted.project.to_owned());
        // Held while a helper runs, so it runs once.
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(credentials) = found.get(&key) {
            return Ok(credentials.clone());
        }
        let mut warn = |text| self.reporter.report(Event::Warning(text));
        let credentials = credential_files::find(&files(), wanted, &self.variables, &mut warn)?;
        found.insert(key, credentials.clone());
        Ok(credentials)
    }
}

impl CredentialProvider for EnvironmentCredentials<'_> {
    fn credentials(
        &self,
        environment: &Environment,
    ) -> Result<Credentials, Box<dyn std::error::Error + Send + Sync>> {
        if environment.rehearsal {
            return Ok(Credentials::Anonymous);
        }
        match &environment.registry.push_credentials {
            Some(source) => Ok(from_variables(source)?),
            None => Ok(self.file_credentials(Wanted {
                address: &environment.registry.address,
                project: &environment.registry.project,
            })?),
        }
    }

    fn pull_credentials(
        &self,
        environment: &Environment,
    ) -> Result<Option<Credentials>, Box<dyn std::error::Error + Send + Sync>> {
        match &environment.registry.pull_credentials {
            Some(source) if !environment.rehearsal => Ok(Some(from_variables(source)?)),
            _ => Ok(None),
        }
    }

    fn upstream_credentials(
        &self,
        host: &str,
        repository: &str,
    ) -> Result<Credentials, Box<dyn std::error::Error + Send + Sync>> {
        let addresses = match host {
            // `docker login` still writes the older name.
            "docker.io" => &["docker.io", "index.docker.io"][..],
            host => &[host],
        };
        for address in addresses {
            let project = repository;
            match self.file_credentials(Wanted { address, project })? {
                Credentials::Anonymous => {}
                found => return Ok(found),
            }
        }
        Ok(Credentials::Anonymous)
    }

    fn mke3_credentials(
        &self,
        environment: &Environment,
    ) -> Result<Option<Credentials>, Box<dyn std::error::Error + Send + Sync>> {
        match &environment.mke3 {
            Some(mke3) => Ok(Some(from_variables(&mke3.credentials)?)),
            None => Ok(None),
        }
    }
}

fn from_variables(
    CredentialSource::Environment(prefix): &CredentialSource,
) -> Result<Credentials, Error> {
    let username = variable(&format!("{prefix}_USERNAME"));
    let password = variable(&format!("{prefix}_PASSWORD"));
    match (username, password) {
        (Err(Error::NotSet(username)), Err(Error::NotSet(password))) => {
            Err(Error::NoneSet(username, password))
        }
        (username, password) => {
            let username = one_line(&format!("{prefix}_USERNAME"), username?)?;
            let password = match username.starts_with("_json_key") {
                // Google's registries take a key file as the password.
                true => password?,
                false => one_line(&format!("{prefix}_PASSWORD"), password?)?,
            };
            Ok(Credentials::Basic {
                username,
                password: SecretString::from(password),
            })
        }
    }
}

/// Returns the value of a variable, without line ends at its end, as `echo` adds one.
fn variable(name: &str) -> Result<String, Error> {
    let value = std::env::var_os(name).ok_or_else(|| Error::NotSet(name.to_owned()))?;
    let value = value
        .into_string()
        .map_err(|_| Error::NotText(name.to_owned()))?;
    if let Some(rule) = redaction::hidden_rule(&value) {
        let name = name.to_owned();
        return Err(Error::Hidden { name, rule });
    }
    match value.trim_end_matches(['\r', '\n']) {
        "" => Err(Error::Empty(name.to_owned())),
        value => Ok(value.to_owned()),
    }
}

/// Checks that a value has one line: no registry accepts more.
fn one_line(name: &str, value: String) -> Result<String, Error> {
    match value.contains(['\r', '\n']) {
        true => Err(Error::SeveralLines(name.to_owned())),
        false => Ok(value),
    }
}

/// Returns the credential files of Podman, Skopeo and Docker, in the order of
/// containers-auth.json(5).
fn files() -> Vec<PathBuf> {
    let folder = |name: &str| {
        let folder = std::env::var_os(name).filter(|folder| !folder.is_empty());
        folder.map(PathBuf::from)
    };
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
