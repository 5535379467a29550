//! Mappings that keep the order of their keys.

use super::node::Node;

/// A mapping: pairs of key and value in order, without duplicate keys.
///
/// Keys with the same text are equal, even if their types differ: `1` and `"1"` are the same key.
/// Kubernetes software converts YAML to JSON, where they are the same key too.
#[derive(Debug, Clone, Default)]
pub struct Mapping {
    pairs: Vec<(Node, Node)>,
}

impl Mapping {
    /// Returns a mapping without pairs.
    pub fn new() -> Mapping {
        Mapping::default()
    }

    /// Returns the number of pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Returns whether there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Returns the pairs in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Node, &Node)> {
        self.pairs.iter().map(|(key, value)| (key, value))
    }

    /// Returns the pairs in order, with mutable values.
    pub fn pairs_mut(&mut self) -> impl Iterator<Item = (&Node, &mut Node)> {
        self.pairs.iter_mut().map(|(key, value)| (&*key, value))
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.pair(key).map(|(_, value)| value)
    }

    /// Returns the value of a key, mutably.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        let index = self.index(key)?;
        Some(&mut self.pairs[index].1)
    }

    /// Returns the node of a key, and its value.
    pub fn pair(&self, key: &str) -> Option<(&Node, &Node)> {
        let (key, value) = &self.pairs[self.index(key)?];
        Some((key, value))
    }

    /// Sets the value of a key. A new key is added at the end. Returns the previous value.
    pub fn insert(&mut self, key: Node, value: Node) -> Option<Node> {
        match self.index(key.key_text()) {
            Some(index) => Some(std::mem::replace(&mut self.pairs[index], (key, value)).1),
            None => {
                self.pairs.push((key, value));
                None
            }
        }
    }

    /// Removes a key and keeps the order of the others. Returns its value.
    pub fn remove(&mut self, key: &str) -> Option<Node> {
        self.remove_pair(key).map(|(_, value)| value)
    }

    /// Removes a key and keeps the order of the others. Returns the node of the key, and its value.
    pub fn remove_pair(&mut self, key: &str) -> Option<(Node, Node)> {
        let index = self.index(key)?;
        Some(self.pairs.remove(index))
    }

    /// Returns a mapping of pairs. The caller ensures that the keys differ.
    pub(super) fn of_distinct(pairs: Vec<(Node, Node)>) -> Mapping {
        Mapping { pairs }
    }

    fn index(&self, key: &str) -> Option<usize> {
        self.pairs
            .iter()
            .position(|(candidate, _)| candidate.key_text() == key)
    }
}

/// The last value of a duplicate key wins.
impl FromIterator<(Node, Node)> for Mapping {
    fn from_iter<Pairs: IntoIterator<Item = (Node, Node)>>(pairs: Pairs) -> Mapping {
        let mut mapping = Mapping::new();
        for (key, value) in pairs {
            mapping.insert(key, value);
        }
        mapping
    }
}

impl IntoIterator for Mapping {
    type Item = (Node, Node);
    type IntoIter = std::vec::IntoIter<(Node, Node)>;

    fn into_iter(self) -> Self::IntoIter {
        self.pairs.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn insert_and_remove_keep_the_order() {
        let mut mapping = Mapping::new();
        for key in ["a", "b", "c"] {
            assert!(
                mapping
                    .insert(Node::string(key), Node::string(key))
                    .is_none()
            );
        }
        assert!(
            mapping
                .insert(Node::string("b"), Node::integer(2))
                .is_some()
        );
        assert!(mapping.remove("a").is_some());
        assert!(mapping.remove("a").is_none());
        let keys: Vec<_> = mapping.iter().map(|(key, _)| key.key_text()).collect();
        assert_eq!(keys, ["b", "c"]);
        assert_eq!(mapping.get("b").and_then(Node::text), Some("2"));
    }
}
