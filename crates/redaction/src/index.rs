//! Many secrets, of which few have to be compared at any place of a text: they are found by their
//! first characters, each in whatever way it is written. A registry may hand out thousands of
//! tokens.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::written::{Pattern, is_plain, pass_hidden, readings};

/// How many characters lead to a secret. The beginning of one that was cut is masked only if it is
/// longer.
const LEADING: usize = 3;

/// Secrets by their first characters.
#[derive(Default)]
pub(crate) struct Index {
    next: BTreeMap<char, Index>,
    /// The secrets that begin with the characters that lead here.
    patterns: Vec<Pattern>,
}

impl Index {
    /// Adds a secret, unless it is known.
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

    /// Returns how many secrets there are.
    pub(crate) fn len(&self) -> usize {
        self.patterns.len() + self.next.values().map(Self::len).sum::<usize>()
    }

    /// Adds where the secrets are that begin at `start`.
    pub(crate) fn find(
        &self,
        text: &[u8],
        start: usize,
        is_whole: bool,
        found: &mut Vec<Range<usize>>,
    ) {
        self.find_from(text, start, start, is_whole, found);
    }

    /// Follows what leads here to `place`.
    fn find_from(
        &self,
        text: &[u8],
        start: usize,
        place: usize,
        is_whole: bool,
        found: &mut Vec<Range<usize>>,
    ) {
        for pattern in &self.patterns {
            found.extend(pattern.end(text, start, is_whole).map(|end| start..end));
        }
        let Some(byte) = text.get(place).filter(|_| !self.next.is_empty()) else {
            return;
        };
        if is_plain(*byte) {
            if let Some(next) = self.next.get(&char::from(*byte)) {
                next.find_from(text, start, place + 1, is_whole, found);
            }
            // UTF-16 writes others with any bytes.
            for (character, next) in self.next.range('\u{80}'..) {
                next.find_read(*character, text, start, place, is_whole, found);
            }
            return;
        }
        let mut places = vec![place];
        if place > start {
            pass_hidden(text, &mut places);
        }
        for (character, next) in &self.next {
            for place in &places {
                next.find_read(*character, text, start, *place, is_whole, found);
            }
        }
    }

    /// Follows what leads here by `character`, if it is at `place`.
    fn find_read(
        &self,
        character: char,
        text: &[u8],
        start: usize,
        place: usize,
        is_whole: bool,
        found: &mut Vec<Range<usize>>,
    ) {
        let mut ends = Vec::new();
        readings(text, place, character, &mut ends);
        for end in ends {
            self.find_from(text, start, end, is_whole, found);
        }
    }
}
