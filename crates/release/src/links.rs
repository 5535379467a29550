//! Refuses symbolic links in the places that this program writes to. A workspace from elsewhere may
//! contain links, and writing through one changes a file outside of the workspace.
//!
//! Operators move some folders to a different disk, so these may be links: the workspace,
//! `bundles/`, `bundles/store/`, `environments/` and an environment's folder. Files that are only
//! read may be links, too: bundles, locks, `hosts.csv`, certificates.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use crate::workspace::Output;
use crate::{Error, Kind, Workspace};

/// A symbolic link that is not followed.
#[derive(Debug, thiserror::Error)]
pub enum Link {
    /// A file or folder to write is a link.
    #[error("`{path}` is a symbolic link to {target}; nothing is written through it")]
    Refused {
        /// Path of the link.
        path: Utf8PathBuf,
        /// Target of the link.
        target: Utf8PathBuf,
    },
    /// A folder that may be a link leads to nothing.
    #[error("`{path}` is a symbolic link to {target}, which does not exist")]
    Dangling {
        /// Path of the link.
        path: Utf8PathBuf,
        /// Target of the link.
        target: Utf8PathBuf,
    },
}

impl Link {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Refused { .. } | Self::Dangling { .. } => Kind::Workspace,
        }
    }
}

/// Refuses a workspace with a folder that is a link to nothing, such as a disk that is not mounted.
///
/// # Errors
/// [`Link::Dangling`].
pub fn refuse_dangling(workspace: &Workspace) -> Result<(), Error> {
    let environments = workspace.root().join("environments");
    for path in [environments, workspace.bundles(), workspace.store()] {
        if let Ok(target) = path.read_link_utf8()
            && !path.exists()
        {
            let path = workspace.shown(&path).to_owned();
            return Err(Error::Link(Link::Dangling { path, target }));
        }
    }
    Ok(())
}

/// Refuses links among the files that commands write below `bundles/` and in the folders of
/// `environments`.
///
/// # Errors
/// [`Link::Refused`], or a folder cannot be listed.
pub fn refuse(workspace: &Workspace, environments: &[&str]) -> Result<(), Error> {
    let bundles = workspace.bundles();
    for entry in entries(&bundles)? {
        let name = entry.file_name().unwrap_or_default();
        if name.ends_with(".part") || name.ends_with(".part.json") {
            refuse_one(workspace, &entry)?;
        }
    }
    for folder in ["mkectl", "sessions", "registries", "rehearsal", "bench"] {
        refuse_below(workspace, &bundles.join(folder))?;
    }
    let store = workspace.store();
    for name in [
        "oci-layout",
        "index.json",
        "index.lock",
        "blobs",
        "blobs/sha256",
    ] {
        refuse_one(workspace, &store.join(name))?;
    }
    refuse_below(workspace, &store.join("incoming"))?;
    refuse_below(workspace, &store.join("partial"))?;
    for name in environments {
        let output = Output::below(&workspace.environment(name));
        for file in [
            &output.config,
            &output.receipt,
            &output.snapshot,
            &output.admin_password,
            &output.adopted,
        ] {
            refuse_one(workspace, file)?;
        }
        refuse_below(workspace, &output.logs)?;
        refuse_below(workspace, &output.backups)?;
    }
    Ok(())
}

/// Refuses a link at `path`. A missing path is accepted.
pub(crate) fn refuse_one(workspace: &Workspace, path: &Utf8Path) -> Result<(), Error> {
    check(path, workspace.shown(path))
}

/// Refuses a link at `path`, which messages name as `shown`.
pub(crate) fn check(path: &Utf8Path, shown: &Utf8Path) -> Result<(), Error> {
    match path.read_link_utf8() {
        Ok(target) => Err(Error::Link(Link::Refused {
            path: shown.to_owned(),
            target,
        })),
        // It is not a link, or does not exist. The write reports any other error.
        Err(_) => Ok(()),
    }
}

