//! Refuses commands that cannot be undone if the files of an environment changed after the last
//! deploy: they may name other machines than those of the cluster.

use environment::Environment;

use crate::cluster::existing;
use crate::config::{applied, render};
use crate::receipt::Receipt;
use crate::workspace::{Output, read_if_exists};
use crate::{Context, Error, cluster, sha256};

/// Checks that the rendered configuration is the one that was applied last, or the one that the
/// last deploy failed to apply. Without a receipt, nothing is checked.
///
/// # Errors
/// [`cluster::Error::Unapplied`] if it is a different one, or the files cannot be rendered.
pub(super) fn refuse(context: &Context<'_>, environment: &Environment) -> Result<(), Error> {
    let output = Output::below(&context.workspace.environment(&environment.name));
    let Some(receipt) = Receipt::read(&output.receipt)? else {
        return Ok(());
    };
    let applied = receipt.applied.as_ref();
    let mut environment = environment.clone();
    if let Some(running) = super::running(Some(&receipt)) {
        environment.release = running;
    }
    let facts = context.workspace.release(&environment.release)?;
    let rendered = render::render(context.workspace, &mut environment, &facts)?.text;
    let digest = sha256(rendered.as_bytes());
    let tried = receipt
        .failed
        .as_ref()
        .and_then(|failed| failed.config.as_ref());
    let mut recorded = (applied.map(|applied| &applied.config).into_iter())
        .chain(tried)
        .filter(|config| !config.is_empty())
        .peekable();
    if recorded.peek().is_none() || recorded.any(|config| *config == digest) {
        return Ok(());
    }
    let committed = read_if_exists(&output.config)?;
    let last = applied.and_then(|last| {
        let here = [committed.as_deref()];
        applied::text(context, &here, &output, &last.config, &last.release)
    });
    let mut paths = Vec::new();
    if let Some(last) = last {
        let parse = |text: &str| existing::parse("mke4.yaml".into(), text);
        let changes = mke::compare(&parse(&last)?, &parse(&rendered)?);
        if changes.is_empty() {
            return Ok(());
        }
        paths.extend(changes.into_iter().map(|change| change.path));
    }
    let by = applied.map(|applied| &applied.by);
    let by = by.filter(|by| by.clean == Some(true));
    Err(cluster::Error::Unapplied {
        environment: environment.name,
        paths,
        revision: by.and_then(|by| by.revision.clone()),
    }
    .into())
}
