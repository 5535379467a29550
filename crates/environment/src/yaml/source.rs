//! The text of one file, and the line and column of an offset in it.

use std::sync::{Arc, LazyLock};

use camino::Utf8PathBuf;

/// The mark that some editors write at the start of a file. The first line does not include it.
pub(crate) const BYTE_ORDER_MARK: char = '\u{feff}';

/// The source of all nodes that were made in code.
static BUILT: LazyLock<Arc<Source>> = LazyLock::new(|| {
    Arc::new(Source {
        path: Utf8PathBuf::new(),
        text: String::new(),
    })
});

/// The text of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The path, relative to the workspace root. Empty for nodes that were made in code.
    pub path: Utf8PathBuf,
    /// The whole text.
    pub text: String,
}

/// A place in a [`Source`], counted as editors do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// Removes the byte order mark from the start of a file's text.
pub(crate) fn without_byte_order_mark(text: String) -> String {
    match text.strip_prefix(BYTE_ORDER_MARK) {
        Some(unmarked) => unmarked.to_owned(),
        None => text,
    }
}

impl Source {
    /// Returns the source that nodes made in code share.
    pub(super) fn built() -> Arc<Source> {
        Arc::clone(&BUILT)
    }

    /// Returns whether this is the source of nodes that were made in code.
    pub fn is_built(&self) -> bool {
        self.path.as_str().is_empty()
    }

    /// Returns the line and column of a byte offset. An offset past the end counts as the end.
    pub fn position(&self, offset: usize) -> Position {
        let offset = self.boundary(offset);
        let before = self.text[..offset].trim_start_matches(BYTE_ORDER_MARK);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Position {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// Returns the line at a byte offset, without its line break.
    pub fn line_at(&self, offset: usize) -> &str {
        let offset = self.boundary(offset);
        let start = self.text[..offset]
            .rfind('\n')
            .map_or(0, |newline| newline + 1);
        let end = self.text[offset..]
            .find('\n')
            .map_or(self.text.len(), |newline| offset + newline);
        self.text[start..end]
            .trim_start_matches(BYTE_ORDER_MARK)
            .trim_end_matches('\r')
    }

    /// Returns the last character boundary up to an offset.
    fn boundary(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters() {
        let source = Source {
            path: "a.yaml".into(),
            text: "\u{feff}é: 1\r\nb: 2\n".to_owned(),
        };
        let cases = [
            (0, 1, 1, "é: 1"),
            (3, 1, 1, "é: 1"),
            (5, 1, 2, "é: 1"),
            (10, 2, 1, "b: 2"),
            (13, 2, 4, "b: 2"),
            (999, 3, 1, ""),
        ];
        for (offset, line, column, text) in cases {
            let position = source.position(offset);
            assert_eq!(
                (position.line, position.column),
                (line, column),
                "offset {offset}"
            );
            assert_eq!(source.line_at(offset), text, "offset {offset}");
        }
    }
}
