//! Masks secrets that a file contains, before the file's text is shown with its problems.

use std::{collections::HashMap, ops::Range, sync::Arc};

use camino::Utf8PathBuf;

use crate::{
    problem::Problem,
    yaml::{Node, Source},
};

/// Where secrets were found.
#[derive(Debug, Default)]
pub struct Secrets(Vec<(Arc<Source>, Range<usize>)>);

impl Secrets {
    /// Notes that a value is, or may be, a secret.
    pub fn add(&mut self, node: &Node) {
        self.0.push((Arc::clone(&node.source), node.span.clone()));
    }

    /// Adds the secrets that another reader of the same files found.
    pub fn extend(&mut self, others: Secrets) {
        self.0.extend(others.0);
    }

    /// Covers the secrets in the sources of all problems.
    pub fn cover(&self, problems: &mut [Problem]) {
        let mut covered: HashMap<Utf8PathBuf, Source> = HashMap::new();
        for (source, span) in &self.0 {
            let source = covered
                .entry(source.path.clone())
                .or_insert_with(|| Source::clone(source));
            let cover: String = source.text[span.clone()].chars().map(cover).collect();
            source.text.replace_range(span.clone(), &cover);
        }
        let covered: HashMap<Utf8PathBuf, Arc<Source>> = covered
            .into_iter()
            .map(|(path, source)| (path, Arc::new(source)))
            .collect();
        for problem in problems {
            if let Some(source) = covered.get(&problem.source.path) {
                problem.source = Arc::clone(source);
            }
        }
    }
}

/// Returns a character that takes as many bytes, so offsets, lines and columns stay those of the
/// file.
fn cover(character: char) -> char {
    match (character, character.len_utf8()) {
        ('\n' | '\r', _) => character,
        (_, 1) => '*',
        (_, 2) => '·',
        (_, 3) => '•',
        _ => '🔒',
    }
}
