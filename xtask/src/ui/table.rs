//! Tables in the style of kubectl, and their form for narrow terminals.

use comfy_table::{CellAlignment, Table, presets};
use console::measure_text_width;

use super::edge;
use super::fold::{Columns, shorten};

/// Returns a table. Columns with a title in `right` are aligned to the right. If the table is wider
/// than the terminal, each row becomes a paragraph.
pub fn table(titles: &[&str], right: &[&str], rows: Vec<Vec<String>>) -> String {
    fitting(titles, right, rows, Columns::of_results())
}

fn fitting(titles: &[&str], right: &[&str], rows: Vec<Vec<String>>, columns: Columns) -> String {
    let text = wide(titles, right, &rows);
    let fits = |columns: usize| text.lines().all(|line| measure_text_width(line) <= columns);
    match columns.0 {
        Some(room) if !fits(room) => narrow(titles, &rows, room),
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

/// Returns a paragraph for each row: the first cell, then a line with title and text for each other
/// cell. The middle of a long path is cut.
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
            let room = columns.saturating_sub(measure_text_width(&lead));
            let cell = edge::masked(cell);
            let words = cell.split(' ').map(|word| match word.contains('/') {
                true => shorten(word, room),
                false => word.to_owned(),
            });
            let cell = words.collect::<Vec<_>>().join(" ");
            text.push_str(&format!(
                "{}\n",
                Columns(Some(columns)).hanging(&lead, &cell)
            ));
        }
    }
    text
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

    #[test]
    fn a_table_that_is_too_wide_becomes_paragraphs_without_a_broken_word() {
        let text = fitting(&TITLES, &[], rows(), Columns(Some(60)));
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
            let text = fitting(&TITLES, &[], rows(), Columns(columns));
            assert!(text.starts_with("ENVIRONMENT  RELEASE"), "{text}");
            assert_eq!(text.lines().count(), 3, "{text}");
        }
    }

    #[test]
    fn a_path_that_is_too_long_loses_its_middle() {
        let row = ["lab", "/srv/airlock/bundles/store/blobs"].map(str::to_owned);
        let text = fitting(
            &["host", "path"],
            &[],
            vec![row.to_vec()],
            Columns(Some(24)),
        );
        assert_eq!(text, "lab\n  path  /srv/ai…re/blobs\n");
    }
}
