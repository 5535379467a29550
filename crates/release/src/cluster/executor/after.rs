//! Compares the live configuration after an upgrade with the rendered one, and reports what to add
//! to the environment.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use secrecy::ExposeSecret as _;

use super::Target;
use crate::cluster::existing::{self, parse};
use crate::cluster::run;
use crate::config::resolve;
use crate::event::Event;
use crate::workspace::make_folder_of;
use crate::{Context, Error, chain};

/// The comparison of the live configuration after an upgrade with the rendered one.
#[derive(Debug)]
pub struct After {
    /// The differences in values, from the live to the rendered configuration.
    pub changes: Vec<mke::Change>,
    /// The file with the live configuration, relative to the workspace; `None` if it was not
    /// written.
    pub file: Option<Utf8PathBuf>,
}

impl After {
    /// Returns whether the live configuration has every rendered value. It may have more.
    pub(super) fn has_all(&self) -> bool {
        self.changes.iter().all(|change| change.new.is_none())
    }
}

/// Checks that the live configuration has the release and the registry of the upgrade.
///
/// `text` is the live configuration. If mkectl wrote it to `file`, both values must be present. If
/// the cluster was asked, missing values and a missing answer are accepted.
///
/// # Errors
/// [`run::Error::Contradicted`] if a value is different, although mkectl reported success.
pub(super) fn require_success(
    context: &Context<'_>,
    target: &Target<'_>,
    text: &Result<String, Error>,
    file: Option<&Utf8Path>,
    log: &Utf8Path,
) -> Result<(), Error> {
    let Ok(text) = text else {
        return Ok(());
    };
    let release = &target.environment.release;
    let registry = target.environment.registry.image_url();
    let found = match existing::cluster_config(text) {
        Ok(config) => {
            let has_release =
                (config.version.as_ref()).map_or(file.is_none(), |one| one == release);
            let has_registry =
                (config.registry.as_ref()).map_or(file.is_none(), |one| *one == registry);
            if has_release && has_registry {
                return Ok(());
            }
            config.summary()
        }
        Err(_) if file.is_none() => return Ok(()),
        Err(_) => "has a configuration that is not valid".to_owned(),
    };
    Err(run::Error::Contradicted {
        place: match file {
            Some(file) => context.workspace.shown(file).to_string(),
            None => "`mkectl config get`".to_owned(),
        },
        found,
        expected: format!("v{release} from {registry}"),
        log: log.to_owned(),
    }
    .into())
}

/// Returns the values of a live configuration that a cluster keeps for its life, by path.
///
/// # Errors
/// The configuration is not valid YAML.
pub(super) fn kept_values(live: &str) -> Result<BTreeMap<String, String>, Error> {
    let live = parse(Utf8Path::new("mkectl config get"), live)?;
    Ok(live
        .get("spec")
        .map_or_else(BTreeMap::new, mke::write_once_values_of))
}

/// Compares the live configuration with the rendered one, writes it to a file if they differ, and
/// warns. Returns `None`, after a warning, if `text` is the failure to ask the cluster.
pub(super) fn after(
    context: &Context<'_>,
    target: &Target<'_>,
    text: Result<String, Error>,
) -> Option<After> {
    let compared = text.and_then(|text| {
        let changes = changes(context, target, &text)?;
        Ok((text, changes))
    });
    let file = &target.output.adopted;
    let shown = context.workspace.shown(file).to_owned();
    let warn = |text: String| context.reporter.report(Event::Warning(text));
    let (text, changes) = match compared {
        Ok(compared) => compared,
        Err(error) => {
            warn(format!(
                "the cluster is upgraded, and its configuration could not be compared with what is rendered: {}",
                chain(&error)
            ));
            return None;
        }
    };
    if changes.is_empty() {
        // The file of an earlier upgrade is obsolete: its differences no longer exist.
        let _ = std::fs::remove_file(file);
        return Some(After {
            changes,
            file: None,
        });
    }
    let masked = redaction::run().mask(&text);
    let written = make_folder_of(file).and_then(|()| {
        files::write(file, masked.as_bytes(), files::Access::Owner)
            .map_err(|source| Error::io("write", file, source))
    });
    if let Err(error) = written {
        warn(chain(&error));
        return Some(After {
            changes,
            file: None,
        });
    }
    let places = match changes.len() {
        1 => "one place".to_owned(),
        places => format!("{places} places"),
    };
    warn(format!(
        "the cluster's configuration differs from what is rendered, in {places}: {shown} is what the cluster has; write into the environment \
         what is to stay"
    ));
    Some(After {
        changes,
        file: Some(shown),
    })
}

/// Returns the differences from the live to the rendered configuration. References are compared by
/// their values, and returned as the environment writes them.
fn changes(
    context: &Context<'_>,
    target: &Target<'_>,
    cluster: &str,
) -> Result<Vec<mke::Change>, Error> {
    let cluster = parse(Utf8Path::new("mkectl config get"), cluster)?;
    let path = context.workspace.shown(&target.output.config);
    let written = parse(path, &target.config.text)?;
    let mut changes = mke::compare(&cluster, &written);
    if let Some(resolved) = resolve::text(context, target.environment, target.release)? {
        let resolved = parse(path, resolved.expose_secret())?;
        let differing: Vec<String> = mke::compare(&cluster, &resolved)
            .into_iter()
            .map(|change| change.path)
            .collect();
        changes.retain(|change| differing.contains(&change.path));
    }
    Ok(changes)
}
