//! Explains why a text is not valid YAML: the probable mistake, and its place.
//!
//! The parser may stop many lines below the mistake, such as a quote or a bracket that is not
//! closed. This module scans the text again, only for quotes, brackets and tabs.

use std::ops::Range;

use crate::problem::count;

/// The probable mistake in a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Explanation {
    /// The offending text, in bytes.
    pub(super) span: Range<usize>,
    /// The mistake: a lower-case fragment.
    pub(super) rule: String,
    /// The fix: a lower-case fragment.
    pub(super) help: &'static str,
}

/// Explains why the parser stopped at the byte `at` of `text` with the error `message`.
pub(super) fn explain(text: &str, at: usize, message: &str) -> Explanation {
    let (before, whole) = (Scan::of(&text[..at]), Scan::of(text));
    conflict(text)
        .or_else(|| tab(text, &whole, at, message))
        .or_else(|| value(text, at, message))
        .or_else(|| open_quote(text, &before, &whole, at, message))
        .or_else(|| bracket(text, &before, at))
        .or_else(|| after_bracket(text, &before, at))
        .or_else(|| by_message(text, at, message))
        .or_else(|| indentation(text, at))
        .unwrap_or_else(|| Explanation {
            span: character(text, at),
            rule: "this is not valid YAML".to_owned(),
            help: "check the quotes, brackets and indentation of this line and the lines above",
        })
}

/// Finds the markers of an unresolved merge conflict.
fn conflict(text: &str) -> Option<Explanation> {
    let (start, line) = redaction::yaml::conflict(text)?;
    Some(Explanation {
        span: start..start + line.len(),
        rule: "a merge conflict is not resolved".to_owned(),
        help: "keep one of the two sides, and remove the lines with `<<<<<<<`, `=======` and `>>>>>>>`",
    })
}

/// Finds a tab in the indentation.
fn tab(text: &str, whole: &Scan, at: usize, message: &str) -> Option<Explanation> {
    let found = match whole.tab.filter(|&tab| tab <= at) {
        Some(tab) => tab,
        None if message.contains("tab") => at + text[at..].find('\t')?,
        None => return None,
    };
    Some(Explanation {
        span: found..found + 1,
        rule: "a tab is used for indentation".to_owned(),
        help: "indent with spaces",
    })
}

/// Finds a quote without its closing quote.
///
/// Either the quote is open where the parser stopped, or a later quote has closed it by accident.
fn open_quote(
    text: &str,
    before: &Scan,
    whole: &Scan,
    at: usize,
    message: &str,
) -> Option<Explanation> {
    let line_end = line(text, at).end;
    let closed_by_accident = before.quotes.last().filter(|quote| {
        text[quote.start..quote.end].contains('\n') && !text[quote.end..at].contains('\n')
    });
    let start = if message.contains("quoted scalar") && text[at..].starts_with(['"', '\'']) {
        at
    } else if let Some((start, _)) = before.quote {
        start
    } else if let Some(quote) = closed_by_accident {
        quote.start
    } else {
        whole
            .quote
            .map(|(start, _)| start)
            .filter(|&start| start < line_end)?
    };
    Some(Explanation {
        span: start..start + 1,
        rule: "this quote is not closed".to_owned(),
        help: "write the same quote after the value",
    })
}

/// Finds a bracket that is not closed or not opened, or a text that is not allowed in brackets.
fn bracket(text: &str, before: &Scan, at: usize) -> Option<Explanation> {
    let Some(&open) = before.brackets.last() else {
        let found = text[at..]
            .chars()
            .next()
            .filter(|c| [']', '}'].contains(c))?;
        return Some(Explanation {
            span: character(text, at),
            rule: format!("this `{found}` has no opening bracket"),
            help: "remove it, or write the opening bracket",
        });
    };
    let (bracket, closing) = match text.as_bytes()[open] {
        b'{' => ('{', '}'),
        _ => ('[', ']'),
    };
    if text[at..line(text, at).end].contains(closing) {
        return Some(Explanation {
            span: character(text, at),
            rule: format!("this does not belong between `{bracket}` and `{closing}`"),
            help: "separate values by commas, and put quotes around a text with `: `, a bracket or a comma",
        });
    }
    Some(Explanation {
        span: open..open + 1,
        rule: format!("this `{bracket}` is not closed"),
        help: match bracket {
            '{' => "write `}` after the last value",
            _ => "write `]` after the last value",
        },
    })
}

