//! Reads a bundle without a lock into the store, and warns of files in it that are not used.

use camino::Utf8Path;

use crate::Context;
use crate::event::{Event, Step};
use crate::observe::BundleObserver;

/// Reports the start of reading a bundle.
pub(crate) fn report_start(context: &Context<'_>, path: &Utf8Path) {
    context.reporter.report(Event::Started {
        step: Step::Verify,
        what: context.workspace.shown(path).to_string(),
        bytes: std::fs::metadata(path).ok().map(|found| found.len()),
    });
}

/// Reads a bundle into the store.
///
/// # Errors
/// The bundle cannot be read, or the store cannot be written.
pub(crate) fn read(
    context: &Context<'_>,
    path: &Utf8Path,
    store: &bundle::Store,
    rules: &bundle::Rules,
) -> Result<bundle::Contents, crate::Error> {
    let mut store = store.clone();
    let file = files::open(path).map_err(|source| crate::Error::read(path, source))?;
    let observer = BundleObserver::new(context, Step::Verify);
    // Reading and hashing block.
    tokio::task::block_in_place(|| bundle::read_observed(file, &mut store, rules, &observer))
        .map_err(|source| crate::Error::bundle(context.workspace, path, source))
}

/// Warns of files that may be meant as archives, of unused release matrices, and of layers that the
/// bundle does not contain.
pub(crate) fn warn_of_unused(context: &Context<'_>, contents: &bundle::Contents) {
    for file in &contents.suspicious_files {
        let reason = match file.ends_with('/') {
            true => "it is a folder, not an archive",
            false => "an archive is named REPOSITORY@TAG.tar",
        };
        context.reporter.report(Event::Warning(format!(
            "`{file}` in the bundle is not used: {reason}"
        )));
    }
    let used = contents.release_matrix.as_ref();
    for (other, used) in contents.other_matrices.iter().zip(used.into_iter().cycle()) {
        context.reporter.report(Event::Warning(format!(
            "`{other}` in the bundle is not used: the release matrix is `{}`",
            used.path
        )));
    }
    for artifact in &contents.artifacts {
        let external = artifact.external();
        if !external.is_empty() {
            let (layers, them) = match external.len() {
                1 => ("1 layer is".to_owned(), "it"),
                count => (format!("{count} layers are"), "them"),
            };
            context.reporter.report(Event::Warning(format!(
                "{}: {layers} external: the bundle lacks {them}, `push` skips {them}, and nodes download {them} from the URLs in the manifest",
                artifact.reference(),
            )));
        }
    }
}
