//! Parses a YAML document into a tree.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::Arc,
};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::{
    mapping::Mapping,
    node::{Node, Value},
    scalar::{CORE_TAG, Scalar, Style},
    source::{BYTE_ORDER_MARK, Source},
    syntax::{self, Explanation},
};
use crate::problem::{Problem, quote};

/// The maximum depth of a document. Functions that walk the tree recurse and rely on this limit.
const MAX_DEPTH: usize = 128;

/// The maximum number of values that the anchors and aliases of a document copy. Aliases of aliases
/// grow exponentially: a file of one kilobyte could use all memory.
const MAX_COPIED_NODES: usize = 100_000;

/// The maximum number of bytes of text that the anchors and aliases of a document copy.
const MAX_COPIED_BYTES: usize = 8 << 20;

/// Parses the document of a file.
///
/// Resolves anchors, aliases and merge keys (`<<`); a copied value keeps the place of the original.
/// An empty file is a null. A byte order mark is skipped.
///
/// # Errors
///
/// Returns the first problem with the file: invalid YAML, a second document, a duplicate key, a key
/// that is not a single value, a tag on a list or mapping, more than 128 levels, or aliases that
/// copy too much.
pub fn parse(source: Arc<Source>) -> Result<Node, Problem> {
    let body = source
        .text
        .strip_prefix(BYTE_ORDER_MARK)
        .unwrap_or(&source.text);
    let mut builder = Builder::new(&source, source.text.len() - body.len());
    for event in Parser::new_from_str(body) {
        let (event, span) = event.map_err(|error| builder.not_yaml(&error))?;
        builder.event(event, span)?;
    }
    Ok(builder.root.unwrap_or_else(|| Node {
        value: Value::Scalar(Scalar {
            text: String::new(),
            style: Style::Plain,
            tag: None,
        }),
        source: Arc::clone(&source),
        span: 0..0,
    }))
}

/// Builds the tree from the parser's events, without recursion.
struct Builder<'source> {
    source: &'source Arc<Source>,
    offsets: Offsets,
    /// The open lists and mappings, the outermost first.
    frames: Vec<Frame>,
    anchors: HashMap<usize, Anchored>,
    /// The total size of all copies.
    copied: Size,
    documents: usize,
    root: Option<Node>,
}

/// A list or mapping whose end has not been parsed.
struct Frame {
    start: usize,
    /// The end of its last value.
    end: usize,
    /// The number that the parser gives to its anchor; 0 without an anchor.
    anchor: usize,
    content: Content,
}

enum Content {
    Sequence(Vec<Node>),
    Mapping(OpenMapping),
}

#[derive(Default)]
struct OpenMapping {
    pairs: Vec<(Node, Node)>,
    /// The texts of the keys so far, for finding duplicates.
    keys: HashSet<String>,
    /// The key that waits for its value.
    key: Option<Node>,
    merge: Option<Merge>,
}

/// The mappings that `<<` merges.
struct Merge {
    /// The index of the pair that follows `<<`.
    index: usize,
    mappings: Vec<Mapping>,
}

struct Anchored {
    node: Node,
    size: Size,
}

/// The size of a value with all values in it.
#[derive(Default, Clone, Copy)]
struct Size {
    nodes: usize,
    bytes: usize,
    levels: usize,
}

