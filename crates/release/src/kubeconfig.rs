//! Finds the kubeconfig of an environment, and refuses one that leads to a different cluster.
//!
//! mkectl uses `--kubeconfig`, or else the variable `KUBECONFIG`, or else `~/.mke/mke.kubeconf`
//! (KUBECTL). Airlock never passes the variable on: the vendor unsets it for a backup, and a new
//! cluster must be installed without any kubeconfig (BACKUP-CLI). If a cluster exists, Airlock
//! passes the flag.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use camino::{Utf8Path, Utf8PathBuf};
use environment::Environment;
use serde_yaml::Value;

use crate::Context;

mod error;

pub use error::Error;

/// The variable with the paths of kubeconfigs.
pub(crate) const VARIABLE: &str = "KUBECONFIG";

/// The kubeconfig of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubeconfig {
    /// The file, which need not exist.
    pub path: Utf8PathBuf,
    /// The source of the path.
    pub named_by: NamedBy,
}

/// The source of a kubeconfig's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedBy {
    /// `kubeconfig:` in environment.yaml.
    Environment,
    /// The variable `KUBECONFIG`.
    Variable,
    /// The default of mkectl: `~/.mke/mke.kubeconf`.
    Default,
}

impl fmt::Display for NamedBy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Environment => "environment.yaml",
            Self::Variable => VARIABLE,
            Self::Default => "mkectl",
        })
    }
}

impl Kubeconfig {
    /// Returns whether the file exists.
    pub(crate) fn exists(&self) -> bool {
        self.path.is_file()
    }

    /// Returns the value of `--kubeconfig`; `None` if mkectl uses this file by default.
    pub(crate) fn flag(&self) -> Option<Utf8PathBuf> {
        (self.named_by != NamedBy::Default).then(|| self.path.clone())
    }
}

/// Returns the kubeconfig of an environment. The file need not exist. Returns `None` if none is
/// named and `HOME` is not set. Also masks its secrets in all output from here on.
pub(crate) fn of(context: &Context<'_>, environment: &Environment) -> Option<Kubeconfig> {
    let found = find(context, environment)?;
    hide_secrets(&found.path);
    Some(found)
}

/// Masks the tokens, passwords and private keys of a kubeconfig in all output.
fn hide_secrets(path: &Utf8Path) {
    const KEYS: [&str; 6] = [
        "token",
        "password",
        "client-key-data",
        "id-token",
        "refresh-token",
        "access-token",
    ];
    fn hide(secret: &str) {
        redaction::run().add(secret);
        let key = BASE64_STANDARD.decode(secret).ok();
        if let Some(pem) = key.and_then(|pem| String::from_utf8(pem).ok()) {
            redaction::run().add(&pem);
        }
    }
    fn walk(value: &Value) {
        match value {
            Value::Mapping(keys) => {
                for (key, value) in keys {
                    let is_secret = key.as_str().is_some_and(|key| KEYS.contains(&key));
                    match value.as_str().filter(|_| is_secret) {
                        Some(secret) => hide(secret),
                        None => walk(value),
                    }
                }
            }
            Value::Sequence(values) => values.iter().for_each(walk),
            _ => {}
        }
    }
    // Ignored here: mkectl reports a file that it cannot read.
    let text = files::read_text(path).unwrap_or_default();
    if let Ok(kubeconfig) = serde_yaml::from_str(&text) {
        walk(&kubeconfig);
    }
}

fn find(context: &Context<'_>, environment: &Environment) -> Option<Kubeconfig> {
    if let Some(path) = &environment.operation.kubeconfig {
        return Some(Kubeconfig {
            path: path.clone(),
            named_by: NamedBy::Environment,
        });
    }
    let Some(paths) = variable(context, VARIABLE) else {
        return default(context);
    };
    // Absolute, because mkectl may run in a different folder.
    let paths = paths.split(':').filter(|path| !path.is_empty());
    let mut paths = paths.map(|path| camino::absolute_utf8(path).unwrap_or_else(|_| path.into()));
    let first = paths.next()?;
    let path = match first.is_file() {
        true => first,
        false => paths.find(|path| path.is_file()).unwrap_or(first),
    };
    Some(Kubeconfig {
        path,
        named_by: NamedBy::Variable,
    })
}

/// Returns mkectl's default kubeconfig, to which it also writes that of a new cluster.
pub(crate) fn default(context: &Context<'_>) -> Option<Kubeconfig> {
    Some(Kubeconfig {
        path: Utf8PathBuf::from(variable(context, "HOME")?.into_owned()).join(".mke/mke.kubeconf"),
        named_by: NamedBy::Default,
    })
}

/// Returns the value of `--kubeconfig` for the cluster of an environment; `None` in a rehearsal,
/// and if the file does not exist.
pub(crate) fn flag(context: &Context<'_>, environment: &Environment) -> Option<Utf8PathBuf> {
    if environment.rehearsal {
        return None;
    }
    of(context, environment).filter(Kubeconfig::exists)?.flag()
}

/// Checks that the kubeconfig of an environment exists, if the environment or the variable names
/// one. It is called only if the cluster exists.
///
/// # Errors
/// [`Error::Missing`] if it does not exist.
pub(crate) fn require(
    context: &Context<'_>,
    environment: &Environment,
) -> Result<(), crate::Error> {
    match of(context, environment) {
        Some(kubeconfig)
            if !environment.rehearsal && kubeconfig.flag().is_some() && !kubeconfig.exists() =>
        {
            Err(crate::Error::Kubeconfig(Box::new(Error::Missing {
                environment: environment.name.clone(),
                kubeconfig,
            })))
        }
        _ => Ok(()),
    }
}

/// Returns the value of a variable; `None` if it is empty. A path that is not UTF-8 becomes one
/// that does not exist.
fn variable<'a>(context: &'a Context<'_>, name: &str) -> Option<Cow<'a, str>> {
    let value = context.tool.variables.get(name)?.to_string_lossy();
    (!value.is_empty()).then_some(value)
}
