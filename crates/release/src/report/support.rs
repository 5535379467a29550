//! The support archive: the state of an environment, without its secrets.
//!
//! All texts are masked. Before the archive is written, its names and texts are searched for
//! secrets.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

use camino::{Utf8Path, Utf8PathBuf};
use environment::Environment;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::event::Event;
use crate::workspace::Output;
use crate::{Context, Kind, chain};

/// Maximum number of logs.
const LOGS: usize = 3;

/// Maximum bytes of a log, from its end.
const LOG_BYTES: u64 = 256 << 10;

/// An error of writing the archive.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The archive still contains a secret after it was masked.
    #[error("a secret would be in {entry} of the archive; nothing was written")]
    Secret {
        /// The entry's name, masked.
        entry: String,
    },
}

impl Error {
    /// Returns the kind of the failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Secret { .. } => Kind::NotAllowed,
        }
    }
}

/// The entries of an archive, with their names.
#[derive(Debug, Default)]
pub struct Support {
    entries: Vec<(String, String)>,
}

impl Support {
    /// Collects the files of an environment: committed configuration, receipt, the registry's
    /// profile and the last logs. Files that cannot be read are listed in the archive and in
    /// warnings.
    pub fn of_files(context: &Context<'_>, environment: &Environment) -> Self {
        let output = Output::below(&context.workspace.environment(&environment.name));
        // Errors are ignored, because the same files are read again below.
        let _ = remember_secrets(context, environment, &output);
        let mut support = Self::default();
        let mut unread = Vec::new();
        for path in [&output.config, &output.receipt] {
            match crate::workspace::read_if_exists(path) {
                Ok(Some(text)) => support.add(path.file_name().unwrap_or_default(), text),
                Ok(None) => {}
                Err(error) => unread.push(chain(&error)),
            }
        }
        let profiles = context.workspace.profiles(&environment.registry.address);
        let profile = profiles.load((context.tool.now)().as_second());
        if let Some((profile, _)) = profile
            && let Ok(text) = serde_json::to_string_pretty(&profile)
        {
            support.add("profile.json", text);
        }
        // A log may contain secrets that only the configuration lists.
        match crate::workspace::read_if_exists(&output.config) {
            Ok(_) => {
                for (name, text) in last_logs_without_password(context, &output.logs) {
                    support.add(&format!("logs/{name}"), text);
                }
            }
            Err(_) => unread.push("the logs are left out: their secrets are unknown".to_owned()),
        }
        if !unread.is_empty() {
            support.add("unread.txt", unread.join("\n") + "\n");
        }
        for what in unread {
            context.reporter.report(Event::Warning(what));
        }
        support
    }

    /// Adds an entry.
    pub fn add(&mut self, name: &str, text: impl Into<String>) {
        self.entries.push((name.to_owned(), text.into()));
    }

    /// Masks all entries, searches them for secrets, and writes them to a new file with mode 600.
    /// Returns the names of the entries.
    ///
    /// # Errors
    /// [`Error::Secret`] if a secret is left. The file exists or cannot be written.
    pub fn write(mut self, path: &Utf8Path) -> Result<Vec<String>, crate::Error> {
        self.entries.sort();
        for (_, text) in &mut self.entries {
            *text = redaction::yaml::free_text(text);
        }
        self.search()?;
        let failed = |source| crate::Error::io("write", path, source);
        let mut tar = tar::Builder::new(Vec::new());
        for (name, text) in &self.entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o600);
            tar.append_data(&mut header, format!("support/{name}"), text.as_bytes())
                .map_err(failed)?;
        }
        let tar = tar.into_inner().map_err(failed)?;
        crate::links::check(path, path)?;
        std::fs::create_dir_all(files::folder_of(path)).map_err(failed)?;
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&tar).map_err(failed)?;
        let archive = gzip.finish().map_err(failed)?;
        files::write_new(path, archive, files::Access::Owner).map_err(failed)?;
        Ok(self.entries.into_iter().map(|(name, _)| name).collect())
    }

    /// Searches names and texts for secrets, each alone and all concatenated.
    fn search(&self) -> Result<(), Error> {
        let secrets = redaction::run();
        let mut all = String::new();
        for (name, text) in &self.entries {
            if secrets.is_in(name) || secrets.is_in(text) {
                let entry = secrets.mask(name).into_owned();
                return Err(Error::Secret { entry });
            }
            all.push_str(name);
            all.push('\n');
            all.push_str(text);
            all.push('\n');
        }
        match secrets.is_in(&all) {
            true => Err(Error::Secret {
                entry: "several entries".to_owned(),
            }),
            false => Ok(()),
        }
    }
}

/// Adds secrets in files of an environment, and those that its references name, to the masked ones.
///
/// # Errors
/// A file exists and cannot be read.
pub(crate) fn remember_secrets(
    context: &Context<'_>,
    environment: &Environment,
    output: &Output,
) -> Result<(), crate::Error> {
    // A log that mkectl wrote itself may contain the password.
    if let Ok(password) = files::read_text(&output.admin_password) {
        redaction::run().add(&password);
    }
    // Values of references are in no file, but a log may contain them.
    if let Ok(release) = context.workspace.release(&environment.release) {
        _ = crate::config::resolve::check(context, environment, &release);
    }
    let texts = [&output.config, &output.receipt].map(|path| {
        let text = crate::workspace::read_if_exists(path)?;
        crate::workspace::mask_secrets_of(path, &text.unwrap_or_default());
        Ok(())
    });
    texts.into_iter().collect()
}

/// Returns the paths of the last logs, newest first; none if the folder cannot be listed.
pub(crate) fn last_logs(folder: &Utf8Path) -> Vec<Utf8PathBuf> {
    let entries = folder.read_dir_utf8().into_iter().flatten().flatten();
    let mut logs: Vec<Utf8PathBuf> = entries
        .map(camino::Utf8DirEntry::into_path)
        .filter(|path| path.extension() == Some("log"))
        .collect();
    // The names begin with the time.
    logs.sort();
    logs.into_iter().rev().take(LOGS).collect()
}

/// Returns the names and last lines of the last logs. A log that cannot be read, or that may
/// contain the administrator's password, is left out with a warning.
pub(crate) fn last_logs_without_password(
    context: &Context<'_>,
    folder: &Utf8Path,
) -> Vec<(String, String)> {
    let mut logs = Vec::new();
    for log in last_logs(folder) {
        let why = match end_of(&log) {
            Ok(text) if text.contains(programs::PASSWORD_MISSED) => {
                "it may have the administrator's password".to_owned()
            }
            Ok(text) => {
                logs.push((log.file_name().unwrap_or_default().to_owned(), text));
                continue;
            }
            Err(error) => chain(&error),
        };
        context.reporter.report(Event::Warning(format!(
            "{} is left out: {why}",
            context.workspace.shown(&log)
        )));
    }
    logs
}

/// Returns the last lines of a log.
fn end_of(path: &Utf8Path) -> std::io::Result<String> {
    let mut file = files::open(path)?;
    let length = file.metadata()?.len();
    let skipped = length.saturating_sub(LOG_BYTES);
    file.seek(SeekFrom::Start(skipped))?;
    let mut bytes = Vec::new();
    file.take(LOG_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(match skipped {
        0 => text.into_owned(),
        // Starts at a whole line: the masker does not recognise a part of a secret.
        _ => text.split_once('\n').map_or_else(String::new, |(_, rest)| {
            format!("[{skipped} bytes before this are left out]\n{rest}")
        }),
    })
}
