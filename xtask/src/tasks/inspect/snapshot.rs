//! `snapshot`: writes which tags a registry has, for plans that are computed elsewhere.

use std::process::ExitCode;

use release::workspace::{FileKind, check_named};

use crate::app::App;
use crate::cli::SnapshotArgs;
use crate::failure::Failure;
use crate::interrupt::until_interrupted;

pub(crate) fn run(app: &App<'_>, arguments: &SnapshotArgs) -> Result<ExitCode, Failure> {
    let environment = app.environment(&arguments.environment)?;
    if let Some(path) = &arguments.out {
        check_named(&app.workspace, path, FileKind::Snapshot)?;
    }
    let snapshot = until_interrupted(app, async {
        let _registry = release::rehearse::serve_for_reading(&app.workspace, &environment).await?;
        Ok(release::plan::snapshot::take(&app.context(), &environment).await?)
    })?;
    let found = snapshot
        .tags
        .iter()
        .filter(|tag| tag.found != "nothing")
        .count();
    let mut text = format!(
        "{} has {found} of {} that the locks name\n",
        snapshot.registry,
        super::count(snapshot.tags.len(), "tag")
    );
    match &arguments.out {
        Some(path) => {
            snapshot.write(&app.workspace, path)?;
            app.ui.note(&format!("the snapshot is in {path}"));
        }
        None => {
            for tag in &snapshot.tags {
                let refused = if tag.refused_to_nodes {
                    ", refused to nodes"
                } else {
                    ""
                };
                text.push_str(&format!("  {} {}{refused}\n", tag.artifact, tag.found));
            }
        }
    }
    app.ui.result(&text, &snapshot)?;
    Ok(ExitCode::SUCCESS)
}
