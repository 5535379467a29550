//! What an environment wants to have happened elsewhere before a deploy: `requires`.

use std::time::Duration;

use crate::findings::unknown_key;
use crate::grammar;
use crate::problem::{Problem, quote};
use crate::span::span;
use crate::yaml::Node;

/// The key that names the environment whose deploy must have succeeded.
pub(crate) const REQUIRES: &str = "requires";

/// What to write under `requires`.
const HELP: &str = "write the name of an environment, or `{ environment: NAME, minimum-age: 24h }`";

/// A deploy that must have succeeded before: of the same lock, to another environment.
#[derive(Debug, Clone)]
pub struct Requirement {
    /// The other environment's name. Whether there is one has not been checked.
    pub environment: String,
    /// How long ago that must have been at least; any time will do where nothing is said.
    pub minimum_age: Option<Duration>,
    /// Where it is written.
    pub written: Node,
}

/// Checks `requires` in one file.
pub(crate) fn check(node: &Node) -> Vec<Problem> {
    let Some(keys) = node.as_mapping() else {
        return name(node).err().into_iter().collect();
    };
    let mut problems = Vec::new();
    for (key, value) in keys.iter() {
        let found = match key.text().unwrap_or_default() {
            _ if value.is_null() => continue,
            "environment" => name(value).map(drop),
            "minimum-age" => span(value, "requires.minimum-age").map(drop),
            _ => Err(unknown_key(
                key,
                &["environment", "minimum-age"],
                REQUIRES,
                HELP,
            )),
        };
        problems.extend(found.err());
    }
    problems
}

/// Reads `requires` of the merged document of the environment `own`; nothing where what is wrong with its values has been noted.
pub(crate) fn requirement(node: &Node, own: &str) -> Result<Option<Requirement>, Problem> {
    let (written, minimum_age) = match node.as_mapping() {
        None => (node, None),
        Some(_) => {
            let Some(environment) = node.get("environment") else {
                let rule = format!("`{REQUIRES}.environment` is missing");
                return Err(Problem::at(node, rule).with_help(HELP));
            };
            (environment, node.get("minimum-age"))
        }
    };
    let Ok(environment) = name(written) else {
        return Ok(None);
    };
    if environment == own {
        let rule = format!("{} requires itself", quote(own));
        let help = "name the environment that a release is tried on before";
        return Err(Problem::at(written, rule).with_help(help));
    }
    Ok(Some(Requirement {
        environment: environment.to_owned(),
        minimum_age: minimum_age.and_then(|node| span(node, "requires.minimum-age").ok()),
        written: written.clone(),
    }))
}

fn name(node: &Node) -> Result<&str, Problem> {
    let wrong = |rule: String| Problem::at(node, rule).with_help(HELP);
    let Some(name) = node.text() else {
        return Err(wrong(format!(
            "`{REQUIRES}` is {}, not the name of an environment",
            node.kind()
        )));
    };
    match grammar::environment_name(name) {
        Ok(()) => Ok(name),
        Err(_) => Err(wrong(format!(
            "{} is not the name of an environment",
            quote(name)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::yaml::{Source, parse};

    fn node(text: &str) -> Node {
        let document = parse(Arc::new(Source {
            path: "environment.yaml".into(),
            text: text.to_owned(),
        }))
        .unwrap();
        document.get(REQUIRES).unwrap().clone()
    }

    #[test]
    fn a_name_alone_and_a_name_with_an_age_are_understood() {
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
            let node = node(text);
            assert!(check(&node).is_empty(), "{text}");
            let found = requirement(&node, "prod").unwrap().unwrap();
            assert_eq!(found.environment, "staging", "{text}");
            assert_eq!(found.minimum_age, age.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn what_is_no_requirement_says_what_one_is() {
        for (text, expected) in [
            (
                "requires: [staging]\n",
                "`requires` is a list, not the name of an environment",
            ),
            (
                "requires: Staging!\n",
                "`Staging!` is not the name of an environment",
            ),
            (
                "requires: { environment: staging, age: 1h }\n",
                "unknown key `age` in `requires`",
            ),
            (
                "requires: { environment: staging, minimum-age: 24 }\n",
                "`requires.minimum-age` is not a span of time",
            ),
            (
                "requires: { environment: staging, minimum-age: 0h }\n",
                "`requires.minimum-age` is not a span of time",
            ),
        ] {
            let problems = check(&node(text));
            assert_eq!(problems.len(), 1, "{text}");
            assert_eq!(problems[0].rule, expected);
        }
        for (text, expected) in [
            (
                "requires: { minimum-age: 1h }\n",
                "`requires.environment` is missing",
            ),
            ("requires: prod\n", "`prod` requires itself"),
        ] {
            let problem = requirement(&node(text), "prod").unwrap_err();
            assert_eq!(problem.rule, expected);
        }
    }
}
