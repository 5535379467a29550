//! Reads the values of a merged document into structs. A field has the name of its key.
//!
//! Every file has already been checked against the table of keys. A value with a known problem
//! reads as `None`, without a second problem.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use semver::Version;

use crate::{
    duration::parse_duration,
    findings::Findings,
    keys::Key,
    paths,
    yaml::{Mapping, Node},
};

/// The context for reading values.
pub(crate) struct Reader<'a> {
    /// The workspace root.
    pub(crate) root: &'a Utf8Path,
    /// The name of the environment.
    pub(crate) name: &'a str,
    /// The whole merged document.
    pub(crate) merged: &'a Node,
    /// Receives the problems that only a rule about several keys finds.
    pub(crate) findings: &'a mut Findings,
}

impl Reader<'_> {
    /// Resolves the path in a value, relative to the folder of the file that contains the value.
    pub(crate) fn path(&self, node: &Node) -> Option<Utf8PathBuf> {
        let written = Utf8Path::new(node.text()?);
        let directory = paths::directory(&node.source);
        Some(match paths::relative_to(directory, written) {
            Some(path) => self.root.join(path),
            // The path leads above the workspace root. The operating system resolves its `..`.
            None => self.root.join(directory).join(written),
        })
    }
}

/// A type that the value of a key can be read as.
pub(crate) trait Read: Sized {
    /// Reads the value of a key, or its default if `node` is `None`. Returns `None` if the value is
    /// invalid, or missing without a default.
    fn read(key: &Key, node: Option<&Node>, reader: &mut Reader<'_>) -> Option<Self>;
}

/// Defines a struct and how it is read: each field from the key of the same name, with hyphens for
/// underscores. A field without a key of that name reads the mapping of the struct itself. The
/// fields in `computed` are not read from the document; they get the default of their type.
macro_rules! keyed {
    (
        $(#[$about:meta])*
        pub struct $name:ident {
            $($(#[$doc:meta])* pub $field:ident: $type:ty,)*
        }
        $(computed { $($(#[$computed_doc:meta])* pub $computed:ident: $computed_type:ty,)* })?
    ) => {
        $(#[$about])*
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)*
            $($($(#[$computed_doc])* pub $computed: $computed_type,)*)?
        }

        #[cfg(test)]
        impl $name {
            /// The names of the fields that are read from the document.
            pub(crate) const FIELDS: &[&str] = &[$(stringify!($field)),*];
        }

        impl $crate::read::Read for $name {
            fn read(
                key: &$crate::keys::Key,
                node: Option<&$crate::yaml::Node>,
                reader: &mut $crate::read::Reader<'_>,
            ) -> Option<$name> {
                $(let $field = $crate::read::read_field(stringify!($field), key, node, reader);)*
                // Read all fields before the first `?`, so every problem is found.
                Some($name { $($field: $field?,)* $($($computed: Default::default(),)*)? })
            }
        }
    };
}
pub(crate) use keyed;

/// Reads a field of a struct.
pub(crate) fn read_field<T: Read>(
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
        // `null` may have removed all keys of a mapping. It then counts as not set.
        match node.filter(|node| !node.as_mapping().is_some_and(Mapping::is_empty)) {
            Some(node) => T::read(key, Some(node), reader).map(Some),
            None => Some(None),
        }
    }
}

impl Read for bool {
    /// Reads `true`, or the first of the key's words, as true.
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
        parse_duration(node?.text()?)
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
