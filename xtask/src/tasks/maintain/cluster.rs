//! `cluster`: manages a cluster after its deploy.

use std::process::ExitCode;

use camino::{Utf8Path, Utf8PathBuf};
use indicatif::DecimalBytes;
use release::cluster::{self, Checked, Status};
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::app::App;
use crate::cli::ClusterCommand;
use crate::confirm;
use crate::failure::Failure;
use crate::interrupt::until_interrupted;

pub(crate) fn run(app: &App<'_>, command: &ClusterCommand) -> Result<ExitCode, Failure> {
    match command {
        ClusterCommand::Status { environment } => {
            let environment = app.environment(environment)?;
            until_interrupted(app, async {
                let status = cluster::status(&app.context(), environment)?;
                app.ui.result(&status_text(&status), &status)
            })?;
        }
        ClusterCommand::Backup {
            environment,
            output,
            take_over,
            more,
        } => {
            let (environment, _lock) = app.lock_environment(environment, "cluster backup")?;
            let archive = output.as_deref().map(absolute).transpose()?;
            until_interrupted(app, async {
                let backup = cluster::backup(
                    &app.context(),
                    environment,
                    archive.as_deref(),
                    take_over.take_over,
                    &more.flags,
                )
                .await?;
                let text = format!(
                    "{}: wrote {}, {}; only mkectl {} can restore it, and the note identifies that program\n",
                    backup.environment,
                    backup.archive,
                    DecimalBytes(backup.size),
                    backup.mkectl
                );
                app.ui.result(&text, &backup)
            })?;
        }
        ClusterCommand::Restore {
            environment,
            archive,
            hosts,
            confirm,
            take_over,
            more,
        } => {
            let (environment, _lock) = app.lock_environment(environment, "cluster restore")?;
            let archive = absolute(archive)?;
            let hosts = hosts.as_deref().map(absolute).transpose()?;
            let question = format!(
                "This restores the cluster of {0} from {archive}. Type {0} to continue: ",
                environment.name
            );
            let restorable =
                cluster::Restorable::examine(&app.context(), environment, archive, hosts)?;
            confirm::ask(restorable.environment(), &question, confirm.as_deref())?;
            until_interrupted(app, async {
                let restored = restorable
                    .restore(&app.context(), take_over.take_over, &more.flags)
                    .await?;
                let text = format!(
                    "{}: {} is restored by mkectl {}; its log is {}\n",
                    restored.environment, restored.archive, restored.mkectl, restored.log
                );
                app.ui.result(&text, &restored)
            })?;
        }
        ClusterCommand::Kubeconfig {
            environment,
            output,
            replace,
            more,
        } => {
            let environment = app.environment(environment)?;
            let name = environment.name.clone();
            if let Some(output) = output {
                if output.exists() && !replace {
                    return Err(Failure::Exists(output.clone()));
                }
                cluster::check_output(&app.context(), &environment, output)?;
            }
            until_interrupted(app, async {
                let kubeconfig = cluster::kubeconfig(&app.context(), environment, &more.flags)?;
                match output {
                    Some(output) => {
                        cluster::keep(&app.workspace, &kubeconfig, output, *replace)?;
                        let text = format!("{name}: wrote {output}, which only you can read\n");
                        let value = json!({ "environment": name, "kubeconfig-file": output });
                        app.ui.result(&text, &value)
                    }
                    None => {
                        let text = kubeconfig.expose_secret();
                        let value = json!({ "environment": name, "kubeconfig": text });
                        app.ui.reveal(text, &value)
                    }
                }
            })?;
        }
        ClusterCommand::Check { environment, more } => {
            let environment = app.environment(environment)?;
            until_interrupted(app, async {
                let checked = cluster::check(&app.context(), environment, &more.flags)?;
                app.ui.result(&checks_text(&checked), &checked)?;
                match checked.failure {
                    Some(failure) => Err(Failure::from(failure)),
                    None => Ok(()),
                }
            })?;
        }
        ClusterCommand::Reset {
            environment,
            confirm,
            take_over,
            more,
        } => {
            let (environment, _lock) = app.lock_environment(environment, "cluster reset")?;
            cluster::refuse_a_rehearsal(&environment)?;
            cluster::refuse_protected(&environment)?;
            let question = format!(
                "This removes MKE and everything in the cluster of {0}. Type {0} to continue: ",
                environment.name
            );
            confirm::ask(&environment, &question, confirm.as_deref())?;
            until_interrupted(app, async {
                let logged = cluster::reset(
                    &app.context(),
                    environment,
                    take_over.take_over,
                    &more.flags,
                )
                .await?;
                let text = format!("{}: reset; its log is {}\n", logged.environment, logged.log);
                app.ui.result(&text, &logged)
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes a path absolute, because mkectl may run in a different folder.
fn absolute(path: &Utf8Path) -> Result<Utf8PathBuf, Failure> {
    camino::absolute_utf8(path).map_err(|source| Failure::io("find", path, source))
}

/// Returns the state of a cluster, one fact per line.
fn status_text(status: &Status) -> String {
    let mut lines = vec![match (&status.release, &status.since, &status.rebuilt) {
        (Some(release), Some(since), _) => {
            format!("runs {release}, deployed at {since}, according to its receipt")
        }
        (Some(release), None, Some(rebuilt)) => {
            format!("runs {release}, according to its receipt, which was rebuilt at {rebuilt}")
        }
        _ => "no receipt records a deploy".to_owned(),
    }];
    lines.extend(status.is_rendered.map(|is_rendered| {
        let release = status.release.as_deref().unwrap_or_default();
        match is_rendered {
            true => {
                format!("the configuration as rendered for {release} is the last that was applied")
            }
            false => format!("the configuration as rendered for {release} is not applied yet"),
        }
    }));
    lines.extend(
        (status.failed.as_ref()).map(|failed| format!("the last command failed at {failed}")),
    );
    lines.extend(status.under_way.clone());
    lines.extend(
        (status.unreached.as_ref()).map(|why| format!("the cluster cannot be read: {why}")),
    );
    lines.extend(status.cluster.as_ref().map(|reached| {
        let release = reached.release.as_deref().unwrap_or("no release");
        let hosts = super::count(reached.hosts, "host");
        let differences = match reached.differences {
            0 => "as rendered".to_owned(),
            count => format!(
                "{} from what is rendered, which `cargo xtask diff {} --live` shows",
                super::count(count, "difference"),
                status.environment
            ),
        };
        format!("the cluster reports: {release}, {hosts}, {differences}")
    }));
    lines.push(match status.backups.as_slice() {
        [] => "no backup found".to_owned(),
        [.., last] => format!(
            "{} found, the latest is {last}",
            super::count(status.backups.len(), "backup")
        ),
    });
    lines.push(format!("mkectl is {}", status.mkectl));
    let name = &status.environment;
    lines
        .iter()
        .map(|line| format!("{name}: {line}\n"))
        .collect()
}

/// Returns the results of the checks, one line each.
fn checks_text(checked: &Checked) -> String {
    let Checked {
        environment,
        mkectl,
        checks,
        ..
    } = checked;
    let lines = checks.iter().map(|check| {
        let command = &check.command;
        match (&check.log, check.exit_code) {
            (Some(log), Some(0)) => {
                format!("{environment}: `{command}` finds nothing wrong; its log is {log}\n")
            }
            (Some(log), Some(code)) => {
                format!("{environment}: `{command}` exits with code {code}; its log is {log}\n")
            }
            (Some(log), None) => {
                format!("{environment}: `{command}` was ended by a signal; its log is {log}\n")
            }
            (None, _) => {
                format!("{environment}: mkectl {mkectl} has no `{command}`, so it was not run\n")
            }
        }
    });
    lines.collect()
}
