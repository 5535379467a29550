//! Parses CSV tables as spreadsheets write them: separated by commas, semicolons or tabs, with or
//! without quotes.

use std::{ops::Range, sync::Arc};

use crate::{
    problem::{Problem, count, quote},
    yaml::{Mapping, Node, Source, Value},
};

/// Returns a mapping from column to cell for each line below the header.
///
/// # Errors
///
/// Returns all problems with the table.
pub(super) fn rows(source: &Arc<Source>) -> Result<Vec<Node>, Vec<Problem>> {
    let problems = unclosed_quotes(source);
    if !problems.is_empty() {
        return Err(problems);
    }
    let layout = Layout::of(&source.text);
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(layout.delimiter)
        .has_headers(false)
        .flexible(true)
        .comment(Some(b'#'))
        .from_reader(&source.text.as_bytes()[layout.start..]);
    let mut header: Option<Vec<Node>> = None;
    let mut rows = Vec::new();
    let mut problems = Vec::new();
    for record in reader.records() {
        // The text is in memory and UTF-8, and records may have any length.
        let Ok(record) = record else { continue };
        let place = layout.place(source, &record);
        let mut cells = cells(source, &record, &place);
        // Spreadsheets pad every line with empty cells to the same length.
        while cells.last().is_some_and(|cell| text(cell).is_empty()) {
            cells.pop();
        }
        if cells.is_empty() {
            continue;
        }
        let Some(columns) = &header else {
            for (index, column) in cells.iter().enumerate() {
                if cells[..index]
                    .iter()
                    .any(|other| other.text() == column.text())
                {
                    let rule = format!("duplicate column {}", quote(text(column)));
                    problems.push(Problem::at(column, rule).with_help("name each column once"));
                }
            }
            if let [only] = cells.as_slice()
                && text(only).contains(['|', ' ', ':'])
            {
                let rule = format!("{} is not the name of a column", quote(text(only)));
                problems.push(
                    Problem::at(only, rule).with_help("separate columns by `,`, `;` or a tab"),
                );
            }
            header = Some(cells);
            continue;
        };
        if cells.len() > columns.len() {
            let cell = &cells[columns.len()];
            let rule = format!(
                "the line has {} for {}",
                count(cells.len(), "value"),
                count(columns.len(), "column")
            );
            let help = format!(
                "remove the extra values, or put quotes around a value with {}",
                layout.delimiter_name()
            );
            problems.push(Problem::at(cell, rule).with_help(help));
            continue;
        }
        let mut row = Mapping::new();
        for (column, cell) in columns.iter().zip(cells) {
            // An empty cell does not set the column.
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

/// The format of a table.
struct Layout {
    delimiter: u8,
    /// The offset of the first line of the table.
    start: usize,
}

impl Layout {
    /// Detects the format. The delimiter is set by a first line such as `sep=;`. Otherwise it is
    /// the most frequent delimiter of the header.
    fn of(text: &str) -> Self {
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let content = line.trim_end_matches(['\r', '\n']);
            if let Some(&[delimiter]) = content.strip_prefix("sep=").map(str::as_bytes) {
                return Self {
                    delimiter,
                    start: start + line.len(),
                };
            }
            if !content.trim().is_empty() && !content.starts_with('#') {
                let mut is_quoted = false;
                let unquoted: Vec<u8> = content
                    .bytes()
                    .filter(|&byte| {
                        is_quoted ^= byte == b'"';
                        !is_quoted
                    })
                    .collect();
                let count =
                    |delimiter: u8| unquoted.iter().filter(|&&byte| byte == delimiter).count();
                // `max_by_key` returns the last maximum: the comma, for a header of one column.
                let delimiter = [b'\t', b';', b',']
                    .into_iter()
                    .max_by_key(|&byte| count(byte));
                return Self {
                    delimiter: delimiter.unwrap_or(b','),
                    start: 0,
                };
            }
            start += line.len();
        }
        Self {
            delimiter: b',',
            start: 0,
        }
    }

    fn delimiter_name(&self) -> String {
        match self.delimiter {
            b',' => "a comma".to_owned(),
            b';' => "a semicolon".to_owned(),
            b'\t' => "a tab".to_owned(),
            other => quote(&char::from(other).to_string()),
        }
    }

    /// Returns the span of a record in its file.
    fn place(&self, source: &Source, record: &csv::StringRecord) -> Range<usize> {
        let read = record
            .position()
            .map_or(0, |position| usize::try_from(position.byte()).unwrap_or(0));
        // The reader's position is before the blank lines and comments that precede a record.
        let mut start = (self.start + read).min(source.text.len());
        loop {
            let rest = &source.text[start..];
            let line = rest.split_inclusive('\n').next().unwrap_or_default();
            if line.is_empty() || !(line.trim().is_empty() || line.starts_with('#')) {
                let length = line.trim_end_matches(['\r', '\n']).len();
                return start..start + length;
            }
            start += line.len();
        }
    }
}

/// Finds quotes that are not closed on their line. The parser would read up to the next quote, and
/// the lines between would become part of one cell.
fn unclosed_quotes(source: &Arc<Source>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut start = 0;
    for line in source.text.split_inclusive('\n') {
        let content = line.trim_end_matches(['\r', '\n']);
        if !content.starts_with('#')
            && let Some(open) = open_quote(content)
        {
            problems.push(Problem {
                source: Arc::clone(source),
                span: start + open..start + content.len(),
                rule: "this quote is not closed on its line".to_owned(),
                help: Some("write `\"` after the value as well, or remove this one".to_owned()),
                is_warning: false,
            });
        }
        start += line.len();
    }
    problems
}

/// Returns the place of a quote that is not closed on its line. Only a quote at the start of a cell
/// counts.
fn open_quote(line: &str) -> Option<usize> {
    let (mut opened_at, mut closed_at) = (0, 0);
    let mut is_open = false;
    let mut is_cell_start = true;
    for (at, byte) in line.bytes().enumerate() {
        match (is_open, byte) {
            (true, b'"') => (is_open, closed_at) = (false, at + 1),
            (false, b'"') if is_cell_start => (is_open, opened_at) = (true, at),
            // A doubled quote is a character of the quoted cell.
            (false, b'"') if at == closed_at => is_open = true,
            _ => {}
        }
        is_cell_start = !is_open && matches!(byte, b',' | b';' | b'\t');
    }
    is_open.then_some(opened_at)
}

/// Returns the cells of a record as strings, without surrounding blanks. Each has its place; if the
/// line contains quotes, the place is the whole line.
fn cells(source: &Arc<Source>, record: &csv::StringRecord, place: &Range<usize>) -> Vec<Node> {
    let has_quotes = source.text[place.clone()].contains('"');
    let mut start = place.start;
    record
        .iter()
        .map(|field| {
            let span = match has_quotes {
                true => place.clone(),
                false => {
                    let begin = start + (field.len() - field.trim_start().len());
                    begin..begin + field.trim().len()
                }
            };
            start += field.len() + 1;
            Node {
                source: Arc::clone(source),
                span,
                ..Node::string(field.trim())
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Arc<Source> {
        Arc::new(Source {
            path: "hosts.csv".into(),
            text: text.to_owned(),
        })
    }

    fn shown(text: &str) -> String {
        match rows(&source(text)) {
            Ok(rows) => {
                let cells = |row: &Node| {
                    let cells = row.as_mapping().into_iter().flat_map(Mapping::iter);
                    let cells: Vec<String> = cells
                        .map(|(column, cell)| {
                            format!("{}={}", self::text(column), self::text(cell))
                        })
                        .collect();
                    format!("{}: {}", row.line(), cells.join(" "))
                };
                rows.iter().map(cells).collect::<Vec<_>>().join("\n")
            }
            Err(problems) => crate::Problems(problems).to_string(),
        }
    }

    #[test]
    fn the_header_determines_the_delimiter() {
        let expected = "2: address=10.0.0.1 role=worker user=root";
        for text in [
            "address,role,user\n10.0.0.1,worker,root\n",
            "address;role;user\r\n10.0.0.1;worker;root\r\n;;\r\n",
            "address\trole\tuser\n10.0.0.1\tworker\troot",
            "address;role;user;;\r\n10.0.0.1;worker;root;;\r\n",
            "\"address\";\"role\";\"user\"\n\"10.0.0.1\";worker;root\n",
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
        assert_eq!(
            shown("sep=;\r\n# ours\r\naddress;role\r\n10.0.0.1;worker"),
            "4: address=10.0.0.1 role=worker"
        );
        assert_eq!(
            shown("address;key\n10.0.0.1;\"a;b\"\n10.0.0.2;a,b\n"),
            "2: address=10.0.0.1 key=a;b\n3: address=10.0.0.2 key=a,b"
        );
        assert_eq!(shown("address\n10.0.0.1\n"), "2: address=10.0.0.1");
        assert_eq!(
            shown("address|role\n10.0.0.1|worker\n"),
            "hosts.csv:1:1: `address|role` is not the name of a column; separate columns by `,`, `;` or a tab"
        );
        assert_eq!(
            shown("address;role\n10.0.0.1;a;b\n"),
            "hosts.csv:2:12: the line has 3 values for 2 columns; remove the extra values, or put quotes around a value with a semicolon"
        );
    }

    #[test]
    fn an_unclosed_quote_is_reported_at_its_place() {
        let open = |line: usize, column: usize| {
            format!(
                "hosts.csv:{line}:{column}: this quote is not closed on its line; \
                 write `\"` after the value as well, or remove this one"
            )
        };
        assert_eq!(
            shown("address,role\n\"10.0.0.1,worker\n\"10.0.0.2\",worker\n"),
            open(2, 1)
        );
        assert_eq!(
            shown("address;role\r\n10.0.0.1;\"worker\r\n10.0.0.2;worker"),
            open(2, 10)
        );
        assert_eq!(shown("address,role\n10.0.0.1,\"a \"\"b\n"), open(2, 10),);
        // A quote within a cell is an ordinary character.
        assert_eq!(
            shown("address,note\n10.0.0.1,5\" disk\n# \"x\n10.0.0.2,\"a \"\"b\"\"\""),
            "2: address=10.0.0.1 note=5\" disk\n4: address=10.0.0.2 note=a \"b\""
        );
    }
}
