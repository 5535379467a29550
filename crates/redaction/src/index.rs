//! A trie of secrets by their first characters, in all encodings. Only few secrets are compared at
//! any place of a text, even after a registry has issued thousands of tokens.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::written::{Pattern, is_plain, pass_hidden, readings};

/// Depth of the trie. A secret that was cut off after fewer characters is not masked.
const LEADING: usize = 3;

/// A node of the trie.
#[derive(Default)]
pub(crate) struct Index {
    next: BTreeMap<char, Index>,
    /// Secrets that begin with the characters on the path to this node.
    patterns: Vec<Pattern>,
}

impl Index {
    /// Adds a secret unless it exists.
    pub(crate) fn insert(&mut self, pattern: Pattern) {
        let mut node = self;
        for character in pattern.secret().chars().take(LEADING) {
            node = node.next.entry(character).or_default();
        }
        if !node.patterns.contains(&pattern) {
            node.patterns.push(pattern);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.next.is_empty()
    }

    /// Returns the number of secrets.
    pub(crate) fn len(&self) -> usize {
        self.patterns.len() + self.next.values().map(Self::len).sum::<usize>()
    }

    /// Adds the ranges of the secrets that begin at `start`.
    pub(crate) fn find(
        &self,
        text: &[u8],
        start: usize,
        is_complete: bool,
        found: &mut Vec<Range<usize>>,
    ) {
        self.find_from(text, start, start, is_complete, found);
    }

    /// Continues at `place`, after the characters on the path to this node.
    fn find_from(
        &self,
        text: &[u8],
        start: usize,
        place: usize,
        is_complete: bool,
        found: &mut Vec<Range<usize>>,
    ) {
        for pattern in &self.patterns {
            let end = pattern.end(text, start, is_complete);
            found.extend(end.map(|end| pattern.widened(text, start..end)));
        }
        let Some(byte) = text.get(place).filter(|_| !self.next.is_empty()) else {
            return;
        };
        if is_plain(*byte) {
            if let Some(next) = self.next.get(&char::from(*byte)) {
                next.find_from(text, start, place + 1, is_complete, found);
            }
            // Other characters begin with an arbitrary byte in UTF-16.
            for (character, next) in self.next.range('\u{80}'..) {
                next.find_read(*character, text, start, place, is_complete, found);
            }
            return;
        }
        let mut places = vec![place];
        if place > start {
            pass_hidden(text, &mut places);
        }
        for (character, next) in &self.next {
            for place in &places {
                next.find_read(*character, text, start, *place, is_complete, found);
            }
        }
    }

    /// Continues after `character`, if it is at `place`.
    fn find_read(
        &self,
        character: char,
        text: &[u8],
        start: usize,
        place: usize,
        is_complete: bool,
        found: &mut Vec<Range<usize>>,
    ) {
        let mut ends = Vec::new();
        readings(text, place, character, &mut ends);
        for end in ends {
            self.find_from(text, start, end, is_complete, found);
        }
    }
}