impl<'source> Builder<'source> {
    fn new(source: &'source Arc<Source>, base: usize) -> Builder<'source> {
        Builder {
            source,
            offsets: Offsets::new(&source.text, base),
            frames: Vec::new(),
            anchors: HashMap::new(),
            copied: Size::default(),
            documents: 0,
            root: None,
        }
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let span = self.bytes(span);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(self
                        .problem(span, "a second document begins here")
                        .with_help("a file holds one document: remove this `---`"));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.map(|tag| format!("{}{}", tag.handle, tag.suffix));
                let node = self.scalar(text.into_owned(), style, tag, span);
                let span = node.span.clone();
                self.store_anchor(anchor, &node)?;
                self.attach(node, span)
            }
            Event::Alias(anchor) => {
                let node = self.alias(anchor, &span)?;
                self.attach(node, span)
            }
            Event::SequenceStart(anchor, tag) => {
                self.check_collection_tag(tag.as_deref(), "seq", &span)?;
                self.open(span, anchor, Content::Sequence(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.check_collection_tag(tag.as_deref(), "map", &span)?;
                self.open(span, anchor, Content::Mapping(OpenMapping::default()))
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
        }
    }

    fn scalar(
        &self,
        text: String,
        style: ScalarStyle,
        tag: Option<String>,
        span: Range<usize>,
    ) -> Node {
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted => Style::SingleQuoted,
            ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
            ScalarStyle::Literal => Style::Literal,
            ScalarStyle::Folded => Style::Folded,
        };
        // The parser's span of a block includes the blank lines after the block.
        let written = self.source.text[span.clone()].trim_end().len();
        Node {
            value: Value::Scalar(Scalar { text, style, tag }),
            source: Arc::clone(self.source),
            span: span.start..span.start + written,
        }
    }

    fn alias(&mut self, anchor: usize, span: &Range<usize>) -> Result<Node, Problem> {
        // The parser refuses unknown names. An anchor that is not in `anchors` belongs to an open
        // list or mapping, which contains this alias.
        let Some(Anchored { node, size }) = self.anchors.get(&anchor) else {
            return Err(self.problem(
                span.clone(),
                "the alias refers to the value that contains it",
            ));
        };
        let (node, size) = (node.clone(), *size);
        self.count_copy(size, span)?;
        if self.frames.len() + size.levels > MAX_DEPTH {
            return Err(self.too_deep(span.clone()));
        }
        Ok(node)
    }

    /// Stores the value of an anchor for its aliases.
    fn store_anchor(&mut self, anchor: usize, node: &Node) -> Result<(), Problem> {
        if anchor == 0 {
            return Ok(());
        }
        let size = Size::of(node);
        self.count_copy(size, &node.span)?;
        let node = node.clone();
        self.anchors.insert(anchor, Anchored { node, size });
        Ok(())
    }

    /// Counts the size of a copy, and refuses a total above the limits.
    fn count_copy(&mut self, size: Size, span: &Range<usize>) -> Result<(), Problem> {
        self.copied.nodes += size.nodes;
        self.copied.bytes += size.bytes;
        if self.copied.nodes > MAX_COPIED_NODES || self.copied.bytes > MAX_COPIED_BYTES {
            return Err(self.problem(
                span.clone(),
                "the aliases up to here expand to more than a configuration may contain",
            ));
        }
        Ok(())
    }

    fn open(&mut self, span: Range<usize>, anchor: usize, content: Content) -> Result<(), Problem> {
        if self.frames.len() >= MAX_DEPTH {
            return Err(self.too_deep(span));
        }
        self.frames.push(Frame {
            start: span.start,
            end: span.end,
            anchor,
            content,
        });
        Ok(())
    }

    /// Closes the innermost list or mapping.
    fn close(&mut self, span: Range<usize>) -> Result<(), Problem> {
        let Some(frame) = self.frames.pop() else {
            return Err(self.problem(span, "not valid YAML: a collection ends that never began"));
        };
        // In brackets, the span of this event is the closing bracket. Without brackets it is empty,
        // and the last value is the end.
        let end = if span.is_empty() { frame.end } else { span.end };
        let value = match frame.content {
            Content::Sequence(items) => Value::Sequence(items),
            Content::Mapping(mapping) => Value::Mapping(mapping.close()),
        };
        let span = frame.start..end.max(frame.start);
        let node = Node {
            value,
            source: Arc::clone(self.source),
            span: span.clone(),
        };
        self.store_anchor(frame.anchor, &node)?;
        self.attach(node, span)
    }

    /// Adds a parsed value to the innermost list or mapping; without one, the value is the root.
    /// `span` is the place of the use: for an alias, the alias itself.
    fn attach(&mut self, node: Node, span: Range<usize>) -> Result<(), Problem> {
        let Some(frame) = self.frames.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        frame.end = frame.end.max(span.end);
        let refused = match &mut frame.content {
            Content::Sequence(items) => {
                items.push(node);
                Ok(())
            }
            Content::Mapping(mapping) if mapping.key.is_none() => mapping.add_key(node),
            Content::Mapping(mapping) => mapping.add_value(node),
        };
        refused.map_err(|refusal| Problem {
            help: refusal.help,
            ..self.problem(span, refusal.rule)
        })
    }

    /// Refuses a tag on a list or mapping, because the tree cannot store it. `!!seq` on a list and
    /// `!!map` on a mapping are redundant and allowed.
    fn check_collection_tag(
        &self,
        tag: Option<&saphyr_parser::Tag>,
        expected: &str,
        span: &Range<usize>,
    ) -> Result<(), Problem> {
        match tag {
            Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == expected) => {
                let rule = "a tag on a list or a mapping is not supported".to_owned();
                Err(self.problem(span.clone(), rule))
            }
            _ => Ok(()),
        }
    }

    fn too_deep(&self, span: Range<usize>) -> Problem {
        let rule = format!("more than {MAX_DEPTH} levels of lists and mappings");
        self.problem(span, rule)
    }

    fn not_yaml(&self, error: &ScanError) -> Problem {
        let at = self.offsets.byte(error.marker().index());
        let Explanation { span, rule, help } = syntax::explain(&self.source.text, at, error.info());
        self.problem(span, rule).with_help(help)
    }

    fn problem(&self, span: Range<usize>, rule: impl Into<String>) -> Problem {
        Problem {
            source: Arc::clone(self.source),
            span,
            rule: rule.into(),
            help: None,
            is_warning: false,
        }
    }

