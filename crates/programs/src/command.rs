//! What is run, as a value: building a command is pure, because it is shown and tested before it is
//! run.

use std::fmt;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use secrecy::{ExposeSecret as _, SecretString};

use crate::Variables;
use crate::mkectl::stand_in;

/// One command, ready to be shown by [`Command::display`] and run by [`run`](crate::run()).
#[derive(Debug, Clone)]
pub struct Command {
    /// Its name in messages, such as `mkectl etcd backup`, whatever the program's file is.
    pub name: String,
    /// The file to execute.
    pub program: Utf8PathBuf,
    /// Its arguments, in order. Secrets do not belong here.
    pub arguments: Vec<String>,
    /// The folder that it runs in, where that matters; the present one otherwise.
    pub directory: Option<Utf8PathBuf>,
    /// Variables whose values are secret, over [`Command::variables`]. The values are masked in all
    /// output.
    pub secrets: Vec<(String, SecretString)>,
    /// Flags that follow the arguments, and their values: secrets that the program takes in no
    /// other way. While it runs, every user of the machine can read them in the process list, so
    /// the operator must confirm such a command. They are masked wherever the command is shown, and
    /// in all output.
    pub secret_arguments: Vec<(String, SecretString)>,
    /// What becomes of its standard output.
    pub results: Results,
    /// Whether the files that it makes are for their owner alone.
    pub is_private: bool,
    /// How long it may run; as long as it likes where there is none.
    pub time_limit: Option<Duration>,
    /// Values that reach the program in another way, in a file for example, and are masked in all
    /// output too.
    pub masked: Vec<SecretString>,
    /// The rest of its environment.
    pub variables: Variables,
}

/// What becomes of what a program writes to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Results {
    /// It is reported and logged line by line together with standard error, in the order in which
    /// both were written.
    #[default]
    Mixed,
    /// Its lines are reported as [`Event::Result`](crate::Event::Result), and logged.
    Apart,
    /// Its lines are reported separately and unchanged, and are not logged: all of it is a secret.
    Unlogged,
}

impl Command {
    /// Returns the command with another way for its standard output.
    #[must_use]
    pub fn results(mut self, results: Results) -> Self {
        self.results = results;
        self
    }

    /// Returns the command with one more argument.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Returns the command with one file in place of a different one.
    #[must_use]
    pub fn reading(mut self, file: &Utf8Path, instead: &Utf8Path) -> Self {
        for argument in &mut self.arguments {
            if argument == file.as_str() {
                *argument = instead.to_string();
            }
        }
        self
    }

    /// Returns the command to be run in a folder.
    #[must_use]
    pub fn in_directory(mut self, directory: impl Into<Utf8PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Returns the command with a secret in its environment, `MKE_CHART_REGISTRY_PASSWORD` for
    /// example.
    #[must_use]
    pub fn secret(mut self, name: impl Into<String>, value: SecretString) -> Self {
        self.secrets.push((name.into(), value));
        self
    }

    /// Returns the command with a flag whose value is a secret, `--mke3-admin-password` for
    /// example, where [`Command::secret`] does not do: see [`Command::secret_arguments`].
    #[must_use]
    pub fn secret_argument(mut self, flag: impl Into<String>, value: SecretString) -> Self {
        self.secret_arguments.push((flag.into(), value));
        self
    }

    /// Returns all arguments as the program gets them, secrets among them.
    pub(crate) fn argv(&self) -> Vec<String> {
        let secrets = self.secret_arguments.iter();
        let secrets = secrets.map(|(flag, value)| format!("{flag}={}", value.expose_secret()));
        self.arguments.iter().cloned().chain(secrets).collect()
    }

    /// Returns every value that must not be in its output.
    pub(crate) fn unspoken(&self) -> impl Iterator<Item = &str> {
        let named = self.secrets.iter().chain(&self.secret_arguments);
        named
            .map(|(_, value)| value)
            .chain(&self.masked)
            .map(|value| value.expose_secret())
    }

    /// Returns the command with a limit on the time that it may run.
    #[must_use]
    pub fn within(mut self, limit: Option<Duration>) -> Self {
        self.time_limit = limit;
        self
    }

    /// Returns the command with files for their owner alone.
    #[must_use]
    pub fn private(mut self) -> Self {
        self.is_private = true;
        self
    }

    /// Returns the command with more values to be masked in its output.
    #[must_use]
    pub fn masked(mut self, values: impl IntoIterator<Item = SecretString>) -> Self {
        self.masked.extend(values);
        self
    }

    /// Returns the command as one would type it in a shell, with secret values masked. Inherited
    /// variables are left out.
    pub fn display(&self) -> impl fmt::Display + '_ {
        Shown(self)
    }
}

struct Shown<'a>(&'a Command);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(directory) = &self.0.directory {
            write!(formatter, "cd {} && ", Quoted(directory.as_str()))?;
        }
        for (name, _) in &self.0.secrets {
            write!(formatter, "{name}=*** ")?;
        }
        let played = stand_in::played(&self.0.arguments);
        match played {
            Some(_) => formatter.write_str("mkectl")?,
            None => write!(formatter, "{}", Quoted(self.0.program.as_str()))?,
        }
        for argument in played.unwrap_or(&self.0.arguments) {
            write!(formatter, " {}", Quoted(argument))?;
        }
        for (flag, _) in &self.0.secret_arguments {
            write!(formatter, " {flag}=***")?;
        }
        match played {
            Some(_) => formatter.write_str(" (stand-in)"),
            None => Ok(()),
        }
    }
}

/// Text as a POSIX shell would read it back as one word.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = !self.0.is_empty()
            && self.0.chars().all(|character| {
                character.is_ascii_alphanumeric() || "_@%+=:,./-".contains(character)
            });
        if plain {
            formatter.write_str(self.0)
        } else {
            write!(formatter, "'{}'", self.0.replace('\'', r"'\''"))
        }
    }
}
