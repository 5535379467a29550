//! Finds mkectl: the one that the environment names, the downloaded one with the locked hash, or
//! the one on PATH.
//!
//! Downloads are stored in `bundles/mkectl/<release>/<platform>/`, and stay after an upgrade: a
//! backup is restored only by the build that wrote it. The archive is kept beside the program, to
//! verify the program with the locked hash before each use.

use camino::Utf8Path;
use environment::{CredentialSource, Environment, Reference};
use secrecy::SecretString;

use crate::{Context, Credentials, Tool, kubeconfig, receipt};

mod download;
mod kept;
mod find;
mod error;

pub(crate) use download::{
    archives, can_be_provided, contradictions, neutral_variables, provide, trust_on_first_use,
};
pub use download::{fetch, fetch_earlier, fetch_for};
pub use error::Error;
pub(crate) use find::{by_hash, find, of_release};
pub(crate) use kept::{StoredProgram, archive_hashes, check, fetched, keep};
pub use kept::{folder, platform};

/// Returns the mkectl of an environment, after checking its version.
///
/// # Errors
/// There is none, it cannot be run, or it is of a different release: each mkectl serves only its
/// own release (CLI-INST).
pub(crate) fn for_apply(
    context: &Context<'_>,
    environment: &Environment,
    lock: &bundle::Lock,
    lock_path: &Utf8Path,
) -> Result<Program, crate::Error> {
    let mut program = for_command(context, environment, lock, lock_path, &["apply"])?;
    program.pull = PullCredentials::of(context, environment)?;
    Ok(program)
}

/// Returns the mkectl of an environment, with the help page of a command.
///
/// # Errors
/// As for [`for_apply`].
pub(crate) fn for_command(
    context: &Context<'_>,
    environment: &Environment,
    lock: &bundle::Lock,
    lock_path: &Utf8Path,
    command: &[&str],
) -> Result<Program, crate::Error> {
    let variables = variables(context, environment);
    let mut mkectl = if environment.rehearsal {
        stand_in(context.tool, variables, &environment.release, lock_path)
    } else {
        find(context, environment, lock, variables)?
    };
    mkectl.kubeconfig = kubeconfig::flag(context, environment);
    Program::of(mkectl, &environment.release, command)
}

/// Returns the environment variables for an environment's mkectl: all but the secrets that it does
/// not need.
pub(crate) fn variables(context: &Context<'_>, environment: &Environment) -> programs::Variables {
    let mut variables = context.tool.variables.clone();
    // KUBECONFIG may lead to a different cluster. mkectl gets the environment's as a flag.
    variables.remove(kubeconfig::VARIABLE);
    let registry = &environment.registry;
    let named = [&registry.push_credentials, &registry.pull_credentials];
    for CredentialSource::Environment(prefix) in named.into_iter().flatten() {
        // mkectl does not push, and gets pull credentials in its own variables.
        variables.remove(&format!("{prefix}_USERNAME"));
        variables.remove(&format!("{prefix}_PASSWORD"));
    }
    for reference in environment::references(&environment.config) {
        if let Reference::Variable(name) = reference {
            // mkectl gets the value in `mke4.yaml`.
            variables.remove(&name);
        }
    }
    variables
}

/// A mkectl of the right release, with the flags that it supports.
#[derive(Debug, Clone)]
pub struct Program {
    pub(crate) mkectl: programs::Mkectl,
    /// Release of the program.
    pub(crate) release: semver::Version,
    /// Help page of the command.
    pub(crate) help: programs::Help,
    /// Pull credentials that mkectl gives to nodes.
    pull: Option<PullCredentials>,
}

/// Pull credentials of a cluster, and whether images, charts or both require them.
#[derive(Debug, Clone)]
pub(crate) struct PullCredentials {
    username: String,
    password: SecretString,
    pulled: Vec<programs::Pulled>,
}

impl PullCredentials {
    /// Returns the pull credentials of an environment. Returns none if everything is pulled without
    /// credentials: the cluster has no pull secret then (APPLY-421).
    ///
    /// # Errors
    /// The credentials are not available.
    pub(crate) fn of(
        context: &Context<'_>,
        environment: &Environment,
    ) -> Result<Option<Self>, crate::Error> {
        let secrets = mke::PullSecrets::of(environment);
        let both = [
            (secrets.charts, programs::Pulled::Charts),
            (secrets.images, programs::Pulled::Images),
        ];
        let pulled = both.into_iter().filter(|(with_secret, _)| *with_secret);
        let pulled: Vec<_> = pulled.map(|(_, pulled)| pulled).collect();
        if pulled.is_empty() {
            return Ok(None);
        }
        Ok(match context.known_pull_credentials(environment)? {
            Some(Credentials::Basic { username, password }) => Some(Self {
                username,
                password,
                pulled,
            }),
            Some(Credentials::Anonymous) | None => None,
        })
    }

