//! Masks the secrets in a file before its text is shown with its problems.

use std::{collections::HashMap, ops::Range, sync::Arc};

use camino::Utf8PathBuf;

use crate::{
    problem::Problem,
    yaml::{Node, Source},
};

/// The places of secrets in files.
#[derive(Debug, Default)]
pub struct Secrets(Vec<(Arc<Source>, Range<usize>)>);

impl Secrets {
    /// Records a value that is or may be a secret.
    pub fn add(&mut self, node: &Node) {
        self.0.push((Arc::clone(&node.source), node.span.clone()));
    }

    /// Adds secrets that a different check of the same files found.
    pub fn extend(&mut self, secrets: Secrets) {
        self.0.extend(secrets.0);
    }

    /// Masks the secrets in the sources of all problems.
    pub fn mask(&self, problems: &mut [Problem]) {
        let mut masked: HashMap<Utf8PathBuf, Source> = HashMap::new();
        for (source, span) in &self.0 {
            let source = masked
                .entry(source.path.clone())
                .or_insert_with(|| Source::clone(source));
            let text: String = source.text[span.clone()].chars().map(mask).collect();
            source.text.replace_range(span.clone(), &text);
        }
        let masked: HashMap<Utf8PathBuf, Arc<Source>> = masked
            .into_iter()
            .map(|(path, source)| (path, Arc::new(source)))
            .collect();
        for problem in problems {
            if let Some(source) = masked.get(&problem.source.path) {
                problem.source = Arc::clone(source);
            }
        }
    }
}

/// Returns a character of the same length in UTF-8, which keeps offsets, lines and columns.
fn mask(character: char) -> char {
    match (character, character.len_utf8()) {
        ('\n' | '\r', _) => character,
        (_, 1) => '*',
        (_, 2) => '·',
        (_, 3) => '•',
        _ => '🔒',
    }
}