/// Refuses links at `folder` and at any depth below it.
fn refuse_below(workspace: &Workspace, folder: &Utf8Path) -> Result<(), Error> {
    refuse_one(workspace, folder)?;
    for entry in entries(folder)? {
        // A folder that is a link is refused and thus not entered.
        refuse_below(workspace, &entry)?;
    }
    Ok(())
}

/// Returns the entries of a folder, or none if it is not a folder.
fn entries(folder: &Utf8Path) -> Result<Vec<Utf8PathBuf>, Error> {
    let listed = match folder.read_dir_utf8() {
        Ok(listed) => listed,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(source) => return Err(Error::io("list", folder, source)),
    };
    listed
        // None of our files has a name that is not UTF-8.
        .filter(|entry| !matches!(entry, Err(error) if error.kind() == io::ErrorKind::InvalidData))
        .map(|entry| entry.map(camino::Utf8DirEntry::into_path))
        .collect::<io::Result<_>>()
        .map_err(|source| Error::io("list", folder, source))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_refused_wherever_something_is_written() {
        for place in [
            "bundles/mke_bundle_v4.1.5_amd64.tar.gz.part",
            "bundles/mke_bundle_v4.1.5_amd64.tar.gz.part.json",
            "bundles/mkectl",
            "bundles/mkectl/v4.1.5/linux-x86_64/mkectl.tar.gz.part",
            "bundles/mkectl/help/x.part",
            "bundles/sessions/x",
            "bundles/registries",
            "bundles/rehearsal/lab/mke4.yaml",
            "bundles/store/incoming",
            "bundles/store/incoming/lock",
            "bundles/store/index.lock",
            "bundles/store/blobs",
            "environments/lab/mke4.yaml",
            "environments/lab/receipt.yaml",
            "environments/lab/admin-password",
            "environments/lab/logs",
            "environments/lab/logs/deploy.log",
            "environments/lab/backups",
        ] {
            let folder = tempfile::tempdir().unwrap();
            let root = Utf8Path::from_path(folder.path()).unwrap();
            let workspace = Workspace::new(root.join("workspace"));
            let link = workspace.root().join(place);
            std::fs::create_dir_all(link.parent().unwrap()).unwrap();
            // The link dangles, so a write would create its target.
            symlink(root.join("outside"), &link).unwrap();
            let error = refuse(&workspace, &["lab"]).unwrap_err();
            let text = error.to_string();
            assert!(
                text.starts_with(&format!("`{place}` is a symbolic link to ")),
                "{text}"
            );
            assert!(!root.join("outside").exists());
        }
    }

    #[test]
    fn folders_that_operators_move_may_be_links() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let workspace = Workspace::new(root.join("workspace"));
        for name in [
            "disk/bundles",
            "disk/store",
            "disk/lab",
            "workspace/environments",
        ] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        symlink(root.join("disk/bundles"), workspace.bundles()).unwrap();
        symlink(root.join("disk/store"), workspace.store()).unwrap();
        symlink(root.join("disk/lab"), workspace.environment("lab")).unwrap();
        for read in ["v4.1.5-amd64.lock.yaml", "mke_bundle_v4.1.5_amd64.tar.gz"] {
            symlink(root.join("elsewhere"), workspace.bundle(read)).unwrap();
        }
        refuse(&workspace, &["lab"]).unwrap();
        refuse_dangling(&workspace).unwrap();
    }

    #[test]
    fn a_folder_that_is_a_link_to_nothing_is_named_with_its_target() {
        for place in ["bundles", "bundles/store", "environments"] {
            let folder = tempfile::tempdir().unwrap();
            let workspace = Workspace::new(Utf8Path::from_path(folder.path()).unwrap());
            refuse_dangling(&workspace).unwrap();
            let link = workspace.root().join(place);
            std::fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink("/nowhere/disk", &link).unwrap();
            let text = refuse_dangling(&workspace).unwrap_err().to_string();
            let expected =
                format!("`{place}` is a symbolic link to /nowhere/disk, which does not exist");
            assert_eq!(text, expected);
        }
    }
}
