//! `man`: writes a manual page for each command.

use std::process::ExitCode;

use camino::Utf8Path;
use clap::Command;
use clap_mangen::Man;
use serde_json::json;

use crate::app::App;
use crate::called::BY_CARGO;
use crate::failure::Failure;

/// Name of the program in the pages.
const PROGRAM: &str = "airlock";

/// Name of the manual in the pages' headers.
const MANUAL: &str = "Airlock";

pub(crate) fn run(app: &App<'_>, folder: &Utf8Path) -> Result<ExitCode, Failure> {
    std::fs::create_dir_all(folder).map_err(|source| Failure::io("make", folder, source))?;
    let mut command = crate::cli::command(&[])
        .bin_name(PROGRAM)
        .help_template("{all-args}");
    command.build();
    let date = (app.tool.now)().strftime("%Y-%m-%d").to_string();
    let count = write_pages(command, &date, folder)?;
    app.ui.result(
        &format!("{count} pages in {folder}; read one with `man -l {folder}/airlock.1`\n"),
        &json!({ "folder": folder, "pages": count }),
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the pages of a command and its subcommands. Returns their number.
fn write_pages(command: Command, date: &str, folder: &Utf8Path) -> Result<usize, Failure> {
    let mut count = 1;
    let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
    for subcommand in shown.cloned().collect::<Vec<_>>() {
        count += write_pages(subcommand, date, folder)?;
    }
    let page = Man::new(command).manual(MANUAL).date(date);
    let path = folder.join(page.get_filename());
    let failed = |source| Failure::io("write", &path, source);
    let mut text = Vec::new();
    page.render(&mut text).map_err(failed)?;
    let text = without_breaks(&text)
        .replace(".SH EXTRA\nExamples:\n", ".SH EXAMPLES\n")
        .replace(BY_CARGO, PROGRAM);
    std::fs::write(&path, text).map_err(failed)?;
    Ok(count)
}

/// Removes line breaks (`.br`) next to paragraphs: formatters warn about them and skip them.
fn without_breaks(page: &[u8]) -> String {
    let page = String::from_utf8_lossy(page);
    let lines: Vec<&str> = page.lines().collect();
    let is_beside = |place: usize| {
        let before = place.checked_sub(1).map(|before| lines[before]);
        let after = lines.get(place + 1).copied();
        // An empty line also separates paragraphs.
        [before, after]
            .iter()
            .any(|line| matches!(line, Some(".sp" | "")))
    };
    let kept = (0..lines.len()).filter(|place| lines[*place] != ".br" || !is_beside(*place));
    kept.map(|place| format!("{}\n", lines[place])).collect()
}
