//! Collects all help pages of a mkectl, to record the capabilities of a release.

use std::collections::{BTreeMap, VecDeque};

use super::{Help, Mkectl};
use crate::Error;

/// Maximum number of pages, several times what the vendor's pages show.
const MAX_PAGES: usize = 150;

/// Maximum number of words of a command.
const MAX_WORDS: usize = 4;

/// Commands of Cobra itself, the same in every program.
const OF_COBRA: &[&str] = &["completion", "help"];

impl Mkectl {
    /// Returns what `mkectl version` prints.
    ///
    /// # Errors
    /// The errors of a query.
    pub fn version_text(&self) -> Result<String, Error> {
        Ok(self.ask(&["version"])?.trim().to_owned())
    }

    /// Returns the help page of a command as printed.
    ///
    /// # Errors
    /// The errors of a query.
    pub fn help_page(&self, command: &[&str]) -> Result<String, Error> {
        let arguments: Vec<&str> = command.iter().copied().chain(["--help"]).collect();
        self.ask(&arguments)
    }

    /// Returns the help pages of all commands, by their words. The program's own page is `mkectl`.
    ///
    /// # Errors
    /// The errors of a query of the program's own page. Commands without a page are left out.
    pub fn help_pages(&self) -> Result<BTreeMap<String, String>, Error> {
        let mut pages = BTreeMap::new();
        let mut queue: VecDeque<Vec<String>> = VecDeque::from([Vec::new()]);
        while let Some(command) = queue.pop_front() {
            if pages.len() == MAX_PAGES {
                break;
            }
            let words: Vec<&str> = command.iter().map(String::as_str).collect();
            let text = match self.help_page(&words) {
                Ok(text) => text,
                Err(error) if command.is_empty() => return Err(error),
                Err(_) => continue,
            };
            if command.len() < MAX_WORDS {
                for name in Help::parse(&text).commands() {
                    if !OF_COBRA.contains(&name) {
                        let below = command.iter().cloned().chain([name.to_owned()]);
                        queue.push_back(below.collect());
                    }
                }
            }
            let name = match command.as_slice() {
                [] => "mkectl".to_owned(),
                words => words.join(" "),
            };
            pages.insert(name, text);
        }
        Ok(pages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Variables;

    #[test]
    fn every_command_is_queried_once_and_a_broken_page_left_out() {
        let script = r#"
            case "$*" in
              --help) printf 'Usage:\n\nAvailable Commands:\n  apply  x\n  etcd  x\n  broken  x\n  help  x\n\nFlags:\n  -h\n' ;;
              "etcd --help") printf 'Available Commands:\n  backup  x\n' ;;
              "broken --help") exit 3 ;;
              *) echo "page of $*" ;;
            esac"#;
        let mkectl = Mkectl::new("/bin/sh", Variables::inherited([("PATH", "/usr/bin:/bin")]))
            .leading(["-c", script, "mkectl"]);
        let pages = mkectl.help_pages().unwrap();
        let names: Vec<&str> = pages.keys().map(String::as_str).collect();
        assert_eq!(names, ["apply", "etcd", "etcd backup", "mkectl"]);
        assert_eq!(pages["etcd backup"], "page of etcd backup --help\n");
    }
}
