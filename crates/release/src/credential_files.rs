//! Finds the credentials of a registry in the files of Docker, Podman and Skopeo, `auth.json` and
//! `config.json`, and from the helpers that these name.
//!
//! The rules are those of containers-auth.json(5): the longest key that is the registry or a prefix
//! of `registry/project` wins, for `auths` and for `credHelpers`. Other programs write these files,
//! so unknown fields and unusual entries are accepted.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use crate::{Credentials, Variables};

/// The credentials in a file are not usable.
#[derive(Debug, thiserror::Error)]
pub enum CredentialFileError {
    /// The file cannot be read.
    #[error("cannot read `{path}`", path = path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The file is not a credential file. The parser's message is left out, since it may quote a
    /// secret.
    #[error("`{path}` is not a credential file: expected JSON with `auths`, `credHelpers` or `credsStore`", path = path.display())]
    Form {
        /// Path of the file.
        path: PathBuf,
    },
    /// An entry is not valid.
    #[error("{path}: the entry `{key}` {rule}", path = path.display())]
    Entry {
        /// Path of the file.
        path: PathBuf,
        /// Key of the entry.
        key: String,
        /// What is wrong, as the end of a sentence about the entry.
        rule: &'static str,
    },
}

/// The registry and project to find credentials for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Address of the registry, `host[:port]`.
    pub address: &'a str,
    /// Project in the registry; may be empty.
    pub project: &'a str,
}

/// A credential file.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    /// Entries are parsed only if they match, so a malformed entry of a different host is ignored.
    auths: Option<BTreeMap<String, Value>>,
    cred_helpers: Option<BTreeMap<String, Value>>,
    creds_store: Option<String>,
}

/// The entry of a key. Docker leaves it empty if a helper has the secret.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

/// The answer of a helper.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Returns the credentials in the first of `files` that has some. Calls `warn` and continues if a
/// helper is missing, fails or hangs, since the registry may need no credentials.
///
/// # Errors
/// An existing file cannot be read, or its entry for the registry is not valid.
pub fn find(
    files: &[PathBuf],
    wanted: Wanted<'_>,
    variables: &Variables,
    warn: &mut dyn FnMut(String),
) -> Result<Credentials, CredentialFileError> {
    for path in files {
        let Some(file) = read(path)? else { continue };
        if let Some(credentials) = file.find(path, wanted, variables, warn)? {
            return Ok(credentials);
        }
    }
    Ok(Credentials::Anonymous)
}

/// Parses a file. Returns `None` if it is missing, or empty as tools leave it before they write it.
fn read(path: &Path) -> Result<Option<File>, CredentialFileError> {
    let text = match files::read_text(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(CredentialFileError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Ok(None);
    }
    // serde would also accept a JSON array for a struct.
    let file = match text.starts_with('{') {
        true => serde_json::from_str(text).ok(),
        false => None,
    };
    match file {
        Some(file) => Ok(Some(file)),
        None => Err(CredentialFileError::Form {
            path: path.to_owned(),
        }),
    }
}

impl File {
    fn find(
        &self,
        path: &Path,
        wanted: Wanted<'_>,
        variables: &Variables,
        warn: &mut dyn FnMut(String),
    ) -> Result<Option<Credentials>, CredentialFileError> {
        for key in keys(wanted) {
            let helper = self.cred_helpers.iter().flatten();
            for (known, name) in helper.filter(|(known, _)| same_key(known, &key)) {
                let name = Option::<String>::deserialize(name)
                    .map_err(|_| wrong(path, known, "does not name a credential helper"))?;
                let Some(name) = name.as_deref().filter(|name| !name.is_empty()) else {
                    continue;
                };
                if let Some(found) = ask(path, name, &key, variables, warn)? {
                    return Ok(Some(found));
                }
            }
            let entries = self.auths.iter().flatten();
            let entries = entries.filter(|(known, _)| same_key(known, &key));
            for (known, entry) in entries {
                let entry = Option::<Entry>::deserialize(entry)
                    .map_err(|_| wrong(path, known, "is not an object with `auth`"))?;
                let found = entry.map(|entry| entry.credentials(path, known));
                if let Some(found) = found.transpose()?.flatten() {
                    return Ok(Some(found));
                }
                let store = self.creds_store.as_deref().filter(|name| !name.is_empty());
                // An empty entry means that `credsStore` has the credentials. The store is queried
                // for the registry itself below.
                if let Some(name) = store.filter(|_| key != wanted.address)
                    && let Some(found) = ask(path, name, &key, variables, warn)?
                {
                    return Ok(Some(found));
                }
            }
        }
        match self.creds_store.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => ask(path, name, wanted.address, variables, warn),
            None => Ok(None),
        }
    }
}

