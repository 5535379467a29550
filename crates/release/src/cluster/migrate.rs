//! Upgrades an MKE 3 cluster to a release, without internet (DOCS-SRC, MKE3-421).
//!
//! This is a deploy with a different last step: before it, everything is in the registry and
//! verified as a node sees it. MKE 3 loads its images from a file. MKE 4 pulls them from the
//! registry, also later.

use camino::{Utf8Path, Utf8PathBuf};
use environment::{Environment, Mke3};

use crate::cluster::executor::{ClusterStep, Command, Task};
use crate::config::mke3::{self, Described};
use crate::event::Step;
use crate::transfer::program::{self, Program};
use crate::workspace::Output;
use crate::{Context, Credentials};

mod error;

pub use error::Error;

/// The result of [`prepare`].
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) steps: Vec<ClusterStep>,
    pub(crate) warnings: Vec<String>,
}

/// Returns the `mke3` section of an environment.
///
/// # Errors
/// [`Error::NoMke3`] if it has none, or it is a rehearsal.
pub(crate) fn of(environment: &Environment) -> Result<&Mke3, crate::Error> {
    super::refuse_a_rehearsal(environment)?;
    environment.mke3.as_ref().ok_or_else(|| {
        crate::Error::Migrate(Error::NoMke3 {
            environment: environment.name.clone(),
        })
    })
}

/// Plans the steps of a migration. Writes nothing.
///
/// # Errors
/// - The vendor does not support the upgrade from this version of MKE 3.
/// - The environment lacks values that the upgrade requires.
/// - A suitable mkectl is missing, or lacks a required flag.
/// - The credentials of the MKE 3 administrator are not available.
/// - [`Error::StaleKubeconfig`] if an earlier attempt left its kubeconfig.
pub(crate) fn prepare(
    context: &Context<'_>,
    environment: &Environment,
    facts: &mke::Release,
    (lock, lock_path): (&bundle::Lock, &Utf8Path),
    output: &Output,
) -> Result<Prepared, crate::Error> {
    let described = of(environment)?;
    let Described {
        way,
        ports,
        address,
    } = mke3::by_files(environment, described, facts)?;
    require_no_stale_kubeconfig(context)?;
    let mut program = program::for_command(context, environment, lock, lock_path, &["upgrade"])?;
    // To mkectl this is a new cluster, whose kubeconfig it writes itself.
    program.mkectl.kubeconfig = None;
    let help = &program.help;
    let lacking = programs::Migration::NEEDED
        .into_iter()
        .find(|flag| !help.lists(flag));
    if let Some(flag) = lacking {
        return Err(program::Error::Lacks {
            program: program.mkectl.program.path.clone(),
            what: flag.to_owned(),
        }
        .into());
    }
    let Some(Credentials::Basic { username, password }) = context.mke3_credentials(environment)?
    else {
        return Err(program::Error::NoCluster {
            environment: environment.name.clone(),
        }
        .into());
    };
    let mut warnings = way.warnings;
    let ca = environment.registry.ca.as_ref().map(|ca| &ca.path);
    if ca.is_some() && !help.lists("--image-registry-ca-file") {
        warnings.push(format!(
            "mkectl v{} does not accept the registry's CA in an upgrade from MKE 3: nodes must already trust it",
            environment.release
        ));
    }
    if ports.is_some() && !programs::GATEWAY_PORTS.iter().all(|flag| help.lists(flag)) {
        warnings.push(format!(
            "the upgrade to v{} requires the gateway's node ports, but its mkectl lists no flags for them: they are not passed",
            environment.release
        ));
    }
    let hosts = output.logs.join("mke3-hosts.yaml");
    let config_out = output.logs.join("mke3-migrated/mke4.yaml");
    let (image, chart) = (
        environment.registry.image_url(),
        environment.registry.chart_url(),
    );
    let mut upgrade = program.mkectl.migrate(
        &programs::Migration {
            hosts: &hosts,
            username: &username,
            password: &password,
            external_address: &address,
            image_registry: &image,
            chart_registry: &chart,
            ca: ca.map(Utf8PathBuf::as_path),
            config_out: &config_out,
            gateway_node_ports: ports.map(|(http, https)| programs::NodePorts { http, https }),
        },
        help,
    );
    // MKE 3 clusters have no credentials for the registry of MKE 4 (MKE3-421).
    if let Some(pull) = program::PullCredentials::of(context, environment)? {
        pull.require_flags(&program, environment, help, &mut warnings)?;
        upgrade = pull.add_to(upgrade, help);
    }
    let check = check(&program, described, output, &mut warnings)?;
    let limit = environment.operation.apply_timeout;
    let run = |name, command: programs::Command, effect| {
        Task::Run(Box::new(Command {
            program: program.clone(),
            name,
            command: command.within(limit),
            reads_config: false,
            is_printed: true,
            effect,
        }))
    };
    let effect = format!("MKE 3 became v{}", environment.release);
    let check = check.map(|check| run("check-mke3", check, None));
    let tasks = [
        Task::WriteHosts {
            path: hosts,
            private_addresses: way.private_addresses,
        },
        // mkectl might ask before it overwrites a file of an earlier attempt, or refuse to.
        Task::ClearOutput(config_out.clone()),
    ];
    let steps = (tasks.into_iter())
        .chain(check)
        .chain([
            run("migrate", upgrade, Some(effect)),
            // If mkectl does not write its configuration to the file, the cluster is asked.
            Task::Compare {
                program: Box::new(program.clone()),
                written: Some(config_out),
            },
        ])
        .map(|task| ClusterStep {
            step: Step::Migrate,
            task,
        })
        .collect();
    Ok(Prepared { steps, warnings })
}

/// Returns the command that checks the configuration of MKE 3. Returns `None`, after a warning, if
/// this mkectl has no such command or the environment does not name the configuration.
fn check(
    program: &Program,
    mke3: &Mke3,
    output: &Output,
    warnings: &mut Vec<String>,
) -> Result<Option<programs::Command>, crate::Error> {
    let help = |words: &[&str]| program.mkectl.help(words).map_err(crate::Error::Mkectl);
    let has_check = help(&[])?.has_command("check") && help(&["check"])?.has_command("mke3");
    match (&mke3.config, has_check) {
        (Some(config), true) => Ok(Some(
            program
                .mkectl
                .check_mke3(config, &help(&["check", "mke3"])?)
                .in_directory(output.logs.clone()),
        )),
        (None, true) => {
            warnings.push(
                "`mkectl check mke3` is not run: `mke3.config` names no configuration of MKE 3"
                    .to_owned(),
            );
            Ok(None)
        }
        (_, false) => {
            warnings.push("this mkectl has no `check mke3`, so it is not run".to_owned());
            Ok(None)
        }
    }
}

/// Checks that mkectl's default kubeconfig does not exist. With one of an earlier attempt, even an
/// empty file, the upgrade would fail half-way (DOCS-SRC).
fn require_no_stale_kubeconfig(context: &Context<'_>) -> Result<(), crate::Error> {
    // mkectl gets the same variable, so it looks in the same folder.
    let Some(home) = context.tool.variables.get("HOME") else {
        return Ok(());
    };
    let path = Utf8PathBuf::from(home.to_string_lossy().into_owned()).join(".mke/mke.kubeconf");
    match path.exists() {
        true => Err(Error::StaleKubeconfig { path }.into()),
        false => Ok(()),
    }
}
