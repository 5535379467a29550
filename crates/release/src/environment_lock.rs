//! The lock on an environment: one command at a time changes its files, its registry or its
//! cluster.
//!
//! A command takes it before it computes its plan and keeps it until its receipt is written. The
//! kernel releases it when the process ends, however it ends. The file names the command that holds
//! it. If the file is left, that command was interrupted.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::proof::Mismatch;
use crate::workspace::Output;
use crate::{Context, Error, Kind, receipt};

/// How often a file is opened again because its holder removed it meanwhile.
const TRIES: usize = 100;

/// The longest note of a holder that is read, in bytes.
const LONGEST_NOTE: u64 = 4096;

/// The lock on an environment, until it is dropped.
#[derive(Debug)]
pub struct EnvironmentLock {
    environment: String,
    path: Utf8PathBuf,
    /// None if the file system has no locks or the folder cannot be written to.
    file: Option<File>,
}

/// A command that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Holder {
    /// The command, `deploy`.
    pub command: String,
    /// Its process id.
    pub process: u32,
    /// When it took the lock, in UTC.
    pub since: String,
}

/// The environment is locked by another process.
#[derive(Debug, thiserror::Error)]
#[error("{environment} is in use by {}", holder.as_ref().map_or_else(|| "another process".to_owned(), Holder::named))]
pub struct InUse {
    /// The environment.
    pub environment: String,
    /// The command that holds the lock, if its note can be read.
    pub holder: Option<Holder>,
    /// The lock's file, relative to the workspace.
    pub path: Utf8PathBuf,
}

impl InUse {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        Kind::NotAllowed
    }
}

impl Holder {
    pub(crate) fn named(&self) -> String {
        let Self {
            command,
            process,
            since,
        } = self;
        let command = command.escape_debug();
        let since = since.escape_debug();
        format!("`{command}` (process {process}, since {since})")
    }

    fn read(mut file: &File) -> Option<Self> {
        let mut note = Vec::new();
        file.rewind().ok()?;
        file.take(LONGEST_NOTE).read_to_end(&mut note).ok()?;
        serde_yaml::from_slice(&note).ok()
    }

    fn write(&self, mut file: &File) -> io::Result<()> {
        let text = serde_yaml::to_string(self).map_err(io::Error::other)?;
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(text.as_bytes())
    }
}

impl EnvironmentLock {
    /// Locks an environment for a command. If the file system has no locks, a warning says so and
    /// the command continues.
    ///
    /// # Errors
    /// Another process holds the lock.
    pub fn acquire(context: &Context<'_>, environment: &str, command: &str) -> Result<Self, Error> {
        let output = Output::below(&context.workspace.environment(environment));
        Self::acquire_in(context, environment, &output, command)
    }

    /// Locks the rehearsal of an environment, which leaves the environment itself alone.
    ///
    /// # Errors
    /// Another process holds the lock.
    pub fn acquire_rehearsal(context: &Context<'_>, environment: &str) -> Result<Self, Error> {
        let output = Output::below(&context.workspace.rehearsal(environment));
        Self::acquire_in(context, environment, &output, "rehearse")
    }

    /// Compares the locked environment with the one that is about to be changed.
    ///
    /// # Errors
    /// It is a different one.
    pub(crate) fn require(&self, environment: &str) -> Result<(), Error> {
        match self.environment == environment {
            true => Ok(()),
            false => Err(Error::Proof(Mismatch {
                proof: "EnvironmentLock",
                proven: format!("that {} is locked", self.environment),
                wanted: environment.to_owned(),
            })),
        }
    }

    fn acquire_in(
        context: &Context<'_>,
        environment: &str,
        output: &Output,
        command: &str,
    ) -> Result<Self, Error> {
        let path = lock_file(output);
        let shown = context.workspace.shown(&path).to_owned();
        let warn = |text: String| context.reporter.report(Event::Warning(text));
        let holder = Holder {
            command: command.to_owned(),
            process: std::process::id(),
            since: receipt::now(context),
        };
        match take(&path, &holder) {
            Ok((file, left)) => {
                if let Some(left) = left {
                    warn(format!("{} was interrupted before it ended", left.named()));
                }
                Ok(Self {
                    environment: environment.to_owned(),
                    path,
                    file: Some(file),
                })
            }
            Err(Taking::InUse(holder)) => Err(Error::EnvironmentInUse(InUse {
                environment: environment.to_owned(),
                holder,
                path: shown,
            })),
            Err(Taking::Impossible(source)) => {
                warn(format!(
                    "cannot lock {shown}: {source}; make sure that no other command changes {environment}"
                ));
                Ok(Self {
                    environment: environment.to_owned(),
                    path,
                    file: None,
                })
            }
        }
    }
}

/// Returns the command of another process that holds the lock of an environment, if that process is
/// running. Nothing is locked or written.
pub(crate) fn other_holder(output: &Output) -> Option<Holder> {
    let file = files::open(lock_file(output)).ok()?;
    let holder = Holder::read(&file)?;
    let is_other = holder.process != std::process::id();
    (is_other && programs::exists(holder.process)).then_some(holder)
}

fn lock_file(output: &Output) -> Utf8PathBuf {
    output.logs.join("environment.lock")
}

