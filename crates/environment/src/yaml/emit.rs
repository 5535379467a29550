//! Writes a document tree as block-style YAML without changing a value.

use std::fmt::Write as _;

use super::{
    mapping::Mapping,
    node::{Node, Value},
    scalar::{CORE_TAG, Scalar, Style, can_be_plain, is_printable},
};

/// The number of spaces that indent each level.
const INDENT: usize = 2;

/// The maximum length in bytes of a key on the line of its `:`. YAML limits such keys to 1024
/// characters. A longer key is written after `? `.
const LONGEST_SIMPLE_KEY: usize = 1000;

/// Writes a document in block style.
///
/// The result ends in a line break and has the same values as the tree. Scalars keep their style
/// and text. If a style cannot represent the text, the scalar gets a different style: double quotes
/// for a plain scalar of several lines, a literal block for a folded block.
pub fn emit(node: &Node) -> String {
    Emitter::new(false).document(node)
}

/// Writes a document like [`emit`]. Each single value and each empty collection has a comment with
/// its file and line: `# environments/base.yaml:3`. Values that were made in code have no comment.
pub fn emit_with_origins(node: &Node) -> String {
    Emitter::new(true).document(node)
}

struct Emitter {
    out: String,
    with_origins: bool,
}

impl Emitter {
    fn new(with_origins: bool) -> Emitter {
        Emitter {
            out: String::new(),
            with_origins,
        }
    }

    fn document(mut self, node: &Node) -> String {
        match &node.value {
            Value::Mapping(mapping) if !mapping.is_empty() => self.pairs(mapping, 0, false),
            Value::Sequence(items) if !items.is_empty() => self.items(items, 0, false),
            // Readers interpret the indentation indicator of a block at the root differently.
            Value::Scalar(scalar) => self.end_line(node, &render(scalar, false).head),
            _ => self.scalar_or_empty(node, 0),
        }
        // `end_line` separates a value from a key or a dash by a space. The root has neither.
        match self.out.strip_prefix(' ') {
            Some(rest) => rest.to_owned(),
            None => self.out,
        }
    }

    /// Writes each pair on its own line, indented by `indent`. With `inline`, the first pair
    /// continues the current line.
    fn pairs(&mut self, mapping: &Mapping, indent: usize, inline: bool) {
        for (index, (key, value)) in mapping.iter().enumerate() {
            self.begin_line(indent, inline && index == 0);
            let key = key.as_scalar().map(render_key).unwrap_or_default();
            if key.len() > LONGEST_SIMPLE_KEY {
                self.out.push_str("? ");
                self.out.push_str(&key);
                self.out.push('\n');
                self.begin_line(indent, false);
            } else {
                self.out.push_str(&key);
            }
            self.out.push(':');
            match &value.value {
                Value::Mapping(mapping) if !mapping.is_empty() => {
                    self.out.push('\n');
                    self.pairs(mapping, indent + INDENT, false);
                }
                Value::Sequence(items) if !items.is_empty() => {
                    self.out.push('\n');
                    self.items(items, indent + INDENT, false);
                }
                _ => self.scalar_or_empty(value, indent),
            }
        }
    }

    /// Writes each item after a dash on its own line, indented by `indent`. With `inline`, the
    /// first item continues the current line.
    fn items(&mut self, items: &[Node], indent: usize, inline: bool) {
        for (index, item) in items.iter().enumerate() {
            self.begin_line(indent, inline && index == 0);
            self.out.push('-');
            match &item.value {
                Value::Mapping(mapping) if !mapping.is_empty() => {
                    self.out.push(' ');
                    self.pairs(mapping, indent + INDENT, true);
                }
                Value::Sequence(items) if !items.is_empty() => {
                    self.out.push(' ');
                    self.items(items, indent + INDENT, true);
                }
                _ => self.scalar_or_empty(item, indent),
            }
        }
    }

    /// Indents a new line. With `inline`, does nothing: the current line continues.
    fn begin_line(&mut self, indent: usize, inline: bool) {
        if !inline {
            self.pad(indent);
        }
    }

    fn scalar_or_empty(&mut self, node: &Node, indent: usize) {
        let scalar = match &node.value {
            Value::Scalar(scalar) => scalar,
            Value::Sequence(_) => return self.end_line(node, "[]"),
            Value::Mapping(_) => return self.end_line(node, "{}"),
        };
        let Rendered { head, is_block } = render(scalar, true);
        self.end_line(node, &head);
        if is_block {
            for line in scalar
                .text
                .strip_suffix('\n')
                .unwrap_or(&scalar.text)
                .split('\n')
            {
                if !line.is_empty() {
                    self.pad(indent + INDENT);
                    self.out.push_str(line);
                }
                self.out.push('\n');
            }
        }
    }

