//! Packs the sources of all dependencies, so the program can be built without internet.

use camino::Utf8Path;
use medium::{Source, What};

use super::{Error, read};
use crate::Context;

/// Collects the sources in a tar archive of the folder `vendor`.
///
/// # Errors
/// Cargo fails, or a file cannot be read or written.
pub(super) fn vendored(
    context: &Context<'_>,
    scratch: &Utf8Path,
    largest: u64,
) -> Result<Source, crate::Error> {
    let root = context.workspace.root();
    let lock = root.join("Cargo.lock");
    let text = files::read(&lock).map_err(|source| crate::Error::read(&lock, source))?;
    let folder = scratch.join("vendor");
    let config = programs::vendor(
        root,
        &folder,
        context.offline,
        &context.tool.cargo_variables,
    )
    .map_err(|source| Error::Vendor { source })?;
    let to = folder.join("config.toml");
    let config = config.replace(folder.as_str(), "vendor");
    std::fs::write(&to, config).map_err(|source| crate::Error::io("write", &to, source))?;
    let tar = scratch.join("vendor.tar");
    medium::tar_folder(&folder, "vendor", &tar).map_err(|source| Error::Medium { source })?;
    let what = What::Sources {
        cargo_lock: crate::sha256(&text),
    };
    Ok(read(what, &tar, largest)?)
}
