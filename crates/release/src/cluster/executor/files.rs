//! Files that are written for mkectl, and files that mkectl writes.

use std::os::unix::fs::PermissionsExt as _;

use camino::Utf8Path;
use oci_spec::image::Digest;
use secrecy::ExposeSecret as _;

use super::Target;
use crate::cluster::existing;
use crate::config::resolve;
use crate::event::Event;
use crate::transfer::program::Program;
use crate::transfer::{fetch, present, stream};
use crate::workspace::{make_folder_of, read_if_exists, remove_if_exists, write_atomically};
use crate::{Context, Error, workspace};

/// Size limit of a release matrix, which has some kilobytes.
const LARGEST_MATRIX: u64 = 16 << 20;

/// Writes the release matrix of the bundle to the path that mkectl is given, unmodified: the vendor
/// supports no modified one (DOCS-SRC). Reads the bundle if the store lacks the matrix.
pub(super) async fn write_matrix(
    context: &Context<'_>,
    target: &Target<'_>,
    path: &Utf8Path,
    file: &bundle::LockedFile,
) -> Result<(), Error> {
    let lock = target.lock;
    let store = fetch::open_store(context.workspace)?;
    let digest: Digest = format!("sha256:{}", file.sha256)
        .parse()
        .unwrap_or_else(|_| unreachable!("a lock's digests were checked when it was read"));
    if !store.has(&digest, file.size) {
        let source = fetch::source(context.workspace, lock)?;
        let lacking = present::missing_matrix(lock, &store).filter(|_| context.offline);
        if let (fetch::Source::Download(_), Some(matrix)) = (source, lacking) {
            return Err(Error::Fetch(fetch::Error::NoMatrix {
                environment: target.environment.name.clone(),
                matrix,
            }));
        }
        let _ = stream::fetch(context, lock).await?;
    }
    let bytes = store
        .read(&digest, LARGEST_MATRIX)
        .map_err(|source| Error::store(context.workspace, source))?;
    let text = String::from_utf8(bytes).map_err(|_| {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not text");
        Error::read(Utf8Path::new(&file.path), source)
    })?;
    write_atomically(path, &text)
}

/// Writes the live configuration to a new file. A rehearsal has no cluster: the rendered
/// configuration is written instead.
pub(super) fn keep_config(
    target: &Target<'_>,
    program: &Program,
    path: &Utf8Path,
) -> Result<(), Error> {
    let text = match target.environment.rehearsal {
        true => target.config.text.clone(),
        false => existing::require_live_config(target.environment, program)?.0,
    };
    make_folder_of(path)?;
    files::write_new(path, text, files::Access::Owner)
        .map_err(|source| Error::io("write", path, source))
}

/// Returns the live configuration: the contents of the file that mkectl wrote, or the answer of the
/// cluster if that file is missing. The inner error is the failure to ask the cluster.
///
/// # Errors
/// The file exists and cannot be read.
pub(super) fn live_config(
    program: &Program,
    file: Option<&Utf8Path>,
) -> Result<Result<String, Error>, Error> {
    let written = file.map(read_if_exists).transpose()?.flatten();
    Ok(match written {
        Some(text) => Ok(text),
        None => tokio::task::block_in_place(|| program.config_get()),
    })
}

/// Writes the hosts file of an upgrade from MKE 3, with references replaced by their values.
pub(super) fn write_hosts(
    context: &Context<'_>,
    target: &Target<'_>,
    path: &Utf8Path,
    private_addresses: bool,
) -> Result<(), Error> {
    let resolved = resolve::text(context, target.environment, target.release)?;
    let text = match &resolved {
        Some(resolved) => resolved.expose_secret(),
        None => target.config.text.as_str(),
    };
    let machines = mke::machines(text).map_err(|source| workspace::Error::Hosts { source })?;
    if machines.iter().any(|machine| machine.ssh.bastion.is_some()) {
        context.reporter.report(Event::Warning(
            "hosts have a bastion, which the hosts file for an upgrade from MKE 3 does not support: they must be reachable without it"
                .to_owned(),
        ));
    }
    let text = mke::migration_hosts(&machines, private_addresses)
        .map_err(|source| workspace::Error::Hosts { source })?;
    write_atomically(path, &text)
}

/// Removes a file that an earlier run left, and protects its folder: only its owner can read it.
///
/// # Errors
/// The file cannot be removed, or the folder cannot be made or protected.
pub(super) fn clear_output(path: &Utf8Path) -> Result<(), Error> {
    let folder = files::folder_of(path);
    make_folder_of(path)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
        .map_err(|source| Error::io("protect", folder, source))?;
    remove_if_exists(path)
}
