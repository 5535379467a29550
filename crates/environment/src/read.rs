//! Reads the values of a merged document into structs, whose fields have the names of the keys.
//!
//! Every file has been checked before against the table of keys. A value that is wrong there has
//! been noted; it reads as nothing.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use semver::Version;

use crate::{
    findings::Findings,
    keys::Key,
    paths,
    span::span,
    yaml::{Mapping, Node},
};

/// What values are read with.
pub(crate) struct Reader<'a> {
    /// The workspace root.
    pub(crate) root: &'a Utf8Path,
    /// The environment's name.
    pub(crate) name: &'a str,
    /// The whole document.
    pub(crate) merged: &'a Node,
    /// Where a rule that concerns several keys notes what is wrong.
    pub(crate) findings: &'a mut Findings,
}

impl Reader<'_> {
    /// Returns the path that a value means, read from the folder of the file that it is in.
    pub(crate) fn path(&self, node: &Node) -> Option<Utf8PathBuf> {
        let written = Utf8Path::new(node.text()?);
        let directory = paths::directory(&node.source);
        Some(match paths::relative_to(directory, written) {
            Some(path) => self.root.join(path),
            // It leads above the workspace, where only the operating system knows what `..` is.
            None => self.root.join(directory).join(written),
        })
    }
}

/// What the value of a key is read as.
pub(crate) trait Read: Sized {
    /// Reads the value of a key, or its default if it is not written; none if that is impossible.
    fn read(key: &Key, node: Option<&Node>, reader: &mut Reader<'_>) -> Option<Self>;
}

/// Makes a struct each of whose fields is read from the key of its name, with hyphens for
/// underscores. A field whose name is not a key reads the same mapping as its struct. The fields
/// after `others` are not of the document, and begin empty.
macro_rules! keyed {
    (
        $(#[$about:meta])*
        pub struct $name:ident {
            $($(#[$doc:meta])* pub $field:ident: $type:ty,)*
        }
        $(others { $($(#[$other_doc:meta])* pub $other:ident: $other_type:ty,)* })?
    ) => {
        $(#[$about])*
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)*
            $($($(#[$other_doc])* pub $other: $other_type,)*)?
        }

        #[cfg(test)]
        impl $name {
            /// The names of the fields that are read.
            pub(crate) const FIELDS: &[&str] = &[$(stringify!($field)),*];
        }

        impl $crate::read::Read for $name {
            fn read(
                key: &$crate::keys::Key,
                node: Option<&$crate::yaml::Node>,
                reader: &mut $crate::read::Reader<'_>,
            ) -> Option<$name> {
                $(let $field = $crate::read::field(stringify!($field), key, node, reader);)*
                // All have been read before the first that is missing ends it.
                Some($name { $($field: $field?,)* $($($other: Default::default(),)*)? })
            }
        }
    };
}
pub(crate) use keyed;

/// Reads a field of a struct.
pub(crate) fn field<T: Read>(
    name: &str,
    key: &Key,
    node: Option<&Node>,
    reader: &mut Reader<'_>,
) -> Option<T> {
    let name = name.replace('_', "-");
    match key.field(&name) {
        Some(key) => T::read(key, node.and_then(|node| node.get(&name)), reader),
        None => T::read(key, node, reader),
    }
}

impl<T: Read> Read for Option<T> {
    fn read(key: &Key, node: Option<&Node>, reader: &mut Reader<'_>) -> Option<Option<T>> {
        // A mapping from which everything was removed says nothing.
        match node.filter(|node| !node.as_mapping().is_some_and(Mapping::is_empty)) {
            Some(node) => T::read(key, Some(node), reader).map(Some),
            None => Some(None),
        }
    }
}

impl Read for bool {
    /// Reads `true`, or the first of the words that the key has.
    fn read(key: &Key, node: Option<&Node>, _: &mut Reader<'_>) -> Option<bool> {
        let text = node.and_then(Node::text).unwrap_or_default();
        let words = key.rule.iter().flat_map(|rule| rule.values.first());
        Some(text.eq_ignore_ascii_case("true") || words.into_iter().any(|word| word == text))
    }
}

impl Read for String {
    fn read(_: &Key, node: Option<&Node>, _: &mut Reader<'_>) -> Option<String> {
        Some(node.and_then(Node::text).unwrap_or_default().to_owned())
    }
}

impl Read for Utf8PathBuf {
    fn read(_: &Key, node: Option<&Node>, reader: &mut Reader<'_>) -> Option<Utf8PathBuf> {
        reader.path(node?)
    }
}

impl Read for Version {
    fn read(_: &Key, node: Option<&Node>, _: &mut Reader<'_>) -> Option<Version> {
        let text = node?.text()?;
        Version::parse(text.strip_prefix('v').unwrap_or(text)).ok()
    }
}

impl Read for Duration {
    fn read(_: &Key, node: Option<&Node>, _: &mut Reader<'_>) -> Option<Duration> {
        span(node?.text()?)
    }
}

impl Read for Vec<Node> {
    fn read(_: &Key, node: Option<&Node>, _: &mut Reader<'_>) -> Option<Vec<Node>> {
        Some(
            node.and_then(Node::as_sequence)
                .unwrap_or_default()
                .to_vec(),
        )
    }
}

impl Read for Vec<String> {
    fn read(_: &Key, node: Option<&Node>, _: &mut Reader<'_>) -> Option<Vec<String>> {
        let texts = node?.as_sequence()?.iter().map(Node::text);
        texts.map(|text| text.map(str::to_owned)).collect()
    }
}

impl Read for Node {
    fn read(_: &Key, node: Option<&Node>, _: &mut Reader<'_>) -> Option<Node> {
        Some(node.cloned().unwrap_or_default())
    }
}
