//! Collects problems and warnings while a configuration is checked and rendered.

use std::collections::BTreeSet;
use std::sync::Arc;

use environment::yaml::{Node, Source};
use environment::{Environment, Problem, Secrets, nearest, quote};

/// The problems and warnings of a configuration.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<String>,
    /// Warnings of unknown keys that are similar to a known one. They are reported beside problems,
    /// if any, because a typo often causes a different problem.
    pub(crate) near_misses: Vec<Problem>,
    /// Secrets in the files, which messages mask.
    pub(crate) secrets: Secrets,
    /// The rules that the environment may break: its `accept`.
    accepted: BTreeSet<Rule>,
    /// The file of defaults that the release's own mkectl printed.
    defaults: Option<Arc<Source>>,
}

/// A rule that an environment may break. It is named after the violation that the environment
/// accepts: `accept: [even-controllers]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// An even number of controllers.
    EvenControllers,
    /// Hosts without `keyPath`: an SSH agent provides their keys.
    SshAgent,
    /// A cloud provider, whose API the site can reach.
    CloudProvider,
    /// Add-ons with a source or a destination other than the registry.
    OnlineAddons,
    /// Telemetry that is not off.
    Telemetry,
    /// A lock without some artifacts that the release's mkectl lists.
    IncompleteLock,
    /// Requirements that bundles do not contain: the operator has prepared the nodes.
    NotInBundle,
    /// A changed value that the cluster keeps permanently.
    WriteOnce,
    /// A mkectl that does not accept the nodes' pull credentials: the nodes get them otherwise.
    PullSecret,
}

/// The rules with their names in `accept`.
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

/// Returns whether the lock may lack artifacts that mkectl lists: `accept: [incomplete-lock]`.
pub fn accepts_incomplete_lock(environment: &Environment) -> bool {
    accepts(environment, Rule::IncompleteLock)
}

/// Returns whether nodes get pull credentials by other means than mkectl: `accept: [pull-secret]`.
pub fn accepts_pull_secret(environment: &Environment) -> bool {
    accepts(environment, Rule::PullSecret)
}

/// Returns whether the environment may break a rule.
pub(crate) fn accepts(environment: &Environment, rule: Rule) -> bool {
    let mut accepted = environment.accept.iter().filter_map(Node::text);
    accepted.any(|accepted| accepted == name(rule))
}

impl Notes {
    /// Reads the accepted rules of an environment.
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

    /// Returns whether a node comes from the defaults of the release's own mkectl, not from the
    /// operator.
    pub(crate) fn is_default(&self, node: &Node) -> bool {
        let defaults = self.defaults.as_ref();
        defaults.is_some_and(|defaults| Arc::ptr_eq(defaults, &node.source))
    }

    /// Notes a warning, which does not prevent rendering.
    pub(crate) fn warn(&mut self, problem: Problem) {
        self.warnings.push(problem.to_string());
    }

    /// Returns whether the environment may break a rule.
    pub(crate) fn accepts(&self, rule: Rule) -> bool {
        self.accepted.contains(&rule)
    }

    /// Notes a violation of a rule, unless the environment accepts it.
    ///
    /// `help` is a fragment. A hint about `accept` is appended.
    pub(crate) fn refuse(&mut self, rule: Rule, problem: Problem, help: &str) {
        if !self.accepts(rule) {
            self.problems
                .push(problem.with_help(format!("{help}, or write `accept: [{}]`", name(rule))));
        }
    }
}

/// Returns the name of a rule in `accept`.
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
