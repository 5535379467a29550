//! One call of a program, as a value. Building it has no effects, so it can be shown and tested
//! before it runs.

use std::fmt;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use secrecy::{ExposeSecret as _, SecretString};

use crate::Variables;
use crate::mkectl::stand_in;

/// A command, shown by [`Command::display`] and executed by [`run`](crate::run()).
#[derive(Debug, Clone)]
pub struct Command {
    /// Name in messages, such as `mkectl etcd backup`, independent of the program's file name.
    pub name: String,
    /// File to execute.
    pub program: Utf8PathBuf,
    /// Arguments, in order. Secrets belong to [`Command::secret_arguments`].
    pub arguments: Vec<String>,
    /// Working directory, or `None` for that of this process.
    pub directory: Option<Utf8PathBuf>,
    /// Names and values of secret variables. They take precedence over [`Command::variables`], and
    /// the values are masked in all output.
    pub secrets: Vec<(String, SecretString)>,
    /// Flags and secret values that follow the arguments, for secrets that the program accepts only
    /// on its command line. Every local user can read them in the process list while it runs, so
    /// the operator must confirm such a command. The values are masked in all output.
    pub secret_arguments: Vec<(String, SecretString)>,
    /// Destination of standard output.
    pub results: Results,
    /// Whether files that the program creates are readable by their owner alone (umask 077).
    pub is_private: bool,
    /// Maximum duration, or `None` for no limit.
    pub time_limit: Option<Duration>,
    /// Further secrets to mask in all output, such as the content of a file that the program reads.
    pub masked: Vec<SecretString>,
    /// Environment of the program.
    pub variables: Variables,
}

/// Destination of a program's standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Results {
    /// Reported and logged line by line with standard error, in the order of writing.
    #[default]
    Mixed,
    /// Reported as [`Event::Result`](crate::Event::Result), and logged.
    Apart,
    /// Reported as [`Event::Result`](crate::Event::Result) unchanged, and not logged, because the
    /// output as a whole is secret.
    Unlogged,
}

impl Command {
    /// Returns the command with a different destination of standard output.
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

    /// Returns the command with each argument `file` replaced by `instead`.
    #[must_use]
    pub fn reading(mut self, file: &Utf8Path, instead: &Utf8Path) -> Self {
        for argument in &mut self.arguments {
            if argument == file.as_str() {
                *argument = instead.to_string();
            }
        }
        self
    }

    /// Returns the command with a working directory.
    #[must_use]
    pub fn in_directory(mut self, directory: impl Into<Utf8PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Returns the command with a secret variable, such as `MKE_CHART_REGISTRY_PASSWORD`.
    #[must_use]
    pub fn secret(mut self, name: impl Into<String>, value: SecretString) -> Self {
        self.secrets.push((name.into(), value));
        self
    }

    /// Returns the command with a flag whose value is secret, such as `--mke3-admin-password`. Use
    /// [`Command::secret`] instead if the program accepts a variable: see
    /// [`Command::secret_arguments`].
    #[must_use]
    pub fn secret_argument(mut self, flag: impl Into<String>, value: SecretString) -> Self {
        self.secret_arguments.push((flag.into(), value));
        self
    }

    /// Returns all arguments in order, secret ones included and unmasked.
    pub(crate) fn argv(&self) -> Vec<String> {
        let secrets = self.secret_arguments.iter();
        let secrets = secrets.map(|(flag, value)| format!("{flag}={}", value.expose_secret()));
        self.arguments.iter().cloned().chain(secrets).collect()
    }

    /// Returns every value to mask in the command's output.
    pub(crate) fn secret_values(&self) -> impl Iterator<Item = &str> {
        let named = self.secrets.iter().chain(&self.secret_arguments);
        named
            .map(|(_, value)| value)
            .chain(&self.masked)
            .map(|value| value.expose_secret())
    }

    /// Returns the command with a maximum duration.
    #[must_use]
    pub fn within(mut self, limit: Option<Duration>) -> Self {
        self.time_limit = limit;
        self
    }

    /// Returns the command with [`Command::is_private`] set.
    #[must_use]
    pub fn private(mut self) -> Self {
        self.is_private = true;
        self
    }

    /// Returns the command with further secrets to mask in its output.
    #[must_use]
    pub fn masked(mut self, values: impl IntoIterator<Item = SecretString>) -> Self {
        self.masked.extend(values);
        self
    }

    /// Returns the command as a shell line, with secrets masked and inherited variables left out.
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
        let played = stand_in::mkectl_arguments(&self.0.arguments);
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

/// Text quoted as one word of a POSIX shell.
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