/// Finds a value that continues after its closing bracket, such as the IPv6 address `[::1]:5000`.
///
/// The parser may stop at the key on the next line.
fn after_bracket(text: &str, before: &Scan, at: usize) -> Option<Explanation> {
    let closed = before.closed.clone()?;
    let rest = &text[closed.end..line(text, closed.end).end];
    let rest = rest.split(" #").next().unwrap_or(rest).trim_end();
    let is_before = text[closed.end..at].trim_end().len() <= rest.len();
    (is_before && !rest.is_empty()).then(|| Explanation {
        span: closed.start..closed.end + rest.len(),
        rule: "text follows the closing bracket".to_owned(),
        help: "put quotes around the whole value",
    })
}

/// Explains an invalid value, according to the parser's message.
fn value(text: &str, at: usize, message: &str) -> Option<Explanation> {
    let (rule, help) = if message.contains("unknown anchor") || message.contains("anchor or alias")
    {
        (
            "a text that begins with `*` or `&` refers to another place of the file",
            "put quotes around the text",
        )
    } else if message.contains("unexpected character") || message.contains("directive") {
        (
            "a text cannot begin with this character",
            "put quotes around the text",
        )
    } else if message.contains("escape") || message.contains("hexadecimal") {
        (
            "a backslash in double quotes begins an escape, and this is not one",
            "use single quotes, or double the backslash",
        )
    } else if message.contains("unprintable") || message.contains("byte order mark") {
        ("this character is not allowed in YAML", "remove it")
    } else {
        return None;
    };
    Some(Explanation {
        span: character(text, at),
        rule: rule.to_owned(),
        help,
    })
}

/// Finds a space after a colon or a dash that YAML does not accept as a space.
fn unusual_space(text: &str, lines: Range<usize>) -> Option<Explanation> {
    let is_unusual = |&(place, c): &(usize, char)| {
        let before = &text[lines.start..lines.start + place];
        c.is_whitespace() && !c.is_ascii() && before.ends_with([':', '-'])
    };
    let (place, c) = text[lines.clone()].char_indices().find(is_unusual)?;
    let name = match c {
        '\u{a0}' => "a no-break space",
        _ => "an unusual space",
    };
    Some(Explanation {
        span: character(text, lines.start + place),
        rule: format!("{name} (U+{:04X}) is a letter to YAML", u32::from(c)),
        help: "replace it by a space",
    })
}

