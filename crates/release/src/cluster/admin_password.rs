//! The administrator password, which mkectl prints once.
//!
//! It is written to a file immediately, and survives if this program is killed. After mkectl has ended, the command
//! that the environment names gets it; if the command succeeds, the file is deleted.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::{Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use environment::AdminPassword;
use secrecy::ExposeSecret as _;

use crate::cluster::consent::Refused;
use crate::event::{Event, Step};
use crate::{Context, chain};

/// Takes care of the password during one run of mkectl.
pub(crate) struct Handover<'a> {
    wanted: Option<&'a AdminPassword>,
    /// Where it is kept unless the environment names another file.
    file: &'a Utf8Path,
    /// What other name a file gets where there is one already: it may be the password of the cluster before.
    stamp: &'a str,
    caught: Mutex<Vec<Caught>>,
}

struct Caught {
    credentials: programs::AdminPassword,
    file: io::Result<Utf8PathBuf>,
}

impl<'a> Handover<'a> {
    pub(crate) fn new(
        wanted: Option<&'a AdminPassword>,
        file: &'a Utf8Path,
        stamp: &'a str,
    ) -> Self {
        Self {
            wanted,
            file,
            stamp,
            caught: Mutex::default(),
        }
    }

    /// Keeps what was caught, now.
    pub(crate) fn keep(&self, credentials: &programs::AdminPassword) {
        let file = match self.wanted {
            Some(AdminPassword::File(file)) => file,
            _ => self.file,
        };
        let caught = Caught {
            file: self.write(file, credentials),
            credentials: credentials.clone(),
        };
        let mut all = self.caught.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(caught);
    }

    /// Hands over what was caught, and says where it is.
    pub(crate) fn hand_over(self, context: &Context<'_>) {
        let all = self
            .caught
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        for Caught { credentials, file } in all {
            let user = &credentials.username;
            let shown = |file: &Utf8Path| context.workspace.shown(file).to_owned();
            let warn = |text: String| context.reporter.report(Event::Warning(text));
            let told = |what: String| {
                context.reporter.report(Event::Finished {
                    step: Step::Apply,
                    what,
                });
            };
            let command = match self.wanted {
                Some(AdminPassword::Command(words)) => words.split_first(),
                _ => None,
            };
            if let Some((program, arguments)) = command {
                let variables = &context.tool.variables;
                let delivered =
                    programs::deliver(program, arguments, variables, &credentials.password);
                match (delivered, &file) {
                    (Ok(()), file) => {
                        if let Ok(file) = file
                            && let Err(error) = std::fs::remove_file(file)
                        {
                            warn(format!("delete {}: {error}", shown(file)));
                        }
                        told(format!(
                            "the password of user {user} was passed to `{program}`"
                        ));
                        continue;
                    }
                    (Err(error), _) => warn(chain(&error)),
                }
            }
            if let (Some(AdminPassword::Ask), Ok(file)) = (self.wanted, &file) {
                match context.consent.show_password(user, &credentials.password) {
                    Ok(()) => {
                        match std::fs::remove_file(file) {
                            Ok(()) => told(format!(
                                "the password of user {user} was shown; no other copy exists"
                            )),
                            Err(error) => warn(format!("delete {}: {error}", shown(file))),
                        }
                        continue;
                    }
                    Err(Refused(why)) => warn(format!(
                        "the password of user {user} was not shown on the terminal: {why}"
                    )),
                }
            }
            match file {
                Ok(file) => told(format!(
                    "the password of user {user} is in {}, which only you can read; no other copy exists",
                    shown(&file)
                )),
                Err(error) => warn(format!(
                    "the password of user {user} could not be written to {}, and no other copy exists: {error}",
                    shown(match self.wanted {
                        Some(AdminPassword::File(named)) => named,
                        _ => self.file,
                    })
                )),
            }
        }
    }

    /// Writes the password to a new file that only its owner may read.
    fn write(
        &self,
        file: &Utf8Path,
        credentials: &programs::AdminPassword,
    ) -> io::Result<Utf8PathBuf> {
        let open = |path: &Utf8Path| {
            std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)
        };
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let stamp = self.stamp;
        // Several passwords may come within a second.
        let mut names = (0..).map(|number: u32| match number {
            0 => file.to_string(),
            1 => format!("{file}-{stamp}"),
            number => format!("{file}-{stamp}-{number}"),
        });
        let (path, mut opened) = loop {
            let path = Utf8PathBuf::from(names.next().unwrap_or_default());
            match open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                opened => break (path, opened?),
            }
        };
        writeln!(opened, "{}", credentials.password.expose_secret())?;
        opened.sync_all()?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
