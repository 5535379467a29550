//! The administrator password, which mkectl prints once.
//!
//! 1. Before mkectl starts, a file for the password is reserved, in case the disk fills up
//!    meanwhile.
//! 2. When mkectl prints the password, it is written to that file immediately, in case this program
//!    is killed.
//! 3. After mkectl has ended, the password goes to the command that the environment names, or is
//!    shown at the terminal. If that succeeds, the file is deleted.

use std::io::{self, Seek as _, Write as _};
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use environment::AdminPassword;
use secrecy::ExposeSecret as _;
use tempfile::NamedTempFile;

use crate::event::{Event, Step};
use crate::signals::Signal;
use crate::{Context, chain};

/// Content of the reserved file until the password is known.
const PLACEHOLDER: [u8; 4096] = [b'\n'; 4096];

/// Keeps and hands over the passwords of one run of mkectl.
pub(crate) struct Handover<'a> {
    destination: Option<&'a AdminPassword>,
    /// The file for the password, unless the environment names a different one.
    file: &'a Utf8Path,
    /// Time that is appended to the file's name if the file exists: it may have the password of an
    /// earlier cluster.
    stamp: &'a str,
    /// The reserved temporary file, and the name that it gets.
    reserved: Mutex<Option<(Utf8PathBuf, NamedTempFile)>>,
    caught: Mutex<Vec<Caught>>,
}

struct Caught {
    credentials: programs::AdminPassword,
    file: io::Result<Utf8PathBuf>,
}

impl<'a> Handover<'a> {
    pub(crate) fn new(
        destination: Option<&'a AdminPassword>,
        file: &'a Utf8Path,
        stamp: &'a str,
    ) -> Self {
        Self {
            destination,
            file,
            stamp,
            reserved: Mutex::default(),
            caught: Mutex::default(),
        }
    }

    /// Reserves the file for a password. It is removed if mkectl prints none.
    ///
    /// # Errors
    /// Neither the file that the environment names nor the default one can be written.
    pub(crate) fn reserve_file(&self) -> Result<(), crate::Error> {
        files::remove_abandoned(files::folder_of(self.file));
        let made = self.reserve();
        let made = made.map_err(|source| crate::Error::io("write", self.file, source))?;
        *self.reserved.lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
        Ok(())
    }

    fn reserve(&self) -> io::Result<(Utf8PathBuf, NamedTempFile)> {
        let reserve = |file: &Utf8Path| {
            std::fs::create_dir_all(files::folder_of(file))?;
            let mut reserved = files::temporary_beside(file)?;
            reserved.write_all(&PLACEHOLDER)?;
            reserved.as_file().sync_all()?;
            Ok((file.to_owned(), reserved))
        };
        match self.destination {
            Some(AdminPassword::File(named)) => reserve(named).or_else(|_| reserve(self.file)),
            _ => reserve(self.file),
        }
    }

    /// Writes a password that mkectl printed to its file.
    pub(crate) fn keep(&self, credentials: &programs::AdminPassword) {
        let caught = Caught {
            file: self.write(credentials),
            credentials: credentials.clone(),
        };
        let mut all = self.caught.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(caught);
    }

