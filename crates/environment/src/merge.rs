//! Puts a file over its parent.

use crate::{
    form::{Patch, identity, patch, reference},
    yaml::{Mapping, Node, Value},
};

/// Merges a child's value over its parent's.
///
/// Mappings merge, with the parent's keys first and new ones after them; lists and single values
/// replace; `null` removes. A list is merged with the parent's only where the child asks for it, by
/// `$merge` and `$by`. A reference is one value. Where both have something, what the child wrote is
/// what the result points at.
pub fn merge(parent: Node, child: Node) -> Node {
    if reference(&parent).is_some() || reference(&child).is_some() {
        return without_nulls(child);
    }
    match (patch(&parent), patch(&child)) {
        (_, Some(above)) => merge_patch(&parent, above, &child),
        (Some(_), None) => without_nulls(child),
        (None, None) => match (parent.value, child.value) {
            (Value::Mapping(below), Value::Mapping(above)) => Node {
                value: Value::Mapping(merge_mappings(below, above)),
                ..child
            },
            (_, value) => without_nulls(Node { value, ..child }),
        },
    }
}

/// Merges a list into the parent's, which may itself be waiting for one to be merged into.
fn merge_patch(parent: &Node, above: Patch<'_>, child: &Node) -> Node {
    if let Some(below) = parent.as_sequence() {
        let items = merge_items(below, &above);
        return Node {
            value: Value::Sequence(items),
            ..child.clone()
        };
    }
    let mut merged = child.clone();
    if let Some(below) = patch(parent).filter(|below| below.by == above.by)
        && let Some(list) = merged
            .as_mapping_mut()
            .and_then(|keys| keys.get_mut("$merge"))
    {
        list.value = Value::Sequence(merge_items(below.items, &above));
    }
    merged
}

fn merge_items(below: &[Node], above: &Patch<'_>) -> Vec<Node> {
    let mut items = below.to_vec();
    for item in above.items {
        let name = identity(item, above.by);
        let same = items
            .iter_mut()
            .find(|known| name.is_some() && identity(known, above.by) == name);
        match same {
            Some(known) => *known = merge(known.clone(), item.clone()),
            None => items.push(without_nulls(item.clone())),
        }
    }
    items
}

/// Puts the lists that had nothing to be merged into in their place.
pub(crate) fn settled(node: Node) -> Node {
    let list = patch(&node).map(|patch| patch.items.to_vec());
    let value = match (list, node.value) {
        (Some(items), _) | (None, Value::Sequence(items)) => {
            Value::Sequence(items.into_iter().map(settled).collect())
        }
        (None, Value::Mapping(keys)) => Value::Mapping(
            keys.into_iter()
                .map(|(key, value)| (key, settled(value)))
                .collect(),
        ),
        (None, value) => value,
    };
    Node { value, ..node }
}

/// Removes the keys of a document that are null, as a merge over nothing would. Lists are left as
/// they are.
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

    use proptest::prelude::*;

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
            // Null removes, also what is missing, also at a distance.
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

    /// A document in which each key has values of one kind, and nothing is null. It should be so:
    /// what replaces a value of another kind, or removes one, does another thing where there is
    /// nothing yet.
    fn documents() -> impl Strategy<Value = Node> {
        let single = || {
            prop_oneof![
                "[a-c]{1,2}".prop_map(Node::string),
                "[A-C]".prop_map(|name| Node::mapping([("$env", Node::string(name))])),
                "[a-c]".prop_map(|path| Node::mapping([("$file", Node::string(path))])),
            ]
        };
        let mapping =
            move || prop::collection::btree_map("[x-z]", single(), 0..3).prop_map(Node::mapping);
        let items = move || {
            let rows = prop::collection::btree_map("[p-r]", mapping(), 0..3);
            rows.prop_map(|rows| {
                Node::sequence(rows.into_iter().map(|(name, value)| {
                    Node::mapping([("name", Node::string(name)), ("value", value)])
                }))
            })
        };
        let list = prop_oneof![
            items(),
            items().prop_map(|items| {
                Node::mapping([("$merge", items), ("$by", Node::string("name"))])
            }),
        ];
        let option = (
            prop::option::of(single()),
            prop::option::of(mapping()),
            prop::option::of(list),
        );
        option.prop_map(|(single, mapping, list)| {
            let pairs = [("single", single), ("mapping", mapping), ("list", list)];
            Node::mapping(
                pairs
                    .into_iter()
                    .filter_map(|(key, value)| Some((key, value?))),
            )
        })
    }

    proptest! {
        #[test]
        fn merging_is_associative(one in documents(), two in documents(), three in documents()) {
            let left = merge(merge(one.clone(), two.clone()), three.clone());
            let right = merge(one, merge(two, three));
            prop_assert_eq!(emit(&settled(left)), emit(&settled(right)));
        }

        #[test]
        fn merging_nothing_changes_nothing(value in documents()) {
            let nothing = || Node::mapping::<String>([]);
            prop_assert_eq!(emit(&merge(value.clone(), nothing())), emit(&value));
            prop_assert_eq!(emit(&merge(nothing(), value.clone())), emit(&value));
        }
    }
}
