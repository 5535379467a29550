//! Cutting a stream of bytes into lines, and keeping secrets out of them.
//!
//! Masking needs whole lines: in a chunk as the pipe hands it over, a secret could be cut in two.

use redaction::Secrets;
use secrecy::ExposeSecret;

use crate::password::{AdminPassword, Catcher};

/// A line longer than this is handed over in pieces, so memory stays bounded whatever a program
/// prints.
const LONGEST: usize = 1 << 20;

/// The lines of a stream, as they become complete.
pub(crate) struct Lines {
    partial: Vec<u8>,
    secrets: Secrets,
    /// None if the text is to stay as it is.
    catcher: Option<Catcher>,
    caught: Vec<AdminPassword>,
}

impl Lines {
    /// Returns an empty stream whose lines will not hold any of `secrets`.
    pub(crate) fn new(secrets: Secrets) -> Self {
        Self {
            partial: Vec::new(),
            secrets,
            catcher: Some(Catcher::default()),
            caught: Vec::new(),
        }
    }

    /// Returns an empty stream whose lines stay as they are.
    pub(crate) fn untouched() -> Self {
        Self {
            catcher: None,
            ..Self::new(Secrets::default())
        }
    }

    /// Takes the administrator's passwords that were caught since the last call. They are masked
    /// already.
    pub(crate) fn take_caught(&mut self) -> Vec<AdminPassword> {
        std::mem::take(&mut self.caught)
    }

    /// Returns whether a password was announced and none was caught.
    pub(crate) fn missed_password(&self) -> bool {
        self.catcher.as_ref().is_some_and(Catcher::missed)
    }

    /// Adds a chunk and hands over every line that it completes, with its line end.
    pub(crate) fn push(&mut self, chunk: &[u8], line: &mut dyn FnMut(&[u8])) {
        let mut rest = chunk;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = rest.split_at(end + 1);
            self.partial.extend_from_slice(head);
            rest = tail;
            self.hand_over(line);
        }
        self.partial.extend_from_slice(rest);
        if self.partial.len() > LONGEST {
            self.hand_over_piece(line);
        }
    }

    /// Hands over what came after the last line end.
    pub(crate) fn finish(&mut self, line: &mut dyn FnMut(&[u8])) {
        if !self.partial.is_empty() {
            self.hand_over(line);
        }
    }

    fn hand_over(&mut self, line: &mut dyn FnMut(&[u8])) {
        let Some(catcher) = &mut self.catcher else {
            line(&self.partial);
            self.partial.clear();
            return;
        };
        if let Some(found) = catcher.look(&self.partial) {
            self.secrets.add(found.password.expose_secret());
            self.caught.push(found);
        }
        let text = redaction::text(&self.partial);
        line(self.secrets.mask(&text).as_bytes());
        self.partial.clear();
    }

    /// Hands over all of an unfinished line but the end in which a secret may just have begun.
    fn hand_over_piece(&mut self, line: &mut dyn FnMut(&[u8])) {
        let mut kept = 0;
        if self.catcher.is_some() {
            self.secrets.mask_piece(&mut self.partial);
            kept = self.secrets.longest();
        }
        let piece = self.partial.len().saturating_sub(kept);
        line(&self.partial[..piece]);
        self.partial.drain(..piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(secrets: &[&str]) -> Secrets {
        let known = Secrets::default();
        for secret in secrets {
            known.add(secret);
        }
        known
    }

    fn lines(secrets: &[&str], chunks: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::new(known(secrets));
        let mut seen = Vec::new();
        let mut note = |line: &[u8]| seen.push(String::from_utf8(line.to_vec()).unwrap());
        for chunk in chunks {
            lines.push(chunk, &mut note);
        }
        lines.finish(&mut note);
        seen
    }

    #[test]
    fn lines_are_whole_however_the_bytes_arrive() {
        let text = b"one\n\ntwo\r\nthree";
        let whole = lines(&[], &[text]);
        assert_eq!(whole, ["one\n", "\n", "two\r\n", "three"]);
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(lines(&[], &bytes), whole);
        assert_eq!(lines(&[], &[]), [""; 0]);
    }

    #[test]
    fn secrets_are_masked_even_when_a_chunk_ends_within_one() {
        for (secrets, text, expected) in [
            (
                &["hunter2"][..],
                "password hunter2, hunter2!\n",
                "password ***, ***!\n",
            ),
            (&["hunter", "hunter2"], "is hunter2\n", "is ***\n"),
            (&["hunter2"], "hun\u{1b}[0mter\u{1b}[1m2\n", "***\n"),
        ] {
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(3).collect();
            assert_eq!(lines(secrets, &bytes), [expected], "{secrets:?}");
        }
    }

    #[test]
    fn the_administrators_password_is_caught_and_masked_wherever_a_chunk_ends() {
        let text = "They are only showed once\nadmin:aLSgtjNiusU\nagain aLSgtjNiusU.\n";
        for cut in 0..text.len() {
            let mut lines = Lines::new(Secrets::default());
            let mut seen = Vec::new();
            let mut note = |line: &[u8]| seen.extend_from_slice(line);
            let (first, second) = text.as_bytes().split_at(cut);
            lines.push(first, &mut note);
            lines.push(second, &mut note);
            lines.finish(&mut note);
            let seen = String::from_utf8(seen).unwrap();
            assert_eq!(seen, "They are only showed once\nadmin:***\nagain ***.\n");
            let caught = lines.take_caught();
            assert_eq!(caught.len(), 1);
            assert_eq!(caught[0].password.expose_secret(), "aLSgtjNiusU");
            assert!(!lines.missed_password());
        }
    }

    #[test]
    fn a_line_without_end_comes_in_pieces_that_cut_no_secret() {
        const CHUNK: usize = 4096;
        // The first piece is cut where the first chunk ends that is too much. There the secret has
        // just begun.
        let mut text = vec![b'x'; LONGEST + CHUNK - 3];
        text.extend_from_slice(b"hunter2");
        text.extend(vec![b'y'; LONGEST]);
        let chunks: Vec<&[u8]> = text.chunks(CHUNK).collect();
        let pieces = lines(&["hunter2"], &chunks);
        assert!(pieces.len() > 1);
        let longest = pieces.iter().map(String::len).max().unwrap();
        assert!(longest <= LONGEST + CHUNK, "{longest}");
        let whole = pieces.concat();
        assert!(!whole.contains("hunter2") && whole.contains("***"));
        assert_eq!(whole.len(), text.len() - "hunter2".len() + "***".len());
    }
}
