//! The lock on an environment: only one command at a time changes its files, registry or cluster.
//!
//! A command acquires it before it computes its plan and holds it until its receipt is written. The
//! kernel releases it when the process ends. The lock file names the command. A lock file without a
//! lock shows that its command was interrupted.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::proof::Mismatch;
use crate::workspace::Output;
use crate::{Context, Error, Kind, receipt};

/// Maximum number of attempts to open a lock file that its holder removes meanwhile.
const ATTEMPTS: usize = 100;

/// Maximum bytes of a lock file that are read.
const MAX_NOTE_BYTES: u64 = 4096;

/// The lock on an environment. Dropping it releases the lock.
#[derive(Debug)]
pub struct EnvironmentLock {
    environment: String,
    path: Utf8PathBuf,
    /// `None` if the file system has no locks or the folder is read-only.
    file: Option<File>,
}

/// A command that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Holder {
    /// Name of the command, such as `deploy`.
    pub command: String,
    /// Process id.
    pub process: u32,
    /// Time at which it acquired the lock, in UTC.
    pub since: String,
}

/// A different process holds the lock of the environment.
#[derive(Debug, thiserror::Error)]
#[error("{environment} is in use by {}", holder.as_ref().map_or_else(|| "another process".to_owned(), Holder::named))]
pub struct InUse {
    /// Name of the environment.
    pub environment: String,
    /// The command that holds the lock, if the lock file is readable.
    pub holder: Option<Holder>,
    /// Path of the lock file, relative to the workspace.
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
        file.take(MAX_NOTE_BYTES).read_to_end(&mut note).ok()?;
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
    /// Locks an environment for a command. Without locks in the file system, it reports a warning
    /// and returns successfully.
    ///
    /// # Errors
    /// [`InUse`] if a different process holds the lock.
    pub fn acquire(context: &Context<'_>, environment: &str, command: &str) -> Result<Self, Error> {
        let output = Output::below(&context.workspace.environment(environment));
        Self::acquire_in(context, environment, &output, command)
    }

    /// Locks the rehearsal of an environment. The environment itself stays unlocked.
    ///
    /// # Errors
    /// [`InUse`] if a different process holds the lock.
    pub fn acquire_rehearsal(context: &Context<'_>, environment: &str) -> Result<Self, Error> {
        let output = Output::below(&context.workspace.rehearsal(environment));
        Self::acquire_in(context, environment, &output, "rehearse")
    }

    /// Checks that this is the lock of `environment`.
    ///
    /// # Errors
    /// [`Mismatch`] for a different environment.
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
        match acquire(&path, &holder) {
            Ok((file, interrupted)) => {
                if let Some(interrupted) = interrupted {
                    warn(format!(
                        "{} was interrupted before it ended",
                        interrupted.named()
                    ));
                }
                Ok(Self {
                    environment: environment.to_owned(),
                    path,
                    file: Some(file),
                })
            }
            Err(AcquireError::InUse(holder)) => Err(Error::EnvironmentInUse(InUse {
                environment: environment.to_owned(),
                holder,
                path: shown,
            })),
            Err(AcquireError::Impossible(source)) => {
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

/// Returns the holder in the lock file of an environment, if it is a different process that runs.
/// Locks and writes nothing.
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
        // The file is removed before its lock ends. A process that opened it meanwhile notices and
        // opens a new one.
        if self.file.is_some() {
            let _ = std::fs::remove_file(&self.path);
            // Removes the folder if it is empty, because it was created for the lock.
            let _ = self.path.parent().map(std::fs::remove_dir);
        }
    }
}

/// Why a lock was not acquired.
enum AcquireError {
    InUse(Option<Holder>),
    Impossible(io::Error),
}

/// Acquires the lock. Also returns the holder in the file, which was interrupted.
fn acquire(path: &Utf8Path, holder: &Holder) -> Result<(File, Option<Holder>), AcquireError> {
    for _ in 0..ATTEMPTS {
        let file = match open(path) {
            Ok(file) => file,
            // The previous holder has just removed the folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // The file belongs to a different user, but a shared lock still shows whether it is in
            // use.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let is_locked =
                    |file: &File| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
                return Err(match files::open(path).ok().filter(is_locked) {
                    Some(file) => AcquireError::InUse(Holder::read(&file)),
                    None => AcquireError::Impossible(error),
                });
            }
            Err(error) => return Err(AcquireError::Impossible(error)),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(AcquireError::InUse(Holder::read(&file))),
            Err(TryLockError::Error(source)) => return Err(AcquireError::Impossible(source)),
        }
        if is_named(&file, path) {
            let interrupted = Holder::read(&file);
            holder.write(&file).map_err(AcquireError::Impossible)?;
            return Ok((file, interrupted));
        }
    }
    Err(AcquireError::InUse(None))
}

/// Opens or creates the lock file for reading and writing: NFS requires both for an exclusive lock.
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

/// Returns whether the open file still has this path.
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
        match acquire(path, &holder(command)) {
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
        let Err(AcquireError::InUse(found)) = acquire(&path, &holder("push")) else {
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
    fn an_abandoned_file_names_the_interrupted_command_and_locks_nothing() {
        let (_folder, path) = folder();
        let lock = taken(&path, "deploy");
        // A killed process leaves the file without a lock.
        std::fs::hard_link(&path, path.with_extension("kept")).unwrap();
        drop(lock);
        std::fs::rename(path.with_extension("kept"), &path).unwrap();
        // A program that a concurrent test starts inherits the open file until it calls exec.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
        let interrupted = loop {
            match acquire(&path, &holder("push")) {
                Ok((_, interrupted)) => break interrupted,
                Err(AcquireError::InUse(_)) if std::time::Instant::now() < until => {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                Err(_) => panic!("a dead process holds the lock"),
            }
        };
        assert_eq!(interrupted, Some(holder("deploy")));
    }

    #[test]
    fn the_lock_on_an_environment_is_refused_for_a_different_one() {
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
            acquire(&path, &holder("push")),
            Err(AcquireError::Impossible(_))
        ));
        assert!(!target.exists());
    }

    #[test]
    fn concurrent_threads_hold_the_lock_one_after_the_other() {
        let (_folder, path) = folder();
        let inside = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut held = 0;
                    while held < 50 {
                        let Ok((file, _)) = acquire(&path, &holder("push")) else {
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
