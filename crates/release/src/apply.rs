//! Runs the release's own mkectl on the rendered configuration.

use camino::{Utf8Path, Utf8PathBuf};
use environment::{CredentialSource, Environment, Reference};
use secrecy::SecretString;

use crate::event::{Event, Step};
use crate::plan::{MkectlPlan, Plan};
use crate::render::Written;
use crate::run::{self, Run};
use crate::upgrade::{self, Commands};
use crate::verify::Confirmed;
use crate::{
    Context, Credentials, Error, consent, kubeconfig, migrate, rehearse, resolve, validate,
};

/// What mkectl did to the cluster, if it did it.
#[derive(Debug)]
pub struct Applied {
    /// The version that mkectl gave of itself.
    pub version: String,
    /// SHA-256 of its file, as it was before it ran; none for a rehearsal's stand-in.
    pub sha256: Option<String>,
    /// Where everything that it printed is kept.
    pub log: Utf8PathBuf,
    /// Whether the cluster has everything now that the rendered configuration says. An upgrade takes no configuration.
    pub config_is_there: bool,
    /// What the upgrade changed in the cluster's configuration, against what is rendered; nothing where nothing was upgraded.
    pub after_upgrade: Option<upgrade::After>,
}

/// Returns the mkectl that an environment is to use, after asking it for its version.
///
/// # Errors
/// There is none, it cannot be run, or it is not the release's own: each mkectl serves one release only
/// (CLI-INST).
pub(crate) fn program(
    context: &Context<'_>,
    environment: &Environment,
    lock: &bundle::Lock,
    lock_path: &Utf8Path,
) -> Result<Program, Error> {
    let mut program = program_for(context, environment, lock, lock_path, &["apply"])?;
    program.pull = Pull::of(context, environment)?;
    Ok(program)
}

/// Returns the same, with what its help lists for a command.
///
/// # Errors
/// The same as of [`program`].
pub(crate) fn program_for(
    context: &Context<'_>,
    environment: &Environment,
    lock: &bundle::Lock,
    lock_path: &Utf8Path,
    command: &[&str],
) -> Result<Program, Error> {
    let variables = variables(context, environment);
    let mut mkectl = if environment.rehearsal {
        rehearse::program(context.tool, variables, &environment.release, lock_path)
    } else {
        crate::program::find(context, environment, lock, variables)?
    };
    mkectl.kubeconfig = kubeconfig::flag(context, environment);
    Program::of(mkectl, &environment.release, command)
}

/// Returns the environment variables that an environment's mkectl gets: all but the secrets that it has no use for.
pub(crate) fn variables(context: &Context<'_>, environment: &Environment) -> mkectl::Variables {
    let mut variables = context.tool.variables.clone();
    // The cluster that it leads to may be a different one: where a cluster exists, the flag is passed.
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
    pub(crate) mkectl: mkectl::Mkectl,
    pub(crate) help: mkectl::Help,
    /// What it is to give to nodes that pull with credentials.
    pull: Option<Pull>,
}

/// What a cluster pulls with credentials, and with which.
#[derive(Debug, Clone)]
pub(crate) struct Pull {
    username: String,
    password: SecretString,
    pulled: Vec<mkectl::Pulled>,
}

