//! The key `requires`: a deploy to a different environment that must succeed first.

use std::time::Duration;

use crate::keys::Key;
use crate::problem::{Problem, quote};
use crate::read::{Read, Reader, read_field};
use crate::yaml::Node;

/// A deploy of the same lock to a different environment, which must have succeeded first.
#[derive(Debug, Clone)]
pub struct Requirement {
    /// The name of that environment. Whether the environment exists has not been checked.
    pub environment: String,
    /// The minimum age of that deploy; `None` means any age.
    pub minimum_age: Option<Duration>,
    /// The node with the name, for messages.
    pub node: Node,
}

impl Read for Requirement {
    fn read(key: &Key, node: Option<&Node>, reader: &mut Reader<'_>) -> Option<Requirement> {
        let node = node?;
        let name = match node.as_mapping() {
            None => node,
            Some(keys) => keys.get("environment")?,
        };
        let environment = name.text()?;
        if environment == reader.name {
            let rule = format!("{} requires itself", quote(environment));
            let help = "name the environment on which releases are tried first";
            reader.findings.add(Problem::at(name, rule).with_help(help));
        }
        Some(Requirement {
            environment: environment.to_owned(),
            minimum_age: read_field("minimum-age", key, Some(node), reader)?,
            node: name.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::tests::{GOOD, PROD, Workspace};

    #[test]
    fn a_name_alone_and_a_name_with_an_age_are_read() {
        for (text, age) in [
            ("requires: staging\n", None),
            ("requires: { environment: staging }\n", None),
            ("requires: { environment: staging, minimum-age: ~ }\n", None),
            (
                "requires:\n  environment: staging\n  minimum-age: 24h\n",
                Some(86_400),
            ),
            (
                "requires: { environment: staging, minimum-age: 2d }\n",
                Some(172_800),
            ),
        ] {
            let loaded = Workspace::new(&[(PROD, &format!("{GOOD}{text}"))]).loaded();
            let found = loaded.requires.unwrap();
            assert_eq!(found.environment, "staging", "{text}");
            assert_eq!(found.minimum_age, age.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn an_invalid_requirement_is_refused() {
        for (text, expected) in [
            (
                "requires: [staging]\n",
                "`requires` is a list, not an environment name",
            ),
            (
                "requires: Staging!\n",
                "`Staging!` is not an environment name",
            ),
            (
                "requires: { environment: staging, age: 1h }\n",
                "unknown key `age` in `requires`",
            ),
            (
                "requires: { environment: staging, minimum-age: 24 }\n",
                "`requires.minimum-age` is not a duration",
            ),
            (
                "requires: { environment: staging, minimum-age: 0h }\n",
                "`requires.minimum-age` is not a duration",
            ),
            (
                "requires: { minimum-age: 1h }\n",
                "`requires.environment` is missing",
            ),
            ("requires: prod\n", "`prod` requires itself"),
        ] {
            let problems = Workspace::new(&[(PROD, &format!("{GOOD}{text}"))]).problems();
            let rules: Vec<&str> = problems.0.iter().map(|problem| &*problem.rule).collect();
            assert_eq!(rules, [expected], "{text}");
        }
    }
}
