//! Problems of a file, each with the lines that it is about.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use environment::Problem;

use super::fold::Columns;

/// Returns all problems as rustc would show them.
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
        let level = match problem.is_warning {
            true => Level::WARNING,
            false => Level::ERROR,
        };
        let label = if problem.is_warning {
            "warning: "
        } else {
            "error: "
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
    text.push_str(&format!("{}\n", environment::counted(problems)));
    text
}
