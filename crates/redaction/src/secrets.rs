//! The set of secrets, and how it masks text.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, LazyLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};

use crate::index::Index;
use crate::written::Pattern;
use crate::{encoded, generic};

/// Replacement of a secret.
pub(crate) const MASK: &str = "***";

/// Minimum bytes of a secret that is masked everywhere. A shorter one would mask parts of ordinary
/// words; it is masked only as part of `user:password`.
pub const SHORTEST: usize = 4;

/// Minimum bytes of a line that is masked, of a secret with several lines.
const SHORTEST_LINE: usize = 8;

/// From this many bytes on, parts of a secret are masked, too: base64 is wrapped and messages are
/// cut.
const LONG: usize = 48;

/// Bytes of such a part. A row of `hexdump` has so many.
const PART: usize = 16;

/// Maximum nesting of encodings, such as base64 in JSON in base64 in a Kubernetes pull Secret.
const NESTED: usize = 3;

const COMPOSED: ComposingNormalizerBorrowed<'_> = ComposingNormalizerBorrowed::new_nfc();
const DECOMPOSED: DecomposingNormalizerBorrowed<'_> = DecomposingNormalizerBorrowed::new_nfd();

/// A set of secrets. Clones share it.
#[derive(Clone, Default)]
pub struct Secrets(Arc<RwLock<Indexes>>);

#[derive(Default)]
struct Indexes {
    lasting: Index,
    tokens: Tokens,
    /// Maximum bytes of any secret so far.
    longest: usize,
}

/// Tokens that expire, in two generations. A generation is dropped as a whole, when all its tokens
/// have expired.
#[derive(Default)]
struct Tokens {
    earlier: Index,
    later: Index,
    /// Time at which the first token of `later` was added.
    since: Option<Instant>,
    /// Longest lifetime of any token so far.
    life: Duration,
}

/// Returns the set of this process.
pub fn run() -> &'static Secrets {
    static RUN: LazyLock<Secrets> = LazyLock::new(Secrets::default);
    &RUN
}

/// Shows only the number of secrets.
impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.read();
        let count: usize = known.indexes().map(Index::len).sum();
        write!(formatter, "{count} secrets")
    }
}

impl Secrets {
    /// Adds a secret. If it has several lines, each line is a secret, too.
    pub fn add(&self, secret: &str) {
        let mut known = self.write();
        for pattern in patterns(secret) {
            known.insert(pattern);
        }
    }

    /// Adds a token that expires after `life`. It may be dropped then, since a service receives a
    /// new token every few minutes.
    pub fn add_token(&self, token: &str, life: Duration) {
        let mut known = self.write();
        known.tokens.make_room(Instant::now(), life);
        for pattern in patterns(token) {
            known.longest = known.longest.max(pattern.secret().len());
            known.tokens.later.insert(pattern);
        }
    }

    /// Adds a password, and `username:password` as HTTP's basic scheme encodes it.
    pub fn add_password(&self, username: &str, password: &str) {
        self.add(password);
        if !password.trim().is_empty() {
            let password = password.trim_matches(['\r', '\n']);
            let mut known = self.write();
            known.insert(Pattern::of_pair(username, password));
            known.insert(Pattern::of_pair(username, password.trim()));
        }
    }

    /// Adds the password and the query values of a URL, such as a proxy's or a presigned one.
    pub fn add_url(&self, url: &str) {
        for found in generic::secrets_of_url(url) {
            self.add(&found);
        }
    }

    /// Returns whether the text contains a secret in any known encoding.
    pub fn is_in(&self, text: &str) -> bool {
        let mut found = Vec::new();
        find(text.as_bytes(), &self.read(), true, NESTED, &mut found);
        !found.is_empty()
    }

