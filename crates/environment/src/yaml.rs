//! A tree of a YAML document that keeps the place and the notation of each value.
//!
//! Parsing into typed values and writing them again would change a file: `1.10` becomes `1.1`,
//! `0755` becomes a different number, and YAML versions disagree whether `on` is a boolean. Here a
//! scalar is its text in the file, together with its style. [`parse()`] builds the tree and
//! [`emit()`] writes it in block style with the same values. [`Node::string`] quotes a text that a
//! reader of YAML 1.1 or 1.2 would not read as that string.
//!
//! [`parse()`] resolves anchors, aliases and merge keys. It drops comments.

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
pub(crate) use source::{BYTE_ORDER_MARK, without_byte_order_mark};
pub use source::{Position, Source};
