//! Queries of `mkectl`: a first configuration, the cluster's configuration, the artifacts of an
//! offline installation.

use camino::Utf8Path;

use super::{Help, Mkectl};
use crate::{Command, Error};

/// The command that prints a cluster's configuration.
const CONFIG_GET: &[&str] = &["config", "get"];

/// The kind of artifact that `mkectl airgap` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    /// Container images, by `list-images`.
    Images,
    /// Helm charts, by `list-charts`.
    Charts,
}

impl Mkectl {
    /// Returns the configuration that `mkectl init` prints, as YAML.
    ///
    /// # Errors
    ///
    /// [`Error::NoConfig`] if it prints none, and the errors of a query.
    pub fn init(&self) -> Result<String, Error> {
        self.config(&["init"])
    }

    /// Returns the cluster's configuration from `mkectl config get`, as YAML.
    ///
    /// Before 4.1.3 the output contains log lines, which are removed.
    ///
    /// # Errors
    ///
    /// [`Error::NoConfig`] if it prints none, and the errors of a query.
    pub fn config_get(&self) -> Result<String, Error> {
        let command = self.config_get_command();
        let leading = self.program.leading.len();
        let words: Vec<&str> = command.arguments[leading..]
            .iter()
            .map(String::as_str)
            .collect();
        self.config(&words)
    }

    /// Builds the command of [`Mkectl::config_get`], to be shown.
    pub fn config_get_command(&self) -> Command {
        self.for_cluster(CONFIG_GET.iter().copied())
    }

    /// Checks a configuration with `mkectl init -f FILE --print-k0sctl-config`, which needs no
    /// cluster. `help` is the page of [`Mkectl::help`] for `init`. Returns false, without a check,
    /// if the page does not list the flag.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] if the program rejects the configuration, and the errors of a query.
    pub fn check_config(&self, file: &Utf8Path, help: &Help) -> Result<bool, Error> {
        const FLAG: &str = "--print-k0sctl-config";
        if !help.lists(FLAG) {
            return Ok(false);
        }
        self.ask(&["init", "-f", file.as_str(), FLAG]).map(|_| true)
    }

    /// Returns the references that an offline installation needs, without `oci://`, from `mkectl
    /// airgap list-images` or `list-charts`. The vendor does not document these commands: check
    /// [`Mkectl::help`] for `airgap` first.
    ///
    /// # Errors
    ///
    /// The errors of a query; [`Error::Failed`] if the program does not know the command.
    pub fn airgap(&self, needed: Needed) -> Result<Vec<String>, Error> {
        let command = match needed {
            Needed::Images => "list-images",
            Needed::Charts => "list-charts",
        };
        Ok(references(&self.ask(&["airgap", command])?))
    }

    fn config(&self, arguments: &[&str]) -> Result<String, Error> {
        let answer = self.ask(arguments)?;
        document(&answer).ok_or_else(|| Error::NoConfig {
            command: self
                .command(arguments.iter().copied())
                .display()
                .to_string(),
            output: answer,
        })
    }
}

/// Returns the YAML document in mkectl's output: from `apiVersion:` on, without log lines. `None`
/// if it contains no document.
pub fn document(answer: &str) -> Option<String> {
    let document: Vec<&str> = answer
        .lines()
        .skip_while(|line| !line.starts_with("apiVersion:"))
        .filter(|line| !is_of_log(line))
        .collect();
    (!document.is_empty()).then(|| format!("{}\n", document.join("\n")))
}

/// Returns whether a line is from the log. A similar line of the document would be indented.
fn is_of_log(line: &str) -> bool {
    const LEVELS: &[&str] = &["TRC", "DBG", "INF", "WRN", "ERR", "FTL", "INFO[", "WARN["];
    let mut words = line.split_whitespace();
    let is_level = |word: Option<&str>| {
        word.is_some_and(|word| LEVELS.iter().any(|level| word.starts_with(level)))
    };
    line.starts_with('\u{1b}')
        || !line.starts_with(char::is_whitespace)
            // A timestamp may precede the level.
            && (is_level(words.next()) || !line.contains(": ") && is_level(words.next()))
}

/// Returns the references in mkectl's output, one per line, ignoring other lines.
fn references(answer: &str) -> Vec<String> {
    let mut references: Vec<String> = answer
        .lines()
        .map(str::trim)
        .map(|line| line.strip_prefix("oci://").unwrap_or(line))
        .filter(|line| {
            let is_word = !line.contains(char::is_whitespace) && !line.contains('\u{1b}');
            is_word && line.contains('/') && line.contains(':')
        })
        .map(str::to_owned)
        .collect();
    references.sort();
    references.dedup();
    references
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_lines_are_not_part_of_a_configuration() {
        let wanted = "apiVersion: mke.mirantis.com/v1alpha1\nkind: MkeConfig\nspec:\n  notes: |\n    INF kept\n";
        for answer in [
            wanted.to_owned(),
            format!("\u{1b}[32mINF\u{1b}[0m reading\nWRN old\n{wanted}"),
            format!("INF reading\n{wanted}INF done\n2026-01-01T00:00:00Z INF bye\n"),
            wanted.replace("spec:", "\u{1b}[33mWRN\u{1b}[0m between\nspec:"),
        ] {
            assert_eq!(document(&answer).as_deref(), Some(wanted), "{answer}");
        }
        assert_eq!(document("INF nothing here\n"), None);
        assert_eq!(document("  apiVersion: v1\n"), None);
    }

    #[test]
    fn references_are_distinguished_from_the_log() {
        assert_eq!(
            references(
                "INF listing\nregistry.mirantis.com/mke/calico/node:v3.30.200\n\
                 oci://registry.mirantis.com/mke/charts/kof:1.8.1\n\
                 \nregistry.mirantis.com/mke/calico/node:v3.30.200\n"
            ),
            [
                "registry.mirantis.com/mke/calico/node:v3.30.200",
                "registry.mirantis.com/mke/charts/kof:1.8.1"
            ]
        );
    }
}
