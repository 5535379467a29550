//! Merges a file over its parent.

use crate::{
    form::{self, Patch, identity, reference},
    yaml::{Mapping, Node, Value},
};

/// Merges a child's value over its parent's.
///
/// - Mappings are merged: first the parent's keys, then the child's new keys.
/// - Lists, single values and references replace the parent's value.
/// - A list with `$merge` and `$by` is merged with the parent's list.
/// - `null` removes a key.
///
/// If both files set a key, the result has the child's place.
pub fn merge(parent: Node, child: Node) -> Node {
    if reference(&parent).is_some() || reference(&child).is_some() {
        return without_nulls(child);
    }
    match (form::patch(&parent), form::patch(&child)) {
        (_, Some(patch)) => merge_patch(&parent, patch, &child),
        (Some(_), None) => without_nulls(child),
        (None, None) => match (parent.value, child.value) {
            (Value::Mapping(parent), Value::Mapping(mapping)) => Node {
                value: Value::Mapping(merge_mappings(parent, mapping)),
                ..child
            },
            (_, value) => without_nulls(Node { value, ..child }),
        },
    }
}

/// Merges a patch into the parent's list. If the parent is itself a patch, the result is a patch.
fn merge_patch(parent: &Node, patch: Patch<'_>, child: &Node) -> Node {
    if let Some(items) = parent.as_sequence() {
        let items = merge_items(items, &patch);
        return Node {
            value: Value::Sequence(items),
            ..child.clone()
        };
    }
    let mut merged = child.clone();
    if let Some(inherited) = form::patch(parent).filter(|inherited| inherited.by == patch.by)
        && let Some(list) = merged
            .as_mapping_mut()
            .and_then(|keys| keys.get_mut("$merge"))
    {
        list.value = Value::Sequence(merge_items(inherited.items, &patch));
    }
    merged
}

fn merge_items(inherited: &[Node], patch: &Patch<'_>) -> Vec<Node> {
    let mut items = inherited.to_vec();
    for item in patch.items {
        let name = identity(item, patch.by);
        let same = items
            .iter_mut()
            .find(|other| name.is_some() && identity(other, patch.by) == name);
        match same {
            Some(same) => *same = merge(same.clone(), item.clone()),
            None => items.push(without_nulls(item.clone())),
        }
    }
    items
}

/// Replaces each patch without a parent's list by a list of the patch's items.
pub(crate) fn without_patches(node: Node) -> Node {
    let list = form::patch(&node).map(|patch| patch.items.to_vec());
    let value = match (list, node.value) {
        (Some(items), _) | (None, Value::Sequence(items)) => {
            Value::Sequence(items.into_iter().map(without_patches).collect())
        }
        (None, Value::Mapping(keys)) => Value::Mapping(
            keys.into_iter()
                .map(|(key, value)| (key, without_patches(value)))
                .collect(),
        ),
        (None, value) => value,
    };
    Node { value, ..node }
}

/// Removes the keys whose value is null. The items of lists keep their null keys.
pub(crate) fn without_nulls(node: Node) -> Node {
    match node.value {
        Value::Mapping(mapping) => Node {
            value: Value::Mapping(merge_mappings(Mapping::new(), mapping)),
            ..node
        },
        value => Node { value, ..node },
    }
}

fn merge_mappings(parent: Mapping, mut child: Mapping) -> Mapping {
    let mut merged = Mapping::new();
    for (key, inherited) in parent {
        match child.remove_pair(key.text().unwrap_or_default()) {
            None => {
                merged.insert(key, inherited);
            }
            Some((_, value)) if value.is_null() => {}
            Some((key, value)) => {
                merged.insert(key, merge(inherited, value));
            }
        }
    }
    for (key, value) in child {
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
    fn values_merge_by_their_type() {
        let cases = [
            ("a: 1\nb: 2\n", "b: 3\n", "a: 1\nb: 3\n"),
            // First the parent's keys, then the child's new keys.
            ("b: 1\na: 2\n", "c: 3\na: 4\n", "b: 1\na: 4\nc: 3\n"),
            // Nested mappings.
            (
                "a: {b: {c: 1, d: 2}}\n",
                "a: {b: {d: 3}}\n",
                "a:\n  b:\n    c: 1\n    d: 3\n",
            ),
            // Lists replace.
            ("a: [1, 2]\n", "a: [3]\n", "a:\n  - 3\n"),
            ("a: [1, 2]\n", "a: []\n", "a: []\n"),
            // A value of a different type replaces.
            ("a: {b: 1}\n", "a: 2\n", "a: 2\n"),
            ("a: 1\n", "a: {b: 2}\n", "a:\n  b: 2\n"),
            ("a: {b: 1}\n", "a: {}\n", "a:\n  b: 1\n"),
            // Null removes: also a key that is missing, also in nested mappings.
            ("a: 1\nb: 2\n", "a: null\n", "b: 2\n"),
            ("a: 1\n", "b: ~\n", "a: 1\n"),
            ("a: 1\n", "b: {c: null, d: {e: }}\n", "a: 1\nb:\n  d: {}\n"),
            ("a: 1\n", "a: {b: null, c: 2}\n", "a:\n  c: 2\n"),
            ("a: {b: 1, c: 2}\n", "a: {b: null}\n", "a:\n  c: 2\n"),
            // A quoted null is a string. The items of lists keep their nulls.
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
    fn nulls_are_removed_without_a_parent() {
        let node = without_nulls(document("c", "a: null\nb: {c: ~, d: 1}\n"));
        assert_eq!(emit(&node), "b:\n  d: 1\n");
    }

    #[test]
    fn each_value_has_the_place_where_it_was_set() {
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

    /// Documents in which each key always has the same type, without nulls. A null or a change of
    /// type makes a merge depend on the order.
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
            prop_assert_eq!(emit(&without_patches(left)), emit(&without_patches(right)));
        }

        #[test]
        fn merging_an_empty_mapping_changes_nothing(value in documents()) {
            let empty = Node::default;
            prop_assert_eq!(emit(&merge(value.clone(), empty())), emit(&value));
            prop_assert_eq!(emit(&merge(empty(), value.clone())), emit(&value));
        }
    }
}
