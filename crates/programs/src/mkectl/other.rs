//! Runs any mkectl command that the operator types, with missing flags added.

use camino::Utf8Path;
use secrecy::SecretString;

use super::{Help, KUBECONFIG, Mkectl};
use crate::{Command, Error};

/// Ends of the names of flags whose values are secret.
const SECRET_FLAGS: &[&str] = &["password", "token", "secret", "passphrase"];

impl Mkectl {
    /// Returns the help page of the command that these arguments begin with, or an empty page if
    /// the program does not know the command: it reports that itself when it runs.
    ///
    /// # Errors
    ///
    /// The errors of a query, except for [`Error::Failed`].
    pub fn help_of(&self, arguments: &[String]) -> Result<Help, Error> {
        let words: Vec<&str> = words(arguments).iter().map(String::as_str).collect();
        match self.help(&words) {
            Err(Error::Failed { .. }) => Ok(Help::default()),
            other => other,
        }
    }

    /// Builds a command from arguments that the operator typed. `help` is the page of
    /// [`Mkectl::help_of`]. Adds `-f file`, the kubeconfig and the flags for plain output if the
    /// page lists them and the operator did not type them. The value of a flag that is named like a
    /// secret becomes a [`Command::secret_argument`].
    pub fn other(&self, arguments: &[String], file: Option<&Utf8Path>, help: &Help) -> Command {
        let words = words(arguments);
        let (flags, _) = secrets(&arguments[words.len()..]);
        let has = |names: &[&str]| {
            flags.iter().any(|flag| {
                let name = flag.split_once('=').map_or(*flag, |(name, _)| name);
                names.contains(&name)
            })
        };
        let mut all: Vec<&str> = words.iter().map(String::as_str).collect();
        if !has(&["-h", "--help"]) {
            if let Some(file) = file
                && help.lists("--file")
                && !has(&["-f", "--file"])
            {
                all.extend(["-f", file.as_str()]);
            }
            all.extend(help.plain().into_iter().filter(|flag| !has(&[flag])));
            if help.lists(KUBECONFIG) && !has(&[KUBECONFIG]) {
                return self.for_cluster(all).typed(&arguments[words.len()..]);
            }
        }
        self.command(all).typed(&arguments[words.len()..])
    }
}

impl Command {
    /// Returns the command with flags that the operator typed. Flags named like secrets become
    /// [`Command::secret_argument`]s.
    #[must_use]
    pub fn typed(mut self, typed: &[String]) -> Self {
        let (flags, secrets) = secrets(typed);
        self.arguments.extend(flags.into_iter().map(str::to_owned));
        for (flag, value) in secrets {
            self = self.secret_argument(flag, SecretString::from(value));
        }
        self
    }
}

/// Returns the words of the command: everything before the first flag.
fn words(arguments: &[String]) -> &[String] {
    let length = arguments
        .iter()
        .take_while(|argument| !argument.starts_with('-'))
        .count();
    &arguments[..length]
}

/// Splits typed arguments into ordinary ones and those named like secrets, with their values.
fn secrets(typed: &[String]) -> (Vec<&str>, Vec<(&str, &str)>) {
    let mut flags = Vec::new();
    let mut secrets = Vec::new();
    let mut rest = typed.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (argument, None),
        };
        let lower = name.to_lowercase();
        let is_secret =
            name.starts_with("--") && SECRET_FLAGS.iter().any(|end| lower.ends_with(end));
        // The next argument is the flag's value, whatever it begins with.
        match is_secret.then(|| value.or_else(|| rest.next())).flatten() {
            Some(value) => secrets.push((name, value)),
            None => flags.push(argument),
        }
    }
    (flags, secrets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Variables;

    fn shown(help: &str, arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        let file = Utf8Path::new("lab.yaml");
        Mkectl::new("mkectl", Variables::default())
            .other(&arguments, Some(file), &Help::parse(help))
            .display()
            .to_string()
    }

    #[test]
    fn missing_flags_are_added_if_the_help_lists_them() {
        const ALL: &str = "-f, --file string\n--no-color\n--no-pretty-print\n--help";
        for (help, typed, expected) in [
            ("", &["certs", "status"][..], "mkectl certs status"),
            (
                ALL,
                &["certs", "status", "--etcd"],
                "mkectl certs status -f lab.yaml --no-color --no-pretty-print --etcd",
            ),
            (
                ALL,
                &["apply", "-f", "my.yaml", "--no-color"],
                "mkectl apply --no-pretty-print -f my.yaml --no-color",
            ),
            (
                ALL,
                &["apply", "--file=my.yaml"],
                "mkectl apply --no-color --no-pretty-print --file=my.yaml",
            ),
            (ALL, &["apply", "--help"], "mkectl apply --help"),
            (
                "--file",
                &["apply", "--admin-password", "hunter2", "--force"],
                "mkectl apply -f lab.yaml --force --admin-password=***",
            ),
            (
                "",
                &["upgrade", "--mke3-admin-password=-hunter2"],
                "mkectl upgrade --mke3-admin-password=***",
            ),
            (
                "",
                &["x", "--apiSecret=hunter2", "--adminPassword", "hunter2"],
                "mkectl x --apiSecret=*** --adminPassword=***",
            ),
            ("", &["x", "--admin-password"], "mkectl x --admin-password"),
            ("", &[], "mkectl"),
        ] {
            assert_eq!(shown(help, typed), expected);
        }
    }
}
