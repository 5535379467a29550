//! What is run, as a value: building a command is pure, because it is shown and tested before it is run.

use std::fmt;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{Help, Variables};

/// A `mkectl` program. It is made by [`find`](crate::find()) or [`Mkectl::at`], which check that it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mkectl {
    /// The file to execute.
    pub program: Utf8PathBuf,
    /// Arguments that come before all others, for a program that plays `mkectl` under a subcommand of its own.
    pub leading: Vec<String>,
    /// The environment that it is run with.
    pub variables: Variables,
    /// Where its help pages are kept, if anywhere.
    pub memory: Option<Utf8PathBuf>,
    /// The kubeconfig that leads to the cluster; none where mkectl looks for one itself, and for a cluster that does not exist yet,
    /// where the vendor forbids the flag.
    pub kubeconfig: Option<Utf8PathBuf>,
}

impl Mkectl {
    /// Returns the program at a path that is known to be executable.
    pub fn new(program: impl Into<Utf8PathBuf>, variables: Variables) -> Self {
        Self {
            program: program.into(),
            leading: Vec::new(),
            variables,
            memory: None,
            kubeconfig: None,
        }
    }

    /// Returns the program with arguments that come before all others.
    #[must_use]
    pub fn leading<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.leading = arguments.into_iter().map(Into::into).collect();
        self
    }

    /// Builds `mkectl apply -f FILE`, with `--no-color` and `--no-pretty-print` where `help`, the answer to
    /// [`Mkectl::help`] for `apply`, lists them.
    pub fn apply(&self, file: &Utf8Path, help: &Help) -> Command {
        let words = ["apply", "-f", file.as_str()];
        self.for_cluster(words.into_iter().chain(help.plain()))
    }

    /// Builds a command of this program for the cluster that [`Mkectl::kubeconfig`] leads to.
    pub(crate) fn for_cluster<'a>(
        &'a self,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Command {
        let kubeconfig = self.kubeconfig.iter();
        let kubeconfig = kubeconfig.flat_map(|path| [KUBECONFIG, path.as_str()]);
        self.command(arguments.into_iter().chain(kubeconfig))
    }

    /// Builds a command of this program.
    pub(crate) fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let arguments: Vec<&str> = arguments.into_iter().collect();
        let words = arguments.iter().take_while(|word| !word.starts_with('-'));
        Command {
            name: ["mkectl"]
                .iter()
                .chain(words)
                .copied()
                .collect::<Vec<_>>()
                .join(" "),
            program: self.program.clone(),
            arguments: self
                .leading
                .iter()
                .cloned()
                .chain(arguments.into_iter().map(str::to_owned))
                .collect(),
            secrets: Vec::new(),
            secret_arguments: Vec::new(),
            results: Results::default(),
            directory: None,
            time_limit: None,
            masked: Vec::new(),
            variables: self.variables.clone(),
        }
    }
}

/// The flag of every command that names a kubeconfig.
pub(crate) const KUBECONFIG: &str = "--kubeconfig";

/// One command, ready to be shown by [`Command::display`] and run by [`run`](crate::run()).
#[derive(Debug, Clone)]
pub struct Command {
    /// What it is called where it is told of, `mkectl etcd backup` for example, whatever the program's file is.
    pub name: String,
    /// The file to execute.
    pub program: Utf8PathBuf,
    /// Its arguments, in order. Secrets do not belong here.
    pub arguments: Vec<String>,
    /// The folder that it runs in, where that matters; the present one otherwise.
    pub directory: Option<Utf8PathBuf>,
    /// Variables whose values are secret, over [`Command::variables`]. The values are masked in all output.
    pub secrets: Vec<(String, SecretString)>,
    /// Flags that follow the arguments, and their values: secrets that the program takes in no other way. While it runs, every user
    /// of the machine can read them in the process list, so that whoever runs such a command must have been told. They are masked
    /// wherever the command is shown, and in all output.
    pub secret_arguments: Vec<(String, SecretString)>,
    /// What becomes of its standard output.
    pub results: Results,
    /// How long it may run; as long as it likes where there is none.
    pub time_limit: Option<Duration>,
    /// Values that reach the program in another way, in a file for example, and are masked in all output too.
    pub masked: Vec<SecretString>,
    /// The rest of its environment.
    pub variables: Variables,
}

