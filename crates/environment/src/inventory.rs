//! Reads the file that `inventory` names: a table of machines, as CSV or YAML.
//!
//! Each value keeps its place in the file. The crate `mke` knows the meaning of the columns.

use std::sync::Arc;

use camino::Utf8Path;

use crate::{
    error::Error,
    findings::Findings,
    paths,
    problem::{Problem, quote},
    yaml::{self, Mapping, Node, Source},
};

mod table;

/// A table of machines.
pub(crate) struct Inventory {
    pub(crate) source: Arc<Source>,
    /// One mapping from column to single value for each machine.
    pub(crate) rows: Vec<Node>,
}

/// Reads the table that the value of `inventory` names. The value is a path, or
/// `{ file: path, defaults: { column: value } }`.
pub(crate) fn read(
    root: &Utf8Path,
    node: &Node,
    findings: &mut Findings,
) -> Result<Option<Inventory>, Error> {
    let file = node.get("file").unwrap_or(node);
    let Some(written) = file.text().filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    let directory = paths::directory(&file.source);
    let Some(path) = paths::relative_to(directory, Utf8Path::new(written)) else {
        let rule = format!("{} is outside the workspace", quote(written));
        findings.add(Problem::at(file, rule).with_help("keep the file beside this one"));
        return Ok(None);
    };
    let text = match files::read_text(root.join(&path)) {
        Ok(text) => yaml::without_byte_order_mark(text),
        Err(error) if paths::is_absent(&error) => {
            let rule = format!("the file {} does not exist", quote(path.as_str()));
            let help = paths::base_folder_help(&file.source);
            findings.add(Problem::at(file, rule).with_help(help));
            return Ok(None);
        }
        Err(source) => {
            let Some(refusal) = files::Refusal::of(&source) else {
                return Err(Error::Read {
                    path: root.join(&path),
                    source,
                });
            };
            let rule = format!("cannot read {}: {refusal}", quote(path.as_str()));
            findings.add(Problem::at(file, rule));
            return Ok(None);
        }
    };
    let source = Arc::new(Source { path, text });
    let rows = match source.path.extension() {
        Some("csv") => table::rows(&source),
        Some("yaml" | "yml") => yaml_rows(&source),
        _ => {
            let rule = format!("{} is neither CSV nor YAML", quote(written));
            findings.add(Problem::at(file, rule).with_help("name it `.csv` or `.yaml`"));
            return Ok(None);
        }
    };
    let rows = rows.and_then(|rows| {
        let problems = check_control_characters(&rows);
        match problems.is_empty() {
            true => Ok(rows),
            false => Err(problems),
        }
    });
    match rows {
        Ok(rows) if rows.is_empty() => {
            let rule = format!("{} lists no machines", quote(source.path.as_str()));
            let help = "write a line for each machine below the header";
            findings.add(Problem::at(file, rule).with_help(help));
            Ok(None)
        }
        Ok(mut rows) => {
            if let Some(defaults) = node.get("defaults").and_then(Node::as_mapping) {
                rows.iter_mut()
                    .for_each(|row| apply_defaults(row, defaults));
            }
            Ok(Some(Inventory { source, rows }))
        }
        Err(problems) => {
            findings.problems.extend(problems);
            Ok(None)
        }
    }
}

/// Returns a problem for each cell with a control character. No address, user or path has one.
fn check_control_characters(rows: &[Node]) -> Vec<Problem> {
    let cells = rows.iter().filter_map(Node::as_mapping);
    let cells = cells.flat_map(|cells| cells.iter());
    cells
        .flat_map(|(column, cell)| [column, cell])
        .filter(|node| {
            node.text()
                .is_some_and(|text| text.contains(char::is_control))
        })
        .map(|node| {
            let text = node.text().unwrap_or_default();
            let rule = format!("{} contains a control character", quote(text));
            Problem::at(node, rule).with_help("write it without")
        })
        .collect()
}

/// Sets the columns that are missing in a row to their defaults.
fn apply_defaults(row: &mut Node, defaults: &Mapping) {
    let Some(cells) = row.as_mapping_mut() else {
        return;
    };
    for (column, value) in defaults.iter() {
        if cells.get(column.text().unwrap_or_default()).is_none() {
            cells.insert(column.clone(), value.clone());
        }
    }
}

fn yaml_rows(source: &Arc<Source>) -> Result<Vec<Node>, Vec<Problem>> {
    let document = yaml::parse(Arc::clone(source)).map_err(|problem| vec![problem])?;
    let Some(rows) = document.as_sequence() else {
        let rule = format!("the inventory is {}, not a list", document.kind());
        let help = "write a line `- { address: 10.0.0.1, role: worker }` for each machine";
        return Err(vec![Problem::at(&document, rule).with_help(help)]);
    };
    let mut problems = Vec::new();
    for row in rows {
        let Some(cells) = row.as_mapping() else {
            let rule = format!("a machine is {}, not a mapping", row.kind());
            problems.push(Problem::at(row, rule).with_help("write `{ address: 10.0.0.1, ... }`"));
            continue;
        };
        for (column, cell) in cells.iter().filter(|(_, cell)| cell.as_scalar().is_none()) {
            let rule = format!(
                "{} is {}",
                quote(column.text().unwrap_or_default()),
                cell.kind()
            );
            problems.push(Problem::at(cell, rule).with_help("write a single value"));
        }
    }
    if problems.is_empty() {
        Ok(rows.to_vec())
    } else {
        Err(problems)
    }
}
