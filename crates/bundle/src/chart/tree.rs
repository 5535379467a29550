//! Composes a packed chart, its values and its subcharts like Helm.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Read;
use std::rc::Rc;

use serde_yaml::{Mapping, Value};

use super::files::{Kind, each_file};
use super::template;

/// Maximum number of aliases of a subchart.
const MOST_ALIASES: usize = 8;

/// Maximum number of parts in a chart's path: four nested charts.
const MOST_PARTS: usize = 7;

/// A chart and its subcharts.
#[derive(Debug)]
pub(super) struct Chart {
    /// Version of the software that it installs. Many templates use it if no tag is set.
    pub(super) app_version: String,
    /// The chart's own values.
    pub(super) values: Mapping,
    /// Subcharts by the key of their values in this chart: an alias, or the name.
    pub(super) charts: Vec<(String, Rc<Self>)>,
    /// The images that its own templates name in plain text.
    pub(super) fixed: BTreeSet<String>,
}

/// Content of one chart's files.
#[derive(Debug, Default)]
struct Files {
    metadata: Value,
    dependencies: Vec<Value>,
    values: Mapping,
    fixed: BTreeSet<String>,
}

/// Reads a packed chart. Returns the chart, and whether a part was skipped.
///
/// Returns no chart if its metadata cannot be read, or if it has a file twice: Helm merges some
/// such files and uses the last of others.
pub(super) fn read(chart: impl Read) -> (Option<Rc<Chart>>, bool) {
    let mut folders: BTreeMap<String, Files> = BTreeMap::new();
    let (mut is_wrong, mut seen, mut is_twice) = (false, HashSet::new(), false);
    let mut is_cut = each_file(chart, &mut |path, kind, bytes| {
        let folder = match kind {
            Kind::Template => path.split("/templates/").next(),
            Kind::Metadata | Kind::Values => path.rsplit_once('/').map(|(folder, _)| folder),
        };
        let Some(folder) = folder.filter(|folder| is_chart(folder)) else {
            return;
        };
        let files = folders.entry(folder.to_owned()).or_default();
        if kind == Kind::Template {
            return template(&String::from_utf8_lossy(&bytes), &mut files.fixed);
        }
        is_twice |= !seen.insert(path.to_owned());
        let value: Result<Value, _> = crate::foreign::parse(&bytes);
        let Ok(mut value) = value else {
            is_wrong = true;
            return;
        };
        is_wrong |= value.apply_merge().is_err();
        match (kind, value) {
            (Kind::Values, Value::Mapping(values)) => files.values = values,
            (Kind::Metadata, value) => {
                let dependencies = value.get("dependencies").and_then(Value::as_sequence);
                files
                    .dependencies
                    .extend(dependencies.into_iter().flatten().cloned());
                if path.ends_with("Chart.yaml") {
                    files.metadata = value;
                }
            }
            _ => {}
        }
    });
    is_cut |= is_wrong || is_twice;
    if is_twice {
        return (None, is_cut);
    }
    let top = folders.keys().find(|folder| !folder.contains('/')).cloned();
    let chart = top.and_then(|top| compose(&mut folders, &top));
    (chart, is_cut)
}

/// Returns whether a folder can be that of a chart: `app`, `app/charts/database`.
fn is_chart(folder: &str) -> bool {
    let parts: Vec<&str> = folder.split('/').collect();
    parts.len() % 2 == 1
        && parts.len() <= MOST_PARTS
        && parts
            .iter()
            .skip(1)
            .step_by(2)
            .all(|part| *part == "charts")
}

fn compose(folders: &mut BTreeMap<String, Files>, folder: &str) -> Option<Rc<Chart>> {
    let files = folders.remove(folder)?;
    let text = |value: &Value, key: &str| match value.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    text(&files.metadata, "name")?;
    let below = format!("{folder}/charts/");
    let direct = folders.keys().filter_map(|one| one.strip_prefix(&below));
    let direct: Vec<String> = direct
        .filter(|rest| !rest.contains('/'))
        .map(|rest| format!("{below}{rest}"))
        .collect();
    let mut charts = Vec::new();
    for folder in direct {
        let Some(metadata) = folders.get(&folder).map(|files| files.metadata.clone()) else {
            continue;
        };
        let name = text(&metadata, "name").unwrap_or_default();
        // A subchart may have several aliases.
        let named = files.dependencies.iter();
        let named = named.filter(|one| text(one, "name").as_ref() == Some(&name));
        let mut keys: Vec<String> = named
            .map(|one| text(one, "alias").unwrap_or_else(|| name.clone()))
            .collect();
        keys.sort();
        keys.dedup();
        keys.truncate(MOST_ALIASES);
        if keys.is_empty() {
            keys.push(name);
        }
        let Some(chart) = compose(folders, &folder) else {
            continue;
        };
        charts.extend(keys.into_iter().map(|key| (key, Rc::clone(&chart))));
    }
    Some(Rc::new(Chart {
        app_version: text(&files.metadata, "appVersion").unwrap_or_default(),
        values: files.values,
        charts,
        fixed: files.fixed,
    }))
}

/// Merges values over others like Helm: mappings are merged, other values replaced, and a null
/// removes its key.
pub(super) fn merge(below: &mut Mapping, over: &Mapping) {
    for (key, value) in over {
        match (below.get_mut(key), value) {
            (_, Value::Null) => {
                below.shift_remove(key);
            }
            (Some(Value::Mapping(below)), Value::Mapping(over)) => merge(below, over),
            _ => {
                below.insert(key.clone(), value.clone());
            }
        }
    }
}