/// What becomes of what a program writes to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Results {
    /// It is told and logged line by line together with standard error, in the order in which both were written.
    #[default]
    Mixed,
    /// Its lines are told apart, as [`Event::Result`](crate::Event::Result), and logged.
    Apart,
    /// Its lines are told apart, as they are, and neither logged nor among the last lines: all of it is a secret.
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

    /// Returns the command without its kubeconfig, whose place differs from machine to machine.
    #[must_use]
    pub fn without_kubeconfig(mut self) -> Self {
        if let Some(at) = self.arguments.iter().position(|word| word == KUBECONFIG) {
            self.arguments.drain(at..self.arguments.len().min(at + 2));
        }
        self
    }

    /// Returns the command to be run in a folder.
    #[must_use]
    pub fn in_directory(mut self, directory: impl Into<Utf8PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Returns the command with a secret in its environment, `MKE_CHART_REGISTRY_PASSWORD` for example.
    #[must_use]
    pub fn secret(mut self, name: impl Into<String>, value: SecretString) -> Self {
        self.secrets.push((name.into(), value));
        self
    }

    /// Returns the command with what these are pulled with from a registry that wants credentials (APPLY-421): the user's name by the
    /// flags that `help` lists, and the password by the variable that belongs to each. Of the two variables the one for charts is
    /// documented, and the other one inferred. A flag wants the configuration to name a Secret for its registry, so that none is given for another.
    #[must_use]
    pub fn pulling_with(
        mut self,
        username: &str,
        password: &SecretString,
        pulled: &[Pulled],
        help: &Help,
    ) -> Self {
        for (flag, variable) in pulled.iter().map(|pulled| pulled.registry_user()) {
            if help.lists(flag) {
                self = self
                    .argument(flag)
                    .argument(username)
                    .secret(variable, password.clone());
            }
        }
        self
    }

    /// Returns the command with a flag whose value is a secret, `--mke3-admin-password` for example, where [`Command::secret`] does
    /// not do: see [`Command::secret_arguments`].
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

    /// Returns the command with more values to be masked in its output.
    #[must_use]
    pub fn masked(mut self, values: impl IntoIterator<Item = SecretString>) -> Self {
        self.masked.extend(values);
        self
    }

    /// Returns the command as one would type it in a shell, with secret values masked. Inherited variables are left out.
    pub fn display(&self) -> impl fmt::Display + '_ {
        Shown(self)
    }
}

/// What a cluster pulls from a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulled {
    /// Charts.
    Charts,
    /// Images.
    Images,
}

impl Pulled {
    /// Returns the flag for the name of the user that pulls, and the variable of the password.
    fn registry_user(self) -> (&'static str, &'static str) {
        match self {
            Self::Charts => ("--chart-registry-username", "MKE_CHART_REGISTRY_PASSWORD"),
            Self::Images => ("--image-registry-username", "MKE_IMAGE_REGISTRY_PASSWORD"),
        }
    }
}

