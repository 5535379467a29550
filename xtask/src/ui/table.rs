//! Tables without lines, as people know them from kubectl, and their narrow form.

use comfy_table::{CellAlignment, Table, presets};
use console::{Term, measure_text_width};

/// Text is not wrapped into fewer columns than this: single words would not fit.
const NARROWEST: usize = 20;

/// Returns a table whose columns with a title in `right` are numbers. If it is wider than the terminal, each row
/// becomes a paragraph.
pub fn table(titles: &[&str], right: &[&str], rows: Vec<Vec<String>>) -> String {
    fitting(titles, right, rows, columns())
}

/// Returns `lead` and `text`, wrapped at spaces if they are wider than the terminal. Further lines begin below `text`.
pub(crate) fn hanging(lead: &str, text: &str) -> String {
    wrapped(lead, text, columns())
}

/// Returns `text` with each line wrapped that is wider than the terminal. Further lines are indented as the first one.
/// Commands stay whole, so they can be copied.
pub(super) fn folded(text: &str) -> String {
    fold(text, columns())
}

fn fold(text: &str, columns: Option<usize>) -> String {
    let fold_line = |line: &str| {
        let content = line.trim_start();
        if content.starts_with("$ ") {
            return line.to_owned();
        }
        let sign = ["+ ", "- ", "~ "]
            .into_iter()
            .find(|sign| content.starts_with(sign));
        let lead = line.len() - content.len() + sign.map_or(0, str::len);
        wrapped(&line[..lead], &line[lead..], columns)
    };
    text.split('\n')
        .map(fold_line)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Returns the words of a text. What stands in backticks is one word, because it may be a command to copy.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    text.split(move |character| {
        is_quoted ^= character == '`';
        character == ' ' && !is_quoted
    })
}

/// Returns the columns of the terminal: those of the variable `COLUMNS`, or of the terminal that results are written
/// to. A file has as many as a line needs.
fn columns() -> Option<usize> {
    #[expect(clippy::disallowed_methods, reason = "it describes the terminal")]
    let variable = std::env::var("COLUMNS").ok();
    let set = variable.and_then(|columns| columns.parse().ok());
    set.filter(|columns| *columns > 0).or_else(|| {
        let out = Term::stdout();
        let is_terminal = out.features().is_attended();
        is_terminal.then(|| usize::from(out.size().1))
    })
}

fn fitting(
    titles: &[&str],
    right: &[&str],
    rows: Vec<Vec<String>>,
    columns: Option<usize>,
) -> String {
    let text = wide(titles, right, &rows);
    let fits = |columns: usize| text.lines().all(|line| measure_text_width(line) <= columns);
    match columns {
        Some(columns) if !fits(columns) => narrow(titles, &rows, columns),
        _ => text,
    }
}

fn wide(titles: &[&str], right: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(titles.iter().map(|title| title.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    for (column, title) in table.column_iter_mut().zip(titles) {
        column.set_padding((0, 2));
        if right.contains(title) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text: String = table
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect();
    if text.is_empty() {
        text.push('\n');
    }
    text
}

/// Returns a paragraph for each row: the first cell, and below it a line for each other cell with its title.
fn narrow(titles: &[&str], rows: &[Vec<String>], columns: usize) -> String {
    let longest = titles
        .iter()
        .skip(1)
        .map(|title| title.chars().count())
        .max();
    let longest = longest.unwrap_or_default();
    let mut text = String::new();
    for row in rows {
        let mut cells = titles.iter().zip(row);
        if let Some((_, first)) = cells.next() {
            text.push_str(&format!("{first}\n"));
        }
        for (title, cell) in cells.filter(|(_, cell)| !cell.is_empty()) {
            let lead = format!("  {title:<longest$}  ");
            text.push_str(&format!("{}\n", wrapped(&lead, cell, Some(columns))));
        }
    }
    text
}

fn wrapped(lead: &str, text: &str, columns: Option<usize>) -> String {
    let indent = measure_text_width(lead);
    let Some(room) = columns.and_then(|columns| columns.checked_sub(indent)) else {
        return format!("{lead}{text}");
    };
    if room < NARROWEST || measure_text_width(text) <= room {
        return format!("{lead}{text}");
    }
    let mut wrapped = lead.to_owned();
    let mut used = 0;
    for word in words(text) {
        let width = measure_text_width(word);
        if used > 0 && used + 1 + width > room {
            wrapped.push_str(&format!("\n{:indent$}", ""));
            used = 0;
        } else if used > 0 {
            wrapped.push(' ');
            used += 1;
        }
        wrapped.push_str(word);
        used += width;
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    const TITLES: [&str; 4] = ["environment", "release", "registry", "state"];

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        vec![
            row([
                "demo",
                "v4.1.5-demo",
                "127.0.0.1:5443/mke",
                "never deployed",
            ]),
            row([
                "prod",
                "v4.1.5",
                "registry.prod.example.com:5000/mke",
                "never deployed, release not locked, and more that is to be said of it",
            ]),
        ]
    }

    // case 7.6
    #[test]
    fn a_table_that_is_too_wide_becomes_paragraphs_without_a_broken_word() {
        let text = fitting(&TITLES, &[], rows(), Some(60));
        assert_eq!(
            text,
            "\
demo
  release   v4.1.5-demo
  registry  127.0.0.1:5443/mke
  state     never deployed
prod
  release   v4.1.5
  registry  registry.prod.example.com:5000/mke
  state     never deployed, release not locked, and more
            that is to be said of it
"
        );
        for columns in [Some(200), None] {
            let text = fitting(&TITLES, &[], rows(), columns);
            assert!(text.starts_with("ENVIRONMENT  RELEASE"), "{text}");
            assert_eq!(text.lines().count(), 3, "{text}");
        }
    }

    // case 7.6
    #[test]
    fn wide_lines_are_folded_and_commands_stay_whole() {
        let text = "\
short
  + one two three four five six seven eight
lab: fix it by `cargo xtask deploy lab --yes` or wait
  $ cargo xtask deploy lab --yes --offline
";
        let expected = "\
short
  + one two three four five
    six seven eight
lab: fix it by
`cargo xtask deploy lab --yes`
or wait
  $ cargo xtask deploy lab --yes --offline
";
        assert_eq!(fold(text, Some(30)), expected);
        assert_eq!(fold(text, None), text);
    }

    // case 7.6
    #[test]
    fn text_hangs_below_its_beginning() {
        assert_eq!(
            wrapped("  ok  ", "one two three four five six", Some(26)),
            "  ok  one two three four\n      five six"
        );
        assert_eq!(wrapped("  ok  ", "one two", None), "  ok  one two");
        assert_eq!(
            wrapped("  ok  ", "one two three four", Some(12)),
            "  ok  one two three four"
        );
    }
}
