//! mkectl, the vendor's installer: its commands and what it prints.

mod cluster;
mod help;
mod memory;
mod migrate;
mod other;
mod pages;
mod question;
pub(crate) mod stand_in;
mod upgrade;
mod version;

use camino::{Utf8Path, Utf8PathBuf};
use secrecy::SecretString;

use crate::{Command, Error, Executable, Variables};

pub use cluster::Check;
pub use help::Help;
pub use migrate::Migration;
pub use question::{Needed, document};
pub use stand_in::STAND_IN;
pub use upgrade::{
    Archives, GATEWAY_LISTENER_PORT, GATEWAY_PORTS, GatewayPorts, NodePorts, Upgrade,
};

/// Flag of every command that reads a kubeconfig.
const KUBECONFIG: &str = "--kubeconfig";

/// A `mkectl` program. [`Mkectl::find`] and [`Mkectl::at`] check that it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mkectl {
    /// The file to execute, and its environment.
    pub program: Executable,
    /// Folder in which its help pages are cached, if any.
    pub memory: Option<Utf8PathBuf>,
    /// Path of the cluster's kubeconfig. `None` if mkectl finds it itself, and before the cluster
    /// exists: the vendor forbids the flag then.
    pub kubeconfig: Option<Utf8PathBuf>,
}

impl From<Executable> for Mkectl {
    fn from(program: Executable) -> Self {
        Self {
            program,
            memory: None,
            kubeconfig: None,
        }
    }
}

impl Mkectl {
    /// Returns the program at `path` without checking it.
    pub fn new(path: impl Into<Utf8PathBuf>, variables: Variables) -> Self {
        Executable::new(path, variables).into()
    }

    /// Returns the first `mkectl` in the folders of `PATH`.
    ///
    /// # Errors
    ///
    /// Those of [`Executable::find`].
    pub fn find(variables: Variables) -> Result<Self, Error> {
        Executable::find("mkectl", variables).map(Self::from)
    }

    /// Returns the program at `path`, for an environment that names it.
    ///
    /// # Errors
    ///
    /// Those of [`Executable::at`].
    pub fn at(path: impl Into<Utf8PathBuf>, variables: Variables) -> Result<Self, Error> {
        Executable::at(path, variables).map(Self::from)
    }

    /// Returns the program with arguments before all others, for a stand-in that is a subcommand of
    /// another program.
    #[must_use]
    pub fn leading<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.program = self.program.leading(arguments);
        self
    }

    /// Builds `mkectl apply -f FILE`, with `--no-color` and `--no-pretty-print` if `help` lists
    /// them. `help` is the page of [`Mkectl::help`] for `apply`.
    pub fn apply(&self, file: &Utf8Path, help: &Help) -> Command {
        let words = ["apply", "-f", file.as_str()];
        self.for_cluster(words.into_iter().chain(help.plain()))
    }

    /// Builds a command with [`Mkectl::kubeconfig`].
    fn for_cluster<'a>(&'a self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let kubeconfig = self.kubeconfig.iter();
        let kubeconfig = kubeconfig.flat_map(|path| [KUBECONFIG, path.as_str()]);
        self.command(arguments.into_iter().chain(kubeconfig))
    }

    /// Builds a command of this program.
    fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        self.program.command("mkectl", arguments)
    }

    /// Runs the program and returns its standard output and standard error, in the order of
    /// writing.
    fn ask(&self, arguments: &[&str]) -> Result<String, Error> {
        self.program.ask(arguments)
    }
}

impl Command {
    /// Returns the command without its kubeconfig, whose path differs between machines.
    #[must_use]
    pub fn without_kubeconfig(mut self) -> Self {
        if let Some(at) = self.arguments.iter().position(|word| word == KUBECONFIG) {
            self.arguments.drain(at..self.arguments.len().min(at + 2));
        }
        self
    }

    /// Returns the command with credentials for pulling from a registry (APPLY-421): the user name
    /// as a flag that `help` lists, the password as the variable that belongs to it.
    ///
    /// The variable for charts is documented; the one for images is inferred. With such a flag the
    /// configuration must name a Secret for the registry, so other registries get no flag.
    #[must_use]
    pub fn with_pull_credentials(
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
}

/// The kind of artifact that a cluster pulls from a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulled {
    /// Charts.
    Charts,
    /// Images.
    Images,
}

impl Pulled {
    /// Returns the flag of the user name and the variable of the password.
    fn registry_user(self) -> (&'static str, &'static str) {
        match self {
            Self::Charts => ("--chart-registry-username", "MKE_CHART_REGISTRY_PASSWORD"),
            Self::Images => ("--image-registry-username", "MKE_IMAGE_REGISTRY_PASSWORD"),
        }
    }
}

/// Returns the flags of user names for `pulled` that `help` does not list. Those credentials cannot
/// be passed to mkectl.
pub fn unlisted_registry_users(pulled: &[Pulled], help: &Help) -> Vec<&'static str> {
    pulled
        .iter()
        .map(|pulled| pulled.registry_user().0)
        .filter(|flag| !help.lists(flag))
        .collect()
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
    fn a_name_has_only_the_words_of_the_command() {
        let mkectl = Mkectl::new("./mkectl-v4.1.0", Variables::default()).leading(["rehearse"]);
        let file = Utf8Path::new("mke4.yaml");
        let backup = mkectl.backup(file, "x.tar", Archives::Etcd, &Help::default());
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
    fn the_pulling_user_is_a_flag_and_the_password_a_variable() {
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
                .with_pull_credentials("puller", &password, pulled, &help);
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
        assert!(command.secret_values().eq(["hunter2"]));
    }

    #[test]
    fn no_secret_is_shown_or_becomes_an_argument() {
        let mut mkectl = mkectl();
        mkectl.program.variables.set("PROD_PASSWORD", "swordfish");
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
