//! Reads the flags and commands of a `mkectl` from its own help.
//!
//! They differ between releases, and mkectl has no other list of them: `--no-color` and
//! `--no-pretty-print` are documented for 4.2 and unverified for 4.1.

use std::collections::{BTreeMap, BTreeSet};

/// A parsed page of `mkectl ... --help`. The default lists nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Help {
    flags: BTreeSet<String>,
    commands: BTreeSet<String>,
    /// Environment variables by flag.
    variables: BTreeMap<String, String>,
}

impl Help {
    /// Parses the text of a help page.
    pub fn parse(text: &str) -> Self {
        let flags = text
            .split(|character: char| !(character.is_ascii_alphanumeric() || character == '-'))
            .filter(|word| word.starts_with('-') && !word.trim_start_matches('-').is_empty())
            .map(str::to_owned)
            .collect();
        let commands = text
            .lines()
            .skip_while(|line| !line.starts_with("Available Commands:"))
            .skip(1)
            .take_while(|line| line.starts_with(' '))
            .filter_map(|line| line.split_whitespace().next())
            .map(str::to_owned)
            .collect();
        let variables = text.lines().filter_map(variable).collect();
        Self {
            flags,
            commands,
            variables,
        }
    }

    /// Returns whether the page lists exactly this flag, such as `--no-color`.
    pub fn lists(&self, flag: &str) -> bool {
        self.flags.contains(flag)
    }

    /// Returns the environment variable that the page names beside this flag.
    pub fn variable_of(&self, flag: &str) -> Option<&str> {
        self.variables.get(flag).map(String::as_str)
    }

    /// Returns whether the page lists a subcommand of this name.
    pub fn has_command(&self, name: &str) -> bool {
        self.commands.contains(name)
    }

    /// Returns the subcommands that the page lists.
    pub(crate) fn commands(&self) -> impl Iterator<Item = &str> {
        self.commands.iter().map(String::as_str)
    }

    /// Returns the listed flags for plain output. Without them the log would contain control
    /// sequences.
    pub(crate) fn plain(&self) -> Vec<&str> {
        ["--no-color", "--no-pretty-print"]
            .into_iter()
            .filter(|flag| self.lists(flag))
            .collect()
    }
}

/// Returns the flag at the beginning of a line and the variable in it, such as
/// `MKE_CHART_REGISTRY_PASSWORD`.
fn variable(line: &str) -> Option<(String, String)> {
    let flag = line
        .split_whitespace()
        .find(|word| word.starts_with("--"))?
        .trim_end_matches(',');
    let variable = line
        .split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'))
        .find(|word| {
            let is_name = |character: char| !character.is_ascii_lowercase();
            word.contains('_')
                && word.starts_with(|first: char| first.is_ascii_uppercase())
                && word.chars().all(is_name)
        })?;
    Some((flag.to_owned(), variable.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_in_the_layout_of_cobra() {
        let help = Help::parse(
            "Manage etcd\n\nUsage:\n  mkectl [command]\n\nAvailable Commands:\n  \
             apply       Apply the config\n  etcd        Manage etcd\n\nFlags:\n  -h, --help\n",
        );
        assert!(help.has_command("apply") && help.has_command("etcd") && help.lists("--help"));
        for name in ["Manage", "Usage:", "-h,", "backup", ""] {
            assert!(!help.has_command(name), "{name}");
        }
    }

    #[test]
    fn flags_are_found_in_the_layout_of_cobra() {
        let help = Help::parse(
            "Apply the config\n\nUsage:\n  mkectl apply [flags]\n\nFlags:\n  \
             --chart-registry-password string   password (env MKE_CHART_REGISTRY_PASSWORD)\n  \
             --cni-check-port int               port (default 80)\n  -h, --help\n\nGlobal Flags:\n  \
             -f, --file string   (default \"mke4.yaml\")\n      --no-color\n      --version version[=true]\n",
        );
        for flag in [
            "--chart-registry-password",
            "--cni-check-port",
            "-h",
            "--help",
            "-f",
            "--file",
            "--no-color",
            "--version",
        ] {
            assert!(help.lists(flag), "{flag}");
        }
        assert_eq!(
            help.variable_of("--chart-registry-password"),
            Some("MKE_CHART_REGISTRY_PASSWORD")
        );
        assert_eq!(help.variable_of("--file"), None);
        for flag in ["--chart-registry", "--no-pretty-print", "--no", "apply", ""] {
            assert!(!help.lists(flag), "{flag}");
        }
        assert!(!Help::default().lists("--help"));
    }
}
