//! Wraps text at words, to the width of the terminal that shows it.

use std::io::IsTerminal as _;

use console::{Term, measure_text_width, strip_ansi_codes};
use textwrap::core::Word;
use textwrap::wrap_algorithms::wrap_first_fit;

use super::edge;

/// Minimum width for wrapping. In fewer columns, single words do not fit.
const NARROWEST: usize = 20;

/// Maximum width of a label, such as `registry`, that further lines are indented behind.
const WIDEST_LABEL: usize = 18;

/// Units that are kept on the line of their number.
const UNITS: [&str; 8] = ["B", "kB", "MB", "GB", "TB", "MB/s", "s", "ms"];

/// Replaces the middle of a shortened name.
const CUT: char = '…';

/// Beginnings of lines that further lines are indented behind. Those of several characters count
/// only before a space.
const LABELS: [&str; 11] = [
    "error:",
    "warning:",
    "because:",
    "hint:",
    "note:",
    "mkectl |",
    "set aside",
    "+",
    "-",
    "~",
    "!",
];

/// First characters of the lines of a unified diff.
const DIFF: [char; 5] = ['+', '-', ' ', '@', '\\'];

/// Maximum columns of a line; `None` means unlimited, as for files and pipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Columns(pub(super) Option<usize>);

impl Columns {
    /// Returns the columns of standard output.
    pub(crate) fn of_results() -> Self {
        Self::of(&Term::stdout(), std::io::stdout().is_terminal())
    }

    /// Returns the columns of standard error.
    pub(crate) fn of_messages() -> Self {
        Self::of(&Term::stderr(), std::io::stderr().is_terminal())
    }

    fn of(terminal: &Term, is_terminal: bool) -> Self {
        #[expect(clippy::disallowed_methods, reason = "it describes the terminal")]
        let variable = std::env::var("COLUMNS").ok();
        let set = variable.and_then(|columns| columns.parse().ok());
        let columns = set
            .filter(|columns| *columns > 0)
            .or_else(|| is_terminal.then(|| usize::from(terminal.size().1)));
        Self(columns)
    }

