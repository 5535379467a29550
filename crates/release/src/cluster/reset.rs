//! Uninstalls MKE from the machines of an environment.

use environment::Environment;

use super::{Cluster, Logged};
use crate::event::Event;
use crate::{Context, Error};

/// Has mkectl take MKE off every machine, and forgets what the receipt says was applied. `typed` is given to mkectl too.
///
/// # Errors
/// The environment is protected or a rehearsal, there is no fitting mkectl, or it failed. Or a different command touches the cluster,
/// unless `take_over`.
pub async fn reset(
    context: &Context<'_>,
    environment: Environment,
    take_over: bool,
    typed: &[String],
) -> Result<Logged, Error> {
    super::refuse_protected(&environment)?;
    let cluster = Cluster::real(context, environment)?;
    let help = cluster.help(&["reset"])?;
    let begun = cluster.begin(context, take_over).await?;
    let outcome = cluster.run(context, "reset", true, |config| {
        cluster.mkectl().reset(config, &help).typed(typed)
    });
    let concluded = cluster.conclude(context, begun.run.clone(), None, outcome);
    let receipt = &cluster.output.receipt;
    if concluded.is_ok() {
        std::fs::remove_file(receipt).map_err(|source| Error::io("remove", receipt, source))?;
    }
    begun.end(context).await?;
    let ran = concluded?;
    if cluster.receipt.is_some() {
        context.reporter.report(Event::Warning(format!(
            "{} was removed, since nothing is applied any more: commit the change",
            context.workspace.shown(receipt)
        )));
    }
    // What the next cluster generates must not be taken for what this one had.
    if cluster.output.admin_password.exists() {
        context.reporter.report(Event::Warning(format!(
            "{} belongs to the cluster that was reset: delete it",
            context.workspace.shown(&cluster.output.admin_password)
        )));
    }
    Ok(Logged {
        environment: cluster.environment.name.clone(),
        log: ran.log,
    })
}
