//! Single values: text, style and tag, and the types that YAML readers give to them.

/// The prefix of the tags that YAML defines, such as `!!str`.
pub(super) const CORE_TAG: &str = "tag:yaml.org,2002:";

/// A single value, as it is in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// The text. Quotes, escapes, indentation and folded line breaks are resolved; the type is not.
    pub text: String,
    /// The notation of the text.
    pub style: Style,
    /// The full tag, if the file has one: `tag:yaml.org,2002:str` for `!!str`, `!local` for
    /// `!local`.
    pub tag: Option<String>,
}

/// The notation of a scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Without quotes. Only such a scalar can be a boolean, a number or null.
    Plain,
    /// `'...'`
    SingleQuoted,
    /// `"..."`
    DoubleQuoted,
    /// A `|` block.
    Literal,
    /// A `>` block.
    Folded,
}

impl Scalar {
    /// Returns whether this is YAML's null: an empty text, `~` or `null`, without quotes.
    pub fn is_null(&self) -> bool {
        match self.tag.as_deref() {
            None => {
                self.style == Style::Plain
                    && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            Some(tag) => tag
                .strip_prefix(CORE_TAG)
                .is_some_and(|name| name == "null"),
        }
    }
}

/// Returns whether a text can be a plain scalar on one line in block style. Readers may still give
/// the scalar a different type than string; see [`is_plain_string`].
pub(super) fn can_be_plain(text: &str) -> bool {
    let mut characters = text.chars();
    let Some(first) = characters.next() else {
        return true;
    };
    let second = characters.next();
    let starts_well = match first {
        '-' | '?' | ':' => second.is_some_and(|second| second != ' '),
        _ => !",[]{}#&*!|>'\"%@` ".contains(first),
    };
    // Plain scalars may contain tabs, but readers disagree about tabs next to indicators.
    let has_plain_characters = text.chars().all(|c| is_printable(c) && c != '\t');
    let is_document_marker = ["---", "..."].into_iter().any(|marker| {
        text.strip_prefix(marker)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    });
    starts_well
        && has_plain_characters
        && !is_document_marker
        && !text.ends_with(' ')
        && !text.ends_with(':')
        && !text.contains(": ")
        && !text.contains(" #")
}

/// Returns whether all readers of YAML 1.1 and 1.2 read a plain scalar of this text as a string.
///
/// Returns false in doubt: for an IPv4 address too, because it begins like a number.
pub(super) fn is_plain_string(text: &str) -> bool {
    !text.is_empty() && can_be_plain(text) && !is_special_word(text) && !resembles_number(text)
}

/// Returns whether a character can be written unescaped in all versions of YAML, and is not a line
/// break in any of them.
pub(super) fn is_printable(character: char) -> bool {
    match character {
        '\t' | ' '..='~' => true,
        // These include the byte order mark, and U+2028 and U+2029, which are line breaks only in
        // YAML 1.1.
        _ if redaction::is_hidden(character) => false,
        '\u{a0}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}' => true,
        _ => false,
    }
}

/// Returns whether a version of YAML gives this word a special meaning. Case is ignored.
fn is_special_word(text: &str) -> bool {
    const WORDS: [&str; 12] = [
        "y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", "=", "<<",
    ];
    WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Returns whether a text resembles a number, a date or a time in a version of YAML.
fn resembles_number(text: &str) -> bool {
    let unsigned = text.trim_start_matches(['+', '-']);
    let begins_like_number = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let name = unsigned.trim_start_matches('.');
    let is_named = ["inf", "nan"]
        .iter()
        .any(|named| name.eq_ignore_ascii_case(named));
    // Hexadecimal digits, the prefixes 0x and 0o, and the characters of a timestamp.
    let has_number_characters = unsigned
        .chars()
        .all(|c| c.is_ascii_hexdigit() || "xXoO_+-.:tTzZ ".contains(c));
    begins_like_number && (has_number_characters || is_named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unquoted_nulls_are_null() {
        let scalar = |text: &str, style, tag: Option<&str>| Scalar {
            text: text.to_owned(),
            style,
            tag: tag.map(str::to_owned),
        };
        for text in ["", "~", "null", "Null", "NULL"] {
            assert!(scalar(text, Style::Plain, None).is_null(), "{text:?}");
            assert!(
                !scalar(text, Style::DoubleQuoted, None).is_null(),
                "{text:?}"
            );
        }
        assert!(!scalar("nULL", Style::Plain, None).is_null());
        assert!(!scalar("none", Style::Plain, None).is_null());
        assert!(!scalar("", Style::Plain, Some("tag:yaml.org,2002:str")).is_null());
        assert!(scalar("", Style::Plain, Some("tag:yaml.org,2002:null")).is_null());
    }

    #[test]
    fn strings_that_a_reader_gives_a_different_type_are_not_plain() {
        let quoted = [
            "",
            "yes",
            "No",
            "ON",
            "off",
            "y",
            "N",
            "true",
            "False",
            "null",
            "~",
            "=",
            "<<",
            "0",
            "12",
            "-1",
            "+1",
            "1.10",
            ".5",
            "1e3",
            "1_000",
            "0755",
            "0o17",
            "0x1F",
            "0b10",
            "12:30",
            "12:30:45",
            "190:20:30",
            "2026-01-01",
            "2026-01-01T10:00:00Z",
            "2001-12-14 21:59:43",
            ".inf",
            "-.INF",
            ".nan",
            "+.inf",
            "10.0.0.1",
            " a",
            "a ",
            "a\t",
            "\ta",
            "-",
            "- a",
            "?",
            "? a",
            ":",
            ": a",
            "a:",
            "a: b",
            "a #b",
            "#a",
            "&a",
            "*a",
            "!a",
            "|",
            ">",
            "'a'",
            "\"a\"",
            "%a",
            "@a",
            "`a`",
            "[a",
            "]",
            "{a",
            "}",
            ",a",
            "---",
            "--- a",
            "...",
            "a\nb",
            "a\n",
            "a\r",
            "\u{85}",
            "\u{2028}",
            "\u{feff}",
            "\u{7}",
        ];
        for text in quoted {
            assert!(!is_plain_string(text), "{text:?}");
        }
        let plain = [
            "a",
            "v4.1.5",
            "mke",
            "registry.example.com:5000/mke",
            "oci://registry/mke",
            "a b",
            "-a",
            "?a",
            ":a",
            "a#b",
            "a:b",
            "a,b",
            "a]",
            "yesterday",
            "nothing",
            "~/.ssh/key",
            "infinity",
            "Größe",
            "设置",
            "😀",
            "10.96.0.0/16",
            "8GB",
            "1m0s",
            "a'b",
            "a\"b",
            "---a",
        ];
        for text in plain {
            assert!(is_plain_string(text), "{text:?}");
        }
    }
}
