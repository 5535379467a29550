//! Escapes characters that control a terminal or are invisible.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The character that begins every control sequence.
const ESC: char = '\u{1b}';

/// The control sequence that resets all colours.
const RESET: &str = "\u{1b}[0m";

/// How colours (SGR sequences) are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// Keep them, except those that conceal text.
    Keep,
    /// Remove them.
    Drop,
}

/// Returns whether a character controls a terminal or is invisible: control, bidirectional and
/// other format characters, including line ends and tabs.
pub fn is_hidden(character: char) -> bool {
    matches!(
        character,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{600}'..='\u{605}'
            | '\u{61c}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{890}'..='\u{891}'
            | '\u{8e2}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{110bd}'
            | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// Returns bytes as text. A byte that is not UTF-8 becomes `\xff`, since a terminal with a
/// single-byte encoding may obey it.
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    Cow::Owned(text)
}

/// Returns whether a text has characters that control a terminal or are invisible, except for line
/// ends and tabs.
pub fn has_hidden_characters(text: &str) -> bool {
    text.chars().any(is_hidden_in_lines)
}

/// Returns why a secret is not usable as it is: editors and terminals can add invisible characters.
/// The result completes a sentence that names the secret, and does not quote it.
pub fn hidden_rule(secret: &str) -> Option<String> {
    let found = secret
        .chars()
        .find(|found| is_hidden_in_lines(*found) && *found != '\r')?;
    Some(match found {
        '\u{feff}' => "contains a byte order mark: save it as UTF-8 without one".to_owned(),
        found => format!(
            "contains U+{:04X}, a control character or an invisible one",
            u32::from(found)
        ),
    })
}

/// Escapes a text of one line. A line end becomes `\n`.
pub fn escape(text: &str) -> Cow<'_, str> {
    escape_where(text, is_hidden)
}

/// Escapes a text of several lines, and keeps line ends and tabs.
pub fn escape_lines(text: &str) -> Cow<'_, str> {
    escape_where(text, is_hidden_in_lines)
}

/// Escapes serialised JSON. Parsers read the same values.
///
/// Serialisers escape only what JSON requires, and leave C1 and bidirectional characters.
pub fn escape_json(json: &str) -> Cow<'_, str> {
    if !json.chars().any(is_hidden_in_lines) {
        return Cow::Borrowed(json);
    }
    let mut text = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        if !is_hidden_in_lines(character) {
            text.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            let _ = write!(text, "\\u{unit:04x}");
        }
    }
    Cow::Owned(text)
}