impl Pull {
    /// Returns what an environment says of it; nothing where everything is pulled without, since there is no secret then that they could go
    /// into (APPLY-421).
    ///
    /// # Errors
    /// The credentials that it names cannot be had.
    pub(crate) fn of(
        context: &Context<'_>,
        environment: &Environment,
    ) -> Result<Option<Self>, Error> {
        let secrets = mke::PullSecrets::of(environment);
        let both = [
            (secrets.charts, mkectl::Pulled::Charts),
            (secrets.images, mkectl::Pulled::Images),
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
        command: mkectl::Command,
        help: &mkectl::Help,
    ) -> mkectl::Command {
        command.pulling_with(&self.username, &self.password, &self.pulled, help)
    }
}

impl Program {
    /// Takes a mkectl that says that it is of this release, with what its help lists for a command.
    ///
    /// # Errors
    /// It says that it is of another one, or does not answer.
    pub(crate) fn of(
        mkectl: mkectl::Mkectl,
        release: &semver::Version,
        command: &[&str],
    ) -> Result<Self, Error> {
        let found = mkectl.version().map_err(Error::Mkectl)?;
        if found != *release {
            return Err(Error::MkectlVersion {
                program: mkectl.program,
                found: format!("v{found}"),
                wanted: format!("v{release}"),
            });
        }
        let help = mkectl.help(command).map_err(Error::Mkectl)?;
        Ok(Self {
            mkectl,
            help,
            pull: None,
        })
    }

    /// Returns the program itself, for commands other than `apply`.
    pub(crate) fn mkectl(&self) -> &mkectl::Mkectl {
        &self.mkectl
    }

    /// Returns the configuration that the cluster has, as YAML.
    pub(crate) fn config_get(&self) -> Result<String, Error> {
        self.mkectl.config_get().map_err(Error::Mkectl)
    }

    /// Returns the command that applies a configuration.
    pub(crate) fn apply(&self, config: &Utf8Path) -> mkectl::Command {
        let command = self.mkectl.apply(config, &self.help);
        match &self.pull {
            Some(pull) => pull.given_to(command, &self.help),
            None => command,
        }
    }

    /// Returns what to do where the administrator's password was missed, to be appended to a message, if this mkectl has a command for it
    /// (RESETPW).
    pub(crate) fn password_way_out(&self) -> Option<String> {
        let root = self.mkectl.help(&[]).ok()?;
        root.has_command("reset-password").then(|| {
            "; if it is not there, set a new one with `mkectl reset-password --user admin --password-stdin`".to_owned()
        })
    }