    /// Returns the command with the credentials, if the help lists flags for them.
    pub(crate) fn add_to(
        &self,
        command: programs::Command,
        help: &programs::Help,
    ) -> programs::Command {
        command.with_pull_credentials(&self.username, &self.password, &self.pulled, help)
    }

    /// Checks that the help lists the flags for the credentials. `warnings` gets a missing flag
    /// that the environment accepts.
    ///
    /// # Errors
    /// [`Error::NoPullFlags`] if a flag is missing and the environment does not accept that.
    pub(crate) fn require_flags(
        &self,
        program: &Program,
        environment: &Environment,
        help: &programs::Help,
        warnings: &mut Vec<String>,
    ) -> Result<(), crate::Error> {
        let unlisted = programs::unlisted_registry_users(&self.pulled, help);
        // The stand-in of a rehearsal pulls without credentials.
        if unlisted.is_empty() || environment.rehearsal {
            return Ok(());
        }
        let error = Error::NoPullFlags {
            program: program.mkectl.program.path.clone(),
            flags: unlisted.join(" and no "),
        };
        if !mke::accepts_pull_secret(environment) {
            return Err(error.into());
        }
        warnings.push(format!("{error}, which the environment accepts"));
        Ok(())
    }
}

impl Program {
    /// Checks the version of a mkectl, and reads the help page of a command.
    ///
    /// # Errors
    /// [`Error::Version`] if it is of a different release, or it cannot be run.
    pub(crate) fn of(
        mkectl: programs::Mkectl,
        release: &semver::Version,
        command: &[&str],
    ) -> Result<Self, crate::Error> {
        let found = mkectl.version()?;
        if found != *release {
            return Err(Error::Version {
                program: mkectl.program.path,
                found: format!("v{found}"),
                wanted: format!("v{release}"),
            }
            .into());
        }
        let help = mkectl.help(command)?;
        Ok(Self {
            mkectl,
            release: found,
            help,
            pull: None,
        })
    }

    /// Returns the program, for commands other than `apply`.
    pub(crate) fn mkectl(&self) -> &programs::Mkectl {
        &self.mkectl
    }

    /// Returns version and hash, as receipts record them.
    pub(crate) fn record(&self) -> receipt::RecordedProgram {
        receipt::RecordedProgram {
            version: format!("v{}", self.release),
            sha256: self.mkectl.sha256(),
        }
    }

    /// Returns the live configuration of the cluster, as YAML.
    pub(crate) fn config_get(&self) -> Result<String, crate::Error> {
        self.mkectl.config_get().map_err(crate::Error::Mkectl)
    }

    /// Returns the command that applies the configuration in this file.
    pub(crate) fn apply(&self, config: &Utf8Path) -> programs::Command {
        let command = self.mkectl.apply(config, &self.help);
        match &self.pull {
            Some(pull) => pull.add_to(command, &self.help),
            None => command,
        }
    }

    /// Returns whether this mkectl can set a new administrator password (RESETPW).
    pub(crate) fn can_reset_password(&self) -> bool {
        (self.mkectl.help(&[])).is_ok_and(|root| root.has_command("reset-password"))
    }

    /// Checks that this mkectl accepts the pull credentials of nodes. `warnings` gets a missing
    /// flag that the environment accepts.
    ///
    /// # Errors
    /// [`Error::NoPullFlags`] if it does not, and the environment does not accept that.
    pub(crate) fn require_pull_flags(
        &self,
        environment: &Environment,
        warnings: &mut Vec<String>,
    ) -> Result<(), crate::Error> {
        match &self.pull {
            Some(pull) => pull.require_flags(self, environment, &self.help, warnings),
            None => Ok(()),
        }
    }
}

/// Returns the stand-in for mkectl that a rehearsal runs: this program.
fn stand_in(
    tool: &Tool,
    variables: programs::Variables,
    release: &semver::Version,
    lock: &Utf8Path,
) -> programs::Mkectl {
    programs::Mkectl::stand_in(&tool.executable, variables, &format!("v{release}"), lock)
}
