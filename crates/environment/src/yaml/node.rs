//! A value of a document, with its place in the file.

use std::{ops::Range, sync::Arc};

use super::{
    mapping::Mapping,
    scalar::{Scalar, Style, is_plain_string},
    source::{Position, Source},
};

/// A value, with its place in the file.
#[derive(Debug, Clone)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// The file that contains the value.
    pub source: Arc<Source>,
    /// The place in the file's text, in bytes. Empty for a value that was made in code, and for an
    /// implied value, such as the null in `key:`.
    pub span: Range<usize>,
}

/// The value of a [`Node`].
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
    /// Returns a string: plain if all readers read the text as a string, otherwise in double
    /// quotes.
    pub fn string(text: impl Into<String>) -> Node {
        let text = text.into();
        let style = if is_plain_string(&text) {
            Style::Plain
        } else {
            Style::DoubleQuoted
        };
        Node::scalar(text, style)
    }

    /// Returns `true` or `false`.
    pub fn boolean(value: bool) -> Node {
        Node::scalar(value.to_string(), Style::Plain)
    }

    /// Returns an integer.
    pub fn integer(value: i64) -> Node {
        Node::scalar(value.to_string(), Style::Plain)
    }

    /// Returns a string of several lines, such as a PEM certificate. It is written as a `|` block,
    /// or in double quotes if a block cannot represent the text.
    pub fn literal(text: impl Into<String>) -> Node {
        Node::scalar(text.into(), Style::Literal)
    }

    /// Returns a list.
    pub fn sequence(items: impl IntoIterator<Item = Node>) -> Node {
        Node::built(Value::Sequence(items.into_iter().collect()))
    }

    /// Returns a mapping. The last value of a duplicate key wins.
    pub fn mapping<Key: Into<String>>(pairs: impl IntoIterator<Item = (Key, Node)>) -> Node {
        let mut mapping = Mapping::new();
        for (key, value) in pairs {
            mapping.insert(Node::string(key), value);
        }
        Node::built(Value::Mapping(mapping))
    }

    /// Returns the line and column where the value begins.
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

    /// Returns the scalar, if this is a single value.
    pub fn as_scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// Returns the items, if this is a list.
    pub fn as_sequence(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// Returns the pairs, if this is a mapping.
    pub fn as_mapping(&self) -> Option<&Mapping> {
        match &self.value {
            Value::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }

    /// Returns the pairs, mutably, if this is a mapping.
    pub fn as_mapping_mut(&mut self) -> Option<&mut Mapping> {
        match &mut self.value {
            Value::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }

    /// Returns the text of a single value, without interpreting its type: `4.10` is `"4.10"`.
    pub fn text(&self) -> Option<&str> {
        self.as_scalar().map(|scalar| scalar.text.as_str())
    }

    /// Returns the value of a key, if this is a mapping with the key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_mapping()?.get(key)
    }

    /// Returns whether the value is null.
    pub fn is_null(&self) -> bool {
        self.as_scalar().is_some_and(Scalar::is_null)
    }

    /// Returns the kind of the value, for messages: `a list`, `a mapping`, `a single value` or
    /// `null`.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar(scalar) if scalar.is_null() => "null",
            Value::Scalar(_) => "a single value",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }

    /// Returns the text of a key. The text is empty if the key is not a scalar; neither `parse` nor
    /// [`Node::mapping`] makes such keys.
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
    /// Returns an empty mapping.
    fn default() -> Node {
        Node::built(Value::Mapping(Mapping::new()))
    }
}