impl Drop for EnvironmentLock {
    fn drop(&mut self) {
        // The name goes before the lock, so a process that opened the file meanwhile finds out and
        // opens it again.
        if self.file.is_some() {
            let _ = std::fs::remove_file(&self.path);
            // A folder that holds nothing else was made for the lock.
            let _ = self.path.parent().map(std::fs::remove_dir);
        }
    }
}

/// Why a lock was not taken.
enum Taking {
    InUse(Option<Holder>),
    Impossible(io::Error),
}

/// Takes the lock, and returns with it the note of a holder that did not remove it.
fn take(path: &Utf8Path, holder: &Holder) -> Result<(File, Option<Holder>), Taking> {
    for _ in 0..TRIES {
        let file = match open(path) {
            Ok(file) => file,
            // The holder before has just removed the folder that it made.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // The file of a different user: whether it is locked can still be seen.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let is_locked =
                    |file: &File| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
                return Err(match files::open(path).ok().filter(is_locked) {
                    Some(file) => Taking::InUse(Holder::read(&file)),
                    None => Taking::Impossible(error),
                });
            }
            Err(error) => return Err(Taking::Impossible(error)),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Taking::InUse(Holder::read(&file))),
            Err(TryLockError::Error(source)) => return Err(Taking::Impossible(source)),
        }
        if is_named(&file, path) {
            let left = Holder::read(&file);
            holder.write(&file).map_err(Taking::Impossible)?;
            return Ok((file, left));
        }
    }
    Err(Taking::InUse(None))
}

/// Opens the file for reading and writing: NFS locks only descriptors that can write.
fn open(path: &Utf8Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
}

/// Returns whether the file still has this name.
fn is_named(file: &File, path: &Utf8Path) -> bool {
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(opened), Ok(named)) => (opened.dev(), opened.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(command: &str) -> Holder {
        Holder {
            command: command.to_owned(),
            process: 4242,
            since: "2026-01-02T03:04:05Z".to_owned(),
        }
    }

    fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("logs/x");
        (folder, path)
    }

    fn taken(path: &Utf8Path, command: &str) -> EnvironmentLock {
        match take(path, &holder(command)) {
            Ok((file, _)) => EnvironmentLock {
                environment: "lab".to_owned(),
                path: path.to_owned(),
                file: Some(file),
            },
            Err(_) => panic!("{path} is locked"),
        }
    }

    #[test]
    fn the_second_command_is_refused_and_the_holder_is_named() {
        let (_folder, path) = folder();
        let lock = taken(&path, "deploy");
        let Err(Taking::InUse(found)) = take(&path, &holder("push")) else {
            panic!("it was locked twice");
        };
        assert_eq!(found, Some(holder("deploy")));
        let refused = InUse {
            environment: "lab".to_owned(),
            holder: found,
            path: path.clone(),
        };
        assert_eq!(
            refused.to_string(),
            "lab is in use by `deploy` (process 4242, since 2026-01-02T03:04:05Z)"
        );
        drop(lock);
        assert!(!path.parent().unwrap().exists(), "something is left");
        drop(taken(&path, "push"));
    }

    #[test]
    fn a_file_that_is_left_names_the_interrupted_command_and_locks_nothing() {
        let (_folder, path) = folder();
        let lock = taken(&path, "deploy");
        // What a kill leaves: the name stays, the lock goes.
        std::fs::hard_link(&path, path.with_extension("kept")).unwrap();
        drop(lock);
        std::fs::rename(path.with_extension("kept"), &path).unwrap();
        // A program that a test beside this one starts has a copy of the open file until it runs.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        let left = loop {
            match take(&path, &holder("push")) {
                Ok((_, left)) => break left,
                Err(Taking::InUse(_)) if std::time::Instant::now() < until => {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                Err(_) => panic!("a dead process holds the lock"),
            }
        };
        assert_eq!(left, Some(holder("deploy")));
    }

    #[test]
    fn the_lock_on_an_environment_permits_nothing_for_another_one() {
        let (_folder, path) = folder();
        let lock = taken(&path, "deploy");
        lock.require("lab").unwrap();
        let refused = lock.require("prod").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "`EnvironmentLock` proves that lab is locked, not prod"
        );
    }

    #[test]
    fn a_symlink_is_not_followed() {
        let (folder, path) = folder();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let target = folder.path().join("target");
        std::os::unix::fs::symlink(&target, &path).unwrap();
        assert!(matches!(
            take(&path, &holder("push")),
            Err(Taking::Impossible(_))
        ));
        assert!(!target.exists());
    }

    #[test]
    fn many_at_a_time_hold_it_one_after_the_other() {
        let (_folder, path) = folder();
        let inside = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut held = 0;
                    while held < 50 {
                        let Ok((file, _)) = take(&path, &holder("push")) else {
                            continue;
                        };
                        let lock = EnvironmentLock {
                            environment: "lab".to_owned(),
                            path: path.clone(),
                            file: Some(file),
                        };
                        let others = inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        assert_eq!(others, 0, "two hold the lock");
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        drop(lock);
                        held += 1;
                    }
                });
            }
        });
    }
}