    /// Returns the text with each secret masked, in any known encoding.
    pub fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let ranges = self.find(text.as_bytes(), true);
        if ranges.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut masked = String::with_capacity(text.len());
        let mut end = 0;
        for range in ranges {
            // A match in Latin-1 or UTF-16 may end within a UTF-8 character.
            let is_boundary = |place: &usize| text.is_char_boundary(*place);
            let start = (end..=range.start).rev().find(is_boundary).unwrap_or(end);
            masked.push_str(&text[end..start]);
            masked.push_str(MASK);
            end = (range.end.max(end)..text.len())
                .find(is_boundary)
                .unwrap_or(text.len());
        }
        masked.push_str(text.get(end..).unwrap_or_default());
        Cow::Owned(masked)
    }

    /// Masks the secrets that are complete in a piece of a longer text.
    pub fn mask_piece(&self, text: &mut Vec<u8>) {
        let ranges = self.find(text, false);
        for range in ranges.into_iter().rev() {
            text.splice(range, MASK.bytes());
        }
    }

    /// Returns the maximum bytes of a secret in any of its encodings.
    pub fn longest(&self) -> usize {
        // `\u0061` is the longest encoding of a byte.
        match self.read().longest {
            0 => 0,
            longest => longest * 6 + 16,
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, Indexes> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Indexes> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the ranges of secrets, sorted and without overlap.
    fn find(&self, text: &[u8], is_complete: bool) -> Vec<Range<usize>> {
        let known = self.read();
        let mut found = generic::find(text);
        find(text, &known, is_complete, NESTED, &mut found);
        joined(found)
    }
}

impl Indexes {
    fn insert(&mut self, pattern: Pattern) {
        self.longest = self.longest.max(pattern.secret().len());
        self.lasting.insert(pattern);
    }

    fn indexes(&self) -> impl Iterator<Item = &Index> {
        let all = [&self.lasting, &self.tokens.earlier, &self.tokens.later].into_iter();
        all.filter(|index| !index.is_empty())
    }
}

impl Tokens {
    /// Drops the earlier generation and begins a new one, if all later tokens have expired.
    fn make_room(&mut self, now: Instant, life: Duration) {
        let since = *self.since.get_or_insert(now);
        if now.duration_since(since) > self.life {
            self.earlier = std::mem::take(&mut self.later);
            self.since = Some(now);
        }
        self.life = self.life.max(life);
    }
}

/// Returns the patterns to mask of a secret: its text, lines and parts, in each Unicode form.
fn patterns(secret: &str) -> Vec<Pattern> {
    let secret = secret.trim_matches(['\r', '\n']);
    let mut all: Vec<&str> = vec![secret, secret.trim()];
    if secret.contains('\n') {
        let lines = secret.lines().flat_map(|line| [line, line.trim()]);
        // The first and last line of a PEM block are not secret.
        all.extend(lines.filter(|line| line.len() >= SHORTEST_LINE && !line.starts_with("-----")));
    }
    let parts: Vec<Pattern> = all.iter().flat_map(|whole| parts(whole)).collect();
    all.retain(|part| part.trim().len() >= SHORTEST);
    // Composed and decomposed, because programs and file systems convert between them.
    let forms = |secret: &str| {
        [
            Pattern::new(secret),
            Pattern::new(&COMPOSED.normalize(secret)),
            Pattern::new(&DECOMPOSED.normalize(secret)),
        ]
    };
    all.into_iter().flat_map(forms).chain(parts).collect()
}

fn find(
    text: &[u8],
    known: &Indexes,
    is_complete: bool,
    nested: usize,
    found: &mut Vec<Range<usize>>,
) {
    let indexes: Vec<&Index> = known.indexes().collect();
    for start in 0..text.len() {
        for index in &indexes {
            index.find(text, start, is_complete, found);
        }
    }
    if nested == 0 || indexes.is_empty() {
        return;
    }
    for run in encoded::runs(text) {
        for decoded in run.decoded() {
            let mut within = Vec::new();
            find(decoded.bytes(), known, is_complete, nested - 1, &mut within);
            found.extend(within.into_iter().map(|range| decoded.place(range)));
        }
    }
}

/// Returns the patterns of the parts of a long secret that are masked on their own, the last
/// of which may overlap the one before.
fn parts(secret: &str) -> Vec<Pattern> {
    if secret.len() < LONG || !secret.is_ascii() || secret.contains('\n') {
        return Vec::new();
    }
    let whole: Arc<str> = secret.into();
    let last = secret.len() - PART;
    let starts = (0..last).step_by(PART).chain([last]);
    let parts = starts.map(|start| Pattern::of_part(&whole, start..start + PART));
    parts.collect()
}

/// Merges ranges that touch or overlap.
fn joined(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests;
