//! The configuration with its references replaced by values, in a temporary file for mkectl.
//!
//! The committed file has references. Only mkectl gets the values, in a file that its owner alone
//! may read, in the folder of the logs, which is not committed. The file is removed afterwards. The
//! next run removes that of a killed run.

use std::io::Write as _;

use camino::{Utf8Path, Utf8PathBuf};
use environment::{Environment, Reference};
use secrecy::{ExposeSecret as _, SecretString};
use tempfile::NamedTempFile;

use crate::config::render;
use crate::{Context, Error};

/// Prefix of the names of such files.
const PREFIX: &str = ".mke4-";

/// A configuration file for mkectl. If it is temporary, dropping this value removes it.
pub(crate) struct Resolved {
    file: Option<NamedTempFile>,
    path: Utf8PathBuf,
}

impl Resolved {
    /// Returns the file to apply.
    pub(crate) fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Removes the file, and returns the result of its use.
    ///
    /// # Errors
    /// The error of `outcome`, or else that of the removal: the file still has secrets.
    pub(crate) fn remove_after<T>(self, outcome: Result<T, Error>) -> Result<T, Error> {
        let removed = self.file.map_or(Ok(()), tempfile::NamedTempFile::close);
        let used = outcome?;
        removed.map_err(|source| Error::io("remove", &self.path, source))?;
        Ok(used)
    }
}

/// Returns whether an environment's configuration has references to resolve. A rehearsal's stand-in
/// does not need their values.
fn is_needed(environment: &Environment) -> bool {
    !environment.rehearsal && !environment::references(&environment.config).is_empty()
}

/// Checks that every reference has a value.
///
/// # Errors
/// A reference has no value.
pub(crate) fn check(
    context: &Context<'_>,
    environment: &Environment,
    release: &mke::Release,
) -> Result<(), Error> {
    if is_needed(environment) {
        let _ = resolve(context, environment, release)?;
    }
    Ok(())
}

/// Returns the configuration with its values, or `None` if it has no references.
///
/// # Errors
/// A reference has no value.
pub(crate) fn text(
    context: &Context<'_>,
    environment: &Environment,
    release: &mke::Release,
) -> Result<Option<SecretString>, Error> {
    match is_needed(environment) {
        true => Ok(Some(resolve(context, environment, release)?.text)),
        false => Ok(None),
    }
}

/// Returns the file for mkectl: a temporary one, or `written` if it has no references.
///
/// # Errors
/// A reference has no value, or the file cannot be written.
pub(crate) fn file(
    context: &Context<'_>,
    environment: &Environment,
    release: &mke::Release,
    directory: &Utf8Path,
    written: &Utf8Path,
) -> Result<Resolved, Error> {
    if !is_needed(environment) {
        return Ok(Resolved {
            file: None,
            path: written.to_owned(),
        });
    }
    temporary(context, environment, release, directory)
}

/// Returns a temporary file with the environment's configuration, even without references, for
/// commands that must not change the committed file.
///
/// # Errors
/// The configuration cannot be rendered, a reference has no value, or the file cannot be written.
pub(crate) fn temporary(
    context: &Context<'_>,
    environment: &Environment,
    release: &mke::Release,
    directory: &Utf8Path,
) -> Result<Resolved, Error> {
    let resolved = resolve(context, environment, release)?;
    scratch(directory, resolved.text.expose_secret())
}

/// Returns a temporary file with a text for mkectl.
///
/// # Errors
/// It cannot be written.
pub(crate) fn scratch(directory: &Utf8Path, text: &str) -> Result<Resolved, Error> {
    std::fs::create_dir_all(directory).map_err(|source| Error::io("make", directory, source))?;
    remove_abandoned(directory)?;
    let failed = |source| Error::io("write", directory, source);
    let mut file = tempfile::Builder::new()
        .prefix(PREFIX)
        .suffix(".yaml")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .tempfile_in(directory)
        .map_err(failed)?;
    // The lock ends with this process, so a later run recognises an abandoned file.
    file.as_file().lock().map_err(failed)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.flush())
        .map_err(failed)?;
    let path = Utf8PathBuf::try_from(file.path().to_owned())
        .map_err(|error| failed(error.into_io_error()))?;
    Ok(Resolved {
        file: Some(file),
        path,
    })
}

fn resolve(
    context: &Context<'_>,
    environment: &Environment,
    release: &mke::Release,
) -> Result<mke::Resolved, Error> {
    let read = |reference: &Reference| match reference {
        Reference::Variable(name) => match context.tool.variables.get(name) {
            None => Err("is not set".to_owned()),
            Some(value) => match value.to_str() {
                Some(text) if text.trim().is_empty() => Err("is empty".to_owned()),
                Some(text) => Ok(SecretString::from(text)),
                None => Err("is not UTF-8 text".to_owned()),
            },
        },
        Reference::File(path) => {
            let path = context.workspace.root().join(path);
            match files::read_text(path) {
                Ok(text) if text.trim().is_empty() => Err("is empty".to_owned()),
                Ok(text) => Ok(SecretString::from(text)),
                Err(error) => Err(format!("cannot be read: {error}")),
            }
        }
    };
    let resolved = render::resolve(environment, release, &read)?;
    for secret in &resolved.secrets {
        redaction::run().add(secret.expose_secret());
    }
    Ok(resolved)
}

/// Returns whether no process has locked a file. It is opened for reading and writing, because NFS
/// requires both for an exclusive lock.
fn is_abandoned(path: &Utf8Path) -> bool {
    let is_file = path.symlink_metadata().is_ok_and(|found| found.is_file());
    let file = std::fs::File::options().read(true).write(true).open(path);
    is_file && file.is_ok_and(|file| file.try_lock().is_ok())
}

/// Removes the files of killed runs, but not those that a run has locked.
fn remove_abandoned(directory: &Utf8Path) -> Result<(), Error> {
    let failed = |source| Error::io("list", directory, source);
    for entry in directory.read_dir_utf8().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().starts_with(PREFIX) {
            continue;
        }
        if is_abandoned(entry.path()) {
            std::fs::remove_file(entry.path())
                .map_err(|source| Error::io("remove", entry.path(), source))?;
        }
    }
    Ok(())
}
