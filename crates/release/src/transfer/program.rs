//! Finds mkectl: the one that the environment names, the downloaded one whose hash is in the lock,
//! or the one on PATH.
//!
//! What was fetched is kept in `bundles/mkectl/<release>/<platform>/`, also when another release is
//! deployed since: a backup is restored only by the build that wrote it. The download stays beside
//! the program, to compare the program with the lock each time.

use camino::Utf8Path;
use environment::{CredentialSource, Environment, Reference};
use secrecy::SecretString;

use crate::{Context, Credentials, Tool, kubeconfig, receipt};

mod download;
mod kept;
mod find;
mod error;

pub(crate) use download::{
    archives, can_be_provided, contradictions, first_use, neutral_variables, provide,
};
pub use download::{fetch, fetch_earlier, fetch_for};
pub use error::Error;
pub(crate) use find::{by_hash, find, of_release};
pub(crate) use kept::{StoredProgram, archive_hashes, check, fetched, keep};
pub use kept::{folder, platform};

/// Returns the mkectl that an environment is to use, after asking it for its version.
///
/// # Errors
/// There is none, it cannot be run, or it is not the release's own: each mkectl serves one release
/// only (CLI-INST).
pub(crate) fn for_apply(
    context: &Context<'_>,
    environment: &Environment,
    lock: &bundle::Lock,
    lock_path: &Utf8Path,
) -> Result<Program, crate::Error> {
    let mut program = for_command(context, environment, lock, lock_path, &["apply"])?;
    program.pull = Pull::of(context, environment)?;
    Ok(program)
}

/// Returns the same, with what its help lists for a command.
///
/// # Errors
/// The same as of [`for_apply`].
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

/// Returns the environment variables that an environment's mkectl gets: all but the secrets that it
/// has no use for.
pub(crate) fn variables(context: &Context<'_>, environment: &Environment) -> programs::Variables {
    let mut variables = context.tool.variables.clone();
    // The cluster that it leads to may be a different one: where a cluster exists, the flag is
    // passed.
    variables.remove(kubeconfig::VARIABLE);
    let registry = &environment.registry;
    let named = [&registry.push_credentials, &registry.pull_credentials];
    for CredentialSource::Environment(prefix) in named.into_iter().flatten() {
        // mkectl has no use for what may push, and gets what pulls by names of its own.
        variables.remove(&format!("{prefix}_USERNAME"));
        variables.remove(&format!("{prefix}_PASSWORD"));
    }
    for reference in environment::references(&environment.config) {
        if let Reference::Variable(name) = reference {
            // It gets the value in its file.
            variables.remove(&name);
        }
    }
    variables
}

/// A mkectl of the right version, and what it says that it can do.
#[derive(Debug, Clone)]
pub struct Program {
    pub(crate) mkectl: programs::Mkectl,
    /// The release that it serves.
    pub(crate) release: semver::Version,
    /// What it lists for the command that it was asked about.
    pub(crate) help: programs::Help,
    /// What it is to give to nodes that pull with credentials.
    pull: Option<Pull>,
}

/// What a cluster pulls with credentials, and with which.
#[derive(Debug, Clone)]
pub(crate) struct Pull {
    username: String,
    password: SecretString,
    pulled: Vec<programs::Pulled>,
}

impl Pull {
    /// Returns what an environment says of it; none if everything is pulled without, since there is
    /// no secret then that they could go into (APPLY-421).
    ///
    /// # Errors
    /// The credentials that it names are not available.
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

    /// Returns a command that gives them to mkectl, where its help lists the flags for that.
    pub(crate) fn given_to(
        &self,
        command: programs::Command,
        help: &programs::Help,
    ) -> programs::Command {
        command.with_pull_credentials(&self.username, &self.password, &self.pulled, help)
    }

    /// Requires the flags in a command's help by which mkectl gets them.
    ///
    /// # Errors
    /// The help lists not all of them, and the environment does not accept that.
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
    /// Takes a mkectl that says that it is of this release, with what its help lists for a command.
    ///
    /// # Errors
    /// It says that it is of another one, or does not answer.
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

    /// Returns the program itself, for commands other than `apply`.
    pub(crate) fn mkectl(&self) -> &programs::Mkectl {
        &self.mkectl
    }

    /// Returns what it is, for a note or a receipt.
    pub(crate) fn record(&self) -> receipt::RecordedProgram {
        receipt::RecordedProgram {
            version: format!("v{}", self.release),
            sha256: self.mkectl.sha256(),
        }
    }

    /// Returns the configuration that the cluster has, as YAML.
    pub(crate) fn config_get(&self) -> Result<String, crate::Error> {
        self.mkectl.config_get().map_err(crate::Error::Mkectl)
    }

    /// Returns the command that applies a configuration.
    pub(crate) fn apply(&self, config: &Utf8Path) -> programs::Command {
        let command = self.mkectl.apply(config, &self.help);
        match &self.pull {
            Some(pull) => pull.given_to(command, &self.help),
            None => command,
        }
    }

    /// Returns whether this mkectl has a command that sets a new administrator's password
    /// (RESETPW).
    pub(crate) fn can_reset_password(&self) -> bool {
        (self.mkectl.help(&[])).is_ok_and(|root| root.has_command("reset-password"))
    }

    /// Requires that this mkectl takes the credentials that nodes are to pull with. `warnings` gets
    /// what the environment accepts instead.
    ///
    /// # Errors
    /// It lists no flags for them, and the environment does not supply them by other means.
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

/// Returns the stand-in as a program that the `programs` crate can run.
fn stand_in(
    tool: &Tool,
    variables: programs::Variables,
    release: &semver::Version,
    lock: &Utf8Path,
) -> programs::Mkectl {
    programs::Mkectl::stand_in(&tool.executable, variables, &format!("v{release}"), lock)
}