    /// Wraps each line that is too wide. Commands to copy (lines that begin with `$`) and lines of
    /// a unified diff stay whole.
    pub(crate) fn fold(self, text: &str) -> String {
        let mut is_diff = false;
        let lines = text.split('\n').map(|line| {
            let plain = strip_ansi_codes(line);
            is_diff = plain.starts_with("--- ") || is_diff && plain.starts_with(DIFF);
            match is_diff || plain.trim_start().starts_with("$ ") {
                true => line.to_owned(),
                false => self.wrap(line, hang(&plain)),
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Returns `lead` and `text`, wrapped if too wide. Further lines are indented below `text`.
    pub(crate) fn hanging(self, lead: &str, text: &str) -> String {
        let text = edge::masked(text);
        self.wrap(&format!("{lead}{text}"), measure_text_width(lead))
    }

    /// Wraps `text` to fit behind `label`. A library writes the label and indents further lines.
    pub(super) fn behind(self, label: &str, text: &str) -> String {
        let room = self.0.map(|columns| columns.saturating_sub(label.len()));
        Self(room).wrap(&edge::masked(text), 0)
    }

    /// Wraps a line if it is too wide. Further lines are indented by `hang` columns, or less if a
    /// long word requires it.
    fn wrap(self, line: &str, hang: usize) -> String {
        let Some(columns) = self.0.filter(|columns| measure_text_width(line) > *columns) else {
            return line.to_owned();
        };
        let content = line.trim_start_matches(' ');
        let words = words(content, columns);
        let lead = line.len() - content.len();
        if columns < NARROWEST.max(lead + 1).max(hang + 1) {
            return line.to_owned();
        }
        #[expect(clippy::cast_precision_loss, reason = "a line has few columns")]
        let room = [(columns - lead) as f64, (columns - hang) as f64];
        let mut wrapped = String::new();
        for (number, line_words) in wrap_first_fit(&words, &room).into_iter().enumerate() {
            match number {
                0 => wrapped.push_str(&format!("{:lead$}", "")),
                _ => {
                    // A long word begins further left instead of being broken.
                    let first = line_words.first().map_or(0, |word| word.width);
                    let most = columns.checked_sub(first).unwrap_or(hang);
                    let hang = hang.min(most);
                    wrapped.push_str(&format!("\n{:hang$}", ""));
                }
            }
            for (place, word) in line_words.iter().enumerate() {
                wrapped.push_str(word);
                if place + 1 < line_words.len() {
                    wrapped.push_str(word.whitespace);
                }
            }
        }
        wrapped.push_str(words.last().map_or("", |word| word.whitespace));
        wrapped
    }
}

/// Shortens a name to at most this many columns by cutting its middle.
pub(super) fn shorten(name: &str, columns: usize) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= columns {
        return name.to_owned();
    }
    let kept = columns.saturating_sub(1);
    let (start, end) = (kept / 2, letters.len() - (kept - kept / 2));
    let start = letters[..start].iter();
    let end = letters[end..].iter();
    start.chain([&CUT]).chain(end).collect()
}

/// Returns the column at which a line's text begins, after indentation, sign and label.
fn hang(line: &str) -> usize {
    let content = line.trim_start();
    let mut hang = line.len() - content.len();
    if let Some(label) = LABELS.iter().find(|label| content.starts_with(**label))
        && let rest = &content[label.len()..]
        && (rest.starts_with(' ') || label.len() == 1)
    {
        return hang + label.len() + rest.len() - rest.trim_start().len();
    }
    // A label and at least two spaces, or a number: `2. mkectl apply`.
    if let Some((label, text)) = content.split_once("  ")
        && label.chars().count() <= WIDEST_LABEL
    {
        return measure_text_width(line) - measure_text_width(text.trim_start());
    }
    if let Some((number, _)) = content.split_once(". ")
        && number.parse::<u8>().is_ok()
    {
        hang += number.len() + ". ".len();
    }
    hang
}

/// Splits a text into words. A number and its unit are one word. So is text in backticks that fits
/// into a line, because it may be a command to copy.
fn words(text: &str, columns: usize) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut start = 0;
    let mut is_space = false;
    let mut quote: Option<usize> = None;
    for (place, letter) in text.char_indices() {
        if letter == '`' {
            quote = match quote {
                Some(_) => None,
                None => text[place + 1..]
                    .find('`')
                    .filter(|length| *length + 2 <= columns),
            };
        }
        let is_split = |place: usize| !ends_with_number(&text[start..place], &text[place..]);
        if is_space && letter != ' ' && is_split(place) {
            words.push(Word::from(&text[start..place]));
            start = place;
        }
        is_space = letter == ' ' && quote.is_none();
    }
    words.push(Word::from(&text[start..]));
    words
}

/// Returns whether a word is a number and `next` begins with its unit.
fn ends_with_number(word: &str, next: &str) -> bool {
    let unit = next.split(|letter: char| !letter.is_alphanumeric() && letter != '/');
    let is_number = |word: &str| word.parse::<f64>().is_ok() && word.ends_with(char::is_numeric);
    is_number(word.trim_end()) && unit.take(1).any(|unit| UNITS.contains(&unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_lines_are_wrapped_and_commands_stay_whole() {
        let text = "\
short
  + one two three four five six seven eight
lab: fix it by `cargo xtask deploy lab --yes` or wait
  $ cargo xtask deploy lab --yes --offline
error: one two three four five six seven
  because: one two three four five
  registry  push 2 of 17 artifacts, all
 12. one two three four five six
`one two three four five six seven eight nine`
";
        let expected = "\
short
  + one two three four five
    six seven eight
lab: fix it by
`cargo xtask deploy lab --yes`
or wait
  $ cargo xtask deploy lab --yes --offline
error: one two three four five
       six seven
  because: one two three four
           five
  registry  push 2 of 17
            artifacts, all
 12. one two three four five
     six
`one two three four five six
seven eight nine`
";
        assert_eq!(Columns(Some(30)).fold(text), expected);
        assert_eq!(Columns(None).fold(text), text);
    }

    #[test]
    fn lines_of_a_diff_stay_whole() {
        let diff = "\
a warning of one two three four
--- a/mke4.yaml
+++ b/mke4.yaml
@@ -1,3 +1,3 @@
 one two three four five six seven
-one two three four five six seven
\u{1b}[32m+one two three four five six seven\u{1b}[0m
";
        let folded = "a warning of one two three\nfour\n";
        let (_, rest) = diff.split_once('\n').unwrap();
        assert_eq!(
            Columns(Some(30)).fold(&format!("{diff}a warning of one two three four\n")),
            format!("{folded}{rest}{folded}")
        );
    }

    #[test]
    fn text_hangs_below_its_beginning() {
        let hanging = |lead, text, columns| Columns(columns).hanging(lead, text);
        assert_eq!(
            hanging("  ok  ", "one two three four five six", Some(26)),
            "  ok  one two three four\n      five six"
        );
        assert_eq!(hanging("  ok  ", "one two", None), "  ok  one two");
        assert_eq!(
            hanging("  ok  ", "one two three four", Some(12)),
            "  ok  one two three four"
        );
        // A digest stays whole: it begins further left.
        assert_eq!(
            hanging("  digest  ", "sha256:abcdefabcdefabcdef is new", Some(28)),
            "  digest\n   sha256:abcdefabcdefabcdef\n          is new"
        );
    }

    #[test]
    fn a_number_stays_with_its_unit() {
        assert_eq!(
            Columns(Some(22)).fold("60 blobs pushed, 3.09 MB sent in 4 s, 17 more"),
            "60 blobs pushed,\n3.09 MB sent in 4 s,\n17 more"
        );
    }

    #[test]
    fn colours_have_no_width() {
        let line = "\u{1b}[31merror:\u{1b}[0m one two three four five";
        assert_eq!(Columns(Some(30)).fold(line), line);
        assert_eq!(
            Columns(Some(24)).fold(line),
            "\u{1b}[31merror:\u{1b}[0m one two three\n       four five"
        );
    }

    #[test]
    fn the_middle_of_a_long_name_is_cut() {
        assert_eq!(shorten("calico/node:v3.30", 17), "calico/node:v3.30");
        assert_eq!(shorten("calico/node:v3.30", 9), "cali…3.30");
        assert_eq!(shorten("calico", 0), "…");
    }
}
