//! Keys and values in the order in which they were written.

use super::node::Node;

/// A mapping: pairs in order, each key once.
///
/// Keys are distinguished by their text alone, so `1` and `"1"` are one key: after a conversion to
/// JSON, which is how Kubernetes software reads YAML, they would be.
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

    /// Returns the keys, and the values for changing them, in order.
    pub fn pairs_mut(&mut self) -> impl Iterator<Item = (&Node, &mut Node)> {
        self.pairs.iter_mut().map(|(key, value)| (&*key, value))
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.pair(key).map(|(_, value)| value)
    }

    /// Returns the value of a key for changing it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        let index = self.index(key)?;
        Some(&mut self.pairs[index].1)
    }

    /// Returns a key as it was written, and its value.
    pub fn pair(&self, key: &str) -> Option<(&Node, &Node)> {
        let (key, value) = &self.pairs[self.index(key)?];
        Some((key, value))
    }

    /// Puts a value under a key: in the place of the pair with the same key, or else at the end.
    /// Returns the value that was there.
    pub fn insert(&mut self, key: Node, value: Node) -> Option<Node> {
        match self.index(key.key_text()) {
            Some(index) => Some(std::mem::replace(&mut self.pairs[index], (key, value)).1),
            None => {
                self.pairs.push((key, value));
                None
            }
        }
    }

    /// Removes a key; the others keep their order. Returns the value that was there.
    pub fn remove(&mut self, key: &str) -> Option<Node> {
        self.remove_pair(key).map(|(_, value)| value)
    }

    /// Removes a key; the others keep their order. Returns it as it was written, and its value.
    pub fn remove_pair(&mut self, key: &str) -> Option<(Node, Node)> {
        let index = self.index(key)?;
        Some(self.pairs.remove(index))
    }

    /// Makes a mapping of pairs whose keys are known to differ.
    pub(super) fn of_distinct(pairs: Vec<(Node, Node)>) -> Mapping {
        Mapping { pairs }
    }

    fn index(&self, key: &str) -> Option<usize> {
        self.pairs
            .iter()
            .position(|(candidate, _)| candidate.key_text() == key)
    }
}

/// Of two pairs with one key the later one's value counts.
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
    fn inserting_keeps_the_place_and_removing_the_order() {
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