impl Entry {
    /// Returns the credentials of the entry, if it has some.
    fn credentials(
        &self,
        path: &Path,
        key: &str,
    ) -> Result<Option<Credentials>, CredentialFileError> {
        let wrong = |rule| wrong(path, key, rule);
        let given = |text: &Option<String>| text.clone().unwrap_or_default();
        if !given(&self.identitytoken).is_empty() {
            return Err(wrong(
                "contains an identity token, which is not supported: log in with user and password",
            ));
        }
        let auth = given(&self.auth);
        if auth.trim().is_empty() {
            return Ok(basic(given(&self.username), given(&self.password)));
        }
        let form = "has an `auth` that is not user and password in base64";
        let decoded = BASE64_STANDARD
            .decode(auth.trim())
            .map_err(|_| wrong(form))?;
        let decoded = String::from_utf8(decoded).map_err(|_| wrong(form))?;
        let (username, password) = decoded.split_once(':').ok_or_else(|| wrong(form))?;
        // Some versions of Docker pad the password with NUL bytes.
        let password = password.trim_end_matches(['\0', '\r', '\n']);
        Ok(basic(username.to_owned(), password.to_owned()))
    }
}

fn wrong(path: &Path, key: &str, rule: &'static str) -> CredentialFileError {
    CredentialFileError::Entry {
        path: path.to_owned(),
        key: key.to_owned(),
        rule,
    }
}

/// Returns the credentials without the line end that `echo` adds to a password.
fn basic(username: String, password: String) -> Option<Credentials> {
    let password = password.trim_end_matches(['\r', '\n']);
    (!username.is_empty() || !password.is_empty()).then(|| Credentials::Basic {
        username,
        password: SecretString::from(password),
    })
}

/// Queries a helper for a key.
fn ask(
    path: &Path,
    name: &str,
    key: &str,
    variables: &Variables,
    warn: &mut dyn FnMut(String),
) -> Result<Option<Credentials>, CredentialFileError> {
    let mut skip = |why: String| {
        warn(format!(
            "no credentials from {}, which {} names for {key}: {why}",
            name,
            path.display()
        ));
        Ok(None)
    };
    let answer = match programs::ask_credential_helper(name, key, variables) {
        Ok(Some(answer)) => answer,
        Ok(None) => return Ok(None),
        Err(error) => return skip(error.to_string()),
    };
    match serde_json::from_str::<Answer>(answer.expose_secret()) {
        // Helpers mark an identity token by this user name.
        Ok(answer) if answer.username == "<token>" => Err(wrong(
            path,
            key,
            "returns an identity token, which is not supported: log in with user and password",
        )),
        Ok(answer) => Ok(basic(answer.username, answer.secret)),
        Err(_) => skip("its output is not the JSON of a credential helper".to_owned()),
    }
}

/// Returns the possible keys of an entry, longest first: `host/a/b`, `host/a`, `host`.
fn keys(wanted: Wanted<'_>) -> Vec<String> {
    let project = wanted.project.trim_matches('/');
    let longest = format!("{}/{project}", wanted.address);
    let mut keys = Vec::new();
    let mut key = longest.trim_end_matches('/');
    while key.len() > wanted.address.len() {
        keys.push(key.to_owned());
        key = key.rsplit_once('/').map_or("", |(before, _)| before);
    }
    keys.push(wanted.address.to_owned());
    keys
}

/// Returns whether a key in a file matches. Older keys of Docker are URLs, of which only the host
/// counts.
fn same_key(known: &str, key: &str) -> bool {
    let known = known.trim_end_matches('/');
    if known == key {
        return true;
    }
    let rest = known
        .strip_prefix("https://")
        .or_else(|| known.strip_prefix("http://"));
    rest.is_some_and(|rest| rest == key || rest.split('/').next() == Some(key))
}

#[cfg(test)]
mod tests;
