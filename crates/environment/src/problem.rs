//! Problems with files: the rule that a text breaks, its place, and the fix.

use std::{fmt, ops::Range, sync::Arc};

use crate::yaml::{Node, Source};

/// A problem with a file, at its place.
///
/// Displays as one line:
/// `environments/prod/environment.yaml:4:3: unknown key `adress`; did you mean `address`?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file. Secrets in its text are masked, so any code may show the text. Offsets, lines and
    /// columns are those of the file.
    pub source: Arc<Source>,
    /// The offending text, in bytes; empty if a text is missing.
    pub span: Range<usize>,
    /// What is wrong: a lower-case fragment.
    pub rule: String,
    /// The fix: a lower-case fragment.
    pub help: Option<String>,
    /// Whether the environment is usable anyway.
    pub is_warning: bool,
}

impl Problem {
    /// Returns a problem with a value.
    pub fn at(node: &Node, rule: impl Into<String>) -> Problem {
        Problem {
            source: Arc::clone(&node.source),
            span: node.span.clone(),
            rule: rule.into(),
            help: None,
            is_warning: false,
        }
    }

    /// Sets the fix.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }

    /// Returns the line where the offending text begins, from 1.
    pub fn line(&self) -> usize {
        self.source.position(self.span.start).line
    }

    /// Returns the column in characters where the offending text begins, from 1.
    pub fn column(&self) -> usize {
        self.source.position(self.span.start).column
    }

    /// Returns the line of the file on which the offending text begins.
    pub fn excerpt(&self) -> &str {
        self.source.line_at(self.span.start)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { source, rule, .. } = self;
        let warning = if self.is_warning { "warning: " } else { "" };
        let position = source.position(self.span.start);
        write!(
            formatter,
            "{}:{}:{}: {warning}{rule}",
            source.path, position.line, position.column
        )?;
        match &self.help {
            Some(help) => write!(formatter, "; {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

/// All problems with an environment, in the order of its files and of the text in each file. No
/// function returns an empty list.
///
/// Displays as one line for each problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

/// Returns the number of problems and of warnings: `1 problem, 2 warnings`.
pub fn count_problems<'a>(problems: impl IntoIterator<Item = &'a Problem>) -> String {
    let (warnings, problems): (Vec<&Problem>, Vec<&Problem>) =
        problems.into_iter().partition(|problem| problem.is_warning);
    let problems = count(problems.len(), "problem");
    match warnings.len() {
        0 => problems,
        warnings => format!("{problems}, {}", count(warnings, "warning")),
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            problem.fmt(formatter)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Returns a number with its noun: `1 tag`, `2 tags`, `2 registries`.
pub fn count(number: usize, thing: &str) -> String {
    match (number, thing.strip_suffix('y')) {
        (1, _) => format!("1 {thing}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        (_, None) => format!("{number} {thing}s"),
    }
}

/// Returns a number with its noun and verb: `1 tag is`, `2 tags are`.
pub fn count_with_verb(number: usize, thing: &str) -> String {
    let verb = if number == 1 { "is" } else { "are" };
    format!("{} {verb}", count(number, thing))
}

/// Quotes each name and joins them: `` `a`, `b` `` with the separator `, `.
pub(crate) fn quoted_list<'a>(names: impl IntoIterator<Item = &'a str>, separator: &str) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(separator)
}

/// Quotes text from a file for a message: on one line, cut after 60 characters.
pub fn quote(text: &str) -> String {
    const LONGEST: usize = 60;
    // Before the cut: part of a secret would not be recognised.
    let text = redaction::run().mask(text);
    let mut line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(LONGEST)
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        line.push('…');
    }
    format!("`{line}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_stays_on_one_short_line() {
        assert_eq!(quote("a\nb"), "`a b`");
        assert_eq!(quote(&"é".repeat(60)), format!("`{}`", "é".repeat(60)));
        assert_eq!(quote(&"é".repeat(61)), format!("`{}…`", "é".repeat(60)));
    }

    #[test]
    fn one_thing_is_not_plural() {
        let counted = [count(0, "tag"), count(1, "tag"), count(2, "registry")];
        assert_eq!(counted, ["0 tags", "1 tag", "2 registries"]);
    }

    #[test]
    fn problems_display_one_line_each() {
        let source = Arc::new(Source {
            path: "environments/a.yaml".into(),
            text: "a: 1\nb:  2\n".to_owned(),
        });
        let problem = |span: Range<usize>, help: Option<&str>| Problem {
            source: Arc::clone(&source),
            span,
            rule: "wrong".to_owned(),
            help: help.map(str::to_owned),
            is_warning: false,
        };
        let problems = Problems(vec![problem(0..1, None), problem(9..10, Some("write `3`"))]);
        assert_eq!(
            problems.to_string(),
            "environments/a.yaml:1:1: wrong\nenvironments/a.yaml:2:5: wrong; write `3`"
        );
        assert_eq!(problems.0[1].excerpt(), "b:  2");
    }
}
