//! A value of a document with the place where it was written.

use std::{ops::Range, sync::Arc};

use super::{
    mapping::Mapping,
    scalar::{Scalar, Style, is_plain_string},
    source::{Position, Source},
};

/// A value and where it was written.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// The file that it was written in.
    pub source: Arc<Source>,
    /// Where in the file's text, in bytes. Empty for a value that was made in code, or that is only
    /// implied, such as the null in `key:`.
    pub span: Range<usize>,
}

/// What a [`Node`] is.
#[derive(Debug, Clone)]
pub enum Value {
    /// A single value.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values. The keys are scalars.
    Mapping(Mapping),
}

impl Node {
    /// Makes a string. It is written plain where every reader takes it for this string, otherwise
    /// in double quotes.
    pub fn string(text: impl Into<String>) -> Node {
        let text = text.into();
        let style = if is_plain_string(&text) {
            Style::Plain
        } else {
            Style::DoubleQuoted
        };
        Node::scalar(text, style)
    }

    /// Makes `true` or `false`.
    pub fn boolean(value: bool) -> Node {
        Node::scalar(value.to_string(), Style::Plain)
    }

    /// Makes a whole number.
    pub fn integer(value: i64) -> Node {
        Node::scalar(value.to_string(), Style::Plain)
    }

    /// Makes a string of many lines, such as a PEM certificate, which is written as a `|` block. A
    /// text that such a block cannot hold is written in double quotes.
    pub fn literal(text: impl Into<String>) -> Node {
        Node::scalar(text.into(), Style::Literal)
    }

    /// Makes a list.
    pub fn sequence(items: impl IntoIterator<Item = Node>) -> Node {
        Node::built(Value::Sequence(items.into_iter().collect()))
    }

    /// Makes a mapping. Of two pairs with one key the later one's value counts.
    pub fn mapping<Key: Into<String>>(pairs: impl IntoIterator<Item = (Key, Node)>) -> Node {
        let mut mapping = Mapping::new();
        for (key, value) in pairs {
            mapping.insert(Node::string(key), value);
        }
        Node::built(Value::Mapping(mapping))
    }

    /// Returns the place where the value begins.
    pub fn position(&self) -> Position {
        self.source.position(self.span.start)
    }

    /// Returns the line where the value begins, from 1.
    pub fn line(&self) -> usize {
        self.position().line
    }

    /// Returns the column in characters where the value begins, from 1.
    pub fn column(&self) -> usize {
        self.position().column
    }

    /// Returns the single value, if it is one.
    pub fn as_scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// Returns the items, if it is a list.
    pub fn as_sequence(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// Returns the pairs, if it is a mapping.
    pub fn as_mapping(&self) -> Option<&Mapping> {
        match &self.value {
            Value::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }

    /// Returns the pairs for changing them, if it is a mapping.
    pub fn as_mapping_mut(&mut self) -> Option<&mut Mapping> {
        match &mut self.value {
            Value::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }

    /// Returns the text of a single value as it was written, whatever its type: `4.10` is `"4.10"`.
    pub fn text(&self) -> Option<&str> {
        self.as_scalar().map(|scalar| scalar.text.as_str())
    }

    /// Returns the value of a key, if it is a mapping that has the key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_mapping()?.get(key)
    }

    /// Returns whether it is null.
    pub fn is_null(&self) -> bool {
        self.as_scalar().is_some_and(Scalar::is_null)
    }

    /// Returns what kind of value it is, for messages: `a list`, `a mapping`, `a single value` or
    /// `null`.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar(scalar) if scalar.is_null() => "null",
            Value::Scalar(_) => "a single value",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }

    /// Returns the text of a key. Reading and making both see to it that keys are scalars; a caller
    /// who puts something else in the place of a key has made one without text.
    pub(super) fn key_text(&self) -> &str {
        self.text().unwrap_or_default()
    }

    fn scalar(text: String, style: Style) -> Node {
        Node::built(Value::Scalar(Scalar {
            text,
            style,
            tag: None,
        }))
    }

    fn built(value: Value) -> Node {
        Node {
            value,
            source: Source::built(),
            span: 0..0,
        }
    }
}

impl Default for Node {
    /// Makes an empty mapping.
    fn default() -> Node {
        Node::built(Value::Mapping(Mapping::new()))
    }
}
