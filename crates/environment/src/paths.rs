//! Where the paths in a file lead to, and what to say of one that leads nowhere.

use std::io;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};

use crate::problem::quote;
use crate::yaml::Source;

/// Returns the path that a file means, relative to the same folder as the file's own path.
///
/// `directory` is the folder of the file that names the path. `..` is resolved by the letter;
/// nothing is returned where it leads above the start.
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

/// Returns the folder of a file, as the file's path is shown.
pub(crate) fn directory(source: &Source) -> &Utf8Path {
    source.path.parent().unwrap_or(Utf8Path::new(""))
}

/// Returns where a path that was not found was looked for.
pub(crate) fn looked_for_from(source: &Source) -> String {
    format!(
        "the path is relative to {}, the folder of this file",
        quote(directory(source).as_str())
    )
}

/// Returns whether an error means that there is nothing at a path.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
