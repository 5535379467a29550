//! The configuration with the values of its references, in a file that lives as long as mkectl
//! needs it.
//!
//! What is committed holds references. Only mkectl gets the values: in a file that its owner alone
//! may read, in the folder of the logs, which is not committed. It is removed after; one that a
//! killed run has left is removed by the next.

use std::io::Write as _;

use camino::{Utf8Path, Utf8PathBuf};
use environment::{Environment, Reference};
use secrecy::{ExposeSecret as _, SecretString};
use tempfile::NamedTempFile;

use crate::config::render;
use crate::{Context, Error};

/// What the names of such files begin with.
const PREFIX: &str = ".mke4-";

/// A configuration for mkectl alone. Its file is gone when this is dropped.
pub(crate) struct Resolved {
    file: Option<NamedTempFile>,
    path: Utf8PathBuf,
}

impl Resolved {
    /// Returns the file to apply.
    pub(crate) fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Removes the file, and returns what came of its use.
    ///
    /// # Errors
    /// That of its use, which matters more; or else it cannot be removed, and so holds secrets
    /// still.
    pub(crate) fn remove_after<T>(self, outcome: Result<T, Error>) -> Result<T, Error> {
        let removed = self.file.map_or(Ok(()), tempfile::NamedTempFile::close);
        let used = outcome?;
        removed.map_err(|source| Error::io("remove", &self.path, source))?;
        Ok(used)
    }
}

/// Returns whether an environment's configuration has values that only mkectl may see. A
/// rehearsal's stand-in does not need them.
fn is_needed(environment: &Environment) -> bool {
    !environment.rehearsal && !environment::references(&environment.config).is_empty()
}

/// Checks that every reference has a value.
///
/// # Errors
/// One has none.
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

/// Returns the configuration with its values, where it has references.
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

/// Returns the file that mkectl is to apply: `written` itself where it holds everything.
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

/// Returns a file of its own with the environment's configuration, whether it has references or
/// not: for commands that are to find it and not to change what is committed.
///
/// # Errors
/// It cannot be rendered, a reference has no value, or the file cannot be written.
pub(crate) fn temporary(
    context: &Context<'_>,
    environment: &Environment,
    release: &mke::Release,
    directory: &Utf8Path,
) -> Result<Resolved, Error> {
    let resolved = resolve(context, environment, release)?;
    scratch(directory, resolved.text.expose_secret())
}

/// Returns a file with a text for mkectl alone.
///
/// # Errors
/// It cannot be written.
pub(crate) fn scratch(directory: &Utf8Path, text: &str) -> Result<Resolved, Error> {
    std::fs::create_dir_all(directory).map_err(|source| Error::io("make", directory, source))?;
    remove_leftovers(directory)?;
    let failed = |source| Error::io("write", directory, source);
    let mut file = tempfile::Builder::new()
        .prefix(PREFIX)
        .suffix(".yaml")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .tempfile_in(directory)
        .map_err(failed)?;
    // For as long as it is needed: the lock ends with this program, however that ends.
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
            Some(value) if value.is_empty() => Err("is empty".to_owned()),
            Some(value) => match value.to_str() {
                Some(text) => Ok(SecretString::from(text)),
                None => Err("is not UTF-8 text".to_owned()),
            },
        },
        Reference::File(path) => {
            let path = context.workspace.root().join(path);
            match files::read_text(path) {
                Ok(text) if text.is_empty() => Err("is empty".to_owned()),
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

/// Returns whether no process holds a file. It is opened for reading and writing, because NFS
/// grants an exclusive lock on no other.
fn is_left(path: &Utf8Path) -> bool {
    let is_file = path.symlink_metadata().is_ok_and(|found| found.is_file());
    let file = std::fs::File::options().read(true).write(true).open(path);
    is_file && file.is_ok_and(|file| file.try_lock().is_ok())
}

/// Removes what runs that were killed have left. What another run still holds stays.
fn remove_leftovers(directory: &Utf8Path) -> Result<(), Error> {
    let failed = |source| Error::io("list", directory, source);
    for entry in directory.read_dir_utf8().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().starts_with(PREFIX) {
            continue;
        }
        if is_left(entry.path()) {
            std::fs::remove_file(entry.path())
                .map_err(|source| Error::io("remove", entry.path(), source))?;
        }
    }
    Ok(())
}
