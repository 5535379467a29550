//! Resolves the references that mkectl lists for a release, to lock it from a registry instead of a
//! bundle.

use std::collections::BTreeMap;

use bundle::Artifact;
use bundle::set::{Entry, Origin, Reference};
use camino::{Utf8Path, Utf8PathBuf};
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::resolve::{ENTRIES_AT_ONCE, one_size, resolve};
use super::upstream::Upstreams;
use crate::Context;
use crate::event::{Event, Step};
use crate::set::Error;
use crate::transfer::fetch::open_store;

/// Registry to lock a release from.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Registry and path, such as `registry.mirantis.com/mke`.
    pub from: String,
    /// Files with the output of `mkectl airgap list-images` and `list-charts`.
    pub files: Vec<Utf8PathBuf>,
}

/// Returns the artifacts of a release, as the registry has them now.
///
/// # Errors
/// A file cannot be read or has a line that is not a reference, or the registry does not serve a
/// reference.
pub(crate) async fn artifacts(
    context: &Context<'_>,
    listed: &Listed,
) -> Result<Vec<Artifact>, crate::Error> {
    if !Reference::is_place(&listed.from) {
        return Err(Error::From {
            from: redaction::without_login(&listed.from),
        }
        .into());
    }
    let mut entries = BTreeMap::new();
    for file in &listed.files {
        let text = files::read_text(file).map_err(|source| crate::Error::read(file, source))?;
        for (number, line) in text.lines().enumerate() {
            let found = entry(context, &listed.from, file, number + 1, line.trim())?;
            if let Some((reference, entry)) = found {
                let key = (entry.place(), reference.to_string());
                entries.insert(key, (reference, entry));
            }
        }
    }
    if entries.is_empty() {
        return Err(Error::NoReferences {
            paths: listed.files.iter().map(ToString::to_string).collect(),
        }
        .into());
    }
    let store = open_store(context.workspace)?;
    let upstreams = Upstreams::of_release(context);
    context.reporter.report(Event::Started {
        step: Step::Fetch,
        what: format!(
            "the manifests of {}",
            environment::count(entries.len(), "reference")
        ),
        bytes: None,
    });
    let (store, upstreams) = (&store, &upstreams);
    let artifacts: Vec<Artifact> = futures_util::stream::iter(entries.values())
        .map(|(reference, entry)| async move {
            let repository = upstreams.repository(reference)?;
            let asked = reference.asked();
            resolve(context, &repository, reference, asked, entry, store).await
        })
        .buffered(ENTRIES_AT_ONCE)
        .try_collect()
        .await?;
    one_size(&artifacts)?;
    Ok(artifacts)
}

/// Parses a line of a list. Returns `None` if it is empty or does not begin with a prefix of the
/// vendor.
fn entry(
    context: &Context<'_>,
    from: &str,
    file: &Utf8Path,
    number: usize,
    line: &str,
) -> Result<Option<(Reference, Entry)>, crate::Error> {
    if line.is_empty() {
        return Ok(None);
    }
    let invalid = |source| Error::Line {
        path: file.to_owned(),
        number,
        text: redaction::line(&redaction::without_login(line), 100),
        source,
    };
    // A chart's version may contain `+`, which a tag cannot. Helm writes `_`.
    let line = line.trim_start_matches("oci://").replace('+', "_");
    let own = Reference::parse(&line).map_err(invalid)?;
    let Some(name) = mke::vendor_name(&line) else {
        context.reporter.report(Event::Warning(format!(
            "{own} is not locked: it does not begin with {}, as mkectl prints it; list it in a set if the cluster needs it",
            mke::vendor_prefixes()
        )));
        return Ok(None);
    };
    let reference = match mke::is_vendor_registry(from) {
        true => own,
        false => Reference::parse(&format!("{from}/{name}")).map_err(invalid)?,
    };
    let tag = reference.mirrored_tag();
    let repository = name.split([':', '@']).next().unwrap_or(name).to_owned();
    let entry = Entry {
        origin: Origin::Registry(reference.clone()),
        // Lists do not mark charts. The manifests decide.
        is_chart: false,
        platforms: Vec::new(),
        signatures: false,
        repository,
        tag,
        alias_of: None,
    };
    Ok(Some((reference, entry)))
}
