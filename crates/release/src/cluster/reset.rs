//! Uninstalls MKE from the machines of an environment.

use camino::{Utf8Path, Utf8PathBuf};
use environment::Environment;

use super::{Cluster, Logged};
use crate::event::Event;
use crate::{Context, Error};

/// Uninstalls MKE from every machine, and removes the receipt. `typed` are additional arguments for
/// mkectl.
///
/// # Errors
/// - The environment is protected, or is a rehearsal.
/// - [`Unapplied`](super::Error::Unapplied) if its files differ from the applied configuration.
/// - A suitable mkectl is missing, or it failed.
/// - Unless `take_over`: a command from elsewhere is changing the cluster, or has changed it.
pub async fn reset(
    context: &Context<'_>,
    environment: Environment,
    take_over: bool,
    typed: &[String],
) -> Result<Logged, Error> {
    super::refuse_protected(&environment)?;
    super::unapplied::refuse(context, &environment)?;
    let cluster = Cluster::real(context, environment)?;
    let help = cluster.help(&["reset"])?;
    let started = cluster.begin(context, take_over).await?;
    let outcome = cluster.run(context, "reset", true, |config| {
        cluster.mkectl().reset(config, &help).typed(typed)
    });
    let concluded = cluster.conclude(context, started.run.clone(), None, outcome);
    let receipt = &cluster.output.receipt;
    if concluded.is_ok() {
        std::fs::remove_file(receipt).map_err(|source| Error::io("remove", receipt, source))?;
    }
    started.end(context, &concluded).await?;
    let ran = concluded?;
    if cluster.receipt.is_some() {
        context.reporter.report(Event::Warning(format!(
            "{} was removed, since nothing is applied any more: commit the change",
            context.workspace.shown(receipt)
        )));
    }
    // The password of the next cluster must not be confused with this one.
    for file in passwords(&cluster.output.admin_password) {
        context.reporter.report(Event::Warning(format!(
            "{} belongs to the cluster that was reset: delete it",
            context.workspace.shown(&file)
        )));
    }
    Ok(Logged {
        environment: cluster.environment.name.clone(),
        log: ran.log,
    })
}

/// Returns the files of administrator passwords, sorted: `first`, and those with a time appended to
/// its name.
fn passwords(first: &Utf8Path) -> Vec<Utf8PathBuf> {
    let (Some(folder), Some(name)) = (first.parent(), first.file_name()) else {
        return Vec::new();
    };
    let entries = folder.read_dir_utf8().into_iter().flatten().flatten();
    let mut files: Vec<Utf8PathBuf> = entries
        .map(camino::Utf8DirEntry::into_path)
        .filter(|path| path.file_name().is_some_and(|file| file.starts_with(name)))
        .collect();
    files.sort_unstable();
    files
}