/// Explains an invalid line, according to the parser's message.
fn by_message(text: &str, at: usize, message: &str) -> Option<Explanation> {
    let current = line(text, at);
    let rest = text[at..current.end].trim_end();
    if message.contains("mapping values are not allowed") || message.contains("simple key expect") {
        let above = line(text, text[..current.start].trim_end_matches('\n').len());
        if let Some(found) = unusual_space(text, above.start..current.end) {
            return Some(found);
        }
    }
    let (span, rule, help) = if message.contains("mapping values are not allowed") {
        // The parser stops at the second colon. The first colon of the line ends the key.
        let before = &text[current.start..at];
        let value = before.find(": ")? + current.start + 2;
        (
            value..current.start + text[current.clone()].trim_end().len(),
            "this text contains a colon and a space",
            "put quotes around it",
        )
    } else if message.contains("simple key expect") {
        // The parser may have continued to the next line.
        let key = match text[current.start..at].trim().is_empty() {
            true => line(text, text[..current.start].trim_end().len()),
            false => current,
        };
        (
            key.start..key.start + text[key].trim_end().len(),
            "a key is not followed by `:`",
            "write `:` and a space after the key",
        )
    } else if message.contains("trailing content") {
        (
            at..at + rest.len(),
            "text follows the closing quote",
            "put the whole value in one pair of quotes",
        )
    } else if message.contains("sequence entries are not allowed") {
        (
            character(text, at),
            "a list item is not allowed here",
            "begin each item on a line of its own below the key",
        )
    } else if message.contains("block scalar") && message.contains("comment") {
        (
            at..at + rest.len(),
            "text follows `|` or `>` on its line",
            "begin the text on the next line",
        )
    } else if message.contains("block scalar") {
        (
            at..at + rest.len(),
            "the text of `|` or `>` is not indented evenly",
            "indent each of its lines by at least as much as the first",
        )
    } else if message.contains("comment") {
        (
            character(text, at),
            "a comment requires a space before `#`",
            "write ` #`",
        )
    } else {
        return None;
    };
    Some(Explanation {
        span: span.start..span.end.min(text.len()).max(span.start),
        rule: rule.to_owned(),
        help,
    })
}

/// Finds a line whose indentation differs from the line above.
fn indentation(text: &str, at: usize) -> Option<Explanation> {
    let found = line(text, at);
    let content = text[found.clone()].trim_end();
    let width = |line: &str| line.len() - line.trim_start_matches(' ').len();
    if content.trim().is_empty() {
        return None;
    }
    let above = text[..found.start]
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))?;
    let (indent, indent_above) = (width(content), width(above));
    if indent == indent_above {
        return None;
    }
    Some(Explanation {
        span: found.start + indent..found.start + content.len(),
        rule: format!(
            "this line is indented by {}, the line above by {indent_above}",
            count(indent, "space")
        ),
        help: "indent the keys and the items of one level by the same number of spaces",
    })
}

/// Returns the span of the character at a byte.
fn character(text: &str, at: usize) -> Range<usize> {
    let length = text[at..].chars().next().map_or(0, char::len_utf8);
    at..at + length
}

/// Returns the span of the line at a byte, without its line break.
fn line(text: &str, at: usize) -> Range<usize> {
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
    start..end
}

/// Returns the offset and the text of each line, without line breaks.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut start = 0;
    text.split('\n').map(move |line| {
        let begin = start;
        start += line.len() + 1;
        (begin, line)
    })
}

/// The quotes, brackets and tabs of a text.
#[derive(Debug, Default)]
struct Scan {
    /// The place and the character of the quote that is open at the end.
    quote: Option<(usize, u8)>,
    /// The spans of quoted texts.
    quotes: Vec<Range<usize>>,
    /// The places of brackets that are open at the end, the outermost first.
    brackets: Vec<usize>,
    /// The span of the last brackets that no others contain.
    closed: Option<Range<usize>>,
    /// The place of the first tab in an indentation.
    tab: Option<usize>,
}

impl Scan {
    fn of(text: &str) -> Self {
        let mut scan = Self::default();
        // The column of the key with a block (`|` or `>`). Lines with more indentation belong to
        // the block.
        let mut block: Option<usize> = None;
        for (start, line) in lines(text) {
            let line = line.trim_end_matches('\r');
            let indent = line.len() - line.trim_start_matches(' ').len();
            if block.is_some_and(|column| line.trim().is_empty() || indent > column) {
                continue;
            }
            if scan.quote.is_none() && scan.brackets.is_empty() {
                let blank = &line[..line.len() - line.trim_start().len()];
                let is_text = blank.len() < line.len();
                if let Some(tab) = blank.find('\t').filter(|_| is_text) {
                    scan.tab.get_or_insert(start + tab);
                }
            }
            block = scan.line(start, line);
        }
        scan
    }