    /// Returns what people should know where this mkectl takes no credentials that nodes are to pull with.
    pub(crate) fn pull_warning(&self) -> Option<String> {
        let pull = self.pull.as_ref()?;
        let unlisted = mkectl::unlisted_registry_users(&pull.pulled, &self.help);
        (!unlisted.is_empty()).then(|| {
            format!(
                "this mkectl lists no {}: it gets no pull credentials for that, and the Secret that `credentialsSecretName` names has to be made by hand",
                unlisted.join(" and no ")
            )
        })
    }
}

/// What mkectl is to be run for, ready to be run.
#[derive(Debug)]
pub(crate) enum Ready {
    /// For nothing.
    Nothing,
    /// To apply the configuration.
    Apply(Box<Program>),
    /// To upgrade the cluster.
    Upgrade(Box<Commands>),
    /// To upgrade an MKE 3 cluster.
    Migrate(Box<migrate::Commands>),
}

/// Returns what the plan will run of mkectl.
///
/// # Errors
/// It is to be run, and there is none that would do, or something else is missing. Asked before anything is pushed.
pub(crate) fn require(context: &Context<'_>, plan: &Plan) -> Result<Ready, Error> {
    if plan.mkectl.is_needed() {
        run::refuse_a_second_one(context, &plan.output)?;
        resolve::check(context, plan)?;
    }
    match &plan.mkectl {
        MkectlPlan::NotNeeded => Ok(Ready::Nothing),
        MkectlPlan::Apply {
            program: Ok(program),
            ..
        } => {
            validate::check(
                context,
                &plan.environment,
                &plan.release,
                program,
                &plan.output,
            )?;
            Ok(Ready::Apply(Box::new(program.clone())))
        }
        MkectlPlan::Upgrade {
            commands: Ok(commands),
            ..
        } => Ok(Ready::Upgrade(commands.clone())),
        MkectlPlan::Migrate {
            commands: Ok(commands),
            ..
        } => {
            // An hour before it is run, and not after.
            consent::ask(context, &commands.upgrade)?;
            Ok(Ready::Migrate(commands.clone()))
        }
        MkectlPlan::Migrate {
            commands: Err(_), ..
        } => {
            let lock = (&plan.lock, plan.lock_path.as_path());
            migrate::commands(
                context,
                &plan.environment,
                &plan.release,
                lock,
                &plan.output,
            )
            .map(|commands| Ready::Migrate(Box::new(commands)))
        }
        // The plan only shows the error; looking again is how it comes to be returned.
        MkectlPlan::Apply {
            program: Err(_), ..
        } => program(context, &plan.environment, &plan.lock, &plan.lock_path)
            .map(|program| Ready::Apply(Box::new(program))),
        MkectlPlan::Upgrade {
            from,
            way,
            commands: Err(_),
            ..
        } => upgrade::commands(
            context,
            &plan.environment,
            (&plan.lock, &plan.lock_path),
            from,
            way,
            &plan.output,
            plan.receipt
                .as_ref()
                .and_then(|receipt| receipt.applied.as_ref()),
        )
        .map(|commands| Ready::Upgrade(Box::new(commands))),
    }
}

/// Runs mkectl, if the plan says so.
///
/// `confirmed` is the proof that nodes get every artifact: without it mkectl would fail half-way. `step` is what a receipt calls the
/// step that fails.
///
/// # Errors
/// mkectl is missing or the wrong one, or it ran and failed.
pub async fn apply(
    context: &Context<'_>,
    plan: &Plan,
    confirmed: &Confirmed,
    written: &Written,
    step: &mut Step,
) -> Result<Option<Applied>, Error> {
    match require(context, plan)? {
        Ready::Nothing => Ok(None),
        Ready::Apply(program) => apply_config(context, plan, &program, written).map(Some),
        Ready::Upgrade(commands) => upgrade::upgrade(context, plan, &commands, confirmed, step)
            .await
            .map(Some),
        Ready::Migrate(commands) => {
            *step = Step::Migrate;
            migrate::migrate(context, plan, &commands, confirmed).map(Some)
        }
    }
}

/// Has mkectl simulate the command, where its help lists a way.
///
/// # Errors
/// mkectl failed: the command would fail as well.
fn try_first(
    context: &Context<'_>,
    run: &Run<'_>,
    program: &Program,
    command: &mkectl::Command,
) -> Result<(), Error> {
    const DRY_RUN: &str = "--dry-run";
    if run.environment.rehearsal || !program.help.lists(DRY_RUN) {
        return Ok(());
    }
    let mut command = command.clone().argument(DRY_RUN);
    command.name = format!("{} {DRY_RUN}", command.name);
    let run = Run {
        name: "apply-dry-run",
        changes: false,
        release: run.release.clone(),
        password_way_out: None,
        ..*run
    };
    run.run(context, &command).map(drop)
}

fn apply_config(
    context: &Context<'_>,
    plan: &Plan,
    program: &Program,
    written: &Written,
) -> Result<Applied, Error> {
    let sha256 = program.mkectl.sha256();
    let resolved = resolve::file(context, plan, &written.path)?;
    let command = program
        .apply(resolved.path())
        .within(plan.environment.operation.apply_timeout);
    let release = format!("v{}", plan.environment.release);
    crate::program::keep(context, &program.mkectl, &release);
    let run = Run {
        environment: &plan.environment,
        output: &plan.output,
        release: release.clone(),
        name: "apply",
        step: Step::Apply,
        results: None,
        changes: true,
        password_way_out: program.password_way_out(),
    };
    let tried = try_first(context, &run, program, &command);
    let ran = tried.and_then(|()| run.run(context, &command));
    let log = resolved.remove_after(ran)?.log;
    context.reporter.report(Event::Finished {
        step: Step::Apply,
        what: format!("applied; log in {log}"),
    });
    Ok(Applied {
        version: release,
        sha256,
        log,
        config_is_there: true,
        after_upgrade: None,
    })
}
