//! Reads the file that `inventory` names: a table of machines, as CSV or as YAML.
//!
//! What the columns mean is the affair of whoever makes hosts of the rows. Each value keeps its place in the file.

use std::sync::Arc;

use camino::Utf8Path;

use crate::{
    check::Findings,
    error::Error,
    inherit,
    problem::{Problem, quote},
    yaml::{self, Mapping, Node, Source, Value},
};

/// A table of machines.
pub(crate) struct Inventory {
    pub(crate) source: Arc<Source>,
    /// A mapping from column to single value for each machine.
    pub(crate) rows: Vec<Node>,
}

/// Reads the table that an `inventory` means: a path, or `{ file: path, defaults: { column: value } }`.
pub(crate) fn read(
    root: &Utf8Path,
    node: &Node,
    findings: &mut Findings,
) -> Result<Option<Inventory>, Error> {
    let file = node.get("file").unwrap_or(node);
    let Some(written) = file.text().filter(|path| !path.is_empty()) else {
        return Ok(None);
    };
    let directory = inherit::directory(&file.source);
    let Some(path) = inherit::relative_to(directory, Utf8Path::new(written)) else {
        let rule = format!("{} leads out of the workspace", quote(written));
        findings.add(Problem::at(file, rule).with_help("keep the file beside this one"));
        return Ok(None);
    };
    let text = match files::read_text(root.join(&path)) {
        Ok(text) => text,
        Err(error) if inherit::is_absent(&error) => {
            let rule = format!("there is no file {}", quote(path.as_str()));
            let help = inherit::looked_for_from(&file.source);
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
        Some("csv") => csv_rows(&source),
        Some("yaml" | "yml") => yaml_rows(&source),
        _ => {
            let rule = format!("{} is neither CSV nor YAML", quote(written));
            findings.add(Problem::at(file, rule).with_help("name it `.csv` or `.yaml`"));
            return Ok(None);
        }
    };
    match rows {
        Ok(mut rows) => {
            if let Some(defaults) = node.get("defaults").and_then(Node::as_mapping) {
                rows.iter_mut().for_each(|row| complete(row, defaults));
            }
            Ok(Some(Inventory { source, rows }))
        }
        Err(problems) => {
            problems
                .into_iter()
                .for_each(|problem| findings.add(problem));
            Ok(None)
        }
    }
}

/// Checks what stands behind `inventory` in one file.
pub(crate) fn check(node: &Node, findings: &mut Findings) {
    const HELP: &str =
        "write the path of a CSV or YAML file, or `{ file: path, defaults: { user: root } }`";
    let mut note =
        |node: &Node, rule: String| findings.add(Problem::at(node, rule).with_help(HELP));
    let Some(keys) = node.as_mapping() else {
        if node.text().is_none_or(str::is_empty) {
            note(node, format!("`inventory` is {}, not a path", node.kind()));
        }
        return;
    };
    for (key, value) in keys.iter() {
        match key.text().unwrap_or_default() {
            "file" if value.text().is_none_or(str::is_empty) => {
                note(
                    value,
                    format!("`inventory.file` is {}, not a path", value.kind()),
                );
            }
            "defaults" if value.as_mapping().is_none() => {
                note(
                    value,
                    format!("`inventory.defaults` is {}, not a mapping", value.kind()),
                );
            }
            "file" | "defaults" => {}
            name => note(key, format!("unknown key {} in `inventory`", quote(name))),
        }
    }
}

/// Writes the defaults into the columns that a row leaves out.
fn complete(row: &mut Node, defaults: &Mapping) {
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

fn csv_rows(source: &Arc<Source>) -> Result<Vec<Node>, Vec<Problem>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .comment(Some(b'#'))
        .from_reader(source.text.as_bytes());
    let mut header: Option<Vec<Node>> = None;
    let mut rows = Vec::new();
    let mut problems = Vec::new();
    for record in reader.records() {
        // The text is in memory and UTF-8, and records may have any length.
        let Ok(record) = record else { continue };
        let cells = cells(source, &record);
        if cells.iter().all(|cell| cell.text() == Some("")) {
            continue;
        }
        let Some(columns) = &header else {
            for (index, column) in cells.iter().enumerate() {
                if cells[..index]
                    .iter()
                    .any(|other| other.text() == column.text())
                {
                    let rule = format!("the column {} is there already", quote(text(column)));
                    problems.push(Problem::at(column, rule).with_help("name each column once"));
                }
            }
            header = Some(cells);
            continue;
        };
        if cells.len() > columns.len() {
            let cell = &cells[columns.len()];
            let rule = format!(
                "the line has {} values for {} columns",
                cells.len(),
                columns.len()
            );
            let help = "remove what is too much, or put quotes around a value with a comma";
            problems.push(Problem::at(cell, rule).with_help(help));
            continue;
        }
        let place = place(source, &record);
        let mut row = Mapping::new();
        for (column, cell) in columns.iter().zip(cells) {
            // A cell without text says nothing.
            if cell.text() != Some("") {
                row.insert(column.clone(), cell);
            }
        }
        rows.push(Node {
            value: Value::Mapping(row),
            source: Arc::clone(source),
            span: place,
        });
    }
    if problems.is_empty() {
        Ok(rows)
    } else {
        Err(problems)
    }
}

fn text(node: &Node) -> &str {
    node.text().unwrap_or_default()
}

/// Returns where a record stands in its file.
fn place(source: &Source, record: &csv::StringRecord) -> std::ops::Range<usize> {
    let start = record
        .position()
        .map_or(0, |position| usize::try_from(position.byte()).unwrap_or(0));
    // The reader counts the line breaks and remarks before a record to it.
    let mut start = start.min(source.text.len());
    loop {
        let rest = &source.text[start..];
        let line = rest.split_inclusive('\n').next().unwrap_or_default();
        if line.is_empty() || !(line.trim().is_empty() || line.starts_with('#')) {
            let length = line.trim_end().len();
            return start..start + length;
        }
        start += line.len();
    }
}

/// Returns the cells of a record as texts without the blanks around them, each at its place. Where quotes are used, that
/// is the whole line.
fn cells(source: &Arc<Source>, record: &csv::StringRecord) -> Vec<Node> {
    let place = place(source, record);
    let is_plain = !source.text[place.clone()].contains('"');
    let mut start = place.start;
    record
        .iter()
        .map(|field| {
            let text = field.trim_start_matches('\u{feff}').trim();
            let span = match is_plain {
                true => {
                    let begin = start + (field.len() - field.trim_start().len());
                    begin..begin + field.trim().len()
                }
                false => place.clone(),
            };
            start += field.len() + 1;
            Node {
                source: Arc::clone(source),
                span,
                ..Node::string(text)
            }
        })
        .collect()
}
