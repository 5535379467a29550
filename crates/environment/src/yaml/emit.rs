//! Writes a document tree as block-style YAML without changing a value.

use std::fmt::Write as _;

use super::{
    mapping::Mapping,
    node::{Node, Value},
    scalar::{CORE_TAG, Scalar, Style, can_be_plain, is_printable},
};

/// How far each level is indented.
const INDENT: usize = 2;

/// The longest key in bytes that is written in front of its `:`. Readers need not look further
/// ahead than 1024 characters; a longer key is written after `? `.
const LONGEST_SIMPLE_KEY: usize = 1000;

/// Writes a document in block style.
///
/// The result is stable, ends in a line break, and holds the same values as the tree: plain scalars
/// stay plain with the same text, quoted ones stay quoted, literal blocks stay blocks. A scalar
/// whose style cannot hold its text on one line (a plain one of several lines, a folded one) gets
/// another style, never another value.
pub fn emit(node: &Node) -> String {
    Emitter::new(false).document(node)
}

/// Writes a document like [`emit`], with a comment at each single value and each empty collection
/// that says which file and line it comes from: `# environments/base.yaml:3`. Values that were made
/// in code get none.
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
            Value::Scalar(scalar) => {
                // At the root a block's indentation indicator means different things to different
                // readers.
                let rendered = render(scalar, false);
                self.leaf(node, rendered);
            }
            _ => self.empty_collection(node),
        }
        // The first value of the document follows nothing that it would have to be kept apart from.
        match self.out.strip_prefix(' ') {
            Some(rest) => rest.to_owned(),
            None => self.out,
        }
    }

    /// Writes pairs, each on a line of its own at `indent`. With `inline` the first goes on the
    /// line that is open.
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

    /// Writes list items, each after a dash at `indent`. With `inline` the first goes on the line
    /// that is open.
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

    fn begin_line(&mut self, indent: usize, inline: bool) {
        if !inline {
            self.pad(indent);
        }
    }

    fn scalar_or_empty(&mut self, node: &Node, indent: usize) {
        let Value::Scalar(scalar) = &node.value else {
            self.empty_collection(node);
            return;
        };
        let rendered = render(scalar, true);
        let is_block = rendered.is_block;
        self.leaf(node, rendered);
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

    fn empty_collection(&mut self, node: &Node) {
        let text = match node.value {
            Value::Sequence(_) => "[]",
            _ => "{}",
        };
        self.leaf(
            node,
            Rendered {
                head: text.to_owned(),
                is_block: false,
            },
        );
    }

    /// Ends the open line with a value, or with the head of a block, and with its origin.
    fn leaf(&mut self, node: &Node, rendered: Rendered) {
        if !rendered.head.is_empty() {
            self.out.push(' ');
            self.out.push_str(&rendered.head);
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

/// What goes on the line of a scalar: all of it, or the head of its block.
struct Rendered {
    head: String,
    is_block: bool,
}

fn render(scalar: &Scalar, may_be_block: bool) -> Rendered {
    let mut head = render_tag(scalar);
    let block_head = match scalar.style {
        Style::Literal | Style::Folded if may_be_block => literal_head(&scalar.text),
        _ => None,
    };
    let is_block = block_head.is_some();
    let text = block_head.unwrap_or_else(|| render_on_one_line(scalar));
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
        // A key without text would leave a lone `:`.
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

/// Returns the head of the `|` block that holds this text, or nothing if none can.
fn literal_head(text: &str) -> Option<String> {
    let content = text.trim_end_matches('\n');
    let fits = text.chars().all(|c| is_printable(c) || c == '\n');
    // Where blank lines end and the line breaks that chomping is about begin, readers disagree.
    let ends_in_blanks = content
        .rsplit('\n')
        .next()
        .is_none_or(|line| line.trim_matches([' ', '\t']).is_empty());
    if !fits || ends_in_blanks {
        return None;
    }
    // Without the indicator the spaces at the start of the first line would count as indentation.
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