/// Escapes a text of several lines, and keeps or removes its colours. Kept colours are reset at the
/// end of the text.
pub fn colours(text: &str, colours: Colours) -> Cow<'_, str> {
    if !text.contains(ESC) {
        return escape_lines(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut is_coloured = false;
    let mut rest = text;
    while let Some(at) = rest.find(ESC) {
        shown.push_str(&escape_lines(&rest[..at]));
        rest = &rest[at..];
        match colour(rest.as_bytes()) {
            Some(sequence) => {
                let (sequence, after) = rest.split_at(sequence);
                if colours == Colours::Keep && !hides(sequence) {
                    shown.push_str(sequence);
                    is_coloured = !matches!(sequence, RESET | "\u{1b}[m");
                }
                rest = after;
            }
            None => {
                push_escaped(&mut shown, ESC);
                rest = &rest[ESC.len_utf8()..];
            }
        }
    }
    shown.push_str(&escape_lines(rest));
    if is_coloured {
        shown.push_str(RESET);
    }
    Cow::Owned(shown)
}

/// Returns foreign text as one line of at most `most` characters, with the secrets of this process
/// masked and control characters escaped.
///
/// Secrets are masked first, because a cut or escaped secret is hard to recognise.
pub fn line(text: &str, most: usize) -> String {
    let masked = crate::run().mask(text);
    let words: Vec<&str> = masked.split_whitespace().collect();
    let line = escape(&words.join(" ")).into_owned();
    match line.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

pub(crate) fn is_hidden_in_lines(character: char) -> bool {
    is_hidden(character) && !matches!(character, '\n' | '\t')
}

fn escape_where(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match is_escaped(character) {
            true => push_escaped(&mut shown, character),
            false => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

fn push_escaped(text: &mut String, character: char) {
    match character {
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        _ => {
            let _ = write!(text, "\\u{{{:x}}}", u32::from(character));
        }
    }
}

/// Returns the length of the colour at the beginning of a text: `ESC [`, numbers, `m`.
fn colour(text: &[u8]) -> Option<usize> {
    Some(colour_after(text.strip_prefix(b"\x1b")?)? + 1)
}

/// Returns the length of a colour without its `ESC`.
pub(crate) fn colour_after(text: &[u8]) -> Option<usize> {
    let parameters = text.strip_prefix(b"[")?;
    let is_parameter = |byte: &&u8| matches!(byte, b'0'..=b'9' | b';' | b':');
    // Colours are shorter than 32 bytes.
    let end = parameters.iter().take(32).take_while(is_parameter).count();
    (parameters.get(end) == Some(&b'm')).then_some(end + 2)
}

/// Returns whether a colour conceals text (parameter 8).
fn hides(sequence: &str) -> bool {
    let parameters = sequence.trim_start_matches("\u{1b}[").trim_end_matches('m');
    let mut numbers = parameters.split([';', ':']);
    while let Some(number) = numbers.next() {
        match number.trim_start_matches('0') {
            "8" => return true,
            // An extended colour, whose parameters follow.
            "38" | "48" | "58" => match numbers.next() {
                Some("5") => drop(numbers.next()),
                _ => return false,
            },
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_visible() {
        for (raw, shown) in [
            ("plain ünïcödé 漢字", "plain ünïcödé 漢字"),
            ("a\u{1b}]0;title\u{7}b", "a\\u{1b}]0;title\\u{7}b"),
            ("over\rwritten\n", "over\\rwritten\\n"),
            ("\u{9b}31m\0\u{7f}", "\\u{9b}31m\\u{0}\\u{7f}"),
            ("abc\u{202e}gpj.exe", "abc\\u{202e}gpj.exe"),
            ("\u{2066}x\u{2069}\u{200b}", "\\u{2066}x\\u{2069}\\u{200b}"),
            ("tag\u{e0041}", "tag\\u{e0041}"),
            ("a\tb", "a\\tb"),
        ] {
            assert_eq!(escape(raw), shown);
        }
        assert_eq!(text(b"caf\xc3\xa9 \xff\x9b\xc3"), "café \\xff\\x9b\\xc3");
        assert_eq!(escape_lines("a\tb\nc\rd"), "a\tb\nc\\rd");
    }

    #[test]
    fn json_keeps_its_values_and_has_no_hidden_characters() {
        let value = "a\u{9b}b\u{202e}c\u{e0041}d\u{7f}\u{1b}\n";
        let json = serde_json::to_string(value).unwrap();
        let escaped = escape_json(&json);
        assert!(!escaped.chars().any(is_hidden), "{escaped}");
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), value);
    }

    #[test]
    fn colours_are_kept_or_removed_and_all_else_is_escaped() {
        let text = "\u{1b}[1;31mred\u{1b}[0m \u{1b}[2Jgone \u{1b}[38;5;8mgrey\u{1b}[38;2;8;8;8mrgb";
        assert_eq!(
            colours(text, Colours::Keep),
            "\u{1b}[1;31mred\u{1b}[0m \\u{1b}[2Jgone \u{1b}[38;5;8mgrey\u{1b}[38;2;8;8;8mrgb\u{1b}[0m"
        );
        assert_eq!(colours(text, Colours::Drop), "red \\u{1b}[2Jgone greyrgb");
        // Concealed text is shown.
        for text in ["a\u{1b}[8mb", "a\u{1b}[0;08mb", "a\u{1b}[38;5;1;8mb"] {
            assert_eq!(colours(text, Colours::Keep), "ab");
        }
        assert_eq!(colours("cut \u{1b}[3", Colours::Keep), "cut \\u{1b}[3");
    }
}