    fn bytes(&self, span: Span) -> Range<usize> {
        let start = self.offsets.byte(span.start.index());
        start..self.offsets.byte(span.end.index()).max(start)
    }
}

/// The reason why a mapping refuses a key or a value.
struct Refusal {
    rule: String,
    help: Option<String>,
}

impl Refusal {
    fn new(rule: impl Into<String>) -> Refusal {
        Refusal {
            rule: rule.into(),
            help: None,
        }
    }
}

impl OpenMapping {
    fn add_key(&mut self, node: Node) -> Result<(), Refusal> {
        let Some(scalar) = node.as_scalar() else {
            let kind = node.kind();
            return Err(Refusal::new(format!(
                "a key must be a single value, but this is {kind}"
            )));
        };
        if scalar.text.is_empty() && scalar.style == Style::Plain {
            return Err(Refusal::new("there is no key before this `:`"));
        }
        if !self.keys.insert(scalar.text.clone()) {
            let rule = format!("duplicate key {}", quote(&scalar.text));
            let first = self
                .pairs
                .iter()
                .find(|(key, _)| key.key_text() == scalar.text);
            return Err(Refusal {
                rule,
                help: first
                    .map(|(key, _)| format!("keep one; the first is in line {}", key.line())),
            });
        }
        self.key = Some(node);
        Ok(())
    }

    fn add_value(&mut self, node: Node) -> Result<(), Refusal> {
        match self.key.take() {
            Some(key) if !is_merge_key(&key) => self.pairs.push((key, node)),
            _ => {
                let mappings = mappings_to_merge(node)
                    .ok_or_else(|| Refusal::new("`<<` requires a mapping or a list of mappings"))?;
                self.merge = Some(Merge {
                    index: self.pairs.len(),
                    mappings,
                });
            }
        }
        Ok(())
    }

    /// Inserts the pairs that `<<` merges. The mapping's own keys win; among the merged mappings,
    /// the earlier ones win.
    fn close(mut self) -> Mapping {
        let Some(Merge { index, mappings }) = self.merge else {
            return Mapping::of_distinct(self.pairs);
        };
        // The merge key is not in the result. A merged mapping may have a quoted `<<`, which is an
        // ordinary key.
        self.keys.remove("<<");
        let after = self.pairs.split_off(index);
        for (key, value) in mappings.into_iter().flatten() {
            if self.keys.insert(key.key_text().to_owned()) {
                self.pairs.push((key, value));
            }
        }
        self.pairs.extend(after);
        Mapping::of_distinct(self.pairs)
    }
}

impl Size {
    fn of(node: &Node) -> Size {
        let children: Vec<&Node> = match &node.value {
            Value::Scalar(scalar) => {
                return Size {
                    nodes: 1,
                    bytes: scalar.text.len(),
                    levels: 0,
                };
            }
            Value::Sequence(items) => items.iter().collect(),
            Value::Mapping(mapping) => mapping
                .iter()
                .flat_map(|(key, value)| [key, value])
                .collect(),
        };
        let mut size = Size {
            nodes: 1,
            bytes: 0,
            levels: 0,
        };
        for child in children.into_iter().map(Size::of) {
            size.nodes += child.nodes;
            size.bytes += child.bytes;
            size.levels = size.levels.max(child.levels);
        }
        size.levels += 1;
        size
    }
}

/// Converts the parser's offsets, in characters, to offsets in bytes.
struct Offsets {
    /// The length of the byte order mark, which the parser does not see.
    base: usize,
    /// The offset of each character; nothing for an ASCII text, where both offsets are equal.
    bytes: Option<Vec<usize>>,
    length: usize,
}

impl Offsets {
    fn new(text: &str, base: usize) -> Offsets {
        let body = &text[base..];
        let bytes = (!body.is_ascii()).then(|| body.char_indices().map(|(at, _)| at).collect());
        Offsets {
            base,
            bytes,
            length: body.len(),
        }
    }

    fn byte(&self, character: usize) -> usize {
        let at = match &self.bytes {
            Some(bytes) => bytes.get(character).copied().unwrap_or(self.length),
            None => character.min(self.length),
        };
        self.base + at
    }
}

fn is_merge_key(key: &Node) -> bool {
    key.as_scalar().is_some_and(|scalar| {
        scalar.text == "<<"
            && match scalar.tag.as_deref() {
                None => scalar.style == Style::Plain,
                Some(tag) => tag
                    .strip_prefix(CORE_TAG)
                    .is_some_and(|name| name == "merge"),
            }
    })
}

fn mappings_to_merge(node: Node) -> Option<Vec<Mapping>> {
    match node.value {
        Value::Scalar(_) => None,
        Value::Mapping(mapping) => Some(vec![mapping]),
        Value::Sequence(items) => items
            .into_iter()
            .map(|item| match item.value {
                Value::Mapping(mapping) => Some(mapping),
                _ => None,
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests;
