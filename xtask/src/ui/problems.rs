//! The text of problems in files, with excerpts of the files.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use environment::Problem;

use super::fold::Columns;

/// Returns problems in the style of rustc's errors.
pub(super) fn render<'a>(
    problems: impl IntoIterator<Item = &'a Problem>,
    coloured: bool,
) -> String {
    let renderer = if coloured && console::colors_enabled_stderr() {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let columns = Columns::of_messages();
    let renderer = match columns.0 {
        Some(columns) => renderer.term_width(columns),
        None => renderer,
    };
    let mut text = String::new();
    let problems: Vec<&Problem> = problems.into_iter().collect();
    for problem in &problems {
        let snippet = Snippet::source(problem.source.text.as_str())
            .path(problem.source.path.as_str())
            .annotation(AnnotationKind::Primary.span(problem.span.clone()));
        let (level, label) = match problem.is_warning {
            true => (Level::WARNING, "warning: "),
            false => (Level::ERROR, "error: "),
        };
        let title = columns.behind(label, &problem.rule);
        let help = problem.help.as_ref();
        let help = help.map(|help| columns.behind("   = help: ", help));
        let mut group = level.primary_title(title.as_str()).element(snippet);
        if let Some(help) = &help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        text.push_str(&renderer.render(&[group]).to_string());
        text.push_str("\n\n");
    }
    text.push_str(&format!("{}\n", environment::count_problems(problems)));
    text
}
