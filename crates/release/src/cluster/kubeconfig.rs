//! Gets the kubeconfig of the cluster. All of it is a secret: it is not logged, and written to one
//! file.

use std::sync::{Mutex, PoisonError};

use camino::Utf8Path;
use environment::Environment;
use programs::Results;
use secrecy::{ExposeSecret as _, SecretString};

use super::{Cluster, RunOptions};
use crate::config::check::{KUBECONFIG, refuse_committed};
use crate::workspace::{FileKind, check_named, refuse};
use crate::{Context, Error, Workspace, cluster};

/// Returns the kubeconfig that mkectl prints. `typed` are additional arguments for mkectl.
///
/// # Errors
/// - A suitable mkectl is missing, or it failed.
/// - [`cluster::Error::NoKubeconfig`] if it printed none.
pub fn kubeconfig(
    context: &Context<'_>,
    environment: Environment,
    typed: &[String],
) -> Result<SecretString, Error> {
    super::refuse_a_rehearsal(&environment)?;
    // Not `Cluster::real`: the kubeconfig that the environment names may not exist yet.
    let cluster = Cluster::of(context, environment)?;
    let help = cluster.help(&["kubeconfig"])?;
    let printed = Mutex::new(String::new());
    let options = RunOptions {
        name: "kubeconfig",
        changes: false,
        results: Some(&printed),
    };
    let ran = cluster.run_with(context, &options, |config| {
        let command = cluster.mkectl().kubeconfig(config, &help);
        command.results(Results::Unlogged).typed(typed)
    })?;
    let printed = printed.into_inner().unwrap_or_else(PoisonError::into_inner);
    match programs::document(&printed) {
        Some(text) => Ok(SecretString::from(text)),
        None => Err(cluster::Error::NoKubeconfig { log: ran.log }.into()),
    }
}

/// Checks that a kubeconfig may be written to a path that the operator typed, before mkectl is run
/// for it.
///
/// # Errors
/// The path is one that [`keep`] refuses, or git would commit the file.
pub fn check_output(
    context: &Context<'_>,
    environment: &Environment,
    path: &Utf8Path,
) -> Result<(), Error> {
    check_named(context.workspace, path, FileKind::Kubeconfig)?;
    refuse_committed(context, environment, path, (KUBECONFIG, "kubeconfig"))
}

/// Writes a kubeconfig to a file that only its owner can read. An existing file is replaced only if
/// `replace`.
///
/// # Errors
/// - The file exists, or cannot be written.
/// - The path is that of a device, a pipe or a file of the workspace.
pub fn keep(
    workspace: &Workspace,
    kubeconfig: &SecretString,
    path: &Utf8Path,
    replace: bool,
) -> Result<(), Error> {
    refuse(workspace, path, FileKind::Kubeconfig)?;
    let text = kubeconfig.expose_secret();
    match replace {
        true => files::write(path, text, files::Access::Owner),
        false => files::write_new(path, text, files::Access::Owner),
    }
    .map_err(|source| Error::io("write", path, source))
}
