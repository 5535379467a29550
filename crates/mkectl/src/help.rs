//! Which flags a `mkectl` knows, read from its own help.
//!
//! There is no other list of them, and they differ between releases: `--no-color` and `--no-pretty-print` are documented
//! for 4.2 and unverified for 4.1.

use std::collections::BTreeSet;

/// The flags that a `mkectl ... --help` lists. The default knows none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Help {
    flags: BTreeSet<String>,
}

impl Help {
    /// Reads the text of a help page.
    pub fn parse(text: &str) -> Self {
        let flags = text
            .split(|character: char| !(character.is_ascii_alphanumeric() || character == '-'))
            .filter(|word| word.starts_with('-') && !word.trim_start_matches('-').is_empty())
            .map(str::to_owned)
            .collect();
        Self { flags }
    }

    /// Whether the help lists exactly this flag, `--no-color` for example.
    pub fn lists(&self, flag: &str) -> bool {
        self.flags.contains(flag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for flag in ["--chart-registry", "--no-pretty-print", "--no", "apply", ""] {
            assert!(!help.lists(flag), "{flag}");
        }
        assert!(!Help::default().lists("--help"));
    }
}
