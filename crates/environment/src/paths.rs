//! Resolves the paths in a file relative to the folder of that file.

use std::io;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};

use crate::problem::quote;
use crate::yaml::Source;

/// Resolves a path relative to `directory`, the folder of the file that contains the path.
///
/// `..` removes the component before it; symbolic links are not followed. Returns nothing if `..`
/// leads above the folder that `directory` is relative to.
pub(crate) fn relative_to(directory: &Utf8Path, path: &Utf8Path) -> Option<Utf8PathBuf> {
    let mut resolved = Utf8PathBuf::new();
    for component in directory.join(path).components() {
        match component {
            Utf8Component::CurDir => {}
            Utf8Component::ParentDir => {
                if !resolved.pop() {
                    return None;
                }
            }
            component => resolved.push(component),
        }
    }
    Some(resolved)
}

/// Returns the folder of a file, relative to the workspace root.
pub(crate) fn directory(source: &Source) -> &Utf8Path {
    source.path.parent().unwrap_or(Utf8Path::new(""))
}

/// Returns the help for a path that does not exist: the folder that the path is relative to.
pub(crate) fn base_folder_help(source: &Source) -> String {
    format!(
        "the path is relative to {}, the folder of this file",
        quote(directory(source).as_str())
    )
}

/// Returns whether an error means that a path does not exist.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
