//! Writes results to paths from the command line. The operator may mistype a path, so only a file
//! of the same kind is replaced.

use std::io::ErrorKind;

use camino::Utf8Path;

use super::{Error, Output, Workspace, write_file};

/// The kind of a result file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A saved plan of a deploy.
    Plan,
    /// A registry snapshot.
    Snapshot,
    /// A plan of `prune`.
    PrunePlan,
    /// Metrics for a textfile collector.
    Metrics,
    /// A kubeconfig.
    Kubeconfig,
    /// A trace log.
    Trace,
    /// A report on environments.
    Report,
}

impl FileKind {
    /// Returns the option that names the file, if the result otherwise goes to standard output.
    pub fn option(self) -> Option<&'static str> {
        match self {
            Self::Plan | Self::Snapshot | Self::PrunePlan | Self::Report => Some("--out"),
            Self::Kubeconfig => Some("--output"),
            Self::Metrics | Self::Trace => None,
        }
    }

    /// Returns whether a text is of this kind according to its first line. Empty text is of any
    /// kind.
    fn is_kind_of(self, text: &str) -> bool {
        // Earlier versions wrote the program's name, too.
        let first = text.lines().next().unwrap_or_default();
        let first = first.replace("`cargo xtask ", "`");
        if self == Self::Trace {
            return text.is_empty() || first.starts_with('{') && first.contains("\"timestamp\":\"");
        }
        if self == Self::Report {
            return text.is_empty() || first.contains("<!-- Written by `report ");
        }
        let mark = match self {
            Self::Plan => "`deploy ",
            Self::Snapshot => "`snapshot ",
            Self::PrunePlan => "`prune ",
            Self::Metrics => "HELP airlock_",
            // These are replaced only with `--replace`.
            Self::Kubeconfig | Self::Trace | Self::Report => return true,
        };
        text.is_empty() || first.starts_with("# ") && first.contains(mark)
    }
}

impl std::fmt::Display for FileKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Plan => "a plan",
            Self::Snapshot => "a registry snapshot",
            Self::PrunePlan => "a prune plan",
            Self::Metrics => "a file of Airlock's metrics",
            Self::Kubeconfig => "a kubeconfig",
            Self::Trace => "a trace",
            Self::Report => "a report",
        })
    }
}

/// Writes `text` to a typed path atomically. A missing folder is an error, since the path is
/// probably mistyped.
///
/// # Errors
/// The errors of [`refuse`], the path is a symbolic link, or the file cannot be written.
pub(crate) fn write_named(
    workspace: &Workspace,
    path: &Utf8Path,
    kind: FileKind,
    text: &str,
) -> Result<(), crate::Error> {
    refuse(workspace, path, kind)?;
    write_file(path, text)
}

/// Checks that a file of this kind can be written to a typed path, before a command starts its
/// work.
///
/// # Errors
/// The errors of `write_named`.
pub fn check_named(
    workspace: &Workspace,
    path: &Utf8Path,
    kind: FileKind,
) -> Result<(), crate::Error> {
    refuse(workspace, path, kind)?;
    check_writable(path)
}

/// Checks that a file can be written to a typed path.
///
/// # Errors
/// The path is a symbolic link, or its folder is missing or cannot be written to.
pub fn check_writable(path: &Utf8Path) -> Result<(), crate::Error> {
    crate::links::check(path, path)?;
    check_folder(path)?;
    files::temporary_beside(path)
        .map(drop)
        .map_err(|error| crate::Error::io("write", path, error.kind().into()))
}

/// Checks that the folder of a file exists.
///
/// # Errors
/// [`Error::NoFolder`].
pub(super) fn check_folder(path: &Utf8Path) -> Result<(), Error> {
    let folder = files::folder_of(path);
    match folder.exists() {
        true => Ok(()),
        false => Err(Error::NoFolder {
            folder: folder.to_owned(),
        }),
    }
}

/// Creates or truncates a trace at a typed path, readable by its owner alone.
///
/// # Errors
/// The path is a file of a different kind or a symbolic link, or the file cannot be written.
pub fn create_trace(workspace: &Workspace, path: &Utf8Path) -> Result<std::fs::File, crate::Error> {
    use std::os::unix::fs::OpenOptionsExt as _;
    refuse(workspace, path, FileKind::Trace)?;
    check_folder(path)?;
    crate::links::check(path, path)?;
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(|source| crate::Error::io("write", path, source))
}