    /// Ends the current line with a value, or with the header of a block, and with the origin.
    fn end_line(&mut self, node: &Node, text: &str) {
        if !text.is_empty() {
            self.out.push(' ');
            self.out.push_str(text);
        }
        if self.with_origins && !node.source.is_built() {
            // Writing to a string cannot fail.
            let _ = write!(self.out, " # {}:{}", node.source.path, node.line());
        }
        self.out.push('\n');
    }

    fn pad(&mut self, width: usize) {
        self.out.extend(std::iter::repeat_n(' ', width));
    }
}

/// The text on the line of a scalar.
struct Rendered {
    /// The whole scalar, or the header of a block.
    head: String,
    is_block: bool,
}

/// Renders a scalar with its tag, as a block only if `may_be_block`.
fn render(scalar: &Scalar, may_be_block: bool) -> Rendered {
    let mut head = render_tag(scalar);
    let header = match scalar.style {
        Style::Literal | Style::Folded if may_be_block => literal_header(&scalar.text),
        _ => None,
    };
    let is_block = header.is_some();
    let text = header.unwrap_or_else(|| render_on_one_line(scalar));
    if !head.is_empty() && !text.is_empty() {
        head.push(' ');
    }
    head.push_str(&text);
    Rendered { head, is_block }
}

fn render_key(scalar: &Scalar) -> String {
    let mut key = render_tag(scalar);
    if !key.is_empty() {
        key.push(' ');
    }
    if scalar.text.is_empty() {
        // A plain empty key would be a missing key.
        key.push_str("\"\"");
    } else {
        key.push_str(&render_on_one_line(scalar));
    }
    key
}

fn render_on_one_line(scalar: &Scalar) -> String {
    let text = &scalar.text;
    match scalar.style {
        Style::Plain if can_be_plain(text) => text.clone(),
        Style::SingleQuoted if text.chars().all(is_printable) => {
            format!("'{}'", text.replace('\'', "''"))
        }
        _ => double_quoted(text),
    }
}

/// Returns the header of a `|` block for a text, or nothing if a block cannot represent the text.
fn literal_header(text: &str) -> Option<String> {
    let content = text.trim_end_matches('\n');
    let fits = text.chars().all(|c| is_printable(c) || c == '\n');
    // Readers disagree how the chomping indicator treats a last line of blanks.
    let ends_in_blanks = content
        .rsplit('\n')
        .next()
        .is_none_or(|line| line.trim_matches([' ', '\t']).is_empty());
    if !fits || ends_in_blanks {
        return None;
    }
    // Without the indentation indicator, readers would count leading spaces of the first line as
    // indentation.
    let first_line = content.trim_start_matches('\n');
    let indicator = if first_line.starts_with([' ', '\t']) {
        INDENT.to_string()
    } else {
        String::new()
    };
    let chomping = match text.len() - content.len() {
        0 => "-",
        1 => "",
        _ => "+",
    };
    Some(format!("|{indicator}{chomping}"))
}

fn double_quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            character if is_printable(character) => quoted.push(character),
            character => {
                let code = u32::from(character);
                // Writing to a string cannot fail.
                let _ = match code {
                    0..=0xff => write!(quoted, "\\x{code:02x}"),
                    0x100..=0xffff => write!(quoted, "\\u{code:04x}"),
                    _ => write!(quoted, "\\U{code:08x}"),
                };
            }
        }
    }
    quoted.push('"');
    quoted
}

fn render_tag(scalar: &Scalar) -> String {
    let Some(tag) = &scalar.tag else {
        return String::new();
    };
    let is_word = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    if tag == "!" {
        return tag.clone();
    }
    if let Some(name) = tag.strip_prefix(CORE_TAG)
        && is_word(name)
    {
        return format!("!!{name}");
    }
    if let Some(name) = tag.strip_prefix('!')
        && is_word(name)
    {
        return tag.clone();
    }
    let mut verbatim = String::from("!<");
    for byte in tag.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.:/,!;?@&=+$~*'()#".contains(&byte) {
            verbatim.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(verbatim, "%{byte:02X}");
        }
    }
    verbatim.push('>');
    verbatim
}

#[cfg(test)]
mod tests;