    /// Scans one line. Returns the column of its key if a block begins below the line.
    fn line(&mut self, start: usize, line: &str) -> Option<usize> {
        let bytes = line.as_bytes();
        // Whether a value may begin here. Elsewhere, quotes and brackets are ordinary characters.
        let mut may_begin = true;
        let mut column = 0;
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            let is_last = bytes.get(at + 1).is_none_or(u8::is_ascii_whitespace);
            if let Some((open, quote)) = self.quote {
                let is_doubled = bytes.get(at + 1) == Some(&quote);
                match byte {
                    b'\\' if quote == b'"' => at += 1,
                    b'\'' if quote == byte && is_doubled => at += 1,
                    _ if byte == quote => {
                        self.quotes.push(open..start + at + 1);
                        self.quote = None;
                    }
                    _ => {}
                }
                may_begin = false;
                at += 1;
                continue;
            }
            let is_flow = !self.brackets.is_empty();
            match byte {
                b' ' | b'\t' => {}
                b'#' if at == 0 || bytes[at - 1].is_ascii_whitespace() => break,
                b'"' | b'\'' if may_begin => {
                    self.quote = Some((start + at, byte));
                    column = at;
                }
                b'[' | b'{' if may_begin || is_flow => {
                    self.brackets.push(start + at);
                    may_begin = true;
                }
                b']' | b'}' if is_flow => {
                    let open = self.brackets.pop();
                    self.closed = (open.filter(|_| self.brackets.is_empty()))
                        .map(|open| open..start + at + 1);
                    may_begin = false;
                }
                b',' if is_flow => may_begin = true,
                b':' if is_last || is_flow => may_begin = true,
                b'-' | b'?' if may_begin && is_last && !is_flow => column = at,
                b'|' | b'>' if may_begin && !is_flow && is_block_header(&line[at + 1..]) => {
                    return Some(column);
                }
                b'&' | b'!' if may_begin => {
                    while bytes
                        .get(at + 1)
                        .is_some_and(|byte| !byte.is_ascii_whitespace())
                    {
                        at += 1;
                    }
                }
                _ => {
                    if may_begin {
                        column = at;
                    }
                    may_begin = false;
                }
            }
            at += 1;
        }
        None
    }
}

