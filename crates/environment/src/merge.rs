//! Puts a file over its parent.

use crate::yaml::{Mapping, Node, Value};

/// Merges a child's document over its parent's.
///
/// Mappings merge, with the parent's keys first and new ones after them; lists and single values replace; `null`
/// removes. Where both have something, what the child wrote is what the result points at.
pub(crate) fn merge(parent: Node, child: Node) -> Node {
    match (parent.value, child.value) {
        (Value::Mapping(below), Value::Mapping(above)) => Node {
            value: Value::Mapping(merge_mappings(below, above)),
            ..child
        },
        (_, value) => without_nulls(Node { value, ..child }),
    }
}

/// Removes the keys of a document that are null, as a merge over nothing would. Lists are left as they are.
pub(crate) fn without_nulls(node: Node) -> Node {
    match node.value {
        Value::Mapping(mapping) => Node {
            value: Value::Mapping(merge_mappings(Mapping::new(), mapping)),
            ..node
        },
        value => Node { value, ..node },
    }
}

fn merge_mappings(below: Mapping, mut above: Mapping) -> Mapping {
    let mut merged = Mapping::new();
    for (key, inherited) in below {
        match above.remove_pair(key.text().unwrap_or_default()) {
            None => {
                merged.insert(key, inherited);
            }
            Some((_, value)) if value.is_null() => {}
            Some((key, value)) => {
                merged.insert(key, merge(inherited, value));
            }
        }
    }
    for (key, value) in above {
        if !value.is_null() {
            merged.insert(key, without_nulls(value));
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::yaml::{Source, emit, emit_with_origins, parse};

    fn document(path: &str, text: &str) -> Node {
        parse(Arc::new(Source {
            path: path.into(),
            text: text.to_owned(),
        }))
        .unwrap()
    }

    #[test]
    fn files_merge_by_what_their_values_are() {
        let cases = [
            ("a: 1\nb: 2\n", "b: 3\n", "a: 1\nb: 3\n"),
            // The parent's order, then the child's.
            ("b: 1\na: 2\n", "c: 3\na: 4\n", "b: 1\na: 4\nc: 3\n"),
            // Deep.
            (
                "a: {b: {c: 1, d: 2}}\n",
                "a: {b: {d: 3}}\n",
                "a:\n  b:\n    c: 1\n    d: 3\n",
            ),
            // Lists replace.
            ("a: [1, 2]\n", "a: [3]\n", "a:\n  - 3\n"),
            ("a: [1, 2]\n", "a: []\n", "a: []\n"),
            // Kinds replace each other.
            ("a: {b: 1}\n", "a: 2\n", "a: 2\n"),
            ("a: 1\n", "a: {b: 2}\n", "a:\n  b: 2\n"),
            ("a: {b: 1}\n", "a: {}\n", "a:\n  b: 1\n"),
            // Null removes, also what is not there, also at a distance.
            ("a: 1\nb: 2\n", "a: null\n", "b: 2\n"),
            ("a: 1\n", "b: ~\n", "a: 1\n"),
            ("a: 1\n", "b: {c: null, d: {e: }}\n", "a: 1\nb:\n  d: {}\n"),
            ("a: 1\n", "a: {b: null, c: 2}\n", "a:\n  c: 2\n"),
            ("a: {b: 1, c: 2}\n", "a: {b: null}\n", "a:\n  c: 2\n"),
            // A quoted null is a string, and lists keep theirs.
            ("a: 1\n", "a: 'null'\n", "a: 'null'\n"),
            (
                "a: 1\n",
                "b: [null, {c: ~}]\n",
                "a: 1\nb:\n  - null\n  - c: ~\n",
            ),
        ];
        for (parent, child, expected) in cases {
            let merged = merge(document("p", parent), document("c", child));
            assert_eq!(emit(&merged), expected, "{parent}{child}");
        }
    }

    #[test]
    fn nulls_vanish_without_a_parent_too() {
        let node = without_nulls(document("c", "a: null\nb: {c: ~, d: 1}\n"));
        assert_eq!(emit(&node), "b:\n  d: 1\n");
    }

    #[test]
    fn each_value_points_at_the_file_that_decided_it() {
        let merged = merge(
            document("base.yaml", "a: 1\nb:\n  c: 2\n  d: 3\n"),
            document("child.yaml", "b:\n  d: 4\ne: 5\n"),
        );
        assert_eq!(
            emit_with_origins(&merged),
            "a: 1 # base.yaml:1\nb:\n  c: 2 # base.yaml:3\n  d: 4 # child.yaml:2\ne: 5 # child.yaml:3\n"
        );
        let (key, _) = merged.as_mapping().unwrap().pair("b").unwrap();
        assert_eq!(key.source.path, "child.yaml");
    }
}
