//! The provenance of a deploy: program, revision and operator, as far as known.

use environment::Environment;
use serde::{Deserialize, Serialize};

use crate::Context;
use crate::event::Event;

/// Files that deploys change. Uncommitted ones do not make a workspace unclean.
const RECEIPTS: &[&str] = &["environments/*/receipt.yaml"];

/// The provenance of a deploy: program, revision and operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Provenance {
    /// The version of Airlock.
    pub airlock: String,
    /// The commit that was checked out at the start; `None` if git does not report one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Whether all files but receipts were as in that commit; `None` if git does not report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clean: Option<bool>,
    /// The operator, if the environment records that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<Operator>,
}

/// The operator according to git and the login. Neither is a proof.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Operator {
    /// Name and address in git's settings, `Jane Doe <jane@example.com>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<String>,
    /// The value of the variable `USER`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
}

impl Provenance {
    /// Returns the provenance of a deploy that begins now. Facts that git does not report are
    /// `None`: it may be missing, slow, or refuse the folder.
    pub(crate) fn of(context: &Context<'_>, environment: &Environment) -> Self {
        let git = programs::Git::of(context.workspace.root(), &context.tool.variables).ok();
        let state = git.as_ref().and_then(|git| git.state(RECEIPTS).ok());
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
