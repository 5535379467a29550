//! The administrator password, which mkectl prints once.
//!
//! It is written to a file immediately, and survives if this program is killed. The file is made
//! before mkectl starts, so a disk that fills up meanwhile has reserved for it. After mkectl has ended,
//! the command that the environment names gets it; if the command succeeds, the file is deleted.

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

/// What a file has until the password comes.
const PLACEHOLDER: [u8; 4096] = [b'\n'; 4096];

/// Takes care of the password during one run of mkectl.
pub(crate) struct Handover<'a> {
    destination: Option<&'a AdminPassword>,
    /// Where it is kept unless the environment names another file.
    file: &'a Utf8Path,
    /// What other name a file gets where there is one already: it may be the password of the
    /// cluster before.
    stamp: &'a str,
    /// A file without a name of its own yet, and the name that it gets.
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

    /// Makes the file for a password that may come. It is removed if none comes.
    ///
    /// # Errors
    /// Neither the file that the environment names nor the usual one can be written.
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

    /// Keeps what was caught, now.
    pub(crate) fn keep(&self, credentials: &programs::AdminPassword) {
        let caught = Caught {
            file: self.write(credentials),
            credentials: credentials.clone(),
        };
        let mut all = self.caught.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(caught);
    }

    /// Hands over what was caught, and says where it is. One of `signals` ends the command that
    /// gets it, or the question.
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
                match (delivered, &file) {
                    (Ok(()), file) => {
                        if let Ok(file) = file
                            && let Err(error) = std::fs::remove_file(file)
                        {
                            warn(format!("delete {}: {error}", shown(file)));
                        }
                        report(format!(
                            "the password of user {user} was passed to `{program}`"
                        ));
                        continue;
                    }
                    (Err(error), _) => warn(chain(&error)),
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

    /// Writes the password to a new file that only its owner may read.
    fn write(&self, credentials: &programs::AdminPassword) -> io::Result<Utf8PathBuf> {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, mut reserved) = reserved.take().map_or_else(|| self.reserve(), Ok)?;
        let line = format!("{}\n", credentials.password.expose_secret());
        reserved.rewind()?;
        reserved.write_all(line.as_bytes())?;
        reserved.as_file().set_len(line.len() as u64)?;
        reserved.as_file().sync_all()?;
        let stamp = self.stamp;
        // Several passwords may come within a second.
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
                // It stays under the name that it has.
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
    fn the_file_is_made_before_the_password_comes_and_does_not_stay_without_it() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        let file = folder.join("admin-password");
        // A file is where the folder of the one that the environment names would be.
        std::fs::write(folder.join("safe"), "").unwrap();
        let wanted = AdminPassword::File(folder.join("safe/admin"));
        let handover = Handover::new(Some(&wanted), &file, "2026-11-30T14-16-02Z");
        let sizes = || -> Vec<u64> {
            let entries = folder.read_dir_utf8().unwrap().map(Result::unwrap);
            let sizes = entries.map(|entry| entry.metadata().unwrap().len());
            sizes.filter(|size| *size > 0).collect()
        };
        // A killed run has left its file.
        let left = folder.join(".AbCdEf.part");
        std::fs::write(&left, PLACEHOLDER).unwrap();
        handover.reserve_file().unwrap();
        assert!(!left.exists());
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
