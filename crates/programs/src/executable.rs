//! A program on this machine, found by name on a search path or given by its path.

use std::io::{self, Read};

use camino::{Utf8Path, Utf8PathBuf};

use crate::{Command, Error, Results, Variables, platform};

/// A program, with what all commands of it share. [`Executable::find`] and [`Executable::at`] check
/// that it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executable {
    /// File to execute.
    pub path: Utf8PathBuf,
    /// Arguments before all others.
    pub leading: Vec<String>,
    /// Environment of every command.
    pub variables: Variables,
}

impl Executable {
    /// Returns the program at `path` without checking it.
    pub fn new(path: impl Into<Utf8PathBuf>, variables: Variables) -> Self {
        Self {
            path: path.into(),
            leading: Vec::new(),
            variables,
        }
    }

    /// Returns the first executable file called `name` in the folders of `PATH` in `variables`.
    ///
    /// Folders of that name are skipped, as a shell does. Empty and relative entries of `PATH` are
    /// skipped: a program that receives a registry's password must not depend on the working
    /// directory.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if no file has this name; otherwise [`Error::NotExecutable`] or
    /// [`Error::WrongPlatform`] for the first one.
    pub fn find(name: &str, variables: Variables) -> Result<Self, Error> {
        let path = variables
            .get("PATH")
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mut searched = 0;
        let mut unusable = None;
        for folder in path.split(':').map(Utf8Path::new) {
            if !folder.is_absolute() {
                continue;
            }
            searched += 1;
            let candidate = folder.join(name);
            match check(&candidate) {
                _ if candidate.is_dir() => {}
                Ok(()) => return Ok(Self::new(candidate, variables)),
                Err(Error::Missing { .. }) => {}
                Err(error) => unusable = unusable.or(Some(error)),
            }
        }
        Err(unusable.unwrap_or(Error::NotFound {
            name: name.to_owned(),
            searched,
        }))
    }

    /// Returns the program at `path`.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if the file does not exist, [`Error::NotExecutable`] if it is not
    /// executable, [`Error::WrongPlatform`] if it is for a different platform.
    pub fn at(path: impl Into<Utf8PathBuf>, variables: Variables) -> Result<Self, Error> {
        let path = path.into();
        check(&path)?;
        Ok(Self::new(path, variables))
    }

    /// Returns the program with arguments before all others.
    #[must_use]
    pub fn leading<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.leading = arguments.into_iter().map(Into::into).collect();
        self
    }

    /// Returns a command of this program. Its name in messages is `name` and the arguments before
    /// the first flag.
    pub fn command<'a>(
        &self,
        name: &'a str,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Command {
        let arguments: Vec<&str> = arguments.into_iter().collect();
        let words = arguments.iter().take_while(|word| !word.starts_with('-'));
        let name: Vec<&str> = [name].iter().chain(words).copied().collect();
        let own = arguments.iter().map(|argument| (*argument).to_owned());
        Command {
            name: name.join(" "),
            program: self.path.clone(),
            arguments: self.leading.iter().cloned().chain(own).collect(),
            secrets: Vec::new(),
            secret_arguments: Vec::new(),
            results: Results::default(),
            directory: None,
            is_private: false,
            time_limit: None,
            masked: Vec::new(),
            variables: self.variables.clone(),
        }
    }
}

/// Checks that the file is a program for this machine and executable.
fn check(path: &Utf8Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;

    let metadata = std::fs::metadata(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::Missing {
            path: path.to_owned(),
        },
        _ => Error::NotExecutable {
            path: path.to_owned(),
        },
    })?;
    // Any of the three bits counts here. `execve` decides for this user, and its refusal becomes
    // the same error.
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return Err(Error::NotExecutable {
            path: path.to_owned(),
        });
    }
    // An executable file may be unreadable. Then only the operating system can tell.
    match beginning(path).ok().as_deref().and_then(platform::foreign) {
        None => Ok(()),
        Some(found) => Err(Error::WrongPlatform {
            program: path.to_owned(),
            found,
        }),
    }
}

/// Returns the first bytes of a file, enough to recognise its kind.
fn beginning(path: &Utf8Path) -> io::Result<Vec<u8>> {
    let mut header = Vec::with_capacity(platform::HEADER);
    files::open(path)?
        .take(platform::HEADER as u64)
        .read_to_end(&mut header)?;
    Ok(header)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Folders {
        root: tempfile::TempDir,
    }

    impl Folders {
        fn new() -> Self {
            Self {
                root: tempfile::tempdir().unwrap(),
            }
        }

        fn path(&self, path: &str) -> Utf8PathBuf {
            Utf8PathBuf::from_path_buf(self.root.path().join(path)).unwrap()
        }

        fn file(&self, path: &str, mode: u32) -> Utf8PathBuf {
            let path = self.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        }

        fn variables(&self, folders: &[&str]) -> Variables {
            let folders: Vec<String> = folders
                .iter()
                .map(|folder| self.path(folder).into_string())
                .collect();
            Variables::inherited([("PATH", folders.join(":"))])
        }
    }

    #[test]
    fn the_first_executable_file_on_the_path_is_taken() {
        let folders = Folders::new();
        folders.file("a/mkectl", 0o644);
        fs::create_dir_all(folders.path("b/mkectl")).unwrap();
        let expected = folders.file("c/mkectl", 0o755);
        folders.file("d/mkectl", 0o755);
        let variables = folders.variables(&["none", "a", "b", "c", "d"]);
        assert_eq!(
            Executable::find("mkectl", variables).unwrap().path,
            expected
        );
    }

    #[test]
    fn not_found_and_not_executable_are_distinguished() {
        let folders = Folders::new();
        folders.file("a/mkectl", 0o644);
        assert_eq!(
            Executable::find("mkectl", folders.variables(&["none", "other"]))
                .unwrap_err()
                .to_string(),
            "no `mkectl` in any folder of PATH (2 searched)"
        );
        assert_eq!(
            Executable::find("mkectl", folders.variables(&["none", "a"]))
                .unwrap_err()
                .to_string(),
            format!("`{}` is not executable", folders.path("a/mkectl"))
        );
        assert!(matches!(
            Executable::at(folders.path("b/mkectl"), Variables::default()),
            Err(Error::Missing { .. })
        ));
        fs::create_dir_all(folders.path("d/mkectl")).unwrap();
        assert!(matches!(
            Executable::find("mkectl", folders.variables(&["d"])),
            Err(Error::NotFound { searched: 1, .. })
        ));
        assert!(matches!(
            Executable::at(folders.path("a/mkectl"), Variables::default()),
            Err(Error::NotExecutable { .. })
        ));
        assert!(matches!(
            Executable::at(folders.path("a"), Variables::default()),
            Err(Error::NotExecutable { .. })
        ));
        let archive = folders.file("c/mkectl", 0o755);
        fs::write(&archive, b"\x1f\x8b\x08\0").unwrap();
        assert_eq!(
            Executable::at(&archive, Variables::default())
                .unwrap_err()
                .to_string(),
            format!("this machine cannot run {archive}: it is a gzip archive")
        );
    }

    #[test]
    fn relative_and_empty_entries_of_the_path_are_never_searched() {
        let variables = Variables::inherited([("PATH", ":.:src:")]);
        assert!(matches!(
            Executable::find("lib.rs", variables),
            Err(Error::NotFound { searched: 0, .. })
        ));
        assert!(matches!(
            Executable::find("mkectl", Variables::default()),
            Err(Error::NotFound { searched: 0, .. })
        ));
    }
}
