//! What is noticed while a configuration is checked and rendered.

use std::collections::BTreeSet;
use std::sync::Arc;

use environment::yaml::{Node, Source};
use environment::{Environment, Problem, Secrets, nearest, quote};

/// What is wrong, and what should be known.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<String>,
    /// The warnings of unknown keys that resemble a known one. They are among the problems if there
    /// are any: a misspelt key is often the reason for another problem.
    pub(crate) near_misses: Vec<Problem>,
    /// Secrets that were written into a file.
    pub(crate) secrets: Secrets,
    /// The rules that the environment does without.
    accepted: BTreeSet<Rule>,
    /// The file that says what holds where the environment says nothing.
    defaults: Option<Arc<Source>>,
}

/// A rule that is right nearly always, and that people who know better can do without:
/// `accept: [even-controllers]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// A number of controllers that is not odd.
    EvenControllers,
    /// Hosts without a `keyPath`, so an SSH agent has the keys.
    SshAgent,
    /// A cloud's interface that can be reached from inside.
    CloudProvider,
    /// Add-ons that come from, or send to, somewhere else than the registry.
    OnlineAddons,
    /// Telemetry that is not off.
    Telemetry,
    /// A lock that lacks what the release's mkectl lists.
    IncompleteLock,
    /// What no bundle has and the nodes were prepared with.
    NotInBundle,
    /// A changed key that a cluster keeps permanently.
    WriteOnce,
    /// A mkectl that takes no credentials for the nodes' pulls.
    PullSecret,
}

/// The rules with the names that people write.
pub(crate) const RULES: [(Rule, &str); 9] = [
    (Rule::EvenControllers, "even-controllers"),
    (Rule::SshAgent, "ssh-agent"),
    (Rule::CloudProvider, "cloud-provider"),
    (Rule::OnlineAddons, "online-addons"),
    (Rule::Telemetry, "telemetry"),
    (Rule::IncompleteLock, "incomplete-lock"),
    (Rule::NotInBundle, "not-in-bundle"),
    (Rule::WriteOnce, "write-once"),
    (Rule::PullSecret, "pull-secret"),
];

/// Returns whether the environment does without a lock that has all that its mkectl lists:
/// `accept: [incomplete-lock]`.
pub fn accepts_incomplete_lock(environment: &Environment) -> bool {
    accepts(environment, Rule::IncompleteLock)
}

/// Returns whether nodes get pull credentials by other means than mkectl: `accept: [pull-secret]`.
pub fn accepts_pull_secret(environment: &Environment) -> bool {
    accepts(environment, Rule::PullSecret)
}

/// Returns whether the environment does without a rule.
pub(crate) fn accepts(environment: &Environment, rule: Rule) -> bool {
    let mut accepted = environment.accept.iter().filter_map(Node::text);
    accepted.any(|accepted| accepted == name(rule))
}

impl Notes {
    /// Begins with what the environment accepts.
    pub(crate) fn new(environment: &Environment) -> Notes {
        let mut notes = Notes {
            defaults: environment.defaults.clone(),
            ..Notes::default()
        };
        for node in &environment.accept {
            let name = node.text().unwrap_or_default();
            match RULES.iter().find(|(_, known)| *known == name) {
                Some((rule, _)) => {
                    notes.accepted.insert(*rule);
                }
                None => notes.problems.push(unknown_rule(node, name)),
            }
        }
        notes
    }

    /// Returns whether something is in the file of the release's own mkectl, and not in one that
    /// people wrote.
    pub(crate) fn is_default(&self, node: &Node) -> bool {
        let defaults = self.defaults.as_ref();
        defaults.is_some_and(|defaults| Arc::ptr_eq(defaults, &node.source))
    }

    /// Notes something that is right or wrong depending on what only people know.
    pub(crate) fn warn(&mut self, problem: Problem) {
        self.warnings.push(problem.to_string());
    }

    /// Returns whether people have said that a rule is not for them.
    pub(crate) fn accepts(&self, rule: Rule) -> bool {
        self.accepted.contains(&rule)
    }

    /// Notes a breach of a rule, unless people have said that it is not for them.
    ///
    /// `help` is a fragment to which the way out is added.
    pub(crate) fn refuse(&mut self, rule: Rule, problem: Problem, help: &str) {
        if !self.accepts(rule) {
            self.problems
                .push(problem.with_help(format!("{help}, or write `accept: [{}]`", name(rule))));
        }
    }
}

/// Returns the name that people write for a rule.
pub(crate) fn name(rule: Rule) -> &'static str {
    RULES
        .iter()
        .find(|(known, _)| *known == rule)
        .map_or("", |(_, name)| name)
}

fn unknown_rule(node: &Node, name: &str) -> Problem {
    let help = match nearest(name, RULES.map(|(_, name)| name)) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!(
            "the rules are {}",
            RULES.map(|(_, name)| quote(name)).join(", ")
        ),
    };
    Problem::at(
        node,
        format!("{} is not a rule that can be accepted", quote(name)),
    )
    .with_help(help)
}
