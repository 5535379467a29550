//! The provenance of a deploy: the program and the operator, as far as known.

use environment::Environment;
use serde::{Deserialize, Serialize};

use crate::Context;
use crate::event::Event;

/// The files that every run may leave uncommitted without anything being different for the next.
const OF_RUNS: &[&str] = &["environments/*/receipt.yaml"];

/// The provenance of a deploy: program, revision and operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct By {
    /// The version of Airlock.
    pub airlock: String,
    /// The commit of the workspace that was checked out when it began; none if git does not report
    /// one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Whether nothing in the workspace differed from that commit, receipts aside; none if git does
    /// not report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clean: Option<bool>,
    /// The operator, if the environment records that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<Operator>,
}

/// The operator, according to Git and to the login. Neither is a proof.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Operator {
    /// The name and address that git would put on a commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<String>,
    /// The login, by the variable `USER`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
}

impl By {
    /// Finds out by what and by whom a deploy is about to be done. Git may be missing, slow or
    /// refuse: then it is left out.
    pub(crate) fn of(context: &Context<'_>, environment: &Environment) -> Self {
        let git = programs::Git::of(context.workspace.root(), &context.tool.variables).ok();
        let state = git.as_ref().and_then(|git| git.state(OF_RUNS).ok());
        let (revision, clean) = match state {
            Some(state) => (state.revision, Some(state.changed.is_empty())),
            None => (None, None),
        };
        Self {
            airlock: context.tool.version.clone(),
            revision,
            clean,
            operator: environment
                .record_operator
                .then(|| operator(context, git.as_ref())),
        }
    }
}

fn operator(context: &Context<'_>, git: Option<&programs::Git>) -> Operator {
    let setting = |name| git.and_then(|git| git.setting(name).ok().flatten());
    let by_git = match (setting("user.name"), setting("user.email")) {
        (Some(name), Some(address)) => Some(format!("{name} <{address}>")),
        (name, address) => name.or(address),
    };
    let login = context.tool.variables.get("USER");
    let operator = Operator {
        git: by_git,
        login: login
            .map(|login| login.to_string_lossy().into_owned())
            .filter(|login| !login.is_empty()),
    };
    if operator == Operator::default() {
        context.reporter.report(Event::Warning(
            "the environment has `record-operator`, but git's user.name and USER are not set: the receipt will not name the operator"
                .to_owned(),
        ));
    }
    operator
}
