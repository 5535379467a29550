//! Places a locked bundle in `bundles/`, where every later step looks for it.

use camino::{Utf8Path, Utf8PathBuf};

use crate::Context;
use crate::event::Event;

/// How a bundle was placed in `bundles/`. Has its path, relative to the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// As a hard link.
    Linked(Utf8PathBuf),
    /// As a copy.
    Copied(Utf8PathBuf),
}

/// Links or copies `bundle` to its place in `bundles/`, unless that file exists. The lock is
/// already written, so a failure is only a warning.
pub(super) fn keep(
    context: &Context<'_>,
    bundle: &Utf8Path,
    lock: &bundle::Lock,
) -> Option<Placed> {
    let place = context.workspace.bundle(&lock.bundle.file);
    let shown = context.workspace.shown(&place).to_owned();
    let warn = |text: String| context.reporter.report(Event::Warning(text));
    match std::fs::symlink_metadata(&place) {
        Ok(found) if found.is_file() && is_the_same(&place, lock) => return None,
        Ok(_) if place.canonicalize_utf8().ok() == bundle.canonicalize_utf8().ok() => return None,
        Ok(_) => {
            warn(format!(
                "{shown} exists and is not the locked bundle; replace it with {bundle} before the next fetch or push"
            ));
            return None;
        }
        Err(_) => {}
    }
    match tokio::task::block_in_place(|| link_or_copy(bundle, &place)) {
        Ok(true) => Some(Placed::Linked(shown)),
        Ok(false) => Some(Placed::Copied(shown)),
        Err(error) => {
            warn(format!("{bundle} is not copied to {shown}: {error}"));
            None
        }
    }
}

fn is_the_same(place: &Utf8Path, lock: &bundle::Lock) -> bool {
    let size = place.metadata().map(|found| found.len());
    let hash = || bundle::hash_file(place, &bundle::Silent);
    size.is_ok_and(|size| size == lock.bundle.size)
        && tokio::task::block_in_place(hash).is_ok_and(|(_, found)| found == lock.bundle.sha256)
}

/// Returns true if the bundle was linked, false if it was copied.
fn link_or_copy(bundle: &Utf8Path, place: &Utf8Path) -> std::io::Result<bool> {
    // A hard link to a symbolic link would be a symbolic link.
    let bundle = bundle.canonicalize_utf8()?;
    if std::fs::hard_link(&bundle, place).is_ok() {
        return Ok(true);
    }
    files::remove_abandoned(files::folder_of(place));
    let mut copy = files::temporary_beside(place)?;
    std::io::copy(&mut files::open(&bundle)?, copy.as_file_mut())?;
    files::persist_new(copy, place, files::Access::All)?;
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_linked_or_copied() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let (bundle, place) = (root.join("elsewhere"), root.join("place"));
        std::fs::write(&bundle, "bundle").unwrap();
        assert!(link_or_copy(&bundle, &place).unwrap());
        assert_eq!(std::fs::read_to_string(&place).unwrap(), "bundle");
        // `/dev/shm`, if it exists, is a different file system.
        if let Ok(other) = tempfile::tempdir_in("/dev/shm") {
            let place = Utf8Path::from_path(other.path()).unwrap().join("place");
            // The remains of an interrupted copy.
            let left = place.with_file_name(".AbCdEf.part");
            std::fs::write(&left, "bun").unwrap();
            if !link_or_copy(&bundle, &place).unwrap() {
                assert!(!left.exists());
            }
            assert_eq!(std::fs::read_to_string(&place).unwrap(), "bundle");
        }
    }
}