/// Returns the flags for the names of users that pull these which `help` does not list: what they stand for cannot be handed over.
pub fn unlisted_registry_users(pulled: &[Pulled], help: &Help) -> Vec<&'static str> {
    pulled
        .iter()
        .map(|pulled| pulled.registry_user().0)
        .filter(|flag| !help.lists(flag))
        .collect()
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
        write!(formatter, "{}", Quoted(self.0.program.as_str()))?;
        for argument in &self.0.arguments {
            write!(formatter, " {}", Quoted(argument))?;
        }
        for (flag, _) in &self.0.secret_arguments {
            write!(formatter, " {flag}=***")?;
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn mkectl() -> Mkectl {
        Mkectl::new("/usr/local/bin/mkectl", Variables::default())
    }

    #[test]
    fn apply_asks_for_plain_output_only_where_the_help_lists_it() {
        let file = Utf8Path::new("environments/prod/mke4.yaml");
        for (help, expected) in [
            (
                "",
                "/usr/local/bin/mkectl apply -f environments/prod/mke4.yaml",
            ),
            (
                "--no-color",
                "/usr/local/bin/mkectl apply -f environments/prod/mke4.yaml --no-color",
            ),
            (
                "  -h, --help\n      --no-color\n      --no-pretty-print\n",
                "/usr/local/bin/mkectl apply -f environments/prod/mke4.yaml --no-color --no-pretty-print",
            ),
        ] {
            let command = mkectl().apply(file, &Help::parse(help));
            assert_eq!(command.display().to_string(), expected);
            assert_eq!(command.name, "mkectl apply");
        }
    }

    #[test]
    fn a_name_has_the_words_of_the_command_alone() {
        let mkectl = Mkectl::new("./mkectl-v4.1.0", Variables::default()).leading(["rehearse"]);
        let file = Utf8Path::new("mke4.yaml");
        let backup = mkectl.backup(file, "x.tar", crate::Archives::Etcd, &Help::default());
        assert_eq!(backup.name, "mkectl etcd backup");
        let typed = ["reset", "--token", "hunter2"].map(str::to_owned);
        let reset = mkectl.other(&typed, None, &Help::default());
        assert_eq!(reset.name, "mkectl reset");
    }

    #[test]
    fn leading_arguments_come_first() {
        let command = mkectl()
            .leading(["rehearse", "--as", "mkectl"])
            .apply(Utf8Path::new("a b.yaml"), &Help::default())
            .argument("it's")
            .argument("");
        assert_eq!(
            command.arguments,
            [
                "rehearse", "--as", "mkectl", "apply", "-f", "a b.yaml", "it's", ""
            ]
        );
        assert_eq!(
            command.display().to_string(),
            r"/usr/local/bin/mkectl rehearse --as mkectl apply -f 'a b.yaml' 'it'\''s' ''"
        );
    }

    #[test]
    fn who_pulls_is_named_by_flag_and_the_password_by_variable() {
        let password = SecretString::from("hunter2");
        let file = Utf8Path::new("mke4.yaml");
        let both = [Pulled::Charts, Pulled::Images];
        for (pulled, help, expected) in [
            (&both[..], "", "/usr/local/bin/mkectl apply -f mke4.yaml"),
            (
                &both[1..],
                "--chart-registry-username string\n--image-registry-username string",
                "MKE_IMAGE_REGISTRY_PASSWORD=*** /usr/local/bin/mkectl apply -f mke4.yaml --image-registry-username puller",
            ),
            (
                &both[..],
                "--chart-registry-username string",
                "MKE_CHART_REGISTRY_PASSWORD=*** /usr/local/bin/mkectl apply -f mke4.yaml --chart-registry-username puller",
            ),
            (
                &both[..],
                "--chart-registry-username string\n--image-registry-username string",
                "MKE_CHART_REGISTRY_PASSWORD=*** MKE_IMAGE_REGISTRY_PASSWORD=*** /usr/local/bin/mkectl apply -f mke4.yaml \
                 --chart-registry-username puller --image-registry-username puller",
            ),
        ] {
            let help = Help::parse(help);
            let command = mkectl()
                .apply(file, &help)
                .pulling_with("puller", &password, pulled, &help);
            assert_eq!(command.display().to_string(), expected);
            assert!(!command.arguments.concat().contains("hunter2"));
        }
    }

    #[test]
    fn a_secret_that_is_an_argument_is_shown_masked() {
        let command = mkectl()
            .apply(Utf8Path::new("mke4.yaml"), &Help::default())
            .secret_argument("--admin-password", SecretString::from("hunter2"));
        assert_eq!(
            command.display().to_string(),
            "/usr/local/bin/mkectl apply -f mke4.yaml --admin-password=***"
        );
        assert!(!format!("{command:?}").contains("hunter2"), "{command:?}");
        assert_eq!(
            command.argv(),
            ["apply", "-f", "mke4.yaml", "--admin-password=hunter2"]
        );
        assert!(command.unspoken().eq(["hunter2"]));
    }

    #[test]
    fn no_secret_is_shown_or_becomes_an_argument() {
        let mut mkectl = mkectl();
        mkectl.variables.set("PROD_PASSWORD", "swordfish");
        let command = mkectl
            .apply(Utf8Path::new("mke4.yaml"), &Help::default())
            .secret("MKE_CHART_REGISTRY_PASSWORD", SecretString::from("hunter2"));
        assert_eq!(
            command.display().to_string(),
            "MKE_CHART_REGISTRY_PASSWORD=*** /usr/local/bin/mkectl apply -f mke4.yaml"
        );
        let debug = format!("{command:?}");
        assert!(
            !debug.contains("hunter2") && !debug.contains("swordfish"),
            "{debug}"
        );
    }
}