    /// Hands over the passwords, and reports where they are. A signal ends the environment's
    /// command, or the question at the terminal.
    pub(crate) fn hand_over(self, context: &Context<'_>, signals: &Receiver<Signal>) {
        let all = self
            .caught
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        for Caught { credentials, file } in all {
            let user = &credentials.username;
            let shown = |file: &Utf8Path| context.workspace.shown(file).to_owned();
            let warn = |text: String| context.reporter.report(Event::Warning(text));
            let report = |what: String| {
                context.reporter.report(Event::Finished {
                    step: Step::Apply,
                    what,
                });
            };
            let command = match self.destination {
                Some(AdminPassword::Command(words)) => words.split_first(),
                _ => None,
            };
            if let Some((program, arguments)) = command {
                let variables = &context.tool.variables;
                let password = &credentials.password;
                let delivered = programs::deliver(program, arguments, variables, password, signals);
                match delivered {
                    Ok(()) => {
                        if let Ok(file) = &file
                            && let Err(error) = std::fs::remove_file(file)
                        {
                            warn(format!("delete {}: {error}", shown(file)));
                        }
                        report(format!(
                            "the password of user {user} was passed to `{program}`"
                        ));
                        continue;
                    }
                    Err(error) => warn(chain(&error)),
                }
            }
            if let (Some(AdminPassword::Ask), Ok(file)) = (self.destination, &file) {
                let is_over = || signals.try_recv().is_ok();
                let consent = context.consent;
                match consent.show_password(user, &credentials.password, &is_over) {
                    Ok(()) => {
                        match std::fs::remove_file(file) {
                            Ok(()) => report(format!(
                                "the password of user {user} was shown; no other copy exists"
                            )),
                            Err(error) => warn(format!("delete {}: {error}", shown(file))),
                        }
                        continue;
                    }
                    Err(why) => warn(format!(
                        "the password of user {user} was not shown on the terminal: {why}"
                    )),
                }
            }
            match file {
                Ok(file) => report(format!(
                    "the password of user {user} is in {}, which only you can read; no other copy exists",
                    shown(&file)
                )),
                Err(error) => warn(format!(
                    "the password of user {user} could not be written to {}, and no other copy exists: {error}",
                    shown(self.file)
                )),
            }
        }
    }

    /// Writes the password to a new file that only its owner can read.
    fn write(&self, credentials: &programs::AdminPassword) -> io::Result<Utf8PathBuf> {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, mut reserved) = reserved.take().map_or_else(|| self.reserve(), Ok)?;
        let line = format!("{}\n", credentials.password.expose_secret());
        reserved.rewind()?;
        reserved.write_all(line.as_bytes())?;
        reserved.as_file().set_len(line.len() as u64)?;
        reserved.as_file().sync_all()?;
        let stamp = self.stamp;
        // mkectl may print several passwords, also within a second.
        let names = (0..).map(|number: u32| match number {
            0 => file.to_string(),
            1 => format!("{file}-{stamp}"),
            number => format!("{file}-{stamp}-{number}"),
        });
        for name in names {
            match reserved.persist_noclobber(&name) {
                Ok(_) => return Ok(name.into()),
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                    reserved = error.file;
                }
                // The temporary file keeps its name.
                Err(error) => {
                    let (_, path) = error.file.keep()?;
                    return Utf8PathBuf::try_from(path).map_err(io::Error::other);
                }
            }
        }
        unreachable!("numbers do not end")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_reserved_before_the_password_and_removed_without_one() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let file = folder.join("admin-password");
        // The folder that the environment names is a file, so the default file is used.
        std::fs::write(folder.join("safe"), "").unwrap();
        let wanted = AdminPassword::File(folder.join("safe/admin"));
        let handover = Handover::new(Some(&wanted), &file, "2026-11-30T14-16-02Z");
        let sizes = || -> Vec<u64> {
            let entries = folder.read_dir_utf8().unwrap().map(Result::unwrap);
            let sizes = entries.map(|entry| entry.metadata().unwrap().len());
            sizes.filter(|size| *size > 0).collect()
        };
        // The file of a killed run.
        let abandoned = folder.join(".AbCdEf.part");
        std::fs::write(&abandoned, PLACEHOLDER).unwrap();
        handover.reserve_file().unwrap();
        assert!(!abandoned.exists());
        assert_eq!(sizes(), [4096]);
        drop(handover);
        assert_eq!(sizes(), [0; 0]);
        let handover = Handover::new(Some(&wanted), &file, "2026-11-30T14-16-02Z");
        handover.reserve_file().unwrap();
        handover.keep(&programs::AdminPassword {
            username: "admin".to_owned(),
            password: "planted".to_owned().into(),
        });
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "planted\n");
        assert_eq!(sizes(), [8]);
    }

    #[test]
    fn several_passwords_of_one_second_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let file = folder.join("admin-password");
        let handover = Handover::new(None, &file, "2026-11-30T14-16-02Z");
        for number in 0..4 {
            handover.keep(&programs::AdminPassword {
                username: "admin".to_owned(),
                password: format!("planted-{number}").into(),
            });
        }
        let caught = handover.caught.into_inner().unwrap();
        for (number, caught) in caught.iter().enumerate() {
            let text = std::fs::read_to_string(caught.file.as_ref().unwrap()).unwrap();
            assert_eq!(text, format!("planted-{number}\n"));
        }
    }
}
