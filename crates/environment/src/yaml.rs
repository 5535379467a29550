//! A YAML document tree that remembers where each value was written, and how.
//!
//! Reading into typed values and writing them again would change what people wrote: `1.10` becomes
//! `1.1`, `0755` another number, `on` a boolean for one reader and a string for the next. Here a
//! scalar is the text that is in the file together with its style. [`parse()`] builds the tree,
//! [`emit()`] writes it in block style, and code that reads the result sees the same values as in
//! the original. Values made in code by [`Node::string`] and its siblings are quoted wherever a
//! reader of YAML 1.1 or 1.2 would take them for anything but that string.
//!
//! Anchors, aliases and merge keys are resolved while reading. Comments are not kept.

mod emit;
mod mapping;
mod node;
mod parse;
mod scalar;
mod source;
mod syntax;

pub use emit::{emit, emit_with_origins};
pub use mapping::Mapping;
pub use node::{Node, Value};
pub use parse::parse;
pub use scalar::{Scalar, Style};
pub(crate) use source::BYTE_ORDER_MARK;
pub use source::{Position, Source};