/// Refuses a typed path that must not be replaced by a file of this kind.
///
/// # Errors
/// The path is that of a file of the workspace, or leads to a device, a pipe, or a file of a
/// different kind.
pub(crate) fn refuse(
    workspace: &Workspace,
    path: &Utf8Path,
    kind: FileKind,
) -> Result<(), crate::Error> {
    let to = path.to_owned();
    if is_reserved(workspace, path) {
        return Err(Error::Reserved { path: to }.into());
    }
    // `/dev/stdout` and `/dev/fd/1` may lead to a regular file.
    let is_stream = path.is_symlink() && ["/dev", "/proc"].iter().any(|top| path.starts_with(top));
    if is_stream {
        let found = "an open file of this process";
        return Err(Error::NotRegular {
            path: to,
            found,
            kind,
        }
        .into());
    }
    match files::read_text(path) {
        Ok(text) if kind.is_kind_of(&text) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Ok(_) => Err(Error::DifferentKind { path: to, kind }.into()),
        Err(source) => Err(match files::Refusal::of(&source) {
            Some(files::Refusal::NotRegular(found)) => Error::NotRegular {
                path: to,
                found,
                kind,
            }
            .into(),
            Some(_) => Error::DifferentKind { path: to, kind }.into(),
            None => crate::Error::read(path, source),
        }),
    }
}

/// Returns whether a path is in `environments/` or `bundles/` and has the name of a file that
/// commands read there.
fn is_reserved(workspace: &Workspace, path: &Utf8Path) -> bool {
    let Some(name) = path.file_name() else {
        return false;
    };
    let Output {
        config,
        receipt,
        admin_password,
        adopted,
        ..
    } = Output::below(Utf8Path::new(""));
    let is_name = [config, receipt, admin_password, adopted]
        .iter()
        .any(|own| own == name)
        || name == "environment.yaml"
        || name.ends_with(bundle::Lock::SUFFIX)
        || name.ends_with(".init.yaml");
    is_name
        && files::folder_of(path)
            .canonicalize_utf8()
            .is_ok_and(|folder| {
                [workspace.root().join("environments"), workspace.bundles()]
                    .iter()
                    .filter_map(|own| own.canonicalize_utf8().ok())
                    .any(|own| folder.starts_with(own))
            })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typed_path_replaces_a_file_of_the_same_kind_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        let workspace = Workspace::new(root);
        for folder in ["environments/lab", "bundles"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        let write = |path: &str| {
            let path = root.join(path);
            let text = "# What `deploy lab --plan FILE` will do\n";
            write_named(&workspace, &path, FileKind::Plan, text)
                .map_err(|error| error.to_string().replace(&format!("{root}/"), ""))
        };
        // A missing file, an empty one, a plan, and one of an earlier version.
        std::fs::write(root.join("empty"), "").unwrap();
        let earlier = "# What `cargo xtask deploy lab --plan FILE` will do\n";
        std::fs::write(root.join("earlier"), earlier).unwrap();
        for path in [
            "new",
            "new",
            "empty",
            "earlier",
            "environments/lab/lab.plan.yaml",
        ] {
            write(path).unwrap();
        }
        for name in [
            "environments/lab/environment.yaml",
            "environments/lab/receipt.yaml",
            "environments/lab/mke4.yaml",
            "bundles/v4.1.5-amd64.lock.yaml",
        ] {
            let refused = write(name).unwrap_err();
            assert_eq!(
                refused,
                format!("`{name}` is reserved for a file of the workspace")
            );
            assert!(!root.join(name).exists());
        }
        std::fs::write(root.join("binary"), b"\xff").unwrap();
        std::fs::write(root.join("prune.yaml"), "# What `prune lab` would remove\n").unwrap();
        for name in ["binary", "prune.yaml"] {
            let before = std::fs::read(root.join(name)).unwrap();
            assert_eq!(
                write(name).unwrap_err(),
                format!("`{name}` exists and is not a plan")
            );
            assert_eq!(std::fs::read(root.join(name)).unwrap(), before);
        }
        let kubeconfig = secrecy::SecretString::from("apiVersion: v1");
        for replace in [false, true] {
            let path = root.join("environments/lab/receipt.yaml");
            let kept = crate::cluster::keep(&workspace, &kubeconfig, &path, replace);
            assert!(matches!(
                kept,
                Err(crate::Error::Workspace(Error::Reserved { .. }))
            ));
        }
        let socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        assert_eq!(
            write("socket").unwrap_err(),
            "`socket` is a socket, not a regular file"
        );
        drop(socket);
        assert_eq!(
            write("bundles").unwrap_err(),
            "`bundles` is a folder, not a regular file"
        );
        for (path, found) in [
            ("/dev/null", "a device"),
            ("/dev/stdout", "an open file of this process"),
        ] {
            let refused = refuse(&workspace, path.into(), FileKind::Plan).unwrap_err();
            assert_eq!(
                refused.to_string(),
                format!("`{path}` is {found}, not a regular file")
            );
        }
    }
}