/// Returns whether the rest of a line is valid after `|` or `>`.
fn is_block_header(rest: &str) -> bool {
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-'));
    rest.trim().is_empty() || rest.starts_with(" #")
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::sync::Arc;

    use crate::yaml::{Source, parse};

    #[test]
    fn each_mistake_is_explained_at_its_place() {
        let cases = [
            "a: \"x\nb: 1\nc: 2\n",
            "a: \"x\nb: \"y\"\nc: 2\n",
            "a: 'x\nb: 'y'\n",
            "a: [\"x, y]\nb: 1\n",
            "a: it's\nb: 'x\n",
            "a: |\n  'x\nb: [1\n",
            "- a: |\n    {x\n  b: 'y\n",
            "a: \"x\\\"\nb: 1\n",
            "hosts:\n  - { a: 1, b: 2\n  - { a: 3 }\nc: 1\n",
            "a: [1, 2\nb: 3\n",
            "a: {b: [1, 2}\nc: 3\n",
            "a: {b: 1 c: 2}\n",
            "a: {b: 1\n",
            "a: 1}\nb: }\n",
            "a:\n   b: 1\n  c: 2\n",
            "a:\n  b: 1\n   c: 2\n",
            "a: 1\n b: 2\n",
            "hosts:\n  - role: a\n     ssh: b\n",
            "hosts:\n  - role: a\n - role: b\n",
            "a:\n\tb: 1\n",
            "a:\n  b: 1\n\tc: 2\n",
            "a: b: c\n",
            "title: MKE: prod\n",
            "sans: [*.example.com]\n",
            "sans:\n  - *.example.com\n",
            "a: @b\n",
            "a: `b`\n",
            "a: %b\n",
            "path: \"C:\\mke\"\n",
            "a: \"x\" y\n",
            "a: 1\nb\nc: 2\n",
            "a:\n  b: [::1]:5\n  c: 2\n",
            "a:\n  c: 2\n  b: [::1]:5\n",
            "a: [::1]:5\n",
            "a: { b: [::1]:5, c: 2 }\n",
            "a:\n  - [fd00::1]\n  - [::1]:5\n",
            "a: {b} c\nd: 1\n",
            "a:\n  b: [::1]:5 # c\n  d: 2\n",
            "a:\n  b: [1] # c\n   d: 2\n",
            "release:\u{a0}v4.1.3\na: 1\n",
            "a: 1\nrelease:\u{a0}v4.1.3\nb: 1\n",
            "a: - b\n",
            "a: | x\n  y\n",
            "a: \"x\"#y\n",
            "a: \u{7}\n",
            "<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> theirs\n",
        ];
        let mut out = String::new();
        for text in cases {
            let source = Arc::new(Source {
                path: "a".into(),
                text: text.to_owned(),
            });
            match parse(source) {
                Err(problem) => writeln!(out, "{text:?}\n  {problem}").unwrap(),
                Ok(_) => writeln!(out, "{text:?}\n  accepted").unwrap(),
            }
        }
        insta::assert_snapshot!(out, @r##"
        "a: \"x\nb: 1\nc: 2\n"
          a:1:4: this quote is not closed; write the same quote after the value
        "a: \"x\nb: \"y\"\nc: 2\n"
          a:1:4: this quote is not closed; write the same quote after the value
        "a: 'x\nb: 'y'\n"
          a:1:4: this quote is not closed; write the same quote after the value
        "a: [\"x, y]\nb: 1\n"
          a:1:5: this quote is not closed; write the same quote after the value
        "a: it's\nb: 'x\n"
          a:2:4: this quote is not closed; write the same quote after the value
        "a: |\n  'x\nb: [1\n"
          a:3:4: this `[` is not closed; write `]` after the last value
        "- a: |\n    {x\n  b: 'y\n"
          a:3:6: this quote is not closed; write the same quote after the value
        "a: \"x\\\"\nb: 1\n"
          a:1:4: this quote is not closed; write the same quote after the value
        "hosts:\n  - { a: 1, b: 2\n  - { a: 3 }\nc: 1\n"
          a:2:5: this `{` is not closed; write `}` after the last value
        "a: [1, 2\nb: 3\n"
          a:1:4: this `[` is not closed; write `]` after the last value
        "a: {b: [1, 2}\nc: 3\n"
          a:1:8: this `[` is not closed; write `]` after the last value
        "a: {b: 1 c: 2}\n"
          a:1:11: this does not belong between `{` and `}`; separate values by commas, and put quotes around a text with `: `, a bracket or a comma
        "a: {b: 1\n"
          a:1:4: this `{` is not closed; write `}` after the last value
        "a: 1}\nb: }\n"
          a:2:4: this `}` has no opening bracket; remove it, or write the opening bracket
        "a:\n   b: 1\n  c: 2\n"
          a:3:3: this line is indented by 2 spaces, the line above by 3; indent the keys and the items of one level by the same number of spaces
        "a:\n  b: 1\n   c: 2\n"
          a:3:4: this line is indented by 3 spaces, the line above by 2; indent the keys and the items of one level by the same number of spaces
        "a: 1\n b: 2\n"
          a:2:2: this line is indented by 1 space, the line above by 0; indent the keys and the items of one level by the same number of spaces
        "hosts:\n  - role: a\n     ssh: b\n"
          a:3:6: this line is indented by 5 spaces, the line above by 2; indent the keys and the items of one level by the same number of spaces
        "hosts:\n  - role: a\n - role: b\n"
          a:3:2: this line is indented by 1 space, the line above by 2; indent the keys and the items of one level by the same number of spaces
        "a:\n\tb: 1\n"
          a:2:1: a tab is used for indentation; indent with spaces
        "a:\n  b: 1\n\tc: 2\n"
          a:3:1: a tab is used for indentation; indent with spaces
        "a: b: c\n"
          a:1:4: this text contains a colon and a space; put quotes around it
        "title: MKE: prod\n"
          a:1:8: this text contains a colon and a space; put quotes around it
        "sans: [*.example.com]\n"
          a:1:8: a text that begins with `*` or `&` refers to another place of the file; put quotes around the text
        "sans:\n  - *.example.com\n"
          a:2:5: a text that begins with `*` or `&` refers to another place of the file; put quotes around the text
        "a: @b\n"
          a:1:4: a text cannot begin with this character; put quotes around the text
        "a: `b`\n"
          a:1:4: a text cannot begin with this character; put quotes around the text
        "a: %b\n"
          a:1:4: a text cannot begin with this character; put quotes around the text
        "path: \"C:\\mke\"\n"
          a:1:7: a backslash in double quotes begins an escape, and this is not one; use single quotes, or double the backslash
        "a: \"x\" y\n"
          a:1:8: text follows the closing quote; put the whole value in one pair of quotes
        "a: 1\nb\nc: 2\n"
          a:2:1: a key is not followed by `:`; write `:` and a space after the key
        "a:\n  b: [::1]:5\n  c: 2\n"
          a:2:6: text follows the closing bracket; put quotes around the whole value
        "a:\n  c: 2\n  b: [::1]:5\n"
          a:3:6: text follows the closing bracket; put quotes around the whole value
        "a: [::1]:5\n"
          a:1:4: text follows the closing bracket; put quotes around the whole value
        "a: { b: [::1]:5, c: 2 }\n"
          a:1:14: this does not belong between `{` and `}`; separate values by commas, and put quotes around a text with `: `, a bracket or a comma
        "a:\n  - [fd00::1]\n  - [::1]:5\n"
          a:3:5: text follows the closing bracket; put quotes around the whole value
        "a: {b} c\nd: 1\n"
          a:1:4: text follows the closing bracket; put quotes around the whole value
        "a:\n  b: [::1]:5 # c\n  d: 2\n"
          a:2:6: text follows the closing bracket; put quotes around the whole value
        "a:\n  b: [1] # c\n   d: 2\n"
          a:3:4: this line is indented by 3 spaces, the line above by 2; indent the keys and the items of one level by the same number of spaces
        "release:\u{a0}v4.1.3\na: 1\n"
          a:1:9: a no-break space (U+00A0) is a letter to YAML; replace it by a space
        "a: 1\nrelease:\u{a0}v4.1.3\nb: 1\n"
          a:2:9: a no-break space (U+00A0) is a letter to YAML; replace it by a space
        "a: - b\n"
          a:1:4: a list item is not allowed here; begin each item on a line of its own below the key
        "a: | x\n  y\n"
          a:1:4: text follows `|` or `>` on its line; begin the text on the next line
        "a: \"x\"#y\n"
          a:1:7: a comment requires a space before `#`; write ` #`
        "a: \u{7}\n"
          accepted
        "<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> theirs\n"
          a:1:1: a merge conflict is not resolved; keep one of the two sides, and remove the lines with `<<<<<<<`, `=======` and `>>>>>>>`
        "##);
    }

    proptest::proptest! {
        #[test]
        fn every_explanation_has_a_valid_span(text in "[ab\\[\\]{}:,'\"#|>&*@ \n\tö-]{0,40}") {
            for (at, _) in text.char_indices() {
                for message in ["tab", "quoted scalar", "trailing content", "simple key expect", "block scalar", ""] {
                    let explained = super::explain(&text, at, message);
                    proptest::prop_assert!(text.get(explained.span).is_some());
                }
            }
        }
    }
}
